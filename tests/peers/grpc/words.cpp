// A gRPC server and client by libgrpc++, without generated code: messages are bytes. For tests/peers/test_grpc_cpp.py,
// which compiles it. Prints JSON, one object a line.
//
//   words serve ADDRESS NAME [--chain FILE --key FILE] [--max-age MS]
//   words call TARGET METHOD [--ca FILE --host NAME] [--deadline MS] [--metadata KEY=VALUE]... [--in-step] [MESSAGE |
//   --size N]... words load TARGET [--ca FILE --host NAME] [--threads N] [--calls N]      without --calls: until stdin
//   ends
//
// Methods of test.Words: Unary (upper case), Stream (counts to the message), Sum (bytes of all messages), Reverse (each
// message, at once), Fail ("CODE TEXT", with status details), Remaining (ms to the deadline), Late (answers after so
// many ms). Every call is answered with the trailer `x-server: NAME`.
#include <grpcpp/alarm.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using Metadata = std::multimap<std::string, std::string>;

std::string text_of(const grpc::ByteBuffer& buffer) {
    std::vector<grpc::Slice> slices;
    std::string text;
    if (buffer.Dump(&slices).ok()) {
        for (const grpc::Slice& slice : slices) text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    return text;
}

grpc::ByteBuffer buffer_of(const std::string& text) {
    const grpc::Slice slice(text);
    return grpc::ByteBuffer(&slice, 1);
}

std::string file(const std::string& name) {
    std::ifstream in(name, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + name);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// Bytes as a JSON string of code points 0 to 255.
std::string quoted(const std::string& bytes) {
    std::string out = "\"";
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte > 0x7e || c == '"' || c == '\\') {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", byte);
            out += escape;
        } else {
            out += c;
        }
    }
    return out + '"';
}

/// A JSON list of pairs: names may come more than once.
std::string pairs(const Metadata& metadata) {
    std::string out = "[";
    for (const auto& [key, value] : metadata)
        out += (out.size() > 1 ? ", [" : "[") + quoted(key) + ", " + quoted(value) + "]";
    return out + "]";
}

void print(const std::string& line) {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    std::puts(line.c_str());
    std::fflush(stdout);
}

/// What follows the words on the command line: `--key value` and `--flag`; the rest is `words`.
struct Options {
    std::vector<std::string> words;
    std::multimap<std::string, std::string> given;

    Options(int argc, char** argv) {
        for (int i = 1; i < argc; ++i) {
            const std::string word = argv[i];
            if (!word.starts_with("--")) {
                words.push_back(word);
            } else if (word == "--in-step") {
                given.emplace(word, "");
            } else if (word == "--size" && i + 1 < argc) {
                words.emplace_back(std::stoul(argv[++i]), 'x');
            } else if (i + 1 < argc) {
                given.emplace(word, argv[++i]);
            } else {
                throw std::runtime_error(word + " wants a value");
            }
        }
    }
    [[nodiscard]] bool has(const std::string& key) const { return given.contains(key); }
    [[nodiscard]] std::string text(const std::string& key) const {
        const auto at = given.find(key);
        return at == given.end() ? std::string() : at->second;
    }
    [[nodiscard]] int number(const std::string& key, int otherwise) const {
        return has(key) ? std::stoi(text(key)) : otherwise;
    }
};

// ---- the server ----------------------------------------------------------------------------------------------------

/// One call. Reactions of one call come one after another, but for OnCancel, which may come beside any of them.
class Call : public grpc::ServerGenericBidiReactor {
public:
    Call(grpc::GenericCallbackServerContext& context, const std::string& server)
        : context_(context), method_(context.method().substr(context.method().rfind('/') + 1)) {
        context_.AddTrailingMetadata("x-server", server);
        context_.AddInitialMetadata("x-first", "1");
        for (const auto& [key, value] :
             context_.client_metadata()) {  // what was asked goes back, so that a test sees it
            if (key.starts_with("x-")) {
                context_.AddTrailingMetadata("x-back-" + std::string(key.data() + 2, key.size() - 2),
                                             {value.data(), value.size()});
            }
        }
        StartRead(&asked_);
    }

    void OnReadDone(bool ok) override {
        if (!ok) return half_closed();
        const std::string text = text_of(asked_);
        if (method_ == "Unary") {
            std::string upper = text;
            for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
            finish_with(upper);
        } else if (method_ == "Stream") {
            left_ = std::stoul(text);
            next();
        } else if (method_ == "Sum") {
            sum_ += text.size();
            StartRead(&asked_);
        } else if (method_ == "Reverse") {
            answer_ = buffer_of({text.rbegin(), text.rend()});
            StartWrite(&answer_);
        } else if (method_ == "Fail") {
            fail(text);
        } else if (method_ == "Remaining") {
            finish_with(std::to_string(remaining_ms()));
        } else if (method_ == "Late") {
            answer_late(std::stol(text));
        } else {
            finish(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no method " + method_));
        }
    }

    void OnWriteDone(bool ok) override {
        if (!ok) return finish(grpc::Status(grpc::StatusCode::CANCELLED, "nobody reads"));
        if (method_ == "Stream") return next();
        StartRead(&asked_);
    }

    void OnCancel() override {
        print("{\"event\": \"cancelled\", \"method\": " + quoted(method_) + "}");
        cancelled_ = true;
        alarm_.Cancel();
    }

    void OnDone() override { delete this; }

private:
    void half_closed() {
        if (method_ == "Sum" && !cancelled_) return finish_with(std::to_string(sum_));
        finish(grpc::Status::OK);
    }

    void next() {
        if (left_ == 0) return finish(grpc::Status::OK);
        answer_ = buffer_of(std::to_string(--left_));
        StartWrite(&answer_);
    }

    void fail(const std::string& text) {
        const std::size_t space = text.find(' ');
        context_.AddTrailingMetadata("x-why", "because");
        finish(grpc::Status(static_cast<grpc::StatusCode>(std::stoi(text)), text.substr(space + 1),
                            std::string("\x08\x05\x00\xff!", 5)));
    }

    void answer_late(long wait_ms) {
        print("{\"event\": \"late\", \"remaining_ms\": " + std::to_string(remaining_ms()) + "}");
        alarm_.Set(std::chrono::system_clock::now() + std::chrono::milliseconds(wait_ms),
                   [this](bool) { finish_with("late"); });
        if (cancelled_) alarm_.Cancel();
    }

    /// -1 without a deadline.
    [[nodiscard]] long remaining_ms() const {
        const auto until = context_.deadline();
        if (until == std::chrono::system_clock::time_point::max()) return -1;
        return std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::system_clock::now()).count();
    }

    void finish_with(const std::string& text) {
        answer_ = buffer_of(text);
        StartWriteAndFinish(&answer_, grpc::WriteOptions(), grpc::Status::OK);
    }
    void finish(const grpc::Status& status) { Finish(status); }

    grpc::GenericCallbackServerContext& context_;
    const std::string method_;
    grpc::ByteBuffer asked_, answer_;
    std::size_t left_ = 0, sum_ = 0;
    std::atomic<bool> cancelled_{false};
    grpc::Alarm alarm_;
};

class Words : public grpc::CallbackGenericService {
public:
    explicit Words(std::string name) : name_(std::move(name)) {}
    grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
        return new Call(*context, name_);
    }

private:
    std::string name_;
};

int serve(const Options& options) {
    Words words(options.words.at(2));
    grpc::ServerBuilder builder;
    std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
    if (options.has("--chain")) {
        grpc::SslServerCredentialsOptions tls;
        tls.pem_key_cert_pairs.push_back({file(options.text("--key")), file(options.text("--chain"))});
        credentials = grpc::SslServerCredentials(tls);
    }
    if (options.has("--max-age")) {
        builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, options.number("--max-age", 0));
        builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 10'000);
    }
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(options.words.at(1), credentials);
    builder.RegisterCallbackGenericService(&words);
    const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (server == nullptr) throw std::runtime_error("cannot listen on " + options.words.at(1));
    server->Wait();  // until SIGTERM ends the process
    return 0;
}

// ---- the client ----------------------------------------------------------------------------------------------------

struct Answer {
    std::vector<std::string> messages;
    Metadata initial, trailing;
    grpc::Status status;

    [[nodiscard]] std::string server() const {
        const auto at = trailing.find("x-server");
        return at == trailing.end() ? "" : at->second;
    }
};

struct Question {
    std::string method;
    std::vector<std::string> messages{};
    int deadline_ms = 20'000;
    Metadata metadata{};
    bool in_step = false;  ///< each message is answered before the next is sent
};

Metadata copy(const std::multimap<grpc::string_ref, grpc::string_ref>& from) {
    Metadata out;
    for (const auto& [key, value] : from)
        out.emplace(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
    return out;
}

/// Waits for each step of a call; false = the step was not done, the call is over.
class Steps {
public:
    grpc::CompletionQueue queue;
    bool done() {
        void* tag = nullptr;
        bool ok = false;
        return queue.Next(&tag, &ok) && ok;
    }
    ~Steps() {
        queue.Shutdown();
        void* tag = nullptr;
        bool ok = false;
        while (queue.Next(&tag, &ok)) {
        }
    }
};

Answer ask(grpc::GenericStub& stub, const Question& question) {
    Answer answer;
    Steps steps;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(question.deadline_ms));
    for (const auto& [key, value] : question.metadata) context.AddMetadata(key, value);
    const auto call = stub.PrepareCall(&context, "/test.Words/" + question.method, &steps.queue);
    grpc::ByteBuffer received;
    call->StartCall(nullptr);
    bool open = steps.done();
    for (const std::string& message : question.messages) {
        if (!open) break;
        call->Write(buffer_of(message), nullptr);
        open = steps.done();
        if (open && question.in_step) {
            call->Read(&received, nullptr);
            open = steps.done();
            if (open) answer.messages.push_back(text_of(received));
        }
    }
    call->WritesDone(nullptr);
    (void)steps.done();
    for (;;) {
        call->Read(&received, nullptr);
        if (!steps.done()) break;
        answer.messages.push_back(text_of(received));
    }
    call->Finish(&answer.status, nullptr);
    if (!steps.done()) throw std::runtime_error("a call without an end");
    answer.initial = copy(context.GetServerInitialMetadata());
    answer.trailing = copy(context.GetServerTrailingMetadata());
    return answer;
}

grpc::GenericStub stub_for(const Options& options) {
    grpc::ChannelArguments arguments;
    std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
    if (options.has("--ca")) {
        credentials = grpc::SslCredentials(
            {.pem_root_certs = file(options.text("--ca")), .pem_private_key = {}, .pem_cert_chain = {}});
        arguments.SetSslTargetNameOverride(options.text("--host"));
    }
    arguments.SetMaxReceiveMessageSize(16 << 20);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // a call that is lost shall be seen
    return grpc::GenericStub(grpc::CreateCustomChannel(options.words.at(1), credentials, arguments));
}

int call(const Options& options) {
    grpc::GenericStub stub = stub_for(options);
    Question question{.method = options.words.at(2)};
    question.messages.assign(options.words.begin() + 3, options.words.end());
    question.deadline_ms = options.number("--deadline", question.deadline_ms);
    question.in_step = options.has("--in-step");
    for (auto [at, end] = options.given.equal_range("--metadata"); at != end; ++at) {
        const std::size_t equals = at->second.find('=');
        question.metadata.emplace(at->second.substr(0, equals), at->second.substr(equals + 1));
    }
    const Answer answer = ask(stub, question);
    std::string messages;
    for (const std::string& message : answer.messages) messages += (messages.empty() ? "" : ", ") + quoted(message);
    print("{\"code\": " + std::to_string(answer.status.error_code()) +
          ", \"text\": " + quoted(answer.status.error_message()) +
          ", \"details\": " + quoted(answer.status.error_details()) + ", \"messages\": [" + messages +
          "], \"initial\": " + pairs(answer.initial) + ", \"trailing\": " + pairs(answer.trailing) + "}");
    return 0;
}

/// Calls one after another, alternately unary and a conversation of three messages, on one channel for all threads.
class Load {
public:
    Load(grpc::GenericStub& stub, int calls) : stub_(stub), left_(calls) {}

    void work() {
        while (!stop_ && left_.fetch_sub(1) > 0) one(left_.load() % 2 == 0);
    }
    void stop() { stop_ = true; }
    [[nodiscard]] std::string told() const {
        return "{\"right\": " + count(right_) + ", \"wrong\": " + count(wrong_) + "}";
    }

private:
    void one(bool unary) {
        const Question question =
            unary ? Question{.method = "Unary", .messages = {"word"}}
                  : Question{.method = "Reverse", .messages = {"one", "two", "six"}, .in_step = true};
        const std::vector<std::string> wanted =
            unary ? std::vector<std::string>{"WORD"} : std::vector<std::string>{"eno", "owt", "xis"};
        const Answer answer = ask(stub_, question);
        const std::lock_guard lock(mutex_);
        if (answer.status.ok() && answer.messages == wanted) {
            ++right_[answer.server()];
        } else {
            ++wrong_[std::to_string(answer.status.error_code()) + " " + answer.status.error_message()];
        }
    }
    static std::string count(const std::map<std::string, int>& counts) {
        std::string out;
        for (const auto& [name, number] : counts)
            out += (out.empty() ? "" : ", ") + quoted(name) + ": " + std::to_string(number);
        return "{" + out + "}";
    }

    grpc::GenericStub& stub_;
    std::atomic<int> left_;
    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    std::map<std::string, int> right_;  ///< by the server that answered
    std::map<std::string, int> wrong_;  ///< by status
};

int load(const Options& options) {
    grpc::GenericStub stub = stub_for(options);
    Load load(stub, options.number("--calls", 1'000'000'000));
    std::vector<std::thread> threads;
    for (int i = 0; i < options.number("--threads", 4); ++i) threads.emplace_back([&load] { load.work(); });
    if (!options.has("--calls")) {
        while (std::getchar() != EOF) {
        }
        load.stop();
    }
    for (std::thread& thread : threads) thread.join();
    print(load.told());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const Options options(argc, argv);
        const std::string what = options.words.empty() ? "" : options.words.front();
        if (what == "serve") return serve(options);
        if (what == "call") return call(options);
        if (what == "load") return load(options);
        throw std::runtime_error("what: serve, call or load");
    } catch (const std::exception& error) {
        std::fprintf(stderr, "words: %s\n", error.what());
        return 2;
    }
}

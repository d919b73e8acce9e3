#include "app/upgrade.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <future>

extern char** environ;

namespace plimsoll::app {
namespace {

using net::Descriptor;

constexpr std::string_view variable = "PLIMSOLL_SUCCEEDS";
constexpr int wire_of_child = 3;
constexpr std::string_view ended_early = "the new process ended before it was ready";
/// SCM_MAX_FD of the kernel is 253.
constexpr std::size_t sockets_per_packet = 200;
constexpr std::size_t packet_bytes = 1024;
/// The new process's side: its predecessor answers at once or is no more.
constexpr Duration predecessor_patience = std::chrono::seconds(30);

int milliseconds_of(Duration patience) {
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(patience).count());
}

std::unexpected<Error> system_failure(std::string what) {
    return fail(Code::io, std::move(what) + ": " + std::strerror(errno));
}

/// One packet with up to sockets_per_packet descriptors.
bool send_packet(int wire, std::string_view text, std::span<const Descriptor> sockets = {}) {
    iovec part{const_cast<char*>(text.data()), text.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sockets_per_packet * sizeof(int))> memory{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!sockets.empty()) {
        message.msg_control = memory.data();
        message.msg_controllen = CMSG_SPACE(sockets.size() * sizeof(int));
        cmsghdr* head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sockets.size() * sizeof(int));
        std::vector<int> numbers;
        for (const Descriptor& socket : sockets) numbers.push_back(socket.get());
        std::memcpy(CMSG_DATA(head), numbers.data(), numbers.size() * sizeof(int));
    }
    ssize_t sent = 0;
    do {
        sent = ::sendmsg(wire, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent == static_cast<ssize_t>(text.size());
}

/// The next packet; descriptors in it are appended to `sockets`. Errors: closed.
Result<std::string> receive_packet(int wire, std::vector<Descriptor>& sockets) {
    std::array<char, packet_bytes> text{};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sockets_per_packet * sizeof(int))> memory{};
    iovec part{text.data(), text.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = memory.data();
    message.msg_controllen = memory.size();
    ssize_t received = 0;
    do {
        received = ::recvmsg(wire, &message, MSG_CMSG_CLOEXEC);
    } while (received < 0 && errno == EINTR);
    for (cmsghdr* head = CMSG_FIRSTHDR(&message); received >= 0 && head != nullptr;
         head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
        for (std::size_t at = 0; CMSG_LEN(at + sizeof(int)) <= head->cmsg_len; at += sizeof(int)) {
            int number = -1;
            std::memcpy(&number, CMSG_DATA(head) + at, sizeof number);
            sockets.emplace_back(number);
        }
    }
    if (received <= 0) return fail(Code::closed, "the other process is gone");
    return std::string(text.data(), static_cast<std::size_t>(received));
}

/// Starts the program with `wire` as its descriptor 3. Everything else of ours is close-on-exec.
Result<pid_t> spawn(const Upgrade::Plan& plan, int wire) {
    std::vector<char*> arguments, environment;
    for (const std::string& argument : plan.arguments) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    std::string succeeds = std::string(variable) + "=" + std::to_string(wire_of_child);
    for (char** each = environ; *each != nullptr; ++each)
        if (!std::string_view(*each).starts_with(std::string(variable) + "=")) environment.push_back(*each);
    environment.push_back(succeeds.data());
    environment.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, wire, wire_of_child);
    sigset_t none, ignored;
    sigemptyset(&none);
    sigemptyset(&ignored);
    sigaddset(&ignored, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &ignored);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t child = -1;
    const int error =
        ::posix_spawn(&child, plan.program.c_str(), &actions, &attributes, arguments.data(), environment.data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return fail(Code::io, plan.program + " cannot be started: " + std::strerror(error));
    return child;
}

std::string ending(int status) {
    if (WIFSIGNALED(status)) return "it ended with signal " + std::to_string(WTERMSIG(status));
    return "it ended with exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

// ---- the old process -----------------------------------------------------------------------------------------------

Upgrade::Upgrade(net::Network& network, std::shared_ptr<net::ListeningSockets> listening, Plan plan)
    : network_(network),
      listening_(std::move(listening)),
      plan_(std::move(plan)),
      cancel_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { run(); }) {}

Upgrade::~Upgrade() {
    const std::uint64_t one = 1;
    (void)!::write(cancel_.get(), &one, sizeof one);
    thread_.join();
}

void Upgrade::run() {
    const Result<void> done = take_steps();
    if (!done) {
        std::string why = done.error().detail;
        if (const std::string how = end_child(); !how.empty()) why += "; " + how;
        static_cast<void>(perform([this, why] { plan_.failed(why); }));
    }
    ended_.store(true);
}

Result<void> Upgrade::take_steps() {
    auto sockets = listening_->copies();
    if (!sockets) return std::unexpected(sockets.error());
    if (sockets->size() > max_handed_over) return fail(Code::limit, "more than 4096 listening sockets");
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return system_failure("no socket pair");
    wire_ = Descriptor(pair[0]);
    Descriptor theirs(pair[1]);
    auto child = spawn(plan_, theirs.get());
    if (!child) return std::unexpected(child.error());
    child_ = *child;
    theirs.reset();
    bool sent = send_packet(wire_.get(), "sockets " + std::to_string(sockets->size()));
    for (std::size_t at = 0; sent && at < sockets->size(); at += sockets_per_packet) {
        const std::size_t count = std::min(sockets_per_packet, sockets->size() - at);
        sent = send_packet(wire_.get(), "+", std::span(*sockets).subspan(at, count));
    }
    if (!sent && errno == EPIPE) return fail(Code::closed, std::string(ended_early));
    if (!sent) return system_failure("the listening sockets cannot be handed over");
    sockets->clear();

    const auto expect = [this](std::string_view word) -> Result<void> {
        const auto said = hear(plan_.patience);
        if (!said) return std::unexpected(said.error());
        if (*said != word) return fail(Code::protocol, "the new process says: " + *said);
        return {};
    };
    if (auto asked = expect("journal"); !asked) return asked;
    Result<void> lent = fail(Code::cancelled, "this server is about to stop");
    if (!perform([this, &lent] { lent = plan_.lend(); }) || !lent) return lent;
    if (!send_packet(wire_.get(), "yours")) return system_failure("the new process does not listen");
    if (auto ready = expect("ready"); !ready) return ready;
    const auto last_words = hear(plan_.watched);  // silence is what we want
    if (last_words) return fail(Code::protocol, "the new process says: " + *last_words);
    if (last_words.error().code != Code::timeout) return std::unexpected(last_words.error());
    listening_->hand_over();
    if (!perform([this] { plan_.replaced(child_); })) return fail(Code::cancelled, "this server is about to stop");
    (void)!send_packet(wire_.get(), "go");
    return {};
}

/// What the new process says next. Errors: timeout, closed, cancelled.
Result<std::string> Upgrade::hear(Duration patience) const {
    std::array<pollfd, 2> wait{pollfd{wire_.get(), POLLIN, 0}, pollfd{cancel_.get(), POLLIN, 0}};
    if (::poll(wait.data(), wait.size(), milliseconds_of(patience)) == 0)
        return fail(Code::timeout, "the new process was silent for " + text(patience));
    if (wait[1].revents != 0) return fail(Code::cancelled, "this server is about to stop");
    std::vector<Descriptor> unwanted;
    auto said = receive_packet(wire_.get(), unwanted);
    if (!said) said.error().detail = ended_early;
    return said;
}

/// Runs `work` on control's thread and waits. False: that thread is about to end, and never will.
bool Upgrade::perform(std::function<void()> work) const {
    auto done = std::make_shared<std::promise<void>>();
    auto wanted = std::make_shared<std::atomic<bool>>(true);
    std::future<void> finished = done->get_future();
    network_.post([work = std::move(work), done, wanted] {
        if (wanted->exchange(false)) {
            work();
            done->set_value();
        }
    });
    while (finished.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready) {
        pollfd wait{cancel_.get(), POLLIN, 0};
        if (::poll(&wait, 1, 0) != 1) continue;
        if (wanted->exchange(false)) return false;
        finished.wait();  // it runs in this moment
        return true;
    }
    return true;
}

/// How the child ended, or empty when there was none.
std::string Upgrade::end_child() const {
    if (child_ <= 0) return {};
    int status = 0;
    constexpr int tries = 100;  // for two seconds, then it is killed
    for (int i = 0; i < tries; ++i) {
        if (::waitpid(child_, &status, WNOHANG) == child_) return ending(status);
        if (i == 0) ::kill(child_, SIGTERM);
        ::poll(nullptr, 0, 20);
    }
    ::kill(child_, SIGKILL);
    ::waitpid(child_, &status, 0);
    return "it was killed";
}

// ---- the new process -----------------------------------------------------------------------------------------------

namespace {

Result<std::string> hear_predecessor(int wire, std::vector<Descriptor>& sockets) {
    pollfd wait{wire, POLLIN, 0};
    if (::poll(&wait, 1, milliseconds_of(predecessor_patience)) != 1)
        return fail(Code::timeout, "the server that is to be replaced does not answer");
    return receive_packet(wire, sockets);
}

Result<void> expect_of_predecessor(int wire, std::string_view word) {
    std::vector<Descriptor> unwanted;
    const auto said = hear_predecessor(wire, unwanted);
    if (!said) return std::unexpected(said.error());
    if (*said != word) return fail(Code::protocol, "the server that is to be replaced says: " + *said);
    return {};
}

}  // namespace

Result<std::optional<Predecessor>> Predecessor::find() {
    const char* text = std::getenv(std::string(variable).c_str());
    if (text == nullptr) return std::nullopt;
    int number = -1;
    const auto [end, error] = std::from_chars(text, text + std::strlen(text), number);
    ::unsetenv(std::string(variable).c_str());
    if (error != std::errc{} || *end != '\0' || ::fcntl(number, F_SETFD, FD_CLOEXEC) != 0)
        return fail(Code::invalid, "PLIMSOLL_SUCCEEDS is not for people to set");
    Predecessor found{Descriptor(number)};
    if (auto received = found.receive_sockets(); !received) return std::unexpected(received.error());
    return std::optional(std::move(found));
}

Result<void> Predecessor::receive_sockets() {
    const auto first = hear_predecessor(wire_.get(), sockets_);
    if (!first) return std::unexpected(first.error());
    constexpr std::string_view word = "sockets ";
    std::size_t count = 0;
    const auto [end, error] =
        std::from_chars(first->data() + std::min(word.size(), first->size()), first->data() + first->size(), count);
    if (!first->starts_with(word) || error != std::errc{} || end != first->data() + first->size() ||
        count > max_handed_over)
        return fail(Code::protocol, "the server that is to be replaced says: " + *first);
    while (sockets_.size() < count) {
        const std::size_t before = sockets_.size();
        const auto more = hear_predecessor(wire_.get(), sockets_);
        if (!more) return std::unexpected(more.error());
        if (sockets_.size() == before) return fail(Code::limit, "no descriptors left for the inherited sockets");
    }
    return {};
}

Result<void> Predecessor::ask_for_journal() {
    if (!send_packet(wire_.get(), "journal")) return system_failure("the server that is to be replaced is gone");
    return expect_of_predecessor(wire_.get(), "yours");
}

Result<void> Predecessor::ready() {
    if (!send_packet(wire_.get(), "ready")) return fail(Code::closed, "the server that was to be replaced is gone");
    return expect_of_predecessor(wire_.get(), "go");
}

void Predecessor::failed(const std::string& why) { (void)!send_packet(wire_.get(), why.substr(0, packet_bytes)); }

}  // namespace plimsoll::app

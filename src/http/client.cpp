#include "http/client.h"

#include <algorithm>
#include <span>
#include <utility>

#include "http/writer.h"

namespace plimsoll::http {
namespace {

using async::Deadline;
using async::Task;

constexpr std::size_t first_buffer = 16 * 1024;
/// 1xx heads before the answer: a peer that sends more of them never means to answer.
constexpr int max_interim = 16;

std::unexpected<Error> upstream(Error error) {
    error.side = Side::upstream;
    return std::unexpected(std::move(error));
}
std::unexpected<Error> upstream(Code code, std::string detail) { return fail(code, std::move(detail), Side::upstream); }

bool is_ours(Known known) {
    return known == Known::content_length || known == Known::transfer_encoding || known == Known::host;
}

bool takes_body(std::string_view method) { return method == "POST" || method == "PUT" || method == "PATCH"; }

std::string host_of(const net::Address& address) {
    return address.family() == net::Address::Family::unix_socket ? "localhost" : address.text();
}

/// One exchange on a connection of its own.
Task<Result<Response>> once(net::Network& network, net::Address address, Request request,
                            std::function<bool(std::string_view)> on_data, Deadline deadline, ClientOptions options) {
    request.headers.set("Connection", "close");
    const Result<std::string> wire = serialise(request, host_of(address));
    if (!wire) co_return std::unexpected(wire.error());
    Result<std::unique_ptr<ClientConnection>> connection =
        co_await ClientConnection::open(network, std::move(address), deadline, options);
    if (!connection) co_return std::unexpected(std::move(connection.error()));
    Response response;
    ClientConnection::Taking taking;
    taking.head = [&response](const ResponseHead& head) {
        response.status = head.status;
        response.headers = Headers::copy(head.fields);
    };
    taking.data = std::move(on_data);
    const Method method = classify_method(request.method);
    const Result<Answer> answer = co_await (*connection)->exchange(*wire, method, deadline, &taking);
    if (!answer) co_return std::unexpected(answer.error());
    co_return response;
}

/// Cuts a flow of bytes into lines.
struct Lines {
    std::function<bool(std::string_view)> on_line;
    std::size_t limit = 0;
    std::string partial{};
    bool over = false;     ///< a line longer than the limit
    bool stopped = false;  ///< on_line has had enough

    bool give(std::string_view line) {
        if (line.ends_with('\r')) line.remove_suffix(1);
        stopped = !on_line(line);
        return !stopped;
    }
    bool take(std::string_view data) {
        while (!data.empty()) {
            const std::size_t end = data.find('\n');
            over = partial.size() + std::min(end, data.size()) > limit;
            if (over) return false;
            if (end == std::string_view::npos) {
                partial.append(data);
                return true;
            }
            partial.append(data.substr(0, end));
            data.remove_prefix(end + 1);
            const std::string line = std::exchange(partial, {});
            if (!give(line)) return false;
        }
        return true;
    }
};

}  // namespace

Result<std::string> serialise(const Request& request, std::string_view host) {
    const std::string_view authority = request.authority.empty() ? host : std::string_view(request.authority);
    std::string target = request.path;
    if (!request.query.empty()) target.append("?").append(request.query);
    const auto printable = [](char c) { return c > ' ' && c < 0x7f && c != '#'; };
    if (!is_token(request.method)) return fail(Code::invalid, "not a method: '" + request.method + "'");
    if (target.empty() || !std::ranges::all_of(target, printable)) {
        return fail(Code::invalid, "not a path: '" + target + "'; escape what is not plain ASCII");
    }
    if (!is_authority(authority)) return fail(Code::invalid, "not a host: '" + std::string(authority) + "'");
    for (const Headers::Line& line : request.headers) {
        if (!is_token(line.name) || !is_field_value(line.value)) {
            return fail(Code::invalid, "not a header line: '" + line.name + "'");
        }
    }
    std::string wire;
    HeadWriter writer(wire);
    writer.request_line(request.method, target).field("Host", authority);
    for (const Headers::Line& line : request.headers) {
        if (!is_ours(classify(line.name))) writer.field(line.name, line.value);
    }
    if (!request.body.empty() || takes_body(request.method)) {
        writer.framing({Framing::Kind::length, request.body.size()});
    }
    writer.end();
    wire.append(request.body);
    return wire;
}

Task<Result<Response>> fetch(net::Network& network, net::Address address, Request request, Deadline deadline,
                             ClientOptions options) {
    std::string body;
    bool over = false;
    const auto keep = [&body, &over, limit = options.body_bytes](std::string_view data) {
        over = data.size() > limit - body.size();
        if (!over) body.append(data);
        return !over;
    };
    Result<Response> response = co_await once(network, std::move(address), std::move(request), keep, deadline, options);
    if (response && over)
        co_return upstream(Code::limit, "an answer of more than " + std::to_string(options.body_bytes) + " bytes");
    if (response) response->body = std::move(body);
    co_return response;
}

Task<Result<Response>> fetch_lines(net::Network& network, net::Address address, Request request,
                                   std::function<bool(std::string_view)> on_line, Deadline deadline,
                                   ClientOptions options) {
    Lines lines{.on_line = std::move(on_line), .limit = options.line_bytes};
    const auto take = [&lines](std::string_view data) { return lines.take(data); };
    Result<Response> response = co_await once(network, std::move(address), std::move(request), take, deadline, options);
    if (response && lines.over)
        co_return upstream(Code::limit, "a line of more than " + std::to_string(options.line_bytes) + " bytes");
    if (response && !lines.stopped && !lines.partial.empty()) lines.give(lines.partial);
    co_return response;
}

ClientConnection::ClientConnection(net::Network& network, std::unique_ptr<net::Stream> stream,
                                   const ClientOptions& options)
    : network_(network), stream_(std::move(stream)), options_(options), parser_(options.head) {}

Task<Result<std::unique_ptr<ClientConnection>>> ClientConnection::open(net::Network& network, net::Address address,
                                                                       Deadline deadline, ClientOptions options) {
    Result<std::unique_ptr<net::Stream>> stream = co_await network.connect(std::move(address), deadline);
    if (!stream) {
        stream.error().retry = Retry::yes;
        co_return upstream(std::move(stream.error()));
    }
    co_return std::make_unique<ClientConnection>(network, *std::move(stream), options);
}

Task<Result<std::size_t>> ClientConnection::read_more(Deadline deadline) {
    if (received_.size() - size_ < first_buffer / 2) received_.resize(std::max(first_buffer, received_.size() * 2));
    Result<std::size_t> n = co_await stream_->read(std::span(received_).subspan(size_), deadline);
    if (!n) co_return upstream(std::move(n.error()));
    size_ += *n;
    co_return n;
}

/// Until the head of the final answer stands at the front of what was received.
Task<Result<void>> ClientConnection::read_head(Method method, Deadline deadline) {
    parser_.reset();
    for (int interim = 0; interim <= max_interim;) {
        const Progress progress = parser_.feed(std::string_view(received_).substr(0, size_), method);
        if (progress == Progress::refused) {
            co_return upstream(Code::protocol, std::string(parser_.refusal().reason));
        }
        if (progress == Progress::complete) {
            if (!parser_.head().interim()) co_return Result<void>();
            received_.erase(0, parser_.head().bytes);
            size_ -= parser_.head().bytes;
            parser_.reset();
            ++interim;
            continue;
        }
        const std::size_t n = co_await async::ok(read_more(deadline));
        if (n > 0) continue;
        if (size_ == 0) co_return upstream(Code::closed, "the connection was closed without an answer");
        co_return upstream(Code::protocol, "the connection was closed within the head");
    }
    co_return upstream(Code::protocol, "too many interim answers");
}

Task<Result<void>> ClientConnection::read_body(Deadline deadline, const Taking* taking, Answer& answer) {
    BodyDecoder decoder(parser_.head().framing);
    std::size_t at = parser_.head().bytes;
    while (true) {
        const BodyStep step = decoder.next(std::string_view(received_).substr(at, size_ - at));
        at += step.consumed;
        if (step.kind == BodyStep::Kind::refused) {
            co_return upstream(Code::protocol, std::string(decoder.refusal().reason));
        }
        if (step.kind == BodyStep::Kind::end) break;
        if (step.kind == BodyStep::Kind::data) {
            answer.body_bytes += step.data.size();
            if (taking == nullptr || !taking->data || taking->data(step.data)) continue;
            stream_->close();
            co_return Result<void>();
        }
        at = size_ = 0;  // all of it was used up
        const std::size_t n = co_await async::ok(read_more(deadline));
        if (n > 0) continue;
        if (!decoder.finish()) co_return upstream(Code::protocol, "the connection was closed within the body");
    }
    // Bytes beyond the answer belong to nothing we asked for.
    usable_ = parser_.head().keep_alive && at == size_;
    size_ = 0;
    co_return Result<void>();
}

Task<Result<Answer>> ClientConnection::exchange(std::string_view wire, Method method, Deadline deadline,
                                                const Taking* taking) {
    if (!usable_) co_return upstream(Code::closed, "the connection cannot be used again");
    usable_ = false;
    Answer answer;
    answer.sent = network_.now();
    Result<void> sent = co_await stream_->write_all(wire, deadline);
    // A peer that answers early and stops reading breaks our writing: the answer may be there all the same.
    if (!sent && sent.error().code != Code::reset) co_return upstream(std::move(sent.error()));
    co_await async::ok(read_head(method, deadline));
    const ResponseHead& head = parser_.head();
    if (head.upgrade) co_return upstream(Code::protocol, "another protocol that nobody asked for");
    answer.status = head.status;
    answer.first_byte = network_.now();
    if (taking != nullptr && taking->head) taking->head(head);
    co_await async::ok(read_body(deadline, taking, answer));
    if (!sent) usable_ = false;
    answer.done = network_.now();
    co_return answer;
}

}  // namespace plimsoll::http

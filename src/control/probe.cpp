#include "control/probe.h"

#include <fmt/format.h>

#include "control/grpc_health.h"
#include "http/client.h"
#include "http/http2_client.h"
#include "net/proxy_protocol.h"
#include "tls/session.h"

namespace plimsoll::control {

namespace {

using async::Deadline;
using async::Task;
using Kind = ProbeResult::Kind;

constexpr std::string_view agent = "plimsoll-health";
/// Of an answer's body to an HTTP probe: read as far as this, so that the server is not cut off in the middle of a
/// short page; a health page is no download.
constexpr std::size_t max_page_bytes = 64 * 1024;

ProbeResult failed(const Error& error) {
    if (error.side == Side::upstream) return {Kind::bad, error.detail};
    return {error.code == Code::limit ? Kind::no_descriptors : Kind::ours, error.detail};
}

std::string host_of(const Way& way, const config::HealthCheck& check) {
    return check.host.empty() ? way.address.text() : check.host;
}

ProbeResult judge(const config::HealthCheck& check, std::uint16_t status) {
    return {status == check.expect_status ? Kind::good : Kind::bad, fmt::format("{} answered {}", check.path, status)};
}

Task<ProbeResult> over_http1(net::Network& network, std::unique_ptr<net::Stream> stream, const Way& way,
                             const config::HealthCheck& check, Deadline deadline) {
    http::Request request;
    request.path = check.path;
    request.authority = host_of(way, check);
    request.headers.add("user-agent", agent);
    request.headers.add("connection", "close");
    const Result<std::string> wire = http::serialise(request, request.authority);
    if (!wire) co_return ProbeResult{Kind::ours, wire.error().detail};
    http::ClientConnection connection(network, std::move(stream), {});
    std::size_t seen = 0;
    http::ClientConnection::Taking taking;
    taking.data = [&seen](std::string_view data) { return (seen += data.size()) <= max_page_bytes; };
    const auto answer = co_await connection.exchange(*wire, http::Method::get, deadline, &taking);
    if (!answer) co_return failed(answer.error());
    co_return judge(check, answer->status);
}

struct Http2Answer {
    std::uint16_t status = 0;
    std::string content_type, grpc_status, grpc_message;
    std::string body;
};

Task<void> keep_running(http::Http2Client& client) { static_cast<void>(co_await client.run()); }

std::string value_of(const http::Fields& fields, std::string_view name) {
    for (const auto& field : fields)
        if (http::equal_ignoring_case(field.name, name)) return std::string(field.value);
    return {};
}

Task<Result<Http2Answer>> exchange(http::ClientStream& stream, const http::Draft& head, std::string_view body,
                                   std::size_t most, Deadline deadline) {
    co_await async::ok(stream.send({.head = &head, .data = body, .last = true}, deadline));
    co_await async::ok(stream.read_head(deadline));
    Http2Answer answer;
    answer.status = stream.head().status;
    answer.content_type = value_of(stream.head().fields, "content-type");
    answer.grpc_status = value_of(stream.head().fields, "grpc-status");  // an answer that is nothing but trailers
    answer.grpc_message = value_of(stream.head().fields, "grpc-message");
    while (true) {
        const http::BodyPiece piece = stream.take();
        if (piece.refusal.status != 0) co_return fail(Code::protocol, "a broken body", Side::upstream);
        answer.body.append(piece.data.substr(0, most - std::min(most, answer.body.size())));
        if (piece.ended) break;
        if (answer.body.size() >= most) co_return answer;
        co_await async::ok(stream.more(deadline));
    }
    if (const std::string status = value_of(stream.trailers(), "grpc-status"); !status.empty()) {
        answer.grpc_status = status;
        answer.grpc_message = value_of(stream.trailers(), "grpc-message");
    }
    co_return answer;
}

/// One request on an HTTP/2 connection of its own.
Task<Result<Http2Answer>> over_http2(net::Network& network, std::unique_ptr<net::Stream> stream,
                                     const http::Draft& head, std::string_view body, std::size_t most,
                                     Deadline deadline) {
    http::Http2Counts counts;
    http::Http2Limits limits;
    limits.streams = 1;
    http::Http2Client client(network, *stream, limits, counts);
    async::Scope scope;  // ends before the client
    scope.spawn(keep_running(client));
    auto opened = client.open();
    if (!opened) co_return fail(opened.error().code, opened.error().detail, Side::upstream);
    Result<Http2Answer> answer = co_await exchange(**opened, head, body, most, deadline);
    opened->reset();
    client.shut_down();
    co_return answer;
}

http::Draft draft(const Way& way, const config::HealthCheck& check, std::string_view method, std::string_view target) {
    http::Draft head;
    head.method = head.keep(method);
    head.scheme = way.tls ? "https" : "http";
    head.authority = head.keep(host_of(way, check));
    head.target = head.keep(target);
    head.add("user-agent", agent);
    return head;
}

Task<ProbeResult> page_over_http2(net::Network& network, std::unique_ptr<net::Stream> stream, const Way& way,
                                  const config::HealthCheck& check, Deadline deadline) {
    const http::Draft head = draft(way, check, "GET", check.path);
    const auto answer = co_await over_http2(network, std::move(stream), head, {}, max_page_bytes, deadline);
    if (!answer) co_return failed(answer.error());
    co_return judge(check, answer->status);
}

ProbeResult judge_grpc(const config::HealthCheck& check, const Http2Answer& answer) {
    const std::string what = check.service.empty() ? std::string("grpc health") : "grpc health of " + check.service;
    if (answer.status != 200) return {Kind::bad, fmt::format("{}: HTTP status {}", what, answer.status)};
    if (!answer.content_type.starts_with("application/grpc"))
        return {Kind::bad, fmt::format("{}: the answer is not gRPC ({:.40})", what, answer.content_type)};
    if (answer.grpc_status != "0")
        return {Kind::bad,
                fmt::format("{}: grpc-status {:.16} {:.80}", what,
                            answer.grpc_status.empty() ? "is missing" : answer.grpc_status, answer.grpc_message)};
    const Result<Serving> serving = decode_health_answer(answer.body);
    if (!serving) return {Kind::bad, fmt::format("{}: {}", what, serving.error().detail)};
    return {*serving == Serving::serving ? Kind::good : Kind::bad, fmt::format("{}: {}", what, name(*serving))};
}

Task<ProbeResult> grpc(net::Network& network, std::unique_ptr<net::Stream> stream, const Way& way,
                       const config::HealthCheck& check, Deadline deadline) {
    const std::string body = encode_health_request(check.service);
    http::Draft head = draft(way, check, "POST", grpc_health_path);
    head.add("content-type", "application/grpc");
    head.add("te", "trailers");
    head.framing = {http::Framing::Kind::chunked, 0};  // over HTTP/2: ended by END_STREAM
    const auto answer = co_await over_http2(network, std::move(stream), head, body, max_grpc_answer_bytes, deadline);
    if (!answer) co_return failed(answer.error());
    co_return judge_grpc(check, *answer);
}

}  // namespace

Task<Result<std::unique_ptr<net::Stream>>> connect(net::Network& network, const Way& way, Deadline deadline) {
    auto stream = co_await network.connect(way.address, deadline);
    if (!stream) co_return std::unexpected(std::move(stream.error()));
    if (way.proxy_protocol != config::ProxyProtocol::off) {
        std::string header;
        if (way.proxy_protocol == config::ProxyProtocol::v1) {
            net::append_proxy_v1_local(header);
        } else {
            net::append_proxy_v2_local(header);
        }
        if (const auto sent = co_await (*stream)->write_all(header, deadline); !sent)
            co_return fail(sent.error().code, sent.error().detail, Side::upstream);
    }
    if (!way.tls) co_return std::move(*stream);
    auto session = co_await tls::connect(std::move(*stream), way.tls, way.server_name, deadline);
    if (!session) co_return std::unexpected(std::move(session.error()));
    co_return std::unique_ptr<net::Stream>(std::move(*session));
}

Task<ProbeResult> probe(net::Network& network, const Way& way, const config::HealthCheck& check, Deadline deadline) {
    auto stream = co_await connect(network, way, deadline);
    if (!stream) co_return failed(stream.error());
    switch (check.type) {
        case config::CheckType::tcp: co_return ProbeResult{Kind::good, "connected"};
        case config::CheckType::grpc: co_return co_await grpc(network, std::move(*stream), way, check, deadline);
        case config::CheckType::http: break;
    }
    if (way.http2) co_return co_await page_over_http2(network, std::move(*stream), way, check, deadline);
    co_return co_await over_http1(network, std::move(*stream), way, check, deadline);
}

}  // namespace plimsoll::control

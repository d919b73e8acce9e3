#include "proxy/grpc_answer.h"

#include <gtest/gtest.h>

#include "proxy/heads.h"

namespace plimsoll::proxy {
namespace {

bool asks(std::string_view type) {
    const std::string line = "Content-Type: " + std::string(type);
    http::Fields fields;
    EXPECT_EQ(fields.add(line, 0, {}).status, 0);
    fields.rebase(line.data());
    return asks_by_grpc(fields);
}

TEST(GrpcAnswer, WhoAsks) {
    for (const char* type : {"application/grpc", "Application/GRPC", "application/grpc+proto", "application/grpc; a=b"})
        EXPECT_TRUE(asks(type)) << type;
    for (const char* type : {"application/grpc-web", "application/grpc-web+proto", "application/grpcx", "text/plain",
                             "application/gr", ""})
        EXPECT_FALSE(asks(type)) << type;
    EXPECT_FALSE(asks_by_grpc({}));
}

/// By gRPC's own table, as far as it goes; each cause of ours has a code.
TEST(GrpcAnswer, StatusOfEachCause) {
    using enum GrpcStatus;
    const auto of = [](Cause cause) { return grpc_status(cause, status_of(cause)); };
    EXPECT_EQ(of(Cause::no_route), unimplemented);
    EXPECT_EQ(of(Cause::not_allowed), unimplemented);
    for (const Cause cause : {Cause::no_endpoint, Cause::shutting_down, Cause::connect_refused, Cause::connect_failed,
                              Cause::connect_timeout, Cause::upstream_reset, Cause::upstream_protocol,
                              Cause::upstream_tls, Cause::misdirected, Cause::fault_injected})
        EXPECT_EQ(of(cause), unavailable) << name(cause);
    for (const Cause cause :
         {Cause::rate_limited, Cause::limited, Cause::queue_full, Cause::queue_timeout, Cause::overloaded})
        EXPECT_EQ(of(cause), resource_exhausted) << name(cause);
    for (const Cause cause : {Cause::total_timeout, Cause::try_timeout, Cause::upstream_idle, Cause::client_timeout})
        EXPECT_EQ(of(cause), deadline_exceeded) << name(cause);
    EXPECT_EQ(of(Cause::bad_request), internal);
    EXPECT_EQ(of(Cause::internal), internal);
    EXPECT_EQ(grpc_status(Cause::bad_request, 413), resource_exhausted);
    EXPECT_EQ(grpc_status(Cause::none, 401), unauthenticated);
    EXPECT_EQ(grpc_status(Cause::none, 403), permission_denied);
    EXPECT_EQ(grpc_status(Cause::fault_injected, 418), unknown);
}

TEST(GrpcAnswer, WhatAServersStatusAmountsTo) {
    const auto of = [](std::string_view value) { return http_status(parse_grpc_status(value)); };
    EXPECT_EQ(of("0"), 200);
    for (const char* servers : {"2", "4", "12", "13", "14", "15"}) EXPECT_GE(of(servers), 500) << servers;
    for (const char* callers : {"1", "3", "5", "6", "7", "8", "9", "10", "11", "16"})
        EXPECT_TRUE(of(callers) >= 400 && of(callers) < 500) << callers;
    for (const char* unknown : {"", "17", "-1", "0x0", " 0", "99999999999", "OK"})
        EXPECT_EQ(parse_grpc_status(unknown), 2) << unknown;
}

TEST(GrpcAnswer, MessageIsPercentEncoded) {
    EXPECT_EQ(grpc_message("no_route: 100% \xc3\xbc\n"), "no_route: 100%25 %C3%BC%0A");
    EXPECT_EQ(grpc_message(std::string(5000, '\x01')).size(), 3 * 1024u);
}

TEST(GrpcAnswer, IsNothingButTrailers) {
    http::Draft draft;
    draft_grpc_answer(draft, {.cause = Cause::rate_limited, .status = 429, .text = "too many", .retry_after_s = 3});
    std::string text;
    http::append_http1_response(text, draft, draft.framing, "");
    EXPECT_EQ(text,
              "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 8\r\ngrpc-message: too many\r\n"
              "X-Plimsoll-Cause: rate_limited\r\ngrpc-retry-pushback-ms: 3000\r\n\r\n");
}

}  // namespace
}  // namespace plimsoll::proxy

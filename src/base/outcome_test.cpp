#include "base/outcome.h"

#include <gtest/gtest.h>

namespace plimsoll {
namespace {

bool failed(std::uint16_t status, Cause cause) {
    Outcome outcome;
    outcome.status = status;
    outcome.cause = cause;
    return outcome.failed();
}

TEST(Outcome, WhatAClientDoesIsNoFailure) {
    EXPECT_FALSE(failed(200, Cause::none));
    EXPECT_FALSE(failed(505, Cause::bad_request)) << "GET / HTTP/9.9";
    EXPECT_FALSE(failed(501, Cause::not_allowed));
    EXPECT_FALSE(failed(0, Cause::client_closed));
    EXPECT_FALSE(failed(408, Cause::client_timeout));
    EXPECT_FALSE(failed(403, Cause::auth_denied));
    EXPECT_FALSE(failed(404, Cause::no_route));
    EXPECT_FALSE(failed(0, Cause::no_route)) << "TCP, which has no status";
}

TEST(Outcome, WhatTheServersOrWeDoIs) {
    EXPECT_TRUE(failed(500, Cause::none));
    EXPECT_TRUE(failed(503, Cause::no_endpoint));
    EXPECT_TRUE(failed(504, Cause::total_timeout));
    EXPECT_TRUE(failed(200, Cause::upstream_truncated));
    EXPECT_TRUE(failed(0, Cause::connect_refused));
    EXPECT_TRUE(failed(503, Cause::fault_injected));
}

}  // namespace
}  // namespace plimsoll

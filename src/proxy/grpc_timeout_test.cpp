#include "proxy/grpc_timeout.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

namespace plimsoll::proxy {
namespace {

using namespace std::chrono_literals;

TEST(GrpcTimeout, Reads) {
    EXPECT_EQ(parse_grpc_timeout("1H"), 1h);
    EXPECT_EQ(parse_grpc_timeout("2M"), 2min);
    EXPECT_EQ(parse_grpc_timeout("3S"), 3s);
    EXPECT_EQ(parse_grpc_timeout("4m"), 4ms);
    EXPECT_EQ(parse_grpc_timeout("5u"), 5us);
    EXPECT_EQ(parse_grpc_timeout("99999999n"), 99'999'999ns);
    EXPECT_EQ(parse_grpc_timeout("0S"), 1ns) << "0 would be no limit";
    EXPECT_EQ(parse_grpc_timeout("99999999H"), Duration::max());
    for (const std::string_view bad :
         {"", "S", "1", "1s", "-1S", "+1S", "1.5S", " 1S", "1S ", "123456789n", "1 S", "S1", "1SS"})
        EXPECT_FALSE(parse_grpc_timeout(bad)) << bad;
}

TEST(GrpcTimeout, Says) {
    EXPECT_EQ(format_grpc_timeout(1s), "1000000u");
    EXPECT_EQ(format_grpc_timeout(99'999'999ns), "99999999n");
    EXPECT_EQ(format_grpc_timeout(100'000'000ns), "100000u");
    EXPECT_EQ(format_grpc_timeout(0s), "0n");
    EXPECT_EQ(format_grpc_timeout(-5s), "0n");
    EXPECT_EQ(format_grpc_timeout(Duration::max()), "2562047H");
}

RC_GTEST_PROP(GrpcTimeout, NeverLongerAndHardlyShorterThanSaid, ()) {
    const Duration asked{std::max<std::int64_t>(1, *rc::gen::inRange<std::int64_t>(0, INT64_MAX) >>
                                                       *rc::gen::inRange(0, 62))};  // 0 is told as the least there is
    const auto heard = parse_grpc_timeout(format_grpc_timeout(asked));
    RC_ASSERT(heard.has_value());
    RC_ASSERT(*heard <= asked);
    RC_ASSERT(asked.count() - heard->count() <= asked.count() / 99'999 + 1);
}

}  // namespace
}  // namespace plimsoll::proxy

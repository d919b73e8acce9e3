// The two messages of grpc.health.v1, byte for byte.
#include "control/grpc_health.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace plimsoll::control {
namespace {

using namespace std::string_literals;

std::string framed(const std::string& message) { return "\0\0\0\0"s + static_cast<char>(message.size()) + message; }

TEST(GrpcHealth, TheRequestAsProtobufWritesIt) {
    EXPECT_EQ(encode_health_request(""), "\0\0\0\0\0"s);
    EXPECT_EQ(encode_health_request("a.B"), "\0\0\0\0\x05\x0a\x03"s + "a.B");
    const std::string longer(300, 'x');
    const std::string frame = encode_health_request(longer);
    EXPECT_EQ(frame.substr(0, 8), "\0\0\0\x01\x2f\x0a\xac\x02"s);
    EXPECT_EQ(frame.substr(8), longer);
}

TEST(GrpcHealth, AnswersOfEveryKind) {
    EXPECT_EQ(decode_health_answer(framed("\x08\x01"s)), Serving::serving);
    EXPECT_EQ(decode_health_answer(framed("\x08\x02"s)), Serving::not_serving);
    EXPECT_EQ(decode_health_answer(framed("\x08\x03"s)), Serving::service_unknown);
    EXPECT_EQ(decode_health_answer(framed(""s)), Serving::unknown);  // proto3: the default is not written
    EXPECT_EQ(decode_health_answer(framed("\x08\x63"s)), Serving::unknown);
}

TEST(GrpcHealth, UnknownFieldsAreSkippedAndTheLastStatusCounts) {
    EXPECT_EQ(decode_health_answer(framed("\x12\x02hi\x1d\1\2\3\4\x21\1\2\3\4\5\6\7\10\x28\x96\x01\x08\x02\x08\x01"s)),
              Serving::serving);
}

TEST(GrpcHealth, WhatIsNotOneWholePlainMessageIsRefused) {
    for (const std::string& body :
         {""s, "\0\0\0\0"s, "\1\0\0\0\2\x08\x01"s, "\0\0\0\0\3\x08\x01"s, "\0\0\0\0\1\x08\x01"s, framed("\x08"s),
          framed("\x0a\x01x"s), framed("\x12\x7f"s), framed("\x0b"s), framed("\x00\x01"s),
          framed("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"s)}) {
        const auto answer = decode_health_answer(body);
        ASSERT_FALSE(answer);
        EXPECT_EQ(answer.error().code, Code::protocol);
        EXPECT_EQ(answer.error().side, Side::upstream);
    }
}

RC_GTEST_PROP(GrpcHealth, NoBytesBreakTheDecoder, ()) {
    const auto body = *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
    const auto answer = decode_health_answer(framed(body.substr(0, 100)));
    RC_ASSERT(answer || answer.error().code == Code::protocol);
}

}  // namespace
}  // namespace plimsoll::control

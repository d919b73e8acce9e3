#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "http/body.h"
#include "http/transcript.h"

namespace plimsoll::http {
namespace {

using namespace std::string_literals;

constexpr Framing chunked{Framing::Kind::chunked, 0};

struct Case {
    std::string name;
    std::string input;
    std::string wanted;  ///< the data; or "!400", "!431"; or "..." and the data: not ended
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.input; }

std::string verdict(std::string_view input) {
    BodyDecoder decoder(chunked);
    std::string data;
    std::size_t at = 0;
    while (true) {
        const BodyStep step = decoder.next(input.substr(at));
        at += step.consumed;
        data.append(step.data);
        if (step.kind == BodyStep::Kind::refused) return "!" + std::to_string(decoder.refusal().status);
        if (step.kind == BodyStep::Kind::more) return "..." + data;
        if (step.kind == BodyStep::Kind::end) return data;
    }
}

class ChunkedVerdict : public testing::TestWithParam<Case> {};

TEST_P(ChunkedVerdict, IsRight) { EXPECT_EQ(verdict(GetParam().input), GetParam().wanted); }

TEST_P(ChunkedVerdict, IsTheSameByteByByte) {
    std::vector<std::size_t> cuts;
    for (std::size_t at = 1; at < GetParam().input.size(); ++at) cuts.push_back(at);
    EXPECT_EQ(test::decode_body(GetParam().input, chunked, cuts), test::decode_body(GetParam().input, chunked));
}

std::string repeat(std::string_view text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
}

INSTANTIATE_TEST_SUITE_P(All, ChunkedVerdict,
                         testing::ValuesIn(std::vector<Case>{
                             {"Empty", "0\r\n\r\n", ""},
                             {"One", "5\r\nhello\r\n0\r\n\r\n", "hello"},
                             {"Two", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"},
                             {"HexUpper", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
                             {"HexLower", "a\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
                             {"LeadingZeros", "0005\r\nhello\r\n000\r\n\r\n", "hello"},
                             {"DataLooksLikeFraming", "7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n\r\n"},
                             {"FollowedByMore", "0\r\n\r\nGET / HTTP/1.1\r\n", ""},
                             {"CutInSize", "5", "..."},
                             {"CutInData", "5\r\nhel", "...hel"},
                             {"CutBeforeLast", "5\r\nhello\r\n", "...hello"},
                             {"CutInEnd", "0\r\n", "..."},
                             {"NoSize", "\r\nhello\r\n", "!400"},
                             {"SizeNotHex", "g\r\n", "!400"},
                             {"SizeSigned", "+5\r\nhello\r\n", "!400"},
                             {"SizeNegative", "-5\r\nhello\r\n", "!400"},
                             {"SizePrefixed", "0x5\r\nhello\r\n", "!400"},
                             {"SizeUnderscore", "1_0\r\n", "!400"},
                             {"SizeDecimalPoint", "5.0\r\nhello\r\n", "!400"},
                             {"SizeLeadingBlank", " 5\r\nhello\r\n", "!400"},
                             {"SizeTrailingBlank", "5 \r\nhello\r\n", "!400"},
                             {"SizeTrailingTab", "5\t\r\nhello\r\n", "!400"},
                             {"SizeNul", "5\0\r\nhello\r\n"s, "!400"},
                             {"SizeVerticalTab", "5\x0b\r\nhello\r\n", "!400"},
                             {"SizeComma", "5,5\r\nhello\r\n", "!400"},
                             {"SizeOverLimit", "10000000001\r\n", "!400"},
                             {"SizeOverflow64", "10000000000000005\r\nhello\r\n", "!400"},
                             {"SizeOverflow32", "FFFFFFFFFFFFFFFF\r\nhello\r\n", "!400"},
                             {"SizeEndless", repeat("0", 300), "!400"},
                             {"SizeBareLf", "5\nhello\r\n", "!400"},
                             {"SizeBareCr", "5\rhello\r\n", "!400"},
                             {"SizeCrCrLf", "5\r\r\nhello\r\n", "!400"},
                             {"LastSizeBareLf", "0\n\r\n", "!400"},
                             {"DataTooLong", "4\r\nhello\r\n0\r\n\r\n", "!400"},
                             {"DataTooShort", "6\r\nhello\r\n0\r\n\r\n", "!400"},
                             {"DataEndsInLf", "5\r\nhello\n0\r\n\r\n", "!400"},
                             {"DataEndsInCr", "5\r\nhello\r0\r\n\r\n", "!400"},
                             {"DataEndsInXx", "5\r\nhelloXX0\r\n\r\n", "!400"},
                             {"DataEndsInLfCr", "5\r\nhello\n\r0\r\n\r\n", "!400"},
                             {"Extension", "5;a=b\r\nhello\r\n0;c\r\n\r\n", "hello"},
                             {"ExtensionQuoted", "5;a=\"b c\"\r\nhello\r\n0\r\n\r\n", "hello"},
                             {"ExtensionEmpty", "5;\r\nhello\r\n0\r\n\r\n", "hello"},
                             {"ExtensionBareLf", "5;\n66\r\nhello\r\n0\r\n\r\n", "!400"},
                             {"ExtensionBareCr", "5;a\rX\r\nhello\r\n0\r\n\r\n", "!400"},
                             {"ExtensionQuotedCrLfEndsLine", "2;a=\"\r\nxx\r\n0\r\n\r\n", "xx"},
                             {"ExtensionNul", "5;\0\r\nhello\r\n0\r\n\r\n"s, "!400"},
                             {"ExtensionTooLong", "5;" + repeat("a", 300) + "\r\nhello\r\n", "!400"},
                             {"ExtensionFlood", repeat("1;" + repeat("a", 200) + "\r\nx\r\n", 100) + "0\r\n\r\n",
                              "!400"},
                             {"Trailer", "0\r\nX-Sum: 1\r\n\r\n", ""},
                             {"TrailerBareLf", "0\r\nX-Sum: 1\n\r\n", "!400"},
                             {"TrailerBareLfAtEnd", "0\r\n\n", "!400"},
                             {"TrailerNoColon", "0\r\nGET / HTTP/1.1\r\n\r\n", "!400"},
                             {"TrailerSpaceBeforeColon", "0\r\nX : 1\r\n\r\n", "!400"},
                             {"TrailerFolded", "0\r\nX: 1\r\n 2\r\n\r\n", "!400"},
                             {"TrailerNul", "0\r\nX: \0\r\n\r\n"s, "!400"},
                             {"TrailerEmptyName", "0\r\n: 1\r\n\r\n", "!400"},
                             {"TrailerTooMany", "0\r\n" + repeat("x: 1\r\n", 33) + "\r\n", "!431"},
                             {"TrailerTooManyForbidden", "0\r\n" + repeat("host: 1\r\n", 33) + "\r\n", "!431"},
                             {"TrailerTooLong", "0\r\nx: " + repeat("a", 9000), "!431"},
                         }),
                         [](const auto& info) { return info.param.name; });

TEST(BodyDecoder, ChunkedEndsWhereTheNextMessageBegins) {
    const std::string body = "3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n";
    const std::string input = body + "GET /";
    BodyDecoder decoder(chunked);
    std::size_t at = 0;
    BodyStep step;
    do {
        step = decoder.next(std::string_view(input).substr(at));
        at += step.consumed;
    } while (step.kind == BodyStep::Kind::data);
    EXPECT_EQ(step.kind, BodyStep::Kind::end);
    EXPECT_EQ(at, body.size());
    EXPECT_EQ(decoder.next("GET /").consumed, 0u) << "an ended body takes nothing";
}

TEST(BodyDecoder, DataIsAViewOfTheInput) {
    const std::string input = "5\r\nhello\r\n0\r\n\r\n";
    BodyDecoder decoder(chunked);
    EXPECT_EQ(decoder.next(input).data.data(), input.data() + 3);
}

TEST(BodyDecoder, TrailersAreKeptApartAndForbiddenOnesDropped) {
    const std::string input =
        "0\r\nX-Sum: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: a\r\nAuthorization: x\r\n"
        "Content-Type: y\r\nContent-MD5: z\r\nSet-Cookie: q\r\nX-Forwarded-For: 1.1.1.1\r\nConnection: close\r\n"
        "Server-Timing: db\r\n\r\n";
    BodyDecoder decoder(chunked);
    ASSERT_EQ(decoder.next(input).kind, BodyStep::Kind::end);
    ASSERT_EQ(decoder.trailers().size(), 2u);
    EXPECT_EQ(decoder.trailers()[0].name, "X-Sum");
    EXPECT_EQ(decoder.trailers()[1].value, "db");
    EXPECT_FALSE(decoder.trailers().has(Known::content_length));
}

TEST(BodyDecoder, LengthStopsAtItsLength) {
    BodyDecoder decoder(Framing{Framing::Kind::length, 5});
    EXPECT_EQ(decoder.remaining(), 5u);
    EXPECT_EQ(decoder.next("").kind, BodyStep::Kind::more);
    BodyStep step = decoder.next("hel");
    EXPECT_EQ(step.data, "hel");
    EXPECT_EQ(decoder.remaining(), 2u);
    step = decoder.next("loGET");
    EXPECT_EQ(step.data, "lo");
    EXPECT_EQ(step.consumed, 2u);
    EXPECT_EQ(decoder.next("GET").kind, BodyStep::Kind::end);
    EXPECT_TRUE(decoder.ended());
}

TEST(BodyDecoder, LengthCutShortIsTruncated) {
    BodyDecoder decoder(Framing{Framing::Kind::length, 5});
    EXPECT_EQ(decoder.next("hel").data, "hel");
    EXPECT_FALSE(decoder.finish());
    EXPECT_FALSE(decoder.ended());
}

TEST(BodyDecoder, ChunkedCutShortIsTruncated) {
    BodyDecoder decoder(chunked);
    EXPECT_EQ(decoder.next("3\r\nabc\r\n0\r\n").data, "abc");
    EXPECT_EQ(decoder.next("\r\n0\r\n").kind, BodyStep::Kind::more);
    EXPECT_FALSE(decoder.finish());
}

TEST(BodyDecoder, NoBodyEndsAtOnce) {
    EXPECT_EQ(BodyDecoder().next("GET").kind, BodyStep::Kind::end);
    EXPECT_EQ(BodyDecoder(Framing{}).next("GET").consumed, 0u);
    EXPECT_EQ(BodyDecoder(Framing{Framing::Kind::length, 0}).next("GET").kind, BodyStep::Kind::end);
}

TEST(BodyDecoder, UntilCloseEndsWithTheConnection) {
    BodyDecoder decoder(Framing{Framing::Kind::until_close, 0});
    EXPECT_EQ(decoder.remaining(), UINT64_MAX);
    EXPECT_EQ(decoder.next("abc").data, "abc");
    EXPECT_EQ(decoder.next("").kind, BodyStep::Kind::more);
    EXPECT_TRUE(decoder.finish());
    EXPECT_EQ(decoder.next("").kind, BodyStep::Kind::end);
}

TEST(BodyDecoder, SkippedBytesCount) {
    BodyDecoder length(Framing{Framing::Kind::length, 5});
    length.skip(3);
    EXPECT_EQ(length.remaining(), 2u);
    length.skip(2);
    EXPECT_TRUE(length.ended());

    BodyDecoder chunks(chunked);
    EXPECT_EQ(chunks.remaining(), 0u) << "nothing is sure before the size is known";
    EXPECT_EQ(chunks.next("5\r\nh").data, "h");
    EXPECT_EQ(chunks.remaining(), 4u);
    chunks.skip(4);
    EXPECT_EQ(chunks.next("\r\n0\r\n\r\n").kind, BodyStep::Kind::end);
}

TEST(BodyDecoder, LimitsNeverReachOverflow) {
    BodyLimits limits;
    limits.chunk_bytes = UINT64_MAX;
    BodyDecoder decoder(chunked, limits);
    EXPECT_EQ(decoder.next("fffffffffffffffff\r\n").kind, BodyStep::Kind::refused);
}

}  // namespace
}  // namespace plimsoll::http

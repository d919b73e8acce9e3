#include "net/proxy_protocol.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <filesystem>
#include <fstream>
#include <iterator>

#define LLVMFuzzerTestOneInput one_proxy_header
#include "net/proxy_protocol_fuzz.cpp"
#undef LLVMFuzzerTestOneInput

namespace plimsoll::net {
namespace {

using State = ProxyHeader::State;
using namespace std::string_view_literals;

ProxyHeader decode(std::string_view bytes) { return decode_proxy_header(bytes); }

std::string v2(std::uint8_t command, std::uint8_t family, std::string_view block) {
    std::string bytes("\r\n\r\n\0\r\nQUIT\n"sv);
    bytes += static_cast<char>(command);
    bytes += static_cast<char>(family);
    bytes += static_cast<char>(block.size() >> 8);
    bytes += static_cast<char>(block.size() & 0xff);
    return bytes.append(block);
}

constexpr std::string_view tcp4_block = "\x0a\0\0\x01\xc0\0\x02\x02\x12\x34\0\x50"sv;

/// A header over TCP4 with a CRC-32C TLV behind `before`.
std::string summed(std::string_view before, std::string_view after = {}) {
    std::string bytes =
        v2(0x21, 0x11, std::string(tcp4_block).append(before).append("\x03\0\x04\0\0\0\0"sv).append(after));
    const std::uint32_t sum = crc32c(bytes);
    const std::size_t at = bytes.size() - after.size() - 4;
    for (unsigned i = 0; i < 4; ++i) bytes[at + i] = static_cast<char>(sum >> (24 - 8 * i) & 0xff);
    return bytes;
}

TEST(ProxyProtocolV1, SaysWhoConnected) {
    const ProxyHeader header = decode("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET / HTTP/1.1\r\n");
    ASSERT_EQ(header.state, State::done) << header.reason;
    EXPECT_EQ(header.consumed, 45u);
    EXPECT_EQ(header.source.text(), "192.0.2.1:56324");
    EXPECT_EQ(header.destination.text(), "198.51.100.7:443");
    const ProxyHeader six = decode("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n");
    ASSERT_EQ(six.state, State::done) << six.reason;
    EXPECT_EQ(six.source.text(), "[2001:db8::1]:1");
    EXPECT_EQ(decode("PROXY TCP6 ::ffff:10.0.0.1 ::1 1 2\r\n").source.text(), "10.0.0.1:1");
}

TEST(ProxyProtocolV1, TheLongestLineIsTaken) {
    const std::string longest =
        "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535" + std::string(48, 'x') + "\r\n";
    ASSERT_EQ(longest.size(), max_proxy_v1_bytes);
    EXPECT_EQ(decode(longest).state, State::done);
    EXPECT_EQ(decode(longest.substr(0, longest.size() - 1)).state, State::more);
    std::string longer = longest;
    longer.insert(20, "x");
    EXPECT_EQ(decode(longer).state, State::refused);
    EXPECT_EQ(decode(longer.substr(0, 107)).state, State::refused);
}

TEST(ProxyProtocolV1, UnknownMeansTheConnectionItself) {
    for (const std::string_view line : {"PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN what ever  \r\n"}) {
        EXPECT_EQ(decode(line).state, State::done) << line;
        EXPECT_EQ(decode(line).consumed, line.size());
        EXPECT_FALSE(decode(line).known());
    }
}

TEST(ProxyProtocolV1, AnythingElseIsRefused) {
    for (const std::string_view line : {"GET / HTTP/1.1\r\n"sv,
                                        "proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n"sv,
                                        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n"sv,
                                        "PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n"sv,
                                        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"sv,
                                        "PROXY TCP4 1.2.3.4 1.2.3.4 1 01\r\n"sv,
                                        "PROXY TCP4 1.2.3.4 1.2.3.4 1 -1\r\n"sv,
                                        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n"sv,
                                        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n"sv,
                                        "PROXY TCP4 1.2.3.4 1.2.3.4  1 1\r\n"sv,
                                        "PROXY TCP4 1.2.3.4\t1.2.3.4 1 1\r\n"sv,
                                        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"sv,
                                        "PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n"sv,
                                        "PROXY TCP4 ::1 ::1 1 1\r\n"sv,
                                        "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n"sv,
                                        "PROXY TCP6 [::1] ::1 1 1\r\n"sv,
                                        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n"sv,
                                        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\rX"sv,
                                        "PROXY TCP4 1.2.3.4\0x 1.2.3.4 1 1\r\n"sv,
                                        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\0\r\n"sv,
                                        "PROXY \r\n"sv,
                                        "PROXY UNKNOWNX\r\n"sv,
                                        "PROXY TCP6 fe80::1%lo ::1 1 1\r\n"sv}) {
        const ProxyHeader header = decode(line);
        EXPECT_EQ(header.state, State::refused) << line;
        EXPECT_FALSE(header.reason.empty());
    }
}

TEST(ProxyProtocolV2, SaysWhoConnected) {
    const ProxyHeader header = decode(v2(0x21, 0x11, tcp4_block) + "rest");
    ASSERT_EQ(header.state, State::done) << header.reason;
    EXPECT_EQ(header.consumed, 28u);
    EXPECT_EQ(header.source.text(), "10.0.0.1:4660");
    EXPECT_EQ(header.destination.text(), "192.0.2.2:80");
    const std::string six(36, '\x20');
    EXPECT_EQ(decode(v2(0x21, 0x21, six)).source.text(), "[2020:2020:2020:2020:2020:2020:2020:2020]:8224");
}

TEST(ProxyProtocolV2, WhoDoesNotSayMeansTheConnectionItself) {
    for (const std::string& bytes :
         {v2(0x20, 0x00, ""), v2(0x20, 0x11, tcp4_block), v2(0x20, 0xff, "junk"), v2(0x21, 0x00, "junk"),
          v2(0x21, 0x12, tcp4_block), v2(0x21, 0x31, std::string(216, 'p')), v2(0x21, 0x22, std::string(36, 'u'))}) {
        const ProxyHeader header = decode(bytes);
        EXPECT_EQ(header.state, State::done) << header.reason;
        EXPECT_EQ(header.consumed, bytes.size());
        EXPECT_FALSE(header.known());
    }
}

TEST(ProxyProtocolV2, TlvsAreCheckedAndSkipped) {
    const std::string block(tcp4_block);
    EXPECT_EQ(decode(v2(0x21, 0x11, block + std::string("\x04\0\x02\0\0\x01\0\x02h2"sv))).state, State::done);
    for (const std::string_view bad : {"\x04"sv, "\x04\0"sv, "\x04\0\x02z"sv, "\x04\xff\xffz"sv, "\x01\0\0\x01"sv})
        EXPECT_EQ(decode(v2(0x21, 0x11, block + std::string(bad))).state, State::refused);
}

TEST(ProxyProtocolV2, TheChecksumMustBeRight) {
    EXPECT_EQ(crc32c("123456789"), 0xe3069283u);  // RFC 9260 appendix A's check value
    const std::string right = summed(
        "\x02\0\x03"
        "abc"sv,
        "\x04\0\x01z"sv);
    EXPECT_EQ(decode(right).state, State::done) << decode(right).reason;
    for (std::size_t i = 12; i < right.size(); ++i) {
        std::string wrong = right;
        wrong[i] = static_cast<char>(wrong[i] ^ 1);
        const ProxyHeader header = decode(wrong);
        EXPECT_FALSE(header.state == State::done && header.known() && i != 34) << i;
    }
    EXPECT_EQ(decode(summed("\x03\0\x04\0\0\0\0"sv)).state, State::refused);  // twice
    EXPECT_EQ(decode(v2(0x21, 0x11, std::string(tcp4_block) + std::string("\x03\0\0"sv))).state, State::refused);
}

TEST(ProxyProtocolV2, AnythingElseIsRefused) {
    for (const std::string& bytes : {v2(0x11, 0x11, tcp4_block), v2(0x22, 0x11, tcp4_block), v2(0x21, 0x41, tcp4_block),
                                     v2(0x21, 0x13, tcp4_block), v2(0x21, 0x10, tcp4_block), v2(0x21, 0x01, tcp4_block),
                                     v2(0x21, 0x11, tcp4_block.substr(1)), v2(0x21, 0x21, tcp4_block),
                                     v2(0x21, 0x31, tcp4_block), v2(0x21, 0x11, std::string(5000, '\0'))})
        EXPECT_EQ(decode(bytes).state, State::refused);
    EXPECT_EQ(decode("\r\n\r\n\0\r\nQUIT\r"sv).state, State::refused);
    EXPECT_EQ(decode(v2(0x21, 0x11, std::string(4081, '\0')).substr(0, 16)).state, State::refused) << "without waiting";
}

TEST(ProxyProtocol, ItIsBoundedAndWaitsOnlyWhileItMustBecomeOne) {
    EXPECT_EQ(decode("").state, State::more);
    EXPECT_EQ(decode("P").state, State::more);
    EXPECT_EQ(decode("PO").state, State::refused);
    EXPECT_EQ(decode("\r\n\r").state, State::more);
    EXPECT_EQ(decode("\r\n\r\nG").state, State::refused);
    EXPECT_EQ(decode("PROXY " + std::string(100, ' ')).state, State::more);
    EXPECT_EQ(decode("PROXY " + std::string(101, ' ')).state, State::refused);
}

TEST(ProxyProtocol, WeSayWhatWeUnderstand) {
    std::string out;
    append_proxy_v1(out, *Address::ip("192.0.2.1", 1), *Address::ip("192.0.2.2", 80));
    EXPECT_EQ(out, "PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n");
    out.clear();
    append_proxy_v1(out, *Address::ip("192.0.2.1", 1), *Address::ip("2001:db8::1", 80));
    EXPECT_EQ(out, "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 80\r\n");
    EXPECT_EQ(decode(out).source.text(), "192.0.2.1:1");
    out.clear();
    append_proxy_v1(out, *Address::unix_socket("/run/x"), *Address::ip("2001:db8::1", 80));
    append_proxy_v2(out, *Address::ip("2001:db8::1", 80), Address());
    EXPECT_EQ(out, "PROXY UNKNOWN\r\n" + v2(0x20, 0x00, ""));
}

RC_GTEST_PROP(ProxyProtocol, HearsWhatItSays, ()) {
    const auto address = [](bool six) {
        const auto bytes =
            *rc::gen::container<std::vector<std::uint8_t>>(six ? 8u : 4u, rc::gen::arbitrary<std::uint8_t>());
        std::string text = six ? "2001:db8::" : "";
        for (std::size_t i = 0; i < bytes.size(); ++i)
            text += six ? "" : (i == 0 ? "" : ".") + std::to_string(bytes[i]);
        if (six) {
            char words[12];
            std::snprintf(words, sizeof words, "%x:%x", bytes[0] * 256 + bytes[1], bytes[2] * 256 + bytes[3]);
            text += words;
        }
        return *Address::ip(text, *rc::gen::arbitrary<std::uint16_t>());
    };
    const Address source = address(*rc::gen::arbitrary<bool>());
    const Address destination = address(*rc::gen::arbitrary<bool>());
    const auto append = *rc::gen::element(append_proxy_v1, append_proxy_v2);
    std::string out;
    append(out, source, destination);
    const ProxyHeader header = decode(out + "GET");
    RC_ASSERT(header.state == State::done);
    RC_ASSERT(header.consumed == out.size());
    RC_ASSERT(header.source == source);
    RC_ASSERT(header.destination == destination);
}

TEST(ProxyProtocol, Corpus) {
    std::size_t seeds = 0;
    const auto directory = std::filesystem::path(PLIMSOLL_SOURCE_DIR) / "tests/fuzz/corpus/proxy_protocol_fuzz";
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        SCOPED_TRACE(entry.path().string());
        std::ifstream file(entry.path(), std::ios::binary);
        const std::string bytes((std::istreambuf_iterator<char>(file)), {});
        EXPECT_EQ(one_proxy_header(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), 0);
        ++seeds;
    }
    EXPECT_GE(seeds, 20u);
}

}  // namespace
}  // namespace plimsoll::net

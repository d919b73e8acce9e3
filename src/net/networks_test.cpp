#include "net/networks.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

namespace plimsoll::net {
namespace {

Networks networks(std::vector<std::string> texts) {
    const auto parsed = Networks::parse(texts);
    EXPECT_TRUE(parsed) << parsed.error().detail;
    return parsed.value_or(Networks{});
}
Address at(std::string_view host) { return *Address::ip(host, 1); }

TEST(Networks, HoldsWhatIsWithin) {
    const Networks some = networks({"10.0.0.0/8", "192.0.2.7", "2001:db8::/33", "::1"});
    for (const char* in :
         {"10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8::1", "2001:db8:7fff:ffff::", "::1", "::ffff:10.1.2.3"})
        EXPECT_TRUE(some.contains(at(in))) << in;
    for (const char* out : {"9.255.255.255", "11.0.0.0", "192.0.2.6", "192.0.2.8", "2001:db8:8000::", "::2",
                            "::", "::ffff:11.0.0.0", "::10.0.0.1"})
        EXPECT_FALSE(some.contains(at(out))) << out;
    EXPECT_FALSE(some.contains(Address()));
    EXPECT_FALSE(some.contains(*Address::unix_socket("/x")));
}

TEST(Networks, AllOfAFamilyAndNobody) {
    EXPECT_TRUE(networks({"0.0.0.0/0"}).contains(at("255.255.255.255")));
    EXPECT_FALSE(networks({"0.0.0.0/0"}).contains(at("::1")));
    EXPECT_TRUE(networks({"::/0"}).contains(at("ffff::")));
    EXPECT_FALSE(networks({"::/0"}).contains(at("1.2.3.4")));
    EXPECT_TRUE(networks({"::ffff:10.0.0.0/104"}).contains(at("10.1.1.1")));
    EXPECT_FALSE(Networks().contains(at("127.0.0.1")));
    EXPECT_TRUE(Networks().empty());
}

TEST(Networks, OverlapsAndBitsBehindThePrefixDoNotMatter) {
    const Networks some = networks({"10.1.0.0/16", "10.0.0.0/8", "10.1.2.3", "10.9.9.9/31", "11.0.0.5/8"});
    for (const char* in : {"10.0.0.1", "10.1.2.3", "10.2.0.0", "10.255.255.255", "11.255.0.0"})
        EXPECT_TRUE(some.contains(at(in))) << in;
    EXPECT_FALSE(some.contains(at("12.0.0.0")));
}

TEST(Networks, TheFirstThatIsNoneIsNamed) {
    for (const char* bad : {"", "/", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8 ", "10.0.0/8", "::/129",
                            "::g", "example.com", "10.0.0.0/8/8", "10.0.0.0/+8"}) {
        const auto parsed = Networks::parse(std::vector<std::string>{"::1", bad});
        ASSERT_FALSE(parsed) << bad;
        EXPECT_NE(parsed.error().detail.find(bad), std::string::npos);
    }
    EXPECT_FALSE(Networks::parse(std::vector<std::string>{std::string("10.0.0.1\0/8", 11)}));
}

/// As the plain definition: some network of the list has the address's first bits.
RC_GTEST_PROP(Networks, AgreesWithTheDefinition, ()) {
    struct One {
        std::uint32_t base;
        unsigned length;
    };
    std::vector<One> all;
    std::vector<std::string> texts;
    const auto dotted = [](std::uint32_t ip) {
        return std::to_string(ip >> 24) + "." + std::to_string(ip >> 16 & 255) + "." + std::to_string(ip >> 8 & 255) +
               "." + std::to_string(ip & 255);
    };
    for (int i = *rc::gen::inRange(0, 40); i > 0; --i) {
        const One one{*rc::gen::arbitrary<std::uint32_t>(), *rc::gen::inRange(0u, 33u)};
        all.push_back(one);
        texts.push_back(dotted(one.base) + "/" + std::to_string(one.length));
    }
    const Networks some = networks(texts);
    for (int i = 0; i < 20; ++i) {
        std::uint32_t ip = *rc::gen::arbitrary<std::uint32_t>();
        if (!all.empty() && i % 2 == 0) ip = all[ip % all.size()].base + *rc::gen::inRange(0u, 3u) - 1;
        bool expected = false;
        for (const One& one : all) expected |= one.length == 0 || (ip ^ one.base) >> (32 - one.length) == 0;
        RC_ASSERT(some.contains(at(dotted(ip))) == expected);
    }
}

}  // namespace
}  // namespace plimsoll::net

#include "tls/certificate.h"

#include <gtest/gtest.h>

#include "tls/test_certificates.h"

namespace plimsoll::tls {
namespace {

using test::Ask;
using test::Identity;
using test::KeyKind;
using test::World;

TEST(Inspect, SaysWhatACertificateSays) {
    const World world;
    const Identity leaf = world.issue({"DNS:Shop.Example", "DNS:*.shop.example", "IP:192.0.2.7", "IP:2001:db8::1"});
    const Result<Facts> facts = inspect(leaf.pem("shop"), world.root.trust().get());
    ASSERT_TRUE(facts) << facts.error().detail;
    EXPECT_EQ(facts->name, "shop");
    EXPECT_EQ(facts->subject, "CN=leaf");
    EXPECT_EQ(facts->issuer, "CN=test intermediate");
    EXPECT_EQ(facts->dns_names, (std::vector<std::string>{"shop.example", "*.shop.example"}));
    EXPECT_EQ(facts->ip_addresses, (std::vector<std::string>{"192.0.2.7", "2001:db8::1"}));
    EXPECT_EQ(rfc3339(facts->not_before), "2020-01-01T00:00:00.000Z");
    EXPECT_EQ(rfc3339(facts->not_after), "2099-01-01T00:00:00.000Z");
    EXPECT_EQ(facts->chain_not_after, facts->not_after);
    EXPECT_EQ(facts->key_type, "EC");
    EXPECT_EQ(facts->key_bits, 256);
    EXPECT_TRUE(facts->key_matches);
    EXPECT_EQ(facts->issuers, 1u);
    EXPECT_FALSE(facts->self_signed);
    EXPECT_TRUE(facts->chain_in_order);
    EXPECT_TRUE(facts->chain_complete);
    EXPECT_EQ(facts->trusted, true);
    EXPECT_EQ(facts->fingerprint.size(), 64u);
    EXPECT_FALSE(facts->serial.empty());
}

TEST(Inspect, KnowsKeyTypes) {
    const World world;
    const Facts rsa = inspect(world.issue({"DNS:a.example"}, KeyKind::rsa).pem("a")).value();
    EXPECT_EQ(rsa.key_type, "RSA");
    EXPECT_EQ(rsa.key_bits, 2048);
    EXPECT_EQ(inspect(world.issue({"DNS:a.example"}, KeyKind::ed25519).pem("a")).value().key_type, "ED25519");
}

TEST(Inspect, SeesAMissingOrMisplacedIntermediate) {
    const World world;
    const Identity leaf = world.issue({"DNS:a.example"});
    Pem pem = leaf.pem("a");
    pem.chain = leaf.certificate_pem();
    const Facts alone = inspect(pem, world.root.trust().get()).value();
    EXPECT_FALSE(alone.chain_complete);
    EXPECT_EQ(alone.trusted, false);
    EXPECT_EQ(inspect(pem).value().trusted, std::nullopt);

    pem.chain = leaf.certificate_pem() + world.root.certificate_pem() + world.intermediate.certificate_pem();
    const Facts shuffled = inspect(pem).value();
    EXPECT_FALSE(shuffled.chain_in_order);
    EXPECT_FALSE(shuffled.chain_complete);
    EXPECT_EQ(shuffled.issuers, 2u);
}

TEST(Inspect, ASelfSignedCertificateIsAWholeChain) {
    const Identity own({.subject = "own", .names = {"DNS:own.example"}});
    const Facts facts = inspect({"own", own.certificate_pem(), own.key_pem()}).value();
    EXPECT_TRUE(facts.self_signed);
    EXPECT_TRUE(facts.chain_complete);
}

TEST(Inspect, TheEarliestEndOfTheChainCounts) {
    const Identity root({.subject = "root", .authority = true});
    const Identity short_lived({.subject = "mid", .until = "20300101000000Z", .authority = true}, &root);
    const Identity leaf({.names = {"DNS:a.example"}}, &short_lived);
    const Facts facts = inspect(leaf.pem("a")).value();
    EXPECT_EQ(rfc3339(facts.chain_not_after), "2030-01-01T00:00:00.000Z");
    EXPECT_EQ(rfc3339(facts.not_after), "2099-01-01T00:00:00.000Z");
}

TEST(Inspect, AnEndAfterTheYear2262IsStillAnEnd) {
    const Identity leaf({.names = {"DNS:a.example"}, .until = "99991231235959Z"});
    EXPECT_GT(inspect(leaf.pem("a"))->not_after, inspect(leaf.pem("a"))->not_before);
}

TEST(Inspect, AStrangersKeyIsAFactAndNoReasonToLoad) {
    const World world;
    Pem pem = world.issue({"DNS:a.example"}).pem("a");
    pem.key = world.issue({"DNS:a.example"}).key_pem();
    EXPECT_FALSE(inspect(pem).value().key_matches);
    const auto loaded = Certificate::load(pem);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, Code::invalid);
    EXPECT_EQ(loaded.error().detail, "certificate a: the private key belongs to another certificate");
}

TEST(Inspect, ErrorsNameTheCertificateAndNeverTheKey) {
    const World world;
    const Identity leaf = world.issue({"DNS:a.example"});
    const std::string key = leaf.key_pem();
    const auto detail = [](const Pem& pem) {
        const Result<Facts> facts = inspect(pem);
        return facts ? std::string("fine") : facts.error().detail;
    };
    EXPECT_EQ(detail({"a", "", key}), "certificate a: no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
    EXPECT_EQ(detail({"a", leaf.chain_pem(), ""}), "certificate a: no private key in PEM form");
    EXPECT_EQ(detail({"a", leaf.chain_pem(), leaf.sealed_key_pem("secret")}),
              "certificate a: the private key has a passphrase; store it without one");
    std::string broken = leaf.chain_pem();
    broken[broken.rfind("END CERTIFICATE") - 60] = '!';
    EXPECT_EQ(detail({"a", broken, key}), "certificate a: certificate 2 cannot be read");
    std::string bad_key = key;
    bad_key.replace(60, 20, 20, 'A');
    EXPECT_EQ(detail({"a", leaf.chain_pem(), bad_key}), "certificate a: the private key cannot be read");
    EXPECT_EQ(detail({"a", key, leaf.chain_pem()}).find(key.substr(40, 20)), std::string::npos);
}

TEST(Inspect, RefusesANulInAName) {
    const Identity leaf({.nul_in_name = true});
    const Result<Facts> facts = inspect(leaf.pem("a"));
    ASSERT_FALSE(facts);
    EXPECT_EQ(facts.error().detail, "certificate a: one of its names has a NUL or control byte");
}

TEST(Authorities, ReadsTheOperatorsAndTheSystems) {
    const World world;
    const auto both =
        Authorities::from_pem("both", world.root.certificate_pem() + world.intermediate.certificate_pem());
    ASSERT_TRUE(both);
    EXPECT_NE((*both)->digest(), world.root.trust()->digest());
    EXPECT_EQ(world.root.trust()->digest(), world.root.trust()->digest());
    EXPECT_FALSE(Authorities::from_pem("none", "nothing"));
}

TEST(Covers, NamesByTheRulesOfRfc9525) {
    Facts facts;
    facts.dns_names = {"shop.example",   "*.shop.example",    "*.com",
                       "f*.odd.example", "*.*.twice.example", "dot.example."};
    facts.ip_addresses = {"192.0.2.7", "2001:db8::1"};
    for (const char* yes : {"shop.example", "SHOP.Example", "shop.example.", "a.shop.example", "xn--a.shop.example",
                            "dot.example", "192.0.2.7", "2001:db8::1", "[2001:DB8:0::1]"}) {
        EXPECT_TRUE(covers(facts, yes)) << yes;
    }
    for (const char* no : {"", ".", "example", "a.b.shop.example", ".shop.example", "shop.example..",
                           "evil-shop.example", "a.com", "foo.odd.example", "a.b.twice.example", "*.*.twice.example",
                           "192.0.2.8", "2001:db8::2", "7.shop.example.evil"}) {
        EXPECT_FALSE(covers(facts, no)) << no;
    }
    EXPECT_FALSE(covers(facts, std::string_view("shop.example\0", 13)));
    facts.dns_names = {"*.2.7", "192.0.2.9"};
    EXPECT_FALSE(covers(facts, "192.0.2.9")) << "an address is matched by addresses only";
}

}  // namespace
}  // namespace plimsoll::tls

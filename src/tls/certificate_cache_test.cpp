#include "tls/certificate_cache.h"

#include <gtest/gtest.h>

#include "tls/openssl.h"
#include "tls/test_certificates.h"

namespace plimsoll::tls {
namespace {

using test::Identity;
using test::World;

TEST(CertificateCache, GivesEqualContentsTheSameObject) {
    const World world;
    CertificateCache cache;
    const Pem pem = world.issue({"DNS:a.example"}).pem("a");
    const auto first = cache.load(pem).value();
    EXPECT_EQ(cache.load(pem).value(), first);
    Pem named = pem;
    named.name = "b";
    EXPECT_NE(cache.load(named).value(), first) << "the name is told in facts";
    EXPECT_EQ(cache.load(named).value()->facts().name, "b");
    Pem bare = pem;
    bare.chain += "\n";
    EXPECT_NE(cache.load(bare).value(), first);
}

TEST(CertificateCache, SharesIssuersAndChecksEachLeaf) {
    const World world;
    CertificateCache cache;
    const auto a = cache.load(world.issue({"DNS:a.example"}).pem("a")).value();
    const auto b = cache.load(world.issue({"DNS:b.example"}, test::KeyKind::rsa).pem("b")).value();
    EXPECT_EQ(a->inside().issuers, b->inside().issuers);
    EXPECT_TRUE(a->facts().chain_in_order && b->facts().chain_in_order);
    const World other("other");
    Pem foreign = other.issue({"DNS:c.example"}).pem("c");
    foreign.chain = other.issue({"DNS:c.example"}).certificate_pem() + world.intermediate.certificate_pem();
    EXPECT_FALSE(cache.load(foreign)) << "the key is another leaf's";
    const Identity c = other.issue({"DNS:c.example"});
    const auto disordered =
        cache.load({"c", c.certificate_pem() + world.intermediate.certificate_pem(), c.key_pem()}).value();
    EXPECT_EQ(disordered->inside().issuers, a->inside().issuers);
    EXPECT_FALSE(disordered->facts().chain_in_order);
}

TEST(CertificateCache, LetsGoOfWhatNobodyHolds) {
    const World world;
    CertificateCache cache;
    auto one = cache.load(world.issue({"DNS:a.example"}).pem("a")).value();
    const auto two = cache.load(world.issue({"DNS:b.example"}).pem("b")).value();
    cache.sweep();
    EXPECT_EQ(cache.size(), 2u);
    const std::weak_ptr<const Certificate> watched = one;
    one = nullptr;
    EXPECT_TRUE(watched.expired());
    cache.sweep();
    EXPECT_EQ(cache.size(), 1u);
}

TEST(CertificateCache, DoesNotKeepWhatIsWrong) {
    const World world;
    CertificateCache cache;
    Pem pem = world.issue({"DNS:a.example"}).pem("a");
    const std::string key = std::exchange(pem.key, world.issue({"DNS:a.example"}).key_pem());
    EXPECT_FALSE(cache.load(pem));
    pem.key = key;
    EXPECT_TRUE(cache.load(pem));
}

TEST(CertificateCache, GivesEqualAuthoritiesOnce) {
    const World world, other("other");
    CertificateCache cache;
    const auto first = cache.authorities("a.pem", world.root.certificate_pem()).value();
    EXPECT_EQ(cache.authorities("b.pem", world.root.certificate_pem()).value(), first);
    EXPECT_NE(cache.authorities("a.pem", other.root.certificate_pem()).value(), first);
}

}  // namespace
}  // namespace plimsoll::tls

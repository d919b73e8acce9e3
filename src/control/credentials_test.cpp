// Certificates of revisions: read once, shared, renewed when their files change.
#include "control/credentials.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "config/config.h"
#include "snapshot/snapshot.h"
#include "tls/test_certificates.h"

namespace plimsoll::control {
namespace {

using tls::test::Identity;
using tls::test::World;

class CredentialsTest : public ::testing::Test {
protected:
    void SetUp() override {
        directory_ =
            std::filesystem::path(::testing::TempDir()) /
            (std::string("plimsoll-credentials-") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
        std::filesystem::remove_all(directory_);
        std::filesystem::create_directories(directory_);
        for (const char* name : {"a", "b"}) put(name, world_.issue({std::string("DNS:") + name + ".example"}));
        write("ca.pem", world_.root.certificate_pem());
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    [[nodiscard]] std::string path(const std::string& file) const { return (directory_ / file).string(); }
    void write(const std::string& file, const std::string& text) const {
        std::ofstream(path(file), std::ios::binary) << text;
    }
    void put(const std::string& name, const Identity& identity) const {
        write(name + ".pem", identity.chain_pem());
        write(name + ".key", identity.key_pem());
    }
    [[nodiscard]] config::Config config(const std::string& ocsp = {}) const {
        config::Config out;
        out.certificates = {{.name = "a", .chain = path("a.pem"), .key = path("a.key"), .ocsp = ocsp},
                            {.name = "b", .chain = path("b.pem"), .key = path("b.key"), .ocsp = {}}};
        return out;
    }
    /// A listener with both certificates, a pool that shows one of them.
    [[nodiscard]] std::shared_ptr<const snapshot::Snapshot> revision(const config::Config& config) const {
        auto out = std::make_shared<snapshot::Snapshot>();
        out->certificates = config.certificates;
        config::Listener& listener = out->listeners.emplace_back();
        listener.name = "web";
        listener.tls.emplace().certificates = {"a", "b"};
        snapshot::Pool& pool = out->pools.emplace_back();
        pool.name = "web";
        pool.tls.emplace();
        pool.tls->ca = path("ca.pem");
        pool.tls->certificate = "b";
        return out;
    }
    std::shared_ptr<const proxy::Prepared> prepared(const std::shared_ptr<const snapshot::Snapshot>& snapshot) {
        std::vector<std::string> failures;
        auto out = store_.prepared(snapshot, failures);
        EXPECT_TRUE(failures.empty()) << failures.front();
        return out;
    }
    /// What refresh() did and said.
    std::pair<bool, std::vector<std::string>> refreshed() {
        std::vector<std::string> failures;
        const bool renewed = store_.refresh(failures);
        return {renewed, failures};
    }

    World world_;
    std::filesystem::path directory_;
    CredentialStore store_;
};

TEST_F(CredentialsTest, AChangeThatLeavesCertificatesAloneMakesNothing) {
    const auto one = prepared(revision(config()));
    const auto two = prepared(revision(config()));
    ASSERT_NE(one->listeners[0].tls, nullptr);
    ASSERT_NE(one->pools[0].tls, nullptr);
    EXPECT_EQ(two->listeners[0].tls, one->listeners[0].tls);
    EXPECT_EQ(two->pools[0].tls, one->pools[0].tls) << "sessions with endpoints are lost";
}

TEST_F(CredentialsTest, AChangeOfOneKeepsTheOther) {
    const auto one = prepared(revision(config()));
    put("a", world_.issue({"DNS:a.example"}));
    const auto two = prepared(revision(config()));
    EXPECT_NE(two->listeners[0].tls, one->listeners[0].tls);
    EXPECT_NE(two->listeners[0].tls->settings().certificates[0], one->listeners[0].tls->settings().certificates[0]);
    EXPECT_EQ(two->listeners[0].tls->settings().certificates[1], one->listeners[0].tls->settings().certificates[1]);
    EXPECT_EQ(two->pools[0].tls, one->pools[0].tls);
}

TEST_F(CredentialsTest, OldOnesGoWithTheirRevision) {
    auto first = revision(config());
    auto one = prepared(first);
    const std::weak_ptr<const tls::Certificate> old = one->listeners[0].tls->settings().certificates[0];
    put("a", world_.issue({"DNS:a.example"}));
    const auto second = revision(config());
    const auto two = prepared(second);
    store_.keep_only(second.get(), nullptr);
    EXPECT_FALSE(old.expired()) << "a worker may still serve it";
    one = nullptr;
    EXPECT_TRUE(old.expired());
}

TEST_F(CredentialsTest, WhatACheckHasParsedIsNotParsedAgain) {
    const auto facts = store_.files()->facts(config());
    ASSERT_EQ(facts.size(), 2u);
    EXPECT_EQ(facts[0].dns_names, std::vector<std::string>{"a.example"});
    EXPECT_TRUE(facts[0].key_matches && facts[0].chain_complete);
    const auto parsed = store_.files()->load(config().certificates[0]).value();
    EXPECT_EQ(prepared(revision(config()))->listeners[0].tls->settings().certificates[0], parsed);
}

TEST_F(CredentialsTest, FactsOfWhatCannotBeLoaded) {
    write("a.key", world_.issue({"DNS:a.example"}).key_pem());
    write("b.pem", "nothing");
    auto facts = store_.files()->facts(config());
    EXPECT_FALSE(facts[0].key_matches);
    EXPECT_EQ(facts[0].error, "");
    EXPECT_EQ(facts[1].error, "certificate b: no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
    std::filesystem::remove(path("b.pem"));
    facts = store_.files()->facts(config());
    EXPECT_EQ(facts[1].name, "b");
    EXPECT_EQ(facts[1].error, path("b.pem") + ": No such file or directory");
}

TEST_F(CredentialsTest, FilesThatChangeAreServedAndThoseThatDoNotAreNotInstalled) {
    const auto snapshot = revision(config());
    const auto before = prepared(snapshot);
    EXPECT_EQ(refreshed().first, false);
    write("a.pem", "half");
    EXPECT_EQ(refreshed().first, false);
    std::vector<std::string> failures;
    EXPECT_EQ(store_.prepared(snapshot, failures), before) << "what is served stays";
    EXPECT_EQ(failures.size(), 1u) << "and that it cannot be loaded any more is said until it is mended";
    put("a", world_.issue({"DNS:new.example"}));
    EXPECT_EQ(refreshed(), (std::pair{true, std::vector<std::string>{}}));
    const auto after = prepared(snapshot);
    EXPECT_EQ(after->listeners[0].tls->settings().certificates[0]->facts().dns_names.front(), "new.example");
    EXPECT_EQ(after->pools[0].tls, before->pools[0].tls);
    // Written anew with the same contents: nothing to tell anybody.
    std::ifstream in(path("a.pem"), std::ios::binary);
    const std::string same{std::istreambuf_iterator<char>(in), {}};
    std::filesystem::remove(path("a.pem"));
    write("a.pem", same);
    EXPECT_EQ(refreshed().first, false);
    EXPECT_EQ(prepared(snapshot), after);
}

TEST_F(CredentialsTest, AnOcspResponseIsNeverAReasonNotToServe) {
    const Identity leaf({.names = {"DNS:a.example"}, .must_staple = true}, &world_.intermediate);
    put("a", leaf);
    const std::string file = path("a.ocsp");
    const auto snapshot = revision(config(file));
    const auto now = [](long after) { return Timestamp{(std::time(nullptr) + after) * 1'000'000'000}; };
    const auto staple = [&] {
        return prepared(snapshot)->listeners[0].tls->settings().certificates[0]->facts().staple_until;
    };

    EXPECT_FALSE(staple());  // no such file
    const std::string start = "certificate a: the OCSP response (" + path("a.ocsp") + ") ";
    const std::string end = ": none is stapled, and clients that know must-staple refuse";
    EXPECT_EQ(store_.remarks(now(0)), std::vector{start + "is missing" + end});
    EXPECT_TRUE(store_.remarks(now(0)).empty()) << "said once";

    write("a.ocsp", world_.issue({"DNS:a.example"}).ocsp());
    EXPECT_TRUE(refreshed().first);
    EXPECT_FALSE(staple());
    EXPECT_EQ(store_.remarks(now(0)), std::vector{start + "is for another certificate" + end});

    write("a.ocsp", leaf.ocsp({.until = 60}));
    EXPECT_TRUE(refreshed().first);
    ASSERT_TRUE(staple());
    EXPECT_TRUE(store_.remarks(now(0)).empty());
    EXPECT_EQ(store_.remarks(now(3600)), std::vector{start + "ended at " + rfc3339(*staple()) + end});

    const auto facts = store_.files()->facts(config(file));
    EXPECT_TRUE(facts[0].must_staple);
    EXPECT_EQ(facts[0].ocsp_until, *staple());
    std::filesystem::remove(path("a.ocsp"));
    EXPECT_TRUE(store_.files()->facts(config(file))[0].ocsp_error.starts_with("is missing"));
}

}  // namespace
}  // namespace plimsoll::control

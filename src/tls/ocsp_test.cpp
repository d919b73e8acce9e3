// OCSP responses: which are taken, and what a client that asks for one gets.
#include <gtest/gtest.h>

#include "tls/openssl.h"
#include "tls/test_world.h"

namespace plimsoll::tls {
namespace {

using test::Answer;
using test::Identity;
using test::Stage;
using test::World;

Facts with_response(const Identity& leaf, std::string der) {
    Pem pem = leaf.pem("a");
    pem.ocsp = std::move(der);
    return Certificate::load(pem).value()->facts();
}

TEST(Ocsp, TakesWhatTheIssuerSays) {
    const World world;
    const Identity leaf = world.issue({"DNS:a.example"});
    const Facts facts = with_response(leaf, leaf.ocsp());
    EXPECT_EQ(facts.staple_error, "");
    ASSERT_TRUE(facts.staple_until);
    const Facts longer = with_response(leaf, leaf.ocsp({.until = 2 * 86'400}));
    EXPECT_GT(*longer.staple_until - *facts.staple_until, std::chrono::hours(23));
    EXPECT_FALSE(facts.must_staple);
    EXPECT_FALSE(with_response(leaf, "").staple_until);
    EXPECT_EQ(with_response(leaf, "").staple_error, "");
}

TEST(Ocsp, TakesAResponderThatTheIssuerNamed) {
    const World world;
    const Identity leaf = world.issue({"DNS:a.example"});
    const Identity responder({.subject = "responder", .answers_ocsp = true}, &world.intermediate);
    EXPECT_EQ(with_response(leaf, leaf.ocsp({.signer = &responder})).staple_error, "");
    const Identity nobody({.subject = "another leaf"}, &world.intermediate);
    const Identity of_others({.subject = "responder", .answers_ocsp = true}, &world.root);
    const World foreign("foreign");
    for (const Identity* signer : {&nobody, &of_others, &leaf, &foreign.intermediate}) {
        const Facts facts = with_response(leaf, leaf.ocsp({.signer = signer}));
        EXPECT_EQ(facts.staple_error, "is not signed by the certificate's issuer");
        EXPECT_FALSE(facts.staple_until);
    }
}

TEST(Ocsp, SaysWhyAResponseIsNotTaken) {
    const World world;
    const Identity leaf = world.issue({"DNS:a.example"}), other = world.issue({"DNS:a.example"});
    const std::string good = leaf.ocsp();
    EXPECT_EQ(with_response(leaf, other.ocsp()).staple_error, "is for another certificate");
    EXPECT_EQ(with_response(leaf, "hello").staple_error, "cannot be read (DER is wanted)");
    EXPECT_EQ(with_response(leaf, good + "x").staple_error, "cannot be read (DER is wanted)");
    EXPECT_EQ(with_response(leaf, good.substr(0, good.size() - 1)).staple_error, "cannot be read (DER is wanted)");
    EXPECT_EQ(with_response(leaf, Identity::ocsp_response(OCSP_RESPONSE_STATUS_TRYLATER)).staple_error,
              "is no answer: the responder says trylater");
    EXPECT_EQ(with_response(leaf, leaf.ocsp({.until = 0})).staple_error, "does not say until when it holds");
    EXPECT_EQ(with_response(leaf, leaf.ocsp({.status = V_OCSP_CERTSTATUS_UNKNOWN})).staple_error,
              "says that the responder does not know the certificate");
    const Facts revoked = with_response(leaf, leaf.ocsp({.status = V_OCSP_CERTSTATUS_REVOKED}));
    EXPECT_TRUE(revoked.revoked);
    EXPECT_EQ(revoked.staple_error, "says that the certificate is revoked");
    Pem alone = leaf.pem("a");
    alone.chain = leaf.certificate_pem();
    alone.ocsp = good;
    EXPECT_EQ(Certificate::load(alone).value()->facts().staple_error,
              "cannot be checked: the issuer is not in the certificate's file");
}

/// What follows what is signed (the responder's certificate, which we know already) may be anything.
TEST(Ocsp, NoAlteredByteIsBelieved) {
    const World world;
    const Identity leaf = world.issue({"DNS:a.example"});
    const std::string good = leaf.ocsp();
    const Timestamp until = *with_response(leaf, good).staple_until;
    std::size_t refused = 0;
    for (std::size_t at = 0; at < good.size(); at += 3) {
        std::string forged = good;
        forged[at] = static_cast<char>(forged[at] ^ 1);
        const Facts facts = with_response(leaf, forged);
        refused += facts.staple_error.empty() ? 0 : 1;
        if (facts.staple_error.empty()) EXPECT_EQ(facts.staple_until, until) << at;
    }
    EXPECT_GT(refused, good.size() / 3 / 3);
}

TEST(Ocsp, KnowsMustStaple) {
    const World world;
    const Identity leaf({.names = {"DNS:a.example"}, .must_staple = true}, &world.intermediate);
    EXPECT_TRUE(leaf.load("a")->facts().must_staple);
}

struct Stapled {
    bool shaken = false;
    std::string der;
};

/// A handshake with a client that asks for a response.
Stapled ask(const std::string& response, int version, bool asks = true) {
    Stage stage;
    Stapled out;
    const Identity leaf = stage.world.issue({"DNS:a.example"});
    Pem pem = leaf.pem("a");
    if (response == "good") pem.ocsp = leaf.ocsp();
    if (response == "ended") pem.ocsp = leaf.ocsp({.from = -7200, .until = -60});
    if (response == "early") pem.ocsp = leaf.ocsp({.from = 3600});
    ServerSettings settings = stage.server_settings();
    settings.certificates = {stage.world.issue({"DNS:b.example"}).load("b"), Certificate::load(pem).value()};
    auto client = ClientContext::create(stage.client_settings()).value();
    SSL_CTX* context = client->inside().context.get();
    SSL_CTX_set_max_proto_version(context, version);
    if (asks) SSL_CTX_set_tlsext_status_type(context, TLSEXT_STATUSTYPE_ocsp);
    SSL_CTX_set_tlsext_status_arg(context, &out.der);
    SSL_CTX_set_tlsext_status_cb(
        context, +[](SSL* ssl, void* into) {
            const unsigned char* der = nullptr;
            const long size = SSL_get_tlsext_status_ocsp_resp(ssl, &der);
            if (size > 0) {
                static_cast<std::string*>(into)->assign(reinterpret_cast<const char*>(der),
                                                        static_cast<std::size_t>(size));
            }
            return 1;
        });
    const test::Ends ends = stage.shake(ServerContext::create(settings).value(), client);
    out.shaken = ends.both();
    if (!out.der.empty()) EXPECT_EQ(out.der, pem.ocsp);
    return out;
}

TEST(Ocsp, IsStapledWhileItHolds) {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        EXPECT_FALSE(ask("good", version).der.empty());
        for (const char* response : {"none", "ended", "early"}) {
            const Stapled got = ask(response, version);
            EXPECT_TRUE(got.shaken) << response;
            EXPECT_TRUE(got.der.empty()) << response;
        }
        const Stapled unasked = ask("good", version, false);
        EXPECT_TRUE(unasked.shaken);
        EXPECT_TRUE(unasked.der.empty());
    }
}

}  // namespace
}  // namespace plimsoll::tls

// What is agreed on and what is refused, and in which words.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "tls/test_world.h"

namespace plimsoll::tls {
namespace {

using namespace std::chrono_literals;
using test::Ends;
using test::Identity;
using test::KeyKind;
using test::read_now;
using test::Stage;
using test::write_now;

/// The first flight of a client that takes one version only.
std::string client_hello(int version, const char* name = nullptr) {
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    SSL* ssl = SSL_new(context);
    if (name != nullptr) SSL_set_tlsext_host_name(ssl, name);
    BIO* out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
    SSL_connect(ssl);
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(out, &bytes);
    std::string hello(bytes, static_cast<std::size_t>(size));
    SSL_free(ssl);
    SSL_CTX_free(context);
    return hello;
}

TEST(Handshake, AgreesOnWhatBothSidesWant) {
    Stage stage;
    ServerSettings server = stage.server_settings();
    server.alpn = {"h2", "http/1.1"};
    ClientSettings client = stage.client_settings();
    client.alpn = {"http/1.1", "h2"};
    const Ends ends = stage.shake(server, client, "A.Example");
    ASSERT_TRUE(ends.both()) << ends.client_error() << " / " << ends.server_error();
    for (const Session* each : {&ends.at_client(), &ends.at_server()}) {
        EXPECT_EQ(each->facts().version, Version::tls13);
        EXPECT_EQ(each->facts().cipher, "TLS_AES_128_GCM_SHA256");
        EXPECT_EQ(each->facts().alpn, "h2") << "the server's preference";
        EXPECT_EQ(each->facts().sni, "a.example");
        EXPECT_FALSE(each->facts().resumed);
        EXPECT_EQ(each->written(), 0u);
    }
    EXPECT_EQ(ends.at_client().facts().peer_subject, "CN=leaf");
    EXPECT_EQ(ends.at_client().facts().peer_fingerprint, server.certificates[0]->facts().fingerprint);
    EXPECT_EQ(ends.at_server().facts().peer_subject, "");
    EXPECT_EQ(ends.at_server().facts().certificate, "a");
}

TEST(Handshake, NoCommonApplicationProtocolIsRefused) {
    Stage stage;
    ServerSettings server = stage.server_settings();
    server.alpn = {"h2"};
    ClientSettings client = stage.client_settings();
    client.alpn = {"smtp"};
    const Ends ends = stage.shake(server, client);
    EXPECT_EQ(ends.server_error(), "TLS handshake: the client offers none of our application protocols (ALPN)");
    EXPECT_EQ(ends.client_error(), "TLS handshake: the server speaks none of the application protocols offered (ALPN)");
}

TEST(Handshake, ChoosesCertificatesByName) {
    Stage stage;
    ServerSettings server = stage.server_settings();
    server.certificates.push_back(stage.world.issue({"DNS:b.example", "DNS:*.b.example"}).load("b"));
    server.certificates.push_back(stage.world.issue({"DNS:x.b.example", "DNS:b.example"}).load("x"));
    const auto context = ServerContext::create(server).value();
    const auto client = ClientContext::create(stage.client_settings()).value();
    for (const auto& [asked, shown] : std::initializer_list<std::pair<const char*, const char*>>{
             {"a.example", "a"}, {"b.example", "b"}, {"y.b.example", "b"}, {"x.b.example", "x"}}) {
        const Ends ends = stage.shake(context, client, asked);
        ASSERT_TRUE(ends.both()) << asked << ": " << ends.client_error();
        EXPECT_EQ(ends.at_server().facts().certificate, shown);
        EXPECT_EQ(context->certificate_for(asked), shown);
    }
    EXPECT_EQ(context->certificate_for("Y.B.Example."), "b");
    EXPECT_EQ(context->certificate_for("a.y.b.example"), "a") << "a wildcard is one label";
    EXPECT_EQ(context->certificate_for("nobody"), "a");
    EXPECT_EQ(stage.shake(context, client, "c.example").client_error(),
              "TLS handshake: the server's certificate is for a.example, not c.example");
}

TEST(Handshake, RsaAndEcdsaOfOneNameServeWhoeverCanDoWhat) {
    Stage stage;
    ServerSettings server = stage.server_settings();
    server.certificates.push_back(stage.world.issue({"DNS:a.example"}, KeyKind::rsa).load("a-rsa"));
    const auto context = ServerContext::create(server).value();
    const Ends ends = stage.shake(context, ClientContext::create(stage.client_settings()).value());
    ASSERT_TRUE(ends.both());
    EXPECT_EQ(ends.at_client().facts().peer_fingerprint, server.certificates[0]->facts().fingerprint);
}

TEST(Handshake, TheServersCertificateMustFit) {
    Stage stage;
    const auto error = [&](const Identity& leaf, std::string name = "a.example") {
        ServerSettings server = stage.server_settings();
        server.certificates = {leaf.load("leaf")};
        const Ends ends = stage.shake(server, stage.client_settings(), std::move(name));
        if (ends.client && !*ends.client) {
            EXPECT_EQ(ends.client->error().side, Side::upstream);
            EXPECT_EQ(ends.client->error().retry, Retry::yes);
            EXPECT_EQ(ends.client->error().code, Code::protocol);
        }
        return ends.client_error();
    };
    const Identity& issuer = stage.world.intermediate;
    EXPECT_EQ(error(Identity({.names = {"DNS:a.example"}, .until = "20210101000000Z"}, &issuer)),
              "TLS handshake: the server's certificate ended at 2021-01-01T00:00:00.000Z");
    EXPECT_EQ(error(Identity({.names = {"DNS:a.example"}, .from = "20980101000000Z"}, &issuer)),
              "TLS handshake: the server's certificate begins at 2098-01-01T00:00:00.000Z");
    EXPECT_EQ(error(Identity({.names = {"DNS:a.example"}})),
              "TLS handshake: the server's certificate is self-signed and not one of the authorities");
    const test::World stranger("strange");
    EXPECT_EQ(error(stranger.issue({"DNS:a.example"})),
              "TLS handshake: the server's certificate's issuer CN=strange intermediate is issued by CN=strange root, "
              "which is "
              "neither one of the authorities nor sent along (an intermediate may be missing)");
    EXPECT_EQ(error(Identity({.subject = "a.example"}, &issuer)),
              "TLS handshake: the server's certificate names no host (no subject alternative names), not a.example");
    EXPECT_EQ(error(stage.world.issue({"DNS:*.example"}), "a.b.example"),
              "TLS handshake: the server's certificate is for *.example, not a.b.example");
    EXPECT_EQ(error(stage.world.issue({"DNS:127.0.0.1"}), "127.0.0.1"),
              "TLS handshake: the server's certificate is for 127.0.0.1, not 127.0.0.1")
        << "a name is no address";
    EXPECT_EQ(error(stage.world.issue({"IP:127.0.0.1"}), "127.0.0.1"), "fine");
    EXPECT_EQ(error(stage.world.issue({"IP:2001:db8::1"}), "[2001:db8::1]"), "fine");
    EXPECT_EQ(error(stage.world.issue({"DNS:*.example.org"}), "x.example.org"), "fine");
}

TEST(Handshake, WithoutVerificationAnyCertificateWillDo) {
    Stage stage;
    ClientSettings client;
    client.verify = false;
    const Ends ends = stage.shake(stage.server_settings(), client, "");
    ASSERT_TRUE(ends.both()) << ends.client_error();
    EXPECT_EQ(ends.at_server().facts().sni, "");
    const auto refused = stage.shake(stage.server_settings(), stage.client_settings(), "");
    EXPECT_EQ(refused.client_error(), "TLS handshake: no server name to verify");
    EXPECT_EQ(refused.client->error().side, Side::us);
}

/// accept() against bytes of a client.
struct Given {
    Stage stage;
    std::unique_ptr<net::Stream> near;
    std::optional<test::Shaken> result;
    async::Scope scope;
    explicit Given(ServerSettings settings = {}, std::string first = {}) {
        if (settings.certificates.empty()) settings = stage.server_settings();
        auto ends = stage.plain();
        near = std::move(ends.first);
        const Deadline deadline{stage.network.now() + 10s};
        scope.spawn(test::keep(accept(std::move(ends.second), ServerContext::create(std::move(settings)).value(),
                                      deadline, std::move(first)),
                               result));
    }
    Error error(std::string_view bytes) {
        if (!bytes.empty()) write_now(*near, bytes);
        stage.network.run_until_idle();
        if (!result) stage.network.advance(11s);
        return !result || *result ? Error{} : result->error();
    }
};

TEST(Handshake, OldVersionsAreRefusedInWordsAndByAnAlert) {
    for (const int version : {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION}) {
        Stage stage;
        ServerSettings settings = stage.server_settings();
        if (version == TLS1_2_VERSION) settings.min_version = Version::tls13;
        Given given(settings);
        const Error error = given.error(client_hello(version));
        EXPECT_EQ(error.detail,
                  "TLS handshake: no shared protocol version: the client offers none of those we take (TLS 1.2 or 1.3, "
                  "as configured)");
        EXPECT_EQ(error.side, Side::client);
        EXPECT_EQ(read_now(*given.near).substr(0, 1), "\x15") << "an alert";
    }
}

TEST(Handshake, WhoSpeaksSomethingElseIsToldApart) {
    EXPECT_EQ(Given().error("GET / HTTP/1.1\r\nHost: a\r\n\r\n").detail,
              "TLS handshake: the client speaks plain HTTP where TLS is expected");
    EXPECT_EQ(Given().error("SSH-2.0-OpenSSH_9.2\r\n").detail, "TLS handshake: the client does not speak TLS here");
    const Error slow = Given().error("\x16\x03\x01");
    EXPECT_EQ(slow.detail, "TLS handshake: the client did not finish in time");
    EXPECT_EQ(slow.code, Code::timeout);
    EXPECT_EQ(Given().error("").detail, "TLS handshake: the client sent nothing in time");
    Given silent;
    silent.near->close();
    EXPECT_EQ(silent.error("").code, Code::closed);
    Given cut;
    write_now(*cut.near, client_hello(TLS1_2_VERSION).substr(0, 50));
    cut.near->shutdown_write();
    EXPECT_EQ(cut.error("").code, Code::reset);
    Given reset;
    write_now(*reset.near, "\x16");
    reset.near->abort();
    EXPECT_EQ(reset.error("").code, Code::reset);
}

TEST(Handshake, ANameThatNoHostCanHaveIsRefused) {
    for (const char* bad : {"a.example\nforged log line", "a b", "a/b"}) {
        EXPECT_EQ(Given().error(client_hello(TLS1_3_VERSION, bad)).detail,
                  "TLS handshake: the client asks for a name that no host can have");
    }
}

TEST(Handshake, GoesOnWithBytesThatWereReadBefore) {
    const std::string hello = client_hello(TLS1_3_VERSION);
    Given given({}, hello.substr(0, 40));
    given.stage.network.run_until_idle();
    EXPECT_EQ(read_now(*given.near), "");
    write_now(*given.near, std::string_view(hello).substr(40));
    given.stage.network.run_until_idle();
    EXPECT_EQ(read_now(*given.near).substr(0, 1), "\x16") << "a ServerHello";
}

/// connect() against bytes of a server, given before it begins or after its ClientHello.
std::string connect_error(std::string_view bytes, bool before) {
    Stage stage;
    auto [near, far] = stage.plain();
    if (before) write_now(*far, bytes);
    std::optional<test::Shaken> result;
    async::Scope scope;
    scope.spawn(test::keep(
        connect(std::move(near), ClientContext::create(stage.client_settings()).value(), "a.example", {}), result));
    stage.network.run_until_idle();
    if (!before) write_now(*far, bytes);
    stage.network.run_until_idle();
    return !result ? "waits" : *result ? "fine" : result->error().detail;
}

TEST(Handshake, AServerThatSpeaksPlainlyIsNotListenedTo) {
    const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nevil!";
    EXPECT_EQ(connect_error(answer, true), "TLS handshake: the server does not speak TLS here");
    EXPECT_EQ(connect_error(answer, false), "TLS handshake: the server does not speak TLS here");
    EXPECT_EQ(connect_error(std::string_view("\x15\x03\x03\0\x02\x02\x70", 7), false),
              "TLS handshake: the server does not serve the name asked for (unrecognized_name)");
    EXPECT_EQ(connect_error(std::string_view("\x15\x03\x03\0\x02\x02\x28", 7), false),
              "TLS handshake: the server found no agreement (handshake_failure: ciphers, groups or a certificate it "
              "misses)");
}

TEST(ClientAuth, RequiredOptionalAndRefused) {
    Stage stage;
    const test::World stranger("strange");
    const auto shake = [&](ClientAuth auth, std::shared_ptr<const Certificate> shown) {
        ServerSettings server = stage.server_settings();
        server.client_auth = auth;
        server.client_authorities = stage.world.root.trust();
        ClientSettings client = stage.client_settings();
        client.certificate = std::move(shown);
        return stage.shake(server, client);
    };
    const auto good = stage.world.issue({"DNS:client"}).load("c");
    const auto bad = stranger.issue({"DNS:client"}).load("s");

    const Ends known = shake(ClientAuth::required, good);
    ASSERT_TRUE(known.both()) << known.server_error();
    EXPECT_EQ(known.at_server().facts().peer_subject, "CN=leaf");
    EXPECT_EQ(known.at_server().facts().peer_fingerprint, good->facts().fingerprint);
    EXPECT_TRUE(shake(ClientAuth::optional, good).both());
    EXPECT_TRUE(shake(ClientAuth::optional, nullptr).both());
    EXPECT_EQ(shake(ClientAuth::none, good).at_server().facts().peer_subject, "");

    const Ends nobody = shake(ClientAuth::required, nullptr);
    EXPECT_EQ(nobody.server_error(), "TLS handshake: the client sent no certificate");
    EXPECT_EQ(nobody.server->error().code, Code::protocol);
    for (const ClientAuth auth : {ClientAuth::required, ClientAuth::optional}) {
        EXPECT_EQ(shake(auth, bad).server_error(),
                  "TLS handshake: the client's certificate's issuer CN=strange intermediate is issued by CN=strange "
                  "root, which "
                  "is neither one of the authorities nor sent along (an intermediate may be missing)");
    }
    // In TLS 1.3 the client is done before the server has looked: it learns at its first read.
    ASSERT_TRUE(nobody.client && *nobody.client);
    EXPECT_EQ(read_now(nobody.at_client()), "");
    EXPECT_EQ(nobody.at_client().trouble(), "the server wants a client certificate");
}

TEST(Settings, ThatCannotWorkAreRefused) {
    Stage stage;
    EXPECT_EQ(ServerContext::create({.scope = "web"}).error().detail, "listener web: TLS needs a certificate");
    ServerSettings server = stage.server_settings();
    server.client_auth = ClientAuth::optional;
    EXPECT_EQ(ServerContext::create(server).error().detail, "listener web: client authentication needs authorities");
    server = stage.server_settings();
    server.alpn = {""};
    EXPECT_FALSE(ServerContext::create(server));
    EXPECT_FALSE(ClientContext::create({}));
}

TEST(Settings, TenThousandCertificatesAreFoundByName) {
    Stage stage;
    ServerSettings settings;
    const Identity leaf = stage.world.issue({"DNS:a.example"});
    const auto one = leaf.load("a");
    settings.certificates.assign(10'000, one);
    settings.certificates[5000] = stage.world.issue({"DNS:needle.example"}).load("needle");
    const auto context = ServerContext::create(settings).value();
    EXPECT_EQ(context->certificate_for("needle.example"), "needle");
    const Ends ends = stage.shake(context, ClientContext::create(stage.client_settings()).value(), "needle.example");
    ASSERT_TRUE(ends.both());
    EXPECT_EQ(ends.at_server().facts().certificate, "needle");
}

// ---- resumption ----------------------------------------------------------------------------------------------------

class Resumption : public testing::Test {
protected:
    Stage stage_;
    std::shared_ptr<TicketKeys> keys_ = std::make_shared<TicketKeys>();
    ServerSettings server_ = stage_.server_settings();
    std::shared_ptr<const ClientContext> client_ = ClientContext::create(stage_.client_settings()).value();
    void SetUp() override { server_.ticket_keys = keys_; }
    /// Whether the server resumed. Lets the client read its tickets.
    std::string visit(const ServerSettings& settings, std::string name = "a.example") {
        const Ends ends = stage_.shake(ServerContext::create(settings).value(), client_, std::move(name));
        if (!ends.both()) return ends.client_error() + " / " + ends.server_error();
        EXPECT_TRUE(ends.at_client().quiet()) << "tickets are no data";
        EXPECT_EQ(ends.at_client().facts().resumed, ends.at_server().facts().resumed);
        return ends.at_server().facts().resumed ? "resumed" : "full";
    }
};

TEST_F(Resumption, SurvivesChangesOfTheContextAndRotationsOfKeys) {
    EXPECT_EQ(visit(server_), "full");
    EXPECT_EQ(visit(server_), "resumed") << "another context, the same keys";
    keys_->rotate();
    EXPECT_EQ(visit(server_), "resumed");
    for (std::size_t i = 0; i < TicketKeys::kept; ++i) keys_->rotate();
    EXPECT_EQ(visit(server_), "full") << "all keys that the client's tickets know are gone";
    EXPECT_EQ(visit(server_), "resumed");
}

TEST_F(Resumption, MachinesWithOneSecretTakeEachOthersTickets) {
    const std::string secret(32, 's');
    ASSERT_TRUE(keys_->rotate(secret));
    EXPECT_EQ(visit(server_), "full");
    server_.ticket_keys = std::make_shared<TicketKeys>();
    EXPECT_EQ(visit(server_), "full");
    auto twin = std::make_shared<TicketKeys>();
    ASSERT_TRUE(twin->rotate(secret));
    server_.ticket_keys = twin;
    visit(server_);
    EXPECT_EQ(visit(server_), "resumed");
    EXPECT_FALSE(twin->rotate("short"));
}

TEST_F(Resumption, StaysWithinAPolicyAndAName) {
    server_.certificates.push_back(stage_.world.issue({"DNS:b.example"}).load("b"));
    EXPECT_EQ(visit(server_), "full");
    EXPECT_EQ(visit(server_, "b.example"), "full");
    ServerSettings other = server_;
    other.scope = "admin";
    EXPECT_EQ(visit(other), "full") << "another listener";
    EXPECT_EQ(visit(other), "resumed");
    other = server_;
    other.client_auth = ClientAuth::optional;
    other.client_authorities = stage_.world.root.trust();
    EXPECT_EQ(visit(other), "full") << "another client authentication";
    EXPECT_EQ(visit(other), "resumed");
    const test::World stranger("strange");
    other.client_authorities = stranger.root.trust();
    EXPECT_EQ(visit(other), "full") << "other authorities";
}

TEST_F(Resumption, KeepsTheClientsCertificate) {
    ServerSettings server = server_;
    server.client_auth = ClientAuth::required;
    server.client_authorities = stage_.world.root.trust();
    ClientSettings settings = stage_.client_settings();
    settings.certificate = stage_.world.issue({"DNS:client"}).load("c");
    client_ = ClientContext::create(settings).value();
    EXPECT_EQ(visit(server), "full");
    const Ends ends = stage_.shake(ServerContext::create(server).value(), client_);
    ASSERT_TRUE(ends.both());
    EXPECT_TRUE(ends.at_server().facts().resumed);
    EXPECT_EQ(ends.at_server().facts().peer_fingerprint, settings.certificate->facts().fingerprint);
}

TEST_F(Resumption, CanBeTurnedOff) {
    ServerSettings off = server_;
    off.session_tickets = false;
    EXPECT_EQ(visit(off), "full");
    EXPECT_EQ(visit(off), "full");
    ClientSettings none = stage_.client_settings();
    none.resume = false;
    client_ = ClientContext::create(none).value();
    EXPECT_EQ(visit(server_), "full");
    EXPECT_EQ(visit(server_), "full");
}

}  // namespace
}  // namespace plimsoll::tls

// Other people's TLS against ours, on real sockets: openssl s_client and s_server, gnutls-cli. Each test is skipped
// where its program is not installed.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "net/loop.h"
#include "tls/session.h"
#include "tls/test_certificates.h"

namespace plimsoll::tls {
namespace {

using namespace std::chrono_literals;

/// What a command printed, both streams.
std::string run(const std::string& command) {
    std::string out;
    std::FILE* pipe = ::popen(("{ " + command + " ; } 2>&1").c_str(), "r");
    std::array<char, 4096> buffer;
    for (std::size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) out.append(buffer.data(), n);
    ::pclose(pipe);
    return out;
}
bool installed(const std::string& program) {
    return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

std::string line(const SessionFacts& facts) {
    return std::string("facts: ") + (facts.version == Version::tls13 ? "1.3" : "1.2") + " sni=" + facts.sni +
           " alpn=" + facts.alpn + " certificate=" + facts.certificate + (facts.resumed ? " resumed" : " full") +
           " peer=" + facts.peer_subject + "\n";
}

enum class Manner : std::uint8_t { tell, listen };

/// Tells each client what was agreed on, or listens for a line, and says goodbye.
Task<void> serve_one(net::Network& network, std::unique_ptr<net::Stream> stream,
                     std::shared_ptr<const ServerContext> context, Manner manner, std::string& last_error) {
    const Deadline deadline{network.now() + 10s};
    Result<std::unique_ptr<Session>> session = co_await accept(std::move(stream), std::move(context), deadline);
    if (!session) {
        last_error = session.error().detail;
        co_return;
    }
    const std::string text = line((*session)->facts());
    char buffer[1000];
    if (manner == Manner::listen) {
        if (!co_await (*session)->read(buffer, deadline)) last_error = (*session)->trouble();
    } else {
        (void)co_await (*session)->write_all(text, deadline);
    }
    (*session)->close();
}
Task<void> serve(net::Network& network, net::Listener& listener, std::shared_ptr<const ServerContext> context,
                 Manner manner, std::string& last_error) {
    for (;;) {
        auto stream = co_await listener.accept({});
        if (!stream) co_return;
        network.spawn(serve_one(network, std::move(*stream), context, manner, last_error));
    }
}

/// A server of ours on a port of its own, as long as the object lives.
class Served {
public:
    explicit Served(std::shared_ptr<const ServerContext> context, Manner manner)
        : loop_(std::move(*net::Loop::create())) {
        listener_ = std::move(*loop_->listen(*net::Address::ip("127.0.0.1", 0), {}));
        address = listener_->address();
        loop_->spawn(serve(*loop_, *listener_, std::move(context), manner, error_));
        thread_ = std::thread([this] { loop_->run(); });
    }
    ~Served() { stop(); }
    /// Why the last client was refused.
    std::string error() {
        stop();
        return error_;
    }
    net::Address address;

private:
    void stop() {
        if (!thread_.joinable()) return;
        loop_->stop();
        thread_.join();
    }
    std::unique_ptr<net::Loop> loop_;
    std::unique_ptr<net::Listener> listener_;
    std::string error_;
    std::thread thread_;
};

class Interop : public testing::Test {
protected:
    test::World world_;
    std::filesystem::path directory_ = make_directory();
    ServerSettings settings_;

    void SetUp() override {
        settings_.scope = "web";
        settings_.certificates = {world_.issue({"DNS:a.example"}).load("a"),
                                  world_.issue({"DNS:*.b.example"}, test::KeyKind::rsa).load("b")};
        settings_.alpn = {"h2", "http/1.1"};
        file("root.pem", world_.root.certificate_pem());
        const test::Identity client = world_.issue({"DNS:client"});
        file("client.pem", client.chain_pem());
        file("client.key", client.key_pem());
        const test::World strange("strange");
        const test::Identity stranger = strange.issue({"DNS:client"});
        file("stranger.pem", stranger.chain_pem());
        file("stranger.key", stranger.key_pem());
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }
    static std::filesystem::path make_directory() {
        std::string name = std::filesystem::temp_directory_path() / "plimsoll-tls-XXXXXX";
        return ::mkdtemp(name.data());
    }
    std::string file(const std::string& name, const std::string& text = "") {
        const auto path = directory_ / name;
        if (!text.empty()) std::ofstream(path) << text;
        return path;
    }
    [[nodiscard]] std::unique_ptr<Served> served(Manner manner = Manner::tell) {
        return std::make_unique<Served>(ServerContext::create(settings_).value(), manner);
    }
    /// `input` goes to s_client's standard input: its commands (R) begin a line.
    std::string s_client(const Served& to, const std::string& options, const std::string& input = "",
                         const std::string& name = "a.example") {
        const bool commands = !input.empty();
        return run((commands ? "printf '" + input + "' | " : std::string()) + "timeout 10 openssl s_client -connect " +
                   to.address.text() + " -servername " + name + " -verify_hostname " + name +
                   " -verify_return_error -CAfile " + file("root.pem") + (commands ? "" : " -ign_eof") + " " + options +
                   (commands ? "" : " </dev/null"));
    }
    std::string gnutls(const Served& to, const std::string& options, const std::string& name = "a.example") {
        return run("timeout 10 gnutls-cli --x509cafile " + file("root.pem") + " --sni-hostname " + name +
                   " --verify-hostname " + name + " -p " + std::to_string(to.address.port()) + " " + options +
                   " 127.0.0.1 </dev/null");
    }
};

#define EXPECT_SAYS(output, text) EXPECT_NE((output).find(text), std::string::npos) << (output)
#define NEEDS(program) \
    if (!installed(program)) GTEST_SKIP() << program << " is not installed"

TEST_F(Interop, OpensslBothVersionsAndNames) {
    NEEDS("openssl");
    const auto server = served();
    EXPECT_SAYS(s_client(*server, "-tls1_2"), "facts: 1.2 sni=a.example alpn= certificate=a full peer=");
    EXPECT_SAYS(s_client(*server, "-tls1_3 -alpn http/1.1,h2"), "facts: 1.3 sni=a.example alpn=h2 certificate=a full");
    EXPECT_SAYS(s_client(*server, "-tls1_3", "", "x.b.example"), "sni=x.b.example alpn= certificate=b full");
    EXPECT_SAYS(s_client(*server, "-tls1_2", "", "x.b.example"), "sni=x.b.example alpn= certificate=b full");
    EXPECT_SAYS(s_client(*server, "-tls1_3", "", "other.example"), "hostname mismatch");
    EXPECT_SAYS(s_client(*server, "-tls1_2 -cipher AES128-GCM-SHA256"), "handshake failure");
    EXPECT_SAYS(s_client(*server, "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA"), "handshake failure");
    EXPECT_SAYS(s_client(*server, "-tls1_3 -groups X448"), "handshake failure");
    EXPECT_SAYS(s_client(*server, "-tls1_3 -groups P-256"), "facts: 1.3");
    EXPECT_SAYS(s_client(*server, "-alpn smtp"), "no application protocol");
}

TEST_F(Interop, OpensslOldVersionsAndRenegotiationAreRefused) {
    NEEDS("openssl");
    {
        const auto server = served();
        for (const char* old : {"-tls1", "-tls1_1"}) {
            EXPECT_SAYS(s_client(*server, std::string(old) + " -cipher DEFAULT:@SECLEVEL=0"), "alert protocol version");
        }
        EXPECT_SAYS(server->error(), "no shared protocol version");
    }
    settings_.min_version = Version::tls13;
    EXPECT_SAYS(s_client(*served(), "-tls1_2"), "alert protocol version");
    settings_.min_version = Version::tls12;
    const std::string renegotiated = s_client(*served(Manner::listen), "-tls1_2", "R\\n");
    EXPECT_SAYS(renegotiated, "RENEGOTIATING");
    EXPECT_SAYS(renegotiated, "no renegotiation");
}

TEST_F(Interop, OpensslResumesWithTickets) {
    NEEDS("openssl");
    settings_.ticket_keys = std::make_shared<TicketKeys>();
    for (const std::string version : {"-tls1_2", "-tls1_3"}) {
        const std::string session = file("session" + version);
        EXPECT_SAYS(s_client(*served(), version + " -sess_out " + session), " full ");
        EXPECT_SAYS(s_client(*served(), version + " -sess_in " + session), " resumed ") << version;
    }
    settings_.session_tickets = false;
    for (const std::string version : {"-tls1_2", "-tls1_3"}) {
        const std::string session = file("none" + version);
        EXPECT_SAYS(s_client(*served(), version + " -sess_out " + session), " full ");
        if (!std::filesystem::exists(session)) continue;
        EXPECT_SAYS(s_client(*served(), version + " -sess_in " + session), " full ") << version;
    }
}

TEST_F(Interop, OpensslClientCertificates) {
    NEEDS("openssl");
    settings_.client_authorities = world_.root.trust();
    const std::string known =
        " -cert " + file("client.pem") + " -cert_chain " + file("client.pem") + " -key " + file("client.key");
    const std::string strange = " -cert " + file("stranger.pem") + " -key " + file("stranger.key");
    for (const std::string version : {"-tls1_2", "-tls1_3"}) {
        settings_.client_auth = ClientAuth::required;
        EXPECT_SAYS(s_client(*served(), version + known), "peer=CN=leaf");
        auto server = served();
        EXPECT_SAYS(s_client(*server, version), "alert");
        EXPECT_EQ(server->error(), "TLS handshake: the client sent no certificate");
        server = served();
        EXPECT_SAYS(s_client(*server, version + strange), "alert");
        EXPECT_SAYS(server->error(), "neither one of the authorities nor sent along");
        settings_.client_auth = ClientAuth::optional;
        EXPECT_SAYS(s_client(*served(), version + known), "peer=CN=leaf");
        EXPECT_SAYS(s_client(*served(), version), "full peer=\n");
        EXPECT_SAYS(s_client(*served(), version + strange), "alert");
    }
}

TEST_F(Interop, Gnutls) {
    NEEDS("gnutls-cli");
    const auto server = served();
    EXPECT_SAYS(gnutls(*server, "--priority NORMAL:-VERS-ALL:+VERS-TLS1.2"), "facts: 1.2 sni=a.example");
    EXPECT_SAYS(gnutls(*server, "--priority NORMAL:-VERS-ALL:+VERS-TLS1.3 --alpn=h2"), "alpn=h2 certificate=a full");
    EXPECT_SAYS(gnutls(*server, "", "x.b.example"), "certificate=b full");
    EXPECT_SAYS(gnutls(*server, "--priority NORMAL:-VERS-ALL:+VERS-TLS1.1:%NO_EXTENSIONS"), "Fatal error");
    for (const char* version : {"1.2", "1.3"}) {
        EXPECT_SAYS(
            gnutls(*server, std::string("--resume --waitresumption --priority NORMAL:-VERS-ALL:+VERS-TLS") + version),
            " resumed ");
    }
}

// ---- ours against their server -------------------------------------------------------------------------------------

Task<Result<std::string>> visit(net::Network& network, net::Address to, std::shared_ptr<const ClientContext> context,
                                std::string name) {
    const Deadline deadline{network.now() + 10s};
    std::unique_ptr<net::Stream> stream;
    while (!stream) {  // until their server listens
        auto tried = co_await network.connect(to, deadline);
        if (tried) {
            stream = std::move(*tried);
        } else if (tried.error().code != Code::refused || deadline.passed(network.now())) {
            co_return std::unexpected(tried.error());
        } else {
            co_await network.sleep_until(network.now() + 20ms);
        }
    }
    auto session = co_await async::ok(connect(std::move(stream), context, name, deadline));
    co_await async::ok(session->write_all("hello\n", deadline));
    std::string got;
    while (got.find('\n') == std::string::npos) {
        char buffer[1000];
        const std::size_t n = co_await async::ok(session->read(buffer, deadline));
        if (n == 0) break;
        got.append(buffer, n);
    }
    if (session->facts().resumed) got += "resumed";
    session->close();
    co_return got;
}

TEST_F(Interop, OursAgainstOpensslsServer) {
    NEEDS("openssl");
    const test::Identity leaf = world_.issue({"DNS:a.example"});
    file("leaf.pem", leaf.certificate_pem());
    file("chain.pem", leaf.chain_pem());
    file("leaf.key", leaf.key_pem());
    ClientSettings settings;
    settings.authorities = world_.root.trust();
    for (const std::string version : {"-tls1_2", "-tls1_3"}) {
        auto loop = std::move(*net::Loop::create());
        const net::Address address = (*loop->listen(*net::Address::ip("127.0.0.1", 0), {}))->address();
        const std::string command = "timeout 20 openssl s_server -accept " + address.text() + " -naccept 3 -rev " +
                                    version + " -cert " + file("leaf.pem") + " -cert_chain " + file("chain.pem") +
                                    " -key " + file("leaf.key") + " >/dev/null 2>&1 </dev/null &";
        ASSERT_EQ(std::system(command.c_str()), 0);
        const auto context = ClientContext::create(settings).value();
        const auto first = net::complete(*loop, visit(*loop, address, context, "a.example"));
        ASSERT_TRUE(first && *first) << first->error().detail;
        EXPECT_EQ(**first, "olleh\n");
        const auto second = net::complete(*loop, visit(*loop, address, context, "a.example"));
        ASSERT_TRUE(second && *second) << second->error().detail;
        EXPECT_EQ(**second, "olleh\nresumed");
        const auto wrong = net::complete(*loop, visit(*loop, address, context, "b.example"));
        ASSERT_TRUE(wrong && !*wrong);
        EXPECT_EQ(wrong->error().detail, "TLS handshake: the server's certificate is for a.example, not b.example");
    }
}

}  // namespace
}  // namespace plimsoll::tls

// Two ends of a TLS connection in virtual time. Thread rule: one thread. For tests and benchmarks only.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "net/memory_network.h"
#include "tls/session.h"
#include "tls/test_certificates.h"

namespace plimsoll::tls::test {

using Shaken = Result<std::unique_ptr<Session>>;

inline Task<void> keep(Task<Shaken> task, std::optional<Shaken>& into) { into.emplace(co_await std::move(task)); }

struct Ends {
    std::optional<Shaken> client, server;  ///< nullopt: still at it
    [[nodiscard]] bool both() const { return client && server && *client && *server; }
    [[nodiscard]] Session& at_client() const { return **client->operator->(); }
    [[nodiscard]] Session& at_server() const { return **server->operator->(); }
    /// How the client's (server's) handshake failed, or "fine".
    [[nodiscard]] std::string client_error() const { return text(client); }
    [[nodiscard]] std::string server_error() const { return text(server); }

private:
    static std::string text(const std::optional<Shaken>& end) {
        if (!end) return "waits";
        return *end ? "fine" : end->error().detail;
    }
};

/// A network with one listener, certificates, and contexts that fit together unless a test says otherwise.
class Stage {
public:
    net::MemoryNetwork network;
    World world;
    net::Address address = *net::Address::ip("127.0.0.1", 443);
    std::unique_ptr<net::Listener> listener = *network.listen(address, {});

    [[nodiscard]] ServerSettings server_settings() const {
        ServerSettings settings;
        settings.scope = "web";
        settings.certificates = {world.issue({"DNS:a.example"}).load("a")};
        return settings;
    }
    [[nodiscard]] ClientSettings client_settings() const {
        ClientSettings settings;
        settings.authorities = world.root.trust();
        return settings;
    }
    /// Both ends of a fresh connection below TLS.
    std::pair<std::unique_ptr<net::Stream>, std::unique_ptr<net::Stream>> plain() {
        auto near = network.open(address, *net::Address::ip("127.0.0.2", 1000));
        return {std::move(near), listener->try_accept()};
    }
    /// Both handshakes, as far as they go within `patience` of virtual time.
    Ends shake(std::shared_ptr<const ServerContext> server, std::shared_ptr<const ClientContext> client,
               std::string name = "a.example", Duration patience = std::chrono::seconds(5)) {
        auto [near, far] = plain();
        Ends ends;
        async::Scope scope;
        const Deadline deadline{network.now() + patience};
        scope.spawn(keep(accept(std::move(far), std::move(server), deadline), ends.server));
        scope.spawn(keep(connect(std::move(near), std::move(client), std::move(name), deadline), ends.client));
        network.advance(patience + std::chrono::seconds(1));
        return ends;
    }
    Ends shake(ServerSettings server, ClientSettings client, std::string name = "a.example") {
        return shake(ServerContext::create(std::move(server)).value(), ClientContext::create(std::move(client)).value(),
                     std::move(name));
    }
    Ends shake() { return shake(server_settings(), client_settings()); }
};

inline std::string read_now(net::Stream& stream, std::size_t most = 100'000) {
    std::string out(most, '\0');
    const net::Io io = stream.try_read(out);
    out.resize(io.state == net::Io::State::moved ? io.bytes : 0);
    return out;
}
inline net::Io write_now(net::Stream& stream, std::string_view bytes) { return stream.try_write(std::span(&bytes, 1)); }

}  // namespace plimsoll::tls::test

// Contexts: everything a handshake needs to know, made once per listener or pool and revision.
// Thread rule: contexts are immutable and shared by all workers; TicketKeys locks for itself.
// Source: RFC 8446 (TLS 1.3), RFC 5246 (1.2), RFC 5077 (tickets), RFC 6066 (SNI), RFC 7301 (ALPN), RFC 9325 (advice).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tls/certificate.h"

namespace plimsoll::tls {

enum class Version : std::uint8_t { tls12, tls13 };
enum class ClientAuth : std::uint8_t {
    none,
    optional,  ///< asked for; whoever shows a certificate must show a good one
    required,
};

/// The keys that session tickets are sealed with. One object per process, given to every listener's context of every
/// revision, so that resumption works across workers and configuration changes. Any thread.
class TicketKeys {
public:
    /// Starts with a key of random bytes.
    TicketKeys();
    ~TicketKeys();
    TicketKeys(const TicketKeys&) = delete;
    TicketKeys& operator=(const TicketKeys&) = delete;

    /// From now on tickets are sealed with a key derived from `secret`; those sealed with the keys before it are taken
    /// and renewed until `kept - 1` more rotations. Equal secrets give equal keys, so that machines can share them.
    /// Errors: invalid (less than 32 bytes).
    Result<void> rotate(std::string_view secret);
    /// The same with fresh random bytes.
    void rotate();

    static constexpr std::size_t kept = 3;

    struct Key;
    /// The key to seal with.
    [[nodiscard]] std::shared_ptr<const Key> newest() const;
    /// The key of this 16-byte name, or nullptr; `is_newest` says whether tickets need renewal.
    [[nodiscard]] std::shared_ptr<const Key> find(std::string_view key_name, bool& is_newest) const;

private:
    void add(std::shared_ptr<const Key> key);
    mutable std::mutex mutex_;                      ///< guards keys_; held for a few instructions per handshake
    std::vector<std::shared_ptr<const Key>> keys_;  ///< newest first
};

/// TLS towards clients.
struct ServerSettings {
    /// The listener's name: sessions are resumed only under the same scope, client_auth and client authorities.
    std::string scope{};
    /// Chosen by SNI: exact name, then wildcard, then the first one given. Two certificates with different key types
    /// may carry the same name: the client's abilities decide. With equal types the first given wins.
    std::vector<std::shared_ptr<const Certificate>> certificates{};
    Version min_version = Version::tls12;
    ClientAuth client_auth = ClientAuth::none;
    std::shared_ptr<const Authorities> client_authorities{};  ///< needed unless client_auth is none
    std::vector<std::string> alpn{};  ///< by our preference: "h2", "http/1.1"; empty = ALPN is ignored
    bool session_tickets = true;
    std::shared_ptr<const TicketKeys> ticket_keys{};  ///< nullptr: keys of this context's own
    /// The same objects in the same roles: a context made of one serves for the other.
    friend bool operator==(const ServerSettings&, const ServerSettings&) = default;
};

class ServerContext {
public:
    /// Errors (side us): invalid (no certificate, client authentication without authorities, a bad ALPN name).
    static Result<std::shared_ptr<const ServerContext>> create(ServerSettings settings);
    ServerContext(const ServerContext&) = delete;
    ServerContext& operator=(const ServerContext&) = delete;
    ~ServerContext();

    /// Name of the certificate that a client asking for `host` is shown; the first one's when none fits. O(1). A
    /// request on a connection whose SNI chose another certificate than its Host would have is for 421.
    [[nodiscard]] const std::string& certificate_for(std::string_view host) const;
    [[nodiscard]] const ServerSettings& settings() const;

    struct Inside;
    [[nodiscard]] const Inside& inside() const { return *inside_; }

private:
    explicit ServerContext(std::unique_ptr<Inside> inside);
    std::unique_ptr<Inside> inside_;
};

/// TLS towards endpoints.
struct ClientSettings {
    bool verify = true;
    std::shared_ptr<const Authorities> authorities{};  ///< needed if verify
    std::shared_ptr<const Certificate> certificate{};  ///< shown to endpoints that ask for one; may be nullptr
    std::vector<std::string> alpn{};                   ///< offered, by preference; empty = none
    Version min_version = Version::tls12;
    bool resume = true;  ///< keep sessions for the next connection to the same endpoint and name
    friend bool operator==(const ClientSettings&, const ClientSettings&) = default;
};

class ClientContext {
public:
    /// Errors (side us): invalid (verification without authorities, a bad ALPN name).
    static Result<std::shared_ptr<const ClientContext>> create(ClientSettings settings);
    ClientContext(const ClientContext&) = delete;
    ClientContext& operator=(const ClientContext&) = delete;
    ~ClientContext();
    [[nodiscard]] const ClientSettings& settings() const;

    struct Inside;
    [[nodiscard]] Inside& inside() const { return *inside_; }

private:
    explicit ClientContext(std::unique_ptr<Inside> inside);
    std::unique_ptr<Inside> inside_;
};

}  // namespace plimsoll::tls

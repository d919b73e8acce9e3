// Sessions of ours at endpoints, for resumption. Private to this room.
// Thread rule: any thread; locks for itself, once per handshake and ticket.
// Source: RFC 8446 appendix C.4 (a TLS 1.3 ticket is used once).
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

struct ssl_session_st;

namespace plimsoll::tls {

struct FreeSession {
    void operator()(ssl_session_st* session) const;
};

/// The least recently used key goes when there are too many. Sessions are copied in and out, so that no connection
/// shares one with another thread's.
class SessionCache {
public:
    using Session = std::unique_ptr<ssl_session_st, FreeSession>;
    static constexpr std::size_t max_keys = 4096;   ///< endpoint and name; a session is about 3 KiB
    static constexpr std::size_t max_sessions = 4;  ///< of one key: a server gives two tickets a handshake

    void put(const std::string& key, const ssl_session_st* session);
    /// The newest that can be resumed, or nullptr.
    [[nodiscard]] Session take(const std::string& key);

private:
    struct Entry {
        std::string key;
        std::vector<Session> sessions;  ///< newest last
    };
    std::mutex mutex_;
    std::list<Entry> entries_;  ///< most recently used first
    std::unordered_map<std::string, std::list<Entry>::iterator> index_;
};

}  // namespace plimsoll::tls

#include "tls/session_cache.h"

#include <openssl/ssl.h>

#include <ctime>

namespace plimsoll::tls {

void FreeSession::operator()(ssl_session_st* session) const { SSL_SESSION_free(session); }

void SessionCache::put(const std::string& key, const ssl_session_st* session) {
    Session copy(SSL_SESSION_dup(session));
    if (!copy || SSL_SESSION_is_resumable(copy.get()) != 1) return;
    const std::lock_guard lock(mutex_);
    const auto found = index_.find(key);
    if (found != index_.end()) {
        entries_.splice(entries_.begin(), entries_, found->second);
    } else {
        entries_.push_front({key, {}});
        index_[key] = entries_.begin();
    }
    auto& sessions = entries_.front().sessions;
    if (sessions.size() >= max_sessions) sessions.erase(sessions.begin());
    sessions.push_back(std::move(copy));
    if (entries_.size() > max_keys) {
        index_.erase(entries_.back().key);
        entries_.pop_back();
    }
}

SessionCache::Session SessionCache::take(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto found = index_.find(key);
    if (found == index_.end() || found->second->sessions.empty()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    auto& sessions = entries_.front().sessions;
    if (SSL_SESSION_get_protocol_version(sessions.back().get()) < TLS1_3_VERSION) {
        return Session(SSL_SESSION_dup(sessions.back().get()));
    }
    Session newest = std::move(sessions.back());
    sessions.pop_back();
    return newest;
}

}  // namespace plimsoll::tls

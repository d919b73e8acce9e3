#include "control/credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>

namespace plimsoll::control {

namespace {

tls::Version version(config::TlsVersion written) {
    return written == config::TlsVersion::tls13 ? tls::Version::tls13 : tls::Version::tls12;
}

/// A context of these settings that is kept already: an equal one costs nothing, and sessions with endpoints go on.
template <class Map>
auto reused(const Map& kept, const std::string& name, const auto& settings) -> typename Map::mapped_type {
    const auto found = kept.find(name);
    return found != kept.end() && found->second->settings() == settings ? found->second : nullptr;
}

}  // namespace

CredentialStore::CredentialStore()
    : tickets_(std::make_shared<tls::TicketKeys>()), files_(std::make_shared<CertificateFiles>()) {}

Result<std::shared_ptr<const tls::Authorities>> CredentialStore::authorities(const std::string& file) {
    if (!file.empty()) looks_[file] = look_at(file);
    return files_->authorities(file);
}

Result<std::shared_ptr<const tls::ServerContext>> CredentialStore::server(const config::Listener& listener,
                                                                          const Certificates& certificates) {
    tls::ServerSettings settings;
    settings.scope = listener.name;
    for (const std::string& name : listener.tls->certificates) {
        if (const auto found = certificates.find(name); found != certificates.end())
            settings.certificates.push_back(found->second);
    }
    if (settings.certificates.empty()) return fail(Code::invalid, "none of its certificates is loaded");
    settings.min_version = version(listener.tls->min_version);
    settings.client_auth = static_cast<tls::ClientAuth>(listener.tls->client_auth);
    if (listener.tls->client_auth != config::ClientAuth::none) {
        auto trusted = authorities(listener.tls->client_ca);
        if (!trusted) return std::unexpected(trusted.error());
        settings.client_authorities = std::move(*trusted);
    }
    if (listener.protocol == config::Protocol::http) {
        if (listener.http2) settings.alpn.emplace_back("h2");
        settings.alpn.emplace_back("http/1.1");
    }
    settings.session_tickets = listener.tls->session_tickets;
    settings.ticket_keys = tickets_;
    for (const Kept& kept : kept_) {
        if (auto same = reused(kept.credentials.listeners, listener.name, settings)) return same;
    }
    return tls::ServerContext::create(std::move(settings));
}

Result<std::shared_ptr<const tls::ClientContext>> CredentialStore::client(const snapshot::Pool& pool,
                                                                          const Certificates& certificates) {
    tls::ClientSettings settings;
    settings.verify = pool.tls->verify;
    settings.min_version = version(pool.tls->min_version);
    settings.alpn = {pool.protocol == config::PoolProtocol::http2 ? "h2" : "http/1.1"};
    if (const auto own = certificates.find(pool.tls->certificate); own != certificates.end()) {
        settings.certificate = own->second;
    }
    if (settings.verify) {
        auto trusted = authorities(pool.tls->ca);
        if (!trusted) return std::unexpected(trusted.error());
        settings.authorities = std::move(*trusted);
    }
    for (const Kept& kept : kept_) {
        if (auto same = reused(kept.credentials.pools, pool.name, settings)) return same;
    }
    return tls::ClientContext::create(std::move(settings));
}

std::shared_ptr<const tls::Certificate> CredentialStore::earlier(const config::Certificate& written) const {
    for (const Kept& kept : kept_) {
        for (const config::Certificate& each : kept.prepared->snapshot->certificates) {
            if (each.chain != written.chain || each.key != written.key) continue;
            const auto found = kept.certificates.find(each.name);
            if (found != kept.certificates.end()) return found->second;
        }
    }
    return nullptr;
}

CredentialStore::Loaded CredentialStore::load(const snapshot::Snapshot& snapshot) {
    Loaded loaded;
    for (const config::Certificate& written : snapshot.certificates) {
        for (const std::string* file : {&written.chain, &written.key, &written.ocsp}) {
            if (!file->empty()) looks_[*file] = look_at(*file);
        }
        if (auto made = files_->load(written)) {
            loaded.certificates.emplace(written.name, std::move(*made));
        } else {
            loaded.failures.push_back(fmt::format("certificate {}: {}", written.name, made.error().detail));
            if (auto before = earlier(written)) loaded.certificates.emplace(written.name, std::move(before));
        }
    }
    for (const config::Listener& listener : snapshot.listeners) {
        if (!listener.tls) continue;
        if (auto context = server(listener, loaded.certificates)) {
            loaded.credentials.listeners.emplace(listener.name, std::move(*context));
        } else {
            loaded.failures.push_back(fmt::format("listener {}: {}", listener.name, context.error().detail));
        }
    }
    for (const snapshot::Pool& pool : snapshot.pools) {
        if (!pool.tls) continue;
        if (auto context = client(pool, loaded.certificates)) {
            loaded.credentials.pools.emplace(pool.name, std::move(*context));
        } else {
            loaded.failures.push_back(fmt::format("pool {}: {}", pool.name, context.error().detail));
        }
    }
    return loaded;
}

std::shared_ptr<const proxy::Prepared> CredentialStore::prepared(
    const std::shared_ptr<const snapshot::Snapshot>& snapshot, std::vector<std::string>& failures) {
    if (snapshot == nullptr) return nullptr;
    auto found = std::ranges::find_if(kept_, [&](const Kept& each) { return each.prepared->snapshot == snapshot; });
    if (found == kept_.end()) {
        Loaded loaded = load(*snapshot);
        Kept kept{.prepared = proxy::prepare(snapshot, loaded.credentials),
                  .failures = std::move(loaded.failures),
                  .credentials = std::move(loaded.credentials),
                  .certificates = std::move(loaded.certificates)};
        found = kept_.insert(kept_.end(), std::move(kept));
    }
    failures.insert(failures.end(), found->failures.begin(), found->failures.end());
    return found->prepared;
}

void CredentialStore::keep_only(const snapshot::Snapshot* active, const snapshot::Snapshot* candidate) {
    std::erase_if(kept_, [&](const Kept& each) {
        const snapshot::Snapshot* of = each.prepared->snapshot.get();
        return of != active && of != candidate;
    });
    files_->settle();
}

std::shared_ptr<const tls::ClientContext> CredentialStore::pool(const snapshot::Snapshot& snapshot,
                                                                const snapshot::Pool& pool) {
    for (const Kept& kept : kept_) {
        if (kept.prepared->snapshot.get() != &snapshot) continue;
        const auto found = kept.credentials.pools.find(pool.name);
        return found == kept.credentials.pools.end() ? nullptr : found->second;
    }
    return nullptr;
}

namespace {

/// Whether a listener or pool of the same snapshot could speak TLS before and cannot now: files of authorities.
bool loses_tls(const proxy::Prepared& before, const proxy::Prepared& now) {
    const auto lost = [](const auto& had, const auto& has) { return had.tls != nullptr && has.tls == nullptr; };
    return !std::ranges::equal(before.listeners, now.listeners, std::not_fn(lost)) ||
           !std::ranges::equal(before.pools, now.pools, std::not_fn(lost));
}

}  // namespace

bool CredentialStore::refresh(std::vector<std::string>& failures) {
    const bool changed =
        std::ranges::any_of(looks_, [](const auto& each) { return look_at(each.first) != each.second; });
    if (!changed) return false;
    looks_.clear();
    bool renewed = false;
    for (Kept& kept : kept_) {
        const auto snapshot = kept.prepared->snapshot;
        Loaded loaded = load(*snapshot);
        failures.insert(failures.end(), loaded.failures.begin(), loaded.failures.end());
        if (loaded.credentials == kept.credentials) {  // written anew, not changed; or not to be had
            kept.failures = std::move(loaded.failures);
            continue;
        }
        auto made = proxy::prepare(snapshot, loaded.credentials);
        if (loses_tls(*kept.prepared, *made)) continue;
        kept.prepared = std::move(made);
        kept.credentials = std::move(loaded.credentials);
        kept.certificates = std::move(loaded.certificates);
        kept.failures = std::move(loaded.failures);
        renewed = true;
    }
    files_->settle();
    return renewed;
}

std::vector<std::string> CredentialStore::remarks(Timestamp now) {
    std::set<std::string> all;
    for (const Kept& kept : kept_) {
        for (const config::Certificate& written : kept.prepared->snapshot->certificates) {
            const auto found = kept.certificates.find(written.name);
            if (found == kept.certificates.end()) continue;
            const tls::Facts& facts = found->second->facts();
            std::string what;
            if (!facts.staple_error.empty()) {
                what = facts.staple_error;
            } else if (!written.ocsp.empty() && !facts.staple_until) {
                what = "is missing";
            } else if (facts.staple_until && *facts.staple_until <= now) {
                what = fmt::format("ended at {}", rfc3339(*facts.staple_until));
            } else {
                continue;
            }
            all.insert(fmt::format("certificate {}: the OCSP response ({}) {}: none is stapled{}", written.name,
                                   written.ocsp, what,
                                   facts.must_staple ? ", and clients that know must-staple refuse" : ""));
        }
    }
    std::vector<std::string> fresh;
    std::ranges::set_difference(all, told_, std::back_inserter(fresh));
    told_ = std::move(all);
    return fresh;
}

}  // namespace plimsoll::control

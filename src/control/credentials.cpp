#include "control/credentials.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>

namespace plimsoll::control {

namespace {

/// A chain of a few certificates is some kilobytes; a bundle of authorities some hundred.
constexpr std::size_t max_file = 4 * 1024 * 1024;

tls::Version version(config::TlsVersion written) {
    return written == config::TlsVersion::tls13 ? tls::Version::tls13 : tls::Version::tls12;
}

}  // namespace

CredentialStore::CredentialStore() : tickets_(std::make_shared<tls::TicketKeys>()) {}

CredentialStore::Seen CredentialStore::look(const std::string& file) {
    struct stat info{};
    if (::stat(file.c_str(), &info) != 0) return {};
    return {info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec, static_cast<std::uint64_t>(info.st_size)};
}

namespace {

Result<std::string> read_pem(const std::string& file) {
    errno = 0;
    std::ifstream in(file, std::ios::binary);
    if (!in) return fail(Code::io, fmt::format("{}: {}", file, std::strerror(errno != 0 ? errno : ENOENT)));
    std::string text{std::istreambuf_iterator<char>(in), {}};
    if (in.bad()) return fail(Code::io, fmt::format("{}: cannot be read", file));
    if (text.size() > max_file) return fail(Code::invalid, fmt::format("{}: too large for a PEM file", file));
    return text;
}

}  // namespace

Result<std::string> CredentialStore::read(const std::string& file) {
    files_[file] = look(file);
    return read_pem(file);
}

Result<std::shared_ptr<const tls::Authorities>> CredentialStore::authorities(const std::string& file) {
    if (!file.empty()) {
        const auto pem = read(file);
        if (!pem) return std::unexpected(pem.error());
        return tls::Authorities::from_pem(file, *pem);
    }
    if (system_ == nullptr) {
        auto found = tls::Authorities::system();
        if (!found) return found;
        system_ = std::move(*found);
    }
    return system_;
}

Result<std::shared_ptr<const tls::ServerContext>> CredentialStore::server(
    const config::Listener& listener,
    const std::map<std::string, std::shared_ptr<const tls::Certificate>>& certificates) {
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
    return tls::ServerContext::create(std::move(settings));
}

std::vector<check::CertificateFacts> certificate_facts(const config::Config& config) {
    // An authority that cannot be read leaves it open whether chains are complete.
    const auto system = tls::Authorities::system();
    std::vector<check::CertificateFacts> all;
    for (const config::Certificate& certificate : config.certificates) {
        check::CertificateFacts& told = all.emplace_back();
        told.name = certificate.name;
        const auto chain = read_pem(certificate.chain), key = read_pem(certificate.key);
        if (!chain || !key) {
            told.error = (!chain ? chain.error() : key.error()).detail;
            continue;
        }
        const auto facts = tls::inspect({certificate.name, *chain, *key}, system ? system->get() : nullptr);
        if (!facts) {
            told.error = facts.error().detail;
            continue;
        }
        told.not_before = facts->not_before;
        told.not_after = facts->chain_not_after;
        told.dns_names = facts->dns_names;
        told.key_matches = facts->key_matches;
        told.chain_complete = facts->chain_complete;
    }
    return all;
}

std::shared_ptr<const tls::Certificate> CredentialStore::certificate(const config::Certificate& written,
                                                                     std::vector<std::string>& failures) {
    const auto chain = read(written.chain), key = read(written.key);
    auto made = !chain ? Result<std::shared_ptr<const tls::Certificate>>(std::unexpected(chain.error()))
                : !key ? std::unexpected(key.error())
                       : tls::Certificate::load({written.name, *chain, *key});
    if (made) return std::move(*made);
    failures.push_back(fmt::format("certificate {}: {}", written.name, made.error().detail));
    for (const Kept& kept : kept_) {
        const auto found = kept.certificates.find({written.chain, written.key});
        if (found != kept.certificates.end()) return found->second;
    }
    return nullptr;
}

CredentialStore::Loaded CredentialStore::load(const snapshot::Snapshot& snapshot) {
    Loaded loaded;
    std::map<std::string, std::shared_ptr<const tls::Certificate>> certificates;
    for (const config::Certificate& written : snapshot.certificates) {
        auto made = certificate(written, loaded.failures);
        if (made == nullptr) continue;
        loaded.certificates.emplace(std::pair{written.chain, written.key}, made);
        certificates.emplace(written.name, std::move(made));
    }
    for (const config::Listener& listener : snapshot.listeners) {
        if (!listener.tls) continue;
        if (auto context = server(listener, certificates)) {
            loaded.credentials.listeners.emplace(listener.name, std::move(*context));
        } else {
            loaded.failures.push_back(fmt::format("listener {}: {}", listener.name, context.error().detail));
        }
    }
    for (const snapshot::Pool& pool : snapshot.pools) {
        if (!pool.tls) continue;
        tls::ClientSettings settings;
        settings.verify = pool.tls->verify;
        settings.min_version = version(pool.tls->min_version);
        settings.alpn = {pool.protocol == config::PoolProtocol::http2 ? "h2" : "http/1.1"};
        if (const auto own = certificates.find(pool.tls->certificate); own != certificates.end()) {
            settings.certificate = own->second;
        }
        Result<std::shared_ptr<const tls::ClientContext>> context = fail(Code::internal, "");
        if (settings.verify) {
            auto trusted = authorities(pool.tls->ca);
            if (trusted) {
                settings.authorities = std::move(*trusted);
                context = tls::ClientContext::create(std::move(settings));
            } else {
                context = std::unexpected(trusted.error());
            }
        } else {
            context = tls::ClientContext::create(std::move(settings));
        }
        if (context) {
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
                  .pools = std::move(loaded.credentials.pools),
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
}

std::shared_ptr<const tls::ClientContext> CredentialStore::pool(const snapshot::Snapshot& snapshot,
                                                                const snapshot::Pool& pool) {
    for (const Kept& kept : kept_) {
        if (kept.prepared->snapshot.get() != &snapshot) continue;
        const auto found = kept.pools.find(pool.name);
        return found == kept.pools.end() ? nullptr : found->second;
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
    const bool changed = std::ranges::any_of(files_, [](const auto& each) { return look(each.first) != each.second; });
    if (!changed) return false;
    files_.clear();
    bool renewed = false;
    for (Kept& kept : kept_) {
        const auto snapshot = kept.prepared->snapshot;
        Loaded loaded = load(*snapshot);
        failures.insert(failures.end(), loaded.failures.begin(), loaded.failures.end());
        auto made = proxy::prepare(snapshot, loaded.credentials);
        if (loses_tls(*kept.prepared, *made)) continue;
        kept.prepared = std::move(made);
        kept.pools = std::move(loaded.credentials.pools);
        kept.certificates = std::move(loaded.certificates);
        kept.failures = std::move(loaded.failures);
        renewed = true;
    }
    return renewed;
}

}  // namespace plimsoll::control

// Rules on TLS: certificates against the hosts that are served with them, and what a change takes away from either.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "check/routes.h"
#include "check/rules.h"

namespace plimsoll::check {

namespace {

using config::Document;
using config::Listener;
using namespace std::chrono_literals;

/// Renewal that has not come by then is late: ACME clients renew 30 days ahead.
constexpr Duration soon = 14 * 24h;

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    return out;
}

std::string day(Timestamp at) { return rfc3339(at).substr(0, 10); }

/// What is known of certificates, by name: there may be ten thousand.
class Known {
public:
    explicit Known(const LiveState& live) {
        for (const CertificateFacts& facts : live.certificates) by_name_.emplace(facts.name, &facts);
    }
    /// Null: nothing.
    [[nodiscard]] const CertificateFacts* of(std::string_view name) const {
        const auto found = by_name_.find(name);
        return found == by_name_.end() ? nullptr : found->second;
    }

private:
    std::unordered_map<std::string_view, const CertificateFacts*> by_name_;
};

/// Names of certificates, to be asked for many hosts, which may be patterns of routes. A wildcard stands for exactly
/// one label (RFC 9525 section 6.3); case does not count.
class Names {
public:
    void add(const std::vector<std::string>& dns_names) {
        for (const std::string& name : dns_names) names_.insert(lower(name));
    }
    [[nodiscard]] bool cover(std::string_view host) const {
        const std::string wanted = lower(host);
        if (names_.contains(wanted)) return true;
        const auto dot = wanted.find('.');
        return dot != std::string::npos && names_.contains("*" + wanted.substr(dot));
    }

private:
    std::unordered_set<std::string> names_;
};

/// P420: a certificate that clients will not take.
void certificates_valid(const Document& document, const LiveState& live, Findings& findings) {
    const Known known(live);
    for (const config::Certificate& certificate : document.config.certificates) {
        const CertificateFacts* facts = known.of(certificate.name);
        if (facts == nullptr) continue;
        const std::string path = "certificates." + certificate.name;
        const auto say = [&](Severity severity, std::string_view code, std::string_view key, std::string message,
                             std::string remedy) {
            report(findings, document, severity, code, key.empty() ? path : fmt::format("{}.{}", path, key),
                   std::move(message), std::move(remedy));
        };
        if (!facts->error.empty()) {
            say(Severity::error, "P420-certificate-unusable", {}, facts->error,
                "chain and key are PEM files we may read");
            continue;
        }
        if (!facts->key_matches) {
            say(Severity::error, "P420-key-mismatch", "key",
                fmt::format("{} is not the key of {}", certificate.key, certificate.chain),
                "the key that the certificate was requested with");
        }
        if (!facts->chain_complete) {
            say(Severity::warning, "P420-chain-incomplete", "chain",
                "an issuer is missing; clients that do not know it refuse",
                "append the intermediate certificates, the issuer of each after it");
        }
        if (live.now.ns == 0) continue;
        if (facts->not_after < live.now) {
            say(Severity::error, "P420-certificate-expired", "chain",
                fmt::format("it ended on {}", day(facts->not_after)), "renew it");
        } else if (facts->not_after < live.now + soon) {
            say(Severity::warning, "P420-expires-soon", "chain",
                fmt::format("it ends on {}, in {} days", day(facts->not_after), (facts->not_after - live.now) / 24h),
                "see why it was not renewed");
        }
        if (live.now < facts->not_before) {
            say(Severity::error, "P420-not-yet-valid", "chain", fmt::format("it begins on {}", day(facts->not_before)),
                "wait until then, or see whether the clock is right");
        }
    }
}

/// P420: what an OCSP response says, or that there is none to send. Clients ask the authority themselves then, unless
/// the certificate forbids it.
void responses_stapled(const Document& document, const LiveState& live, Findings& findings) {
    const Known known(live);
    for (const config::Certificate& certificate : document.config.certificates) {
        const CertificateFacts* facts = known.of(certificate.name);
        if (facts == nullptr || !facts->error.empty()) continue;
        const std::string path = "certificates." + certificate.name;
        const std::string place = certificate.ocsp.empty() ? path : path + ".ocsp";
        const bool ended = facts->ocsp_until.ns != 0 && live.now.ns != 0 && facts->ocsp_until <= live.now;
        const std::string_view fetch = "fetch a new response: openssl ocsp, or your ACME client's deploy hook";
        if (facts->revoked) {
            report(findings, document, Severity::error, "P420-certificate-revoked", place,
                   "its authority says that it is revoked: clients refuse", "get a new certificate, with a new key");
        } else if (!facts->ocsp_error.empty()) {
            report(findings, document, Severity::warning, "P420-ocsp-unusable", place,
                   fmt::format("the OCSP response {}; none is stapled", facts->ocsp_error), std::string(fetch));
        } else if (ended) {
            report(findings, document, Severity::warning, "P420-ocsp-ended", place,
                   fmt::format("the OCSP response ended at {}; none is stapled", rfc3339(facts->ocsp_until)),
                   std::string(fetch));
        }
        const bool staples = facts->ocsp_until.ns != 0 && !ended;
        if (facts->must_staple && !staples && !facts->revoked) {
            report(findings, document, Severity::warning, "P420-must-staple", path,
                   "it says that an OCSP response always comes with it (must-staple), and there is none to send: "
                   "clients that know this refuse",
                   certificate.ocsp.empty() ? "name the response's file under `ocsp`" : std::string(fetch));
        }
    }
}

/// The names that a listener can show a certificate for; nullopt when the facts of one are not known.
std::optional<Names> names_shown(const Listener& listener, const LiveState& live) {
    const Known known(live);
    Names out;
    for (const std::string& name : listener.tls->certificates) {
        const CertificateFacts* facts = known.of(name);
        if (facts == nullptr || !facts->error.empty()) return std::nullopt;
        out.add(facts->dns_names);
    }
    return out;
}

bool reaches(const Listener& listener, const config::Route& route) {
    const auto& only = route.match.listeners;
    return only.empty() || std::ranges::find(only, listener.name) != only.end();
}

/// Hosts of routes that come in by TLS and for which no certificate is shown, each with its first route.
std::vector<std::pair<std::string, std::size_t>> uncovered(const config::Config& config, const Listener& listener,
                                                           const LiveState& live) {
    std::vector<std::pair<std::string, std::size_t>> out;
    if (!listener.tls) return out;
    const auto names = names_shown(listener, live);
    if (!names) return out;
    std::set<std::string> seen;
    for (std::size_t i = 0; i < config.routes.size(); ++i) {
        const config::Route& route = config.routes[i];
        if (!route.match.host || !reaches(listener, route) || !seen.insert(lower(*route.match.host)).second) continue;
        if (!names->cover(*route.match.host)) out.emplace_back(*route.match.host, i);
    }
    return out;
}

/// P420: a host that is served on a listener whose certificates are for others: clients refuse.
void hosts_covered(const Document& document, const LiveState& live, Findings& findings) {
    for (const Listener& listener : document.config.listeners) {
        const auto without = uncovered(document.config, listener, live);
        if (without.empty()) continue;
        std::vector<std::string> hosts;
        for (const auto& [host, route] : without) hosts.push_back(host);
        report(findings, document, Severity::warning, "P420-host-uncovered",
               fmt::format("routes[{}].match.host", without.front().second),
               fmt::format("listener {} has no certificate for {}; its clients refuse", listener.name, some_of(hosts)),
               "add a certificate, or say match.listeners if these hosts come in elsewhere");
    }
}

/// P420: whoever stands between us and the endpoints can read and change everything.
void verify_off(const Document& document, const LiveState&, Findings& findings) {
    for (const config::Pool& pool : document.config.pools) {
        if (!pool.tls || pool.tls->verify) continue;
        report(findings, document, Severity::warning, "P420-verify-off", pool_path(pool, "tls.verify"),
               "anybody can pose as these endpoints: their certificates are not checked",
               "verify: true, with `ca` if the authority is your own");
    }
}

/// P406: a certificate that nobody shows; usually the reference was forgotten.
void unused_certificates(const Document& document, const LiveState&, Findings& findings) {
    std::set<std::string_view> used;
    for (const Listener& listener : document.config.listeners) {
        if (listener.tls) used.insert(listener.tls->certificates.begin(), listener.tls->certificates.end());
    }
    for (const config::Pool& pool : document.config.pools) {
        if (pool.tls) used.insert(pool.tls->certificate);
    }
    for (const config::Certificate& certificate : document.config.certificates) {
        if (used.contains(certificate.name)) continue;
        report(findings, document, Severity::warning, "P406-unused-certificate", "certificates." + certificate.name,
               fmt::format("no listener and no pool shows certificate {}", certificate.name),
               "name it under tls.certificates, or remove it");
    }
}

// ---- changes -------------------------------------------------------------------------------------------------------

const Listener* old_listener(const Change& change, const std::string& name) {
    const auto found = std::ranges::find(change.before.listeners, name, &Listener::name);
    return found == change.before.listeners.end() ? nullptr : &*found;
}

/// P420: a certificate goes away, and with it the only cover of a host that is still served.
void certificate_removed(const Change& change, Findings& findings) {
    for (const Listener& listener : change.after.config.listeners) {
        const Listener* old = old_listener(change, listener.name);
        if (old == nullptr || !old->tls || !listener.tls) continue;
        const auto had = names_shown(*old, change.live);
        if (!had) continue;
        std::vector<std::string> lost;
        for (const auto& [host, route] : uncovered(change.after.config, listener, change.live)) {
            if (had->cover(host)) lost.push_back(host);
        }
        if (lost.empty()) continue;
        report(findings, change.after, Severity::error, "P420-certificate-removed",
               fmt::format("listeners.{}.tls.certificates", listener.name),
               fmt::format("{} {} served here and {} no certificate any more", some_of(lost),
                           lost.size() == 1 ? "is" : "are", lost.size() == 1 ? "has" : "have"),
               "keep the certificate until its hosts have gone");
    }
}

/// P420: older TLS, or none, for clients or towards servers than before.
void tls_lowered(const Change& change, Findings& findings) {
    const auto version = [](config::TlsVersion v) { return v == config::TlsVersion::tls13 ? "1.3" : "1.2"; };
    for (const Listener& listener : change.after.config.listeners) {
        const Listener* old = old_listener(change, listener.name);
        if (old == nullptr || !old->tls) continue;
        const std::string path = fmt::format("listeners.{}.tls", listener.name);
        if (!listener.tls) {
            report(findings, change.after, Severity::error, "P420-tls-off", path,
                   "clients that speak TLS here are refused, and what others say can be read",
                   "add a listener for plain HTTP beside it");
            continue;
        }
        if (listener.tls->min_version < old->tls->min_version) {
            report(findings, change.after, Severity::warning, "P420-tls-lowered", path + ".min_version",
                   fmt::format("TLS {} is taken again, before from {}", version(listener.tls->min_version),
                               version(old->tls->min_version)),
                   "only for clients that know nothing newer");
        }
        if (listener.tls->client_auth < old->tls->client_auth) {
            report(findings, change.after, Severity::warning, "P420-client-auth-lowered", path + ".client_auth",
                   "clients without a certificate are let in that were refused",
                   "servers behind may rely on it: ask them first");
        }
    }
    for (const config::Pool& pool : change.after.config.pools) {
        const config::Pool* old = change.old_pool(pool.name);
        if (old == nullptr || !old->tls) continue;
        if (!pool.tls) {
            report(findings, change.after, Severity::warning, "P420-tls-lowered", pool_path(pool, "tls"),
                   "what is sent to these endpoints can be read on the way", "tls: {} if they speak it");
        } else if (pool.tls->min_version < old->tls->min_version) {
            report(findings, change.after, Severity::warning, "P420-tls-lowered", pool_path(pool, "tls.min_version"),
                   fmt::format("TLS {} is taken again, before from {}", version(pool.tls->min_version),
                               version(old->tls->min_version)),
                   "only for servers that know nothing newer");
        }
    }
}

constexpr RuleSummary certificates_valid_codes[] = {
    {"P420-certificate-unusable", "certificate or key that cannot be read or parsed",
     "accepted now, fatal at the next restart"},
    {"P420-key-mismatch", "a key of another certificate", "half-copied renewals"},
    {"P420-chain-incomplete", "a chain without its intermediates", "works in browsers, fails in programs"},
    {"P420-certificate-expired", "a certificate that has ended", "the most ordinary outage of all"},
    {"P420-expires-soon", "a certificate that ends within 14 days", "renewal that failed in silence"},
    {"P420-not-yet-valid", "a certificate that has not begun", "clocks; renewals deployed too early"}};
constexpr RuleSummary responses_stapled_codes[] = {
    {"P420-certificate-revoked", "a certificate whose OCSP response says that it is revoked", "clients refuse"},
    {"P420-ocsp-unusable", "an OCSP response that is not for its certificate, or not signed for it",
     "a response of the certificate before the last renewal"},
    {"P420-ocsp-ended", "an OCSP response that has ended", "fetching that failed in silence"},
    {"P420-must-staple", "a must-staple certificate without a response to send", "RFC 7633"}};
constexpr RuleSummary hosts_covered_codes[] = {
    {"P420-host-uncovered", "hosts served on a listener without a certificate for them", "RFC 9525"}};
constexpr RuleSummary verify_off_codes[] = {
    {"P420-verify-off", "endpoints whose certificates are not checked", "a switch for a test that stayed on"}};
constexpr RuleSummary unused_certificates_codes[] = {
    {"P406-unused-certificate", "a certificate that nobody shows", "as for unused pools"}};
constexpr RuleSummary certificate_removed_codes[] = {{"P420-certificate-removed",
                                                      "a certificate removed while hosts still need it",
                                                      "GCLB 2023: removal by tidying up"}};
constexpr RuleSummary tls_lowered_codes[] = {
    {"P420-tls-off", "a listener that stops speaking TLS", "clients are refused; no recording shows it"},
    {"P420-tls-lowered", "an older or no TLS version than before", "for review"},
    {"P420-client-auth-lowered", "client certificates asked of fewer", "for review"}};

constexpr std::array static_table{
    TlsRule{certificates_valid_codes, certificates_valid},
    TlsRule{responses_stapled_codes, responses_stapled},
    TlsRule{hosts_covered_codes, hosts_covered},
    TlsRule{verify_off_codes, verify_off},
    TlsRule{unused_certificates_codes, unused_certificates},
};
constexpr std::array change_table{
    ChangeRule{certificate_removed_codes, certificate_removed},
    ChangeRule{tls_lowered_codes, tls_lowered},
};

}  // namespace

std::span<const TlsRule> tls_rules() { return static_table; }
std::span<const ChangeRule> tls_change_rules() { return change_table; }

}  // namespace plimsoll::check

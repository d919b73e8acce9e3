#include "config/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "config/units.h"

namespace plimsoll::config {

void Report::error(std::string_view code, std::string path, std::string message, std::string remedy) {
    Where where = sources.where(path);
    add_bounded(findings, {Severity::error, std::string(code), std::move(path), std::move(where), std::move(message),
                           std::move(remedy)});
}

std::string Report::nearest(std::string_view wanted, const std::vector<std::string_view>& known,
                            std::string_view otherwise) {
    std::string_view nearest;
    std::size_t distance = std::max<std::size_t>(wanted.size() / 2, 2) + 1;
    for (const std::string_view name : known) {
        if (wanted.size() > 64) break;
        if (const auto d = edit_distance(wanted, name); d < distance) {
            distance = d;
            nearest = name;
        }
    }
    return nearest.empty() ? std::string(otherwise) : fmt::format("did you mean \"{}\"?", nearest);
}

Names::Names(const Config& config) {
    for (const Pool& pool : config.pools) pools.emplace(pool.name, &pool);
    for (const Listener& listener : config.listeners) listeners.emplace(listener.name, &listener);
    for (const Certificate& certificate : config.certificates) certificates.insert(certificate.name);
}

namespace {

template <class Table>
std::vector<std::string_view> keys(const Table& table) {
    std::vector<std::string_view> out;
    for (const auto& entry : table) {
        if constexpr (requires { entry.first; }) {
            out.push_back(entry.first);
        } else {
            out.push_back(entry);
        }
    }
    std::ranges::sort(out);
    return out;
}

}  // namespace

const Listener* own_listener(const Config& config, const Address& address) {
    const bool loopback = address.host.starts_with("127.") || address.host == "::1";
    for (const Listener& listener : config.listeners) {
        if (listener.address.port != address.port || address.port == 0) continue;
        const bool everywhere = listener.address.host == "0.0.0.0" || listener.address.host == "::";
        if (listener.address == address || (loopback && everywhere)) return &listener;
    }
    return nullptr;
}

const Pool* Report::pool(const Names& names, const std::string& name, std::string path) {
    if (name.empty()) return nullptr;
    if (const auto found = names.pools.find(name); found != names.pools.end()) return found->second;
    error("P203-dangling-reference", std::move(path), fmt::format("there is no pool \"{}\"", name),
          nearest(name, keys(names.pools), "define it under pools"));
    return nullptr;
}

const Listener* Report::listener(const Names& names, const std::string& name, std::string path) {
    if (const auto found = names.listeners.find(name); found != names.listeners.end()) return found->second;
    error("P203-dangling-reference", std::move(path), fmt::format("there is no listener \"{}\"", name),
          nearest(name, keys(names.listeners), "define it under listeners"));
    return nullptr;
}

void Report::certificate(const Names& names, const std::string& name, std::string path) {
    if (name.empty() || names.certificates.contains(name)) return;
    error("P203-dangling-reference", std::move(path), fmt::format("there is no certificate \"{}\"", name),
          nearest(name, keys(names.certificates), "define it under certificates"));
}

void validate_error_pages(const std::vector<ErrorPage>& pages, const std::string& path, Report& report) {
    std::unordered_set<std::uint16_t> seen;
    for (std::size_t i = 0; i < pages.size(); ++i) {
        if (seen.insert(pages[i].status).second) continue;
        report.error("P201-duplicate-name", fmt::format("{}[{}].status", path, i),
                     fmt::format("a second page for {}", pages[i].status), "keep one of them");
    }
}

namespace {

void something_to_serve(const Config& config, Report& report) {
    const auto need = [&](bool empty, std::string_view key) {
        // A missing key has been reported already; a wrong type has left it empty.
        if (empty && report.sources.written(key)) {
            report.error("P204-empty", std::string(key), fmt::format("no {} at all", key),
                         "an empty configuration would refuse every request");
        }
    };
    const bool http =
        std::ranges::any_of(config.listeners, [](const Listener& l) { return l.protocol == Protocol::http; });
    need(config.listeners.empty(), "listeners");
    if (http) need(config.routes.empty(), "routes");
    if (http && !report.sources.written("routes")) {
        report.error("P105-missing-key", "routes", "\"routes\" is missing here", "http listeners go by routes");
    }
    need(config.pools.empty(), "pools");
}

void listener_tls(const Listener& listener, const Names& names, const std::string& path, Report& report) {
    const ListenerTls& tls = *listener.tls;
    if (listener.protocol == Protocol::tcp) {
        report.error("P213-tls", path + ".tls", "a tcp listener passes TLS on as it is",
                     "use protocol: http to end TLS here, or leave tls out");
        return;
    }
    if (tls.certificates.empty() && report.sources.written(path + ".tls.certificates")) {
        report.error("P213-tls", path + ".tls.certificates", "TLS without a certificate", "name at least one");
    }
    for (std::size_t i = 0; i < tls.certificates.size(); ++i) {
        report.certificate(names, tls.certificates[i], fmt::format("{}.tls.certificates[{}]", path, i));
    }
    if (tls.client_auth != ClientAuth::none && tls.client_ca.empty()) {
        report.error("P213-tls", path + ".tls.client_auth",
                     "client certificates are asked for, and nobody may sign them",
                     "set client_ca to the authorities' PEM file");
    }
    if (tls.client_auth == ClientAuth::none && !tls.client_ca.empty()) {
        report.error("P213-tls", path + ".tls.client_ca", "clients are not asked for a certificate",
                     "client_auth: required, or leave client_ca out");
    }
}

void listeners(const Config& config, const Names& names, Report& report) {
    std::unordered_map<std::string, std::string> taken;
    if (config.admin.address.port != 0) taken.emplace(text(config.admin.address), "the admin listener");
    for (const Listener& listener : config.listeners) {
        const std::string path = "listeners." + listener.name;
        if (listener.address.port != 0) {
            const auto [it, is_new] = taken.emplace(text(listener.address), "listener " + listener.name);
            if (!is_new) {
                report.error("P202-duplicate-address", path + ".address",
                             fmt::format("{} belongs to {} already", it->first, it->second));
            }
        }
        if (listener.tls) listener_tls(listener, names, path, report);
        if (listener.protocol == Protocol::tcp && listener.tcp.empty()) {
            report.error("P214-protocol", path + ".protocol", "a tcp listener that passes connections to nobody",
                         "say where they go: tcp: [{pool: NAME}]");
        }
        if (listener.protocol == Protocol::http && !listener.tcp.empty()) {
            report.error("P214-protocol", path + ".tcp", "an http listener goes by `routes`",
                         "protocol: tcp, or leave `tcp` out");
        }
        std::unordered_set<std::string_view> sni;
        for (std::size_t i = 0; i < listener.tcp.size(); ++i) {
            const std::string item = fmt::format("{}.tcp[{}]", path, i);
            report.pool(names, listener.tcp[i].pool, item + ".pool");
            if (!sni.insert(listener.tcp[i].sni).second) {
                report.error("P201-duplicate-name", item,
                             listener.tcp[i].sni.empty() ? "a second entry for every connection"
                                                         : fmt::format("a second entry for {}", listener.tcp[i].sni),
                             "the first takes all of them; keep one");
            }
        }
    }
}

void endpoints(const Config& config, const Pool& pool, const std::string& path, Report& report) {
    std::unordered_map<std::string, std::size_t> addresses, names;
    double weights = 0;
    for (std::size_t i = 0; i < pool.endpoints.size(); ++i) {
        const Endpoint& endpoint = pool.endpoints[i];
        const auto item = [&](std::string_view key) { return fmt::format("{}.endpoints[{}].{}", path, i, key); };
        weights += endpoint.weight;
        if (endpoint.address.host.empty()) continue;  // reported already
        if (const auto [first, is_new] = addresses.emplace(text(endpoint.address), i); !is_new) {
            report.error("P202-duplicate-address", item("address"),
                         fmt::format("{} is endpoints[{}] of this pool already", first->first, first->second),
                         "raise its weight instead");
        }
        if (const auto [first, is_new] = names.emplace(endpoint.name, i); !is_new) {
            report.error("P201-duplicate-name", item("name"),
                         fmt::format("\"{}\" is endpoints[{}] of this pool already", endpoint.name, first->second));
        }
        if (const Listener* own = own_listener(config, endpoint.address); own != nullptr) {
            report.error("P208-loop", item("address"),
                         fmt::format("{} is our own listener \"{}\"", text(endpoint.address), own->name),
                         "requests would come back to us for ever");
        }
    }
    if (pool.endpoints.empty()) {
        const bool said = report.sources.written(path + ".endpoints");
        if (!pool.discovery && report.sources.written(path)) {
            report.error("P204-empty", said ? path + ".endpoints" : path, "a pool without endpoints",
                         "list them under endpoints, or have them found by discovery");
        }
    } else if (weights <= 0) {
        report.error("P205-all-weights-zero", path + ".endpoints",
                     fmt::format("all {} endpoints have weight 0", pool.endpoints.size()),
                     "nobody would answer; give at least one a weight");
    }
}

void discovery(const Discovery& d, const std::string& path, Report& report) {
    const bool file = d.type == DiscoveryType::file;
    if (file && d.file.empty()) {
        report.error("P218-discovery", path + ".type", "a list without a file", "say file: NAME");
    } else if (!file && d.name.empty()) {
        report.error("P218-discovery", path + ".type", "nothing to look up", "say name: example.internal");
    }
    if (file && !d.name.empty()) {
        report.error("P218-discovery", path + ".name", "type: file reads no DNS",
                     "type: dns or srv, or leave name out");
    } else if (!file && !d.file.empty()) {
        report.error("P218-discovery", path + ".file", "DNS reads no file", "type: file, or leave file out");
    }
}

void hash(const Hash& h, const std::string& path, Report& report) {
    const bool named = h.by == HashBy::header || h.by == HashBy::cookie;
    const std::string_view kind = h.by == HashBy::cookie ? "cookie" : "header";
    if (named && h.name.empty()) {
        report.error("P216-hash", path + ".by", fmt::format("which {}?", kind),
                     fmt::format("say name: the {}'s", kind));
    } else if (!named && !h.name.empty()) {
        report.error("P216-hash", path + ".name", "only headers and cookies have names",
                     "by: header or cookie, or leave name out");
    }
    if (h.bounded_load != 0 && h.bounded_load <= 1) {
        report.error("P216-hash", path + ".bounded_load",
                     fmt::format("nobody could get more than {} of the average", print_number(h.bounded_load)),
                     "above 1, say 1.25; or 0 = off");
    }
}

/// A shorter secret than this can be guessed.
constexpr std::size_t least_secret = 16;

void pools(const Config& config, const Names& names, Report& report) {
    for (const Pool& pool : config.pools) {
        const std::string path = "pools." + pool.name;
        endpoints(config, pool, path, report);
        if (pool.discovery) discovery(*pool.discovery, path + ".discovery", report);
        hash(pool.hash, path + ".hash", report);
        if (const std::string& name = pool.timeouts.deadline_header; frames_messages(name)) {
            report.error("P212-header", path + ".timeouts.deadline_header",
                         fmt::format("{} frames the message or says whom it is for", name), "a name of its own");
        }
        if (pool.tls) report.certificate(names, pool.tls->certificate, path + ".tls.certificate");
        if (pool.adaptive && pool.adaptive->max < pool.adaptive->min) {
            report.error("P209-order", path + ".adaptive.max",
                         fmt::format("max {} is below min {}", pool.adaptive->max, pool.adaptive->min), "min <= max");
        }
        if (pool.affinity && !pool.affinity->secret.empty() && pool.affinity->secret.size() < least_secret) {
            report.error("P217-secret", path + ".affinity.secret",
                         fmt::format("{} characters can be guessed", pool.affinity->secret.size()),
                         fmt::format("at least {}, by chance: openssl rand -hex 16", least_secret));
        }
        if (pool.affinity && pool.affinity->secret.empty() && report.sources.written(path + ".affinity.secret")) {
            report.error("P217-secret", path + ".affinity.secret", "an empty secret signs nothing",
                         fmt::format("at least {} characters, by chance: openssl rand -hex 16", least_secret));
        }
        if (pool.health && pool.health->type == CheckType::grpc && pool.protocol != PoolProtocol::http2) {
            report.error("P219-health", path + ".health.type", "gRPC is spoken over HTTP/2 only",
                         "protocol: http2 on this pool");
        }
        if (pool.health && pool.health->type != CheckType::grpc && !pool.health->service.empty()) {
            report.error("P219-health", path + ".health.service", "only gRPC checks ask about a service",
                         "type: grpc, or leave service out");
        }
    }
}

void guard(const Config& config, Report& report) {
    if (config.guard.max_step < config.guard.min_step) {
        report.error("P209-order", "guard.max_step",
                     fmt::format("max_step {} is shorter than min_step {}", print_duration(config.guard.max_step),
                                 print_duration(config.guard.min_step)));
    }
}

void webhooks(const Config& config, Report& report) {
    std::unordered_set<std::string_view> names;
    for (std::size_t i = 0; i < config.notify.size(); ++i) {
        const std::string& name = config.notify[i].name;
        if (!name.empty() && !names.insert(name).second) {
            report.error("P201-duplicate-name", fmt::format("notify[{}].name", i),
                         fmt::format("a second receiver \"{}\"", name));
        }
    }
}

}  // namespace

void add_bounded(Findings& findings, Finding finding) {
    if (findings.size() > max_findings) return;
    if (findings.size() == max_findings) {
        finding = {Severity::error,
                   "P102-too-large",
                   {},
                   Where{finding.where.file, 0, 0},
                   fmt::format("more than {} findings; the rest are not shown", max_findings),
                   {}};
    }
    findings.push_back(std::move(finding));
}

void validate(const Config& config, const Sources& sources, Findings& findings) {
    Report report{sources, findings};
    const Names names(config);
    something_to_serve(config, report);
    listeners(config, names, report);
    validate_routes(config, names, report);
    pools(config, names, report);
    validate_error_pages(config.error_pages, "error_pages", report);
    guard(config, report);
    webhooks(config, report);
}

}  // namespace plimsoll::config

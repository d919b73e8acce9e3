#include "config/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "config/units.h"

namespace plimsoll::config {

namespace {

/// Collects findings with their places.
struct Report {
    const Sources& sources;
    Findings& findings;
    void error(std::string_view code, std::string path, std::string message, std::string remedy = {}) {
        Where where = sources.where(path);
        add_bounded(findings, {Severity::error, std::string(code), std::move(path), std::move(where),
                               std::move(message), std::move(remedy)});
    }
};

void something_to_serve(const Config& config, Report& report) {
    const auto need = [&](bool empty, std::string_view key) {
        // A missing key has been reported already; a wrong type has left it empty.
        if (empty && report.sources.written(key)) {
            report.error("P204-empty", std::string(key), fmt::format("no {} at all", key),
                         "an empty configuration would refuse every request");
        }
    };
    need(config.listeners.empty(), "listeners");
    need(config.routes.empty(), "routes");
    need(config.pools.empty(), "pools");
}

void listeners(const Config& config, Report& report) {
    std::unordered_map<std::string, std::string> taken;
    if (config.admin.address.port != 0) taken.emplace(text(config.admin.address), "the admin listener");
    for (const Listener& listener : config.listeners) {
        if (listener.address.port == 0) continue;
        const auto [it, is_new] = taken.emplace(text(listener.address), "listener " + listener.name);
        if (!is_new) {
            report.error("P202-duplicate-address", fmt::format("listeners.{}.address", listener.name),
                         fmt::format("{} belongs to {} already", it->first, it->second));
        }
    }
}

void routes(const Config& config, Report& report) {
    std::unordered_set<std::string_view> pools, names;
    for (const Pool& pool : config.pools) pools.insert(pool.name);
    for (std::size_t i = 0; i < config.routes.size(); ++i) {
        const Route& route = config.routes[i];
        const std::string path = fmt::format("routes[{}]", i);
        if (!route.name.empty() && !names.insert(route.name).second) {
            report.error("P201-duplicate-name", path + ".name", fmt::format("a second route \"{}\"", route.name),
                         "counters are kept by route name; give it its own");
        }
        if (route.match.path && route.match.path_prefix) {
            report.error("P207-match", path + ".match", "both path and path_prefix", "keep one of them");
        }
        if (route.pool.empty() || pools.contains(route.pool)) continue;
        std::string_view nearest;
        std::size_t distance = 4;
        for (const Pool& pool : config.pools) {
            if (const auto d = edit_distance(route.pool, pool.name); d < distance) {
                distance = d;
                nearest = pool.name;
            }
        }
        report.error("P203-dangling-reference", path + ".pool", fmt::format("there is no pool \"{}\"", route.pool),
                     nearest.empty() ? "define it under pools" : fmt::format("did you mean \"{}\"?", nearest));
    }
}

/// The listener that would take a connection to `address`: the same one, or every address of this machine.
const Listener* own_listener(const Config& config, const Address& address) {
    const bool loopback = address.host.starts_with("127.") || address.host == "::1";
    for (const Listener& listener : config.listeners) {
        if (listener.address.port != address.port || address.port == 0) continue;
        const bool everywhere = listener.address.host == "0.0.0.0" || listener.address.host == "::";
        if (listener.address == address || (loopback && everywhere)) return &listener;
    }
    return nullptr;
}

void pools(const Config& config, Report& report) {
    for (const Pool& pool : config.pools) {
        const std::string path = "pools." + pool.name;
        std::unordered_map<std::string, std::size_t> addresses, names;
        double weights = 0;
        for (std::size_t i = 0; i < pool.endpoints.size(); ++i) {
            const Endpoint& endpoint = pool.endpoints[i];
            const std::string item = fmt::format("{}.endpoints[{}]", path, i);
            weights += endpoint.weight;
            if (endpoint.address.host.empty()) continue;  // reported already
            const std::string address = text(endpoint.address);
            if (const auto [first, is_new] = addresses.emplace(address, i); !is_new) {
                report.error("P202-duplicate-address", item + ".address",
                             fmt::format("{} is endpoints[{}] of this pool already", address, first->second),
                             "raise its weight instead");
            }
            if (const auto [first, is_new] = names.emplace(endpoint.name, i); !is_new) {
                report.error("P201-duplicate-name", item + ".name",
                             fmt::format("\"{}\" is endpoints[{}] of this pool already", endpoint.name, first->second));
            }
            if (const Listener* own = own_listener(config, endpoint.address); own != nullptr) {
                report.error("P208-loop", item + ".address",
                             fmt::format("{} is our own listener \"{}\"", address, own->name),
                             "requests would come back to us for ever");
            }
        }
        if (pool.endpoints.empty()) {
            if (report.sources.written(path + ".endpoints")) {
                report.error("P204-empty", path + ".endpoints", "a pool without endpoints");
            }
        } else if (weights <= 0) {
            report.error("P205-all-weights-zero", path + ".endpoints",
                         fmt::format("all {} endpoints have weight 0", pool.endpoints.size()),
                         "nobody would answer; give at least one a weight");
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
    something_to_serve(config, report);
    listeners(config, report);
    routes(config, report);
    pools(config, report);
    guard(config, report);
    webhooks(config, report);
}

}  // namespace plimsoll::config

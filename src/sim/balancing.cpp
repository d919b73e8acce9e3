#include "sim/balancing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "balance/hash_table.h"
#include "base/hash.h"

namespace plimsoll::sim {
namespace {

using namespace std::chrono_literals;

double ms(double s) { return s * 1000; }

std::vector<balance::Member> members_of(std::uint32_t n, std::uint64_t seed) {
    std::vector<balance::Member> members(n);
    for (std::uint32_t i = 0; i < n; ++i) {
        members[i].id = EndpointId{i};
        members[i].identity = keyed_hash(fmt::format("10.{}.{}.{}:80", seed - 1, i / 256, i % 256), 0);
    }
    return members;
}

/// Share of a ring's circle, or of Maglev's places, is measured by asking many hashes: both in the same way.
std::vector<std::uint32_t> owners_of(const balance::HashTable& table, std::size_t probes) {
    std::vector<std::uint32_t> owners(probes);
    const std::uint64_t step = UINT64_MAX / probes;
    for (std::size_t k = 0; k < probes; ++k) owners[k] = table.at(k * step);
    return owners;
}

/// One figure with every seed.
struct Spread {
    std::vector<double> values;  ///< ascending once made
    [[nodiscard]] double least() const { return values.front(); }
    [[nodiscard]] double median() const { return values[values.size() / 2]; }
    [[nodiscard]] double most() const { return values.back(); }
};

/// What `figures` says of each seed's run, figure by figure.
template <class Figures>
std::vector<Spread> over_seeds(std::uint64_t seeds, Figures figures) {
    std::vector<Spread> spreads;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        const std::vector<double> values = figures(seed);
        spreads.resize(values.size());
        for (std::size_t i = 0; i < values.size(); ++i) spreads[i].values.push_back(values[i]);
    }
    for (Spread& spread : spreads) std::ranges::sort(spread.values);
    return spreads;
}
template <class Figures>
std::vector<Spread> over_seeds(std::uint64_t seeds, FarmOptions options, Figures figures) {
    return over_seeds(seeds, [&](std::uint64_t seed) {
        options.seed = seed;
        return figures(run_farm(options));
    });
}

/// "99.97 (99.95 to 99.99)".
std::string text(const Spread& spread, int digits, double scale = 1) {
    const auto number = [&](double value) { return fmt::format("{:.{}f}", scale * value, digits); };
    if (number(spread.least()) == number(spread.most())) return number(spread.median());
    return fmt::format("{} ({} to {})", number(spread.median()), number(spread.least()), number(spread.most()));
}

// ---- the parts of the report ---------------------------------------------------------------------------------------

/// What is being written, how much of it, and over how many seeds.
struct Writer {
    BalancingReport report;
    std::uint64_t seeds;
    bool promises_only;

    template <class... Args>
    void line(fmt::format_string<Args...> format, Args&&... args) {
        fmt::format_to(std::back_inserter(report.text), format, std::forward<Args>(args)...);
        report.text += '\n';
    }
    void promise(bool kept, std::string_view what) {
        line("  {} {}", kept ? "kept:  " : "BROKEN:", what);
        report.kept = report.kept && kept;
    }
};

void report_slow_server(Writer& w) {
    w.line("slow server: 11 servers, 1000 requests/s, one answers after 2 s for 30 of 60 s");
    w.line("  {:<16} {:>24} {:>22} {:>24}", "policy", "within 1 s %", "p50 ms", "p99 ms");
    for (const NamedPolicy& one : balancing_policies()) {
        if (w.promises_only && one.name != "peak_ewma") continue;
        const auto figures = over_seeds(w.seeds, slow_server(one.policy), [](const FarmResult& result) {
            return std::vector{result.within(1s), result.quantile(0.5), result.quantile(0.99)};
        });
        w.line("  {:<16} {:>24} {:>22} {:>24}", one.name, text(figures[0], 2, 100), text(figures[1], 1, 1000),
               text(figures[2], 1, 1000));
        if (one.name == "peak_ewma") {
            w.promise(figures[0].least() >= 0.999, "peak_ewma answers 99.9 % within 1 s");
        }
    }
}

void report_tables(Writer& w) {
    w.line("tables: places of one member against the mean, places moved when one member goes");
    w.line("  {:<16} {:>8} {:>24} {:>24} {:>22}", "policy", "members", "largest", "smallest", "moved %");
    for (const NamedPolicy& one : {NamedPolicy{"maglev", balance::Maglev{}}, {"ring_hash", balance::RingHash{}}}) {
        for (const std::uint32_t n : {10u, 100u, 1000u}) {
            const bool promised = one.name == "maglev" && n == 1000;
            if (w.promises_only && !promised) continue;
            const auto figures = over_seeds(w.seeds, [&](std::uint64_t seed) {
                const TableFigures of = table_figures(one.policy, n, seed);
                return std::vector{of.largest, of.smallest, of.moved};
            });
            w.line("  {:<16} {:>8} {:>24} {:>24} {:>22}", one.name, n, text(figures[0], 3), text(figures[1], 3),
                   text(figures[2], 2, 100));
            if (!promised) continue;
            w.promise(figures[0].most() <= 1.01, "maglev's largest share is within 1 % of the mean at 1000 members");
            w.promise(figures[2].most() <= 0.01, "maglev moves at most 1 % of what need not move");
        }
    }
}

void report_hot_keys(Writer& w) {
    w.line("hot keys: Zipf(1.0) over 100,000 keys, 100 servers, about 10,000 in flight");
    w.line("  {:<11} {:>5} {:>22} {:>22} {:>10} {:>24} {:>22}", "policy", "bound", "peak/mean", "worst send",
           "sent above", "met above %, by", "redirected %");
    bool within = true;
    for (const double bound : {0.0, 1.25, 2.0}) {
        if (w.promises_only && bound != 1.25) continue;
        for (const NamedPolicy& one : {NamedPolicy{"maglev", balance::Maglev{bound}},
                                       {"ring_hash", balance::RingHash{bound}},
                                       {"rendezvous", balance::Rendezvous{bound}}}) {
            const auto figures = over_seeds(w.seeds, hot_keys(one.policy), [](const FarmResult& result) {
                const auto requests = static_cast<double>(result.requests);
                return std::vector{result.mean_peak,
                                   result.worst_peak,
                                   static_cast<double>(result.sent_above),
                                   static_cast<double>(result.met_above) / requests,
                                   static_cast<double>(result.away_from_home) / requests,
                                   static_cast<double>(result.most_above)};
            });
            const bool bounded = bound > 0;
            w.line("  {:<11} {:>5.2f} {:>22} {:>22} {:>10} {:>24} {:>22}", one.name, bound, text(figures[0], 2),
                   text(figures[1], 2), bounded ? fmt::format("{:.0f}", figures[2].most()) : "",
                   bounded ? fmt::format("{}, {:.0f}", text(figures[3], 1, 100), figures[5].most()) : "",
                   text(figures[4], 1, 100));
            within = within && figures[2].most() == 0;
        }
    }
    w.promise(within, "nobody is ever sent more than ceil(bound x average), in whole requests");
}

void report_antagonists(Writer& w) {
    w.line(
        "antagonists: 100 servers x 4 slots, half twice as quick, 10 % slowed to 40 % at any time; p50 / p99 / p99.9 "
        "ms");
    const std::vector<double> loads =
        w.promises_only ? std::vector{0.71} : std::vector{0.44, 0.59, 0.71, 0.83, 0.92, 0.99};
    for (const std::uint32_t balancers : {1u, 20u}) {
        if (w.promises_only && balancers == 1) continue;
        std::string head = fmt::format("  {:<2} balancers    ", balancers);
        for (const double load : loads)
            head += fmt::format(" {:>20}", fmt::format("load {:.2f} ({:.2f}x)", load, load / 0.585));
        w.line("{}", head);
        double by_turns = 0, by_latency = 0;  // p99 at load 0.71
        for (const NamedPolicy& one : balancing_policies()) {
            if (w.promises_only && (one.name == "random" || one.name == "least_request")) continue;
            std::string medians = fmt::format("  {:<16}", one.name), ranges = fmt::format("  {:<16}", "  least");
            std::string most = fmt::format("  {:<16}", "  most");
            for (const double load : loads) {
                FarmOptions options = antagonists(one.policy, load, balancers);
                if (w.promises_only) options.span = 4s;
                const auto figures = over_seeds(w.seeds, options, [](const FarmResult& result) {
                    return std::vector{result.quantile(0.5), result.quantile(0.99), result.quantile(0.999)};
                });
                const auto row = [&](auto of) {
                    return fmt::format(" {:>20}", fmt::format("{:.0f} / {:.0f} / {:.0f}", ms(of(figures[0])),
                                                              ms(of(figures[1])), ms(of(figures[2]))));
                };
                medians += row([](const Spread& s) { return s.median(); });
                ranges += row([](const Spread& s) { return s.least(); });
                most += row([](const Spread& s) { return s.most(); });
                if (load != 0.71) continue;
                if (one.name == "round_robin") by_turns = figures[1].least();
                if (one.name == "peak_ewma" || one.name == "prequal")
                    by_latency = std::max(by_latency, figures[1].most());
            }
            w.line("{}", medians);
            if (w.seeds > 1) w.line("{}\n{}", ranges, most);
        }
        w.promise(10 * by_latency <= by_turns,
                  "at 1.2 times the allocation, peak_ewma's and prequal's p99 is less than a tenth of round_robin's");
    }
}

void report_workers(Writer& w) {
    w.line(
        "workers of one process, each with loads of its own or sharing counts; p99 ms / most in flight at one server");
    for (const std::uint32_t servers : {8u, 100u}) {
        for (const double load : {0.71, 0.92}) {
            w.line("  {} servers, load {:.2f}", servers, load);
            w.line("  {:<16} {:>14} {:>14} {:>14} {:>14} {:>14} {:>14} {:>14}", "policy", "1", "2 own", "2 shared",
                   "4 own", "4 shared", "16 own", "16 shared");
            for (const NamedPolicy& one : balancing_policies()) {
                if (one.name == "random") continue;
                std::string row = fmt::format("  {:<16}", one.name);
                for (const auto& [workers, share] : std::vector<std::pair<std::uint32_t, bool>>{
                         {1, false}, {2, false}, {2, true}, {4, false}, {4, true}, {16, false}, {16, true}}) {
                    if (share && one.name == "round_robin") {  // goes by no counts
                        row += fmt::format(" {:>14}", "-");
                        continue;
                    }
                    FarmOptions options = antagonists(one.policy, load, workers, servers);
                    options.share_loads = share;
                    options.watch_peaks = true;
                    const auto figures = over_seeds(w.seeds, options, [](const FarmResult& result) {
                        return std::vector{result.quantile(0.99), static_cast<double>(result.most_in_flight)};
                    });
                    row += fmt::format(" {:>14}",
                                       fmt::format("{:.0f} / {:.0f}", ms(figures[0].median()), figures[1].median()));
                }
                w.line("{}", row);
            }
        }
    }
}

void report_overload(Writer& w) {
    w.line("overload: one server, 8 slots of 10 ms (800/s); clients wait without end");
    w.line("  {:<20} {:>18} {:>28} {:>28}", "", "goodput/s", "p50 ms", "p99 ms");
    for (const double load : {0.7, 1.0, 1.5, 3.0}) {
        for (const bool adaptive : {false, true}) {
            const FarmOptions options = overload(load, adaptive);
            const auto figures = over_seeds(w.seeds, options, [&](const FarmResult& result) {
                return std::vector{result.goodput(options), result.quantile(0.5), result.quantile(0.99)};
            });
            w.line("  {:<20} {:>18} {:>28} {:>28}", fmt::format("load {:.1f}{}", load, adaptive ? ", adaptive" : ""),
                   text(figures[0], 0), text(figures[1], 1, 1000), text(figures[2], 1, 1000));
        }
    }
}

}  // namespace

std::vector<NamedPolicy> balancing_policies() {
    return {{"round_robin", balance::RoundRobin{}},
            {"random", balance::WeightedRandom{}},
            {"least_request", balance::LeastRequest{}},
            {"peak_ewma", balance::PeakEwma{}},
            {"prequal", balance::Prequal{}}};
}

std::vector<NamedPolicy> hashing_policies() {
    return {{"maglev", balance::Maglev{}}, {"ring_hash", balance::RingHash{}}, {"rendezvous", balance::Rendezvous{}}};
}

FarmOptions slow_server(const balance::Policy& policy, double scale) {
    FarmOptions options;
    options.pool.policy = policy;
    options.servers.assign(11, FarmServer{.slots = 0});
    options.rate = 1000;
    options.span = from_seconds(60 * scale);
    options.service = 20ms;
    options.work = Work::lognormal;
    FarmServer slow{.slots = 0};
    slow.fixed = 2s;
    options.events = {{Instant{0} + from_seconds(15 * scale), 5, slow},
                      {Instant{0} + from_seconds(45 * scale), 5, FarmServer{.slots = 0}}};
    return options;
}

FarmOptions antagonists(const balance::Policy& policy, double load, std::uint32_t balancers, std::uint32_t servers) {
    FarmOptions options;
    options.pool.policy = policy;
    double capacity = 0;
    for (std::uint32_t i = 0; i < servers; ++i) {
        const double speed = i % 2 == 0 ? 1 : 2;
        options.servers.push_back({.slots = 4, .speed = speed, .weight = speed});
        capacity += 4 * speed / seconds(options.service);
    }
    options.antagonised = 0.1;
    options.antagonist_speed = 0.4;
    options.balancers = balancers;
    options.rate = load * capacity * (1 - options.antagonised * (1 - options.antagonist_speed));
    options.span = 12s;
    options.warm_up = 2s;
    return options;
}

FarmOptions hot_keys(const balance::Policy& policy, std::uint32_t servers) {
    FarmOptions options;
    options.pool.policy = policy;
    options.servers.assign(servers, FarmServer{.slots = 0});
    options.rate = 1000.0 * servers;
    options.service = 100ms;
    options.span = 2s;
    options.warm_up = 1s;
    options.keys = 100'000;
    options.zipf = 1.0;
    options.watch_peaks = true;
    return options;
}

FarmOptions overload(double load, bool adaptive) {
    FarmOptions options;
    options.servers = {FarmServer{.slots = 8}};
    options.rate = 800 * load;
    options.span = 30s;
    options.warm_up = 5s;
    options.work = Work::lognormal;
    if (adaptive) options.pool.adaptive = balance::Adaptive{.min = 2, .max = 1000, .tolerance = 1.5};
    return options;
}

TableFigures table_figures(const balance::Policy& policy, std::uint32_t members, std::uint64_t seed) {
    const auto all = members_of(members, seed);
    const auto table = balance::build_table(policy, all);
    auto without = all;
    without[members / 2].weight = 0;
    const auto smaller = balance::build_table(policy, without);
    const bool ring = std::holds_alternative<balance::RingHash>(policy);
    const std::size_t probes = ring ? 1u << 20 : balance::maglev_places;
    const auto places = [&](const balance::HashTable& of) {
        if (ring) return owners_of(of, probes);
        return std::vector<std::uint32_t>(of.owners().begin(), of.owners().end());
    };
    const auto before = places(*table), after = places(*smaller);
    std::vector<double> count(members, 0.0);
    double stayed = 0, moved = 0;
    for (std::size_t i = 0; i < probes; ++i) {
        ++count[before[i]];
        if (before[i] == members / 2) continue;
        ++stayed;
        moved += after[i] != before[i];
    }
    const double mean = static_cast<double>(probes) / members;
    return {*std::ranges::max_element(count) / mean, *std::ranges::min_element(count) / mean, moved / stayed};
}

BalancingReport balancing_report(std::string_view part, std::uint64_t seeds) {
    Writer w{{}, std::max<std::uint64_t>(seeds, 1), part == "promises"};
    const auto wanted = [&](std::string_view name) { return part == "all" || part == name; };
    if (wanted("slow-server") || w.promises_only) report_slow_server(w);
    if (wanted("tables") || w.promises_only) report_tables(w);
    if (wanted("hot-keys") || w.promises_only) report_hot_keys(w);
    if (wanted("antagonists") || w.promises_only) report_antagonists(w);
    if (wanted("workers")) report_workers(w);
    if (wanted("overload")) report_overload(w);
    if (w.report.text.empty()) {
        return {
            "plimsoll-balancing [all | slow-server | tables | hot-keys | antagonists | workers | overload | promises] "
            "[SEEDS]\n",
            false};
    }
    w.line("seeds 1 to {}; median (least to most)", w.seeds);
    return w.report;
}

}  // namespace plimsoll::sim

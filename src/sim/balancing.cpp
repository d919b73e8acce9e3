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

template <class... Args>
void line(BalancingReport& report, fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(report.text), format, std::forward<Args>(args)...);
    report.text += '\n';
}

void promise(BalancingReport& report, bool kept, std::string_view what) {
    line(report, "  {} {}", kept ? "kept:  " : "BROKEN:", what);
    report.kept = report.kept && kept;
}

double ms(double s) { return s * 1000; }

std::vector<balance::Member> members_of(std::uint32_t n) {
    std::vector<balance::Member> members(n);
    for (std::uint32_t i = 0; i < n; ++i) {
        members[i].id = EndpointId{i};
        members[i].identity = keyed_hash("10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ":80", 0);
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

// ---- the parts of the report ---------------------------------------------------------------------------------------

void report_slow_server(BalancingReport& report) {
    line(report, "slow server: 11 servers, 1000 requests/s, one answers after 2 s for 30 of 60 s");
    line(report, "  {:<16} {:>12} {:>9} {:>9}", "policy", "within 1 s %", "p50 ms", "p99 ms");
    for (const NamedPolicy& one : balancing_policies()) {
        const FarmResult result = run_farm(slow_server(one.policy));
        const double good = result.within(1s);
        line(report, "  {:<16} {:>12.2f} {:>9.1f} {:>9.1f}", one.name, 100 * good, ms(result.quantile(0.5)),
             ms(result.quantile(0.99)));
        if (one.name == "peak_ewma") promise(report, good >= 0.999, "peak_ewma answers 99.9 % within 1 s");
    }
}

void report_tables(BalancingReport& report) {
    line(report, "tables: places of one member against the mean, places moved when one member goes");
    line(report, "  {:<16} {:>8} {:>9} {:>9} {:>9}", "policy", "members", "largest", "smallest", "moved %");
    for (const NamedPolicy& one : {NamedPolicy{"maglev", balance::Maglev{}}, {"ring_hash", balance::RingHash{}}}) {
        for (const std::uint32_t n : {10u, 100u, 1000u}) {
            const TableFigures figures = table_figures(one.policy, n);
            line(report, "  {:<16} {:>8} {:>9.3f} {:>9.3f} {:>9.2f}", one.name, n, figures.largest, figures.smallest,
                 100 * figures.moved);
            if (one.name != "maglev" || n != 1000) continue;
            promise(report, figures.largest <= 1.01, "maglev is within 1 % of even at 1000 members");
            promise(report, figures.moved <= 0.01, "maglev moves at most 1 % of what need not move");
        }
    }
}

void report_hot_keys(BalancingReport& report) {
    line(report, "hot keys: Zipf(1.0) over 100,000 keys, 100 servers, about 10,000 in flight");
    line(report, "  {:<16} {:>6} {:>10} {:>11} {:>11}", "policy", "bound", "peak/mean", "worst send", "redirected %");
    bool within = true;
    for (const double bound : {0.0, 1.25, 2.0}) {
        for (const NamedPolicy& one : {NamedPolicy{"maglev", balance::Maglev{bound}},
                                       {"ring_hash", balance::RingHash{bound}},
                                       {"rendezvous", balance::Rendezvous{bound}}}) {
            const FarmResult result = run_farm(hot_keys(one.policy));
            line(report, "  {:<16} {:>6.2f} {:>10.2f} {:>11.2f} {:>11.1f}", one.name, bound, result.mean_peak,
                 result.worst_peak,
                 100 * static_cast<double>(result.away_from_home) / static_cast<double>(result.requests));
            // the bound is rounded up to whole requests, of about a hundred on average
            within = within && (bound <= 0 || result.worst_peak <= bound + 0.02);
        }
    }
    promise(report, within, "nobody is sent more than the bound");
}

void report_antagonists(BalancingReport& report) {
    line(report,
         "antagonists: 100 servers x 4 slots, half twice as quick, 10 % slowed to 40 % at any time; p50 / p99 / p99.9 "
         "ms");
    for (const std::uint32_t balancers : {1u, 20u}) {
        std::string head = fmt::format("  {:<2} balancers    ", balancers);
        const std::vector<double> loads = {0.44, 0.59, 0.71, 0.83, 0.92, 0.99};
        for (const double load : loads)
            head += fmt::format(" {:>20}", fmt::format("load {:.2f} ({:.2f}x)", load, load / 0.585));
        line(report, "{}", head);
        for (const NamedPolicy& one : balancing_policies()) {
            std::string row = fmt::format("  {:<16}", one.name);
            for (const double load : loads) {
                const FarmResult result = run_farm(antagonists(one.policy, load, balancers));
                row += fmt::format(" {:>20}", fmt::format("{:.0f} / {:.0f} / {:.0f}", ms(result.quantile(0.5)),
                                                          ms(result.quantile(0.99)), ms(result.quantile(0.999))));
            }
            line(report, "{}", row);
        }
    }
}

void report_workers(BalancingReport& report) {
    line(report,
         "workers of one process, each with loads of its own or sharing counts; p99 ms / most in flight at one server");
    for (const std::uint32_t servers : {8u, 100u}) {
        for (const double load : {0.71, 0.92}) {
            line(report, "  {} servers, load {:.2f}", servers, load);
            line(report, "  {:<16} {:>14} {:>14} {:>14} {:>14} {:>14} {:>14} {:>14}", "policy", "1", "2 own",
                 "2 shared", "4 own", "4 shared", "16 own", "16 shared");
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
                    const FarmResult result = run_farm(options);
                    row += fmt::format(" {:>14}",
                                       fmt::format("{:.0f} / {}", ms(result.quantile(0.99)), result.most_in_flight));
                }
                line(report, "{}", row);
            }
        }
    }
}

void report_overload(BalancingReport& report) {
    line(report, "overload: one server, 8 slots of 10 ms (800/s); clients wait without end");
    line(report, "  {:<22} {:>11} {:>9} {:>9}", "", "goodput/s", "p50 ms", "p99 ms");
    for (const double load : {0.7, 1.0, 1.5, 3.0}) {
        for (const bool adaptive : {false, true}) {
            const FarmOptions options = overload(load, adaptive);
            const FarmResult result = run_farm(options);
            line(report, "  {:<22} {:>11.0f} {:>9.1f} {:>9.1f}",
                 fmt::format("load {:.1f}{}", load, adaptive ? ", adaptive" : ""), result.goodput(options),
                 ms(result.quantile(0.5)), ms(result.quantile(0.99)));
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

TableFigures table_figures(const balance::Policy& policy, std::uint32_t members) {
    const auto all = members_of(members);
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

BalancingReport balancing_report(std::string_view part) {
    BalancingReport report;
    const auto wanted = [&](std::string_view name) { return part == "all" || part == name; };
    if (wanted("slow-server")) report_slow_server(report);
    if (wanted("tables")) report_tables(report);
    if (wanted("hot-keys")) report_hot_keys(report);
    if (wanted("antagonists")) report_antagonists(report);
    if (wanted("workers")) report_workers(report);
    if (wanted("overload")) report_overload(report);
    if (report.text.empty()) {
        report.kept = false;
        report.text = "plimsoll-balancing [all | slow-server | tables | hot-keys | antagonists | workers | overload]\n";
    }
    return report;
}

}  // namespace plimsoll::sim

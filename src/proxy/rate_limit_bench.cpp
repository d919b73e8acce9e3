// What a limit costs and how exact it is: the figures of docs/decisions/0011.
//   proxy_bench --benchmark_filter=Rate
#include <benchmark/benchmark.h>

#include <cmath>
#include <memory>
#include <vector>

#include "base/random.h"
#include "proxy/rate_limit.h"

namespace plimsoll::proxy {
namespace {

RateTable& shared_table() {
    static RateTable table;  // of the benchmark's threads, which must meet in one
    return table;
}

/// Each thread has keys of its own, or all have the same one.
void BM_RateTake(benchmark::State& state) {
    const RateRule rule = rate_rule(1, 1e6, 1e6);
    const bool one_key = state.range(0) == 1;
    Random random(static_cast<std::uint64_t>(state.thread_index()) + 1);
    Instant now{1'000'000'000'000};
    for (auto _ : state) {
        now.ns += 50;
        benchmark::DoNotOptimize(shared_table().take(rule, one_key ? 1 : random.below(50'000), now));
    }
}
BENCHMARK(BM_RateTake)->ArgName("one_key")->Arg(0)->Arg(1)->ThreadRange(1, 2);

/// Every take displaces somebody: the attack with many addresses.
void BM_RateTakeUnderAttack(benchmark::State& state) {
    RateTable table;
    const RateRule rule = rate_rule(1, 1, 100);
    std::uint64_t key = 0;
    for (auto _ : state) benchmark::DoNotOptimize(table.take(rule, ++key * 0x9e3779b97f4a7c15ull, Instant{1'000'000}));
    state.counters["displaced"] = static_cast<double>(table.displaced());
}
BENCHMARK(BM_RateTakeUnderAttack);

/// A client asks at twice its limit (100/s, burst 100) for 60 s over `connections`, each of which stays on the worker
/// that the kernel chose for it. What it gets, in percent of the limit: mean and worst of 200 clients, for a table of
/// each worker's own with the rate divided by four, and for one shared table.
void BM_RateError(benchmark::State& state) {
    constexpr std::size_t workers = 4, clients = 200;
    constexpr double rate = 100, burst = 100, duration_s = 60;
    const auto connections = static_cast<std::size_t>(state.range(0));
    const bool divided = state.range(1) == 1;
    const RateRule rule = divided ? rate_rule(1, rate / workers, burst / workers) : rate_rule(1, rate, burst);
    double sum = 0, worst = 100;
    for (auto _ : state) {
        Random random(7);
        sum = 0, worst = 100;
        for (std::uint64_t client = 0; client < clients; ++client) {
            std::vector<std::unique_ptr<RateTable>> tables;
            for (std::size_t i = 0; i < (divided ? workers : 1); ++i) tables.push_back(std::make_unique<RateTable>(64));
            std::vector<std::size_t> worker_of;
            for (std::size_t i = 0; i < connections; ++i) worker_of.push_back(random.below(workers));
            double taken = 0;
            Instant now{1};
            while (seconds(now - Instant{1}) < duration_s) {
                now = now + from_seconds(random.exponential(1 / (2 * rate)));
                const std::size_t at = divided ? worker_of[random.below(connections)] : 0;
                taken += tables[at]->take(rule, client, now).taken ? 1 : 0;
            }
            const double percent = 100 * taken / (rate * duration_s + burst);
            sum += percent;
            if (std::abs(percent - 100) > std::abs(worst - 100)) worst = percent;
        }
    }
    state.counters["mean_percent"] = sum / clients;
    state.counters["worst_percent"] = worst;
}
BENCHMARK(BM_RateError)
    ->ArgNames({"connections", "divided"})
    ->ArgsProduct({{1, 2, 8, 64}, {1, 0}})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace plimsoll::proxy

BENCHMARK_MAIN();

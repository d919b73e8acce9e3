// Nanoseconds per pick. The proxy picks about 200,000 times a second and core, so 100 ns are 2 % of one.
#include <benchmark/benchmark.h>

#include "balance/balance.h"

namespace plimsoll::balance {
namespace {

void run(benchmark::State& state, Policy policy, bool weighted) {
    const auto n = static_cast<std::uint32_t>(state.range(0));
    PoolFacts pool;
    pool.policy = policy;
    std::vector<EndpointState> states(n, {.health = Health::up});
    for (std::uint32_t i = 0; i < n; ++i) pool.members.push_back({EndpointId{i}, weighted ? 1.0 + i % 7 : 1.0});
    Random random(7);
    Cursor cursor = fresh_cursor(pool, random);
    std::vector<EndpointIndex> open(64, EndpointIndex{0});  // keeps 64 in flight
    std::size_t at = 0;
    Instant now{0};
    for (auto _ : state) {
        now.ns += 5000;
        const auto chosen = pick(pool, states, cursor, {}, now, random);
        benchmark::DoNotOptimize(chosen);
        auto& old = states[open[at].value].in_flight;
        if (old > 0) --old;
        ++states[chosen->index.value].in_flight;
        open[at] = chosen->index;
        at = (at + 1) % open.size();
    }
    state.SetItemsProcessed(state.iterations());
}

void round_robin(benchmark::State& state) { run(state, RoundRobin{}, false); }
void least_request(benchmark::State& state) { run(state, LeastRequest{}, false); }
void least_request_weighted(benchmark::State& state) { run(state, LeastRequest{}, true); }
BENCHMARK(round_robin)->Arg(4)->Arg(8)->Arg(100)->Arg(1000);
BENCHMARK(least_request)->Arg(4)->Arg(8)->Arg(100)->Arg(1000);
BENCHMARK(least_request_weighted)->Arg(4)->Arg(8)->Arg(100)->Arg(1000);

}  // namespace
}  // namespace plimsoll::balance

BENCHMARK_MAIN();

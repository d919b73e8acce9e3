// Nanoseconds per pick. The proxy picks about 200,000 times a second and core, so 100 ns are 2 % of one.
#include <benchmark/benchmark.h>

#include "balance/balance.h"
#include "balance/shared_loads.h"

namespace plimsoll::balance {
namespace {

void run(benchmark::State& state, Policy policy, bool weighted) {
    const auto n = static_cast<std::uint32_t>(state.range(0));
    PoolFacts pool;
    pool.policy = policy;
    std::vector<EndpointState> states(n, {.health = Health::up});
    for (std::uint32_t i = 0; i < n; ++i) pool.members.push_back({EndpointId{i}, weighted ? 1.0 + i % 7 : 1.0});
    pool.table = build_table(policy, pool.members);
    Random random(7);
    Cursor cursor = fresh_cursor(pool, random);
    std::vector<EndpointIndex> open(64, EndpointIndex{0});  // keeps 64 in flight
    std::size_t at = 0;
    Instant now{0};
    for (auto _ : state) {
        now.ns += 5000;
        const auto chosen = pick(pool, states, cursor, {}, now, random, {random.next(), nullptr, {}});
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
void peak_ewma(benchmark::State& state) { run(state, PeakEwma{}, false); }
void prequal(benchmark::State& state) { run(state, Prequal{}, false); }
void maglev(benchmark::State& state) { run(state, Maglev{}, false); }
void maglev_bounded(benchmark::State& state) { run(state, Maglev{1.25}, false); }
void ring_hash(benchmark::State& state) { run(state, RingHash{}, false); }
void rendezvous(benchmark::State& state) { run(state, Rendezvous{}, false); }
BENCHMARK(round_robin)->Arg(4)->Arg(8)->Arg(100)->Arg(1000);
BENCHMARK(least_request)->Arg(4)->Arg(8)->Arg(100)->Arg(1000);
BENCHMARK(least_request_weighted)->Arg(4)->Arg(8)->Arg(100)->Arg(1000);
BENCHMARK(peak_ewma)->Arg(4)->Arg(8)->Arg(100)->Arg(1000);
BENCHMARK(prequal)->Arg(4)->Arg(8)->Arg(100)->Arg(1000);
BENCHMARK(maglev)->Arg(8)->Arg(100)->Arg(1000);
BENCHMARK(maglev_bounded)->Arg(8)->Arg(100)->Arg(1000);
BENCHMARK(ring_hash)->Arg(8)->Arg(100)->Arg(1000);
BENCHMARK(rendezvous)->Arg(8)->Arg(100)->Arg(1000);

void build(benchmark::State& state, const Policy& policy) {
    std::vector<Member> members(static_cast<std::size_t>(state.range(0)));
    for (std::uint32_t i = 0; i < members.size(); ++i) members[i].id = EndpointId{i};
    for (auto _ : state) benchmark::DoNotOptimize(build_table(policy, members));
}
void build_maglev(benchmark::State& state) { build(state, Maglev{}); }
void build_ring(benchmark::State& state) { build(state, RingHash{}); }
BENCHMARK(build_maglev)->Arg(10)->Arg(1000)->Unit(benchmark::kMicrosecond);
BENCHMARK(build_ring)->Arg(10)->Arg(1000)->Unit(benchmark::kMicrosecond);

/// What an attempt's end costs: learning from it.
void learning(benchmark::State& state) {
    PoolFacts pool;
    pool.policy = PeakEwma{};
    EndpointState endpoint;
    const Attempt attempt{.status = 200};
    Instant now{0};
    for (auto _ : state) {
        now.ns += 5000;
        learn(endpoint, pool, attempt, std::chrono::milliseconds(3), 4, now);
    }
}
BENCHMARK(learning);

/// Two counts per request, by threads that send to the same eight endpoints.
void sharing(benchmark::State& state) {
    static SharedLoads loads(8);
    std::uint32_t at = 0;
    for (auto _ : state) {
        const EndpointId id{at++ % 8};
        loads.add(id);
        loads.remove(id);
    }
}
BENCHMARK(sharing)->Threads(1)->Threads(2);

}  // namespace
}  // namespace plimsoll::balance

BENCHMARK_MAIN();

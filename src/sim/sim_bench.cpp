// Simulated requests per second of wall clock on one core: decisions only, one worker of the balancer, 60 % load,
// health probes on. The figure is items_per_second.
#include <benchmark/benchmark.h>

#include "sim/world.h"

namespace plimsoll::sim {
namespace {

config::Config site(std::uint32_t endpoints, config::Policy policy) {
    config::Config config;
    config::Pool pool;
    pool.name = "web";
    pool.policy = policy;
    for (std::uint32_t i = 0; i < endpoints; ++i) {
        config::Endpoint endpoint;
        endpoint.name = "b" + std::to_string(i);
        endpoint.address = {"10.0.0.1", static_cast<std::uint16_t>(8000 + i)};
        endpoint.capacity = 200;
        pool.endpoints.push_back(endpoint);
    }
    config.pools.push_back(pool);
    config.routes.push_back({"all", {}, "web"});
    return config;
}

void run(benchmark::State& state, config::Policy policy) {
    const auto endpoints = static_cast<std::uint32_t>(state.range(0));
    World world({.seed = 7, .model = sized(200, std::chrono::milliseconds(40), 0.5)});
    snapshot::Resident resident;
    resident.active = world.compile(site(endpoints, policy), RevisionNumber{1});
    world.install(std::move(resident));
    world.add_traffic(Poisson{.rate = 120.0 * endpoints, .mix = {Kind{}}, .from = {}});
    std::uint64_t failed = 0;
    for (auto _ : state) {
        world.run_until(world.now() + std::chrono::seconds(1));
        failed += world.take_tally().arms[0].all_routes().failed;
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(world.requests()));
    state.counters["failed"] = static_cast<double>(failed);
    state.counters["events_per_request"] = static_cast<double>(world.events()) / static_cast<double>(world.requests());
}

void round_robin(benchmark::State& state) { run(state, config::Policy::round_robin); }
void least_request(benchmark::State& state) { run(state, config::Policy::least_request); }
BENCHMARK(round_robin)->Arg(8)->Arg(100);
BENCHMARK(least_request)->Arg(8)->Arg(100);

}  // namespace
}  // namespace plimsoll::sim

BENCHMARK_MAIN();

// How long a worker stands still for a revision of 10,000 routes and 10,000 endpoints: installing one that changes a
// weight, one that brings as many new endpoints, going back, and handing over what was counted. The goal is 1 ms.
// Names the fields that matter; the others keep their defaults.
#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "net/memory_network.h"
#include "proxy/prepared.h"
#include "proxy/worker.h"
#include "snapshot/snapshot.h"

namespace plimsoll::proxy {
namespace {

struct Shape {
    std::size_t pools, endpoints;  ///< in all
    config::Policy policy;
};

config::Config site(const Shape& shape, std::size_t first_address, double weight) {
    config::Config c;
    c.listeners.push_back({.name = "web", .address = {"10.9.9.9", 80}});
    for (std::size_t p = 0; p < shape.pools; ++p) {
        config::Pool& pool = c.pools.emplace_back();
        pool.name = "pool" + std::to_string(p);
        pool.policy = shape.policy;
        pool.health.reset();
        for (std::size_t e = 0; e < shape.endpoints / shape.pools; ++e) {
            const std::size_t i = first_address + p * (shape.endpoints / shape.pools) + e;
            config::Endpoint& endpoint = pool.endpoints.emplace_back();
            endpoint.address = {
                "10." + std::to_string(i >> 16) + "." + std::to_string((i >> 8) & 255) + "." + std::to_string(i & 255),
                8080};
            endpoint.name = config::text(endpoint.address);
            endpoint.weight = e == 0 ? weight : 1;
        }
    }
    for (std::size_t r = 0; r < 10'000; ++r) {
        config::Route& route = c.routes.emplace_back();
        route.name = "r" + std::to_string(r);
        route.match.host = "host-" + std::to_string(r) + ".example.com";
        route.pool = "pool" + std::to_string(r % shape.pools);
    }
    return c;
}

/// Installs and collects in turn; the time of the worst turn and of the mean one. A revision is not held by anybody but
/// the worker once it has been replaced, as with control.
void install(benchmark::State& state, bool new_endpoints) {
    const Shape shape{static_cast<std::size_t>(state.range(0)), 10'000,
                      state.range(1) != 0 ? config::Policy::round_robin : config::Policy::peak_ewma};
    snapshot::Identities identities;
    double worst_install = 0, worst_collect = 0, total = 0;
    std::uint64_t revision = 1;
    const auto timed = [](auto&& work, double& worst) {
        const auto began = std::chrono::steady_clock::now();
        work();
        const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
        worst = std::max(worst, took);
        return took;
    };
    std::size_t rounds = 0;
    for (auto _ : state) {
        net::MemoryNetwork network;
        Worker worker(network, {.hash_key = 7, .seed = 1, .log_sink = [](std::string_view) {}});
        const auto next = [&](std::size_t first, double weight) {
            auto compiled = snapshot::compile(site(shape, first, weight), RevisionNumber{revision++}, identities, 1);
            return prepare(std::move(compiled));
        };
        (void)worker.install({.active = next(0, 1)->snapshot});
        for (int i = 0; i < 6; ++i) {
            auto prepared = new_endpoints && i == 0 ? next(10'000, 1) : next(0, 1.0 + i % 2);
            snapshot::Resident resident{.active = prepared->snapshot};
            total += timed([&] { (void)worker.install(std::move(resident), std::move(prepared)); }, worst_install);
            Report report;
            timed([&] { report = worker.collect(); }, worst_collect);
            ++rounds;
        }
    }
    state.counters["install_us"] = 1e6 * total / static_cast<double>(rounds);
    state.counters["worst_install_us"] = 1e6 * worst_install;
    state.counters["worst_collect_us"] = 1e6 * worst_collect;
}
void install_a_weight(benchmark::State& state) { install(state, false); }
void install_new_endpoints(benchmark::State& state) { install(state, true); }
BENCHMARK(install_a_weight)
    ->ArgNames({"pools", "round_robin"})
    ->ArgsProduct({{1, 100, 10'000}, {0, 1}})
    ->Unit(benchmark::kMillisecond);
BENCHMARK(install_new_endpoints)
    ->ArgNames({"pools", "round_robin"})
    ->ArgsProduct({{1, 100, 10'000}, {0, 1}})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace plimsoll::proxy

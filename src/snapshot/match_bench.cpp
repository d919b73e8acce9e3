// What finding the route costs with up to 10,000 hosts of ten routes each, what compiling such tables costs, and what
// they weigh.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {
namespace {

config::Pool pool_of(std::size_t endpoints, config::Policy policy = config::Policy::least_request) {
    config::Pool pool;
    pool.name = "web";
    pool.policy = policy;
    for (std::size_t i = 0; i < endpoints; ++i) {
        config::Endpoint endpoint;
        endpoint.address = {
            "10." + std::to_string(i >> 16) + "." + std::to_string((i >> 8) & 255) + "." + std::to_string(i & 255),
            8080};
        endpoint.name = text(endpoint.address);
        pool.endpoints.push_back(endpoint);
    }
    return pool;
}

std::string host(std::size_t i) { return "host-" + std::to_string(i) + ".example.com"; }

/// Ten routes a host, each with another prefix; the last one takes the rest.
config::Config site(std::size_t hosts, std::size_t routes_per_host, std::size_t endpoints) {
    config::Config c;
    c.pools.push_back(pool_of(endpoints));
    for (std::size_t i = 0; i < hosts; ++i) {
        for (std::size_t k = 0; k < routes_per_host; ++k) {
            config::Route& route = c.routes.emplace_back();
            route.name = "r" + std::to_string(i) + "-" + std::to_string(k);
            route.match.host = host(i);
            route.match.path_prefix = k + 1 == routes_per_host ? "/" : "/service-" + std::to_string(k) + "/v1";
            route.pool = "web";
        }
    }
    return c;
}

std::size_t in_use() { return mallinfo2().uordblks + mallinfo2().hblkhd; }

/// The request that costs most: the longest prefix of the last but one route, or none of them.
void match(benchmark::State& state) {
    const auto hosts = static_cast<std::size_t>(state.range(0));
    const config::Config c = site(hosts, 10, 1);
    Identities ids;
    const auto snapshot = compile(c, RevisionNumber{1}, ids, 1);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < hosts; ++i) names.push_back(host(i));
    std::size_t i = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(snapshot->match(names[i], i % 2 == 0 ? "/service-8/v1/items/4711" : "/index.html"));
        i = (i + 7919) % hosts;
    }
}
BENCHMARK(match)->Arg(1)->Arg(100)->Arg(10'000);

/// Names of 30 labels against a table of wildcards: one lookup a label, as far as some wildcard goes.
void match_wildcards(benchmark::State& state) {
    config::Config c = site(10'000, 1, 1);
    for (config::Route& route : c.routes) route.match.host = "*." + *route.match.host;
    Identities ids;
    const auto snapshot = compile(c, RevisionNumber{1}, ids, 1);
    std::string deep;
    for (int i = 0; i < 27; ++i) deep += "a.";
    std::size_t i = 0;
    for (auto _ : state) {
        state.PauseTiming();
        const std::string name = deep + host(i);
        state.ResumeTiming();
        benchmark::DoNotOptimize(snapshot->match(name, "/index.html"));
        i = (i + 7919) % 10'000;
    }
}
BENCHMARK(match_wildcards);

/// One host whose routes differ by header only: these are asked one after the other.
void match_headers(benchmark::State& state) {
    config::Config c = site(1, static_cast<std::size_t>(state.range(0)), 1);
    for (config::Route& route : c.routes) {
        route.match.path_prefix = "/";
        route.match.headers.push_back({"x-tenant", route.name, {}, false});
    }
    Identities ids;
    const auto snapshot = compile(c, RevisionNumber{1}, ids, 1);
    const std::string last = c.routes.back().name;
    const HeaderLookup headers(last, [](const std::string& value, std::string_view, ValueSink sink) { sink(value); });
    const std::string name = host(0);
    const RequestView request{"web", "http", name, "/", "", "GET", &headers};
    for (auto _ : state) benchmark::DoNotOptimize(snapshot->match(request));
}
BENCHMARK(match_headers)->Arg(10)->Arg(1000);

/// The same with regular expressions over the path.
void match_regexes(benchmark::State& state) {
    config::Config c = site(1, static_cast<std::size_t>(state.range(0)), 1);
    for (config::Route& route : c.routes) {
        route.match.path_prefix.reset();
        route.match.path_regex = "/" + route.name + "/[0-9]+(/.*)?";
    }
    Identities ids;
    const auto snapshot = compile(c, RevisionNumber{1}, ids, 1);
    const std::string path = "/" + c.routes.back().name + "/4711/items";
    const std::string name = host(0);
    for (auto _ : state) benchmark::DoNotOptimize(snapshot->match(name, path));
}
BENCHMARK(match_regexes)->Arg(1)->Arg(10)->Arg(100);

/// hosts x routes, endpoints; the second time, as for every change.
void compile_site(benchmark::State& state) {
    const config::Config c = site(static_cast<std::size_t>(state.range(0)), static_cast<std::size_t>(state.range(1)),
                                  static_cast<std::size_t>(state.range(2)));
    Identities ids;
    auto previous = compile(c, RevisionNumber{1}, ids, 1);
    for (auto _ : state) {
        const auto made = compile(c, RevisionNumber{2}, ids, 1, previous.get());
        benchmark::DoNotOptimize(made->routes.size());
    }
    previous.reset();
    const std::size_t before = in_use();
    previous = compile(c, RevisionNumber{3}, ids, 1);
    state.counters["bytes"] = static_cast<double>(in_use() - before);
    state.counters["bytes/route"] = static_cast<double>(in_use() - before) / static_cast<double>(c.routes.size());
}
BENCHMARK(compile_site)
    ->Args({1, 1, 10'000})
    ->Args({10'000, 1, 1})
    ->Args({10'000, 1, 10'000})
    ->Args({10'000, 10, 1})
    ->Unit(benchmark::kMillisecond);

/// From nothing, with new identities: as at start.
void compile_cold(benchmark::State& state) {
    const config::Config c = site(10'000, 1, 10'000);
    for (auto _ : state) {
        Identities ids;
        benchmark::DoNotOptimize(compile(c, RevisionNumber{1}, ids, 1)->routes.size());
    }
}
BENCHMARK(compile_cold)->Unit(benchmark::kMillisecond);

/// The config's digest, which is part of compiling.
void digest(benchmark::State& state) {
    const config::Config c = site(10'000, 1, 10'000);
    for (auto _ : state) benchmark::DoNotOptimize(config::digest(c));
}
BENCHMARK(digest)->Unit(benchmark::kMillisecond);

/// A change of one route beside 50 Maglev pools of 100 endpoints: with and without the tables of the revision before.
void compile_tables(benchmark::State& state) {
    config::Config c = site(1, 1, 1);
    for (int i = 0; i < 50; ++i) {
        c.pools.push_back(pool_of(100, config::Policy::maglev));
        c.pools.back().name = "pool" + std::to_string(i);
    }
    Identities ids;
    const auto previous = compile(c, RevisionNumber{1}, ids, 1);
    for (auto _ : state) {
        benchmark::DoNotOptimize(
            compile(c, RevisionNumber{2}, ids, 1, state.range(0) == 1 ? previous.get() : nullptr)->pools.size());
    }
}
BENCHMARK(compile_tables)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

// ---- what a worker does when it is handed a revision of 10,000 endpoints -------------------------------------------

void install_carry_cursor(benchmark::State& state) {
    const config::Config c = site(1, 1, 10'000);
    Identities ids;
    const auto made = compile(c, RevisionNumber{1}, ids, 1);
    const balance::PoolFacts& facts = made->pools[0].facts;
    Random random(1);
    const balance::Cursor cursor = balance::fresh_cursor(facts, random);
    for (auto _ : state) benchmark::DoNotOptimize(balance::carry_over(cursor, facts.members, facts.members));
}
BENCHMARK(install_carry_cursor)->Unit(benchmark::kMicrosecond);

/// State for 10,000 endpoints that were not there before.
void install_endpoint_states(benchmark::State& state) {
    for (auto _ : state) {
        std::vector<balance::EndpointState> states;
        states.resize(10'000);
        benchmark::DoNotOptimize(states.data());
    }
    state.counters["bytes/endpoint"] = sizeof(balance::EndpointState);
}
BENCHMARK(install_endpoint_states)->Unit(benchmark::kMicrosecond);

/// The last holder of a snapshot frees it: that should be control, not a worker.
void install_free_the_old(benchmark::State& state) {
    const config::Config c = site(10'000, 1, 10'000);
    Identities ids;
    for (auto _ : state) {
        state.PauseTiming();
        auto made = compile(c, RevisionNumber{1}, ids, 1);
        state.ResumeTiming();
        made.reset();
    }
}
BENCHMARK(install_free_the_old)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace plimsoll::snapshot

BENCHMARK_MAIN();

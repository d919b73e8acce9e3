// What finding the route costs: 1, 100 and 10,000 hosts, one route each.
#include <benchmark/benchmark.h>

#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {
namespace {

void match(benchmark::State& state) {
    const auto hosts = static_cast<std::size_t>(state.range(0));
    config::Config c;
    c.pools.resize(1);
    c.pools[0].name = "web";
    std::vector<std::string> names;
    for (std::size_t i = 0; i < hosts; ++i) {
        names.push_back("host-" + std::to_string(i) + ".example.com");
        c.routes.push_back({"r" + std::to_string(i), {names.back(), {}, "/"}, "web"});
    }
    Identities ids;
    const auto snapshot = compile(c, RevisionNumber{1}, ids, 1);
    std::size_t i = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(snapshot->match(names[i], "/index.html"));
        i = (i + 7919) % hosts;
    }
}
BENCHMARK(match)->Arg(1)->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace plimsoll::snapshot

BENCHMARK_MAIN();

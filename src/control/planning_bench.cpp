// What a plan costs: reading the recording of a busy site (15,000 requests/s for two minutes, 40 routes, 12 servers)
// and the forecast of a change of weight; with everybody up, and with one server down, when everything is done twice.
// Names the fields that matter; the others keep their defaults.
#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/random.h"
#include "control/planning.h"
#include "control/recorder.h"

namespace plimsoll::control {
namespace {

constexpr int seconds_recorded = 120;
constexpr int rate = 15'000;

config::Config site(double weight) {
    config::Config c;
    c.listeners.push_back({.name = "web", .address = {"10.9.9.9", 80}});
    for (int p = 0; p < 4; ++p) {
        config::Pool& pool = c.pools.emplace_back();
        pool.name = "pool" + std::to_string(p);
        pool.health.reset();
        for (int e = 0; e < 3; ++e) {
            config::Endpoint& endpoint = pool.endpoints.emplace_back();
            endpoint.address = {"10.0.0." + std::to_string(3 * p + e), 8080};
            endpoint.name = "b" + std::to_string(3 * p + e);
            endpoint.capacity = 3000;
            endpoint.weight = e == 0 ? weight : 1;
        }
    }
    for (int r = 0; r < 40; ++r) {
        config::Route& route = c.routes.emplace_back();
        route.name = "r" + std::to_string(r);
        route.match.path_prefix = "/service-" + std::to_string(r);
        route.pool = "pool" + std::to_string(r % 4);
    }
    return c;
}

/// A directory with the recording; made once.
const std::vector<std::string>& recorded() {
    static const std::vector<std::string> segments = [] {
        const std::string dir = std::filesystem::temp_directory_path() / "plimsoll-planning-bench";
        std::filesystem::remove_all(dir);
        Recorder recorder(dir, {});
        Random random(1);
        for (int s = 0; s < seconds_recorded; ++s) {
            std::vector<Recorder::Timed> all;
            const Timestamp second{(1'000'000LL + s) * 1'000'000'000};
            for (int i = 0; i < rate; ++i) {
                Recorder::Timed& one = all.emplace_back();
                one.at = second + from_seconds(static_cast<double>(i) / rate);
                recording::Record& record = one.record;
                record.client_key = random.below(100'000);
                record.host = "www.example.com";
                record.path = "/service-" + std::to_string(random.below(40)) + "/items/" +
                              std::to_string(random.below(random.chance(0.9) ? 25 : 5000));
                record.method = "GET";
                record.endpoint = "b" + std::to_string(random.below(12));
                record.request_head_bytes = 300;
                record.response_body_bytes = 2000;
                record.status = 200;
                record.service = from_seconds(random.lognormal(0.0005, 0.5));
                record.total = record.service;
                record.listener = "web";
            }
            recorder.add(std::move(all), second);
            recorder.flush(second + std::chrono::seconds(1));
        }
        return recorder.segments();
    }();
    return segments;
}

void read(benchmark::State& state) {
    const std::vector<std::string>& segments = recorded();
    std::size_t records = 0;
    for (auto _ : state) records = load(segments).records.size();
    state.counters["records"] = static_cast<double>(records);
}
BENCHMARK(read)->Unit(benchmark::kMillisecond);

void plan(benchmark::State& state) {
    PlanRequest request;
    request.segments = recorded();
    request.active = site(1);
    request.text = config::print(site(2));
    request.file = "new.yaml";
    request.base_name = "r1";
    request.peak_rate = rate;
    if (state.range(0) != 0) request.out.push_back({"pool1", {"10.0.0.3", 8080}, "down"});
    for (auto _ : state) {
        const Planned planned = make_planned(request);
        if (!planned.document || planned.plan.forecast.faults.size() < 5) {
            state.SkipWithError("no forecast");
            break;
        }
    }
}
BENCHMARK(plan)->ArgName("down")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace plimsoll::control

BENCHMARK_MAIN();

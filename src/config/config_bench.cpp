// What reading, printing, digesting and comparing a large configuration costs: 10,000 routes over 1,000 pools with
// 10,000 endpoints. `config_bench --benchmark_min_time=1s`.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

#include "config/config.h"

namespace plimsoll::config {
namespace {

std::string large() {
    std::string out = "listeners: {web: {address: 127.0.0.1:8080}}\nroutes:\n";
    for (int i = 0; i < 10'000; ++i) {
        const std::string n = std::to_string(i);
        out += "  - name: r" + n + "\n    match: {host: h" + n + ".example.com, path_prefix: /api}\n    pool: p" +
               std::to_string(i % 1000) + "\n";
    }
    out += "pools:\n";
    for (int p = 0; p < 1000; ++p) {
        out += "  p" + std::to_string(p) + ":\n    endpoints:\n";
        for (int e = 0; e < 10; ++e) {
            const int n = p * 10 + e;
            out += "      - {name: e" + std::to_string(n) + ", address: 10.0." + std::to_string(n / 250) + "." +
                   std::to_string(n % 250 + 1) + ":80, capacity: 200}\n";
        }
    }
    return out;
}

const std::string& text_of_large() {
    static const std::string text = large();
    return text;
}
const Document& document_of_large() {
    static const Document document = [] {
        Parsed parsed = parse(text_of_large(), "large.yaml");
        if (!parsed.document) std::abort();
        return std::move(*parsed.document);
    }();
    return document;
}

void parse_large(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(parse(text_of_large(), "large.yaml"));
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text_of_large().size()));
}
void print_large(benchmark::State& state) {
    const Document& document = document_of_large();
    for (auto _ : state) benchmark::DoNotOptimize(print(document.config));
    state.counters["bytes"] = static_cast<double>(print(document.config).size());
}
void parse_printed_large(benchmark::State& state) {
    const std::string text = print(document_of_large().config);
    for (auto _ : state) benchmark::DoNotOptimize(parse(text, "printed.yaml"));
}
void digest_large(benchmark::State& state) {
    const Document& document = document_of_large();
    for (auto _ : state) benchmark::DoNotOptimize(digest(document.config));
}
void diff_large(benchmark::State& state) {
    const Document& document = document_of_large();
    Config before = document.config;
    before.pools[17].endpoints[3].weight = 2;
    for (auto _ : state) benchmark::DoNotOptimize(diff(before, document));
}

BENCHMARK(parse_large)->Unit(benchmark::kMillisecond);
BENCHMARK(print_large)->Unit(benchmark::kMillisecond);
BENCHMARK(parse_printed_large)->Unit(benchmark::kMillisecond);
BENCHMARK(digest_large)->Unit(benchmark::kMillisecond);
BENCHMARK(diff_large)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace plimsoll::config

BENCHMARK_MAIN();

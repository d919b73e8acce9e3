// A recording summed up.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "base/hash.h"
#include "check/forecast.h"

namespace plimsoll::check {

namespace {

/// The smallest value that at most a (1 - q) part exceeds. Reorders `values`; 0 when empty.
template <class T>
T quantile(std::vector<T>& values, double q) {
    if (values.empty()) return T{};
    const auto rank = std::min(values.size() - 1, static_cast<std::size_t>(q * static_cast<double>(values.size())));
    std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(rank));
    return values[rank];
}

Duration mean(const std::vector<Duration>& values) {
    double sum = 0;
    for (const Duration d : values) sum += static_cast<double>(d.count());
    return values.empty() ? Duration{} : Duration{static_cast<std::int64_t>(sum / static_cast<double>(values.size()))};
}

struct Class {
    RequestClass known;
    std::vector<Duration> services;
};

/// What of a request can decide where it goes; lists of conditions are told apart by a hash of them.
std::string key(const recording::Record& record) {
    std::uint64_t asked = 0;
    for (const std::uint64_t digest : record.answers.digests()) asked = keyed_hash(digest, asked);
    return fmt::format("{}\n{}\n{}\n{:x}\n{:x}", record.host, record.path, record.listener, asked, record.answers.held);
}

/// Below this many answers a 99th percentile is one or two requests.
constexpr std::size_t enough_for_p99 = 100;
constexpr std::size_t enough_for_p999 = 1000;

}  // namespace

Traffic summarise(const recording::Recording& recording, double peak_rate) {
    Traffic out;
    std::unordered_map<std::string, Class> classes;
    std::vector<Duration> services;
    std::vector<std::uint64_t> heads, bodies;
    for (const auto& record : recording.records) {
        Class& c = classes[key(record)];
        if (c.known.requests++ == 0) {
            c.known.host = record.host;
            c.known.path = record.path;
            c.known.method = record.method;
            c.known.listener = record.listener;
            c.known.answers = record.answers;
        }
        if (record.service.count() > 0) {
            c.services.push_back(record.service);
            services.push_back(record.service);
        }
        if (record.request_head_bytes > 0) heads.push_back(record.request_head_bytes);
        bodies.push_back(record.request_body_bytes);
    }
    out.requests = recording.records.size();
    out.every = recording.every;
    out.span = recording.span();
    out.peak_rate = peak_rate > 0 ? peak_rate : recording::peak_rate(recording);
    out.service_mean = mean(services);
    if (services.size() >= enough_for_p999) out.service_p999 = quantile(services, 0.999);
    if (heads.size() >= enough_for_p999) out.head_bytes_p999 = quantile(heads, 0.999);
    if (bodies.size() >= enough_for_p999) out.body_bytes_p999 = quantile(bodies, 0.999);
    std::vector<RequestClass*> order;  // a class is large, and there may be as many as paths
    order.reserve(classes.size());
    for (auto& [key, c] : classes) {
        c.known.service_mean = mean(c.services);
        if (c.services.size() >= enough_for_p99) c.known.service_p99 = quantile(c.services, 0.99);
        order.push_back(&c.known);
    }
    std::ranges::sort(order, [](const RequestClass* a, const RequestClass* b) {
        return std::tie(b->requests, a->host, a->path, a->listener, a->answers.held) <
               std::tie(a->requests, b->host, b->path, b->listener, b->answers.held);
    });
    out.mix.reserve(order.size());
    for (RequestClass* one : order) out.mix.push_back(std::move(*one));
    return out;
}

}  // namespace plimsoll::check

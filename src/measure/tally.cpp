#include "measure/tally.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace plimsoll::measure {
namespace {

constexpr int first_octave = 14;  // 2^14 ns
constexpr int octaves = 23;

/// round(2^14 * 2^(s/8)): the eight borders of the first octave; those of octave k are these shifted by k - 14.
constexpr std::array<std::uint64_t, 8> step = {16384, 17867, 19484, 21247, 23170, 25268, 27554, 30048};

void saturating_add(std::uint32_t& to, std::uint64_t n) {
    const std::uint64_t sum = to + n;
    to = sum > UINT32_MAX ? UINT32_MAX : static_cast<std::uint32_t>(sum);
}

template <class T, std::size_t size>
void add_each(std::array<T, size>& to, const std::array<T, size>& from) {
    for (std::size_t i = 0; i < size; ++i) to[i] += from[i];
}

void fold_attempt(EndpointTally& endpoint, const Attempt& attempt) {
    ++endpoint.attempts;
    switch (attempt.cause) {
        case Cause::connect_refused:
        case Cause::connect_failed:
        case Cause::connect_timeout:
        case Cause::upstream_tls: ++endpoint.connect_failures; break;
        case Cause::upstream_reset:
        case Cause::upstream_protocol:
        case Cause::upstream_truncated:
        case Cause::upstream_idle: ++endpoint.resets; break;
        case Cause::try_timeout: ++endpoint.timeouts; break;
        default:
            if (attempt.status >= 500) ++endpoint.status_5xx;
            break;
    }
    if (attempt.status != 0) endpoint.first_byte.add(attempt.first_byte);
}

}  // namespace

std::size_t Histogram::bucket(Duration d) {
    if (d.count() < static_cast<std::int64_t>(step[0])) return 0;
    const auto ns = static_cast<std::uint64_t>(d.count());
    const int octave = static_cast<int>(std::bit_width(ns)) - 1 - first_octave;
    if (octave >= octaves) return buckets - 1;
    const std::uint64_t scaled = ns >> octave;  // in [2^14, 2^15); floor keeps comparisons with integers exact
    std::size_t within = 0;
    for (std::size_t s = 1; s < step.size(); ++s) within += scaled >= step[s] ? 1u : 0u;
    return 1u + static_cast<std::size_t>(octave) * 8u + within;
}

Duration Histogram::border(std::size_t bucket) {
    if (bucket == 0) return Duration{0};
    const std::size_t k = std::min(bucket, buckets - 1) - 1;
    return Duration{static_cast<std::int64_t>(step[k % 8] << (k / 8))};
}

void Histogram::count_in(std::size_t bucket, std::uint64_t times) {
    const std::uint64_t sum = counts_[bucket] + times;
    counts_[bucket] = static_cast<std::uint32_t>(sum);
    if (sum <= UINT32_MAX) return;
    if (carried_.empty()) carried_.resize(buckets);
    carried_[bucket] += static_cast<std::uint32_t>(sum >> 32);
}

void Histogram::add(Duration d, std::uint32_t times) {
    count_in(bucket(d), times);
    sum_ns_ += static_cast<std::uint64_t>(std::max<std::int64_t>(d.count(), 0)) * times;
}

void Histogram::add(const Histogram& other) {
    for (std::size_t i = 0; i < buckets; ++i) count_in(i, other.in(i));
    sum_ns_ += other.sum_ns_;
}

std::uint64_t Histogram::count() const { return at_least(0); }

std::uint64_t Histogram::at_least(std::size_t bucket) const {
    std::uint64_t sum = 0;
    for (std::size_t i = bucket; i < buckets; ++i) sum += in(i);
    return sum;
}

Duration Histogram::quantile(double q) const {
    const std::uint64_t all = count();
    if (all == 0) return Duration{0};
    const double allowed = (1.0 - q) * static_cast<double>(all);
    std::uint64_t above = 0;
    for (std::size_t i = buckets; i-- > 0;) {
        above += in(i);
        if (static_cast<double>(above) > allowed) return border(std::min(i + 1, buckets - 1));
    }
    return Duration{0};
}

RouteTally& RouteTally::operator+=(const RouteTally& other) {
    requests += other.requests;
    failed += other.failed;
    status_4xx += other.status_4xx;
    status_429 += other.status_429;
    status_3xx += other.status_3xx;
    no_endpoint += other.no_endpoint;
    retried += other.retried;
    client_gone += other.client_gone;
    rate_limited += other.rate_limited;
    total.add(other.total);
    waiting.add(other.waiting);
    return *this;
}

EndpointTally& EndpointTally::operator+=(const EndpointTally& other) {
    picks += other.picks;
    attempts += other.attempts;
    connect_failures += other.connect_failures;
    resets += other.resets;
    timeouts += other.timeouts;
    status_5xx += other.status_5xx;
    panic_picks += other.panic_picks;
    saturating_add(in_flight, other.in_flight);
    first_byte.add(other.first_byte);
    return *this;
}

ShadowTally& ShadowTally::operator+=(const ShadowTally& other) {
    decisions += other.decisions;
    no_route += other.no_route;
    no_endpoint += other.no_endpoint;
    route_changed += other.route_changed;
    pool_changed += other.pool_changed;
    active_no_route += other.active_no_route;
    picks += other.picks;
    active_picks += other.active_picks;
    return *this;
}

ArmTally& ArmTally::operator+=(const ArmTally& other) {
    routes += other.routes;
    unmatched += other.unmatched;
    endpoints += other.endpoints;
    return *this;
}

RouteTally ArmTally::all_routes() const {
    RouteTally sum = unmatched;
    for (const auto& [id, route] : routes) sum += route;
    return sum;
}

Http2Tally& Http2Tally::operator+=(const Http2Tally& other) {
    streams += other.streams;
    refused += other.refused;
    malformed += other.malformed;
    too_large += other.too_large;
    resets_received += other.resets_received;
    resets_sent += other.resets_sent;
    goaways_received += other.goaways_received;
    goaways_sent += other.goaways_sent;
    add_each(floods, other.floods);
    return *this;
}

Tally& Tally::operator+=(const Tally& other) {
    const bool empty = from == Instant{} && to == Instant{};
    const bool other_empty = other.from == Instant{} && other.to == Instant{};
    if (!other_empty) {
        from = empty ? other.from : std::min(from, other.from);
        to = empty ? other.to : std::max(to, other.to);
    }
    for (std::size_t i = 0; i < arms.size(); ++i) arms[i] += other.arms[i];
    shadow += other.shadow;
    connections_accepted += other.connections_accepted;
    connections_refused += other.connections_refused;
    handshakes += other.handshakes;
    handshake_failures += other.handshake_failures;
    proxy_headers_refused += other.proxy_headers_refused;
    http2_floods += other.http2_floods;
    mirrored += other.mirrored;
    mirrors_skipped += other.mirrors_skipped;
    recording_dropped += other.recording_dropped;
    log_dropped += other.log_dropped;
    spans_dropped += other.spans_dropped;
    add_each(spoken, other.spoken);
    add_each(causes, other.causes);
    add_each(attempt_causes, other.attempt_causes);
    add_each(auth, other.auth);
    http2_clients += other.http2_clients;
    http2_upstream += other.http2_upstream;
    queue_waiting += other.queue_waiting;
    tunnels += other.tunnels;
    mirrors += other.mirrors;
    return *this;
}

namespace {

/// Attempts at an auth server are attempts at its endpoints, but no decisions about where requests go: `picks` stays.
void fold_auth(Tally& tally, ArmTally& arm, const AuthOutcome& auth) {
    ++tally.auth[static_cast<std::size_t>(auth.verdict)];
    for (const Attempt& attempt : auth.attempts()) {
        ++tally.attempt_causes[static_cast<std::size_t>(attempt.cause)];
        fold_attempt(arm.endpoints[attempt.endpoint.value], attempt);
    }
}

}  // namespace

void fold(Tally& tally, const Outcome& outcome) {
    ArmTally& arm = tally.arms[static_cast<std::size_t>(outcome.arm)];
    RouteTally& route = arm.route(outcome.route);
    ++route.requests;
    if (outcome.failed()) ++route.failed;
    if (outcome.status == 429)
        ++route.status_429;
    else if (outcome.status >= 400 && outcome.status < 500)
        ++route.status_4xx;
    else if (outcome.status >= 300 && outcome.status < 400)
        ++route.status_3xx;
    if (outcome.cause == Cause::no_endpoint) ++route.no_endpoint;
    if (outcome.cause == Cause::rate_limited) ++route.rate_limited;
    ++tally.causes[static_cast<std::size_t>(outcome.cause)];
    ++tally.spoken[static_cast<std::size_t>(outcome.spoken)];
    if (outcome.attempt_count > 1) ++route.retried;
    if (outcome.cause == Cause::client_closed || outcome.cause == Cause::client_timeout) ++route.client_gone;
    if (outcome.status != 0) route.total.add(outcome.first_byte);
    if (outcome.auth != nullptr) fold_auth(tally, arm, *outcome.auth);
    bool first = true;
    for (const Attempt& attempt : outcome.attempts()) {
        ++tally.attempt_causes[static_cast<std::size_t>(attempt.cause)];
        if (attempt.endpoint == none<EndpointId>) continue;
        EndpointTally& endpoint = arm.endpoints[attempt.endpoint.value];
        if (std::exchange(first, false)) ++endpoint.picks;
        fold_attempt(endpoint, attempt);
    }
}

void extend(Tally& sum, const Tally& later) {
    sum.queue_waiting = sum.tunnels = sum.mirrors = 0;
    for (ArmTally& arm : sum.arms) {
        for (auto& [id, route] : arm.routes) route.waiting = Histogram{};
        arm.unmatched.waiting = Histogram{};
        for (auto& [id, endpoint] : arm.endpoints) endpoint.in_flight = 0;
    }
    sum += later;
}

}  // namespace plimsoll::measure

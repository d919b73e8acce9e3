// What a request must pass before an endpoint is chosen for it: its first bytes, a route, tunnels that are allowed,
// rate limits, the route's auth server, faults on purpose; and answers that a route gives by itself.
#include <algorithm>

#include "base/hash.h"
#include "proxy/exchange.h"
#include "proxy/grpc_timeout.h"
#include "proxy/trace_context.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

namespace {

/// Gives rules the lines of a head.
constexpr auto each_line = [](const http::Fields& fields, std::string_view name, snapshot::ValueSink sink) {
    for (const http::Header header : fields) {
        if (http::equal_ignoring_case(header.name, name) && !sink(header.value)) return;
    }
};

}  // namespace

void Exchange::begin() {
    const snapshot::Snapshot& snapshot = *pinned_->slot().snapshot;
    core_.revisions.started(snapshot.revision, core_.now());
    asker_text_ = asker_.address == client_.peer ? client_.address : asker_.address.host();
    outcome_.revision = snapshot.revision;
    outcome_.arm = arm_;
    outcome_.worker = core_.settings.index;
    outcome_.request_head_bytes = static_cast<std::uint32_t>(head_.bytes);
    outcome_.client_key = keyed_hash(asker_.address.host_bytes(), core_.settings.hash_key);
    outcome_.affinity_key = request_key_;
    outcome_.spoken = down_.version() == http::Version::http2 ? Spoken::http2 : Spoken::http1;
    outcome_.tls = std::exchange(client_.handshake, Duration{});
    outcome_.method = head_.method_text();
    outcome_.host = head_.authority();
    outcome_.path = head_.path();
    outcome_.client = asker_text_;
    outcome_.listener = client_.slot->name;
    set_request_id();
    if (snapshot.tracing) {
        const TraceContext context = trace_context(head_.fields, core_.random, snapshot.tracing->sample);
        outcome_.trace = context.trace;
        keep_tracestate_ = context.keep_state;
    }
    if (down_.version() == http::Version::http2) {
        grpc_timeout_ = parse_grpc_timeout(head_.fields.get("grpc-timeout"));
    }
}

void Exchange::set_request_id() {
    outcome_.request_id = head_.fields.get(http::Known::x_request_id);
    if (is_sane_request_id(outcome_.request_id)) return;
    static constexpr char hex[] = "0123456789abcdef";
    for (std::size_t i = 0; i < id_.size(); i += 16) {
        std::uint64_t bits = core_.random.next();
        for (std::size_t k = 0; k < 16; ++k, bits >>= 4) id_[i + k] = hex[bits & 15];
    }
    outcome_.request_id = {id_.data(), id_.size()};
}

Task<Cause> Exchange::admit() {
    if (core_.sheds()) {
        ++core_.settings.shed->requests_refused;
        co_return Cause::overloaded;
    }
    if (const Cause cause = take_body_start(); cause != Cause::none) co_return cause;
    if (const Cause cause = find_route(); cause != Cause::none) co_return cause;
    if (const Cause cause = check_protocol(); cause != Cause::none) co_return cause;
    if (const Cause cause = check_rate(); cause != Cause::none) co_return cause;
    if (const Cause cause = co_await authorise(); cause != Cause::none) co_return cause;
    if (const Cause cause = co_await inject_fault(); cause != Cause::none) co_return cause;
    if (route_->targets.empty()) co_return answer_of_route();
    if (const Cause cause = rewrite(); cause != Cause::none) co_return cause;
    choose_pool();
    co_return Cause::none;
}

bool Exchange::over_limit() const {
    const std::uint64_t most = listener().limits.max_body_bytes;
    return most != 0 && std::max(outcome_.request_body_bytes, head_.framing.length) > most;
}

Cause Exchange::take_body_start() {
    const bool opens_tunnel = head_.method == http::Method::connect;
    if (!opens_tunnel) {
        first_ = down_.take();
        body_ended_ = first_.ended;
        outcome_.request_body_bytes = first_.data.size();
        if (first_.refusal.status != 0) {
            own_.status = first_.refusal.status;
            own_.reason = first_.refusal.reason;
            return Cause::bad_request;
        }
    }
    if (over_limit()) {
        own_.status = 413;
        own_.reason = "the request's body is larger than this listener takes";
        return Cause::bad_request;
    }
    return Cause::none;
}

Cause Exchange::find_route() {
    const snapshot::Snapshot& snapshot = *pinned_->slot().snapshot;
    const snapshot::HeaderLookup lines(head_.fields, each_line);
    const snapshot::RequestView request{.listener = listener().name,
                                        .scheme = client_.tls != nullptr ? "https" : "http",
                                        .host = head_.authority(),
                                        .path = head_.path(),
                                        .query = head_.query(),
                                        .method = head_.method_text(),
                                        .headers = &lines};
    if (!core_.questions.empty()) answers_ = {core_.questions.digests(), core_.questions.ask(request)};
    if (const auto index = snapshot.match(request)) {
        route_ = &snapshot.route(*index);
        outcome_.route = route_->id;
        if (actions().redirect) {
            if (auto to = snapshot::location(*actions().redirect, request)) own_.location = std::move(*to);
        }
    }
    if (core_.shadowing(arm_)) {
        const snapshot::Pool* pool =
            route_ != nullptr && route_->pool != none<PoolIndex> ? &snapshot.pool(route_->pool) : nullptr;
        core_.shadow(request, route_, pool);
    }
    return route_ != nullptr ? Cause::none : Cause::no_route;
}

/// Tunnels only where the route opens them; a TLS connection only for hosts that its certificate was chosen for.
Cause Exchange::check_protocol() {
    if (client_.tls != nullptr && !client_.tls->sni.empty() &&
        client_.tls_context->certificate_for(without_port(head_.authority())) != client_.tls->certificate) {
        return Cause::misdirected;
    }
    const std::string_view protocol = head_.protocol();
    if (head_.method == http::Method::connect && protocol.empty()) {
        if (actions().connect) return Cause::none;
        own_.reason = "this route opens no tunnel for CONNECT";
        return Cause::not_allowed;
    }
    if (protocol.empty()) return Cause::none;
    if (actions().upgrades_to(protocol)) {
        upgrade_to_ = protocol;
    } else if (head_.method == http::Method::connect) {
        own_.status = 501;  // RFC 8441 section 5
        return Cause::not_allowed;
    }
    return Cause::none;  // an Upgrade that is not taken up is left out of what is forwarded (RFC 9110 7.8)
}

Cause Exchange::check_rate() {
    const auto& limits = actions().rate_limits;
    if (limits.empty()) return Cause::none;
    std::array<RateRule, config::max_rate_limits> rules;
    std::array<RateTable::Demand, config::max_rate_limits> demands;
    const std::size_t count = std::min(limits.size(), rules.size());
    for (std::size_t i = 0; i < count; ++i) {
        const snapshot::RateLimit& limit = limits[i];
        rules[i] = rate_rule(limit.id.value + 1u, limit.rate, limit.burst);
        const std::uint64_t secret = core_.settings.hash_key;
        const std::uint64_t key = limit.by == config::RateKey::client ? rate_key(asker_.address, secret)
                                  : limit.by == config::RateKey::header
                                      ? rate_key(head_.fields.get(limit.header), secret)
                                      : 0;
        demands[i] = {&rules[i], key};
    }
    const RateTable::Answer answer = core_.settings.rates->take({demands.data(), count}, core_.now());
    if (answer.taken) return Cause::none;
    own_.retry_after_s = answer.retry_after_s();
    return Cause::rate_limited;
}

Task<Cause> Exchange::inject_fault() {
    if (!actions().fault) co_return Cause::none;
    const config::Fault& fault = *actions().fault;
    if (fault.delay > Duration{} && core_.random.chance(fault.delay_share)) {
        co_await core_.network.sleep_until(core_.now() + fault.delay);
        if (down_.gone()) co_return Cause::client_closed;
    }
    if (!core_.random.chance(fault.abort_share)) co_return Cause::none;
    own_.status = fault.abort_status;
    co_return Cause::fault_injected;
}

Cause Exchange::rewrite() {
    if (!actions().rewrite) return Cause::none;
    switch (snapshot::rewrite_path(*actions().rewrite, head_.path(), rewritten_)) {
        case snapshot::Rewritten::no: break;
        case snapshot::Rewritten::yes: is_rewritten_ = true; break;
        case snapshot::Rewritten::refused:
            own_.reason = "the path cannot be rewritten as the route says";
            return Cause::bad_request;
    }
    return Cause::none;
}

void Exchange::choose_pool() {
    target_ = snapshot::choose_target(*route_, route_->targets.size() > 1 ? core_.random.uniform() : 0);
    pool_at_ = target_->pool;
    pool_ = &pinned_->slot().snapshot->pool(pool_at_);
    outcome_.pool = pool_->id;
    balance::on_request(budget(), pool_->retry, core_.now());
}

/// A redirect or a direct answer.
Cause Exchange::answer_of_route() {
    if (actions().redirect) {
        if (own_.location.empty()) {
            own_.reason = "the request names no host that it could be sent to";
            return Cause::bad_request;
        }
        own_.status = actions().redirect->status;
        own_.content_type = "text/plain; charset=utf-8";
    } else if (actions().respond) {
        own_.status = actions().respond->status;
        own_.body = actions().respond->body;
        own_.content_type = actions().respond->content_type;
    }
    return Cause::none;
}

}  // namespace plimsoll::proxy

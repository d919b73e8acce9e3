// The metrics page: counters from the totals that workers handed over, gauges of now. Names, types and bounds:
// docs/observability.md.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>

#include "admin/metrics_page.h"
#include "admin/views.h"
#include "http/http2.h"

namespace plimsoll::admin {

namespace {

using control::Control;
using Page = MetricsPage;

/// Latency borders people look at, in seconds; fixed, so that series stay comparable.
constexpr double borders[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
/// Names by which a series may go; what is beyond is summed as "(other)".
constexpr std::size_t most_routes = 256, most_endpoints = 1024, most_sources = 128;
constexpr std::string_view arm_names[] = {"active", "candidate"};

// ---- requests by route ---------------------------------------------------------------------------------------------

struct RouteRow {
    std::string labels;
    measure::RouteTally tally;
    Arm arm = Arm::active;
    RouteId route = none<RouteId>;
    bool single = true;  ///< not a sum over routes: may have exemplars
};

std::vector<RouteRow> route_rows(const control::Site& site) {
    std::vector<RouteRow> rows;
    for (std::size_t arm = 0; arm < 2; ++arm) {
        const measure::ArmTally& all = site.totals.arms[arm];
        const auto row = [&](std::string_view name, measure::RouteTally tally, RouteId id, bool single) {
            rows.push_back({fmt::format("route=\"{}\",arm=\"{}\"", label(name), arm_names[arm]), std::move(tally),
                            static_cast<Arm>(arm), id, single});
        };
        const std::size_t known = all.routes.ids();
        if (known == 0 && all.unmatched.requests == 0) continue;
        for (std::size_t i = 0; i < std::min(known, most_routes); ++i) {
            const RouteId id{static_cast<std::uint32_t>(i)};
            row(site.identities.route_name(id), all.routes[i], id, true);
        }
        if (known > most_routes) {
            measure::RouteTally others;
            for (const auto& [id, route] : all.routes)
                if (id >= most_routes) others += route;
            row("(other)", others, none<RouteId>, false);
        }
        row("(none)", all.unmatched, none<RouteId>, true);
    }
    return rows;
}

struct Traces {
    const std::map<control::ExemplarKey, control::Exemplar>& all;
    /// The newest request of this row whose latency is in the buckets [from, to).
    [[nodiscard]] const control::Exemplar* newest(const RouteRow& row, std::size_t from, std::size_t to) const {
        const control::Exemplar* best = nullptr;
        if (!row.single) return best;
        for (auto at = all.lower_bound({row.route, row.arm, from});
             at != all.end() && at->first < control::ExemplarKey{row.route, row.arm, to}; ++at)
            if (best == nullptr || best->at.ns < at->second.at.ns) best = &at->second;
        return best;
    }
};

void latency(Page& page, const RouteRow& row, const Traces& traces) {
    using measure::Histogram;
    const Histogram& times = row.tally.total;
    const std::uint64_t all = times.count();
    std::size_t from = 0;
    const auto bucket = [&](std::string_view le, std::size_t to, std::uint64_t count) {
        const control::Exemplar* one = traces.newest(row, from, to);
        from = to;
        page.bucket(fmt::format("{},le=\"{}\"", row.labels, le), count,
                    one == nullptr ? std::string() : control::hex_of(one->trace_id),
                    one == nullptr ? 0 : seconds(one->took),
                    one == nullptr ? 0 : static_cast<double>(one->at.ns) / 1e9);
    };
    for (const double border : borders) {
        const std::size_t to = Histogram::bucket(from_seconds(border));
        std::string le = fmt::format("{}", border);
        if (le.find('.') == std::string::npos) le += ".0";
        bucket(le, to, all - times.at_least(to));
    }
    bucket("+Inf", Histogram::buckets, all);
    page.part("_sum", row.labels, static_cast<double>(times.sum_ns()) / 1e9);
    page.part("_count", row.labels, all);
}

void requests(Page& page, const Control& control) {
    struct Counter {
        std::string_view name, help;
        std::uint64_t measure::RouteTally::* value;
    };
    constexpr Counter counters[] = {
        {"plimsoll_requests", "Requests that ended.", &measure::RouteTally::requests},
        {"plimsoll_requests_failed", "Requests that failed for the client: 5xx, cut answers, timeouts.",
         &measure::RouteTally::failed},
        {"plimsoll_requests_retried", "Requests that needed more than one attempt.", &measure::RouteTally::retried},
        {"plimsoll_requests_3xx", "Requests answered 3xx.", &measure::RouteTally::status_3xx},
        {"plimsoll_requests_4xx", "Requests answered 4xx, 429 apart.", &measure::RouteTally::status_4xx},
        {"plimsoll_requests_429", "Requests answered 429.", &measure::RouteTally::status_429},
        {"plimsoll_requests_rate_limited", "Requests that a rate limit of the route refused.",
         &measure::RouteTally::rate_limited},
        {"plimsoll_requests_no_endpoint", "Requests whose pool had nobody.", &measure::RouteTally::no_endpoint},
        {"plimsoll_requests_client_gone", "Requests whose client went away or was too slow.",
         &measure::RouteTally::client_gone},
    };
    const std::vector<RouteRow> rows = route_rows(control.site());
    for (const Counter& counter : counters) {
        page.counter(counter.name, counter.help);
        for (const RouteRow& row : rows) page.sample(row.labels, row.tally.*counter.value);
    }
    page.histogram("plimsoll_request_duration_seconds", "Time to the head of the answer.");
    const Traces traces{control.spans().exemplars()};
    for (const RouteRow& row : rows) latency(page, row, traces);
}

/// Over all routes, by what they were and how they ended.
void endings(Page& page, const measure::Tally& totals) {
    page.counter("plimsoll_requests_by_protocol",
                 "Requests and TCP connections that ended, by protocol of the client.");
    for (std::size_t i = 0; i < totals.spoken.size(); ++i)
        page.sample(fmt::format("protocol=\"{}\"", name(static_cast<Spoken>(i))), totals.spoken[i]);
    const auto by_cause = [&page](const auto& counts) {
        for (std::size_t i = 0; i < counts.size(); ++i)
            page.sample(fmt::format("cause=\"{}\"", i == 0 ? "none" : name(static_cast<Cause>(i))), counts[i]);
    };
    page.counter("plimsoll_requests_ended", "Requests by termination cause; none = answered.");
    by_cause(totals.causes);
    page.counter("plimsoll_attempts_ended", "Attempts by termination cause; none = answered.");
    by_cause(totals.attempt_causes);
}

// ---- endpoints -----------------------------------------------------------------------------------------------------

struct EndpointRow {
    std::string labels;
    std::array<std::optional<measure::EndpointTally>, 2> arms{};
    double wanted = 0, capacity = 0;
    int up = 0, out = 0;
    std::array<std::uint64_t, balance::out_by_count> times_out{};
};

void add(EndpointRow& row, const judge::EndpointFacts& one, const Control& control) {
    const control::Site& site = control.site();
    for (std::size_t arm = 0; arm < 2; ++arm) {
        const auto& all = site.totals.arms[arm].endpoints;
        if (one.id.value >= all.ids()) continue;
        if (!row.arms[arm]) row.arms[arm].emplace();
        *row.arms[arm] += all[one.id.value];
    }
    row.wanted += one.expected_active * (1 - site.share.value) + one.expected_candidate * site.share.value;
    row.capacity += one.capacity;
    row.up += control.prober().health(one.id) == balance::Health::up ? 1 : 0;
    const balance::Standing standing = control.standing(one.id);
    row.out += standing.out_until > control.network().now() ? 1 : 0;
    for (std::size_t by = 0; by < row.times_out.size(); ++by) row.times_out[by] += standing.times[by];
}

std::vector<EndpointRow> endpoint_rows(const Control& control) {
    std::vector<EndpointRow> rows;
    std::unordered_map<std::string, std::size_t> places;
    for (const judge::EndpointFacts& one : control.site().facts()) {
        std::string labels = fmt::format("pool=\"{}\",endpoint=\"{}\"", label(one.pool), label(one.name));
        if (places.size() >= most_endpoints && !places.contains(labels))
            labels = "pool=\"(other)\",endpoint=\"(other)\"";
        // While a change gives a name another address, both addresses go by it.
        const auto [at, is_new] = places.try_emplace(labels, rows.size());
        if (is_new) rows.push_back({std::move(labels)});
        add(rows[at->second], one, control);
    }
    return rows;
}

void endpoints(Page& page, const Control& control) {
    struct Counter {
        std::string_view name, help;
        std::uint64_t measure::EndpointTally::* value;
    };
    constexpr Counter counters[] = {
        {"plimsoll_endpoint_picks", "Decisions for this endpoint, first attempts only.",
         &measure::EndpointTally::picks},
        {"plimsoll_endpoint_attempts", "Attempts that ended.", &measure::EndpointTally::attempts},
        {"plimsoll_endpoint_connect_failures", "Attempts refused, unreachable or timed out in connecting.",
         &measure::EndpointTally::connect_failures},
        {"plimsoll_endpoint_resets", "Attempts that broke off.", &measure::EndpointTally::resets},
        {"plimsoll_endpoint_timeouts", "Attempts that timed out.", &measure::EndpointTally::timeouts},
        {"plimsoll_endpoint_5xx", "Attempts answered 5xx.", &measure::EndpointTally::status_5xx},
        {"plimsoll_endpoint_panic_picks", "Decisions for this endpoint although it was not healthy.",
         &measure::EndpointTally::panic_picks},
    };
    const std::vector<EndpointRow> rows = endpoint_rows(control);
    const auto by_arm = [&](auto&& sample) {
        for (const EndpointRow& row : rows)
            for (std::size_t arm = 0; arm < 2; ++arm)
                if (row.arms[arm]) sample(row.labels + fmt::format(",arm=\"{}\"", arm_names[arm]), *row.arms[arm]);
    };
    for (const Counter& counter : counters) {
        page.counter(counter.name, counter.help);
        by_arm([&](const std::string& labels, const measure::EndpointTally& tally) {
            page.sample(labels, tally.*counter.value);
        });
    }
    page.gauge("plimsoll_endpoint_in_flight", "Requests at this endpoint now.");
    by_arm(
        [&](const std::string& labels, const measure::EndpointTally& tally) { page.sample(labels, tally.in_flight); });
    const auto gauge = [&](std::string_view name, std::string_view help, auto EndpointRow::* value) {
        page.gauge(name, help);
        for (const EndpointRow& row : rows) page.sample(row.labels, row.*value);
    };
    gauge("plimsoll_endpoint_wanted_share", "Share of requests this endpoint should get now.", &EndpointRow::wanted);
    gauge("plimsoll_endpoint_capacity", "Declared requests per second; 0 = not declared.", &EndpointRow::capacity);
    gauge("plimsoll_endpoint_up", "1 = active checks hold it up.", &EndpointRow::up);
    gauge("plimsoll_endpoint_out", "1 = ejected, or left alone at its own wish, whatever its checks say.",
          &EndpointRow::out);
    page.counter("plimsoll_endpoint_ejections", "Times it was taken out so, by what did it.");
    for (const EndpointRow& row : rows)
        for (std::size_t by = 0; by < row.times_out.size(); ++by)
            page.sample(row.labels + fmt::format(",by=\"{}\"", name(static_cast<balance::OutBy>(by))),
                        row.times_out[by]);
}

// ---- connections ---------------------------------------------------------------------------------------------------

void http2(Page& page, const measure::Tally& totals) {
    struct Counter {
        std::string_view name, help;
        std::uint64_t measure::Http2Tally::* value;
    };
    constexpr Counter counters[] = {
        {"plimsoll_http2_streams", "HTTP/2 streams opened.", &measure::Http2Tally::streams},
        {"plimsoll_http2_streams_refused", "HTTP/2 streams refused: too many, or the connection was ending.",
         &measure::Http2Tally::refused},
        {"plimsoll_http2_malformed", "HTTP/2 messages that are not valid.", &measure::Http2Tally::malformed},
        {"plimsoll_http2_too_large", "HTTP/2 heads over a limit.", &measure::Http2Tally::too_large},
        {"plimsoll_http2_resets_received", "RST_STREAM frames received.", &measure::Http2Tally::resets_received},
        {"plimsoll_http2_resets_sent", "RST_STREAM frames sent.", &measure::Http2Tally::resets_sent},
        {"plimsoll_http2_goaways_received", "GOAWAY frames received.", &measure::Http2Tally::goaways_received},
        {"plimsoll_http2_goaways_sent", "GOAWAY frames sent.", &measure::Http2Tally::goaways_sent},
    };
    for (const Counter& counter : counters) {
        page.counter(counter.name, counter.help);
        page.sample("side=\"client\"", totals.http2_clients.*counter.value);
        page.sample("side=\"upstream\"", totals.http2_upstream.*counter.value);
    }
    page.counter("plimsoll_http2_floods", "HTTP/2 connections ended for crossing a limit.");
    for (std::size_t i = 1; i < http::http2_floods; ++i) {
        const std::string_view limit = http::name(static_cast<http::Http2Flood>(i));
        page.sample(fmt::format("side=\"client\",limit=\"{}\"", limit), totals.http2_clients.floods[i]);
        page.sample(fmt::format("side=\"upstream\",limit=\"{}\"", limit), totals.http2_upstream.floods[i]);
    }
}

void connections(Page& page, const measure::Tally& totals, const Control::Gauges& gauges) {
    page.gauge("plimsoll_connections", "Client connections open.", gauges.connections);
    page.counter("plimsoll_connections_accepted", "Client connections accepted.", totals.connections_accepted);
    page.counter("plimsoll_connections_refused", "Client connections over a limit.", totals.connections_refused);
    page.counter("plimsoll_accept_pauses", "Times that accepting paused for lack of descriptors.",
                 gauges.accept_pauses);
    page.counter("plimsoll_proxy_headers_refused", "Connections that had to begin with a PROXY header and did not.",
                 totals.proxy_headers_refused);
    page.counter("plimsoll_tls_handshakes", "TLS handshakes with clients, failed ones too.", totals.handshakes);
    page.counter("plimsoll_tls_handshake_failures", "TLS handshakes with clients that failed.",
                 totals.handshake_failures);
    page.gauge("plimsoll_upstream_idle_connections", "Pooled connections to endpoints.", gauges.idle_upstream);
    page.gauge("plimsoll_queue_waiting", "Requests that wait for a place in a pool.", totals.queue_waiting);
    page.gauge("plimsoll_tunnels", "Tunnels open: upgrades, CONNECT, TCP.", totals.tunnels);
    page.gauge("plimsoll_mirrors", "Copies of requests under way.", totals.mirrors);
    page.counter("plimsoll_mirrored_requests", "Requests copied to another pool.", totals.mirrored);
    page.counter("plimsoll_mirrors_skipped", "Requests not copied: too many copies under way, or too large.",
                 totals.mirrors_skipped);
    page.counter("plimsoll_auth_requests", "Requests that had to be authorised, by what came of it.");
    for (std::size_t i = 0; i < auth_verdict_count; ++i) {
        page.sample(fmt::format("verdict=\"{}\"", name(static_cast<AuthVerdict>(i))), totals.auth[i]);
    }
    http2(page, totals);
}

void memory(Page& page, const control::MemoryWatch::Figures& memory) {
    page.gauge("plimsoll_memory_in_use_bytes", "Memory in use, as compared with the limit.", memory.in_use);
    page.gauge("plimsoll_memory_limit_bytes", "Memory in use above which new work is refused; 0 = no limit.",
               memory.limit);
    page.gauge("plimsoll_memory_short", "1 = memory is short, and new connections and requests are refused.",
               memory.shedding ? 1 : 0);
    page.counter("plimsoll_memory_shortages", "Times that memory became short.", memory.shortages);
    page.counter("plimsoll_memory_connections_refused", "Client connections refused because memory was short.",
                 memory.connections_refused);
    page.counter("plimsoll_memory_requests_refused", "Requests refused because memory was short.",
                 memory.requests_refused);
    page.counter("plimsoll_memory_connections_ended", "Client connections ended because memory was short.",
                 memory.connections_ended);
}

// ---- health, discovery ---------------------------------------------------------------------------------------------

void probes(Page& page, const control::ProbeFigures& probes) {
    page.counter("plimsoll_probes", "Active checks by what came of them; discarded = we were starved.");
    page.sample("result=\"good\"", probes.good);
    page.sample("result=\"bad\"", probes.bad);
    page.sample("result=\"discarded\"", probes.discarded);
    page.sample("result=\"no_descriptors\"", probes.no_descriptors);
    page.counter("plimsoll_probes_delayed", "Active checks that waited because too many ran.", probes.waited);
    page.gauge("plimsoll_probes_running", "Active checks under way.", probes.running);
    page.gauge("plimsoll_probes_watched", "Endpoints with active checks.", probes.watched);
    page.gauge("plimsoll_probes_on_trial", "Endpoints whose changed check is on trial.", probes.on_trial);
    page.gauge("plimsoll_probes_starved", "1 = checks were late for a reason of ours: health stands still.",
               probes.starved ? 1 : 0);
}

void discovery(Page& page, const Control::Gauges& gauges) {
    std::vector<control::SourceFigures> sources(
        gauges.sources.begin(),
        gauges.sources.begin() + static_cast<std::ptrdiff_t>(std::min(gauges.sources.size(), most_sources)));
    for (std::size_t i = most_sources; i < gauges.sources.size(); ++i) {
        const control::SourceFigures& one = gauges.sources[i];
        if (i == most_sources) {
            control::SourceFigures others;
            others.pool = others.source = "(other)";
            sources.push_back(std::move(others));
        }
        control::SourceFigures& sum = sources.back();
        sum.members += one.members;
        sum.doubted += one.doubted;
        sum.answers += one.answers;
        sum.failures += one.failures;
        sum.held += one.held;
        sum.good_age_s = std::max(sum.good_age_s, one.good_age_s);
        sum.differs_s = std::max(sum.differs_s, one.differs_s);
    }
    const auto each = [&](auto control::SourceFigures::* value) {
        for (const control::SourceFigures& one : sources)
            page.sample(fmt::format("pool=\"{}\",source=\"{}\"", label(one.pool), label(one.source)), one.*value);
    };
    page.gauge("plimsoll_discovery_members", "Endpoints that a source names and that are believed.");
    each(&control::SourceFigures::members);
    page.gauge("plimsoll_discovery_doubted", "Endpoints that a source has lost and that are still kept.");
    each(&control::SourceFigures::doubted);
    page.counter("plimsoll_discovery_answers", "Answers of a source.");
    each(&control::SourceFigures::answers);
    page.counter("plimsoll_discovery_failures", "Failures to ask a source.");
    each(&control::SourceFigures::failures);
    page.counter("plimsoll_discovery_held", "Answers that were not believed.");
    each(&control::SourceFigures::held);
    page.gauge("plimsoll_discovery_answer_age_seconds", "Time since the last whole answer; -1 = there was none yet.");
    each(&control::SourceFigures::good_age_s);
    page.gauge("plimsoll_discovery_differs_seconds", "How long what is wanted and what serves have differed.");
    each(&control::SourceFigures::differs_s);
    page.counter("plimsoll_membership_versions", "Times that found endpoints changed what is served.",
                 gauges.memberships);
}

// ---- the loop ------------------------------------------------------------------------------------------------------

void changes(Page& page, const Control& control) {
    std::map<std::string, std::uint64_t> by_ending;
    for (const control::ChangeRecord& change : control.history().changes)
        if (!change.ending.empty()) ++by_ending[change.ending];
    page.counter("plimsoll_changes", "Changes by what became of them.");
    for (const auto& [ending, count] : by_ending) page.sample(fmt::format("ending=\"{}\"", ending), count);
    page.gauge("plimsoll_revision_active", "Number of the active revision.", control.history().active.value);
    page.gauge("plimsoll_revision_last_known_good", "Number of the last known good revision.",
               control.history().last_known_good().value);
    page.gauge("plimsoll_candidate_share", "Share of requests that the candidate serves.", control.site().share.value);
    std::size_t open = 0;
    for (const incident::Incident& incident : control.care().state().incidents) open += incident.is_open() ? 1 : 0;
    page.gauge("plimsoll_incidents_open", "Incidents that are not recovered.", open);
    page.gauge("plimsoll_signals_firing", "Signals that fire now.", control.site().watch.firing().size());
}

void ourselves(Page& page, const Control& control, const Control::Gauges& gauges) {
    const measure::Tally& totals = control.site().totals;
    page.gauge("plimsoll_build_info", "Version of this process.");
    page.sample(fmt::format("version=\"{}\"", label(control.settings().version)), 1);
    page.gauge("plimsoll_workers", "Worker threads.", gauges.workers);
    page.counter("plimsoll_control_ticks", "Rounds of the control loop.", gauges.ticks);
    page.gauge("plimsoll_control_slowest_tick_seconds", "Longest time that workers took to answer control.",
               seconds(gauges.slowest_tick));
    page.gauge("plimsoll_notifications_pending", "Deliveries to webhooks that have not come to an end.",
               gauges.deliveries_pending);
    page.counter("plimsoll_journal_failures", "Journal entries that could not be written.", gauges.journal_failures);
    page.gauge("plimsoll_recording_bytes", "Size of the rolling recording.", gauges.recording_bytes);
    page.counter("plimsoll_recording_dropped", "Requests that the recording had no room for.",
                 totals.recording_dropped);
    page.counter("plimsoll_recording_failures", "Failures to keep the recording.", gauges.recorder_failures);
    page.counter("plimsoll_log_dropped", "Access-log lines that could not be written.", totals.log_dropped);
    const control::SpanFigures spans = control.spans().figures();
    page.counter("plimsoll_traces_exported", "Sampled requests whose spans a collector took.", spans.exported);
    page.counter("plimsoll_traces_dropped", "Sampled requests whose spans were lost.",
                 spans.dropped + totals.spans_dropped);
    page.counter("plimsoll_trace_export_failures", "Calls to the collector that failed.", spans.failures);
    page.gauge("plimsoll_traces_waiting", "Sampled requests whose spans wait for the collector.", spans.waiting);
}

}  // namespace

std::string metrics(const Control& control, MetricsFormat format) {
    Page page(format);
    const Control::Gauges gauges = control.gauges();
    requests(page, control);
    endings(page, control.site().totals);
    endpoints(page, control);
    connections(page, control.site().totals, gauges);
    memory(page, gauges.memory);
    probes(page, gauges.probes);
    discovery(page, gauges);
    changes(page, control);
    ourselves(page, control, gauges);
    return std::move(page).take();
}

}  // namespace plimsoll::admin

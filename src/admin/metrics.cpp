// The Prometheus exposition. Counters come from the totals that workers handed over; names end in their unit.
#include <fmt/format.h>

#include <iterator>

#include "admin/views.h"

namespace plimsoll::admin {

namespace {

using control::Control;

/// Latency borders people look at, in seconds; fixed, so that series stay comparable.
constexpr double borders[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};

class Page {
public:
    void family(std::string_view name, std::string_view type, std::string_view help) {
        fmt::format_to(std::back_inserter(text_), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
    }
    template <class Value>
    void sample(std::string_view name, std::string_view labels, Value value) {
        if (labels.empty())
            fmt::format_to(std::back_inserter(text_), "{} {}\n", name, value);
        else
            fmt::format_to(std::back_inserter(text_), "{}{{{}}} {}\n", name, labels, value);
    }
    template <class Value>
    void one(std::string_view name, std::string_view type, std::string_view help, Value value) {
        family(name, type, help);
        sample(name, "", value);
    }
    [[nodiscard]] std::string take() && { return std::move(text_); }

private:
    std::string text_;
};

std::string escaped(std::string_view value) {
    std::string out;
    for (const char c : value) {
        if (c == '\\' || c == '"') out += '\\';
        if (c == '\n') {
            out += "\\n";
        } else {
            out += c;
        }
    }
    return out;
}

constexpr std::string_view arm_names[] = {"active", "candidate"};

void requests(Page& page, const control::Site& site) {
    struct Counter {
        std::string_view name, help;
        std::uint64_t measure::RouteTally::* value;
    };
    constexpr Counter counters[] = {
        {"plimsoll_requests_total", "Requests that ended.", &measure::RouteTally::requests},
        {"plimsoll_requests_failed_total", "Requests that failed for the client: 5xx, cut answers, timeouts.",
         &measure::RouteTally::failed},
        {"plimsoll_requests_retried_total", "Requests that needed more than one attempt.",
         &measure::RouteTally::retried},
        {"plimsoll_requests_4xx_total", "Requests answered 4xx, 429 apart.", &measure::RouteTally::status_4xx},
        {"plimsoll_requests_429_total", "Requests answered 429.", &measure::RouteTally::status_429},
        {"plimsoll_requests_no_endpoint_total", "Requests whose pool had nobody.", &measure::RouteTally::no_endpoint},
    };
    const auto each_route = [&](auto&& visit) {
        for (std::size_t arm = 0; arm < 2; ++arm) {
            const auto& routes = site.totals.arms[arm].routes;
            for (std::size_t i = 0; i < routes.size(); ++i) {
                const bool unmatched = i + 1 == routes.size();
                const std::string route =
                    unmatched ? "(none)" : escaped(site.identities.route_name(RouteId{static_cast<std::uint32_t>(i)}));
                visit(fmt::format("route=\"{}\",arm=\"{}\"", route, arm_names[arm]), routes[i]);
            }
        }
    };
    for (const Counter& counter : counters) {
        page.family(counter.name, "counter", counter.help);
        each_route([&](const std::string& labels, const measure::RouteTally& route) {
            page.sample(counter.name, labels, route.*counter.value);
        });
    }
    page.family("plimsoll_request_duration_seconds", "histogram", "Time to the head of the answer.");
    each_route([&](const std::string& labels, const measure::RouteTally& route) {
        const std::uint64_t all = route.total.count();
        double sum = 0;
        for (std::size_t b = 0; b < measure::Histogram::buckets; ++b)
            sum += route.total.counts()[b] * seconds(measure::Histogram::border(b));
        for (const double border : borders)
            page.sample("plimsoll_request_duration_seconds_bucket", fmt::format("{},le=\"{}\"", labels, border),
                        all - route.total.at_least(measure::Histogram::bucket(from_seconds(border))));
        page.sample("plimsoll_request_duration_seconds_bucket", labels + ",le=\"+Inf\"", all);
        page.sample("plimsoll_request_duration_seconds_sum", labels, sum);
        page.sample("plimsoll_request_duration_seconds_count", labels, all);
    });
}

void endpoints(Page& page, const Control& control) {
    const control::Site& site = control.site();
    const std::vector<judge::EndpointFacts> facts = site.facts();
    const auto labels_of = [](const judge::EndpointFacts& one) {
        return fmt::format("pool=\"{}\",endpoint=\"{}\"", escaped(one.pool), escaped(one.name));
    };
    struct Counter {
        std::string_view name, help;
        std::uint64_t measure::EndpointTally::* value;
    };
    constexpr Counter counters[] = {
        {"plimsoll_endpoint_picks_total", "Decisions for this endpoint, first attempts only.",
         &measure::EndpointTally::picks},
        {"plimsoll_endpoint_attempts_total", "Attempts that ended.", &measure::EndpointTally::attempts},
        {"plimsoll_endpoint_connect_failures_total", "Attempts refused, unreachable or timed out in connecting.",
         &measure::EndpointTally::connect_failures},
        {"plimsoll_endpoint_resets_total", "Attempts that broke off.", &measure::EndpointTally::resets},
        {"plimsoll_endpoint_timeouts_total", "Attempts that timed out.", &measure::EndpointTally::timeouts},
        {"plimsoll_endpoint_5xx_total", "Attempts answered 5xx.", &measure::EndpointTally::status_5xx},
        {"plimsoll_endpoint_panic_picks_total", "Decisions for this endpoint although it was not healthy.",
         &measure::EndpointTally::panic_picks},
    };
    for (const Counter& counter : counters) {
        page.family(counter.name, "counter", counter.help);
        for (const judge::EndpointFacts& one : facts)
            for (std::size_t arm = 0; arm < 2; ++arm) {
                const auto& all = site.totals.arms[arm].endpoints;
                if (one.id.value >= all.size()) continue;
                page.sample(counter.name, labels_of(one) + fmt::format(",arm=\"{}\"", arm_names[arm]),
                            all[one.id.value].*counter.value);
            }
    }
    page.family("plimsoll_endpoint_wanted_share", "gauge", "Share of requests this endpoint should get now.");
    for (const judge::EndpointFacts& one : facts)
        page.sample("plimsoll_endpoint_wanted_share", labels_of(one),
                    one.expected_active * (1 - site.share.value) + one.expected_candidate * site.share.value);
    page.family("plimsoll_endpoint_capacity", "gauge", "Declared requests per second; 0 = not declared.");
    for (const judge::EndpointFacts& one : facts)
        page.sample("plimsoll_endpoint_capacity", labels_of(one), one.capacity);
    page.family("plimsoll_endpoint_up", "gauge", "1 = active checks hold it up.");
    for (const judge::EndpointFacts& one : facts)
        page.sample("plimsoll_endpoint_up", labels_of(one),
                    control.prober().health(one.id) == balance::Health::up ? 1 : 0);
}

void changes(Page& page, const Control& control) {
    std::map<std::string, std::uint64_t> by_ending;
    for (const control::ChangeRecord& change : control.history().changes)
        if (!change.ending.empty()) ++by_ending[change.ending];
    page.family("plimsoll_changes_total", "counter", "Changes by what became of them.");
    for (const auto& [ending, count] : by_ending)
        page.sample("plimsoll_changes_total", fmt::format("ending=\"{}\"", ending), count);
    page.one("plimsoll_revision_active", "gauge", "Number of the active revision.", control.history().active.value);
    page.one("plimsoll_revision_last_known_good", "gauge", "Number of the last known good revision.",
             control.history().last_known_good().value);
    page.one("plimsoll_candidate_share", "gauge", "Share of requests that the candidate serves.",
             control.site().share.value);
    std::size_t open = 0;
    for (const incident::Incident& incident : control.care().state().incidents) open += incident.is_open() ? 1 : 0;
    page.one("plimsoll_incidents_open", "gauge", "Incidents that are not recovered.", open);
    page.one("plimsoll_signals_firing", "gauge", "Signals that fire now.", control.site().watch.firing().size());
}

}  // namespace

std::string metrics(const Control& control) {
    Page page;
    const control::Site& site = control.site();
    const Control::Gauges gauges = control.gauges();
    page.family("plimsoll_build_info", "gauge", "Version of this process.");
    page.sample("plimsoll_build_info", fmt::format("version=\"{}\"", escaped(control.settings().version)), 1);
    requests(page, site);
    endpoints(page, control);
    changes(page, control);
    page.one("plimsoll_connections", "gauge", "Client connections open.", gauges.connections);
    page.one("plimsoll_connections_accepted_total", "counter", "Client connections accepted.",
             site.totals.connections_accepted);
    page.one("plimsoll_connections_refused_total", "counter", "Client connections over a limit.",
             site.totals.connections_refused);
    page.one("plimsoll_upstream_idle_connections", "gauge", "Pooled connections to endpoints.", gauges.idle_upstream);
    page.one("plimsoll_accept_pauses_total", "counter", "Times that accepting paused for lack of descriptors.",
             gauges.accept_pauses);
    page.one("plimsoll_recording_dropped_total", "counter", "Requests that the recording had no room for.",
             site.totals.recording_dropped);
    page.one("plimsoll_recording_bytes", "gauge", "Size of the rolling recording.", gauges.recording_bytes);
    page.one("plimsoll_log_dropped_total", "counter", "Access-log lines that could not be written.",
             site.totals.log_dropped);
    page.one("plimsoll_journal_failures_total", "counter", "Journal entries that could not be written.",
             gauges.journal_failures);
    page.one("plimsoll_recording_failures_total", "counter", "Failures to keep the recording.",
             gauges.recorder_failures);
    page.one("plimsoll_control_ticks_total", "counter", "Rounds of the control loop.", gauges.ticks);
    return std::move(page).take();
}

}  // namespace plimsoll::admin

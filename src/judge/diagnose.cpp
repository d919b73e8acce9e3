#include "judge/diagnose.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <numeric>

namespace plimsoll::judge {
namespace {

/// An endpoint stands out when it is bad this often, and this many times as often as the others.
constexpr double stands_out_rate = 0.05, stands_out_times = 4;
constexpr std::uint64_t stands_out_count = 5;
/// The change "loads an endpoint more" when its share of decisions there is this many times the active revision's.
constexpr double loads_more = 1.2;
/// Bad requests before "both arms alike" speaks against a change.
constexpr std::uint64_t alike_needs = 20;

double part(double some, double all) { return all > 0 ? some / all : 0; }
double number(std::uint64_t n) { return static_cast<double>(n); }

/// What a signal about one server is worth by itself. Held down by checks: several probes in a row have failed, that is
/// not chance. Failing: five failures in a window, most of what was tried there.
constexpr double down_score = 12, failing_score = 6;
/// Bad requests of the candidate that are too many to wait for a comparison.
constexpr double severe_rate = 0.1;

/// What one endpoint did in the scene, by arm.
struct Work {
    std::array<double, 2> decisions{};        ///< picks and in flight
    std::array<double, 2> attempts{}, bad{};  ///< bad: failed, or slower than the usual p99 x 1.5
    [[nodiscard]] double all_attempts() const { return attempts[0] + attempts[1]; }
    [[nodiscard]] double all_bad() const { return bad[0] + bad[1]; }
};

/// The scene, summed up.
struct Facts {
    const Scene& scene;
    std::array<measure::RouteTally, 2> arms;
    std::vector<Work> work;  ///< in the order of scene.endpoints
    std::size_t slow_border = 0;
    bool comparing = false;
};

Facts sum_up(const Scene& scene) {
    Facts f{.scene = scene, .arms = {scene.since.arms[0].all_routes(), scene.since.arms[1].all_routes()}, .work = {}};
    const Duration p99 = scene.usual.total.quantile(0.99);
    if (p99 > Duration{}) f.slow_border = measure::Histogram::bucket(p99 + p99 / 2);
    for (const EndpointFacts& e : scene.endpoints) {
        Work w;
        for (std::size_t arm = 0; arm < 2; ++arm) {
            const measure::EndpointTally& t = scene.since.arms[arm].endpoints[e.id.value];
            w.decisions[arm] = number(t.picks) + t.in_flight;
            w.attempts[arm] = number(t.attempts);
            const std::uint64_t slow = f.slow_border == 0 ? 0 : t.first_byte.at_least(f.slow_border);
            w.bad[arm] = std::min(w.attempts[arm], number(t.failures() + slow));
        }
        f.work.push_back(w);
    }
    const double share = scene.change ? scene.change->share.value : 0;
    f.comparing = share > 0 && share < 1 && f.arms[0].requests > 0 && f.arms[1].requests > 0;
    return f;
}

bool any_firing(const Scene& scene, SignalKind kind) {
    return std::any_of(scene.signals.begin(), scene.signals.end(),
                       [kind](const Signal& s) { return s.firing && s.kind == kind; });
}

/// 2 x this is the G statistic of two proportions; in nats, so comparable with log E. 0 unless the first is larger.
double two_rates(double bad_a, double all_a, double bad_b, double all_b) {
    if (!(all_a > 0) || !(all_b > 0) || bad_a / all_a <= bad_b / all_b) return 0;
    const auto log_likelihood = [](double bad, double all, double p) {
        return (bad > 0 ? bad * std::log(p) : 0) + (all > bad ? (all - bad) * std::log1p(-p) : 0);
    };
    const double common = (bad_a + bad_b) / (all_a + all_b);
    return log_likelihood(bad_a, all_a, bad_a / all_a) + log_likelihood(bad_b, all_b, bad_b / all_b) -
           log_likelihood(bad_a + bad_b, all_a + all_b, common);
}

/// How many times the active revision's share of decisions the change sends (or, if not compared, should send) here.
double blame(const Facts& f, std::size_t i) {
    if (!f.scene.change) return 0;
    const EndpointFacts& e = f.scene.endpoints[i];
    double active = e.expected_active, candidate = e.expected_candidate;
    if (f.comparing) {
        std::array<double, 2> all{};
        for (const Work& w : f.work) all[0] += w.decisions[0], all[1] += w.decisions[1];
        // With few decisions of the held-back arm, what it should do is better known than what it did.
        if (all[0] >= 100) active = f.work[i].decisions[0] / all[0];
        if (all[1] >= 20) candidate = f.work[i].decisions[1] / all[1];
    }
    return active > 0 ? candidate / active : (candidate > 0 ? 1e3 : 0);
}

/// Evidence that the change puts the load on endpoints that are too busy, by decisions of both arms.
double load_evidence(const Facts& f, std::string& names) {
    double score = 0, all_a = 0, all_b = 0, hot_a = 0, hot_b = 0;
    for (const Work& w : f.work) all_a += w.decisions[0], all_b += w.decisions[1];
    for (std::size_t i = 0; i < f.work.size(); ++i) {
        const EndpointFacts& e = f.scene.endpoints[i];
        const bool hot = std::any_of(f.scene.signals.begin(), f.scene.signals.end(), [&](const Signal& s) {
            return s.firing && s.endpoint == e.id &&
                   (s.kind == SignalKind::utilisation || s.kind == SignalKind::endpoint);
        });
        if (!hot || blame(f, i) < loads_more) continue;
        hot_a += f.work[i].decisions[0];
        hot_b += f.work[i].decisions[1];
        names += (names.empty() ? "" : ", ") + e.name;
        if (!f.comparing) score += 5;
    }
    if (names.empty() || !f.comparing) return score;
    // Expected shares stand in where the held-back arm has decided too little to compare.
    if (all_a < 100) return std::max(5.0, two_rates(hot_b, all_b, hot_a + 1, all_a + 20));
    return two_rates(hot_b, all_b, hot_a, all_a);
}

/// "pools.web.endpoints[b1].weight: 1 -> 30": what of the change can produce the signals.
std::string likely_items(const Scene& scene) {
    std::string text;
    int listed = 0;
    for (const AlteredItem& item : scene.change->altered) {
        const bool can = std::any_of(scene.signals.begin(), scene.signals.end(),
                                     [&](const Signal& s) { return s.firing && can_cause(item.path, s.kind); });
        if (!can) continue;
        if (++listed > 3) {
            text += ", ...";
            break;
        }
        text += fmt::format("{}{}", text.empty() ? "" : ", ", item.path);
        if (item.before.size() + item.after.size() < 60 && !(item.before.empty() && item.after.empty()))
            text += fmt::format(" {} -> {}", item.before.empty() ? "(none)" : item.before,
                                item.after.empty() ? "(none)" : item.after);
    }
    return text;
}

struct Compared {
    double log_e = 0;
    Interval ratio;
    std::uint64_t bad_active = 0, bad_candidate = 0;
    const char* what = "";
};

Compared compare_arms(const Facts& f) {
    // Counts from before the change are all of the active arm's. Then the share of requests that the candidate really
    // had stands in for the assigned one: not as good (it compares with the past), but not blind either.
    const bool only_since = f.scene.since.from >= f.scene.change->applied;
    const double had = part(number(f.arms[1].requests), number(f.arms[0].requests + f.arms[1].requests));
    const Share share = only_since ? f.scene.change->share : Share{std::min(had, f.scene.change->share.value)};
    Compared best;
    // The strongest evidence; where there is none, the most events, because they say most about the arms being alike.
    const auto consider = [&](RatioProcess process, std::uint64_t active, std::uint64_t candidate, const char* what) {
        process.add(share, active, candidate);
        const double log_e = process.log_e();
        const bool better = log_e > 1 || best.log_e > 1 ? log_e > best.log_e
                                                        : active + candidate > best.bad_active + best.bad_candidate;
        if (*best.what != '\0' && !better) return;
        best = {.log_e = log_e,
                .ratio = process.interval(0.05),
                .bad_active = active,
                .bad_candidate = candidate,
                .what = what};
    };
    consider(RatioProcess::for_errors(), f.arms[0].failed, f.arms[1].failed, "failed");
    consider(RatioProcess::for_errors(), f.arms[0].retried, f.arms[1].retried, "retried");
    if (f.slow_border != 0) {
        const auto slow = [&](const measure::RouteTally& r) {
            return r.total.at_least(f.slow_border) + r.waiting.at_least(f.slow_border);
        };
        consider(RatioProcess::for_latency(), slow(f.arms[0]), slow(f.arms[1]), "slow");
    }
    return best;
}

/// How much "just after the change, and it can do this" says, in nats: a convention, below any real comparison.
double timing_of(const Scene& scene, Duration& after) {
    Instant first = scene.now;
    for (const Signal& s : scene.signals) first = std::min(first, s.at);
    after = std::max(Duration{}, first - scene.change->applied);
    const double age = seconds(after);
    return age < 10 ? 6 : age < 60 ? 4 : age < 600 ? 2 : 0.5;
}

/// The held-back arm has had too few requests to say anything, and what it had does not look as bad.
bool too_thin(const Facts& f, const Compared& c) {
    const double active = number(f.arms[0].requests), candidate = number(f.arms[1].requests);
    const Baseline& usual = f.scene.usual;
    const double usually_slow =
        f.slow_border == 0 ? 0 : part(number(usual.total.at_least(f.slow_border)), number(usual.total.count()));
    // What is no worse than usual needs no culprit.
    if (part(number(c.bad_candidate), candidate) < 3 * std::max(usually_slow, usual.error_rate())) return false;
    // Mild harm waits until the held-back arm had its chance to show it too (three bad requests expected there, so that
    // none is odds of 20:1); harm to one request in ten does not wait.
    const double rate = part(number(c.bad_candidate), candidate);
    if (rate < severe_rate && rate * active < 3) return false;
    return active < 200 && c.bad_candidate >= stands_out_count && part(number(c.bad_active), active) < 0.5 * rate;
}

Hypothesis the_change(const Facts& f) {
    const ChangeFacts& change = *f.scene.change;
    Hypothesis h;
    h.suspect = Suspect::change;
    h.revision = change.revision;
    const std::string items = likely_items(f.scene);
    h.subject = fmt::format("change r{}{}{}", change.revision.value, items.empty() ? "" : ": ", items);
    std::string hot;
    const double load = load_evidence(f, hot);
    if (f.comparing) {
        const Compared c = compare_arms(f);
        const std::string counts =
            fmt::format("{} of {} requests {} under r{}, {} of {} under the revision before", c.bad_candidate,
                        f.arms[1].requests, c.what, change.revision.value, c.bad_active, f.arms[0].requests);
        if (load > c.log_e && load > 1) {
            h.score = load;
            h.evidence = fmt::format("it sends more than before to {}, which is too busy", hot);
        } else if (Duration after{}; c.log_e <= 6 && !items.empty() && too_thin(f, c)) {
            h.score = std::max(c.log_e, timing_of(f.scene, after));
            h.evidence =
                fmt::format("{}; too few are held back to compare, but it was applied {} before", counts, text(after));
        } else if (c.log_e > 1) {
            h.score = c.log_e;
            h.evidence = fmt::format("{}, at least {:.2g} times as often", counts, c.ratio.lower);
        } else if (c.bad_active + c.bad_candidate >= alike_needs && c.ratio.upper < 3) {
            h.score = -5;
            h.evidence = fmt::format("both alike: {}", counts);
        } else {
            h.score = std::min(c.log_e, -0.5);
            h.evidence = fmt::format("nothing shows it: {}", counts);
        }
        return h;
    }
    Duration after{};
    double timing = timing_of(f.scene, after);
    // Both revisions serve, the comparison will speak in a moment: until then, timing is worth little.
    const bool too_early = change.share.value > 0 && change.share.value < 1;
    if (too_early) timing = std::min(timing, 2.0);
    h.score = (items.empty() ? -2 : timing) + load;
    h.evidence = too_early ? "it was applied a moment ago, and there is too little to compare yet"
                 : items.empty()
                     ? "nothing that it altered can do this"
                     : fmt::format("applied {} before, no traffic is held back to compare with", text(after));
    if (!hot.empty()) h.evidence += fmt::format("; it sends more than before to {}, which is too busy", hot);
    return h;
}

/// "servers b4, b5, b6 (zone B)" or "server:b3".
std::string subject_of(const Facts& f, const std::vector<std::size_t>& set) {
    const auto& all = f.scene.endpoints;
    if (set.size() == 1) return fmt::format("server:{}", all[set.front()].name);
    std::string text = "servers:";
    for (std::size_t k = 0; k < set.size(); ++k) text += fmt::format("{}{}", k == 0 ? "" : ", ", all[set[k]].name);
    const std::string& group = all[set.front()].group;
    const auto in_group = std::count_if(all.begin(), all.end(), [&](const auto& e) { return e.group == group; });
    const bool whole = !group.empty() && static_cast<std::size_t>(in_group) == set.size() &&
                       std::all_of(set.begin(), set.end(), [&](std::size_t i) { return all[i].group == group; });
    return whole ? fmt::format("{} ({})", text, group) : text;
}

/// Endpoints that are bad far more often than the others: the best split of the list sorted by rate.
std::optional<Hypothesis> the_endpoints(const Facts& f, double change_score, bool change_known) {
    std::vector<std::size_t> order(f.work.size());
    std::iota(order.begin(), order.end(), 0u);
    const auto rate = [&](std::size_t i) { return part(f.work[i].all_bad(), f.work[i].all_attempts()); };
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return rate(a) != rate(b) ? rate(a) > rate(b) : a < b; });
    double all_bad = 0, all_attempts = 0;
    for (const Work& w : f.work) all_bad += w.all_bad(), all_attempts += w.all_attempts();
    double best = 0, bad = 0, attempts = 0, best_bad = 0, best_attempts = 0;
    std::size_t size = 0;
    for (std::size_t k = 0; k + 1 < order.size(); ++k) {
        bad += f.work[order[k]].all_bad();
        attempts += f.work[order[k]].all_attempts();
        if (rate(order[k]) < stands_out_rate) break;
        const double others = part(all_bad - bad, all_attempts - attempts);
        if (number(stands_out_count) > bad || part(bad, attempts) < stands_out_times * others) continue;
        const double choices = boost::math::lgamma(number(order.size()) + 1) - boost::math::lgamma(number(k + 1) + 1) -
                               boost::math::lgamma(number(order.size() - k - 1) + 1);
        const double score = two_rates(bad, attempts, all_bad - bad, all_attempts - attempts) - choices;
        if (score > best) best = score, size = k + 1, best_bad = bad, best_attempts = attempts;
    }
    if (size == 0) return std::nullopt;
    const std::vector<std::size_t> set = [&] {
        std::vector<std::size_t> s(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(size));
        std::sort(s.begin(), s.end());
        return s;
    }();
    Hypothesis h;
    h.suspect = set.size() == 1 ? Suspect::endpoint : Suspect::endpoints;
    h.subject = subject_of(f, set);
    h.score = best;
    bool loaded = false;
    std::array<double, 2> set_bad{}, set_attempts{};
    for (const std::size_t i : set) {
        h.endpoints.push_back(f.scene.endpoints[i].id);
        loaded = loaded || blame(f, i) >= loads_more;
        for (std::size_t arm = 0; arm < 2; ++arm) {
            set_bad[arm] += f.work[i].bad[arm];
            set_attempts[arm] += f.work[i].attempts[arm];
        }
    }
    h.evidence = fmt::format("{:.0f} of {:.0f} attempts there fail or are slow, {:.0f} of {:.0f} elsewhere", best_bad,
                             best_attempts, all_bad - best_bad, all_attempts - best_attempts);
    // The harm is there, but is it theirs? Not if the change overloads them, or if only the change's requests suffer.
    const double arm_rates = two_rates(set_bad[1], set_attempts[1], set_bad[0], set_attempts[0]);
    if (change_known && change_score > 0 && (loaded || (f.comparing && arm_rates > 10))) {
        h.score = std::min(h.score, change_score - 1);
        h.evidence += loaded ? "; but the change sends them more than before" : "; but only requests of the change";
    } else if (f.comparing && set_attempts[0] > 0 && set_attempts[1] > 0) {
        h.evidence += fmt::format("; under both revisions alike ({:.1f} % and {:.1f} %)",
                                  100 * part(set_bad[0], set_attempts[0]), 100 * part(set_bad[1], set_attempts[1]));
    }
    return h;
}

/// Endpoints that a signal of their own is about: their attempts fail while others' do not, or active checks hold them
/// down. Theirs, unless the change altered what is checked, loads them more than before, or only its requests fail.
std::optional<Hypothesis> the_told(const Facts& f, double change_score) {
    std::vector<std::size_t> set;
    bool loaded = false, down = true;
    std::array<double, 2> bad{}, attempts{};
    for (std::size_t i = 0; i < f.scene.endpoints.size(); ++i) {
        const EndpointFacts& e = f.scene.endpoints[i];
        const bool told = std::any_of(f.scene.signals.begin(), f.scene.signals.end(), [&](const Signal& s) {
            return s.kind == SignalKind::endpoint && s.endpoint == e.id;
        });
        if (!told) continue;
        set.push_back(i);
        loaded = loaded || blame(f, i) >= loads_more;
        down = down && !e.eligible;
        for (std::size_t arm = 0; arm < 2; ++arm) {
            bad[arm] += f.work[i].bad[arm];
            attempts[arm] += f.work[i].attempts[arm];
        }
    }
    if (set.empty()) return std::nullopt;
    Hypothesis h;
    h.suspect = set.size() == 1 ? Suspect::endpoint : Suspect::endpoints;
    h.subject = subject_of(f, set);
    for (const std::size_t i : set) h.endpoints.push_back(f.scene.endpoints[i].id);
    h.score = down ? down_score : failing_score;
    const char* it = set.size() == 1 ? "it" : "them";
    h.evidence = down ? fmt::format("active checks hold {} down", it)
                      : fmt::format("attempts at {} fail, at the others they do not", it);
    const bool checks_altered =
        f.scene.change &&
        std::any_of(f.scene.change->altered.begin(), f.scene.change->altered.end(), [](const auto& a) {
            return a.path.find(".health") != std::string::npos || a.path.find(".address") != std::string::npos;
        });
    if (checks_altered) {
        h.score = 1;
        h.evidence += "; but the change altered what is checked";
    } else if (loaded && change_score > 0) {
        h.score = std::min(h.score, change_score - 1);
        h.evidence += "; but the change sends them more than before";
    } else if (f.comparing && change_score > 0 && two_rates(bad[1], attempts[1], bad[0], attempts[0]) > 10) {
        h.score = std::min(h.score, change_score - 1);
        h.evidence += "; but only requests of the change";
    }
    return h;
}

std::optional<Hypothesis> the_demand(const Facts& f) {
    const Scene& scene = f.scene;
    if (!(scene.usual.rate > 0) || scene.rate < 1.3 * scene.usual.rate) return std::nullopt;
    const double times = scene.rate / scene.usual.rate;
    double capacity = 0;
    bool known = !scene.endpoints.empty();
    for (const EndpointFacts& e : scene.endpoints) {
        if (!(e.expected_active > 0)) continue;
        known = known && e.capacity > 0;
        capacity += e.capacity;
    }
    Hypothesis h;
    h.suspect = Suspect::demand;
    h.subject = "demand";
    h.score = 10 * std::log(times);
    h.evidence = fmt::format("{:.0f} requests/s, {:.0f} usually ({:.1f} times)", scene.rate, scene.usual.rate, times);
    if (known && capacity > 0) {
        const double utilisation = scene.rate / capacity;
        h.evidence += fmt::format("; all servers together at {:.2f} of their capacity", utilisation);
        // More requests than usual that all fit do no harm.
        h.score = utilisation < 0.7 ? h.score * 0.2 : h.score + (utilisation > 1 ? 10 : 0);
    }
    if (any_firing(scene, SignalKind::demand)) h.score += 2;
    return h;
}

}  // namespace

std::string_view name(Suspect suspect) {
    switch (suspect) {
        case Suspect::change: return "change";
        case Suspect::endpoint: return "endpoint";
        case Suspect::endpoints: return "endpoints";
        case Suspect::demand: return "demand";
        case Suspect::unknown: return "unknown";
    }
    return "?";
}

bool can_cause(std::string_view path, SignalKind kind) {
    if (kind == SignalKind::demand) return false;
    const auto has = [path](std::string_view word) { return path.find(word) != std::string_view::npos; };
    if (path.starts_with("notify") || path.starts_with("recording") || path.starts_with("admin") ||
        path.starts_with("access_log") || path.starts_with("guard") || path.starts_with("workers"))
        return false;
    if (path.starts_with("listeners")) return kind == SignalKind::errors || kind == SignalKind::missing;
    if (path.starts_with("routes")) return true;
    if (has(".timeouts"))
        return kind == SignalKind::errors || kind == SignalKind::latency || kind == SignalKind::endpoint;
    if (has(".limits")) return kind != SignalKind::missing;
    if (has(".capacity") || has(".zone") || has(".labels")) return has(".capacity") && kind == SignalKind::utilisation;
    return true;  // endpoints, weights, policy, health, retries, ejection, panic: whatever decides who gets what
}

std::vector<Hypothesis> diagnose(const Scene& scene) {
    const Facts f = sum_up(scene);
    std::vector<Hypothesis> all;
    if (scene.change) all.push_back(the_change(f));
    const double change_score = all.empty() ? 0 : all.front().score;
    if (auto h = the_endpoints(f, change_score, scene.change.has_value())) all.push_back(std::move(*h));
    if (auto h = the_told(f, change_score)) {
        // The same server by its failed attempts and by its failed checks is one hypothesis.
        const auto same = std::find_if(all.begin(), all.end(), [&](const auto& k) { return k.subject == h->subject; });
        if (same == all.end()) {
            all.push_back(std::move(*h));
        } else {
            same->score = std::max(same->score, h->score);
        }
    }
    if (auto h = the_demand(f)) all.push_back(std::move(*h));
    Hypothesis unknown;
    unknown.subject = "unknown";
    unknown.evidence = "no change, server or demand explains it";
    all.push_back(std::move(unknown));
    std::sort(all.begin(), all.end(), [](const Hypothesis& a, const Hypothesis& b) {
        return a.score != b.score ? a.score > b.score : a.suspect < b.suspect;
    });
    return all;
}

}  // namespace plimsoll::judge

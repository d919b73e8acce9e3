#include "lab/story.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "lab/promises.h"
#include "lab/stage.h"
#include "lab/statistics.h"
#include "lab/story_table.h"

namespace plimsoll::lab {
namespace {

using namespace std::chrono_literals;

constexpr Duration warm_up = 12s;        ///< a recording to test changes against, and a past to compare with
constexpr Duration detection_goal = 1s;  ///< or 50 candidate decisions, whichever is later
constexpr std::uint64_t decision_goal = 50;
constexpr Duration rollback_goal = 100ms;
constexpr double heavy = 9;  ///< of two among eight: 18 of 24 parts, 75 %

/// Two servers get 75 % of the traffic. `nudge` makes a configuration of its own out of it, for a change that was
/// rolled back is not taken again.
Shape concentrated(Shape base, std::size_t first, std::size_t second, double nudge = 0) {
    base.weight.fill(1);
    base.weight[first] = base.weight[second] = heavy + nudge;
    return base;
}

/// What the load saw between two of its reports.
struct Between {
    std::uint64_t due, failed, slow, closed, unexpected;
    std::array<double, backend_count> share{};
};
Between between(const LoadReport& before, const LoadReport& after) {
    Between b{.due = after.due - before.due,
              .failed = after.failed() - before.failed(),
              .slow = after.slow - before.slow,
              .closed = after.closed_unexpectedly - before.closed_unexpectedly,
              .unexpected = after.unexpected - before.unexpected};
    const double answered = static_cast<double>(std::max<std::uint64_t>(1, after.answered - before.answered));
    for (std::size_t i = 0; i < backend_count; ++i) {
        const std::string name = fmt::format("b{}", i);
        const auto count = [&](const LoadReport& r) { return r.backends.contains(name) ? r.backends.at(name) : 0; };
        b.share[i] = static_cast<double>(count(after) - count(before)) / answered;
    }
    return b;
}

std::string shares_text(const Between& b) {
    std::string out;
    for (std::size_t i = 0; i < backend_count; ++i) {
        out += fmt::format("{}b{} {:.1f}", i == 0 ? "" : "  ", i, 100 * b.share[i]);
    }
    return out + " %";
}

/// Largest distance of a backend's share from that of its weight.
double unevenness(const Between& b, const Shape& shape) {
    double total = 0, worst = 0;
    for (const double weight : shape.weight) total += weight;
    for (std::size_t i = 0; i < backend_count; ++i)
        worst = std::max(worst, std::abs(b.share[i] - shape.weight[i] / total));
    return worst;
}

std::string milliseconds_text(std::optional<Duration> d) {
    return d ? fmt::format("{:.0f} ms", milliseconds(*d)) : "never";
}

void say(std::string_view text) {
    fmt::print("\n{}\n", text);
    std::fflush(stdout);
}

/// One play of the story.
class Play {
public:
    explicit Play(Stage& stage, const StoryOptions& options) : stage_(stage), options_(options) {}

    Result<void> act();
    [[nodiscard]] const Promises& promises() const { return promises_; }
    [[nodiscard]] const Clock& clock() const { return clock_; }

private:
    Result<void> warm();
    Result<void> plan_of_the_bad_change();
    Result<void> good_change();
    Result<void> bad_change_forced(std::size_t run);
    Result<void> server_dies();
    Result<void> postmortem_lies_there();

    [[nodiscard]] std::optional<Timestamp> told_since(std::size_t known, std::optional<Timestamp> t0) const;
    [[nodiscard]] Result<std::string> incident_naming(std::string_view server,
                                                      const std::vector<Plimsoll::Incident>& earlier) const;
    void judge_forced(const Applied& applied, const Between& seen, std::size_t run);
    /// What the load sees in the next `duration`.
    Between watch(Duration duration) {
        const LoadReport before = stage_.load->so_far();
        std::this_thread::sleep_for(duration);
        return between(before, stage_.load->so_far());
    }

    Stage& stage_;
    const StoryOptions& options_;
    Promises promises_;
    Clock clock_;
    Shape serving_;  ///< what the active revision says
    std::string incident_of_c_;
    std::vector<std::string> postmortem_files_;
};

Result<void> Play::warm() {
    const Result<std::string> config = stage_.write("start", serving_);
    if (!config) return std::unexpected(config.error());
    if (Result<void> up = stage_.start_server(*config); !up) return up;
    if (Result<void> loaded = stage_.start_load(std::chrono::minutes{30}); !loaded) return loaded;
    say(fmt::format("Eight servers of 200 requests/s, {:.0f} requests/s from {}; {} s to warm up.", options_.rate,
                    options_.log.empty() ? "the traffic model" : options_.log, warm_up / 1s));
    std::this_thread::sleep_for(warm_up);
    const LoadReport report = stage_.load->so_far();
    const Between now = between({}, report);
    fmt::print("  {} requests, {} failed, p50 {:.0f} ms, p99 {:.0f} ms; {}\n", now.due, now.failed,
               milliseconds(report.latency.quantile(0.5)), milliseconds(report.latency.quantile(0.99)),
               shares_text(now));
    if (now.due < 1000 || now.failed * 100 > now.due) {
        return fail(Code::internal, "the stage itself does not serve: see " + stage_.path("logs/server.log"));
    }
    return {};
}

Result<void> Play::plan_of_the_bad_change() {
    say("(a) plan of the bad change: b6 and b7 are to get 75 % of the traffic");
    const Result<std::string> bad = stage_.write("bad", concentrated(serving_, 6, 7));
    if (!bad) return std::unexpected(bad.error());
    const Result<Standing> before = stage_.plimsoll->status();
    if (!before) return std::unexpected(before.error());
    const LoadReport load_before = stage_.load->so_far();
    const Result<Planned> planned = stage_.plimsoll->plan(*bad);
    if (!planned) return std::unexpected(planned.error());
    std::this_thread::sleep_for(1s);  // had it touched a request, it would show now
    const Between seen = between(load_before, stage_.load->so_far());
    const Result<Standing> after = stage_.plimsoll->status();
    if (!after) return std::unexpected(after.error());

    fmt::print("{}\n", planned->text);
    promises_.check("a", "refused with exit 3", planned->exit_code == 3, fmt::format("exit {}", planned->exit_code));
    const bool in_traffic_terms = planned->text.contains("b6") && planned->text.contains("b7") &&
                                  planned->text.contains('%') && planned->text.contains("75");
    promises_.check("a", "says so in traffic terms", in_traffic_terms, in_traffic_terms ? "" : "see above");
    promises_.check("a", "the active revision is the same", !before->digest.empty() && before->digest == after->digest,
                    after->digest.substr(0, 12));
    promises_.check("a", "no request touched", seen.failed == 0 && unevenness(seen, serving_) < 0.03,
                    fmt::format("{} requests, {} failed; {}", seen.due, seen.failed, shares_text(seen)));
    return {};
}

Result<void> Play::good_change() {
    say("(b) a good change of the same look: b0 and b1 have become servers of 800 requests/s and get 75 %");
    Shape shape = concentrated(serving_, 0, 1);
    shape.capacity[0] = shape.capacity[1] = 800;
    for (const std::size_t i : {0u, 1u}) stage_.backends->set_capacity(i, shape.capacity[i]);
    const Result<std::string> good = stage_.write("good", shape);
    if (!good) return std::unexpected(good.error());
    const LoadReport before = stage_.load->so_far();
    const Result<Applied> applied = stage_.plimsoll->apply(*good, {.reason = "b0 and b1 were replaced by larger ones"});
    if (!applied) return std::unexpected(applied.error());
    const Between during = between(before, stage_.load->so_far());
    const bool completed = promises_.check(
        "b", "applied to the end", applied->exit_code == 0 && applied->ending == "completed",
        fmt::format("{} in {:.1f} s, exit {}", applied->ending, seconds(applied->took), applied->exit_code));
    if (!completed) fmt::print("{}{}\n", applied->output, applied->errors);
    promises_.check("b", "0 failed requests", during.failed == 0,
                    fmt::format("{} requests, {} failed", during.due, during.failed));
    promises_.check("b", "0 connections closed", during.closed == 0, fmt::format("{} closed", during.closed));
    promises_.figure("good_change_s", seconds(applied->took));
    if (completed) serving_ = shape;
    const Between after = watch(1s);
    promises_.check("b", "the traffic follows the new weights", unevenness(after, shape) < 0.04, shares_text(after));
    return {};
}

Result<void> Play::bad_change_forced(std::size_t run) {
    const std::size_t first = 2 + 2 * (run % 3);
    if (run == 0) say("(c) the bad change, forced past every gate before traffic");
    // The first run is the change of (a); the others are the same fault elsewhere.
    const std::size_t low = run == 0 ? 6 : first, high = low + 1;
    const Result<std::string> bad = stage_.write(fmt::format("forced-{}", run),
                                                 concentrated(serving_, low, high, 0.001 * static_cast<double>(run)));
    if (!bad) return std::unexpected(bad.error());
    const std::size_t told_before = stage_.hook->messages().size();
    const LoadReport before = stage_.load->so_far();
    const Result<Applied> applied =
        stage_.plimsoll->apply(*bad, {.reason = "the story: somebody is sure", .force = true, .at_once = true});
    if (!applied) return std::unexpected(applied.error());
    const Between seen = between(before, stage_.load->so_far());
    judge_forced(*applied, seen, run);
    if (run != 0) return {};

    clock_.t0 = applied->marks.t0, clock_.detected = applied->marks.detected, clock_.cause = applied->marks.cause;
    clock_.rolled_back = applied->marks.rolled_back, clock_.recovered = applied->marks.recovered;
    clock_.told = told_since(told_before, applied->marks.t0);
    promises_.check("c", "the team was told", clock_.told.has_value(), "");
    promises_.check("c", "an incident was opened", !applied->incident.empty(), applied->incident);
    incident_of_c_ = applied->incident;
    if (!incident_of_c_.empty()) {
        // It is drafted when recovery is proven; the plots and the scenario come with the draft.
        const auto patience = std::chrono::steady_clock::now() + 10s;
        do {
            const auto files = stage_.plimsoll->postmortem(incident_of_c_, stage_.path("postmortem"));
            if (!files) return std::unexpected(files.error());
            postmortem_files_ = *files;
        } while (postmortem_files_.size() < 2 && std::chrono::steady_clock::now() < patience);
        clock_.postmortem =
            Timestamp{std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count()};
    }
    const Between after = watch(1s);
    promises_.check("c", "the traffic is as before", after.failed == 0 && unevenness(after, serving_) < 0.04,
                    fmt::format("{} failed; {}", after.failed, shares_text(after)));
    return {};
}

/// When the first notification came that is newer than the `known` ones and than T0; waits a moment for it.
std::optional<Timestamp> Play::told_since(std::size_t known, std::optional<Timestamp> t0) const {
    const auto patience = std::chrono::steady_clock::now() + 2s;
    do {
        const std::vector<Hook::Message> messages = stage_.hook->messages();
        for (std::size_t i = known; i < messages.size(); ++i) {
            if (t0 && messages[i].at >= *t0) return messages[i].at;
        }
        std::this_thread::sleep_for(10ms);
    } while (std::chrono::steady_clock::now() < patience);
    return std::nullopt;
}

void Play::judge_forced(const Applied& applied, const Between& seen, std::size_t run) {
    const Marks& m = applied.marks;
    const auto since = [](std::optional<Timestamp> from, std::optional<Timestamp> to) -> std::optional<Duration> {
        if (!from || !to) return std::nullopt;
        return *to - *from;
    };
    const auto detection = since(m.t0, m.detected), rollback = since(m.detected, m.rolled_back),
               recovery = since(m.t0, m.recovered);
    fmt::print(
        "  {:>2}: detected {}, cause {}, rolled back {} later, recovered {}; {} candidate decisions, "
        "{} requests harmed (the load saw {} failed, {} slow)\n",
        run + 1, milliseconds_text(detection), milliseconds_text(since(m.t0, m.cause)), milliseconds_text(rollback),
        milliseconds_text(recovery), applied.candidate_decisions, applied.harmed, seen.failed, seen.slow);
    if (detection) promises_.figure("detection_ms", milliseconds(*detection));
    if (rollback) promises_.figure("rollback_ms", milliseconds(*rollback));
    if (applied.switched) promises_.figure("last_started_ms", milliseconds(*applied.switched));
    if (recovery) promises_.figure("recovery_ms", milliseconds(*recovery));
    promises_.figure("harmed", static_cast<double>(applied.harmed));
    promises_.figure("harmed_seen_by_load", static_cast<double>(seen.failed + seen.slow));

    const bool stopped = applied.exit_code == 4 && applied.ending == "rolled_back";
    const bool in_time = detection && (*detection <= detection_goal || applied.candidate_decisions <= decision_goal);
    const bool undone = rollback && *rollback <= rollback_goal;
    if (run == 0 || !stopped || !in_time || !undone || !recovery) {
        const std::string which = run == 0 ? "" : fmt::format("run {}: ", run + 1);
        promises_.check("c", which + "rolled back by itself, exit 4", stopped,
                        fmt::format("{}, exit {}", applied.ending, applied.exit_code));
        promises_.check("c", which + "detected within 1 s or 50 decisions", in_time,
                        fmt::format("{} by {}", milliseconds_text(detection), applied.detected_by));
        promises_.check("c", which + "undone within 100 ms", undone, milliseconds_text(rollback));
        promises_.check("c", which + "recovery proven", recovery.has_value(), milliseconds_text(recovery));
        if (!stopped) fmt::print("{}{}\n", applied.output, applied.errors);
    }
    if (run == 0) {
        promises_.check("c", "the cause names the change", !applied.cause.empty(), applied.cause);
        clock_.harmed = applied.harmed;
    }
}

/// The output of a command that runs in the background, as far as it has come.
std::string so_far(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
}

/// The first incident beyond the `earlier` ones that blames `server`; empty when none comes in time.
Result<std::string> Play::incident_naming(std::string_view server,
                                          const std::vector<Plimsoll::Incident>& earlier) const {
    const auto patience = std::chrono::steady_clock::now() + 10s;
    do {
        const auto incidents = stage_.plimsoll->incidents();
        if (!incidents) return std::unexpected(incidents.error());
        for (const Plimsoll::Incident& incident : *incidents) {
            const bool known = std::ranges::find(earlier, incident.id, &Plimsoll::Incident::id) != earlier.end();
            if (known || !incident.names.contains(server)) continue;
            return fmt::format("{}: {} - {}", incident.id, incident.names, incident.evidence);
        }
        std::this_thread::sleep_for(100ms);
    } while (std::chrono::steady_clock::now() < patience);
    return std::string();
}

Result<void> Play::server_dies() {
    say("(d) a good change: b2 and b3 become larger; while it is let in, b5 dies by itself");
    Shape shape = serving_;
    shape.weight[2] = shape.weight[3] = 2;
    shape.capacity[2] = shape.capacity[3] = 400;
    for (const std::size_t i : {2u, 3u}) stage_.backends->set_capacity(i, shape.capacity[i]);
    const Result<std::string> good = stage_.write("larger", shape);
    if (!good) return std::unexpected(good.error());
    const auto earlier = stage_.plimsoll->incidents();
    if (!earlier) return std::unexpected(earlier.error());
    const LoadReport before = stage_.load->so_far();
    const std::string log = stage_.path("logs/apply-d.json");
    Result<Child> apply =
        stage_.plimsoll->start_apply(*good, {.reason = "b2 and b3 were replaced by larger ones"}, log);
    if (!apply) return std::unexpected(apply.error());
    const auto patience = std::chrono::steady_clock::now() + 30s;
    while (apply->running() && !so_far(log).contains("\"stage\":\"canary\"") &&
           std::chrono::steady_clock::now() < patience)
        std::this_thread::sleep_for(20ms);
    const bool in_canary = apply->running() && so_far(log).contains("\"stage\":\"canary\"");
    promises_.check("d", "b5 dies while the change takes traffic", in_canary, "");
    if (Result<void> died = stage_.backends->set_faults(5, {.dead = true}); !died) return died;
    Finished finished = apply->wait(150s);
    finished.output = so_far(log);
    const Applied applied = read_applied(finished);
    const Between during = between(before, stage_.load->so_far());
    promises_.check("d", "the change completes", applied.exit_code == 0 && applied.ending == "completed",
                    fmt::format("{} in {:.1f} s, exit {}; {} of {} requests failed", applied.ending,
                                seconds(applied.took), applied.exit_code, during.failed, during.due));
    if (applied.exit_code != 0) fmt::print("{}\n", applied.output);
    promises_.figure("server_death_failed", static_cast<double>(during.failed));

    const Result<std::string> named = incident_naming("b5", *earlier);
    if (!named) return std::unexpected(named.error());
    promises_.check("d", "the incident names b5", !named->empty(), named->empty() ? "no incident does" : *named);
    return stage_.backends->set_faults(5, {});
}

Result<void> Play::postmortem_lies_there() {
    say("(e) the postmortem of (c)");
    const std::string directory = stage_.path("postmortem");
    const std::string text = so_far(directory + "/postmortem.md");
    std::string missing;
    for (const std::string_view section :
         {"Overview", "Timeline of Events", "Root Cause Analysis", "Mitigation Steps", "Preventive Measures"}) {
        if (!text.contains(fmt::format("# {}", section))) missing += fmt::format(" {};", section);
    }
    promises_.check("e", "it has the five sections", missing.empty(),
                    missing.empty() ? directory + "/postmortem.md" : "missing:" + missing);
    const auto with = [&](std::string_view ending) {
        return std::ranges::count_if(postmortem_files_, [&](const std::string& f) { return f.ends_with(ending); });
    };
    promises_.check("e", "and its plots", with(".svg") >= 3, fmt::format("{} plots", with(".svg")));
    const auto scenario = std::ranges::find_if(
        postmortem_files_, [](const std::string& f) { return f.contains("scenario") || f.ends_with(".scn"); });
    if (scenario == postmortem_files_.end()) {
        promises_.check("e", "its scenario is refused", false, "there is no scenario");
        return {};
    }
    const Result<Finished> replayed = stage_.plimsoll->simulate(directory + "/" + *scenario);
    if (!replayed) return std::unexpected(replayed.error());
    // The scenario itself says `expect change refused`: exit 0 when what it expects comes true, 3 without expectations.
    const bool expected = replayed->exit_code == 0 && replayed->output.contains("expect change refused  (refused");
    const bool refused = replayed->exit_code == 3 || expected;
    promises_.check("e", "its scenario, replayed, is refused", refused,
                    fmt::format("{}: exit {}", *scenario, replayed->exit_code));
    if (!refused) fmt::print("{}{}\n", replayed->output, replayed->errors);
    return {};
}

Result<void> Play::act() {
    if (Result<void> r = warm(); !r) return r;
    if (Result<void> r = plan_of_the_bad_change(); !r) return r;
    if (Result<void> r = good_change(); !r) return r;
    for (std::size_t run = 0; run < std::max<std::size_t>(1, options_.runs); ++run) {
        if (Result<void> r = bad_change_forced(run); !r) return r;
    }
    if (Result<void> r = server_dies(); !r) return r;
    return postmortem_lies_there();
}

}  // namespace

int play(const StoryOptions& options) {
    const auto began = std::chrono::steady_clock::now();
    auto stage = Stage::set({.plimsoll = options.plimsoll,
                             .directory = options.directory,
                             .log = options.log,
                             .rate = options.rate,
                             .seed = options.seed,
                             .pace = {}});
    if (!stage) {
        fmt::print(stderr, "the stage cannot be set: {}\n", stage.error().detail);
        return 2;
    }
    Play story(**stage, options);
    const Result<void> acted = story.act();
    const LoadReport report = (*stage)->load ? (*stage)->load->finish() : LoadReport{};
    (*stage)->stop_server();
    if (!acted) {
        fmt::print(stderr, "the story broke off: {}\n(see {})\n", acted.error().detail, (*stage)->path("logs"));
        return 2;
    }
    const Duration took = std::chrono::steady_clock::now() - began;
    fmt::print("\n{}", print_table(story.clock()));
    if (options.runs > 1) fmt::print("\n{}", print_runs(story.promises()));
    fmt::print("\nThe whole run: {} requests, {} failed, {} slow, {:.0f} s.\n", report.due, report.failed(),
               report.slow, seconds(took));
    if (!options.json.empty()) std::ofstream(options.json) << story.promises().to_json();
    const std::size_t broken = story.promises().broken();
    if (broken == 0) {
        fmt::print("All {} promises kept.\n", story.promises().all().size());
        return 0;
    }
    fmt::print("{} of {} promises broken:\n", broken, story.promises().all().size());
    for (const Promise& p : story.promises().all()) {
        if (!p.kept) fmt::print("  ({}) {}: {}\n", p.scene, p.what, p.found);
    }
    return 1;
}

}  // namespace plimsoll::lab

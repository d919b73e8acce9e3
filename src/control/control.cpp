#include "control/control.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <ranges>
#include <thread>

#include "base/exit_code.h"
#include "base/hash.h"
#include "rollout/rollout.h"

namespace plimsoll::control {

namespace {

/// How often workers are asked. Bounds how late harm is seen; costs each worker some microseconds.
constexpr Duration tick_length = std::chrono::milliseconds(100);
/// A worker that has not answered for this long leaves control blind. Leases run out then too (rollout::lease).
constexpr Duration blind_after = rollout::lease;
/// What a diagnosis looks back on.
constexpr std::size_t recent_seconds = 30;
/// The rate that judges are told is the mean over this many ticks: one second.
constexpr std::size_t rate_windows = 10;
/// Over which the recorded peak is measured, as check::Traffic::peak_rate.
constexpr Duration peak_window = std::chrono::seconds(10);

std::string revision_name(RevisionNumber number) { return fmt::format("r{}", number.value); }

std::uint64_t requests_in(const measure::Tally& window) {
    std::uint64_t sum = 0;
    for (const measure::ArmTally& arm : window.arms) {
        sum += arm.unmatched.requests;
        for (const auto& [id, route] : arm.routes) sum += route.requests;
    }
    return sum;
}

}  // namespace

Control::Control(net::Network& network, const ControlSettings& settings)
    : network_(network), settings_(settings), started_(network.now()), quiet_since_(network.now()) {}

Control::~Control() {
    scope_.cancel();
    background_.reset();
}

Result<std::unique_ptr<Control>> Control::start(net::Network& network, std::unique_ptr<store::Journal> journal,
                                                std::optional<config::Document> first,
                                                const ControlSettings& settings) {
    std::unique_ptr<Control> control(new Control(network, settings));
    auto ledger = Ledger::open(std::move(journal));
    if (!ledger) return std::unexpected(ledger.error());
    control->ledger_ = std::move(*ledger);
    control->end_interrupted();
    if (const auto chosen = control->choose_revision(std::move(first)); !chosen) return std::unexpected(chosen.error());

    Site& site = control->site_;
    const config::Config& config = site.active_document.config;
    ControlSettings& set = control->settings_;
    if (set.workers == 0) set.workers = config.workers;
    if (set.workers == 0) set.workers = std::max(1u, std::thread::hardware_concurrency());
    site.active = compile_served(config, {}, control->ledger_->history().active, site.identities, set.workers, nullptr);
    site.active_mix = rollout::equal_mix(*site.active);
    site.watch = judge::Watch({.utilisation_cap = config.guard.utilisation_cap});

    auto fleet = Fleet::start(network, {.workers = set.workers,
                                        .hash_key = keyed_hash(std::uint64_t{1}, set.seed),
                                        .seed = keyed_hash(std::uint64_t{2}, set.seed),
                                        .record = true,
                                        .listening = set.listening});
    if (!fleet) return std::unexpected(fleet.error());
    control->fleet_ = std::move(*fleet);
    control->memory_ = std::make_unique<MemoryWatch>(*control->fleet_, site.active->max_memory);
    control->members_ = std::make_unique<Members>(Members::Parts{network, site, *control->ledger_, *control->fleet_});
    control->recorder_ = std::make_unique<Recorder>(set.state + "/recording", config.recording);
    control->remember_peak();

    Control* self = control.get();
    control->prober_ = std::make_unique<Prober>(
        network, keyed_hash(std::uint64_t{3}, set.seed),
        [self](EndpointId id, balance::Health health, balance::Entry entry, const std::string& why) {
            const std::string_view name = self->site_.identities.endpoint_name(id);
            if (health == balance::Health::down) {
                self->site_.down.insert(id);
                spdlog::warn("endpoint {} is down: {}", name, why);
            } else {
                self->site_.down.erase(id);
                spdlog::info("endpoint {} is up: {}", name, why);
            }
            self->fleet_->set_health(id, health, entry);
        });
    control->prober_->set_tls([self](const snapshot::Snapshot& snapshot, const snapshot::Pool& pool) {
        std::vector<std::string> told_at_install;
        for (const auto& each : {self->site_.active, self->site_.candidate}) {
            if (each.get() == &snapshot) (void)self->fleet_->credentials().prepared(each, told_at_install);
        }
        return self->fleet_->credentials().pool(snapshot, pool);
    });
    control->notifier_ = std::make_unique<Notifier>(
        network, keyed_hash(std::uint64_t{4}, set.seed),
        [self](const incident::Notification& notification, const incident::Delivery& delivery) {
            static_cast<void>(self->ledger_->append(delivery_entry(
                {delivery.at, delivery.channel, notification.incident, std::string(incident::name(notification.event)),
                 static_cast<int>(delivery.attempt), delivery.status, delivery.arrived(), delivery.error})));
            if (!delivery.arrived())
                spdlog::warn("webhook {}: attempt {} failed: {}", delivery.channel, delivery.attempt, delivery.error);
            if (!notification.incident.empty())
                self->care_->observe(incident::Delivered{notification.incident, delivery});
        });
    control->care_ = std::make_unique<Care>(Care::Parts{
        network, site, *control->ledger_, [self] { return self->scene(); },
        [self](const incident::Notify& notify, const incident::Incident* about) {
            const auto& webhooks = self->site_.active_document.config.notify;
            if (webhooks.empty()) return;
            self->notifier_->send(
                incident::notification(notify, about, self->network_.wall(), self->ledger_->history().sequence + 1),
                webhooks);
        },
        set.state + "/incidents", set.version});
    control->care_->restore();
    control->spans_ = std::make_unique<SpansExporter>(network, set.version);
    control->background_ = std::make_unique<Background>(network);
    control->changes_ = std::make_unique<Changes>(Changes::Parts{
        network, site, *control->ledger_, *control->fleet_, *control->prober_, *control->care_, *control->recorder_,
        *control->background_, *control->members_, keyed_hash(std::uint64_t{5}, set.seed), set.workers});
    control->members_->follow({&config});
    if (!control->members_->found().empty())  // known from before a restart
        site.active = compile_served(config, control->members_->found(), site.active->revision, site.identities,
                                     set.workers, nullptr);
    control->prober_->watch({site.active.get()});
    control->scope_.spawn(control->keep_time());
    return control;
}

// ---- starting ------------------------------------------------------------------------------------------------------

/// Says of each change without an ending what the journal proves of it. A journal that cannot be written now is no
/// reason not to serve: they are ended at the next start.
void Control::end_interrupted() {
    std::vector<store::Entry> entries;
    const History& history = ledger_->history();
    for (const ChangeRecord& change : history.changes) {
        if (!change.ending.empty()) continue;
        ChangeRecord ended = change;
        ended.ended = network_.wall();
        if (change.revision == RevisionNumber{} || change.revision != history.active) {
            ended.ending = "interrupted";
            ended.exit_code = exit_code::error;
            ended.summary =
                "INTERRUPTED: the server stopped while the change was in progress; it did not become active";
        } else {
            const bool good = history.last_known_good() == history.active;  // written with `active` by a completed one
            ended.ending = "completed";
            ended.exit_code = good ? exit_code::done : exit_code::unverified;
            ended.summary = fmt::format("{} is active; the server stopped before {}", revision_name(history.active),
                                        good ? "it could say so" : "recovery was verified");
        }
        spdlog::warn("{} had not ended when the server stopped; {} serves", change.id, revision_name(history.active));
        entries.push_back(ending_entry(ended));
    }
    if (const auto written = ledger_->append(std::move(entries)); !written)
        spdlog::error("the journal cannot be written: {}", written.error().detail);
}

Result<void> Control::choose_revision(std::optional<config::Document> first) {
    const History& history = ledger_->history();
    if (const Revision* active = history.active_revision(); active != nullptr) {
        config::Parsed parsed = config::parse(active->text, active->file);
        if (!parsed.document)
            return fail(Code::invalid, fmt::format("{} of the journal cannot be read by this version: {}",
                                                   revision_name(active->number),
                                                   parsed.findings.empty() ? "" : text(parsed.findings.front())));
        if (first && config::digest(first->config) != active->digest)
            spdlog::warn("{} differs from {}, which is active and serves; `plimsoll apply {}` lets it in", first->file,
                         revision_name(active->number), first->file);
        site_.active_document = std::move(*parsed.document);
        return {};
    }
    if (!first) return fail(Code::invalid, "the journal has no revision yet; give a configuration with -c FILE");
    const Timestamp at = network_.wall();
    const RevisionNumber number = history.next_revision();
    std::vector<store::Entry> entries;
    entries.push_back(revision_entry({number, {}, config::digest(first->config), first->text, first->file, {}, at}));
    entries.push_back(active_entry(number, "first start", at));
    if (const auto written = ledger_->append(std::move(entries)); !written) return written;
    site_.active_document = std::move(*first);
    first_start_ = true;
    return {};
}

void Control::remember_peak() { site_.peak_rate = peak_rate(recorder_->segments()); }

void Control::when_serving(std::function<void(const std::vector<std::string>&)> done) {
    // Who asks in the first second shall not be told that nobody is there, only because nobody has been asked.
    members_->discovery().await(site_.active_document.config, [this, done = std::move(done)] {
        for (const std::string& pool : members_->nobody(site_.active_document.config)) spdlog::error("{}", pool);
        if (members_->changed()) {
            site_.active = compile_served(site_.active_document.config, members_->found(), site_.active->revision,
                                          site_.identities, settings_.workers, nullptr);
            members_->installed();
            prober_->watch({site_.active.get()});
        }
        prober_->started();
        serving_ = true;
        fleet_->install({site_.active, nullptr, {}, false, 0, never},
                        [this, done](const Fleet::Installed& installed) { done(what_stops(installed)); });
    });
}

void Control::does_not_serve() {
    if (!first_start_) return;
    const auto written = ledger_->append({active_entry({}, "the first start failed", network_.wall())});
    if (!written) spdlog::error("the journal cannot be written: {}", written.error().detail);
}

/// The failures of the first install that are a reason not to serve.
std::vector<std::string> Control::what_stops(const Fleet::Installed& installed) {
    changes_->began(installed.failures);
    if (installed.failures.empty()) return {};
    if (first_start_ || !settings_.serve_what_can || installed.listening == 0) return installed.failures;
    for (const std::string& failure : installed.failures) spdlog::error("{}", failure);
    spdlog::error("{} served before and serves again without what is named above, which is tried every ten seconds",
                  revision_name(history().active));
    return {};
}

void Control::shut_down(Duration grace, std::function<void()> done, Duration idle_grace) {
    changes_->shut_down();
    const Instant deadline = network_.now() + grace;
    fleet_->drain(deadline, idle_grace);
    struct Wait {
        static async::Task<void> until_drained(Control& control, Instant until, std::function<void()> then) {
            const auto drained = std::make_shared<bool>(false);  // an answer may come when nobody waits any more
            while (!*drained && control.network_.now() < until) {
                control.fleet_->drained([drained](bool all) { *drained = all; });
                co_await control.network_.sleep_until(control.network_.now() + std::chrono::milliseconds(20));
            }
            if (!control.stood_down_) control.recorder_->flush(control.network_.wall());
            then();
        }
    };
    scope_.spawn(Wait::until_drained(*this, deadline, std::move(done)));
}

// ---- every tenth of a second ---------------------------------------------------------------------------------------

/// In rounds of tick_length: certificate files are looked at every ten seconds, ticket keys last eight hours (and are
/// taken for two such times more).
constexpr std::uint64_t certificates_every = 100;
constexpr std::uint64_t tickets_every = 8 * 3600 * 10;

async::Task<void> Control::keep_time() {
    Instant next = network_.now();
    std::uint64_t rounds = 0;
    while (true) {
        next = std::max(next + tick_length, network_.now());
        co_await network_.sleep_until(next);
        if (stood_down_) continue;
        if (serving_ && members_->changed()) changes_->membership_changed();
        if (++rounds % 10 == 0) look_at_members();  // also when a worker is silent: then above all
        if (rounds % 10 == 0) memory_->set_written(site_.active->max_memory);
        if (rounds % certificates_every == 0 && serving_) renew_certificates();
        if (rounds % tickets_every == 0) fleet_->credentials().rotate_tickets();
        if (collecting_) {  // a worker is slow to answer: its counts come with the next round
            if (const Duration silent = network_.now() - asked_; silent >= blind_after) changes_->unmeasured(silent);
            continue;
        }
        collecting_ = true;
        asked_ = network_.now();
        fleet_->collect([this](Collected collected) {
            collecting_ = false;
            slowest_tick_ = std::max(slowest_tick_, network_.now() - asked_);
            if (stood_down_) return;
            tick(std::move(collected));
        });
    }
}

void Control::renew_certificates() {
    std::vector<std::string> failures;
    if (fleet_->credentials().refresh(failures)) {
        spdlog::info("certificate files have changed; new connections get the new ones");
        changes_->reinstall();
    } else if (changes_->lacks()) {
        changes_->reinstall();
    }
    for (const std::string& failure : failures) spdlog::error("certificate files have changed, but {}", failure);
    for (const std::string& remark : fleet_->credentials().remarks(network_.wall())) spdlog::warn("{}", remark);
}

void Control::tick(Collected collected) {
    ++ticks_;
    const Instant now = network_.now();
    recorder_->add(std::move(collected.records), network_.wall());
    collected.records = {};
    if (ticks_ % 10 == 1) spans_->set(site_.active->tracing);
    spans_->add(std::exchange(collected.spans, {}));
    const measure::Tally window = std::move(collected.tally);
    collected.tally = {};
    last_ = std::move(collected);

    site_.series.add(window);
    measure::extend(site_.totals, window);
    windows_.push_back({window.to - window.from, requests_in(window)});
    if (windows_.size() > rate_windows) windows_.pop_front();
    Duration span{};
    std::uint64_t requests = 0;
    for (const auto& [length, count] : windows_) span += length, requests += count;
    site_.rate = span > Duration{} ? static_cast<double>(requests) / seconds(span) : 0;
    if (ticks_ % 10 == 0) {
        const Instant whole{now.ns / 1'000'000'000 * 1'000'000'000};  // the second that is being filled is left out
        const measure::Second ten = site_.series.sum(whole - peak_window, whole);
        site_.peak_rate = std::max(site_.peak_rate, static_cast<double>(ten.requests()) / seconds(peak_window));
    }

    measure::extend(second_, window);
    if (recent_share_ != site_.share) {  // a diagnosis compares arms at one share
        recent_share_ = site_.share;
        recent_.clear();
        second_ = {};  // this window saw both shares
    }
    if (second_.to - second_.from >= std::chrono::seconds(1)) {
        const rollout::PoolMix mix = rollout::pool_mix(*site_.active, second_);
        if (rollout::says_something(mix)) site_.active_mix = mix;
        recent_.push_back(std::exchange(second_, {}));
        if (recent_.size() > recent_seconds) recent_.erase(recent_.begin());
    }
    look_at_ejections();
    collect_signals(window);
    if (ticks_ % 10 == 0) care_->tick();
    earn_known_good();
}

void Control::collect_signals(const measure::Tally& window) {
    const std::vector<judge::EndpointFacts> facts = site_.facts();
    const std::vector<judge::Signal> signals = site_.watch.observe(window, facts, site_.share);
    for (const judge::Signal& signal : signals) {
        if (signal.firing)
            spdlog::warn("signal {}: {}", judge::name(signal.kind), signal.text);
        else
            spdlog::info("signal {} cleared: {}", judge::name(signal.kind), signal.text);
        const auto about = std::ranges::find(facts, signal.endpoint, &judge::EndpointFacts::id);
        care_->observe(incident::SignalSeen{signal, about == facts.end() ? std::string() : about->pool});
    }
    std::vector<judge::Hypothesis> hypotheses;
    // A diagnosis right after the first signal may know too little: asked again each second while something fires.
    const bool again = ticks_ % 10 == 0 && !site_.watch.firing().empty();
    if (changes_->in_progress() && (!signals.empty() || again)) hypotheses = judge::diagnose(scene());
    changes_->measured(window, facts, signals, hypotheses);
}

void Control::look_at_ejections() {
    constexpr std::size_t told_at_once = 20;  // a rack that fails is one story, not a thousand
    const snapshot::Snapshot* const resident[] = {site_.active.get(), site_.candidate.get()};
    const std::vector<EjectionWatch::Seen> seen = ejections_.look(fleet_->ejections(), resident, network_.now());
    if (seen.empty()) return;
    for (const EjectionWatch::Seen& one : seen | std::views::take(told_at_once))
        spdlog::log(one.out ? spdlog::level::warn : spdlog::level::info, "{}", one.text);
    if (seen.size() > told_at_once) spdlog::warn("and {} more endpoints", seen.size() - told_at_once);
    site_.out = ejections_.out();
}

void Control::look_at_members() {
    for (const Divergence::Seen& seen : members_->tick()) {
        if (seen.signal.firing)
            spdlog::warn("signal {}: {}", judge::name(seen.signal.kind), seen.signal.text);
        else
            spdlog::info("signal {} cleared: {}", judge::name(seen.signal.kind), seen.signal.text);
        care_->observe(incident::SignalSeen{seen.signal, seen.pool});
    }
}

judge::Scene Control::scene() const {
    judge::Scene scene;
    scene.now = network_.now();
    scene.signals = site_.watch.firing();
    scene.change = changes_->newest_live();
    for (const measure::Tally& second : recent_) measure::extend(scene.since, second);
    measure::extend(scene.since, second_);
    scene.endpoints = site_.facts();
    scene.usual = site_.watch.usual();
    scene.rate = site_.rate;
    return scene;
}

void Control::earn_known_good() {
    const Instant now = network_.now();
    const History& history = ledger_->history();
    const bool same = std::exchange(quiet_of_, site_.active->revision) == site_.active->revision;
    const bool quiet = same && site_.active->revision == history.active && !changes_->in_progress() &&
                       site_.watch.firing().empty() && site_.rate > 0;
    if (!quiet) quiet_since_ = now;
    const Duration soak = site_.active_document.config.guard.soak;
    if (!quiet || now - quiet_since_ < std::max(soak, Duration(std::chrono::seconds(1))) ||
        history.last_known_good() == history.active)
        return;
    quiet_since_ = now;
    if (ledger_->append(known_good_entry(history.active, network_.wall())))
        spdlog::info("{} has served well for {}: last known good", revision_name(history.active), text(soak));
}

// ---- what people do ------------------------------------------------------------------------------------------------

Result<std::string> Control::thaw(const std::string& prefix, const std::string& who, const std::string& why) {
    const std::map<std::string, Frozen>& frozen = ledger_->history().frozen;
    const auto begins = [&](const auto& one) { return prefix.size() >= 4 && one.first.starts_with(prefix); };
    const auto found = std::ranges::find_if(frozen, begins);
    if (found == frozen.end())
        return fail(Code::not_found, fmt::format("no frozen configuration has a digest that begins with '{}' "
                                                 "(give at least 4 digits)",
                                                 prefix));
    if (std::ranges::count_if(frozen, begins) > 1)
        return fail(Code::invalid,
                    fmt::format("several frozen configurations have a digest that begins with '{}': give "
                                "more digits",
                                prefix));
    const Frozen thawed = found->second;  // the entry goes with the append
    const auto written = ledger_->append(thawed_entry(thawed.digest, fmt::format("{}: {}", who, why), network_.wall()));
    if (!written) return std::unexpected(written.error());
    return fmt::format("{:.12} (undone as {}) may be applied again", thawed.digest, thawed.change);
}

Result<void> Control::acknowledge(const std::string& incident, const std::string& who, const std::string& note) {
    if (care_->state().find(incident) == nullptr)
        return fail(Code::not_found, fmt::format("there is no incident {}", incident));
    care_->observe(incident::Acknowledged{incident, who});
    if (!note.empty()) care_->observe(incident::NoteAdded{incident, who, note});
    return {};
}

Control::Gauges Control::gauges() const {
    Gauges out;
    out.connections = last_.connections;
    out.idle_upstream = last_.idle_upstream;
    out.accept_pauses = last_.accept_pauses;
    out.workers = fleet_->size();
    out.replays_waiting = background_->waiting();
    out.deliveries_pending = notifier_->pending();
    out.journal_failures = ledger_->failures();
    out.journal_failure = ledger_->last_failure();
    out.recorder_failures = recorder_->failures();
    out.recorder_failure = recorder_->last_failure();
    out.recording_bytes = recorder_->bytes();
    out.ticks = ticks_;
    out.slowest_tick = slowest_tick_;
    out.started = started_;
    out.probes = prober_->figures();
    out.sources = members_->figures();
    out.memberships = members_->version();
    out.memory = memory_->figures();
    return out;
}

}  // namespace plimsoll::control

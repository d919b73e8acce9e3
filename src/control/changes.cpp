// Submitting, planning and ending changes; what a rollout asks for is performed in change_effects.cpp.
#include "control/changes.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/exit_code.h"
#include "base/hash.h"
#include "control/current_change.h"

namespace plimsoll::control {

namespace {

/// A change is the context of what happens within an hour of it.
constexpr Duration context = std::chrono::hours(1);
/// How often the journal is asked to take what it owes us; each try may wait for a sick disk.
constexpr Duration pay_every = std::chrono::seconds(1);

std::string revision_name(RevisionNumber number) { return fmt::format("r{}", number.value); }

}  // namespace

Changes::Changes(Parts parts) : parts_(std::move(parts)) {}
Changes::~Changes() = default;

PlanRequest Changes::plan_request(std::string text, std::string file) const {
    const Site& site = parts_.site;
    PlanRequest request;
    request.text = std::move(text);
    request.file = std::move(file);
    request.active = site.active_document.config;
    const RevisionNumber active = parts_.ledger.history().active;
    request.base_name = revision_name(active);
    if (parts_.ledger.history().last_known_good() == active) request.base_name += " (last known good)";
    parts_.recorder.flush(parts_.network.wall());
    request.segments = parts_.recorder.segments();
    request.peak_rate = site.peak_rate;
    for (const snapshot::Pool& pool : site.active->pools)
        for (const snapshot::Endpoint& endpoint : pool.endpoints)
            if (site.is_down(endpoint.id)) request.out.push_back({pool.name, endpoint.address, "down"});
    request.seed = parts_.seed;
    request.now = parts_.network.wall();
    request.certificates = parts_.fleet.credentials().files();
    request.found = parts_.members.found();
    return request;
}

void Changes::run_plan(PlanRequest request, std::function<void(Planned)> done) {
    parts_.background.run([this, request = std::move(request), done = std::move(done)]() mutable {
        Background::Turns turns;
        auto planned = std::make_shared<Planned>(make_planned(request, [&turns] { turns.rest(); }));
        return [this, request = std::move(request), done = std::move(done), planned]() mutable {
            if (!planned->unasked) return done(std::move(*planned));
            parts_.members.remember(planned->document->config);
            const config::Config& proposed = planned->document->config;
            parts_.members.discovery().await(
                proposed, [this, request = std::move(request), done = std::move(done), planned]() mutable {
                    request.found = parts_.members.found();
                    request.found_is_all = true;
                    run_plan(std::move(request), std::move(done));
                });
        };
    });
}

void Changes::follow_sources() {
    const bool candidate = current_ && current_->planned && current_->planned->document;
    parts_.members.follow(
        {&parts_.site.active_document.config, candidate ? &current_->planned->document->config : nullptr});
}

void Changes::reinstall() {
    const Site& site = parts_.site;
    // The lease is as long as a renewal's: control is alive, or it would not be here.
    const Instant lease = site.candidate ? parts_.network.now() + rollout::lease : never;
    parts_.fleet.install(resident(lease), [this](const Fleet::Installed& done) {
        for (const std::string& failure : done.failures) spdlog::error("{}", failure);
        if (!parts_.site.candidate) usual_failures_ = done.failures;
    });
    parts_.prober.watch({site.active.get(), site.candidate.get()});
}

void Changes::membership_changed() {
    Site& site = parts_.site;
    const discovery::Found& found = parts_.members.found();
    const bool adopted = current_ && current_->candidate == site.active;
    site.active = compile_served(site.active_document.config, found, site.active->revision, site.identities,
                                 parts_.workers, site.active.get());
    if (adopted) {
        current_->candidate = site.active;
    } else if (current_ && current_->candidate) {
        const bool resident = site.candidate == current_->candidate;
        current_->candidate = compile_served(current_->planned->document->config, found, current_->candidate->revision,
                                             site.identities, parts_.workers, current_->candidate.get());
        if (resident) site.candidate = current_->candidate;
    }
    parts_.members.installed();
    reinstall();
}

/// A new check that would take down servers that are well must not be let in: it ends the change before it decides.
void Changes::stop_for_checks() {
    if (!current_ || !parts_.site.candidate || current_->record.forced) return;
    for (const CheckTrial& trial : parts_.prober.trials()) {
        if (!trial.too_many) continue;
        return advance(
            rollout::Command{rollout::Verb::abort, "plimsoll",
                             fmt::format("the health check of pool {} would take down {} of {} servers that are up: {}",
                                         trial.pool, trial.fall, trial.up, trial.why)});
    }
}

Result<void> Changes::plan(std::string text, std::string file, std::function<void(PlanAnswer)> done) {
    if (parts_.background.waiting() >= max_plans_waiting)
        return fail(Code::limit, "too many plans are waiting; try again in a moment");
    run_plan(plan_request(std::move(text), std::move(file)), [this, done = std::move(done)](Planned made) {
        PlanAnswer answer{std::move(made), {}};
        const auto& frozen = parts_.ledger.history().frozen;
        if (const auto found = frozen.find(answer.planned.plan.digest);
            answer.planned.document && found != frozen.end())
            answer.frozen = found->second.reason;
        done(std::move(answer));
    });
    return {};
}

Result<std::shared_ptr<Feed>> Changes::submit(Submission submission) {
    const History& history = parts_.ledger.history();
    if (stopping_) return fail(Code::conflict, "the server is stopping");
    if (current_ || verification_)
        return fail(Code::conflict, fmt::format("{} is in progress; wait for it, or stop it with `plimsoll abort`",
                                                current_ ? current_->record.id : "a rollback"));
    if (!submission.base_digest.empty() && submission.base_digest != parts_.site.active->digest)
        return fail(
            Code::conflict,
            fmt::format("the plan is stale: it was made against {:.12}, but {:.12} ({}) is active now; plan again",
                        submission.base_digest, parts_.site.active->digest, revision_name(history.active)));
    if ((submission.force || submission.at_once) && submission.reason.empty())
        return fail(Code::invalid, "going past the gates needs a reason");
    pay();
    if (!owed_.empty())
        return fail(Code::io, fmt::format("the journal cannot be written: {}", parts_.ledger.last_failure()));

    current_ = std::make_unique<Current>();
    current_->submission = ++submissions_;
    current_->record.id = next_change();
    current_->record.base = history.active;
    current_->record.file = submission.file;
    current_->record.author = submission.author;
    current_->record.reason = submission.reason;
    current_->record.forced = submission.force;
    current_->record.at_once = submission.at_once;
    current_->record.submitted = parts_.network.wall();
    current_->text = submission.text;
    current_->feed = std::make_shared<Feed>();
    auto feed = current_->feed;
    spdlog::info("{}: {} proposes {}{}", current_->record.id, submission.author, submission.file,
                 submission.reason.empty() ? "" : ": " + submission.reason);
    run_plan(plan_request(std::move(submission.text), std::move(submission.file)),
             [this, submitted = current_->submission](Planned made) {
                 if (current_ && current_->submission == submitted) planned(std::move(made));
             });
    return feed;
}

void Changes::planned(Planned planned) {
    ChangeRecord& record = current_->record;
    record.digest = planned.plan.digest;
    if (const auto written = parts_.ledger.append(change_entry(record)); !written)
        return close("interrupted", exit_code::error, "the journal cannot be written: " + written.error().detail, {});
    current_->announced = true;
    line("plan", check::describe(planned.plan), false);

    if (!planned.document)
        return close("rejected", exit_code::rejected, "REJECTED: the configuration cannot be read", {});
    if (const auto nobody = parts_.members.nobody(planned.document->config); planned.unservable && !nobody.empty())
        return close("rejected", exit_code::rejected, "REJECTED: " + nobody.front(), {});
    if (planned.verdict == check::Verdict::no_change)
        return close("no_change", exit_code::done, "no change: the effective configuration is the active one", {});
    const auto frozen = parts_.ledger.history().frozen.find(record.digest);
    if (frozen != parts_.ledger.history().frozen.end() && !record.forced)
        return close("frozen", exit_code::conflict,
                     fmt::format("FROZEN: this configuration was undone before ({}): {}; `plimsoll thaw {:.12} -m WHY` "
                                 "allows it again",
                                 frozen->second.change, frozen->second.reason, record.digest),
                     {});
    begin(std::move(planned));
}

void Changes::begin(Planned planned) {
    ChangeRecord& record = current_->record;
    rollout::Proposal proposal;
    proposal.base = record.base;
    proposal.base_digest = parts_.site.active->digest;
    proposal.digest = record.digest;
    proposal.config = current_->text;
    proposal.author = record.author;
    proposal.message = record.reason;
    proposal.guard = parts_.site.active_document.config.guard;
    proposal.options = {record.forced, record.at_once, record.reason};
    for (const config::Difference& difference : planned.plan.differences) {
        proposal.altered.push_back({difference.path, difference.before, difference.after});
        current_->altered.push_back({difference.path, difference.before, difference.after, difference.where});
    }
    current_->planned = std::move(planned);
    follow_sources();
    arm_key_ = keyed_hash(record.id, parts_.seed);

    rollout::Step step = rollout::start(std::move(proposal), parts_.site.watch.usual(), parts_.network.now());
    current_->state = std::move(step.state);
    perform(std::move(step.effects));
}

void Changes::advance(const rollout::Observation& observation) {
    if (!current_ || !current_->planned) return;
    const rollout::Stage before = rollout::stage_of(current_->state);
    rollout::Step step = rollout::next(std::move(current_->state), observation, parts_.network.now());
    current_->state = std::move(step.state);
    const rollout::Stage after = rollout::stage_of(current_->state);
    if (after == rollout::Stage::undoing && before != after) current_->decided_to_undo = parts_.network.now();
    perform(std::move(step.effects));
}

void Changes::measured(const measure::Tally& window, const std::vector<judge::EndpointFacts>& facts,
                       const std::vector<judge::Signal>& signals, const std::vector<judge::Hypothesis>& hypotheses) {
    const Instant now = parts_.network.now();
    if (!owed_.empty() && now - paid_ >= pay_every) pay();
    if (newest_live_ && now - newest_live_->applied > context) newest_live_.reset();
    if (verification_) count_rollback(window);
    if (verification_) verify_rollback();
    end_late_adoption();
    if (!current_) return;
    if (!signals.empty() || !hypotheses.empty()) advance(rollout::Signalled{signals, hypotheses});
    if (current_) tell_divergence();
    if (current_) advance(rollout::Measured{window, facts, parts_.site.rate});
    stop_for_checks();
    if (current_) advance(rollout::Tick{});
}

/// Only what is new: a rollout is told of it once, whenever it began.
void Changes::tell_divergence() {
    std::vector<judge::Signal> firing;
    for (const Divergence::Seen& seen : parts_.members.firing()) firing.push_back(seen.signal);
    if (!std::ranges::equal(firing, current_->state.diverging, {}, &judge::Signal::subject, &judge::Signal::subject))
        advance(rollout::Diverged{std::move(firing)});
}

Result<void> Changes::abort(const std::string& who, const std::string& reason) {
    if (!current_) return fail(Code::not_found, "no change is in progress");
    if (current_->planned) {
        advance(rollout::Command{rollout::Verb::abort, who, reason});
        return {};
    }
    if (const auto written = parts_.ledger.append(change_entry(current_->record)); written) current_->announced = true;
    close("aborted", exit_code::rejected,
          fmt::format("aborted by {} while it was planned{}{}", who, reason.empty() ? "" : ": ", reason), {});
    return {};
}

/// A worker that does not answer cannot keep an adopted revision's author waiting for ever.
void Changes::end_late_adoption() {
    if (current_ && current_->finish_later && parts_.network.now() - current_->adopting_since > rollout::install_limit)
        end_adoption();
}

void Changes::unmeasured(Duration silent) {
    if (verification_) verify_rollback();
    end_late_adoption();
    if (!current_ || !current_->planned) return;
    const rollout::Stage stage = rollout::stage_of(current_->state);
    if (stage == rollout::Stage::shadow || stage == rollout::Stage::canary || stage == rollout::Stage::soak)
        advance(rollout::Command{
            rollout::Verb::abort, "plimsoll",
            fmt::format("a worker has not answered for {}, nobody sees what the change does", plimsoll::text(silent))});
    if (current_) advance(rollout::Tick{});
}

void Changes::shut_down() {
    stopping_ = true;
    if (verification_)
        end_verification(exit_code::unverified,
                         fmt::format("r{} serves; the server was stopped before recovery was verified",
                                     verification_->record.revision.value));
    if (current_ && current_->finish_later) end_adoption();
    if (current_ && current_->planned) advance(rollout::ShuttingDown{});
    if (current_) close("interrupted", exit_code::error, "the server was stopped", {});
}

std::optional<judge::ChangeFacts> Changes::newest_live() const { return newest_live_; }

std::string Changes::stage_text() const {
    if (!current_) return {};
    if (!current_->planned) return "planning";
    return fmt::format("{} {:.1f} %", rollout::name(rollout::stage_of(current_->state)),
                       current_->state.share.value * 100);
}

const std::string& Changes::current_id() const {
    static const std::string nothing;
    return current_ ? current_->record.id : nothing;
}

// ---- what must not be lost -----------------------------------------------------------------------------------------

void Changes::owe(std::vector<store::Entry> entries) {
    std::ranges::move(entries, std::back_inserter(owed_));
    pay();
}

std::string Changes::next_change() const {
    const auto owed = std::ranges::count(owed_, "change", &store::Entry::kind);
    return fmt::format("C{}", parts_.ledger.history().changes.size() + 1 + static_cast<std::size_t>(owed));
}

void Changes::pay() {
    paid_ = parts_.network.now();
    if (const auto written = parts_.ledger.append(owed_); written)
        owed_.clear();
    else
        spdlog::error("the journal cannot be written, {} entries wait: {}", owed_.size(), written.error().detail);
}

// ---- what is said --------------------------------------------------------------------------------------------------

void Changes::line(const std::string& stage, const std::string& text, bool durable) {
    const Timestamp at = parts_.network.wall();
    current_->feed->push(
        nlohmann::json{{"at", rfc3339(at)}, {"change", current_->record.id}, {"stage", stage}, {"text", text}}.dump(
            -1, ' ', false, nlohmann::json::error_handler_t::replace));
    // A line that cannot be kept is lost for the record only; the change itself is stopped by its own entries.
    if (durable) static_cast<void>(parts_.ledger.append(line_entry(current_->record.id, {at, stage, text})));
}

void Changes::close(const std::string& ending, int exit_code, const std::string& summary, std::string detail) {
    ChangeRecord& record = current_->record;
    record.ended = parts_.network.wall();
    record.ending = ending;
    record.exit_code = exit_code;
    record.summary = summary;
    record.detail = detail;
    if (current_->announced) {
        owe({ending_entry(record)});
    }
    nlohmann::json result = detail.empty() ? nlohmann::json::object() : nlohmann::json::parse(detail);
    result["ending"] = ending;
    result["exit"] = exit_code;
    result["change"] = record.id;
    result["revision"] = record.revision.value;
    result["digest"] = record.digest;
    result["incident"] = record.incident;
    result["summary"] = summary;
    spdlog::info("{}: {}", record.id, summary);
    const auto feed = current_->feed;
    current_.reset();
    follow_sources();
    feed->push(result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    feed->close();
}

}  // namespace plimsoll::control

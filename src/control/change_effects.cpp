// What a rollout asks for: journal, workers, reports. Effects are performed in order; those that are answered at once
// feed the machine again when the round is over.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/exit_code.h"
#include "control/current_change.h"
#include "rollout/foretell.h"

namespace plimsoll::control {

namespace {

template <class... F>
struct Overloaded : F... {
    using F::operator()...;
};

/// Zero when there was nothing after it; what never happened lies too long ago to be subtracted from.
Duration time_from(Instant decided, Instant last) { return last > decided ? last - decided : Duration{}; }

}  // namespace

void Changes::perform(std::vector<rollout::Effect> effects) {
    // Performing may answer, answering may finish the change: hold on to it, and go one round at a time.
    const bool outermost = !std::exchange(current_->performing, true);
    current_->failed_append = false;
    // The way back stands before all else, whatever the order: no line, no disk may hold it up or stop it.
    const auto way_back = std::ranges::find_if(
        effects, [](const rollout::Effect& effect) { return std::holds_alternative<rollout::Uninstall>(effect); });
    if (way_back != effects.end()) std::rotate(effects.begin(), way_back, way_back + 1);
    for (const rollout::Effect& effect : effects) {
        std::visit(Overloaded{
                       [this](const rollout::RunChecks&) {
                           current_->answers.push_back(
                               rollout::Checked{current_->planned->checks, current_->planned->unservable});
                       },
                       [this](const rollout::RunSimulation&) {
                           current_->answers.push_back(
                               rollout::foretold(current_->planned->plan.forecast, current_->planned->forecasts));
                       },
                       [this](const rollout::Append& one) { append(one); },
                       [this](const rollout::Install& one) {
                           if (!current_->failed_append) install(one);  // what is not durable takes no traffic
                       },
                       [this](const rollout::Renew& one) { renew(one); },
                       [this](const rollout::Uninstall&) { uninstall(); },
                       [this](const rollout::Failed& one) { current_->failed = one.verdict; },
                       [this](const rollout::RecoveryMeasured& one) { tell_care_recovered(one); },
                       [this](const rollout::Adopt& one) { adopt(one); },
                       [this](const rollout::Report& one) { report(one); },
                       [this](const rollout::Finish& one) { finish(one); },
                   },
                   effect);
        if (!current_) return;  // finished
    }
    // After the way back has been posted: writing the incident down takes a disk, the rollback does not wait for it.
    if (current_->failed) tell_care_failed(*std::exchange(current_->failed, std::nullopt));
    if (!outermost) return;
    current_->performing = false;
    while (current_ && !current_->answers.empty()) {
        const rollout::Observation answer = std::move(current_->answers.front());
        current_->answers.erase(current_->answers.begin());
        advance(answer);
    }
}

void Changes::append(const rollout::Append& append) {
    const Timestamp at = parts_.network.wall();
    if (append.kind != "revision") {
        const auto body = nlohmann::json::parse(append.body, nullptr, false);
        const std::string stage = body.is_object() ? body.value("stage", append.kind) : append.kind;
        const auto written = parts_.ledger.append(line_entry(current_->record.id, {at, stage, append.body}));
        if (!written) refused_append(written.error());
        return;
    }
    Revision revision;
    revision.number = parts_.ledger.history().next_revision();
    revision.parent = current_->record.base;
    revision.digest = current_->record.digest;
    revision.text = current_->text;
    revision.file = current_->record.file;
    revision.change = current_->record.id;
    revision.at = at;
    if (const auto written = parts_.ledger.append(revision_entry(revision)); !written)
        return refused_append(written.error());
    current_->record.revision = revision.number;
    current_->candidate = compile_served(current_->planned->document->config, parts_.members.found(), revision.number,
                                         parts_.site.identities, parts_.workers, parts_.site.active.get());
    parts_.care.remember_change(revision.number, parts_.site.active_document.text, current_->text);
    current_->answers.push_back(rollout::Appended{revision.number});
}

snapshot::Resident Changes::resident(Instant lease) const {
    const Site& site = parts_.site;
    return {site.active, site.candidate, site.share, site.shadow, arm_key_, lease};
}

void Changes::install(const rollout::Install& install) {
    Site& site = parts_.site;
    site.candidate = current_->candidate;
    site.share = install.shadow ? Share{} : install.share;
    site.shadow = install.shadow;
    site.candidate_mix = current_->planned->mix;
    // Without a recording, what the routes that stay have had so far.
    if (!rollout::says_something(site.candidate_mix))
        site.candidate_mix = rollout::pool_mix(*site.candidate, site.totals);
    site.mix_guessed = !rollout::says_something(site.candidate_mix);
    if (site.mix_guessed) site.candidate_mix = rollout::equal_mix(*site.candidate);
    parts_.prober.watch({site.active.get(), site.candidate.get()});
    const std::uint64_t round = ++rounds_;
    parts_.fleet.install(resident(parts_.network.now() + install.lease),
                         [this, round](Fleet::Installed done) { installed(std::move(done), round); });
    if (!install.shadow && install.share.value > 0) tell_care_live(install.share);
}

void Changes::renew(const rollout::Renew& renew) {
    parts_.fleet.install(resident(parts_.network.now() + renew.lease), [](const Fleet::Installed&) {});
}

void Changes::refused_append(const Error& error) {
    spdlog::error("the journal cannot be written: {}", error.detail);
    current_->failed_append = true;
    current_->answers.push_back(rollout::AppendFailed{error.detail});
}

void Changes::uninstall() {
    Site& site = parts_.site;
    const RevisionNumber undone = current_->record.revision;
    const Instant decided = current_->decided_to_undo == never ? parts_.network.now() : current_->decided_to_undo;
    site.candidate = nullptr;
    site.share = {};
    site.shadow = false;
    const std::uint64_t round = ++rounds_;
    // Nothing stands before this: no disk, no answer. It is what stops the harm.
    parts_.fleet.install(resident(never), [this, round, undone, decided](Fleet::Installed done) {
        last_switch_ = SwitchTiming{{}, done.at - decided};
        parts_.fleet.use_of(undone, [this, decided](Fleet::Use use) {
            if (last_switch_) last_switch_->last_started = time_from(decided, use.last_started);
        });
        parts_.prober.watch({parts_.site.active.get(), parts_.site.candidate.get()});
        tell_care_undone(done.at - decided, done.at);
        installed(std::move(done), round);
    });
}

void Changes::installed(Fleet::Installed done, std::uint64_t round) {
    for (const std::string& failure : done.failures) spdlog::error("{}", failure);
    if (!parts_.site.candidate) usual_failures_ = done.failures;
    if (!current_ || round != rounds_) return;
    const auto fresh = std::ranges::find_if(done.failures, [&](const std::string& failure) {
        return std::ranges::find(usual_failures_, failure) == usual_failures_.end();
    });
    if (parts_.site.candidate && fresh != done.failures.end())
        return advance(rollout::Command{rollout::Verb::abort, "plimsoll", *fresh});
    if (newest_live_ && newest_live_->revision == current_->record.revision && newest_live_->applied == never)
        newest_live_->applied = done.at;
    advance(rollout::Installed{done.at});
}

void Changes::adopt(const rollout::Adopt& adopt) {
    const Timestamp at = parts_.network.wall();
    std::vector<store::Entry> entries;
    entries.push_back(active_entry(adopt.revision, current_->record.id + " completed", at));
    entries.push_back(known_good_entry(adopt.revision, at));
    if (const auto written = parts_.ledger.append(std::move(entries)); !written)
        return take_back(written.error().detail);
    Site& site = parts_.site;
    site.active = current_->candidate;
    site.active_document = *current_->planned->document;
    site.active_mix = site.candidate_mix;
    site.candidate = nullptr;
    site.share = {};
    parts_.recorder.set(site.active_document.config.recording);
    ++rounds_;
    // `apply` is answered when every worker has left the old revision, and says how long that took.
    current_->adopting = true;
    current_->adopting_since = parts_.network.now();
    const std::uint64_t submission = current_->submission;
    const Instant decided = parts_.network.now();
    const RevisionNumber old = current_->record.base;
    parts_.fleet.install(resident(never), [this, submission, decided, old](const Fleet::Installed& done) {
        usual_failures_ = done.failures;
        parts_.prober.watch({parts_.site.active.get(), parts_.site.candidate.get()});
        parts_.fleet.use_of(old, [this, submission, decided, swapped = done.at](Fleet::Use use) {
            last_switch_ = SwitchTiming{time_from(decided, use.last_started), swapped - decided};
            if (current_ && current_->submission == submission) end_adoption();
        });
    });
    parts_.care.observe(incident::ChangeSettled{adopt.revision});
}

void Changes::end_adoption() {
    current_->adopting = false;
    if (!current_->finish_later) return;  // the rollout has not said its last word yet
    const rollout::Finish last = std::move(*current_->finish_later);
    finish(last);
}

/// The rollout has completed, but the journal did not take it: a restart would serve the old revision, so we do.
void Changes::take_back(const std::string& why) {
    current_->decided_to_undo = parts_.network.now();
    uninstall();
    finish(
        {.ending = rollout::Ending::interrupted,
         .exit_code = exit_code::error,
         .frozen_digest = {},
         .text = fmt::format("interrupted: r{} passed every gate, but the journal cannot be written ({}); r{} serves",
                             current_->record.revision.value, why, current_->record.base.value),
         .account = current_->state.account});
}

void Changes::report(const rollout::Report& report) {
    const std::string stage(rollout::name(report.stage));
    switch (report.level) {
        case rollout::Level::detail:
        case rollout::Level::key: spdlog::info("{} {}: {}", current_->record.id, stage, report.text); break;
        case rollout::Level::warning: spdlog::warn("{} {}: {}", current_->record.id, stage, report.text); break;
        case rollout::Level::page: spdlog::error("{} {}: {}", current_->record.id, stage, report.text); break;
    }
    line(stage, report.text, report.level != rollout::Level::detail);
}

// ---- what care hears -----------------------------------------------------------------------------------------------

void Changes::tell_care_live(Share share) {
    const Current& current = *current_;
    if (!newest_live_ || newest_live_->revision != current.record.revision) {
        newest_live_ = judge::ChangeFacts{current.record.revision, never, share, current.state.proposal.altered};
    }
    newest_live_->share = share;
    incident::Change change;
    change.revision = current.record.revision;
    change.base = current.record.base;
    change.author = current.record.author;
    change.reason = current.record.reason;
    change.before_file = "before.yaml";
    change.after_file = "after.yaml";
    change.altered = current.altered;
    if (current.record.forced) {
        for (const Findings& findings : {current.planned->checks, current.planned->forecasts})
            for (const Finding& finding : findings)
                if (finding.severity == Severity::error) change.forced.push_back(finding.code);
    }
    parts_.care.observe(incident::ChangeLive{std::move(change), share});
}

void Changes::tell_care_failed(const judge::Verdict& verdict) {
    const rollout::Account& account = current_->state.account;
    parts_.care.observe(incident::TrialFailed{current_->record.revision, verdict, account.detected});
    current_->record.incident = parts_.care.incident_of(current_->record.revision);
}

void Changes::tell_care_undone(Duration took, Instant swapped) {
    if (!current_ || current_->record.incident.empty()) return;
    parts_.care.observe(incident::Mitigated{current_->record.incident,
                                            fmt::format("all workers serve r{} again", current_->record.base.value),
                                            current_->record.base, took, swapped});
}

void Changes::tell_care_recovered(const rollout::RecoveryMeasured& measured) {
    if (current_->record.incident.empty()) return;
    const Instant at = measured.proven ? current_->state.account.recovered : never;
    parts_.care.observe(incident::RecoveryChecked{current_->record.incident, measured.proven, measured.text, at});
}

// ---- the end -------------------------------------------------------------------------------------------------------

namespace {

/// Wall-clock nanoseconds of an instant, or null when it did not happen.
nlohmann::json wall(Instant at, Instant now, Timestamp now_wall) {
    if (at == never) return nullptr;
    return now_wall.ns - (now - at).count();
}

}  // namespace

void Changes::finish(const rollout::Finish& finish) {
    if (current_->adopting) {
        current_->finish_later = finish;
        return;
    }
    const rollout::Account& account = finish.account;
    const Instant now = parts_.network.now();
    const Timestamp wall_now = parts_.network.wall();
    if (account.t0 != never && account.rolled_back == never && finish.ending != rollout::Ending::completed &&
        !current_->record.incident.empty())
        parts_.care.observe(incident::MitigationFailed{current_->record.incident, finish.text});
    if (finish.ending == rollout::Ending::rejected) {
        incident::Change change;
        change.base = current_->record.base;
        change.author = current_->record.author;
        change.reason = current_->record.reason;
        change.altered = current_->altered;
        parts_.care.observe(incident::ChangeRejected{
            std::move(change), std::string(rollout::name(rollout::stage_of(current_->state))), finish.text});
    }
    if (!finish.frozen_digest.empty())
        owe({frozen_entry({finish.frozen_digest, current_->record.id, finish.text, wall_now})});
    if (finish.ending != rollout::Ending::completed && newest_live_ &&
        newest_live_->revision == current_->record.revision)
        newest_live_->share = {};
    nlohmann::json detail{{"marks",
                           {{"submitted_ns", wall(account.submitted, now, wall_now)},
                            {"t0_ns", wall(account.t0, now, wall_now)},
                            {"detected_ns", wall(account.detected, now, wall_now)},
                            {"cause_ns", wall(account.cause_named, now, wall_now)},
                            {"rolled_back_ns", wall(account.rolled_back, now, wall_now)},
                            {"recovered_ns", wall(account.recovered, now, wall_now)}}},
                          {"harmed", account.harmed()},
                          {"failed", account.failed},
                          {"slow", account.slow},
                          {"requests", account.requests},
                          {"candidate_decisions", account.candidate_requests},
                          {"detected_by", account.detected_by},
                          {"cause", account.cause},
                          {"hottest", account.hottest}};
    const bool switched = account.rolled_back != never || finish.ending == rollout::Ending::completed;
    if (last_switch_ && switched) {
        detail["verdict_to_last_started_us"] = last_switch_->last_started.count() / 1000;
        detail["verdict_to_swapped_us"] = last_switch_->swapped.count() / 1000;
    }
    close(std::string(rollout::name(finish.ending)), finish.exit_code, finish.text,
          detail.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace plimsoll::control

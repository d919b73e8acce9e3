// A rollback that a person asks for: to an older revision at once, without a ramp, then verified.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/exit_code.h"
#include "control/current_change.h"

namespace plimsoll::control {

namespace {

/// Of requests, in a recovery that counts as one.
constexpr double allowed_failures = 0.01;

/// The newest known good revision that is not the active one, or 0.
RevisionNumber good_before(const History& history, RevisionNumber active) {
    for (auto number = history.known_good.rbegin(); number != history.known_good.rend(); ++number)
        if (*number != active) return *number;
    return {};
}

}  // namespace

Result<std::shared_ptr<Feed>> Changes::rollback(RevisionNumber to, const std::string& who, const std::string& reason) {
    const History& history = parts_.ledger.history();
    if (stopping_) return fail(Code::conflict, "the server is stopping");
    if (verification_) return fail(Code::conflict, "a rollback is being verified");
    if (current_ && !current_->planned) {
        static_cast<void>(abort(who, reason.empty() ? "rollback" : reason));  // it changed nothing yet
    }
    if (current_) {
        // The fastest way back is the one that is prepared: leave the change, its base still serves.
        if (to != RevisionNumber{} && to != history.active)
            return fail(Code::conflict,
                        fmt::format("{} is in progress; `plimsoll abort` undoes it", current_->record.id));
        auto feed = current_->feed;
        static_cast<void>(abort(who, reason.empty() ? "rollback" : reason));
        return feed;
    }
    Site& site = parts_.site;
    if (to == RevisionNumber{}) to = good_before(history, site.active->revision);
    const Revision* target = history.revision(to);
    if (target == nullptr)
        return fail(Code::not_found, "there is no earlier known good revision to return to; see `plimsoll changes`");
    if (to == site.active->revision) return fail(Code::conflict, fmt::format("r{} is active already", to.value));
    if (!history.were_active.contains(to.value))
        return fail(Code::conflict,
                    fmt::format("r{} was never active: it was refused or undone; apply it again instead", to.value));
    config::Parsed parsed = config::parse(target->text, target->file);
    if (!parsed.document)
        return fail(Code::invalid, fmt::format("r{} cannot be read by this version: {}", to.value,
                                               parsed.findings.empty() ? "" : text(parsed.findings.front())));

    verification_ = std::make_unique<Verification>();
    ChangeRecord& record = verification_->record;
    record.id = next_change();
    record.base = site.active->revision;
    record.revision = to;
    record.digest = target->digest;
    record.file = target->file;
    record.author = who;
    record.reason = reason.empty() ? fmt::format("rollback to r{}", to.value) : reason;
    record.at_once = true;
    record.submitted = parts_.network.wall();
    verification_->feed = std::make_shared<Feed>();
    verification_->since = never;
    verification_->limit =
        parts_.network.now() + parsed.document->config.guard.recovery_window + rollout::recovery_limit;

    parts_.members.remember(parsed.document->config);
    site.active = compile_served(parsed.document->config, parts_.members.found(), to, site.identities, parts_.workers,
                                 site.active.get());
    site.active_document = std::move(*parsed.document);
    site.active_mix = rollout::equal_mix(*site.active);
    parts_.recorder.set(site.active_document.config.recording);
    parts_.fleet.install(resident(never), [this](const Fleet::Installed& done) {
        usual_failures_ = done.failures;
        for (const std::string& failure : done.failures) spdlog::error("{}", failure);
        if (verification_) verification_->since = done.at;
    });
    parts_.prober.watch({site.active.get()});
    follow_sources();
    newest_live_.reset();
    std::vector<store::Entry> entries{change_entry(record)};
    entries.push_back(active_entry(to, record.id + " rollback by hand", record.submitted, record.base));
    owe(std::move(entries));
    spdlog::warn("{}: rolled back to r{} by {}: {}", record.id, to.value, who, record.reason);
    verification_->feed->push(nlohmann::json{{"at", rfc3339(record.submitted)},
                                             {"change", record.id},
                                             {"stage", "verifying"},
                                             {"text", fmt::format("r{} serves on all workers", to.value)}}
                                  .dump());
    return verification_->feed;
}

void Changes::count_rollback(const measure::Tally& window) {
    Verification& seen = *verification_;
    if (seen.since == never || window.from < seen.since) return;
    for (const measure::ArmTally& arm : window.arms) {
        const measure::RouteTally all = arm.all_routes();
        seen.requests += all.requests;
        seen.failed += all.failed;
    }
    // One server that is down or ejected is an incident of its own; what clients see is recovery.
    const bool quiet =
        std::ranges::all_of(parts_.site.watch.firing(),
                            [](const judge::Signal& signal) { return signal.kind == judge::SignalKind::endpoint; }) &&
        static_cast<double>(seen.failed) <= allowed_failures * static_cast<double>(seen.requests);
    if (quiet || parts_.network.now() >= seen.limit) return;
    seen.since = window.to;  // not yet well: what counts begins anew
    seen.requests = seen.failed = 0;
}

void Changes::verify_rollback() {
    const Verification& seen = *verification_;
    const Instant now = parts_.network.now();
    const Duration window = parts_.site.active_document.config.guard.recovery_window;
    const std::uint64_t to = seen.record.revision.value;
    // No data is never a pass: a site that nobody asks is not known to be well.
    if (seen.since != never && now - seen.since >= window && seen.requests > 0)
        return end_verification(exit_code::done,
                                fmt::format("ROLLED BACK to r{} by hand; {} requests in the last {}, {} failed", to,
                                            seen.requests, text(now - seen.since), seen.failed));
    if (now < seen.limit) return;
    end_verification(
        exit_code::unverified,
        seen.since == never
            ? fmt::format("r{}: not all workers acknowledged; recovery is NOT verified", to)
            : fmt::format("r{} serves, but recovery is NOT verified: {} of {} requests failed in the last {}", to,
                          seen.failed, seen.requests, text(now - seen.since)));
}

void Changes::end_verification(int exit_code, const std::string& summary) {
    ChangeRecord record = std::move(verification_->record);
    const auto feed = verification_->feed;
    verification_.reset();
    record.ended = parts_.network.wall();
    record.ending = "completed";
    record.exit_code = exit_code;
    record.summary = summary;
    owe({ending_entry(record)});
    spdlog::info("{}: {}", record.id, record.summary);
    feed->push(nlohmann::json{{"ending", record.ending},
                              {"exit", record.exit_code},
                              {"change", record.id},
                              {"revision", record.revision.value},
                              {"digest", record.digest},
                              {"incident", ""},
                              {"summary", record.summary}}
                   .dump());
    feed->close();
}

}  // namespace plimsoll::control

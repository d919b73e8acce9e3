// A rollback that a person asks for: to an older revision at once, without a ramp, then verified.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/exit_code.h"
#include "control/current_change.h"

namespace plimsoll::control {

namespace {

/// The newest known good revision that is not the active one, or 0.
RevisionNumber good_before(const History& history) {
    for (auto number = history.known_good.rbegin(); number != history.known_good.rend(); ++number)
        if (*number != history.active) return *number;
    return {};
}

}  // namespace

Result<std::shared_ptr<Feed>> Changes::rollback(RevisionNumber to, const std::string& who, const std::string& reason) {
    const History& history = parts_.ledger.history();
    if (verification_) return fail(Code::conflict, "a rollback is being verified");
    if (current_) {
        // The fastest way back is the one that is prepared: leave the change, its base still serves.
        if (to != RevisionNumber{} && to != history.active)
            return fail(Code::conflict,
                        fmt::format("{} is in progress; `plimsoll abort` undoes it", current_->record.id));
        auto feed = current_->feed;
        if (const auto aborted = abort(who, reason.empty() ? "rollback" : reason); !aborted)
            return fail(Code::conflict, "a change is being planned; try again in a moment");
        return feed;
    }
    if (to == RevisionNumber{}) to = good_before(history);
    const Revision* target = history.revision(to);
    if (target == nullptr)
        return fail(Code::not_found, "there is no earlier known good revision to return to; see `plimsoll changes`");
    if (to == history.active) return fail(Code::conflict, fmt::format("r{} is active already", to.value));
    config::Parsed parsed = config::parse(target->text, target->file);
    if (!parsed.document)
        return fail(Code::invalid, fmt::format("r{} cannot be read by this version: {}", to.value,
                                               parsed.findings.empty() ? "" : text(parsed.findings.front())));

    verification_ = std::make_unique<Verification>();
    ChangeRecord& record = verification_->record;
    record.id = history.next_change();
    record.base = history.active;
    record.revision = to;
    record.digest = target->digest;
    record.file = target->file;
    record.author = who;
    record.reason = reason.empty() ? fmt::format("rollback to r{}", to.value) : reason;
    record.at_once = true;
    record.submitted = parts_.network.wall();
    verification_->feed = std::make_shared<Feed>();
    verification_->since = never;
    verification_->limit = parts_.network.now() + rollout::recovery_limit;

    Site& site = parts_.site;
    site.active = snapshot::compile(parsed.document->config, to, site.identities, parts_.workers);
    site.active_document = std::move(*parsed.document);
    site.active_mix = equal_mix(*site.active);
    parts_.recorder.set(site.active_document.config.recording);
    parts_.fleet.install(resident(never), [this](const Fleet::Installed& done) {
        if (verification_) verification_->since = done.at;
    });
    parts_.prober.watch({site.active.get()});
    newest_live_.reset();
    std::vector<store::Entry> entries{change_entry(record)};
    entries.push_back(active_entry(to, record.id + " rollback by hand", record.submitted));
    if (const auto written = parts_.ledger.append(std::move(entries)); !written)
        spdlog::error("r{} serves, but the journal could not be written: {}", to.value, written.error().detail);
    spdlog::warn("{}: rolled back to r{} by {}: {}", record.id, to.value, who, record.reason);
    verification_->feed->push(nlohmann::json{{"at", rfc3339(record.submitted)},
                                             {"change", record.id},
                                             {"stage", "verifying"},
                                             {"text", fmt::format("r{} serves on all workers", to.value)}}
                                  .dump());
    return verification_->feed;
}

void Changes::verify_rollback() {
    const Instant now = parts_.network.now();
    const Duration window = parts_.site.active_document.config.guard.recovery_window;
    const bool long_enough = verification_->since != never && now - verification_->since >= window;
    const measure::Second recent = parts_.site.series.sum(now - window, now);
    const bool quiet = parts_.site.watch.firing().empty() && recent.failed() * 100 <= recent.requests();
    if (!(long_enough && quiet) && now < verification_->limit) return;

    ChangeRecord record = std::move(verification_->record);
    const auto feed = verification_->feed;
    verification_.reset();
    record.ended = parts_.network.wall();
    record.ending = "completed";
    record.exit_code = quiet ? exit_code::done : exit_code::unverified;
    record.summary =
        quiet ? fmt::format("ROLLED BACK to r{} by hand; {} requests in the last {}, {} failed", record.revision.value,
                            recent.requests(), text(window), recent.failed())
              : fmt::format("r{} serves, but recovery is NOT verified: {} of {} requests failed in the last {}",
                            record.revision.value, recent.failed(), recent.requests(), text(window));
    if (const auto written = parts_.ledger.append(ending_entry(record)); !written)
        spdlog::error("{}: its ending could not be written to the journal: {}", record.id, written.error().detail);
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

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "rollout/machine.h"

namespace plimsoll::rollout {

std::string percent(double fraction) {
    const double p = 100 * fraction;
    if (p == 0) return "0 %";
    return p < 0.1 ? fmt::format("{:.3f} %", p) : (p < 10 ? fmt::format("{:.2f} %", p) : fmt::format("{:.3g} %", p));
}

std::string step_line(const State& state, const judge::Verdict& verdict) {
    const judge::StepCounts c = state.trial.counts();
    const auto rate = [&](std::size_t arm) {
        return c.requests[arm] == 0 ? 0 : static_cast<double>(c.failed[arm]) / static_cast<double>(c.requests[arm]);
    };
    std::string line = fmt::format("{} requests, {} by the candidate; failed {} vs {}; p99 {:.1f} vs {:.1f} ms",
                                   c.requests[0] + c.requests[1], c.requests[1], percent(rate(1)), percent(rate(0)),
                                   milliseconds(c.p99[1]), milliseconds(c.p99[0]));
    if (!c.hottest_name.empty()) line += fmt::format("; hottest {} at {:.2f}", c.hottest_name, c.hottest);
    return fmt::format("{}; {}: {}", line, judge::name(verdict.decision), verdict.text);
}

std::string harm_text(const Account& account) {
    return fmt::format("{} of {} requests harmed ({} failed, {} slower than {})", account.harmed(), account.requests,
                       account.failed, account.slow, text(account.slow_threshold));
}

namespace {

nlohmann::json instant(Instant at) { return at == never ? nlohmann::json() : nlohmann::json(at.ns); }

nlohmann::json account_json(const Account& a) {
    return {{"submitted_ns", instant(a.submitted)},
            {"t0_ns", instant(a.t0)},
            {"detected_ns", instant(a.detected)},
            {"cause_named_ns", instant(a.cause_named)},
            {"rolled_back_ns", instant(a.rolled_back)},
            {"recovered_ns", instant(a.recovered)},
            {"detected_by", a.detected_by},
            {"cause", a.cause},
            {"requests", a.requests},
            {"candidate_requests", a.candidate_requests},
            {"failed", a.failed},
            {"candidate_failed", a.candidate_failed},
            {"slow", a.slow},
            {"slow_threshold_ms", milliseconds(a.slow_threshold)},
            {"expected_failed", a.expected_failed},
            {"hottest", a.hottest}};
}

std::string dump(const nlohmann::json& json) {
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string journal_body(const State& state, std::string_view event, std::string_view text, Instant now) {
    nlohmann::json body = {{"event", event},
                           {"stage", name(stage_of(state))},
                           {"at_ns", now.ns},
                           {"revision", state.revision.value},
                           {"base", state.proposal.base.value},
                           {"digest", state.proposal.digest},
                           {"share", state.share.value},
                           {"text", text}};
    if (!state.proposal.options.reason.empty()) {
        body["forced"] = state.proposal.options.force;
        body["at_once"] = state.proposal.options.at_once;
        body["reason"] = state.proposal.options.reason;
    }
    if (const auto* ended = std::get_if<Ended>(&state.stage)) {
        body["ending"] = name(ended->finish.ending);
        body["exit_code"] = ended->finish.exit_code;
        body["frozen_digest"] = ended->finish.frozen_digest;
        body["account"] = account_json(state.account);
    }
    return dump(body);
}

std::string revision_body(const State& state) {
    const Proposal& p = state.proposal;
    return dump({{"base", p.base.value},
                 {"base_digest", p.base_digest},
                 {"digest", p.digest},
                 {"config", p.config},
                 {"author", p.author},
                 {"message", p.message},
                 {"forced", p.options.force},
                 {"at_once", p.options.at_once},
                 {"reason", p.options.reason}});
}

}  // namespace plimsoll::rollout

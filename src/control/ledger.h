// Ledger: the Journal and what it says so far, always in step: what cannot be written is not believed.
// Thread rule: control's thread.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "control/history.h"
#include "store/journal.h"

namespace plimsoll::control {

class Ledger {
public:
    /// Reads the whole journal. Errors: io.
    [[nodiscard]] static Result<std::unique_ptr<Ledger>> open(std::unique_ptr<store::Journal> journal);

    /// Durable, all or nothing, then folded. Errors: io; then nothing was written and nothing changed.
    Result<void> append(std::vector<store::Entry> entries);
    Result<void> append(store::Entry entry);
    [[nodiscard]] const History& history() const { return history_; }
    /// Appends that failed since the start, and why the last one did.
    [[nodiscard]] std::uint64_t failures() const { return failures_; }
    [[nodiscard]] const std::string& last_failure() const { return last_failure_; }

private:
    explicit Ledger(std::unique_ptr<store::Journal> journal) : journal_(std::move(journal)) {}
    std::unique_ptr<store::Journal> journal_;
    History history_;
    std::uint64_t failures_ = 0;
    std::string last_failure_;
};

}  // namespace plimsoll::control

#include "control/ledger.h"

namespace plimsoll::control {

Result<std::unique_ptr<Ledger>> Ledger::open(std::unique_ptr<store::Journal> journal) {
    std::unique_ptr<Ledger> ledger(new Ledger(std::move(journal)));
    const auto read = ledger->journal_->read(0, [&](const store::Entry& entry) {
        ledger->history_.fold(entry);
        return true;
    });
    if (!read) return std::unexpected(read.error());
    return ledger;
}

Result<void> Ledger::append(std::vector<store::Entry> entries) {
    if (entries.empty()) return {};
    const auto last = journal_->append_all(entries);
    if (!last) {
        ++failures_;
        last_failure_ = last.error().detail;
        return std::unexpected(last.error());
    }
    std::uint64_t sequence = *last - entries.size();
    for (store::Entry& entry : entries) {
        entry.sequence = ++sequence;
        history_.fold(entry);
    }
    return {};
}

Result<void> Ledger::append(store::Entry entry) {
    std::vector<store::Entry> one;
    one.push_back(std::move(entry));
    return append(std::move(one));
}

}  // namespace plimsoll::control

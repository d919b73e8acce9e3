#include "app/lendable_journal.h"

namespace plimsoll::app {
namespace {

std::unexpected<Error> lent() {
    return fail(Code::io, "the journal is with the server that takes over; nothing can be written here meanwhile");
}

}  // namespace

Result<std::unique_ptr<LendableJournal>> LendableJournal::open(const std::string& path) {
    auto journal = store::sqlite_journal(path);
    if (!journal) return std::unexpected(journal.error());
    return std::unique_ptr<LendableJournal>(new LendableJournal(path, std::move(*journal)));
}

void LendableJournal::lend() {
    if (journal_ == nullptr) return;
    last_ = journal_->append_all({}).value_or(0);
    journal_.reset();
}

Result<std::uint64_t> LendableJournal::take_back() {
    if (journal_ != nullptr) return 0;
    auto journal = store::sqlite_journal(path_);
    if (!journal) return std::unexpected(journal.error());
    journal_ = std::move(*journal);
    return journal_->append_all({}).value_or(last_) - last_;
}

Result<std::uint64_t> LendableJournal::append(Timestamp at, std::string_view kind, std::string_view subject,
                                              std::string_view body) {
    return journal_ == nullptr ? lent() : journal_->append(at, kind, subject, body);
}

Result<std::uint64_t> LendableJournal::append_all(std::vector<store::Entry> entries) {
    return journal_ == nullptr ? lent() : journal_->append_all(std::move(entries));
}

Result<void> LendableJournal::read(std::uint64_t after, const std::function<bool(const store::Entry&)>& visit) {
    return journal_ == nullptr ? lent() : journal_->read(after, visit);
}

}  // namespace plimsoll::app

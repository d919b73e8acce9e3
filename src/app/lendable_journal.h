// LendableJournal: the journal on disk, which a server can let go of so that its successor may open it, and take back
// if the successor fails. While it is lent nothing can be written, which control knows how to live with: traffic goes
// on. Thread rule: control's thread.
#pragma once

#include <memory>
#include <string>

#include "store/journal.h"

namespace plimsoll::app {

class LendableJournal final : public store::Journal {
public:
    /// Errors: as store::sqlite_journal.
    [[nodiscard]] static Result<std::unique_ptr<LendableJournal>> open(const std::string& path);

    /// Closes it: from now on another process may hold it. Idempotent.
    void lend();
    /// Opens it again; gives how many entries somebody else wrote meanwhile. Errors: as open(); then it stays lent, and
    /// may be tried again.
    Result<std::uint64_t> take_back();

    Result<std::uint64_t> append(Timestamp at, std::string_view kind, std::string_view subject,
                                 std::string_view body) override;
    Result<std::uint64_t> append_all(std::vector<store::Entry> entries) override;
    Result<void> read(std::uint64_t after, const std::function<bool(const store::Entry&)>& visit) override;

private:
    LendableJournal(std::string path, std::unique_ptr<store::Journal> journal)
        : path_(std::move(path)), journal_(std::move(journal)) {}
    std::string path_;
    std::unique_ptr<store::Journal> journal_;  ///< null: lent
    std::uint64_t last_ = 0;                   ///< sequence number, when it was lent
};

}  // namespace plimsoll::app

// The journal that forgets: for tests and for the simulator. Same promises as SQLite's, but for durability.
#include "store/entry.h"
#include "store/journal.h"

namespace plimsoll::store {
namespace {

class MemoryJournal final : public Journal {
public:
    Result<std::uint64_t> append(Timestamp at, std::string_view kind, std::string_view subject,
                                 std::string_view body) override {
        if (auto fine = acceptable(kind, subject, body); !fine) return std::unexpected(fine.error());
        entries_.push_back({entries_.size() + 1, at, std::string(kind), std::string(subject), std::string(body)});
        return entries_.size();
    }

    Result<std::uint64_t> append_all(std::vector<Entry> entries) override {
        for (const Entry& entry : entries) {
            if (auto fine = acceptable(entry.kind, entry.subject, entry.body); !fine) {
                return std::unexpected(fine.error());
            }
        }
        for (Entry& entry : entries) {
            entry.sequence = entries_.size() + 1;
            entries_.push_back(std::move(entry));
        }
        return entries_.size();
    }

    Result<void> read(std::uint64_t after, const std::function<bool(const Entry&)>& visit) override {
        for (std::size_t i = after; i < entries_.size(); ++i) {
            const Entry entry = entries_[i];  // a copy: `visit` may append
            if (!visit(entry)) break;
        }
        return {};
    }

private:
    std::vector<Entry> entries_;
};

}  // namespace

std::unique_ptr<Journal> memory_journal() { return std::make_unique<MemoryJournal>(); }

}  // namespace plimsoll::store

// What a journal promises, for both kinds; then what only the one on disk can break: kills, damage, full disks.
#include "store/journal.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/random.h"

namespace plimsoll::store {
namespace {

namespace fs = std::filesystem;

/// An own directory for a test, gone afterwards.
class Directory {
public:
    Directory() {
        std::string name = (fs::temp_directory_path() / "plimsoll-store-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        path_ = name;
    }
    ~Directory() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    Directory(const Directory&) = delete;
    [[nodiscard]] std::string file(std::string_view name = "journal.db") const { return (path_ / name).string(); }

private:
    fs::path path_;
};

std::string load(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream out;
    out << file.rdbuf();
    return out.str();
}
void save(const std::string& path, std::string_view bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string body(std::uint64_t n) {
    return R"({"n":)" + std::to_string(n) + R"(,"text":")" + std::string(n % 700, 'x') + R"("})";
}

std::vector<Entry> all(Journal& journal, std::uint64_t after = 0) {
    std::vector<Entry> out;
    const auto read = journal.read(after, [&](const Entry& entry) {
        out.push_back(entry);
        return true;
    });
    EXPECT_TRUE(read) << read.error().detail;
    return out;
}

/// Adds `count` entries, counting on from what is there.
void fill(Journal& journal, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto n = journal.append_all({}).value() + 1;
        ASSERT_EQ(journal.append({static_cast<std::int64_t>(n)}, "rollout", "r" + std::to_string(n), body(n)), n);
    }
}

/// True when the entries are 1, 2, ... with the bodies that `fill` gives them.
testing::AssertionResult intact(const std::vector<Entry>& entries) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const auto n = i + 1;
        if (entries[i].sequence != n || entries[i].body != body(n) ||
            entries[i].at.ns != static_cast<std::int64_t>(n) || entries[i].subject != "r" + std::to_string(n)) {
            return testing::AssertionFailure()
                   << "entry " << n << " is " << entries[i].sequence << " " << entries[i].body;
        }
    }
    return testing::AssertionSuccess();
}

enum class Kind { memory, sqlite };

class AnyJournal : public testing::TestWithParam<Kind> {
protected:
    Directory directory_;
    std::unique_ptr<Journal> journal_ =
        GetParam() == Kind::memory ? memory_journal() : std::move(sqlite_journal(directory_.file()).value());
};
INSTANTIATE_TEST_SUITE_P(Both, AnyJournal, testing::Values(Kind::memory, Kind::sqlite),
                         [](const auto& about) { return about.param == Kind::memory ? "memory" : "sqlite"; });

TEST_P(AnyJournal, numbers_entries_from_one_without_gaps) {
    EXPECT_TRUE(all(*journal_).empty());
    fill(*journal_, 20);
    EXPECT_EQ(all(*journal_).size(), 20u);
    EXPECT_TRUE(intact(all(*journal_)));
}

TEST_P(AnyJournal, reads_after_a_sequence_and_until_told_to_stop) {
    fill(*journal_, 10);
    const auto later = all(*journal_, 7);
    ASSERT_EQ(later.size(), 3u);
    EXPECT_EQ(later.front().sequence, 8u);
    EXPECT_TRUE(all(*journal_, 10).empty());
    EXPECT_TRUE(all(*journal_, 99).empty());
    int seen = 0;
    ASSERT_TRUE(journal_->read(0, [&](const Entry&) { return ++seen < 4; }));
    EXPECT_EQ(seen, 4);
}

TEST_P(AnyJournal, appends_all_or_nothing) {
    fill(*journal_, 1);
    EXPECT_EQ(journal_->append_all({{0, {2}, "a", "", "{}"}, {77, {3}, "b", "s", R"({"k":1})"}}), 3u);
    const auto refused = journal_->append_all({{0, {4}, "c", "", "{}"}, {0, {5}, "d", "", "not json"}});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::invalid);
    EXPECT_EQ(journal_->append_all({}), 3u);
    EXPECT_EQ(all(*journal_).back().kind, "b");
}

TEST_P(AnyJournal, refuses_what_is_no_entry) {
    EXPECT_EQ(journal_->append({}, "", "", "{}").error().code, Code::invalid);
    EXPECT_EQ(journal_->append({}, "a", "", "").error().code, Code::invalid);
    EXPECT_EQ(journal_->append({}, "a", "", "[1]").error().code, Code::invalid);
    EXPECT_EQ(journal_->append({}, "a", "", "{} {}").error().code, Code::invalid);
    EXPECT_EQ(journal_->append({}, "a", std::string(200, 's'), "{}").error().code, Code::limit);
    EXPECT_EQ(journal_->append({}, "a", "", "{" + std::string(max_body_bytes, ' ') + "}").error().code, Code::limit);
    EXPECT_EQ(journal_->append({}, "a", "", "{}"), 1u);
}

TEST_P(AnyJournal, keeps_any_bytes) {
    const std::string subject("a\0\xff'b", 5);
    ASSERT_TRUE(journal_->append({-1}, "k", subject, "{\"s\":\"\\u0000 \xc3\xa9\"}"));
    const auto entries = all(*journal_);
    EXPECT_EQ(entries[0].subject, subject);
    EXPECT_EQ(entries[0].at.ns, -1);
}

TEST_P(AnyJournal, a_visitor_may_append) {
    fill(*journal_, 3);
    std::uint64_t seen = 0;
    ASSERT_TRUE(journal_->read(0, [&](const Entry& entry) {
        if (entry.sequence <= 3) EXPECT_TRUE(journal_->append({}, "echo", "", "{}"));
        return ++seen < 100;
    }));
    EXPECT_GE(seen, 3u);
    EXPECT_EQ(journal_->append_all({}), 6u);
}

TEST(SqliteJournal, is_there_after_reopening) {
    const Directory directory;
    for (std::uint64_t round = 1; round <= 5; ++round) {
        const auto journal = sqlite_journal(directory.file());
        ASSERT_TRUE(journal) << journal.error().detail;
        EXPECT_TRUE(intact(all(**journal)));
        fill(**journal, 10);
        EXPECT_EQ(all(**journal).size(), 10 * round);
    }
}

TEST(SqliteJournal, has_one_holder_and_names_it) {
    const Directory directory;
    auto first = sqlite_journal(directory.file());
    ASSERT_TRUE(first);
    const auto second = sqlite_journal(directory.file());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Code::conflict);
    EXPECT_NE(second.error().detail.find("process " + std::to_string(::getpid()) + " (store_test)"), std::string::npos)
        << second.error().detail;
    first->reset();
    EXPECT_TRUE(sqlite_journal(directory.file()));
}

TEST(SqliteJournal, is_its_owners_only_whatever_the_umask_and_the_past) {
    const Directory directory;
    const auto modes = [&] {
        std::string out;
        for (const char* part : {"", "-wal", "-shm", ".lock"}) {
            const auto mode = fs::status(directory.file("journal.db") + part).permissions();
            out += (mode & (fs::perms::group_all | fs::perms::others_all)) == fs::perms::none ? "private " : "open ";
        }
        return out;
    };
    const mode_t before = ::umask(0);
    {
        auto journal = sqlite_journal(directory.file());
        ASSERT_TRUE(journal);
        ASSERT_TRUE((*journal)->append({}, "a", "b", "{}"));
        EXPECT_EQ(modes(), "private private private private ");
    }
    fs::permissions(directory.file(), fs::perms::owner_read | fs::perms::owner_write | fs::perms::others_read);
    {
        auto journal = sqlite_journal(directory.file());
        ASSERT_TRUE(journal);
        EXPECT_EQ(modes(), "private private private private ");
    }
    ::umask(before);
}

TEST(SqliteJournal, syncs_every_commit) {
    const Directory directory;
    const auto journal = sqlite_journal(directory.file());
    ASSERT_TRUE(journal);
    fill(**journal, 3);
    EXPECT_GT(fs::file_size(directory.file() + "-wal"), 0u);  // in the log before it is acknowledged
    const auto bytes = load(directory.file());
    EXPECT_EQ(bytes[18], 2);  // the format says WAL
}

/// Appends until killed, telling each acknowledged sequence through the pipe.
[[noreturn]] void append_for_ever(const std::string& path, int pipe) {
    const auto journal = sqlite_journal(path);
    if (!journal) ::_exit(1);
    for (;;) {
        const auto n = (*journal)->append_all({}).value() + 1;
        const auto done =
            (*journal)->append({static_cast<std::int64_t>(n)}, "rollout", "r" + std::to_string(n), body(n));
        if (!done || ::write(pipe, &*done, sizeof *done) != sizeof *done) ::_exit(2);
    }
}

TEST(SqliteJournal, loses_nothing_acknowledged_when_killed) {
    const Directory directory;
    Random random(4);
    std::uint64_t acknowledged = 0;
    for (int round = 0; round < 25; ++round) {
        int ends[2];
        ASSERT_EQ(::pipe(ends), 0);
        const pid_t child = ::fork();
        if (child == 0) append_for_ever(directory.file(), ends[1]);
        ::close(ends[1]);
        // Kill after a random number of entries, at whatever point of the next one it then is.
        std::uint64_t sequence = 0;
        for (auto n = 1 + random.below(15); n > 0; --n) {
            ASSERT_EQ(::read(ends[0], &sequence, sizeof sequence), static_cast<ssize_t>(sizeof sequence));
        }
        for (volatile std::uint64_t spin = random.below(200'000); spin > 0;) spin = spin - 1;
        ASSERT_EQ(::kill(child, SIGKILL), 0);
        while (::read(ends[0], &sequence, sizeof sequence) == static_cast<ssize_t>(sizeof sequence)) {
        }
        acknowledged = sequence;
        ::close(ends[0]);
        ASSERT_EQ(::waitpid(child, nullptr, 0), child);

        const auto journal = sqlite_journal(directory.file());
        ASSERT_TRUE(journal) << journal.error().detail;
        const auto entries = all(**journal);
        ASSERT_TRUE(intact(entries)) << "round " << round;
        ASSERT_GE(entries.size(), acknowledged) << "round " << round;
        ASSERT_LE(entries.size(), acknowledged + 1) << "only the one under way may be there unasked";
    }
    EXPECT_GT(acknowledged, 50u);
}

/// The files of a journal with `count` entries, once closed in order (no WAL) and once as a crash leaves them.
struct Files {
    std::string database, wal;
};
Files crashed_journal(std::uint64_t count) {
    const Directory directory;
    const auto journal = sqlite_journal(directory.file());
    fill(**journal, count);
    return {load(directory.file()), load(directory.file() + "-wal")};
}
Files closed_journal(std::uint64_t count) {
    const Directory directory;
    {
        const auto journal = sqlite_journal(directory.file());
        fill(**journal, count);
    }
    return {load(directory.file()), ""};
}

/// Opens the files in a fresh place. Whatever opens must be a true beginning of the history.
std::optional<std::size_t> open_files(const Files& files) {
    const Directory directory;
    save(directory.file(), files.database);
    if (!files.wal.empty()) save(directory.file() + "-wal", files.wal);
    auto journal = sqlite_journal(directory.file());
    if (!journal) {
        EXPECT_NE(journal.error().detail.find(directory.file()), std::string::npos) << journal.error().detail;
        EXPECT_EQ(load(directory.file()), files.database) << "refused, but changed: " << journal.error().detail;
        return std::nullopt;
    }
    const auto entries = all(**journal);
    EXPECT_TRUE(intact(entries));
    EXPECT_TRUE((*journal)->append({}, "after", "", "{}"));
    return entries.size();
}

TEST(SqliteJournal, refuses_a_file_damaged_anywhere_in_what_it_says) {
    const Files files = closed_journal(40);
    ASSERT_EQ(open_files(files), 40u);
    Random random(7);
    int refused = 0, opened_whole = 0;
    for (int i = 0; i < 150; ++i) {
        Files hurt = files;
        const auto at = random.below(hurt.database.size());
        hurt.database[at] = static_cast<char>(hurt.database[at] ^ static_cast<char>(1 + random.below(255)));
        const auto opened = open_files(hurt);
        refused += opened ? 0 : 1;
        opened_whole += opened == 40u ? 1 : 0;
        EXPECT_TRUE(!opened || *opened == 40u) << "byte " << at << ": history shortened in silence";
    }
    EXPECT_GT(refused, 30);  // much of a small file is unused space
    EXPECT_EQ(refused + opened_whole, 150);
}

TEST(SqliteJournal, refuses_a_file_cut_anywhere) {
    const Files files = closed_journal(40);
    Random random(8);
    for (int i = 0; i < 40; ++i) {
        EXPECT_EQ(open_files({files.database.substr(0, 1 + random.below(files.database.size() - 1)), ""}),
                  std::nullopt);
    }
}

TEST(SqliteJournal, a_log_damaged_or_cut_by_a_crash_leaves_a_true_beginning) {
    const Files files = crashed_journal(20);
    ASSERT_EQ(open_files(files), 20u);
    Random random(9);
    for (int i = 0; i < 60; ++i) {
        Files hurt = files;
        const auto at = random.below(hurt.wal.size());
        if (i % 2 == 0) {
            hurt.wal.resize(at);
        } else {
            hurt.wal[at] = static_cast<char>(hurt.wal[at] ^ static_cast<char>(1 + random.below(255)));
        }
        const auto opened = open_files(hurt);
        EXPECT_TRUE(!opened || *opened <= 20u);
    }
}

TEST(SqliteJournal, says_what_is_wrong_and_what_to_do) {
    const Directory directory;
    const auto refusal = [&](std::string_view bytes) {
        save(directory.file(), bytes);
        const auto journal = sqlite_journal(directory.file());
        EXPECT_FALSE(journal);
        EXPECT_EQ(load(directory.file()), bytes);
        return journal ? "" : journal.error().detail;
    };
    EXPECT_NE(refusal("listeners: {}\n").find("not a Plimsoll journal"), std::string::npos);
    const auto cut = refusal(closed_journal(40).database.substr(0, 5000));
    EXPECT_NE(cut.find("damaged"), std::string::npos) << cut;
    EXPECT_NE(cut.find("backup"), std::string::npos) << cut;
}

void change(const std::string& path, const char* sql) {
    sqlite3* raw = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &raw), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(raw, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(raw);
    sqlite3_close(raw);
}

TEST(SqliteJournal, refuses_what_others_wrote) {
    const auto after = [](const char* sql) {
        const Directory directory;
        {
            const auto journal = sqlite_journal(directory.file());
            fill(**journal, 5);
        }
        change(directory.file(), sql);
        const auto journal = sqlite_journal(directory.file());
        return journal ? "opened" : journal.error().detail;
    };
    EXPECT_EQ(after("SELECT 1"), "opened");
    EXPECT_NE(after("UPDATE entry SET body = '{}' WHERE sequence = 3").find("entry 3 is not"), std::string::npos);
    EXPECT_NE(after("DELETE FROM entry WHERE sequence = 2").find("entry 2 is missing"), std::string::npos);
    EXPECT_NE(after("PRAGMA user_version = 2").find("format 2"), std::string::npos);
    EXPECT_NE(after("CREATE TABLE guest(a)").find("damaged"), std::string::npos);
    EXPECT_NE(after("PRAGMA application_id = 5").find("another program"), std::string::npos);
    EXPECT_NE(after("DROP TABLE entry; PRAGMA application_id = 0; PRAGMA user_version = 0").find("damaged"),
              std::string::npos);
}

TEST(SqliteJournal, an_emptied_file_is_not_a_fresh_start) {
    const Directory directory;
    save(directory.file(), "");
    fill(**sqlite_journal(directory.file()), 3);  // empty and never begun: begin it
    save(directory.file(), "");
    const auto journal = sqlite_journal(directory.file());
    ASSERT_FALSE(journal);
    EXPECT_NE(journal.error().detail.find("empty"), std::string::npos) << journal.error().detail;
}

TEST(SqliteJournal, a_place_that_cannot_be_written_is_an_io_error) {
    const auto journal = sqlite_journal("/proc/plimsoll/journal.db");
    ASSERT_FALSE(journal);
    EXPECT_EQ(journal.error().code, Code::io);
    const Directory directory;
    fs::create_directory(directory.file());
    const auto folder = sqlite_journal(directory.file());
    ASSERT_FALSE(folder);
    EXPECT_EQ(folder.error().code, Code::invalid);
}

TEST(SqliteJournal, a_full_disk_is_an_io_error_and_passes) {
    const Directory directory;
    const auto journal = sqlite_journal(directory.file());
    ASSERT_TRUE(journal);
    fill(**journal, 5);
    struct rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    ::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit full{.rlim_cur = fs::file_size(directory.file() + "-wal") + 10'000,
                             .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &full), 0);
    const std::string large = R"({"text":")" + std::string(100'000, 'x') + R"("})";
    const auto refused = (*journal)->append({}, "large", "", large);
    const auto twice = (*journal)->append_all({{0, {}, "small", "", "{}"}, {0, {}, "large", "", large}});
    const auto readable = all(**journal).size();
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::io);
    EXPECT_FALSE(twice);
    EXPECT_EQ(readable, 5u);
    fill(**journal, 5);
    EXPECT_EQ(all(**journal).size(), 10u);
    EXPECT_TRUE(intact(all(**journal)));
}

}  // namespace
}  // namespace plimsoll::store

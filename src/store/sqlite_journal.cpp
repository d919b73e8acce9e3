// The journal on disk: one SQLite table, WAL, every commit fsync'd, entries chained by checksum. One thread.
// Source: sqlite.org/wal.html, sqlite.org/howtocorrupt.html. Format: docs/formats/journal.md.
#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "base/hash.h"
#include "store/entry.h"
#include "store/journal.h"
#include "store/lock.h"

namespace plimsoll::store {
namespace {

constexpr int schema_version = 1;
constexpr int application_id = 0x504c494d;  // "PLIM"
constexpr int busy_ms = 200;  // somebody reads with sqlite3 while we write; control must not wait for long
constexpr std::string_view create_table =
    "CREATE TABLE entry(sequence INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, "
    "body TEXT NOT NULL, chain INTEGER NOT NULL) STRICT";

struct CloseDatabase {
    void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

std::unexpected<Error> damaged(const std::string& path, std::string_view what) {
    return fail(Code::invalid,
                fmt::format("the journal {0} is damaged: {1}. It was left as it is. Move {0}, {0}-wal, {0}-shm and "
                            "{0}.lock aside together and put a backup in their place, or start without: then the "
                            "history and the last known good revision are lost",
                            path, what));
}

std::unexpected<Error> foreign(const std::string& path, std::string_view what) {
    return fail(Code::invalid,
                fmt::format("{} is not a Plimsoll journal: {}. It was left as it is; name another file", path, what));
}

/// The error that a failed call of SQLite stands for.
std::unexpected<Error> failed(const std::string& path, sqlite3* database, std::string_view doing) {
    const int code = sqlite3_errcode(database) & 0xff;
    const std::string why = sqlite3_errmsg(database);
    if (code == SQLITE_CORRUPT) return damaged(path, why);
    if (code == SQLITE_NOTADB) return foreign(path, why);
    return fail(Code::io, fmt::format("cannot {} the journal {}: {}", doing, path, why), Side::us, Retry::yes);
}

/// Each entry's checksum takes the one before as its key, so a changed, lost or exchanged entry shows at once.
std::uint64_t chained(const Entry& entry, std::uint64_t before) {
    std::string bytes = fmt::format("{} {} {} {} {} ", entry.sequence, entry.at.ns, entry.kind.size(),
                                    entry.subject.size(), entry.body.size());
    bytes.append(entry.kind).append(entry.subject).append(entry.body);
    return keyed_hash(bytes, before);
}

Statement prepare(sqlite3* database, std::string_view sql) {
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
    return Statement(statement);
}

bool run(sqlite3* database, const char* sql) {
    return sqlite3_exec(database, sql, nullptr, nullptr, nullptr) == SQLITE_OK;
}

/// First column of the first row; nullopt on any error.
std::optional<std::string> ask(sqlite3* database, std::string_view sql) {
    const Statement statement = prepare(database, sql);
    if (!statement || sqlite3_step(statement.get()) != SQLITE_ROW) return std::nullopt;
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement.get(), 0));
    return text == nullptr ? "" : std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(statement.get(), 0)));
}

std::string column(sqlite3_stmt* statement, int index) {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, index));
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, index));
    return text == nullptr ? std::string{} : std::string(text, size);
}

bool bind_text(sqlite3_stmt* statement, int index, std::string_view text) {
    return sqlite3_bind_text64(statement, index, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK;
}

class SqliteJournal final : public Journal {
public:
    SqliteJournal(std::string path, Lock lock, Database database)
        : path_(std::move(path)), lock_(std::move(lock)), database_(std::move(database)) {}

    Result<std::uint64_t> append(Timestamp at, std::string_view kind, std::string_view subject,
                                 std::string_view body) override {
        return append_all({{0, at, std::string(kind), std::string(subject), std::string(body)}});
    }

    Result<std::uint64_t> append_all(std::vector<Entry> entries) override {
        for (const Entry& entry : entries) {
            if (auto fine = acceptable(entry.kind, entry.subject, entry.body); !fine) {
                return std::unexpected(fine.error());
            }
        }
        if (entries.empty()) return last_;
        std::uint64_t last = last_, chain = chain_;
        bool written = run(database_.get(), "BEGIN IMMEDIATE");
        for (auto entry = entries.begin(); written && entry != entries.end(); ++entry) {
            entry->sequence = ++last;
            chain = chained(*entry, chain);
            written = insert(*entry, chain);
        }
        if (!written || !run(database_.get(), "COMMIT")) {
            auto error = failed(path_, database_.get(), "write");
            if (sqlite3_get_autocommit(database_.get()) == 0) run(database_.get(), "ROLLBACK");
            return error;
        }
        last_ = last;
        chain_ = chain;
        return last_;
    }

    Result<void> read(std::uint64_t after, const std::function<bool(const Entry&)>& visit) override {
        const std::uint64_t end = last_;
        if (after >= end) return {};
        const Statement rows = prepare(database_.get(),
                                       "SELECT sequence, at, kind, subject, body, chain FROM entry "
                                       "WHERE sequence >= ?1 ORDER BY sequence");
        // Begins with the entry `after` itself: its checksum is the key of the next one's.
        if (!rows || sqlite3_bind_int64(rows.get(), 1, static_cast<sqlite3_int64>(after)) != SQLITE_OK) {
            return failed(path_, database_.get(), "read");
        }
        std::uint64_t expected = after, chain = 0;
        if (after == 0) expected = 1;
        int step = SQLITE_ROW;
        while ((step = sqlite3_step(rows.get())) == SQLITE_ROW) {
            const Entry entry = entry_at(rows.get());
            const auto stored = static_cast<std::uint64_t>(sqlite3_column_int64(rows.get(), 5));
            if (entry.sequence != expected) return damaged(path_, fmt::format("entry {} is missing", expected));
            if (entry.sequence > after && stored != chained(entry, chain)) {
                return damaged(path_, fmt::format("entry {} is not what was written", entry.sequence));
            }
            chain = stored;
            ++expected;
            if (entry.sequence > after && !visit(entry)) return {};
        }
        if (step != SQLITE_DONE) return failed(path_, database_.get(), "read");
        if (expected <= end && end != unknown) return damaged(path_, fmt::format("entry {} is missing", expected));
        return {};
    }

    /// Walks the whole chain and remembers its end. Errors as read.
    Result<void> verify() {
        last_ = unknown;
        std::uint64_t last = 0, chain = 0;
        auto seen = read(0, [&](const Entry& entry) {
            last = entry.sequence;
            chain = chained(entry, chain);
            return true;
        });
        last_ = last;
        chain_ = chain;
        return seen;
    }

    /// The file proved whole: from now on it is checkpointed, and noted as begun. Errors: io.
    Result<void> begun() {
        sqlite3_db_config(database_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
        return lock_.begun() ? Result<void>{} : lock_.note_begun();
    }

private:
    static constexpr std::uint64_t unknown = UINT64_MAX;  // how many there are: only while it is being verified

    static Entry entry_at(sqlite3_stmt* row) {
        return {.sequence = static_cast<std::uint64_t>(sqlite3_column_int64(row, 0)),
                .at = {sqlite3_column_int64(row, 1)},
                .kind = column(row, 2),
                .subject = column(row, 3),
                .body = column(row, 4)};
    }

    bool insert(const Entry& entry, std::uint64_t chain) {
        const Statement row = prepare(database_.get(),
                                      "INSERT INTO entry(sequence, at, kind, subject, body, chain) "
                                      "VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
        return row && sqlite3_bind_int64(row.get(), 1, static_cast<sqlite3_int64>(entry.sequence)) == SQLITE_OK &&
               sqlite3_bind_int64(row.get(), 2, entry.at.ns) == SQLITE_OK && bind_text(row.get(), 3, entry.kind) &&
               bind_text(row.get(), 4, entry.subject) && bind_text(row.get(), 5, entry.body) &&
               sqlite3_bind_int64(row.get(), 6, std::bit_cast<sqlite3_int64>(chain)) == SQLITE_OK &&
               sqlite3_step(row.get()) == SQLITE_DONE;
    }

    std::string path_;
    Lock lock_;  // let go after the database is closed: members die in reverse order
    Database database_;
    std::uint64_t last_ = 0;
    std::uint64_t chain_ = 0;
};

/// Whether there is a journal to open (true) or one to begin (false). Errors: invalid, io; nothing is touched.
Result<bool> look(const std::string& path, const Lock& lock) {
    std::error_code none;
    if (!std::filesystem::exists(path, none)) return false;
    if (!std::filesystem::is_regular_file(path, none)) return foreign(path, "it is no ordinary file");
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(Code::io, fmt::format("cannot read the journal {}: {}", path, std::strerror(errno)));
    std::array<char, 16> head{};
    file.read(head.data(), head.size());
    const std::string_view seen(head.data(), static_cast<std::size_t>(file.gcount()));
    if (seen.empty() && lock.begun()) return damaged(path, "the file is empty, but a journal was begun in it");
    if (seen.empty()) return false;
    if (seen != std::string_view("SQLite format 3\0", 16)) return foreign(path, "it is no SQLite database");
    return true;
}

/// Checks an existing database. Errors: invalid. False when it is one in which nothing was begun yet.
Result<bool> inspect(const std::string& path, sqlite3* database) {
    const auto id = ask(database, "PRAGMA application_id"), version = ask(database, "PRAGMA user_version");
    const auto objects = ask(database, "SELECT count(*) FROM sqlite_master");
    if (!id || !version || !objects) return failed(path, database, "open");
    if (*id == "0" && *version == "0" && *objects == "0") return false;
    if (*id != std::to_string(application_id)) return foreign(path, "it is a database of another program");
    if (*version != std::to_string(schema_version)) {
        return fail(Code::invalid, fmt::format("the journal {} has format {}, this Plimsoll writes {}; use the version "
                                               "that wrote it, or a newer one",
                                               path, *version, schema_version));
    }
    const auto sql = ask(database, "SELECT sql FROM sqlite_master");
    if (*objects != "1" || !sql || *sql != create_table) return damaged(path, "its table is not the one we made");
    const auto check = ask(database, "PRAGMA quick_check(1)");
    if (!check) return failed(path, database, "check");
    if (*check != "ok") return damaged(path, *check);
    return true;
}

/// Makes the file's name itself durable, not only its contents.
bool sync_directory(const std::string& path) {
    const auto parent = std::filesystem::path(path).parent_path();
    const int fd = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool done = ::fsync(fd) == 0;
    ::close(fd);
    return done;
}

/// Creates the table, or says why not. Errors: io.
Result<void> begin(const std::string& path, sqlite3* database) {
    const std::string sql = fmt::format("BEGIN IMMEDIATE; PRAGMA application_id={}; PRAGMA user_version={}; {}; COMMIT",
                                        application_id, schema_version, create_table);
    if (!run(database, sql.c_str())) return failed(path, database, "create");
    if (!sync_directory(path)) return fail(Code::io, fmt::format("cannot sync the directory of {}", path));
    return {};
}

/// The history holds configurations, and they hold secrets: the owner's only. SQLite gives -wal and -shm the mode of
/// the database. Errors: io.
Result<void> make_file(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return fail(Code::io, fmt::format("cannot open the journal {}: {}", path, std::strerror(errno)));
    ::close(fd);
    return {};
}

/// What an older version left open to others is closed. For a file that has proved to be ours. Errors: io.
Result<void> make_private(const std::string& path) {
    for (const char* part : {"", "-wal", "-shm", ".lock"}) {
        const std::string name = path + part;
        struct stat info{};
        if (::stat(name.c_str(), &info) != 0 || (info.st_mode & 077) == 0) continue;
        if (::chmod(name.c_str(), info.st_mode & 0700) != 0)
            return fail(Code::io, fmt::format("{} can be read by others: {}", name, std::strerror(errno)));
    }
    return {};
}

/// A connection with the settings on which durability rests. Errors: io, invalid.
Result<Database> connect(const std::string& path) {
    sqlite3* raw = nullptr;
    const int opened =
        sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    Database database(raw);
    if (opened != SQLITE_OK)
        return fail(Code::io, fmt::format("cannot open the journal {}: {}", path,
                                          raw != nullptr ? sqlite3_errmsg(raw) : "no memory"));
    sqlite3_busy_timeout(raw, busy_ms);
    sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    // Until the file has proved to be ours and whole, closing it must not write the WAL into it.
    sqlite3_db_config(raw, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    run(raw, "PRAGMA cell_size_check=ON");
    return database;
}

}  // namespace

Result<std::unique_ptr<Journal>> sqlite_journal(const std::string& path) {
    auto lock = Lock::take(path);
    if (!lock) return std::unexpected(lock.error());
    const auto exists = look(path, *lock);
    if (!exists) return std::unexpected(exists.error());
    if (!*exists) {
        if (auto made = make_file(path); !made) return std::unexpected(made.error());
    }
    auto database = connect(path);
    if (!database) return std::unexpected(database.error());
    sqlite3* raw = database->get();

    bool begun = *exists;
    if (begun) {
        const auto inspected = inspect(path, raw);
        if (!inspected) return std::unexpected(inspected.error());
        begun = *inspected;
        if (!begun && lock->begun()) return damaged(path, "it holds no table, but a journal was begun in it");
    }
    if (sqlite3_db_readonly(raw, "main") == 1) return fail(Code::io, fmt::format("the journal {} is read-only", path));
    if (ask(raw, "PRAGMA journal_mode=WAL") != "wal" || !run(raw, "PRAGMA synchronous=FULL")) {
        return failed(path, raw, "open");
    }
    if (!begun) {
        if (auto made = begin(path, raw); !made) return std::unexpected(made.error());
    }
    auto journal = std::make_unique<SqliteJournal>(path, std::move(*lock), std::move(*database));
    if (auto whole = journal->verify(); !whole) return std::unexpected(whole.error());
    if (auto owned = make_private(path); !owned) return std::unexpected(owned.error());
    if (auto noted = journal->begun(); !noted) return std::unexpected(noted.error());
    return journal;
}

}  // namespace plimsoll::store

// History: what the Journal says so far, as values; a pure fold over entries. A restart is `fold everything`, and a
// running server folds each entry that it appends, so the two cannot disagree.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "config/config.h"
#include "discovery/membership.h"
#include "store/journal.h"

namespace plimsoll::control {

/// A config that was made durable. Immutable.
struct Revision {
    RevisionNumber number;
    RevisionNumber parent;  ///< 0 for the first
    std::string digest;     ///< of the effective config
    std::string text;       ///< as the operator wrote it
    std::string file;       ///< as the operator named it
    std::string change;     ///< "C7"; empty for the one the server started with
    Timestamp at;
};

/// One submitted change and what became of it.
struct ChangeRecord {
    std::string id;  ///< "C7"
    RevisionNumber base;
    RevisionNumber revision;  ///< 0 = never made durable (refused before); a rollback by hand: the one returned to
    std::string digest, file, author, reason;
    bool forced = false;
    bool at_once = false;
    Timestamp submitted;
    Timestamp ended;
    std::string ending;  ///< empty = in progress; else of rollout::Ending's names
    int exit_code = 0;
    std::string summary;   ///< one sentence
    std::string incident;  ///< "INC-3" or empty
    std::string detail;    ///< JSON object with marks and figures, as the CLI prints it
    struct Line {
        Timestamp at;
        std::string stage, text;
    };
    std::vector<Line> lines;  ///< what was reported on the way
};

struct Frozen {
    std::string digest, change, reason;
    Timestamp at;
};

struct Delivery {
    Timestamp at;
    std::string channel, incident, event;
    int attempt = 0;
    int status = 0;  ///< HTTP status; 0 = no answer
    bool delivered = false;
    std::string error;
};

/// One change of a pool's found endpoints. The revision stays the same.
struct MembershipChange {
    std::string pool, source;  ///< "web", "dns web.internal:80"
    std::size_t before = 0, after = 0;
    std::vector<config::Endpoint> added, removed, altered;
    Timestamp at;
};
/// Kept for people; older ones are in the journal.
inline constexpr std::size_t max_membership_changes = 100;

struct History {
    std::uint64_t sequence = 0;  ///< of the last entry folded
    std::map<std::uint64_t, Revision> revisions;
    RevisionNumber active;                         ///< 0 = none yet
    std::set<std::uint64_t> were_active;           ///< every revision that was active at some time
    std::vector<RevisionNumber> known_good;        ///< oldest first; the last is *the* last known good
    std::vector<ChangeRecord> changes;             ///< oldest first
    std::map<std::string, Frozen> frozen;          ///< by digest
    std::map<std::string, std::string> incidents;  ///< id -> newest JSON
    std::vector<Delivery> deliveries;
    std::deque<MembershipChange> membership_changes;  ///< the newest, oldest first
    /// Who was found last: by pool and source, address to what is known of it (JSON).
    std::map<std::pair<std::string, std::string>, std::map<std::string, std::string>> members;
    std::uint64_t unreadable = 0;  ///< entries of a newer version that we passed over

    void fold(const store::Entry& entry);
    [[nodiscard]] const Revision* revision(RevisionNumber number) const;
    [[nodiscard]] const Revision* active_revision() const { return revision(active); }
    [[nodiscard]] RevisionNumber last_known_good() const {
        return known_good.empty() ? RevisionNumber{} : known_good.back();
    }
    [[nodiscard]] RevisionNumber next_revision() const;
    [[nodiscard]] std::string next_change() const;
    [[nodiscard]] ChangeRecord* change(const std::string& id);
    /// The endpoints that this source had found when the journal was written last; empty = none that we know of.
    [[nodiscard]] std::vector<config::Endpoint> members_of(const std::string& pool, const std::string& source) const;
    [[nodiscard]] const ChangeRecord* change(const std::string& id) const;
};

/// Found endpoints as the admin API tells them: [{"pool", "source", "endpoints"}], each endpoint as a `membership`
/// entry has it.
[[nodiscard]] std::string found_json(const discovery::Found& found);
/// Back again, as far as `config` has such sources. Errors: protocol (that is not what found_json writes).
[[nodiscard]] Result<discovery::Found> found_of(const config::Config& config, const std::string& json);

// The bodies of the entries that this room writes: docs/formats/journal.md.
[[nodiscard]] store::Entry change_entry(const ChangeRecord& change);
[[nodiscard]] store::Entry revision_entry(const Revision& revision);
[[nodiscard]] store::Entry line_entry(const std::string& change, const ChangeRecord::Line& line);
[[nodiscard]] store::Entry ending_entry(const ChangeRecord& change);
/// `disowned`: what somebody rolled back from by hand is not known to be good any more; 0 = nothing.
[[nodiscard]] store::Entry active_entry(RevisionNumber revision, const std::string& why, Timestamp at,
                                        RevisionNumber disowned = {});
[[nodiscard]] store::Entry known_good_entry(RevisionNumber revision, Timestamp at);
[[nodiscard]] store::Entry frozen_entry(const Frozen& frozen);
[[nodiscard]] store::Entry thawed_entry(const std::string& digest, const std::string& why, Timestamp at);
[[nodiscard]] store::Entry incident_entry(const std::string& id, const std::string& json, Timestamp at);
[[nodiscard]] store::Entry membership_entry(const MembershipChange& change);
[[nodiscard]] store::Entry delivery_entry(const Delivery& delivery);

}  // namespace plimsoll::control

// Members: found endpoints on their way to the workers. Asks the sources, says when what is served has to be compiled
// anew, keeps the journal's record of every change of membership, and watches that what is wanted is what serves.
//   A membership is not a revision: the revision is what somebody wrote; its snapshot is compiled again with who is
//   there now (docs/decisions/0010).
// Thread rule: control's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "control/discovery.h"
#include "control/divergence.h"
#include "control/fleet.h"
#include "control/ledger.h"
#include "control/site.h"
#include "net/network.h"

namespace plimsoll::control {

/// The snapshot of a revision with the endpoints that were found for it. Its digest is that of what was written.
/// `previous` lends what is dear to build and has not changed; may be null.
[[nodiscard]] std::shared_ptr<const snapshot::Snapshot> compile_served(
    const config::Config& written, const discovery::Found& found, RevisionNumber revision,
    snapshot::Identities& identities, std::uint32_t workers, const snapshot::Snapshot* previous);

/// Figures of one source, for metrics and status.
struct SourceFigures {
    std::string pool, source;
    std::size_t members = 0, doubted = 0;
    std::uint64_t answers = 0, failures = 0, held = 0;
    std::uint32_t failures_in_row = 0;
    double good_age_s = -1;  ///< since the last whole answer; below 0 = there was none yet
    double differs_s = 0;    ///< since when wanted and serving differ; 0 = they do not
    std::string standing;    ///< why; empty = all is well
};

class Members {
public:
    struct Parts {
        net::Network& network;
        Site& site;
        Ledger& ledger;
        Fleet& fleet;
    };
    explicit Members(Parts parts);

    /// Asks the sources of these configs from now on; what the journal remembers of them counts until they answer. Null
    /// is left out.
    void follow(const std::vector<const config::Config*>& configs);
    /// What the journal remembers of the sources of `config` that have not answered this process yet.
    void remember(const config::Config& config);
    [[nodiscard]] Discovery& discovery() { return discovery_; }
    [[nodiscard]] const discovery::Found& found() const { return discovery_.found(); }
    /// "pool web: NXDOMAIN" for each pool of `config` without anybody, because its source has found nobody.
    [[nodiscard]] std::vector<std::string> nobody(const config::Config& config) const;

    /// Whether what is served must be compiled anew; asked once per change.
    [[nodiscard]] bool changed() { return std::exchange(changed_, false); }
    /// Compiled and posted: counts the versions of membership since the start.
    void installed() { ++version_; }
    [[nodiscard]] std::uint64_t version() const { return version_; }

    /// Once a second or so: writes what the journal does not have yet, and says what has differed for too long.
    [[nodiscard]] std::vector<Divergence::Seen> tick();
    [[nodiscard]] const std::vector<Divergence::Seen>& firing() const { return divergence_.firing(); }
    [[nodiscard]] std::vector<SourceFigures> figures() const;

private:
    struct Written {
        std::vector<config::Endpoint> members;  ///< as the journal has them
        Instant at{INT64_MIN / 2};
    };
    void write(const discovery::Source& source, const std::vector<config::Endpoint>& members);
    [[nodiscard]] std::vector<Differing> differing() const;

    Parts parts_;
    Divergence divergence_;
    std::map<discovery::Source, Written, discovery::SourceOrder> written_;
    bool changed_ = false;
    std::uint64_t version_ = 0;
    Discovery discovery_;  ///< last: its tasks call back
};

}  // namespace plimsoll::control

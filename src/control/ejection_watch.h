// EjectionWatch: who is out of rotation for a time, by failures or at its own wish, as people are told of it.
// Thread rule: control's thread; what it looks at is changed by the workers meanwhile.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "balance/shared_ejections.h"
#include "base/ids.h"
#include "base/time.h"
#include "snapshot/snapshot.h"

namespace plimsoll::control {

class EjectionWatch {
public:
    struct Seen {
        EndpointId endpoint;
        bool out = false;  ///< false: it takes requests again
        std::string text;  ///< a sentence for the log
    };
    /// Who was taken out or came back since the last time. `resident`: the revisions that serve; null ones are passed
    /// over. One load when nobody was, else O(endpoints).
    [[nodiscard]] std::vector<Seen> look(const balance::SharedEjections& ejections,
                                         std::span<const snapshot::Snapshot* const> resident, Instant now);
    /// As of the last look.
    [[nodiscard]] std::set<EndpointId> out() const;

private:
    struct Out {
        Instant until;
        std::string who;  ///< "endpoint b3 of pool web"
    };
    std::map<EndpointId, Out> out_;
    std::uint32_t version_ = 0;  ///< of what was looked at
};

}  // namespace plimsoll::control

// Discovery: asks every source of endpoints of the resident revisions, again and again, and keeps what is believed of
// the answers (discovery::take decides). A source that stays keeps what is known, whatever else a change says.
// Thread rule: control's thread. Nothing here waits for a name server but the source's own task.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/scope.h"
#include "async/task.h"
#include "config/config.h"
#include "discovery/endpoint_file.h"
#include "discovery/membership.h"
#include "discovery/resolver.h"
#include "net/network.h"

namespace plimsoll::control {

/// How long somebody waits for the first answers of sources that nobody has asked before.
inline constexpr Duration first_answer_wait = std::chrono::seconds(10);

/// One source as people see it.
struct SourceView {
    std::string pool, source;  ///< "web", "dns web.internal:80"
    config::Discovery settings;
    Instant since;                                      ///< when we began to ask
    const discovery::Membership* membership = nullptr;  ///< valid until the next call that is not const
};

class Discovery {
public:
    /// `changed` is called after each change of what is believed, once the source has what it says.
    using Changed = std::function<void(const discovery::Source&, const discovery::Shift&)>;
    Discovery(net::Network& network, Changed changed);
    Discovery(const Discovery&) = delete;
    Discovery& operator=(const Discovery&) = delete;

    /// Asks the sources of these configs from now on, and no others but those that await() still needs. Null is left
    /// out.
    void watch(const std::vector<const config::Config*>& configs);
    /// What was believed before a restart: kept until there is an answer. Before watch().
    void restore(const discovery::Source& source, std::vector<config::Endpoint> members);
    /// Asks the sources of `config` too; `done` runs when each has answered or failed once, or first_answer_wait later.
    /// At once, if all have.
    void await(const config::Config& config, std::function<void()> done);

    [[nodiscard]] const discovery::Found& found() const { return found_; }
    /// Every source of this config has answered or failed at least once, or something is remembered.
    [[nodiscard]] bool asked(const config::Config& config) const;
    [[nodiscard]] std::vector<SourceView> sources() const;

private:
    struct Watched {
        discovery::Source source;
        discovery::Membership membership{};
        Instant since{};  ///< when we began to ask
        bool wanted = true;
    };
    struct Guest {
        std::vector<discovery::Source> sources;
        std::function<void()> done;
        Instant until;
    };
    using All = std::map<discovery::Source, std::shared_ptr<Watched>, discovery::SourceOrder>;
    void set(const std::vector<discovery::Source>& sources);
    [[nodiscard]] bool asked(const std::vector<discovery::Source>& sources) const;
    async::Task<void> ask_name(std::shared_ptr<Watched> watched);
    async::Task<void> read_file(std::shared_ptr<Watched> watched);
    async::Task<void> wait_for(std::shared_ptr<Guest> guest);
    void took(Watched& watched, const Result<discovery::Answer>& answer);
    [[nodiscard]] std::shared_ptr<discovery::Resolver> resolver(const std::vector<std::string>& servers);

    net::Network& network_;
    Changed changed_;
    std::vector<discovery::Source> residents_;
    std::vector<std::shared_ptr<Guest>> guests_;
    All all_;
    discovery::Found found_;
    std::map<std::vector<std::string>, std::weak_ptr<discovery::Resolver>> resolvers_;
    async::Scope scope_;  ///< last: its tasks use all of the above
};

}  // namespace plimsoll::control

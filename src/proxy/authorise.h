// Authorisation: asks the server that a route names whether a request may go on, before it does. The question is a GET
// to an ordinary pool, with its policy, health, limits, connections and retries; nothing of the request's body.
// Thread rule: one worker.
// Source: docs/decisions/0015-an-auth-server-is-asked-first.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/deadline.h"
#include "async/task.h"
#include "balance/balance.h"
#include "base/outcome.h"
#include "http/message_stream.h"
#include "proxy/client.h"
#include "proxy/heads.h"
#include "proxy/revision.h"

namespace plimsoll::proxy {

/// Of a refusal that are passed on to the client; it is kept in memory meanwhile. A sign-in page is smaller.
inline constexpr std::size_t max_denial_body = 64 * 1024;

/// What the auth server is told. Views live until it has answered.
struct Question {
    const http::RequestHead& head;
    Forwarding forwarding{};             ///< as for an endpoint; `protocol` = what may be upgraded to
    Trace trace{};                       ///< the request's own span is the parent of what the auth server does
    std::optional<std::uint64_t> key{};  ///< for a pool that hashes
};
/// A GET with X-Forwarded-Method and X-Forwarded-Uri, and of the client's headers those that `auth` sends. What else a
/// client says under X-Forwarded-* and X-Original-* is left out: auth servers believe it.
void draft_question(http::Draft& draft, const snapshot::Auth& auth, const Question& question);

/// Whether servers that turn '-' into '_' (CGI and its heirs) take the two for one; case does not count.
[[nodiscard]] bool is_same_header(std::string_view a, std::string_view b);

class Authorisation {
public:
    /// `slot` is the request's own revision. All outlive ask().
    Authorisation(Client& client, const http::ServerStream& down, RevisionSlot& slot, const snapshot::Auth& auth);
    /// Ends early only when the worker goes: what others count on is put right.
    ~Authorisation();
    Authorisation(const Authorisation&) = delete;
    Authorisation& operator=(const Authorisation&) = delete;

    /// Asks, within the route's time for it and until `whole`; on `denied`, `answer` is the head for the client (but
    /// for its framing) and denial() the body. `question` is drafted in `draft`.
    [[nodiscard]] async::Task<AuthVerdict> ask(const Question& question, http::Draft& draft, http::Draft& answer,
                                               async::Deadline whole);
    /// Wakes ask(): the client has gone, or the worker ends.
    void abort();

    [[nodiscard]] const AuthOutcome& outcome() const { return outcome_; }
    [[nodiscard]] std::string_view denial() const { return denial_; }
    /// Takes what the client claims out of the request's head and puts in what the auth server said.
    void write_upstream(http::Draft& draft) const;
    /// Puts what the auth server said into the head of the answer.
    void write_client(http::Draft& draft) const;

private:
    using Lines = std::vector<std::pair<std::string, std::string>>;
    struct Clock {
        async::Deadline own, whole;
        [[nodiscard]] async::Deadline first() const { return async::earlier(own, whole); }
    };
    bool choose(const Question& question);
    async::Task<Cause> attempt(const Question& question, http::Draft& draft, Clock clock);
    async::Task<Cause> connect(const Question& question, bool fresh, Clock clock);
    async::Task<Cause> exchange_heads(const Question& question, http::Draft& draft, Clock clock);
    [[nodiscard]] Cause broken(const Error& error, Clock clock) const;
    [[nodiscard]] bool may_try_again(Cause cause, Clock clock);
    async::Task<AuthVerdict> conclude(Cause cause, const Question& question, http::Draft& answer, Clock clock);
    void keep_lines();
    async::Task<Cause> keep_denial(const Question& question, http::Draft& answer, Clock clock);
    void begin_attempt();
    void end_attempt(Cause cause);
    void drop_upstream();
    [[nodiscard]] Attempt& last_attempt() { return outcome_.attempt[outcome_.attempt_count - 1u]; }

    Client& client_;
    const http::ServerStream& down_;
    Worker::Core& core_;
    RevisionSlot& slot_;
    const snapshot::Auth& auth_;
    const snapshot::Pool& pool_;
    EndpointIndex chosen_;
    balance::Tried tried_;
    bool in_line_ = false;
    net::Parking* parked_ = nullptr;  ///< where it waits for a place
    bool unprocessed_ = false;        ///< the server said that it has done nothing with it (GOAWAY, REFUSED_STREAM)
    bool attempting_ = false;
    Instant attempt_started_;
    std::uint32_t others_ = 0;  ///< at the endpoint when this attempt began
    std::unique_ptr<http::ClientStream> up_;
    AuthOutcome outcome_;
    std::string pool_name_, endpoint_name_;  ///< a tunnel's line is written when its revision is long gone
    Lines to_endpoint_, to_client_;
    std::string denial_;
};

}  // namespace plimsoll::proxy

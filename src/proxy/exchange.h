// Exchange: one request and its answer, whatever HTTP is spoken on either side. carry() is the table of steps; each
// step is a short function.
// Thread rule: one worker.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "async/scope.h"
#include "async/task.h"
#include "balance/admission.h"
#include "balance/balance.h"
#include "base/outcome.h"
#include "http/message_stream.h"
#include "proxy/authorise.h"
#include "proxy/client.h"
#include "proxy/heads.h"
#include "proxy/scratch.h"
#include "proxy/true_client.h"
#include "proxy/upstream.h"
#include "recording/recording.h"

namespace plimsoll::proxy {

class Exchange : public Linked<Exchange> {
public:
    /// `down` has a whole head and outlives this.
    Exchange(Client& client, http::ServerStream& down, Instant started);
    ~Exchange();

    /// The whole request, from its head to its Outcome.
    async::Task<void> carry();

    // For collect() and cut().
    [[nodiscard]] bool answered() const { return outcome_.status != 0; }
    [[nodiscard]] const Outcome& outcome() const { return outcome_; }
    /// The endpoint that works on it now, or none.
    [[nodiscard]] EndpointId at_endpoint() const { return attempting_ ? outcome_.endpoint() : none<EndpointId>; }
    /// Ends it now, wherever it is: its client says why (Client::cut).
    void cut();
    [[nodiscard]] Client& client() const { return client_; }
    /// Bytes of memory that it keeps, about. `sockets`: see net::Stream::held.
    [[nodiscard]] std::size_t held(bool sockets) const;

private:
    // ---- before an endpoint is chosen (admit.cpp) ----
    void begin();
    void set_request_id();
    /// None: go on to an endpoint. Else the request ends here; own_ says how.
    async::Task<Cause> admit();
    Cause take_body_start();
    Cause find_route();
    [[nodiscard]] snapshot::RequestView view() const;
    Cause check_protocol();
    Cause check_rate();
    Cause rewrite();
    void choose_pool();
    Cause answer_of_route();
    async::Task<Cause> inject_fault();

    // ---- asking whether it may go on (authorise.cpp) ----
    async::Task<Cause> authorise();
    async::Task<Cause> answer_denied();
    [[nodiscard]] async::Deadline deadline_before_pool() const;

    // ---- choosing an endpoint (choose.cpp) ----
    /// With the pool's line before it.
    async::Task<Cause> choose_first();
    bool choose_endpoint();
    bool choose_by_session();
    [[nodiscard]] balance::Asked asked() const;
    [[nodiscard]] std::optional<std::uint64_t> hash_key(const snapshot::Pool& pool) const;
    [[nodiscard]] bool may_try_again(Cause cause);
    void leave_line();

    // ---- one attempt (attempt.cpp) ----
    async::Task<Cause> attempt();
    void begin_attempt();
    void end_attempt(Cause cause);
    void give_up_attempt(Cause cause);
    async::Task<Cause> connect(bool fresh);
    void draft_request(http::Draft& draft, std::string_view fallback_host, bool http2_up, const Trace& sent);
    async::Task<Cause> send();
    async::Task<Cause> read_head();
    [[nodiscard]] bool passes_hints() const;
    async::Task<Cause> pass_hints();
    [[nodiscard]] bool stale() const;
    [[nodiscard]] Duration total_time() const;
    [[nodiscard]] async::Deadline total_deadline() const;
    [[nodiscard]] async::Deadline head_deadline() const;
    [[nodiscard]] Cause late() const;
    [[nodiscard]] Cause broken(const Error& error) const;
    void drop_upstream();
    void mirror();

    // ---- bodies (relay.cpp) ----
    async::Task<void> upload();
    void fail_upload(Cause cause, std::uint16_t status, std::string_view reason);
    [[nodiscard]] bool over_limit() const;
    /// Takes the gRPC status from the answer's head or trailers, if it is in them. `all`: nothing comes any more.
    void heed_grpc_status(const http::Fields& fields, bool all);
    async::Task<Cause> relay_answer();
    /// What follows the request's, or the answer's, body, once it has ended; nullptr if it is not to pass.
    [[nodiscard]] const http::Draft* request_trailers();
    [[nodiscard]] const http::Draft* answer_trailers();
    [[nodiscard]] bool passes_trailers() const;
    [[nodiscard]] bool takes_trailers() const;
    void draft_answer();
    async::Task<Cause> relay_body();
    [[nodiscard]] bool opens_tunnel() const;
    async::Task<Cause> carry_tunnel();
    /// One direction, until it ends (none) or fails.
    async::Task<Cause> pump(http::MessageStream& from, http::MessageStream& to, std::uint64_t& bytes, Cause when_from,
                            Cause when_to);
    async::Task<void> pump_up();
    async::Task<Cause> linger();
    /// Lets go of the revision: a tunnel outlives changes. Keeps the names for the log.
    void unpin();

    // ---- the end (exchange.cpp) ----
    async::Task<Cause> answer_ourselves(Cause cause);
    void finish(Cause cause);

    /// Which own answer it shall be, when the cause alone does not say.
    struct Own {
        std::uint16_t status = 0;
        std::string_view reason;
        std::string_view body, content_type;  ///< of the route's own answer
        std::string location, allow;
        std::uint64_t retry_after_s = 0;
    };
    /// What is left of the revision's words once a tunnel has let go of it.
    struct Names {
        std::string route, pool, endpoint;
        std::string method, host, path, request_id;
        Duration tunnel_idle{};
    };
    static RevisionSlot& slot_for(Worker::Core& core, Arm arm);
    [[nodiscard]] const Attempt& last_attempt() const { return outcome_.attempt[outcome_.attempt_count - 1u]; }
    [[nodiscard]] Attempt& last_attempt() { return outcome_.attempt[outcome_.attempt_count - 1u]; }
    [[nodiscard]] balance::RetryBudget& budget() { return core_.budgets[pool_->id.value]; }
    [[nodiscard]] const config::Listener& listener() const { return client_.slot->settings; }
    [[nodiscard]] const snapshot::Actions& actions() const { return *route_->actions; }

    Client& client_;
    http::ServerStream& down_;
    Worker::Core& core_;
    const http::RequestHead& head_;
    /// Who asks: the peer, or whom trusted proxies name.
    TrueClient asker_;
    std::string asker_text_;
    /// The unit of a canary is the request (docs/decisions/0002): its key is a draw of ours, which no client can
    /// choose.
    std::uint64_t request_key_;
    Arm arm_;
    std::optional<Pinned> pinned_;
    Scratch scratch_;  ///< drafts, lent by the worker
    Outcome outcome_;
    std::array<char, 32> id_;  ///< storage of a generated request id
    bool keep_tracestate_ = false;

    recording::Answers answers_;  ///< what resident revisions' conditions came to
    const snapshot::Route* route_ = nullptr;
    const snapshot::Pool* pool_ = nullptr;
    const snapshot::Target* target_ = nullptr;
    PoolIndex pool_at_;
    EndpointIndex chosen_;
    bool chosen_in_panic_ = false;
    balance::Tried tried_;
    std::string rewritten_;  ///< path, if the route rewrites it
    bool is_rewritten_ = false;
    std::unique_ptr<Authorisation> auth_;  ///< null = the route asks nobody
    std::string_view upgrade_to_;          ///< protocol that may be upgraded to, or empty
    std::optional<EndpointId> session_;    ///< the endpoint that the client's cookie names
    bool session_renew_ = false;
    bool in_line_ = false;             ///< counted by the pool's line
    net::Parking* parked_ = nullptr;   ///< where it waits for a place
    std::string answer_connection_{};  ///< what the answer's Connection lists, if trailers pass
    balance::LineFacts line_facts_;
    std::optional<Duration> grpc_timeout_;
    bool by_grpc_ = false;  ///< request and answer are gRPC

    bool attempting_ = false;
    Instant attempt_started_;
    std::array<Duration, max_attempts> attempts_began_{};  ///< from the request's start
    std::uint32_t others_ = 0;                             ///< at the endpoint when this attempt began
    std::unique_ptr<http::ClientStream> up_;
    bool sent_ = false;          ///< some byte of the request may have reached some endpoint
    bool sent_earlier_ = false;  ///< in an attempt before this one
    bool unprocessed_ = false;   ///< the endpoint surely did nothing with this attempt

    http::BodyPiece first_;      ///< of the request's body: what had come with the head; can be sent again
    bool body_ended_ = false;    ///< all of the request's body was taken from the client
    bool body_read_on_ = false;  ///< more was taken than first_: it cannot be sent again
    bool continue_sent_ = false;
    Instant sent_at_;                    ///< when the request was wholly sent; clocks for the answer run from then
    Cause upload_failed_ = Cause::none;  ///< the client's doing
    Own own_;
    bool uploading_ = false;
    Instant last_byte_;                  ///< of a tunnel, either way
    Cause tunnel_broken_ = Cause::none;  ///< why the client's direction ended early
    net::Parking* lingering_ = nullptr;  ///< who waits for the client's direction to end
    std::unique_ptr<Names> names_;

    async::Scope scope_;  ///< last: holds upload()
};

}  // namespace plimsoll::proxy

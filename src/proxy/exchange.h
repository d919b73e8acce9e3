// Exchange: one request and its answer. carry() is the table of steps; each step is a short function.
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
#include "balance/balance.h"
#include "base/outcome.h"
#include "http/body.h"
#include "proxy/client.h"
#include "proxy/heads.h"
#include "proxy/upstream.h"

namespace plimsoll::proxy {

class Exchange : public Linked<Exchange> {
public:
    explicit Exchange(Client& client);

    /// The whole request, from its head (client.parser has it) to its Outcome. True: the client's connection is ready
    /// for the next one.
    async::Task<bool> carry();

    // For collect() and cut().
    [[nodiscard]] bool answered() const { return outcome_.status != 0; }
    [[nodiscard]] const Outcome& outcome() const { return outcome_; }
    /// The endpoint that works on it now, or none.
    [[nodiscard]] EndpointId at_endpoint() const { return attempting_ ? outcome_.endpoint() : none<EndpointId>; }
    /// Ends it now, wherever it is: the drain's deadline has passed.
    void cut();

private:
    // ---- before an endpoint is chosen (exchange.cpp) ----
    void begin();
    void set_request_id();
    /// False: the body that came with the head is refused; see own_status_.
    bool take_body_start();
    bool find_route();
    bool choose_endpoint();
    [[nodiscard]] bool is_limited() const;
    [[nodiscard]] bool may_try_again(Cause cause);
    void give_up_attempt(Cause cause);

    // ---- one attempt (attempt.cpp) ----
    async::Task<Cause> attempt();
    void begin_attempt();
    void end_attempt(Cause cause);
    async::Task<Cause> connect(bool fresh);
    async::Task<Cause> send();
    async::Task<Cause> read_head();
    [[nodiscard]] bool stale() const;
    [[nodiscard]] async::Deadline total_deadline() const;
    [[nodiscard]] async::Deadline head_deadline() const;
    [[nodiscard]] Cause late() const;
    [[nodiscard]] Cause broken(const Error& error) const;
    void drop_upstream();

    // ---- bodies (relay.cpp) ----
    async::Task<void> upload();
    void fail_upload(Cause cause, std::uint16_t status, std::string_view reason);
    [[nodiscard]] bool over_limit() const;
    async::Task<Cause> relay_answer();
    async::Task<Cause> relay_body(const AnswerFraming& framing, std::uint16_t status);
    void keep_or_close_upstream(Cause cause);

    // ---- the end (exchange.cpp) ----
    async::Task<Cause> answer_ourselves(Cause cause);
    bool finish(Cause cause);

    /// Who asks: the peer, or whom a trusted peer names.
    struct Asker {
        std::string_view address;
        std::uint64_t key;
    };
    static Asker asker(const Client& client);
    static RevisionSlot& slot_for(Worker::Core& core, Arm arm);
    [[nodiscard]] const Attempt& last_attempt() const { return outcome_.attempt[outcome_.attempt_count - 1u]; }
    [[nodiscard]] Attempt& last_attempt() { return outcome_.attempt[outcome_.attempt_count - 1u]; }
    [[nodiscard]] balance::RetryBudget& budget() { return core_.budgets[pool_->id.value]; }

    Client& client_;
    Worker::Core& core_;
    const http::RequestHead& head_;
    Asker asker_;
    /// The unit of a canary is the request (docs/decisions/0002): its key is a draw of ours, which no client can
    /// choose.
    std::uint64_t request_key_;
    Arm arm_;
    Pinned pinned_;
    Outcome outcome_;
    std::array<char, 32> id_;  ///< storage of a generated request id

    const snapshot::Route* route_ = nullptr;
    const snapshot::Pool* pool_ = nullptr;
    std::size_t pool_at_ = 0;  ///< PoolIndex of it
    EndpointIndex chosen_;
    balance::Tried tried_;
    bool attempting_ = false;
    Instant attempt_started_;
    std::unique_ptr<Upstream> upstream_;
    std::uint64_t sent_before_ = 0;   ///< bytes that went over this connection before this request
    std::uint64_t heard_before_ = 0;  ///< and came
    bool sent_ = false;               ///< some byte of the request may have reached some endpoint

    http::BodyDecoder body_;       ///< of the request
    std::string_view body_start_;  ///< decoded, in client.in: what had come with the head
    std::size_t consumed_ = 0;     ///< of client.in, by this request
    bool body_read_on_ = false;    ///< more was read than body_start_: it cannot be sent again
    bool continue_sent_ = false;
    Buffer upload_in_;
    Instant sent_at_;                    ///< when the request was wholly sent; clocks for the answer run from then
    Cause upload_failed_ = Cause::none;  ///< the client's doing
    std::uint16_t own_status_ = 0;       ///< what to answer for it
    std::string_view own_reason_;
    bool uploading_ = false;

    bool keep_client_ = false;
    async::Scope scope_;  ///< last: holds upload()
};

}  // namespace plimsoll::proxy

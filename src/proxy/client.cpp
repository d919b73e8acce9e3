#include "proxy/client.h"

#include <algorithm>

#include "base/hash.h"
#include "proxy/exchange.h"
#include "proxy/heads.h"

namespace plimsoll::proxy {
namespace {

using async::Deadline;
using async::Task;

/// After our last answer: how much and how long we listen to a peer that still sends, so that a reset does not destroy
/// the answer on its way (RFC 9112 section 9.6).
constexpr std::size_t linger_bytes = 256 * 1024;
constexpr Duration linger_time = std::chrono::seconds(1);

http::HeadLimits head_limits(const config::ListenerLimits& limits) {
    http::HeadLimits head;
    head.head_bytes = limits.max_head_bytes;
    head.target_bytes = std::min<std::size_t>(head.target_bytes, limits.max_head_bytes);
    head.fields = limits.max_headers;
    head.value_bytes = limits.max_head_bytes;
    return head;
}

}  // namespace

Client::Client(Worker::Core& in_core, std::shared_ptr<ListenerSlot> on, std::unique_ptr<net::Stream> accepted)
    : core(in_core),
      slot(std::move(on)),
      stream(std::move(accepted)),
      in(core.blocks),
      parser(head_limits(slot->settings.limits)),
      address(stream->peer().host()),
      key(keyed_hash(stream->peer().host_bytes(), core.settings.hash_key)) {
    core.clients.add(*this);
    ++core.connections;
    ++slot->connections;
}

Client::~Client() {
    --core.connections;
    --slot->connections;
}

Task<bool> Client::next_head() {
    const config::Listener& settings = slot->settings;
    parser.reset();
    if (in.empty()) {
        if (closing() && served_ > 0) co_return false;  // one that was just accepted is served once
        in.release();
        idle = true;
        const Duration wait = served_ == 0 ? settings.head_timeout : settings.idle_timeout;
        const Result<void> ready = co_await stream->readable(Deadline::after(core.now(), wait));
        idle = false;
        if (!ready) co_return false;
    }
    ++served_;
    started = core.now();
    const Deadline deadline = Deadline::after(started, settings.head_timeout);
    const std::size_t capacity = settings.limits.max_head_bytes + 1024;  // the parser refuses before this is full
    for (;;) {
        if (!in.empty()) {
            const http::Progress progress = parser.feed(in.view());
            if (progress == http::Progress::complete) co_return true;
            if (progress == http::Progress::refused) {
                co_await refuse(parser.refusal().status, Cause::bad_request, parser.refusal().reason);
                co_return false;
            }
        }
        const Result<std::size_t> n = co_await stream->read(in.room(capacity), deadline);
        if (n && *n > 0) {
            in.produced(*n);
            continue;
        }
        if (in.empty()) co_return false;
        if (!n && n.error().code == Code::timeout) {
            co_await refuse(408, Cause::client_timeout, "the request's head took too long");
        } else {
            tell(0, core.cutting ? Cause::shutting_down : Cause::client_closed);
        }
        co_return false;
    }
}

/// Observes a request that has no valid head.
void Client::tell(std::uint16_t status, Cause cause) {
    Outcome outcome;
    outcome.revision = core.active->snapshot->revision;
    outcome.worker = core.settings.index;
    outcome.status = status;
    outcome.cause = cause;
    outcome.started = started;
    outcome.first_byte = outcome.total = core.now() - started;
    outcome.request_head_bytes = static_cast<std::uint32_t>(in.view().size());
    outcome.response_head_bytes = static_cast<std::uint32_t>(status == 0 ? 0 : out.size());
    outcome.client_key = key;
    outcome.client = address;
    core.observe(outcome, {});
}

Task<void> Client::refuse(std::uint16_t status, Cause cause, std::string_view reason) {
    out.clear();
    append_own_answer(out, {.status = status, .cause = cause, .reason = reason});
    const Deadline deadline = Deadline::after(core.now(), slot->settings.body_idle_timeout);
    const Result<void> sent = co_await stream->write_all(out, deadline);
    linger = sent.has_value();
    tell(sent ? status : 0, sent ? cause : Cause::client_closed);
}

Task<void> Client::say_goodbye() {
    if (stream->closed()) co_return;
    if (linger) {
        stream->shutdown_write();
        const Deadline deadline = Deadline::after(core.now(), linger_time);
        for (std::size_t thrown = 0; thrown < linger_bytes && !core.cutting;) {
            in.clear();
            const Result<std::size_t> n = co_await stream->read(in.room(), deadline);
            if (!n || *n == 0) break;
            thrown += *n;
        }
    }
    stream->close();
}

Task<void> serve(Worker::Core& core, std::shared_ptr<ListenerSlot> slot, std::unique_ptr<net::Stream> stream) {
    Client client(core, std::move(slot), std::move(stream));
    while (co_await client.next_head()) {
        Exchange exchange(client);
        if (!co_await exchange.carry()) break;
    }
    co_await client.say_goodbye();
}

Task<void> accept_from(Worker::Core& core, std::shared_ptr<ListenerSlot> slot) {
    for (;;) {
        auto stream = co_await slot->listener->accept({});
        if (!stream) co_return;
        if (slot->connections >= core.connection_limit(*slot)) {
            ++core.tally.connections_refused;
            (*stream)->abort();
            continue;
        }
        ++core.tally.connections_accepted;
        core.scope.spawn(serve(core, slot, std::move(*stream)));
    }
}

}  // namespace plimsoll::proxy

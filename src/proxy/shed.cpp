// What a worker does when memory is short: refuses what is new, and ends what holds most when it is told to.
#include <algorithm>
#include <vector>

#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/exchange.h"

namespace plimsoll::proxy {

using async::Task;

namespace {

/// What a connection and an exchange keep beside their buffers, about: objects, coroutine frames, drafts, and the
/// kernel's objects for a socket, which every cgroup is charged for. Only sums and their order matter.
constexpr std::size_t connection_bytes = 8 * 1024;
constexpr std::size_t exchange_bytes = 12 * 1024;

}  // namespace

// ---- one connection ------------------------------------------------------------------------------------------------

void Client::refuse_half_head() {
    if (!reading_head_ || in.empty()) return;
    half_head_refused_ = true;
    stream->expire_read();
}

Task<void> Client::refuse_for_memory() {
    ++core.settings.shed->requests_refused;
    co_await refuse(503, Cause::overloaded, "the load balancer is out of memory");
    linger = false;  // its bytes are what we are short of
}

std::size_t Client::held(bool sockets) const {
    std::size_t bytes = connection_bytes + in.held() + out.capacity();
    if (http2_ != nullptr) bytes += http2_->held();
    const net::Stream* at = stream != nullptr ? stream.get() : shaking_;
    return at != nullptr ? bytes + at->held(sockets) : bytes;
}

void Client::end_for_memory() {
    cut_ = Cause::overloaded;
    ++core.settings.shed->connections_ended;
    if (idle && stream != nullptr) {
        stream->close();
    } else if (stream != nullptr) {
        stream->abort();
    } else if (shaking_ != nullptr) {
        shaking_->abort();
    }
}

std::size_t Exchange::held(bool sockets) const {
    std::size_t bytes = exchange_bytes;
    if (down_.version() == http::Version::http1) bytes += down_.held(sockets);  // HTTP/2: among its connection's
    return up_ != nullptr ? bytes + up_->held(sockets) : bytes;
}

// ---- all of them ---------------------------------------------------------------------------------------------------

void Worker::Core::shed(bool on) {
    shedding = on;
    blocks.keep_spare(!on);
    drafts.keep_spare(!on);
    if (!on) return;
    clients.each([](Client& client) { client.refuse_half_head(); });
}

bool Worker::Core::affords_connection() {
    const ShedCounts& shed = *settings.shed;
    if (const std::uint32_t look = shed.looks.load(std::memory_order_relaxed); look != look_seen) {
        look_seen = look;
        taken_on_since = 0;
    }
    // The first always fits: usage that stays just below the limit must come to be seen above it, where something is
    // said and done about it, instead of keeping everybody out in silence.
    const bool fits = taken_on_since <= shed.allowance.load(std::memory_order_relaxed);
    taken_on_since += connection_bytes + block_bytes;
    return fits;
}

std::uint64_t Worker::Core::relieve(std::uint64_t bytes, bool sockets) {
    std::vector<Client*> holders;
    holders.reserve(connections);
    clients.each([&](Client& client) {
        if (client.cut() != Cause::none) return;  // on its way out
        client.weight = client.held(sockets);
        holders.push_back(&client);
    });
    exchanges.each([&](Exchange& exchange) { exchange.client().weight += exchange.held(sockets); });
    std::uint64_t left = 0;
    for (const Client* client : holders) left += client->weight;
    // Among equals those that lose nothing.
    const auto first = [](const Client* a, const Client* b) {
        return a->weight != b->weight ? a->weight > b->weight : a->idle && !b->idle;
    };
    const std::size_t most = std::min(holders.size(), max_ended);
    std::ranges::partial_sort(holders, holders.begin() + static_cast<std::ptrdiff_t>(most), first);
    std::uint64_t ended = 0;
    for (std::size_t i = 0; i < most && ended < bytes; ++i) {
        ended += holders[i]->weight;
        holders[i]->weight = 0;
    }
    exchanges.each([](Exchange& exchange) {
        if (exchange.client().weight == 0 && exchange.client().cut() == Cause::none) exchange.cut();
    });
    for (std::size_t i = 0; i < most && holders[i]->weight == 0; ++i) holders[i]->end_for_memory();
    return left - ended;
}

}  // namespace plimsoll::proxy

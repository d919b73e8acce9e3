// A place in a pool's line: the pool's limit of requests in flight and those who wait for it, for whoever sends a
// request to a pool.
// Thread rule: one worker.
#pragma once

#include "async/deadline.h"
#include "async/task.h"
#include "net/parking.h"
#include "proxy/core.h"

namespace plimsoll::proxy {

[[nodiscard]] inline balance::LineFacts line_facts(const snapshot::Pool& pool) {
    return {pool.part.max_in_flight, pool.part.queue, pool.limits.queue_timeout};
}

/// Waits until the pool has a place for one more request. `choose()` chooses an endpoint anew and says whether it found
/// one; `nobody()` says why it did not. `entered` = counted by the line: Core::left() is due. `parked` = where it waits
/// meanwhile, to be woken as cancelled by whoever ends it. Gives none when an endpoint is chosen; else no_endpoint,
/// limited, queue_full, queue_timeout, shutting_down or, when cancelled, client_closed.
template <class Choose, class Nobody>
async::Task<Cause> enter_line(Worker::Core& core, PoolId pool, balance::LineFacts facts, Instant until, Choose choose,
                              Nobody nobody, bool& entered, net::Parking*& parked) {
    // Looked up anew each time: lines may move whenever a revision is installed.
    const auto line = [&]() -> Worker::Core::Line& { return core.lines[pool.value]; };
    bool chosen = choose();
    const bool room = chosen || nobody() != balance::Nobody::limited;
    const auto answer = line().line.arrive(facts, room, core.now(), until);
    if (answer.admission == balance::Admission::refuse) co_return facts.queue > 0 ? Cause::queue_full : Cause::limited;
    while (answer.admission == balance::Admission::wait) {
        net::Parking parking(core.network);
        line().waiting.emplace(answer.ticket.number, &parking);
        parked = &parking;
        const net::Wake why = co_await parking.wait({answer.ticket.deadline});
        parked = nullptr;
        line().waiting.erase(answer.ticket.number);
        if (why != net::Wake::ready) {
            (void)line().line.abandon(answer.ticket);
            if (core.cutting) co_return Cause::shutting_down;
            co_return why == net::Wake::cancelled ? Cause::client_closed : Cause::queue_timeout;
        }
        chosen = choose();
        if (chosen || nobody() != balance::Nobody::limited) break;
        line().line.put_back(answer.ticket);
    }
    entered = true;
    co_return chosen ? Cause::none : Cause::no_endpoint;
}

}  // namespace plimsoll::proxy

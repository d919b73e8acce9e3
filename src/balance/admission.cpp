// The line before a pool. Pure; see admission.h.
#include "balance/admission.h"

#include <algorithm>

namespace plimsoll::balance {

Line::Answer Line::arrive(const LineFacts& facts, bool room, Instant now, Instant until) {
    const bool free = facts.max_in_flight == 0 || in_flight_ < facts.max_in_flight;
    if (room && free && waiting_.empty()) {
        ++in_flight_;
        return {Admission::go};
    }
    const Instant deadline = std::min(now + facts.timeout, until);
    if (waiting_.size() >= facts.queue || deadline <= now) return {Admission::refuse};
    waiting_.push_back({++numbers_, deadline});
    return {Admission::wait, waiting_.back()};
}

void Line::leave() {
    if (in_flight_ > 0) --in_flight_;
}

std::optional<Ticket> Line::call(const LineFacts& facts, Instant now) {
    if (facts.max_in_flight != 0 && in_flight_ >= facts.max_in_flight) return std::nullopt;
    const auto next = std::ranges::find_if(waiting_, [now](const Ticket& ticket) { return ticket.deadline > now; });
    if (next == waiting_.end()) return std::nullopt;
    const Ticket called = *next;
    waiting_.erase(next);
    ++in_flight_;
    return called;
}

void Line::put_back(const Ticket& ticket) {
    leave();
    waiting_.insert(std::ranges::lower_bound(waiting_, ticket.number, {}, &Ticket::number), ticket);
}

bool Line::abandon(const Ticket& ticket) {
    const auto found = std::ranges::lower_bound(waiting_, ticket.number, {}, &Ticket::number);
    if (found == waiting_.end() || found->number != ticket.number) return false;
    waiting_.erase(found);
    return true;
}

std::optional<Ticket> Line::expire(Instant now) {
    const auto late = std::ranges::find_if(waiting_, [now](const Ticket& ticket) { return ticket.deadline <= now; });
    if (late == waiting_.end()) return std::nullopt;
    const Ticket ticket = *late;
    waiting_.erase(late);
    return ticket;
}

Instant Line::next_deadline() const {
    Instant first = never;
    for (const Ticket& ticket : waiting_) first = std::min(first, ticket.deadline);
    return first;
}

}  // namespace plimsoll::balance

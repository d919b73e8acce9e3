// Notifier: delivers notifications to webhooks, retries on the schedule of incident::retry_after, and says what became
// of each attempt. At least once: what could not be delivered is in the journal by attempt.
// Thread rule: control's thread; never on the way of traffic.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "async/scope.h"
#include "async/task.h"
#include "base/random.h"
#include "config/config.h"
#include "incident/notification.h"
#include "net/network.h"

namespace plimsoll::control {

class Notifier {
public:
    /// `attempted` hears of every attempt.
    Notifier(net::Network& network, std::uint64_t seed,
             std::function<void(const incident::Notification&, const incident::Delivery&)> attempted);

    /// Delivers to all of these, each on its own schedule.
    void send(const incident::Notification& notification, const std::vector<config::Webhook>& to);
    /// Deliveries that have not come to an end.
    [[nodiscard]] std::size_t pending() const { return scope_.running(); }

private:
    async::Task<void> deliver(incident::Notification notification, config::Webhook to);

    net::Network& network_;
    Random random_;
    std::function<void(const incident::Notification&, const incident::Delivery&)> attempted_;
    async::Scope scope_;
};

}  // namespace plimsoll::control

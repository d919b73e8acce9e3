#include "control/notifier.h"

#include <utility>

#include "control/http_target.h"
#include "http/client.h"

namespace plimsoll::control {

namespace {

constexpr Duration attempt_limit = std::chrono::seconds(10);
constexpr std::size_t max_pending =
    1000;  ///< deliveries at once; a receiver that is down for days must not fill memory

}  // namespace

Notifier::Notifier(net::Network& network, std::uint64_t seed,
                   std::function<void(const incident::Notification&, const incident::Delivery&)> attempted)
    : network_(network), random_(seed), attempted_(std::move(attempted)) {}

void Notifier::send(const incident::Notification& notification, const std::vector<config::Webhook>& to) {
    for (const config::Webhook& webhook : to) {
        if (scope_.running() >= max_pending) return;
        scope_.spawn(deliver(notification, webhook));
    }
}

async::Task<void> Notifier::deliver(incident::Notification notification, config::Webhook to) {
    const auto where = http_target(to.url);
    for (std::uint32_t attempt = 1;; ++attempt) {
        incident::Delivery delivery{notification.id, to.name, attempt, 0, {}, network_.wall()};
        if (!where) {
            delivery.error = where.error().detail;
            attempted_(notification, delivery);
            co_return;
        }
        http::Request request;
        request.method = "POST";
        request.path = where->path;
        request.authority = where->authority;
        std::vector<std::string> secrets;
        if (!to.secret.empty()) secrets.push_back(to.secret);
        for (const auto& [name, value] : incident::headers(notification, network_.wall(), secrets))
            request.headers.add(name, value);
        request.body = notification.body;
        const auto answer = co_await http::fetch(network_, where->address, std::move(request),
                                                 async::Deadline::after(network_.now(), attempt_limit));
        delivery.at = network_.wall();
        if (answer) {
            delivery.status = answer->status;
            if (!delivery.arrived()) delivery.error = "the receiver answered with an error";
        } else {
            delivery.error = answer.error().detail;
        }
        attempted_(notification, delivery);
        const auto pause = incident::retry_after(attempt, delivery.status, random_);
        if (!pause) co_return;
        co_await network_.sleep_until(network_.now() + *pause);
    }
}

}  // namespace plimsoll::control

// Notifications: who is told what, as messages ready to be sent. Pure; control sends, retries and records.
// Source: Standard Webhooks 1.0 (standardwebhooks.com): headers, signature, retry practice.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "incident/incident.h"

namespace plimsoll::incident {

/// A message as it goes over the wire, the same for every channel and attempt.
struct Notification {
    std::string id;        ///< webhook-id: the receiver's key against doubles
    std::string incident;  ///< "INC-17"; empty for changes
    Event event = Event::incident_detected;
    Urgency urgency = Urgency::info;
    std::string body;  ///< {"type","timestamp","data"}
};

/// `salt` makes the id unique over processes and restarts (e.g. the journal's next sequence). `about` is null for
/// changes.
[[nodiscard]] Notification notification(const Notify& notify, const Incident* about, Timestamp at, std::uint64_t salt);

/// Headers of one attempt: content-type, webhook-id, webhook-timestamp, and one signature a secret in webhook-signature
/// ("v1,<base64 HMAC-SHA256 of id.timestamp.body>"). Two secrets while a key is being exchanged; none: not signed.
/// A secret that begins with "whsec_" is base64, any other one is taken as it is.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> headers(const Notification& notification, Timestamp at,
                                                                       std::span<const std::string> secrets);

inline constexpr std::uint32_t max_delivery_attempts = 16;  ///< about 67 minutes

/// How long to wait after attempt number `attempt` (from 1) ended with `status` (0 = no answer). Nullopt: do not try
/// again, since it arrived (2xx), the receiver is gone for good (410), or it was tried often enough. Doubles from 1 s
/// to at most 10 min, each times a random factor in [0.5, 1.5), so that many senders do not return together.
[[nodiscard]] std::optional<Duration> retry_after(std::uint32_t attempt, std::uint16_t status, Random& random);

}  // namespace plimsoll::incident

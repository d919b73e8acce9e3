#include "incident/notification.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/hash.h"

namespace plimsoll::incident {
namespace {

using nlohmann::json;

std::string base64(std::span<const unsigned char> bytes) {
    std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
    const int length =
        EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes.data(), static_cast<int>(bytes.size()));
    out.resize(static_cast<std::size_t>(length));
    return out;
}

/// The signing key that a secret stands for.
std::string key_of(std::string_view secret) {
    constexpr std::string_view prefix = "whsec_";
    if (!secret.starts_with(prefix)) return std::string(secret);
    const auto encoded = secret.substr(prefix.size());
    std::string out(encoded.size() / 4 * 3 + 3, '\0');
    const int length = encoded.size() % 4 != 0 ? -1
                                               : EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                                                 reinterpret_cast<const unsigned char*>(encoded.data()),
                                                                 static_cast<int>(encoded.size()));
    if (length < 0) return std::string(secret);  // not base64: then it is the secret itself
    const auto padding = static_cast<std::size_t>(std::ranges::count(encoded, '='));
    out.resize(static_cast<std::size_t>(length) - std::min(padding, static_cast<std::size_t>(length)));
    return out;
}

std::string signature(std::string_view content, std::string_view secret) {
    const std::string key = key_of(secret);
    std::array<unsigned char, 32> digest{};
    unsigned int length = 0;
    PLIMSOLL_ENSURE(
        HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(content.data()), content.size(), digest.data(), &length) != nullptr,
        "HMAC-SHA256 is unavailable in libcrypto");
    return "v1," + base64(digest);
}

json describe(const Change& change) {
    json items = json::array();
    for (const Altered& item : change.altered) {
        if (items.size() == 20) break;  // a message, not the diff: that is in the journal
        items.push_back({{"path", item.path},
                         {"before", item.before},
                         {"after", item.after},
                         {"where", fmt::format("{}:{}", item.where.file, item.where.line)}});
    }
    json out = {{"author", change.author},
                {"reason", change.reason},
                {"altered", std::move(items)},
                {"altered_count", change.altered.size()}};
    out["revision"] = change.revision.value == 0 ? json(nullptr) : json(fmt::format("r{}", change.revision.value));
    return out;
}

json describe(const Incident& incident) {
    json marks = json::object();
    for (std::size_t i = 0; i < mark_count; ++i) {
        const auto& mark = incident.marks[i];
        if (mark) marks[std::string(name(static_cast<Mark>(i)))] = rfc3339(mark->at);
    }
    json out = {{"id", incident.id()},
                {"severity", name(incident.severity)},
                {"phase", name(incident.phase)},
                {"subject", incident.subject},
                {"pool", incident.pool},
                {"marks", std::move(marks)},
                {"requests", incident.impact.requests},
                {"failed", incident.impact.failed},
                {"next",
                 {fmt::format("plimsoll incidents show {}", incident.id()),
                  fmt::format("plimsoll incidents ack {}", incident.id())}}};
    if (incident.cause) {
        out["cause"] = {{"subject", incident.cause->subject}, {"evidence", incident.cause->evidence}};
    }
    if (incident.change) out["change"] = describe(*incident.change);
    return out;
}

}  // namespace

Notification notification(const Notify& notify, const Incident* about, Timestamp at, std::uint64_t salt) {
    json data = {{"text", notify.text}, {"urgency", name(notify.urgency)}};
    if (about != nullptr) data["incident"] = describe(*about);
    if (about == nullptr && notify.change) data["change"] = describe(*notify.change);
    const json body = {{"type", name(notify.event)}, {"timestamp", rfc3339(at)}, {"data", std::move(data)}};
    Notification out;
    out.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
    out.id = fmt::format("msg_{:016x}{:016x}", keyed_hash(out.body, salt),
                         keyed_hash(salt, static_cast<std::uint64_t>(at.ns)));
    out.incident = notify.incident;
    out.event = notify.event;
    out.urgency = notify.urgency;
    return out;
}

std::vector<std::pair<std::string, std::string>> headers(const Notification& notification, Timestamp at,
                                                         std::span<const std::string> secrets) {
    const std::string seconds = std::to_string(at.ns / 1'000'000'000);
    std::vector<std::pair<std::string, std::string>> out{
        {"content-type", "application/json"}, {"webhook-id", notification.id}, {"webhook-timestamp", seconds}};
    std::string signatures;
    for (const std::string& secret : secrets) {
        if (secret.empty()) continue;
        if (!signatures.empty()) signatures += ' ';
        signatures += signature(notification.id + '.' + seconds + '.' + notification.body, secret);
    }
    if (!signatures.empty()) out.emplace_back("webhook-signature", std::move(signatures));
    return out;
}

std::optional<Duration> retry_after(std::uint32_t attempt, std::uint16_t status, Random& random) {
    constexpr Duration first = std::chrono::seconds(1), longest = std::chrono::minutes(10);
    constexpr std::uint16_t gone = 410;
    if ((status >= 200 && status < 300) || status == gone || attempt == 0 || attempt >= max_delivery_attempts)
        return std::nullopt;
    const Duration doubled = attempt > 10 ? longest : std::min<Duration>(longest, first * (1 << (attempt - 1)));
    return from_seconds(seconds(doubled) * (0.5 + random.uniform()));
}

}  // namespace plimsoll::incident

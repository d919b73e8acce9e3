#include "incident/notification.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace plimsoll::incident {
namespace {

using nlohmann::json;

TEST(Notification, signs_as_standard_webhooks_does) {
    // The example of the specification's reference libraries.
    Notification message;
    message.id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    message.body = R"({"test": 2432232314})";
    const std::vector<std::string> secrets{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"};
    const auto got = headers(message, {1'614'265'330'000'000'000}, secrets);
    const std::vector<std::pair<std::string, std::string>> expected{
        {"content-type", "application/json"},
        {"webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"},
        {"webhook-timestamp", "1614265330"},
        {"webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}};
    EXPECT_EQ(got, expected);
}

TEST(Notification, two_secrets_two_signatures_no_secret_none) {
    Notification message;
    message.id = "msg_1";
    message.body = "{}";
    const std::vector<std::string> two{"old secret", "new secret"}, none{""};
    const auto signatures = headers(message, {}, two).back();
    EXPECT_EQ(signatures.first, "webhook-signature");
    EXPECT_EQ(signatures.second.find("v1,"), 0u);
    EXPECT_NE(signatures.second.find(" v1,"), std::string::npos);
    EXPECT_EQ(headers(message, {}, none).size(), 3u);
    const std::vector<std::string> odd{"whsec_not base64"};
    EXPECT_EQ(headers(message, {}, odd).size(), 4u);
}

TEST(Notification, says_what_happened_and_what_to_do_next) {
    Incident incident;
    incident.number = 17;
    incident.subject = "change r42";
    incident.cause = Cause{judge::Suspect::change, "change r42", {}, "35 of 486 against 4 of 9,234", 12};
    incident.marks[0] = Stamp{{1'795'343'000'310'000'000}, {}};
    const Notify notify{Event::incident_detected, Urgency::low, "INC-17", std::nullopt, "INC-17 detected"};
    const auto message = notification(notify, &incident, {1'795'343'001'000'000'000}, 5);
    const json body = json::parse(message.body);
    EXPECT_EQ(body.at("type"), "incident.detected");
    EXPECT_EQ(body.at("timestamp"), rfc3339({1'795'343'001'000'000'000}));
    EXPECT_EQ(body.at("data").at("urgency"), "low");
    EXPECT_EQ(body.at("data").at("incident").at("id"), "INC-17");
    EXPECT_EQ(body.at("data").at("incident").at("cause").at("subject"), "change r42");
    EXPECT_EQ(body.at("data").at("incident").at("next").at(0), "plimsoll incidents show INC-17");
    EXPECT_NE(message.id, notification(notify, &incident, {1'795'343'001'000'000'000}, 6).id);
    EXPECT_EQ(message.id, notification(notify, &incident, {1'795'343'001'000'000'000}, 5).id);
}

TEST(Notification, a_message_about_a_change_has_no_incident) {
    Change change;
    change.author = "bytes \xff";
    change.altered.resize(50);
    const auto message = notification({Event::change_rejected, Urgency::info, {}, change, "refused"}, nullptr, {}, 1);
    const json data = json::parse(message.body).at("data");
    EXPECT_FALSE(data.contains("incident"));
    EXPECT_TRUE(data.at("change").at("revision").is_null());
    EXPECT_EQ(data.at("change").at("altered").size(), 20u);
    EXPECT_EQ(data.at("change").at("altered_count"), 50);
}

TEST(RetryAfter, backs_off_with_jitter_and_ends) {
    Random random(3);
    Duration sum{};
    std::uint32_t attempt = 1;
    for (;; ++attempt) {
        const auto wait = retry_after(attempt, 503, random);
        if (!wait) break;
        const double doubled = std::min(600.0, std::pow(2.0, attempt - 1));
        EXPECT_GE(seconds(*wait), 0.5 * doubled);
        EXPECT_LT(seconds(*wait), 1.5 * doubled);
        sum += *wait;
    }
    EXPECT_EQ(attempt, max_delivery_attempts);
    EXPECT_GT(sum, std::chrono::minutes(30));
    EXPECT_LT(sum, std::chrono::minutes(110));
    EXPECT_FALSE(retry_after(1, 204, random));
    EXPECT_FALSE(retry_after(1, 410, random));
    EXPECT_TRUE(retry_after(1, 0, random));
    EXPECT_TRUE(retry_after(1, 404, random));
    EXPECT_FALSE(retry_after(4'000'000'000, 500, random));
}

}  // namespace
}  // namespace plimsoll::incident

// `plimsoll explain URL`: what a request would meet, without sending it. The parts that can be tested without a server.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "balance/balance.h"
#include "base/result.h"
#include "base/time.h"
#include "config/config.h"
#include "snapshot/explain.h"

namespace plimsoll::cli {

/// A request as somebody would type it.
struct Question {
    std::string scheme = "http", host, target = "/";  ///< target: path, and query after '?'
    std::uint16_t port = 0;                           ///< as written or the scheme's own
    std::string method = "GET";
    std::vector<std::pair<std::string, std::string>> headers;
    std::string listener;  ///< name; empty = the one that such a URL reaches
    std::string client;    ///< address of the client, for policies that go by it; may be empty
};
/// "https://shop.example.com:8443/cart?x=1"; the scheme may be left out, then it is http. `headers` as "Name: value"; a
/// Host header replaces the URL's host for rules, as with curl. What the path holds is taken as it is. Errors: invalid.
[[nodiscard]] Result<Question> ask(std::string_view url, const std::vector<std::string>& headers);

/// Which listener such a request reaches: by name, else by port and TLS, else the first with or without TLS as asked.
struct Reached {
    const config::Listener* listener = nullptr;
    std::string remark;  ///< why this one, when the URL alone does not say
};
[[nodiscard]] Result<Reached> reach(const config::Config& config, const Question& question);

/// What a running server's status says of an endpoint.
struct KnownEndpoint {
    balance::Health health = balance::Health::unknown;
    Duration ejected_for{}, paused_for{};  ///< that is left; 0 = it is not
};
/// By pool and address of endpoint.
using KnownHealth = std::map<std::pair<std::string, std::string>, KnownEndpoint>;

/// All that is needed to say it.
struct Told {
    const Question& question;
    const config::Document& document;
    const Reached& reached;
    const snapshot::Snapshot& snapshot;
    const snapshot::Explanation& explanation;
    bool with_health = false;
    std::string from;  ///< "plimsoll.yaml", "r7, the active revision"
};
[[nodiscard]] std::string explanation_text(const Told& told);
[[nodiscard]] std::string explanation_json(const Told& told);

/// The whole answer: text, or JSON.
[[nodiscard]] Result<std::string> explained(const Question& question, const config::Document& document,
                                            const KnownHealth* health, std::string from, bool json);

}  // namespace plimsoll::cli

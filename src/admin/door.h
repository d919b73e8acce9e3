// Door: who may come in by the TCP listener. The listener has no accounts, so it must not be opened by a browser on the
// same machine that some page talks into it. Pure.
// Thread rule: none.
// Source: DNS rebinding (Jackson et al. 2007); fetch.spec.whatwg.org (Sec-Fetch-Site), RFC 9110 15.5.20 (421).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace plimsoll::admin {

class Door {
public:
    /// One address that the listener is bound to, and what else the machine is called.
    void add(std::string_view host, std::string_view machine);

    /// The answer to a request that may not come in, or nullopt. Over a Unix socket the file's mode has decided.
    [[nodiscard]] std::optional<http::Response> refuses(const http::Request& request) const;

private:
    [[nodiscard]] bool is_ours(std::string_view authority) const;
    std::vector<std::string> names_;  ///< hosts, without a port
    bool every_address_ = false;      ///< bound to a wildcard: any literal address may be ours
    bool beyond_loopback_ = false;    ///< others than this machine may come
};

/// The host of "name:1", "[::1]:1", "name"; empty when it is not of that form.
[[nodiscard]] std::string_view host_of(std::string_view authority);
/// Exactly application/json, perhaps with charset=utf-8.
[[nodiscard]] bool is_json(std::string_view content_type);

}  // namespace plimsoll::admin

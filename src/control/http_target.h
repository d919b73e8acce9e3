// Where an http:// URL of the configuration leads: for webhooks and spans.
// Thread rule: none.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "config/config.h"
#include "net/address.h"

namespace plimsoll::control {

struct HttpTarget {
    net::Address address;
    std::string authority, path;
};

/// "http://127.0.0.1:9000/hook"; config::parse has checked the form. Errors: invalid.
[[nodiscard]] inline Result<HttpTarget> http_target(std::string_view url) {
    constexpr std::string_view scheme = "http://";
    if (!url.starts_with(scheme)) return fail(Code::invalid, "an http:// URL is needed");
    url.remove_prefix(scheme.size());
    const std::size_t slash = url.find('/');
    const std::string authority(url.substr(0, slash));
    std::string path(slash == std::string_view::npos ? "/" : url.substr(slash));
    const auto parsed = config::parse_address(
        authority.find(':', authority.rfind(']') + 1) == std::string::npos ? authority + ":80" : authority);
    if (!parsed) return std::unexpected(parsed.error());
    const auto address = net::Address::ip(parsed->host, parsed->port);
    if (!address) return std::unexpected(address.error());
    return HttpTarget{*address, authority, std::move(path)};
}

}  // namespace plimsoll::control

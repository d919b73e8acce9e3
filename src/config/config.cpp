// Addresses and places.
#include "config/config.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <array>

#include "base/hash.h"
#include "config/units.h"

namespace plimsoll::config {

std::string text(const Address& address) {
    const bool v6 = address.host.find(':') != std::string::npos;
    return v6 ? fmt::format("[{}]:{}", address.host, address.port) : fmt::format("{}:{}", address.host, address.port);
}

Result<Address> parse_address(std::string_view text) {
    const auto wrong = [&](std::string_view why) {
        return fail(Code::invalid, fmt::format("\"{}\" {}", text.substr(0, 80), why), Side::client);
    };
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || colon + 1 == text.size()) return wrong("has no port");
    const auto port = parse_count(text.substr(colon + 1));
    if (!port || *port > 65'535) return wrong("has no port between 0 and 65535");
    std::string host(text.substr(0, colon));

    // The text form of an address is part of an endpoint's identity, so only one form is kept.
    std::array<unsigned char, sizeof(in6_addr)> binary{};
    std::array<char, INET6_ADDRSTRLEN> canonical{};
    int family = AF_INET;
    if (host.starts_with('[') && host.ends_with(']')) {
        family = AF_INET6;
        host = host.substr(1, host.size() - 2);
    } else if (host.find(':') != std::string::npos) {
        return wrong("is an IPv6 address without brackets; write [::1]:8080");
    }
    if (host.find('\0') != std::string::npos || inet_pton(family, host.c_str(), binary.data()) != 1) {
        return wrong("is not a literal address; a name is looked up by `discovery`");
    }
    inet_ntop(family, binary.data(), canonical.data(), canonical.size());
    return Address{canonical.data(), static_cast<std::uint16_t>(*port)};
}

Result<std::string> parse_network(std::string_view text) {
    const auto wrong = [&](std::string_view why) {
        return fail(Code::invalid, fmt::format("\"{}\" {}", text.substr(0, 80), why), Side::client);
    };
    const auto slash = text.find('/');
    const std::string host(text.substr(0, slash));
    const int family = host.find(':') != std::string::npos ? AF_INET6 : AF_INET;
    const std::size_t bits = family == AF_INET6 ? 128 : 32;
    std::array<unsigned char, sizeof(in6_addr)> binary{};
    if (host.find('\0') != std::string::npos || inet_pton(family, host.c_str(), binary.data()) != 1) {
        return wrong("is not a network like 10.0.0.0/8 or 2001:db8::/32");
    }
    std::size_t length = bits;
    if (slash != std::string_view::npos) {
        const auto given = parse_count(text.substr(slash + 1));
        if (!given || *given > bits) return wrong(fmt::format("has no prefix length between 0 and {}", bits));
        length = *given;
    }
    std::array<unsigned char, sizeof(in6_addr)> kept = binary;
    for (std::size_t bit = length; bit < bits; ++bit) kept[bit / 8] &= static_cast<unsigned char>(~(0x80u >> bit % 8));
    std::array<char, INET6_ADDRSTRLEN> canonical{};
    inet_ntop(family, kept.data(), canonical.data(), canonical.size());
    std::string out = fmt::format("{}/{}", canonical.data(), length);
    if (kept != binary) return wrong(fmt::format("has bits beyond its length; that network is {}", out));
    return out;
}

namespace {
std::uint64_t hash_of(std::string_view path) { return keyed_hash(path, 0); }
}  // namespace

void Sources::add(std::string_view path, const Where& where) {
    if (places_.empty()) file_ = where.file;
    places_.try_emplace(hash_of(path), Place{where.line, where.column});
}

bool Sources::written(std::string_view path) const { return places_.contains(hash_of(path)); }

Where Sources::where(std::string_view path) const {
    while (true) {
        if (const auto found = places_.find(hash_of(path)); found != places_.end()) {
            return {file_, found->second.line, found->second.column};
        }
        const auto cut = path.find_last_of(".[");
        if (cut == std::string_view::npos) break;
        path = path.substr(0, cut);
    }
    const auto whole = places_.find(hash_of({}));
    return whole == places_.end() ? Where{} : Where{file_, whole->second.line, whole->second.column};
}

}  // namespace plimsoll::config

// Addresses and places.
#include "config/config.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

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
std::uint64_t hash_of(std::string_view path) { return std::max<std::uint64_t>(keyed_hash(path, 0), 1); }
}  // namespace

std::size_t Sources::slot(std::uint64_t hash) const {
    const std::size_t mask = places_.size() - 1;
    std::size_t at = hash & mask;
    while (places_[at].hash != 0 && places_[at].hash != hash) at = (at + 1) & mask;
    return at;
}

const Sources::Place* Sources::find(std::string_view path) const {
    if (places_.empty()) return nullptr;
    const Place& place = places_[slot(hash_of(path))];
    return place.hash == 0 ? nullptr : &place;
}

void Sources::reserve(std::size_t places) {
    const std::size_t wanted = std::bit_ceil(std::max<std::size_t>(2 * places, 16));
    if (wanted <= places_.size()) return;
    std::vector<Place> old(wanted);
    old.swap(places_);
    for (const Place& place : old) {
        if (place.hash != 0) places_[slot(place.hash)] = place;
    }
}

void Sources::add(std::string_view path, const Where& where) {
    if (used_ == 0) file_ = where.file;
    if (2 * (used_ + 1) > places_.size()) reserve(used_ + 1);
    Place& place = places_[slot(hash_of(path))];
    if (place.hash != 0) return;
    place = {hash_of(path), where.line, where.column};
    ++used_;
}

bool Sources::written(std::string_view path) const { return find(path) != nullptr; }

Where Sources::where(std::string_view path) const {
    while (true) {
        if (const Place* place = find(path)) return {file_, place->line, place->column};
        const auto cut = path.find_last_of(".[");
        if (cut == std::string_view::npos) break;
        path = path.substr(0, cut);
    }
    const Place* whole = find({});
    return whole == nullptr ? Where{} : Where{file_, whole->line, whole->column};
}

}  // namespace plimsoll::config

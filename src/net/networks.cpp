#include "net/networks.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace plimsoll::net {
namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr unsigned mapped_bits = 96;

bool is_mapped(const std::array<std::uint8_t, 16>& bytes) {
    return std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes.begin());
}

/// IPv4 as it is mapped into IPv6, IPv6 as it is.
std::array<std::uint8_t, 16> sixteen(const Address& address) {
    std::array<std::uint8_t, 16> bytes{};
    const std::string_view host = address.host_bytes();
    const bool ipv4 = address.family() == Address::Family::ipv4;
    if (ipv4) std::ranges::copy(mapped_prefix, bytes.begin());
    std::memcpy(bytes.data() + (ipv4 ? mapped_prefix.size() : 0), host.data(), host.size());
    return bytes;
}

std::unexpected<Error> no_network(std::string_view text) {
    return fail(Code::invalid, "not a network such as 10.0.0.0/8, 2001:db8::/32 or ::1: '" + std::string(text) + "'");
}

/// `bytes` with all bits behind the first `length` set to `on`.
std::array<std::uint8_t, 16> filled(std::array<std::uint8_t, 16> bytes, unsigned length, bool on) {
    for (unsigned i = 0; i < 16; ++i) {
        const unsigned kept = length > 8 * i ? std::min(8u, length - 8 * i) : 0;
        const auto behind = static_cast<std::uint8_t>(0xffu >> kept);
        bytes[i] = static_cast<std::uint8_t>(on ? bytes[i] | behind : bytes[i] & ~behind);
    }
    return bytes;
}

}  // namespace

Result<Networks> Networks::parse(std::span<const std::string> texts) {
    Networks networks;
    for (const std::string& text : texts)
        if (auto added = networks.add(text); !added) return std::unexpected(std::move(added.error()));
    merge(networks.ipv4_);
    merge(networks.ipv6_);
    return networks;
}

Result<void> Networks::add(std::string_view text) {
    const std::size_t slash = text.find('/');
    const auto address = Address::ip(text.substr(0, slash), 0);
    if (!address) return no_network(text);
    const bool ipv4 = address->family() == Address::Family::ipv4;
    unsigned length = ipv4 ? 32 : 128;
    if (slash != std::string_view::npos) {
        const std::string_view digits = text.substr(slash + 1);
        unsigned number = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        if (error != std::errc{} || end != digits.data() + digits.size() || number > length) return no_network(text);
        length = number;
    }
    const Bytes bytes = sixteen(*address);
    if (ipv4) length += mapped_bits;
    const Range range{filled(bytes, length, false), filled(bytes, length, true)};
    (is_mapped(bytes) && length >= mapped_bits ? ipv4_ : ipv6_).push_back(range);
    return {};
}

void Networks::merge(std::vector<Range>& ranges) {
    std::ranges::sort(ranges, {}, &Range::first);
    std::vector<Range> apart;
    for (const Range& range : ranges) {
        if (!apart.empty() && range.first <= apart.back().last) {
            apart.back().last = std::max(apart.back().last, range.last);
        } else {
            apart.push_back(range);
        }
    }
    ranges = std::move(apart);
}

bool Networks::within(const std::vector<Range>& ranges, const Bytes& at) {
    const auto next = std::ranges::upper_bound(ranges, at, {}, &Range::first);
    return next != ranges.begin() && at <= std::prev(next)->last;
}

bool Networks::contains(const Address& address) const {
    if (address.family() != Address::Family::ipv4 && address.family() != Address::Family::ipv6) return false;
    const Bytes bytes = sixteen(address);
    return within(is_mapped(bytes) ? ipv4_ : ipv6_, bytes);
}

}  // namespace plimsoll::net

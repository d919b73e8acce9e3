// Networks: a set of IP networks, as an operator writes them. Immutable once made; any thread may ask.
// Source: RFC 4632 (CIDR), RFC 4291 2.5.5.2 (IPv4-mapped IPv6).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/address.h"

namespace plimsoll::net {

class Networks {
public:
    /// Contains nobody.
    Networks() = default;
    /// Each text is a network ("10.0.0.0/8", "2001:db8::/32") or one address ("::1"). Bits behind the prefix are not
    /// looked at. Errors: invalid, naming the first text that is neither.
    [[nodiscard]] static Result<Networks> parse(std::span<const std::string> texts);

    /// O(log n), whatever overlaps. IPv4 mapped into IPv6 counts as IPv4, in networks and in addresses; "::/0" holds
    /// IPv6 only. False for Unix sockets and no address.
    [[nodiscard]] bool contains(const Address& address) const;
    [[nodiscard]] bool empty() const { return ipv4_.empty() && ipv6_.empty(); }

private:
    using Bytes = std::array<std::uint8_t, 16>;  ///< network order, so that they compare as numbers
    struct Range {
        Bytes first{}, last{};
    };
    [[nodiscard]] static bool within(const std::vector<Range>& ranges, const Bytes& at);
    static void merge(std::vector<Range>& ranges);
    [[nodiscard]] Result<void> add(std::string_view text);

    std::vector<Range> ipv4_, ipv6_;  ///< ascending, apart from each other; IPv4 in its mapped form
};

}  // namespace plimsoll::net

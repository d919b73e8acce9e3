// Address: where a stream ends. A value; parsed once, when the config is compiled or a connection accepted.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

struct sockaddr_storage;

namespace plimsoll::net {

class Address {
public:
    enum class Family : std::uint8_t { none, ipv4, ipv6, unix_socket };

    Address() = default;
    /// `host` is a literal: "127.0.0.1", "::1". Errors: invalid.
    static Result<Address> ip(std::string_view host, std::uint16_t port);
    /// A Unix-domain socket's path, 1 to 107 bytes. Errors: invalid.
    static Result<Address> unix_socket(std::string_view path);
    /// From what the kernel says; unknown families become `none`.
    static Address from_kernel(const sockaddr_storage& storage, std::size_t length);
    /// Fills `storage` and returns its length in use. Family none gives 0.
    std::size_t to_kernel(sockaddr_storage& storage) const;

    [[nodiscard]] Family family() const { return family_; }
    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] Address with_port(std::uint16_t port) const;
    /// The 4 or 16 bytes of an IP address in network order, or the path's bytes: what a key of the client is hashed
    /// from. IPv4 mapped into IPv6 counts as IPv4.
    [[nodiscard]] std::string_view host_bytes() const;
    /// "127.0.0.1", "2001:db8::1", or the path.
    [[nodiscard]] std::string host() const;
    /// "127.0.0.1:80", "[::1]:80", "unix:/run/x.sock", "-" for none.
    [[nodiscard]] std::string text() const;

    friend auto operator<=>(const Address&, const Address&) = default;

private:
    Family family_ = Family::none;
    std::uint16_t port_ = 0;
    std::array<char, 16> ip_{};
    std::string path_;
};

}  // namespace plimsoll::net

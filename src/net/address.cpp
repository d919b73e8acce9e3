#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

namespace plimsoll::net {

Result<Address> Address::ip(std::string_view host, std::uint16_t port) {
    Address address;
    address.port_ = port;
    const std::string text(host);
    if (text.find('\0') != std::string::npos) {  // where inet_pton would stop reading
        return fail(Code::invalid, "not a literal IP address: it holds a zero byte");
    }
    if (inet_pton(AF_INET, text.c_str(), address.ip_.data()) == 1) {
        address.family_ = Family::ipv4;
    } else if (inet_pton(AF_INET6, text.c_str(), address.ip_.data()) == 1) {
        address.family_ = Family::ipv6;
    } else {
        return fail(Code::invalid, "not a literal IP address: '" + text + "'");
    }
    return address;
}

Result<Address> Address::unix_socket(std::string_view path) {
    if (path.empty() || path.size() > sizeof(sockaddr_un::sun_path) - 1) {
        return fail(Code::invalid, "a Unix socket's path has 1 to 107 bytes, this has " + std::to_string(path.size()));
    }
    Address address;
    address.family_ = Family::unix_socket;
    address.path_ = path;
    return address;
}

Address Address::from_kernel(const sockaddr_storage& storage, std::size_t length) {
    static constexpr unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    Address address;
    if (storage.ss_family == AF_INET && length >= sizeof(sockaddr_in)) {
        sockaddr_in in{};
        std::memcpy(&in, &storage, sizeof in);
        address.family_ = Family::ipv4;
        address.port_ = ntohs(in.sin_port);
        std::memcpy(address.ip_.data(), &in.sin_addr, 4);
    } else if (storage.ss_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
        sockaddr_in6 in{};
        std::memcpy(&in, &storage, sizeof in);
        address.port_ = ntohs(in.sin6_port);
        const auto* bytes = reinterpret_cast<const char*>(&in.sin6_addr);
        if (std::memcmp(bytes, mapped, sizeof mapped) == 0) {
            address.family_ = Family::ipv4;
            std::memcpy(address.ip_.data(), bytes + 12, 4);
        } else {
            address.family_ = Family::ipv6;
            std::memcpy(address.ip_.data(), bytes, 16);
        }
    } else if (storage.ss_family == AF_UNIX) {
        const auto& un = reinterpret_cast<const sockaddr_un&>(storage);
        address.family_ = Family::unix_socket;
        const std::size_t start = offsetof(sockaddr_un, sun_path);
        if (length > start) address.path_.assign(un.sun_path, strnlen(un.sun_path, length - start));
    }
    return address;
}

std::size_t Address::to_kernel(sockaddr_storage& storage) const {
    storage = {};
    switch (family_) {
        case Family::none: return 0;
        case Family::ipv4: {
            auto& in = reinterpret_cast<sockaddr_in&>(storage);
            in.sin_family = AF_INET;
            in.sin_port = htons(port_);
            std::memcpy(&in.sin_addr, ip_.data(), 4);
            return sizeof(sockaddr_in);
        }
        case Family::ipv6: {
            auto& in = reinterpret_cast<sockaddr_in6&>(storage);
            in.sin6_family = AF_INET6;
            in.sin6_port = htons(port_);
            std::memcpy(&in.sin6_addr, ip_.data(), 16);
            return sizeof(sockaddr_in6);
        }
        case Family::unix_socket: {
            auto& un = reinterpret_cast<sockaddr_un&>(storage);
            un.sun_family = AF_UNIX;
            std::memcpy(un.sun_path, path_.data(), path_.size());
            return offsetof(sockaddr_un, sun_path) + path_.size() + 1;
        }
    }
    return 0;
}

Address Address::with_port(std::uint16_t port) const {
    Address copy = *this;
    copy.port_ = port;
    return copy;
}

std::string_view Address::host_bytes() const {
    switch (family_) {
        case Family::none: return {};
        case Family::ipv4: return {ip_.data(), 4};
        case Family::ipv6: return {ip_.data(), 16};
        case Family::unix_socket: return path_;
    }
    return {};
}

std::string Address::host() const {
    char text[INET6_ADDRSTRLEN] = "";
    if (family_ == Family::ipv4) inet_ntop(AF_INET, ip_.data(), text, sizeof text);
    if (family_ == Family::ipv6) inet_ntop(AF_INET6, ip_.data(), text, sizeof text);
    return family_ == Family::unix_socket ? path_ : std::string(text);
}

std::string Address::text() const {
    switch (family_) {
        case Family::none: return "-";
        case Family::ipv4: return host() + ":" + std::to_string(port_);
        case Family::ipv6: return "[" + host() + "]:" + std::to_string(port_);
        case Family::unix_socket: return "unix:" + path_;
    }
    return "-";
}

}  // namespace plimsoll::net

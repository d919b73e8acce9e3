#include "proxy/true_client.h"

#include <charconv>
#include <optional>
#include <string_view>

namespace plimsoll::proxy {
namespace {

using net::Address;

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

std::optional<std::uint16_t> port_of(std::string_view digits) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    return port;
}

/// "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80".
std::optional<Address> read_node(std::string_view text) {
    std::string_view host = text, digits;
    bool with_port = false;
    if (text.starts_with('[')) {
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos) return std::nullopt;
        host = text.substr(1, end - 1);
        const std::string_view rest = text.substr(end + 1);
        with_port = !rest.empty();
        if (with_port && rest[0] != ':') return std::nullopt;
        if (with_port) digits = rest.substr(1);
        if (host.find(':') == std::string_view::npos) return std::nullopt;  // brackets are for IPv6
    } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos && colon == text.rfind(':')) {
        host = text.substr(0, colon);
        digits = text.substr(colon + 1);
        with_port = true;
    }
    const std::optional<std::uint16_t> port = with_port ? port_of(digits) : std::uint16_t{0};
    if (!port) return std::nullopt;
    const auto address = Address::ip(host, *port);
    if (!address) return std::nullopt;
    // IPv4 mapped into IPv6 is the same client as IPv4.
    static constexpr std::string_view mapped{"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12};
    const std::string_view bytes = address->host_bytes();
    if (bytes.size() != 16 || !bytes.starts_with(mapped)) return *address;
    std::string dotted;
    for (const char byte : bytes.substr(mapped.size())) {
        if (!dotted.empty()) dotted += '.';
        dotted += std::to_string(static_cast<unsigned char>(byte));
    }
    return *Address::ip(dotted, *port);
}

/// The `for` of one element of Forwarded: node, quotes removed. Backslashes have no place in an address.
std::optional<Address> read_forwarded(std::string_view element) {
    std::optional<Address> found;
    while (!element.empty()) {
        const std::size_t semicolon = element.find(';');
        const std::string_view pair = trimmed(element.substr(0, semicolon));
        element = semicolon == std::string_view::npos ? std::string_view{} : element.substr(semicolon + 1);
        const std::size_t equals = pair.find('=');
        if (equals == std::string_view::npos || !http::equal_ignoring_case(pair.substr(0, equals), "for")) continue;
        std::string_view value = pair.substr(equals + 1);
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
            value = value.substr(1, value.size() - 2);
        }
        if (found) return std::nullopt;  // said twice
        found = read_node(value);
        if (!found) return std::nullopt;
    }
    return found;
}

/// Takes the last element off the list's end; blanks trimmed.
std::string_view last_element(std::string_view& list, bool& any_left) {
    const std::size_t comma = list.rfind(',');
    const std::string_view element = trimmed(comma == std::string_view::npos ? list : list.substr(comma + 1));
    any_left = comma != std::string_view::npos;
    list = any_left ? list.substr(0, comma) : std::string_view{};
    return element;
}

}  // namespace

TrueClient true_client(const Address& peer, const http::Fields& fields, const net::Networks& trusted) {
    TrueClient client{peer, trusted.contains(peer)};
    if (!client.believed) return client;
    const bool plain = fields.count(http::Known::x_forwarded_for) > 0;
    const http::Known wanted = plain ? http::Known::x_forwarded_for : http::Known::forwarded;
    std::size_t looked_at = 0;
    for (std::size_t i = fields.size(); i > 0; --i) {
        const http::Header line = fields[i - 1];
        if (line.known != wanted) continue;
        std::string_view list = line.value;
        for (bool more = true; more;) {
            const std::string_view element = last_element(list, more);
            if (++looked_at > max_forwarded_elements) return client;
            if (element.empty()) continue;  // an empty element says nothing (RFC 9110 5.6.1)
            const auto address = plain ? read_node(element) : read_forwarded(element);
            if (!address) return client;
            client.address = *address;
            if (!trusted.contains(*address)) return client;
        }
    }
    return client;
}

std::string forwarded_for(const Address& peer) {
    const bool ip = peer.family() == Address::Family::ipv4 || peer.family() == Address::Family::ipv6;
    return ip ? peer.host() : "unknown";
}

std::string forwarded_element(const Address& peer) {
    if (peer.family() == Address::Family::ipv6) return "for=\"[" + peer.host() + "]\"";
    return "for=" + forwarded_for(peer);
}

}  // namespace plimsoll::proxy

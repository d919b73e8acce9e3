#include "net/proxy_protocol.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

namespace plimsoll::net {
namespace {

using State = ProxyHeader::State;

constexpr std::string_view v1_start = "PROXY ";
constexpr std::string_view v2_start{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t v2_fixed = 16;  // signature, command, family, length
constexpr std::uint8_t tlv_crc32c = 0x03;

ProxyHeader refused(std::string_view reason) { return {.state = State::refused, .reason = reason}; }

std::uint8_t byte_at(std::string_view bytes, std::size_t at) { return static_cast<std::uint8_t>(bytes[at]); }
std::uint16_t short_at(std::string_view bytes, std::size_t at) {
    return static_cast<std::uint16_t>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}

/// 4 or 16 bytes in network order.
Address from_bytes(std::string_view ip, std::uint16_t port) {
    sockaddr_storage storage{};
    if (ip.size() == 4) {
        auto& in = reinterpret_cast<sockaddr_in&>(storage);
        in.sin_family = AF_INET;
        in.sin_port = htons(port);
        std::memcpy(&in.sin_addr, ip.data(), 4);
        return Address::from_kernel(storage, sizeof in);
    }
    auto& in = reinterpret_cast<sockaddr_in6&>(storage);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, ip.data(), 16);
    return Address::from_kernel(storage, sizeof in);
}

// ---- version 1 -----------------------------------------------------------------------------------------------------

/// The next word of a line whose words are apart by exactly one blank; nullopt when there is none.
std::optional<std::string_view> next_word(std::string_view& line) {
    if (line.empty()) return std::nullopt;
    const std::size_t end = line.find(' ');
    const std::string_view word = line.substr(0, end);
    line = end == std::string_view::npos ? std::string_view{} : line.substr(end + 1);
    if (word.empty() || (end != std::string_view::npos && line.empty())) return std::nullopt;
    return word;
}

std::optional<std::uint16_t> port(std::string_view digits) {
    std::uint16_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size() || (digits.size() > 1 && digits[0] == '0'))
        return std::nullopt;
    return value;
}

std::optional<Address> literal(std::string_view text, Address::Family family, std::uint16_t at_port) {
    const auto parsed = Address::ip(text, at_port);
    if (!parsed || parsed->family() != family) return std::nullopt;
    return from_bytes(parsed->host_bytes(), at_port);
}

ProxyHeader read_v1_line(std::string_view line, std::size_t consumed) {
    ProxyHeader header{.state = State::done, .consumed = consumed};
    if (line == "UNKNOWN" || line.starts_with("UNKNOWN ")) return header;  // what follows means nothing
    const auto protocol = next_word(line);
    if (protocol != "TCP4" && protocol != "TCP6")
        return refused("PROXY v1: the protocol is none of TCP4, TCP6, UNKNOWN");
    const auto family = protocol == "TCP4" ? Address::Family::ipv4 : Address::Family::ipv6;
    const auto source = next_word(line), destination = next_word(line);
    const auto from = next_word(line), to = next_word(line);
    if (!source || !destination || !from || !to || !line.empty())
        return refused("PROXY v1: not four words after TCP4 or TCP6");
    const auto from_port = port(*from), to_port = port(*to);
    if (!from_port || !to_port) return refused("PROXY v1: a port is no number of 0 to 65535");
    const auto source_address = literal(*source, family, *from_port);
    const auto destination_address = literal(*destination, family, *to_port);
    if (!source_address || !destination_address) return refused("PROXY v1: an address is not of the family named");
    header.source = *source_address;
    header.destination = *destination_address;
    return header;
}

ProxyHeader decode_v1(std::string_view bytes) {
    const std::string_view window = bytes.substr(0, max_proxy_v1_bytes);
    const std::size_t end = window.find_first_of("\r\n", v1_start.size());
    if (end == std::string_view::npos) {
        return window.size() == max_proxy_v1_bytes ? refused("PROXY v1: no end of the line within 107 bytes")
                                                   : ProxyHeader{};
    }
    if (window[end] == '\n') return refused("PROXY v1: the line ends without CR");
    if (end + 1 == window.size()) {
        return window.size() == max_proxy_v1_bytes ? refused("PROXY v1: no end of the line within 107 bytes")
                                                   : ProxyHeader{};
    }
    if (window[end + 1] != '\n') return refused("PROXY v1: a CR within the line");
    return read_v1_line(window.substr(v1_start.size(), end - v1_start.size()), end + 2);
}

// ---- version 2 -----------------------------------------------------------------------------------------------------

/// Skips what follows the addresses; empty if it is in order. `whole` is the header.
std::string_view check_tlvs(std::string_view whole, std::size_t at) {
    bool summed = false;
    while (at < whole.size()) {
        if (whole.size() - at < 3) return "PROXY v2: a TLV is cut off";
        const std::size_t length = short_at(whole, at + 1);
        const std::size_t value = at + 3;
        if (length > whole.size() - value) return "PROXY v2: a TLV is longer than the header";
        if (byte_at(whole, at) == tlv_crc32c) {
            if (length != 4 || summed) return "PROXY v2: the CRC-32C is not 4 bytes, or there twice";
            summed = true;
            static constexpr std::string_view zeros{"\0\0\0\0", 4};
            const std::uint32_t sum = crc32c(whole.substr(value + 4), crc32c(zeros, crc32c(whole.substr(0, value))));
            const std::uint32_t said =
                static_cast<std::uint32_t>(short_at(whole, value)) << 16 | short_at(whole, value + 2);
            if (said != sum) return "PROXY v2: the CRC-32C is wrong";
        }
        at = value + length;
    }
    return {};
}

/// Bytes that addresses take, by address family: UNSPEC, INET, INET6, UNIX.
constexpr std::array<std::size_t, 4> v2_address_bytes = {0, 12, 36, 216};

ProxyHeader read_v2(std::string_view whole) {
    ProxyHeader header{.state = State::done, .consumed = whole.size()};
    if ((byte_at(whole, 12) & 0x0f) == 0) return header;  // LOCAL: the block is to be discarded, whatever it says
    const unsigned family = byte_at(whole, 13) >> 4, transport = byte_at(whole, 13) & 0x0f;
    if (family >= v2_address_bytes.size() || transport > 2 || (family == 0) != (transport == 0))
        return refused("PROXY v2: an unassigned address family");
    if (family == 0) return header;  // nor is it said where TLVs would begin
    const std::size_t block = v2_address_bytes[family];
    if (whole.size() - v2_fixed < block) return refused("PROXY v2: shorter than its addresses");
    if (const std::string_view wrong = check_tlvs(whole, v2_fixed + block); !wrong.empty()) return refused(wrong);
    if (transport != 1 || family == 3) return header;
    const std::size_t ip = family == 1 ? 4 : 16;
    header.source = from_bytes(whole.substr(v2_fixed, ip), short_at(whole, v2_fixed + 2 * ip));
    header.destination = from_bytes(whole.substr(v2_fixed + ip, ip), short_at(whole, v2_fixed + 2 * ip + 2));
    return header;
}

ProxyHeader decode_v2(std::string_view bytes) {
    if (bytes.size() > 12) {
        const unsigned command = byte_at(bytes, 12);
        if (command >> 4 != 2) return refused("PROXY v2: another version");
        if ((command & 0x0f) > 1) return refused("PROXY v2: an unassigned command");
    }
    if (bytes.size() < v2_fixed) return {};
    const std::size_t length = v2_fixed + short_at(bytes, 14);
    if (length > max_proxy_v2_bytes) return refused("PROXY v2: longer than 4096 bytes");
    if (bytes.size() < length) return {};
    return read_v2(bytes.substr(0, length));
}

// ---- what we send --------------------------------------------------------------------------------------------------

bool is_ip(const Address& address) {
    return address.family() == Address::Family::ipv4 || address.family() == Address::Family::ipv6;
}

/// 16 bytes, IPv4 mapped.
Address as_ipv6(const Address& address) {
    if (address.family() == Address::Family::ipv6) return address;
    return *Address::ip("::ffff:" + address.host(), address.port());
}

struct Ends {
    Address source, destination;
    bool ipv4 = false;
};

/// Both of one family; nullopt when one is no IP address.
std::optional<Ends> ends(const Address& source, const Address& destination) {
    if (!is_ip(source) || !is_ip(destination)) return std::nullopt;
    if (source.family() == destination.family())
        return Ends{source, destination, source.family() == Address::Family::ipv4};
    return Ends{as_ipv6(source), as_ipv6(destination), false};
}

void append_short(std::string& out, std::size_t value) {
    out += static_cast<char>(value >> 8 & 0xff);
    out += static_cast<char>(value & 0xff);
}

constexpr std::array<std::uint32_t, 256> crc_table = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ 0x82f63b78u : value >> 1;
        table[i] = value;
    }
    return table;
}();

}  // namespace

std::uint32_t crc32c(std::string_view bytes, std::uint32_t crc) {
    crc = ~crc;
    for (const char byte : bytes) crc = crc >> 8 ^ crc_table[(crc ^ static_cast<std::uint8_t>(byte)) & 0xff];
    return ~crc;
}

ProxyHeader decode_proxy_header(std::string_view bytes) {
    for (const auto& [start, decode] : {std::pair{v1_start, &decode_v1}, std::pair{v2_start, &decode_v2}}) {
        const std::size_t common = std::min(start.size(), bytes.size());
        if (bytes.substr(0, common) != start.substr(0, common)) continue;
        return common < start.size() ? ProxyHeader{} : decode(bytes);
    }
    return refused("no PROXY header, though this network must send one");
}

void append_proxy_v1_local(std::string& out) { out += "PROXY UNKNOWN\r\n"; }

void append_proxy_v2_local(std::string& out) {
    out += v2_start;
    out += '\x20';  // version 2, LOCAL
    out += '\0';    // UNSPEC
    append_short(out, 0);
}

void append_proxy_v1(std::string& out, const Address& source, const Address& destination) {
    const auto both = ends(source, destination);
    if (!both) return append_proxy_v1_local(out);
    out += both->ipv4 ? "PROXY TCP4 " : "PROXY TCP6 ";
    out += both->source.host();
    out += ' ';
    out += both->destination.host();
    out += ' ';
    out += std::to_string(both->source.port());
    out += ' ';
    out += std::to_string(both->destination.port());
    out += "\r\n";
}

void append_proxy_v2(std::string& out, const Address& source, const Address& destination) {
    const auto both = ends(source, destination);
    if (!both) return append_proxy_v2_local(out);
    out += v2_start;
    out += '\x21';                        // version 2, PROXY
    out += both->ipv4 ? '\x11' : '\x21';  // TCP over IPv4, over IPv6
    append_short(out, v2_address_bytes[both->ipv4 ? 1 : 2]);
    out += both->source.host_bytes();
    out += both->destination.host_bytes();
    append_short(out, both->source.port());
    append_short(out, both->destination.port());
}

}  // namespace plimsoll::net

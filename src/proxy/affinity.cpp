#include "proxy/affinity.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>

#include "base/result.h"

namespace plimsoll::proxy {
namespace {

constexpr std::size_t mark_bytes = 8, expiry_bytes = 5, signature_bytes = 16;
constexpr std::size_t signed_bytes = mark_bytes + expiry_bytes;
constexpr std::size_t cookie_bytes = signed_bytes + signature_bytes;
constexpr std::size_t cookie_letters = (cookie_bytes * 8 + 5) / 6;
static_assert(cookie_letters == 39);
constexpr std::int64_t second = 1'000'000'000;

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::array<std::int8_t, 256> letter_values = [] {
    std::array<std::int8_t, 256> values{};
    values.fill(-1);
    for (std::size_t i = 0; i < alphabet.size(); ++i)
        values[static_cast<std::uint8_t>(alphabet[i])] = static_cast<std::int8_t>(i);
    return values;
}();

std::string to_base64url(std::string_view bytes) {
    std::string text;
    std::uint32_t held = 0;
    unsigned bits = 0;
    for (const char byte : bytes) {
        held = held << 8 | static_cast<std::uint8_t>(byte);
        for (bits += 8; bits >= 6; bits -= 6) text += alphabet[held >> (bits - 6) & 63];
    }
    if (bits > 0) text += alphabet[held << (6 - bits) & 63];
    return text;
}

/// nullopt for other letters, another length, or bits at the end that are not zero: one text for one value.
std::optional<std::array<char, cookie_bytes>> from_base64url(std::string_view text) {
    if (text.size() != cookie_letters) return std::nullopt;
    std::array<char, cookie_bytes> bytes{};
    std::size_t at = 0;
    std::uint32_t held = 0;
    unsigned bits = 0;
    for (const char letter : text) {
        const int value = letter_values[static_cast<std::uint8_t>(letter)];
        if (value < 0) return std::nullopt;
        held = held << 6 | static_cast<std::uint32_t>(value);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes[at++] = static_cast<char>(held >> bits & 0xff);
        }
    }
    if ((held & ((1u << bits) - 1)) != 0) return std::nullopt;
    return bytes;
}

using Signature = std::array<unsigned char, 32>;

/// HMAC-SHA256 of `what`, which says what it is for so that one hash never passes for another, and the parts.
Signature sign(std::string_view secret, std::string_view what, std::string_view pool, std::string_view bytes) {
    std::string text(what);
    text.append(1, '\0').append(std::to_string(pool.size())).append(1, ':').append(pool).append(bytes);
    Signature signature{};
    unsigned length = 0;
    PLIMSOLL_ENSURE(
        HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), signature.data(), &length) != nullptr,
        "HMAC-SHA256 is unavailable in libcrypto");
    return signature;
}

void append_number(std::string& out, std::uint64_t number, std::size_t bytes) {
    for (std::size_t i = bytes; i > 0; --i) out += static_cast<char>(number >> (8 * (i - 1)) & 0xff);
}

std::uint64_t number_at(std::string_view bytes) {
    std::uint64_t number = 0;
    for (const char byte : bytes) number = number << 8 | static_cast<std::uint8_t>(byte);
    return number;
}

/// The next "name=value" of a Cookie line; false at the end.
bool next_cookie(std::string_view& line, std::string_view& name, std::string_view& value) {
    while (!line.empty()) {
        const std::size_t end = line.find(';');
        std::string_view pair = line.substr(0, end);
        line = end == std::string_view::npos ? std::string_view{} : line.substr(end + 1);
        while (!pair.empty() && (pair.front() == ' ' || pair.front() == '\t')) pair.remove_prefix(1);
        while (!pair.empty() && (pair.back() == ' ' || pair.back() == '\t')) pair.remove_suffix(1);
        const std::size_t equals = pair.find('=');
        if (equals == std::string_view::npos) continue;
        name = pair.substr(0, equals);
        value = pair.substr(equals + 1);
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
        return true;
    }
    return false;
}

}  // namespace

Sessions::Sessions(SessionSettings settings, std::span<const SessionMember> members) : settings_(std::move(settings)) {
    for (const SessionMember& member : members) {
        const Mark marked = mark(member.address);
        by_mark_.emplace(marked, member.id);
        by_endpoint_.emplace(member.id, marked);
    }
}

Sessions::Mark Sessions::mark(std::string_view address) const {
    const Signature hash = sign(settings_.secret, "plimsoll endpoint", settings_.pool, address);
    return number_at({reinterpret_cast<const char*>(hash.data()), mark_bytes});
}

std::optional<Sessions::Found> Sessions::read(std::string_view text, Timestamp now) const {
    const auto bytes = from_base64url(text);
    if (!bytes) return std::nullopt;
    const std::string_view all(bytes->data(), bytes->size());
    const Signature right = sign(settings_.secret, "plimsoll session", settings_.pool, all.substr(0, signed_bytes));
    if (CRYPTO_memcmp(right.data(), all.data() + signed_bytes, signature_bytes) != 0) return std::nullopt;
    const auto endpoint = by_mark_.find(number_at(all.substr(0, mark_bytes)));
    if (endpoint == by_mark_.end()) return std::nullopt;
    Found found{endpoint->second};
    const auto expiry = static_cast<std::int64_t>(number_at(all.substr(mark_bytes, expiry_bytes)));
    if (expiry == 0) {
        found.renew = settings_.ttl > Duration{};  // written before there was a ttl
        return found;
    }
    const std::int64_t left_s = expiry - now.ns / second;
    if (left_s <= 0) return std::nullopt;
    found.renew = left_s * 2 < settings_.ttl.count() / second || settings_.ttl == Duration{};
    return found;
}

std::optional<Sessions::Found> Sessions::find(const http::Fields& fields, Timestamp now) const {
    std::size_t checked = 0;
    for (const http::Header line : fields) {
        if (line.known != http::Known::cookie) continue;
        std::string_view rest = line.value, name, text;
        while (next_cookie(rest, name, text)) {
            if (name != settings_.cookie) continue;
            if (auto found = read(text, now)) return found;
            if (++checked == max_cookies) return std::nullopt;
        }
    }
    return std::nullopt;
}

std::optional<std::string> Sessions::value(EndpointId endpoint, Timestamp now) const {
    const auto marked = by_endpoint_.find(endpoint);
    if (marked == by_endpoint_.end()) return std::nullopt;
    const std::int64_t ttl_s = settings_.ttl.count() / second;
    std::string bytes;
    append_number(bytes, marked->second, mark_bytes);
    append_number(bytes, ttl_s > 0 ? static_cast<std::uint64_t>(now.ns / second + ttl_s) : 0, expiry_bytes);
    const Signature signature = sign(settings_.secret, "plimsoll session", settings_.pool, bytes);
    bytes.append(reinterpret_cast<const char*>(signature.data()), signature_bytes);
    return to_base64url(bytes);
}

std::optional<std::string> Sessions::set_cookie(EndpointId endpoint, Timestamp now, bool secure) const {
    auto text = value(endpoint, now);
    if (!text) return std::nullopt;
    std::string field = settings_.cookie + "=" + *text + "; Path=/; HttpOnly; SameSite=Lax";
    if (const std::int64_t ttl_s = settings_.ttl.count() / second; ttl_s > 0)
        field += "; Max-Age=" + std::to_string(ttl_s);
    if (secure) field += "; Secure";
    return field;
}

}  // namespace plimsoll::proxy

#include "tls/client_hello.h"

#include <algorithm>
#include <optional>

namespace plimsoll::tls {
namespace {

constexpr unsigned char handshake_record = 22;
constexpr unsigned char client_hello_message = 1;
constexpr std::size_t max_record = 16 * 1024;
constexpr std::size_t server_name_extension = 0;
constexpr unsigned char host_name_type = 0;

/// Takes big-endian numbers and vectors off the front; `ok` turns false when something does not fit.
class Cursor {
public:
    explicit Cursor(std::string_view bytes) : rest_(bytes) {}
    std::size_t number(std::size_t bytes) {
        std::size_t value = 0;
        for (char c : take(bytes)) value = value << 8 | static_cast<unsigned char>(c);
        return value;
    }
    std::string_view take(std::size_t bytes) {
        if (bytes > rest_.size()) {
            ok_ = false;
            rest_ = {};
            return {};
        }
        const std::string_view out = rest_.substr(0, bytes);
        rest_.remove_prefix(bytes);
        return out;
    }
    std::string_view vector(std::size_t length_bytes) { return take(number(length_bytes)); }
    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] bool done() const { return rest_.empty(); }

private:
    std::string_view rest_;
    bool ok_ = true;
};

/// The name in lower case; nullopt if no host could be called so.
std::optional<std::string> host_name(std::string_view bytes) {
    if (bytes.ends_with('.')) bytes.remove_suffix(1);
    if (bytes.empty() || bytes.size() > 253 || bytes.front() == '.') return std::nullopt;
    std::string out;
    for (char c : bytes) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        const bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
        if (!fine || (c == '.' && out.ends_with('.'))) return std::nullopt;
        out += c;
    }
    return out;
}

/// The body of the server_name extension: exactly one host name.
std::optional<std::string> read_server_name(std::string_view body) {
    Cursor extension(body);
    Cursor list(extension.vector(2));
    if (!extension.ok() || !extension.done()) return std::nullopt;
    const std::size_t type = list.number(1);
    const std::string_view name = list.vector(2);
    if (!list.ok() || !list.done() || type != host_name_type) return std::nullopt;
    return host_name(name);
}

}  // namespace

ClientHelloParser::State ClientHelloParser::feed(std::string_view bytes) {
    while (state_ == State::more && !bytes.empty()) {
        if (seen_ >= max_bytes) return state_ = State::not_tls;
        if (record_left_ == 0) {
            header_[header_have_++] = static_cast<unsigned char>(bytes.front());
            bytes.remove_prefix(1);
            ++seen_;
            // Decided on the first bytes already, so that nobody waits for the end of what is no record.
            if (header_[0] != handshake_record || (header_have_ >= 2 && header_[1] != 3) ||
                (header_have_ >= 3 && header_[2] > 4)) {
                return state_ = State::not_tls;
            }
            if (header_have_ < sizeof header_) continue;
            header_have_ = 0;
            record_left_ = static_cast<std::size_t>(header_[3]) << 8 | header_[4];
            if (record_left_ == 0 || record_left_ > max_record) return state_ = State::not_tls;
            continue;
        }
        const std::size_t n = std::min({bytes.size(), record_left_, max_bytes - seen_});
        message_.append(bytes.substr(0, n));
        bytes.remove_prefix(n);
        record_left_ -= n;
        seen_ += n;
        state_ = parse();
    }
    if (state_ != State::more) {
        message_.clear();
        message_.shrink_to_fit();
    }
    return state_;
}

ClientHelloParser::State ClientHelloParser::parse() {
    if (message_.empty()) return State::more;
    if (static_cast<unsigned char>(message_[0]) != client_hello_message) return State::not_tls;
    if (message_.size() < 4) return State::more;
    Cursor message(message_);
    (void)message.number(1);
    const std::size_t length = message.number(3);
    if (length > max_bytes) return State::not_tls;
    if (message_.size() + record_left_ > 4 + length) return State::not_tls;  // nothing may follow it in its record
    if (message_.size() < 4 + length) return State::more;

    Cursor hello(message.take(length));
    const std::size_t version = hello.number(2);
    (void)hello.take(32);
    const std::string_view session_id = hello.vector(1);
    const std::string_view ciphers = hello.vector(2);
    const std::string_view compressions = hello.vector(1);
    if (!hello.ok() || version < 0x0300 || version > 0x03ff || session_id.size() > 32 || ciphers.empty() ||
        ciphers.size() % 2 != 0 || compressions.empty()) {
        return State::not_tls;
    }
    if (hello.done()) return State::no_name;  // SSL 3 had no extensions
    Cursor extensions(hello.vector(2));
    if (!hello.ok() || !hello.done()) return State::not_tls;
    std::optional<std::string> name;
    while (!extensions.done()) {
        const std::size_t type = extensions.number(2);
        const std::string_view body = extensions.vector(2);
        if (!extensions.ok()) return State::not_tls;
        if (type != server_name_extension) continue;
        if (name) return State::not_tls;
        name = read_server_name(body);
        if (!name) return State::not_tls;
    }
    if (!name) return State::no_name;
    name_ = std::move(*name);
    return State::name;
}

}  // namespace plimsoll::tls

// The name in a ClientHello, read without terminating TLS: for TCP listeners that route by SNI.
// Thread rule: a value of one connection. No I/O, no OpenSSL.
// Source: RFC 8446 section 4.1.2 and 5.1, RFC 6066 section 3, RFC 5246.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace plimsoll::tls {

/// Reads the first message of a TLS connection, in pieces of any size and spread over records as the client likes.
/// Strict: every length must fit exactly and there is one name at most. The verdict stays once it is given.
class ClientHelloParser {
public:
    enum class State : std::uint8_t {
        more,     ///< not decided yet
        name,     ///< server_name() is what the client asks for
        no_name,  ///< a whole ClientHello, and it names nobody
        not_tls,  ///< anything else, or larger than max_bytes
    };
    /// A ClientHello is some 300 to 2,000 bytes; with post-quantum key shares and tickets still below 8 KiB.
    static constexpr std::size_t max_bytes = 16 * 1024;

    /// The next bytes of the client. Bytes after the message are ignored. O(bytes).
    State feed(std::string_view bytes);
    [[nodiscard]] State state() const { return state_; }
    /// Lower case, without a trailing dot. Letters, digits, '-', '_' and '.' only.
    [[nodiscard]] const std::string& server_name() const { return name_; }

private:
    State parse();
    State state_ = State::more;
    std::string message_;  ///< the handshake message, out of its records
    std::string name_;
    std::size_t seen_ = 0;         ///< bytes fed
    std::size_t record_left_ = 0;  ///< of the present record
    std::size_t header_have_ = 0;
    unsigned char header_[5] = {};  ///< of the next record
};

}  // namespace plimsoll::tls

// The inside of TicketKeys: what seals a session ticket. Private to this room.
// Thread rule: immutable.
// Source: RFC 5077 section 4.
#pragma once

#include <array>

#include "tls/context.h"

namespace plimsoll::tls {

struct TicketKeys::Key {
    std::array<unsigned char, 16> name;    ///< in clear, in front of each ticket
    std::array<unsigned char, 32> cipher;  ///< AES-256-CBC
    std::array<unsigned char, 32> digest;  ///< HMAC-SHA-256
    ~Key();
};

}  // namespace plimsoll::tls

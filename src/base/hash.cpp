#include "base/hash.h"

#include <openssl/evp.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>

#include "base/result.h"

namespace plimsoll {

std::uint64_t keyed_hash(std::string_view bytes, std::uint64_t key) {
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), key);
}

std::uint64_t keyed_hash(std::uint64_t value, std::uint64_t key) {
    return XXH3_64bits_withSeed(&value, sizeof value, key);
}

std::string sha256_hex(std::string_view bytes) {
    std::array<unsigned char, 32> digest{};
    unsigned int length = 0;
    PLIMSOLL_ENSURE(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr) == 1,
                    "SHA-256 is unavailable in libcrypto");
    std::string out;
    out.reserve(64);
    for (const unsigned char byte : digest) {
        out += "0123456789abcdef"[byte >> 4];
        out += "0123456789abcdef"[byte & 15];
    }
    return out;
}

}  // namespace plimsoll

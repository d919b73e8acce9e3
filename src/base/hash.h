// Hashes: one keyed hash for decisions (which arm, which endpoint), one digest for identity of a config.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace plimsoll {

/// Keyed 64-bit hash (XXH3 with a seed). Same bytes and key, same number, on every machine.
[[nodiscard]] std::uint64_t keyed_hash(std::string_view bytes, std::uint64_t key);
[[nodiscard]] std::uint64_t keyed_hash(std::uint64_t value, std::uint64_t key);

/// Maps a hash to [0, 1): a share f of keys falls below f.
[[nodiscard]] constexpr double unit_interval(std::uint64_t hash) { return static_cast<double>(hash >> 11) * 0x1.0p-53; }

/// SHA-256 as 64 lower-case hex digits.
[[nodiscard]] std::string sha256_hex(std::string_view bytes);

}  // namespace plimsoll

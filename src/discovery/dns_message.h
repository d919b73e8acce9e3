// What the records of a DNS answer say, as values; and how an SRV answer and its targets' addresses become endpoints.
// Pure. Private to this room.
// Source: RFC 1035 section 4, RFC 2782, RFC 3596.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "discovery/answer.h"

namespace plimsoll::discovery {

struct AddressRecords {
    std::vector<std::string> hosts;  ///< literals; unspecified, multicast and broadcast ones are left out
    Duration ttl{};                  ///< the shortest on the way, CNAMEs included
};
/// Errors: protocol.
[[nodiscard]] Result<AddressRecords> read_a(std::string_view message);
[[nodiscard]] Result<AddressRecords> read_aaaa(std::string_view message);

struct ServiceRecord {
    std::string target;
    std::uint16_t port = 0, priority = 0, weight = 0;
};
struct ServiceRecords {
    std::vector<ServiceRecord> records;  ///< without the target ".", which says "not here"
    Duration ttl{};
};
/// Errors: protocol.
[[nodiscard]] Result<ServiceRecords> read_srv(std::string_view message);

/// `addresses[i]` is what `found.records[i].target` brought. Priorities are numbered from 0 in their order. A target
/// that could not be looked up makes the answer partial; when none could, its error is the answer.
[[nodiscard]] Result<Answer> combine(std::string_view name, const ServiceRecords& found,
                                     std::span<const Result<Answer>> addresses, std::uint32_t max_priority);

}  // namespace plimsoll::discovery

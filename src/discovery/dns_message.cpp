#include "discovery/dns_message.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>
#include <tuple>

namespace plimsoll::discovery {

namespace {

/// Beside larger weights, 0 means "a very small chance" (RFC 2782), not ours of "drained".
constexpr double weight_of_zero = 0.1;
/// A TTL with the highest bit set counts as 0 (RFC 2181 section 8).
Duration ttl_of(std::uint32_t seconds) {
    return (seconds & 0x8000'0000u) != 0 ? Duration{} : Duration(std::chrono::seconds(seconds));
}

const unsigned char* bytes(std::string_view message) { return reinterpret_cast<const unsigned char*>(message.data()); }

std::uint16_t number16(std::string_view message, std::size_t at) {
    return static_cast<std::uint16_t>(static_cast<unsigned char>(message[at]) << 8 |
                                      static_cast<unsigned char>(message[at + 1]));
}

/// Bytes that the name at `at` takes there; 0 when it is broken.
std::size_t name_length(std::string_view message, std::size_t at) {
    char* name = nullptr;
    long length = 0;
    if (at >= message.size() || ares_expand_name(bytes(message) + at, bytes(message), static_cast<int>(message.size()),
                                                 &name, &length) != ARES_SUCCESS)
        return 0;
    ares_free_string(name);
    return static_cast<std::size_t>(length);
}

/// The shortest TTL of the answer section: c-ares 1.18 does not tell that of SRV records.
Result<Duration> shortest_ttl(std::string_view message) {
    constexpr std::size_t header = 12, fixed = 10;
    const auto broken = [] { return fail(Code::protocol, "an answer that is cut off"); };
    if (message.size() < header) return broken();
    std::size_t at = header;
    for (int left = number16(message, 4); left > 0; --left) {
        const std::size_t name = name_length(message, at);
        at += name + 4;
        if (name == 0 || at > message.size()) return broken();
    }
    Duration shortest = Duration::max();
    for (int left = number16(message, 6); left > 0; --left) {
        const std::size_t name = name_length(message, at);
        if (name == 0 || at + name + fixed > message.size()) return broken();
        at += name;
        const std::uint32_t ttl =
            static_cast<std::uint32_t>(number16(message, at + 4)) << 16 | number16(message, at + 6);
        shortest = std::min(shortest, ttl_of(ttl));
        at += fixed + number16(message, at + 8);
        if (at > message.size()) return broken();
    }
    return shortest == Duration::max() ? Duration{} : shortest;
}

bool reachable(const in_addr& address) {
    const std::uint32_t host = ntohl(address.s_addr);
    return host >> 24 != 0 && host >> 28 < 0xe;  // 0.0.0.0/8; multicast, reserved and broadcast
}
bool reachable(const ares_in6_addr& address) {
    const auto& b = address._S6_un._S6_u8;
    return b[0] != 0xff && std::any_of(std::begin(b), std::end(b), [](unsigned char c) { return c != 0; });
}

template <class Record, class Address>
Result<AddressRecords> read(std::string_view message, int family, Address Record::* address,
                            int (*parse)(const unsigned char*, int, hostent**, Record*, int*)) {
    // Each record takes at least 16 bytes of a message.
    std::vector<Record> records(std::max<std::size_t>(message.size() / 16, 1));
    int count = static_cast<int>(records.size());
    const int status = parse(bytes(message), static_cast<int>(message.size()), nullptr, records.data(), &count);
    AddressRecords out;
    if (status == ARES_ENODATA) return out;
    if (status != ARES_SUCCESS) return fail(Code::protocol, ares_strerror(status));
    records.resize(static_cast<std::size_t>(std::max(count, 0)));
    Duration ttl = Duration::max();
    for (const Record& record : records) {
        ttl = std::min(ttl, record.ttl < 0 ? Duration{} : Duration(std::chrono::seconds(record.ttl)));
        if (!reachable(record.*address)) continue;
        std::array<char, INET6_ADDRSTRLEN> host{};
        inet_ntop(family, &(record.*address), host.data(), host.size());
        out.hosts.emplace_back(host.data());
    }
    if (ttl != Duration::max()) out.ttl = ttl;
    return out;
}

}  // namespace

Result<AddressRecords> read_a(std::string_view message) {
    return read<ares_addrttl>(message, AF_INET, &ares_addrttl::ipaddr, ares_parse_a_reply);
}
Result<AddressRecords> read_aaaa(std::string_view message) {
    return read<ares_addr6ttl>(message, AF_INET6, &ares_addr6ttl::ip6addr, ares_parse_aaaa_reply);
}

Result<ServiceRecords> read_srv(std::string_view message) {
    ServiceRecords out;
    ares_srv_reply* list = nullptr;
    const int status = ares_parse_srv_reply(bytes(message), static_cast<int>(message.size()), &list);
    if (status == ARES_ENODATA) return out;
    if (status != ARES_SUCCESS) return fail(Code::protocol, ares_strerror(status));
    const std::unique_ptr<ares_srv_reply, decltype(&ares_free_data)> owner(list, ares_free_data);
    for (const ares_srv_reply* one = list; one != nullptr; one = one->next) {
        const std::string_view target = one->host == nullptr ? "" : one->host;
        if (target.empty() || target == "." || one->port == 0) continue;
        out.records.push_back({std::string(target), one->port, one->priority, one->weight});
    }
    const Result<Duration> ttl = shortest_ttl(message);
    if (!ttl) return std::unexpected(ttl.error());
    out.ttl = *ttl;
    return out;
}

Result<Answer> combine(std::string_view name, const ServiceRecords& found, std::span<const Result<Answer>> addresses,
                       std::uint32_t max_priority) {
    Answer answer;
    answer.ttl = found.records.empty() ? found.ttl : std::max(found.ttl, Duration{1});  // 0 is said: at once again
    std::set<std::uint16_t> priorities;
    std::map<std::uint16_t, bool> weighted;  // whether any record of that priority has a weight
    for (const ServiceRecord& record : found.records) {
        priorities.insert(record.priority);
        weighted[record.priority] |= record.weight > 0;
    }
    const Error* failed = nullptr;
    std::size_t good = 0;
    for (std::size_t i = 0; i < found.records.size(); ++i) {
        const ServiceRecord& record = found.records[i];
        if (!addresses[i]) {
            failed = &addresses[i].error();
            continue;
        }
        ++good;
        answer.partial |= addresses[i]->partial;
        if (addresses[i]->ttl > Duration{}) answer.ttl = std::min(answer.ttl, addresses[i]->ttl);
        const auto rank =
            static_cast<std::uint32_t>(std::distance(priorities.begin(), priorities.find(record.priority)));
        const double weight = record.weight > 0 ? record.weight : weighted[record.priority] ? weight_of_zero : 1.0;
        for (config::Endpoint endpoint : addresses[i]->endpoints) {
            endpoint.priority = std::min(rank, max_priority);
            endpoint.weight = weight / static_cast<double>(addresses[i]->endpoints.size());
            answer.endpoints.push_back(std::move(endpoint));
        }
    }
    if (failed != nullptr && good == 0) return fail(failed->code, fmt::format("SRV {}: {}", name, failed->detail));
    answer.partial |= failed != nullptr;
    // Two targets may share an address: the first in order of priority and weight counts.
    std::ranges::sort(answer.endpoints, [](const config::Endpoint& a, const config::Endpoint& b) {
        return std::tie(a.address, a.priority, b.weight) < std::tie(b.address, b.priority, a.weight);
    });
    answer.endpoints.erase(std::ranges::unique(answer.endpoints, {}, &config::Endpoint::address).begin(),
                           answer.endpoints.end());
    return answer;
}

}  // namespace plimsoll::discovery

// Any bytes as the answer of a name server: no crash, and only addresses, ports and ranks that can be.
#include "discovery/dns_message.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "net/address.h"

namespace discovery = plimsoll::discovery;

namespace {

void check(const plimsoll::Result<discovery::AddressRecords>& read, bool six) {
    if (!read) return;
    PLIMSOLL_ENSURE(read->ttl >= plimsoll::Duration{}, "a time to live that is over before it began");
    for (const std::string& host : read->hosts) {
        const auto address = plimsoll::net::Address::ip(host, 80);
        PLIMSOLL_ENSURE(address.has_value(), "no literal");
        PLIMSOLL_ENSURE((host.find(':') != std::string::npos) == six, "the other family");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    check(discovery::read_a(input), false);
    check(discovery::read_aaaa(input), true);
    const auto services = discovery::read_srv(input);
    if (!services) return 0;
    constexpr std::uint32_t max_priority = 15;
    std::vector<plimsoll::Result<discovery::Answer>> addresses;
    for (const discovery::ServiceRecord& record : services->records) {
        PLIMSOLL_ENSURE(!record.target.empty() && record.target != "." && record.port != 0, "nobody can be there");
        if (addresses.size() % 3 == 2) {
            addresses.emplace_back(plimsoll::fail(plimsoll::Code::timeout, "no answer"));
            continue;
        }
        discovery::Answer one;
        for (std::uint32_t host = 1; host <= 1 + addresses.size() % 2; ++host) {
            plimsoll::config::Endpoint endpoint;
            endpoint.address = {"192.0.2." + std::to_string(host), record.port};
            one.endpoints.push_back(std::move(endpoint));
        }
        addresses.emplace_back(std::move(one));
    }
    const auto all = discovery::combine("_web._tcp.test", *services, addresses, max_priority);
    if (!all) return 0;
    for (std::size_t i = 0; i < all->endpoints.size(); ++i) {
        PLIMSOLL_ENSURE(all->endpoints[i].priority <= max_priority, "a rank that no pool has");
        PLIMSOLL_ENSURE(all->endpoints[i].weight >= 0, "a weight below nothing");
        PLIMSOLL_ENSURE(i == 0 || all->endpoints[i - 1].address < all->endpoints[i].address, "out of order, or twice");
    }
    return 0;
}

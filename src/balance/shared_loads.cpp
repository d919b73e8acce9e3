#include "balance/shared_loads.h"

namespace plimsoll::balance {

SharedLoads::SharedLoads(std::size_t endpoints)
    : counts_(std::make_unique<std::atomic<std::uint32_t>[]>(endpoints)), size_(endpoints) {}

void SharedLoads::add(EndpointId id, std::uint32_t n) {
    if (id.value < size_) counts_[id.value].fetch_add(n, std::memory_order_relaxed);
}

void SharedLoads::remove(EndpointId id, std::uint32_t n) {
    if (id.value < size_) counts_[id.value].fetch_sub(n, std::memory_order_relaxed);
}

}  // namespace plimsoll::balance

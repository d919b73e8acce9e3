// In-flight counts of all workers, so that each can choose by what all of them sent.
// Thread rule: any thread; relaxed atomics, no lock. Sized once: whoever installs revisions makes a larger one and
// hands it to all workers, who move what they hold.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "base/ids.h"

namespace plimsoll::balance {

/// One counter per endpoint, owned by all workers together.
class SharedLoads {
public:
    explicit SharedLoads(std::size_t endpoints);
    /// What Asked::shared takes.
    [[nodiscard]] std::span<const std::atomic<std::uint32_t>> view() const { return {counts_.get(), size_}; }
    /// A request is sent there, or `n` of them moved over from a smaller table.
    void add(EndpointId id, std::uint32_t n = 1);
    void remove(EndpointId id, std::uint32_t n = 1);
    [[nodiscard]] std::size_t size() const { return size_; }

private:
    std::unique_ptr<std::atomic<std::uint32_t>[]> counts_;
    std::size_t size_;
};

}  // namespace plimsoll::balance

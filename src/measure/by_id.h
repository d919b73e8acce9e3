// Values by dense id, of which only some are present.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace plimsoll::measure {

/// What a window saw of endpoints or routes, by their number. A site may have ten thousand of each, and a window of a
/// tenth of a second sees few: memory and time go by those that were seen; an id that was not costs four bytes at most.
/// Nothing moves when it grows, so counting never pauses for a copy.
template <class T>
class ById {
public:
    struct Entry {
        std::uint32_t id;
        T value;
    };

    /// Made when it is absent.
    T& operator[](std::size_t id) {
        if (places_.size() <= id) places_.resize(id + 1);
        if (places_[id] == 0) {
            entries_.push_back({static_cast<std::uint32_t>(id), T{}});
            places_[id] = static_cast<std::uint32_t>(entries_.size());
        }
        return entries_[places_[id] - 1].value;
    }
    /// T{} when it is absent.
    const T& operator[](std::size_t id) const {
        static const T absent{};
        const T* found = find(id);
        return found != nullptr ? *found : absent;
    }
    /// Null when it is absent.
    [[nodiscard]] const T* find(std::size_t id) const {
        return id < places_.size() && places_[id] != 0 ? &entries_[places_[id] - 1].value : nullptr;
    }
    /// How many are present.
    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    [[nodiscard]] bool empty() const { return entries_.empty(); }
    /// One more than the largest id that is present; 0 when empty.
    [[nodiscard]] std::size_t ids() const { return places_.size(); }

    /// By id, T{} where absent.
    [[nodiscard]] std::vector<T> dense() const {
        std::vector<T> all(ids());
        for (const Entry& entry : entries_) all[entry.id] = entry.value;
        return all;
    }

    // In the order in which they were first seen.
    auto begin() { return entries_.begin(); }
    auto end() { return entries_.end(); }
    auto begin() const { return entries_.begin(); }
    auto end() const { return entries_.end(); }

    ById& operator+=(const ById& other) {
        for (const Entry& entry : other) (*this)[entry.id] += entry.value;
        return *this;
    }

private:
    std::vector<std::uint32_t> places_;  ///< by id: one more than its place in entries_; 0 = absent
    std::deque<Entry> entries_;
};

}  // namespace plimsoll::measure

// Buffer: one connection's bytes between read and parse. Blocks are lent by the worker, so that a connection that waits
// holds none, and those in use are the ones still warm in the cache.
// Thread rule: one worker.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace plimsoll::proxy {

/// Of a usual block: large bodies go through in steps of this size.
inline constexpr std::size_t block_bytes = 32 * 1024;
/// Blocks kept for reuse per worker: 8 MiB; above, they go back to the heap.
inline constexpr std::size_t max_spare_blocks = 256;

/// Where blocks come from.
class Blocks {
public:
    using Block = std::unique_ptr<char[]>;
    [[nodiscard]] Block take() {
        if (spare_.empty()) return std::make_unique_for_overwrite<char[]>(block_bytes);
        Block block = std::move(spare_.back());
        spare_.pop_back();
        return block;
    }
    void give_back(Block block) {
        if (spare_.size() < keeps_) spare_.push_back(std::move(block));
    }
    /// While memory is short none are kept.
    void keep_spare(bool keep) {
        keeps_ = keep ? max_spare_blocks : 0;
        if (!keep) decltype(spare_)().swap(spare_);
    }

private:
    std::vector<Block> spare_;
    std::size_t keeps_ = max_spare_blocks;
};

class Buffer {
public:
    explicit Buffer(Blocks& blocks) : blocks_(&blocks) {}
    Buffer(Buffer&& other) noexcept
        : blocks_(other.blocks_),
          block_(std::move(other.block_)),
          capacity_(std::exchange(other.capacity_, 0)),
          begin_(std::exchange(other.begin_, 0)),
          end_(std::exchange(other.end_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        if (this != &other) {
            release();
            block_ = std::move(other.block_);
            capacity_ = std::exchange(other.capacity_, 0);
            begin_ = std::exchange(other.begin_, 0);
            end_ = std::exchange(other.end_, 0);
        }
        return *this;
    }
    ~Buffer() { release(); }

    [[nodiscard]] bool empty() const { return begin_ == end_; }
    [[nodiscard]] std::string_view view() const { return {block_.get() + begin_, end_ - begin_}; }
    /// The unread bytes, to be rewritten in place.
    [[nodiscard]] std::span<char> bytes() { return {block_.get() + begin_, end_ - begin_}; }
    void consume(std::size_t n) {
        begin_ += n;
        if (begin_ == end_) begin_ = end_ = 0;
    }
    void clear() { begin_ = end_ = 0; }
    /// Bytes of memory that it keeps.
    [[nodiscard]] std::size_t held() const { return capacity_; }
    /// Room for at least one more byte behind the unread ones, of `capacity` in all; may move the unread bytes.
    [[nodiscard]] std::span<char> room(std::size_t capacity = block_bytes) {
        if (!block_) acquire(capacity);
        if (end_ == capacity_ || capacity_ - begin_ < capacity) {
            std::memmove(block_.get(), block_.get() + begin_, end_ - begin_);
            end_ -= begin_;
            begin_ = 0;
        }
        if (end_ == capacity_ && capacity > capacity_) {  // begun for something smaller
            Buffer larger(*blocks_);
            larger.acquire(capacity);
            std::memcpy(larger.block_.get(), block_.get(), end_);
            larger.end_ = end_;
            *this = std::move(larger);
        }
        PLIMSOLL_ENSURE(end_ < capacity_, "a buffer that is full is read into");
        return {block_.get() + end_, capacity_ - end_};
    }
    void produced(std::size_t n) { end_ += n; }
    /// Gives the block back; what is unread is lost.
    void release() {
        if (block_ && capacity_ == block_bytes) blocks_->give_back(std::move(block_));
        block_.reset();
        capacity_ = begin_ = end_ = 0;
    }

private:
    void acquire(std::size_t capacity) {
        capacity_ = capacity <= block_bytes ? block_bytes : capacity;
        block_ = capacity_ == block_bytes ? blocks_->take() : std::make_unique_for_overwrite<char[]>(capacity_);
    }
    Blocks* blocks_;
    Blocks::Block block_;
    std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace plimsoll::proxy

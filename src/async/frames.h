// Memory for coroutine frames: a free list per thread and size class, so that a request allocates nothing once its
// worker is warm. Thread rule: each thread has its own lists; a frame may be freed on another thread than its birth's.
#pragma once

#include <cstddef>

namespace plimsoll::async {

/// At least `bytes` of storage, aligned for any object. Frames above 8 KiB come from the heap. Never fails (ends the
/// process when memory is gone). Under AddressSanitizer always from the heap, so that a dangling frame is seen.
[[nodiscard]] void* allocate_frame(std::size_t bytes);
/// `bytes` as given to allocate_frame.
void free_frame(void* frame, std::size_t bytes) noexcept;

/// How many frames this thread got from the heap so far: what a test or a benchmark watches.
[[nodiscard]] std::size_t frames_from_heap();

}  // namespace plimsoll::async

#include "async/frames.h"

#include <array>
#include <cstdlib>
#include <new>

#include "base/result.h"

namespace plimsoll::async {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool pooled = false;
#else
constexpr bool pooled = true;
#endif
#else
constexpr bool pooled = true;
#endif

constexpr std::size_t step = 128;       // size classes are multiples of this
constexpr std::size_t largest = 8192;   // beyond: heap
constexpr std::size_t keep_most = 256;  // frames kept per class: bounds what an idle thread holds

struct Free {
    Free* next;
};
struct Class {
    Free* first = nullptr;
    std::size_t kept = 0;
};
struct Lists {
    std::array<Class, largest / step + 1> classes{};
    std::size_t from_heap = 0;
    ~Lists() {
        for (Class& each : classes) {
            while (each.first != nullptr) {
                Free* gone = each.first;
                each.first = gone->next;
                ::operator delete(gone);
            }
            each.kept = keep_most;  // a frame freed after this goes to the heap
        }
    }
};
thread_local Lists lists;

constexpr std::size_t class_of(std::size_t bytes) { return (bytes + step - 1) / step; }

}  // namespace

void* allocate_frame(std::size_t bytes) {
    if (pooled && bytes <= largest) {
        Class& from = lists.classes[class_of(bytes)];
        if (from.first != nullptr) {
            Free* frame = from.first;
            from.first = frame->next;
            --from.kept;
            return frame;
        }
    }
    ++lists.from_heap;
    void* frame = ::operator new(pooled ? class_of(bytes) * step : bytes, std::nothrow);
    PLIMSOLL_ENSURE(frame != nullptr, "out of memory for a coroutine frame");
    return frame;
}

void free_frame(void* frame, std::size_t bytes) noexcept {
    if (pooled && bytes <= largest) {
        Class& into = lists.classes[class_of(bytes)];
        if (into.kept < keep_most) {
            auto* free = static_cast<Free*>(frame);
            free->next = into.first;
            into.first = free;
            ++into.kept;
            return;
        }
    }
    ::operator delete(frame);
}

std::size_t frames_from_heap() { return lists.from_heap; }

}  // namespace plimsoll::async

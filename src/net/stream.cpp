#include "net/stream.h"

#include <string>

namespace plimsoll::net {

Error stream_error(Code code, std::string_view what) {
    std::string detail(what);
    detail += ": ";
    detail += name(code);
    return Error{code, Side::us, Retry::no, std::move(detail)};
}

void ReadAwait::woken(Wake why) {
    if (why == Wake::timeout) {
        io_ = Io::failed(Code::timeout);
    } else if (why == Wake::cancelled) {
        io_ = Io::failed(Code::cancelled);
    } else {
        io_ = stream_->try_read(into_);
        if (io_.state == Io::State::would_block) return stream_->arm(*this);
    }
    handle_.resume();
}

bool WriteAwait::step() {
    for (;;) {
        std::array<std::string_view, max_pieces> now;
        std::size_t count = 0;
        if (!rest_.empty()) now[count++] = rest_;
        std::size_t taken = 0;
        while (taken < pieces_.size() && count < max_pieces) {
            if (!pieces_[taken].empty()) now[count++] = pieces_[taken];
            ++taken;
        }
        if (count == 0) {
            io_ = Io::moved(0);
            return true;
        }
        io_ = stream_->try_write(std::span(now.data(), count));
        if (io_.state == Io::State::would_block) return false;
        if (io_.state != Io::State::moved) return true;
        std::size_t sent = io_.bytes;
        std::size_t index = 0;
        while (index < count && sent >= now[index].size()) sent -= now[index++].size();
        if (index == count) {  // all of this round
            rest_ = {};
            pieces_ = pieces_.subspan(taken);
            continue;
        }
        // `index` is cut; give back the pieces after it. Empty ones were skipped, so count from the back.
        std::size_t back = count - index - 1;
        while (back > 0) {
            if (!pieces_[taken - 1].empty()) --back;
            --taken;
        }
        rest_ = now[index].substr(sent);
        pieces_ = pieces_.subspan(taken);
    }
}

void WriteAwait::woken(Wake why) {
    if (why == Wake::timeout) {
        io_ = Io::failed(Code::timeout);
    } else if (why == Wake::cancelled) {
        io_ = Io::failed(Code::cancelled);
    } else if (!step()) {
        return stream_->arm(*this);
    }
    handle_.resume();
}

void ReadableAwait::woken(Wake why) {
    why_ = why;
    if (why == Wake::ready && stream_->quiet() && !stream_->closed()) return stream_->arm(*this);
    handle_.resume();
}

}  // namespace plimsoll::net

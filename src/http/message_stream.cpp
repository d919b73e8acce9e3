#include "http/message_stream.h"

#include "http/limits.h"

namespace plimsoll::http {

bool ClientStream::keep_hints(const Fields& fields) {
    if (!hints_wanted_ || hints_kept_ == max_hints) return false;
    Headers hints;
    std::size_t bytes = 0;
    for (const Header header : fields) {
        const Known known = header.known;
        if (header.hop || known == Known::host || known == Known::content_length || known == Known::set_cookie)
            continue;
        bytes += header.name.size() + header.value.size();
        if (bytes > max_hint_bytes - hint_bytes_) return false;
        hints.add(header.name, header.value);
    }
    if (hints.size() == 0) return false;
    ++hints_kept_;
    hint_bytes_ += bytes;
    hints_.push_back(std::move(hints));
    return true;
}

}  // namespace plimsoll::http

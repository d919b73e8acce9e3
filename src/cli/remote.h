// One call to a running server over its Unix socket (or TCP admin address). Blocking: a command line has nothing else
// to do.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace plimsoll::cli {

struct Reply {
    int status = 0;
    std::string body;  ///< empty when lines were streamed
};

class Remote {
public:
    /// `where`: path of the Unix socket, or "host:port". Empty = $PLIMSOLL_SOCKET, else the usual places.
    explicit Remote(std::string where);

    /// Errors: refused/unreachable when no server listens (exit code 69).
    Result<Reply> call(std::string_view method, std::string_view target, std::string_view body = {}) const;
    /// Streams the answer line by line as it arrives; `line` is without its newline.
    Result<Reply> stream(std::string_view method, std::string_view target, std::string_view body,
                         const std::function<void(std::string_view line)>& line) const;
    [[nodiscard]] const std::string& where() const { return where_; }

private:
    std::string where_;
};

}  // namespace plimsoll::cli

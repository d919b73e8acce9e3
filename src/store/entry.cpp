#include "store/entry.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "store/journal.h"

namespace plimsoll::store {

Result<void> acceptable(std::string_view kind, std::string_view subject, std::string_view body) {
    if (kind.empty()) return fail(Code::invalid, "a journal entry needs a kind");
    if (kind.size() > max_name_bytes || subject.size() > max_name_bytes) {
        return fail(Code::limit, fmt::format("kind and subject of a journal entry may have {} bytes", max_name_bytes));
    }
    if (body.size() > max_body_bytes) {
        return fail(Code::limit, fmt::format("the body of the {} entry has {} bytes, more than {}", kind, body.size(),
                                             max_body_bytes));
    }
    const std::size_t first = body.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos || body[first] != '{' || !nlohmann::json::accept(body)) {
        return fail(Code::invalid, fmt::format("the body of the {} entry is not a JSON object", kind));
    }
    return {};
}

}  // namespace plimsoll::store

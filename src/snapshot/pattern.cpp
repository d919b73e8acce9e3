#include "snapshot/pattern.h"

#include <re2/re2.h>

namespace plimsoll::snapshot {

namespace {

/// Memory that one expression may take while it matches. Beyond it RE2 falls back to a slower way that needs less.
constexpr std::int64_t max_memory = 1 << 20;

re2::RE2::Options options() {
    re2::RE2::Options made;
    made.set_encoding(re2::RE2::Options::EncodingLatin1);  // bytes as they are: UTF-8 rules would pass over others
    made.set_dot_nl(true);
    made.set_log_errors(false);
    made.set_max_mem(max_memory);
    return made;
}

}  // namespace

Pattern::Pattern(const std::string& expression) {
    auto made = std::make_shared<const re2::RE2>(expression, options());
    if (made->ok()) compiled_ = std::move(made);
}

bool Pattern::matches(std::string_view text) const {
    return compiled_ != nullptr && re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), *compiled_);
}

bool Pattern::replace(std::string& text, const std::string& substitution) const {
    return compiled_ != nullptr && re2::RE2::Replace(&text, *compiled_, substitution);
}

std::optional<std::string> pattern_error(const std::string& expression) {
    const re2::RE2 made(expression, options());
    if (made.ok()) return std::nullopt;
    return made.error();
}

std::optional<std::string> substitution_error(const std::string& expression, const std::string& substitution) {
    const re2::RE2 made(expression, options());
    if (!made.ok()) return made.error();
    std::string error;
    if (made.CheckRewriteString(substitution, &error)) return std::nullopt;
    return error;
}

}  // namespace plimsoll::snapshot

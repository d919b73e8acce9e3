// Pattern: a regular expression of an operator's, compiled. RE2, so matching takes time linear in the text, always.
// Bytes, not characters: a request may hold any. '.' is any byte. Values; any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace re2 {
class RE2;
}

namespace plimsoll::snapshot {

class Pattern {
public:
    /// Matches nothing.
    Pattern() = default;
    /// An expression that RE2 does not take matches nothing; `pattern_error` says why.
    explicit Pattern(const std::string& expression);
    [[nodiscard]] bool usable() const { return compiled_ != nullptr; }
    /// Of the whole text.
    [[nodiscard]] bool matches(std::string_view text) const;
    /// Replaces the first match in `text` by `substitution` (\1 to \9 are groups, \0 the whole match). False: there was
    /// none, or the substitution names a group that is not there; then `text` is untouched.
    bool replace(std::string& text, const std::string& substitution) const;

private:
    std::shared_ptr<const re2::RE2> compiled_;
};

/// What is wrong with the expression; nullopt = nothing.
[[nodiscard]] std::optional<std::string> pattern_error(const std::string& expression);
/// What is wrong with the expression and its substitution together.
[[nodiscard]] std::optional<std::string> substitution_error(const std::string& expression,
                                                            const std::string& substitution);

}  // namespace plimsoll::snapshot

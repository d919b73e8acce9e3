// What a check has to say: every problem found, each with its place and what would be right.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll {

/// A place in a file that an operator wrote. Lines and columns count from 1; 0 means "the file as a whole".
struct Where {
    std::string file;
    int line = 0;
    int column = 0;
    friend bool operator==(const Where&, const Where&) = default;
};

enum class Severity : std::uint8_t {
    note,     ///< worth reading in review; never stops a change
    warning,  ///< likely not meant; stops nothing, is shown in the plan
    error,    ///< the change is refused
};

struct Finding {
    Severity severity = Severity::error;
    std::string code;     ///< stable, e.g. "P104-unknown-key"; what an operator searches for and may allow by name
    std::string path;     ///< config item, e.g. "pools.web.endpoints[3].weight"
    Where where;          ///< where that item (or its nearest written parent) stands
    std::string message;  ///< what is wrong, with the values that show it
    std::string remedy;   ///< what would be right; may be empty
    friend bool operator==(const Finding&, const Finding&) = default;
};

using Findings = std::vector<Finding>;

[[nodiscard]] bool has_errors(const Findings& findings);
[[nodiscard]] std::string_view name(Severity severity);
/// "web.yaml:37:15: error P104-unknown-key: ... (remedy)"; one line, no trailing newline.
[[nodiscard]] std::string text(const Finding& finding);

}  // namespace plimsoll

#include "base/finding.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll {

bool has_errors(const Findings& findings) {
    return std::ranges::any_of(findings, [](const Finding& f) { return f.severity == Severity::error; });
}

std::string_view name(Severity severity) {
    switch (severity) {
        case Severity::note: return "note";
        case Severity::warning: return "warning";
        case Severity::error: return "error";
    }
    return "unknown";
}

std::string text(const Finding& finding) {
    std::string out = finding.where.file.empty() ? "config" : finding.where.file;
    if (finding.where.line > 0) out += fmt::format(":{}:{}", finding.where.line, finding.where.column);
    out += fmt::format(": {} {}: ", name(finding.severity), finding.code);
    if (!finding.path.empty()) out += finding.path + ": ";
    out += finding.message;
    if (!finding.remedy.empty()) out += fmt::format(" ({})", finding.remedy);
    return out;
}

}  // namespace plimsoll

#include "cli/offline_plan.h"

#include <fmt/format.h>

#include "admin/views.h"
#include "cli/terminal.h"
#include "control/planning.h"

namespace plimsoll::cli {

Result<std::string> offline_plan(const std::string& file, const std::string& text, const std::string& base_file,
                                 const std::string& recording_file, double peak_rate) {
    const auto base_text = read_file(base_file);
    if (!base_text) return std::unexpected(base_text.error());
    config::Parsed base = config::parse(*base_text, base_file);
    if (!base.document) {
        std::string why = fmt::format("{} cannot be read:", base_file);
        for (const Finding& finding : base.findings) why += "\n  " + plimsoll::text(finding);
        return fail(Code::invalid, why);
    }
    control::PlanRequest request;
    request.nobody_asks = true;
    request.text = text;
    request.file = file;
    request.active = base.document->config;
    request.base_name = base_file;
    request.peak_rate = peak_rate;
    request.now = wall_clock();
    if (!recording_file.empty()) {
        if (const auto readable = read_file(recording_file); !readable) return std::unexpected(readable.error());
        request.segments.push_back(recording_file);
    }
    return admin::plan_json({control::make_planned(request), {}});
}

}  // namespace plimsoll::cli

#include "lab/promises.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "lab/statistics.h"

namespace plimsoll::lab {

bool Promises::check(std::string scene, std::string what, bool kept, std::string found) {
    fmt::print("  {} {}{}{}\n", kept ? "ok    " : "BROKEN", what, found.empty() ? "" : ": ", found);
    std::fflush(stdout);
    promises_.push_back({std::move(scene), std::move(what), kept, std::move(found)});
    return kept;
}

bool Promises::all_kept() const { return broken() == 0; }

std::size_t Promises::broken() const {
    return static_cast<std::size_t>(std::ranges::count(promises_, false, &Promise::kept));
}

const std::vector<double>& Promises::figures(const std::string& name) const {
    static const std::vector<double> nothing;
    const auto found = figures_.find(name);
    return found == figures_.end() ? nothing : found->second;
}

std::string Promises::to_json() const {
    nlohmann::json json;
    json["kept"] = all_kept();
    for (const Promise& p : promises_) {
        json["promises"].push_back({{"scene", p.scene}, {"what", p.what}, {"kept", p.kept}, {"found", p.found}});
    }
    for (const auto& [name, values] : figures_) {
        json["figures"][name] = {{"p50", median(values)}, {"max", quantile(values, 1)}, {"values", values}};
    }
    return json.dump(2) + "\n";
}

}  // namespace plimsoll::lab

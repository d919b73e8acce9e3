// What must hold between the items of a config for it to be served at all. Private to this room.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "config/config.h"

namespace plimsoll::config {

/// Findings kept of one file; more would only hide the first cause. The last one then says that it is not all.
inline constexpr std::size_t max_findings = 1000;
/// Appends unless there are max_findings already.
void add_bounded(Findings& findings, Finding finding);

/// What items are called by. Views into the config.
struct Names {
    explicit Names(const Config& config);
    std::unordered_map<std::string_view, const Pool*> pools;
    std::unordered_map<std::string_view, const Listener*> listeners;
    std::unordered_set<std::string_view> certificates;
};

/// Collects findings with their places.
struct Report {
    const Sources& sources;
    Findings& findings;

    void error(std::string_view code, std::string path, std::string message, std::string remedy = {});
    /// What a name refers to; null after a finding (none for an empty pool name, which is somebody else's).
    const Pool* pool(const Names& names, const std::string& name, std::string path);
    const Listener* listener(const Names& names, const std::string& name, std::string path);
    void certificate(const Names& names, const std::string& name, std::string path);
    /// "did you mean \"web\"?", or `otherwise` when nothing is near.
    static std::string nearest(std::string_view wanted, const std::vector<std::string_view>& known,
                               std::string_view otherwise);
};

/// Appends findings: nothing to serve, repeated names and addresses, references to nothing, sections that contradict
/// each other.
void validate(const Config& config, const Sources& sources, Findings& findings);
/// The part about routes.
void validate_routes(const Config& config, const Names& names, Report& report);
/// The name of a field that says where a message ends or belongs to one connection, in any case: who writes or edits
/// one smuggles (RFC 9112 section 11.2).
[[nodiscard]] bool frames_messages(std::string_view field);
/// At most one page for a status.
void validate_error_pages(const std::vector<ErrorPage>& pages, const std::string& path, Report& report);

}  // namespace plimsoll::config

#include "config/endpoint_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "config/reader.h"
#include "config/yaml_tree.h"

namespace plimsoll::config {

namespace {

void once_each(const std::vector<Endpoint>& endpoints, Reading& reading) {
    std::unordered_map<std::string, std::size_t> addresses;
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
        if (endpoints[i].address.host.empty()) continue;  // reported already
        const auto [first, is_new] = addresses.emplace(text(endpoints[i].address), i);
        if (is_new) continue;
        const std::string path = fmt::format("[{}].address", i);
        add_bounded(reading.findings,
                    {Severity::error, "P202-duplicate-address", path, reading.sources.where(path),
                     fmt::format("{} is [{}] already", first->first, first->second), "raise its weight instead"});
    }
}

}  // namespace

ParsedEndpoints parse_endpoints(std::string_view yaml, std::string file) {
    Reading reading;
    reading.file = std::move(file);
    const Tree tree = read_yaml(yaml, reading.file, reading.findings);
    std::vector<Endpoint> endpoints;
    if (tree.root != nullptr && tree.root->kind == Node::Kind::sequence) {
        for (std::size_t i = 0; i < tree.root->items.size(); ++i) {
            const std::string path = fmt::format("[{}]", i);
            if (!reading.enter(path, *tree.root->items[i])) break;
            Section section(reading, *tree.root->items[i], path);
            Endpoint& endpoint = endpoints.emplace_back();
            describe(section, endpoint);
            section.finish();
            if (endpoint.name.empty()) endpoint.name = text(endpoint.address);
        }
        once_each(endpoints, reading);
    } else if (!has_errors(reading.findings)) {
        add_bounded(reading.findings, {Severity::error,
                                       "P106-wrong-type",
                                       {},
                                       Where{reading.file, 1, 1},
                                       "expected a list of endpoints, each beginning with \"- \"",
                                       "no servers at all is written []"});
    }
    ParsedEndpoints parsed;
    if (!has_errors(reading.findings)) parsed.endpoints = std::move(endpoints);
    parsed.findings = std::move(reading.findings);
    return parsed;
}

}  // namespace plimsoll::config

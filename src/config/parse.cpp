// Text to Document: the tree, the sections by the definition, then what must hold between them.
#include <algorithm>
#include <tuple>

#include "config/reader.h"
#include "config/validate.h"
#include "config/yaml_tree.h"

namespace plimsoll::config {

namespace {

void fill_names(Config& config) {
    for (Pool& pool : config.pools) {
        for (Endpoint& endpoint : pool.endpoints) {
            if (endpoint.name.empty()) endpoint.name = text(endpoint.address);
        }
    }
}

void sort_by_place(Findings& findings) {
    std::ranges::sort(findings, {}, [](const Finding& f) {
        return std::tie(f.where.line, f.where.column, f.path, f.code, f.message);
    });
}

}  // namespace

Parsed parse(std::string_view yaml, std::string file) {
    Reading reading;
    reading.file = file;
    Config config;
    const Tree tree = read_yaml(yaml, file, reading.findings);
    reading.sources.reserve(tree.nodes.size() / 2);
    reading.sources.add({}, Where{file, 0, 0});
    if (tree.root != nullptr && tree.root->kind != Node::Kind::null) {
        Section root(reading, *tree.root, {}, true);
        describe(root, config);
        root.finish();
        fill_names(config);
    } else if (!has_errors(reading.findings)) {
        reading.findings.push_back({Severity::error,
                                    "P204-empty",
                                    {},
                                    Where{file, 0, 0},
                                    "the file says nothing",
                                    "a configuration has listeners, routes and pools"});
    }
    if (reading.whole() && tree.root != nullptr && tree.root->kind == Node::Kind::map)
        validate(config, reading.sources, reading.findings);
    sort_by_place(reading.findings);

    Parsed parsed;
    if (!has_errors(reading.findings)) {
        parsed.document = Document{std::move(config), std::move(reading.sources), std::move(file), std::string(yaml)};
    }
    parsed.findings = std::move(reading.findings);
    return parsed;
}

}  // namespace plimsoll::config

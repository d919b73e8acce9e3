// Why a route does not match, condition by condition: written for its readers, independent of the route table.
#include <fmt/format.h>

#include <algorithm>

#include "snapshot/conditions.h"
#include "snapshot/route_table.h"

namespace plimsoll::snapshot {

namespace {

constexpr std::size_t shown = 100;

/// What a client sent, fit for a terminal: control and high bytes escaped, cut.
std::string quoted(std::string_view text) {
    std::string made = "\"";
    for (const char c : text.substr(0, shown)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte >= 0x7f) {
            made += fmt::format("\\x{:02x}", byte);
        } else {
            if (c == '"' || c == '\\') made += '\\';
            made += c;
        }
    }
    made += text.size() > shown ? "\"..." : "\"";
    return made;
}

std::string wanted(const config::FieldMatch& field) {
    if (field.exact) return fmt::format("\"{}\"", *field.exact);
    if (field.regex) return fmt::format("what {} matches", *field.regex);
    return "there";
}

std::string several(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

std::string path_text(const config::Match& match, std::string_view path) {
    if (match.path) return fmt::format("path {} is not {}", quoted(path), *match.path);
    if (match.path_prefix) return fmt::format("path {} is not below {}", quoted(path), *match.path_prefix);
    return fmt::format("path {} does not match {}", quoted(path), match.path_regex.value_or(""));
}

/// The values that a condition looked at.
std::string header_text(const config::FieldMatch& field, const std::string& name, const HeaderLookup* headers) {
    std::string seen;
    std::size_t lines = 0;
    auto look = [&](std::string_view value) {
        if (lines++ > 0) seen += ", ";
        seen += quoted(value);
        return lines < 4;
    };
    if (headers != nullptr) headers->each(name, look);
    if (field.invert) return fmt::format("header {} is {}, which it must not be", name, wanted(field));
    if (lines == 0) return fmt::format("header {} is not there", name);
    return fmt::format("header {} is {}, not {}", name, seen, wanted(field));
}

std::string query_text(const config::FieldMatch& field) {
    if (field.invert) return fmt::format("parameter {} is {}, which it must not be", field.name, wanted(field));
    return fmt::format("parameter {} is not {}", field.name, wanted(field));
}

std::string known(std::string_view text) { return text.empty() ? "not known" : std::string(text); }

}  // namespace

std::optional<WhyNot> why_not(const config::Match& match, const RequestView& request) {
    const std::string_view path = request.path.substr(0, request.path.find('?'));
    if (match.host && !host_matches(*match.host, request.host)) {
        return WhyNot{Unmet::host, fmt::format("host {} is not {}", quoted(request.host), *match.host)};
    }
    const Conditions conditions = compile_conditions(match);
    const auto missing = [](const std::vector<std::string>& names, std::string_view is) {
        return !names.empty() && std::ranges::find(names, is) == names.end();
    };
    if (missing(conditions.listeners, request.listener)) {
        return WhyNot{Unmet::listener,
                      fmt::format("listener is {}, not {}", known(request.listener), several(conditions.listeners))};
    }
    if (!path_matches(match, path) || (conditions.path_regex && !conditions.path_regex->matches(path))) {
        return WhyNot{Unmet::path, path_text(match, path)};
    }
    if (missing(conditions.methods, request.method)) {
        return WhyNot{Unmet::method,
                      fmt::format("method is {}, not {}", known(request.method), several(conditions.methods))};
    }
    for (std::size_t i = 0; i < conditions.headers.size(); ++i) {
        if (header_holds(conditions.headers[i], request.headers)) continue;
        return WhyNot{Unmet::header, header_text(match.headers[i], conditions.headers[i].name, request.headers)};
    }
    const TargetParts parts = split_target(request.path);
    const std::string_view query = request.query.empty() ? parts.query : request.query;
    for (std::size_t i = 0; i < conditions.query.size(); ++i) {
        if (query_holds(conditions.query[i], query)) continue;
        return WhyNot{Unmet::query, query_text(match.query[i])};
    }
    return std::nullopt;
}

}  // namespace plimsoll::snapshot

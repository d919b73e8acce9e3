#include "snapshot/conditions.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "base/hash.h"
#include "snapshot/questions.h"
#include "snapshot/route_table.h"

namespace plimsoll::snapshot {

namespace {

/// Values up to this size are joined and decoded without allocating.
constexpr std::size_t small = 4096;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::string lowered(std::string text) {
    std::ranges::transform(text, text.begin(), lower);
    return text;
}

int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/// Takes the next decoded byte off the front.
char next_decoded(std::string_view& text) {
    char c = text.front();
    if (c == '%' && text.size() >= 3 && hex(text[1]) >= 0 && hex(text[2]) >= 0) {
        c = static_cast<char>(hex(text[1]) * 16 + hex(text[2]));
        text.remove_prefix(3);
        return c;
    }
    text.remove_prefix(1);
    return c == '+' ? ' ' : c;
}

bool decodes_to(std::string_view encoded, std::string_view plain) {
    for (const char c : plain) {
        if (encoded.empty() || next_decoded(encoded) != c) return false;
    }
    return encoded.empty();
}

/// A text put together piece by piece; on the heap only when it is long.
class Scratch {
public:
    void add(std::string_view text) {
        if (long_.empty() && used_ + text.size() <= short_.size()) {
            std::ranges::copy(text, short_.begin() + static_cast<std::ptrdiff_t>(used_));
            used_ += text.size();
            return;
        }
        if (long_.empty()) long_.assign(short_.data(), used_);
        long_ += text;
    }
    [[nodiscard]] std::string_view text() const {
        return long_.empty() ? std::string_view{short_.data(), used_} : std::string_view{long_};
    }

private:
    std::array<char, small> short_;
    std::size_t used_ = 0;
    std::string long_;
};

bool value_fits(const FieldCondition& condition, std::string_view value) {
    switch (condition.kind) {
        case FieldCondition::Kind::present: return true;
        case FieldCondition::Kind::exact: return value == condition.exact;
        case FieldCondition::Kind::regex: return condition.regex.matches(value);
    }
    return false;
}

bool decoded_value_fits(const FieldCondition& condition, std::string_view encoded) {
    if (condition.kind != FieldCondition::Kind::regex) {
        return condition.kind == FieldCondition::Kind::present || decodes_to(encoded, condition.exact);
    }
    if (encoded.find_first_of("%+") == std::string_view::npos) return condition.regex.matches(encoded);
    Scratch plain;
    while (!encoded.empty()) {
        const char c = next_decoded(encoded);
        plain.add({&c, 1});
    }
    return condition.regex.matches(plain.text());
}

/// A regex that was refused: neither it nor its opposite holds.
bool broken(const FieldCondition& condition) {
    return condition.kind == FieldCondition::Kind::regex && !condition.regex.usable();
}

/// All lines joined fit, when there are several.
bool joined_fits(const FieldCondition& condition, const HeaderLookup& headers) {
    Scratch joined;
    bool first = true;
    auto take = [&](std::string_view value) {
        if (!first) joined.add(", ");
        first = false;
        joined.add(value);
        return true;
    };
    headers.each(condition.name, take);
    return value_fits(condition, joined.text());
}

constexpr std::uint64_t digest_key = 0x636f6e646974696fULL;  // fixed: recordings outlive revisions and processes

/// Told apart by kind and lengths, so that no two conditions are written alike.
std::uint64_t digest_of(bool header, std::string_view name, std::string_view kind, std::string_view value) {
    std::string all = header ? "header" : "query";
    for (const std::string_view part : {name, kind, value}) {
        all += '\0';
        all += std::to_string(part.size());
        all += ':';
        all += part;
    }
    return keyed_hash(all, digest_key);
}

FieldCondition compile_field(const config::FieldMatch& written, bool header) {
    FieldCondition made;
    made.invert = written.invert;
    made.name = header ? lowered(written.name) : written.name;
    made.text = (header ? "header " : "query ") + made.name;
    made.presence = digest_of(header, made.name, "present", {});
    made.digest = made.presence;
    if (written.exact) {
        made.kind = FieldCondition::Kind::exact;
        made.exact = *written.exact;
        made.digest = digest_of(header, made.name, "exact", made.exact);
        made.text += " is " + made.exact;
    } else if (written.regex) {
        made.kind = FieldCondition::Kind::regex;
        made.regex = Pattern(*written.regex);
        made.digest = digest_of(header, made.name, "regex", *written.regex);
        made.text += " matches " + *written.regex;
    } else {
        made.text += " is there";
    }
    return made;
}

bool one_of(const std::vector<std::string>& wanted, std::string_view is) {
    return wanted.empty() || std::ranges::find(wanted, is) != wanted.end();
}

}  // namespace

bool header_fits(const FieldCondition& condition, const HeaderLookup* headers) {
    std::size_t lines = 0;
    bool fits = false;
    auto look = [&](std::string_view value) {
        ++lines;
        fits = value_fits(condition, value);
        return !fits;
    };
    if (headers != nullptr) headers->each(condition.name, look);
    if (!fits && lines > 1) fits = joined_fits(condition, *headers);
    return fits;
}

bool query_fits(const FieldCondition& condition, std::string_view query) {
    bool fits = false;
    while (!fits && !query.empty()) {
        const std::string_view parameter = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(query.size(), parameter.size() + 1));
        if (parameter.empty()) continue;
        const std::string_view name = parameter.substr(0, parameter.find('='));
        if (!decodes_to(name, condition.name)) continue;
        fits = decoded_value_fits(condition, parameter.substr(std::min(parameter.size(), name.size() + 1)));
    }
    return fits;
}

bool header_holds(const FieldCondition& condition, const HeaderLookup* headers) {
    return !broken(condition) && header_fits(condition, headers) != condition.invert;
}

bool query_holds(const FieldCondition& condition, std::string_view query) {
    return !broken(condition) && query_fits(condition, query) != condition.invert;
}

namespace {

/// A condition that does not hold settles it; without one, a condition that was not asked leaves it open.
bool remembered_hold(const Conditions& conditions, Remembered& remembered) {
    const FieldCondition* open = nullptr;
    for (const auto* fields : {&conditions.headers, &conditions.query}) {
        for (const FieldCondition& condition : *fields) {
            if (broken(condition)) return false;
            const std::optional<bool> fits = remembered.fits(condition);
            if (fits && *fits == condition.invert) return false;
            if (!fits && open == nullptr) open = &condition;
        }
    }
    if (open != nullptr) remembered.leave_open(*open);
    return open == nullptr;
}

}  // namespace

bool Conditions::empty() const {
    return listeners.empty() && methods.empty() && !path_regex && headers.empty() && query.empty();
}

bool Conditions::hold(const RequestView& request) const {
    if (!one_of(listeners, request.listener) || !one_of(methods, request.method)) return false;
    if (path_regex && !path_regex->matches(request.path)) return false;
    if (request.remembered != nullptr) return remembered_hold(*this, *request.remembered);
    for (const FieldCondition& condition : headers) {
        if (!header_holds(condition, request.headers)) return false;
    }
    for (const FieldCondition& condition : query) {
        if (!query_holds(condition, request.query)) return false;
    }
    return true;
}

Conditions compile_conditions(const config::Match& match) {
    Conditions made;
    made.listeners = match.listeners;
    made.methods = match.methods;
    if (match.path_regex) made.path_regex = Pattern(*match.path_regex);
    for (const config::FieldMatch& field : match.headers) made.headers.push_back(compile_field(field, true));
    for (const config::FieldMatch& field : match.query) made.query.push_back(compile_field(field, false));
    return made;
}

bool path_matches(const config::Match& match, std::string_view path) {
    path = path.substr(0, path.find('?'));
    if (match.path) return path == *match.path;
    if (!match.path_prefix) return true;
    std::string_view prefix = *match.path_prefix;
    while (prefix.ends_with('/')) prefix.remove_suffix(1);
    return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/' || prefix.empty());
}

bool host_matches(std::string_view pattern, std::string_view host) {
    if (pattern == "*") return true;
    char buffer[max_host], pattern_buffer[max_host];
    host = canonical_host(host, buffer);
    if (!pattern.starts_with("*.")) {
        pattern = canonical_host(pattern, pattern_buffer);
        return !pattern.empty() && host == pattern;
    }
    pattern = canonical_host(pattern.substr(2), pattern_buffer);
    return !pattern.empty() && host.size() > pattern.size() + 1 && host.ends_with(pattern) &&
           host[host.size() - pattern.size() - 1] == '.';
}

TargetParts split_target(std::string_view target) {
    const std::size_t mark = target.find('?');
    if (mark == std::string_view::npos) return {target, {}, false};
    return {target.substr(0, mark), target.substr(mark + 1), true};
}

}  // namespace plimsoll::snapshot

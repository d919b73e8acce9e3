// On the path of every request: no allocation, no lock.
#include "snapshot/route_table.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/hash.h"
#include "snapshot/questions.h"

namespace plimsoll::snapshot {

namespace {

constexpr std::uint32_t nothing = UINT32_MAX;

std::string_view without_slashes(std::string_view prefix) {
    while (prefix.ends_with('/')) prefix.remove_suffix(1);
    return prefix;
}

std::string_view first_segment(std::string_view path) { return path.substr(0, path.find('/', 1)); }

}  // namespace

std::string_view canonical_host(std::string_view host, char (&buffer)[max_host]) {
    const auto colon = host.rfind(':');
    if (colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos)
        host = host.substr(0, colon);
    if (host.ends_with('.')) host.remove_suffix(1);
    if (host.size() > max_host) return {};
    for (std::size_t i = 0; i < host.size(); ++i) {
        const char c = host[i];
        buffer[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    }
    return {buffer, host.size()};
}

// ---- WordTable -----------------------------------------------------------------------------------------------------

void WordTable::reserve(std::size_t words, std::size_t bytes) {
    texts_.reserve(bytes);
    const std::size_t slots = std::bit_ceil(words + words / 2 + 8);
    if (slots > slots_.size()) grow(slots);
}

void WordTable::grow(std::size_t slots) {
    std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots));
    for (const Slot& slot : old) {
        if (slot.value == missing) continue;
        std::size_t at = slot.hash & (slots - 1);
        while (slots_[at].value != missing) at = (at + 1) & (slots - 1);
        slots_[at] = slot;
    }
}

/// Where the word stands, or the free slot where it would.
std::size_t WordTable::place(std::uint64_t hash, std::uint32_t scope, std::string_view text) const {
    std::size_t at = hash & (slots_.size() - 1);
    for (;; at = (at + 1) & (slots_.size() - 1)) {
        const Slot& slot = slots_[at];
        if (slot.value == missing) return at;
        if (slot.hash == hash && slot.scope == scope &&
            std::string_view(texts_).substr(slot.begin, slot.size) == text) {
            return at;
        }
    }
}

std::uint32_t WordTable::add(std::uint32_t scope, std::string_view text, std::uint32_t otherwise) {
    if ((used_ + 1) * 3 > slots_.size() * 2) grow(std::max<std::size_t>(slots_.size() * 2, 8));
    const std::uint64_t hash = keyed_hash(text, scope);
    Slot& slot = slots_[place(hash, scope, text)];
    if (slot.value != missing) return slot.value;
    PLIMSOLL_ENSURE(texts_.size() + text.size() < UINT32_MAX, "route tables beyond 4 GiB of text");
    slot = {hash, scope, static_cast<std::uint32_t>(texts_.size()), static_cast<std::uint32_t>(text.size()), otherwise};
    texts_ += text;
    ++used_;
    return otherwise;
}

std::uint32_t WordTable::find(std::uint32_t scope, std::string_view text) const {
    if (used_ == 0) return missing;
    return slots_[place(keyed_hash(text, scope), scope, text)].value;
}

std::size_t WordTable::bytes() const { return slots_.capacity() * sizeof(Slot) + texts_.capacity(); }

// ---- HostTable -----------------------------------------------------------------------------------------------------

std::uint32_t HostTable::add(std::string_view pattern, std::uint32_t otherwise) {
    char buffer[max_host];
    if (!pattern.starts_with("*.")) return words_.add(exact, canonical_host(pattern, buffer), otherwise);
    const std::string_view domain = canonical_host(pattern.substr(2), buffer);
    const auto labels = static_cast<std::uint32_t>(std::ranges::count(domain, '.') + 1);
    if (domain.empty()) return words_.add(exact, domain, otherwise);  // never asked for
    deepest_ = std::max(deepest_, labels);
    return words_.add(wild, domain, otherwise);
}

// ---- RouteTable: making it -----------------------------------------------------------------------------------------

std::uint32_t RouteTable::group_of(const config::Match& match, Draft& draft) {
    if (!match.host || *match.host == "*") return any_host;
    const auto fresh = static_cast<std::uint32_t>(draft.at_node.size());
    const std::uint32_t group = hosts_.add(*match.host, fresh);
    if (group == fresh) draft.at_node.emplace_back();
    return group;
}

/// "/api/v1" is the segments "/api" and "/v1"; the group itself stands for the empty prefix, which takes every path.
std::uint32_t RouteTable::node_of(std::uint32_t node, std::string_view prefix, Draft& draft) {
    while (!prefix.empty()) {
        const std::string_view segment = first_segment(prefix);
        prefix.remove_prefix(segment.size());
        const auto fresh = static_cast<std::uint32_t>(draft.at_node.size());
        const std::uint32_t parent = std::exchange(node, segments_.add(node, segment, fresh));
        if (node != fresh) continue;
        draft.at_node.emplace_back();
        draft.with_segments.push_back(parent);
    }
    return node;
}

RouteTable::RouteTable(const std::vector<config::Route>& routes) {
    Draft draft;
    draft.at_node.resize(any_host + 1);
    for (std::uint32_t i = 0; i < routes.size(); ++i) {
        const config::Match& match = routes[i].match;
        Listed listed{i, nothing};
        if (Conditions made = compile_conditions(match); !made.empty()) {
            listed.conditions = static_cast<std::uint32_t>(conditions_.size());
            conditions_.push_back(std::move(made));
        }
        const std::uint32_t group = group_of(match, draft);
        if (match.path) {
            const auto fresh = static_cast<std::uint32_t>(draft.at_exact.size());
            const std::uint32_t list = exact_.add(group, *match.path, fresh);
            if (list == fresh) draft.at_exact.emplace_back();
            draft.at_exact[list].push_back(listed);
            draft.with_exact.push_back(group);
        } else {
            const std::string_view prefix = match.path_prefix ? *match.path_prefix : std::string_view{};
            draft.at_node[node_of(group, without_slashes(prefix), draft)].push_back(listed);
        }
    }
    lay_out(draft);
}

void RouteTable::lay_out(const Draft& draft) {
    nodes_ = static_cast<std::uint32_t>(draft.at_node.size());
    lists_.reserve(draft.at_node.size() + draft.at_exact.size());
    for (const auto* lists : {&draft.at_node, &draft.at_exact}) {
        for (const auto& list : *lists) {
            List& made = lists_.emplace_back();
            made.begin = static_cast<std::uint32_t>(listed_.size());
            made.size = static_cast<std::uint32_t>(list.size()) & 0x3fffffffu;
            listed_.insert(listed_.end(), list.begin(), list.end());
        }
    }
    for (const std::uint32_t node : draft.with_segments) lists_[node].has_segments = 1;
    for (const std::uint32_t group : draft.with_exact) lists_[group].has_exact = 1;
    listed_.shrink_to_fit();
    conditions_.shrink_to_fit();
}

// ---- RouteTable: asking it -----------------------------------------------------------------------------------------

std::uint32_t RouteTable::first(const List& list, std::uint32_t best, const RequestView& request) const {
    for (std::uint32_t at = list.begin; at < list.begin + list.size; ++at) {
        const Listed& listed = listed_[at];
        if (listed.route >= best) return best;
        if (listed.conditions == nothing || conditions_[listed.conditions].hold(request)) return listed.route;
        if (request.remembered != nullptr) request.remembered->passed(listed.route);
    }
    return best;
}

std::uint32_t RouteTable::in_group(std::uint32_t group, std::uint32_t best, const RequestView& request) const {
    if (lists_[group].has_exact != 0) {
        const std::uint32_t list = exact_.find(group, request.path);
        if (list != WordTable::missing) best = first(lists_[nodes_ + list], best, request);
    }
    std::string_view rest = request.path;
    for (std::uint32_t node = group;;) {
        const List& list = lists_[node];
        best = first(list, best, request);
        if (rest.empty() || list.has_segments == 0) return best;
        const std::string_view segment = first_segment(rest);
        rest.remove_prefix(segment.size());
        node = segments_.find(node, segment);
        if (node == WordTable::missing) return best;
    }
}

std::optional<RouteIndex> RouteTable::match(const RequestView& asked) const {
    if (lists_.empty()) return std::nullopt;
    RequestView request = asked;
    if (const TargetParts parts = split_target(asked.path); parts.has_query) {
        request.path = parts.path;
        if (request.query.empty()) request.query = parts.query;
    }
    char buffer[max_host];
    std::uint32_t best = in_group(any_host, nothing, request);
    hosts_.find(canonical_host(request.host, buffer),
                [&](std::uint32_t group) { best = in_group(group, best, request); });
    if (best == nothing) return std::nullopt;
    return RouteIndex{best};
}

std::size_t RouteTable::bytes() const {
    std::size_t sum = hosts_.bytes() + exact_.bytes() + segments_.bytes() + lists_.capacity() * sizeof(List) +
                      listed_.capacity() * sizeof(Listed) + conditions_.capacity() * sizeof(Conditions);
    for (const Conditions& each : conditions_) {
        sum += (each.headers.capacity() + each.query.capacity()) * sizeof(FieldCondition);
    }
    return sum;
}

}  // namespace plimsoll::snapshot

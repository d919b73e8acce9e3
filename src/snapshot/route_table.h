// RouteTable: the first route in file order that matches, without looking at all of them. Immutable; any thread.
// Hosts: one hash lookup for the exact name, one for each label of a wildcard. Paths: within a host, one lookup for the
// exact path and one for each segment as far as some prefix goes. What is left is decided in file order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "config/config.h"
#include "snapshot/conditions.h"
#include "snapshot/request_view.h"

namespace plimsoll::snapshot {

/// Longest host name that a config may hold (RFC 1035, section 2.3.4); longer ones cannot equal any.
inline constexpr std::size_t max_host = 253;
/// "Example.COM.:8080" -> "example.com", in `buffer`; empty when it is too long to be one of ours.
[[nodiscard]] std::string_view canonical_host(std::string_view host, char (&buffer)[max_host]);

/// Open addressing over (scope, text) -> number. Filled once, by one thread.
class WordTable {
public:
    static constexpr std::uint32_t missing = UINT32_MAX;
    void reserve(std::size_t words, std::size_t bytes);
    /// The number of (scope, text); a new one gets `otherwise`.
    std::uint32_t add(std::uint32_t scope, std::string_view text, std::uint32_t otherwise);
    [[nodiscard]] std::uint32_t find(std::uint32_t scope, std::string_view text) const;
    [[nodiscard]] std::size_t size() const { return used_; }
    [[nodiscard]] std::size_t bytes() const;  ///< of memory

private:
    struct Slot {
        std::uint64_t hash = 0;
        std::uint32_t scope = 0, begin = 0, size = 0;
        std::uint32_t value = missing;
    };
    void grow(std::size_t slots);
    [[nodiscard]] std::size_t place(std::uint64_t hash, std::uint32_t scope, std::string_view text) const;
    std::vector<Slot> slots_;
    std::string texts_;
    std::size_t used_ = 0;
};

/// Which groups of a host table a host belongs to: the exact one and every wildcard above it.
class HostTable {
public:
    /// The group of this pattern; a new one gets `otherwise`. "*" and nothing given are the caller's affair.
    std::uint32_t add(std::string_view pattern, std::uint32_t otherwise);
    /// Calls `each(group)` for each group that takes this host (canonical), at most one per label and the exact one.
    template <class F>
    void find(std::string_view host, F each) const {
        if (words_.size() == 0 || host.empty()) return;
        if (const auto group = words_.find(exact, host); group != WordTable::missing) each(group);
        std::size_t from = host.size();
        for (std::uint32_t labels = 0; labels < deepest_ && from > 1; ++labels) {
            const std::size_t dot = host.rfind('.', from - 1);
            if (dot == std::string_view::npos || dot == 0) return;
            if (const auto group = words_.find(wild, host.substr(dot + 1)); group != WordTable::missing) each(group);
            from = dot;
        }
    }
    [[nodiscard]] std::size_t bytes() const { return words_.bytes(); }

private:
    static constexpr std::uint32_t exact = 0, wild = 1;
    WordTable words_;
    std::uint32_t deepest_ = 0;  ///< labels of the longest wildcard's domain
};

class RouteTable {
public:
    RouteTable() = default;
    explicit RouteTable(const std::vector<config::Route>& routes);
    /// O(labels + segments + routes that share this host and path). Allocates nothing, but see Conditions::hold.
    [[nodiscard]] std::optional<RouteIndex> match(const RequestView& request) const;
    [[nodiscard]] std::size_t bytes() const;  ///< of memory, without what patterns take
    /// Of the routes that have any, in file order.
    [[nodiscard]] const std::vector<Conditions>& conditions() const { return conditions_; }

private:
    struct Listed {
        std::uint32_t route;
        std::uint32_t conditions;  ///< in `conditions_`; none = nothing more to ask
    };
    /// Routes as positions in `listed_`, ascending. The flags spare a look at tables that have nothing for it.
    struct List {
        std::uint32_t begin = 0;
        std::uint32_t size : 30 = 0;
        std::uint32_t has_segments : 1 = 0;  ///< prefixes go on below this node
        std::uint32_t has_exact : 1 = 0;     ///< of a group: some of its routes ask for an exact path
    };
    /// The first of `list` below `best` whose conditions hold, else `best`.
    [[nodiscard]] std::uint32_t first(const List& list, std::uint32_t best, const RequestView& request) const;
    [[nodiscard]] std::uint32_t in_group(std::uint32_t group, std::uint32_t best, const RequestView& request) const;
    /// While it is made: which routes stand where.
    struct Draft {
        std::vector<std::vector<Listed>> at_node, at_exact;
        std::vector<std::uint32_t> with_segments, with_exact;  ///< nodes
    };
    [[nodiscard]] std::uint32_t group_of(const config::Match& match, Draft& draft);
    [[nodiscard]] std::uint32_t node_of(std::uint32_t node, std::string_view prefix, Draft& draft);
    void lay_out(const Draft& draft);

    HostTable hosts_;
    WordTable exact_;          ///< (group, path) -> list
    WordTable segments_;       ///< (node, segment) -> node; a group's root is the node of the same number
    std::vector<List> lists_;  ///< by node, then those of exact paths
    std::uint32_t nodes_ = 0;  ///< lists of exact paths begin here
    std::vector<Listed> listed_;
    std::vector<Conditions> conditions_;
    static constexpr std::uint32_t any_host = 0;  ///< group of routes without a host
};

}  // namespace plimsoll::snapshot

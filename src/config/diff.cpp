// What differs between two effective configs, by identity rather than by line. Equal parts are not looked into, so a
// small change to a large config costs little more than comparing the two.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "config/printed.h"

namespace plimsoll::config {

namespace {

using Kind = Difference::Kind;

/// Elements that keep their identity when the list around them changes; others are compared by position.
template <class T>
concept Identified = requires(const T& t) { t.name; } && !std::same_as<T, FieldMatch>;

/// What every section of one comparison shares.
struct Comparison {
    const Sources& sources;
    std::vector<Difference> out;

    void add(Kind kind, std::string path, std::string before, std::string after, const std::string& source) {
        const bool default_now = kind == Kind::changed && !sources.written(source);
        out.push_back({kind, std::move(path), std::move(before), std::move(after), default_now, sources.where(source)});
    }
};

std::string join(const std::string& path, std::string_view key) {
    return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

template <class T>
std::string in_place(const std::optional<T>& value) {
    return value ? compact(*value, true) : "off";
}

/// The visitor over two sections of one type. `path` is by identity, `source` by position in the file.
template <class T>
class Sections {
public:
    Sections(Comparison& comparison, const T& after, const T& before, std::string path, std::string source)
        : comparison_(comparison), twin_(after, before), path_(std::move(path)), source_(std::move(source)) {}

    template <class M>
    void leaf(std::string_view key, const M& now, const Rule& rule, std::string_view) {
        const M& old = twin_.of(now);
        if (old == now) return;
        const std::string path = join(path_, key), source = join(source_, key);
        if constexpr (requires { now.has_value(); }) {
            if (old && now) {
                changed(yaml(*old, rule), yaml(*now, rule), rule, path, source);
            } else if (now) {
                comparison_.add(Kind::added, path, {}, yaml(*now, rule), source);
            } else {
                comparison_.add(Kind::removed, path, yaml(*old, rule), {}, source);
                // An optional value has a default too: not being there.
                comparison_.out.back().now_default = true;
            }
        } else {
            changed(yaml(old, rule), yaml(now, rule), rule, path, source);
        }
    }
    template <class M>
    void object(std::string_view key, const M& now, std::string_view) {
        both(twin_.of(now), now, join(path_, key), join(source_, key));
    }
    template <class M>
    void object_or_off(std::string_view key, const std::optional<M>& now, std::string_view) {
        const std::optional<M>& old = twin_.of(now);
        if (old == now) return;
        const std::string path = join(path_, key), source = join(source_, key);
        if (old && now) {
            both(*old, *now, path, source);
        } else {
            comparison_.add(Kind::changed, path, in_place(old), in_place(now), source);
        }
    }
    template <class M>
    void list(std::string_view key, const std::vector<M>& now, const Rule&, std::string_view) {
        const std::vector<M>& old = twin_.of(now);
        if (old == now) return;
        const std::string path = join(path_, key), source = join(source_, key);
        if constexpr (Identified<M>) {
            elements(old, now, path, source, true);
        } else {
            by_position(old, now, path, source);
        }
    }
    template <class M>
    void named(std::string_view key, const std::vector<M>& now, const Rule&, std::string_view) {
        const std::vector<M>& old = twin_.of(now);
        if (old != now) elements(old, now, join(path_, key), join(source_, key), false);
    }

private:
    void changed(std::string old, std::string now, const Rule& rule, const std::string& path,
                 const std::string& source) {
        const bool secret = rule.as == As::secret;
        comparison_.add(Kind::changed, path, secret ? "(hidden)" : std::move(old),
                        secret ? "(changed)" : std::move(now), source);
    }
    template <class M>
    void both(const M& old, const M& now, const std::string& path, const std::string& source) {
        if (old == now) return;
        Sections<M> inner(comparison_, now, old, path, source);
        describe(inner, now);
    }
    static std::string place(const std::string& base, std::string_view key, bool in_list) {
        return in_list ? fmt::format("{}[{}]", base, key) : join(base, key);
    }
    template <class M>
    void by_position(const std::vector<M>& before, const std::vector<M>& after, const std::string& path,
                     const std::string& source) {
        for (std::size_t i = after.size(); i < before.size(); ++i) {
            comparison_.add(Kind::removed, fmt::format("{}[{}]", path, i), compact(before[i], false), {}, source);
        }
        for (std::size_t i = 0; i < after.size(); ++i) {
            const std::string p = fmt::format("{}[{}]", path, i), s = fmt::format("{}[{}]", source, i);
            if (i < before.size()) {
                both(before[i], after[i], p, s);
            } else {
                comparison_.add(Kind::added, p, {}, compact(after[i], false), s);
            }
        }
    }

    /// For each element of `after` the one of `before` that it was: by address first (an endpoint's identity), then by
    /// name.
    template <class M>
    static std::vector<const M*> partners(const std::vector<M>& before, const std::vector<M>& after) {
        std::unordered_map<std::string_view, const M*> by_name;
        std::vector<const M*> partner(after.size(), nullptr);
        std::vector<bool> taken(before.size(), false);
        const auto take = [&](std::size_t i, const M* old) {
            const auto at = static_cast<std::size_t>(old - before.data());
            if (partner[i] != nullptr || taken[at]) return;
            partner[i] = old;
            taken[at] = true;
        };
        if constexpr (std::same_as<M, Endpoint>) {
            std::unordered_map<std::string, const M*> by_address;
            for (const M& old : before) by_address.emplace(text(old.address), &old);
            for (std::size_t i = 0; i < after.size(); ++i) {
                if (const auto found = by_address.find(text(after[i].address)); found != by_address.end())
                    take(i, found->second);
            }
        }
        for (const M& old : before) by_name.emplace(old.name, &old);
        for (std::size_t i = 0; i < after.size(); ++i) {
            if (const auto found = by_name.find(after[i].name); found != by_name.end()) take(i, found->second);
        }
        return partner;
    }
    template <class M>
    void elements(const std::vector<M>& before, const std::vector<M>& after, const std::string& path,
                  const std::string& source, bool list) {
        const std::vector<const M*> partner = partners(before, after);
        std::vector<bool> stays(before.size(), false);
        for (const M* old : partner) {
            if (old != nullptr) stays[static_cast<std::size_t>(old - before.data())] = true;
        }
        for (std::size_t i = 0; i < before.size(); ++i) {
            if (stays[i]) continue;
            comparison_.add(Kind::removed, place(path, before[i].name, list), compact(before[i], false), {}, source);
        }
        for (std::size_t i = 0; i < after.size(); ++i) {
            const M& now = after[i];
            if (partner[i] != nullptr && *partner[i] == now) continue;
            const std::string p = place(path, now.name, list);
            const std::string s = place(source, list ? fmt::format("{}", i) : now.name, list);
            if (partner[i] == nullptr) {
                comparison_.add(Kind::added, p, {}, compact(now, false), s);
            } else {
                both(*partner[i], now, p, s);
            }
        }
        if constexpr (std::same_as<M, Route>) order(after, partner, source);
    }

    /// Order is meaning for routes: reports those that both have when they come in another order.
    void order(const std::vector<Route>& after, const std::vector<const Route*>& partner, const std::string& source) {
        std::vector<const Route*> old_order;
        std::vector<std::pair<const Route*, std::size_t>> new_order;
        for (std::size_t i = 0; i < partner.size(); ++i) {
            if (partner[i] != nullptr) new_order.emplace_back(partner[i], i);
        }
        old_order.reserve(new_order.size());
        for (const auto& [old, i] : new_order) old_order.push_back(old);
        std::ranges::sort(old_order);  // elements of one vector: by position
        std::size_t first = 0, last = old_order.size();
        while (first < last && old_order[first] == new_order[first].first) ++first;
        while (last > first && old_order[last - 1] == new_order[last - 1].first) --last;
        if (first == last) return;
        std::string was, is;
        for (std::size_t i = first; i < last; ++i) {
            was += (i > first ? ", " : "") + old_order[i]->name;
            is += (i > first ? ", " : "") + after[new_order[i].second].name;
        }
        comparison_.add(Kind::changed, "routes.order", was, is, fmt::format("{}[{}]", source, new_order[first].second));
    }

    Comparison& comparison_;
    Twin<T> twin_;
    std::string path_, source_;
};

}  // namespace

std::vector<Difference> diff(const Config& before, const Document& after) {
    Comparison comparison{after.sources, {}};
    if (before == after.config) return {};
    Sections<Config> root(comparison, after.config, before, {}, {});
    describe(root, after.config);
    return std::move(comparison.out);
}

}  // namespace plimsoll::config

// What differs between two effective configs, by identity rather than by line.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "config/items.h"

namespace plimsoll::config {

namespace {

using Kind = Difference::Kind;

class Comparer {
public:
    explicit Comparer(const Sources& sources) : sources_(sources) {}
    std::vector<Difference> out;

    /// Two sections with the same set of keys. `path` is by identity, `source` by position in the file.
    void sections(const Item& before, const Item& after, const std::string& path, const std::string& source) {
        for (const Item& old : before.children) {
            if (after.child(old.key) == nullptr) gone(old, join(path, old.key), join(source, old.key));
        }
        for (const Item& now : after.children) {
            const std::string p = join(path, now.key), s = join(source, now.key);
            const Item* old = before.child(now.key);
            if (old == nullptr) {
                add(Kind::added, p, {}, compact(now, false), s);
            } else {
                values(*old, now, p, s);
            }
        }
    }

private:
    static std::string join(const std::string& path, const std::string& key) {
        return path.empty() ? key : path + "." + key;
    }

    void add(Kind kind, std::string path, std::string before, std::string after, const std::string& source) {
        const bool gone_to_default = kind != Kind::added && !sources_.written(source);
        out.push_back({kind, std::move(path), std::move(before), std::move(after),
                       gone_to_default && kind == Kind::changed, sources_.where(source)});
    }
    void gone(const Item& old, std::string path, const std::string& source) {
        add(Kind::removed, std::move(path), compact(old, false), {}, source);
        // An optional value has a default too: not being there.
        out.back().now_default = old.kind == Item::Kind::leaf;
    }
    void values(const Item& old, const Item& now, const std::string& path, const std::string& source) {
        if (old.kind != now.kind) {
            add(Kind::changed, path, compact(old, true), compact(now, true), source);
            return;
        }
        switch (now.kind) {
            case Item::Kind::leaf:
                if (old.text != now.text) {
                    add(Kind::changed, path, now.secret ? "(hidden)" : old.text, now.secret ? "(changed)" : now.text,
                        source);
                }
                break;
            case Item::Kind::section: sections(old, now, path, source); break;
            case Item::Kind::named:
            case Item::Kind::list: elements(old, now, path, source); break;
        }
    }

    static std::string leaf(const Item& element, std::string_view key) {
        const Item* child = element.child(key);
        return child == nullptr ? std::string() : child->text;
    }
    static std::string label(const Item& list, const Item& element) {
        return list.kind == Item::Kind::named ? element.key : leaf(element, "name");
    }

    /// Pairs by address first (an endpoint's identity), then by name.
    void elements(const Item& before, const Item& after, const std::string& path, const std::string& source) {
        std::unordered_map<std::string, std::size_t> by_address, by_name;
        for (std::size_t i = 0; i < before.children.size(); ++i) {
            if (before.kind == Item::Kind::list) by_address.emplace(leaf(before.children[i], "address"), i);
            by_name.emplace(label(before, before.children[i]), i);
        }
        by_address.erase("");
        std::vector<const Item*> partner(after.children.size(), nullptr);
        std::vector<bool> taken(before.children.size(), false);
        const auto pair = [&](const auto& index, std::size_t i, const std::string& key) {
            const auto found = index.find(key);
            if (partner[i] != nullptr || found == index.end() || taken[found->second]) return;
            partner[i] = &before.children[found->second];
            taken[found->second] = true;
        };
        for (std::size_t i = 0; i < partner.size(); ++i) pair(by_address, i, leaf(after.children[i], "address"));
        for (std::size_t i = 0; i < partner.size(); ++i) pair(by_name, i, label(after, after.children[i]));

        const auto place = [&](const std::string& base, const std::string& key, bool in_list) {
            return in_list ? fmt::format("{}[{}]", base, key) : join(base, key);
        };
        const bool list = after.kind == Item::Kind::list;
        for (std::size_t i = 0; i < taken.size(); ++i) {
            if (taken[i]) continue;
            add(Kind::removed, place(path, label(before, before.children[i]), list), compact(before.children[i], false),
                {}, source);
        }
        for (std::size_t i = 0; i < partner.size(); ++i) {
            const Item& now = after.children[i];
            const std::string p = place(path, label(after, now), list);
            const std::string s = place(source, list ? fmt::format("{}", i) : now.key, list);
            if (partner[i] == nullptr) {
                add(Kind::added, p, {}, compact(now, false), s);
            } else {
                sections(*partner[i], now, p, s);
            }
        }
        if (path == "routes") order(before, after, partner, source);
    }

    /// Order is meaning for routes: reports those that both have when they come in another order.
    void order(const Item& before, const Item& after, const std::vector<const Item*>& partner,
               const std::string& source) {
        std::vector<const Item*> old_order;
        std::vector<std::pair<const Item*, std::size_t>> new_order;
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
            was += (i > first ? ", " : "") + label(before, *old_order[i]);
            is += (i > first ? ", " : "") + label(after, after.children[new_order[i].second]);
        }
        add(Kind::changed, "routes.order", was, is, fmt::format("{}[{}]", source, new_order[first].second));
    }

    const Sources& sources_;
};

}  // namespace

std::vector<Difference> diff(const Config& before, const Document& after) {
    Comparer comparer(after.sources);
    comparer.sections(items(before), items(after.config), {}, {});
    return std::move(comparer.out);
}

}  // namespace plimsoll::config

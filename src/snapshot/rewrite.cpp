#include <algorithm>

#include "snapshot/actions.h"

namespace plimsoll::snapshot {

bool is_sendable_path(std::string_view path) {
    if (!path.starts_with('/') || path.size() > max_rewritten) return false;
    return std::ranges::none_of(path, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte <= ' ' || byte == 0x7f || byte == '?' || byte == '#';
    });
}

Rewritten rewrite_path(const Rewrite& rewrite, std::string_view path, std::string& out) {
    if (!path.starts_with('/')) return Rewritten::no;  // "*" and CONNECT have none
    if (rewrite.path) {
        out = *rewrite.path;
    } else if (rewrite.prefix) {
        out = *rewrite.prefix;
        out += path.substr(std::min(rewrite.cut, path.size()));
        if (out.empty()) out = '/';
    } else if (rewrite.by_pattern) {
        std::string made(path);
        if (!rewrite.pattern.replace(made, rewrite.substitution)) return Rewritten::no;
        out = std::move(made);
    } else {
        return Rewritten::no;
    }
    return is_sendable_path(out) ? Rewritten::yes : Rewritten::refused;
}

bool Actions::upgrades_to(std::string_view protocol) const {
    const auto same = [protocol](const std::string& allowed) {
        return std::ranges::equal(allowed, protocol, [](char a, char b) {
            return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b + ('a' - 'A')) : b);
        });
    };
    return std::ranges::any_of(upgrades, same);
}

}  // namespace plimsoll::snapshot

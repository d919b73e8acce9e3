// The effective config as YAML, and its digest.
#include <algorithm>

#include "base/hash.h"
#include "config/items.h"

namespace plimsoll::config {

namespace {

bool flat(const Item& item) {
    return std::ranges::all_of(item.children, [](const Item& child) { return child.kind == Item::Kind::leaf; });
}

/// Flow form with secrets as they are: this is what is stored and read back.
std::string one_line(const Item& item) {
    std::string out;
    for (const Item& child : item.children) out += (out.empty() ? "" : ", ") + child.key + ": " + child.text;
    return "{" + out + "}";
}

void block(const Item& item, std::size_t indent, std::string& out) {
    const std::string margin(indent, ' ');
    for (const Item& child : item.children) {
        if (item.kind == Item::Kind::list) {
            out += margin + "- ";
            if (flat(child)) {
                out += one_line(child) + "\n";
            } else {
                std::string inner;
                block(child, indent + 2, inner);
                out += inner.substr(indent + 2);
            }
        } else if (child.kind == Item::Kind::leaf) {
            out += margin + child.key + ": " + child.text + "\n";
        } else if (child.children.empty()) {
            out += margin + child.key + (child.kind == Item::Kind::list ? ": []\n" : ": {}\n");
        } else {
            out += margin + child.key + ":\n";
            block(child, indent + 2, out);
        }
    }
}

}  // namespace

std::string print(const Config& config) {
    std::string out;
    block(items(config), 0, out);
    return out;
}

Config redacted(Config config) {
    for (Webhook& webhook : config.notify) {
        if (!webhook.secret.empty()) webhook.secret = "(set)";
    }
    return config;
}

std::string digest(const Config& config) {
    // Listeners and pools are written as maps: their order means nothing.
    Config sorted = config;
    std::ranges::sort(sorted.listeners, {}, &Listener::name);
    std::ranges::sort(sorted.pools, {}, &Pool::name);
    return sha256_hex(print(sorted));
}

}  // namespace plimsoll::config

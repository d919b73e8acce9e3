// The effective config as YAML, and its digest.
#include <algorithm>
#include <type_traits>

#include "base/hash.h"
#include "config/printed.h"

namespace plimsoll::config {

namespace {

/// How the whole of a config is printed.
struct Style {
    bool sorted = false;  ///< maps by name: their order means nothing
};

/// Whether a section has only leaves to print, so that it fits one line.
template <class T>
class Flat {
public:
    explicit Flat(const T& value) : twin_(value, defaults<T>()) {}
    bool flat = true;
    void leaf(std::string_view, const auto&, const Rule&, std::string_view) {}
    void object(std::string_view, const auto& value, std::string_view) { flat = flat && value == twin_.of(value); }
    void object_or_off(std::string_view, const auto& value, std::string_view) {
        flat = flat && value == twin_.of(value);
    }
    void list(std::string_view, const auto& values, const Rule&, std::string_view) { flat = flat && values.empty(); }
    void named(std::string_view, const auto& values, const Rule&, std::string_view) { flat = flat && values.empty(); }

private:
    Twin<T> twin_;
};

template <class T>
bool flat(const T& value) {
    Flat<T> visitor(value);
    describe(visitor, value);
    return visitor.flat;
}

/// The visitor for one section. Inside elements of lists and maps (`element`) what is absent by default is left out,
/// and so is a section that is the default throughout: ten thousand routes would otherwise be mostly "off".
template <class T>
class Block {
public:
    Block(const T& value, std::size_t indent, bool element, const Style& style, std::string& out)
        : twin_(value, defaults<T>()), indent_(indent), element_(element), style_(style), out_(out) {}

    template <class M>
    void leaf(std::string_view name, const M& value, const Rule& rule, std::string_view) {
        if (element_ && !rule.required && absent(value) && absent(twin_.of(value))) return;
        if constexpr (requires { value.has_value(); }) {
            if (value) line(name, yaml(*value, rule));
        } else {
            line(name, yaml(value, rule));
        }
    }
    template <class M>
    void object(std::string_view name, const M& value, std::string_view) {
        if (element_ && value == twin_.of(value)) return;
        section(name, value);
    }
    template <class M>
    void object_or_off(std::string_view name, const std::optional<M>& value, std::string_view) {
        if (element_ && value == twin_.of(value)) return;
        if (value) {
            section(name, *value);
        } else {
            line(name, "off");
        }
    }
    template <class M>
    void list(std::string_view name, const std::vector<M>& values, const Rule&, std::string_view) {
        if (values.empty()) {
            if (!element_) line(name, "[]");
            return;
        }
        line(name, {});
        for (const M& value : values) {
            out_.append(indent_ + 2, ' ');
            out_ += "- ";
            if (flat(value)) {
                one_line(value);
            } else {
                // The first key stands behind the dash: its margin is cut off.
                const std::size_t at = out_.size();
                Block<M> inner(value, indent_ + 4, true, style_, out_);
                describe(inner, value);
                out_.erase(at, indent_ + 4);
            }
        }
    }
    template <class M>
    void named(std::string_view name, const std::vector<M>& values, const Rule&, std::string_view) {
        if (values.empty()) {
            if (!element_) line(name, "{}");
            return;
        }
        line(name, {});
        std::vector<const M*> order;
        order.reserve(values.size());
        for (const M& value : values) order.push_back(&value);
        if (style_.sorted) std::ranges::sort(order, {}, &M::name);
        for (const M* value : order) {
            out_.append(indent_ + 2, ' ');
            out_ += value->name;
            out_ += ":\n";
            Block<M> inner(*value, indent_ + 4, true, style_, out_);
            describe(inner, *value);
        }
    }

private:
    void line(std::string_view name, std::string_view value) {
        out_.append(indent_, ' ');
        out_ += name;
        out_ += value.empty() ? ":" : ": ";
        out_ += value;
        out_ += '\n';
    }
    template <class M>
    void one_line(const M& value) {
        out_ += '{';
        Flow<M> flow(value, Omit::absent, true, out_);
        describe(flow, value);
        out_ += "}\n";
    }
    template <class M>
    void section(std::string_view name, const M& value) {
        if (element_ && flat(value)) {
            out_.append(indent_, ' ');
            out_ += name;
            out_ += ": ";
            one_line(value);
            return;
        }
        line(name, {});
        Block<M> inner(value, indent_ + 2, element_, style_, out_);
        describe(inner, value);
    }

    Twin<T> twin_;
    std::size_t indent_;
    bool element_;
    const Style& style_;
    std::string& out_;
};

std::string whole(const Config& config, const Style& style) {
    std::string out;
    Block<Config> block(config, 0, false, style, out);
    describe(block, config);
    return out;
}

void hide(std::string& secret) {
    if (!secret.empty()) secret = "(set)";
}

}  // namespace

std::string print(const Config& config) { return whole(config, {}); }

Config redacted(Config config) {
    for (Webhook& webhook : config.notify) hide(webhook.secret);
    for (Pool& pool : config.pools) {
        if (pool.affinity) hide(pool.affinity->secret);
    }
    return config;
}

std::string digest(const Config& config) { return sha256_hex(whole(config, {.sorted = true})); }

}  // namespace plimsoll::config

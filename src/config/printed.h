// Values as YAML text, and the visitors that print sections: what print, digest and diff share. Private to this room.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/definition.h"

namespace plimsoll::config {

/// `text` as a YAML scalar, quoted where it must be.
[[nodiscard]] std::string quoted(std::string_view text);

/// A leaf's value as YAML.
[[nodiscard]] std::string yaml(bool value, const Rule& rule);
[[nodiscard]] std::string yaml(std::uint64_t value, const Rule& rule);
[[nodiscard]] std::string yaml(double value, const Rule& rule);
[[nodiscard]] std::string yaml(Duration value, const Rule& rule);
[[nodiscard]] std::string yaml(const Address& value, const Rule& rule);
[[nodiscard]] std::string yaml(const std::string& value, const Rule& rule);
template <Choice E>
[[nodiscard]] std::string yaml(E value, const Rule&) {
    return quoted(Words<E>::all[static_cast<std::size_t>(value)]);
}
[[nodiscard]] std::string yaml(const std::vector<std::string>& value, const Rule& rule);
[[nodiscard]] std::string yaml(const std::vector<double>& value, const Rule& rule);
[[nodiscard]] std::string yaml(const std::map<std::string, std::string>& value, const Rule& rule);
template <std::unsigned_integral T>
    requires(!std::same_as<T, bool> && !std::same_as<T, std::uint64_t>)
[[nodiscard]] std::string yaml(T value, const Rule& rule) {
    return yaml(static_cast<std::uint64_t>(value), rule);
}

/// Finds in a second object of the same type the member that a visitor was handed of the first.
template <class T>
class Twin {
public:
    Twin(const T& one, const T& other) : one_(&one), other_(&other) {}
    template <class M>
    const M& of(const M& member) const {
        const auto offset = reinterpret_cast<const std::byte*>(&member) - reinterpret_cast<const std::byte*>(one_);
        return *reinterpret_cast<const M*>(reinterpret_cast<const std::byte*>(other_) + offset);
    }

private:
    const T* one_;
    const T* other_;
};

/// The format's defaults of one section.
template <class T>
[[nodiscard]] const T& defaults() {
    static const T value{};
    return value;
}

/// Whether a value says nothing: empty text, an empty list, `off`.
template <class M>
[[nodiscard]] bool absent(const M& value) {
    if constexpr (requires { value.has_value(); }) return !value.has_value();
    if constexpr (requires { value.empty(); }) return value.empty();
    return false;
}

/// What a section that is printed on one line leaves out.
enum class Omit : std::uint8_t { nothing, absent, defaults };

/// The visitor behind `compact`.
template <class T>
class Flow {
public:
    Flow(const T& value, Omit omit, bool secrets, std::string& out)
        : twin_(value, defaults<T>()), omit_(omit), secrets_(secrets), out_(out) {}

    template <class M>
    void leaf(std::string_view name, const M& value, const Rule& rule, std::string_view) {
        if (!(rule.required && omit_ == Omit::absent) && left_out(value)) return;
        if constexpr (requires { value.has_value(); }) {
            if (!value) return;
            key(name);
            out_ += shown(yaml(*value, rule), rule);
        } else {
            key(name);
            out_ += shown(yaml(value, rule), rule);
        }
    }
    template <class M>
    void object(std::string_view name, const M& value, std::string_view) {
        if (omit_ != Omit::nothing && value == twin_.of(value)) return;
        key(name);
        section(value);
    }
    template <class M>
    void object_or_off(std::string_view name, const std::optional<M>& value, std::string_view) {
        if (omit_ != Omit::nothing && value == twin_.of(value)) return;
        key(name);
        if (value) {
            section(*value);
        } else {
            out_ += "off";
        }
    }
    template <class M>
    void list(std::string_view name, const std::vector<M>& values, const Rule&, std::string_view) {
        if (left_out(values)) return;
        key(name);
        out_ += '[';
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (i > 0) out_ += ", ";
            section(values[i]);
        }
        out_ += ']';
    }
    template <class M>
    void named(std::string_view name, const std::vector<M>& values, const Rule&, std::string_view) {
        if (left_out(values)) return;
        key(name);
        out_ += '{';
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (i > 0) out_ += ", ";
            out_ += values[i].name + ": ";
            section(values[i]);
        }
        out_ += '}';
    }

private:
    template <class M>
    bool left_out(const M& value) const {
        switch (omit_) {
            case Omit::nothing: return false;
            case Omit::absent: return absent(value) && absent(twin_.of(value));
            case Omit::defaults: return value == twin_.of(value);
        }
        return false;
    }
    std::string shown(std::string text, const Rule& rule) const {
        return rule.as == As::secret && !secrets_ && text != "\"\"" ? "(set)" : text;
    }
    void key(std::string_view name) {
        if (!first_) out_ += ", ";
        first_ = false;
        out_ += name;
        out_ += ": ";
    }
    template <class M>
    void section(const M& value) {
        out_ += '{';
        Flow<M> inner(value, omit_, secrets_, out_);
        describe(inner, value);
        out_ += '}';
    }

    Twin<T> twin_;
    Omit omit_;
    bool secrets_;
    std::string& out_;
    bool first_ = true;
};

/// One line for people: "{address: 127.0.0.1:9101, capacity: 200}". Without defaults unless `all`; secrets hidden.
template <class T>
[[nodiscard]] std::string compact(const T& value, bool all) {
    std::string out = "{";
    Flow<T> flow(value, all ? Omit::nothing : Omit::defaults, false, out);
    describe(flow, value);
    return out + "}";
}

}  // namespace plimsoll::config

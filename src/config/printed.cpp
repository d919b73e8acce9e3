#include "config/printed.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/units.h"

namespace plimsoll::config {

std::string quoted(std::string_view text) {
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("_./-:").contains(c);
    };
    const bool reserved = text == "null" || text == "Null" || text == "NULL" || text == "." || text == "..." ||
                          text == "---" || text.starts_with('-') || text.starts_with(':') || text.ends_with(':');
    if (!text.empty() && !reserved && std::ranges::all_of(text, plain)) return std::string(text);
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string yaml(bool value, const Rule&) { return value ? "true" : "false"; }
std::string yaml(std::uint64_t value, const Rule& rule) {
    return rule.as == As::bytes ? print_size(value) : fmt::format("{}", value);
}
std::string yaml(double value, const Rule&) { return print_number(value); }
std::string yaml(Duration value, const Rule&) { return print_duration(value); }
std::string yaml(const Address& value, const Rule&) { return quoted(text(value)); }
std::string yaml(const std::string& value, const Rule&) { return quoted(value); }
std::string yaml(const std::vector<std::string>& value, const Rule&) {
    std::string out;
    for (const auto& word : value) out += (out.empty() ? "" : ", ") + quoted(word);
    return "[" + out + "]";
}
std::string yaml(const std::vector<double>& value, const Rule&) {
    std::string out;
    for (const double number : value) out += (out.empty() ? "" : ", ") + print_number(number);
    return "[" + out + "]";
}
std::string yaml(const std::map<std::string, std::string>& value, const Rule&) {
    std::string out;
    for (const auto& [key, word] : value) out += (out.empty() ? "" : ", ") + quoted(key) + ": " + quoted(word);
    return "{" + out + "}";
}

}  // namespace plimsoll::config

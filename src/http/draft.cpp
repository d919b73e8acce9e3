#include "http/draft.h"

#include <charconv>

#include "base/result.h"
#include "http/writer.h"

namespace plimsoll::http {
namespace {

char* put(char* at, std::string_view text) { return at + text.copy(at, text.size()); }

/// All lines in one go: this is most of what a proxy writes.
void append_lines(std::string& out, std::span<const Draft::Line> lines) {
    std::size_t size = 0;
    for (const Draft::Line& line : lines) size += line.name.size() + line.value.size() + 4;
    const std::size_t before = out.size(), after = before + size;
    // The lambda's own size argument is the capacity in libstdc++ 12.
    out.resize_and_overwrite(after, [&](char* text, std::size_t) {
        char* at = text + before;
        for (const Draft::Line& line : lines) at = put(put(put(put(at, line.name), ": "), line.value), "\r\n");
        return after;
    });
}

}  // namespace

void Draft::clear() {
    method = scheme = authority = target = protocol = reason = {};
    status = 0;
    framing = {};
    lines_.clear();
    large_.clear();
    used_ = 0;
    blocks_used_ = 0;
}

std::string_view Draft::keep(std::string_view text) {
    if (text.size() > block) {
        char* own = large_.emplace_back(std::make_unique_for_overwrite<char[]>(text.size())).get();
        text.copy(own, text.size());
        return {own, text.size()};
    }
    if (blocks_used_ == 0 || block - used_ < text.size()) {
        if (blocks_used_ == blocks_.size()) blocks_.push_back(std::make_unique_for_overwrite<char[]>(block));
        ++blocks_used_;
        used_ = 0;
    }
    char* own = blocks_[blocks_used_ - 1].get() + used_;
    text.copy(own, text.size());
    used_ += text.size();
    return {own, text.size()};
}

void Draft::own() {
    for (std::string_view* text : {&method, &scheme, &authority, &target, &protocol, &reason}) *text = keep(*text);
    for (Line& line : lines_) line = {keep(line.name), keep(line.value)};
}

std::size_t Draft::bytes() const {
    std::size_t size = 0;
    for (const Line& line : lines_) size += line.name.size() + line.value.size() + 4;
    return size;
}

void Draft::add(std::string_view name, std::string_view value) {
    PLIMSOLL_ENSURE(is_token(name) && is_field_value(value), "a field of ours that would split the message");
    lines_.push_back({name, value});
}

void Draft::add(std::string_view name, std::uint64_t value) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    add(name, keep({digits, static_cast<std::size_t>(end - digits)}));
}

void Draft::remove(std::string_view name) {
    std::erase_if(lines_, [name](const Line& line) { return equal_ignoring_case(line.name, name); });
}

void Draft::set(std::string_view name, std::string_view value) {
    remove(name);
    add(name, value);
}

void Draft::forward(const Fields& fields, std::uint64_t dropped) {
    dropped |= drop(Known::host) | drop(Known::content_length);
    for (const Header header : fields) {
        if (!header.hop && ((dropped >> static_cast<unsigned>(header.known)) & 1u) == 0) {
            lines_.push_back({header.name, header.value});
        }
    }
}

void Draft::forward_trailers(const Fields& trailers) {
    for (const Header header : trailers) {
        if (!header.hop && may_be_trailer(header)) lines_.push_back({header.name, header.value});
    }
}

void append_http1_request(std::string& out, const Draft& draft) {
    HeadWriter writer(out);
    const bool tunnel = draft.method == "CONNECT" && draft.protocol.empty();
    writer.request_line(draft.protocol.empty() || draft.method != "CONNECT" ? draft.method : "GET",
                        tunnel ? draft.authority : draft.target);
    writer.field("Host", draft.authority);
    append_lines(out, draft.lines());
    if (!draft.protocol.empty()) {
        writer.field("Connection", "upgrade").field("Upgrade", draft.protocol);
    }
    writer.framing(draft.framing);
    writer.end();
}

void append_http1_response(std::string& out, const Draft& draft, const Framing& framing, std::string_view connection) {
    HeadWriter writer(out);
    writer.status_line(draft.status, draft.reason);
    append_lines(out, draft.lines());
    writer.framing(framing);
    if (!connection.empty()) writer.field("Connection", connection);
    writer.end();
}

void append_http1_trailers(std::string& out, const Draft& draft) {
    out.append("0\r\n");
    append_lines(out, draft.lines());
    out.append("\r\n");
}

}  // namespace plimsoll::http

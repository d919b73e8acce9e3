#include "http/writer.h"

#include <charconv>
#include <cstring>

#include "base/result.h"

namespace plimsoll::http {
namespace {

/// Copies and moves on.
char* put(char* at, std::string_view text) {
    std::memcpy(at, text.data(), text.size());
    return at + text.size();
}

void append_number(std::string& out, std::uint64_t value) {
    std::array<char, 20> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out.append(digits.data(), end);
}

}  // namespace

std::string_view reason_phrase(std::uint16_t status) {
    switch (status) {
        case 100: return "Continue";
        case 101: return "Switching Protocols";
        case 103: return "Early Hints";
        case 200: return "OK";
        case 201: return "Created";
        case 202: return "Accepted";
        case 204: return "No Content";
        case 206: return "Partial Content";
        case 301: return "Moved Permanently";
        case 302: return "Found";
        case 303: return "See Other";
        case 304: return "Not Modified";
        case 307: return "Temporary Redirect";
        case 308: return "Permanent Redirect";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 406: return "Not Acceptable";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 410: return "Gone";
        case 411: return "Length Required";
        case 412: return "Precondition Failed";
        case 413: return "Content Too Large";
        case 414: return "URI Too Long";
        case 415: return "Unsupported Media Type";
        case 416: return "Range Not Satisfiable";
        case 417: return "Expectation Failed";
        case 421: return "Misdirected Request";
        case 422: return "Unprocessable Content";
        case 426: return "Upgrade Required";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 502: return "Bad Gateway";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        case 505: return "HTTP Version Not Supported";
        default: return "";
    }
}

HeadWriter& HeadWriter::request_line(const RequestHead& head) {
    out_.append(head.method_text()).append(" ").append(head.path());
    if (head.has_query) out_.append("?").append(head.query());
    out_.append(" HTTP/1.1\r\n");
    return *this;
}

HeadWriter& HeadWriter::request_line(std::string_view method, std::string_view target) {
    PLIMSOLL_ENSURE(is_token(method) && is_field_value(target) && target.find_first_of(" \t") == std::string_view::npos,
                    "a request line of ours that would split");
    out_.append(method).append(" ").append(target).append(" HTTP/1.1\r\n");
    return *this;
}

HeadWriter& HeadWriter::status_line(std::uint16_t status, std::string_view reason) {
    if (reason.empty()) reason = reason_phrase(status);
    PLIMSOLL_ENSURE(status >= 100 && status <= 599 && is_field_value(reason), "a status line of ours that is invalid");
    out_.append("HTTP/1.1 ");
    append_number(out_, status);
    out_.append(" ").append(reason).append("\r\n");
    return *this;
}

HeadWriter& HeadWriter::field(std::string_view name, std::string_view value) {
    PLIMSOLL_ENSURE(is_token(name) && is_field_value(value), "a field of ours that would split the message");
    out_.append(name).append(": ").append(value).append("\r\n");
    return *this;
}

HeadWriter& HeadWriter::field(std::string_view name, std::uint64_t value) {
    PLIMSOLL_ENSURE(is_token(name), "a field of ours that would split the message");
    out_.append(name).append(": ");
    append_number(out_, value);
    out_.append("\r\n");
    return *this;
}

HeadWriter& HeadWriter::forward(const Fields& fields, std::uint64_t dropped) {
    dropped |= drop(Known::host) | drop(Known::content_length);
    const auto stays = [dropped](const Header& header) {
        return !header.hop && ((dropped >> static_cast<unsigned>(header.known)) & 1u) == 0;
    };
    std::size_t size = 0;
    for (const Header header : fields) {
        if (stays(header)) size += header.name.size() + header.value.size() + 4;
    }
    const std::size_t before = out_.size(), after = before + size;
    // The lambda's own size argument is the capacity in libstdc++ 12.
    out_.resize_and_overwrite(after, [&](char* text, std::size_t) {
        char* at = text + before;
        for (const Header header : fields) {
            if (stays(header)) at = put(put(put(put(at, header.name), ": "), header.value), "\r\n");
        }
        return after;
    });
    return *this;
}

HeadWriter& HeadWriter::framing(const Framing& framing) {
    if (framing.kind == Framing::Kind::length) return field("Content-Length", framing.length);
    if (framing.kind == Framing::Kind::chunked) out_.append("Transfer-Encoding: chunked\r\n");
    return *this;
}

void HeadWriter::end() { out_.append("\r\n"); }

ChunkHead::ChunkHead(std::uint64_t size) : at_(text_.size() - 2) {
    PLIMSOLL_ENSURE(size > 0, "a chunk without bytes would end the body");
    text_[at_] = '\r', text_[at_ + 1] = '\n';
    for (; size != 0; size >>= 4) text_[--at_] = "0123456789abcdef"[size & 15];
}

void append_answer(std::string& out, std::uint16_t status, std::string_view body, bool keep_alive, bool head_request) {
    HeadWriter writer(out);
    writer.status_line(status).field("Content-Type", "text/plain; charset=utf-8");
    writer.framing({Framing::Kind::length, body.size()});
    if (!keep_alive) writer.field("Connection", "close");
    writer.end();
    if (!head_request) out.append(body);
}

}  // namespace plimsoll::http

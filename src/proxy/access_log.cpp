#include "proxy/access_log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "proxy/trace_context.h"

namespace plimsoll::proxy {
namespace {

void append_number(std::string& out, std::uint64_t value) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out.append(digits, end);
}

void append_us(std::string& out, Duration d) {
    append_number(out, static_cast<std::uint64_t>(std::max<std::int64_t>(d.count(), 0) / 1000));
}

void key(std::string& out, std::string_view name) { out.append(",\"").append(name).append("\":"); }

void append_hex(std::string& out, std::span<const std::uint8_t> bytes) {
    static constexpr char hex[] = "0123456789abcdef";
    for (const std::uint8_t byte : bytes) out.append({hex[byte >> 4], hex[byte & 15]});
}

/// "20.1": milliseconds, to a tenth.
void append_ms(std::string& out, Duration d) {
    const auto tenths = static_cast<std::uint64_t>(std::max<std::int64_t>(d.count(), 0) / 100'000);
    append_number(out, tenths / 10);
    out += '.';
    append_number(out, tenths % 10);
}

/// A name of ours, or "-".
void append_name(std::string& out, std::string_view name) { out.append(name.empty() ? std::string_view("-") : name); }

/// Text of a client's, between quotes that are not here: what could end them, or is no printable ASCII, is \xHH.
void append_escaped(std::string& out, std::string_view text) {
    for (const char c : text) {
        const auto byte = static_cast<std::uint8_t>(c);
        if (byte <= 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
            out.append("\\x");
            append_hex(out, {&byte, 1});
        } else {
            out += c;
        }
    }
}

void append_attempts(std::string& out, const Outcome& outcome, const Served& served) {
    out += '[';
    for (const Attempt& attempt : outcome.attempts()) {
        if (out.back() != '[') out += ',';
        out += "{\"endpoint\":";
        append_json_string(out, served.endpoint_text(attempt.endpoint));
        key(out, "status");
        append_number(out, attempt.status);
        out.append(",\"cause\":\"").append(name(attempt.cause)).append("\"");
        out.append(",\"reused\":").append(attempt.reused ? "true" : "false");
        if (attempt.panic) out.append(",\"panic\":true");
        key(out, "connect_us");
        append_us(out, attempt.connect);
        key(out, "tls_us");
        append_us(out, attempt.tls);
        key(out, "first_byte_us");
        append_us(out, attempt.first_byte);
        out += '}';
    }
    out += ']';
}

void append_auth(std::string& out, const AuthOutcome& auth) {
    out.append(",\"auth\":{\"verdict\":\"").append(name(auth.verdict)).append("\",\"status\":");
    append_number(out, auth.attempt_count == 0 ? 0u : auth.attempts().back().status);
    out.append(",\"cause\":\"").append(name(auth.cause)).append("\"");
    key(out, "pool");
    append_json_string(out, auth.pool);
    key(out, "endpoint");
    append_json_string(out, auth.endpoint);
    key(out, "attempts");
    append_number(out, auth.attempt_count);
    key(out, "us");
    append_us(out, auth.took);
    out += '}';
}

int open_for_append(const std::string& path) {
    return ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}
std::string cannot_open(const std::string& path) { return "access log " + path + ": " + std::strerror(errno); }

}  // namespace

std::string_view Served::endpoint_text(EndpointId id) const {
    if (pool == nullptr) return endpoint_name;
    const auto found = std::ranges::find(pool->endpoints, id, &snapshot::Endpoint::id);
    return found == pool->endpoints.end() ? std::string_view{} : std::string_view(found->name);
}

void append_json_string(std::string& out, std::string_view text) {
    static constexpr char hex[] = "0123456789abcdef";
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20 || byte >= 0x7f) {
            out.append("\\u00");
            out += hex[byte >> 4];
            out += hex[byte & 15];
        } else {
            out += c;
        }
    }
    out += '"';
}

void append_log_line(std::string& out, const Outcome& outcome, Timestamp started, const Served& served) {
    out.append("{\"time\":\"").append(rfc3339(started)).append("\"");
    const auto text = [&out](std::string_view name, std::string_view value) {
        key(out, name);
        append_json_string(out, value);
    };
    text("client", outcome.client);
    text("method", outcome.method);
    text("host", outcome.host);
    text("path", outcome.path);
    key(out, "status");
    append_number(out, outcome.status);
    out.append(",\"cause\":\"").append(name(outcome.cause)).append("\"");
    key(out, "revision");
    append_number(out, outcome.revision.value);
    out.append(outcome.arm == Arm::active ? ",\"arm\":\"active\"" : ",\"arm\":\"candidate\"");
    key(out, "worker");
    append_number(out, outcome.worker.value);
    text("listener", outcome.listener);
    out.append(",\"protocol\":\"").append(name(outcome.spoken)).append("\"");
    text("route", served.route_text());
    text("pool", served.pool_text());
    text("endpoint", served.endpoint_text(outcome.endpoint()));
    if (outcome.tunnel) out.append(",\"tunnel\":true");
    if (outcome.grpc_status >= 0) {
        key(out, "grpc_status");
        append_number(out, static_cast<std::uint64_t>(outcome.grpc_status));
    }
    key(out, "tls_us");
    append_us(out, outcome.tls);
    key(out, "queue_us");
    append_us(out, outcome.queue);
    key(out, "first_byte_us");
    append_us(out, outcome.first_byte);
    key(out, "total_us");
    append_us(out, outcome.total);
    key(out, "request_bytes");
    append_number(out, outcome.request_head_bytes + outcome.request_body_bytes);
    key(out, "response_bytes");
    append_number(out, outcome.response_head_bytes + outcome.response_body_bytes);
    text("request_id", outcome.request_id);
    if (exists(outcome.trace)) {
        out.append(",\"trace_id\":\"");
        append_hex(out, outcome.trace.trace_id);
        out += '"';
    }
    if (outcome.auth != nullptr) append_auth(out, *outcome.auth);
    key(out, "attempts");
    append_attempts(out, outcome, served);
    out.append("}\n");
}

void append_text_line(std::string& out, const Outcome& outcome, Timestamp started, const Served& served) {
    const auto slash = [&out] { out += '/'; };
    out.append(rfc3339(started)).append(" ");
    append_name(out, outcome.client);
    out += ' ';
    append_name(out, outcome.listener);
    out.append(" ");
    append_name(out, served.route_text());
    slash();
    append_name(out, served.pool_text());
    slash();
    append_name(out, served.endpoint_text(outcome.endpoint()));
    out += ' ';
    Duration connect{};
    for (const Attempt& attempt : outcome.attempts()) connect += attempt.connect;
    append_ms(out, outcome.tls);
    slash();
    append_ms(out, outcome.queue);
    slash();
    append_ms(out, connect);
    slash();
    append_ms(out, outcome.first_byte);
    slash();
    append_ms(out, outcome.total);
    out += ' ';
    append_number(out, outcome.status);
    if (outcome.grpc_status >= 0) {
        out.append("/grpc=");
        append_number(out, static_cast<std::uint64_t>(outcome.grpc_status));
    }
    out.append(" ").append(name(outcome.cause)).append(" ");
    append_number(out, outcome.request_head_bytes + outcome.request_body_bytes);
    slash();
    append_number(out, outcome.response_head_bytes + outcome.response_body_bytes);
    out.append(" tries=");
    append_number(out, outcome.attempt_count);
    if (std::ranges::any_of(outcome.attempts(), &Attempt::panic)) out.append("+panic");
    out.append(" r");
    append_number(out, outcome.revision.value);
    out.append(outcome.arm == Arm::active ? "" : "/candidate").append(" ").append(name(outcome.spoken));
    out.append(outcome.tunnel ? "+tunnel \"" : " \"");
    append_escaped(out, outcome.method);
    out += ' ';
    append_escaped(out, outcome.host);
    out += ' ';
    append_escaped(out, outcome.path);
    out.append("\" ");
    append_name(out, outcome.request_id);
    out += '\n';
}

AccessLog::~AccessLog() {
    flush();
    close();
}

void AccessLog::close() {
    if (owned_ && fd_ >= 0) ::close(fd_);
    fd_ = -1;
    owned_ = false;
}

std::string AccessLog::open(const std::string& path, config::LogFormat format) {
    format_ = format;
    if (path == path_ && (fd_ >= 0 || path.empty())) return {};
    path_ = path;
    std::string failure = reopen();
    if (!failure.empty()) close();  // what was open is another file
    return failure;
}

std::string AccessLog::try_open(const std::string& path) {
    if (path.empty() || path == "-") return {};
    const int fd = open_for_append(path);
    if (fd < 0) return cannot_open(path);
    ::close(fd);
    return {};
}

std::string AccessLog::reopen() {
    flush();
    if (path_.empty() || path_ == "-") {
        close();
        if (path_ == "-") fd_ = STDOUT_FILENO;
        if (path_.empty()) return {};
    } else {
        const int fresh = open_for_append(path_);
        if (fresh < 0) return cannot_open(path_);  // the file that is open goes on
        close();
        fd_ = fresh;
        owned_ = true;
    }
    struct stat info{};
    regular_ = ::fstat(fd_, &info) == 0 && S_ISREG(info.st_mode);
    return {};
}

void AccessLog::add(const Outcome& outcome, Timestamp started, const Served& served) {
    if (format_ == config::LogFormat::text)
        append_text_line(lines_, outcome, started, served);
    else
        append_log_line(lines_, outcome, started, served);
    added();
}

void AccessLog::add(std::string_view line) {
    lines_.append(line);
    added();
}

void AccessLog::added() {
    if (lines_.size() >= batch) flush();
}

void AccessLog::drop(std::size_t bytes) {
    dropped_ += static_cast<std::uint64_t>(
        std::count(lines_.begin(), lines_.begin() + static_cast<std::ptrdiff_t>(bytes), '\n'));
    lines_.erase(0, bytes);
}

void AccessLog::flush() {
    if (lines_.empty()) return;
    if (sink_) {
        sink_(lines_);
        lines_.clear();
        return;
    }
    if (fd_ < 0) return drop(lines_.size());
    std::size_t written = 0;
    while (written < lines_.size()) {
        std::size_t size = lines_.size() - written;
        if (!regular_) {  // a pipe or terminal: only what it surely takes at once (PIPE_BUF)
            pollfd ready{.fd = fd_, .events = POLLOUT, .revents = 0};
            if (::poll(&ready, 1, 0) <= 0 || (ready.revents & POLLOUT) == 0) break;
            const std::string_view next = std::string_view(lines_).substr(written, 4096);
            const std::size_t last = next.rfind('\n');  // whole lines, so that those of two workers do not mix
            size = last == std::string_view::npos ? next.size() : last + 1;
        }
        const ssize_t n = ::write(fd_, lines_.data() + written, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {  // disk full or reader gone: this batch is lost, the next one is tried
            lines_.erase(0, written);
            return drop(lines_.size());
        }
        written += static_cast<std::size_t>(n);
    }
    lines_.erase(0, written);
    if (lines_.size() > most) drop(lines_.size());
}

}  // namespace plimsoll::proxy

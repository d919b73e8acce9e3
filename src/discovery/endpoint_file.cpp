#include "discovery/endpoint_file.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "config/endpoint_list.h"

namespace plimsoll::discovery {

namespace {

/// Findings in an error's detail at most; the rest are counted.
constexpr std::size_t max_said = 5;

Error broken_file(const Findings& findings) {
    std::string detail;
    std::size_t said = 0, errors = 0;
    for (const Finding& finding : findings) {
        if (finding.severity != Severity::error) continue;
        if (++errors > max_said) continue;
        detail += (said++ == 0 ? "" : "; ") + plimsoll::text(finding);
    }
    if (errors > max_said) detail += fmt::format("; and {} more", errors - max_said);
    return {Code::invalid, Side::us, Retry::no, std::move(detail)};
}

}  // namespace

Result<EndpointFile::Stamp> EndpointFile::stamp() const {
    struct stat info{};
    if (::stat(path_.c_str(), &info) != 0)  // follows links: a link that is moved is another file
        return fail(Code::io, fmt::format("{}: {}", path_, std::strerror(errno)));
    if (!S_ISREG(info.st_mode)) return fail(Code::io, fmt::format("{}: not a file", path_));
    return Stamp{info.st_ino, static_cast<std::uint64_t>(info.st_size),
                 info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec};
}

Result<Answer> EndpointFile::read() const {
    std::ifstream stream(path_, std::ios::binary);
    std::string text;
    text.resize(max_file_bytes + 1);
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (stream.bad() || (!stream && !stream.eof())) return fail(Code::io, fmt::format("{}: cannot be read", path_));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    if (text.size() > max_file_bytes)
        return fail(Code::limit, fmt::format("{}: larger than {} bytes", path_, max_file_bytes));
    config::ParsedEndpoints parsed = config::parse_endpoints(text, path_);
    if (!parsed.endpoints) return std::unexpected(broken_file(parsed.findings));
    Answer answer;
    answer.endpoints = std::move(*parsed.endpoints);
    std::ranges::sort(answer.endpoints, {}, &config::Endpoint::address);
    return answer;
}

std::optional<Result<Answer>> EndpointFile::look(Timestamp wall, bool again) {
    const bool first = !std::exchange(looked_, true);
    const Result<Stamp> now = stamp();
    if (!now) {
        seen_.reset();
        taken_.reset();
        if (std::exchange(missing_, true) && !again) return std::nullopt;
        return std::unexpected(now.error());
    }
    missing_ = false;
    const bool still = seen_ == *now;
    seen_ = *now;
    if (!first && !still) return std::nullopt;  // perhaps being written: the next look tells
    if (taken_ == *now && !again) return std::nullopt;
    Result<Answer> answer = read();
    const Result<Stamp> after = stamp();
    if (!after || *after != *now) {
        seen_.reset();
        return std::nullopt;
    }
    // One that could not be read may become readable without a new stamp (chmod): it is tried at each look, and said
    // once.
    const bool unreadable = !answer && answer.error().code == Code::io;
    if (std::exchange(unreadable_, unreadable) && unreadable && !again) return std::nullopt;
    if (!unreadable) taken_ = *now;
    // Written after that moment, it would be stamped so. One from the future (clocks differ) may still be written.
    if (answer) answer->settled = first && wall - Timestamp{now->modified_ns} >= settled_after;
    return answer;
}

}  // namespace plimsoll::discovery

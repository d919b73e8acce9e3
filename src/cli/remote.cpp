#include "cli/remote.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "config/config.h"
#include "http/client.h"
#include "net/loop.h"

namespace plimsoll::cli {

namespace {

/// Long enough for any answer but a change's, which streams for as long as it takes.
constexpr Duration answer_limit = std::chrono::seconds(120);

std::string usual_place() {
    if (const char* named = std::getenv("PLIMSOLL_SOCKET"); named != nullptr && *named != '\0') return named;
    constexpr std::array places{".run/state/admin.sock", "/run/plimsoll/admin.sock", "/var/lib/plimsoll/admin.sock"};
    for (const char* place : places)
        if (access(place, F_OK) == 0) return place;
    return places[0];
}

Result<net::Address> address_of(const std::string& where) {
    const bool path = where.find('/') != std::string::npos || where.ends_with(".sock");
    if (path) return net::Address::unix_socket(where);
    const auto parsed = config::parse_address(where);
    if (!parsed) return std::unexpected(parsed.error());
    return net::Address::ip(parsed->host, parsed->port);
}

http::Request request(const net::Address& server, std::string_view method, std::string_view target,
                      std::string_view body) {
    http::Request made;
    made.method = method;
    made.path = target;
    made.authority = server.family() == net::Address::Family::unix_socket
                         ? "plimsoll"
                         : server.text();  // by TCP Host must be who it is
    made.headers.add("x-plimsoll-request", "1");
    if (!body.empty()) made.headers.add("content-type", "application/json");
    made.body = body;
    return made;
}

Error named(Error error, const std::string& where) {
    error.detail = fmt::format("{}: {}", where, error.detail);
    return error;
}

}  // namespace

Remote::Remote(std::string where) : where_(where.empty() ? usual_place() : std::move(where)) {}

Result<Reply> Remote::call(std::string_view method, std::string_view target, std::string_view body) const {
    const auto address = address_of(where_);
    if (!address) return std::unexpected(named(address.error(), where_));
    const auto loop = net::Loop::create();
    if (!loop) return std::unexpected(loop.error());
    auto answer = net::complete(**loop, http::fetch(**loop, *address, request(*address, method, target, body),
                                                    async::Deadline::after((*loop)->now(), answer_limit)));
    if (!answer) return fail(Code::cancelled, "interrupted");
    if (!*answer) return std::unexpected(named(answer->error(), where_));
    return Reply{(*answer)->status, std::move((*answer)->body)};
}

Result<Reply> Remote::stream(std::string_view method, std::string_view target, std::string_view body,
                             const std::function<void(std::string_view)>& line) const {
    const auto address = address_of(where_);
    if (!address) return std::unexpected(named(address.error(), where_));
    const auto loop = net::Loop::create();
    if (!loop) return std::unexpected(loop.error());
    std::string first;
    auto answer = net::complete(**loop, http::fetch_lines(
                                            **loop, *address, request(*address, method, target, body),
                                            [&](std::string_view said) {
                                                if (first.empty()) first = said;
                                                line(said);
                                                return true;
                                            },
                                            async::Deadline::none()));
    if (!answer) return fail(Code::cancelled, "interrupted");
    if (!*answer) return std::unexpected(named(answer->error(), where_));
    return Reply{(*answer)->status, std::move(first)};
}

}  // namespace plimsoll::cli

#include "cli/terminal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/exit_code.h"

namespace plimsoll::cli {

Result<std::string> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(Code::not_found, fmt::format("{}: cannot read: {}", path, std::strerror(errno)));
    std::ostringstream content;
    content << file.rdbuf();
    if (file.bad()) return fail(Code::io, fmt::format("{}: reading broke off: {}", path, std::strerror(errno)));
    return std::move(content).str();
}

Result<void> write_file(const std::string& path, std::string_view content) {
    const std::string temporary = path + ".new";
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
    file.close();
    if (!file || std::rename(temporary.c_str(), path.c_str()) != 0) {
        const int why = errno;
        std::remove(temporary.c_str());
        return fail(Code::io, fmt::format("{}: cannot write: {}", path, std::strerror(why)));
    }
    return {};
}

void out(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    if (!text.ends_with('\n')) std::fputc('\n', stdout);
    std::fflush(stdout);
}

void message(std::string_view text) {
    std::fprintf(stderr, "plimsoll: %.*s\n", static_cast<int>(text.size()), text.data());
}

int fail_with(const Error& error) {
    message(error.detail);
    if (error.code == Code::refused || error.code == Code::unreachable) {
        message("no server answers there; start one with `plimsoll serve`, or name its socket with --server");
        return exit_code::unreachable;
    }
    return error.code == Code::conflict ? exit_code::conflict : exit_code::error;
}

int fail_with(const Reply& reply) {
    const auto body = nlohmann::json::parse(reply.body, nullptr, false);
    if (body.is_object() && body.contains("error") && body["error"].is_string()) {
        message(body["error"].get<std::string>());
        if (body.contains("exit") && body["exit"].is_number_integer()) return body["exit"].get<int>();
    } else {
        message(fmt::format("the server answered {}: {}", reply.status, reply.body));
    }
    return reply.status == 409 ? exit_code::conflict : exit_code::error;
}

std::string user() {
    if (const char* name = std::getenv("USER"); name != nullptr && *name != '\0') return name;
    return fmt::format("uid {}", static_cast<unsigned>(getuid()));
}

Timestamp wall_clock() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return {std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()};
}

}  // namespace plimsoll::cli

#include "app/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace plimsoll::app {
namespace {

constexpr int first_activated = 3;  // SD_LISTEN_FDS_START

bool read_number(const char* text, int& number) {
    if (text == nullptr) return false;
    const char* const last = text + std::strlen(text);
    const auto [end, error] = std::from_chars(text, last, number);
    return error == std::errc{} && end == last && number >= 0;
}

}  // namespace

void tell_service_manager(std::string_view state) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    const std::size_t length = std::strlen(path);
    if (length >= sizeof to.sun_path) return;
    std::memcpy(to.sun_path, path, length);
    if (path[0] == '@') to.sun_path[0] = '\0';  // an abstract name
    const net::Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    (void)!::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to),
                    static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

std::string reloading() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return "RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.tv_sec * 1'000'000 + now.tv_nsec / 1000);
}

Result<std::vector<net::Descriptor>> activated_sockets() {
    std::vector<net::Descriptor> sockets;
    int pid = 0, count = 0;
    const bool ours = read_number(std::getenv("LISTEN_PID"), pid) && pid == ::getpid();
    const bool counted = read_number(std::getenv("LISTEN_FDS"), count) && count <= max_activated;
    for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
    if (!ours) return sockets;
    if (!counted) return fail(Code::invalid, "LISTEN_FDS is no number of sockets from 0 to 1024");
    for (int i = 0; i < count; ++i) sockets.emplace_back(first_activated + i);
    return sockets;
}

}  // namespace plimsoll::app

// A name server for tests: answers by script, over UDP and TCP on one loopback port; the wire format by hand.
// Thread rule: its network's thread.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "async/scope.h"
#include "net/network.h"

namespace plimsoll::discovery {

inline std::string wire16(unsigned n) { return {static_cast<char>(n >> 8 & 0xff), static_cast<char>(n & 0xff)}; }
inline std::string wire32(std::uint32_t n) { return wire16(n >> 16) + wire16(n & 0xffff); }
inline std::string wire_name(std::string_view name) {
    std::string out;
    while (!name.empty() && name != ".") {
        const auto dot = name.find('.');
        const std::string_view label = name.substr(0, dot);
        out += static_cast<char>(label.size());
        out += label;
        name = dot == std::string_view::npos ? std::string_view{} : name.substr(dot + 1);
    }
    return out + '\0';
}

struct Record {
    std::string name;
    std::uint16_t type;
    std::uint32_t ttl;
    std::string data;
};
inline constexpr std::uint16_t type_a = 1, type_cname = 5, type_aaaa = 28, type_srv = 33;
inline Record a(std::string name, const char* address, std::uint32_t ttl = 30) {
    std::array<char, 4> bytes{};
    inet_pton(AF_INET, address, bytes.data());
    return {std::move(name), type_a, ttl, {bytes.data(), bytes.size()}};
}
inline Record aaaa(std::string name, const char* address, std::uint32_t ttl = 30) {
    std::array<char, 16> bytes{};
    inet_pton(AF_INET6, address, bytes.data());
    return {std::move(name), type_aaaa, ttl, {bytes.data(), bytes.size()}};
}
inline Record cname(std::string name, std::string_view to, std::uint32_t ttl = 30) {
    return {std::move(name), type_cname, ttl, wire_name(to)};
}
inline Record srv(std::string name, unsigned priority, unsigned weight, unsigned port, std::string_view target,
                  std::uint32_t ttl = 30) {
    return {std::move(name), type_srv, ttl, wire16(priority) + wire16(weight) + wire16(port) + wire_name(target)};
}

struct Reply {
    unsigned rcode = 0;  ///< 0 fine, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED
    std::vector<Record> records{};
    bool truncated = false;
    bool silent = false;  ///< nothing is sent
    std::size_t cut = 0;  ///< bytes cut from the end
};

class NameServer {
public:
    struct Asked {
        std::string name;
        std::uint16_t type;
        bool tcp;
    };
    std::function<Reply(const Asked&)> script = [](const Asked&) { return Reply{.rcode = 3}; };
    std::vector<Asked> asked;

    explicit NameServer(net::Network& network) : network_(network) {
        for (int tries = 0; tries < 50 && !listener_; ++tries) {
            if (udp_ >= 0) ::close(udp_);
            udp_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            sockaddr_in address{};
            address.sin_family = AF_INET;
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            if (::bind(udp_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) continue;
            socklen_t length = sizeof address;
            ::getsockname(udp_, reinterpret_cast<sockaddr*>(&address), &length);
            auto listener = network_.listen(*net::Address::ip("127.0.0.1", ntohs(address.sin_port)), {});
            if (listener) listener_ = std::move(*listener);
        }
        watched_ = std::move(*network_.watch(udp_));
        scope_.spawn(serve_udp());
        scope_.spawn(serve_tcp());
    }
    ~NameServer() {
        scope_.cancel();
        watched_.reset();
        ::close(udp_);
    }
    [[nodiscard]] std::string address() const { return listener_->address().text(); }

private:
    std::string answer(const std::string& question, bool tcp) {
        std::string name;
        std::size_t at = 12;
        while (at < question.size() && question[at] != 0) {
            const auto length = static_cast<std::size_t>(question[at]);
            name += (name.empty() ? "" : ".") + question.substr(at + 1, length);
            at += length + 1;
        }
        const auto type = static_cast<std::uint16_t>(static_cast<unsigned char>(question[at + 1]) << 8 |
                                                     static_cast<unsigned char>(question[at + 2]));
        asked.push_back({name, type, tcp});
        const Reply reply = script(asked.back());
        if (reply.silent) return {};
        std::string out = question.substr(0, 2);
        out += wire16(0x8180u | (reply.truncated && !tcp ? 0x0200u : 0u) | reply.rcode);
        const bool cut_off = reply.truncated && !tcp;
        out += wire16(1) + wire16(cut_off ? 0 : static_cast<unsigned>(reply.records.size())) + wire32(0);
        out += question.substr(12, at + 5 - 12);
        if (!cut_off) {
            for (const Record& record : reply.records)
                out += wire_name(record.name) + wire16(record.type) + wire16(1) + wire32(record.ttl) +
                       wire16(static_cast<unsigned>(record.data.size())) + record.data;
        }
        out.resize(out.size() - reply.cut);
        return out;
    }

    async::Task<void> serve_udp() {
        while (co_await watched_->readable(net::Deadline::none())) {
            std::array<char, 1500> buffer{};
            sockaddr_in from{};
            socklen_t length = sizeof from;
            const ssize_t n =
                ::recvfrom(udp_, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
            if (n < 17) continue;
            const std::string reply = answer({buffer.data(), static_cast<std::size_t>(n)}, false);
            if (!reply.empty())
                ::sendto(udp_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), length);
        }
    }
    async::Task<void> serve_tcp() {
        while (true) {
            auto accepted = co_await listener_->accept(net::Deadline::none());
            if (!accepted) co_return;
            scope_.spawn(talk(std::move(*accepted)));
        }
    }
    async::Task<void> talk(std::unique_ptr<net::Stream> stream) {
        std::string received;
        while (true) {
            std::array<char, 1500> buffer{};
            const auto n = co_await stream->read(buffer, net::Deadline::none());
            if (!n || *n == 0) co_return;
            received.append(buffer.data(), *n);
            const auto size = received.size() < 2
                                  ? SIZE_MAX
                                  : static_cast<std::size_t>(static_cast<unsigned char>(received[0]) << 8 |
                                                             static_cast<unsigned char>(received[1]));
            if (size == SIZE_MAX || received.size() < size + 2) continue;
            const std::string reply = answer(received.substr(2, size), true);
            received.erase(0, size + 2);
            const std::string framed = wire16(static_cast<unsigned>(reply.size())) + reply;
            if (!co_await stream->write_all(framed, net::Deadline::none())) co_return;
        }
    }

    net::Network& network_;
    int udp_ = -1;
    std::unique_ptr<net::Listener> listener_;
    std::unique_ptr<net::Watched> watched_;
    async::Scope scope_;
};

}  // namespace plimsoll::discovery

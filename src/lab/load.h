// An open-loop load generator: requests leave when they are due, whether or not earlier ones were answered, and latency
// counts from when a request was due - so a slow server cannot make itself look fast (Tene 2013, "How NOT to measure
// latency": coordinated omission). Its loop is its own: it wakes to the microsecond, gives each client its own source
// address, and shares no waiting code with what it measures.
// Thread rule: a Load runs on a thread of its own; all members may be called from one other thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "lab/statistics.h"
#include "lab/traffic.h"

namespace plimsoll::lab {

struct LoadSettings {
    std::string host = "127.0.0.1";  ///< IPv4 literal of the target
    std::uint16_t port = 8080;
    std::string host_header = "www.example.com";
    Duration duration = std::chrono::seconds{10};  ///< new requests are sent for this long, or until stop()
    std::uint32_t connections = 512;  ///< open at once; idle ones are closed, longest unused first, to stay below
    bool many_clients = true;         ///< each client its own source address in 127.1.0.0/16 (loopback targets only)
    Duration timeout = std::chrono::seconds{10};     ///< of one request, from when it was due
    Duration slow = std::chrono::milliseconds{300};  ///< an answer later than this harmed its client
};

/// Why a request did not get a whole answer.
enum class Failure : std::uint8_t { refused, reset, closed, timeout, protocol };
inline constexpr std::size_t failure_count = 5;
[[nodiscard]] std::string_view name(Failure failure);

/// One second of a run, by when requests were due.
struct Second {
    std::uint32_t due = 0, answered = 0;
    std::uint32_t failed = 0;  ///< 5xx or no whole answer
    std::uint32_t slow = 0;    ///< answered, not failed, but too late
    Duration latency_sum{}, latency_max{};
};

struct LoadReport {
    std::uint64_t due = 0;       ///< requests whose time had come
    std::uint64_t answered = 0;  ///< with a whole answer of any status
    std::map<std::uint16_t, std::uint64_t> statuses;
    std::array<std::uint64_t, failure_count> failures{};
    std::uint64_t server_errors = 0;  ///< answers of 5xx
    std::uint64_t slow = 0;
    std::uint64_t unexpected = 0;   ///< answered, but not with the status and size that a sample backend was asked for
    std::uint64_t connections = 0;  ///< opened in all
    std::uint64_t closed_unexpectedly = 0;          ///< by the server: while idle, or told by Connection: close
    std::map<std::string, std::uint64_t> backends;  ///< answers by their X-Backend header
    Latencies latency;                              ///< of whole answers, since due
    Duration late_max{};                            ///< by how much the generator itself was late at worst
    std::vector<Second> series;

    /// Requests without a whole answer.
    [[nodiscard]] std::uint64_t lost() const;
    /// Failed for the client: lost, or 5xx.
    [[nodiscard]] std::uint64_t failed() const { return lost() + server_errors; }
    /// Failed or slow.
    [[nodiscard]] std::uint64_t harmed() const { return failed() + slow; }
};
/// For people: totals, quantiles, and with `series` a line per second.
[[nodiscard]] std::string print(const LoadReport& report, bool series);
[[nodiscard]] std::string to_json(const LoadReport& report);

/// A run. The destructor stops it and waits.
class Load {
public:
    /// Starts at once. Errors: invalid (target), io (no epoll).
    [[nodiscard]] static Result<std::unique_ptr<Load>> start(LoadSettings settings, Traffic traffic);
    Load(const Load&) = delete;
    ~Load();

    /// Figures until now. Copies; meant for a few calls a second.
    [[nodiscard]] LoadReport so_far() const;
    /// No new requests from now on; waits for the answers still owed (at most the timeout) and gives the figures.
    [[nodiscard]] LoadReport finish();
    /// Waits for the end of the duration, then as finish().
    [[nodiscard]] LoadReport wait();
    /// Steady-clock time at which request.at = 0 was due.
    [[nodiscard]] Instant started() const { return started_; }

private:
    class Engine;
    Load() = default;

    Instant started_;
    std::unique_ptr<Engine> engine_;
    std::thread thread_;
};

}  // namespace plimsoll::lab

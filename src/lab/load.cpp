#include "lab/load.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <iterator>
#include <list>
#include <optional>
#include <unordered_map>

#include "http/body.h"
#include "http/head.h"

namespace plimsoll::lab {
namespace {

Instant clock_now() { return {std::chrono::steady_clock::now().time_since_epoch().count()}; }

std::string request_text(const Request& request, const std::string& host) {
    std::string text = fmt::format(
        "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {:x<{}}\r\nAccept: */*\r\nX-Lab-Size: {}\r\nX-Lab-Status: {}\r\n",
        request.method, request.path, host, "Lab/", request.agent_bytes, request.size, request.status);
    if (request.referer_bytes > 0) {
        fmt::format_to(std::back_inserter(text), "Referer: {:x<{}}\r\n", "http://", request.referer_bytes);
    }
    if (request.method == "POST") fmt::format_to(std::back_inserter(text), "Content-Length: {}\r\n", request.body);
    text += "\r\n";
    text.append(request.body, 'b');
    return text;
}

}  // namespace

/// The generator's loop and everything it holds; lives on the generator's thread but for the report and the flag.
class Load::Engine {
public:
    Engine(LoadSettings settings, Traffic traffic, int epoll, Instant start)
        : settings_(std::move(settings)), traffic_(std::move(traffic)), epoll_(epoll), start_(start) {}
    Engine(const Engine&) = delete;
    ~Engine();

    void run();
    void stop() { stopped_.store(true, std::memory_order_relaxed); }
    [[nodiscard]] LoadReport report() const {
        const std::lock_guard lock(mutex_);
        return report_;
    }

private:
    /// A request under way or waiting for a connection.
    struct Pending {
        Request request;
        Instant due;
    };
    struct Connection {
        int fd = -1;
        std::uint32_t client = 0;
        bool connected = false;
        bool parsing_body = false;
        std::optional<Pending> pending;
        std::string out;
        std::size_t sent = 0;
        std::string in;
        http::ResponseParser parser;
        http::BodyDecoder body;
        std::uint64_t body_bytes = 0;
        std::list<Connection>::iterator self;
        std::list<Connection*>::iterator idle;  ///< valid while !pending
    };

    void send_due(Instant now);
    void dispatch(Pending pending);
    Connection* open(std::uint32_t client);
    void assign(Connection& connection, Pending pending);
    void on_event(Connection& connection, std::uint32_t events, Instant now);
    bool flush(Connection& connection);
    bool receive(Connection& connection, Instant now);
    bool digest(Connection& connection, Instant now);
    bool answered(Connection& connection, Instant now);
    void lost(Connection& connection, Failure failure);
    void count_loss(const Pending& pending, Failure failure);
    void rest(Connection& connection);
    void close(Connection& connection);
    void expire(Instant now);
    [[nodiscard]] Second& second_of(Instant due);

    LoadSettings settings_;
    Traffic traffic_;
    int epoll_;
    Instant start_;
    std::atomic<bool> stopped_ = false;

    std::optional<Request> next_;
    std::list<Connection> connections_;
    std::list<Connection*> idle_;  ///< longest unused first
    std::unordered_map<std::uint32_t, std::vector<Connection*>> idle_of_client_;
    std::deque<Pending> waiting_;
    std::vector<Connection*> closed_now_;  ///< events of this turn may still name them

    mutable std::mutex mutex_;
    LoadReport report_;
};

Load::Engine::~Engine() {
    for (const Connection& connection : connections_) ::close(connection.fd);
    ::close(epoll_);
}

Second& Load::Engine::second_of(Instant due) {
    const auto index = static_cast<std::size_t>(std::max<std::int64_t>(0, (due - start_) / std::chrono::seconds{1}));
    if (report_.series.size() <= index) report_.series.resize(index + 1);
    return report_.series[index];
}

void Load::Engine::run() {
    const Instant end = start_ + settings_.duration;
    next_ = traffic_.next();
    Instant next_expiry = start_;
    std::array<epoll_event, 256> events;
    for (;;) {
        Instant now = clock_now();
        const bool sending = !stopped_.load(std::memory_order_relaxed) && now < end && start_ + next_->at < end;
        if (sending) send_due(now);
        if (!sending && waiting_.empty() && idle_.size() == connections_.size()) return;
        if (now >= next_expiry) {
            expire(now);
            next_expiry = now + std::chrono::milliseconds{50};
        }
        Duration wait = next_expiry - now;
        if (sending) wait = std::clamp(start_ + next_->at - now, Duration{0}, wait);
        const timespec limit{.tv_sec = 0, .tv_nsec = std::min<std::int64_t>(wait.count(), 999'999'999)};
        const int n = ::epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &limit, nullptr);
        now = clock_now();
        for (int i = 0; i < n; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            on_event(*static_cast<Connection*>(event.data.ptr), event.events, now);
        }
        for (Connection* connection : closed_now_) connections_.erase(connection->self);
        closed_now_.clear();
    }
}

void Load::Engine::send_due(Instant now) {
    while (start_ + next_->at <= now && next_->at < settings_.duration) {
        const Instant due = start_ + next_->at;
        {
            const std::lock_guard lock(mutex_);
            ++report_.due;
            ++second_of(due).due;
            report_.late_max = std::max(report_.late_max, now - due);
        }
        dispatch({.request = std::move(*next_), .due = due});
        next_ = traffic_.next();
    }
}

void Load::Engine::dispatch(Pending pending) {
    // With one source address every idle connection will do; else only one of the same client.
    const std::uint32_t owner = settings_.many_clients ? pending.request.client : 0;
    auto& idle = idle_of_client_[owner];
    if (!idle.empty()) {
        Connection& connection = *idle.back();
        idle.pop_back();
        idle_.erase(connection.idle);
        assign(connection, std::move(pending));
        return;
    }
    if (connections_.size() - closed_now_.size() >= settings_.connections) {
        if (idle_.empty()) {
            waiting_.push_back(std::move(pending));
            return;
        }
        Connection& oldest = *idle_.front();
        auto& list = idle_of_client_[oldest.client];
        std::erase(list, &oldest);
        idle_.pop_front();
        close(oldest);
    }
    Connection* connection = open(owner);
    if (connection == nullptr) {
        count_loss(pending, Failure::refused);
        return;
    }
    assign(*connection, std::move(pending));
}

Load::Engine::Connection* Load::Engine::open(std::uint32_t client) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return nullptr;
    const int yes = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    sockaddr_in from{};
    from.sin_family = AF_INET;
    if (settings_.many_clients) {
        ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        from.sin_addr.s_addr = htonl(0x7f01'0000u + (client % 65'000u) + 1u);
        ::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from);
    }
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(settings_.port);
    ::inet_pton(AF_INET, settings_.host.c_str(), &to.sin_addr);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) {
        ::close(fd);
        return nullptr;
    }
    Connection& connection = connections_.emplace_back();
    connection.self = std::prev(connections_.end());
    connection.fd = fd;
    connection.client = client;
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = &connection}};
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    const std::lock_guard lock(mutex_);
    ++report_.connections;
    return &connection;
}

void Load::Engine::assign(Connection& connection, Pending pending) {
    connection.out = request_text(pending.request, settings_.host_header);
    connection.sent = 0;
    connection.pending = std::move(pending);
    connection.parser.reset();
    connection.in.clear();
    connection.parsing_body = false;
    connection.body_bytes = 0;
    if (connection.connected && !flush(connection)) lost(connection, Failure::reset);
}

bool Load::Engine::flush(Connection& connection) {
    while (connection.sent < connection.out.size()) {
        const ssize_t n = ::send(connection.fd, connection.out.data() + connection.sent,
                                 connection.out.size() - connection.sent, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN;
        connection.sent += static_cast<std::size_t>(n);
    }
    return true;
}

void Load::Engine::on_event(Connection& connection, std::uint32_t events, Instant now) {
    if (connection.fd < 0) return;
    if (!connection.connected && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(connection.fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) return lost(connection, Failure::refused);
        connection.connected = true;
    }
    if (!connection.connected) return;
    if (connection.pending && !flush(connection)) return lost(connection, Failure::reset);
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) receive(connection, now);
}

/// Reads until the socket is empty (edge-triggered). False when the connection is gone.
bool Load::Engine::receive(Connection& connection, Instant now) {
    static thread_local std::array<char, 65'536> buffer;
    for (;;) {
        const ssize_t n = ::recv(connection.fd, buffer.data(), buffer.size(), 0);
        if (n > 0) {
            if (!connection.pending) {  // bytes that nobody asked for
                lost(connection, Failure::protocol);
                return false;
            }
            connection.in.append(buffer.data(), static_cast<std::size_t>(n));
            if (!digest(connection, now)) return false;
            continue;
        }
        if (n < 0 && errno == EAGAIN) return true;
        const bool ends_body = n == 0 && connection.pending && connection.parsing_body && connection.body.finish();
        if (ends_body) {
            answered(connection, now);
            if (connection.fd >= 0) lost(connection, Failure::closed);  // idle now: only closes
            return false;
        }
        lost(connection, n == 0 ? Failure::closed : Failure::reset);
        return false;
    }
}

/// Takes head and body out of what has come. False when the connection is gone.
bool Load::Engine::digest(Connection& connection, Instant now) {
    while (!connection.parsing_body) {
        const auto progress =
            connection.parser.feed(connection.in, http::classify_method(connection.pending->request.method));
        if (progress == http::Progress::more) return true;
        if (progress == http::Progress::refused) {
            lost(connection, Failure::protocol);
            return false;
        }
        if (connection.parser.head().interim()) {
            connection.in.erase(0, connection.parser.head().bytes);
            connection.parser.reset();
            continue;
        }
        connection.parsing_body = true;
        connection.body = http::BodyDecoder(connection.parser.head().framing);
    }
    // The head stays at the front of `in` (its views point there); the body behind it is dropped as it is read.
    const std::size_t head = connection.parser.head().bytes;
    std::string_view rest = std::string_view(connection.in).substr(head);
    for (;;) {
        const http::BodyStep step = connection.body.next(rest);
        connection.body_bytes += step.data.size();
        rest.remove_prefix(step.consumed);
        if (step.kind == http::BodyStep::Kind::refused) {
            lost(connection, Failure::protocol);
            return false;
        }
        if (step.kind == http::BodyStep::Kind::end) return answered(connection, now);
        if (step.kind == http::BodyStep::Kind::more) break;
    }
    connection.in.resize(head);
    return true;
}

bool Load::Engine::answered(Connection& connection, Instant now) {
    http::ResponseHead& head = connection.parser.head();
    head.rebase(connection.in.data());
    const Pending& pending = *connection.pending;
    const Duration latency = now - pending.due;
    const bool no_body = pending.request.method == "HEAD" || pending.request.status == 304;
    {
        const std::lock_guard lock(mutex_);
        ++report_.answered;
        ++report_.statuses[head.status];
        report_.latency.add(latency);
        Second& second = second_of(pending.due);
        ++second.answered;
        second.latency_sum += latency;
        second.latency_max = std::max(second.latency_max, latency);
        if (head.status >= 500) {
            ++report_.server_errors;
            ++second.failed;
        } else {
            if (latency > settings_.slow) ++report_.slow, ++second.slow;
            const std::uint64_t expected = no_body ? 0 : pending.request.size;
            if (head.status != pending.request.status || connection.body_bytes != expected) ++report_.unexpected;
        }
        if (const std::string_view backend = head.fields.get("x-backend"); !backend.empty()) {
            ++report_.backends[std::string(backend)];
        }
        if (!head.keep_alive) ++report_.closed_unexpectedly;
    }
    const bool keep = head.keep_alive;
    connection.pending.reset();
    if (!keep) {
        close(connection);
        return false;
    }
    rest(connection);
    return true;
}

/// Nothing is owed on the connection: it takes a waiting request or rests.
void Load::Engine::rest(Connection& connection) {
    const auto fits = [&](const Pending& p) {
        return !settings_.many_clients || p.request.client == connection.client;
    };
    if (const auto found = std::ranges::find_if(waiting_, fits); found != waiting_.end()) {
        Pending pending = std::move(*found);
        waiting_.erase(found);
        assign(connection, std::move(pending));
        return;
    }
    connection.idle = idle_.insert(idle_.end(), &connection);
    idle_of_client_[connection.client].push_back(&connection);
    if (!waiting_.empty()) {  // of other clients: this connection makes room for the first of them
        Pending pending = std::move(waiting_.front());
        waiting_.pop_front();
        dispatch(std::move(pending));
    }
}

void Load::Engine::count_loss(const Pending& pending, Failure failure) {
    const std::lock_guard lock(mutex_);
    ++report_.failures[static_cast<std::size_t>(failure)];
    ++second_of(pending.due).failed;
}

/// The connection is broken: its request, if any, has failed.
void Load::Engine::lost(Connection& connection, Failure failure) {
    if (connection.fd < 0) return;
    if (connection.pending) {
        count_loss(*connection.pending, failure);
        connection.pending.reset();
    } else {
        std::erase(idle_of_client_[connection.client], &connection);
        idle_.erase(connection.idle);
        const std::lock_guard lock(mutex_);
        ++report_.closed_unexpectedly;
    }
    close(connection);
    if (!waiting_.empty()) {
        Pending pending = std::move(waiting_.front());
        waiting_.pop_front();
        dispatch(std::move(pending));
    }
}

void Load::Engine::close(Connection& connection) {
    // Closing alone does not end the watch while a child that is being started still holds a copy of the descriptor.
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, connection.fd, nullptr);
    ::close(connection.fd);
    connection.fd = -1;
    closed_now_.push_back(&connection);
}

/// Requests older than the timeout have failed.
void Load::Engine::expire(Instant now) {
    while (!waiting_.empty() && now - waiting_.front().due > settings_.timeout) {
        count_loss(waiting_.front(), Failure::timeout);
        waiting_.pop_front();
    }
    for (Connection& connection : connections_) {
        if (connection.fd >= 0 && connection.pending && now - connection.pending->due > settings_.timeout) {
            lost(connection, Failure::timeout);
        }
    }
}

Result<std::unique_ptr<Load>> Load::start(LoadSettings settings, Traffic traffic) {
    in_addr parsed{};
    if (::inet_pton(AF_INET, settings.host.c_str(), &parsed) != 1) {
        return fail(Code::invalid, "the target must be an IPv4 address, not '" + settings.host + "'");
    }
    if (!settings.host.starts_with("127.")) settings.many_clients = false;
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return fail(Code::io, "epoll_create1 failed");
    std::unique_ptr<Load> load(new Load);
    load->started_ = clock_now() + std::chrono::milliseconds{20};
    load->engine_ = std::make_unique<Engine>(std::move(settings), std::move(traffic), epoll, load->started_);
    load->thread_ = std::thread([engine = load->engine_.get()] { engine->run(); });
    return load;
}

Load::~Load() {
    if (!thread_.joinable()) return;
    engine_->stop();
    thread_.join();
}

LoadReport Load::so_far() const { return engine_->report(); }

LoadReport Load::finish() {
    engine_->stop();
    return wait();
}

LoadReport Load::wait() {
    if (thread_.joinable()) thread_.join();
    return engine_->report();
}

}  // namespace plimsoll::lab

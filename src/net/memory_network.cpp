#include "net/memory_network.h"

#include <algorithm>
#include <array>
#include <coroutine>
#include <string>

namespace plimsoll::net {

// ---- the wire between two streams ----------------------------------------------------------------------------------

/// One direction: bytes under way, in order.
struct Pipe {
    struct Chunk {
        Instant at;  ///< when it can be read
        std::string bytes;
    };
    std::deque<Chunk> chunks;
    std::size_t front_read = 0;  ///< of the first chunk
    std::size_t held = 0;
    std::uint64_t total = 0;
    std::optional<std::uint64_t> reset_after;
    std::optional<Instant> fin;  ///< when the end can be seen
    bool reset = false;          ///< after the chunks: a reset

    /// When reading gives something: bytes, end or failure.
    [[nodiscard]] Instant something() const {
        if (!chunks.empty()) return chunks.front().at;
        if (reset) return Instant{INT64_MIN};
        return fin.value_or(never);
    }
    void drop() {
        chunks.clear();
        front_read = held = 0;
    }
};

struct Wire {
    std::array<Pipe, 2> from;  ///< [0] = from the connecting side
    std::array<class MemoryStream*, 2> end{};
    std::size_t buffer = 0;
    Duration latency{};
};

class MemoryStream final : public Stream {
public:
    MemoryStream(MemoryNetwork& network, std::shared_ptr<Wire> wire, std::size_t side, Address local, Address peer)
        : network_(network),
          wire_(std::move(wire)),
          side_(side),
          local_(std::move(local)),
          peer_(std::move(peer)),
          arrival_(network, [this] { wake(Direction::read, Wake::ready); }),
          deadlines_{MemoryTimer(network, [this] { wake(Direction::read, Wake::timeout); }),
                     MemoryTimer(network, [this] { wake(Direction::write, Wake::timeout); })} {
        wire_->end[side_] = this;
        ++network_.streams_;
    }
    ~MemoryStream() override {
        close();
        for (Waiter* waiter : waiters_) {
            if (waiter != nullptr) waiter->disarm();
        }
        wire_->end[side_] = nullptr;
        --network_.streams_;
    }

    Io try_read(std::span<char> into) override;
    Io try_write(std::span<const std::string_view> pieces) override;
    void arm(Waiter& waiter) override;
    void shutdown_write() override {
        if (!closed_) finish();
    }
    void close() override;
    void abort() override;
    bool closed() const override { return closed_; }
    bool quiet() const override { return !closed_ && in().something() > network_.now(); }
    void expire_read() override { wake(Direction::read, Wake::timeout); }
    std::size_t held(bool sockets) const override { return sockets ? in().held + out().held : 0; }
    ReadyQueue& ready() override { return network_.ready_; }
    const Address& peer() const override { return peer_; }
    const Address& local() const override { return local_; }

private:
    [[nodiscard]] Pipe& in() const { return wire_->from[1 - side_]; }
    [[nodiscard]] Pipe& out() const { return wire_->from[side_]; }
    [[nodiscard]] MemoryStream* other() const { return wire_->end[1 - side_]; }
    void finish();
    void wake(Direction direction, Wake why);
    /// Something changed for this side's reader (writer): wakes it now or when it arrives.
    void changed();
    static void break_wire(Wire& wire);

    MemoryNetwork& network_;
    std::shared_ptr<Wire> wire_;
    std::size_t side_;
    Address local_, peer_;
    bool closed_ = false;
    std::array<Waiter*, 2> waiters_{};
    MemoryTimer arrival_;
    std::array<MemoryTimer, 2> deadlines_;
};

void MemoryStream::wake(Direction direction, Wake why) {
    Waiter* waiter = waiters_[static_cast<std::size_t>(direction)];
    deadlines_[static_cast<std::size_t>(direction)].clear();
    if (waiter != nullptr) network_.ready_.push(*waiter, why);
}

void MemoryStream::changed() {
    if (waiters_[0] != nullptr) {
        const Instant when = in().something();
        if (when <= network_.now()) {
            wake(Direction::read, Wake::ready);
        } else {
            arrival_.set(when);
        }
    }
    if (waiters_[1] != nullptr && (in().reset || out().held < wire_->buffer)) wake(Direction::write, Wake::ready);
}

void MemoryStream::break_wire(Wire& wire) {
    for (Pipe& pipe : wire.from) pipe.reset = true;
    for (MemoryStream* end : wire.end) {
        if (end != nullptr) end->changed();
    }
}

Io MemoryStream::try_read(std::span<char> into) {
    if (closed_) return Io::failed(Code::cancelled);
    Pipe& pipe = in();
    std::size_t taken = 0;
    while (taken < into.size() && !pipe.chunks.empty() && pipe.chunks.front().at <= network_.now()) {
        const std::string& bytes = pipe.chunks.front().bytes;
        const std::size_t n = std::min(into.size() - taken, bytes.size() - pipe.front_read);
        std::copy_n(bytes.data() + pipe.front_read, n, into.data() + taken);
        taken += n;
        pipe.front_read += n;
        pipe.held -= n;
        if (pipe.front_read == bytes.size()) {
            pipe.chunks.pop_front();
            pipe.front_read = 0;
        }
    }
    if (taken > 0) {
        received_ += taken;
        if (other() != nullptr) other()->changed();
        return Io::moved(taken);
    }
    if (pipe.chunks.empty() && pipe.reset) return Io::failed(Code::reset);
    if (pipe.chunks.empty() && pipe.fin && *pipe.fin <= network_.now()) return Io::end();
    return Io::would_block();
}

Io MemoryStream::try_write(std::span<const std::string_view> pieces) {
    if (closed_) return Io::failed(Code::cancelled);
    if (in().reset || out().fin) return Io::failed(Code::reset);
    Pipe& pipe = out();
    const bool gone = other() == nullptr || other()->closed_;
    std::size_t room = gone ? SIZE_MAX : wire_->buffer - std::min(wire_->buffer, pipe.held);
    if (pipe.reset_after) room = std::min(room, static_cast<std::size_t>(*pipe.reset_after - pipe.total));
    std::string bytes;
    bool wanted = false;
    for (std::string_view piece : pieces) {
        wanted = wanted || !piece.empty();
        bytes += piece.substr(0, room - bytes.size());
    }
    if (!wanted) return Io::moved(0);
    const std::size_t n = bytes.size();
    pipe.total += n;
    written_ += n;
    if (gone) {  // TCP takes the bytes; then the reset comes back, and what was not read is lost
        pipe.reset = in().reset = true;
        in().drop();
        changed();
        return n > 0 ? Io::moved(n) : Io::failed(Code::reset);
    }
    if (n > 0) {
        pipe.held += n;
        pipe.chunks.push_back({network_.now() + wire_->latency, std::move(bytes)});
        other()->changed();
    }
    if (pipe.reset_after && pipe.total >= *pipe.reset_after) {
        in().drop();
        break_wire(*wire_);
        return n > 0 ? Io::moved(n) : Io::failed(Code::reset);
    }
    return n > 0 ? Io::moved(n) : Io::would_block();
}

void MemoryStream::arm(Waiter& waiter) {
    const auto which = static_cast<std::size_t>(waiter.direction());
    PLIMSOLL_ENSURE(waiters_[which] == nullptr, "a stream has one waiter per direction");
    waiter.sit_in(waiters_[which]);
    if (closed_) return wake(waiter.direction(), Wake::cancelled);
    deadlines_[which].set(waiter.deadline());
    changed();
}

void MemoryStream::finish() {
    if (out().fin) return;
    out().fin = network_.now() + wire_->latency;
    if (other() != nullptr) other()->changed();
}

void MemoryStream::close() {
    if (closed_) return;
    closed_ = true;
    finish();
    if (!in().chunks.empty()) break_wire(*wire_);  // the kernel resets when unread bytes are thrown away
    arrival_.clear();
    wake(Direction::read, Wake::cancelled);
    wake(Direction::write, Wake::cancelled);
}

void MemoryStream::abort() {
    if (closed_) return;
    out().drop();
    break_wire(*wire_);
    close();
}

// ---- listener ------------------------------------------------------------------------------------------------------

class MemoryListener final : public Listener {
public:
    MemoryListener(MemoryNetwork& network, Address address, bool reuse_port)
        : reuse_port_(reuse_port), network_(network), address_(std::move(address)), deadline_(network, [this] {
              if (waiter_ != nullptr) network_.ready_.push(*waiter_, Wake::timeout);
          }) {
        network_.listeners_[address_].push_back(this);
    }
    ~MemoryListener() override {
        close();
        if (waiter_ != nullptr) waiter_->disarm();
    }

    Task<Result<std::unique_ptr<Stream>>> accept(Deadline deadline) override {
        for (;;) {
            if (closed_) co_return fail(Code::cancelled, "the listener is closed");
            if (std::unique_ptr<Stream> stream = try_accept()) co_return stream;
            const Wake why = co_await Wait(*this, deadline);
            if (why == Wake::timeout) co_return fail(Code::timeout, "accept");
        }
    }
    std::unique_ptr<Stream> try_accept() override {
        if (backlog_.empty()) return nullptr;
        std::unique_ptr<Stream> stream = std::move(backlog_.front());
        backlog_.pop_front();
        return stream;
    }
    void close() override {
        if (closed_) return;
        closed_ = true;
        std::erase(network_.listeners_[address_], this);
        for (auto& stream : backlog_) stream->abort();
        backlog_.clear();
        if (waiter_ != nullptr) network_.ready_.push(*waiter_, Wake::cancelled);
    }
    const Address& address() const override { return address_; }
    std::uint64_t accept_pauses() const override { return 0; }

    void give(std::unique_ptr<Stream> stream) {
        backlog_.push_back(std::move(stream));
        if (waiter_ != nullptr) network_.ready_.push(*waiter_, Wake::ready);
    }
    const bool reuse_port_;

private:
    class Wait final : Waiter {
    public:
        Wait(MemoryListener& listener, Deadline until) : Waiter(Direction::read, until.at), listener_(listener) {}
        [[nodiscard]] bool await_ready() const { return false; }
        void await_suspend(std::coroutine_handle<> handle) {
            handle_ = handle;
            sit_in(listener_.waiter_);
            listener_.deadline_.set(deadline());
        }
        [[nodiscard]] Wake await_resume() const { return why_; }

    private:
        void woken(Wake why) override {
            why_ = why;
            listener_.deadline_.clear();
            handle_.resume();
        }
        MemoryListener& listener_;
        std::coroutine_handle<> handle_;
        Wake why_ = Wake::ready;
    };

    MemoryNetwork& network_;
    Address address_;
    bool closed_ = false;
    std::deque<std::unique_ptr<Stream>> backlog_;
    Waiter* waiter_ = nullptr;
    MemoryTimer deadline_;
};

// ---- time ----------------------------------------------------------------------------------------------------------

void MemoryTimer::set(Instant at) {
    clear();
    if (at == never) return;
    key_ = std::pair{std::max(at, network_.now_), ++network_.sequence_};
    network_.timers_[*key_] = this;
}

void MemoryTimer::clear() {
    if (key_) network_.timers_.erase(*key_);
    key_.reset();
}

namespace {

class Sleep {
public:
    Sleep(MemoryNetwork& network, Instant until) : until_(until), timer_(network, [this] { handle_.resume(); }) {}
    [[nodiscard]] bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
        handle_ = handle;
        timer_.set(until_);
    }
    void await_resume() const {}

private:
    Instant until_;
    std::coroutine_handle<> handle_;
    MemoryTimer timer_;
};

}  // namespace

// ---- network -------------------------------------------------------------------------------------------------------

MemoryNetwork::MemoryNetwork(Instant start, Timestamp wall)
    : start_(start), now_(start), wall_(wall), scope_(std::make_unique<async::Scope>()) {}

MemoryNetwork::~MemoryNetwork() {
    scope_->cancel();
    posted_.clear();
}

Task<void> MemoryNetwork::sleep_until(Instant at) { co_await Sleep(*this, at); }

Address MemoryNetwork::fresh_address() { return *Address::ip("127.0.0.1", next_port_++); }

std::uint64_t MemoryNetwork::connections_to(const Address& to) const {
    const auto found = connections_.find(to);
    return found == connections_.end() ? 0 : found->second;
}

Task<Result<std::unique_ptr<Stream>>> MemoryNetwork::connect(Address address, Deadline deadline) {
    const Faults faults = faults_[address];
    const Instant answer = faults.connect == Faults::Connect::hang ? never : now_ + faults.connect_delay;
    co_await Sleep(*this, std::min(answer, deadline.at));
    if (deadline.at < answer) {
        co_return fail(Code::timeout, "connect " + address.text() + ": no answer", Side::upstream, Retry::yes);
    }
    if (faults.connect == Faults::Connect::unreachable) {
        co_return fail(Code::unreachable, "connect " + address.text() + ": no way", Side::upstream, Retry::yes);
    }
    std::unique_ptr<Stream> stream;
    if (faults.connect == Faults::Connect::accept) stream = open(address, fresh_address());
    if (!stream) co_return fail(Code::refused, "connect " + address.text(), Side::upstream, Retry::yes);
    co_return stream;
}

std::unique_ptr<Stream> MemoryNetwork::open(const Address& to, const Address& from) {
    const auto found = listeners_.find(to);
    if (found == listeners_.end() || found->second.empty()) return nullptr;
    const Faults& faults = faults_[to];
    auto wire = std::make_shared<Wire>();
    wire->buffer = faults.buffer;
    wire->latency = faults.latency;
    wire->from[0].reset_after = faults.reset_after_sent;
    wire->from[1].reset_after = faults.reset_after_received;
    auto near = std::make_unique<MemoryStream>(*this, wire, 0, from, to);
    auto far = std::make_unique<MemoryStream>(*this, wire, 1, to, from);
    const std::uint64_t turn = connections_[to]++;
    found->second[turn % found->second.size()]->give(std::move(far));
    return near;
}

Result<std::unique_ptr<Listener>> MemoryNetwork::listen(const Address& address, ListenOptions options) {
    if (address.family() == Address::Family::none) return fail(Code::invalid, "listen: no address");
    Address bound = address;
    if (address.family() != Address::Family::unix_socket && address.port() == 0) {
        bound = address.with_port(next_port_++);
    }
    for (const MemoryListener* other : listeners_[bound]) {
        if (!options.reuse_port || !other->reuse_port_) {
            return fail(Code::conflict, "listen " + bound.text() + ": address in use");
        }
    }
    return std::make_unique<MemoryListener>(*this, bound, options.reuse_port);
}

bool MemoryNetwork::fire(Instant until) {
    const auto first = timers_.begin();
    if (first == timers_.end() || first->first.first > until) return false;
    now_ = std::max(now_, first->first.first);
    MemoryTimer& timer = *first->second;
    timer.clear();
    timer.due_();
    return true;
}

void MemoryNetwork::run_until_idle() {
    constexpr std::size_t most = 50'000'000;  // steps at one moment: more is a loop that never waits
    for (std::size_t steps = 0; steps < most; ++steps) {
        if (!posted_.empty()) {
            auto work = std::move(posted_.front());
            posted_.pop_front();
            work();
        } else if (ready_.run(1) == 0 && !fire(now_)) {
            return;
        }
    }
    broken("work at one moment of virtual time never ends", __FILE__, __LINE__);
}

void MemoryNetwork::advance_to(Instant at) {
    run_until_idle();
    while (fire(at)) run_until_idle();
    now_ = std::max(now_, at);
}

void MemoryNetwork::run() {
    while (!stopped_) {
        run_until_idle();
        if (stopped_ || !fire(never)) break;
    }
    stopped_ = false;
}

}  // namespace plimsoll::net

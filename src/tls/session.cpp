#include "tls/session.h"

#include "tls/engine.h"

namespace plimsoll::tls {

using net::Direction;
using net::Io;
using net::Wake;

Session::Session(std::unique_ptr<Engine> engine)
    : engine_(std::move(engine)), reader_(*this, Direction::read), writer_(*this, Direction::write) {
    push_out();
}

Session::~Session() {
    close();
    for (net::Waiter* waiter : waiters_) {
        if (waiter != nullptr) waiter->disarm();
    }
}

const SessionFacts& Session::facts() const { return engine_->facts(); }
const std::string& Session::trouble() const { return engine_->trouble(); }
const net::Stream& Session::wire() const { return engine_->below(); }
bool Session::closed() const { return engine_->below().closed(); }
const net::Address& Session::peer() const { return engine_->below().peer(); }
const net::Address& Session::local() const { return engine_->below().local(); }
net::ReadyQueue& Session::ready() { return engine_->below().ready(); }
bool Session::quiet() const { return engine_->quiet(); }

Io Session::try_read(std::span<char> into) {
    const Io io = engine_->read(into);
    if (io.state == Io::State::moved) received_ += io.bytes;
    push_out();
    return io;
}

Io Session::try_write(std::span<const std::string_view> pieces) {
    const Io io = engine_->write(pieces);
    if (io.state == Io::State::moved) written_ += io.bytes;
    push_out();
    return io;
}

void Session::expire_read() {
    if (net::Waiter* waiter = waiters_[0]; waiter != nullptr) {
        reader_.disarm();
        ready().push(*waiter, Wake::timeout);
    }
}

std::size_t Session::held(bool sockets) const { return engine_->held() + engine_->below().held(sockets); }

void Session::push_out() {
    if (!engine_->flushed() && !writer_.armed() && !closed()) wait_below(writer_, never);
}

void Session::wait_below(Pump& pump, Instant deadline) {
    pump.disarm();
    pump.set_deadline(deadline);
    engine_->below().arm(pump);
}

void Session::arm(net::Waiter& waiter) {
    const bool reading = waiter.direction() == Direction::read;
    net::Waiter*& slot = waiters_[reading ? 0 : 1];
    PLIMSOLL_ENSURE(slot == nullptr, "a stream has one waiter per direction");
    waiter.sit_in(slot);
    if (closed()) return ready().push(waiter, Wake::cancelled);
    if (reading && engine_->holds_something()) return ready().push(waiter, Wake::ready);
    wait_below(reading ? reader_ : writer_, waiter.deadline());
}

void Session::Pump::woken(Wake why) {
    if (direction() == Direction::read) {
        session_.readable_below(why);
    } else {
        session_.writable_below(why);
    }
}

void Session::readable_below(Wake why) {
    net::Waiter* waiter = waiters_[0];
    if (waiter == nullptr) return;
    waiter->disarm();
    waiter->woken(why);  // may end this object
}

void Session::writable_below(Wake why) {
    net::Waiter* waiter = waiters_[1];
    const bool flushed = why == Wake::ready ? engine_->flush() : engine_->flushed();
    if (!flushed && why == Wake::ready) return wait_below(writer_, waiter != nullptr ? waiter->deadline() : never);
    if (!flushed && why == Wake::timeout) wait_below(writer_, never);
    if (flushed) engine_->finish_below();
    if (waiter == nullptr) return;
    waiter->disarm();
    waiter->woken(why);  // may end this object
}

void Session::shutdown_write() {
    if (closed()) return;
    engine_->say_goodbye();
    if (engine_->flush()) {
        engine_->finish_below();
    } else {
        push_out();
    }
}

void Session::close() {
    if (closed()) return;
    engine_->say_goodbye();
    (void)engine_->flush();
    abandon(false);
}

void Session::abort() {
    if (!closed()) abandon(true);
}

void Session::abandon(bool reset) {
    if (reset) {
        engine_->below().abort();
    } else {
        engine_->below().close();
    }
    reader_.disarm();
    writer_.disarm();
    for (net::Waiter* waiter : waiters_) {
        if (waiter != nullptr) ready().push(*waiter, Wake::cancelled);
    }
}

}  // namespace plimsoll::tls

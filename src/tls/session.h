// Session: a Stream that is encrypted. Everything that works on a Stream works on it unchanged.
// Thread rule: belongs to the thread of the stream below it; contexts are shared between threads.
// Source: RFC 8446, RFC 5246.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "async/deadline.h"
#include "async/task.h"
#include "base/result.h"
#include "net/stream.h"
#include "tls/context.h"

namespace plimsoll::tls {

using async::Deadline;
using async::Task;

/// What the handshake came to.
struct SessionFacts {
    Version version = Version::tls13;
    std::string cipher;       ///< "TLS_AES_128_GCM_SHA256"
    std::string alpn;         ///< agreed on; empty = none
    std::string sni;          ///< name asked for, lower case; empty = none
    bool resumed = false;     ///< by a ticket of an earlier session: no certificates were shown
    std::string certificate;  ///< accept(): name of ours that was chosen by SNI
    /// Of the peer's certificate, verified if the context verifies; empty = none was shown. Kept over resumption.
    std::string peer_subject;
    std::string peer_fingerprint;  ///< SHA-256 of its DER, hex
};

/// An encrypted stream after its handshake. What differs from a socket's:
/// - written() and received() count plaintext.
/// - The peer's close_notify is the end; a bare FIN is failed(reset), because anyone on the way can send one.
/// - close() says close_notify if the socket takes it at once; abort() does not.
/// - quiet() takes in what the peer sent beside data (session tickets, key updates), for which it may read the socket
///   once if the loop has seen bytes arrive.
/// - try_write(): after moved(n) with n less than offered, the next write must go on with the byte after those n, as
///   any writer does that has begun a message.
/// - Pieces of one write share records: 16 KiB of plaintext each, at most 64 KiB per system call.
class Session final : public net::Stream {
public:
    ~Session() override;

    [[nodiscard]] const SessionFacts& facts() const;
    /// Why the session broke, in words; empty while it has not.
    [[nodiscard]] const std::string& trouble() const;
    /// The stream below; its written() and received() count what went over the wire.
    [[nodiscard]] const net::Stream& wire() const;

    net::Io try_read(std::span<char> into) override;
    net::Io try_write(std::span<const std::string_view> pieces) override;
    void arm(net::Waiter& waiter) override;
    void shutdown_write() override;
    void close() override;
    void abort() override;
    [[nodiscard]] bool closed() const override;
    [[nodiscard]] bool quiet() const override;
    void expire_read() override;
    [[nodiscard]] std::size_t held(bool sockets) const override;
    [[nodiscard]] const net::Address& peer() const override;
    [[nodiscard]] const net::Address& local() const override;
    [[nodiscard]] net::ReadyQueue& ready() override;

    class Engine;
    /// For accept() and connect(), once their handshake is done.
    explicit Session(std::unique_ptr<Engine> engine);

private:
    /// Waits on the stream below for whoever waits for us.
    class Pump final : public net::Waiter {
    public:
        Pump(Session& session, net::Direction direction) : Waiter(direction, never), session_(session) {}

    private:
        void woken(net::Wake why) override;
        Session& session_;
    };
    void wait_below(Pump& pump, Instant deadline);
    void readable_below(net::Wake why);
    void writable_below(net::Wake why);
    void abandon(bool reset);
    /// What reading made us say (or could not be sent before) goes out when the socket takes it.
    void push_out();

    std::unique_ptr<Engine> engine_;
    std::array<net::Waiter*, 2> waiters_{};
    Pump reader_, writer_;
};

/// The server's side of a handshake. `first` are bytes of the client that were read already (behind a PROXY header, or
/// looked at for SNI). Errors have side client (us for our own faults) and a detail for operators: protocol (not TLS,
/// no common version or cipher, a bad or missing certificate, an alert), timeout, reset, closed (nothing was sent at
/// all). The stream is gone then; the client got an alert if the socket took it.
[[nodiscard]] Task<Result<std::unique_ptr<Session>>> accept(std::unique_ptr<net::Stream> stream,
                                                            std::shared_ptr<const ServerContext> context,
                                                            Deadline deadline, std::string first = {});

/// The client's side. `server_name` is a DNS name (asked for by SNI and verified) or an IP literal (verified only); may
/// be empty if the context does not verify. Errors have side upstream: protocol, timeout, reset, and invalid (side us)
/// for a name that cannot be asked for. Retry::yes: no byte of a request has been sent.
[[nodiscard]] Task<Result<std::unique_ptr<Session>>> connect(std::unique_ptr<net::Stream> stream,
                                                             std::shared_ptr<const ClientContext> context,
                                                             std::string server_name, Deadline deadline);

}  // namespace plimsoll::tls

// Client: one connection from a client: who it is, TLS, which HTTP, and its requests until either side has had enough.
// Thread rule: one worker.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "async/task.h"
#include "http/head.h"
#include "http/http2_server.h"
#include "proxy/core.h"
#include "proxy/true_client.h"
#include "tls/session.h"

namespace plimsoll::proxy {

class Client : public Linked<Client> {
public:
    Client(Worker::Core& in_core, std::shared_ptr<ListenerSlot> on, std::unique_ptr<net::Stream> accepted);
    ~Client();

    /// The connection from accept to close.
    async::Task<void> serve();
    /// No more requests on this connection.
    [[nodiscard]] bool closing() const;
    [[nodiscard]] bool speaks_http2() const { return http2_ != nullptr; }
    /// Closes it if it is between two requests; tells it to end otherwise.
    void end_when_idle();
    /// Why it was cut from our side; none = it was not.
    [[nodiscard]] Cause cut() const { return core.cutting ? Cause::shutting_down : cut_; }

    // ---- while memory is short (shed.cpp) ----
    /// Refuses the request whose head is not whole yet.
    void refuse_half_head();
    /// Bytes of memory that it keeps, about, without its exchanges'. `sockets`: see net::Stream::held.
    [[nodiscard]] std::size_t held(bool sockets) const;
    /// Ends it with whatever is under way; the exchanges on it are cut by whoever calls.
    void end_for_memory();

    Worker::Core& core;
    std::shared_ptr<ListenerSlot> slot;
    std::unique_ptr<net::Stream> stream;
    Buffer in;                   ///< HTTP/1.1: starts with the head of the request under way
    http::RequestParser parser;  ///< its head lives here
    std::string out;             ///< memory for heads to the client, kept between requests
    net::Address peer;           ///< who connected: the socket's peer, or whom a PROXY header names
    net::Address local;          ///< to which address
    std::string address;         ///< of the peer, as text
    const tls::SessionFacts* tls = nullptr;
    std::shared_ptr<const tls::ServerContext> tls_context;
    Duration handshake{};  ///< TLS; told with the first request
    Instant opened;
    Instant started;             ///< first byte of the request under way
    bool idle = false;           ///< between two requests
    std::size_t weight = 0;      ///< while holders are looked for: what it and its exchanges hold
    bool linger = false;         ///< something was answered that the peer may still be sending to
    std::uint32_t requests = 0;  ///< begun so far

private:
    async::Task<bool> read_proxy_header();
    async::Task<bool> shake_hands();
    async::Task<http::Preface> sniff();
    async::Task<void> serve_http1();
    async::Task<void> serve_http2();
    async::Task<void> answer(std::unique_ptr<http::ServerStream> down);
    async::Task<void> retire_at(Instant when);
    /// Waits for a request and reads its head. False: there is none, or it was refused and answered; goodbye is due.
    async::Task<bool> next_head();
    async::Task<void> refuse(std::uint16_t status, Cause cause, std::string_view reason);
    async::Task<void> refuse_for_memory();
    void tell(std::uint16_t status, Cause cause);
    /// Closes so that the peer can still read our last answer: FIN, then what it still sends is thrown away for a
    /// while, then close.
    async::Task<void> say_goodbye();

    std::unique_ptr<http::Http2Server> http2_;
    net::Stream* shaking_ = nullptr;  ///< the stream of a handshake under way
    Cause cut_ = Cause::none;
    bool reading_head_ = false;  ///< of HTTP/1.1
    bool half_head_refused_ = false;
    async::Scope scope_;  ///< last: HTTP/2's exchanges
};

/// A connection from accept to close.
async::Task<void> serve(Worker::Core& core, std::shared_ptr<ListenerSlot> slot, std::unique_ptr<net::Stream> stream);
/// The same for a TCP listener (tcp.cpp): bytes to an endpoint and back.
async::Task<void> serve_tcp(Client& client);

}  // namespace plimsoll::proxy

// Client: one connection from a client, request after request, until either side has had enough.
// Thread rule: one worker.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "async/task.h"
#include "http/head.h"
#include "proxy/core.h"

namespace plimsoll::proxy {

class Client : public Linked<Client> {
public:
    Client(Worker::Core& in_core, std::shared_ptr<ListenerSlot> on, std::unique_ptr<net::Stream> accepted);
    ~Client();

    /// Waits for a request and reads its head. False: there is none, or it was refused and answered; goodbye is due.
    async::Task<bool> next_head();
    /// Closes so that the peer can still read our last answer: FIN, then what it still sends is thrown away for a
    /// while, then close.
    async::Task<void> say_goodbye();
    /// No more requests on this connection.
    [[nodiscard]] bool closing() const { return core.draining || slot->closing || stream->closed(); }

    Worker::Core& core;
    std::shared_ptr<ListenerSlot> slot;
    std::unique_ptr<net::Stream> stream;
    Buffer in;                   ///< starts with the head of the request under way
    http::RequestParser parser;  ///< its head lives here
    std::string out;             ///< memory for heads to the client, kept between requests
    std::string up;              ///< memory for heads to endpoints
    std::string address;         ///< of the peer, as text
    std::uint64_t key;           ///< keyed hash of the peer's address
    Instant started;             ///< first byte of the request under way
    bool idle = false;           ///< between two requests
    bool linger = false;         ///< something was answered that the peer may still be sending to

private:
    async::Task<void> refuse(std::uint16_t status, Cause cause, std::string_view reason);
    void tell(std::uint16_t status, Cause cause);
    std::uint32_t served_ = 0;
};

/// A connection from accept to close.
async::Task<void> serve(Worker::Core& core, std::shared_ptr<ListenerSlot> slot, std::unique_ptr<net::Stream> stream);

}  // namespace plimsoll::proxy

#include "http/http2_client.h"

#include "http/http2_session.h"

namespace plimsoll::http {

Http2Client::Http2Client(net::Network& network, net::Stream& stream, const Http2Limits& limits, Http2Counts& counts)
    : session_(std::make_unique<Http2Session>(Http2Session::Role::client, network, stream, limits, nullptr, counts)) {}
Http2Client::~Http2Client() = default;

async::Task<Http2End> Http2Client::run() { return session_->run({}); }
Result<std::unique_ptr<ClientStream>> Http2Client::open() { return session_->open(); }
bool Http2Client::usable() const { return session_->usable(); }
std::size_t Http2Client::capacity() const { return session_->capacity(); }
std::size_t Http2Client::streams() const { return session_->streams(); }
bool Http2Client::connect_protocol() const { return session_->connect_protocol(); }
bool Http2Client::settled() const { return session_->peer_settled(); }
void Http2Client::shut_down() { session_->shut_down(); }
void Http2Client::close() { session_->close(); }

}  // namespace plimsoll::http

#include "http/http2_server.h"

#include <utility>

#include "http/http2_session.h"

namespace plimsoll::http {

Http2Server::Http2Server(net::Network& network, net::Stream& stream, const Http2Limits& limits, Handler handler,
                         Http2Counts& counts)
    : session_(std::make_unique<Http2Session>(Http2Session::Role::server, network, stream, limits, std::move(handler),
                                              counts)) {}
Http2Server::~Http2Server() = default;

async::Task<Http2End> Http2Server::run(std::string_view received) { return session_->run(received); }
void Http2Server::shut_down() { session_->shut_down(); }
void Http2Server::close_idle() { session_->close_idle(); }
void Http2Server::close() { session_->close(); }
std::size_t Http2Server::streams() const { return session_->streams(); }
std::size_t Http2Server::held() const { return session_->held(); }
bool Http2Server::idle() const { return session_->idle(); }
std::uint64_t Http2Server::requests() const { return session_->requests(); }
bool Http2Server::shutting_down() const { return session_->shutting_down(); }

}  // namespace plimsoll::http

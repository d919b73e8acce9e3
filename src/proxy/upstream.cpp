#include "proxy/upstream.h"

#include <algorithm>

namespace plimsoll::proxy {

void Upstream::woken(net::Wake why) {
    if (why == net::Wake::ready && stream->quiet()) return stream->arm(*this);
    home_.discard(*this);  // ends this object
}

std::unique_ptr<Upstream> Upstreams::take(EndpointId endpoint) {
    if (endpoint.value >= idle_.size()) return nullptr;
    auto& idle = idle_[endpoint.value];
    while (!idle.empty()) {
        std::unique_ptr<Upstream> upstream = std::move(idle.back());
        idle.pop_back();
        --idle_count_;
        upstream->disarm();
        if (upstream->stream->quiet()) return upstream;
    }
    return nullptr;
}

void Upstreams::keep(std::unique_ptr<Upstream> upstream, std::size_t limit, Instant until) {
    const std::size_t at = upstream->endpoint().value;
    if (at >= served_.size() || !served_[at]) return;
    if (idle_.size() <= at) idle_.resize(at + 1);
    if (idle_[at].size() >= limit || !upstream->stream->quiet()) return;
    upstream->in.release();
    upstream->parser.reset();
    upstream->set_deadline(until);
    upstream->stream->arm(*upstream);
    idle_[at].push_back(std::move(upstream));
    ++idle_count_;
}

void Upstreams::serve(std::vector<bool> served) {
    served_ = std::move(served);
    for (std::size_t i = 0; i < idle_.size(); ++i) {
        if (i < served_.size() && served_[i]) continue;
        idle_count_ -= idle_[i].size();
        idle_[i].clear();
    }
}

void Upstreams::discard(Upstream& upstream) {
    auto& idle = idle_[upstream.endpoint().value];
    const auto found = std::ranges::find_if(idle, [&](const auto& each) { return each.get() == &upstream; });
    if (found == idle.end()) return;
    --idle_count_;
    idle.erase(found);
}

}  // namespace plimsoll::proxy

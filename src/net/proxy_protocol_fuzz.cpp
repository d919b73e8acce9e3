// Any bytes as a PROXY header: no crash, the same verdict however they arrive, nothing consumed that was not there, and
// what was understood is said again in both versions and understood as the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/proxy_protocol.h"

namespace net = plimsoll::net;

namespace {

void same(const net::ProxyHeader& a, const net::ProxyHeader& b) {
    PLIMSOLL_ENSURE(a.state == b.state && a.consumed == b.consumed, "cuts matter");
    PLIMSOLL_ENSURE(a.source == b.source && a.destination == b.destination && a.reason == b.reason, "cuts matter");
}

void say_again(const net::ProxyHeader& header) {
    for (const auto append : {net::append_proxy_v1, net::append_proxy_v2}) {
        std::string said;
        append(said, header.source, header.destination);
        const net::ProxyHeader heard = net::decode_proxy_header(said);
        PLIMSOLL_ENSURE(heard.state == net::ProxyHeader::State::done && heard.consumed == said.size(),
                        "our own header");
        PLIMSOLL_ENSURE(heard.source == header.source && heard.destination == header.destination, "said otherwise");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using State = net::ProxyHeader::State;
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    const net::ProxyHeader whole = net::decode_proxy_header(input);
    if (whole.state == State::more) {
        PLIMSOLL_ENSURE(size < net::max_proxy_v2_bytes, "waits for ever");
        PLIMSOLL_ENSURE(!input.starts_with("PROXY") || size < net::max_proxy_v1_bytes, "waits for ever");
    }
    for (std::size_t cut = 0; cut < size && cut < net::max_proxy_v2_bytes; cut += 1 + cut / 64) {
        const net::ProxyHeader part = net::decode_proxy_header(input.substr(0, cut));
        if (part.state == State::more) continue;
        same(part, whole);  // a verdict once given stays
    }
    if (whole.state != State::done) return 0;
    PLIMSOLL_ENSURE(whole.consumed <= size && whole.consumed > 0, "more taken than given");
    same(net::decode_proxy_header(input.substr(0, whole.consumed)), whole);
    PLIMSOLL_ENSURE(net::decode_proxy_header(input.substr(0, whole.consumed - 1)).state == State::more,
                    "took too much");
    PLIMSOLL_ENSURE(whole.known() == (whole.destination.family() != net::Address::Family::none), "half known");
    if (whole.known()) say_again(whole);
    return 0;
}

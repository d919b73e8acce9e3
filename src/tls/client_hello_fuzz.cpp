// Any bytes as a ClientHello: no crash, the same verdict however cut, and a name is a name.
#include "tls/client_hello.h"

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace tls = plimsoll::tls;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    tls::ClientHelloParser whole, cut;
    whole.feed(input);
    for (std::size_t at = 0; at < size;) {
        const std::size_t n = 1 + at % 7;
        cut.feed(input.substr(at, n));
        at += n;
    }
    using State = tls::ClientHelloParser::State;
    PLIMSOLL_ENSURE(whole.state() == cut.state(), "cuts matter");
    PLIMSOLL_ENSURE(whole.state() != State::more || size <= tls::ClientHelloParser::max_bytes, "no bound");
    PLIMSOLL_ENSURE(whole.server_name() == cut.server_name(), "cuts change the name");
    PLIMSOLL_ENSURE((whole.state() == State::name) == !whole.server_name().empty(), "a name without a name");
    for (char c : whole.server_name()) {
        PLIMSOLL_ENSURE((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.',
                        "no host is called so");
    }
    const State before = whole.state();
    PLIMSOLL_ENSURE(before == State::more || whole.feed("more") == before, "a verdict does not stay");
    return 0;
}

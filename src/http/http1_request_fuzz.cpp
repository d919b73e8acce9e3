// Any bytes as a request: no crash, the same verdict however cut, and what we would forward is read back the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/head.h"
#include "http/transcript.h"
#include "http/writer.h"

namespace http = plimsoll::http;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    std::vector<std::size_t> cuts;
    for (std::size_t at = 1; at < size; at += 1 + size / 64) cuts.push_back(at);
    PLIMSOLL_ENSURE(http::test::parse_request(input, cuts) == http::test::parse_request(input), "cuts matter");

    http::RequestParser parser;
    const http::Progress first = parser.feed(input);
    PLIMSOLL_ENSURE(parser.feed(input) == first, "a verdict does not stay");
    const std::string before = http::test::describe(parser.head());
    parser.reset();
    PLIMSOLL_ENSURE(parser.feed(input) == first, "a parser remembers the message before");
    if (first != http::Progress::complete) return 0;
    PLIMSOLL_ENSURE(http::test::describe(parser.head()) == before, "a head remembers the message before");
    const http::RequestHead& head = parser.head();
    std::string wire;
    http::HeadWriter writer(wire);
    if (head.method == http::Method::connect) {
        writer.request_line("CONNECT", head.target());
    } else {
        writer.request_line(head);
    }
    writer.field("Host", head.authority().empty() ? std::string_view("none") : head.authority());
    writer.forward(head.fields).framing(head.framing).end();
    // The limits are on what came in; ours may be a little longer (a Host, a query's path).
    http::HeadLimits limits;
    limits.head_bytes *= 2;
    limits.target_bytes += 1;
    limits.fields += 2;
    http::RequestParser again(limits);
    PLIMSOLL_ENSURE(again.feed(wire) == http::Progress::complete, "what we forward is not taken");
    PLIMSOLL_ENSURE(again.head().bytes == wire.size(), "what we forward ends elsewhere");
    PLIMSOLL_ENSURE(again.head().framing == head.framing, "what we forward is framed otherwise");
    PLIMSOLL_ENSURE(again.head().path() == head.path() && again.head().query() == head.query(), "another target");
    PLIMSOLL_ENSURE(again.head().method_text() == head.method_text(), "another method");
    return 0;
}

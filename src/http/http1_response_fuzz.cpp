// Any bytes as a response, to GET and to HEAD: no crash, the same verdict however cut, and what we would pass on is
// read back the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/head.h"
#include "http/transcript.h"
#include "http/writer.h"

namespace http = plimsoll::http;

namespace {

void try_as(std::string_view input, http::Method method) {
    std::vector<std::size_t> cuts;
    for (std::size_t at = 1; at < input.size(); at += 1 + input.size() / 64) cuts.push_back(at);
    PLIMSOLL_ENSURE(http::test::parse_response(input, method, cuts) == http::test::parse_response(input, method),
                    "cuts matter");

    http::ResponseParser parser;
    const http::Progress first = parser.feed(input, method);
    PLIMSOLL_ENSURE(parser.feed(input, method) == first, "a verdict does not stay");
    parser.reset();
    PLIMSOLL_ENSURE(parser.feed(input, method) == first, "a parser remembers the message before");
    if (first != http::Progress::complete) return;
    const http::ResponseHead& head = parser.head();
    std::string wire;
    http::HeadWriter writer(wire);
    writer.status_line(head.status, head.reason()).forward(head.fields).framing(head.framing).end();
    http::HeadLimits limits;
    limits.head_bytes *= 2;
    http::ResponseParser again(limits);
    PLIMSOLL_ENSURE(again.feed(wire, method) == http::Progress::complete, "what we pass on is not taken");
    PLIMSOLL_ENSURE(again.head().bytes == wire.size(), "what we pass on ends elsewhere");
    PLIMSOLL_ENSURE(again.head().framing == head.framing, "what we pass on is framed otherwise");
    PLIMSOLL_ENSURE(again.head().status == head.status, "another status");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    try_as(input, http::Method::get);
    try_as(input, http::Method::head);
    return 0;
}

// Any bytes as a chunked body: no crash, the same data, end and verdict however cut, and nothing taken twice.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/body.h"
#include "http/transcript.h"
#include "http/writer.h"

namespace http = plimsoll::http;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    const http::Framing framing{http::Framing::Kind::chunked, 0};
    std::vector<std::size_t> cuts;
    for (std::size_t at = 1; at < size; at += 1 + size / 64) cuts.push_back(at);
    PLIMSOLL_ENSURE(http::test::decode_body(input, framing, cuts) == http::test::decode_body(input, framing),
                    "cuts matter");

    for (const http::Framing& other :
         {http::Framing{http::Framing::Kind::length, size / 2}, http::Framing{http::Framing::Kind::until_close, 0}}) {
        PLIMSOLL_ENSURE(http::test::decode_body(input, other, cuts) == http::test::decode_body(input, other),
                        "cuts matter");
    }

    // Re-chunked as the proxy does, the data is the same and nothing of the framing or the extensions is left.
    http::BodyDecoder decoder(framing);
    std::string data, wire;
    std::string_view rest = input;
    http::BodyStep step = decoder.next(rest);
    for (; step.kind == http::BodyStep::Kind::data; step = decoder.next(rest)) {
        PLIMSOLL_ENSURE(step.consumed <= rest.size() && step.data.size() <= step.consumed, "more taken than given");
        rest.remove_prefix(step.consumed);
        data.append(step.data);
        wire.append(http::ChunkHead(step.data.size()).view()).append(step.data).append(http::chunk_end);
    }
    PLIMSOLL_ENSURE(decoder.finish() == (step.kind == http::BodyStep::Kind::end), "a cut body passes for a whole one");
    PLIMSOLL_ENSURE(decoder.next(rest.substr(step.consumed)).data.empty(), "data after the end");
    if (step.kind != http::BodyStep::Kind::end) return 0;
    wire.append(http::last_chunk);
    const std::string wanted = "end after " + std::to_string(wire.size()) + ": " + data + "\n";
    PLIMSOLL_ENSURE(http::test::decode_body(wire, framing) == wanted, "re-chunked data differs");
    return 0;
}

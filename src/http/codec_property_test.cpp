// What holds for every input: how the bytes are cut does not matter, and what is written is read back as it was meant.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "http/body.h"
#include "http/head.h"
#include "http/transcript.h"
#include "http/writer.h"

namespace plimsoll::http {
namespace {

/// Text from pieces that matter to the parsers, so that random inputs get past the first line.
rc::Gen<std::string> from_pieces(std::vector<std::string> pieces) {
    return rc::gen::map(rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(std::move(pieces))),
                        [](const std::vector<std::string>& chosen) {
                            std::string text;
                            for (const std::string& piece : chosen) text += piece;
                            return text;
                        });
}

rc::Gen<std::string> field_lines() {
    return from_pieces({"Host: a\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "X: y\r\n",
                        "Connection: x, close\r\n", "Expect: 100-continue\r\n", "Upgrade: z\r\n", "X: y\n", "X : y\r\n",
                        " fold\r\n", ":\r\n", "\r", "\n", std::string(1, '\0'), "A: \xff\r\n", "Host: [::1]:1\r\n"});
}

std::vector<std::size_t> some_cuts(std::size_t size) {
    std::vector<std::size_t> cuts =
        *rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, size + 1));
    std::ranges::sort(cuts);
    return cuts;
}

const std::vector<std::string> request_lines = {"GET / HTTP/1.1\r\n",
                                                "\r\nPOST /a?b HTTP/1.1\r\n",
                                                "GET http://h/x HTTP/1.1\r\n",
                                                "GET /\r\n",
                                                "GET / HTTP/1.0\r\n",
                                                "OPTIONS * HTTP/1.1\r\n",
                                                "\n",
                                                "GET  / HTTP/1.1\r\n",
                                                "GET /%00 HTTP/1.1\r\n",
                                                "X"};

RC_GTEST_PROP(RequestProperty, CutsDoNotMatter, ()) {
    const std::string input = *rc::gen::elementOf(request_lines) + *field_lines() + "\r\nrest";
    HeadLimits limits;
    limits.head_bytes = *rc::gen::inRange<std::size_t>(1, 200);
    limits.target_bytes = *rc::gen::inRange<std::size_t>(1, 40);
    limits.fields = *rc::gen::inRange<std::size_t>(0, 8);
    RC_ASSERT(test::parse_request(input, some_cuts(input.size()), limits) == test::parse_request(input, {}, limits));
    RC_ASSERT(test::parse_request(input, some_cuts(input.size())) == test::parse_request(input));
}

RC_GTEST_PROP(ResponseProperty, CutsDoNotMatter, ()) {
    const std::string input =
        *rc::gen::element<std::string>("HTTP/1.1 200 OK\r\n", "HTTP/1.0 200\r\n", "HTTP/1.1 101 x\r\n",
                                       "HTTP/1.1 204 \r\n", "HTTP/2.0 200 OK\r\n", "H", "HTTP/1.1 200 OK\n") +
        *field_lines() + "\r\nrest";
    const Method method = *rc::gen::element(Method::get, Method::head);
    RC_ASSERT(test::parse_response(input, method, some_cuts(input.size())) == test::parse_response(input, method));
}

RC_GTEST_PROP(ChunkedProperty, CutsDoNotMatter, ()) {
    const std::string input = *from_pieces({"5\r\nhello\r\n", "0\r\n", "\r\n", "3;a=b\r\nabc\r\n", "X: y\r\n", "\n",
                                            "\r", "f", "ffffffffffff", "Host: a\r\n", ";", " "});
    BodyLimits limits;
    limits.size_line_bytes = *rc::gen::inRange<std::size_t>(1, 12);
    limits.extension_bytes = *rc::gen::inRange<std::size_t>(0, 12);
    limits.trailer_bytes = *rc::gen::inRange<std::size_t>(0, 40);
    const Framing framing{Framing::Kind::chunked, 0};
    RC_ASSERT(test::decode_body(input, framing, some_cuts(input.size()), limits) ==
              test::decode_body(input, framing, {}, limits));
}

RC_GTEST_PROP(ChunkedProperty, WrittenIsRead, ()) {
    const auto chunks = *rc::gen::container<std::vector<std::string>>(rc::gen::nonEmpty<std::string>());
    std::string wire, data;
    for (const std::string& chunk : chunks) {
        wire.append(ChunkHead(chunk.size()).view()).append(chunk).append(chunk_end);
        data += chunk;
    }
    wire.append(last_chunk);
    const std::string wanted = "end after " + std::to_string(wire.size()) + ": " + data + "\n";
    RC_ASSERT(test::decode_body(wire + "X", {Framing::Kind::chunked, 0}, some_cuts(wire.size())) == wanted);
}

RC_GTEST_PROP(LengthProperty, CutsDoNotMatter, ()) {
    const std::string input = *rc::gen::arbitrary<std::string>();
    const Framing framing{Framing::Kind::length, *rc::gen::inRange<std::uint64_t>(0, 60)};
    RC_ASSERT(test::decode_body(input, framing, some_cuts(input.size())) == test::decode_body(input, framing));
}

struct Line {
    std::string name, value;
    friend bool operator==(const Line&, const Line&) = default;
};
void showValue(const Line& line, std::ostream& out) { out << line.name << ": " << line.value; }

rc::Gen<std::vector<Line>> some_lines() {
    const auto name =
        rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::elementOf(std::string("abcXYZ019-_!#$%&'*+.^`|~"))));
    const auto value =
        rc::gen::map(rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab \tZ:,;\"\\\xc3\xa9\xff/="))),
                     [](std::string text) {
                         constexpr std::string_view blanks = " \t";
                         text.erase(0, std::min(text.find_first_not_of(blanks), text.size()));
                         text.erase(text.find_last_not_of(blanks) + 1);
                         return text;
                     });
    return rc::gen::container<std::vector<Line>>(rc::gen::construct<Line>(name, value));
}

RC_GTEST_PROP(RequestProperty, WrittenIsReadAndForwardedUnchanged, ()) {
    const std::vector<Line> lines = *rc::gen::suchThat(some_lines(), [](const auto& l) { return l.size() < 90; });
    const auto length = *rc::gen::inRange<std::uint64_t>(0, INT64_MAX);
    std::string wire;
    HeadWriter writer(wire);
    writer.request_line("POST", "/some/path?query").field("Host", "web.example:8080");
    for (const Line& line : lines) writer.field(line.name, line.value);
    writer.framing({Framing::Kind::length, length}).end();

    RequestParser parser;
    RC_ASSERT(parser.feed(wire) == Progress::complete);
    const RequestHead& head = parser.head();
    RC_ASSERT(head.bytes == wire.size());
    RC_ASSERT(head.framing == (Framing{Framing::Kind::length, length}));
    std::vector<Line> read;
    for (const Header header : head.fields) {
        if (header.known == Known::other) read.push_back({std::string(header.name), std::string(header.value)});
    }
    RC_ASSERT(read == lines);

    std::string again;
    HeadWriter onward(again);
    onward.request_line(head).field("Host", head.authority()).forward(head.fields).framing(head.framing).end();
    RC_ASSERT(again == wire);
}

}  // namespace
}  // namespace plimsoll::http

// What one head costs: parse, and parse with the head written onward, as the proxy does.
#include <benchmark/benchmark.h>

#include <string>

#include "http/head.h"
#include "http/writer.h"

namespace {

namespace http = plimsoll::http;

const std::string small = "GET /index.html HTTP/1.1\r\nHost: web.example:8080\r\n\r\n";
const std::string browser =
    "GET /shop/cart/items?id=4711&sort=price&page=2 HTTP/1.1\r\nHost: www.shop.example\r\nConnection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\n"
    "sec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
    "Safari/537.36\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n"
    "Referer: https://www.shop.example/shop/cart\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; "
    "consent=yes; ab=17\r\n\r\n";

void parse(benchmark::State& state, const std::string& input) {
    http::RequestParser parser;
    for (auto _ : state) {
        parser.reset();
        benchmark::DoNotOptimize(parser.feed(input));
    }
}

void parse_and_forward(benchmark::State& state, const std::string& input) {
    http::RequestParser parser;
    std::string out;
    for (auto _ : state) {
        parser.reset();
        benchmark::DoNotOptimize(parser.feed(input));
        const http::RequestHead& head = parser.head();
        out.clear();
        http::HeadWriter writer(out);
        writer.request_line(head).field("Host", head.authority()).forward(head.fields);
        writer.field("X-Forwarded-For", "192.0.2.17").field("X-Forwarded-Proto", "http").framing(head.framing).end();
        benchmark::DoNotOptimize(out.data());
    }
}

BENCHMARK_CAPTURE(parse, small, small);
BENCHMARK_CAPTURE(parse, browser, browser);
BENCHMARK_CAPTURE(parse_and_forward, small, small);
BENCHMARK_CAPTURE(parse_and_forward, browser, browser);

}  // namespace

BENCHMARK_MAIN();

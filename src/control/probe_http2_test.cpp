// Probes over HTTP/2, against our own server side, in virtual time: gRPC health in every state, and a page.
#include <gtest/gtest.h>

#include "control/grpc_health.h"
#include "control/probe.h"
#include "http/http2_server.h"
#include "net/memory_network.h"

namespace plimsoll::control {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

/// What the server says to each request.
struct Script {
    std::uint16_t status = 200;
    std::string content_type = "application/grpc";
    std::string body = "\0\0\0\0\x02\x08\x01"s;  // SERVING
    std::string trailer = "grpc-status: 0";
    bool silent = false;
};

class ProbeHttp2 : public ::testing::Test {
protected:
    void SetUp() override {
        way_.address = *net::Address::ip("10.0.0.1", 80);
        way_.http2 = true;
        check_.type = config::CheckType::grpc;
        listener_ = std::move(*network_.listen(way_.address, {}));
        scope_.spawn(accept());
    }
    void TearDown() override { scope_.cancel(); }

    async::Task<void> accept() {
        while (true) {
            auto stream = co_await listener_->accept(net::Deadline::none());
            if (!stream) co_return;
            scope_.spawn(serve(std::move(*stream)));
        }
    }
    async::Task<void> serve(std::unique_ptr<net::Stream> stream) {
        http::Http2Counts counts;
        http::Http2Server server(
            network_, *stream, {},
            [this](std::unique_ptr<http::ServerStream> request) { scope_.spawn(answer(std::move(request))); }, counts);
        static_cast<void>(co_await server.run());
    }
    async::Task<void> answer(std::unique_ptr<http::ServerStream> stream) {
        asked_ = std::string(stream->head().target());
        while (true) {
            const http::BodyPiece piece = stream->take();
            request_ += piece.data;
            if (piece.ended) break;
            if (!co_await stream->more(net::Deadline::none())) co_return;
        }
        if (script_.silent) {
            held_.push_back(std::move(stream));
            co_return;
        }
        http::Draft head;
        head.status = script_.status;
        head.add("content-type", script_.content_type);
        head.framing = {http::Framing::Kind::chunked, 0};
        http::Draft trailers;
        http::Fields written;
        if (!script_.trailer.empty()) {
            EXPECT_EQ(written.add(script_.trailer, 0, {}).status, 0);
            written.rebase(script_.trailer.data());
            trailers.forward_trailers(written);
        }
        http::Outgoing out{.head = &head, .data = script_.body, .last = true};
        if (!script_.trailer.empty()) out.trailers = &trailers;
        static_cast<void>(co_await stream->send(out, net::Deadline::none()));
    }
    ProbeResult probed() {
        request_.clear();
        std::optional<ProbeResult> result;
        struct Run {
            static async::Task<void> it(net::Network& network, const Way& way, const config::HealthCheck& check,
                                        std::optional<ProbeResult>& into) {
                into = co_await probe(network, way, check, async::Deadline::after(network.now(), Duration(1s)));
            }
        };
        scope_.spawn(Run::it(network_, way_, check_, result));
        network_.advance(2s);
        return result.value_or(ProbeResult{ProbeResult::Kind::ours, "it hangs"});
    }

    net::MemoryNetwork network_;
    Way way_;
    config::HealthCheck check_;
    Script script_;
    std::unique_ptr<net::Listener> listener_;
    std::string asked_, request_;
    std::vector<std::unique_ptr<http::ServerStream>> held_;
    async::Scope scope_;
};

TEST_F(ProbeHttp2, AServingServiceIsGood) {
    check_.service = "shop.Cart";
    const ProbeResult result = probed();
    EXPECT_EQ(result.kind, ProbeResult::Kind::good) << result.why;
    EXPECT_EQ(asked_, grpc_health_path);
    EXPECT_EQ(request_, encode_health_request("shop.Cart"));
    EXPECT_EQ(result.why, "grpc health of shop.Cart: SERVING");
}

TEST_F(ProbeHttp2, EveryOtherAnswerIsBadAndSaysWhy) {
    const auto bad = [&](Script script, std::string_view part) {
        script_ = std::move(script);
        const ProbeResult result = probed();
        EXPECT_EQ(result.kind, ProbeResult::Kind::bad) << result.why;
        EXPECT_NE(result.why.find(part), std::string::npos) << result.why;
    };
    bad({.body = "\0\0\0\0\x02\x08\x02"s}, "NOT_SERVING");
    bad({.body = "\0\0\0\0\x02\x08"s}, "message");
    bad({.trailer = "grpc-status: 12"}, "12");
    bad({.trailer = ""}, "missing");
    bad({.status = 503}, "503");
    bad({.content_type = "text/html"}, "not gRPC");
    bad({.silent = true}, "");
}

TEST_F(ProbeHttp2, APoolThatSpeaksHttp2IsAskedForItsPageThatWay) {
    check_ = {};
    EXPECT_EQ(probed().kind, ProbeResult::Kind::good);
    EXPECT_EQ(asked_, "/healthz");
    script_.status = 404;
    EXPECT_EQ(probed().kind, ProbeResult::Kind::bad);
}

}  // namespace
}  // namespace plimsoll::control

// The encrypted stream behaves as a Stream: bytes in order whatever the wire does, wakes, ends, breaks.
#include "tls/session.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <rapidcheck/gtest.h>

#include "tls/openssl.h"
#include "tls/test_world.h"

namespace plimsoll::tls {
namespace {

using namespace std::chrono_literals;
using net::Direction;
using net::Io;
using net::Stream;
using net::Wake;
using test::Ends;
using test::read_now;
using test::Stage;
using test::write_now;

/// Counts its wakes.
class Watcher final : public net::Waiter {
public:
    explicit Watcher(Direction direction, Instant deadline = never) : Waiter(direction, deadline) {}
    int wakes = 0;
    Wake why = Wake::ready;

private:
    void woken(Wake reason) override {
        ++wakes;
        why = reason;
    }
};

/// A client that knows nothing newer than `version`.
std::shared_ptr<const ClientContext> client_of(const Stage& stage, Version version) {
    auto context = ClientContext::create(stage.client_settings()).value();
    if (version == Version::tls12) SSL_CTX_set_max_proto_version(context->inside().context.get(), TLS1_2_VERSION);
    return context;
}

class Sessions : public testing::TestWithParam<Version> {
protected:
    Stage stage_;
    /// Both ends after a handshake of this version.
    Ends ends(Duration patience = 5s) {
        Ends out = stage_.shake(ServerContext::create(stage_.server_settings()).value(), client_of(stage_, GetParam()),
                                "a.example", patience);
        EXPECT_TRUE(out.both()) << out.client_error() << " / " << out.server_error();
        EXPECT_EQ(out.at_client().facts().version, GetParam());
        return out;
    }
};
INSTANTIATE_TEST_SUITE_P(Versions, Sessions, testing::Values(Version::tls12, Version::tls13), [](const auto& info) {
    return std::string(info.param == Version::tls12 ? "Tls12" : "Tls13");
});

TEST_P(Sessions, CountPlaintextAndLeaveTheRestToTheWire) {
    const Ends e = ends();
    ASSERT_TRUE(e.both());
    EXPECT_EQ(write_now(e.at_client(), "hello").bytes, 5u);
    EXPECT_EQ(e.at_client().written(), 5u);
    EXPECT_GT(e.at_client().wire().written(), 100u);
    EXPECT_EQ(read_now(e.at_server()), "hello");
    EXPECT_EQ(e.at_server().received(), 5u);
    EXPECT_EQ(e.at_server().peer(), *net::Address::ip("127.0.0.2", 1000));
    EXPECT_EQ(e.at_server().local(), stage_.address);
    EXPECT_EQ(write_now(e.at_client(), "").bytes, 0u);
}

TEST_P(Sessions, PiecesShareARecord) {
    const Ends e = ends();
    const std::uint64_t before = e.at_server().wire().written();
    const std::string body(1000, 'b');
    const std::array<std::string_view, 5> pieces{"head: 1\r\n", "", "head: 2\r\n", "\r\n", body};
    ASSERT_EQ(e.at_server().try_write(pieces).bytes, 1020u);
    EXPECT_EQ(e.at_server().wire().written() - before, 1020u + (GetParam() == Version::tls13 ? 22u : 29u))
        << "one record's overhead";
    EXPECT_EQ(read_now(e.at_client()), "head: 1\r\nhead: 2\r\n\r\n" + body);
}

TEST_P(Sessions, QuietUntilThePeerSpeaksOrLeaves) {
    const Ends e = ends();
    EXPECT_TRUE(e.at_client().quiet()) << "session tickets are no data";
    EXPECT_TRUE(e.at_server().quiet());
    write_now(e.at_server(), "late answer");
    EXPECT_FALSE(e.at_client().quiet());
    EXPECT_FALSE(e.at_client().quiet());
    EXPECT_EQ(read_now(e.at_client(), 4), "late");
    EXPECT_FALSE(e.at_client().quiet()) << "the rest is decrypted and waits in us";
    EXPECT_EQ(read_now(e.at_client()), " answer");
    EXPECT_TRUE(e.at_client().quiet());
    e.at_server().close();
    EXPECT_FALSE(e.at_client().quiet());
    EXPECT_FALSE(e.at_client().closed());
}

TEST_P(Sessions, AWaiterIsWokenForPlaintextThatWaitsInUs) {
    const Ends e = ends();
    ASSERT_TRUE(e.at_client().quiet());
    write_now(e.at_server(), "0123456789");
    EXPECT_EQ(read_now(e.at_client(), 3), "012");
    Watcher watcher(Direction::read);
    e.at_client().arm(watcher);
    EXPECT_EQ(watcher.wakes, 0) << "never from within arm()";
    stage_.network.run_until_idle();
    EXPECT_EQ(watcher.wakes, 1);
    EXPECT_EQ(read_now(e.at_client()), "3456789");
    e.at_client().arm(watcher);
    ASSERT_TRUE(e.at_client().quiet());
    watcher.disarm();
    e.at_client().arm(watcher);
    stage_.network.run_until_idle();
    EXPECT_EQ(watcher.wakes, 1);
    write_now(e.at_server(), "more");
    stage_.network.run_until_idle();
    EXPECT_EQ(watcher.wakes, 2);
    EXPECT_EQ(watcher.why, Wake::ready);
}

TEST_P(Sessions, ATicketWakesNobodyForGoodAndACloseDoes) {
    // The server's tickets arrive when the client has been idle for a while.
    stage_.network.faults(stage_.address).latency = 1s;
    const Ends e = ends(20s);
    ASSERT_TRUE(e.both());
    Watcher watcher(Direction::read, stage_.network.now() + 1h);
    e.at_client().arm(watcher);
    stage_.network.advance(10s);
    // As a pool does: woken by something that is no data, it looks, and waits on.
    if (watcher.wakes > 0) {
        ASSERT_TRUE(e.at_client().quiet());
        e.at_client().arm(watcher);
        watcher.wakes = 0;
    }
    stage_.network.advance(10s);
    EXPECT_EQ(watcher.wakes, 0);
    e.at_server().close();
    stage_.network.advance(10s);
    EXPECT_EQ(watcher.wakes, 1);
    EXPECT_FALSE(e.at_client().quiet());
    char byte;
    EXPECT_EQ(e.at_client().try_read({&byte, 1}).state, Io::State::end);
}

TEST_P(Sessions, DeadlinesAndClosingWake) {
    const Ends e = ends();
    ASSERT_TRUE(e.at_client().quiet());
    Watcher reader(Direction::read, stage_.network.now() + 3s);
    e.at_client().arm(reader);
    stage_.network.advance(4s);
    EXPECT_EQ(reader.why, Wake::timeout);
    reader.set_deadline(never);
    e.at_client().arm(reader);
    e.at_client().close();
    EXPECT_EQ(reader.wakes, 1) << "never from within close()";
    stage_.network.run_until_idle();
    EXPECT_EQ(reader.wakes, 2);
    EXPECT_EQ(reader.why, Wake::cancelled);
    EXPECT_TRUE(e.at_client().closed());
    EXPECT_EQ(write_now(e.at_client(), "x").code, Code::cancelled);
    e.at_client().arm(reader);
    stage_.network.run_until_idle();
    EXPECT_EQ(reader.why, Wake::cancelled);
    EXPECT_EQ(reader.wakes, 3);
}

TEST_P(Sessions, ASessionMayEndInItsWaitersWake) {
    struct Ending final : net::Waiter {
        explicit Ending(std::optional<test::Shaken>& which) : Waiter(Direction::read, never), victim(which) {}
        void woken(Wake) override { victim.reset(); }
        std::optional<test::Shaken>& victim;
    };
    Ends e = ends();
    ASSERT_TRUE(e.at_client().quiet());
    Ending ending(e.client);
    e.at_client().arm(ending);
    write_now(e.at_server(), "bye");
    stage_.network.run_until_idle();
    EXPECT_FALSE(e.client);
}

TEST_P(Sessions, AnEndIsSaidAndACutIsABreak) {
    char byte;
    {
        const Ends e = ends();
        write_now(e.at_server(), "last words");
        e.at_server().close();
        EXPECT_EQ(read_now(e.at_client()), "last words");
        EXPECT_EQ(e.at_client().try_read({&byte, 1}).state, Io::State::end);
        EXPECT_EQ(e.at_client().try_read({&byte, 1}).state, Io::State::end);
        EXPECT_EQ(e.at_client().trouble(), "");
    }
    {
        const Ends e = ends();
        write_now(e.at_server(), "half an ans");
        const_cast<Stream&>(e.at_server().wire()).shutdown_write();  // FIN without close_notify
        EXPECT_EQ(read_now(e.at_client()), "half an ans");
        const Io io = e.at_client().try_read({&byte, 1});
        EXPECT_EQ(io.state, Io::State::failed);
        EXPECT_EQ(io.code, Code::reset);
        EXPECT_EQ(e.at_client().trouble(), "the server ended the connection without close_notify: cut off");
        EXPECT_FALSE(e.at_client().quiet());
        EXPECT_EQ(write_now(e.at_client(), "x").state, Io::State::failed);
    }
    {
        const Ends e = ends();
        ASSERT_TRUE(e.at_client().quiet());
        e.at_server().abort();
        const Io io = e.at_client().try_read({&byte, 1});
        EXPECT_EQ(io.state, Io::State::failed);
        EXPECT_EQ(io.code, Code::reset);
    }
}

TEST_P(Sessions, ReadingGoesOnAfterShutdownWrite) {
    const Ends e = ends();
    write_now(e.at_client(), "question");
    e.at_client().shutdown_write();
    EXPECT_EQ(write_now(e.at_client(), "x").state, Io::State::failed);
    EXPECT_EQ(read_now(e.at_server()), "question");
    char byte;
    EXPECT_EQ(e.at_server().try_read({&byte, 1}).state, Io::State::end);
    EXPECT_EQ(write_now(e.at_server(), "answer").bytes, 6u);
    EXPECT_EQ(read_now(e.at_client()), "answer");
    e.at_server().close();
    EXPECT_EQ(e.at_client().try_read({&byte, 1}).state, Io::State::end);
}

TEST_P(Sessions, AlteredBytesBreakTheSession) {
    const Ends e = ends();
    ASSERT_TRUE(e.at_server().quiet());
    write_now(const_cast<Stream&>(e.at_client().wire()), std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x'));
    char byte;
    const Io io = e.at_server().try_read({&byte, 1});
    EXPECT_EQ(io.state, Io::State::failed);
    EXPECT_EQ(io.code, Code::protocol);
    EXPECT_EQ(e.at_server().trouble(), "a record was altered on its way, or the client is broken");
}

TEST_P(Sessions, AFailedWriteLeavesReadingAlone) {
    const Ends e = ends();
    write_now(e.at_server(), "413 too large");
    const_cast<Stream&>(e.at_client().wire()).shutdown_write();  // from now on the wire refuses our writes
    EXPECT_EQ(write_now(e.at_client(), "upload").state, Io::State::failed);
    EXPECT_EQ(read_now(e.at_client()), "413 too large");
    EXPECT_TRUE(e.at_client().quiet());
}

TEST_P(Sessions, WriteAllEndsWhenTheSocketHasEverything) {
    stage_.network.faults(stage_.address).buffer = 1000;
    const Ends e = ends();
    ASSERT_TRUE(e.both());
    ASSERT_TRUE(e.at_client().quiet());
    const std::string text(5000, 't');
    EXPECT_EQ(write_now(e.at_server(), text).bytes, 4999u) << "the last byte is owed until its record is out";
    EXPECT_EQ(write_now(e.at_server(), "t").state, Io::State::would_block);
    Watcher writer(Direction::write);
    e.at_server().arm(writer);
    std::string got;
    for (int i = 0; i < 20; ++i) {
        stage_.network.run_until_idle();
        got += read_now(e.at_client());
    }
    EXPECT_EQ(got, text);
    EXPECT_EQ(writer.wakes, 1);
    EXPECT_EQ(write_now(e.at_server(), "tail").bytes, 4u) << "the owed byte and three more";
    EXPECT_EQ(read_now(e.at_client()), "ail");
    EXPECT_EQ(e.at_server().written(), 5003u);
}

TEST_P(Sessions, ShutdownOfAFullSocketIsFinishedWhenThereIsRoom) {
    stage_.network.faults(stage_.address).buffer = 1000;
    const Ends e = ends();
    ASSERT_TRUE(e.at_client().quiet());
    const std::string text(3000, 't');
    write_now(e.at_server(), text);
    e.at_server().shutdown_write();
    std::string got;
    for (int i = 0; i < 20; ++i) {
        stage_.network.run_until_idle();
        got += read_now(e.at_client());
    }
    EXPECT_EQ(got, text);
    char byte;
    EXPECT_EQ(e.at_client().try_read({&byte, 1}).state, Io::State::end);
}

// ---- property: any pieces, any reads, any wire ---------------------------------------------------------------------

Task<void> send(Stream& stream, std::vector<std::string> texts, bool& fine) {
    const std::vector<std::string_view> pieces(texts.begin(), texts.end());
    fine = (co_await stream.write_all(pieces, {})).has_value();
    stream.shutdown_write();
}
Task<void> receive(Stream& stream, std::vector<std::size_t> sizes, std::string& into, bool& ended) {
    for (std::size_t i = 0;; ++i) {
        std::string buffer(sizes[i % sizes.size()], '\0');
        if (i % 5 == 4) (void)co_await stream.readable({});
        const Result<std::size_t> n = co_await stream.read(buffer, {});
        if (!n) co_return;
        if (*n == 0) break;
        into.append(buffer, 0, *n);
    }
    ended = true;
}

struct Story {
    std::vector<std::string> texts;
    std::vector<std::size_t> reads;
};
Story story() {
    Story out;
    const auto count = *rc::gen::inRange(0, 80);
    for (int i = 0; i < count; ++i) {
        const std::size_t size = *rc::gen::element<std::size_t>(0, 1, 2, 9, 300, 1300, 16'383, 16'384, 16'385, 40'000);
        out.texts.emplace_back(size, static_cast<char>('a' + i % 26));
    }
    out.reads = *rc::gen::nonEmpty(
        rc::gen::container<std::vector<std::size_t>>(rc::gen::element<std::size_t>(1, 7, 500, 16'384, 70'000)));
    return out;
}
std::string whole(const Story& story) {
    std::string out;
    for (const std::string& each : story.texts) out += each;
    return out;
}

RC_GTEST_PROP(Session, CarriesWhatWasWrittenWhateverTheWireDoes, ()) {
    static Stage stage;  // certificates cost more than everything else here
    net::Faults& faults = stage.network.faults(stage.address);
    faults.buffer = *rc::gen::element<std::size_t>(1, 3, 100, 5000, 20'000, 64 * 1024);
    faults.latency = *rc::gen::element<Duration>(0ns, 1ms);
    // With one byte on the wire at a time a byte costs a turn: keep the story short then.
    Story there = story(), back = story();
    if (faults.buffer < 100) {
        faults.latency = {};
        for (Story* each : {&there, &back}) {
            if (each->texts.size() > 3) each->texts.resize(3);
        }
    }
    ServerSettings server = stage.server_settings();
    const auto server_context = ServerContext::create(server).value();
    const Version version = *rc::gen::element(Version::tls12, Version::tls13);
    const Ends ends = stage.shake(server_context, client_of(stage, version), "a.example", 1h);
    RC_ASSERT(ends.client_error() + " / " + ends.server_error() == "fine / fine");
    std::string at_server, at_client;
    bool sent[2] = {}, ended[2] = {};
    async::Scope scope;
    scope.spawn(receive(ends.at_server(), there.reads, at_server, ended[0]));
    scope.spawn(receive(ends.at_client(), back.reads, at_client, ended[1]));
    scope.spawn(send(ends.at_client(), there.texts, sent[0]));
    scope.spawn(send(ends.at_server(), back.texts, sent[1]));
    stage.network.advance(1h);
    RC_ASSERT(sent[0] && sent[1]);
    RC_ASSERT(ended[0] && ended[1]);
    RC_ASSERT(at_server == whole(there));
    RC_ASSERT(at_client == whole(back));
    RC_ASSERT(ends.at_client().written() == at_server.size());
    RC_ASSERT(ends.at_client().received() == at_client.size());
}

}  // namespace
}  // namespace plimsoll::tls

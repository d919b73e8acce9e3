// Handshakes and records without sockets: both ends on one thread over the in-memory network, so a figure is the cost
// of both sides together unless it says otherwise.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <cstdlib>
#include <ctime>

#include "tls/engine.h"
#include "tls/openssl.h"
#include "tls/test_world.h"

namespace plimsoll::tls {
namespace {

using test::Ends;
using test::Stage;

std::shared_ptr<const ClientContext> client_of(const Stage& stage, Version version, bool resume) {
    ClientSettings settings = stage.client_settings();
    settings.resume = resume;
    auto context = ClientContext::create(std::move(settings)).value();
    if (version == Version::tls12) SSL_CTX_set_max_proto_version(context->inside().context.get(), TLS1_2_VERSION);
    return context;
}

Ends pair(Stage& stage, const std::shared_ptr<const ServerContext>& server,
          const std::shared_ptr<const ClientContext>& client) {
    return stage.shake(server, client, "a.example", Duration{1});
}

void handshake(benchmark::State& state, Version version, bool resume, test::KeyKind key) {
    Stage stage;
    ServerSettings settings = stage.server_settings();
    settings.certificates = {stage.world.issue({"DNS:a.example"}, key).load("a")};
    const auto server = ServerContext::create(std::move(settings)).value();
    const auto client = client_of(stage, version, resume);
    std::size_t resumed = 0;
    for (auto _ : state) {
        const Ends ends = pair(stage, server, client);
        if (!ends.both() || !ends.at_client().quiet()) return state.SkipWithError("no handshake");
        resumed += ends.at_server().facts().resumed ? 1 : 0;
    }
    state.SetItemsProcessed(state.iterations());
    state.counters["resumed"] = static_cast<double>(resumed) / static_cast<double>(state.iterations());
}
BENCHMARK_CAPTURE(handshake, tls13_ecdsa_full, Version::tls13, false, test::KeyKind::ec);
BENCHMARK_CAPTURE(handshake, tls13_ecdsa_resumed, Version::tls13, true, test::KeyKind::ec);
BENCHMARK_CAPTURE(handshake, tls12_ecdsa_full, Version::tls12, false, test::KeyKind::ec);
BENCHMARK_CAPTURE(handshake, tls12_ecdsa_resumed, Version::tls12, true, test::KeyKind::ec);
BENCHMARK_CAPTURE(handshake, tls13_rsa2048_full, Version::tls13, false, test::KeyKind::rsa);

/// The server's part alone: its calls to OpenSSL, by the thread's processor clock around it.
void server_handshake(benchmark::State& state, bool resume) {
    Stage stage;
    const auto server = ServerContext::create(stage.server_settings()).value();
    const auto client = client_of(stage, Version::tls13, resume);
    for (auto _ : state) {
        auto [near, far] = stage.plain();
        Ends ends;
        async::Scope scope;
        double spent = 0;
        const auto cpu = [] {  // of this thread: the machine may be busy with others
            timespec now{};
            ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
            return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
        };
        const auto timed = [&](auto&& what) {
            const double start = cpu();
            what();
            spent += cpu() - start;
        };
        // Each side runs until it waits; the in-memory network then wakes the other side only.
        scope.spawn(test::keep(connect(std::move(near), client, "a.example", {}), ends.client));
        timed([&] { scope.spawn(test::keep(accept(std::move(far), server, {}), ends.server)); });
        stage.network.run_until_idle();
        // The server's second part (Finished, tickets) ran with the client's; what remains is its first flight.
        if (!ends.both() || !ends.at_client().quiet()) return state.SkipWithError("no handshake");
        state.SetIterationTime(spent);
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(server_handshake, tls13_ecdsa_first_flight, false)->UseManualTime();
BENCHMARK_CAPTURE(server_handshake, tls13_resumed_first_flight, true)->UseManualTime();

void carry(benchmark::State& state) {
    Stage stage;
    stage.network.faults(stage.address).buffer = 1024 * 1024;
    const Ends ends =
        pair(stage, ServerContext::create(stage.server_settings()).value(), client_of(stage, Version::tls13, false));
    const std::string body(static_cast<std::size_t>(state.range(0)), 'b');
    const std::array<std::string_view, 2> pieces{"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", body};
    std::vector<char> buffer(64 * 1024);
    const std::size_t total = pieces[0].size() + body.size();
    for (auto _ : state) {
        std::size_t sent = 0, got = 0;
        while (got < total) {
            if (sent < total) {
                const std::array<std::string_view, 2> rest{
                    pieces[0].substr(std::min(sent, pieces[0].size())),
                    std::string_view(body).substr(sent - std::min(sent, pieces[0].size()))};
                sent += ends.at_server().try_write(rest).bytes;
            }
            got += ends.at_client().try_read(buffer).bytes;
        }
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(total));
}
BENCHMARK(carry)->Arg(200)->Arg(16'000)->Arg(64'000)->Arg(1'000'000);

/// What OpenSSL holds on the heap, bytes; counted by the allocator that main() gives it.
std::size_t held = 0;

/// A session that has carried a request and an answer, read its tickets, and now waits.
void idle(benchmark::State& state, Version version) {
    Stage stage;
    const auto server = ServerContext::create(stage.server_settings()).value();
    const auto client = client_of(stage, version, false);
    constexpr std::size_t count = 200;
    constexpr std::size_t ours = sizeof(Session) + sizeof(Session::Engine);
    for (auto _ : state) {
        std::vector<Ends> kept;
        const std::size_t before = held;
        for (std::size_t i = 0; i < count; ++i) {
            kept.push_back(pair(stage, server, client));
            const Ends& ends = kept.back();
            test::write_now(ends.at_client(), "GET / HTTP/1.1\r\n\r\n");
            test::read_now(ends.at_server());
            test::write_now(ends.at_server(), std::string(20'000, 'b'));
            test::read_now(ends.at_client());
            if (!ends.at_client().quiet() || !ends.at_server().quiet()) return state.SkipWithError("not idle");
        }
        const std::size_t both = held - before;
        for (Ends& ends : kept) ends.client.reset();
        const std::size_t servers = held - before;
        state.counters["server_bytes"] = static_cast<double>(servers) / count + ours;
        state.counters["client_bytes"] = static_cast<double>(both - servers) / count + ours;
    }
}
BENCHMARK_CAPTURE(idle, tls13, Version::tls13)->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(idle, tls12, Version::tls12)->Iterations(1)->Unit(benchmark::kMillisecond);

void load_certificate(benchmark::State& state) {
    const test::World world;
    const Pem pem = world.issue({"DNS:a.example"}).pem("a");
    for (auto _ : state) benchmark::DoNotOptimize(Certificate::load(pem));
}
BENCHMARK(load_certificate);

void choose_among(benchmark::State& state) {
    const test::World world;
    ServerSettings settings;
    const test::Identity leaf = world.issue({"DNS:a.example"});
    std::vector<std::string> names;
    for (int i = 0; i < state.range(0); ++i) names.push_back("DNS:host" + std::to_string(i) + ".example");
    settings.certificates = {leaf.load("a"), world.issue(names).load("many")};
    const auto context = ServerContext::create(std::move(settings)).value();
    for (auto _ : state) benchmark::DoNotOptimize(context->certificate_for("host77.example"));
}
BENCHMARK(choose_among)->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace plimsoll::tls

int main(int argc, char** argv) {
    using plimsoll::tls::held;
    CRYPTO_set_mem_functions(
        [](std::size_t size, const char*, int) {
            void* memory = std::malloc(size);
            held += ::malloc_usable_size(memory);
            return memory;
        },
        [](void* old, std::size_t size, const char*, int) {
            held -= ::malloc_usable_size(old);
            void* memory = std::realloc(old, size);
            held += ::malloc_usable_size(memory);
            return memory;
        },
        [](void* memory, const char*, int) {
            held -= ::malloc_usable_size(memory);
            std::free(memory);
        });
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}

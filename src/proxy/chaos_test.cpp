// Random worlds: endpoints that break in every way we know, clients that leave, configs that change. Whatever happens,
// the books balance, nothing leaks, and no POST arrives twice. A failure names its seed.

#include <map>

#include "base/random.h"
#include "proxy/test_world.h"

namespace plimsoll::proxy::test {
namespace {

class Chaos {
public:
    explicit Chaos(std::uint64_t seed) : dice_(seed), worker_(network_, {.seed = seed}) {
        for (std::uint16_t port = 1; port <= 4; ++port) {
            backends_.push_back(std::make_unique<Backend>(network_, port));
            Backend& backend = *backends_.back();
            backend.reply = [this](const std::string& request) { return reply(request); };
            backend.faults().latency = Duration{static_cast<std::int64_t>(dice_.below(3'000'000))};
        }
        install();
    }

    void run(int steps) {
        for (int i = 0; i < steps; ++i) step();
        for (auto& each : backends_) each->faults() = {};
        network_.advance(200s);  // every timeout of ours has passed
        callers_.clear();
        network_.advance(200s);
    }

    /// Empty, or what is wrong.
    std::string check() {
        const Report report = worker_.collect();
        if (report.connections != 0) return "connections left: " + std::to_string(report.connections);
        if (report.idle_upstream != 0) return "idle connections left";
        if (worker_.revisions_held() != 1) return "revisions left: " + std::to_string(worker_.revisions_held());
        for (std::uint32_t i = 0; i < 4; ++i) {
            if (worker_.endpoint_state(EndpointId{i}).in_flight != 0) return "in flight at " + std::to_string(i);
        }
        if (network_.streams() != 0) return "streams left: " + std::to_string(network_.streams());
        std::uint64_t told = 0;
        for (const measure::ArmTally& arm : report.tally.arms) told += arm.all_routes().requests;
        if (told != report.records.size()) return "tally and recording disagree";
        if (told == 0) return "nothing happened";
        for (const auto& [id, times] : posts_) {
            if (times > 1) return "POST " + id + " arrived " + std::to_string(times) + " times";
        }
        return wrong_answer_;
    }

private:
    Reply reply(const std::string& request) {
        const std::size_t at = request.find("/n");
        const std::string id = request.substr(at, request.find(' ', at) - at);
        if (request.starts_with("POST")) ++posts_[id];
        Reply reply{ok_bytes(id + " " + std::string(dice_.below(3) * 30'000, 'x'))};
        reply.delay = Duration{static_cast<std::int64_t>(dice_.below(20'000'000))};
        switch (dice_.below(12)) {
            case 0: return {.bytes = "", .delay = reply.delay, .after = Reply::After::abort};
            case 1: return {.bytes = "", .delay = reply.delay, .after = Reply::After::close};
            case 2: reply.bytes.resize(dice_.below(reply.bytes.size())), reply.after = Reply::After::close; break;
            case 3: reply.bytes.resize(dice_.below(reply.bytes.size())), reply.after = Reply::After::abort; break;
            case 4: reply.delay = 30s; break;
            case 5: reply.after = Reply::After::close; break;
            case 6: reply.bytes = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"; break;
            case 7: reply.bytes = "garbage\r\n\r\n"; break;
            case 8:
                reply.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                reply.more = {{1ms, "4\r\n" + id.substr(0, 2) + "ab"}, {1ms, "\r\n0\r\n\r\n"}};
                break;
            default: break;
        }
        return reply;
    }

    void step() {
        switch (dice_.below(10)) {
            case 0: install(); break;
            case 1: backends_[dice_.below(4)]->close_all(); break;
            case 2: fault(*backends_[dice_.below(4)]); break;
            case 3:
                if (!callers_.empty()) callers_.erase(callers_.begin() + static_cast<std::ptrdiff_t>(pick_caller()));
                break;
            case 4: worker_.set_health(EndpointId{static_cast<std::uint32_t>(dice_.below(4))}, health()); break;
            default: talk(); break;
        }
        network_.advance(Duration{static_cast<std::int64_t>(dice_.below(30'000'000))});
        for (Caller& caller : callers_) hear(caller);
    }
    std::size_t pick_caller() { return static_cast<std::size_t>(dice_.below(callers_.size())); }
    balance::Health health() { return static_cast<balance::Health>(dice_.below(3)); }
    void fault(Backend& backend) {
        net::Faults& faults = backend.faults();
        faults.connect = static_cast<net::Faults::Connect>(dice_.below(4));
        if (dice_.chance(0.5)) faults.connect = net::Faults::Connect::accept;
        faults.reset_after_sent.reset();
        faults.reset_after_received.reset();
        if (dice_.chance(0.2)) faults.reset_after_sent = dice_.below(400);
        if (dice_.chance(0.2)) faults.reset_after_received = dice_.below(400);
    }
    void hear(Caller& caller) {
        const std::string text = caller.hear();
        // Whatever else happens, bytes that are not HTTP never reach a client.
        if (text.find("garbage") != std::string::npos) wrong_answer_ = "garbage got through";
    }
    void talk() {
        if (callers_.size() < 6 || dice_.chance(0.1)) {
            auto stream = network_.open(*net::Address::ip("10.9.9.9", 80), *net::Address::ip("192.0.2.7", 5000));
            if (callers_.size() < 12 && stream) callers_.emplace_back(network_, std::move(stream));
        }
        if (callers_.empty()) return;
        Caller& caller = callers_[pick_caller()];
        const std::string id = "/n" + std::to_string(++requests_);
        const std::string host = " HTTP/1.1\r\nHost: a\r\n";
        std::string text;
        switch (dice_.below(5)) {
            case 0: text = "POST " + id + host + "Content-Length: 5\r\n\r\nhello"; break;
            case 1: text = "POST " + id + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"; break;
            case 2: text = "PUT " + id + host + "Content-Length: 70000\r\n\r\n" + std::string(70'000, 'u'); break;
            case 3: text = dice_.chance(0.2) ? "nonsense\r\n\r\n" : "HEAD " + id + host + "\r\n"; break;
            default: text = "GET " + id + host + "\r\n"; break;
        }
        if (dice_.chance(0.1)) text.resize(dice_.below(text.size()));  // and then nothing, or the next request
        const std::size_t cut = dice_.below(text.size() + 1);
        say(caller, text.substr(0, cut));
        network_.advance(Duration{static_cast<std::int64_t>(dice_.below(2'000'000))});
        say(caller, text.substr(cut));
    }
    /// Unlike Caller::say, gives up when nobody reads.
    void say(Caller& caller, std::string_view text) {
        for (int i = 0; i < 200 && !text.empty(); ++i) {
            const net::Io io = caller.stream().try_write(std::array{text});
            if (io.state == net::Io::State::failed) return;
            text.remove_prefix(io.bytes);
            network_.advance(Duration{100'000});
        }
    }
    void install() {
        config::Config config;
        config.listeners.push_back({.name = "web", .address = {"10.9.9.9", 80}});
        config.routes.push_back({.name = "all", .match = {}, .pool = "web"});
        config::Pool pool;
        pool.name = "web";
        pool.policy = dice_.chance(0.5) ? config::Policy::round_robin : config::Policy::least_request;
        pool.health.reset();
        pool.retry.attempts = static_cast<std::uint32_t>(1 + dice_.below(4));
        pool.retry.on = {"connect_failure", "reset", "timeout", "status_5xx"};
        pool.timeouts = {.connect = 100ms, .per_try = 2s, .total = 5s, .idle = 3s};
        pool.limits.max_in_flight_per_endpoint = static_cast<std::uint32_t>(dice_.below(4));
        for (std::uint16_t port = 1; port <= 4; ++port) {
            if (port == 1 || dice_.chance(0.7)) {
                pool.endpoints.push_back({.name = "b" + std::to_string(port), .address = {"10.0.0.1", port}});
            }
        }
        config.pools.push_back(pool);
        auto snapshot = snapshot::compile(config, RevisionNumber{++revision_}, identities_, 1);
        snapshot::Resident resident{.active = snapshot};
        if (last_ && dice_.chance(0.5)) {
            resident = {.active = last_, .candidate = snapshot, .share = {dice_.uniform()}, .arm_key = revision_};
            resident.shadow = dice_.chance(0.3);
            if (resident.shadow) resident.share = {};
        }
        last_ = snapshot;
        (void)worker_.install(resident);
        if (resident.candidate) (void)worker_.install({.active = dice_.chance(0.5) ? resident.active : snapshot});
    }

    Random dice_;
    net::MemoryNetwork network_;
    snapshot::Identities identities_;
    std::vector<std::unique_ptr<Backend>> backends_;
    std::map<std::string, int> posts_;
    std::uint64_t requests_ = 0;
    std::uint64_t revision_ = 0;
    std::shared_ptr<const snapshot::Snapshot> last_;
    std::string wrong_answer_;
    Worker worker_;
    std::vector<Caller> callers_;
};

TEST(Chaos, TheBooksBalance) {
    for (std::uint64_t seed = 1; seed <= 150; ++seed) {
        Chaos chaos(seed);
        chaos.run(80);
        ASSERT_EQ(chaos.check(), "") << "seed " << seed;
    }
}

}  // namespace
}  // namespace plimsoll::proxy::test

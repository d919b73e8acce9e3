#include "sim/farm.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "balance/shared_ejections.h"
#include "balance/shared_loads.h"
#include "base/hash.h"

namespace plimsoll::sim {
namespace {

using balance::EndpointState;

struct Balancer {
    std::vector<EndpointState> states;
    balance::Cursor cursor;
    Random random;
    std::uint32_t ejections_seen = 0;
};

struct Server {
    FarmServer is;
    double slowed = 1;  ///< by an antagonist
    std::uint32_t busy = 0, in_flight = 0;
    std::deque<std::uint32_t> queue;
};

struct Request {
    Instant started;
    Duration work{};
    std::uint32_t balancer = 0, server = 0, others = 0, generation = 0;
    bool counted = false, client_left = false;
};

/// What falls due. `done`: work in a slot ends; `answered`: an answer without a slot; `patience`: the client leaves.
enum class Due : std::uint8_t { arrival, done, answered, failed, patience, change, antagonist };

struct Event {
    Instant at;
    std::uint64_t sequence;
    Due due;
    std::uint32_t index;
    std::uint32_t generation;
    friend bool operator>(const Event& a, const Event& b) {
        return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
    }
};

double bound_of(const balance::Policy& policy) {
    return std::visit(
        [](const auto& one) {
            if constexpr (requires { one.bounded_load; })
                return one.bounded_load;
            else
                return 0.0;
        },
        policy);
}

constexpr Duration at_once = std::chrono::milliseconds(1);  ///< how soon a failure is answered

class Farm {
public:
    explicit Farm(const FarmOptions& options)
        : options_(options), pool_(options.pool), dice_(options.seed), work_dice_(dice_.split()), shared_(0) {
        make_members();
        shared_ = balance::SharedLoads(options.share_loads ? servers_.size() : 0);
        for (std::uint32_t i = 0; i < std::max(options.balancers, 1u); ++i) {
            Balancer one{std::vector<EndpointState>(servers_.size()), {}, dice_.split()};
            for (EndpointState& state : one.states) state.health = balance::Health::up;
            one.cursor = balance::fresh_cursor(pool_, one.random);
            balancers_.push_back(std::move(one));
            if (i > 0 && options.share_loads) continue;
            ejections_.push_back(std::make_unique<balance::SharedEjections>());
            ejections_.back()->reserve(servers_.size(), 1);
        }
        idle_.resize(servers_.size());
        for (EndpointState& state : idle_) state.health = balance::Health::up;
        double sum = 0;
        for (std::uint32_t k = 1; k <= options.keys; ++k) zipf_.push_back(sum += std::pow(k, -options.zipf));
        result_.served.resize(servers_.size());
    }

    FarmResult run() {
        for (std::uint32_t i = 0; i < options_.events.size(); ++i) schedule(options_.events[i].at, Due::change, i);
        if (options_.antagonised > 0) schedule(Instant{0}, Due::antagonist, 0);
        schedule(Instant{0} + gap(), Due::arrival, 0);
        while (!events_.empty()) {
            std::ranges::pop_heap(events_, std::greater<>{});
            const Event event = events_.back();
            events_.pop_back();
            now_ = event.at;
            handle(event);
        }
        std::ranges::sort(result_.latencies);
        if (arrivals_ > 0) result_.mean_peak /= static_cast<double>(arrivals_);
        return std::move(result_);
    }

private:
    void make_members() {
        pool_.members.resize(options_.servers.size());
        for (std::uint32_t i = 0; i < options_.servers.size(); ++i) {
            balance::Member& member = pool_.members[i];
            member.id = EndpointId{i};
            member.weight = options_.servers[i].weight;
            member.identity = keyed_hash(std::uint64_t{i}, 1);
            servers_.push_back({options_.servers[i], 1, 0, 0, {}});
            weight_ += member.weight;
        }
        pool_.table = balance::build_table(pool_.policy, pool_.members);
    }

    void schedule(Instant at, Due due, std::uint32_t index, std::uint32_t generation = 0) {
        events_.push_back({at, sequence_++, due, index, generation});
        std::ranges::push_heap(events_, std::greater<>{});
    }
    Duration gap() { return from_seconds(work_dice_.exponential(1 / options_.rate)); }
    Duration draw_work() {
        const double mean = seconds(options_.service);
        switch (options_.work) {
            case Work::fixed: return options_.service;
            case Work::exponential: return from_seconds(work_dice_.exponential(mean));
            case Work::lognormal: return from_seconds(work_dice_.lognormal(mean, options_.sigma));
        }
        return options_.service;
    }
    std::optional<std::uint64_t> draw_key() {
        if (zipf_.empty()) return std::nullopt;
        const double at = work_dice_.uniform() * zipf_.back();
        const auto k = std::ranges::upper_bound(zipf_, at) - zipf_.begin();
        return keyed_hash(static_cast<std::uint64_t>(k), 2);
    }

    void handle(const Event& event) {
        switch (event.due) {
            case Due::arrival: return arrive();
            case Due::done: return work_done(event.index);
            case Due::answered: return end(event.index, 200);
            case Due::failed: return end(event.index, servers_[requests_[event.index].server].is.failure);
            case Due::patience:
                if (requests_[event.index].generation == event.generation) leave(event.index);
                return;
            case Due::change: return change(options_.events[event.index]);
            case Due::antagonist: return antagonise();
        }
    }

    void arrive() {
        if (now_ - Instant{0} >= options_.span) return;  // the last one; what is under way ends
        schedule(now_ + gap(), Due::arrival, 0);
        const Duration work = draw_work();
        const auto key = draw_key();
        const bool counted = now_ - Instant{0} >= options_.warm_up;
        result_.requests += counted;
        const auto which = balancers_.size() == 1 ? 0 : static_cast<std::uint32_t>(work_dice_.below(balancers_.size()));
        Balancer& balancer = balancers_[which];
        const balance::Asked asked{key, nullptr, shared_.view()};
        ejections_of(which).adopt(balancer.states, balancer.ejections_seen, now_);
        const auto chosen = balance::pick(pool_, balancer.states, balancer.cursor, {}, now_, balancer.random, asked);
        if (!chosen) {
            result_.refused += counted;
            return;
        }
        const std::uint32_t at = chosen->index.value;
        const std::uint32_t slot = take_slot();
        Request& request = requests_[slot];
        request = {now_, work, which, at, 0, request.generation, counted, false};
        send(slot, balancer);
        if (counted && options_.watch_peaks) watch(at, key);
        if (options_.patience > Duration::zero()) {
            schedule(now_ + options_.patience, Due::patience, slot, request.generation);
        }
    }

    void send(std::uint32_t slot, Balancer& balancer) {
        Request& request = requests_[slot];
        Server& server = servers_[request.server];
        ++balancer.states[request.server].in_flight;
        const bool shares = shared_.size() > 0;
        request.others = (shares ? server.in_flight + 1 : balancer.states[request.server].in_flight) - 1;
        shared_.add(EndpointId{request.server});
        ++server.in_flight;
        ++in_flight_;
        ++result_.served[request.server];
        if (server.is.failing > 0 && work_dice_.chance(server.is.failing)) {
            return schedule(now_ + at_once, Due::failed, slot);
        }
        if (server.is.hangs) return;
        if (server.is.fixed > Duration::zero()) return schedule(now_ + server.is.fixed, Due::answered, slot);
        if (server.is.slots != 0 && server.busy >= server.is.slots) return server.queue.push_back(slot);
        start(slot);
    }

    void start(std::uint32_t slot) {
        Server& server = servers_[requests_[slot].server];
        ++server.busy;
        schedule(now_ + from_seconds(seconds(requests_[slot].work) / (server.is.speed * server.slowed)), Due::done,
                 slot);
    }

    void work_done(std::uint32_t slot) {
        Server& server = servers_[requests_[slot].server];
        --server.busy;
        if (!server.queue.empty()) {
            const std::uint32_t next = server.queue.front();
            server.queue.pop_front();
            start(next);
        }
        end(slot, 200);
    }

    /// Workers of one process eject together.
    balance::SharedEjections& ejections_of(std::uint32_t balancer) {
        return *ejections_[options_.share_loads ? 0 : balancer];
    }

    /// The attempt as the balancer sees it end.
    void tell(const Request& request, Attempt attempt) {
        attempt.endpoint = EndpointId{request.server};
        Balancer& balancer = balancers_[request.balancer];
        EndpointState& state = balancer.states[request.server];
        --state.in_flight;
        shared_.remove(EndpointId{request.server});
        (void)ejections_of(request.balancer).observe(pool_, balancer.states, attempt, now_);
        balance::learn(state, pool_, attempt, now_ - request.started, request.others, now_);
    }

    /// The client gives up; the server works on regardless.
    void leave(std::uint32_t slot) {
        Request& request = requests_[slot];
        request.client_left = true;
        result_.left += request.counted;
        Attempt attempt;
        attempt.cause = Cause::client_closed;
        tell(request, attempt);
    }

    void end(std::uint32_t slot, std::uint16_t status) {
        Request& request = requests_[slot];
        --servers_[request.server].in_flight;
        --in_flight_;
        if (!request.client_left) {
            Attempt attempt;
            attempt.status = status;
            tell(request, attempt);
            if (request.counted && status < 400) {
                ++result_.answered;
                result_.in_span += now_ - Instant{0} <= options_.span;
                result_.latencies.push_back(static_cast<float>(seconds(now_ - request.started)));
            } else {
                result_.failed += request.counted;
            }
        }
        ++request.generation;
        free_.push_back(slot);
    }

    void change(const FarmEvent& event) {
        const double weight = servers_[event.server].is.weight;
        servers_[event.server].is = event.now;
        servers_[event.server].is.weight = weight;
    }

    void antagonise() {
        if (now_ - Instant{0} >= options_.span) return;
        schedule(now_ + options_.antagonist_period, Due::antagonist, 0);
        for (Server& server : servers_) server.slowed = 1;
        const auto many =
            static_cast<std::size_t>(std::lround(options_.antagonised * static_cast<double>(servers_.size())));
        for (std::size_t n = 0; n < many;) {
            Server& server = servers_[work_dice_.below(servers_.size())];
            if (server.slowed < 1) continue;
            server.slowed = options_.antagonist_speed;
            ++n;
        }
    }

    /// What one more request at `at` makes of the distribution.
    void watch(std::uint32_t at, std::optional<std::uint64_t> key) {
        ++arrivals_;
        const double average = static_cast<double>(in_flight_) / weight_;
        double peak = 0;
        for (const Server& server : servers_) peak = std::max(peak, server.in_flight / server.is.weight);
        result_.mean_peak += peak / average;
        result_.worst_peak = std::max(result_.worst_peak, servers_[at].in_flight / servers_[at].is.weight / average);
        result_.most_in_flight = std::max(result_.most_in_flight, servers_[at].in_flight);
        if (key) result_.away_from_home += at != home(*key);
        if (bound_ > 0) watch_bound(at, average);
    }

    void watch_bound(std::uint32_t at, double average) {
        std::uint32_t most = 0;
        for (std::uint32_t i = 0; i < servers_.size(); ++i) {
            const double part = bound_ * average * servers_[i].is.weight;
            const auto bound = static_cast<std::uint32_t>(std::ceil(part - 1e-9));
            if (servers_[i].in_flight <= bound) continue;
            result_.sent_above += i == at;
            most = std::max(most, servers_[i].in_flight - bound);
        }
        result_.met_above += most > 0;
        result_.most_above = std::max(result_.most_above, most);
    }

    /// Where this key lives while nobody is busy.
    std::uint32_t home(std::uint64_t key) {
        const auto [found, is_new] = homes_.emplace(key, 0);
        if (is_new) {
            balance::Cursor cursor;
            const auto chosen = balance::pick(pool_, idle_, cursor, {}, now_, home_dice_, {key, nullptr, {}});
            found->second = chosen ? chosen->index.value : UINT32_MAX;
        }
        return found->second;
    }

    std::uint32_t take_slot() {
        if (free_.empty()) {
            requests_.emplace_back();
            return static_cast<std::uint32_t>(requests_.size() - 1);
        }
        const std::uint32_t slot = free_.back();
        free_.pop_back();
        return slot;
    }

    const FarmOptions& options_;
    balance::PoolFacts pool_;
    Random dice_, work_dice_;
    balance::SharedLoads shared_;
    std::vector<Server> servers_;
    std::vector<Balancer> balancers_;
    std::vector<std::unique_ptr<balance::SharedEjections>> ejections_;  ///< one, or one per balancer
    std::vector<Request> requests_;
    std::vector<std::uint32_t> free_;
    std::vector<Event> events_;
    std::vector<double> zipf_;
    std::vector<EndpointState> idle_;
    std::map<std::uint64_t, std::uint32_t> homes_;
    Random home_dice_{0};
    std::uint64_t sequence_ = 0, arrivals_ = 0, in_flight_ = 0;
    double weight_ = 0, bound_ = bound_of(options_.pool.policy);
    Instant now_{0};
    FarmResult result_;
};

}  // namespace

double FarmResult::quantile(double q) const {
    if (latencies.empty()) return 0;
    const double at = std::clamp(q, 0.0, 1.0) * static_cast<double>(latencies.size() - 1);
    return latencies[static_cast<std::size_t>(at)];
}

double FarmResult::within(Duration limit) const {
    if (requests == 0) return 0;
    const auto end = std::ranges::upper_bound(latencies, static_cast<float>(seconds(limit)));
    return static_cast<double>(end - latencies.begin()) / static_cast<double>(requests);
}

double FarmResult::goodput(const FarmOptions& options) const {
    return static_cast<double>(in_span) / seconds(options.span - options.warm_up);
}

FarmResult run_farm(const FarmOptions& options) { return Farm(options).run(); }

}  // namespace plimsoll::sim

#include "discovery/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <list>
#include <map>
#include <span>

#include "discovery/dns_message.h"
#include "net/parking.h"

namespace plimsoll::discovery {

namespace {

constexpr const char* system_servers = "/etc/resolv.conf";
/// c-ares is asked at least this often whether a try has timed out, while questions are pending.
constexpr Duration look_again = std::chrono::milliseconds(50);
/// Targets of one SRV answer that are looked up; each costs two questions.
constexpr std::size_t max_targets = 256;
constexpr std::uint32_t max_priority = 15;  // as Endpoint.priority in a config

/// The library's one-time initialisation, for as long as the process lives.
bool library_ready() {
    static const bool ready = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
    return ready;
}

Error failure(int status, const std::string& question) {
    const auto error = [&](Code code, std::string_view what) {
        return Error{code, Side::us, Retry::no, fmt::format("{}: {}", question, what)};
    };
    switch (status) {
        case ARES_ENOTFOUND: return error(Code::not_found, "no such name (NXDOMAIN)");
        case ARES_ETIMEOUT: return error(Code::timeout, "no name server answered");
        // c-ares asks the next server then, and says this when none is left.
        case ARES_ECONNREFUSED:
            return error(Code::refused, "no name server will answer (SERVFAIL, REFUSED or not there)");
        case ARES_ESERVFAIL: return error(Code::refused, "the name server failed (SERVFAIL)");
        case ARES_EREFUSED: return error(Code::refused, "the name server refused (REFUSED)");
        case ARES_EBADNAME: return error(Code::invalid, "not a name");
        case ARES_EBADRESP:
        case ARES_EFORMERR:
        case ARES_ENOTIMP: return error(Code::protocol, ares_strerror(status));
        default: return error(Code::io, ares_strerror(status));
    }
}

struct Question {
    explicit Question(net::Network& network) : answered(network) {}
    net::Parking answered;
    std::string reply;
    int status = ARES_ECANCELLED;
    bool done = false;
    bool left = false;  ///< nobody waits for it any more
};

/// Says when the waiting coroutine has gone, whatever way.
struct Asker {
    Question& question;
    explicit Asker(Question& of) : question(of) {}
    Asker(const Asker&) = delete;
    Asker& operator=(const Asker&) = delete;
    ~Asker() { question.left = true; }
};

}  // namespace

struct Resolver::Inside {
    Inside(net::Network& on, ResolverOptions with) : network(on), options(std::move(with)) {}
    ~Inside() {
        scope.cancel();
        close();
    }

    Result<void> open();
    void close();
    void watch(int socket, bool read, bool write);
    void process();
    async::Task<void> pump();
    void forget_answered() {
        std::erase_if(questions, [](const auto& one) { return one->done && one->left; });
    }
    async::Task<Result<std::string>> ask(const std::string& name, int type);
    async::Task<Result<Answer>> both_families(const std::string& name, std::uint16_t port);
    async::Task<void> look_up(std::size_t index, std::vector<ServiceRecord>& records, std::vector<Result<Answer>>& into,
                              std::size_t& missing, net::Parking& done);

    static void answered(void* question, int status, int timeouts, unsigned char* reply, int length);
    static void socket_state(void* inside, ares_socket_t socket, int read, int write);

    net::Network& network;
    ResolverOptions options;
    ares_channel channel = nullptr;
    int poll = -1;  ///< c-ares's sockets; our network watches this one
    std::unique_ptr<net::Watched> watched;
    std::map<int, bool> sockets;
    timespec servers_of{};                           ///< when resolv.conf was changed, as the channel has read it
    std::list<std::unique_ptr<Question>> questions;  ///< each until c-ares has answered it
    bool pumping = false;
    async::Scope scope;
};

// ---- the channel ---------------------------------------------------------------------------------------------------

Result<void> Resolver::Inside::open() {
    struct stat info{};
    const bool system = options.servers.empty();
    if (system) ::stat(system_servers, &info);
    const bool stale = info.st_mtim.tv_sec != servers_of.tv_sec || info.st_mtim.tv_nsec != servers_of.tv_nsec;
    if (channel != nullptr && system && stale && questions.empty()) close();
    if (channel != nullptr) return {};
    if (!library_ready()) return fail(Code::io, "c-ares does not start");
    servers_of = info.st_mtim;
    poll = ::epoll_create1(EPOLL_CLOEXEC);
    if (poll < 0) return fail(Code::limit, "no descriptor left for the resolver");
    auto watching = network.watch(poll);
    if (!watching) {
        close();
        return std::unexpected(watching.error());
    }
    watched = std::move(*watching);
    ares_options with{};
    with.timeout = static_cast<int>(options.timeout.count() / 1'000'000);
    with.tries = options.tries;
    std::array<char, 2> lookups{'b', 0};  // name servers only, no hosts file
    with.lookups = lookups.data();
    with.sock_state_cb = socket_state;
    with.sock_state_cb_data = this;
    const int status = ares_init_options(
        &channel, &with, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        channel = nullptr;
        close();
        return fail(Code::io, fmt::format("c-ares: {}", ares_strerror(status)));
    }
    if (system) return {};
    std::string list;
    for (const std::string& server : options.servers) list += (list.empty() ? "" : ",") + server;
    if (ares_set_servers_ports_csv(channel, list.c_str()) == ARES_SUCCESS) return {};
    close();
    return fail(Code::invalid, fmt::format("resolvers: not addresses of name servers: {}", list));
}

void Resolver::Inside::close() {
    if (channel != nullptr) ares_destroy(std::exchange(channel, nullptr));
    watched.reset();
    sockets.clear();
    if (poll >= 0) ::close(std::exchange(poll, -1));
}

void Resolver::Inside::socket_state(void* inside, ares_socket_t socket, int read, int write) {
    static_cast<Inside*>(inside)->watch(socket, read != 0, write != 0);
}

void Resolver::Inside::watch(int socket, bool read, bool write) {
    epoll_event event{};
    event.events = (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u);
    event.data.fd = socket;
    if (event.events == 0) {
        if (sockets.erase(socket) > 0) ::epoll_ctl(poll, EPOLL_CTL_DEL, socket, nullptr);
        return;
    }
    const bool known = !sockets.emplace(socket, true).second;
    ::epoll_ctl(poll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event);
}

void Resolver::Inside::process() {
    std::array<epoll_event, 16> events{};
    const int count = ::epoll_wait(poll, events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        const bool read = (event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
        const bool write = (event.events & (EPOLLOUT | EPOLLERR)) != 0;
        if (!sockets.contains(event.data.fd)) continue;  // closed by what the one before it brought
        ares_process_fd(channel, read ? event.data.fd : ARES_SOCKET_BAD, write ? event.data.fd : ARES_SOCKET_BAD);
    }
    ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // tries that have timed out
}

async::Task<void> Resolver::Inside::pump() {
    while (!questions.empty()) {
        static_cast<void>(co_await watched->readable({network.now() + look_again}));
        process();
        forget_answered();
    }
    pumping = false;
}

// ---- one question --------------------------------------------------------------------------------------------------

void Resolver::Inside::answered(void* question, int status, int, unsigned char* reply, int length) {
    auto& of = *static_cast<Question*>(question);
    of.status = status;
    of.done = true;
    if (reply != nullptr && length > 0)
        of.reply.assign(reinterpret_cast<const char*>(reply), static_cast<std::size_t>(length));
    of.answered.wake_all();
}

async::Task<Result<std::string>> Resolver::Inside::ask(const std::string& name, int type) {
    const char* what = type == ns_t_srv ? "SRV" : type == ns_t_aaaa ? "AAAA" : "A";
    const std::string said = fmt::format("{} {}", what, name);
    if (const auto opened = open(); !opened) co_return std::unexpected(opened.error());
    forget_answered();
    Question& question = *questions.emplace_back(std::make_unique<Question>(network));
    ares_query(channel, name.c_str(), ns_c_in, type, answered, &question);
    const Asker asker(question);
    if (!question.done && !std::exchange(pumping, true)) scope.spawn(pump());
    // The bound is c-ares's: every question ends after `tries` rounds.
    while (!question.done) static_cast<void>(co_await question.answered.wait(net::Deadline::none()));
    const int status = question.status;
    std::string reply = std::move(question.reply);
    if (status == ARES_ENODATA) co_return std::string{};
    if (status != ARES_SUCCESS) co_return std::unexpected(failure(status, said));
    co_return reply;
}

async::Task<Result<Answer>> Resolver::Inside::both_families(const std::string& name, std::uint16_t port) {
    const Result<std::string> four = co_await ask(name, ns_t_a);
    if (!four && four.error().code == Code::not_found) co_return std::unexpected(four.error());
    const Result<std::string> six = co_await ask(name, ns_t_aaaa);
    if (!four && !six) co_return std::unexpected(four.error());
    Answer answer;
    answer.partial = !four || !six;
    Duration ttl = Duration::max();
    for (const Result<std::string>* reply : {&four, &six}) {
        if (!*reply || (*reply)->empty()) continue;
        const Result<AddressRecords> records = reply == &four ? read_a(**reply) : read_aaaa(**reply);
        if (!records) co_return fail(Code::protocol, fmt::format("{}: {}", name, records.error().detail));
        if (!records->hosts.empty()) ttl = std::min(ttl, records->ttl);
        for (const std::string& host : records->hosts) {
            config::Endpoint endpoint;
            endpoint.address = {host, port};
            endpoint.name = text(endpoint.address);
            endpoint.labels["host"] = name;
            answer.endpoints.push_back(std::move(endpoint));
        }
    }
    if (ttl != Duration::max()) answer.ttl = std::max(ttl, Duration{1});  // 0 is said: at once again
    std::ranges::sort(answer.endpoints, {}, &config::Endpoint::address);
    answer.endpoints.erase(std::ranges::unique(answer.endpoints, {}, &config::Endpoint::address).begin(),
                           answer.endpoints.end());
    co_return answer;
}

// ---- what is asked -------------------------------------------------------------------------------------------------

Resolver::Resolver(net::Network& network, ResolverOptions options)
    : inside_(std::make_unique<Inside>(network, std::move(options))) {}
Resolver::~Resolver() = default;

async::Task<Result<Answer>> Resolver::addresses(std::string name, std::uint16_t port) {
    co_return co_await inside_->both_families(name, port);
}

async::Task<void> Resolver::Inside::look_up(std::size_t index, std::vector<ServiceRecord>& records,
                                            std::vector<Result<Answer>>& into, std::size_t& missing,
                                            net::Parking& done) {
    const ServiceRecord& record = records[index];
    into[index] = co_await both_families(record.target, record.port);
    if (--missing == 0) done.wake_all();
}

async::Task<Result<Answer>> Resolver::services(std::string name) {
    Inside& inside = *inside_;
    const Result<std::string> reply = co_await inside.ask(name, ns_t_srv);
    if (!reply) co_return std::unexpected(reply.error());
    if (reply->empty()) co_return Answer{};
    Result<ServiceRecords> found = read_srv(*reply);
    if (!found) co_return fail(Code::protocol, fmt::format("SRV {}: {}", name, found.error().detail));
    std::vector<ServiceRecord>& records = found->records;
    if (records.size() > max_targets)
        co_return fail(Code::limit, fmt::format("SRV {}: {} targets, more than {}", name, records.size(), max_targets));
    std::vector<Result<Answer>> addresses(records.size(), Answer{});
    std::size_t missing = records.size();
    net::Parking done(inside.network);
    {
        async::Scope scope;
        for (std::size_t i = 0; i < records.size(); ++i)
            scope.spawn(inside.look_up(i, records, addresses, missing, done));
        while (missing > 0) static_cast<void>(co_await done.wait(net::Deadline::none()));
    }
    co_return combine(name, *found, addresses, max_priority);
}

std::size_t Resolver::pending() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(inside_->questions, [](const auto& one) { return !one->done; }));
}

}  // namespace plimsoll::discovery

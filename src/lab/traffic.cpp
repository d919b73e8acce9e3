#include "lab/traffic.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <iterator>
#include <unordered_map>

#include "base/hash.h"

namespace plimsoll::lab {
namespace {

/// What a path ends in, with the share of requests (docs/traffic-model.md); a page is a directory-like path.
struct Ending {
    double share;
    std::string_view text;
};
constexpr std::array<Ending, 9> endings{{{0.29, "/"},
                                         {0.25, ".png"},
                                         {0.15, ".css"},
                                         {0.12, ".html"},
                                         {0.08, ".ico"},
                                         {0.04, ".jpg"},
                                         {0.03, ".js"},
                                         {0.02, ".txt"},
                                         {0.02, ".gif"}}};
constexpr std::array<std::string_view, 8> sections{"presentations", "blog",     "images", "projects",
                                                   "files",         "articles", "icons",  "misc"};

std::uint16_t length_around(double mean, double sigma, Random& random) {
    return static_cast<std::uint16_t>(std::clamp(mean + sigma * random.normal(), 8.0, 4 * mean));
}

std::uint32_t body_size(const TrafficModel& model, std::string_view path, std::uint64_t seed) {
    Random dice(keyed_hash(path, seed ^ 0x512e));
    const double size = std::exp(model.size_log_mean + model.size_log_sigma * dice.normal());
    return static_cast<std::uint32_t>(std::clamp(size, 1.0, static_cast<double>(model.size_limit)));
}

}  // namespace

Zipf::Zipf(std::uint32_t n, double exponent) {
    cumulative_.reserve(n);
    double total = 0;
    for (std::uint32_t rank = 0; rank < n; ++rank) {
        total += std::pow(static_cast<double>(rank) + 1, -exponent);
        cumulative_.push_back(total);
    }
    for (double& value : cumulative_) value /= total;
}

std::uint32_t Zipf::draw(Random& random) const {
    const auto at = std::ranges::upper_bound(cumulative_, random.uniform());
    return static_cast<std::uint32_t>(std::min(at, cumulative_.end() - 1) - cumulative_.begin());
}

double Zipf::probability(std::uint32_t rank) const {
    return rank == 0 ? cumulative_[0] : cumulative_[rank] - cumulative_[rank - 1];
}

Arrivals::Arrivals(double rate, ArrivalShape shape, Random random) : rate_(rate), shape_(shape), random_(random) {
    log_factor_ = shape_.sigma * random_.normal();
    next_step();
}

void Arrivals::next_step() {
    // AR(1) with the stationary spread `sigma`; the factor is centred so that its mean is 1.
    const double fresh = shape_.sigma * std::sqrt(1 - shape_.memory * shape_.memory);
    log_factor_ = shape_.memory * log_factor_ + fresh * random_.normal();
    factor_ = std::exp(log_factor_ - 0.5 * shape_.sigma * shape_.sigma);
    step_end_ += seconds(shape_.step);
}

Duration Arrivals::next() {
    double owed = random_.exponential(1.0);  // expected arrivals still to pass before the next one comes
    for (;;) {
        const double rate = rate_ * factor_;
        const double left = (step_end_ - now_) * rate;
        if (owed <= left) {
            now_ += owed / rate;
            return from_seconds(now_);
        }
        owed -= left;
        now_ = step_end_;
        next_step();
    }
}

std::string path_of(const TrafficModel& model, std::uint32_t rank, std::uint64_t seed) {
    if (rank == 0) return "/";
    Random dice(keyed_hash(std::uint64_t{rank}, seed ^ 0x9a74));
    double u = dice.uniform();
    std::string_view ending = endings.front().text;
    for (const Ending& e : endings) {
        ending = e.text;
        if ((u -= e.share) < 0) break;
    }
    std::string path = fmt::format("/{}/{}", sections[dice.below(sections.size())], rank);
    // Lengths as measured: log-normal, median 26 bytes; drawn words fill the rest.
    const auto length = static_cast<std::size_t>(std::clamp(std::exp(3.18 + 0.7 * dice.normal()), 4.0, 200.0));
    while (path.size() + ending.size() < length) {
        path += path.size() % 9 == 0 ? '-' : static_cast<char>('a' + dice.below(26));
    }
    path += ending;
    if (dice.chance(model.query_share)) path += fmt::format("?v={}", dice.below(1000));
    return path;
}

Traffic::Traffic(const TrafficModel& model, double rate, std::uint64_t seed)
    : Traffic(recording::Recording{}, model, rate, seed) {}

Traffic::Traffic(recording::Recording recording, const TrafficModel& model, double rate, std::uint64_t seed)
    : model_(model),
      random_(seed),
      arrivals_(rate, model.arrivals, random_.split()),
      paths_(model.paths, model.path_exponent),
      clients_(model.clients, model.client_exponent),
      seed_(seed),
      records_(std::move(recording.records)) {
    std::unordered_map<std::uint64_t, std::uint32_t> index;  // looked up only, never iterated
    record_client_.reserve(records_.size());
    for (const auto& record : records_) {
        record_client_.push_back(
            index.try_emplace(record.client_key, static_cast<std::uint32_t>(index.size())).first->second);
    }
}

Request Traffic::next() {
    Request request = records_.empty() ? invent() : replay();
    Random client_dice(keyed_hash(std::uint64_t{request.client}, seed_ ^ 0xa6e7));
    request.agent_bytes = length_around(model_.agent_mean, model_.agent_sigma, client_dice);
    if (random_.chance(model_.referer_share)) {
        request.referer_bytes = length_around(model_.referer_mean, model_.referer_mean / 2, random_);
    }
    request.at = arrivals_.next();
    return request;
}

Request Traffic::invent() {
    Request request;
    request.client = clients_.draw(random_);
    request.path = path_of(model_, paths_.draw(random_), seed_);
    request.size = body_size(model_, request.path, seed_);
    const double m = random_.uniform();
    if (m < model_.head_method) {
        request.method = "HEAD";
    } else if (m < model_.head_method + model_.post_method) {
        request.method = "POST";
        request.body = 200 + static_cast<std::uint32_t>(random_.below(1800));
    }
    double s = random_.uniform();
    if (request.method != "GET") return request;
    if ((s -= model_.not_modified) < 0) {
        request.status = 304, request.size = 0;
    } else if ((s -= model_.not_found) < 0) {
        request.status = 404, request.size = 324;
    } else if ((s -= model_.moved) < 0) {
        request.status = 301, request.size = 338;
    } else if ((s -= model_.partial) < 0) {
        request.status = 206, request.size = std::min(request.size, 65'536u);
    }
    return request;
}

Request Traffic::replay() {
    const recording::Record& record = records_[position_];
    Request request;
    request.client = record_client_[position_];
    position_ = (position_ + 1) % records_.size();
    request.method = record.method == "HEAD" || record.method == "POST" ? record.method : "GET";
    request.path = record.path.starts_with('/') ? record.path : "/" + record.path;
    request.status = record.status >= 200 && record.status < 500 && record.status != 204 ? record.status : 200;
    request.size = static_cast<std::uint32_t>(std::min<std::uint64_t>(record.response_body_bytes, model_.size_limit));
    if (request.status == 304) request.size = 0;
    if (request.method == "POST") {
        request.body = static_cast<std::uint32_t>(std::min<std::uint64_t>(record.request_body_bytes, 65'536));
    }
    return request;
}

std::string combined_log(Traffic& traffic, std::size_t count, Timestamp start) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) {
        const Request r = traffic.next();
        const Timestamp at = start + r.at;
        const std::string when = rfc3339(at);  // 2026-11-22T10:23:04.310Z
        constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        const auto month = static_cast<std::size_t>((when[5] - '0') * 10 + (when[6] - '0') - 1);
        fmt::format_to(std::back_inserter(out),
                       "10.{}.{}.{} - - [{}/{}/{}:{} +0000] \"{} {} HTTP/1.1\" {} {} \"-\" \"{:a<{}}\"\n",
                       r.client >> 16, (r.client >> 8) & 255, r.client & 255, when.substr(8, 2), months[month],
                       when.substr(0, 4), when.substr(11, 8), r.method, r.path, r.status,
                       r.size == 0 ? std::string("-") : std::to_string(r.size), "agent/", r.agent_bytes);
    }
    return out;
}

}  // namespace plimsoll::lab

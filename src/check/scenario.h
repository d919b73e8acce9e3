// Bench B10 and small configs for the tests of this room.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "check/check.h"
#include "config/config.h"

namespace plimsoll::check::scenario {

inline config::Pool pool(std::string name, int endpoints, double capacity = 200, int first_port = 9101) {
    config::Pool p;
    p.name = std::move(name);
    p.policy = config::Policy::round_robin;
    for (int i = 0; i < endpoints; ++i) {
        config::Endpoint e;
        e.name = "b" + std::to_string(i);
        e.address = {"127.0.0.1", static_cast<std::uint16_t>(first_port + i)};
        if (capacity > 0) e.capacity = capacity;
        p.endpoints.push_back(e);
    }
    return p;
}

inline config::Route route(std::string name, std::string prefix, std::string to) {
    config::Route r{std::move(name), {}, std::move(to)};
    if (!prefix.empty()) r.match.path_prefix = std::move(prefix);
    return r;
}

/// Ten servers of 200 requests/s, everything goes there.
inline config::Config b10(double capacity = 200) {
    config::Config c;
    c.listeners.resize(1);
    c.listeners[0].name = "web";
    c.listeners[0].address = {"127.0.0.1", 8080};
    c.pools = {pool("web", 10, capacity)};
    c.routes = {route("all", "", "web")};
    return c;
}

/// As if an operator had written it: printed and read, so that places exist.
inline config::Document document(const config::Config& config) {
    config::Parsed parsed = config::parse(config::print(config), "web.yaml");
    EXPECT_TRUE(parsed.document) << (parsed.findings.empty() ? "" : text(parsed.findings[0]));
    return parsed.document ? *parsed.document : config::Document{};
}

inline config::Config changed(config::Config c, const std::function<void(config::Config&)>& edit) {
    edit(c);
    return c;
}

/// Traffic of one path at this peak, service times like the bench's: mean 40 ms, p99 113 ms.
inline Traffic traffic(double peak = 1200) {
    using namespace std::chrono_literals;
    Traffic t;
    t.requests = 100'000;
    t.span = 600s;
    t.peak_rate = peak;
    t.mix = {{"example.com", "/", "GET", 100'000, 40ms, 113ms}};
    t.service_mean = 40ms;
    t.service_p999 = 170ms;
    t.head_bytes_p999 = 2000;
    t.body_bytes_p999 = 50'000;
    return t;
}
inline LiveState live(double peak = 1200) { return {traffic(peak), {}}; }

inline const Finding* find(const Findings& findings, std::string_view code) {
    for (const Finding& f : findings) {
        if (f.code == code) return &f;
    }
    return nullptr;
}
inline std::string all_text(const Findings& findings) {
    std::string out;
    for (const Finding& f : findings) out += text(f) + "\n";
    return out;
}

}  // namespace plimsoll::check::scenario

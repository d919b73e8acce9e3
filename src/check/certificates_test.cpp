// Certificates are judged by their facts.
#include <gtest/gtest.h>

#include "check/rule_cases.h"

namespace plimsoll::check {
namespace {

using namespace scenario;

constexpr Timestamp today{1'800'000'000'000'000'000};

CertificateFacts facts(std::vector<std::string> names) {
    CertificateFacts f;
    f.name = "main";
    f.not_before = {today.ns - std::chrono::nanoseconds(24h * 30).count()};
    f.not_after = today + 24h * 60;
    f.dns_names = std::move(names);
    return f;
}
LiveState knowing(std::vector<CertificateFacts> all) {
    LiveState state = live();
    state.certificates = std::move(all);
    state.now = today;
    return state;
}
/// Routes for a.example.com and *.b.example on both listeners.
Config hosted() {
    return changed(b10(), [](Config& c) {
        with_tls(c);
        c.routes.insert(c.routes.begin(), {route("a", "", "web"), route("b", "", "web")});
        c.routes[0].match.host = "a.example.com";
        c.routes[1].match.host = "*.b.example";
    });
}

TEST(Certificates, AreJudgedByTheirFacts) {
    const config::Document d = document(hosted());
    const std::vector<std::string> names{"*.example.com", "*.B.example"};
    EXPECT_TRUE(check_config(d, knowing({facts(names)})).empty()) << all_text(check_config(d, knowing({facts(names)})));
    const auto expect = [&](std::string_view code, Severity severity,
                            const std::function<void(CertificateFacts&)>& edit) {
        CertificateFacts f = facts(names);
        edit(f);
        const Findings found = check_config(d, knowing({f}));
        const Finding* finding = find(found, code);
        ASSERT_NE(finding, nullptr) << code << all_text(found);
        EXPECT_EQ(finding->severity, severity) << code;
        EXPECT_TRUE(finding->path.starts_with("certificates.main")) << finding->path;
        EXPECT_GT(finding->where.line, 0);
    };
    expect("P420-certificate-unusable", Severity::error, [](auto& f) { f.error = "m.pem: no such file"; });
    expect("P420-key-mismatch", Severity::error, [](auto& f) { f.key_matches = false; });
    expect("P420-chain-incomplete", Severity::warning, [](auto& f) { f.chain_complete = false; });
    expect("P420-certificate-expired", Severity::error, [](auto& f) { f.not_after = {today.ns - 1}; });
    expect("P420-expires-soon", Severity::warning, [](auto& f) { f.not_after = today + 24h * 13; });
    expect("P420-not-yet-valid", Severity::error, [](auto& f) { f.not_before = today + 1h; });
    expect("P420-certificate-revoked", Severity::error, [](auto& f) {
        f.revoked = true;
        f.ocsp_error = "says that the certificate is revoked";
    });
    expect("P420-ocsp-unusable", Severity::warning, [](auto& f) { f.ocsp_error = "is for another certificate"; });
    expect("P420-ocsp-ended", Severity::warning, [](auto& f) { f.ocsp_until = today; });
    expect("P420-must-staple", Severity::warning, [](auto& f) { f.must_staple = true; });
    expect("P420-must-staple", Severity::warning, [](auto& f) {
        f.must_staple = true;
        f.ocsp_until = {today.ns - 1};
    });
    CertificateFacts stapled = facts(names);
    stapled.must_staple = true;
    stapled.ocsp_until = today + 1h;
    EXPECT_TRUE(check_config(d, knowing({stapled})).empty());
    EXPECT_TRUE(check_config(d).empty()) << "without facts nothing is said";
}

TEST(Certificates, CoverTheHostsOfTheirListener) {
    const config::Document d = document(hosted());
    const Findings found = check_config(d, knowing({facts({"a.example.com"})}));
    const Finding* f = find(found, "P420-host-uncovered");
    ASSERT_NE(f, nullptr) << all_text(found);
    EXPECT_EQ(f->path, "routes[1].match.host");
    EXPECT_NE(f->message.find("*.b.example"), std::string::npos) << f->message;
    Config elsewhere = hosted();
    elsewhere.routes[1].match.listeners = {"web"};
    EXPECT_TRUE(check_config(document(elsewhere), knowing({facts({"a.example.com"})})).empty());
}

TEST(Certificates, StandForOneLabel) {
    const auto covers = [](std::vector<std::string> names, const std::string& host) {
        const Config served = changed(hosted(), [&](Config& c) {
            c.routes.erase(c.routes.begin());
            c.routes[0].match.host = host;
        });
        return find(check_config(document(served), knowing({facts(std::move(names))})), "P420-host-uncovered") ==
               nullptr;
    };
    EXPECT_TRUE(covers({"*.example.com"}, "A.example.com"));
    EXPECT_FALSE(covers({"*.example.com"}, "a.b.example.com"));
    EXPECT_FALSE(covers({"*.example.com"}, "example.com"));
    EXPECT_FALSE(covers({"*.com"}, "com"));
    EXPECT_TRUE(covers({"x", "localhost"}, "localhost"));
    EXPECT_FALSE(covers({}, "a"));
}

TEST(Certificates, MayNotGoWhileHostsNeedThem) {
    const Config before = changed(hosted(), [](Config& c) {
        c.certificates.push_back({"other", "o.pem", "o.key", ""});
        c.listeners[1].tls->certificates = {"main", "other"};
    });
    CertificateFacts other = facts({"*.b.example"});
    other.name = "other";
    const LiveState state = knowing({facts({"a.example.com"}), other});
    const Config after = changed(before, [](Config& c) {
        c.certificates.pop_back();
        c.listeners[1].tls->certificates.pop_back();
    });
    const Findings found = check_change(before, document(after), state);
    const Finding* f = find(found, "P420-certificate-removed");
    ASSERT_NE(f, nullptr) << all_text(found);
    EXPECT_EQ(f->severity, Severity::error);
    const Config tidied = changed(after, [](Config& c) { c.routes.erase(c.routes.begin() + 1); });
    EXPECT_EQ(find(check_change(before, document(tidied), state), "P420-certificate-removed"), nullptr);
}

}  // namespace
}  // namespace plimsoll::check

// Answers instead of values: a match by them is the match by the request itself, or says what it does not know.
#include "snapshot/questions.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "base/random.h"
#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {
namespace {

using Lines = std::multimap<std::string, std::string>;

void each_line(const Lines& lines, std::string_view name, ValueSink sink) {
    const auto [from, to] = lines.equal_range(std::string(name));
    for (auto line = from; line != to; ++line)
        if (!sink(line->second)) return;
}

struct Asking {
    Lines lines{};
    std::string path = "/", query{};
    template <class F>
    auto with_view(F use) const {
        const HeaderLookup headers(
            lines, [](const Lines& in, std::string_view name, ValueSink sink) { each_line(in, name, sink); });
        return use(RequestView{.path = path, .query = query, .method = "GET", .headers = &headers});
    }
};

config::FieldMatch field(std::string name, std::optional<std::string> exact, bool invert = false) {
    config::FieldMatch made;
    made.name = std::move(name);
    made.exact = std::move(exact);
    made.invert = invert;
    return made;
}

config::Config site(std::vector<config::Match> matches) {
    config::Config config;
    config.pools.emplace_back().name = "web";
    for (std::size_t i = 0; i < matches.size(); ++i)
        config.routes.push_back({fmt::format("r{}", i), std::move(matches[i]), "web"});
    return config;
}

std::shared_ptr<const Snapshot> compiled(const config::Config& config) {
    Identities ids;
    return compile(config, RevisionNumber{1}, ids, 1);
}

Questions questions_of(const std::shared_ptr<const Snapshot>& snapshot) {
    const Snapshot* resident = snapshot.get();
    return Questions(std::span(&resident, 1));
}

TEST(Questions, NothingIsAskedWhereNoConditionIs) {
    config::Match plain;
    plain.path_prefix = "/a";
    plain.methods = {"GET"};
    const auto snapshot = compiled(site({plain, {}}));
    EXPECT_TRUE(questions_of(snapshot).empty());
    EXPECT_EQ(questions_of(snapshot).digests(), nullptr);
    EXPECT_TRUE(Questions().empty());
}

TEST(Questions, EachFieldIsAskedForAndEachConditionOnce) {
    config::Match one, two;
    one.headers = {field("X-Beta", "1"), field("x-beta", "1", true)};
    two.headers = {field("x-beta", "2")};
    two.query = {field("x-beta", std::nullopt)};
    const auto snapshot = compiled(site({one, two}));
    const Questions questions = questions_of(snapshot);
    ASSERT_NE(questions.digests(), nullptr);
    EXPECT_EQ(questions.digests()->size(), 4u) << "is the header there, is it 1, is it 2, is the parameter there";
    const Snapshot* twice[] = {snapshot.get(), snapshot.get()};
    EXPECT_EQ(*Questions(twice).digests(), *questions.digests());
    EXPECT_EQ(*questions_of(compiled(site({one, two}))).digests(), *questions.digests()) << "in any process";
}

TEST(Questions, MoreThanARecordHoldsAreLeftUnknown) {
    std::vector<config::Match> matches(100);
    for (std::size_t i = 0; i < matches.size(); ++i) matches[i].headers = {field("x", fmt::format("{}", i))};
    const auto snapshot = compiled(site(matches));
    const Questions questions = questions_of(snapshot);
    EXPECT_EQ(questions.digests()->size(), max_questions);
    Asking asking;
    asking.lines = {{"x", "90"}};
    const std::uint64_t held = asking.with_view([&](const RequestView& view) { return questions.ask(view); });
    Remembered known(*questions.digests(), held);
    RequestView view{.path = "/", .method = "GET", .remembered = &known};
    const auto taken = snapshot->match(view);
    EXPECT_FALSE(taken);
    ASSERT_TRUE(known.open(taken));
    EXPECT_EQ(known.open(taken)->route.value, max_questions - 1);
    Remembered absent(*questions.digests(), 0);
    view.remembered = &absent;
    EXPECT_FALSE(snapshot->match(view));
    EXPECT_FALSE(absent.open(std::nullopt)) << "what is not there is none of them";
}

TEST(Remembered, AnOpenRouteBehindTheOneTakenDoesNotMatter) {
    config::Match open, plain;
    open.headers = {field("x", "1")};
    const auto snapshot = compiled(site({plain, open}));
    Remembered nothing;
    const RequestView view{.path = "/", .method = "GET", .remembered = &nothing};
    const auto taken = snapshot->match(view);
    ASSERT_TRUE(taken);
    EXPECT_FALSE(nothing.open(taken));
}

TEST(Remembered, ARouteThatAnotherConditionRulesOutIsNotOpen) {
    config::Match open;
    open.headers = {field("x", "1"), field("y", "1")};
    config::Match known_only;
    known_only.headers = {field("y", "1")};
    const auto asks_y = compiled(site({known_only}));
    const auto asks_both = compiled(site({open, {}}));
    const Questions questions = questions_of(asks_y);
    Remembered known(*questions.digests(), 0);
    RequestView view{.path = "/", .method = "GET", .remembered = &known};
    EXPECT_FALSE(known.open(asks_both->match(view))) << "y is not 1, whatever x is";
    Remembered with_y(*questions.digests(), ~std::uint64_t{0});
    view.remembered = &with_y;
    const auto open_now = with_y.open(asks_both->match(view));
    ASSERT_TRUE(open_now);
    EXPECT_EQ(open_now->condition->text, "header x is 1");
}

/// Few names and values, so that they meet.
config::Match some_match(Random& random) {
    static const char* const values[] = {"1", "2", "a b"};
    config::Match match;
    if (random.chance(0.4)) match.path_prefix = random.chance(0.5) ? "/a" : "/a/b";
    for (auto* fields : {&match.headers, &match.query}) {
        for (auto n = random.below(3); n > 0; --n) {
            config::FieldMatch one = field(random.chance(0.5) ? "x" : "y", std::nullopt, random.chance(0.3));
            const auto kind = random.below(3);
            if (kind == 1) one.exact = values[random.below(3)];
            if (kind == 2) one.regex = random.chance(0.5) ? "[12]" : "1, 2|a.*";
            fields->push_back(one);
        }
    }
    return match;
}

Asking some_request(Random& random) {
    static const char* const values[] = {"1", "2", "a b", ""};
    Asking asking;
    asking.path = random.chance(0.5) ? "/a/b/c" : "/";
    for (auto n = random.below(4); n > 0; --n) {
        asking.lines.emplace(random.chance(0.5) ? "x" : "y", values[random.below(4)]);
        asking.query += std::string(random.chance(0.5) ? "x=" : "y=") + (random.chance(0.5) ? "1&" : "a+b&");
    }
    return asking;
}

RC_GTEST_PROP(Remembered, a_match_by_answers_is_the_match_by_the_request, (std::uint64_t seed)) {
    Random random(seed);
    std::vector<config::Match> matches(1 + random.below(6));
    for (auto& match : matches) match = some_match(random);
    const auto recorded_by = compiled(site(matches));
    const Questions questions = questions_of(recorded_by);
    // The same conditions in another order, and perhaps one that nobody has asked.
    std::vector<config::Match> later = matches;
    for (std::size_t i = later.size(); i > 1; --i) std::swap(later[i - 1], later[random.below(i)]);
    const bool news = random.chance(0.5);
    if (news) later.insert(later.begin(), some_match(random));
    const auto asked_of = compiled(site(later));
    for (int i = 0; i < 20; ++i) {
        const Asking asking = some_request(random);
        asking.with_view([&](const RequestView& view) {
            const std::uint64_t held = questions.empty() ? 0 : questions.ask(view);
            const auto digests = questions.empty() ? std::span<const std::uint64_t>{} : std::span(*questions.digests());
            Remembered known(digests, held);
            const RequestView as_recorded{.path = view.path, .method = view.method, .remembered = &known};
            const auto by_answers = asked_of->match(as_recorded);
            const auto by_request = asked_of->match(view);
            const auto open = known.open(by_answers);
            RC_ASSERT(!open || news);
            if (!open) RC_ASSERT(by_answers == by_request);
            // Otherwise it takes that route or one behind it.
            if (open && by_request) RC_ASSERT(by_request->value >= open->route.value);
        });
    }
}

}  // namespace
}  // namespace plimsoll::snapshot

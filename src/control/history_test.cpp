#include "control/history.h"

#include <gtest/gtest.h>

namespace plimsoll::control {
namespace {

History folded(std::initializer_list<store::Entry> entries) {
    History history;
    std::uint64_t sequence = 0;
    for (store::Entry entry : entries) {
        entry.sequence = ++sequence;
        history.fold(entry);
    }
    return history;
}

ChangeRecord change(const std::string& id) {
    ChangeRecord made;
    made.id = id;
    made.base = RevisionNumber{1};
    made.digest = "d2";
    made.author = "platform";
    made.reason = "more weight";
    made.submitted = Timestamp{1000};
    return made;
}

TEST(History, AChangeBecomesARevisionAndThenActive) {
    const History history =
        folded({revision_entry({RevisionNumber{1}, {}, "d1", "one", "a.yaml", "", Timestamp{1}}),
                active_entry(RevisionNumber{1}, "first start", Timestamp{2}), change_entry(change("C1")),
                revision_entry({RevisionNumber{2}, RevisionNumber{1}, "d2", "two", "b.yaml", "C1", Timestamp{3}}),
                active_entry(RevisionNumber{2}, "C1 completed", Timestamp{4}),
                known_good_entry(RevisionNumber{2}, Timestamp{4})});
    EXPECT_EQ(history.active, RevisionNumber{2});
    EXPECT_EQ(history.last_known_good(), RevisionNumber{2});
    ASSERT_NE(history.active_revision(), nullptr);
    EXPECT_EQ(history.active_revision()->text, "two");
    ASSERT_EQ(history.changes.size(), 1u);
    EXPECT_EQ(history.changes[0].revision, RevisionNumber{2});
    EXPECT_EQ(history.next_revision(), RevisionNumber{3});
    EXPECT_EQ(history.next_change(), "C2");
    EXPECT_EQ(history.sequence, 6u);
}

TEST(History, ADurableRevisionThatWasNeverActivatedDoesNotWinByAccident) {
    const History history =
        folded({revision_entry({RevisionNumber{1}, {}, "d1", "one", "a.yaml", "", Timestamp{1}}),
                active_entry(RevisionNumber{1}, "first start", Timestamp{2}),
                revision_entry({RevisionNumber{2}, RevisionNumber{1}, "d2", "two", "b.yaml", "C1", Timestamp{3}})});
    EXPECT_EQ(history.active, RevisionNumber{1});
}

TEST(History, AnEndingKeepsItsFiguresAndTheFreeze) {
    ChangeRecord ended = change("C1");
    ended.ending = "rolled_back";
    ended.exit_code = 4;
    ended.incident = "INC-1";
    ended.detail = R"({"harmed":3})";
    const History history = folded({change_entry(change("C1")), line_entry("C1", {Timestamp{5}, "canary", "1 %"}),
                                    ending_entry(ended), frozen_entry({"d2", "C1", "rolled back", Timestamp{6}})});
    EXPECT_EQ(history.changes[0].ending, "rolled_back");
    EXPECT_EQ(history.changes[0].exit_code, 4);
    EXPECT_EQ(history.changes[0].detail, R"({"harmed":3})");
    ASSERT_EQ(history.changes[0].lines.size(), 1u);
    EXPECT_TRUE(history.frozen.contains("d2"));
}

TEST(History, EntriesOfAnotherVersionAreCountedAndPassedOver) {
    const History history = folded({{0, {}, "from-the-future", "x", "{}"},
                                    {0, {}, "active", "r1", "not json"},
                                    {0, {}, "active", "r1", R"({"revision":"one"})"}});
    EXPECT_EQ(history.unreadable, 3u);
    EXPECT_EQ(history.active, RevisionNumber{});
}

TEST(History, FoundEndpointsAreToldAndReadBack) {
    config::Config config;
    config.pools.resize(2);
    config.pools[0].name = "web";
    config.pools[0].discovery.emplace().name = "web.internal";
    config.pools[1].name = "other";
    config::Endpoint endpoint;
    endpoint.address = *config::parse_address("[2001:db8::7]:80");
    endpoint.name = "seven \"7\"";
    endpoint.weight = 2.5;
    endpoint.capacity = 100;
    endpoint.zone = "a";
    endpoint.priority = 1;
    endpoint.labels = {{"host", "x"}};
    discovery::Found found;
    found[{"web", *config.pools[0].discovery}] = {endpoint};
    const std::string json = found_json(found);
    const auto read = found_of(config, json);
    ASSERT_TRUE(read) << read.error().detail;
    EXPECT_EQ(*read, found);
    config.pools[0].discovery->name = "elsewhere.internal";
    EXPECT_TRUE(found_of(config, json)->empty()) << "of another source";
    for (const char* nonsense : {"", "{", "[1]", "[{}]", R"([{"pool":1,"source":2,"endpoints":3}])"})
        EXPECT_TRUE(!found_of(config, nonsense) || found_of(config, nonsense)->empty()) << nonsense;
}

TEST(History, WhatSomebodyRolledBackFromIsNotGoodAnyMore) {
    const History history =
        folded({active_entry(RevisionNumber{1}, "first start", {}), known_good_entry(RevisionNumber{1}, {}),
                active_entry(RevisionNumber{2}, "C1 completed", {}), known_good_entry(RevisionNumber{2}, {}),
                active_entry(RevisionNumber{1}, "C2 rollback by hand", {}, RevisionNumber{2}),
                known_good_entry(RevisionNumber{1}, {})});
    EXPECT_EQ(history.known_good, std::vector{RevisionNumber{1}});
    EXPECT_TRUE(history.were_active.contains(2)) << "by its number it can be had again";
}

TEST(History, LastKnownGoodIsTheLastThatEarnedIt) {
    const History history = folded({known_good_entry(RevisionNumber{1}, {}), known_good_entry(RevisionNumber{2}, {}),
                                    known_good_entry(RevisionNumber{1}, {})});
    EXPECT_EQ(history.last_known_good(), RevisionNumber{1});
    EXPECT_EQ(history.known_good.size(), 2u);
}

}  // namespace
}  // namespace plimsoll::control

// The codec's promises: what is written is read, damage costs only its own block, and the peak is the peak.
#include "recording/recording.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "base/hash.h"
#include "base/random.h"

namespace plimsoll::recording {

void PrintTo(const Record& record, std::ostream* out) {
    *out << record.at.count() << "ns " << record.method << ' ' << record.host << record.path << " -> "
         << record.endpoint << ' ' << record.status << " key " << record.client_key;
}

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string word(Random& random) {
    std::string out;
    for (auto n = random.below(12); n > 0; --n) out += static_cast<char>(random.below(256));
    return out;
}

/// Few lists, shared by many records, as workers make them.
Answers some_answers(Random& random) {
    static const auto lists = [] {
        std::vector<std::shared_ptr<const std::vector<std::uint64_t>>> made{nullptr};
        for (const std::size_t size : {1u, 3u, 64u}) {
            std::vector<std::uint64_t> digests;
            for (std::size_t i = 0; i < size; ++i) digests.push_back(keyed_hash(i, size));
            made.push_back(std::make_shared<const std::vector<std::uint64_t>>(digests));
        }
        return made;
    }();
    Answers out{.asked = lists[random.below(lists.size())]};
    if (out.asked != nullptr) out.held = random.next() >> (64 - out.asked->size());
    return out;
}

Recording some_recording(std::uint64_t seed, std::size_t count) {
    Random random(seed);
    Recording out{.start = {static_cast<std::int64_t>(random.below(1ULL << 61))}, .records = {}};
    Duration at{};
    for (std::size_t i = 0; i < count; ++i) {
        at += Duration{static_cast<std::int64_t>(random.below(3'000'000))};
        out.records.push_back({.at = at,
                               .client_key = random.next(),
                               .host = word(random),
                               .path = random.chance(0.5) ? "/cart" : word(random),
                               .method = random.chance(0.9) ? "GET" : word(random),
                               .endpoint = word(random),
                               .request_head_bytes = static_cast<std::uint32_t>(random.next()),
                               .response_head_bytes = static_cast<std::uint32_t>(random.below(2000)),
                               .request_body_bytes = random.next() >> random.below(64),
                               .response_body_bytes = random.next() >> random.below(64),
                               .status = static_cast<std::uint16_t>(random.below(65536)),
                               .attempts = static_cast<std::uint8_t>(random.below(256)),
                               .cause = static_cast<Cause>(random.below(cause_count)),
                               .service = Duration{static_cast<std::int64_t>(random.next())},
                               .total = Duration{static_cast<std::int64_t>(random.next())},
                               .listener = random.chance(0.5) ? "web" : word(random),
                               .answers = some_answers(random)});
    }
    return out;
}

Record at(Duration when) { return {.at = when, .host = {}, .path = "/", .method = "GET", .endpoint = {}}; }

RC_GTEST_PROP(Recording, read_gives_back_what_was_written, (std::uint64_t seed)) {
    const auto original = some_recording(seed, *rc::gen::inRange<std::size_t>(0, 300));
    const auto back = read(write(original));
    RC_ASSERT(back.has_value());
    RC_ASSERT(back->damaged_blocks == 0u);
    RC_ASSERT(back->start == original.start);
    RC_ASSERT(back->records == original.records);
}

void put(std::string& out, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

/// One record of a file as version 1 wrote it, byte by byte as docs/formats/recording.md has it.
std::string first_version() {
    std::string body{"\x0a", 1};  // 5 ns after the base
    put(body, 77, 8);
    for (const std::string_view text : {"h", "/p", "GET", "b1"}) {
        body += '\0';
        body += static_cast<char>(text.size());
        body += text;
    }
    body += std::string("\x64\x32\x00\x07\xc8\x01\x01\x00\x14\x28", 10);
    std::string out{"PLIMREC\x01", 8};
    put(out, 1'000, 8);
    put(out, body.size(), 4);
    put(out, 1, 4);
    constexpr std::uint64_t key = 0x706c696d736f6c6cULL;
    put(out, keyed_hash(body, key), 8);
    put(out, keyed_hash(std::string_view(out), key), 8);
    return out + body;
}

TEST(Recording, files_of_version_1_are_read_and_may_lie_beside_newer_ones) {
    const auto old = read(first_version());
    ASSERT_TRUE(old);
    ASSERT_EQ(old->records.size(), 1u);
    const Record& record = old->records[0];
    EXPECT_EQ(record.client_key, 77u);
    EXPECT_EQ(record.path, "/p");
    EXPECT_EQ(record.endpoint, "b1");
    EXPECT_EQ(record.status, 200);
    EXPECT_EQ(record.total, Duration{20});
    EXPECT_EQ(record.listener, "");
    EXPECT_EQ(record.answers, Answers{});
    const auto both = read(first_version() + write(some_recording(3, 10)));
    ASSERT_TRUE(both);
    EXPECT_EQ(both->records.size(), 11u);
    EXPECT_EQ(both->damaged_blocks, 0u);
}

TEST(Recording, a_block_of_a_version_to_come_is_a_damaged_block) {
    std::string bytes = write(some_recording(4, 5));
    bytes[7] = 3;
    EXPECT_FALSE(read(bytes));
    const auto beside = read(bytes + write(some_recording(5, 5)));
    ASSERT_TRUE(beside);
    EXPECT_EQ(beside->records.size(), 5u);
    EXPECT_EQ(beside->damaged_blocks, 1u);
}

TEST(Recording, conditions_that_repeat_cost_a_block_their_digests_once) {
    Recording recording;
    const auto asked = std::make_shared<const std::vector<std::uint64_t>>(64, 0x1234567812345678ULL);
    for (int i = 0; i < 1000; ++i) {
        recording.records.push_back(at(milliseconds(i)));
        recording.records.back().listener = "web";
    }
    const std::size_t without = write(recording).size();
    for (Record& record : recording.records) record.answers = {.asked = asked, .held = 5};
    EXPECT_LE(write(recording).size(), without + 600 + 2 * 1000);
    const auto back = read(write(recording));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->records, recording.records);
    EXPECT_EQ(back->records[0].answers.asked, back->records[999].answers.asked) << "shared in memory as well";
}

TEST(Recording, answers_beyond_the_conditions_are_left_out) {
    Recording recording;
    recording.records.push_back(at(milliseconds(0)));
    recording.records[0].answers = {.asked = std::make_shared<const std::vector<std::uint64_t>>(70, std::uint64_t{9}),
                                    .held = ~std::uint64_t{0}};
    const auto back = read(write(recording));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->records[0].answers.digests().size(), max_asked);
    recording.records[0].answers.asked = std::make_shared<const std::vector<std::uint64_t>>(2, std::uint64_t{9});
    EXPECT_EQ(read(write(recording))->records[0].answers.held, 3u);
}

TEST(Recording, spans_several_blocks) {
    const auto original = some_recording(1, 10'000);
    const auto bytes = write(original);
    const auto back = read(bytes);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->records, original.records);
    EXPECT_EQ(back->span(), original.records.back().at);
    EXPECT_GT(bytes.find("PLIMREC", 1), 0u);
    EXPECT_NE(bytes.find("PLIMREC", 1), std::string::npos);
}

TEST(Recording, no_bytes_are_an_empty_recording_and_foreign_bytes_are_refused) {
    ASSERT_TRUE(read(""));
    EXPECT_TRUE(read("")->records.empty());
    const auto foreign = read("SQLite format 3");
    ASSERT_FALSE(foreign);
    EXPECT_EQ(foreign.error().code, Code::invalid);
}

TEST(Recording, oldest_blocks_may_be_dropped) {
    const auto original = some_recording(2, 9'000);
    const auto bytes = write(original);
    const auto later = read(std::string_view(bytes).substr(bytes.find("PLIMREC", 1)));
    ASSERT_TRUE(later);
    EXPECT_EQ(later->damaged_blocks, 0u);
    EXPECT_EQ(later->records.size(), 9'000u - 4'096u);
    EXPECT_EQ(later->start, original.start + original.records[4096].at);
    EXPECT_EQ(later->records.front().at, Duration{0});
    EXPECT_EQ(later->records.front().path, original.records[4096].path);
}

TEST(Recording, blocks_of_several_workers_are_ordered_by_time) {
    const Timestamp base{1'000'000'000'000};
    BlockWriter one(base), two(base + seconds(1));
    one.add(at(seconds(5)));
    one.add(at(seconds(2)));           // a record that began earlier may be added later
    two.add(at(-milliseconds(1500)));  // began before its block did
    const auto back = read(one.finish(base) + two.finish(base));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->start, base + -milliseconds(500));
    ASSERT_EQ(back->records.size(), 3u);
    EXPECT_EQ(back->records[0].at, Duration{0});
    EXPECT_EQ(back->records[1].at, milliseconds(2500));
    EXPECT_EQ(back->records[2].at, milliseconds(5500));
}

TEST(Recording, a_writer_starts_anew_after_finish) {
    BlockWriter writer(Timestamp{0});
    writer.add(at(seconds(1)));
    EXPECT_EQ(writer.records(), 1u);
    const auto first = writer.finish(Timestamp{Duration(seconds(10)).count()});
    EXPECT_EQ(writer.records(), 0u);
    EXPECT_EQ(writer.bytes(), 0u);
    writer.add(at(seconds(1)));
    const auto back = read(first + writer.finish(Timestamp{}));
    ASSERT_TRUE(back);
    ASSERT_EQ(back->records.size(), 2u);
    EXPECT_EQ(back->records[1].at, seconds(11));
}

TEST(Recording, a_block_has_an_end) {
    BlockWriter writer(Timestamp{0});
    std::size_t added = 0;
    for (Record record = at(Duration{0}); writer.add(record); ++added) {
        record.path = std::to_string(added) + std::string(600, 'p');
    }
    EXPECT_LE(writer.bytes(), max_block_bytes);
    const auto back = read(writer.finish(Timestamp{}));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->records.size(), added);
    EXPECT_EQ(back->records.back().path.size(), max_string_bytes);
    EXPECT_FALSE(writer.add(at(std::chrono::hours(24 * 366 * 11))));
}

RC_GTEST_PROP(Recording, damage_costs_only_the_blocks_it_hits, (std::uint64_t seed)) {
    Random random(seed);
    std::string bytes;
    std::vector<std::size_t> ends;
    for (int block = 0; block < 6; ++block) {
        bytes += write(some_recording(random.next(), 20));
        ends.push_back(bytes.size());
    }
    const auto position = random.below(bytes.size());
    bytes[position] = static_cast<char>(bytes[position] ^ static_cast<char>(1 + random.below(255)));
    const auto back = read(bytes);
    RC_ASSERT(back.has_value());
    RC_ASSERT(back->damaged_blocks == 1u);
    RC_ASSERT(back->records.size() == 100u);
}

RC_GTEST_PROP(Recording, cut_anywhere_the_whole_blocks_before_are_read, (std::uint64_t seed)) {
    Random random(seed);
    const std::string first = write(some_recording(seed, 20)), second = write(some_recording(seed + 1, 20));
    const auto keep = 1 + random.below(second.size() - 1);
    const auto back = read(first + second.substr(0, keep));
    RC_ASSERT(back.has_value());
    RC_ASSERT(back->records.size() == 20u);
    RC_ASSERT(back->damaged_blocks == 1u);
}

RC_GTEST_PROP(Recording, a_sample_is_one_record_of_each_so_many_in_a_row, (std::uint64_t seed)) {
    Random random(seed);
    const auto n = 1 + random.below(300), every = 2 + random.below(9);
    const std::string bytes = write(some_recording(seed, static_cast<std::size_t>(n)));
    const auto whole = read(bytes), sample = read(bytes, static_cast<std::size_t>(every));
    RC_ASSERT(sample.has_value());
    RC_ASSERT(sample->every == every);
    RC_ASSERT(sample->damaged_blocks == 0u);
    std::size_t found = 0;  // in the same order, by wall clock
    for (const Record& record : sample->records) {
        const auto same = [&](Record other) {
            other.at = whole->start + other.at - sample->start;
            return other == record;
        };
        while (found < whole->records.size() && !same(whole->records[found])) ++found;
        RC_ASSERT(found < whole->records.size());
    }
    RC_ASSERT(sample->records.size() >= n / every);
    RC_ASSERT(sample->records.size() <= (n + every - 1) / every);
}

TEST(PeakRate, is_the_busiest_window) {
    Recording recording;
    EXPECT_EQ(peak_rate(recording), 0);
    for (int i = 0; i < 600; ++i) recording.records.push_back(at(milliseconds(100 * i)));               // 10/s for 60 s
    for (int i = 0; i < 500; ++i) recording.records.push_back(at(seconds(30) + milliseconds(10 * i)));  // 100/s, 5 s
    std::ranges::sort(recording.records, {}, &Record::at);
    EXPECT_DOUBLE_EQ(peak_rate(recording, seconds(5)), 110);
    EXPECT_DOUBLE_EQ(peak_rate(recording, seconds(10)), 60);
}

TEST(PeakRate, a_short_recording_is_not_diluted) {
    Recording recording;
    for (int i = 0; i <= 200; ++i) recording.records.push_back(at(milliseconds(10 * i)));  // 100/s for 2 s
    EXPECT_DOUBLE_EQ(peak_rate(recording, seconds(10)), 100);
    recording.records.resize(1);
    EXPECT_DOUBLE_EQ(peak_rate(recording), 1);
}

TEST(PeakRate, from_heads_counts_what_they_promise) {
    std::vector<BlockHead> blocks;
    EXPECT_EQ(peak_rate(blocks), 0);
    for (int i = 0; i < 60; ++i) {
        const std::size_t records = i >= 30 && i < 40 ? 500 : 100;
        blocks.push_back({Timestamp{(1000 + i) * 1'000'000'000LL}, records});
    }
    EXPECT_DOUBLE_EQ(peak_rate(blocks), 500);
    EXPECT_DOUBLE_EQ(peak_rate(blocks, seconds(20)), 300);
}

}  // namespace
}  // namespace plimsoll::recording

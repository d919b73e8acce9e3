// The recording codec: blocks of records as bytes. Pure; any thread. Format: docs/formats/recording.md.
#include "recording/recording.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>

#include "base/hash.h"
#include "base/random.h"

namespace plimsoll::recording {
namespace {

// Block: magic 8, base 8, body length 4, records 4, checksum of the body 8, checksum of the 32 bytes before it 8.
constexpr std::string_view magic{"PLIMREC", 7};                // and a byte for the version
constexpr char newest = 2;                                     // 1 had neither listener nor answers
constexpr std::uint64_t checksum_key = 0x706c696d736f6c6cULL;  // fixed: the checksum finds damage, not forgery
constexpr std::int64_t ten_years_ns = 10LL * 366 * 86'400 * 1'000'000'000;
constexpr std::size_t records_per_written_block = 4096;

void put_fixed(std::string& out, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

std::uint64_t get_fixed(std::string_view in, std::size_t at, int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) {
        const auto byte = static_cast<unsigned char>(in[at + static_cast<std::size_t>(i)]);
        value |= std::uint64_t{byte} << (8 * i);
    }
    return value;
}

void put_number(std::string& out, std::uint64_t value) {
    while (value >= 0x80) {
        out += static_cast<char>(value | 0x80);
        value >>= 7;
    }
    out += static_cast<char>(value);
}

std::uint64_t fold_sign(std::int64_t value) {
    return static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
}
std::int64_t unfold_sign(std::uint64_t value) { return static_cast<std::int64_t>(value >> 1 ^ (~(value & 1) + 1)); }

/// Takes fields off a block's body; after the first one that is not there everything is 0 and `failed` is set.
struct Fields {
    std::string_view rest;
    bool failed = false;

    std::uint64_t fixed(int bytes) {
        const auto n = static_cast<std::size_t>(bytes);
        if (failed || rest.size() < n) return failed = true, 0;
        const std::uint64_t value = get_fixed(rest, 0, bytes);
        rest.remove_prefix(n);
        return value;
    }
    std::uint64_t number(std::uint64_t most = UINT64_MAX) {
        if (!failed && !rest.empty() && static_cast<unsigned char>(rest.front()) < 0x80) {  // most are
            const std::uint64_t value = static_cast<unsigned char>(rest.front());
            rest.remove_prefix(1);
            return value <= most ? value : (failed = true, 0);
        }
        std::uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            const std::uint64_t byte = fixed(1);
            if (failed) return 0;
            if (shift == 63 && byte > 1) break;
            value |= (byte & 0x7f) << shift;
            if (byte < 0x80) return value <= most ? value : (failed = true, 0);
        }
        return failed = true, 0;
    }
    Duration duration() { return Duration{unfold_sign(number())}; }
    std::string_view string(std::vector<std::string_view>& seen) {
        const std::uint64_t reference = number(seen.size());
        if (failed) return {};
        if (reference > 0) return seen[reference - 1];
        const std::uint64_t length = number(max_string_bytes);
        if (failed || rest.size() < length) return failed = true, std::string_view{};
        seen.push_back(rest.substr(0, length));
        rest.remove_prefix(length);
        return seen.back();
    }
};

/// As many answers as there are conditions, all of them yes.
constexpr std::uint64_t all_of(std::size_t conditions) { return UINT64_MAX >> (max_asked - conditions); }
static_assert(max_asked == 64, "answers are the bits of one number");

struct Header : BlockHead {
    char version = 0;
    std::uint64_t checksum = 0;
};

/// The header at the front of `bytes`, if it is whole, unharmed and within the limits.
std::optional<Header> header(std::string_view bytes) {
    if (bytes.size() < block_head_bytes || !bytes.starts_with(magic)) return std::nullopt;
    if (get_fixed(bytes, 32, 8) != keyed_hash(bytes.substr(0, 32), checksum_key)) return std::nullopt;
    const Header found{{.base = {static_cast<std::int64_t>(get_fixed(bytes, 8, 8))},
                        .records = get_fixed(bytes, 20, 4),
                        .body = get_fixed(bytes, 16, 4)},
                       bytes[magic.size()],
                       get_fixed(bytes, 24, 8)};
    const bool plausible = found.version >= 1 && found.version <= newest && found.base.ns >= 0 &&
                           found.base.ns <= INT64_MAX - 2 * ten_years_ns && found.body <= max_block_bytes &&
                           found.records <= max_block_records;
    return plausible ? std::optional(found) : std::nullopt;
}

/// A record as it stands in a block's body; views of the body.
struct Raw {
    Duration at{};
    std::uint64_t client_key = 0;
    std::string_view host, path, method, endpoint, listener, asked;
    std::uint64_t request_head = 0, response_head = 0, request_body = 0, response_body = 0;
    std::uint64_t status = 0, attempts = 0, cause = 0, held = 0;
    Duration service{}, total{};
};

Raw take(Fields& in, char version, std::vector<std::string_view>& seen, Duration at) {
    Raw raw;
    raw.at = at;
    raw.client_key = in.fixed(8);
    raw.host = in.string(seen);
    raw.path = in.string(seen);
    raw.method = in.string(seen);
    raw.endpoint = in.string(seen);
    raw.request_head = in.number(UINT32_MAX);
    raw.response_head = in.number(UINT32_MAX);
    raw.request_body = in.number();
    raw.response_body = in.number();
    raw.status = in.number(UINT16_MAX);
    raw.attempts = in.number(UINT8_MAX);
    raw.cause = in.number(cause_count - 1);
    raw.service = in.duration();
    raw.total = in.duration();
    if (version < 2) return raw;
    raw.listener = in.string(seen);
    raw.asked = in.string(seen);
    if (raw.asked.size() % 8 != 0) in.failed = true;
    if (!in.failed && !raw.asked.empty()) raw.held = in.number(all_of(raw.asked.size() / 8));
    return raw;
}

/// Lists of digests that were read already, by where they stand in the block.
using Asked = std::map<const char*, std::shared_ptr<const std::vector<std::uint64_t>>>;

Record keep(const Raw& raw, Asked& known) {
    Record record;
    record.at = raw.at;
    record.client_key = raw.client_key;
    record.host = raw.host;
    record.path = raw.path;
    record.method = raw.method;
    record.endpoint = raw.endpoint;
    record.request_head_bytes = static_cast<std::uint32_t>(raw.request_head);
    record.response_head_bytes = static_cast<std::uint32_t>(raw.response_head);
    record.request_body_bytes = raw.request_body;
    record.response_body_bytes = raw.response_body;
    record.status = static_cast<std::uint16_t>(raw.status);
    record.attempts = static_cast<std::uint8_t>(raw.attempts);
    record.cause = static_cast<Cause>(raw.cause);
    record.service = raw.service;
    record.total = raw.total;
    record.listener = raw.listener;
    if (raw.asked.empty()) return record;
    auto& asked = known[raw.asked.data()];
    if (asked == nullptr) {
        std::vector<std::uint64_t> digests;
        for (std::size_t at = 0; at < raw.asked.size(); at += 8) digests.push_back(get_fixed(raw.asked, at, 8));
        asked = std::make_shared<const std::vector<std::uint64_t>>(std::move(digests));
    }
    record.answers = {asked, raw.held};
    return record;
}

/// Says of which records a sample consists: one of each `every` in a row, any of them.
class Sampler {
public:
    explicit Sampler(std::size_t every) : every_(every) {}
    bool wants() {
        if (every_ <= 1) return true;
        if (left_ == 0) {
            left_ = every_;
            chosen_ = 1 + dice_.below(every_);
        }
        return left_-- == chosen_;
    }

private:
    std::size_t every_, left_ = 0, chosen_ = 0;
    Random dice_{1};
};

/// Appends the wanted records of a body, `at` counted from the block's base. False when the body does not hold them.
bool decode(const Header& header, std::string_view body, Sampler& sampler, std::vector<Record>& out) {
    Fields in{body};
    std::vector<std::string_view> seen;
    Asked asked;
    std::int64_t at = 0;
    for (std::size_t i = 0; i < header.records; ++i) {
        const std::int64_t step = in.duration().count();
        if (step > 2 * ten_years_ns || step < -2 * ten_years_ns) return false;
        at += step;
        if (at > ten_years_ns || at < -ten_years_ns) return false;
        const Raw raw = take(in, header.version, seen, Duration{at});
        if (in.failed) return false;
        if (sampler.wants()) out.push_back(keep(raw, asked));
    }
    return in.rest.empty();
}

/// Sorts by time; what has the same time keeps its order. (std::stable_sort needs a deprecated call in libstdc++ 12.)
void order_by_time(std::vector<Record>& records) {
    if (std::ranges::is_sorted(records, {}, &Record::at)) return;
    std::vector<std::pair<Duration, std::size_t>> order(records.size());
    for (std::size_t i = 0; i < records.size(); ++i) order[i] = {records[i].at, i};
    std::ranges::sort(order);
    std::vector<Record> sorted;
    sorted.reserve(records.size());
    for (const auto& [at, index] : order) sorted.push_back(std::move(records[index]));
    records = std::move(sorted);
}

}  // namespace

BlockWriter::BlockWriter(Timestamp base) : base_(base) {}

void BlockWriter::put_string(std::string_view text) {
    text = text.substr(0, max_string_bytes);
    const auto known = strings_.find(text);
    if (known != strings_.end()) return put_number(body_, known->second);
    put_number(body_, 0);
    put_number(body_, text.size());
    body_ += text;
    strings_.emplace(text, static_cast<std::uint32_t>(strings_.size() + 1));
}

void BlockWriter::put_answers(const Answers& answers) {
    if (answers.asked != asked_) {
        asked_ = answers.asked;
        asked_text_.clear();
        for (const std::uint64_t digest : answers.digests().first(std::min(answers.digests().size(), max_asked)))
            put_fixed(asked_text_, digest, 8);
    }
    put_string(asked_text_);
    if (!asked_text_.empty()) put_number(body_, answers.held & all_of(asked_text_.size() / 8));
}

bool BlockWriter::add(const Record& record) {
    constexpr std::size_t largest_record = 6 * (max_string_bytes + 4) + 110;
    if (records_ == max_block_records || body_.size() + largest_record > max_block_bytes) return false;
    const std::int64_t at = record.at.count();
    if (at > ten_years_ns || at < -ten_years_ns) return false;
    put_number(body_, fold_sign(at - previous_at_));
    previous_at_ = at;
    put_fixed(body_, record.client_key, 8);
    put_string(record.host);
    put_string(record.path);
    put_string(record.method);
    put_string(record.endpoint);
    put_number(body_, record.request_head_bytes);
    put_number(body_, record.response_head_bytes);
    put_number(body_, record.request_body_bytes);
    put_number(body_, record.response_body_bytes);
    put_number(body_, record.status);
    put_number(body_, record.attempts);
    put_number(body_, static_cast<std::uint64_t>(record.cause));
    put_number(body_, fold_sign(record.service.count()));
    put_number(body_, fold_sign(record.total.count()));
    put_string(record.listener);
    put_answers(record.answers);
    ++records_;
    return true;
}

std::string BlockWriter::finish(Timestamp next_base) {
    std::string block{magic};
    block += newest;
    block.reserve(block_head_bytes + body_.size());
    put_fixed(block, static_cast<std::uint64_t>(base_.ns), 8);
    put_fixed(block, body_.size(), 4);
    put_fixed(block, records_, 4);
    put_fixed(block, keyed_hash(body_, checksum_key), 8);
    put_fixed(block, keyed_hash(std::string_view(block).substr(0, 32), checksum_key), 8);
    block += body_;
    base_ = next_base;
    previous_at_ = 0;
    records_ = 0;
    body_.clear();
    strings_.clear();
    return block;
}

std::optional<BlockHead> block_head(std::string_view bytes) { return header(bytes); }

Result<Recording> read(std::string_view bytes, std::size_t every) {
    Recording out;
    out.every = std::max<std::size_t>(every, 1);
    Sampler sampler(out.every);
    std::vector<std::pair<Timestamp, std::size_t>>
        blocks;  // base and number of records kept, in order of `out.records`
    bool inside_damage = false;
    for (std::size_t at = 0; at < bytes.size();) {
        const auto rest = bytes.substr(at);
        const auto found = header(rest);
        const std::size_t before = out.records.size();
        if (found && rest.size() - block_head_bytes >= found->body) {
            const auto body = rest.substr(block_head_bytes, found->body);
            if (keyed_hash(body, checksum_key) == found->checksum && decode(*found, body, sampler, out.records)) {
                blocks.emplace_back(found->base, out.records.size() - before);
                inside_damage = false;
                at += block_head_bytes + found->body;
                continue;
            }
            out.records.resize(before);
        }
        const bool looks_like_a_block = rest.starts_with(magic);
        if (looks_like_a_block || !inside_damage) ++out.damaged_blocks;
        inside_damage = true;
        const std::size_t next = bytes.find(magic, at + 1);
        at = next == std::string_view::npos ? bytes.size() : next;
    }
    if (blocks.empty() && !bytes.empty()) {
        return fail(Code::invalid,
                    "not one intact block of a Plimsoll recording in these " + std::to_string(bytes.size()) + " bytes");
    }
    // A record may lie before its block's base (it began before the block did), so the start is the earliest of all.
    out.start = blocks.empty() ? Timestamp{} : blocks.front().first;
    std::size_t i = 0;
    for (const auto& [base, count] : blocks) {
        out.start = std::min(out.start, base);
        for (const std::size_t end = i + count; i < end; ++i) out.start = std::min(out.start, base + out.records[i].at);
    }
    i = 0;
    for (const auto& [base, count] : blocks) {
        for (const std::size_t end = i + count; i < end; ++i) out.records[i].at += base - out.start;
    }
    order_by_time(out.records);
    return out;
}

std::string write(const Recording& recording) {
    std::string out;
    Timestamp base = recording.start;
    BlockWriter writer(base);
    for (const Record& record : recording.records) {
        Record shifted = record;
        shifted.at = recording.start + record.at - base;
        if (writer.records() == records_per_written_block || !writer.add(shifted)) {
            base = recording.start + record.at;
            out += writer.finish(base);
            shifted.at = Duration{0};
            PLIMSOLL_ENSURE(writer.add(shifted), "an empty block has no room for a record");
        }
    }
    if (writer.records() > 0 || out.empty()) out += writer.finish(base);
    return out;
}

namespace {

/// `at(i)` and `weight(i)` of `n` things in order of time.
template <class At, class Weight>
double most_in(Duration window, std::size_t n, const At& at, const Weight& weight) {
    if (n == 0 || window <= Duration{0}) return 0;
    window = std::min<Duration>(window, std::max<Duration>(at(n - 1) - at(0), std::chrono::seconds(1)));
    std::size_t most = 0, inside = 0;
    for (std::size_t first = 0, last = 0; first < n; inside -= weight(first++)) {
        while (last < n && at(last) - at(first) < window) inside += weight(last++);
        most = std::max(most, inside);
    }
    return static_cast<double>(most) / seconds(window);
}

}  // namespace

double peak_rate(const Recording& recording, Duration window) {
    const auto& records = recording.records;
    return most_in(
        window, records.size(), [&](std::size_t i) { return records[i].at; },
        [&](std::size_t) { return recording.every; });
}

double peak_rate(std::span<const BlockHead> blocks, Duration window) {
    return most_in(
        window, blocks.size(), [&](std::size_t i) { return blocks[i].base - blocks[0].base; },
        [&](std::size_t i) { return blocks[i].records; });
}

}  // namespace plimsoll::recording

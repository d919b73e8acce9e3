#include "control/recorder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

namespace plimsoll::control {

namespace {

namespace fs = std::filesystem;

constexpr Duration block_length = std::chrono::seconds(1);
/// So many requests are a block before the second is over: 300 bytes each and their strings, in a buffer that doubles.
constexpr std::size_t block_requests = 8192;
constexpr Duration segment_length = std::chrono::seconds(30);

}  // namespace

Recorder::Recorder(std::string directory, config::RecordingSettings settings)
    : directory_(std::move(directory)), settings_(settings) {
    std::error_code error;
    fs::create_directories(directory_, error);
    if (error) {
        failed(fmt::format("{}: {}", directory_, error.message()));
        return;
    }
    for (const auto& file : fs::directory_iterator(directory_, error)) {
        const std::string name = file.path().filename().string();
        std::int64_t start = 0;
        const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), start);
        if (bad == std::errc{} && std::string_view(end) == ".recording")
            segments_.push_back({Timestamp{start}, file.path().string(), file.file_size(error)});
    }
    std::ranges::sort(segments_, {}, &Segment::start);
}

void Recorder::add(std::vector<Timed> records, Timestamp now) {
    if (!settings_.enabled) return;
    if (buffer_.empty()) block_start_ = now;
    buffer_.insert(buffer_.end(), std::make_move_iterator(records.begin()), std::make_move_iterator(records.end()));
    if (buffer_.size() >= block_requests || (!buffer_.empty() && now - block_start_ >= block_length)) write_block(now);
}

void Recorder::flush(Timestamp now) {
    if (!buffer_.empty()) write_block(now);
}

void Recorder::write_block(Timestamp now) {
    std::ranges::sort(buffer_, {}, [](const Timed& timed) { return timed.at; });
    const Timestamp base = buffer_.front().at;
    recording::BlockWriter writer(base);
    std::string block;
    Timestamp block_base = base;
    for (Timed& timed : buffer_) {
        timed.record.at = timed.at - block_base;
        if (writer.add(timed.record)) continue;
        block += writer.finish(timed.at);  // full: the next one starts with this request
        block_base = timed.at;
        timed.record.at = Duration{};
        writer.add(timed.record);
    }
    buffer_.clear();
    block += writer.finish(now);

    if (segments_.empty() || base - segments_.back().start >= segment_length)
        segments_.push_back({base, fmt::format("{}/{}.recording", directory_, base.ns), 0});
    Segment& segment = segments_.back();
    std::ofstream file(segment.path, std::ios::binary | std::ios::app);
    file.write(block.data(), static_cast<std::streamsize>(block.size()));
    file.close();
    if (file) {
        segment.bytes += block.size();
    } else {
        failed(fmt::format("{}: {}", segment.path, std::strerror(errno)));
    }
    forget(now);
}

void Recorder::forget(Timestamp now) {
    while (segments_.size() > 1 && (now - segments_[1].start > settings_.keep || bytes() > settings_.max_bytes)) {
        std::error_code error;
        fs::remove(segments_.front().path, error);
        if (error) failed(fmt::format("{}: {}", segments_.front().path, error.message()));
        segments_.pop_front();
    }
}

void Recorder::failed(std::string why) {
    ++failures_;
    last_failure_ = std::move(why);
}

std::vector<std::string> Recorder::segments() const {
    std::vector<std::string> paths;
    for (const Segment& segment : segments_) paths.push_back(segment.path);
    return paths;
}

std::uint64_t Recorder::bytes() const {
    std::uint64_t total = 0;
    for (const Segment& segment : segments_) total += segment.bytes;
    return total;
}

namespace {

constexpr std::size_t usual_record_bytes = 50;

/// Whole blocks of a segment, or what lies behind damage in it.
struct Piece {
    const std::string* path = nullptr;
    std::uint64_t at = 0, bytes = 0;
    std::vector<recording::BlockHead> blocks{};
    std::uint64_t unknown = 0;  ///< bytes of it that lie behind damage
    [[nodiscard]] std::size_t records() const {
        std::size_t sum = unknown / usual_record_bytes;  // else a damaged segment would be kept whole
        for (const recording::BlockHead& block : blocks) sum += block.records;
        return sum;
    }
};
constexpr std::uint64_t piece_bytes = 1u << 20;  // read into one buffer, which stays in the cache

/// In order of the file. Reads 40 bytes a block.
void add_pieces(const std::string& path, std::vector<Piece>& to) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) return;
    const auto size = static_cast<std::uint64_t>(std::max<std::streamoff>(file.tellg(), 0));
    std::string head(recording::block_head_bytes, '\0');
    for (std::uint64_t at = 0; at < size;) {
        file.seekg(static_cast<std::streamoff>(at));
        std::optional<recording::BlockHead> block;
        if (file.read(head.data(), static_cast<std::streamsize>(head.size()))) block = recording::block_head(head);
        const std::uint64_t bytes = block ? std::min(size - at, head.size() + block->body) : size - at;
        if (to.empty() || to.back().path != &path || to.back().bytes >= piece_bytes) to.push_back({&path, at});
        to.back().bytes += bytes;
        if (block) {
            to.back().blocks.push_back(*block);
        } else {
            to.back().unknown += bytes;
        }
        at += bytes;
    }
}

std::string_view read(const Piece& piece, std::string& buffer) {
    if (buffer.size() < piece.bytes) buffer.resize(piece.bytes);
    std::ifstream file(*piece.path, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(piece.at));
    file.read(buffer.data(), static_cast<std::streamsize>(piece.bytes));
    return std::string_view(buffer).substr(0, static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
}

}  // namespace

recording::Recording load(const std::vector<std::string>& segments, const Enough& enough,
                          const std::function<void()>& between) {
    std::vector<Piece> pieces;  // newest first
    std::size_t records = 0;
    for (auto path = segments.rbegin(); path != segments.rend() && records < enough.looked_at; ++path) {
        std::vector<Piece> of_segment;
        add_pieces(*path, of_segment);
        for (auto piece = of_segment.rbegin(); piece != of_segment.rend() && records < enough.looked_at; ++piece) {
            records += piece->records();
            pieces.push_back(std::move(*piece));
        }
    }
    const std::size_t most = std::max<std::size_t>(enough.most, 1);
    recording::Recording whole;
    whole.every = std::max<std::size_t>((records + most - 1) / most, 1);
    whole.records.reserve(records / whole.every + pieces.size());
    std::string buffer;
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
        if (between) between();
        auto part = recording::read(read(*piece, buffer), whole.every);
        if (!part || part->records.empty()) continue;
        if (whole.records.empty()) whole.start = part->start;
        const Duration offset = part->start - whole.start;
        whole.damaged_blocks += part->damaged_blocks;
        for (recording::Record& record : part->records) {
            record.at += offset;
            whole.records.push_back(std::move(record));
        }
    }
    // Where pieces meet, a block may have requests of another worker from just before.
    if (!std::ranges::is_sorted(whole.records, {}, &recording::Record::at))
        std::ranges::sort(whole.records, {}, &recording::Record::at);
    return whole;
}

double peak_rate(const std::vector<std::string>& segments) {
    std::vector<Piece> pieces;
    for (const std::string& path : segments) add_pieces(path, pieces);
    std::vector<recording::BlockHead> blocks;
    for (const Piece& piece : pieces) blocks.insert(blocks.end(), piece.blocks.begin(), piece.blocks.end());
    std::ranges::sort(blocks, {}, &recording::BlockHead::base);
    return recording::peak_rate(blocks);
}

}  // namespace plimsoll::control

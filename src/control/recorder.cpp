#include "control/recorder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace plimsoll::control {

namespace {

namespace fs = std::filesystem;

constexpr Duration block_length = std::chrono::seconds(1);
constexpr Duration segment_length = std::chrono::seconds(30);
/// Requests held in memory between two blocks; more are the workers' to drop (they count it).
constexpr std::size_t max_buffered = 1'000'000;

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
    const std::size_t room = max_buffered - std::min(max_buffered, buffer_.size());
    const auto taken = static_cast<std::ptrdiff_t>(std::min(room, records.size()));
    buffer_.insert(buffer_.end(), std::make_move_iterator(records.begin()),
                   std::make_move_iterator(records.begin() + taken));
    if (!buffer_.empty() && now - block_start_ >= block_length) write_block(now);
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

recording::Recording load(const std::vector<std::string>& segments, std::size_t max_records) {
    std::vector<recording::Recording> parts;  // newest first
    std::size_t records = 0;
    for (auto path = segments.rbegin(); path != segments.rend() && records < max_records; ++path) {
        std::ifstream file(*path, std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(file), {}};
        auto part = recording::read(bytes);
        if (!part || part->records.empty()) continue;
        records += part->records.size();
        parts.push_back(std::move(*part));
    }
    recording::Recording whole;
    if (parts.empty()) return whole;
    whole.start = parts.back().start;
    whole.records.reserve(records);
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
        const Duration offset = part->start - whole.start;
        whole.damaged_blocks += part->damaged_blocks;
        for (recording::Record& record : part->records) {
            record.at += offset;
            whole.records.push_back(std::move(record));
        }
    }
    if (whole.records.size() > max_records)
        whole.records.erase(whole.records.begin(), whole.records.end() - static_cast<std::ptrdiff_t>(max_records));
    return whole;
}

}  // namespace plimsoll::control

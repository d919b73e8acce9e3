// Any bytes: read never crashes, and what it accepts survives a round trip. The bytes are tried as a file, and again as
// the body of a block of each version with right checksums, which chance would hardly ever find.
#include <cstdlib>
#include <string>

#include "base/hash.h"
#include "recording/recording.h"

namespace {

void put(std::string& out, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

std::string block(std::string_view body, std::uint8_t records, char version) {
    constexpr std::uint64_t key = 0x706c696d736f6c6cULL;  // docs/formats/recording.md
    std::string out{"PLIMREC"};
    out += version;
    put(out, 1'700'000'000'000'000'000, 8);
    put(out, body.size(), 4);
    put(out, records, 4);
    put(out, plimsoll::keyed_hash(body, key), 8);
    put(out, plimsoll::keyed_hash(std::string_view(out), key), 8);
    return out.append(body);
}

void try_bytes(std::string_view bytes) {
    using namespace plimsoll::recording;
    const auto first = read(bytes);
    if (!first || first->start.ns < 0) return;
    const auto second = read(write(*first));
    if (!second || second->records != first->records || second->start != first->start) std::abort();
    static_cast<void>(peak_rate(*first));
    const auto sample = read(bytes, 3);
    if (!sample || sample->records.size() > first->records.size()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    try_bytes(bytes);
    if (size == 0) return 0;
    for (const char version : {'\x01', '\x02'}) try_bytes(block(bytes.substr(1), data[0], version));
    return 0;
}

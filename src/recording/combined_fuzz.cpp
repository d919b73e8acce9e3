// Any text: the importer never crashes, accounts for every line, and what it makes can be written and read back.
#include <cstdlib>

#include "recording/recording.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace plimsoll::recording;
    const auto got = import_combined({reinterpret_cast<const char*>(data), size}, "fuzz.log", 1);
    if (got.recording.records.size() + got.bad_lines != got.lines || got.findings.size() > max_import_findings) {
        std::abort();
    }
    const auto back = read(write(got.recording));
    if (!back || back->records != got.recording.records) std::abort();
    return 0;
}

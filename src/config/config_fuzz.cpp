// Any bytes: parse never throws or crashes, and what it accepts prints and parses back to the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace plimsoll;
    const auto parsed = config::parse({reinterpret_cast<const char*>(data), size}, "fuzz.yaml");
    if (!parsed.document) {
        if (!has_errors(parsed.findings)) std::abort();
        return 0;
    }
    const auto again = config::parse(config::print(parsed.document->config), "printed.yaml");
    if (!again.document || !(again.document->config == parsed.document->config)) std::abort();
    if (!config::diff(parsed.document->config, *again.document).empty()) std::abort();
    return 0;
}

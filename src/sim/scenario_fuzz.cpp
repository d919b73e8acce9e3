// Any bytes give a scenario or findings, never a crash; what was read again gives the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "sim/scenario.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto once = plimsoll::sim::parse_scenario(text, "fuzz");
    const auto twice = plimsoll::sim::parse_scenario(text, "fuzz");
    PLIMSOLL_ENSURE(once.findings == twice.findings, "the same text gave different findings");
    PLIMSOLL_ENSURE(once.scenario.has_value() != plimsoll::has_errors(once.findings), "neither scenario nor finding");
    if (once.scenario) {
        PLIMSOLL_ENSURE(once.scenario->end > plimsoll::Instant{}, "it never ends");
        PLIMSOLL_ENSURE(once.scenario->config == twice.scenario->config, "the same text gave different configs");
    }
    return 0;
}

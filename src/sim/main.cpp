// plimsoll-balancing [PART [SEEDS]]: the balancing benchmarks in virtual time. Prints the tables of docs/balancing.md;
// the same bytes on every machine. Exit code 1 if a promise is broken.
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string_view>

#include "sim/balancing.h"

int main(int argc, char** argv) {
    const std::string_view part = argc > 1 ? argv[1] : "all";
    std::uint64_t seeds = 5;
    if (argc > 2) {
        const std::string_view text = argv[2];
        const auto read = std::from_chars(text.data(), text.data() + text.size(), seeds);
        if (read.ec != std::errc{} || read.ptr != text.data() + text.size() || seeds < 1 || seeds > 100) {
            std::fputs("SEEDS is a number from 1 to 100\n", stderr);
            return 1;
        }
    }
    const auto report = plimsoll::sim::balancing_report(part, seeds);
    std::fputs(report.text.c_str(), stdout);
    return report.kept ? 0 : 1;
}

// plimsoll-balancing: the balancing benchmarks in virtual time. Prints the tables of docs/balancing.md; the same bytes
// on every machine. Exit code 1 if a promise is broken.
#include <cstdio>
#include <string_view>

#include "sim/balancing.h"

int main(int argc, char** argv) {
    const std::string_view part = argc > 1 ? argv[1] : "all";
    const auto report = plimsoll::sim::balancing_report(part);
    std::fputs(report.text.c_str(), stdout);
    return report.kept ? 0 : 1;
}

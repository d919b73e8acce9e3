// The fuzz targets' seeds as a plain test: what once broke a target stays checked in every build.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

// Each target under a name of its own.
#define LLVMFuzzerTestOneInput one_request
#include "http/http1_request_fuzz.cpp"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput one_response
#include "http/http1_response_fuzz.cpp"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput one_chunked
#include "http/http1_chunked_fuzz.cpp"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput one_http2_server
#include "http/http2_server_fuzz.cpp"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput one_http2_client
#include "http/http2_client_fuzz.cpp"
#undef LLVMFuzzerTestOneInput

namespace {

/// Runs every seed; the targets end the process when something is wrong. Gives how many there were.
std::size_t run_all(std::string_view target, int (*one)(const std::uint8_t*, std::size_t)) {
    std::size_t seeds = 0;
    const std::filesystem::path directory =
        std::filesystem::path(PLIMSOLL_SOURCE_DIR) / "tests" / "fuzz" / "corpus" / target;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        SCOPED_TRACE(entry.path().string());
        std::ifstream file(entry.path(), std::ios::binary);
        const std::string bytes((std::istreambuf_iterator<char>(file)), {});
        EXPECT_EQ(one(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), 0);
        ++seeds;
    }
    return seeds;
}

TEST(Corpus, Requests) { EXPECT_GE(run_all("http1_request_fuzz", one_request), 50u); }
TEST(Corpus, Responses) { EXPECT_GE(run_all("http1_response_fuzz", one_response), 20u); }
TEST(Corpus, ChunkedBodies) { EXPECT_GE(run_all("http1_chunked_fuzz", one_chunked), 20u); }
TEST(Corpus, Http2Clients) { EXPECT_GE(run_all("http2_server_fuzz", one_http2_server), 40u); }
TEST(Corpus, Http2Servers) { EXPECT_GE(run_all("http2_client_fuzz", one_http2_client), 20u); }

}  // namespace

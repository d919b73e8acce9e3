#include "tls/client_hello.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <filesystem>
#include <fstream>
#include <iterator>

// The fuzz target's seeds as a plain test.
#define LLVMFuzzerTestOneInput one_client_hello
#include "tls/client_hello_fuzz.cpp"
#undef LLVMFuzzerTestOneInput

namespace plimsoll::tls {
namespace {

using State = ClientHelloParser::State;

std::string number(std::size_t value, int bytes) {
    std::string out;
    while (bytes-- > 0) out += static_cast<char>(value >> (8 * bytes));
    return out;
}
std::string vector(std::string_view body, int bytes) { return number(body.size(), bytes) + std::string(body); }
std::string extension(std::size_t type, std::string_view body) { return number(type, 2) + vector(body, 2); }
std::string name_extension(std::string_view name) {
    return extension(0, vector(std::string(1, '\0') + vector(name, 2), 2));
}
/// The message, not yet in records.
std::string hello(std::string_view extensions, bool with_extensions = true) {
    std::string body = number(0x0303, 2) + std::string(32, 'r') + vector("session", 1) + vector("\x13\x01", 2) +
                       vector(std::string(1, '\0'), 1);
    if (with_extensions) body += vector(extensions, 2);
    return "\x01" + vector(body, 3);
}
std::string record(std::string_view body) { return "\x16\x03\x01" + vector(body, 2); }

State verdict(std::string_view bytes, std::string* name = nullptr) {
    ClientHelloParser parser;
    const State state = parser.feed(bytes);
    if (name != nullptr) *name = parser.server_name();
    EXPECT_EQ(one_client_hello(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), 0);
    return state;
}

TEST(ClientHello, FindsTheNameThatRealClientsSend) {
    for (const char* asked : {"Shop.Example", "a-b.c_d.example", "xn--bcher-kva.example"}) {
        SSL_CTX* context = SSL_CTX_new(TLS_client_method());
        SSL* ssl = SSL_new(context);
        SSL_set_tlsext_host_name(ssl, asked);
        BIO* out = BIO_new(BIO_s_mem());
        SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
        SSL_connect(ssl);
        char* bytes = nullptr;
        const long size = BIO_get_mem_data(out, &bytes);
        std::string name;
        EXPECT_EQ(verdict({bytes, static_cast<std::size_t>(size)}, &name), State::name);
        std::string lower = asked;
        for (char& c : lower) c = static_cast<char>(std::tolower(c));
        EXPECT_EQ(name, lower);
        SSL_free(ssl);
        SSL_CTX_free(context);
    }
}

TEST(ClientHello, ComesInPiecesAndRecords) {
    const std::string message = hello(extension(23, "") + name_extension("shop.example.") + extension(16, "x"));
    std::string one = record(message), many;
    for (std::size_t at = 0; at < message.size(); at += 7) many += record(message.substr(at, 7));
    for (const std::string& bytes : {one, many}) {
        ClientHelloParser parser;
        for (std::size_t i = 0; i + 1 < bytes.size(); ++i) ASSERT_EQ(parser.feed(bytes.substr(i, 1)), State::more) << i;
        EXPECT_EQ(parser.feed(bytes.substr(bytes.size() - 1)), State::name);
        EXPECT_EQ(parser.server_name(), "shop.example");
        EXPECT_EQ(parser.feed("whatever follows"), State::name);
    }
    EXPECT_EQ(verdict(one + "early data"), State::name);
}

TEST(ClientHello, NamesNobody) {
    EXPECT_EQ(verdict(record(hello(""))), State::no_name);
    EXPECT_EQ(verdict(record(hello("", false))), State::no_name);
    EXPECT_EQ(verdict(record(hello(extension(43, "x")))), State::no_name);
}

TEST(ClientHello, AnythingElseIsNotTls) {
    const auto refused = [](std::string_view bytes) { return verdict(bytes) == State::not_tls; };
    EXPECT_TRUE(refused("GET / HTTP/1.1\r\n"));
    EXPECT_TRUE(refused("\x15"));
    EXPECT_TRUE(refused("\x16\x02"));
    EXPECT_TRUE(refused(std::string_view("\x16\x03\x01\0\0", 5))) << "an empty record";
    EXPECT_TRUE(refused("\x16\x03\x01\x40\x01")) << "a record above 16 KiB";
    EXPECT_TRUE(refused(record("\x02"))) << "a ServerHello";
    EXPECT_TRUE(refused(record(hello("") + "x"))) << "bytes behind the message in its record";
    EXPECT_TRUE(refused(record("\x01" + vector(hello("").substr(4) + "x", 3)))) << "bytes behind the extensions";
    EXPECT_TRUE(refused(record(hello(name_extension("a.example") + name_extension("b.example"))))) << "two names";
    EXPECT_TRUE(refused(record(hello(extension(0, "")))));
    EXPECT_TRUE(refused(record(hello(name_extension("")))));
    for (const std::string& bad :
         {std::string("a\0b", 3), std::string("a b"), std::string("a..b"), std::string(".a"), std::string("."),
          std::string("a/b"), std::string(254, 'a'), std::string("\xc3\xa4")}) {
        EXPECT_TRUE(refused(record(hello(name_extension(bad))))) << bad;
    }
    const std::string message = hello(name_extension("a.example"));
    const std::size_t bare = hello("", false).size();         // a message may end there
    for (std::size_t cut = 5; cut < message.size(); ++cut) {  // every length in it is then wrong
        if (cut == bare) continue;
        EXPECT_TRUE(refused(record("\x01" + vector(message.substr(4, cut - 4), 3)))) << cut;
    }
}

TEST(ClientHello, IsBounded) {
    const std::string large = hello(extension(21, std::string(20'000, '\0')));
    std::string records;
    for (std::size_t at = 0; at < large.size(); at += 1000) records += record(large.substr(at, 1000));
    EXPECT_EQ(verdict(records), State::not_tls);
    // Many small records: their heads count.
    const std::string padded = hello(extension(21, std::string(5'000, '\0')));
    std::string tiny;
    for (char c : padded) tiny += record(std::string(1, c));
    EXPECT_EQ(verdict(tiny), State::not_tls);
    EXPECT_EQ(verdict(std::string_view(tiny).substr(0, ClientHelloParser::max_bytes)), State::more);
}

TEST(ClientHello, TheFuzzTargetsSeeds) {
    std::size_t seeds = 0;
    const std::filesystem::path directory =
        std::filesystem::path(PLIMSOLL_SOURCE_DIR) / "tests" / "fuzz" / "corpus" / "client_hello_fuzz";
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        SCOPED_TRACE(entry.path().string());
        std::ifstream file(entry.path(), std::ios::binary);
        const std::string bytes((std::istreambuf_iterator<char>(file)), {});
        EXPECT_EQ(one_client_hello(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), 0);
        ++seeds;
    }
    EXPECT_GE(seeds, 8u);
}

}  // namespace
}  // namespace plimsoll::tls

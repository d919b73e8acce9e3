#include "proxy/websocket.h"

#include <openssl/evp.h>

#include <array>

#include "http/fields.h"

namespace plimsoll::proxy {
namespace {

std::string base64(const unsigned char* bytes, std::size_t size) {
    std::string out((size + 2) / 3 * 4 + 1, '\0');
    const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes, static_cast<int>(size));
    out.resize(static_cast<std::size_t>(length));
    return out;
}

}  // namespace

void websocket_request(http::Draft& draft, const http::RequestHead& head, Random& random) {
    if (!http::equal_ignoring_case(draft.protocol, "websocket")) return;
    if (!head.fields.get("sec-websocket-key").empty()) return;
    std::array<unsigned char, 16> nonce;
    for (unsigned char& byte : nonce) byte = static_cast<unsigned char>(random.next());
    draft.add("Sec-WebSocket-Key", draft.keep(base64(nonce.data(), nonce.size())));
}

std::string websocket_accept(std::string_view key) {
    std::string text(key);
    text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned int size = 0;
    if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr) != 1) return {};
    return base64(digest.data(), size);
}

bool asks_for_trailers(const http::Fields& fields) {
    if (!fields.has(http::Known::te)) return false;
    for (const http::Header header : fields) {
        if (header.known != http::Known::te) continue;
        std::string_view list = header.value;
        for (std::string_view each = http::next_element(list); !each.empty(); each = http::next_element(list)) {
            if (http::equal_ignoring_case(each, "trailers")) return true;
        }
    }
    return false;
}

}  // namespace plimsoll::proxy

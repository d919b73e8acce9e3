#include "tls/ticket_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "tls/openssl.h"

namespace plimsoll::tls {
namespace {

constexpr std::size_t least_secret = 32;

/// HKDF (RFC 5869) of the secret; false if OpenSSL cannot.
bool derive(std::string_view secret, std::span<unsigned char> out) {
    const std::unique_ptr<EVP_KDF, Free<EVP_KDF_free>> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
    const std::unique_ptr<EVP_KDF_CTX, Free<EVP_KDF_CTX_free>> context(EVP_KDF_CTX_new(kdf.get()));
    if (!context) return false;
    char digest[] = "SHA256";
    char label[] = "plimsoll session tickets";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string("digest", digest, 0),
        OSSL_PARAM_construct_octet_string("key", const_cast<char*>(secret.data()), secret.size()),
        OSSL_PARAM_construct_octet_string("info", label, sizeof label - 1),
        OSSL_PARAM_construct_end(),
    };
    return EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) == 1;
}

}  // namespace

TicketKeys::Key::~Key() {
    OPENSSL_cleanse(cipher.data(), cipher.size());
    OPENSSL_cleanse(digest.data(), digest.size());
}

TicketKeys::TicketKeys() { rotate(); }
TicketKeys::~TicketKeys() = default;

void TicketKeys::rotate() {
    std::array<char, least_secret> secret;
    PLIMSOLL_ENSURE(RAND_priv_bytes(reinterpret_cast<unsigned char*>(secret.data()), secret.size()) == 1,
                    "no randomness for session tickets");
    (void)rotate(std::string_view(secret.data(), secret.size()));
    OPENSSL_cleanse(secret.data(), secret.size());
}

Result<void> TicketKeys::rotate(std::string_view secret) {
    if (secret.size() < least_secret) return fail(Code::invalid, "a session ticket secret needs at least 32 bytes");
    std::array<unsigned char, 16 + 32 + 32> bytes;
    PLIMSOLL_ENSURE(derive(secret, bytes), "OpenSSL has no HKDF");
    auto key = std::make_shared<Key>();
    std::memcpy(key->name.data(), bytes.data(), 16);
    std::memcpy(key->cipher.data(), bytes.data() + 16, 32);
    std::memcpy(key->digest.data(), bytes.data() + 48, 32);
    OPENSSL_cleanse(bytes.data(), bytes.size());
    add(std::move(key));
    return {};
}

void TicketKeys::add(std::shared_ptr<const Key> key) {
    const std::lock_guard lock(mutex_);
    std::erase_if(keys_, [&](const auto& old) { return old->name == key->name; });
    keys_.insert(keys_.begin(), std::move(key));
    if (keys_.size() > kept) keys_.resize(kept);
}

std::shared_ptr<const TicketKeys::Key> TicketKeys::newest() const {
    const std::lock_guard lock(mutex_);
    return keys_.front();
}

std::shared_ptr<const TicketKeys::Key> TicketKeys::find(std::string_view key_name, bool& is_newest) const {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find_if(keys_, [&](const auto& key) {
        return std::string_view(reinterpret_cast<const char*>(key->name.data()), key->name.size()) == key_name;
    });
    is_newest = found == keys_.begin();
    return found == keys_.end() ? nullptr : *found;
}

}  // namespace plimsoll::tls

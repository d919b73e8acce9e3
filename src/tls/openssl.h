// What this room's sources share about OpenSSL: owners for its objects, and the insides of our own. Not for others.
// Thread rule: as the object.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tls/certificate.h"
#include "tls/context.h"
#include "tls/session_cache.h"

namespace plimsoll::tls {

template <auto F>
struct Free {
    template <class T>
    void operator()(T* object) const {
        F(object);
    }
};
inline void free_certificates(STACK_OF(X509) * stack) { sk_X509_pop_free(stack, X509_free); }

using BioPtr = std::unique_ptr<BIO, Free<BIO_free>>;
using X509Ptr = std::unique_ptr<X509, Free<X509_free>>;
using X509StackPtr = std::unique_ptr<STACK_OF(X509), Free<free_certificates>>;
using StorePtr = std::unique_ptr<X509_STORE, Free<X509_STORE_free>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using ContextPtr = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Free<SSL_free>>;
using SslSessionPtr = std::unique_ptr<SSL_SESSION, Free<SSL_SESSION_free>>;

/// OpenSSL counts references in objects that it lets us share between threads, so it wants them mutable.
template <class T>
[[nodiscard]] T* shared(const T* object) {
    return const_cast<T*>(object);
}

struct Authorities::Inside {
    StorePtr store;
    std::vector<X509Ptr> certificates;
    std::string digest;
};

/// What stands behind a leaf in its file: all leaves of one authority share it.
struct Issuers {
    X509StackPtr certificates;
    bool in_order = true;            ///< each is signed by the next
    Timestamp not_after{INT64_MAX};  ///< the first moment at which one of them has ended
};

/// An OCSP response as it is sent, and within which time.
struct Staple {
    std::string der;
    Timestamp from, until;
};

struct Certificate::Inside {
    X509Ptr leaf;
    std::shared_ptr<const Issuers> issuers;
    PkeyPtr key;
    Facts facts;
    std::optional<Staple> staple;
    [[nodiscard]] STACK_OF(X509) * chain() const { return issuers->certificates.get(); }
};

/// Hash that lets a map be asked with a view.
struct ViewHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
/// A host name, or a wildcard's part behind "*.", to the certificates that carry it, at most one per key type.
using NameIndex = std::unordered_map<std::string, std::vector<std::uint32_t>, ViewHash, std::equal_to<>>;

struct ServerContext::Inside {
    ServerSettings settings;
    ContextPtr context;
    NameIndex exact, wildcard;
    std::vector<std::uint32_t> fallback;  ///< the first certificate, and others with its first name
    std::string alpn;                     ///< wire form
    /// The certificates for a name in lower case.
    [[nodiscard]] const std::vector<std::uint32_t>& choose(std::string_view host) const;
};

struct ClientContext::Inside {
    ClientSettings settings;
    ContextPtr context;
    SessionCache sessions;
};

/// What the callbacks of one handshake share with its owner; SSL's app data.
struct Handshake {
    std::string sni;         ///< server: as the client asks, lower case. Client: as we ask
    std::string expected;    ///< client: whom the certificate must name
    std::string resume_key;  ///< client: under which tickets are kept; empty = they are not
    std::string refusal;     ///< why the peer's certificate was not taken
};
[[nodiscard]] inline Handshake& handshake_of(const SSL* ssl) { return *static_cast<Handshake*>(SSL_get_app_data(ssl)); }

/// What holds for both sides: versions, ciphers, groups, modes. False: OpenSSL has no memory or lacks an algorithm.
[[nodiscard]] bool set_common(SSL_CTX* context, Version minimum);
/// ALPN's wire form. Errors: invalid (a name is empty or longer than 255 bytes).
[[nodiscard]] Result<std::string> alpn_wire(const std::vector<std::string>& names);
/// Notes in the Handshake why a certificate is refused.
int note_refusal(int ok, X509_STORE_CTX* store);

/// All certificates of a PEM text, in order; `before` are those that the file has before it. Errors: invalid.
[[nodiscard]] Result<std::vector<X509Ptr>> read_certificates(const std::string& name, std::string_view pem,
                                                             std::size_t before = 0);
/// What follows the leaf, possibly nothing. Errors: invalid.
[[nodiscard]] Result<std::shared_ptr<const Issuers>> read_issuers(const std::string& name, std::string_view pem);

/// "CN=a,O=b" (RFC 2253), without control characters.
[[nodiscard]] std::string text(const X509_NAME* name);
[[nodiscard]] Timestamp timestamp(const ASN1_TIME* time);
/// SHA-256 of the DER, hex.
[[nodiscard]] std::string fingerprint(const X509* certificate);
/// Names and addresses of the subject alternative names. False: one has a NUL or another control byte.
[[nodiscard]] bool read_names(const X509* certificate, std::vector<std::string>& dns, std::vector<std::string>& ips);
/// Lower case, without one trailing dot.
[[nodiscard]] std::string host_key(std::string_view host);
/// The canonical text of an IP literal (with or without brackets), or "" if it is none.
[[nodiscard]] std::string ip_literal(std::string_view host);

}  // namespace plimsoll::tls

// What server and client contexts have in common, and why a certificate is refused.
#include <openssl/x509_vfy.h>

#include "tls/openssl.h"

namespace plimsoll::tls {
namespace {

// Forward secrecy and authenticated encryption only (RFC 9325, 4.2), the cheapest first.
constexpr const char* tls12_ciphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* tls13_ciphers = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
// P-384 for peers whose rules allow nothing else.
constexpr const char* groups = "X25519:P-256:P-384";

std::string joined(const std::vector<std::string>& names) {
    constexpr std::size_t most = 5;  // a log line, not a list
    std::string out;
    for (std::size_t i = 0; i < names.size() && i < most; ++i) out += (i == 0 ? "" : ", ") + names[i];
    if (names.size() > most) out += " and " + std::to_string(names.size() - most) + " more";
    return out;
}

std::string wrong_name(const X509* certificate, const std::string& expected) {
    std::vector<std::string> dns, ips;
    if (certificate == nullptr || !read_names(certificate, dns, ips)) return "has a name that no host can have";
    dns.insert(dns.end(), ips.begin(), ips.end());
    if (dns.empty()) return "names no host (no subject alternative names), not " + expected;
    return "is for " + joined(dns) + ", not " + expected;
}

/// Continues "the server's certificate ...".
std::string reason(int error, X509_STORE_CTX* store, const std::string& expected) {
    const X509* at = X509_STORE_CTX_get_current_cert(store);
    const bool leaf = X509_STORE_CTX_get_error_depth(store) <= 0;
    const std::string issuer = at == nullptr ? "?" : text(X509_get_issuer_name(at));
    const std::string whose = leaf || at == nullptr ? "" : "'s issuer " + text(X509_get_subject_name(at));
    switch (error) {
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH: return " " + wrong_name(at, expected);
        case X509_V_ERR_CERT_HAS_EXPIRED: return whose + " ended at " + rfc3339(timestamp(X509_get0_notAfter(at)));
        case X509_V_ERR_CERT_NOT_YET_VALID: return whose + " begins at " + rfc3339(timestamp(X509_get0_notBefore(at)));
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: return " is self-signed and not one of the authorities";
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
            return " leads to " + issuer + ", which is not one of the authorities";
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
            return whose + " is issued by " + issuer +
                   ", which is neither one of the authorities nor sent along (an intermediate may be missing)";
        default: return std::string(whose) + " is refused: " + X509_verify_cert_error_string(error);
    }
}

}  // namespace

bool set_common(SSL_CTX* context, Version minimum) {
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_read_ahead(context, 1);  // one recv for many records
    SSL_CTX_set_security_level(context, 2);
    return SSL_CTX_set_min_proto_version(context, minimum == Version::tls13 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(context, tls12_ciphers) == 1 &&
           SSL_CTX_set_ciphersuites(context, tls13_ciphers) == 1 && SSL_CTX_set1_groups_list(context, groups) == 1;
}

Result<std::string> alpn_wire(const std::vector<std::string>& names) {
    std::string wire;
    for (const std::string& each : names) {
        if (each.empty() || each.size() > 255) return fail(Code::invalid, "an ALPN name has 1 to 255 bytes");
        wire += static_cast<char>(each.size());
        wire += each;
    }
    return wire;
}

int note_refusal(int ok, X509_STORE_CTX* store) {
    if (ok == 1) return 1;
    const auto* ssl = static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    Handshake& handshake = handshake_of(ssl);
    if (handshake.refusal.empty()) {
        handshake.refusal = SSL_is_server(ssl) == 1 ? "the client's certificate" : "the server's certificate";
        handshake.refusal += reason(X509_STORE_CTX_get_error(store), store, handshake.expected);
    }
    return 0;
}

}  // namespace plimsoll::tls

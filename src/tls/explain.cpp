// OpenSSL's reasons in words that help at 3 a.m.
#include "tls/engine.h"

namespace plimsoll::tls {
namespace {

/// What a fatal alert of the other side says (RFC 8446, 6.2), as "the server ...".
std::string alert(int number, const std::string& who) {
    const std::string ours = who == "server" ? "our client certificate" : "our certificate";
    switch (number) {
        case SSL_AD_HANDSHAKE_FAILURE:
            return who + " found no agreement (handshake_failure: ciphers, groups or a certificate it misses)";
        case SSL_AD_BAD_CERTIFICATE:
        case SSL_AD_UNSUPPORTED_CERTIFICATE:
        case SSL_AD_CERTIFICATE_UNKNOWN: return who + " does not accept " + ours;
        case SSL_AD_CERTIFICATE_REVOKED: return who + " says that " + ours + " is revoked";
        case SSL_AD_CERTIFICATE_EXPIRED: return who + " says that " + ours + " has ended";
        case SSL_AD_UNKNOWN_CA: return who + " does not know the authority that issued " + ours;
        case SSL_AD_ACCESS_DENIED: return who + " denies access to the holder of " + ours;
        case SSL_AD_PROTOCOL_VERSION: return who + " shares no protocol version with us";
        case SSL_AD_INSUFFICIENT_SECURITY: return who + " wants stronger ciphers than we share";
        case SSL_AD_INTERNAL_ERROR: return who + " had an internal error";
        case SSL_AD_UNRECOGNIZED_NAME: return who + " does not serve the name asked for (unrecognized_name)";
        case SSL_AD_NO_APPLICATION_PROTOCOL: return who + " speaks none of the application protocols offered (ALPN)";
#ifdef SSL_AD_CERTIFICATE_REQUIRED
        case SSL_AD_CERTIFICATE_REQUIRED: return who + " wants a client certificate";
#else
        case 116: return who + " wants a client certificate";
#endif
        default: return who + " broke off: " + SSL_alert_desc_string_long(number);
    }
}

}  // namespace

unsigned long cause() {
    // The oldest is the cause, but for what the cryptography below TLS had to say.
    const unsigned long oldest = ERR_get_error();
    unsigned long error = oldest;
    while (error != 0 && ERR_GET_LIB(error) != ERR_LIB_SSL) error = ERR_get_error();
    ERR_clear_error();
    return error != 0 ? error : oldest;
}

bool is_alert(unsigned long error) {
    return ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) > SSL_AD_REASON_OFFSET;
}

std::string explain(unsigned long error, const SSL* ssl, const Handshake& handshake, std::string_view who) {
    const std::string other = "the " + std::string(who);
    if (!handshake.refusal.empty()) return handshake.refusal;
    if (error == 0) return other + " broke the connection";
    const int reason = ERR_GET_REASON(error);
    if (is_alert(error)) return "the " + alert(reason - SSL_AD_REASON_OFFSET, std::string(who));
    switch (ERR_GET_LIB(error) == ERR_LIB_SSL ? reason : 0) {
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_VERSION_TOO_LOW:
        case SSL_R_VERSION_TOO_HIGH:
        case SSL_R_WRONG_SSL_VERSION:
            return "no shared protocol version: " + other +
                   " offers none of those we take (TLS 1.2 or 1.3, as configured)";
        case SSL_R_CALLBACK_FAILED: return other + " asks for a name that no host can have";
        case SSL_R_HTTP_REQUEST:
        case SSL_R_HTTPS_PROXY_REQUEST: return other + " speaks plain HTTP where TLS is expected";
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_UNKNOWN_PROTOCOL:
        case SSL_R_BAD_RECORD_TYPE:
        case SSL_R_PACKET_LENGTH_TOO_LONG:
        case SSL_R_RECORD_LENGTH_MISMATCH:
            return other + (SSL_in_init(ssl) == 1 ? " does not speak TLS here" : " sent bytes that are not TLS");
        case SSL_R_NO_SHARED_CIPHER:
            return "no shared cipher: " + other + " offers none that is ours and fits the certificate's key";
        case SSL_R_NO_SUITABLE_KEY_SHARE:
        case SSL_R_NO_SUITABLE_GROUPS: return "no shared group for the key exchange (ours: X25519, P-256, P-384)";
        case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS: return "no shared signature algorithm for the certificate's key";
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return other + " sent no certificate";
        case SSL_R_CERTIFICATE_VERIFY_FAILED:
            return other + "'s certificate is refused: " + X509_verify_cert_error_string(SSL_get_verify_result(ssl));
        case SSL_R_EE_KEY_TOO_SMALL:
        case SSL_R_CA_KEY_TOO_SMALL:
        case SSL_R_CA_MD_TOO_WEAK: return other + "'s certificate has a key or signature that is too weak";
        case SSL_R_NO_APPLICATION_PROTOCOL: return other + " offers none of our application protocols (ALPN)";
        case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
            return "a record was altered on its way, or " + other + " is broken";
        case SSL_R_UNEXPECTED_EOF_WHILE_READING: return other + " ended the connection without close_notify: cut off";
        default: break;
    }
    const char* words = ERR_reason_error_string(error);
    return other + " broke the TLS protocol: " + (words != nullptr ? words : "unknown error");
}

}  // namespace plimsoll::tls

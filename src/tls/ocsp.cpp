#include "tls/ocsp.h"

#include <openssl/ocsp.h>

namespace plimsoll::tls {
namespace {

using ResponsePtr = std::unique_ptr<OCSP_RESPONSE, Free<OCSP_RESPONSE_free>>;
using BasicPtr = std::unique_ptr<OCSP_BASICRESP, Free<OCSP_BASICRESP_free>>;
using IdPtr = std::unique_ptr<OCSP_CERTID, Free<OCSP_CERTID_free>>;

/// Responses have about 500 bytes, 2,000 with a responder's certificate; each handshake that asks copies one.
constexpr std::size_t max_response = 64 * 1024;
constexpr Duration tolerance = std::chrono::minutes(5);

std::unexpected<Error> bad(std::string detail, Code code = Code::invalid) {
    ERR_clear_error();
    return fail(code, std::move(detail));
}

/// By the issuer's own key, or by a certificate that the issuer signed for answering (RFC 6960, 4.2.2.2).
bool signed_for(OCSP_BASICRESP* basic, X509* issuer) {
    const StorePtr believed(X509_STORE_new());
    const std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> helpers(
        sk_X509_new_null(), [](STACK_OF(X509) * stack) { sk_X509_free(stack); });
    if (!believed || !helpers || X509_STORE_add_cert(believed.get(), issuer) != 1) return false;
    X509_STORE_set_flags(believed.get(), X509_V_FLAG_PARTIAL_CHAIN);
    sk_X509_push(helpers.get(), issuer);
    return OCSP_basic_verify(basic, helpers.get(), believed.get(), 0) == 1;
}

struct Single {
    int status = -1, reason = -1;
    ASN1_GENERALIZEDTIME *revoked_at = nullptr, *from = nullptr, *until = nullptr;
};

bool find(OCSP_BASICRESP* basic, X509* leaf, X509* issuer, Single& out) {
    for (const EVP_MD* digest : {EVP_sha1(), EVP_sha256()}) {  // with which names are hashed is the responder's choice
        const IdPtr id(OCSP_cert_to_id(digest, leaf, issuer));
        if (id && OCSP_resp_find_status(basic, id.get(), &out.status, &out.reason, &out.revoked_at, &out.from,
                                        &out.until) == 1) {
            return true;
        }
    }
    return false;
}

}  // namespace

bool must_staple(const X509* leaf) {
    constexpr long status_request = 5;
    const std::unique_ptr<TLS_FEATURE, Free<TLS_FEATURE_free>> features(
        static_cast<TLS_FEATURE*>(X509_get_ext_d2i(leaf, NID_tlsfeature, nullptr, nullptr)));
    for (int i = 0; features && i < sk_ASN1_INTEGER_num(features.get()); ++i) {
        if (ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features.get(), i)) == status_request) return true;
    }
    return false;
}

Result<Staple> read_staple(std::string_view der, X509* leaf, STACK_OF(X509) * issuers) {
    if (der.size() > max_response) return bad("is too large");
    const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
    const ResponsePtr response(d2i_OCSP_RESPONSE(nullptr, &bytes, static_cast<long>(der.size())));
    if (!response || bytes != reinterpret_cast<const unsigned char*>(der.data()) + der.size()) {
        return bad("cannot be read (DER is wanted)");
    }
    if (const int status = OCSP_response_status(response.get()); status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        return bad(std::string("is no answer: the responder says ") + OCSP_response_status_str(status));
    }
    const BasicPtr basic(OCSP_response_get1_basic(response.get()));
    if (!basic) return bad("is of a kind that nobody knows");
    if (sk_X509_num(issuers) < 1) return bad("cannot be checked: the issuer is not in the certificate's file");
    X509* issuer = sk_X509_value(issuers, 0);
    Single single;
    if (!find(basic.get(), leaf, issuer, single)) return bad("is for another certificate");
    if (!signed_for(basic.get(), issuer)) return bad("is not signed by the certificate's issuer");
    if (single.status == V_OCSP_CERTSTATUS_REVOKED) return bad("says that the certificate is revoked", Code::conflict);
    if (single.status != V_OCSP_CERTSTATUS_GOOD) return bad("says that the responder does not know the certificate");
    if (single.until == nullptr) return bad("does not say until when it holds");
    ERR_clear_error();
    return Staple{std::string(der), timestamp(single.from), timestamp(single.until)};
}

bool is_current(const Staple& staple, Timestamp now) {
    return staple.from.ns - tolerance.count() <= now.ns && now.ns < staple.until.ns;
}

}  // namespace plimsoll::tls

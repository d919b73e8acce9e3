// Certificates made for a test, with OpenSSL's API: authorities, intermediates, leaves of any name and date.
// Thread rule: one thread. For tests and benchmarks only.
#pragma once

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

#include "tls/certificate.h"

namespace plimsoll::tls::test {

class Identity;

enum class KeyKind : std::uint8_t { ec, rsa, ed25519 };

struct Ask {
    std::string subject = "leaf";
    /// As OpenSSL writes them: "DNS:a.example", "IP:127.0.0.1".
    std::vector<std::string> names{};
    const char* from = "20200101000000Z";
    const char* until = "20990101000000Z";
    KeyKind key = KeyKind::ec;
    bool authority = false;
    bool nul_in_name = false;   ///< the first name gets "\0.evil" behind it
    bool must_staple = false;   ///< RFC 7633
    bool answers_ocsp = false;  ///< may sign OCSP responses for its issuer
};

/// An OCSP response; times are seconds from now.
struct Answer {
    int status = V_OCSP_CERTSTATUS_GOOD;
    long from = -3600;
    long until = 86'400;               ///< 0 = it does not say
    const Identity* signer = nullptr;  ///< nullptr: the issuer
};

/// A certificate with its key, and those that issued it.
class Identity {
public:
    /// A root of its own, or issued by `issuer`.
    explicit Identity(const Ask& ask, const Identity* issuer = nullptr) : issuer_(issuer) {
        key_ = {make_key(ask.key), EVP_PKEY_free};
        certificate_ = {X509_new(), X509_free};
        X509* x = certificate_.get();
        static long serial = 1000;
        X509_set_version(x, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
        ASN1_TIME_set_string_X509(X509_getm_notBefore(x), ask.from);
        ASN1_TIME_set_string_X509(X509_getm_notAfter(x), ask.until);
        X509_set_pubkey(x, key_.get());
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(ask.subject.c_str()), -1, -1, 0);
        X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer->certificate_.get() : x));
        if (ask.authority) extend(NID_basic_constraints, "critical,CA:TRUE");
        std::string names;
        for (const std::string& each : ask.names) names += (names.empty() ? "" : ",") + each;
        if (ask.nul_in_name) {
            add_nul_name();
        } else if (!names.empty()) {
            extend(NID_subject_alt_name, names);
        }
        if (ask.must_staple) extend(NID_tlsfeature, "status_request");
        if (ask.answers_ocsp) extend(NID_ext_key_usage, "OCSPSigning");
        EVP_PKEY* signer = issuer ? issuer->key_.get() : key_.get();
        X509_sign(x, signer, EVP_PKEY_get_id(signer) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256());
    }

    [[nodiscard]] std::string certificate_pem() const {
        BIO* bio = BIO_new(BIO_s_mem());
        PEM_write_bio_X509(bio, certificate_.get());
        return taken(bio);
    }
    [[nodiscard]] std::string key_pem() const {
        BIO* bio = BIO_new(BIO_s_mem());
        PEM_write_bio_PKCS8PrivateKey(bio, key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
        return taken(bio);
    }
    [[nodiscard]] std::string sealed_key_pem(std::string passphrase) const {
        BIO* bio = BIO_new(BIO_s_mem());
        PEM_write_bio_PKCS8PrivateKey(bio, key_.get(), EVP_aes_128_cbc(), passphrase.data(),
                                      static_cast<int>(passphrase.size()), nullptr, nullptr);
        return taken(bio);
    }
    /// The leaf and those that issued it, without the root.
    [[nodiscard]] std::string chain_pem() const {
        std::string out = certificate_pem();
        for (const Identity* at = issuer_; at != nullptr && at->issuer_ != nullptr; at = at->issuer_) {
            out += at->certificate_pem();
        }
        return out;
    }
    [[nodiscard]] Pem pem(std::string name) const { return {std::move(name), chain_pem(), key_pem()}; }
    [[nodiscard]] std::shared_ptr<const Certificate> load(std::string name) const {
        return Certificate::load(pem(std::move(name))).value();
    }
    /// What the issuer says of this certificate, DER.
    [[nodiscard]] std::string ocsp(const Answer& answer = {}) const {
        OCSP_BASICRESP* basic = OCSP_BASICRESP_new();
        OCSP_CERTID* id = OCSP_cert_to_id(nullptr, certificate_.get(), issuer_->certificate_.get());
        ASN1_TIME* from = X509_gmtime_adj(nullptr, answer.from);
        ASN1_TIME* until = answer.until != 0 ? X509_gmtime_adj(nullptr, answer.until) : nullptr;
        ASN1_TIME* revoked = answer.status == V_OCSP_CERTSTATUS_REVOKED ? from : nullptr;
        OCSP_basic_add1_status(basic, id, answer.status, OCSP_REVOKED_STATUS_NOSTATUS, revoked, from, until);
        const Identity* signer = answer.signer != nullptr ? answer.signer : issuer_;
        OCSP_basic_sign(basic, signer->certificate_.get(), signer->key_.get(), EVP_sha256(), nullptr, 0);
        std::string out = ocsp_response(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
        ASN1_TIME_free(from);
        ASN1_TIME_free(until);
        OCSP_CERTID_free(id);
        OCSP_BASICRESP_free(basic);
        return out;
    }
    /// Of a responder that has no answer: "tryLater" and the like.
    [[nodiscard]] static std::string ocsp_response(int status, OCSP_BASICRESP* basic = nullptr) {
        OCSP_RESPONSE* response = OCSP_response_create(status, basic);
        unsigned char* der = nullptr;
        const int size = i2d_OCSP_RESPONSE(response, &der);
        std::string out(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
        OPENSSL_free(der);
        OCSP_RESPONSE_free(response);
        return out;
    }
    [[nodiscard]] std::shared_ptr<const Authorities> trust() const {
        return Authorities::from_pem("test", certificate_pem()).value();
    }

private:
    static EVP_PKEY* make_key(KeyKind kind) {
        switch (kind) {
            case KeyKind::ec: return EVP_EC_gen("P-256");
            case KeyKind::rsa: return EVP_RSA_gen(2048);
            case KeyKind::ed25519: return EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
        }
        return nullptr;
    }
    static std::string taken(BIO* bio) {
        char* bytes = nullptr;
        const long size = BIO_get_mem_data(bio, &bytes);
        std::string out(bytes, static_cast<std::size_t>(size));
        BIO_free(bio);
        return out;
    }
    void extend(int nid, const std::string& value) {
        X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
        X509_add_ext(certificate_.get(), extension, -1);
        X509_EXTENSION_free(extension);
    }
    void add_nul_name() {
        GENERAL_NAMES* names = sk_GENERAL_NAME_new_null();
        GENERAL_NAME* name = GENERAL_NAME_new();
        ASN1_IA5STRING* bytes = ASN1_IA5STRING_new();
        ASN1_STRING_set(bytes, "good.example\0.evil.example", 26);
        GENERAL_NAME_set0_value(name, GEN_DNS, bytes);
        sk_GENERAL_NAME_push(names, name);
        X509_add1_ext_i2d(certificate_.get(), NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT);
        GENERAL_NAMES_free(names);
    }
    std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key_{nullptr, EVP_PKEY_free};
    std::unique_ptr<X509, void (*)(X509*)> certificate_{nullptr, X509_free};
    const Identity* issuer_;
};

/// A root, an intermediate, and leaves issued by it.
struct World {
    explicit World(const std::string& name = "test")
        : root({.subject = name + " root", .authority = true}),
          intermediate({.subject = name + " intermediate", .authority = true}, &root) {}
    Identity root, intermediate;
    [[nodiscard]] Identity issue(std::vector<std::string> names, KeyKind key = KeyKind::ec) const {
        return Identity({.subject = "leaf", .names = std::move(names), .key = key}, &intermediate);
    }
};

}  // namespace plimsoll::tls::test

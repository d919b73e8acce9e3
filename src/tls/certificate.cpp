#include "tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/core_dispatch.h>
#include <openssl/decoder.h>
#include <openssl/pem.h>
#include <openssl/pemerr.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <fstream>
#include <iterator>

#include "base/hash.h"
#include "tls/certificate_cache.h"
#include "tls/ocsp.h"
#include "tls/openssl.h"

namespace plimsoll::tls {
namespace {

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

BioPtr reader(std::string_view bytes) { return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size()))); }

/// A key with a passphrase is an error: nobody could type it.
int no_passphrase(char*, int, int, void*) { return -1; }

/// Reads one certificate; nullptr: there is none, or it cannot be read, and OpenSSL's queue says which.
X509Ptr next_certificate(BIO* bio) {
    ERR_clear_error();
    return X509Ptr(PEM_read_bio_X509(bio, nullptr, no_passphrase, nullptr));
}

std::unexpected<Error> no_certificate(const std::string& name, std::size_t before) {
    const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (at_end) return fail(Code::invalid, name + ": no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
    return fail(Code::invalid, name + ": certificate " + std::to_string(before + 1) + " cannot be read");
}

/// The way to a key that is known to be of this type, in PKCS#8, as nearly all are: OpenSSL's general one tries every
/// decoder that it has and takes three times as long.
PkeyPtr read_key_of(std::string_view pem, const char* type) {
    char *label = nullptr, *header = nullptr;
    unsigned char* der = nullptr;
    long size = 0;
    const BioPtr bio = reader(pem);
    if (PEM_read_bio(bio.get(), &label, &header, &der, &size) != 1) return nullptr;
    EVP_PKEY* key = nullptr;
    if (std::string_view(label) == PEM_STRING_PKCS8INF) {
        const std::unique_ptr<OSSL_DECODER_CTX, Free<OSSL_DECODER_CTX_free>> decoder(OSSL_DECODER_CTX_new_for_pkey(
            &key, "DER", "PrivateKeyInfo", type, OSSL_KEYMGMT_SELECT_ALL, nullptr, nullptr));
        const unsigned char* at = der;
        auto left = static_cast<std::size_t>(size);
        if (decoder) (void)OSSL_DECODER_from_data(decoder.get(), &at, &left);
    }
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_clear_free(der, static_cast<std::size_t>(size));
    return PkeyPtr(key);
}

/// `type`: that of the key which is expected.
Result<PkeyPtr> read_key(const std::string& name, std::string_view pem, const char* type) {
    if (pem.find("-----BEGIN") == std::string_view::npos) {
        return fail(Code::invalid, name + ": no private key in PEM form");
    }
    ERR_clear_error();
    PkeyPtr key = type != nullptr ? read_key_of(pem, type) : nullptr;
    if (!key) {
        const BioPtr bio = reader(pem);
        key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
    }
    ERR_clear_error();
    if (key) return key;
    const bool sealed = pem.find("ENCRYPTED") != std::string_view::npos;
    return fail(Code::invalid, name + (sealed ? ": the private key has a passphrase; store it without one"
                                              : ": the private key cannot be read"));
}

bool signed_by(X509* certificate, X509* issuer) {
    const bool named = X509_NAME_cmp(X509_get_issuer_name(certificate), X509_get_subject_name(issuer)) == 0;
    return named && X509_verify(certificate, X509_get0_pubkey(issuer)) == 1;
}

/// Whether the chain leads to one of the authorities, whatever the date.
bool is_trusted(const Authorities& authorities, X509* leaf, STACK_OF(X509) * issuers) {
    const std::unique_ptr<X509_STORE_CTX, Free<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
    if (!context || X509_STORE_CTX_init(context.get(), authorities.inside().store.get(), leaf, issuers) != 1)
        return false;
    X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN);
    return X509_verify_cert(context.get()) == 1;
}

void describe_chain(Facts& facts, X509* leaf, const Issuers& issuers, const Authorities* authorities) {
    STACK_OF(X509)* chain = issuers.certificates.get();
    facts.issuers = static_cast<std::size_t>(sk_X509_num(chain));
    facts.self_signed = X509_self_signed(leaf, 1) == 1;
    facts.chain_in_order = issuers.in_order && (facts.issuers == 0 || signed_by(leaf, sk_X509_value(chain, 0)));
    facts.chain_not_after = std::min(facts.not_after, issuers.not_after);
    if (authorities != nullptr) facts.trusted = is_trusted(*authorities, leaf, chain);
    facts.chain_complete =
        facts.chain_in_order && (facts.self_signed || facts.issuers > 0 || facts.trusted.value_or(false));
    ERR_clear_error();
}

void take_staple(Certificate::Inside& out, std::string_view der) {
    out.facts.must_staple = must_staple(out.leaf.get());
    if (der.empty()) return;
    Result<Staple> staple = read_staple(der, out.leaf.get(), out.chain());
    if (staple) {
        out.facts.staple_until = staple->until;
        out.staple = std::move(*staple);
    } else {
        out.facts.staple_error = staple.error().detail;
        out.facts.revoked = staple.error().code == Code::conflict;
    }
}

/// Everything that is read from one Pem.
Result<Certificate::Inside> read(const Pem& pem, const Authorities* authorities, IssuerCache* shared) {
    const std::string name = "certificate " + pem.name;
    Certificate::Inside out;
    const BioPtr bio = reader(pem.chain);
    out.leaf = next_certificate(bio.get());
    if (!out.leaf) return no_certificate(name, 0);
    const auto left = static_cast<std::size_t>(BIO_pending(bio.get()));
    const std::string_view rest = std::string_view(pem.chain).substr(pem.chain.size() - left);
    auto issuers = shared != nullptr ? shared->read(name, rest) : read_issuers(name, rest);
    if (!issuers) return std::unexpected(issuers.error());
    out.issuers = std::move(*issuers);
    X509* leaf = out.leaf.get();
    EVP_PKEY* public_key = X509_get0_pubkey(leaf);
    const char* type = public_key != nullptr ? EVP_PKEY_get0_type_name(public_key) : nullptr;
    Result<PkeyPtr> key = read_key(name, pem.key, type);
    if (!key) return std::unexpected(key.error());
    out.key = std::move(*key);
    X509_check_purpose(leaf, -1, 0);  // fills what OpenSSL caches in the object, before threads share it
    if (public_key == nullptr) return fail(Code::invalid, name + ": its public key cannot be read");

    Facts& facts = out.facts;
    facts.name = pem.name;
    facts.subject = text(X509_get_subject_name(leaf));
    facts.issuer = text(X509_get_issuer_name(leaf));
    const std::unique_ptr<BIGNUM, Free<BN_free>> serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf), nullptr));
    if (char* hex = serial ? BN_bn2hex(serial.get()) : nullptr; hex != nullptr) {
        facts.serial = lower(hex);
        OPENSSL_free(hex);
    }
    facts.fingerprint = fingerprint(leaf);
    if (!read_names(leaf, facts.dns_names, facts.ip_addresses)) {
        return fail(Code::invalid, name + ": one of its names has a NUL or control byte");
    }
    facts.not_before = timestamp(X509_get0_notBefore(leaf));
    facts.not_after = timestamp(X509_get0_notAfter(leaf));
    facts.key_type = type != nullptr ? type : "unknown";
    facts.key_bits = EVP_PKEY_get_bits(public_key);
    facts.key_matches = X509_check_private_key(leaf, out.key.get()) == 1;
    describe_chain(facts, leaf, *out.issuers, authorities);
    take_staple(out, pem.ocsp);
    return out;
}

}  // namespace

Result<std::vector<X509Ptr>> read_certificates(const std::string& name, std::string_view pem, std::size_t before) {
    std::vector<X509Ptr> out;
    const BioPtr bio = reader(pem);
    while (X509Ptr one = next_certificate(bio.get())) out.push_back(std::move(one));
    const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (!at_end || (out.empty() && before == 0)) return no_certificate(name, before + out.size());
    ERR_clear_error();
    return out;
}

Result<std::shared_ptr<const Issuers>> read_issuers(const std::string& name, std::string_view pem) {
    Result<std::vector<X509Ptr>> certificates = read_certificates(name, pem, 1);
    if (!certificates) return std::unexpected(certificates.error());
    auto out = std::make_shared<Issuers>();
    out->certificates.reset(sk_X509_new_null());
    X509* below = nullptr;
    for (X509Ptr& each : *certificates) {
        X509_check_purpose(each.get(), -1, 0);
        out->in_order = out->in_order && (below == nullptr || signed_by(below, each.get()));
        out->not_after = std::min(out->not_after, timestamp(X509_get0_notAfter(each.get())));
        below = each.get();
        sk_X509_push(out->certificates.get(), each.release());
    }
    ERR_clear_error();
    return out;
}

// ---- small parts ---------------------------------------------------------------------------------------------------

std::string text(const X509_NAME* name) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB));
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &bytes);
    return size > 0 ? std::string(bytes, static_cast<std::size_t>(size)) : std::string();
}

Timestamp timestamp(const ASN1_TIME* time) {
    std::tm parts{};
    if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
    const std::time_t at = ::timegm(&parts);
    constexpr std::int64_t most = INT64_MAX / 1'000'000'000;  // in 2262; some certificates end in 9999
    return {std::clamp<std::int64_t>(at, -most, most) * 1'000'000'000};
}

std::string fingerprint(const X509* certificate) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned int size = 0;
    if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) return {};
    std::string out;
    for (unsigned int i = 0; i < size; ++i) {
        out += "0123456789abcdef"[digest[i] >> 4];
        out += "0123456789abcdef"[digest[i] & 15];
    }
    return out;
}

bool read_names(const X509* certificate, std::vector<std::string>& dns, std::vector<std::string>& ips) {
    const std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>> names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type == GEN_DNS) {
            const std::string_view bytes(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                                         static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
            if (std::ranges::any_of(bytes, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
                return false;
            }
            dns.push_back(lower(bytes));
        } else if (name->type == GEN_IPADD) {
            const int size = ASN1_STRING_length(name->d.iPAddress);
            std::array<char, INET6_ADDRSTRLEN> out{};
            if (size != 4 && size != 16) continue;
            ::inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), out.data(),
                        out.size());
            ips.emplace_back(out.data());
        }
    }
    return true;
}

std::string host_key(std::string_view host) {
    if (host.ends_with('.')) host.remove_suffix(1);
    return lower(host);
}

std::string ip_literal(std::string_view host) {
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    std::array<unsigned char, 16> bytes;
    std::array<char, INET6_ADDRSTRLEN> out{};
    const std::string text(host);
    if (text.find('\0') != std::string::npos) return {};
    const int family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
    if (::inet_pton(family, text.c_str(), bytes.data()) != 1) return {};
    ::inet_ntop(family, bytes.data(), out.data(), out.size());
    return out.data();
}

bool covers(const Facts& facts, std::string_view host) {
    if (host.empty() || host.find('\0') != std::string_view::npos) return false;
    if (const std::string ip = ip_literal(host); !ip.empty()) {
        return std::ranges::find(facts.ip_addresses, ip) != facts.ip_addresses.end();
    }
    const std::string key = host_key(host);
    const std::size_t dot = key.find('.');
    const std::string_view parent =
        dot == std::string::npos ? std::string_view() : std::string_view(key).substr(dot + 1);
    return std::ranges::any_of(facts.dns_names, [&](std::string_view name) {
        if (name.ends_with('.')) name.remove_suffix(1);
        if (!name.starts_with("*.")) return name == key && name.find('*') == std::string_view::npos;
        name.remove_prefix(2);
        return dot > 0 && name == parent && name.find('.') != std::string_view::npos &&
               name.find('*') == std::string_view::npos;
    });
}

// ---- public --------------------------------------------------------------------------------------------------------

Result<Facts> inspect(const Pem& pem, const Authorities* authorities) {
    Result<Certificate::Inside> inside = read(pem, authorities, nullptr);
    if (!inside) return std::unexpected(inside.error());
    return std::move(inside->facts);
}

Result<std::shared_ptr<const Certificate>> Certificate::load(const Pem& pem, IssuerCache* shared) {
    Result<Inside> inside = read(pem, nullptr, shared);
    if (!inside) return std::unexpected(inside.error());
    if (!inside->facts.key_matches) {
        return fail(Code::invalid, "certificate " + pem.name + ": the private key belongs to another certificate");
    }
    return std::shared_ptr<const Certificate>(new Certificate(std::make_unique<Inside>(std::move(*inside))));
}

Certificate::Certificate(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
Certificate::~Certificate() = default;
const Facts& Certificate::facts() const { return inside_->facts; }
bool Certificate::leads_to(const Authorities& authorities) const {
    const bool does = is_trusted(authorities, inside_->leaf.get(), inside_->chain());
    ERR_clear_error();
    return does;
}

Authorities::Authorities(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
Authorities::~Authorities() = default;
const std::string& Authorities::digest() const { return inside_->digest; }

Result<std::shared_ptr<const Authorities>> Authorities::from_pem(std::string_view name, std::string_view pem) {
    Result<std::vector<X509Ptr>> certificates = read_certificates("authorities " + std::string(name), pem);
    if (!certificates) return std::unexpected(certificates.error());
    auto inside = std::make_unique<Inside>();
    inside->certificates = std::move(*certificates);
    inside->store.reset(X509_STORE_new());
    std::string prints;
    for (const X509Ptr& each : inside->certificates) {
        X509_check_purpose(each.get(), -1, 0);
        if (X509_STORE_add_cert(inside->store.get(), each.get()) != 1) {
            return fail(Code::invalid, "authorities " + std::string(name) + ": a certificate cannot be used");
        }
        prints += fingerprint(each.get());
    }
    // What the operator names is believed, be it a root, an intermediate or one server's own certificate.
    X509_STORE_set_flags(inside->store.get(), X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
    inside->digest = sha256_hex(prints);
    return std::shared_ptr<const Authorities>(new Authorities(std::move(inside)));
}

Result<std::shared_ptr<const Authorities>> Authorities::system() {
    // Read at once: OpenSSL's own directory lookup would read files while a worker waits.
    const char* chosen = ::secure_getenv(X509_get_default_cert_file_env());
    for (const char* path : {chosen, X509_get_default_cert_file(), "/etc/ssl/certs/ca-certificates.crt",
                             "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}) {
        if (path == nullptr) continue;
        std::ifstream file(path, std::ios::binary);
        if (!file) continue;
        return from_pem(path, std::string(std::istreambuf_iterator<char>(file), {}));
    }
    return fail(Code::not_found, "the system has no file of certificate authorities (package ca-certificates)");
}

}  // namespace plimsoll::tls

#include "tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/pemerr.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <fstream>
#include <iterator>

#include "base/hash.h"
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

/// All certificates of a PEM text, in order. Errors: invalid.
Result<std::vector<X509Ptr>> read_certificates(const std::string& name, std::string_view pem) {
    std::vector<X509Ptr> out;
    const BioPtr bio = reader(pem);
    for (;;) {
        ERR_clear_error();
        X509Ptr one(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
        if (!one) break;
        out.push_back(std::move(one));
    }
    const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (out.empty()) return fail(Code::invalid, name + ": no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
    if (!at_end) {
        return fail(Code::invalid, name + ": certificate " + std::to_string(out.size() + 1) + " cannot be read");
    }
    return out;
}

Result<PkeyPtr> read_key(const std::string& name, std::string_view pem) {
    if (pem.find("-----BEGIN") == std::string_view::npos) {
        return fail(Code::invalid, name + ": no private key in PEM form");
    }
    ERR_clear_error();
    const BioPtr bio = reader(pem);
    PkeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
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

void describe_chain(Facts& facts, X509* leaf, STACK_OF(X509) * issuers, const Authorities* authorities) {
    facts.issuers = static_cast<std::size_t>(sk_X509_num(issuers));
    facts.self_signed = X509_self_signed(leaf, 1) == 1;
    facts.chain_in_order = true;
    facts.chain_not_after = facts.not_after;
    X509* below = leaf;
    for (int i = 0; i < sk_X509_num(issuers); ++i) {
        X509* issuer = sk_X509_value(issuers, i);
        facts.chain_in_order = facts.chain_in_order && signed_by(below, issuer);
        facts.chain_not_after = std::min(facts.chain_not_after, timestamp(X509_get0_notAfter(issuer)));
        below = issuer;
    }
    if (authorities != nullptr) facts.trusted = is_trusted(*authorities, leaf, issuers);
    facts.chain_complete =
        facts.chain_in_order && (facts.self_signed || facts.issuers > 0 || facts.trusted.value_or(false));
    ERR_clear_error();
}

/// Everything that is read from one Pem.
Result<Certificate::Inside> read(const Pem& pem, const Authorities* authorities) {
    const std::string name = "certificate " + pem.name;
    Result<std::vector<X509Ptr>> certificates = read_certificates(name, pem.chain);
    if (!certificates) return std::unexpected(certificates.error());
    Result<PkeyPtr> key = read_key(name, pem.key);
    if (!key) return std::unexpected(key.error());

    Certificate::Inside out;
    out.leaf = std::move(certificates->front());
    out.key = std::move(*key);
    out.issuers.reset(sk_X509_new_null());
    for (std::size_t i = 1; i < certificates->size(); ++i)
        sk_X509_push(out.issuers.get(), (*certificates)[i].release());
    X509* leaf = out.leaf.get();
    EVP_PKEY* public_key = X509_get0_pubkey(leaf);
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
    const char* type = EVP_PKEY_get0_type_name(public_key);
    facts.key_type = type != nullptr ? type : "unknown";
    facts.key_bits = EVP_PKEY_get_bits(public_key);
    facts.key_matches = X509_check_private_key(leaf, out.key.get()) == 1;
    describe_chain(facts, leaf, out.issuers.get(), authorities);
    return out;
}

}  // namespace

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
    Result<Certificate::Inside> inside = read(pem, authorities);
    if (!inside) return std::unexpected(inside.error());
    return std::move(inside->facts);
}

Result<std::shared_ptr<const Certificate>> Certificate::load(const Pem& pem) {
    Result<Inside> inside = read(pem, nullptr);
    if (!inside) return std::unexpected(inside.error());
    if (!inside->facts.key_matches) {
        return fail(Code::invalid, "certificate " + pem.name + ": the private key belongs to another certificate");
    }
    return std::shared_ptr<const Certificate>(new Certificate(std::make_unique<Inside>(std::move(*inside))));
}

Certificate::Certificate(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
Certificate::~Certificate() = default;
const Facts& Certificate::facts() const { return inside_->facts; }

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

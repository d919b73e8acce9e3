// Certificates as values: what an operator gave us, what it says, and the parsed form that contexts share.
// Thread rule: values and immutable objects; usable from any thread.
// Source: RFC 5280 (profile), RFC 9525 (names; 6125 before it), RFC 7468 (PEM).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace plimsoll::tls {

/// Contents of a certificate's files. The key never appears in errors, logs or facts.
struct Pem {
    std::string name;    ///< as the operator calls it; begins every error
    std::string chain;   ///< PEM: the leaf first, then intermediates
    std::string key;     ///< PEM, PKCS#8, SEC 1 or PKCS#1, without a passphrase
    std::string ocsp{};  ///< DER of an OCSP response to staple; empty = none
};

/// Whom to believe: a set of certificate authorities, parsed once and shared (the system's store has about 140, some
/// milliseconds to read). Immutable.
class Authorities {
public:
    /// One or more CA certificates. `name` begins errors. Errors: invalid.
    static Result<std::shared_ptr<const Authorities>> from_pem(std::string_view name, std::string_view pem);
    /// What the operating system believes (OpenSSL's default paths). Errors: not_found (there is none).
    static Result<std::shared_ptr<const Authorities>> system();
    Authorities(const Authorities&) = delete;
    Authorities& operator=(const Authorities&) = delete;
    ~Authorities();
    /// SHA-256 of the certificates, hex: equal sets in equal order have equal digests.
    [[nodiscard]] const std::string& digest() const;

    struct Inside;
    [[nodiscard]] const Inside& inside() const { return *inside_; }

private:
    explicit Authorities(std::unique_ptr<Inside> inside);
    std::unique_ptr<Inside> inside_;
};

/// What a certificate says: findings (expiry, names) are computed from it by others, who know what time it is.
struct Facts {
    std::string name;                       ///< of the Pem
    std::string subject, issuer;            ///< RFC 2253: "CN=shop.example,O=Shop"
    std::string serial;                     ///< hex
    std::string fingerprint;                ///< SHA-256 of the leaf's DER, hex
    std::vector<std::string> dns_names;     ///< subject alternative names, lower case; wildcards as written
    std::vector<std::string> ip_addresses;  ///< subject alternative names: "192.0.2.1", "2001:db8::1"
    Timestamp not_before, not_after;        ///< of the leaf
    Timestamp chain_not_after;              ///< the first moment at which any certificate of the chain has ended
    std::string key_type;                   ///< "RSA", "EC", "ED25519", ...
    int key_bits = 0;
    bool key_matches = false;     ///< the private key is the leaf's
    std::size_t issuers = 0;      ///< certificates after the leaf
    bool self_signed = false;     ///< the leaf is its own issuer
    bool chain_in_order = false;  ///< each certificate is signed by the next
    bool chain_complete = false;  ///< in order, and the leaf is self-signed, has an issuer with it, or is trusted
    std::optional<bool> trusted;  ///< leads to one of the authorities, whatever the date; nullopt: none given
    bool must_staple = false;     ///< clients want an OCSP response with it (RFC 7633)
    /// Until when the OCSP response given may be sent; nullopt: there is none, or it is not taken.
    std::optional<Timestamp> staple_until{};
    std::string staple_error{};  ///< why the OCSP response given is not sent; goes on after "the OCSP response"
    bool revoked = false;        ///< the OCSP response says so
};

/// Reads a certificate without loading it anywhere. A key that does not fit is a fact, not an error, and so is an OCSP
/// response that is not for it. Errors (side us):
/// invalid: no certificate, unreadable certificate or key, a name with a NUL byte.
[[nodiscard]] Result<Facts> inspect(const Pem& pem, const Authorities* authorities = nullptr);

/// Whether the certificate is for this host: a name (case-insensitive, one trailing dot ignored) or an IP literal
/// (with or without brackets). A wildcard stands for exactly one whole leftmost label and never for an address
/// (RFC 9525, 6.3); the subject's common name is not looked at. Never true for a host with a NUL byte.
[[nodiscard]] bool covers(const Facts& facts, std::string_view host);

class IssuerCache;

/// A certificate and its key, parsed: load once, share between listeners, pools and revisions. Immutable.
class Certificate {
public:
    /// Errors (side us): as inspect(), and invalid: the key is not the certificate's. Costs 0.5 ms, most of it
    /// OpenSSL's decoding of two keys; an issuer that `shared` does not know yet costs 0.3 ms more.
    static Result<std::shared_ptr<const Certificate>> load(const Pem& pem, IssuerCache* shared = nullptr);
    Certificate(const Certificate&) = delete;
    Certificate& operator=(const Certificate&) = delete;
    ~Certificate();
    [[nodiscard]] const Facts& facts() const;
    /// Whether the chain leads to one of the authorities, whatever the date.
    [[nodiscard]] bool leads_to(const Authorities& authorities) const;

    struct Inside;
    [[nodiscard]] const Inside& inside() const { return *inside_; }

private:
    explicit Certificate(std::unique_ptr<Inside> inside);
    std::unique_ptr<Inside> inside_;
};

}  // namespace plimsoll::tls

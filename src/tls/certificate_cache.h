// Certificates by their contents: whoever loads equal files, in whatever revision, gets the same object, parsed once.
// Thread rule: any thread; locks for a look-up, not while it parses.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "tls/certificate.h"

namespace plimsoll::tls {

struct Issuers;

/// The certificates behind leaves: those of one authority are mostly the same few.
class IssuerCache {
public:
    /// What follows the leaf in its file, PEM; `name` begins errors. Errors: invalid.
    [[nodiscard]] Result<std::shared_ptr<const Issuers>> read(const std::string& name, std::string_view pem);
    /// Forgets what nobody holds any more.
    void sweep();

private:
    std::mutex mutex_;
    std::unordered_map<std::string, std::weak_ptr<const Issuers>> known_;  ///< by SHA-256
};

/// Holds what it knows weakly: the last revision that uses a certificate takes it along.
class CertificateCache {
public:
    /// As Certificate::load().
    [[nodiscard]] Result<std::shared_ptr<const Certificate>> load(const Pem& pem);
    /// As Authorities::from_pem(), but the same object for equal contents, whatever the name.
    [[nodiscard]] Result<std::shared_ptr<const Authorities>> authorities(std::string_view name, std::string_view pem);
    /// Forgets what nobody holds any more. O(known).
    void sweep();
    /// Certificates known, for tests.
    [[nodiscard]] std::size_t size() const;

private:
    mutable std::mutex mutex_;
    std::unordered_map<std::string, std::weak_ptr<const Certificate>> certificates_;  ///< by SHA-256 of all contents
    std::unordered_map<std::string, std::weak_ptr<const Authorities>> authorities_;   ///< by SHA-256 of the PEM
    IssuerCache issuers_;
};

}  // namespace plimsoll::tls

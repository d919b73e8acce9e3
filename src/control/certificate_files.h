// CertificateFiles: certificates, keys and authorities as their files have them. A file is read when it has changed,
// its contents are parsed once, and checks, revisions and threads share what came of it: with 10,000 certificates a
// change that leaves them alone costs a look at each file.
// Thread rule: any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "check/certificates.h"
#include "config/config.h"
#include "tls/certificate.h"
#include "tls/certificate_cache.h"

namespace plimsoll::control {

/// By what we tell that a file has changed. All zero: there is none.
struct FileLook {
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;  ///< of the inode: a copy that keeps its date is seen too
    std::uint64_t inode = 0;
    std::uint64_t size = 0;
    friend bool operator==(const FileLook&, const FileLook&) = default;
};
[[nodiscard]] FileLook look_at(const std::string& file);

class CertificateFiles {
public:
    using CertificatePtr = std::shared_ptr<const tls::Certificate>;
    using AuthoritiesPtr = std::shared_ptr<const tls::Authorities>;

    /// Errors: io (a file cannot be read), those of tls::Certificate::load. A missing OCSP response is none: facts()
    /// of the certificate say so.
    [[nodiscard]] Result<CertificatePtr> load(const config::Certificate& written);
    /// `file` empty: those of the system. Errors: io, invalid, not_found.
    [[nodiscard]] Result<AuthoritiesPtr> authorities(const std::string& file);
    /// What checks want to know of a config's certificates. What was parsed for it stays until settle() or the next
    /// call, so that a change which is accepted is not parsed again.
    [[nodiscard]] std::vector<check::CertificateFacts> facts(const config::Config& config);
    /// Lets go of all that no revision has taken.
    void settle();

private:
    struct Looks {
        FileLook chain, key, ocsp;
        /// No file was so young when it was read that a second writing could bear the same date.
        bool old_enough = false;
        std::weak_ptr<const tls::Certificate> made;
        [[nodiscard]] bool same_as(const Looks& other) const {
            return chain == other.chain && key == other.key && ocsp == other.ocsp;
        }
    };
    using Key = std::tuple<std::string, std::string, std::string, std::string>;  ///< name and files

    std::mutex mutex_;  ///< guards what follows; not held while files are read
    std::map<Key, Looks> known_;
    AuthoritiesPtr system_;  ///< read once
    std::vector<CertificatePtr> checked_;
    tls::CertificateCache cache_;  ///< locks for itself
};

}  // namespace plimsoll::control

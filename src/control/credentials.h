// Credentials: certificates, keys and authorities of a revision, read from their files and made into TLS contexts.
// Files are read by CertificateFiles and nowhere else in a running server. Contexts are immutable and shared by all
// workers; session tickets keep one set of keys for the life of the process, so resumption survives every change.
// Thread rule: control's thread.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "check/certificates.h"
#include "control/certificate_files.h"
#include "proxy/prepared.h"
#include "snapshot/snapshot.h"
#include "tls/certificate.h"
#include "tls/context.h"

namespace plimsoll::control {

class CredentialStore {
public:
    CredentialStore();

    using Certificates = std::map<std::string, std::shared_ptr<const tls::Certificate>, std::less<>>;  ///< by name
    struct Loaded {
        proxy::Credentials credentials;
        Certificates certificates;
        /// What could not be loaded, a sentence each, naming listener or pool, certificate and file; never a key.
        std::vector<std::string> failures;
    };
    /// Makes what this revision needs. A pair of files that cannot be loaded now counts as it was when a kept revision
    /// loaded it; a listener does without a certificate that is missing as long as it has another. Either is told in
    /// `failures`. Files that have not changed since they were last read cost a look (some microseconds), others about
    /// 0.5 ms a certificate; contexts whose settings are those of a kept revision are its.
    [[nodiscard]] Loaded load(const snapshot::Snapshot& snapshot);
    /// What load() gave for this snapshot, prepared for workers; loaded on first use, kept until keep_only().
    [[nodiscard]] std::shared_ptr<const proxy::Prepared> prepared(
        const std::shared_ptr<const snapshot::Snapshot>& snapshot, std::vector<std::string>& failures);
    /// Forgets all revisions but these: what is prepared holds its snapshot.
    void keep_only(const snapshot::Snapshot* active, const snapshot::Snapshot* candidate);
    /// Of a pool of a snapshot that was prepared; else null.
    [[nodiscard]] std::shared_ptr<const tls::ClientContext> pool(const snapshot::Snapshot& snapshot,
                                                                 const snapshot::Pool& pool);
    /// Reads anew what has changed of the files that the kept revisions use. What cannot be loaded now (half written,
    /// or no pair) stays as it was, and is told in `failures`; everything else is renewed all the same. True if something
    /// else is served from now on.
    bool refresh(std::vector<std::string>& failures);
    /// OCSP responses that are not stapled, and why; each once, until it is mended.
    [[nodiscard]] std::vector<std::string> remarks(Timestamp now);
    /// For checks, which run on another thread: what they parse need not be parsed again.
    [[nodiscard]] const std::shared_ptr<CertificateFiles>& files() const { return files_; }
    /// New ticket keys; the ones before are taken for a while. Called about once a day.
    void rotate_tickets() { tickets_->rotate(); }

private:
    struct Kept {
        std::shared_ptr<const proxy::Prepared> prepared;  ///< with its snapshot
        std::vector<std::string> failures;
        proxy::Credentials credentials;
        Certificates certificates;
    };
    /// What a kept revision has of this pair of files; null if none has it.
    [[nodiscard]] std::shared_ptr<const tls::Certificate> earlier(const config::Certificate& written) const;
    Result<std::shared_ptr<const tls::Authorities>> authorities(const std::string& file);
    Result<std::shared_ptr<const tls::ServerContext>> server(const config::Listener& listener,
                                                             const Certificates& certificates);
    Result<std::shared_ptr<const tls::ClientContext>> client(const snapshot::Pool& pool,
                                                             const Certificates& certificates);

    std::shared_ptr<tls::TicketKeys> tickets_;
    std::shared_ptr<CertificateFiles> files_;
    std::map<std::string, FileLook> looks_;  ///< at the files of kept revisions, before they were read
    std::vector<Kept> kept_;
    std::set<std::string> told_;  ///< remarks of the last time
};

}  // namespace plimsoll::control

// Credentials: certificates, keys and authorities of a revision, read from their files and made into TLS contexts.
// Files are read here and nowhere else in a running server. Contexts are immutable and shared by all workers; session
// tickets keep one set of keys for the life of the process, so resumption survives every change.
// Thread rule: control's thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check/certificates.h"
#include "proxy/prepared.h"
#include "snapshot/snapshot.h"
#include "tls/certificate.h"
#include "tls/context.h"

namespace plimsoll::control {

/// What checks want to know of a config's certificates; reads the files. Any thread.
[[nodiscard]] std::vector<check::CertificateFacts> certificate_facts(const config::Config& config);

class CredentialStore {
public:
    CredentialStore();

    /// By the pair of files that they were read from.
    using Certificates = std::map<std::pair<std::string, std::string>, std::shared_ptr<const tls::Certificate>>;
    struct Loaded {
        proxy::Credentials credentials;
        Certificates certificates;
        /// What could not be loaded, a sentence each, naming listener or pool, certificate and file; never a key.
        std::vector<std::string> failures;
    };
    /// Reads what this revision needs. A pair of files that cannot be loaded now counts as it was when a kept revision
    /// loaded it; a listener does without a certificate that is missing as long as it has another. Either is told in
    /// `failures`. Costs file reads and PEM parsing, about 1 ms a certificate.
    [[nodiscard]] Loaded load(const snapshot::Snapshot& snapshot);
    /// What load() gave for this snapshot, prepared for workers; loaded on first use, kept until keep_only().
    [[nodiscard]] std::shared_ptr<const proxy::Prepared> prepared(
        const std::shared_ptr<const snapshot::Snapshot>& snapshot, std::vector<std::string>& failures);
    /// Forgets all revisions but these: what is prepared holds its snapshot.
    void keep_only(const snapshot::Snapshot* active, const snapshot::Snapshot* candidate);
    /// Of a pool of a snapshot that was prepared; else null.
    [[nodiscard]] std::shared_ptr<const tls::ClientContext> pool(const snapshot::Snapshot& snapshot,
                                                                 const snapshot::Pool& pool);
    /// If a file that the kept revisions use has another time or size than when it was read, reads anew. What cannot be
    /// loaded now (half written, or no pair) stays as it was, and is told in `failures`; everything else is renewed all
    /// the same. True if something was renewed.
    bool refresh(std::vector<std::string>& failures);
    /// New ticket keys; the ones before are taken for a while. Called about once a day.
    void rotate_tickets() { tickets_->rotate(); }

private:
    struct Seen {
        std::int64_t modified_ns = 0;
        std::uint64_t size = 0;
        friend bool operator==(const Seen&, const Seen&) = default;
    };
    struct Kept {
        std::shared_ptr<const proxy::Prepared> prepared;  ///< with its snapshot
        std::vector<std::string> failures;
        std::map<std::string, std::shared_ptr<const tls::ClientContext>, std::less<>> pools;
        Certificates certificates;
    };
    [[nodiscard]] static Seen look(const std::string& file);
    Result<std::string> read(const std::string& file);
    /// Reads the pair anew; else what a kept revision has of it, and a sentence in `failures`. Null if there is none.
    std::shared_ptr<const tls::Certificate> certificate(const config::Certificate& written,
                                                        std::vector<std::string>& failures);
    Result<std::shared_ptr<const tls::Authorities>> authorities(const std::string& file);
    Result<std::shared_ptr<const tls::ServerContext>> server(
        const config::Listener& listener,
        const std::map<std::string, std::shared_ptr<const tls::Certificate>>& certificates);

    std::shared_ptr<tls::TicketKeys> tickets_;
    std::shared_ptr<const tls::Authorities> system_;  ///< read once
    std::map<std::string, Seen> files_;               ///< as they were when read
    std::vector<Kept> kept_;
};

}  // namespace plimsoll::control

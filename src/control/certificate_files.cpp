#include "control/certificate_files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>

namespace plimsoll::control {

namespace {

/// A chain of a few certificates is some kilobytes; a bundle of authorities some hundred.
constexpr std::size_t max_file = 4 * 1024 * 1024;
/// File systems keep dates as coarsely as this.
constexpr std::int64_t coarse_ns = 2'000'000'000;

std::int64_t nanoseconds(const timespec& at) { return at.tv_sec * 1'000'000'000 + at.tv_nsec; }

Result<std::string> read_file(const std::string& file) {
    errno = 0;
    std::ifstream in(file, std::ios::binary);
    if (!in) return fail(Code::io, fmt::format("{}: {}", file, std::strerror(errno != 0 ? errno : ENOENT)));
    std::string text;
    char piece[16 * 1024];
    while (in.read(piece, sizeof piece) || in.gcount() > 0) {
        text.append(piece, static_cast<std::size_t>(in.gcount()));
        if (text.size() > max_file) return fail(Code::invalid, fmt::format("{}: too large", file));
    }
    if (in.bad()) return fail(Code::io, fmt::format("{}: cannot be read", file));
    return text;
}

Result<tls::Pem> read_pem(const config::Certificate& written) {
    tls::Pem pem{.name = written.name, .chain = {}, .key = {}};
    Result<std::string> chain = read_file(written.chain);
    if (!chain) return std::unexpected(chain.error());
    Result<std::string> key = read_file(written.key);
    if (!key) return std::unexpected(key.error());
    pem.chain = std::move(*chain);
    pem.key = std::move(*key);
    // Without it clients ask the authority themselves: never a reason not to serve.
    if (!written.ocsp.empty()) pem.ocsp = read_file(written.ocsp).value_or(std::string());
    return pem;
}

check::CertificateFacts told(const tls::Facts& facts, const config::Certificate& written) {
    check::CertificateFacts out;
    out.name = facts.name;
    out.not_before = facts.not_before;
    out.not_after = facts.chain_not_after;
    out.dns_names = facts.dns_names;
    out.key_matches = facts.key_matches;
    out.chain_complete = facts.chain_complete;
    out.must_staple = facts.must_staple;
    out.revoked = facts.revoked;
    out.ocsp_until = facts.staple_until.value_or(Timestamp{});
    out.ocsp_error = facts.staple_error;
    if (!written.ocsp.empty() && !facts.staple_until && facts.staple_error.empty()) {
        out.ocsp_error = "is missing: the file is empty or cannot be read";
    }
    return out;
}

}  // namespace

FileLook look_at(const std::string& file) {
    struct stat info{};
    if (file.empty() || ::stat(file.c_str(), &info) != 0) return {};
    return {nanoseconds(info.st_mtim), nanoseconds(info.st_ctim), info.st_ino,
            static_cast<std::uint64_t>(info.st_size)};
}

Result<CertificateFiles::CertificatePtr> CertificateFiles::load(const config::Certificate& written) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    Looks looks{
        .chain = look_at(written.chain), .key = look_at(written.key), .ocsp = look_at(written.ocsp), .made = {}};
    const std::int64_t youngest = std::max({looks.chain.changed_ns, looks.key.changed_ns, looks.ocsp.changed_ns});
    looks.old_enough = youngest + coarse_ns < nanoseconds(now);
    Key key{written.name, written.chain, written.key, written.ocsp};
    {
        const std::lock_guard lock(mutex_);
        if (const auto found = known_.find(key); found != known_.end()) {
            const Looks& before = found->second;
            auto made = before.made.lock();
            if (made != nullptr && before.old_enough && before.same_as(looks)) return made;
        }
    }
    Result<tls::Pem> pem = read_pem(written);
    if (!pem) return std::unexpected(pem.error());
    Result<CertificatePtr> made = cache_.load(*pem);
    if (!made) return made;
    looks.made = *made;
    const std::lock_guard lock(mutex_);
    known_.insert_or_assign(std::move(key), std::move(looks));
    return made;
}

Result<CertificateFiles::AuthoritiesPtr> CertificateFiles::authorities(const std::string& file) {
    if (!file.empty()) {
        const auto pem = read_file(file);
        if (!pem) return std::unexpected(pem.error());
        return cache_.authorities(file, *pem);
    }
    {
        const std::lock_guard lock(mutex_);
        if (system_ != nullptr) return system_;
    }
    auto found = tls::Authorities::system();
    if (!found) return found;
    const std::lock_guard lock(mutex_);
    if (system_ == nullptr) system_ = std::move(*found);
    return system_;
}

std::vector<check::CertificateFacts> CertificateFiles::facts(const config::Config& config) {
    std::vector<check::CertificateFacts> all;
    std::vector<CertificatePtr> checked;
    for (const config::Certificate& written : config.certificates) {
        const Result<CertificatePtr> made = load(written);
        if (made) {
            check::CertificateFacts& out = all.emplace_back(told((*made)->facts(), written));
            if (!out.chain_complete && (*made)->facts().issuers == 0) {
                // An authority that cannot be read leaves it open whether the chain is complete.
                const auto system = authorities({});
                out.chain_complete = system && (*made)->leads_to(**system);
            }
            checked.push_back(*made);
            continue;
        }
        // A key that does not fit is an error to a server; to who checks it is one fact of several.
        const auto pem = read_pem(written);
        const auto facts = pem ? tls::inspect(*pem) : Result<tls::Facts>(std::unexpected(pem.error()));
        if (facts) {
            all.push_back(told(*facts, written));
        } else {
            all.emplace_back().name = written.name;
            all.back().error = facts.error().detail;
        }
    }
    const std::lock_guard lock(mutex_);
    checked_ = std::move(checked);
    return all;
}

void CertificateFiles::settle() {
    {
        const std::lock_guard lock(mutex_);
        checked_ = {};
        std::erase_if(known_, [](const auto& each) { return each.second.made.expired(); });
    }
    cache_.sweep();
}

}  // namespace plimsoll::control

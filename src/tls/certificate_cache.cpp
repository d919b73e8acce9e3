#include "tls/certificate_cache.h"

#include "base/hash.h"
#include "tls/openssl.h"

namespace plimsoll::tls {
namespace {

/// Of contents only: no key stays here, and two files whose border lies elsewhere differ.
std::string digest_of(const Pem& pem) {
    std::string all;
    all.reserve(pem.name.size() + pem.chain.size() + pem.key.size() + pem.ocsp.size() + 64);  // one place to clean
    for (const std::string* part : {&pem.name, &pem.chain, &pem.key, &pem.ocsp}) {
        all += std::to_string(part->size()) + ':';
        all += *part;
    }
    std::string digest = sha256_hex(all);
    OPENSSL_cleanse(all.data(), all.size());
    return digest;
}

/// What is known under `digest`, else what `make` gives, which others get from now on.
template <class T, class Make>
Result<std::shared_ptr<const T>> once(std::mutex& mutex, std::unordered_map<std::string, std::weak_ptr<const T>>& known,
                                      const std::string& digest, Make&& make) {
    {
        const std::lock_guard lock(mutex);
        if (const auto found = known.find(digest); found != known.end()) {
            if (auto alive = found->second.lock()) return alive;
        }
    }
    Result<std::shared_ptr<const T>> made = make();
    if (!made) return made;
    const std::lock_guard lock(mutex);
    std::weak_ptr<const T>& place = known[digest];
    if (auto earlier = place.lock()) return earlier;  // another thread was faster: one object for all
    place = *made;
    return made;
}

template <class Map>
void drop_gone(std::mutex& mutex, Map& known) {
    const std::lock_guard lock(mutex);
    std::erase_if(known, [](const auto& each) { return each.second.expired(); });
}

}  // namespace

Result<std::shared_ptr<const Issuers>> IssuerCache::read(const std::string& name, std::string_view pem) {
    return once(mutex_, known_, sha256_hex(pem), [&] { return read_issuers(name, pem); });
}

void IssuerCache::sweep() { drop_gone(mutex_, known_); }

Result<std::shared_ptr<const Certificate>> CertificateCache::load(const Pem& pem) {
    return once(mutex_, certificates_, digest_of(pem), [&] { return Certificate::load(pem, &issuers_); });
}

Result<std::shared_ptr<const Authorities>> CertificateCache::authorities(std::string_view name, std::string_view pem) {
    return once(mutex_, authorities_, sha256_hex(pem), [&] { return Authorities::from_pem(name, pem); });
}

void CertificateCache::sweep() {
    drop_gone(mutex_, certificates_);
    drop_gone(mutex_, authorities_);
    issuers_.sweep();
}

std::size_t CertificateCache::size() const {
    const std::lock_guard lock(mutex_);
    return certificates_.size();
}

}  // namespace plimsoll::tls

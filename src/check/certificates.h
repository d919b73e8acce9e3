// What is known of the files behind `certificates`. Somebody else reads them: this room reads no file. Pure; any
// thread.
#pragma once

#include <string>
#include <vector>

#include "base/time.h"

namespace plimsoll::check {

/// One certificate with its key, by its name in the config.
struct CertificateFacts {
    std::string name;
    Timestamp not_before{}, not_after{};   ///< within which the whole chain is valid
    std::vector<std::string> dns_names{};  ///< subject alternative names: exact or "*.example.com"
    bool key_matches = true;               ///< the key file belongs to the certificate
    bool chain_complete = true;            ///< every issuer up to the root is in the file
    std::string error{};                   ///< why it cannot be used at all; then nothing else counts
};

/// Whether a certificate for these names is good for `host`, which may be a pattern of a route. A wildcard stands for
/// exactly one label (RFC 9525 section 6.3); case does not count.
[[nodiscard]] bool certificate_covers(const std::vector<std::string>& dns_names, std::string_view host);

}  // namespace plimsoll::check

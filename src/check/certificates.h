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
    bool must_staple = false;              ///< clients refuse it without an OCSP response (RFC 7633)
    bool revoked = false;                  ///< the OCSP response given says so
    Timestamp ocsp_until{};                ///< until when that response holds; 0 = there is none, or it is not taken
    std::string ocsp_error{};              ///< why it is not taken
    std::string error{};                   ///< why it cannot be used at all; then nothing else counts
};

}  // namespace plimsoll::check

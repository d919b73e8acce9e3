// OCSP responses to staple: read once with their certificate, checked as a client would. Private to this room.
// Thread rule: values; any thread.
// Source: RFC 6960 (OCSP), RFC 6066 section 8 (stapling), RFC 7633 (must-staple).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "tls/openssl.h"

namespace plimsoll::tls {

/// Whether the certificate says that clients want a stapled response (RFC 7633).
[[nodiscard]] bool must_staple(const X509* leaf);

/// A response for this leaf that says it is good, signed by its issuer or by whom the issuer lets answer. The time is
/// not looked at: it passes. Errors: invalid, with a detail that goes on after "the OCSP response"; conflict: the leaf
/// is revoked.
[[nodiscard]] Result<Staple> read_staple(std::string_view der, X509* leaf, STACK_OF(X509) * issuers);

/// May be sent at this moment (RFC 6960, 4.2.2.1), with some tolerance for a responder whose clock is ahead.
[[nodiscard]] bool is_current(const Staple& staple, Timestamp now);

}  // namespace plimsoll::tls

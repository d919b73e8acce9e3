// The conditions of one route, compiled: does it match, and if not, why not. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "snapshot/pattern.h"
#include "snapshot/request_view.h"

namespace plimsoll::snapshot {

/// A condition on a header or query parameter. It holds when any of the values does; a header's values are each line's
/// and all lines joined by ", ", so that neither splitting nor repeating a line gets round a rule. With invert it holds
/// when none does. A regex that RE2 does not take never holds, inverted or not.
struct FieldCondition {
    enum class Kind : std::uint8_t { present, exact, regex } kind = Kind::present;
    bool invert = false;
    std::string name;  ///< of a header in lower case
    std::string exact;
    Pattern regex;
    std::uint64_t digest = 0;    ///< of the condition without `invert`: the same in every revision that asks it
    std::uint64_t presence = 0;  ///< the digest of asking whether the field is there at all
    std::string text{};          ///< for people: "header x-beta is 1", "query id is there"; without `invert`
};
/// Whether a value fits, whatever `invert` says; a broken regex fits nothing.
[[nodiscard]] bool header_fits(const FieldCondition& condition, const HeaderLookup* headers);
[[nodiscard]] bool query_fits(const FieldCondition& condition, std::string_view query);
[[nodiscard]] bool header_holds(const FieldCondition& condition, const HeaderLookup* headers);
/// Parameters are those between '&', percent-decoded, '+' is a blank; a broken escape stands for itself.
[[nodiscard]] bool query_holds(const FieldCondition& condition, std::string_view query);

/// All that a host and a plain path do not say.
struct Conditions {
    std::vector<std::string> listeners, methods;  ///< one of them; none = all
    std::optional<Pattern> path_regex;
    std::vector<FieldCondition> headers, query;  ///< all of them
    [[nodiscard]] bool empty() const;
    /// O(conditions x lines). Allocates only to join or decode values for a regex beyond 4 KiB. Of a recorded request a
    /// condition that nobody asked about then does not hold, and `remembered` is told.
    [[nodiscard]] bool hold(const RequestView& request) const;
};
[[nodiscard]] Conditions compile_conditions(const config::Match& match);

/// Whether the path conditions of `match` hold for `path` (cut at '?'), path_regex left out; the host is not looked at.
/// A prefix counts by whole segments and its trailing '/' does not matter.
[[nodiscard]] bool path_matches(const config::Match& match, std::string_view path);
/// Whether `pattern` - exact, "*.example.com" (one label or more, not the bare domain) or "*" - takes `host` as sent.
[[nodiscard]] bool host_matches(std::string_view pattern, std::string_view host);

/// What a route asked for that the request does not have.
enum class Unmet : std::uint8_t { host, listener, path, method, header, query };
struct WhyNot {
    Unmet unmet = Unmet::host;
    std::string text;  ///< "path is /x, not below /api"; what was sent is escaped, cut at 100 bytes
};
/// The first condition of the route that does not hold: host, listener, path, method, headers, query; nullopt = it
/// matches. For people: it compiles patterns anew, so it is slow. The route table answers the same question fast, and a
/// test holds them equal.
[[nodiscard]] std::optional<WhyNot> why_not(const config::Match& match, const RequestView& request);

}  // namespace plimsoll::snapshot

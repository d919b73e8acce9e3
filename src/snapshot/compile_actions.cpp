#include "snapshot/compile_actions.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {

namespace {

std::string lowered(std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    return text;
}

std::string without_slashes(std::string prefix) {
    while (prefix.ends_with('/')) prefix.pop_back();
    return prefix;
}

/// Bytes of a path that the route's prefix takes.
std::size_t cut_of(const config::Match& match) {
    return match.path_prefix ? without_slashes(*match.path_prefix).size() : 0;
}

/// path and path_prefix mean the same for redirects and rewrites.
template <class Made, class Written>
void take_path(Made& made, const Written& written, const config::Match& match) {
    if (!written.path.empty()) {
        made.path = written.path;
    } else if (!written.path_prefix.empty()) {
        made.prefix = without_slashes(written.path_prefix);
        made.cut = cut_of(match);
    }
}

Redirect compile_redirect(const config::Redirect& written, const config::Match& match) {
    Redirect made;
    made.status = written.status;
    made.scheme = written.scheme;
    made.host = written.host;
    made.strip_query = written.strip_query;
    take_path(made, written, match);
    return made;
}

Rewrite compile_rewrite(const config::Rewrite& written, const config::Match& match) {
    Rewrite made;
    made.host = written.host;
    take_path(made, written, match);
    if (!written.regex.empty()) {
        made.by_pattern = true;
        made.pattern = Pattern(written.regex);
        made.substitution = written.substitution;
    }
    return made;
}

HeaderEdit compile_edit(const config::HeaderEdit& written) {
    HeaderEdit made;
    for (const std::string& name : written.remove) made.remove.push_back(lowered(name));
    for (const auto& [name, value] : written.set) made.set.push_back({name, value});
    for (const auto& [name, value] : written.add) made.add.push_back({name, value});
    return made;
}

Auth compile_auth(const config::Auth& written, PoolIndex pool) {
    Auth made;
    made.pool = pool;
    made.path = written.path;
    made.host = written.host;
    made.timeout = written.timeout;
    const auto names = [](const std::vector<std::string>& from, std::vector<std::string>& to) {
        for (const std::string& name : from) to.push_back(lowered(name));
    };
    names(written.request_headers, made.request_headers);
    names(written.upstream_headers, made.upstream_headers);
    names(written.client_headers, made.client_headers);
    made.allow_on_failure = written.on_failure == config::OnFailure::allow;
    return made;
}

std::vector<RateLimit> compile_limits(const config::Route& written, Identities& identities) {
    std::vector<RateLimit> made;
    std::map<std::string, int> seen;
    for (const config::RateLimit& limit : written.rate_limits) {
        std::string header = limit.by == config::RateKey::header ? lowered(limit.header) : std::string{};
        std::string key = fmt::format("{}:{}", static_cast<int>(limit.by), header);
        key = fmt::format("{}#{}", key, seen[key]++);
        made.push_back(
            {identities.rate_limit(written.name, key), limit.by, std::move(header), limit.rate, limit.burst});
    }
    return made;
}

bool has_any(const config::Route& written) {
    static const config::HeaderEdit untouched;
    return written.redirect || written.respond || written.rewrite || written.auth || written.mirror || written.fault ||
           written.connect || written.early_hints != config::EarlyHints::http2 ||
           written.trailers != config::Trailers::drop || !written.error_pages.empty() || !written.rate_limits.empty() ||
           !written.upgrades.empty() || written.request_headers != untouched || written.response_headers != untouched;
}

}  // namespace

std::vector<ErrorPage> compile_pages(const std::vector<config::ErrorPage>& written) {
    std::vector<ErrorPage> made;
    for (const config::ErrorPage& page : written) made.push_back({page.status, page.body, page.content_type});
    return made;
}

std::shared_ptr<const Actions> compile_actions(const config::Route& written, ActionPools pools,
                                               Identities& identities) {
    if (!has_any(written)) return nullptr;
    auto made = std::make_shared<Actions>();
    if (written.redirect) made->redirect = compile_redirect(*written.redirect, written.match);
    if (written.respond) {
        made->respond = Respond{written.respond->status, written.respond->body, written.respond->content_type};
    }
    if (written.rewrite) made->rewrite = compile_rewrite(*written.rewrite, written.match);
    made->request_headers = compile_edit(written.request_headers);
    made->response_headers = compile_edit(written.response_headers);
    made->error_pages = compile_pages(written.error_pages);
    if (written.auth) made->auth = compile_auth(*written.auth, pools.auth);
    if (written.mirror) made->mirror = Mirror{pools.mirror, written.mirror->share};
    made->fault = written.fault;
    made->rate_limits = compile_limits(written, identities);
    for (const std::string& protocol : written.upgrades) made->upgrades.push_back(lowered(protocol));
    made->connect = written.connect;
    made->early_hints = written.early_hints;
    made->trailers = written.trailers;
    return made;
}

}  // namespace plimsoll::snapshot

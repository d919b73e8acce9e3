// Questions that a request asks of a snapshot. No allocation, no lock.
#include <algorithm>

#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {

std::optional<RouteIndex> Snapshot::match(std::string_view host, std::string_view path) const {
    RequestView request;
    request.host = host;
    request.path = path;
    return table_.match(request);
}

const TcpRoute* Snapshot::match_tcp(std::string_view listener, std::string_view sni) const {
    const auto table = std::ranges::find(tcp_, listener, &TcpTable::listener);
    if (table == tcp_.end()) return nullptr;
    char buffer[max_host];
    std::uint32_t best = table->any;
    table->hosts.find(canonical_host(sni, buffer),
                      [&](std::uint32_t group) { best = std::min(best, table->first[group]); });
    return best == WordTable::missing ? nullptr : &table->routes[best];
}

const ErrorPage* Snapshot::error_page(const Route* route, std::uint16_t status) const {
    const auto in = [status](const std::vector<ErrorPage>& pages) -> const ErrorPage* {
        const auto found = std::ranges::find(pages, status, &ErrorPage::status);
        return found == pages.end() ? nullptr : &*found;
    };
    if (route != nullptr) {
        if (const ErrorPage* own = in(route->actions->error_pages); own != nullptr) return own;
    }
    return in(error_pages);
}

const Target* choose_target(const Route& route, double draw) {
    for (const Target& target : route.targets) {
        if (draw < target.upto || target.upto >= 1) return &target;
    }
    return nullptr;
}

}  // namespace plimsoll::snapshot

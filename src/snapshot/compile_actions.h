// Actions of a route from config. Used by compile.cpp.
#pragma once

#include <memory>

#include "config/config.h"
#include "snapshot/actions.h"

namespace plimsoll::snapshot {

class Identities;

/// Null when the route has nothing of it. `mirror_pool` = where the mirror's pool stands; ignored without a mirror.
[[nodiscard]] std::shared_ptr<const Actions> compile_actions(const config::Route& written, PoolIndex mirror_pool,
                                                             Identities& identities);
[[nodiscard]] std::vector<ErrorPage> compile_pages(const std::vector<config::ErrorPage>& written);

}  // namespace plimsoll::snapshot

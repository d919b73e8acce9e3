// Actions of a route from config. Used by compile.cpp.
#pragma once

#include <memory>

#include "config/config.h"
#include "snapshot/actions.h"

namespace plimsoll::snapshot {

class Identities;

struct ActionPools {
    PoolIndex mirror = none<PoolIndex>, auth = none<PoolIndex>;
};
/// Null when the route has nothing of it. `pools` = where the pools stand that it names; ignored without them.
[[nodiscard]] std::shared_ptr<const Actions> compile_actions(const config::Route& written, ActionPools pools,
                                                             Identities& identities);
[[nodiscard]] std::vector<ErrorPage> compile_pages(const std::vector<config::ErrorPage>& written);

}  // namespace plimsoll::snapshot

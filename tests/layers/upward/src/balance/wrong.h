#pragma once
// A fixture: `balance` may not know `proxy`, which stands above it. The layering test must refuse this tree.
#include "base/result.h"
#include "proxy/worker.h"

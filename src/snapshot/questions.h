// Questions: what resident revisions' conditions on headers and query parameters come to for a request, so that a
// recording can tell it without holding a value. Remembered: such answers, asked again by the route table later.
// Thread rule: values; Questions point into the snapshots that they were made from.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "snapshot/conditions.h"
#include "snapshot/request_view.h"

namespace plimsoll::snapshot {

class Snapshot;

/// Conditions that are asked of one request; more would cost every recorded request too much and are left unknown.
inline constexpr std::size_t max_questions = 64;

class Questions {
public:
    Questions() = default;
    /// First whether each field is there at all, which answers most, then each condition in file order of the first
    /// snapshot, then of the next ones.
    explicit Questions(std::span<const Snapshot* const> resident);
    [[nodiscard]] bool empty() const { return digests_ == nullptr; }
    /// Bit i: digests()[i] fits. A look at the headers or the query for each field, and one for each condition on a
    /// field that is there.
    [[nodiscard]] std::uint64_t ask(const RequestView& request) const;
    /// FieldCondition::digest of each, at most max_questions; null when nothing is asked.
    [[nodiscard]] const std::shared_ptr<const std::vector<std::uint64_t>>& digests() const { return digests_; }

private:
    struct Field {
        bool header = false;
        FieldCondition presence;
        std::uint64_t bit = 0;
        std::vector<std::pair<const FieldCondition*, std::uint64_t>> asked;  ///< with their bits
    };
    std::vector<Field> fields_;
    std::shared_ptr<const std::vector<std::uint64_t>> digests_;
};

/// What was found of one recorded request. For one match.
class Remembered {
public:
    /// `asked` outlives this. Nothing asked: everything is unknown.
    explicit Remembered(std::span<const std::uint64_t> asked = {}, std::uint64_t held = 0)
        : asked_(asked), held_(held) {}
    /// Whether a value fitted (see FieldCondition::invert); what is not there fits nothing; nullopt = not known.
    [[nodiscard]] std::optional<bool> fits(const FieldCondition& condition) const;

    /// A route that comes before the one taken, of which only this condition is not known.
    struct Open {
        RouteIndex route;
        const FieldCondition* condition = nullptr;
    };
    /// After a match that took `taken`: the first such route in file order.
    [[nodiscard]] std::optional<Open> open(std::optional<RouteIndex> taken) const;

    // For the route table.
    void leave_open(const FieldCondition& condition) { left_ = &condition; }
    /// The route whose conditions were just asked, which did not hold.
    void passed(std::uint32_t route) {
        if (left_ != nullptr && route < route_) {
            route_ = route;
            condition_ = left_;
        }
        left_ = nullptr;
    }

private:
    [[nodiscard]] std::optional<bool> answer(std::uint64_t digest) const;
    std::span<const std::uint64_t> asked_;
    std::uint64_t held_;
    const FieldCondition* left_ = nullptr;
    std::uint32_t route_ = UINT32_MAX;
    const FieldCondition* condition_ = nullptr;
};

}  // namespace plimsoll::snapshot

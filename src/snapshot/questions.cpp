#include "snapshot/questions.h"

#include <algorithm>

#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {

Questions::Questions(std::span<const Snapshot* const> resident) {
    auto digests = std::make_shared<std::vector<std::uint64_t>>();
    const auto each = [&](auto take) {
        for (const Snapshot* snapshot : resident) {
            for (const Conditions& conditions : snapshot->conditions()) {
                for (const FieldCondition& one : conditions.headers) take(one, true);
                for (const FieldCondition& one : conditions.query) take(one, false);
            }
        }
    };
    const auto bit_of = [&](std::uint64_t digest) -> std::uint64_t {
        if (digests->size() == max_questions || std::ranges::find(*digests, digest) != digests->end()) return 0;
        digests->push_back(digest);
        return std::uint64_t{1} << (digests->size() - 1);
    };
    each([&](const FieldCondition& one, bool header) {
        const std::uint64_t bit = bit_of(one.presence);
        if (bit == 0) return;
        Field& field = fields_.emplace_back();
        field.header = header;
        field.presence.name = one.name;
        field.presence.digest = field.presence.presence = one.presence;
        field.bit = bit;
    });
    each([&](const FieldCondition& one, bool) {
        const auto field = std::ranges::find(fields_, one.presence, [](const Field& f) { return f.presence.digest; });
        if (field == fields_.end()) return;
        if (const std::uint64_t bit = bit_of(one.digest); bit != 0) field->asked.emplace_back(&one, bit);
    });
    if (!digests->empty()) digests_ = std::move(digests);
}

std::uint64_t Questions::ask(const RequestView& request) const {
    std::uint64_t held = 0;
    for (const Field& field : fields_) {
        const auto fits = [&](const FieldCondition& condition) {
            return field.header ? header_fits(condition, request.headers) : query_fits(condition, request.query);
        };
        if (!fits(field.presence)) continue;
        held |= field.bit;
        for (const auto& [condition, bit] : field.asked)
            if (fits(*condition)) held |= bit;
    }
    return held;
}

std::optional<bool> Remembered::answer(std::uint64_t digest) const {
    const auto found = std::ranges::find(asked_, digest);
    if (found == asked_.end()) return std::nullopt;
    return (held_ >> (found - asked_.begin()) & 1) != 0;
}

std::optional<bool> Remembered::fits(const FieldCondition& condition) const {
    if (const auto known = answer(condition.digest)) return known;
    const auto there = answer(condition.presence);
    return there && !*there ? there : std::nullopt;
}

std::optional<Remembered::Open> Remembered::open(std::optional<RouteIndex> taken) const {
    if (condition_ == nullptr || (taken && taken->value < route_)) return std::nullopt;
    return Open{RouteIndex{route_}, condition_};
}

}  // namespace plimsoll::snapshot

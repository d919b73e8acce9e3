#include "control/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace plimsoll::control {

namespace {

using Json = nlohmann::json;

store::Entry entry(std::string_view kind, std::string subject, Timestamp at, const Json& body) {
    return {0, at, std::string(kind), std::move(subject), body.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

std::string revision_name(RevisionNumber number) { return fmt::format("r{}", number.value); }

RevisionNumber revision_number(const Json& body, const char* key) {
    return RevisionNumber{body.value(key, std::uint64_t{0})};
}

void fold_change(History& history, const store::Entry& from, const Json& body) {
    ChangeRecord change;
    change.id = from.subject;
    change.base = revision_number(body, "base");
    change.revision = revision_number(body, "revision");
    change.digest = body.value("digest", "");
    change.file = body.value("file", "");
    change.author = body.value("author", "");
    change.reason = body.value("reason", "");
    change.forced = body.value("forced", false);
    change.at_once = body.value("at_once", false);
    change.submitted = from.at;
    history.changes.push_back(std::move(change));
}

void fold_revision(History& history, const store::Entry& from, const Json& body) {
    Revision revision;
    revision.number = revision_number(body, "number");
    revision.parent = revision_number(body, "parent");
    revision.digest = body.value("digest", "");
    revision.text = body.value("text", "");
    revision.file = body.value("file", "");
    revision.change = body.value("change", "");
    revision.at = from.at;
    if (ChangeRecord* change = history.change(revision.change)) change->revision = revision.number;
    history.revisions[revision.number.value] = std::move(revision);
}

void fold_ending(History& history, const store::Entry& from, const Json& body) {
    ChangeRecord* change = history.change(from.subject);
    if (change == nullptr) return;
    change->ended = from.at;
    change->ending = body.value("ending", "");
    change->exit_code = body.value("exit", 1);
    change->summary = body.value("summary", "");
    change->incident = body.value("incident", "");
    if (body.contains("detail")) change->detail = body.at("detail").dump();
}

void fold_delivery(History& history, const store::Entry& from, const Json& body) {
    history.deliveries.push_back({from.at, body.value("channel", ""), from.subject, body.value("event", ""),
                                  body.value("attempt", 0), body.value("status", 0), body.value("delivered", false),
                                  body.value("error", "")});
}

}  // namespace

void History::fold(const store::Entry& from) {
    sequence = std::max(sequence, from.sequence);
    const Json body = Json::parse(from.body, nullptr, false);
    if (body.is_discarded() || !body.is_object()) {
        ++unreadable;
        return;
    }
    try {
        if (from.kind == "change") {
            fold_change(*this, from, body);
        } else if (from.kind == "revision") {
            fold_revision(*this, from, body);
        } else if (from.kind == "rollout") {
            if (ChangeRecord* of = change(from.subject))
                of->lines.push_back({from.at, body.value("stage", ""), body.value("text", "")});
        } else if (from.kind == "ending") {
            fold_ending(*this, from, body);
        } else if (from.kind == "active") {
            active = revision_number(body, "revision");
            were_active.insert(active.value);
        } else if (from.kind == "known_good") {
            const RevisionNumber number = revision_number(body, "revision");
            std::erase(known_good, number);
            known_good.push_back(number);
        } else if (from.kind == "frozen") {
            frozen[from.subject] = {from.subject, body.value("change", ""), body.value("reason", ""), from.at};
        } else if (from.kind == "thawed") {
            frozen.erase(from.subject);
        } else if (from.kind == "incident") {
            incidents[from.subject] = from.body;
        } else if (from.kind == "notification") {
            fold_delivery(*this, from, body);
        } else {
            ++unreadable;
        }
    } catch (const Json::exception&) {
        ++unreadable;  // a field of another type than ours: written by a newer version
    }
}

const Revision* History::revision(RevisionNumber number) const {
    const auto found = revisions.find(number.value);
    return found == revisions.end() ? nullptr : &found->second;
}

RevisionNumber History::next_revision() const {
    return RevisionNumber{revisions.empty() ? 1 : revisions.rbegin()->first + 1};
}

std::string History::next_change() const { return fmt::format("C{}", changes.size() + 1); }

ChangeRecord* History::change(const std::string& id) {
    const auto found = std::ranges::find(changes, id, &ChangeRecord::id);
    return found == changes.end() ? nullptr : &*found;
}

const ChangeRecord* History::change(const std::string& id) const {
    const auto found = std::ranges::find(changes, id, &ChangeRecord::id);
    return found == changes.end() ? nullptr : &*found;
}

store::Entry change_entry(const ChangeRecord& change) {
    Json body{{"base", change.base.value}, {"digest", change.digest}, {"file", change.file},
              {"author", change.author},   {"reason", change.reason}, {"forced", change.forced},
              {"at_once", change.at_once}};
    if (change.revision != RevisionNumber{}) body["revision"] = change.revision.value;
    return entry("change", change.id, change.submitted, body);
}

store::Entry revision_entry(const Revision& revision) {
    return entry("revision", revision_name(revision.number), revision.at,
                 {{"number", revision.number.value},
                  {"parent", revision.parent.value},
                  {"digest", revision.digest},
                  {"text", revision.text},
                  {"file", revision.file},
                  {"change", revision.change}});
}

store::Entry line_entry(const std::string& change, const ChangeRecord::Line& line) {
    return entry("rollout", change, line.at, {{"stage", line.stage}, {"text", line.text}});
}

store::Entry ending_entry(const ChangeRecord& change) {
    Json body{{"ending", change.ending},
              {"exit", change.exit_code},
              {"summary", change.summary},
              {"incident", change.incident}};
    if (!change.detail.empty()) body["detail"] = Json::parse(change.detail, nullptr, false);
    return entry("ending", change.id, change.ended, body);
}

store::Entry active_entry(RevisionNumber revision, const std::string& why, Timestamp at) {
    return entry("active", revision_name(revision), at, {{"revision", revision.value}, {"why", why}});
}

store::Entry known_good_entry(RevisionNumber revision, Timestamp at) {
    return entry("known_good", revision_name(revision), at, {{"revision", revision.value}});
}

store::Entry frozen_entry(const Frozen& frozen) {
    return entry("frozen", frozen.digest, frozen.at, {{"change", frozen.change}, {"reason", frozen.reason}});
}

store::Entry thawed_entry(const std::string& digest, const std::string& why, Timestamp at) {
    return entry("thawed", digest, at, {{"why", why}});
}

store::Entry incident_entry(const std::string& id, const std::string& json, Timestamp at) {
    return {0, at, "incident", id, json};
}

store::Entry delivery_entry(const Delivery& delivery) {
    return entry("notification", delivery.incident, delivery.at,
                 {{"channel", delivery.channel},
                  {"event", delivery.event},
                  {"attempt", delivery.attempt},
                  {"status", delivery.status},
                  {"delivered", delivery.delivered},
                  {"error", delivery.error}});
}

}  // namespace plimsoll::control

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

Json endpoint_object(const config::Endpoint& endpoint) {
    Json out{{"address", text(endpoint.address)}, {"name", endpoint.name}, {"weight", endpoint.weight}};
    if (endpoint.capacity) out["capacity"] = *endpoint.capacity;
    if (!endpoint.zone.empty()) out["zone"] = endpoint.zone;
    if (endpoint.priority > 0) out["priority"] = endpoint.priority;
    if (!endpoint.labels.empty()) out["labels"] = endpoint.labels;
    return out;
}

std::optional<config::Endpoint> endpoint_of(const Json& body) {
    const auto address = config::parse_address(body.value("address", ""));
    if (!address) return std::nullopt;
    config::Endpoint out;
    out.address = *address;
    out.name = body.value("name", text(*address));
    out.weight = body.value("weight", 1.0);
    if (body.contains("capacity")) out.capacity = body.at("capacity").get<double>();
    out.zone = body.value("zone", "");
    out.priority = body.value("priority", 0u);
    if (body.contains("labels")) out.labels = body.at("labels").get<std::map<std::string, std::string>>();
    return out;
}

std::vector<config::Endpoint> endpoints_of(const Json& body, const char* key) {
    std::vector<config::Endpoint> all;
    for (const Json& one : body.value(key, Json::array()))
        if (auto endpoint = endpoint_of(one)) all.push_back(std::move(*endpoint));
    return all;
}

void fold_membership(History& history, const store::Entry& from, const Json& body) {
    MembershipChange change{from.subject,
                            body.value("source", ""),
                            body.value("before", std::size_t{0}),
                            body.value("after", std::size_t{0}),
                            endpoints_of(body, "added"),
                            endpoints_of(body, "removed"),
                            endpoints_of(body, "altered"),
                            from.at};
    auto& members = history.members[{change.pool, change.source}];
    for (const auto* there : {&change.added, &change.altered})
        for (const config::Endpoint& endpoint : *there)
            members[text(endpoint.address)] =
                endpoint_object(endpoint).dump(-1, ' ', false, Json::error_handler_t::replace);
    for (const config::Endpoint& endpoint : change.removed) members.erase(text(endpoint.address));
    history.membership_changes.push_back(std::move(change));
    if (history.membership_changes.size() > max_membership_changes) history.membership_changes.pop_front();
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
            std::erase(known_good, RevisionNumber{body.value("disowned", std::uint64_t{0})});
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
        } else if (from.kind == "membership") {
            fold_membership(*this, from, body);
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

std::vector<config::Endpoint> History::members_of(const std::string& pool, const std::string& source) const {
    std::vector<config::Endpoint> all;
    const auto known = members.find({pool, source});
    if (known == members.end()) return all;
    for (const auto& [address, body] : known->second)
        if (auto endpoint = endpoint_of(Json::parse(body))) all.push_back(std::move(*endpoint));
    return all;
}

std::string found_json(const discovery::Found& found) {
    Json list = Json::array();
    for (const auto& [source, members] : found) {
        Json endpoints = Json::array();
        for (const config::Endpoint& member : members) endpoints.push_back(endpoint_object(member));
        list.push_back({{"pool", source.first},
                        {"source", discovery::describe(source.second)},
                        {"endpoints", std::move(endpoints)}});
    }
    return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<discovery::Found> found_of(const config::Config& config, const std::string& json) {
    discovery::Found found;
    try {
        for (const Json& one : Json::parse(json)) {
            for (const discovery::Source& source : discovery::sources(config)) {
                if (one.at("pool") == source.first && one.at("source") == discovery::describe(source.second))
                    found[source] = endpoints_of(one, "endpoints");
            }
        }
    } catch (const Json::exception& error) {
        return fail(Code::protocol, error.what());
    }
    return found;
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

store::Entry active_entry(RevisionNumber revision, const std::string& why, Timestamp at, RevisionNumber disowned) {
    Json body{{"revision", revision.value}, {"why", why}};
    if (disowned != RevisionNumber{}) body["disowned"] = disowned.value;
    return entry("active", revision_name(revision), at, body);
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

store::Entry membership_entry(const MembershipChange& change) {
    Json body{{"source", change.source}, {"before", change.before}, {"after", change.after}};
    const auto put = [&body](const char* key, const std::vector<config::Endpoint>& endpoints) {
        if (endpoints.empty()) return;
        Json& list = body[key] = Json::array();
        for (const config::Endpoint& endpoint : endpoints) list.push_back(endpoint_object(endpoint));
    };
    put("added", change.added);
    put("removed", change.removed);
    put("altered", change.altered);
    return entry("membership", change.pool, change.at, body);
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

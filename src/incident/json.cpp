// An incident as JSON, for the journal and the admin API: docs/formats/incident.md.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "incident/incident.h"

namespace plimsoll::incident {
namespace {

using judge::Hypothesis;
using nlohmann::json;

constexpr int format = 1;

/// The value of a small enum by its name; `last` bounds the search. Throws what json throws, with the name.
template <class Enum>
Enum by_name(const json& in, Enum last) {
    const auto wanted = in.get<std::string>();
    for (int i = 0; i <= static_cast<int>(last); ++i) {
        if (name(static_cast<Enum>(i)) == wanted) return static_cast<Enum>(i);
    }
    throw json::other_error::create(501, "unknown name '" + wanted + "'", &in);
}

json write(const Stamp& stamp) {
    return {{"at", rfc3339(stamp.at)}, {"at_ns", stamp.at.ns}, {"since_t0_ns", stamp.since_t0.count()}};
}
Stamp read_stamp(const json& in) {
    return {{in.at("at_ns").get<std::int64_t>()}, Duration{in.at("since_t0_ns").get<std::int64_t>()}};
}

json write(const Line& line) {
    json out = write(line.stamp);
    out["key"] = line.key;
    out["what"] = line.what;
    out["text"] = line.text;
    if (!line.evidence.empty()) out["evidence"] = line.evidence;
    if (!line.author.empty()) out["author"] = line.author;
    return out;
}
Line read_line(const json& in) {
    return {read_stamp(in),
            in.at("key").get<bool>(),
            in.at("what").get<std::string>(),
            in.at("text").get<std::string>(),
            in.value("evidence", std::string{}),
            in.value("author", std::string{})};
}

json write(const Altered& item) {
    return {{"path", item.path},       {"before", item.before},   {"after", item.after},
            {"file", item.where.file}, {"line", item.where.line}, {"column", item.where.column}};
}
Altered read_altered(const json& in) {
    return {in.at("path").get<std::string>(),
            in.at("before").get<std::string>(),
            in.at("after").get<std::string>(),
            {in.at("file").get<std::string>(), in.at("line").get<int>(), in.at("column").get<int>()}};
}

json write(const Hypothesis& hypothesis);
json write(const Delivery& delivery);

template <class T>
json write_all(const std::vector<T>& items) {
    json out = json::array();
    for (const T& item : items) out.push_back(write(item));
    return out;
}
template <class T>
std::vector<T> read_all(const json& in, T (*read)(const json&)) {
    std::vector<T> out;
    for (const json& item : in) out.push_back(read(item));
    return out;
}

json write(const Change& change) {
    return {{"revision", change.revision.value},
            {"base", change.base.value},
            {"author", change.author},
            {"reason", change.reason},
            {"before_file", change.before_file},
            {"after_file", change.after_file},
            {"altered", write_all(change.altered)},
            {"forced", change.forced}};
}
Change read_change(const json& in) {
    return {{in.at("revision").get<std::uint64_t>()}, {in.at("base").get<std::uint64_t>()},
            in.at("author").get<std::string>(),       in.at("reason").get<std::string>(),
            in.at("before_file").get<std::string>(),  in.at("after_file").get<std::string>(),
            read_all(in.at("altered"), read_altered), in.at("forced").get<std::vector<std::string>>()};
}

json write(const Cause& cause) {
    return {{"suspect", judge::name(cause.suspect)},
            {"subject", cause.subject},
            {"items", write_all(cause.items)},
            {"evidence", cause.evidence},
            {"score", std::isfinite(cause.score) ? cause.score : 1e9}};
}
Cause read_cause(const json& in) {
    return {by_name(in.at("suspect"), judge::Suspect::unknown), in.at("subject").get<std::string>(),
            read_all(in.at("items"), read_altered), in.at("evidence").get<std::string>(), in.at("score").get<double>()};
}

json write(const Hypothesis& hypothesis) {
    json endpoints = json::array();
    for (const EndpointId id : hypothesis.endpoints) endpoints.push_back(id.value);
    return {{"suspect", judge::name(hypothesis.suspect)},
            {"subject", hypothesis.subject},
            {"revision", hypothesis.revision.value},
            {"endpoints", std::move(endpoints)},
            {"score", std::isfinite(hypothesis.score) ? hypothesis.score : std::copysign(1e9, hypothesis.score)},
            {"evidence", hypothesis.evidence}};
}
Hypothesis read_hypothesis(const json& in) {
    Hypothesis out;
    out.suspect = by_name(in.at("suspect"), judge::Suspect::unknown);
    out.subject = in.at("subject").get<std::string>();
    out.revision.value = in.at("revision").get<std::uint64_t>();
    for (const json& id : in.at("endpoints")) out.endpoints.push_back({id.get<std::uint32_t>()});
    out.score = in.at("score").get<double>();
    out.evidence = in.at("evidence").get<std::string>();
    return out;
}

json write(const Impact& impact) {
    return {{"requests", impact.requests},
            {"failed", impact.failed},
            {"failed_usual", impact.failed_usual},
            {"retried", impact.retried},
            {"slow", impact.slow},
            {"p99_usual_ns", impact.p99_usual.count()},
            {"p99_worst_ns", impact.p99_worst.count()},
            {"utilisation_worst", impact.utilisation_worst},
            {"utilisation_endpoint", impact.utilisation_endpoint}};
}
Impact read_impact(const json& in) {
    return {in.at("requests").get<std::uint64_t>(),
            in.at("failed").get<std::uint64_t>(),
            in.at("failed_usual").get<double>(),
            in.at("retried").get<std::uint64_t>(),
            in.at("slow").get<std::uint64_t>(),
            Duration{in.at("p99_usual_ns").get<std::int64_t>()},
            Duration{in.at("p99_worst_ns").get<std::int64_t>()},
            in.at("utilisation_worst").get<double>(),
            in.at("utilisation_endpoint").get<std::string>()};
}

json write(const Delivery& delivery) {
    return {{"notification", delivery.notification},
            {"channel", delivery.channel},
            {"attempt", delivery.attempt},
            {"status", delivery.status},
            {"error", delivery.error},
            {"at", rfc3339(delivery.at)},
            {"at_ns", delivery.at.ns}};
}
Delivery read_delivery(const json& in) {
    return {in.at("notification").get<std::string>(), in.at("channel").get<std::string>(),
            in.at("attempt").get<std::uint32_t>(),    in.at("status").get<std::uint16_t>(),
            in.at("error").get<std::string>(),        {in.at("at_ns").get<std::int64_t>()}};
}

Incident read_incident(const json& in) {
    if (in.at("format").get<int>() != format) throw json::other_error::create(501, "format is not 1", &in);
    Incident out;
    out.number = in.at("number").get<std::uint64_t>();
    out.pool = in.at("pool").get<std::string>();
    out.subject = in.at("subject").get<std::string>();
    out.phase = by_name(in.at("phase"), Phase::reviewed);
    out.escalated = in.at("escalated").get<bool>();
    out.told = in.at("told").get<bool>();
    const int severity = in.at("severity").get<int>();
    if (severity < 1 || severity > 4) throw json::other_error::create(501, "severity is not 1 to 4", &in);
    out.severity = static_cast<IncidentSeverity>(severity);
    if (in.contains("change")) out.change = read_change(in.at("change"));
    if (in.contains("cause")) out.cause = read_cause(in.at("cause"));
    out.hypotheses = read_all(in.at("hypotheses"), read_hypothesis);
    out.impact = read_impact(in.at("impact"));
    for (std::size_t i = 0; i < mark_count; ++i) {
        const std::string key{name(static_cast<Mark>(i))};
        if (in.at("marks").contains(key)) out.marks[i] = read_stamp(in.at("marks").at(key));
    }
    if (!out.at(Mark::t0) || !out.at(Mark::detected)) {
        throw json::other_error::create(501, "marks t0 and detected are missing", &in);
    }
    out.lines = read_all(in.at("lines"), read_line);
    out.lines_dropped = in.at("lines_dropped").get<std::size_t>();
    out.deliveries = read_all(in.at("deliveries"), read_delivery);
    out.rolled_back_to.value = in.at("rolled_back_to").get<std::uint64_t>();
    out.rollback_took = Duration{in.at("rollback_took_ns").get<std::int64_t>()};
    out.recovery_proof = in.at("recovery_proof").get<std::string>();
    out.owner = in.at("owner").get<std::string>();
    return out;
}

}  // namespace

std::string to_json(const Incident& incident) {
    json marks = json::object();
    for (std::size_t i = 0; i < mark_count; ++i) {
        if (incident.marks[i]) marks[std::string(name(static_cast<Mark>(i)))] = write(*incident.marks[i]);
    }
    json out = {{"format", format},
                {"id", incident.id()},
                {"number", incident.number},
                {"pool", incident.pool},
                {"subject", incident.subject},
                {"phase", name(incident.phase)},
                {"escalated", incident.escalated},
                {"told", incident.told},
                {"severity", static_cast<int>(incident.severity)},
                {"hypotheses", write_all(incident.hypotheses)},
                {"impact", write(incident.impact)},
                {"marks", std::move(marks)},
                {"lines", write_all(incident.lines)},
                {"lines_dropped", incident.lines_dropped},
                {"deliveries", write_all(incident.deliveries)},
                {"rolled_back_to", incident.rolled_back_to.value},
                {"rollback_took_ns", incident.rollback_took.count()},
                {"recovery_proof", incident.recovery_proof},
                {"owner", incident.owner}};
    if (incident.change) out["change"] = write(*incident.change);
    if (incident.cause) out["cause"] = write(*incident.cause);
    // Notes come from people and clients: bytes that are not UTF-8 are replaced, never thrown over.
    return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<Incident> from_json(std::string_view text) {
    try {
        return read_incident(json::parse(text));
    } catch (const json::exception& error) {
        return fail(Code::invalid, fmt::format("not an incident: {}", error.what()));
    }
}

}  // namespace plimsoll::incident

#include "http/section.h"

namespace plimsoll::http {
namespace {

/// What a field costs beside its text (RFC 9113 10.5.1, RFC 7541 4.1).
constexpr std::size_t field_overhead = 32;
/// Most heads fit: one allocation.
constexpr std::size_t first_text = 1024;

/// RFC 9113 8.2.2: what belongs to connections of HTTP/1.1 and would mean something to a peer behind us.
bool is_connection_specific(Known known, std::string_view value) {
    switch (known) {
        case Known::connection:
        case Known::keep_alive:
        case Known::proxy_connection:
        case Known::transfer_encoding:
        case Known::upgrade: return true;
        case Known::te: return !equal_ignoring_case(value, "trailers");
        default: return false;
    }
}

constexpr Refusal connection_specific{400, "a field of HTTP/1.1 connections"};

Refusal bad_gateway(const Refusal& refusal) { return {502, refusal.reason}; }

}  // namespace

bool SectionText::admit(std::string_view name, std::string_view value) {
    bytes_ += name.size() + value.size() + field_overhead;
    ++fields_;
    if (bytes_ > limits_.head_bytes) refuse({431, "the head is too long"});
    if (fields_ > limits_.fields) refuse({431, "too many fields"});
    return refusal_.status == 0;
}

Slice SectionText::keep(std::string_view text) {
    if (text_.capacity() < first_text) text_.reserve(first_text);
    const Slice slice{static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(text.size())};
    text_.append(text);
    return slice;
}

void SectionText::keep_line(Fields& fields, std::string_view name, std::string_view value) {
    const Slice name_at = keep(name), value_at = keep(value);
    const Refusal refusal = fields.add(name, name_at.at, value, value_at.at, limits_);
    if (refusal.status != 0) refuse(refusal);
}

// ---------------------------------------------------------------------------------------------------------- requests

void RequestSection::add(std::string_view name, std::string_view value) {
    if (!text_.admit(name, value)) return;
    if (name.starts_with(':')) return add_pseudo(name, value);
    fields_begun_ = true;
    const Known known = classify(name);
    if (is_connection_specific(known, value)) return text_.refuse(connection_specific);
    if (known == Known::cookie && name == "cookie" && is_field_value(value)) {
        crumbs_.push_back(text_.keep(value));
        return;
    }
    text_.keep_line(head_.fields, name, value);
}

void RequestSection::add_pseudo(std::string_view name, std::string_view value) {
    if (fields_begun_) return text_.refuse({400, "a pseudo-header after a field"});
    const Pseudo which = name == ":method"      ? method
                         : name == ":scheme"    ? scheme
                         : name == ":authority" ? authority
                         : name == ":path"      ? path
                         : name == ":protocol"  ? protocol
                                                : Pseudo{};
    if (which == Pseudo{}) return text_.refuse({400, "an unknown pseudo-header"});
    if ((seen_ & which) != 0) return text_.refuse({400, "a pseudo-header twice"});
    seen_ = static_cast<std::uint8_t>(seen_ | which);
    switch (which) {
        case method:
            if (!is_token(value)) return text_.refuse({400, "a method that is not a token"});
            if (value.size() > max_method_bytes) return text_.refuse({501, "an unknown method"});
            head_.method_text_ = text_.keep(value);
            head_.method = classify_method(value);
            return;
        case scheme:
            if (!equal_ignoring_case(value, "http") && !equal_ignoring_case(value, "https")) {
                text_.refuse({400, "a scheme other than http and https"});
            }
            return;
        case authority:
            if (!is_authority(value)) return text_.refuse({400, "an invalid :authority"});
            head_.authority_ = text_.keep(value);
            return;
        case path:
            if (!is_target(value)) return text_.refuse({400, "a byte that cannot stand in a target"});
            if (value.size() > text_.limits().target_bytes) return text_.refuse({414, "the target is too long"});
            head_.target_ = text_.keep(value);
            return;
        case protocol:
            if (!connect_protocol_) return text_.refuse({400, ":protocol without permission"});
            if (!is_token(value)) return text_.refuse({400, "a :protocol that is not a token"});
            head_.protocol_ = text_.keep(value);
            return;
    }
}

/// RFC 9113 8.3.1 and 8.5, RFC 8441 4.
Refusal RequestSection::finish_target() {
    if ((seen_ & method) == 0) return {400, "no :method"};
    const bool tunnel = (seen_ & protocol) != 0;
    if (tunnel && head_.method != Method::connect) return {400, ":protocol without CONNECT"};
    if (head_.method == Method::connect && !tunnel) {
        if ((seen_ & (scheme | path)) != 0) return {400, "CONNECT with :scheme or :path"};
        if ((seen_ & authority) == 0) return {400, "CONNECT without :authority"};
        return {};
    }
    if ((seen_ & scheme) == 0) return {400, "no :scheme"};
    const std::string_view target = text_.view(head_.target_);
    if (target.empty()) return {400, "no :path"};
    if (target == "*") {
        if (head_.method != Method::options) return {400, "\"*\" as a target is for OPTIONS"};
        head_.path_ = head_.target_;
        return {};
    }
    if (target.front() != '/') return {400, "a :path that does not start with '/'"};
    return head_.read_path(target, head_.target_.at);
}

Refusal RequestSection::finish_authority() {
    const std::size_t hosts = head_.fields.count(Known::host);
    if (hosts > 1) return {400, "more than one Host"};
    if (hosts == 0) {
        if ((seen_ & authority) == 0) return {400, "neither :authority nor Host"};
        return {};
    }
    const std::string_view host = head_.fields.get(Known::host);
    if (!is_authority(host)) return {400, "an invalid Host"};
    if ((seen_ & authority) == 0) {
        head_.authority_ = {static_cast<std::uint32_t>(host.data() - text_.base()),
                            static_cast<std::uint32_t>(host.size())};
    } else if (!equal_ignoring_case(host, head_.authority())) {
        return {400, ":authority and Host differ"};
    }
    return {};
}

void RequestSection::finish_cookie() {
    if (crumbs_.empty()) return;
    std::string joined;
    for (const Slice crumb : crumbs_) {
        if (text_.view(crumb).empty()) continue;
        if (!joined.empty()) joined.append("; ");
        joined.append(text_.view(crumb));
    }
    text_.keep_line(head_.fields, "cookie", joined);
}

Refusal RequestSection::finish(bool ended) {
    finish_cookie();
    head_.rebase(text_.base());
    head_.bytes = text_.bytes();
    if (text_.refusal().status != 0) return text_.refusal();
    if (const Refusal refusal = finish_target(); refusal.status != 0) return refusal;
    if (const Refusal refusal = finish_authority(); refusal.status != 0) return refusal;
    if (const Refusal refusal = read_framing(head_.fields, 1, head_.framing); refusal.status != 0) return refusal;
    if (const Refusal refusal = head_.read_expect(); refusal.status != 0) return refusal;
    if (head_.method == Method::connect) {
        if (head_.framing.kind != Framing::Kind::none) return {400, "CONNECT with a length"};
        head_.upgrade = (seen_ & protocol) != 0;
        return {};
    }
    if (ended) {
        if (head_.framing.has_body()) return {400, "a length without a body"};
    } else if (head_.framing.kind == Framing::Kind::none) {
        head_.framing.kind = Framing::Kind::chunked;
    }
    return {};
}

// --------------------------------------------------------------------------------------------------------- responses

void ResponseSection::add(std::string_view name, std::string_view value) {
    if (!text_.admit(name, value)) return;
    if (!name.starts_with(':')) {
        fields_begun_ = true;
        if (is_connection_specific(classify(name), value)) return text_.refuse(connection_specific);
        return text_.keep_line(head_.fields, name, value);
    }
    if (fields_begun_) return text_.refuse({502, "a pseudo-header after a field"});
    if (name != ":status") return text_.refuse({502, "an unknown pseudo-header"});
    if (status_seen_) return text_.refuse({502, "a pseudo-header twice"});
    status_seen_ = true;
    const Number number = parse_decimal(value);
    if (value.size() != 3 || !number.ok || number.value < 100 || number.value > 599) {
        return text_.refuse({502, "a status outside 100 to 599"});
    }
    head_.status = static_cast<std::uint16_t>(number.value);
}

Refusal ResponseSection::finish(Method request, bool ended) {
    head_.rebase(text_.base());
    head_.bytes = text_.bytes();
    if (text_.refusal().status != 0) return bad_gateway(text_.refusal());
    if (!status_seen_) return {502, "no :status"};
    if (head_.status == 101) return {502, "101 in HTTP/2"};
    Framing framing;
    if (const Refusal refusal = read_framing(head_.fields, 1, framing); refusal.status != 0) {
        return bad_gateway(refusal);
    }
    if (head_.status < 200) {
        if (ended) return {502, "an interim response that ends the stream"};
        if (framing.kind != Framing::Kind::none) return {502, "a body announced in an interim response"};
        return {};
    }
    const bool tunnel = request == Method::connect && head_.status < 300;
    if (head_.status == 204 || head_.status == 304 || request == Method::head || tunnel) return {};
    if (ended) {
        if (framing.has_body()) return {502, "a length without a body"};
    } else if (framing.kind == Framing::Kind::none) {
        framing.kind = Framing::Kind::chunked;
    }
    head_.framing = framing;
    return {};
}

// ---------------------------------------------------------------------------------------------------------- trailers

void TrailerSection::add(std::string_view name, std::string_view value) {
    if (!text_.admit(name, value)) return;
    if (name.starts_with(':')) return text_.refuse({400, "a pseudo-header in trailers"});
    if (is_connection_specific(classify(name), value)) return text_.refuse(connection_specific);
    const std::size_t before = fields_.size();
    text_.keep_line(fields_, name, value);
    if (fields_.size() == before) return;
    fields_.rebase(text_.base());
    if (!may_be_trailer(fields_[before])) fields_.drop_last();
}

Refusal TrailerSection::finish() {
    fields_.rebase(text_.base());
    return text_.refusal();
}

}  // namespace plimsoll::http

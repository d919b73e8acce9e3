// Heads and trailers of HTTP/2 made from decoded field sections (RFC 9113 sections 8.2, 8.3 and 8.5, RFC 8441), as
// strict as the parsers of HTTP/1.1. Each owns the text that its head views; so it must not move once finished.
// No I/O, no thread rule.
//
//   section.add(name, value)   for each field in order
//   section.finish(...)        once the section is whole: the head, or why not
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http/fields.h"
#include "http/head.h"
#include "http/limits.h"

namespace plimsoll::http {

/// Keeps text and lines within the limits; what is over them is counted and not kept.
class SectionText {
public:
    explicit SectionText(const HeadLimits& limits) : limits_(limits) {}

    /// Counts the field; false when it is over a limit or something was refused before.
    bool admit(std::string_view name, std::string_view value);
    /// Copies text; where it stands.
    Slice keep(std::string_view text);
    void keep_line(Fields& fields, std::string_view name, std::string_view value);
    /// The first refusal stays.
    void refuse(const Refusal& refusal) {
        if (refusal_.status == 0) refusal_ = refusal;
    }

    [[nodiscard]] const Refusal& refusal() const { return refusal_; }
    [[nodiscard]] const HeadLimits& limits() const { return limits_; }
    [[nodiscard]] const char* base() const { return text_.data(); }
    [[nodiscard]] std::string_view view(Slice slice) const { return {text_.data() + slice.at, slice.size}; }
    /// Of all fields, kept or not: name + value + 32 each (RFC 9113 10.5.1).
    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    [[nodiscard]] std::size_t fields() const { return fields_; }
    /// Bytes of memory for text.
    [[nodiscard]] std::size_t held() const { return text_.capacity(); }

private:
    HeadLimits limits_;
    std::string text_;
    Refusal refusal_;
    std::size_t bytes_ = 0, fields_ = 0;
};

/// A request's. Status 400 = malformed, a stream error; any other is an answer to give.
class RequestSection {
public:
    /// `connect_protocol`: extended CONNECT is allowed.
    explicit RequestSection(const HeadLimits& limits, bool connect_protocol = false)
        : text_(limits), connect_protocol_(connect_protocol) {}

    void add(std::string_view name, std::string_view value);
    /// Something else is wrong with it.
    void refuse(const Refusal& refusal) { text_.refuse(refusal); }
    /// `ended`: no body follows. CONNECT has no body but a tunnel: its framing is `none`.
    Refusal finish(bool ended);
    [[nodiscard]] const RequestHead& head() const { return head_; }
    [[nodiscard]] const SectionText& text() const { return text_; }

private:
    enum Pseudo : std::uint8_t { method = 1, scheme = 2, authority = 4, path = 8, protocol = 16 };
    void add_pseudo(std::string_view name, std::string_view value);
    Refusal finish_target();
    Refusal finish_authority();
    void finish_cookie();

    SectionText text_;
    RequestHead head_;
    std::vector<Slice> crumbs_;  ///< of the Cookie field, joined at the end (RFC 9113 8.2.3)
    std::uint8_t seen_ = 0;
    bool fields_begun_ = false;
    bool connect_protocol_;
};

/// A response's; used again after an interim one. Refusals carry 502.
class ResponseSection {
public:
    explicit ResponseSection(const HeadLimits& limits) : text_(limits) {}

    void add(std::string_view name, std::string_view value);
    /// Something else is wrong with it.
    void refuse(const Refusal& refusal) { text_.refuse(refusal); }
    /// `request`: the method of what this answers. `ended`: no body follows.
    Refusal finish(Method request, bool ended);
    [[nodiscard]] const ResponseHead& head() const { return head_; }
    [[nodiscard]] const SectionText& text() const { return text_; }

private:
    SectionText text_;
    ResponseHead head_;
    bool status_seen_ = false;
    bool fields_begun_ = false;
};

/// Trailers: names that must not come so late are dropped, as BodyDecoder does.
class TrailerSection {
public:
    explicit TrailerSection(const HeadLimits& limits) : text_(limits) {}
    void add(std::string_view name, std::string_view value);
    /// Something else is wrong with it.
    void refuse(const Refusal& refusal) { text_.refuse(refusal); }
    Refusal finish();
    [[nodiscard]] const Fields& fields() const { return fields_; }
    [[nodiscard]] const SectionText& text() const { return text_; }

private:
    SectionText text_;
    Fields fields_;
};

}  // namespace plimsoll::http

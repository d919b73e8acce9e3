// What rules may see of a request, whatever brought it: HTTP/1.1, HTTP/2, a recording, or `plimsoll explain`.
// Views, valid during the call they are passed to. No thread rule.
#pragma once

#include <concepts>
#include <string_view>
#include <type_traits>

namespace plimsoll::snapshot {

/// Takes one value after the other. False = enough.
class ValueSink {
public:
    /// `take` is called while the caller's frame lives: it is not copied.
    template <class F>
        requires(std::predicate<F&, std::string_view> && !std::same_as<std::remove_cv_t<F>, ValueSink>)
    ValueSink(F& take)
        : take_(&take), call_([](void* to, std::string_view value) { return bool((*static_cast<F*>(to))(value)); }) {}
    bool operator()(std::string_view value) const { return call_(take_, value); }

private:
    void* take_;
    bool (*call_)(void*, std::string_view);
};

/// Header lines by name, wherever they are kept. Does not own them.
class HeaderLookup {
public:
    /// No lines: what is known of a recorded request.
    HeaderLookup() = default;
    /// `each` is a lambda without captures: (const Lines&, std::string_view lower_case_name, ValueSink) gives the sink
    /// the value of every line of that name in order, whatever the case of the line's name, until the sink says enough.
    template <class Lines, class Each>
        requires std::is_empty_v<Each>
    HeaderLookup(const Lines& lines, Each)
        : lines_(&lines), each_([](const void* in, std::string_view name, ValueSink sink) {
              Each{}(*static_cast<const Lines*>(in), name, sink);
          }) {}
    void each(std::string_view lower_case_name, ValueSink sink) const {
        if (each_ != nullptr) each_(lines_, lower_case_name, sink);
    }

private:
    const void* lines_ = nullptr;
    void (*each_)(const void*, std::string_view, ValueSink) = nullptr;
};

class Remembered;

/// One request, as far as it is known. What is not known is empty: then conditions on listener and method do not hold,
/// and conditions on headers and query are judged as if the request had none.
struct RequestView {
    std::string_view listener{};  ///< name
    std::string_view scheme{};    ///< "http" or "https", as the client spoke to us
    std::string_view host{};      ///< as sent; case, port and one trailing dot do not matter to rules
    std::string_view path{};      ///< as sent, before '?'
    std::string_view query{};     ///< as sent, after '?'
    std::string_view method{};    ///< case-sensitive (RFC 9110 section 9.1)
    const HeaderLookup* headers = nullptr;
    /// Of a recorded request, instead of `query` and `headers`: what their conditions were found to be (questions.h).
    Remembered* remembered = nullptr;
};

/// A request target cut at its first '?'. `has_query` tells "/a?" from "/a".
struct TargetParts {
    std::string_view path, query;
    bool has_query = false;
};
[[nodiscard]] TargetParts split_target(std::string_view target);

}  // namespace plimsoll::snapshot

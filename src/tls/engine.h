// Engine: OpenSSL between a stream of ciphertext and our calls. It never waits: it moves what can be moved now and says
// what is left. Private to this room; Session waits, accept() and connect() drive the handshake.
// Thread rule: one thread, that of the stream below.
// Source: ssl(7ossl), RFC 8446.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/stream.h"
#include "tls/openssl.h"
#include "tls/session.h"

namespace plimsoll::tls {

/// OpenSSL's state of one session without buffers, about: measured with OpenSSL 3.0 and idle sessions.
inline constexpr std::size_t session_bytes = 8 * 1024;

class Session::Engine {
public:
    /// `context` keeps what `ssl_context` points into. Errors: internal (no memory).
    static Result<std::unique_ptr<Engine>> create(std::unique_ptr<net::Stream> stream,
                                                  std::shared_ptr<const void> context, SSL_CTX* ssl_context,
                                                  std::string first);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    ~Engine() = default;

    // ---- handshake ----
    enum class Step : std::uint8_t { done, want_read, failed };
    /// One step; what it made us say is in pending_out(). On failure trouble() says why.
    Step handshake();
    /// Fills facts().
    void learn();
    /// Ciphertext that waits for the socket; cleared by who writes it.
    [[nodiscard]] std::string take_out();
    /// The peer sent nothing at all before it closed.
    [[nodiscard]] bool silent() const;

    // ---- data ----
    net::Io read(std::span<char> into);
    net::Io write(std::span<const std::string_view> pieces);
    /// Whether the peer has sent neither data nor an end; takes in what is neither.
    bool quiet();
    /// True if a read may give something without the stream below becoming readable.
    [[nodiscard]] bool holds_something() const { return more_ || read_end_.has_value(); }
    /// Writes what waits; false if something is left.
    bool flush();
    [[nodiscard]] bool flushed() const { return out_.empty(); }
    /// Says close_notify; nothing more is written.
    void say_goodbye();
    /// After say_goodbye(), when all is written: FIN below.
    void finish_below();
    [[nodiscard]] std::size_t held() const { return session_bytes + out_.capacity() + first_.capacity(); }
    [[nodiscard]] bool said_goodbye() const { return goodbye_; }

    [[nodiscard]] net::Stream& below() const { return *stream_; }
    [[nodiscard]] const SessionFacts& facts() const { return facts_; }
    [[nodiscard]] const std::string& trouble() const { return trouble_; }
    [[nodiscard]] bool is_broken() const { return broken_.has_value(); }
    [[nodiscard]] Code trouble_code() const { return broken_.value_or(Code::internal); }
    [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
    [[nodiscard]] Handshake& handshake_state() { return handshake_; }

private:
    friend struct Bio;
    Engine(std::unique_ptr<net::Stream> stream, std::shared_ptr<const void> context, std::string first);
    /// Notes what OpenSSL says stands in the way, after a call that gave nothing.
    void note(int result);
    void note_broken();
    /// The stream below takes nothing any more; reading may go on.
    void cannot_write(Code code);
    /// Gives OpenSSL's buffers back if nothing is in them.
    void release();
    bool write_record(std::string_view plain);

    std::unique_ptr<net::Stream> stream_;
    std::shared_ptr<const void> context_;
    Handshake handshake_;
    SslPtr ssl_;  ///< after what it refers to
    SessionFacts facts_;
    std::string trouble_;
    std::string first_;  ///< bytes of the peer that were read before us
    std::string out_;    ///< ciphertext that the socket has not taken
    std::size_t first_read_ = 0;
    std::size_t out_written_ = 0;
    std::optional<net::Io> read_end_;  ///< what every read gives from now on
    std::optional<Code> broken_;       ///< nothing can be written any more
    std::optional<Code> below_;        ///< how reading below failed
    bool below_ended_ = false;         ///< FIN below
    bool more_ = true;                 ///< OpenSSL may hold data: it has not said "nothing" since the last bytes
    bool owed_ = false;    ///< the last byte written is encrypted and not reported: its record is still on its way
    bool direct_ = false;  ///< one record only: it goes from OpenSSL's buffer straight to the socket
    bool slow_ = false;    ///< the socket did not take the last batch: smaller ones hold less memory
    bool goodbye_ = false;
    bool finished_ = false;
};

/// The error of this thread's queue that tells most; empties the queue. 0 = none.
[[nodiscard]] unsigned long cause();
/// The other side's fatal alert.
[[nodiscard]] bool is_alert(unsigned long error);
/// Why OpenSSL stopped, for operators. `who` is "client" or "server", the other side.
[[nodiscard]] std::string explain(unsigned long error, const SSL* ssl, const Handshake& handshake,
                                  std::string_view who);

}  // namespace plimsoll::tls

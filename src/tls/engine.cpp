#include "tls/engine.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace plimsoll::tls {

using net::Io;

namespace {

/// A peer that makes us answer (alerts, key updates) and does not read is cut off here.
constexpr std::size_t max_unsent = 256 * 1024;
constexpr std::size_t record_size = 16 * 1024;  ///< the most that a record holds (RFC 8446, 5.1)
constexpr std::size_t batch = 4 * record_size;  ///< plaintext per system call
constexpr std::size_t overhead = 32;            ///< of a record: head, explicit nonce or type, tag

/// The pieces as parts that each fit into a record; small ones are put together.
class Records {
public:
    Records(std::span<const std::string_view> pieces, std::size_t skip, std::size_t most)
        : pieces_(pieces), left_(most) {
        while (skip > 0) skip -= cut(skip).size();
    }
    /// Bytes not yet given, up to `most`.
    [[nodiscard]] std::string_view next(std::array<char, record_size>& scratch) {
        const std::size_t most = std::min(left_, record_size);
        std::string_view part = cut(most);
        if (part.size() < most && more()) {
            std::memcpy(scratch.data(), part.data(), part.size());
            std::size_t size = part.size();
            while (size < most && more()) {
                part = cut(most - size);
                std::memcpy(scratch.data() + size, part.data(), part.size());
                size += part.size();
            }
            part = std::string_view(scratch.data(), size);
        }
        left_ -= part.size();
        return part;
    }

private:
    bool more() {
        while (index_ < pieces_.size() && offset_ == pieces_[index_].size()) {
            ++index_;
            offset_ = 0;
        }
        return index_ < pieces_.size();
    }
    std::string_view cut(std::size_t most) {
        if (!more()) return {};
        const std::string_view part = pieces_[index_].substr(offset_, most);
        offset_ += part.size();
        return part;
    }
    std::span<const std::string_view> pieces_;
    std::size_t index_ = 0, offset_ = 0;
    std::size_t left_;
};

}  // namespace

/// OpenSSL's way to the stream below.
struct Bio {
    static Session::Engine& engine(BIO* bio) { return *static_cast<Session::Engine*>(BIO_get_data(bio)); }

    static int read(BIO* bio, char* into, std::size_t size, std::size_t* got) {
        Session::Engine& self = engine(bio);
        BIO_clear_retry_flags(bio);
        *got = 0;
        if (!self.first_.empty()) {
            *got = std::min(size, self.first_.size() - self.first_read_);
            std::memcpy(into, self.first_.data() + self.first_read_, *got);
            self.first_read_ += *got;
            if (self.first_read_ == self.first_.size()) self.first_ = {};
            return 1;
        }
        const Io io = self.stream_->try_read({into, size});
        switch (io.state) {
            case Io::State::moved: *got = io.bytes; return 1;
            case Io::State::would_block: BIO_set_retry_read(bio); return 0;
            case Io::State::end: self.below_ended_ = true; return 0;
            case Io::State::failed: self.below_ = io.code; return 0;
        }
        return 0;
    }

    static int write(BIO* bio, const char* bytes, std::size_t size, std::size_t* put) {
        Session::Engine& self = engine(bio);
        BIO_clear_retry_flags(bio);
        *put = 0;
        std::string_view rest(bytes, size);
        if (self.direct_ && self.out_.empty()) {
            const Io io = self.stream_->try_write(std::span(&rest, 1));
            if (io.state == Io::State::failed) {
                // Told by write(), not to OpenSSL: what the peer said before it broke off can still be read.
                self.cannot_write(io.code);
                rest = {};
            }
            rest.remove_prefix(io.bytes);
        }
        if (self.out_.size() - self.out_written_ + rest.size() > max_unsent) return 0;
        self.out_ += rest;
        *put = size;
        return 1;
    }

    static long control(BIO* bio, int command, long, void*) {
        switch (command) {
            case BIO_CTRL_FLUSH: return 1;
            case BIO_CTRL_EOF: return engine(bio).below_ended_ ? 1 : 0;
            default: return 0;
        }
    }

    static const BIO_METHOD* method() {
        static const BIO_METHOD* const made = [] {
            BIO_METHOD* fresh = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "plimsoll stream");
            PLIMSOLL_ENSURE(fresh != nullptr, "no memory");
            BIO_meth_set_read_ex(fresh, read);
            BIO_meth_set_write_ex(fresh, write);
            BIO_meth_set_ctrl(fresh, control);
            return fresh;
        }();
        return made;
    }
};

Session::Engine::Engine(std::unique_ptr<net::Stream> stream, std::shared_ptr<const void> context, std::string first)
    : stream_(std::move(stream)), context_(std::move(context)), first_(std::move(first)) {}

Result<std::unique_ptr<Session::Engine>> Session::Engine::create(std::unique_ptr<net::Stream> stream,
                                                                 std::shared_ptr<const void> context,
                                                                 SSL_CTX* ssl_context, std::string first) {
    std::unique_ptr<Engine> engine(new Engine(std::move(stream), std::move(context), std::move(first)));
    engine->ssl_.reset(SSL_new(ssl_context));
    BIO* bio = BIO_new(Bio::method());
    if (!engine->ssl_ || bio == nullptr) {
        BIO_free(bio);
        ERR_clear_error();
        return fail(Code::internal, "no memory for a TLS session");
    }
    BIO_set_data(bio, engine.get());
    BIO_set_init(bio, 1);
    SSL_set_bio(engine->ssl_.get(), bio, bio);
    SSL_set_app_data(engine->ssl_.get(), &engine->handshake_);
    return engine;
}

// ---- handshake -----------------------------------------------------------------------------------------------------

Session::Engine::Step Session::Engine::handshake() {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl());
    if (result == 1) {
        more_ = true;  // the first data may have come in one segment with the end of the handshake
        return Step::done;
    }
    note(result);
    return broken_ ? Step::failed : Step::want_read;
}

std::string Session::Engine::take_out() { return std::exchange(out_, {}); }

bool Session::Engine::silent() const { return below_ended_ && stream_->received() == 0 && first_read_ == 0; }

void Session::Engine::learn() {
    facts_.version = SSL_version(ssl()) >= TLS1_3_VERSION ? Version::tls13 : Version::tls12;
    if (const char* cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl())); cipher != nullptr) {
        facts_.cipher = cipher;
    }
    const unsigned char* alpn = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl(), &alpn, &size);
    facts_.alpn.assign(reinterpret_cast<const char*>(alpn), size);
    facts_.sni = handshake_.sni;
    facts_.resumed = SSL_session_reused(ssl()) == 1;
    if (const X509* peer = SSL_get0_peer_certificate(ssl()); peer != nullptr) {
        facts_.peer_subject = text(X509_get_subject_name(peer));
        facts_.peer_fingerprint = fingerprint(peer);
    }
    if (SSL_is_server(ssl()) == 1) {
        SSL_set_tlsext_status_ocsp_resp(ssl(), nullptr, 0);  // sent; it would stay as long as the connection
        facts_.certificate = static_cast<const ServerContext*>(context_.get())->certificate_for(facts_.sni);
    }
}

// ---- what stands in the way ----------------------------------------------------------------------------------------

void Session::Engine::note(int result) {
    switch (SSL_get_error(ssl(), result)) {
        case SSL_ERROR_WANT_READ:
            more_ = false;
            release();
            return;
        case SSL_ERROR_ZERO_RETURN: read_end_ = Io::end(); return;
        default: note_broken();
    }
}

void Session::Engine::release() {
    // SSL_MODE_RELEASE_BUFFERS keeps 16 KiB after a ticket and after a write of several records.
    if (SSL_in_init(ssl()) == 0) (void)SSL_free_buffers(ssl());
}

void Session::Engine::note_broken() {
    const unsigned long error = cause();
    trouble_ = explain(error, ssl(), handshake_, SSL_is_server(ssl()) == 1 ? "client" : "server");
    const bool cut = below_ended_ || (is_alert(error) && SSL_in_init(ssl()) == 0);
    broken_ = below_.value_or(cut ? Code::reset : Code::protocol);
    read_end_ = Io::failed(*broken_);
    more_ = false;
}

// ---- data ----------------------------------------------------------------------------------------------------------

Io Session::Engine::read(std::span<char> into) {
    if (stream_->closed()) return Io::failed(Code::cancelled);
    if (read_end_) return *read_end_;
    if (!more_ && stream_->quiet()) return Io::would_block();
    std::size_t got = 0;
    while (got < into.size()) {
        ERR_clear_error();
        std::size_t n = 0;
        if (SSL_read_ex(ssl(), into.data() + got, into.size() - got, &n) == 1) {
            got += n;
            more_ = true;
            continue;
        }
        note(0);
        break;
    }
    (void)flush();
    if (got > 0) return Io::moved(got);
    return read_end_ ? *read_end_ : Io::would_block();
}

bool Session::Engine::quiet() {
    if (stream_->closed() || read_end_) return false;
    if (!more_ && stream_->quiet()) return true;
    ERR_clear_error();
    char byte = 0;
    std::size_t n = 0;
    if (SSL_peek_ex(ssl(), &byte, 1, &n) == 1) {
        more_ = true;
        return false;
    }
    note(0);
    (void)flush();
    return !read_end_;
}

void Session::Engine::cannot_write(Code code) {
    if (trouble_.empty()) trouble_ = "the peer broke the connection";
    if (!broken_) broken_ = code;
}

bool Session::Engine::flush() {
    while (out_written_ < out_.size()) {
        const std::string_view rest = std::string_view(out_).substr(out_written_);
        const Io io = stream_->try_write(std::span(&rest, 1));
        if (io.state == Io::State::would_block) return false;
        if (io.state != Io::State::moved) {
            cannot_write(io.code);
            break;
        }
        out_written_ += io.bytes;
    }
    out_ = {};
    out_written_ = 0;
    return true;
}

bool Session::Engine::write_record(std::string_view plain) {
    ERR_clear_error();
    std::size_t n = 0;
    while (!plain.empty() && SSL_write_ex(ssl(), plain.data(), plain.size(), &n) == 1) plain.remove_prefix(n);
    if (plain.empty()) return true;
    note_broken();
    return false;
}

Io Session::Engine::write(std::span<const std::string_view> pieces) {
    if (stream_->closed()) return Io::failed(Code::cancelled);
    if (!broken_ && !flush()) return Io::would_block();
    if (broken_ || goodbye_) return Io::failed(broken_.value_or(Code::reset));
    std::size_t total = 0;
    for (std::string_view piece : pieces) total += piece.size();
    if (total == 0) return Io::moved(0);
    const std::size_t before = owed_ ? 1 : 0;
    owed_ = false;
    const std::size_t wanted = std::min(total - before, slow_ ? record_size : batch);
    Records records(pieces, before, wanted);
    direct_ = wanted <= record_size;
    if (!direct_) out_.reserve(wanted + (wanted / record_size + 1) * overhead);
    std::array<char, record_size> scratch;
    for (std::size_t done = 0; done < wanted;) {
        const std::string_view record = records.next(scratch);
        if (!write_record(record)) break;
        done += record.size();
    }
    direct_ = false;
    release();
    if (!broken_) slow_ = !flush();
    if (broken_) return Io::failed(*broken_);
    if (!slow_) return Io::moved(before + wanted);
    owed_ = wanted > 0;
    const std::size_t reported = before + wanted - (owed_ ? 1 : 0);
    return reported > 0 ? Io::moved(reported) : Io::would_block();
}

void Session::Engine::say_goodbye() {
    if (goodbye_) return;
    goodbye_ = true;
    if (broken_ || SSL_in_init(ssl()) == 1) return;
    ERR_clear_error();
    (void)SSL_shutdown(ssl());
    ERR_clear_error();
}

void Session::Engine::finish_below() {
    if (!goodbye_ || finished_ || !out_.empty()) return;
    finished_ = true;
    stream_->shutdown_write();
}

}  // namespace plimsoll::tls

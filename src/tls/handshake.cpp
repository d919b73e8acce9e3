// accept() and connect(): the handshake, driven until it is done or refused.
#include "tls/engine.h"

namespace plimsoll::tls {
namespace {

using async::ok;
using Engine = Session::Engine;

struct Party {
    Side side;
    Retry retry;
    std::string_view name;
};
constexpr Party client{Side::client, Retry::no, "client"};
constexpr Party server{Side::upstream, Retry::yes, "server"};

std::unexpected<Error> refuse(const Party& party, Code code, std::string detail) {
    return fail(code, "TLS handshake: " + std::move(detail), party.side, party.retry);
}

/// The stream's own failure while we waited.
std::unexpected<Error> broken_off(const Engine& engine, const Party& party, Code code) {
    const std::string who = "the " + std::string(party.name);
    const bool nothing = engine.below().received() == 0;
    if (code == Code::timeout) {
        return refuse(party, code, who + (nothing ? " sent nothing in time" : " did not finish in time"));
    }
    return refuse(party, code, code == Code::cancelled ? std::string("closed by us") : who + " broke the connection");
}

std::unexpected<Error> refused(Engine& engine, const Party& party) {
    (void)engine.flush();  // the alert, if the socket takes it
    engine.below().shutdown_write();
    if (engine.silent()) {
        return refuse(party, Code::closed, "the " + std::string(party.name) + " closed without sending a byte");
    }
    return refuse(party, engine.trouble_code(), engine.trouble());
}

Task<Result<void>> shake(Engine& engine, Party party, Deadline deadline) {
    for (;;) {
        const Engine::Step step = engine.handshake();
        if (step == Engine::Step::failed) co_return refused(engine, party);
        if (step == Engine::Step::done) break;
        if (!engine.flushed()) {
            const std::string out = engine.take_out();
            const Result<void> sent = co_await engine.below().write_all(out, deadline);
            // A peer that refused us may have closed already: its alert, still to be read, tells more.
            if (!sent && sent.error().code != Code::reset) co_return broken_off(engine, party, sent.error().code);
        }
        const Result<void> waited = co_await engine.below().readable(deadline);
        if (!waited) co_return broken_off(engine, party, waited.error().code);
    }
    // What is said last (Finished, tickets) is not waited for: the peer may read it only when it wants data.
    (void)engine.flush();
    if (engine.is_broken()) co_return broken_off(engine, party, engine.trouble_code());
    engine.learn();
    co_return Result<void>{};
}

/// Name and address to ask for and to verify. False: no name that could be asked for.
bool set_name(Engine& engine, const ClientSettings& settings, const std::string& name) {
    SSL* ssl = engine.ssl();
    Handshake& handshake = engine.handshake_state();
    handshake.expected = name;
    X509_VERIFY_PARAM* verify = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (name.empty()) return !settings.verify;
    if (name.find('\0') != std::string::npos) return false;
    if (const std::string ip = ip_literal(name); !ip.empty()) {
        return !settings.verify || X509_VERIFY_PARAM_set1_ip_asc(verify, ip.c_str()) == 1;
    }
    handshake.sni = host_key(name);
    if (handshake.sni.empty() || SSL_set_tlsext_host_name(ssl, handshake.sni.c_str()) != 1) return false;
    return !settings.verify || X509_VERIFY_PARAM_set1_host(verify, handshake.sni.data(), handshake.sni.size()) == 1;
}

void offer_session(Engine& engine, ClientContext::Inside& inside) {
    if (!inside.settings.resume) return;
    Handshake& handshake = engine.handshake_state();
    handshake.resume_key = engine.below().peer().text() + ' ' + handshake.expected;
    if (const SessionCache::Session session = inside.sessions.take(handshake.resume_key)) {
        SSL_set_session(engine.ssl(), session.get());
    }
}

}  // namespace

Task<Result<std::unique_ptr<Session>>> accept(std::unique_ptr<net::Stream> stream,
                                              std::shared_ptr<const ServerContext> context, Deadline deadline,
                                              std::string first) {
    SSL_CTX* ssl_context = context->inside().context.get();
    std::unique_ptr<Engine> engine =
        co_await ok(Engine::create(std::move(stream), std::move(context), ssl_context, std::move(first)));
    SSL_set_accept_state(engine->ssl());
    co_await ok(shake(*engine, client, deadline));
    co_return std::make_unique<Session>(std::move(engine));
}

Task<Result<std::unique_ptr<Session>>> connect(std::unique_ptr<net::Stream> stream,
                                               std::shared_ptr<const ClientContext> context, std::string server_name,
                                               Deadline deadline) {
    ClientContext::Inside& inside = context->inside();
    if (stream->received() > 0) {
        co_return refuse(server, Code::protocol, "the server spoke before TLS began");
    }
    std::unique_ptr<Engine> engine =
        co_await ok(Engine::create(std::move(stream), context, inside.context.get(), std::string()));
    SSL_set_connect_state(engine->ssl());
    if (!set_name(*engine, inside.settings, server_name)) {
        ERR_clear_error();
        co_return fail(Code::invalid, server_name.empty() ? "TLS handshake: no server name to verify"
                                                          : "TLS handshake: the server name cannot be asked for");
    }
    offer_session(*engine, inside);
    co_await ok(shake(*engine, server, deadline));
    co_return std::make_unique<Session>(std::move(engine));
}

}  // namespace plimsoll::tls

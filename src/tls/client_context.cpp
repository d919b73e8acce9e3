// ClientContext: one SSL_CTX a pool; sessions are kept for the next connection to the same endpoint and name.
#include "tls/openssl.h"

namespace plimsoll::tls {
namespace {

/// A ticket came, or a TLS 1.2 handshake ended. 0: we keep no reference, the cache copies.
int on_session(SSL* ssl, SSL_SESSION* session) {
    const std::string& key = handshake_of(ssl).resume_key;
    const auto* inside = static_cast<ClientContext::Inside*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    if (!key.empty()) const_cast<ClientContext::Inside*>(inside)->sessions.put(key, session);
    return 0;
}

bool set_identity(SSL_CTX* context, const ClientSettings& settings) {
    if (settings.verify) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, note_refusal);
        SSL_CTX_set1_cert_store(context, settings.authorities->inside().store.get());
    }
    if (!settings.certificate) return true;
    const Certificate::Inside& certificate = settings.certificate->inside();
    return SSL_CTX_use_cert_and_key(context, certificate.leaf.get(), certificate.key.get(), certificate.chain(), 1) ==
           1;
}

}  // namespace

Result<std::shared_ptr<const ClientContext>> ClientContext::create(ClientSettings settings) {
    if (settings.verify && !settings.authorities) {
        return fail(Code::invalid, "verification of servers needs authorities");
    }
    Result<std::string> alpn = alpn_wire(settings.alpn);
    if (!alpn) return std::unexpected(alpn.error());
    auto inside = std::make_unique<Inside>();
    inside->settings = std::move(settings);
    inside->context.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX* context = inside->context.get();
    if (context == nullptr || !set_common(context, inside->settings.min_version) ||
        !set_identity(context, inside->settings) ||
        SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(alpn->data()),
                                static_cast<unsigned int>(alpn->size())) != 0) {
        ERR_clear_error();
        return fail(Code::internal, "OpenSSL refuses our settings for servers");
    }
    SSL_CTX_set_app_data(context, inside.get());
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, on_session);
    if (!inside->settings.resume) SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    return std::shared_ptr<const ClientContext>(new ClientContext(std::move(inside)));
}

ClientContext::ClientContext(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
ClientContext::~ClientContext() = default;
const ClientSettings& ClientContext::settings() const { return inside_->settings; }

}  // namespace plimsoll::tls

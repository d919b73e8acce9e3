// ServerContext: one SSL_CTX a listener; certificates are chosen by hash while the handshake goes on.
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "base/hash.h"
#include "tls/ocsp.h"
#include "tls/openssl.h"
#include "tls/ticket_keys.h"

namespace plimsoll::tls {
namespace {

using Inside = ServerContext::Inside;

/// Tickets live this long, seconds: a day's visitor comes back, and a key that leaks opens little.
constexpr long session_seconds = 4 * 3600;

const Inside& inside_of(const SSL* ssl) {
    return *static_cast<const Inside*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

/// Of a name in lower case, or of an address.
bool is_of_host(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == ':';
}

/// Notes the name before OpenSSL looks at tickets, which are bound to it.
int on_client_hello(SSL* ssl, int* alert, void*) {
    const unsigned char* body = nullptr;
    std::size_t size = 0;
    Handshake& handshake = handshake_of(ssl);
    handshake.sni.clear();
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &body, &size) != 1) return SSL_CLIENT_HELLO_SUCCESS;
    // Length of the list, type, length of the name; what is wrong here OpenSSL refuses later.
    constexpr std::size_t head = 5;
    if (size <= head || body[2] != TLSEXT_NAMETYPE_host_name) return SSL_CLIENT_HELLO_SUCCESS;
    const std::size_t length = static_cast<std::size_t>(body[3]) << 8 | body[4];
    if (length > size - head) return SSL_CLIENT_HELLO_SUCCESS;
    handshake.sni = host_key({reinterpret_cast<const char*>(body) + head, length});
    if (!std::ranges::all_of(handshake.sni, is_of_host)) {  // it is written to logs and compared with Host
        *alert = SSL_AD_ILLEGAL_PARAMETER;
        return SSL_CLIENT_HELLO_ERROR;
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

int on_server_name(SSL*, int*, void*) { return SSL_TLSEXT_ERR_OK; }

int on_certificate(SSL* ssl, void* inside_pointer) {
    const Inside& inside = *static_cast<const Inside*>(inside_pointer);
    if (SSL_session_reused(ssl) == 1) return 1;  // no certificate is shown
    SSL_certs_clear(ssl);
    for (std::uint32_t index : inside.choose(handshake_of(ssl).sni)) {
        const Certificate::Inside& certificate = inside.settings.certificates[index]->inside();
        if (SSL_use_cert_and_key(ssl, certificate.leaf.get(), certificate.key.get(), certificate.chain(), 1) != 1) {
            return 0;
        }
    }
    return 1;
}

/// The client asks for an OCSP response; it gets one if ours holds now. Without one it decides for itself.
int on_status(SSL* ssl, void* inside_pointer) {
    const Inside& inside = *static_cast<const Inside*>(inside_pointer);
    const X509* shown = SSL_get_certificate(ssl);
    for (std::uint32_t index : inside.choose(handshake_of(ssl).sni)) {
        const Certificate::Inside& certificate = inside.settings.certificates[index]->inside();
        if (certificate.leaf.get() != shown || !certificate.staple) continue;
        if (!is_current(*certificate.staple, {std::time(nullptr) * 1'000'000'000})) return SSL_TLSEXT_ERR_NOACK;
        const std::string& der = certificate.staple->der;
        void* copy = OPENSSL_memdup(der.data(), der.size());
        if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
        SSL_set_tlsext_status_ocsp_resp(ssl, static_cast<unsigned char*>(copy), static_cast<long>(der.size()));
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

int on_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered, unsigned int size,
            void* inside_pointer) {
    const std::string& ours = static_cast<const Inside*>(inside_pointer)->alpn;
    unsigned char* chosen = nullptr;
    const int result = SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(ours.data()),
                                             static_cast<unsigned int>(ours.size()), offered, size);
    *out = chosen;
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

bool key_seal(const TicketKeys::Key& key, EVP_MAC_CTX* mac) {
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<unsigned char*>(key.digest.data()),
                                          key.digest.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

/// SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 0 = unknown key, 1 = fine, 2 = fine and to be renewed, -1 = error.
int on_ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                  int sealing) {
    const TicketKeys& keys = *inside_of(ssl).settings.ticket_keys;
    if (sealing == 1) {
        const std::shared_ptr<const TicketKeys::Key> key = keys.newest();
        std::ranges::copy(key->name, name);
        if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1) return -1;
        if (EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key->cipher.data(), iv) != 1) return -1;
        return key_seal(*key, mac) ? 1 : -1;
    }
    bool is_newest = false;
    const auto key = keys.find({reinterpret_cast<const char*>(name), 16}, is_newest);
    if (!key) return 0;
    if (!key_seal(*key, mac)) return -1;
    if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key->cipher.data(), iv) != 1) return -1;
    // A TLS 1.3 ticket is used once, so each visit earns a new one.
    return is_newest && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
}

/// A ticket is for one name: resumption under another begins anew, with the certificate of that name.
int on_new_ticket(SSL* ssl, void*) {
    const std::string& sni = handshake_of(ssl).sni;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), sni.data(), sni.size());
}

SSL_TICKET_RETURN on_old_ticket(SSL* ssl, SSL_SESSION* session, const unsigned char*, std::size_t,
                                SSL_TICKET_STATUS status, void*) {
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) return SSL_TICKET_RETURN_IGNORE_RENEW;
    void* bytes = nullptr;
    std::size_t size = 0;
    SSL_SESSION_get0_ticket_appdata(session, &bytes, &size);
    if (std::string_view(static_cast<const char*>(bytes), size) != handshake_of(ssl).sni) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    // Who could not come in with a full handshake any more does not come in by an old ticket.
    const X509* peer = SSL_SESSION_get0_peer(session);
    if (peer != nullptr && X509_cmp_current_time(X509_get0_notAfter(peer)) < 0) return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/// Adds a certificate to those of a name, unless one with its key type is there.
void add(std::vector<std::uint32_t>& list, std::uint32_t index, const ServerSettings& settings) {
    const auto& type = settings.certificates[index]->facts().key_type;
    for (std::uint32_t other : list) {
        if (settings.certificates[other]->facts().key_type == type) return;
    }
    list.push_back(index);
}

void fill_index(Inside& inside) {
    const auto& certificates = inside.settings.certificates;
    for (std::uint32_t i = 0; i < certificates.size(); ++i) {
        for (const std::string& name : certificates[i]->facts().dns_names) {
            const std::string key = host_key(name);
            if (key.starts_with("*.")) {
                add(inside.wildcard[key.substr(2)], i, inside.settings);
            } else {
                add(inside.exact[key], i, inside.settings);
            }
        }
        for (const std::string& address : certificates[i]->facts().ip_addresses) {
            add(inside.exact[address], i, inside.settings);
        }
    }
    inside.fallback = {0};
    const auto& names = certificates.front()->facts().dns_names;
    if (names.empty()) return;
    const auto& twins = inside.choose(host_key(names.front()));
    if (std::ranges::find(twins, 0u) != twins.end()) inside.fallback = twins;
}

bool set_client_auth(SSL_CTX* context, const ServerSettings& settings) {
    if (settings.client_auth == ClientAuth::none) return true;
    const bool required = settings.client_auth == ClientAuth::required;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), note_refusal);
    const Authorities::Inside& authorities = settings.client_authorities->inside();
    SSL_CTX_set1_cert_store(context, authorities.store.get());
    for (const X509Ptr& each : authorities.certificates) {
        if (SSL_CTX_add_client_CA(context, each.get()) != 1) return false;
    }
    return true;
}

bool set_resumption(SSL_CTX* context, const ServerSettings& settings) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, session_seconds);
    if (!settings.session_tickets) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(context, 0);
    }
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket_key);
    SSL_CTX_set_session_ticket_cb(context, on_new_ticket, on_old_ticket, nullptr);
    std::string policy = settings.scope;
    policy += '\0';
    policy += static_cast<char>('0' + static_cast<int>(settings.client_auth));
    if (settings.client_authorities) policy += settings.client_authorities->digest();
    const std::string id = sha256_hex(policy).substr(0, SSL_MAX_SID_CTX_LENGTH);
    return SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>(id.data()),
                                          static_cast<unsigned int>(id.size())) == 1;
}

}  // namespace

const std::vector<std::uint32_t>& ServerContext::Inside::choose(std::string_view host) const {
    if (const auto found = exact.find(host); found != exact.end()) return found->second;
    const std::size_t dot = host.find('.');
    if (dot != std::string_view::npos && dot > 0) {
        if (const auto found = wildcard.find(host.substr(dot + 1)); found != wildcard.end()) return found->second;
    }
    return fallback;
}

Result<std::shared_ptr<const ServerContext>> ServerContext::create(ServerSettings settings) {
    const std::string name = "listener " + settings.scope;
    if (settings.certificates.empty()) return fail(Code::invalid, name + ": TLS needs a certificate");
    if (settings.client_auth != ClientAuth::none && !settings.client_authorities) {
        return fail(Code::invalid, name + ": client authentication needs authorities");
    }
    if (!settings.ticket_keys) settings.ticket_keys = std::make_shared<TicketKeys>();
    Result<std::string> alpn = alpn_wire(settings.alpn);
    if (!alpn) return std::unexpected(alpn.error());

    auto inside = std::make_unique<Inside>();
    inside->settings = std::move(settings);
    inside->alpn = std::move(*alpn);
    fill_index(*inside);
    inside->context.reset(SSL_CTX_new(TLS_server_method()));
    SSL_CTX* context = inside->context.get();
    if (context == nullptr || !set_common(context, inside->settings.min_version) ||
        !set_client_auth(context, inside->settings) || !set_resumption(context, inside->settings)) {
        ERR_clear_error();
        return fail(Code::internal, name + ": OpenSSL refuses our settings");
    }
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_app_data(context, inside.get());
    SSL_CTX_set_client_hello_cb(context, on_client_hello, nullptr);
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_cert_cb(context, on_certificate, inside.get());
    const auto staples = [](const auto& certificate) { return certificate->inside().staple.has_value(); };
    if (std::ranges::any_of(inside->settings.certificates, staples)) {
        SSL_CTX_set_tlsext_status_cb(context, on_status);
        SSL_CTX_set_tlsext_status_arg(context, inside.get());
    }
    if (!inside->alpn.empty()) SSL_CTX_set_alpn_select_cb(context, on_alpn, inside.get());
    return std::shared_ptr<const ServerContext>(new ServerContext(std::move(inside)));
}

ServerContext::ServerContext(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
ServerContext::~ServerContext() = default;
const ServerSettings& ServerContext::settings() const { return inside_->settings; }
const std::string& ServerContext::certificate_for(std::string_view host) const {
    const std::string ip = ip_literal(host);
    const std::uint32_t index = inside_->choose(ip.empty() ? host_key(host) : ip).front();
    return inside_->settings.certificates[index]->facts().name;
}

}  // namespace plimsoll::tls

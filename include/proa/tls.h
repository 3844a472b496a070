/** TLS for clients (pkg-config: proa-tls), by OpenSSL: streams over streams. TLS 1.2 and 1.3.
 *
 *  Only programs that ask for it link it. A context is made once at start and used by all loops.
 */
#ifndef PROA_TLS_H
#define PROA_TLS_H

#include <proa/error.h>
#include <proa/stream.h>

PROA_BEGIN_DECLS

struct proa_tls;

/** Zero is the default of every member. What is given is read once. */
struct proa_tls_options {
    const char *ca_file;   /**< PEM; replaces the system's roots. NULL and no ca_pem: the system's, SSL_CERT_FILE
                              and SSL_CERT_DIR */
    proa_str ca_pem;       /**< the same as text; both add up */
    const char *cert_file; /**< PEM: the client's certificate, then its chain */
    proa_str cert_pem;
    const char *key_file; /**< PEM, without a pass phrase */
    proa_str key_pem;
    const char *alpn;          /**< protocols by preference, separated by commas: "h2,http/1.1"; NULL: not offered */
    bool insecure_skip_verify; /**< takes any certificate; for tests and emergencies */
    bool only_tls13;
};

/** Reads files: at start, or in proa_blocking. @returns 0, PROA_ENOMEM, PROA_EINVAL (what cannot be read or is
 *  no certificate, named in the error) or PROA_ENOTFOUND. */
PROA_MUST_USE int proa_tls_client_new(const struct proa_tls_options *options, struct proa_tls **ret_tls,
                                      struct proa_error *err);
/** After the last stream over it was closed. From any thread. NULL is fine. */
void proa_tls_free(struct proa_tls *tls);

/** The layer: its `wrap` shakes hands over a connected stream and gives one that carries TLS. `server_name`, a
 *  name or a numeric address, must be in the certificate, and a name is sent as SNI. The stream is used like any
 *  other; its end is code 0 only when the peer said so (close_notify), else PROA_ECLOSED: something may be
 *  missing. @returns from wrap 0, PROA_EPROTOCOL (the certificate or the handshake was refused; the error
 *  says why), PROA_ECLOSED, PROA_EIO, PROA_ENOMEM, PROA_ETIMEDOUT, the cancellation's cause. */
const struct proa_stream_layer *proa_tls_layer(const struct proa_tls *tls);
/** For proa_app_options.tls: programs that name it link TLS. */
extern const struct proa_layer_provider proa_tls_provider;

PROA_END_DECLS
#endif

#ifndef PROA_TLS_INTERNAL_H
#define PROA_TLS_INTERNAL_H

#include "../net/stream_internal.h"
#include <openssl/ssl.h>
#include <proa/tls.h>

struct proa_tls {
    struct proa_stream_layer layer;
    SSL_CTX *context; /* shared by loops: not changed once it is made */
};

/** Says what OpenSSL said last, and forgets it. @returns code. */
int tls_fail(struct proa_error *err, int code, const char *what);

/** stream.c */
int tls_wrap(const struct proa_stream_layer *layer, struct proa_stream *inner, const char *server_name,
             struct proa_stream **ret_stream, struct proa_error *err);

#endif

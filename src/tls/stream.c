/* A stream that carries TLS over another one.
 *
 *   inner stream --on_data--> `in` --SSL_read--> stream_data
 *   inner stream <---send---- `out` <--SSL_write-- send
 *
 *   HANDSHAKE --done--> OPEN --peer's close_notify, or the inner stream's end--> ended
 *       |                 |
 *       +--refused--------+--error--> failed: nothing is read or sent any more
 *
 * OpenSSL works on memory only and, in a handshake, on the loop's own stack: verifying a chain wants more than
 * a fiber has. What it decrypts while nobody reads is bounded: the inner stream is paused then.
 */
#include "tls_internal.h"

#include <arpa/inet.h>
#include <openssl/buffer.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_BYTES = 16 * 1024, KEPT_BYTES = 512 /* of a buffer that is empty */ };

struct tls_stream {
    struct proa_stream base;
    struct proa_stream *inner;
    SSL *ssl;
    BIO *in, *out;              /* owned by ssl */
    struct proa_waiter *waiter; /* of the handshake */
    struct proa_flush work;     /* OpenSSL's turn on the loop's stack */
    const char *reason;         /* OpenSSL's, for a handshake that failed; static */
    int handshake;              /* 1: under way, 0: done, or the error */
    int inner_code;
    bool inner_ended;
    bool owes_drained;
    bool closed; /* freed when `work` is not queued any more and no callback runs */
    uint8_t busy;
};

static struct tls_stream *of(const struct proa_stream *stream)
{
    return (struct tls_stream *)(uintptr_t)stream;
}

static void maybe_free(struct tls_stream *stream)
{
    if (!stream->closed || stream->busy || stream->work.queued)
        return;
    SSL_free(stream->ssl);
    free(stream);
}

/* Memory BIOs never shrink by themselves, and connections may be many and idle. */
static void shrink(BIO *bio)
{
    BUF_MEM *memory, *fresh;

    BIO_get_mem_ptr(bio, &memory);
    if (BIO_ctrl_pending(bio) > 0 || memory->max <= KEPT_BYTES || !(fresh = BUF_MEM_new()))
        return;
    BIO_set_mem_buf(bio, fresh, BIO_CLOSE);
}

/* What OpenSSL has written goes on. @returns 0 or an error. */
static int send_out(struct tls_stream *stream)
{
    char *bytes;
    long len = BIO_get_mem_data(stream->out, &bytes);
    proa_str slice = proa_str_n(bytes, len > 0 ? (size_t)len : 0);
    int rc;

    if (len <= 0)
        return 0;
    rc = proa_stream_send(stream->inner, &slice, 1);
    (void)BIO_reset(stream->out);
    shrink(stream->out);
    return rc;
}

/* Reading. */

/* @returns bytes, 0 at the end, PROA_EAGAIN or an error. */
static ptrdiff_t decrypt(struct tls_stream *stream, char *out, size_t bytes)
{
    size_t got = 0;
    int error;

    ERR_clear_error();
    if (SSL_read_ex(stream->ssl, out, bytes, &got) == 1)
        return (ptrdiff_t)got;
    error = SSL_get_error(stream->ssl, 0);
    ERR_clear_error();
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (error != SSL_ERROR_WANT_READ)
        return PROA_EPROTOCOL;
    if (!stream->inner_ended)
        return PROA_EAGAIN;
    /* The inner stream ended without a close_notify: something may be missing. */
    return stream->inner_code < 0 ? stream->inner_code : PROA_ECLOSED;
}

static void deliver(struct tls_stream *stream)
{
    while (!stream->closed && stream->handshake == 0 && stream->base.reading) {
        char *buffer;
        size_t bytes;
        ptrdiff_t got;

        stream_buffer(&stream->base, &buffer, &bytes);
        if (bytes == 0) {
            stream_end(&stream->base, PROA_ENOMEM);
            return;
        }
        got = decrypt(stream, buffer, bytes);
        if (got > 0)
            stream_data(&stream->base, proa_str_n(buffer, (size_t)got));
        else if (got == PROA_EAGAIN)
            break;
        else
            stream_end(&stream->base, (int)got);
    }
    if (stream->closed)
        return;
    shrink(stream->in);
    /* A session ticket, taken in after the handshake, left a buffer for writing. Refused while something is in one. */
    (void)SSL_free_buffers(stream->ssl);
    (void)send_out(stream); /* alerts and key updates; a failure is met by the next send */
    if (!stream->base.reading && stream->handshake == 0)
        proa_stream_pause(stream->inner);
}

static void handshake_over(struct tls_stream *stream, int code)
{
    shrink(stream->in);
    stream->handshake = code;
    proa_unpark(stream->waiter, code);
}

static void shake_hands(struct tls_stream *stream)
{
    int rc, error;

    ERR_clear_error();
    rc = SSL_do_handshake(stream->ssl);
    error = rc == 1 ? 0 : SSL_get_error(stream->ssl, rc);
    stream->reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    (void)send_out(stream); /* an alert too; a failure shows itself as the inner stream's end */
    if (rc == 1)
        handshake_over(stream, 0);
    else if (error != SSL_ERROR_WANT_READ)
        handshake_over(stream, PROA_EPROTOCOL);
    else if (stream->inner_ended)
        handshake_over(stream, stream->inner_code < 0 ? stream->inner_code : PROA_ECLOSED);
}

static void go_on(struct tls_stream *stream)
{
    stream->busy++;
    if (!stream->closed && stream->handshake == 1)
        shake_hands(stream);
    if (!stream->closed && stream->handshake == 0)
        deliver(stream);
    stream->busy--;
    maybe_free(stream);
}

static void on_work(struct proa_flush *flush)
{
    go_on(PROA_CONTAINER(flush, struct tls_stream, work));
}

static void on_inner_data(void *arg, proa_str bytes)
{
    struct tls_stream *stream = arg;

    /* It all fits in memory, or memory is out. */
    if (BIO_write(stream->in, bytes.ptr, (int)bytes.len) != (int)bytes.len) {
        stream->inner_ended = true;
        stream->inner_code = PROA_ENOMEM;
    }
    go_on(stream);
}

static void on_inner_end(void *arg, int code)
{
    struct tls_stream *stream = arg;

    stream->inner_ended = true;
    stream->inner_code = code;
    go_on(stream);
}

static void on_inner_drained(void *arg, int code)
{
    struct tls_stream *stream = arg;

    if (!stream->owes_drained)
        return;
    stream->owes_drained = false;
    stream->busy++;
    stream_drained(&stream->base, code);
    stream->busy--;
    maybe_free(stream);
}

static const struct proa_stream_events inner_events = {on_inner_data, on_inner_end, on_inner_drained};

/* The stream's operations. */
static int read_start(struct proa_stream *base)
{
    struct tls_stream *stream = of(base);

    proa_stream_resume(stream->inner);
    if (SSL_has_pending(stream->ssl) || BIO_ctrl_pending(stream->in) > 0 || stream->inner_ended)
        proa_loop_flush_later(base->loop, &stream->work);
    return 0;
}

static void read_stop(struct proa_stream *base)
{
    (void)base; /* `deliver` pauses the inner stream when it has given all */
}

static ptrdiff_t read_now(struct proa_stream *base, char *out, size_t bytes)
{
    struct tls_stream *stream = of(base);

    if (!SSL_has_pending(stream->ssl) && BIO_ctrl_pending(stream->in) == 0)
        return PROA_EAGAIN;
    return decrypt(stream, out, bytes);
}

static int encrypt(struct tls_stream *stream, proa_str bytes)
{
    size_t written = 0;

    if (bytes.len == 0)
        return 0;
    /* Into memory it is written whole, or memory is out. */
    if (SSL_write_ex(stream->ssl, bytes.ptr, bytes.len, &written) == 1 && written == bytes.len)
        return 0;
    ERR_clear_error();
    return PROA_EPROTOCOL;
}

/* Several slices that fit share a record. */
static int encrypt_together(struct tls_stream *stream, const proa_str *slices, size_t count, size_t total)
{
    char *record = malloc(total);
    size_t at = 0;
    int rc;

    if (!record)
        return PROA_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (slices[i].len > 0)
            memcpy(record + at, slices[i].ptr, slices[i].len);
        at += slices[i].len;
    }
    rc = encrypt(stream, proa_str_n(record, total));
    free(record);
    return rc;
}

static int encrypt_all(struct tls_stream *stream, const proa_str *slices, size_t count)
{
    size_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += slices[i].len;
    if (count > 1 && total > 0 && total <= RECORD_BYTES)
        return encrypt_together(stream, slices, count, total);
    for (size_t i = 0; i < count; i++)
        PROA_TRY(encrypt(stream, slices[i]));
    return 0;
}

static int send_slices(struct proa_stream *base, const proa_str *slices, size_t count)
{
    struct tls_stream *stream = of(base);

    ERR_clear_error();
    PROA_TRY(encrypt_all(stream, slices, count));
    PROA_TRY(send_out(stream));
    stream->owes_drained = proa_stream_queued(stream->inner) > 0;
    return 0;
}

static size_t queued(const struct proa_stream *base)
{
    return proa_stream_queued(of(base)->inner);
}

static void say_goodbye(struct tls_stream *stream)
{
    ERR_clear_error();
    (void)SSL_shutdown(stream->ssl);
    ERR_clear_error();
    (void)send_out(stream);
}

static void shut_down(struct proa_stream *base)
{
    say_goodbye(of(base));
    proa_stream_shutdown(of(base)->inner);
}

static void close_stream(struct proa_stream *base, bool reset)
{
    struct tls_stream *stream = of(base);

    /* What is queued is dropped, and a close_notify would have to come after it. */
    if (!reset && stream->handshake == 0 && !base->shut && proa_stream_queued(stream->inner) == 0)
        say_goodbye(stream);
    if (reset)
        proa_stream_abort(stream->inner);
    else
        proa_stream_close(stream->inner);
    stream->inner = NULL;
    stream->closed = true;
    maybe_free(stream);
}

static void address(const struct proa_stream *base, bool peer, char *out)
{
    if (peer)
        proa_stream_peer(of(base)->inner, out);
    else
        proa_stream_local(of(base)->inner, out);
}

static proa_str alpn(const struct proa_stream *base)
{
    const unsigned char *name = NULL;
    unsigned len = 0;

    SSL_get0_alpn_selected(of(base)->ssl, &name, &len);
    return proa_str_n(len ? (const char *)name : "", len);
}

static const struct proa_stream_ops tls_stream_ops = {
    .read_start = read_start,
    .read_stop = read_stop,
    .read_now = read_now,
    .send = send_slices,
    .queued = queued,
    .shutdown = shut_down,
    .close = close_stream,
    .address = address,
    .alpn = alpn,
};

/* Whose certificate is expected: a name, which SNI tells too, or an address (RFC 6066 section 3). */
static bool expect_name(SSL *ssl, const char *name)
{
    unsigned char any[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, name, any) == 1 || inet_pton(AF_INET6, name, any) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

static int set_up(struct tls_stream *stream, SSL_CTX *context, const char *server_name)
{
    stream->ssl = SSL_new(context);
    stream->in = BIO_new(BIO_s_mem());
    stream->out = BIO_new(BIO_s_mem());
    if (!stream->ssl || !stream->in || !stream->out) {
        BIO_free(stream->in);
        BIO_free(stream->out);
        return PROA_ENOMEM;
    }
    BIO_set_mem_eof_return(stream->in, -1); /* empty is not the end */
    SSL_set_bio(stream->ssl, stream->in, stream->out);
    SSL_set_connect_state(stream->ssl);
    return expect_name(stream->ssl, server_name) ? 0 : PROA_EINVAL;
}

static int explain(struct tls_stream *stream, int code, const char *server_name, struct proa_error *err)
{
    long verdict = SSL_get_verify_result(stream->ssl);

    if (code == PROA_ETIMEDOUT)
        return proa_fail(err, code, "TLS with %s: timed out", server_name);
    if (code == PROA_ECLOSED)
        return proa_fail(err, code, "TLS with %s: the peer closed the connection", server_name);
    if (code != PROA_EPROTOCOL)
        return proa_fail(err, code, "TLS with %s: given up", server_name);
    if (verdict != X509_V_OK && SSL_get_verify_mode(stream->ssl) != SSL_VERIFY_NONE)
        return proa_fail(err, code, "TLS with %s: its certificate is not accepted: %s", server_name,
                         X509_verify_cert_error_string(verdict));
    return proa_fail(err, code, "TLS with %s: %s", server_name,
                     stream->reason ? stream->reason : "the handshake failed");
}

/* May suspend. */
static int run_handshake(struct tls_stream *stream)
{
    struct proa_waiter waiter;
    int rc;

    proa_waiter_init(&waiter, stream->base.loop);
    stream->waiter = &waiter;
    stream->handshake = 1;
    PROA_TRY(proa_stream_attach(stream->inner, &inner_events, stream));
    proa_loop_flush_later(stream->base.loop, &stream->work);
    rc = proa_park(&waiter);
    /* What came about in the moment of the deadline counts. */
    return stream->handshake == 1 ? rc : stream->handshake;
}

int tls_wrap(const struct proa_stream_layer *layer, struct proa_stream *inner, const char *server_name,
             struct proa_stream **ret_stream, struct proa_error *err)
{
    const struct proa_tls *tls = PROA_CONTAINER(layer, const struct proa_tls, layer);
    struct tls_stream *stream = calloc(1, sizeof *stream);
    int rc;

    if (!stream) {
        proa_stream_close(inner);
        return proa_fail(err, PROA_ENOMEM, "TLS with %s: memory is out", server_name);
    }
    stream->base.ops = &tls_stream_ops;
    stream->base.loop = proa_stream_loop(inner);
    stream->inner = inner;
    stream->work.run = on_work;
    rc = set_up(stream, tls->context, server_name);
    if (rc < 0) {
        proa_fail(err, rc, "TLS with %s: %s", server_name, rc == PROA_ENOMEM ? "memory is out" : "this is no name");
    } else {
        rc = run_handshake(stream);
        if (rc < 0)
            explain(stream, rc, server_name, err);
    }
    if (rc < 0) {
        stream->handshake = rc;
        proa_stream_close(&stream->base);
        return rc;
    }
    *ret_stream = &stream->base;
    return 0;
}

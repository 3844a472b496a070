/* TLS as a client, against OpenSSL's own server: what is accepted, what is refused and why, and use as a stream. */
#include "tls_server.h"

#include <proa/fiber.h>
#include <proa/tls.h>
#include <signal.h>
#include <stdlib.h>

static struct identity authority, other_authority, localhost, expired, client_identity;
static struct proa_loop *loop;

static int make_identities(void **state)
{
    /* OpenSSL's server writes to sockets that may be reset; the kit itself needs no such thing. */
    signal(SIGPIPE, SIG_IGN);
    identity_make(&authority, "Test authority", NULL, NULL, 86400);
    identity_make(&other_authority, "Other authority", NULL, NULL, 86400);
    identity_make(&localhost, "localhost", &authority, "DNS:localhost,DNS:*.wild.test,IP:127.0.0.1", 86400);
    identity_make(&expired, "localhost", &authority, "DNS:localhost", -3600);
    identity_make(&client_identity, "a client", &authority, "DNS:client", 86400);
    return 0;
}

static int drop_identities(void **state)
{
    identity_done(&authority);
    identity_done(&other_authority);
    identity_done(&localhost);
    identity_done(&expired);
    identity_done(&client_identity);
    return 0;
}

/* What a test's fiber does. */
struct visit {
    struct tls_server server;
    struct proa_tls_options options;
    const char *name; /* NULL: "localhost" */
    void (*body)(struct visit *visit, struct proa_stream *stream);
    uint64_t deadline_ms;
    struct proa_tls *tls;
    struct proa_error err;
    int rc;
};

static int visit_fiber(void *arg)
{
    struct visit *visit = arg;
    const struct proa_stream_layer *layer = proa_tls_layer(visit->tls);
    struct proa_deadline_scope scope =
        proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(visit->deadline_ms ? visit->deadline_ms : 20000));
    struct proa_stream *inner, *stream = NULL;

    assert_int_equal(proa_connect(loop, visit->server.address, &inner, NULL), 0);
    visit->rc = layer->wrap(layer, inner, visit->name ? visit->name : "localhost", &stream, &visit->err);
    proa_deadline_leave(&scope);
    assert_true((visit->rc == 0) == (stream != NULL));
    if (visit->rc == 0 && visit->body)
        visit->body(visit, stream);
    else
        proa_stream_close(stream);
    return 0;
}

static void go(struct visit *visit)
{
    if (!visit->server.identity)
        visit->server.identity = &localhost;
    if (visit->options.ca_pem.len == 0 && !visit->options.ca_file)
        visit->options.ca_pem = proa_str_c(authority.pem);
    visit->err = (struct proa_error){0};
    tls_server_start(&visit->server);
    assert_int_equal(proa_loop_new(NULL, &loop), 0);
    assert_int_equal(proa_tls_client_new(&visit->options, &visit->tls, &visit->err), 0);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, visit_fiber, visit), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    proa_tls_free(visit->tls);
    proa_loop_free(loop);
    tls_server_stop(&visit->server);
}

static void expect(struct proa_stream *stream, const char *expected)
{
    size_t have = 0, got, want = strlen(expected);
    char out[256];

    while (have < want) {
        assert_int_equal(proa_stream_read(stream, out + have, sizeof out - have, &got), 0);
        assert_true(got > 0);
        have += got;
    }
    assert_int_equal(have, want);
    assert_memory_equal(out, expected, want);
}

/* Accepted. */
static void small_talk(struct visit *visit, struct proa_stream *stream)
{
    proa_str slices[] = {PROA_STR("how "), PROA_STR(""), PROA_STR("are you")};
    char text[PROA_ADDRESS_MAX], out[8];
    size_t got;

    assert_ptr_equal(proa_stream_loop(stream), loop);
    proa_stream_peer(stream, text);
    assert_string_equal(text, visit->server.address);
    proa_stream_local(stream, text);
    assert_memory_equal(text, "127.0.0.1:", 10);
    assert_int_equal(proa_stream_write(stream, PROA_STR("hello")), 0);
    expect(stream, "hello");
    assert_int_equal(proa_stream_send(stream, slices, 3), 0);
    expect(stream, "how are you");
    assert_true(proa_str_eq_c(proa_stream_alpn(stream), visit->server.alpn ? visit->server.alpn : ""));
    /* The server answers our close_notify with its own: an orderly end. */
    proa_stream_shutdown(stream);
    assert_int_equal(proa_stream_write(stream, PROA_STR("x")), PROA_ECLOSED);
    assert_int_equal(proa_stream_read(stream, out, sizeof out, &got), 0);
    assert_int_equal(got, 0);
    proa_stream_close(stream);
}

static void test_accepted(void **state)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "a.wild.test"};

    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        for (int i = 0; i < 3; i++) {
            struct visit visit = {.server.max_version = version, .name = names[i], .body = small_talk};

            go(&visit);
            assert_int_equal(visit.rc, 0);
        }
    }
}

static void test_alpn(void **state)
{
    struct visit visit = {.server.alpn = "http/1.1", .options.alpn = "h2,http/1.1", .body = small_talk};

    go(&visit);
    assert_int_equal(visit.rc, 0);
}

/* Refused. */
static void expect_refusal(struct visit *visit, int code, const char *part)
{
    go(visit);
    assert_int_equal(visit->rc, code);
    assert_int_equal(visit->err.code, code);
    if (!strstr(visit->err.message, part))
        fail_msg("\"%s\" does not say \"%s\"", visit->err.message, part);
}

static void test_certificates_that_are_refused(void **state)
{
    struct visit wrong_name = {.name = "example.test"};
    struct visit wrong_ip = {.name = "127.0.0.2"};
    struct visit deep = {.name = "a.b.wild.test"};
    struct visit unknown = {.options.ca_pem = proa_str_c(other_authority.pem)};
    struct visit old = {.server.identity = &expired};
    struct visit own = {.server.identity = &other_authority};

    expect_refusal(&wrong_name, PROA_EPROTOCOL, "TLS with example.test: its certificate is not accepted: ");
    expect_refusal(&wrong_name, PROA_EPROTOCOL, "ostname mismatch");
    expect_refusal(&wrong_ip, PROA_EPROTOCOL, "IP address mismatch");
    expect_refusal(&deep, PROA_EPROTOCOL, "ostname mismatch");
    expect_refusal(&unknown, PROA_EPROTOCOL, "unable to get local issuer certificate");
    expect_refusal(&old, PROA_EPROTOCOL, "certificate has expired");
    expect_refusal(&own, PROA_EPROTOCOL, "self-signed certificate");
}

static void test_insecure_takes_any(void **state)
{
    struct visit visit = {.server.identity = &expired,
                          .options = {.insecure_skip_verify = true},
                          .name = "example.test",
                          .body = small_talk};

    go(&visit);
    assert_int_equal(visit.rc, 0);
}

static void test_other_failures(void **state)
{
    struct visit old_version = {.server.max_version = TLS1_2_VERSION, .options.only_tls13 = true};
    struct visit garbage = {.server.manner = GARBAGE};
    struct visit silent = {.server.manner = SILENT};

    expect_refusal(&old_version, PROA_EPROTOCOL, "protocol version");
    expect_refusal(&garbage, PROA_EPROTOCOL, "wrong version number");
    expect_refusal(&silent, PROA_ECLOSED, "closed the connection");
}

static int full_fd;

static int silent_fiber(void *arg)
{
    struct visit *visit = arg;

    return visit_fiber(visit);
}

static void test_deadline_of_the_handshake(void **state)
{
    struct visit visit = {.deadline_ms = 50};
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;

    /* Connected by the kernel, and never accepted. */
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    full_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(full_fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(full_fd, 4), 0);
    getsockname(full_fd, (struct sockaddr *)&at, &len);
    snprintf(visit.server.address, sizeof visit.server.address, "127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(proa_loop_new(NULL, &loop), 0);
    assert_int_equal(proa_tls_client_new(NULL, &visit.tls, NULL), 0);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, silent_fiber, &visit), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(visit.rc, PROA_ETIMEDOUT);
    assert_string_equal(visit.err.message, "TLS with localhost: timed out");
    proa_tls_free(visit.tls);
    proa_loop_free(loop);
    close(full_fd);
}

/* Client certificates. */
static void test_client_certificate(void **state)
{
    struct visit with = {
        .server = {.client_ca = &authority, .max_version = TLS1_2_VERSION},
        .options = {.cert_pem = proa_str_c(client_identity.pem), .key_pem = proa_str_c(client_identity.key_pem)},
        .body = small_talk};
    struct visit without = {.server = {.client_ca = &authority, .max_version = TLS1_2_VERSION}};

    go(&with);
    assert_int_equal(with.rc, 0);
    assert_string_equal(with.server.client, "a client");
    expect_refusal(&without, PROA_EPROTOCOL, "handshake failure");
}

/* Long, both ways at once. */
struct transfer {
    struct proa_stream *stream;
    size_t bytes;
};

static int write_all(void *arg)
{
    struct transfer *transfer = arg;
    char *all = malloc(transfer->bytes);
    int rc;

    for (size_t i = 0; i < transfer->bytes; i++)
        all[i] = (char)(i % 251);
    rc = proa_stream_write(transfer->stream, proa_str_n(all, transfer->bytes));
    free(all);
    return rc;
}

static void long_talk(struct visit *visit, struct proa_stream *stream)
{
    struct transfer transfer = {stream, 3000 * 1000};
    struct proa_group group;
    size_t have = 0, got;
    char out[3000];

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, write_all, &transfer), 0);
    while (have < transfer.bytes) {
        assert_int_equal(proa_stream_read(stream, out, sizeof out, &got), 0);
        assert_true(got > 0);
        for (size_t i = 0; i < got; i++)
            assert_int_equal(out[i], (char)((have + i) % 251));
        have += got;
    }
    assert_int_equal(proa_group_wait(&group), 0);
    proa_stream_close(stream);
}

static void test_long_transfers(void **state)
{
    struct visit visit = {.body = long_talk};

    go(&visit);
    assert_int_equal(visit.rc, 0);
}

/* An end without close_notify may be a truncation. */
static void cut_talk(struct visit *visit, struct proa_stream *stream)
{
    char out[8];
    size_t got;

    assert_int_equal(proa_stream_write(stream, PROA_STR("x")), 0);
    assert_int_equal(proa_stream_read(stream, out, sizeof out, &got), PROA_ECLOSED);
    assert_int_equal(proa_stream_read(stream, out, sizeof out, &got), PROA_ECLOSED);
    proa_stream_abort(stream);
}

static void test_truncation_is_no_end(void **state)
{
    struct visit visit = {.server.manner = HANG_UP, .body = cut_talk};

    go(&visit);
    assert_int_equal(visit.rc, 0);
}

/* Callbacks. */
struct sink {
    struct proa_stream *stream;
    struct proa_waiter *waiter;
    size_t bytes;
    int ends, end_code, drains;
    bool pause, close_at_data;
};

static void sink_wake(struct sink *sink)
{
    if (sink->waiter)
        proa_unpark(sink->waiter, 0);
}

static void sink_data(void *arg, proa_str bytes)
{
    struct sink *sink = arg;

    assert_null(proa_fiber_current(loop));
    for (size_t i = 0; i < bytes.len; i++)
        assert_int_equal(bytes.ptr[i], (char)((sink->bytes + i) % 251));
    sink->bytes += bytes.len;
    if (sink->pause)
        proa_stream_pause(sink->stream);
    if (sink->close_at_data) {
        proa_stream_close(sink->stream);
        sink->stream = NULL;
    }
    sink_wake(sink);
}

static void sink_end(void *arg, int code)
{
    struct sink *sink = arg;

    sink->ends++;
    sink->end_code = code;
    sink_wake(sink);
}

static void sink_drained(void *arg, int code)
{
    struct sink *sink = arg;

    assert_int_equal(code, 0);
    sink->drains++;
    sink_wake(sink);
}

static bool sink_wait(struct sink *sink, uint64_t ms)
{
    struct proa_deadline_scope scope = proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(ms));
    struct proa_waiter waiter;
    int rc;

    proa_waiter_init(&waiter, loop);
    sink->waiter = &waiter;
    rc = proa_park(&waiter);
    sink->waiter = NULL;
    proa_deadline_leave(&scope);
    return rc == 0;
}

static void callback_talk(struct visit *visit, struct proa_stream *stream)
{
    static const struct proa_stream_events events = {sink_data, sink_end, sink_drained};
    enum { BYTES = 16 * 1000 * 1000 };
    struct sink sink = {.stream = stream, .pause = true};
    char *all = malloc(BYTES);
    proa_str slices[2] = {{all, 10}, {all + 10, BYTES - 10}};
    size_t seen;

    for (size_t i = 0; i < BYTES; i++)
        all[i] = (char)(i % 251);
    assert_int_equal(proa_stream_attach(stream, &events, &sink), 0);
    assert_int_equal(proa_stream_send(stream, slices, 2), 0);
    free(all);
    assert_true(proa_stream_queued(stream) > 0);
    assert_true(sink_wait(&sink, 5000));
    seen = sink.bytes;
    assert_true(seen > 0);
    assert_false(sink_wait(&sink, 50)); /* paused */
    assert_int_equal(sink.bytes, seen);
    sink.pause = false;
    proa_stream_resume(stream);
    while (sink.bytes < BYTES)
        assert_true(sink_wait(&sink, 5000));
    assert_int_equal(sink.drains, 1);
    proa_stream_shutdown(stream);
    while (sink.ends == 0)
        assert_true(sink_wait(&sink, 5000));
    assert_int_equal(sink.end_code, 0);
    proa_stream_close(stream);
}

static void close_in_callback(struct visit *visit, struct proa_stream *stream)
{
    static const struct proa_stream_events events = {sink_data, sink_end, sink_drained};
    struct sink sink = {.stream = stream, .close_at_data = true};
    char zeros[1] = {0};
    proa_str slice = proa_str_n(zeros, 1);

    assert_int_equal(proa_stream_attach(stream, &events, &sink), 0);
    assert_int_equal(proa_stream_send(stream, &slice, 1), 0);
    assert_true(sink_wait(&sink, 5000));
    assert_null(sink.stream);
}

static void test_callbacks(void **state)
{
    struct visit visit = {.body = callback_talk};
    struct visit closing = {.body = close_in_callback};

    go(&visit);
    assert_int_equal(visit.rc, 0);
    go(&closing);
    assert_int_equal(closing.rc, 0);
}

/* Contexts. */
static void expect_bad(const struct proa_tls_options *options, int code, const char *part)
{
    struct proa_tls *tls = NULL;
    struct proa_error err = {0};

    assert_int_equal(proa_tls_client_new(options, &tls, NULL), code);
    assert_int_equal(proa_tls_client_new(options, &tls, &err), code);
    assert_null(tls);
    if (!strstr(err.message, part))
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
}

static void test_bad_options(void **state)
{
    proa_str cert = proa_str_c(client_identity.pem), key = proa_str_c(client_identity.key_pem);
    struct proa_tls_options no_file = {.ca_file = "/nonexistent/ca.pem"};
    struct proa_tls_options empty = {.ca_file = "/dev/null"};
    struct proa_tls_options no_pem = {.ca_pem = PROA_STR_INIT("no certificate")};
    struct proa_tls_options no_key = {.cert_pem = cert};
    struct proa_tls_options no_cert = {.key_pem = key};
    struct proa_tls_options swapped = {.cert_pem = key, .key_pem = cert};
    struct proa_tls_options bad_key = {.cert_pem = cert, .key_pem = PROA_STR_INIT("nonsense")};
    struct proa_tls_options other_key = {.cert_pem = cert, .key_pem = proa_str_c(localhost.key_pem)};
    struct proa_tls_options no_cert_file = {.cert_file = "/nonexistent/c.pem", .key_pem = key};
    struct proa_tls_options bad_alpn = {.alpn = "h2,,http/1.1"};

    expect_bad(&no_file, PROA_ENOTFOUND, "/nonexistent/ca.pem");
    expect_bad(&empty, PROA_EINVAL, "/dev/null: there is no certificate");
    expect_bad(&no_pem, PROA_EINVAL, "ca_pem: there is no certificate");
    expect_bad(&no_key, PROA_EINVAL, "come together");
    expect_bad(&no_cert, PROA_EINVAL, "come together");
    expect_bad(&swapped, PROA_EINVAL, "cert_pem");
    expect_bad(&bad_key, PROA_EINVAL, "key_pem");
    expect_bad(&other_key, PROA_EINVAL, "key_pem");
    expect_bad(&no_cert_file, PROA_EINVAL, "/nonexistent/c.pem");
    expect_bad(&bad_alpn, PROA_EINVAL, "alpn");
    proa_tls_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_certificates_that_are_refused),
        cmocka_unit_test(test_insecure_takes_any),
        cmocka_unit_test(test_other_failures),
        cmocka_unit_test(test_deadline_of_the_handshake),
        cmocka_unit_test(test_client_certificate),
        cmocka_unit_test(test_long_transfers),
        cmocka_unit_test(test_truncation_is_no_end),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_bad_options),
    };

    return cmocka_run_group_tests(tests, make_identities, drop_identities);
}

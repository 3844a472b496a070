/* Connecting: what can go wrong, told clearly. */
#include "net_fixture.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include "net/resolve.h"
#include "net/stream_internal.h"

static void refused_body(struct net *net)
{
    struct proa_stream *stream = NULL;
    struct proa_error err = {0};
    bool is_unix = strncmp(net->listen, "unix:", 5) == 0;

    net_listen(net);
    proa_listener_drain_close(net->listener);
    assert_int_equal(proa_connect(net->loop, net->address, &stream, &err),
                     is_unix ? PROA_ENOTFOUND : PROA_EUNAVAILABLE);
    assert_non_null(strstr(err.message, net->address));
    assert_int_equal(proa_connect(net->loop, net->address, &stream, NULL),
                     is_unix ? PROA_ENOTFOUND : PROA_EUNAVAILABLE);
    assert_int_equal(proa_connect(net->loop, "nowhere", &stream, &err), PROA_EINVAL);
    assert_null(stream);
}

static void test_refused(void **state)
{
    net_run(refused_body);
}

static void no_time_body(struct net *net)
{
    struct proa_stream *stream = NULL;
    struct proa_error err = {0};
    struct proa_deadline_scope scope = proa_deadline_enter(net->loop, proa_loop_now(net->loop));

    net_listen(net);
    assert_int_equal(proa_connect(net->loop, net->address, &stream, &err), PROA_ETIMEDOUT);
    proa_deadline_leave(&scope);
    proa_fiber_cancel(proa_fiber_current(net->loop), PROA_EUNAVAILABLE);
    assert_int_equal(proa_connect(net->loop, net->address, &stream, &err), PROA_EUNAVAILABLE);
    assert_null(stream);
}

static void test_no_time_left(void **state)
{
    net_run(no_time_body);
}

static void localhost_body(struct net *net)
{
    struct proa_stream *stream;
    struct proa_error err = {0};
    char address[PROA_ADDRESS_MAX];

    if (strncmp(net->listen, "unix:", 5) == 0)
        return;
    net_listen(net);
    snprintf(address, sizeof address, "localhost:%.20s", strrchr(net->address, ':') + 1);
    assert_int_equal(proa_connect(net->loop, address, &stream, &err), 0);
    assert_int_equal(err.code, 0);
    while (!net->accepted)
        assert_int_equal(proa_yield(net->loop), 0);
    proa_stream_close(net->accepted);
    proa_stream_close(stream);
}

static void test_localhost(void **state)
{
    net_run(localhost_body);
}

/* A listener that never accepts, with its queue full. */
static int full_listener(const char *at, char *out)
{
    struct sockaddr_storage storage;
    unsigned len;
    int fd;

    assert_int_equal(address_parse(at, &storage, &len, NULL), 0);
    fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&storage, len), 0);
    assert_int_equal(listen(fd, 0), 0);
    len = sizeof storage;
    getsockname(fd, (struct sockaddr *)&storage, &len);
    address_text(&storage, len, out);
    return fd;
}

static void hanging_body(struct net *net)
{
    struct proa_stream *streams[8] = {0};
    struct proa_error err = {0};
    struct proa_deadline_scope scope;
    char address[PROA_ADDRESS_MAX];
    bool is_unix = strncmp(net->listen, "unix:", 5) == 0;
    int fd, rc = 0, count = 0;

    if (net->sim)
        return;
    fd = full_listener(net->listen, address);
    scope = proa_deadline_enter(net->loop, proa_loop_now_exact(net->loop) + PROA_MS(100));
    while (rc == 0 && count < 8)
        rc = proa_connect(net->loop, address, &streams[count++], &err);
    proa_deadline_leave(&scope);
    assert_int_equal(rc, is_unix ? PROA_EUNAVAILABLE : PROA_ETIMEDOUT);
    assert_non_null(strstr(err.message, is_unix ? "queue of connections is full" : "timed out"));
    for (int i = 0; i < count; i++)
        proa_stream_close(streams[i]);
    close(fd);
    if (is_unix)
        unlink(address + 5);
}

static void test_a_peer_that_does_not_answer(void **state)
{
    net_run(hanging_body);
}

static void add(struct net_addresses *addresses, const char *text)
{
    struct sockaddr_storage storage;
    unsigned len;

    assert_int_equal(address_parse(text, &storage, &len, NULL), 0);
    memcpy(&addresses->at[addresses->count++], &storage, sizeof addresses->at[0]);
}

static void close_at_once(void *arg, struct proa_loop *loop, struct proa_stream *stream)
{
    struct net *net = arg;

    net->accepted_count++;
    proa_listener_released(net->listener, loop);
    proa_stream_close(stream);
}

/* One that refuses, some that do not answer, one that does. */
static void race_body(struct net *net)
{
    struct proa_listener_options options = {.address = "127.0.0.1:0", .accepted = close_at_once};
    struct net_addresses addresses = {0}, first_good = {0}, bad = {0};
    struct proa_error err = {0};
    struct proa_deadline_scope scope;
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    char full[PROA_ADDRESS_MAX], text[PROA_ADDRESS_MAX], refusing[PROA_ADDRESS_MAX];
    proa_mono_ns start;
    int full_fd, fds[4], fd;

    if (strcmp(net->backend->name, "tcp") != 0)
        return;
    options.arg = net;
    assert_int_equal(proa_listener_open(net->loop, &options, &net->listener, &err), 0);
    proa_listener_address(net->listener, net->address);
    full_fd = full_listener("127.0.0.1:0", full);
    close(full_listener("127.0.0.1:0", refusing));
    for (int i = 0; i < 4; i++) { /* fills the queue, so that nothing is answered any more */
        struct sockaddr_storage to;
        unsigned to_len;

        assert_int_equal(address_parse(full, &to, &to_len, NULL), 0);
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        proa_ignore(connect(fds[i], (struct sockaddr *)&to, to_len));
    }
    assert_int_equal(proa_sleep(net->loop, PROA_MS(20)), 0);
    add(&addresses, refusing);
    add(&addresses, full);
    add(&addresses, full);
    add(&addresses, net->address);
    start = proa_loop_now_exact(net->loop);
    fd = connect_any(net->loop, "name:80", &addresses, &err);
    assert_true(fd >= 0);
    assert_int_equal(err.code, 0);
    assert_in_range((proa_loop_now_exact(net->loop) - start) / PROA_MS(1), 500, 4000);
    assert_int_equal(getpeername(fd, (struct sockaddr *)&peer, &len), 0);
    address_text(&peer, len, text);
    assert_string_equal(text, net->address);
    close(fd);

    add(&first_good, net->address);
    add(&first_good, full);
    fd = connect_any(net->loop, "name:80", &first_good, &err);
    assert_true(fd >= 0);
    close(fd);

    add(&bad, refusing);
    add(&bad, refusing);
    assert_int_equal(connect_any(net->loop, "name:80", &bad, &err), PROA_EUNAVAILABLE);
    assert_non_null(strstr(err.message, "connecting to name:80 (127.0.0.1:"));
    add(&bad, full);
    scope = proa_deadline_enter(net->loop, proa_loop_now_exact(net->loop) + PROA_MS(50));
    assert_int_equal(connect_any(net->loop, "name:80", &bad, &err), PROA_ETIMEDOUT);
    assert_string_equal(err.message, "connecting to name:80: timed out");
    proa_deadline_leave(&scope);
    while (net->accepted_count < 2)
        assert_int_equal(proa_yield(net->loop), 0);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(full_fd);
}

static void test_addresses_are_raced(void **state)
{
    net_run(race_body);
}

static void names_body(struct net *net)
{
    struct proa_stream *stream;
    struct proa_error err = {0};
    char address[400];

    if (strcmp(net->backend->name, "tcp") != 0)
        return;
    memset(address, 'n', sizeof address);
    memcpy(address + sizeof address - 4, ":80", 4);
    assert_int_equal(proa_connect(net->loop, address, &stream, &err), PROA_EINVAL);
    assert_int_equal(proa_connect(net->loop, "a..b:80", &stream, &err), PROA_EINVAL);
    assert_non_null(strstr(err.message, "a..b"));
}

static void test_what_cannot_be_a_name(void **state)
{
    net_run(names_body);
}

static void no_descriptors_body(struct net *net)
{
    struct proa_stream *stream;
    struct proa_error err = {0};
    struct rlimit before, none;

    if (net->sim)
        return;
    net_listen(net);
    getrlimit(RLIMIT_NOFILE, &before);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(proa_connect(net->loop, net->address, &stream, &err), PROA_EBUSY);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void test_out_of_descriptors(void **state)
{
    net_run(no_descriptors_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_time_left),
        cmocka_unit_test(test_localhost),
        cmocka_unit_test(test_a_peer_that_does_not_answer),
        cmocka_unit_test(test_addresses_are_raced),
        cmocka_unit_test(test_what_cannot_be_a_name),
        cmocka_unit_test(test_out_of_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

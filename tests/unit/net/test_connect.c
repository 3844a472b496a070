/* Connecting: what can go wrong, told clearly. */
#include "net_fixture.h"

#include <sys/resource.h>
#include <sys/socket.h>

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
        cmocka_unit_test(test_out_of_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Listeners: binding, spreading over loops, running out of descriptors, draining. */
#include "net_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/stream_internal.h"

static void never_accepted(void *arg, struct proa_loop *loop, struct proa_stream *stream)
{
    fail();
}

static int open_at(struct proa_loop *loop, const char *address, struct proa_listener **ret_listener,
                   struct proa_error *err)
{
    struct proa_listener_options options = {.address = address, .accepted = never_accepted};

    return proa_listener_open(loop, &options, ret_listener, err);
}

/* A blocking client's socket. */
static int dial(const char *address)
{
    struct sockaddr_storage storage;
    unsigned len;
    int fd;

    assert_int_equal(address_parse(address, &storage, &len, NULL), 0);
    fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&storage, len), 0);
    return fd;
}

static void turn(struct proa_loop *loop)
{
    for (int i = 0; i < 10; i++)
        proa_loop_run_once(loop, false);
}

static void test_an_address_in_use(void **state)
{
    for (int i = 0; i < NET_BACKENDS; i++) {
        struct proa_listener *second = NULL;
        struct proa_error err = {0};
        struct net net;

        net_open(&net, &net_backends[i]);
        net_listen(&net);
        assert_int_equal(open_at(net.loop, net.address, &second, &err), PROA_EEXISTS);
        assert_non_null(strstr(err.message, net.address));
        assert_null(second);
        assert_int_equal(open_at(net.loop, "nonsense", &second, &err), PROA_EINVAL);
        /* Closed, it is free again at once. */
        proa_listener_drain_close(net.listener);
        assert_int_equal(open_at(net.loop, net.address, &second, &err), 0);
        proa_listener_free(second);
        if (strncmp(net.address, "unix:", 5) == 0)
            assert_int_equal(unlink(net.address + 5), 0); /* left to its owner without free_unix_path */
        proa_listener_free(NULL);
        net_close(&net);
    }
}

static void test_failures(void **state)
{
    struct proa_listener *listener;
    struct proa_error err = {0};
    struct net net;

    net_open(&net, &net_backends[0]);
    assert_int_equal(open_at(net.loop, "198.51.100.1:80", &listener, &err), PROA_EUNAVAILABLE);
    assert_non_null(strstr(err.message, "listening on 198.51.100.1:80"));
    assert_int_equal(open_at(net.loop, "unix:/nonexistent/folder/x", &listener, &err), PROA_ENOTFOUND);
    if (geteuid() != 0)
        assert_int_equal(open_at(net.loop, "127.0.0.1:1", &listener, &err), PROA_EFORBIDDEN);
    net_close(&net);
}

static void count_and_close(void *arg, struct proa_loop *loop, struct proa_stream *stream)
{
    struct net *net = arg;

    net->accepted_count++;
    proa_listener_released(net->listener, loop);
    proa_stream_close(stream);
}

static void test_dual_stack(void **state)
{
    struct proa_listener_options options = {.address = "[::]:0", .accepted = net_accepted};
    struct net net;
    char peer[PROA_ADDRESS_MAX], v4[PROA_ADDRESS_MAX], v6[PROA_ADDRESS_MAX];
    int fd, probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (probe < 0)
        skip();
    close(probe);
    net_open(&net, &net_backends[0]);
    options.arg = &net;
    assert_int_equal(proa_listener_open(net.loop, &options, &net.listener, NULL), 0);
    proa_listener_address(net.listener, net.address);
    assert_memory_equal(net.address, "[::]:", 5);
    snprintf(v4, sizeof v4, "127.0.0.1:%.20s", net.address + 5);
    snprintf(v6, sizeof v6, "[::1]:%.20s", net.address + 5);
    fd = dial(v4);
    turn(net.loop);
    assert_int_equal(net.accepted_count, 1);
    proa_stream_peer(net.accepted, peer);
    assert_memory_equal(peer, "127.0.0.1:", 10);
    proa_stream_close(net.accepted);
    close(fd);
    fd = dial(v6);
    turn(net.loop);
    assert_int_equal(net.accepted_count, 2);
    proa_stream_peer(net.accepted, peer);
    assert_memory_equal(peer, "[::1]:", 6);
    proa_stream_close(net.accepted);
    close(fd);
    net_close(&net);
}

static void test_socket_options(void **state)
{
    struct net net;
    socklen_t len = sizeof(int);
    int client, on = 0, fds_before, fd;

    net_open(&net, &net_backends[0]);
    net_listen(&net);
    client = dial(net.address);
    fds_before = dup(client);
    close(fds_before);
    turn(net.loop);
    assert_int_equal(net.accepted_count, 1);
    fd = fds_before; /* the lowest free number was taken by what was accepted */
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_int_not_equal(on, 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    proa_stream_close(net.accepted);
    close(client);
    net_close(&net);
}

static void test_stale_unix_paths(void **state)
{
    struct proa_listener_options options = {.accepted = never_accepted, .free_unix_path = true};
    struct proa_listener *listener, *second;
    struct proa_error err = {0};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct stat facts;
    struct net net;
    int fd;

    net_open(&net, &net_backends[1]);
    options.address = net.listen;
    /* A leftover: bound, and nobody there any more. */
    memcpy(un.sun_path, net.listen + 5, strlen(net.listen + 5) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    close(fd);
    assert_int_equal(open_at(net.loop, net.listen, &listener, &err), PROA_EEXISTS);
    assert_int_equal(proa_listener_open(net.loop, &options, &listener, &err), 0);
    /* Somebody listens: it is his. */
    assert_int_equal(proa_listener_open(net.loop, &options, &second, &err), PROA_EEXISTS);
    assert_int_equal(stat(un.sun_path, &facts), 0);
    proa_listener_free(listener);
    assert_int_equal(stat(un.sun_path, &facts), -1);
    /* What is no socket is left alone. */
    fd = open(un.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(proa_listener_open(net.loop, &options, &listener, &err), PROA_EEXISTS);
    assert_int_equal(unlink(un.sun_path), 0);
    net_close(&net);
}

static void test_drain_close_hands_out_the_queue(void **state)
{
    enum { CLIENTS = 100 }; /* more than are accepted in a turn */
    struct proa_listener_options options = {.address = "127.0.0.1:0", .accepted = count_and_close};
    struct proa_error err = {0};
    struct net net;
    int fds[CLIENTS], refused;

    net_open(&net, &net_backends[0]);
    options.arg = &net;
    assert_int_equal(proa_listener_open(net.loop, &options, &net.listener, &err), 0);
    proa_listener_address(net.listener, net.address);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = dial(net.address);
    assert_int_equal(net.accepted_count, 0);
    proa_listener_drain_close(net.listener);
    assert_int_equal(net.accepted_count, CLIENTS);
    proa_listener_drain_close(net.listener);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    refused = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    {
        struct sockaddr_storage storage;
        unsigned len;

        assert_int_equal(address_parse(net.address, &storage, &len, NULL), 0);
        assert_int_equal(connect(refused, (struct sockaddr *)&storage, len), -1);
    }
    close(refused);
    net_close(&net);
}

static void test_out_of_descriptors(void **state)
{
    struct rlimit before, less;
    struct net net;
    int client, turns = 0;
    proa_mono_ns start;

    net_open(&net, &net_backends[0]);
    net_listen(&net);
    client = dial(net.address);
    getrlimit(RLIMIT_NOFILE, &before);
    less = (struct rlimit){.rlim_cur = (rlim_t)client + 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &less), 0);
    /* It is counted, and not looked at again in a busy loop. */
    start = proa_loop_now_exact(net.loop);
    while (proa_loop_now_exact(net.loop) < start + PROA_MS(350) || proa_listener_accept_failures(net.listener) < 2) {
        proa_loop_run_once(net.loop, true);
        turns++;
    }
    assert_int_equal(net.accepted_count, 0);
    assert_in_range(proa_listener_accept_failures(net.listener), 2, 5);
    assert_in_range(turns, 2, 20);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    start = proa_loop_now_exact(net.loop);
    while (net.accepted_count == 0 && proa_loop_now_exact(net.loop) < start + PROA_SECONDS(5))
        proa_loop_run_once(net.loop, true);
    assert_int_equal(net.accepted_count, 1);
    proa_stream_close(net.accepted);
    close(client);
    net_close(&net);
}

/* A flood is taken in turns, so that timers and others get theirs. */
static void test_a_turn_accepts_a_bounded_number(void **state)
{
    enum { CLIENTS = 100 };
    struct proa_listener_options options = {.address = "127.0.0.1:0", .accepted = count_and_close};
    struct net net;
    int fds[CLIENTS];

    net_open(&net, &net_backends[0]);
    options.arg = &net;
    assert_int_equal(proa_listener_open(net.loop, &options, &net.listener, NULL), 0);
    proa_listener_address(net.listener, net.address);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = dial(net.address);
    proa_loop_run_once(net.loop, false);
    assert_in_range(net.accepted_count, 1, 64);
    turn(net.loop);
    assert_int_equal(net.accepted_count, CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    net_close(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_address_in_use),  cmocka_unit_test(test_failures),
        cmocka_unit_test(test_dual_stack),         cmocka_unit_test(test_socket_options),
        cmocka_unit_test(test_stale_unix_paths),   cmocka_unit_test(test_drain_close_hands_out_the_queue),
        cmocka_unit_test(test_out_of_descriptors), cmocka_unit_test(test_a_turn_accepts_a_bounded_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

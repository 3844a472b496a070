/** Tests of streams that run on a real loop with real sockets and on the simulated one. */
#ifndef PROA_TESTS_NET_FIXTURE_H
#define PROA_TESTS_NET_FIXTURE_H

#include "unit.h"

#include <proa/sim.h>
#include <proa/stream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct net_backend {
    const char *name;
    const char *address; /* to listen on; "unix:" gets a path in a folder of its own */
    bool simulated;
    struct proa_sim_network network;
};

/** What a test works with; cmocka's state. */
struct net {
    const struct net_backend *backend;
    struct proa_sim *sim;
    struct proa_loop *loop;
    char folder[32];
    char listen[PROA_ADDRESS_MAX];
    char address[PROA_ADDRESS_MAX]; /* of the listener */
    struct proa_listener *listener;
    struct proa_stream *accepted; /* the newest; the test's */
    uint32_t accepted_count;
    struct proa_waiter *accept_waiter;
};

/** The loop is real and simulated, the network safe and full of small delays. */
static const struct net_backend net_backends[] = {
    {"tcp", "127.0.0.1:0", false, {0}},
    {"unix", "unix:", false, {0}},
    {"sim", "127.0.0.1:0", true, {0}},
    {"sim slow",
     "127.0.0.1:0",
     true,
     {.delay_min_ns = PROA_MS(1), .delay_max_ns = PROA_MS(20), .chunk_max_bytes = 700, .window_bytes = 3000}},
};
enum { NET_BACKENDS = sizeof net_backends / sizeof net_backends[0] };

static inline void net_open(struct net *net, const struct net_backend *backend)
{
    *net = (struct net){.backend = backend, .folder = "/tmp/proa-net-XXXXXX"};
    snprintf(net->listen, sizeof net->listen, "%s", backend->address);
    if (backend->simulated) {
        struct proa_sim_options options = {.seed = 42, .network = backend->network};

        assert_int_equal(proa_sim_new(&options, &net->sim), 0);
        net->loop = proa_sim_loop(net->sim);
    } else {
        assert_int_equal(proa_loop_new(NULL, &net->loop), 0);
        assert_non_null(mkdtemp(net->folder));
        if (strcmp(backend->address, "unix:") == 0)
            snprintf(net->listen, sizeof net->listen, "unix:%s/s", net->folder);
    }
}

static inline void net_close(struct net *net)
{
    proa_listener_free(net->listener);
    if (net->sim) {
        proa_sim_free(net->sim);
    } else {
        proa_loop_free(net->loop);
        assert_int_equal(rmdir(net->folder), 0);
    }
}

static inline void net_accepted(void *arg, struct proa_loop *loop, struct proa_stream *stream)
{
    struct net *net = arg;

    assert_ptr_equal(loop, net->loop);
    net->accepted = stream;
    net->accepted_count++;
    proa_listener_released(net->listener, loop);
    if (net->accept_waiter)
        proa_unpark(net->accept_waiter, 0);
}

static inline void net_listen(struct net *net)
{
    struct proa_listener_options options = {
        .address = net->listen, .accepted = net_accepted, .arg = net, .free_unix_path = true};
    struct proa_error err = {0};

    assert_int_equal(proa_listener_open(net->loop, &options, &net->listener, &err), 0);
    proa_listener_address(net->listener, net->address);
}

/** In a fiber: a connection, both ends. */
static inline void net_pair(struct net *net, struct proa_stream **ret_client, struct proa_stream **ret_server)
{
    struct proa_error err = {0};

    if (!net->listener)
        net_listen(net);
    net->accepted = NULL;
    assert_int_equal(proa_connect(net->loop, net->address, ret_client, &err), 0);
    while (!net->accepted) {
        struct proa_waiter waiter;

        proa_waiter_init(&waiter, net->loop);
        net->accept_waiter = &waiter;
        assert_int_equal(proa_park(&waiter), 0);
        net->accept_waiter = NULL;
    }
    *ret_server = net->accepted;
}

struct net_body {
    struct net *net;
    void (*body)(struct net *net);
};

static inline int net_fiber(void *arg)
{
    struct net_body *body = arg;
    struct net *net = body->net;

    body->body(net);
    proa_listener_free(net->listener);
    net->listener = NULL;
    return 0;
}

/** Runs a test's body in a fiber of each backend's loop until nothing is left. */
static inline void net_run(void (*body)(struct net *net))
{
    for (int i = 0; i < NET_BACKENDS; i++) {
        struct net net;
        struct net_body own = {&net, body};
        struct proa_fiber_options options = {.name = net_backends[i].name};

        net_open(&net, &net_backends[i]);
        options.deadline = proa_loop_now(net.loop) + PROA_SECONDS(30);
        assert_int_equal(proa_loop_start_fiber(net.loop, &options, net_fiber, &own), 0);
        assert_int_equal(proa_loop_run(net.loop), 0);
        assert_int_equal(proa_loop_fibers(net.loop, NULL), 0);
        net_close(&net);
    }
}

#endif

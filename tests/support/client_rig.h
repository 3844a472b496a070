/* The HTTP client with a scripted server on the simulated network. */
#ifndef PROA_TEST_CLIENT_RIG_H
#define PROA_TEST_CLIENT_RIG_H

#include "http/client_internal.h"
#include "unit.h"

#include <proa/sim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 24, REQUEST_MAX = 8192 };

/* What the server does with the next request that it has read. */
struct step {
    const char *answer; /* NULL: none */
    size_t answer_len;  /* 0: up to the NUL */
    uint32_t delay_ms;
    bool close, reset;
    uint32_t close_ms; /* waited between the answer and the close, or the rest */
    const char *rest;  /* of the answer; NULL: none */
};

struct net {
    struct proa_sim *sim;
    struct proa_loop *loop;
    struct proa_listener *listener;
    struct proa_client *client;
    struct proa_arena arena;
    struct proa_error err;
    struct step steps[STEPS_MAX];
    size_t step;
    uint32_t connections;
    uint32_t open;
    char requests[STEPS_MAX][REQUEST_MAX];
    size_t requests_count;
    struct proa_group servers;
    void (*body)(struct net *net);
    struct proa_client_options options;
};

struct served {
    struct net *net;
    struct proa_stream *stream;
};

static inline bool is_whole(const char *text, size_t len)
{
    const char *end = memmem(text, len, "\r\n\r\n", 4);
    const char *length = memmem(text, len, "Content-Length: ", 16);
    size_t body = length ? strtoul(length + 16, NULL, 10) : 0;

    return end && len >= (size_t)(end + 4 - text) + body;
}

static inline bool read_request(struct net *net, struct proa_stream *stream)
{
    char text[REQUEST_MAX];
    size_t len = 0, got;

    while (len == 0 || !is_whole(text, len)) {
        if (proa_stream_read(stream, text + len, sizeof text - 1 - len, &got) < 0 || got == 0)
            return false;
        len += got;
    }
    text[len] = 0;
    memcpy(net->requests[net->requests_count++ % STEPS_MAX], text, len + 1);
    return true;
}

static inline int serve(void *arg)
{
    struct served *served = arg;
    struct net *net = served->net;
    bool go_on = true;

    while (go_on && read_request(net, served->stream)) {
        const struct step *step = &net->steps[net->step++ % STEPS_MAX];

        if (step->delay_ms && proa_sleep(net->loop, PROA_MS(step->delay_ms)) < 0)
            break;
        if (step->reset) {
            proa_stream_abort(served->stream);
            served->stream = NULL;
            break;
        }
        if (step->answer &&
            proa_stream_write(served->stream,
                              proa_str_n(step->answer, step->answer_len ? step->answer_len : strlen(step->answer))) < 0)
            break;
        go_on = !step->close;
        if (step->close_ms && proa_sleep(net->loop, PROA_MS(step->close_ms)) < 0)
            break;
        if (step->rest && proa_stream_write(served->stream, proa_str_c(step->rest)) < 0)
            break;
    }
    if (served->stream)
        proa_stream_close(served->stream);
    net->open--;
    proa_listener_released(net->listener, net->loop);
    free(served);
    return 0;
}

static inline void accepted(void *arg, struct proa_loop *loop, struct proa_stream *stream)
{
    struct net *net = arg;
    struct served *served = malloc(sizeof *served);

    assert_non_null(served);
    *served = (struct served){net, stream};
    net->connections++;
    net->open++;
    assert_int_equal(proa_group_start(&net->servers, NULL, serve, served), 0);
}

static inline int run_body(void *arg)
{
    struct net *net = arg;

    proa_group_init(&net->servers, net->loop);
    assert_int_equal(
        proa_listener_open(net->loop,
                           &(struct proa_listener_options){.address = "10.0.0.1:80", .accepted = accepted, .arg = net},
                           &net->listener, NULL),
        0);
    net->options.loop = net->loop;
    assert_int_equal(proa_client_new(&net->options, &net->client, &net->err), 0);
    net->body(net);
    proa_arena_done(&net->arena);
    proa_client_free(net->client);
    proa_group_cancel(&net->servers, 0);
    proa_ignore(proa_group_wait(&net->servers));
    assert_int_equal(net->open, 0);
    proa_listener_free(net->listener);
    return 0;
}

static inline void run_with(struct net *net, const struct proa_sim_options *options, void (*body)(struct net *net))
{
    net->body = body;
    assert_int_equal(proa_sim_new(options, &net->sim), 0);
    net->loop = proa_sim_loop(net->sim);
    proa_arena_init(&net->arena, proa_loop_blocks(net->loop), 0);
    net->err.arena = NULL;
    assert_int_equal(proa_loop_start_fiber(net->loop, NULL, run_body, net), 0);
    assert_int_equal(proa_loop_run(net->loop), 0);
    proa_sim_free(net->sim);
}

static inline void run(struct net *net, void (*body)(struct net *net))
{
    run_with(net, &(struct proa_sim_options){.seed = 7}, body);
}

static inline int fetch(struct net *net, struct proa_client_request request, struct proa_client_response *ret_response)
{
    if (!request.url.ptr)
        request.url = PROA_STR("http://10.0.0.1/x");
    proa_error_clear(&net->err);
    return proa_client_fetch(net->client, &net->arena, &request, ret_response, &net->err);
}

#define OK(text) "HTTP/1.1 200 OK\r\nContent-Length: " text "\r\n\r\n"

/* A fetch in a fiber of its own. */
struct caller {
    struct net *net;
    struct proa_client_response response;
    int rc;
    uint32_t timeout_ms;
};

static inline int call(void *arg)
{
    struct caller *caller = arg;
    struct proa_error err = {0};

    caller->rc = proa_client_fetch(caller->net->client, &caller->net->arena,
                                   &(struct proa_client_request){.url = PROA_STR("http://10.0.0.1/"),
                                                                 .timeout_ms = caller->timeout_ms,
                                                                 .no_retries = true},
                                   &caller->response, &err);
    return 0;
}

#endif

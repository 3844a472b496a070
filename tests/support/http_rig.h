/** A server on the simulated loop and raw clients for it: what is sent and what comes back is text. */
#ifndef PROA_TESTS_HTTP_RIG_H
#define PROA_TESTS_HTTP_RIG_H

#include "unit.h"

#include <proa/buf.h>
#include <proa/fiber.h>
#include <proa/metrics.h>
#include <proa/server.h>
#include <proa/sim.h>
#include <proa/stream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rig {
    struct proa_sim *sim;
    struct proa_loop *loop;
    struct proa_router *router;
    struct proa_metrics *metrics;
    struct proa_server *server;
    void (*body)(struct rig *rig);
    void *state;
    bool no_drain; /* the test has drained */
};

static int rig_body(void *arg)
{
    struct rig *rig = arg;

    rig->body(rig);
    if (!rig->no_drain)
        assert_int_equal(proa_server_drain(rig->server, 0, 30000), 0);
    return 0;
}

/** Runs `body` as a fiber beside a server with these routes. Of `options`, address, loop, router and metrics are the rig's. */
static inline void rig_run_with(const struct proa_route *routes, size_t count, struct proa_server_options options,
                                struct proa_sim_options sim_options, void (*body)(struct rig *rig),
                                int (*more)(struct proa_router *router))
{
    struct rig rig = {.body = body, .state = options.state};
    struct proa_error err = {0};

    if (!sim_options.seed)
        sim_options.seed = 1;
    assert_int_equal(proa_sim_new(&sim_options, &rig.sim), 0);
    rig.loop = proa_sim_loop(rig.sim);
    assert_int_equal(proa_router_new(&rig.router), 0);
    if (more)
        assert_int_equal(more(rig.router), 0);
    if (proa_router_add(rig.router, "", NULL, routes, count, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(proa_metrics_new(1, &rig.metrics), 0);
    options.loop = rig.loop;
    options.address = "server:80";
    options.router = rig.router;
    options.metrics = rig.metrics;
    if (proa_server_start(&options, &rig.server, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(proa_loop_start_fiber(rig.loop, NULL, rig_body, &rig), 0);
    assert_int_equal(proa_loop_run(rig.loop), 0);
    assert_int_equal(proa_loop_fibers(rig.loop, NULL), 0);
    proa_server_free(rig.server);
    assert_int_equal(proa_loop_run(rig.loop), 0);
    proa_metrics_free(rig.metrics);
    proa_router_free(rig.router);
    proa_sim_free(rig.sim);
}

static inline void rig_run(const struct proa_route *routes, size_t count, const struct proa_server_options *options,
                           void (*body)(struct rig *rig))
{
    rig_run_with(routes, count, options ? *options : (struct proa_server_options){0}, (struct proa_sim_options){0},
                 body, NULL);
}

/** A raw client. */
struct rig_client {
    struct rig *rig;
    struct proa_stream *stream;
    struct proa_buf got; /* what has come and was not taken */
    struct proa_buf answer;
    bool ended;
    int end_code;
};

static inline void rig_connect(struct rig *rig, struct rig_client *client)
{
    struct proa_error err = {0};

    *client = (struct rig_client){.rig = rig};
    if (proa_connect(rig->loop, "server:80", &client->stream, &err) < 0)
        fail_msg("%s", err.message);
}

static inline void rig_close(struct rig_client *client)
{
    if (client->stream)
        proa_stream_close(client->stream);
    client->stream = NULL;
    proa_buf_done(&client->got);
    proa_buf_done(&client->answer);
}

static inline int rig_try_send(struct rig_client *client, proa_str bytes)
{
    return proa_stream_write(client->stream, bytes);
}

static inline void rig_send(struct rig_client *client, const char *text)
{
    assert_int_equal(rig_try_send(client, proa_str_c(text)), 0);
}

/** Reads more. @returns false at the end. */
static inline bool rig_more(struct rig_client *client)
{
    char out[4096];
    size_t got = 0;

    if (client->ended)
        return false;
    client->end_code = proa_stream_read(client->stream, out, sizeof out, &got);
    client->ended = client->end_code < 0 || got == 0;
    if (!client->ended)
        proa_buf_add(&client->got, proa_str_n(out, got));
    return !client->ended;
}

/** Takes what has come as the answer, up to `len`. */
static inline const char *rig_take(struct rig_client *client, size_t len)
{
    proa_buf_clear(&client->answer);
    proa_buf_add(&client->answer, proa_str_n(client->got.ptr ? client->got.ptr : "", len));
    proa_buf_add_char(&client->answer, '\0');
    proa_buf_consume(&client->got, len);
    return client->answer.ptr;
}

/** All until the connection's end. */
static inline const char *rig_rest(struct rig_client *client)
{
    while (rig_more(client))
        ;
    return rig_take(client, client->got.len);
}

/** Waits until `text` has come; takes all up to its end. */
static inline const char *rig_until(struct rig_client *client, const char *text)
{
    ptrdiff_t at;

    while ((at = proa_str_find(proa_buf_str(&client->got), proa_str_c(text))) < 0)
        if (!rig_more(client))
            fail_msg("the connection ended (%d) before \"%s\": %.*s", client->end_code, text, (int)client->got.len,
                     client->got.ptr ? client->got.ptr : "");
    return rig_take(client, (size_t)at + strlen(text));
}

/** One answer: head and content. `head`: of a HEAD request, without content. */
static inline const char *rig_answer_of(struct rig_client *client, bool head)
{
    struct proa_buf all = {0};
    const char *text = rig_until(client, "\r\n\r\n");
    const char *length = strstr(text, "Content-Length: ");

    proa_buf_add_c(&all, text);
    if (length && !head) {
        size_t bytes = (size_t)strtoul(length + strlen("Content-Length: "), NULL, 10);

        while (client->got.len < bytes)
            assert_true(rig_more(client));
        rig_take(client, bytes);
        proa_buf_add(&all, proa_str_n(client->answer.ptr, bytes));
    } else if (strstr(text, "Transfer-Encoding: chunked") && !head) {
        do {
            text = rig_until(client, "\r\n");
            proa_buf_add_c(&all, text);
        } while (strcmp(text, "0\r\n") != 0);
        do {
            text = rig_until(client, "\r\n");
            proa_buf_add_c(&all, text);
        } while (strcmp(text, "\r\n") != 0);
    }
    proa_buf_clear(&client->answer);
    proa_buf_add(&client->answer, proa_buf_str(&all));
    proa_buf_add_char(&client->answer, '\0');
    proa_buf_done(&all);
    return client->answer.ptr;
}

static inline const char *rig_answer(struct rig_client *client)
{
    return rig_answer_of(client, false);
}

/** Sends a request and gives the answer, with the connection kept. */
static inline const char *rig_ask(struct rig_client *client, const char *request)
{
    rig_send(client, request);
    return rig_answer(client);
}

static inline int rig_status(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? (int)strtol(answer + 9, NULL, 10) : 0;
}

static inline const char *rig_content(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");

    return end ? end + 4 : "";
}

#define assert_has(text, part)                                                                                         \
    do {                                                                                                               \
        const char *has_text_ = (text);                                                                                \
        if (!strstr(has_text_, (part)))                                                                                \
            fail_msg("\"%s\" is not in:\n%s", (part), has_text_);                                                      \
    } while (0)
#define assert_has_not(text, part)                                                                                     \
    do {                                                                                                               \
        const char *has_text_ = (text);                                                                                \
        if (strstr(has_text_, (part)))                                                                                 \
            fail_msg("\"%s\" is in:\n%s", (part), has_text_);                                                          \
    } while (0)
#define assert_status(answer, status)                                                                                  \
    do {                                                                                                               \
        const char *status_text_ = (answer);                                                                           \
        if (rig_status(status_text_) != (status))                                                                      \
            fail_msg("not %d but:\n%s", (status), status_text_);                                                       \
    } while (0)

/** The value of a metric's line that begins so ("http_server_limit_hits_total{limit=\"streams\"}"), -1: none. */
static inline double rig_metric(struct rig *rig, const char *series)
{
    struct proa_buf out = {0};
    double value = -1;
    const char *line;

    assert_int_equal(proa_metrics_write(rig->metrics, PROA_METRICS_TEXT, &out), 0);
    proa_buf_add_char(&out, '\0');
    line = strstr(out.ptr, series);
    if (line)
        value = strtod(line + strlen(series), NULL);
    proa_buf_done(&out);
    return value;
}

static inline double rig_hits(struct rig *rig, const char *limit)
{
    char series[128];

    snprintf(series, sizeof series, "http_server_limit_hits_total{limit=\"%s\"} ", limit);
    return rig_metric(rig, series);
}

#endif

/* The HTTP server on a network that chunks, delays, stalls and cuts: whatever is answered is right, and the drain ends. Each seed
 * is a run of its own; a run that fails is repeated by its seed. */
#include "unit.h"

#include <proa/buf.h>
#include <proa/fiber.h>
#include <proa/server.h>
#include <proa/sim.h>
#include <proa/stream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 60, CLIENTS = 12, REQUESTS = 15, BODY_MAX = 3000 };

struct run {
    struct proa_sim *sim;
    struct proa_loop *loop;
    struct proa_server *server;
    uint64_t asked, answered, wrong;
};

static int echo(struct proa_req *req)
{
    proa_str body;

    PROA_TRY(proa_req_body(req, &body));
    if (body.len % 3 == 0)
        PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(body.len)));
    if (body.len % 2)
        return proa_reply(req, 200, "text/plain", body);
    PROA_TRY(proa_reply_begin(req, 200, "text/plain", -1));
    for (size_t at = 0; at < body.len; at += 100)
        PROA_TRY(proa_reply_write(req, proa_str_slice(body, at, at + 100)));
    return 0;
}

static int ignores(struct proa_req *req)
{
    return proa_reply_text(req, 200, PROA_STR("ignored"));
}

static const struct proa_route routes[] = {{PROA_POST, "/echo", echo}, {PROA_POST, "/ignores", ignores}};

struct client {
    struct run *run;
    struct proa_stream *stream;
    struct proa_buf got;
};

static int more(struct client *client)
{
    char out[1000];
    size_t got;

    PROA_TRY(proa_stream_read(client->stream, out, sizeof out, &got));
    if (got == 0)
        return PROA_ECLOSED;
    return proa_buf_add(&client->got, proa_str_n(out, got));
}

static int until(struct client *client, const char *text, size_t *ret_end)
{
    ptrdiff_t at;

    while ((at = proa_str_find(proa_buf_str(&client->got), proa_str_c(text))) < 0)
        PROA_TRY(more(client));
    *ret_end = (size_t)at + strlen(text);
    return 0;
}

/* One answer's content. */
static int answer(struct client *client, int *ret_status, struct proa_buf *content)
{
    size_t end, length;
    const char *field;
    bool chunked;

    PROA_TRY(until(client, "\r\n\r\n", &end));
    client->got.ptr[end - 1] = '\0';
    *ret_status = (int)strtol(client->got.ptr + strlen("HTTP/1.1 "), NULL, 10);
    field = strstr(client->got.ptr, "Content-Length: ");
    length = field ? strtoul(field + strlen("Content-Length: "), NULL, 10) : 0;
    chunked = strstr(client->got.ptr, "Transfer-Encoding: chunked") != NULL;
    proa_buf_consume(&client->got, end);
    for (;;) {
        if (chunked) {
            PROA_TRY(until(client, "\r\n", &end));
            length = strtoul(client->got.ptr, NULL, 16);
            proa_buf_consume(&client->got, end);
        }
        while (client->got.len < length + (chunked ? 2 : 0))
            PROA_TRY(more(client));
        if (length)
            proa_buf_add(content, proa_str_n(client->got.ptr, length));
        proa_buf_consume(&client->got, length + (chunked ? 2 : 0));
        if (!chunked || length == 0)
            return 0;
    }
}

static int ask(struct client *client, size_t body_len, bool chunked, bool reads)
{
    struct proa_buf request = {0}, content = {0};
    char body[BODY_MAX];
    int status = 0, rc;

    for (size_t i = 0; i < body_len; i++)
        body[i] = (char)('a' + (i * 7 + body_len) % 26);
    proa_buf_printf(&request, "POST /%s HTTP/1.1\r\nHost: a\r\n", reads ? "echo" : "ignores");
    if (chunked)
        proa_buf_printf(&request, "Transfer-Encoding: chunked\r\n\r\n%s", "");
    else
        proa_buf_printf(&request, "Content-Length: %zu\r\n\r\n", body_len);
    for (size_t at = 0; at < body_len;) {
        size_t piece = chunked && body_len - at > 70 ? 70 : body_len - at;

        if (chunked)
            proa_buf_printf(&request, "%zx\r\n", piece);
        proa_buf_add(&request, proa_str_n(body + at, piece));
        if (chunked)
            proa_buf_add_c(&request, "\r\n");
        at += piece;
    }
    if (chunked)
        proa_buf_add_c(&request, "0\r\n\r\n");
    client->run->asked++;
    rc = proa_stream_write(client->stream, proa_buf_str(&request));
    if (rc == 0)
        rc = answer(client, &status, &content);
    if (rc == 0) {
        client->run->answered++;
        if (status == 200 && reads && !proa_str_eq(proa_buf_str(&content), proa_str_n(body, body_len)))
            client->run->wrong++;
        if (status == 200 && !reads && !proa_str_eq_c(proa_buf_str(&content), "ignored"))
            client->run->wrong++;
        if (status != 200 && status != 408 && status != 503 && status != 504)
            client->run->wrong++;
        if (status != 200)
            rc = PROA_ECLOSED; /* it may close */
    }
    proa_buf_done(&request);
    proa_buf_done(&content);
    return rc;
}

static int client_fiber(void *arg)
{
    struct client client = {.run = arg};
    struct proa_loop *loop = client.run->loop;

    for (int i = 0; i < REQUESTS; i++) {
        uint64_t chance = proa_loop_random_u64(loop);

        if (!client.stream) {
            proa_buf_clear(&client.got);
            if (proa_connect(loop, "server:80", &client.stream, NULL) < 0) {
                client.stream = NULL;
                PROA_TRY(proa_sleep(loop, PROA_MS(50)));
                continue;
            }
        }
        if (ask(&client, (chance >> 8) % BODY_MAX, chance & 1, chance & 6) < 0) {
            proa_stream_close(client.stream);
            client.stream = NULL;
        }
        if (chance & 16)
            proa_ignore(proa_sleep(loop, PROA_MS(chance % 2000)));
    }
    if (client.stream)
        proa_stream_close(client.stream);
    proa_buf_done(&client.got);
    return 0;
}

static int body(void *arg)
{
    struct run *run = arg;
    struct proa_server_counts counts;
    struct proa_group group;
    int rc;

    proa_group_init(&group, run->loop);
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(proa_group_start(&group, NULL, client_fiber, run), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    rc = proa_server_drain(run->server, 0, 60000);
    assert_true(rc == 0 || rc == PROA_ETIMEDOUT);
    proa_server_counts(run->server, &counts);
    assert_int_equal(counts.connections, 0);
    assert_int_equal(counts.in_flight, 0);
    assert_int_equal(counts.idle, 0);
    return 0;
}

static uint64_t run_seed(uint64_t seed, const struct proa_sim_network *network, struct run *run)
{
    struct proa_sim_options options = {.seed = seed, .network = *network};
    struct proa_router *router;
    uint64_t hash;

    *run = (struct run){0};
    assert_int_equal(proa_sim_new(&options, &run->sim), 0);
    run->loop = proa_sim_loop(run->sim);
    assert_int_equal(proa_router_new(&router), 0);
    assert_int_equal(proa_router_add(router, "", NULL, routes, PROA_COUNT(routes), NULL), 0);
    assert_int_equal(proa_server_start(
                         &(struct proa_server_options){
                             .loop = run->loop,
                             .address = "server:80",
                             .router = router,
                             .limits = {.connections = CLIENTS - 2, .head_ms = 3000, .body_ms = 4000, .idle_ms = 1000}},
                         &run->server, NULL),
                     0);
    assert_int_equal(proa_loop_start_fiber(run->loop, NULL, body, run), 0);
    assert_int_equal(proa_loop_run(run->loop), 0);
    proa_server_free(run->server);
    assert_int_equal(proa_loop_run(run->loop), 0);
    hash = proa_sim_trace_hash(run->sim);
    proa_router_free(router);
    proa_sim_free(run->sim);
    if (run->wrong)
        fail_msg("seed %llu: %llu wrong answers", (unsigned long long)seed, (unsigned long long)run->wrong);
    return hash;
}

static void test_chunks(void **state)
{
    const struct proa_sim_network network = {
        .delay_min_ns = PROA_MS(1), .delay_max_ns = PROA_MS(30), .chunk_max_bytes = 97, .window_bytes = 2048};
    struct run run;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed, &network, &run);
        assert_true(run.answered > run.asked / 2);
    }
}

static void test_faults(void **state)
{
    const struct proa_sim_network network = {.delay_min_ns = PROA_MS(1),
                                             .delay_max_ns = PROA_MS(100),
                                             .chunk_max_bytes = 700,
                                             .cut_probability = 0.01,
                                             .refuse_probability = 0.05,
                                             .stall_probability = 0.01,
                                             .stall_ns = PROA_SECONDS(6)};
    uint64_t answered = 0;
    struct run run;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed, &network, &run);
        answered += run.answered;
    }
    assert_true(answered > 0);
}

static void test_replay(void **state)
{
    const struct proa_sim_network network = {
        .delay_max_ns = PROA_MS(50), .chunk_max_bytes = 50, .cut_probability = 0.02};
    struct run run;

    assert_int_equal(run_seed(7, &network, &run), run_seed(7, &network, &run));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chunks), cmocka_unit_test(test_faults),
                                       cmocka_unit_test(test_replay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The server on two real loops and real sockets: connections spread, metrics add up, routers change, idle ones are closed across
 * loops, the drain waits for all. */
#include "http/server_internal.h"
#include "net/stream_internal.h"
#include "unit.h"

#include <proa/buf.h>
#include <proa/fiber.h>
#include <proa/loops.h>
#include <proa/metrics.h>
#include <proa/server.h>
#include <proa/stream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 8 };

struct world {
    struct proa_loops *loops;
    struct proa_loop *loop; /* loop 0 */
    struct proa_router *router, *next_router;
    struct proa_metrics *metrics;
    struct proa_server *server;
    char address[PROA_ADDRESS_MAX];
    int rc;
    int (*drive)(struct world *world);
    _Atomic bool is_held;
    _Atomic unsigned begun; /* handlers */
    unsigned ended[2];      /* handlers, each counted by its loop; not atomic: the drain is what orders them */
};

static int which(struct proa_req *req)
{
    return proa_reply_printf(req, 200, "loop %u", proa_loop_index(proa_req_loop(req)));
}

/* Until the drain has begun. */
static int naps(struct proa_req *req)
{
    struct world *world = proa_req_state(req);

    world->begun++;
    while (server_phase(world->server) == SERVER_SERVING)
        PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(5)));
    PROA_TRY(proa_sleep(proa_req_loop(req), PROA_MS(50)));
    return proa_reply_printf(req, 200, "%s by loop %u", proa_req_route(req), proa_loop_index(proa_req_loop(req)));
}

/* What rolls a transaction back is like this: it goes on though the client is gone. */
static int stubborn(struct proa_req *req)
{
    struct proa_loop *loop = proa_req_loop(req);
    struct world *world = proa_req_state(req);
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_SECONDS(5));

    world->begun++;
    PROA_TRY(proa_sleep(loop, PROA_MS(150)));
    world->ended[proa_loop_index(loop)]++;
    return proa_reply_printf(req, 200, "late");
}

/* Holds its loop up, so that what others ask of that loop waits. */
static int holds(struct proa_req *req)
{
    struct world *world = proa_req_state(req);

    world->is_held = true;
    while (world->is_held)
        usleep(1000);
    return proa_reply_text(req, 200, PROA_STR("held"));
}

static const struct proa_route first_routes[] = {{PROA_GET, "/which", which},
                                                 {PROA_GET, "/naps", naps},
                                                 {PROA_GET, "/stubborn", stubborn},
                                                 {PROA_GET, "/holds", holds}};
static const struct proa_route second_routes[] = {{PROA_GET, "/second", which}};

static void read_answer(struct proa_stream *stream, char *out, size_t bytes)
{
    size_t len = 0, got = 1;

    out[0] = '\0';
    /* Answers here are small: they come whole, or nothing comes. */
    while (!strstr(out, "\r\n\r\n") && got > 0 && len < bytes - 1) {
        if (proa_stream_read(stream, out + len, bytes - 1 - len, &got) < 0)
            break;
        len += got;
        out[len] = '\0';
    }
}

static void ask(struct proa_stream *stream, const char *path, char *out, size_t bytes)
{
    char request[200];

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    assert_int_equal(proa_stream_write(stream, proa_str_c(request)), 0);
    read_answer(stream, out, bytes);
}

static struct proa_stream *dial(struct world *world)
{
    struct proa_stream *stream;

    assert_int_equal(proa_connect(world->loop, world->address, &stream, NULL), 0);
    return stream;
}

static void wait_begun(struct world *world, unsigned handlers)
{
    while (world->begun < handlers)
        assert_int_equal(proa_sleep(world->loop, PROA_MS(1)), 0);
}

static double metric(struct world *world, const char *series)
{
    struct proa_buf out = {0};
    const char *line;
    double value = -1;

    assert_int_equal(proa_metrics_write(world->metrics, PROA_METRICS_TEXT, &out), 0);
    proa_buf_add_char(&out, '\0');
    line = strstr(out.ptr, series);
    if (line)
        value = strtod(line + strlen(series), NULL);
    proa_buf_done(&out);
    return value;
}

/* As many as are idle on the other loop make room, also when it comes to closing them later. */
static int drive_room(struct world *world)
{
    struct proa_stream *clients[CLIENTS];
    struct proa_server_counts counts = {0};
    struct server_loop *own = &world->server->parts[0];
    char out[1000];
    int other = 0;

    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = dial(world);
        ask(clients[i], "/which", out, sizeof out);
        if (strstr(out, "loop 1"))
            other = i;
    }
    assert_int_equal(proa_stream_write(clients[other], PROA_STR("GET /holds HTTP/1.1\r\nHost: a\r\n\r\n")), 0);
    while (!world->is_held)
        assert_int_equal(proa_sleep(world->loop, PROA_MS(1)), 0);
    for (int i = 0; i < CLIENTS / 2 - 1; i++)
        assert_true(server_reap_elsewhere(own));
    assert_false(server_reap_elsewhere(own));
    world->server->parts[1].limits.connections = CLIENTS / 2 + 1; /* as if that many had been opened */
    world->is_held = false;
    read_answer(clients[other], out, sizeof out);
    assert_non_null(strstr(out, "200 OK"));
    for (int i = 0; i < 2000 && counts.connections != CLIENTS / 2 + 1; i++) {
        assert_int_equal(proa_sleep(world->loop, PROA_MS(5)), 0);
        proa_server_counts(world->server, &counts);
    }
    assert_int_equal(counts.connections, CLIENTS / 2 + 1);
    assert_int_equal(proa_server_drain(world->server, 0, 5000), 0);
    for (int i = 0; i < CLIENTS; i++)
        proa_stream_close(clients[i]);
    return 0;
}

static int drive_all(struct world *world)
{
    struct proa_stream *clients[CLIENTS], *slow;
    struct proa_server_counts counts;
    int by_loop[2] = {0};
    char out[1000];

    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = dial(world);
        ask(clients[i], "/which", out, sizeof out);
        assert_non_null(strstr(out, "loop "));
        by_loop[strstr(out, "loop ")[5] - '0']++;
    }
    assert_int_equal(by_loop[0], CLIENTS / 2);
    assert_int_equal(by_loop[1], CLIENTS / 2);
    proa_server_counts(world->server, &counts);
    assert_int_equal(counts.connections, CLIENTS);
    assert_true(metric(world, "http_requests_total{method=\"GET\",route=\"/which\",status=\"200\"} ") == CLIENTS);
    assert_true(metric(world, "http_server_connections{state=\"idle\"} ") == CLIENTS);
    /* One more than allowed: the longest idle one of some loop makes room. */
    slow = dial(world);
    ask(slow, "/which", out, sizeof out);
    assert_non_null(strstr(out, "200 OK"));
    for (int i = 0; i < 2000 && counts.connections != CLIENTS; i++) {
        assert_int_equal(proa_sleep(world->loop, PROA_MS(5)), 0);
        proa_server_counts(world->server, &counts);
    }
    assert_int_equal(counts.connections, CLIENTS);
    assert_true(metric(world, "http_server_limit_hits_total{limit=\"connections\"} ") == 1);
    /* Another router, while a request runs by the old one. */
    assert_int_equal(proa_stream_write(slow, PROA_STR("GET /naps HTTP/1.1\r\nHost: a\r\n\r\n")), 0);
    wait_begun(world, 1);
    assert_int_equal(proa_server_set_router(world->server, world->next_router), 0);
    ask(clients[CLIENTS - 1], "/second", out, sizeof out);
    assert_non_null(strstr(out, "200 OK"));
    ask(clients[CLIENTS - 2], "/second", out, sizeof out);
    assert_non_null(strstr(out, "200 OK"));
    ask(clients[CLIENTS - 3], "/naps", out, sizeof out);
    assert_non_null(strstr(out, "404 Not Found"));
    /* The drain waits for it. */
    assert_int_equal(proa_server_drain(world->server, 0, 5000), 0);
    read_answer(slow, out, sizeof out);
    assert_non_null(strstr(out, "/naps by loop"));
    assert_non_null(strstr(out, "Connection: close"));
    proa_stream_close(slow);
    for (int i = 0; i < CLIENTS; i++)
        proa_stream_close(clients[i]);
    return 0;
}

/* Without descriptors a connection waits in the kernel, which can be seen, and is served when there is one. */
static int drive_out_of_descriptors(struct world *world)
{
    enum { HOLES_MAX = 64 };
    struct sockaddr_storage address = {0};
    struct rlimit before, less;
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), holes[HOLES_MAX], holes_count = 0, got = 0;
    unsigned len;

    assert_int_equal(address_parse(world->address, &address, &len, NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    less = (struct rlimit){.rlim_cur = (rlim_t)client + 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &less), 0);
    while (holes_count < HOLES_MAX && (holes[holes_count] = dup(client)) >= 0)
        holes_count++;
    assert_int_equal(connect(client, (struct sockaddr *)&address, len), 0);
    assert_true(metric(world, "\nhttp_server_accept_failures_total ") == 0);
    while (metric(world, "\nhttp_server_accept_failures_total ") < 1)
        assert_int_equal(proa_sleep(world->loop, PROA_MS(5)), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (holes_count > 0)
        close(holes[--holes_count]);
    assert_int_equal(send(client, "GET /which HTTP/1.0\r\n\r\n", 23, MSG_NOSIGNAL), 23);
    while (got < 4 && proa_sleep(world->loop, PROA_MS(5)) == 0) {
        char out[1000];
        ssize_t more = recv(client, out, sizeof out, MSG_DONTWAIT);

        got += more > 0 ? (int)more : 0;
    }
    close(client);
    return proa_server_drain(world->server, 0, 5000);
}

/* Half of the clients go away; their handlers are waited for like the others'. */
static int drive_gone(struct world *world)
{
    struct proa_stream *clients[CLIENTS];

    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = dial(world);
        assert_int_equal(proa_stream_write(clients[i], PROA_STR("GET /stubborn HTTP/1.1\r\nHost: a\r\n\r\n")), 0);
    }
    wait_begun(world, CLIENTS);
    for (int i = 0; i < CLIENTS / 2; i++)
        proa_stream_abort(clients[i]);
    assert_int_equal(proa_server_drain(world->server, 0, 5000), 0);
    assert_int_equal(world->ended[0] + world->ended[1], CLIENTS);
    for (int i = CLIENTS / 2; i < CLIENTS; i++)
        proa_stream_close(clients[i]);
    return 0;
}

/* All of them: no connection is left that could be waited for. */
static int drive_all_gone(struct world *world)
{
    struct proa_stream *clients[CLIENTS];

    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = dial(world);
        assert_int_equal(proa_stream_write(clients[i], PROA_STR("GET /stubborn HTTP/1.1\r\nHost: a\r\n\r\n")), 0);
    }
    wait_begun(world, CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        proa_stream_abort(clients[i]);
    assert_int_equal(proa_server_drain(world->server, 0, 5000), 0);
    assert_int_equal(world->ended[0] + world->ended[1], CLIENTS);
    return 0;
}

struct draining {
    struct world *world;
    int rc;
};

static int drain(void *arg)
{
    struct draining *draining = arg;

    draining->rc = proa_server_drain(draining->world->server, 0, 20000);
    return 0;
}

/* An idle connection has a second in a drain; a request that came within it is answered, though its loop was held up and sees it late. */
static int drive_held_drain(struct world *world)
{
    struct proa_stream *clients[CLIENTS], *holding = NULL, *idle = NULL;
    struct draining draining = {.world = world, .rc = -1};
    struct proa_group group;
    proa_mono_ns since;
    char out[1000];
    bool is_in_time;

    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = dial(world);
        ask(clients[i], "/which", out, sizeof out);
        if (strstr(out, "loop 1")) {
            holding = idle;
            idle = clients[i];
        }
    }
    assert_non_null(holding);
    since = proa_loop_now_exact(world->loop);
    ask(holding, "/which", out, sizeof out);
    ask(idle, "/which", out, sizeof out);
    proa_group_init(&group, world->loop);
    assert_int_equal(proa_group_start(&group, NULL, drain, &draining), 0);
    while (server_phase(world->server) != SERVER_DRAINING || atomic_load(&world->server->shared.controls) > 0)
        assert_int_equal(proa_sleep(world->loop, PROA_MS(1)), 0);
    proa_ignore(proa_stream_write(holding, PROA_STR("GET /holds HTTP/1.1\r\nHost: a\r\n\r\n")));
    while (!world->is_held && proa_loop_now_exact(world->loop) - since < PROA_SECONDS(3))
        assert_int_equal(proa_sleep(world->loop, PROA_MS(1)), 0);
    proa_ignore(proa_stream_write(idle, PROA_STR("GET /which HTTP/1.1\r\nHost: a\r\n\r\n")));
    /* On a machine that is very busy the second is over. */
    is_in_time = proa_loop_now_exact(world->loop) - since < PROA_MS(900);
    assert_int_equal(proa_sleep(world->loop, PROA_MS(1200)), 0);
    world->is_held = false;
    read_answer(idle, out, sizeof out);
    if (is_in_time)
        assert_non_null(strstr(out, "200 OK"));
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(draining.rc, 0);
    for (int i = 0; i < CLIENTS; i++)
        proa_stream_close(clients[i]);
    return 0;
}

static int drive_fiber(void *arg)
{
    struct world *world = arg;

    world->rc = world->drive(world);
    proa_loops_stop(world->loops);
    return 0;
}

static void run(const char *address, int (*drive)(struct world *world))
{
    struct world world = {.rc = -1, .drive = drive};

    assert_int_equal(proa_loops_new(2, NULL, &world.loops, NULL), 0);
    world.loop = proa_loops_at(world.loops, 0);
    assert_int_equal(proa_router_new(&world.router), 0);
    assert_int_equal(proa_router_add(world.router, "", NULL, first_routes, PROA_COUNT(first_routes), NULL), 0);
    assert_int_equal(proa_router_new(&world.next_router), 0);
    assert_int_equal(proa_router_add(world.next_router, "", NULL, second_routes, PROA_COUNT(second_routes), NULL), 0);
    assert_int_equal(proa_metrics_new(2, &world.metrics), 0);
    assert_int_equal(proa_server_start(&(struct proa_server_options){.loops = world.loops,
                                                                     .address = address,
                                                                     .router = world.router,
                                                                     .state = &world,
                                                                     .metrics = world.metrics,
                                                                     .limits = {.connections = CLIENTS}},
                                       &world.server, NULL),
                     0);
    proa_server_address(world.server, world.address);
    assert_int_equal(proa_loop_start_fiber(world.loop, NULL, drive_fiber, &world), 0);
    assert_int_equal(proa_loops_run(world.loops, NULL), 0);
    assert_int_equal(world.rc, 0);
    proa_server_free(world.server);
    proa_metrics_free(world.metrics);
    proa_router_free(world.router);
    proa_router_free(world.next_router);
    proa_loops_free(world.loops);
}

static void test_tcp(void **state)
{
    run("127.0.0.1:0", drive_all);
}

static void test_room(void **state)
{
    run("127.0.0.1:0", drive_room);
}

static void test_out_of_descriptors(void **state)
{
    run("127.0.0.1:0", drive_out_of_descriptors);
}

static void test_unix(void **state)
{
    char folder[] = "/tmp/proa-http-XXXXXX", address[64];

    assert_non_null(mkdtemp(folder));
    snprintf(address, sizeof address, "unix:%s/s", folder);
    run(address, drive_all);
    assert_int_equal(rmdir(folder), 0);
}

static void test_drain_orders_what_handlers_did(void **state)
{
    run("127.0.0.1:0", drive_gone);
}

static void test_drain_reads_before_it_closes(void **state)
{
    run("127.0.0.1:0", drive_held_drain);
}

static void test_drain_waits_for_handlers_of_clients_that_are_gone(void **state)
{
    run("127.0.0.1:0", drive_all_gone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tcp),
                                       cmocka_unit_test(test_unix),
                                       cmocka_unit_test(test_room),
                                       cmocka_unit_test(test_out_of_descriptors),
                                       cmocka_unit_test(test_drain_orders_what_handlers_did),
                                       cmocka_unit_test(test_drain_reads_before_it_closes),
                                       cmocka_unit_test(test_drain_waits_for_handlers_of_clients_that_are_gone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A client on each of two real loops: handlers of both call on, and all connections are closed on the loops that they belong to. */
#include "unit.h"

#include <proa/client.h>
#include <proa/loops.h>
#include <proa/server.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { CALLS = 16 };

struct world {
    struct proa_loops *loops;
    struct proa_loop *loop; /* loop 0 */
    struct proa_metrics *metrics;
    struct proa_router *router;
    struct proa_server *server;
    struct proa_clients *clients;
    char address[PROA_ADDRESS_MAX];
    atomic_uint served[2];
    int rc;
};

static int backend(struct proa_req *req)
{
    return proa_reply_text(req, 200, PROA_STR("prices"));
}

/* Calls on by the client of the loop that it happens to run on. */
static int front(struct proa_req *req)
{
    struct world *world = proa_req_state(req);
    struct proa_loop *loop = proa_req_loop(req);
    struct proa_client_response response;
    struct proa_client_request request = {
        .url = proa_arena_printf(proa_req_arena(req), "http://%s/backend", world->address)};

    PROA_TRY(proa_client_fetch(proa_clients_at(world->clients, loop), proa_req_arena(req), &request, &response,
                               proa_req_error(req)));
    PROA_TRY(proa_client_status(&response, proa_req_error(req)));
    atomic_fetch_add(&world->served[proa_loop_index(loop)], 1);
    return proa_reply_text(req, 200, response.body);
}

static const struct proa_route routes[] = {{PROA_GET, "/backend", backend}, {PROA_GET, "/front", front}};

struct caller {
    struct world *world;
    struct proa_client *client;
    int rc;
};

static int call(void *arg)
{
    struct caller *caller = arg;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_client_response response;
    struct proa_client_request request = {0};

    proa_arena_init(&arena, NULL, 0);
    request.url = proa_arena_printf(&arena, "http://%s/front", caller->world->address);
    caller->rc = proa_client_fetch(caller->client, &arena, &request, &response, NULL);
    if (caller->rc == 0 && (response.status != 200 || !proa_str_eq(response.body, PROA_STR("prices"))))
        caller->rc = PROA_EUNKNOWN;
    return 0;
}

static int drive(struct world *world)
{
    struct caller callers[CALLS];
    struct proa_server_counts counts;
    struct proa_client *client;
    struct proa_group group;

    PROA_TRY(proa_clients_new(world->loops, &(struct proa_client_options){.metrics = world->metrics}, &world->clients,
                              NULL));
    PROA_TRY(proa_client_new(&(struct proa_client_options){.loop = world->loop}, &client, NULL));
    proa_group_init(&group, world->loop);
    for (int i = 0; i < CALLS; i++) {
        callers[i] = (struct caller){.world = world, .client = client};
        PROA_TRY(proa_group_start(&group, NULL, call, &callers[i]));
    }
    PROA_TRY(proa_group_wait(&group));
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(callers[i].rc, 0);
    assert_true(atomic_load(&world->served[0]) > 0);
    assert_true(atomic_load(&world->served[1]) > 0);
    assert_int_equal(atomic_load(&world->served[0]) + atomic_load(&world->served[1]), CALLS);
    proa_client_free(client);
    /* What they keep open is closed by it, though the fiber has been told to stop. */
    proa_fiber_cancel(proa_fiber_current(world->loop), 0);
    proa_clients_free(world->clients);
    {
        struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) =
            proa_shield_enter(world->loop, PROA_SECONDS(10));

        counts.connections = 1;
        for (int i = 0; i < 1000 && counts.connections > 0; i++) {
            proa_server_counts(world->server, &counts);
            PROA_TRY(proa_sleep(world->loop, PROA_MS(2)));
        }
        assert_int_equal(counts.connections, 0);
        return proa_server_drain(world->server, 0, 5000);
    }
}

static int drive_fiber(void *arg)
{
    struct world *world = arg;

    world->rc = drive(world);
    proa_loops_stop(world->loops);
    return 0;
}

static void test_a_client_on_each_loop(void **state)
{
    struct world world = {.rc = -1};

    assert_int_equal(proa_loops_new(2, NULL, &world.loops, NULL), 0);
    world.loop = proa_loops_at(world.loops, 0);
    assert_int_equal(proa_metrics_new(2, &world.metrics), 0);
    assert_int_equal(proa_router_new(&world.router), 0);
    assert_int_equal(proa_router_add(world.router, "", NULL, routes, PROA_COUNT(routes), NULL), 0);
    assert_int_equal(proa_server_start(
                         &(struct proa_server_options){
                             .loops = world.loops, .address = "127.0.0.1:0", .router = world.router, .state = &world},
                         &world.server, NULL),
                     0);
    proa_server_address(world.server, world.address);
    assert_int_equal(proa_loop_start_fiber(world.loop, NULL, drive_fiber, &world), 0);
    assert_int_equal(proa_loops_run(world.loops, NULL), 0);
    assert_int_equal(world.rc, 0);
    proa_server_free(world.server);
    proa_router_free(world.router);
    proa_metrics_free(world.metrics);
    proa_loops_free(world.loops);
}

/* An option that cannot be leaves nothing behind, whatever the loops do. */
static void test_options_that_cannot_be(void **state)
{
    char *env[] = {"http_proxy=socks5://127.0.0.1:1080", NULL};
    struct proa_clients *clients;
    struct proa_loops *loops;

    assert_int_equal(proa_loops_new(2, NULL, &loops, NULL), 0);
    assert_int_equal(proa_clients_new(loops, &(struct proa_client_options){.env = env}, &clients, NULL),
                     PROA_EUNSUPPORTED);
    proa_clients_free(NULL);
    proa_loops_free(loops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_client_on_each_loop),
        cmocka_unit_test(test_options_that_cannot_be),
    };

    return cmocka_run_group_tests_name("http/clients", tests, NULL, NULL);
}

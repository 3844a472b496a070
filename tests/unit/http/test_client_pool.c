/* The HTTP client's connections: how many, who waits for them, and what is left when callers give up. */
#include "client_rig.h"

static void pool_body(struct net *net)
{
    struct caller callers[6] = {0};
    struct proa_group group;

    proa_group_init(&group, net->loop);
    for (size_t i = 0; i < PROA_COUNT(callers); i++) {
        callers[i].net = net;
        callers[i].timeout_ms = i == 2 ? 50 : 0; /* gives up waiting */
        assert_int_equal(proa_group_start(&group, NULL, call, &callers[i]), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
    for (size_t i = 0; i < PROA_COUNT(callers); i++)
        assert_int_equal(callers[i].rc, i == 2 ? PROA_ETIMEDOUT : i == 5 ? PROA_EBUSY : 0);
    assert_int_equal(net->connections, 2);
    /* Unused, they are closed in time. */
    assert_int_equal(net->open, 2);
    assert_int_equal(proa_sleep(net->loop, PROA_SECONDS(40)), 0);
    assert_int_equal(net->open, 0);
    assert_int_equal(proa_map_count(net->client->origins), 0);
}

static void test_connections_are_bounded_and_waited_for(void **state)
{
    struct net net = {.options = {.connections_per_origin = 2, .waiting_max = 3}};

    for (size_t i = 0; i < 6; i++)
        net.steps[i] = (struct step){OK("0"), .delay_ms = 100};
    run(&net, pool_body);
}

/* -- Giving up ---------------------------------------------------------------------------------------------------- */

enum { CALLERS = 4 };

static void start_callers(struct net *net, struct caller *callers, struct proa_group *group, uint32_t timeout_ms)
{
    proa_group_init(group, net->loop);
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.net = net, .timeout_ms = timeout_ms};
        assert_int_equal(proa_group_start(group, NULL, call, &callers[i]), 0);
    }
}

static void expect_ended(struct net *net, const struct caller *callers, struct proa_group *group, int code)
{
    assert_int_equal(proa_group_wait(group), 0);
    for (size_t i = 0; i < CALLERS; i++)
        assert_int_equal(callers[i].rc, code);
    assert_int_equal(proa_client_exchanges(net->client), 0);
    assert_int_equal(proa_map_count(net->client->origins), 0);
}

static void cancelled_body(struct net *net)
{
    struct caller callers[CALLERS];
    struct proa_group group;

    start_callers(net, callers, &group, 0);
    assert_int_equal(proa_sleep(net->loop, PROA_MS(50)), 0);
    assert_int_equal(net->requests_count, 2);
    proa_group_cancel(&group, 0);
    expect_ended(net, callers, &group, PROA_ECANCELED);
    /* The same while connections are still being made. */
    proa_sim_partition(net->sim, "10.0.0.1:80", true);
    start_callers(net, callers, &group, 0);
    assert_int_equal(proa_sleep(net->loop, PROA_MS(50)), 0);
    proa_group_cancel(&group, 0);
    expect_ended(net, callers, &group, PROA_ECANCELED);
    proa_sim_partition(net->sim, "10.0.0.1:80", false);
}

static void test_holders_and_waiters_are_cancelled_together(void **state)
{
    struct net net = {.options = {.connections_per_origin = 2}};

    run(&net, cancelled_body);
}

static void late_body(struct net *net)
{
    struct caller callers[CALLERS];
    struct proa_group group;

    start_callers(net, callers, &group, 100);
    expect_ended(net, callers, &group, PROA_ETIMEDOUT);
    assert_int_equal(net->requests_count, 2);
    proa_sim_partition(net->sim, "10.0.0.1:80", true);
    start_callers(net, callers, &group, 100);
    expect_ended(net, callers, &group, PROA_ETIMEDOUT);
    proa_sim_partition(net->sim, "10.0.0.1:80", false);
}

static void test_holders_and_waiters_have_one_deadline(void **state)
{
    struct net net = {.options = {.connections_per_origin = 2}};

    run(&net, late_body);
}

static int post_when_cancelled(void *arg)
{
    struct net *net = arg;
    struct proa_client_request request = {.method = "POST", .url = PROA_STR("http://10.0.0.1/")};
    struct proa_client_response response;

    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
            proa_deadline_enter(net->loop, proa_loop_now_exact(net->loop));

        assert_int_equal(fetch(net, request, &response), PROA_ETIMEDOUT);
    }
    proa_fiber_cancel(proa_fiber_current(net->loop), 0);
    assert_int_equal(fetch(net, request, &response), PROA_ECANCELED);
    assert_string_equal(net->err.message, "POST 10.0.0.1: given up before it was sent");
    return 0;
}

static void too_late_body(struct net *net)
{
    struct proa_client_response response;
    struct proa_group group;

    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    proa_group_init(&group, net->loop);
    assert_int_equal(proa_group_start(&group, NULL, post_when_cancelled, net), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    /* The connection is still good for others. */
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(net->connections, 1);
    assert_int_equal(net->requests_count, 2);
    assert_null(strstr(net->requests[1], "POST"));
}

/* A kept connection would take the request at once: who was told to stop before sends nothing. */
static void test_nothing_is_sent_for_a_fiber_that_is_to_stop(void **state)
{
    struct net net = {.steps = {{OK("0")}, {OK("0")}}};

    run(&net, too_late_body);
}

/* -- Between two tries --------------------------------------------------------------------------------------------- */

#define BUSY "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n"

static int call_again(void *arg)
{
    struct caller *caller = arg;
    struct proa_error err = {0};

    caller->rc =
        proa_client_fetch(caller->net->client, &caller->net->arena,
                          &(struct proa_client_request){.url = PROA_STR("http://10.0.0.1/")}, &caller->response, &err);
    return 0;
}

static void place_body(struct net *net)
{
    struct caller caller = {.net = net};
    struct proa_client_response response;
    struct proa_group group;
    proa_mono_ns start = proa_loop_now_exact(net->loop);

    proa_group_init(&group, net->loop);
    assert_int_equal(proa_group_start(&group, NULL, call_again, &caller), 0);
    assert_int_equal(proa_sleep(net->loop, PROA_MS(50)), 0);
    assert_int_equal(net->requests_count, 1);
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_in_range(proa_loop_now_exact(net->loop) - start, 0, PROA_MS(200));
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(caller.rc, 0);
    assert_int_equal(caller.response.status, 200);
    assert_int_equal(caller.response.tries, 2);
    assert_int_equal(net->connections, 1);
}

static void test_a_request_that_waits_for_its_next_try_holds_no_connection(void **state)
{
    struct net net = {.steps = {{BUSY "Content-Length: 2\r\n\r\nno"}, {OK("0")}, {OK("0")}},
                      .options = {.connections_per_origin = 1}};

    run(&net, place_body);
}

static void unended_body(struct net *net)
{
    struct proa_client_response response;
    proa_mono_ns start = proa_loop_now_exact(net->loop);

    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(response.status, 200);
    assert_int_equal(response.tries, 2);
    assert_in_range(proa_loop_now_exact(net->loop) - start, PROA_SECONDS(2), PROA_SECONDS(3));
    assert_int_equal(net->connections, 2);
}

/* The next try does not wait for the end of the answer before. */
static void test_an_unwanted_answer_that_does_not_end(void **state)
{
    struct net net = {
        .steps = {{BUSY "Transfer-Encoding: chunked\r\n\r\n", .close_ms = 10, .rest = "5\r\n"}, {OK("0")}}};

    run(&net, unended_body);
}

static void refused_body(struct net *net)
{
    struct proa_client_response response;
    proa_mono_ns start;

    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    proa_sim_set_network(net->sim, &(struct proa_sim_network){.delay_min_ns = PROA_SECONDS(1),
                                                              .delay_max_ns = PROA_SECONDS(1),
                                                              .refuse_probability = 1});
    start = proa_loop_now_exact(net->loop);
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), PROA_EUNAVAILABLE);
    /* Two seconds each: the connection that was lost, the fresh one in its place, and two further tries. */
    assert_in_range(proa_loop_now_exact(net->loop) - start, PROA_SECONDS(8), PROA_SECONDS(9));
}

static void test_only_a_lost_connection_is_replaced_beside_the_budget(void **state)
{
    struct net net = {.steps = {{OK("0")}, {.close = true}}};

    run(&net, refused_body);
}

/* -- Handing on ---------------------------------------------------------------------------------------------------- */

struct closer {
    struct proa_timer timer;
    struct proa_exchange *exchange;
};

static void close_now(struct proa_timer *timer)
{
    proa_exchange_close(PROA_CONTAINER(timer, struct closer, timer)->exchange);
}

static int post(void *arg)
{
    struct caller *caller = arg;
    struct proa_error err = {0};

    caller->rc = proa_client_fetch(caller->net->client, &caller->net->arena,
                                   &(struct proa_client_request){.method = "POST", .url = PROA_STR("http://10.0.0.1/")},
                                   &caller->response, &err);
    return 0;
}

static void handed_on_body(struct net *net)
{
    const struct proa_client_request request = {.url = PROA_STR("http://10.0.0.1/")};
    struct proa_sim_network network = {.delay_min_ns = PROA_MS(1), .delay_max_ns = PROA_MS(1)};
    proa_mono_ns start = proa_loop_now_exact(net->loop);
    struct caller caller = {.net = net};
    struct closer closer = {0};
    struct proa_group group;
    proa_str piece;

    proa_sim_set_network(net->sim, &network);
    proa_timer_init(&closer.timer, net->loop, close_now);
    /* Connected after 2 ms, answered after 4; the server's close begins after 8 ms and is here after 9. */
    assert_int_equal(proa_client_open(net->client, &net->arena, &request, &closer.exchange, &net->err), 0);
    assert_int_equal(proa_exchange_read(closer.exchange, &piece, &net->err), 0);
    assert_null(piece.ptr);
    assert_int_equal(proa_loop_now_exact(net->loop) - start, PROA_MS(4));
    assert_int_equal(proa_timer_start(&closer.timer, start + PROA_MS(9)), 0);
    proa_group_init(&group, net->loop);
    assert_int_equal(proa_group_start(&group, NULL, post, &caller), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(caller.rc, 0);
    assert_int_equal(caller.response.status, 200);
    assert_int_equal(net->connections, 2);
    assert_int_equal(net->requests_count, 2);
}

static void unasked_body(struct net *net)
{
    struct proa_client_response response;

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
        assert_true(proa_str_eq(response.body, PROA_STR("mine")));
        assert_int_equal(proa_sleep(net->loop, PROA_MS(50)), 0);
        assert_int_equal(net->connections, i + 1);
    }
}

/* Neither behind the answer nor while the connection is idle: the next request does not get it for its own. */
static void test_answers_that_nobody_asked_for(void **state)
{
    struct net net = {.steps = {{OK("4") "mine" OK("6") "others"},
                                {OK("4") "mine", .close_ms = 10, .rest = OK("6") "others"},
                                {OK("4") "mine"}}};

    run(&net, unasked_body);
}

/* A connection that ends between being handed on and being used is not used: nothing was sent, so a POST is not unknown. */
static void test_a_connection_that_ends_while_it_is_handed_on(void **state)
{
    struct net net = {.steps = {{OK("0"), .close = true, .close_ms = 5}, {OK("0")}},
                      .options = {.connections_per_origin = 1}};

    run(&net, handed_on_body);
}

/* -- Sending ------------------------------------------------------------------------------------------------------- */

enum { BODY_BYTES = 5000 };

static int put_large(void *arg)
{
    struct caller *caller = arg;
    struct proa_error err = {0};
    struct proa_client_request request = {
        .method = "PUT",
        .url = PROA_STR("http://10.0.0.1/"),
        .body = proa_str_n(proa_arena_alloc(&caller->net->arena, BODY_BYTES), BODY_BYTES)};
    char *body = (char *)(uintptr_t)request.body.ptr;

    for (int i = 0; i < BODY_BYTES; i++)
        body[i] = (char)('a' + i % 23);
    caller->rc = proa_client_fetch(caller->net->client, &caller->net->arena, &request, &caller->response, &err);
    memset(body, '!', BODY_BYTES); /* it is the caller's again */
    return 0;
}

enum { CROWD = 8 };

/* Each is answered right or has failed. */
static void all_together(struct net *net, size_t count, int (*caller)(void *arg))
{
    struct caller callers[CROWD] = {0};
    struct proa_group group;

    proa_group_init(&group, net->loop);
    for (size_t i = 0; i < count; i++) {
        callers[i].net = net;
        assert_int_equal(proa_group_start(&group, NULL, caller, &callers[i]), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
    for (size_t i = 0; i < count; i++)
        if (callers[i].rc == 0)
            assert_true(proa_str_eq(callers[i].response.body, PROA_STR("hello")));
}

static void large_body(struct net *net)
{
    all_together(net, 4, put_large);
    for (size_t i = 0; i < net->requests_count; i++) {
        const char *body = strstr(net->requests[i], "\r\n\r\n") + 4;

        assert_int_equal(strlen(body), BODY_BYTES);
        for (int k = 0; k < BODY_BYTES; k++)
            assert_int_equal(body[k], 'a' + k % 23);
    }
}

/* Whatever is lost under way, what a server reads whole is one whole request, also when it was sent anew. */
static void test_bodies_that_are_sent_in_part(void **state)
{
    unsigned repeated = 0;

    for (uint64_t seed = 1; seed <= 100; seed++) {
        static struct net net;

        net = (struct net){.options = {.connections_per_origin = 2}};
        for (size_t i = 0; i < STEPS_MAX; i++)
            net.steps[i] = (struct step){OK("5") "hello"};
        run_with(&net,
                 &(struct proa_sim_options){.seed = seed,
                                            .network = {.delay_min_ns = 1000,
                                                        .delay_max_ns = 5000000,
                                                        .chunk_max_bytes = 700,
                                                        .cut_probability = 0.03,
                                                        .refuse_probability = 0.1}},
                 large_body);
        repeated += net.connections > 2;
    }
    assert_true(repeated > 10);
}

/* -- All at once ---------------------------------------------------------------------------------------------------- */

/* Whatever the network does to the bytes, an answer is right or an error, and nothing is left behind. */
static void faults_body(struct net *net)
{
    all_together(net, CROWD, call);
}

static void test_faults(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct proa_sim_options options = {.seed = seed,
                                           .network = {.delay_min_ns = 1000,
                                                       .delay_max_ns = 5000000,
                                                       .chunk_max_bytes = 7,
                                                       .cut_probability = 0.01,
                                                       .refuse_probability = 0.1,
                                                       .stall_probability = 0.01,
                                                       .stall_ns = 1000000000}};
        struct net net = {.options = {.connections_per_origin = 3}};

        for (size_t i = 0; i < STEPS_MAX; i++)
            net.steps[i] = (struct step){OK("5") "hello"};
        run_with(&net, &options, faults_body);
    }
}

enum { STORM_CALLERS = 12, STORM_CALLS = 3 };

/* Calls as handlers do: whole, piece by piece, given up within the body, with deadlines that many share. */
static int storm_caller(void *arg)
{
    struct net *net = arg;

    for (int i = 0; i < STORM_CALLS; i++) {
        uint64_t dice = proa_loop_random_u64(net->loop);
        struct proa_arena arena PROA_CLEANUP(proa_arena_done);
        struct proa_error err = {0};
        struct proa_client_request request = {.method = dice & 1 ? "GET" : "POST",
                                              .url = PROA_STR("http://10.0.0.1/"),
                                              .body = dice & 2 ? PROA_STR("{}") : (proa_str){NULL, 0},
                                              .timeout_ms = 20 * (uint32_t)(1 + (dice >> 2) % 8),
                                              .no_retries = dice & 64};
        struct proa_client_response response;
        struct proa_exchange *exchange;
        proa_str piece;
        int rc;

        proa_arena_init(&arena, proa_loop_blocks(net->loop), 0);
        if (dice & 128) {
            rc = proa_client_open(net->client, &arena, &request, &exchange, &err);
            for (uint64_t k = 0; rc == 0 && k < (dice >> 8) % 3; k++)
                rc = proa_exchange_read(exchange, &piece, &err);
        } else {
            rc = proa_client_fetch(net->client, &arena, &request, &response, &err);
            if (rc == 0 && response.status == 200)
                assert_true(proa_str_eq(response.body, PROA_STR("hello")) ||
                            proa_str_eq(response.body, PROA_STR("hello world")));
        }
        assert_int_equal(err.code, rc);
        if (rc == PROA_ECANCELED)
            break;
    }
    return 0;
}

static void storm_body(struct net *net)
{
    struct proa_group group;

    proa_group_init(&group, net->loop);
    for (int i = 0; i < STORM_CALLERS; i++)
        assert_int_equal(proa_group_start(&group, NULL, storm_caller, net), 0);
    if (proa_sleep(net->loop, PROA_MS(10 * (proa_loop_random_u64(net->loop) % 40))) == 0)
        proa_group_cancel(&group, 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(proa_client_exchanges(net->client), 0);
    assert_int_equal(net->client->waiting, 0);
    /* What is left is idle, and goes in time. */
    assert_int_equal(proa_sleep(net->loop, PROA_SECONDS(60)), 0);
    assert_int_equal(proa_map_count(net->client->origins), 0);
    assert_int_equal(net->open, 0);
}

static void test_a_storm(void **state)
{
    static const struct step kinds[] = {
        {OK("5") "hello"},
        {OK("5") "hello", .delay_ms = 20},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", .close_ms = 20,
         .rest = "6\r\n world\r\n0\r\n\r\n"},
        {OK("5") "hello", .close = true},
        {OK("5") "hello", .close = true, .close_ms = 20},
        {.delay_ms = 500, .close = true},
        {.reset = true},
        {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"},
        {"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n", .close_ms = 20, .rest = "5\r\n"},
    };
    static struct net net;

    for (uint64_t seed = 1; seed <= 500; seed++) {
        uint64_t dice = seed * UINT64_C(0x9e3779b97f4a7c15);

        net = (struct net){.options = {.connections_per_origin = 1 + seed % 3, .waiting_max = 4 + seed % 20}};
        for (size_t i = 0; i < STEPS_MAX; i++, dice = dice * 6364136223846793005u + 1442695040888963407u)
            net.steps[i] = kinds[(dice >> 33) % PROA_COUNT(kinds)];
        run_with(&net,
                 &(struct proa_sim_options){.seed = seed,
                                            .network = {.delay_min_ns = seed % 2 ? 1000000 : 1000,
                                                        .delay_max_ns = 1000000,
                                                        .cut_probability = 0.01,
                                                        .refuse_probability = 0.05}},
                 storm_body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections_are_bounded_and_waited_for),
        cmocka_unit_test(test_holders_and_waiters_are_cancelled_together),
        cmocka_unit_test(test_holders_and_waiters_have_one_deadline),
        cmocka_unit_test(test_nothing_is_sent_for_a_fiber_that_is_to_stop),
        cmocka_unit_test(test_a_request_that_waits_for_its_next_try_holds_no_connection),
        cmocka_unit_test(test_an_unwanted_answer_that_does_not_end),
        cmocka_unit_test(test_only_a_lost_connection_is_replaced_beside_the_budget),
        cmocka_unit_test(test_answers_that_nobody_asked_for),
        cmocka_unit_test(test_bodies_that_are_sent_in_part),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_a_storm),
        cmocka_unit_test(test_a_connection_that_ends_while_it_is_handed_on),
    };

    return cmocka_run_group_tests_name("http/client_pool", tests, NULL, NULL);
}

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

/* A connection that ends between being handed on and being used is not used: nothing was sent, so a POST is not unknown. */
static void test_a_connection_that_ends_while_it_is_handed_on(void **state)
{
    struct net net = {.steps = {{OK("0"), .close = true, .close_ms = 5}, {OK("0")}},
                      .options = {.connections_per_origin = 1}};

    run(&net, handed_on_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections_are_bounded_and_waited_for),
        cmocka_unit_test(test_holders_and_waiters_are_cancelled_together),
        cmocka_unit_test(test_holders_and_waiters_have_one_deadline),
        cmocka_unit_test(test_a_request_that_waits_for_its_next_try_holds_no_connection),
        cmocka_unit_test(test_an_unwanted_answer_that_does_not_end),
        cmocka_unit_test(test_only_a_lost_connection_is_replaced_beside_the_budget),
        cmocka_unit_test(test_a_connection_that_ends_while_it_is_handed_on),
    };

    return cmocka_run_group_tests_name("http/client_pool", tests, NULL, NULL);
}

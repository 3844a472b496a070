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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections_are_bounded_and_waited_for),
        cmocka_unit_test(test_holders_and_waiters_are_cancelled_together),
        cmocka_unit_test(test_holders_and_waiters_have_one_deadline),
    };

    return cmocka_run_group_tests_name("http/client_pool", tests, NULL, NULL);
}

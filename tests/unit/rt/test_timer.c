/* Timers and flush hooks, in virtual time. */
#include "sim_run.h"

#include "rt/loop_internal.h"

enum { TIMERS = 500 };

struct item {
    struct proa_timer timer;
    unsigned number;
};

static struct proa_loop *loop;
static struct item items[TIMERS];
static unsigned fired[4 * TIMERS];
static size_t fired_count;
static proa_mono_ns last_at;

static void note(struct proa_timer *timer)
{
    assert_true(proa_loop_now(loop) == timer->at);
    assert_true(timer->at >= last_at);
    assert_false(proa_timer_armed(timer));
    last_at = timer->at;
    fired[fired_count++] = PROA_CONTAINER(timer, struct item, timer)->number;
}

static int setup(void **state)
{
    loop = sim_loop_new(NULL);
    fired_count = 0;
    last_at = 0;
    for (unsigned i = 0; i < TIMERS; i++) {
        items[i].number = i;
        proa_timer_init(&items[i].timer, loop, note);
    }
    return 0;
}

static int teardown(void **state)
{
    proa_loop_free(loop);
    return 0;
}

static void start(unsigned i, unsigned ms)
{
    assert_int_equal(proa_timer_start(&items[i].timer, PROA_SECONDS(2000) + PROA_MS(ms)), 0);
}

static void test_equal_times_fire_in_the_order_of_arming(void **state)
{
    for (unsigned i = 0; i < 100; i++)
        start(i, 7);
    start(3, 7); /* moved: now the last */
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(fired_count, 100);
    for (unsigned i = 0; i < 99; i++)
        assert_int_equal(fired[i], i < 3 ? i : i + 1);
    assert_int_equal(fired[99], 3);
}

/* Against a plain model: which are armed, and for when. */
static void test_random_moves_and_stops(void **state)
{
    unsigned at[TIMERS] = {0};
    size_t armed = 0;
    bool seen[TIMERS] = {0};

    for (int step = 0; step < 20000; step++) {
        uint64_t chance = proa_loop_random_u64(loop);
        unsigned i = (unsigned)(chance % TIMERS);

        if (chance >> 32 & 1) {
            at[i] = 1 + (unsigned)(chance >> 40) % 50;
            start(i, at[i]);
        } else {
            at[i] = 0;
            proa_timer_stop(&items[i].timer);
            proa_timer_stop(&items[i].timer);
        }
        assert_true(proa_timer_armed(&items[i].timer) == (at[i] != 0));
    }
    for (unsigned i = 0; i < TIMERS; i++)
        armed += at[i] != 0;
    assert_int_equal(loop->timers.len, armed);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(fired_count, armed);
    for (size_t i = 0; i < fired_count; i++) {
        assert_true(at[fired[i]] != 0 && !seen[fired[i]]);
        assert_true(i == 0 || at[fired[i - 1]] <= at[fired[i]]);
        seen[fired[i]] = true;
    }
}

static void again_at_once(struct proa_timer *timer)
{
    if (++fired_count < 100)
        assert_int_equal(proa_timer_start(timer, 0), 0);
}

static void note_count(struct proa_timer *timer)
{
    fired[0] = (unsigned)fired_count;
}

/* The time that has passed longest is 0: who arms for that again and again must not keep the others from their turn. */
static void test_one_that_is_always_late_keeps_none_from_firing(void **state)
{
    proa_timer_init(&items[0].timer, loop, again_at_once);
    proa_timer_init(&items[1].timer, loop, note_count);
    assert_int_equal(proa_timer_start(&items[0].timer, 0), 0);
    assert_int_equal(proa_timer_start(&items[1].timer, proa_loop_now(loop)), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(fired_count, 100);
    assert_int_equal(fired[0], 1);
}

static void test_never_disarms(void **state)
{
    start(0, 5);
    assert_int_equal(proa_timer_start(&items[0].timer, PROA_NEVER), 0);
    assert_false(proa_timer_armed(&items[0].timer));
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(fired_count, 0);
}

static void stops_others(struct proa_timer *timer)
{
    fired_count++;
    proa_timer_stop(&items[1].timer);
    start(2, 20);
}

static void test_a_timer_may_stop_and_move_others_of_its_time(void **state)
{
    proa_timer_init(&items[0].timer, loop, stops_others);
    start(0, 10);
    start(1, 10);
    start(2, 10);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(fired_count, 2);
    assert_true(last_at == PROA_SECONDS(2000) + PROA_MS(20));
}

static unsigned again_left;
static bool fiber_ran;
static void again(struct proa_timer *timer)
{
    /* Armed for a time that has come, it must not hold the loop: others still get their turn. */
    if (fiber_ran || --again_left == 0)
        return;
    assert_int_equal(proa_timer_start(timer, proa_loop_now(loop)), 0);
}

static int fiber(void *arg)
{
    fiber_ran = true;
    return 0;
}

static void test_a_timer_that_arms_itself_for_now_lets_others_run(void **state)
{
    again_left = 100;
    fiber_ran = false;
    proa_timer_init(&items[0].timer, loop, again);
    start(0, 0);
    items[1].timer.fire = again;
    assert_int_equal(proa_loop_start_fiber(loop, NULL, fiber, NULL), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_true(fiber_ran);
    assert_true(again_left > 90);
}

/* Flush hooks. */
static unsigned flushes;
static struct proa_flush hook;
static void flushed(struct proa_flush *flush)
{
    flushes++;
}

static int asks_twice(void *arg)
{
    proa_loop_flush_later(loop, &hook);
    assert_int_equal(flushes, 0);
    assert_int_equal(proa_yield(loop), 0);
    proa_loop_flush_later(loop, &hook);
    return 0;
}

static void test_flush_runs_once_for_all_that_is_ready(void **state)
{
    flushes = 0;
    hook = (struct proa_flush){.run = flushed};
    for (int i = 0; i < 10; i++)
        assert_int_equal(proa_loop_start_fiber(loop, NULL, asks_twice, NULL), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    /* Once after all ten ran, once after all ten ran again. */
    assert_int_equal(flushes, 2);
}

static void asks_itself(struct proa_flush *flush)
{
    if (++flushes < 1000)
        proa_loop_flush_later(loop, flush);
}

static void test_a_flush_that_asks_for_itself_does_not_hold_the_loop(void **state)
{
    flushes = 0;
    hook = (struct proa_flush){.run = asks_itself};
    proa_loop_flush_later(loop, &hook);
    start(0, 0);
    proa_loop_run_once(loop, true);
    assert_true(flushes < 1000);
    while (proa_loop_run_once(loop, true) || flushes < 1000)
        ;
    assert_int_equal(flushes, 1000);
    assert_int_equal(fired_count, 1);
}

static unsigned lags;
static uint64_t last_lag_ns;

static void note_lag(void *arg, uint64_t lag_ns)
{
    assert_ptr_equal(arg, &lags);
    lags++;
    last_lag_ns = lag_ns;
}

static void ignore(struct proa_timer *timer)
{
}

static void test_lag_is_told_once_a_turn_for_the_latest(void **state)
{
    struct proa_timer late[3];

    for (int i = 0; i < 3; i++)
        proa_timer_init(&late[i], loop, ignore);
    lags = 0;
    proa_loop_on_lag(loop, note_lag, &lags);
    assert_int_equal(proa_timer_start(&late[0], proa_loop_now(loop) - PROA_MS(3)), 0);
    assert_int_equal(proa_timer_start(&late[1], proa_loop_now(loop) - PROA_MS(7)), 0);
    assert_int_equal(proa_timer_start(&late[2], proa_loop_now(loop) + PROA_MS(7)), 0);
    proa_loop_run_once(loop, false);
    assert_int_equal(lags, 1);
    assert_int_equal(last_lag_ns, PROA_MS(7));
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(lags, 2);
    assert_int_equal(last_lag_ns, 0); /* virtual time goes straight to it */
    proa_loop_on_lag(loop, NULL, NULL);
    start(0, 1);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(lags, 2);
}

static int uses_stack(void *arg)
{
    volatile char room[20000];

    for (size_t i = 0; i < sizeof room; i += 1000)
        room[i] = 1;
    return proa_sleep(loop, PROA_SECONDS(1));
}

static void test_stats_are_of_the_last_turn(void **state)
{
    struct proa_loop_stats stats;

    proa_loop_read_stats(loop, &stats);
    assert_int_equal(stats.turns, 0);
    assert_int_equal(stats.stack_peak_bytes, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(proa_loop_start_fiber(loop, NULL, uses_stack, NULL), 0);
    proa_loop_run_once(loop, false);
    proa_loop_read_stats(loop, &stats);
    assert_int_equal(stats.turns, 1);
    assert_int_equal(stats.fibers, 3);
    assert_int_equal(stats.fibers_peak, 3);
    assert_true(stats.timers >= 3);
    assert_true(stats.stack_peak_bytes >= 20000);
    assert_true(stats.stack_peak_bytes <= stats.stack_bytes);
    assert_int_equal(proa_loop_run(loop), 0);
    proa_loop_read_stats(loop, &stats);
    assert_int_equal(stats.fibers, 0);
    assert_int_equal(stats.fibers_peak, 3);
    assert_int_equal(stats.stacks_kept, 3);
    assert_int_equal(stats.timers, 0);
    assert_int_equal(stats.blocking, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_equal_times_fire_in_the_order_of_arming, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_moves_and_stops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_that_is_always_late_keeps_none_from_firing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_disarms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_timer_may_stop_and_move_others_of_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_timer_that_arms_itself_for_now_lets_others_run, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flush_runs_once_for_all_that_is_ready, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lag_is_told_once_a_turn_for_the_latest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stats_are_of_the_last_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_flush_that_asks_for_itself_does_not_hold_the_loop, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Fibers, groups, deadlines, cancellation and shields, in virtual time. */
#include "sim_run.h"

#include "rt/loop_internal.h"

#include <string.h>

static struct proa_loop *loop;

static void at_ms(struct proa_timer *timer, unsigned ms, void (*fire)(struct proa_timer *timer))
{
    proa_timer_init(timer, loop, fire);
    assert_int_equal(proa_timer_start(timer, proa_loop_now(loop) + PROA_MS(ms)), 0);
}

/* A trace of what happened, one letter each. */
struct trace {
    char text[64];
    size_t len;
};
static struct trace trace;
static void say(char letter)
{
    assert_true(trace.len < sizeof trace.text - 1);
    trace.text[trace.len++] = letter;
    trace.text[trace.len] = '\0';
}

static int reset(void **state)
{
    trace = (struct trace){0};
    return 0;
}

/* Groups. */
static int nap_5(void *arg)
{
    PROA_TRY(proa_sleep(loop, PROA_MS(5)));
    say('n');
    return 0;
}

static int fails_at_once(void *arg)
{
    say('f');
    return PROA_EINVAL;
}

static int group_body(void *arg)
{
    struct proa_group group;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, nap_5, NULL), 0);
    assert_int_equal(proa_group_start(&group, NULL, fails_at_once, NULL), 0);
    say('s'); /* what was started runs when this fiber suspends, not before */
    assert_int_equal(proa_group_wait(&group), PROA_EINVAL);
    say('e');
    return 0;
}

static void test_group_waits_for_all_and_gives_the_first_error(void **state)
{
    assert_int_equal(sim_run(&loop, group_body, NULL), 0);
    assert_string_equal(trace.text, "sfne");
}

static int nap_100s(void *arg)
{
    int rc = proa_sleep(loop, PROA_SECONDS(100));

    if (arg)
        *(int *)arg = rc;
    return rc;
}

static int cancel_on_error_body(void *arg)
{
    proa_mono_ns began = proa_loop_now(loop);
    struct proa_group group;
    int result = 0;

    proa_group_init(&group, loop);
    group.cancel_on_error = true;
    assert_int_equal(proa_group_start(&group, NULL, nap_100s, &result), 0);
    assert_int_equal(proa_group_start(&group, NULL, fails_at_once, NULL), 0);
    assert_int_equal(proa_group_wait(&group), PROA_EINVAL);
    assert_int_equal(result, PROA_ECANCELED);
    assert_int_equal(proa_loop_now(loop), began);
    return 0;
}

static void test_first_error_cancels_the_others_when_asked_to(void **state)
{
    assert_int_equal(sim_run(&loop, cancel_on_error_body, NULL), 0);
}

static int empty_group_body(void *arg)
{
    struct proa_group group;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_wait(&group), 0);
    return 0;
}

static void test_empty_group_is_waited_for_at_once(void **state)
{
    assert_int_equal(sim_run(&loop, empty_group_body, NULL), 0);
}

/* A wait that is cancelled cancels its group and still waits, also for clean-up that takes time. */
static int slow_to_end(void *arg)
{
    int rc = proa_sleep(loop, PROA_SECONDS(100));
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_SECONDS(5));

    assert_int_equal(rc, PROA_ECLOSED);
    assert_int_equal(proa_sleep(loop, PROA_MS(300)), 0);
    say('c');
    return rc;
}

static int waiting_parent(void *arg)
{
    struct proa_group group;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, slow_to_end, NULL), 0);
    assert_int_equal(proa_group_wait(&group), PROA_ECLOSED);
    say('p');
    return proa_sleep(loop, 1);
}

static int cancelled_wait_body(void *arg)
{
    struct proa_group group;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, waiting_parent, NULL), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(10)), 0);
    proa_group_cancel(&group, PROA_ECLOSED);
    assert_int_equal(proa_group_wait(&group), PROA_ECLOSED);
    return 0;
}

static void test_cancelled_group_wait_still_waits(void **state)
{
    assert_int_equal(sim_run(&loop, cancelled_wait_body, NULL), 0);
    assert_string_equal(trace.text, "cp");
}

/* A cancellation reaches the groups a fiber has made at once, also while it waits for something else. */
static int busy_parent(void *arg)
{
    struct proa_group group;
    int rc;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, slow_to_end, NULL), 0);
    {
        struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_SECONDS(5));

        rc = proa_sleep(loop, PROA_SECONDS(1));
    }
    assert_int_equal(rc, 0);
    say('p');
    return proa_group_wait(&group);
}

static int busy_parent_body(void *arg)
{
    struct proa_group group;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, busy_parent, NULL), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(10)), 0);
    proa_group_cancel(&group, PROA_ECLOSED);
    assert_int_equal(proa_group_wait(&group), PROA_ECLOSED);
    return 0;
}

static void test_cancellation_reaches_groups_at_once(void **state)
{
    assert_int_equal(sim_run(&loop, busy_parent_body, NULL), 0);
    assert_string_equal(trace.text, "cp");
}

/* A group cancelled before something is started in it starts it cancelled. */
static int late_start_body(void *arg)
{
    struct proa_group group;
    int result = 0;

    proa_group_init(&group, loop);
    proa_group_cancel(&group, PROA_EBUSY);
    assert_int_equal(proa_group_start(&group, NULL, nap_100s, &result), 0);
    assert_int_equal(proa_group_wait(&group), PROA_EBUSY);
    assert_int_equal(result, PROA_EBUSY);
    return 0;
}

static void test_start_in_a_cancelled_group(void **state)
{
    assert_int_equal(sim_run(&loop, late_start_body, NULL), 0);
}

/* Any fiber may wait for a group made in a callback. */
static struct proa_group outside;
static int wait_outside(void *arg)
{
    assert_int_equal(proa_group_wait(&outside), PROA_EINVAL);
    say('w');
    return 0;
}

static void test_group_made_outside_fibers(void **state)
{
    loop = sim_loop_new(NULL);
    proa_group_init(&outside, loop);
    assert_int_equal(proa_group_start(&outside, NULL, nap_5, NULL), 0);
    assert_int_equal(proa_group_run_now(&outside, NULL, fails_at_once, NULL), 0);
    assert_string_equal(trace.text, "f");
    assert_int_equal(outside.running, 1);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, wait_outside, NULL), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_string_equal(trace.text, "fnw");
    proa_loop_free(loop);
}

/* run_now in a callback runs until the fiber suspends, and the fiber goes on later. */
static int suspends_once(void *arg)
{
    say('1');
    PROA_TRY(proa_sleep(loop, PROA_MS(1)));
    say('3');
    return 0;
}

static void run_now_fired(struct proa_timer *timer)
{
    assert_null(proa_fiber_current(loop));
    assert_int_equal(proa_group_run_now(&outside, NULL, suspends_once, NULL), 0);
    assert_null(proa_fiber_current(loop));
    say('2');
}

static void test_run_now_nests_in_a_callback(void **state)
{
    struct proa_timer timer;

    loop = sim_loop_new(NULL);
    proa_group_init(&outside, loop);
    at_ms(&timer, 3, run_now_fired);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_string_equal(trace.text, "123");
    proa_loop_free(loop);
}

static int one(void *arg)
{
    return proa_sleep(loop, PROA_MS(1));
}

static void test_fibers_are_bounded_and_stacks_reused(void **state)
{
    struct proa_loop_options options = {.fibers_max = 3, .stacks_kept = 1};
    uint32_t peak;

    loop = sim_loop_new(&options);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            assert_int_equal(proa_loop_start_fiber(loop, NULL, one, NULL), 0);
        assert_int_equal(proa_loop_start_fiber(loop, NULL, one, NULL), PROA_EBUSY);
        assert_int_equal(proa_loop_fibers(loop, NULL), 3);
        assert_int_equal(proa_loop_run(loop), 0);
        assert_int_equal(proa_loop_fibers(loop, &peak), 0);
        assert_int_equal(peak, 3);
        assert_int_equal(loop->free_fibers_count, 1);
    }
    proa_loop_free(loop);
}

/* Cancellation. */
static int sticky_body(void *arg)
{
    struct proa_waiter waiter;

    assert_int_equal(proa_sleep(loop, PROA_SECONDS(100)), PROA_ECLOSED);
    /* From now on everything that may suspend says so, with the first cause. */
    proa_fiber_cancel(proa_fiber_current(loop), PROA_EBUSY);
    assert_int_equal(proa_sleep(loop, 1), PROA_ECLOSED);
    assert_int_equal(proa_yield(loop), PROA_ECLOSED);
    assert_int_equal(proa_fiber_check(loop), PROA_ECLOSED);
    proa_waiter_init(&waiter, loop);
    assert_int_equal(proa_park(&waiter), PROA_ECLOSED);
    proa_unpark(&waiter, 0); /* too late, and harmless */
    say('x');
    return 0;
}

static int cancel_body(void *arg)
{
    struct proa_group group;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, sticky_body, NULL), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(2)), 0);
    proa_group_cancel(&group, PROA_ECLOSED);
    proa_group_cancel(&group, PROA_EBUSY);
    return proa_group_wait(&group);
}

static void test_cancellation_is_sticky_and_the_first_cause_stays(void **state)
{
    assert_int_equal(sim_run(&loop, cancel_body, NULL), 0);
    assert_string_equal(trace.text, "x");
}

/* In one turn both happen; the first wins, the other is not lost. */
static struct proa_waiter *parked;
static struct proa_fiber *parked_fiber;
static int race_result, race_second;
static int parker(void *arg)
{
    struct proa_waiter waiter;

    proa_waiter_init(&waiter, loop);
    parked = &waiter;
    parked_fiber = proa_fiber_current(loop);
    race_result = proa_park(&waiter);
    parked = NULL;
    race_second = proa_sleep(loop, PROA_MS(1));
    return 0;
}

static void unpark_then_cancel(struct proa_timer *timer)
{
    proa_unpark(parked, 0);
    proa_fiber_cancel(parked_fiber, PROA_ECLOSED);
}

static void cancel_then_unpark(struct proa_timer *timer)
{
    proa_fiber_cancel(parked_fiber, PROA_ECLOSED);
    proa_unpark(parked, 0);
    proa_unpark(parked, PROA_EIO);
}

static void unpark_fired(struct proa_timer *timer)
{
    proa_unpark(parked, PROA_EIO);
}

static void race(void (*fire)(struct proa_timer *timer), proa_mono_ns deadline_ms)
{
    struct proa_fiber_options options = {.name = "parker"};
    struct proa_timer timer;

    loop = sim_loop_new(NULL);
    if (deadline_ms)
        options.deadline = proa_loop_now(loop) + PROA_MS(deadline_ms);
    at_ms(&timer, 5, fire);
    assert_int_equal(proa_loop_start_fiber(loop, &options, parker, NULL), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    proa_loop_free(loop);
}

static void test_unpark_before_cancel(void **state)
{
    race(unpark_then_cancel, 0);
    assert_int_equal(race_result, 0);
    assert_int_equal(race_second, PROA_ECLOSED);
}

static void test_cancel_before_unpark(void **state)
{
    race(cancel_then_unpark, 0);
    assert_int_equal(race_result, PROA_ECLOSED);
    assert_int_equal(race_second, PROA_ECLOSED);
}

static void test_unpark_and_deadline_in_one_turn(void **state)
{
    /* The timer was armed first and so fires first; the deadline then finds the fiber awake. */
    race(unpark_fired, 5);
    assert_int_equal(race_result, PROA_EIO);
    assert_int_equal(race_second, PROA_ETIMEDOUT);
}

static int early_unpark_body(void *arg)
{
    struct proa_waiter waiter;

    proa_waiter_init(&waiter, loop);
    proa_unpark(&waiter, PROA_EBUSY);
    proa_unpark(&waiter, 0);
    assert_int_equal(proa_park(&waiter), PROA_EBUSY);
    return 0;
}

static void test_unpark_may_come_before_park(void **state)
{
    assert_int_equal(sim_run(&loop, early_unpark_body, NULL), 0);
}

/* Deadlines. */
static int see_deadline(void *arg)
{
    *(proa_mono_ns *)arg = proa_deadline(loop);
    return 0;
}

/* Of the group's deadline and the starter's, which may be a later and nearer one, the first counts. */
static int starter_body(void *arg)
{
    proa_mono_ns near = proa_loop_now(loop) + PROA_MS(20), seen = 0, seen_after = 0;
    struct proa_group group;

    proa_group_init(&group, loop);
    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(loop, near);

        assert_int_equal(proa_group_start(&group, NULL, see_deadline, &seen), 0);
    }
    assert_int_equal(proa_group_start(&group, NULL, see_deadline, &seen_after), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(seen, near);
    assert_int_equal(seen_after, PROA_NEVER);
    return 0;
}

static void test_deadline_of_the_starter_counts(void **state)
{
    assert_int_equal(sim_run(&loop, starter_body, NULL), 0);
}

static proa_mono_ns seen_outside;
static struct proa_group *deadline_group;
static void start_from_callback(struct proa_timer *timer)
{
    assert_int_equal(proa_group_start(deadline_group, NULL, see_deadline, &seen_outside), 0);
}

static int inherit_body(void *arg)
{
    proa_mono_ns now = proa_loop_now(loop);
    struct proa_deadline_scope scope = proa_deadline_enter(loop, now + PROA_MS(50));
    struct proa_fiber_options later = {.deadline = now + PROA_SECONDS(1)};
    struct proa_fiber_options sooner = {.deadline = now + PROA_MS(7)};
    proa_mono_ns seen[4] = {0};
    struct proa_group group;
    struct proa_timer timer;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, see_deadline, &seen[0]), 0);
    assert_int_equal(proa_group_start(&group, &later, see_deadline, &seen[1]), 0);
    assert_int_equal(proa_group_start(&group, &sooner, see_deadline, &seen[2]), 0);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, see_deadline, &seen[3]), 0);
    deadline_group = &group;
    at_ms(&timer, 1, start_from_callback);
    assert_int_equal(proa_sleep(loop, PROA_MS(2)), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(seen[0], now + PROA_MS(50));
    assert_int_equal(seen[1], now + PROA_MS(50));
    assert_int_equal(seen[2], now + PROA_MS(7));
    assert_true(seen[3] == PROA_NEVER); /* belongs to the loop */
    assert_int_equal(seen_outside, now + PROA_MS(50));
    proa_deadline_leave(&scope);
    assert_true(proa_deadline(loop) == PROA_NEVER);
    return 0;
}

static void test_deadlines_are_inherited(void **state)
{
    assert_int_equal(sim_run(&loop, inherit_body, NULL), 0);
}

static int strike_body(void *arg)
{
    proa_mono_ns began = proa_loop_now(loop);
    struct proa_deadline_scope outer = proa_deadline_enter(loop, began + PROA_MS(5));
    struct proa_deadline_scope inner = proa_deadline_enter(loop, began + PROA_SECONDS(9));

    assert_int_equal(proa_sleep(loop, PROA_SECONDS(10)), PROA_ETIMEDOUT);
    assert_int_equal(proa_loop_now(loop), began + PROA_MS(5));
    assert_int_equal(proa_sleep(loop, 0), PROA_ETIMEDOUT);
    proa_deadline_leave(&inner);
    assert_int_equal(proa_fiber_check(loop), PROA_ETIMEDOUT);
    proa_deadline_leave(&outer);
    assert_int_equal(proa_fiber_check(loop), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    return 0;
}

static void test_deadline_strikes_exactly_and_ends_with_its_scope(void **state)
{
    assert_int_equal(sim_run(&loop, strike_body, NULL), 0);
}

/* A fiber that never suspends arms nothing. */
static int quick(void *arg)
{
    assert_int_equal(loop->timers.len, 0);
    return 0;
}

static void test_deadline_costs_no_timer_without_suspension(void **state)
{
    struct proa_fiber_options options = {.deadline = PROA_SECONDS(100000)};

    loop = sim_loop_new(NULL);
    proa_group_init(&outside, loop);
    assert_int_equal(proa_group_run_now(&outside, &options, quick, NULL), 0);
    assert_int_equal(loop->timers.order, 0);
    proa_loop_free(loop);
}

/* Shields. */
static int shield_helper(void *arg)
{
    int rc = proa_sleep(loop, PROA_MS(20));

    say(rc == 0 ? 'h' : '!');
    return rc;
}

static int shielded_fiber(void *arg)
{
    {
        struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_MS(50));
        struct proa_group group;

        /* Cancelled at 10 ms, and past its own deadline at 15: neither reaches it or its helper. */
        proa_group_init(&group, loop);
        assert_int_equal(proa_group_start(&group, NULL, shield_helper, NULL), 0);
        assert_int_equal(proa_group_wait(&group), 0);
        assert_int_equal(proa_fiber_check(loop), 0);
        assert_int_equal(proa_sleep(loop, PROA_MS(100)), PROA_ETIMEDOUT); /* but the grace ends */
    }
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), PROA_ECLOSED);
    say('s');
    return 0;
}

static int shield_body(void *arg)
{
    bool whole_loop = arg != NULL;
    proa_mono_ns now = proa_loop_now(loop);
    struct proa_fiber_options options = {.deadline = now + PROA_MS(15)};
    struct proa_group group;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, &options, shielded_fiber, NULL), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(10)), 0);
    if (whole_loop)
        proa_loop_cancel_fibers(loop, PROA_ECLOSED);
    else
        proa_group_cancel(&group, PROA_ECLOSED);
    proa_group_wait(&group);
    assert_int_equal(proa_loop_now(loop), now + PROA_MS(50));
    return 0;
}

static void test_shield_covers_the_fiber_and_its_groups(void **state)
{
    assert_int_equal(sim_run(&loop, shield_body, NULL), 0);
    assert_string_equal(trace.text, "hs");
}

static void test_shield_against_the_whole_loops_cancellation(void **state)
{
    bool whole = true;

    assert_int_equal(sim_run(&loop, shield_body, &whole), 0);
    assert_string_equal(trace.text, "hs");
}

/* Within a shield a group's own cancellation still works. */
static int shield_own_cancel_body(void *arg)
{
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_SECONDS(50));
    struct proa_group group;
    int result = 0;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, nap_100s, &result), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    proa_group_cancel(&group, 0);
    assert_int_equal(proa_group_wait(&group), PROA_ECANCELED);
    assert_int_equal(result, PROA_ECANCELED);
    return 0;
}

static void test_group_in_a_shield_can_be_cancelled(void **state)
{
    assert_int_equal(sim_run(&loop, shield_own_cancel_body, NULL), 0);
}

/* The rest. */
static int see_context(void *arg)
{
    void **seen = arg;

    seen[0] = proa_fiber_context(proa_fiber_current(loop));
    seen[1] = proa_fiber_span(proa_fiber_current(loop));
    return 0;
}

static int context_body(void *arg)
{
    struct proa_fiber *self = proa_fiber_current(loop);
    struct proa_group group;
    void *of_child[2] = {0}, *of_other[2] = {0};
    int request, span;

    assert_string_equal(proa_fiber_name(self), "fiber");
    proa_fiber_set_name(self, "worker");
    assert_string_equal(proa_fiber_name(self), "worker");
    proa_fiber_set_context(self, &request);
    proa_fiber_set_span(self, &span);
    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, see_context, of_child), 0);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, see_context, of_other), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_ptr_equal(of_child[0], &request);
    assert_ptr_equal(of_child[1], &span);
    assert_null(of_other[0]);
    assert_null(of_other[1]);
    return 0;
}

static void test_name_and_context(void **state)
{
    assert_int_equal(sim_run(&loop, context_body, NULL), 0);
}

static int yielder(void *arg)
{
    for (int i = 0; i < 3; i++) {
        say(*(const char *)arg);
        assert_int_equal(proa_yield(loop), 0);
    }
    return 0;
}

static void test_yield_takes_turns(void **state)
{
    loop = sim_loop_new(NULL);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, yielder, "a"), 0);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, yielder, "b"), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_string_equal(trace.text, "ababab");
    proa_loop_free(loop);
}

static int forever(void *arg)
{
    struct proa_waiter waiter;

    proa_waiter_init(&waiter, loop);
    say('p');
    return proa_park(&waiter);
}

static void test_deadlock_is_told_and_can_be_ended(void **state)
{
    loop = sim_loop_new(NULL);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, forever, NULL), 0);
    assert_int_equal(proa_loop_run(loop), PROA_ECONFLICT);
    assert_int_equal(proa_loop_fibers(loop, NULL), 1);
    proa_loop_cancel_fibers(loop, 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(proa_loop_fibers(loop, NULL), 0);
    proa_loop_free(loop);
}

/* Many fibers that sleep, are cancelled and end in every order leave nothing behind. */
static int random_life(void *arg)
{
    uint64_t chance = proa_loop_random_u64(loop);
    struct proa_group group;

    if (arg && chance % 3 == 0) {
        proa_group_init(&group, loop);
        for (int i = 0; i < 3; i++)
            PROA_TRY(proa_group_start(&group, NULL, random_life, NULL) == 0 ? 0 : PROA_EINTERNAL);
        if (chance & 64)
            proa_group_cancel(&group, 0);
        return proa_group_wait(&group);
    }
    return proa_sleep(loop, PROA_MS(chance % 20));
}

static void cancel_all(struct proa_timer *timer)
{
    proa_loop_cancel_fibers(loop, 0);
}

static void test_many_random_lives(void **state)
{
    struct proa_timer timer;

    loop = sim_loop_new(NULL);
    at_ms(&timer, 10, cancel_all);
    for (int i = 0; i < 400; i++)
        assert_int_equal(proa_loop_start_fiber(loop, NULL, random_life, &timer), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(proa_loop_fibers(loop, NULL), 0);
    assert_int_equal(loop->timers.len, 0);
    proa_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_group_waits_for_all_and_gives_the_first_error, reset),
        cmocka_unit_test_setup(test_first_error_cancels_the_others_when_asked_to, reset),
        cmocka_unit_test(test_empty_group_is_waited_for_at_once),
        cmocka_unit_test_setup(test_cancelled_group_wait_still_waits, reset),
        cmocka_unit_test_setup(test_cancellation_reaches_groups_at_once, reset),
        cmocka_unit_test(test_deadline_of_the_starter_counts),
        cmocka_unit_test(test_start_in_a_cancelled_group),
        cmocka_unit_test_setup(test_group_made_outside_fibers, reset),
        cmocka_unit_test_setup(test_run_now_nests_in_a_callback, reset),
        cmocka_unit_test(test_fibers_are_bounded_and_stacks_reused),
        cmocka_unit_test_setup(test_cancellation_is_sticky_and_the_first_cause_stays, reset),
        cmocka_unit_test(test_unpark_before_cancel),
        cmocka_unit_test(test_cancel_before_unpark),
        cmocka_unit_test(test_unpark_and_deadline_in_one_turn),
        cmocka_unit_test(test_unpark_may_come_before_park),
        cmocka_unit_test(test_deadlines_are_inherited),
        cmocka_unit_test(test_deadline_strikes_exactly_and_ends_with_its_scope),
        cmocka_unit_test(test_deadline_costs_no_timer_without_suspension),
        cmocka_unit_test_setup(test_shield_covers_the_fiber_and_its_groups, reset),
        cmocka_unit_test_setup(test_shield_against_the_whole_loops_cancellation, reset),
        cmocka_unit_test(test_group_in_a_shield_can_be_cancelled),
        cmocka_unit_test(test_name_and_context),
        cmocka_unit_test_setup(test_yield_takes_turns, reset),
        cmocka_unit_test_setup(test_deadlock_is_told_and_can_be_ended, reset),
        cmocka_unit_test(test_many_random_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

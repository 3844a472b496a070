/* Semaphore, queue and event: order, hand-over, and what a cancellation in the same turn changes. */
#include "sim_run.h"

#include <proa/sync.h>

static struct proa_loop *loop;

/* The semaphore. */
struct taker {
    struct proa_sem *sem;
    struct proa_fiber *fiber;
    unsigned number;
    int rc;
    bool holds;
};
static unsigned order[16];
static size_t order_len;

static int take_permit(void *arg)
{
    struct taker *taker = arg;

    taker->fiber = proa_fiber_current(loop);
    taker->rc = proa_sem_acquire(taker->sem);
    taker->fiber = NULL;
    if (taker->rc == 0) {
        taker->holds = true;
        order[order_len++] = taker->number;
    }
    return 0;
}

static int sem_order_body(void *arg)
{
    struct proa_sem *sem = proa_sem_new(loop, 1);
    struct taker takers[5] = {0};
    struct proa_group group;

    order_len = 0;
    assert_true(proa_sem_try(sem));
    assert_false(proa_sem_try(sem));
    proa_group_init(&group, loop);
    for (unsigned i = 0; i < 5; i++) {
        takers[i] = (struct taker){.sem = sem, .number = i};
        assert_int_equal(proa_group_start(&group, NULL, take_permit, &takers[i]), 0);
    }
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    assert_int_equal(proa_sem_waiting(sem), 5);
    proa_fiber_cancel(takers[1].fiber, PROA_ECLOSED);
    for (int i = 0; i < 4; i++) {
        proa_sem_release(sem);
        /* Handed over: nobody overtakes between the release and the waiter's turn. */
        assert_false(proa_sem_try(sem));
        assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(takers[1].rc, PROA_ECLOSED);
    assert_int_equal(order_len, 4);
    assert_true(order[0] == 0 && order[1] == 2 && order[2] == 3 && order[3] == 4);
    assert_int_equal(proa_sem_free_permits(sem), 0);
    assert_int_equal(proa_sem_waiting(sem), 0);
    proa_sem_release(sem);
    assert_int_equal(proa_sem_free_permits(sem), 1);
    proa_sem_free(sem);
    return 0;
}

static void test_permits_go_in_the_order_of_asking(void **state)
{
    assert_int_equal(sim_run(&loop, sem_order_body, NULL), 0);
}

/* Release and cancel of the first waiter in one turn, both ways round: no permit is lost or doubled. */
static int sem_race_body(void *arg)
{
    bool cancel_first = arg != NULL;
    struct proa_sem *sem = proa_sem_new(loop, 1);
    struct taker takers[2] = {{.sem = sem, .number = 0}, {.sem = sem, .number = 1}};
    struct proa_group group;

    order_len = 0;
    assert_true(proa_sem_try(sem));
    proa_group_init(&group, loop);
    for (int i = 0; i < 2; i++)
        assert_int_equal(proa_group_start(&group, NULL, take_permit, &takers[i]), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    if (cancel_first)
        proa_fiber_cancel(takers[0].fiber, PROA_ECLOSED);
    proa_sem_release(sem);
    if (!cancel_first)
        proa_fiber_cancel(takers[0].fiber, PROA_ECLOSED);
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    assert_true(takers[0].holds == !cancel_first && takers[1].holds == cancel_first);
    if (!cancel_first)
        proa_sem_release(sem);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_true(takers[1].holds);
    proa_sem_release(sem);
    assert_int_equal(proa_sem_free_permits(sem), 1);
    proa_sem_free(sem);
    return 0;
}

static void test_release_and_cancel_in_one_turn(void **state)
{
    bool yes = true;

    assert_int_equal(sim_run(&loop, sem_race_body, NULL), 0);
    assert_int_equal(sim_run(&loop, sem_race_body, &yes), 0);
}

static int cancelled_body(void *arg)
{
    struct proa_sem *sem = proa_sem_new(loop, 3);
    struct proa_queue *queue = proa_queue_new(loop, 2);
    struct proa_event event;
    void *item;

    proa_event_init(&event, loop);
    proa_event_set(&event);
    assert_int_equal(proa_queue_put(queue, &item), 0);
    proa_fiber_cancel(proa_fiber_current(loop), PROA_EBUSY);
    /* Nothing here would have to wait; a fiber that should stop is told so all the same. */
    assert_int_equal(proa_sem_acquire(sem), PROA_EBUSY);
    assert_int_equal(proa_sem_free_permits(sem), 3);
    assert_int_equal(proa_queue_take(queue, &item), PROA_EBUSY);
    assert_int_equal(proa_queue_put(queue, &item), PROA_EBUSY);
    assert_int_equal(proa_queue_len(queue), 1);
    assert_int_equal(proa_event_wait(&event), PROA_EBUSY);
    proa_sem_free(sem);
    proa_queue_free(queue);
    return 0;
}

static void test_a_cancelled_fiber_gets_nothing(void **state)
{
    assert_int_equal(sim_run(&loop, cancelled_body, NULL), 0);
}

/* The queue. */
struct lane {
    struct proa_queue *queue;
    uintptr_t first, count;
    uintptr_t got[64];
    size_t got_len;
    int rc;
    struct proa_fiber *fiber;
};

static int put_some(void *arg)
{
    struct lane *lane = arg;

    lane->fiber = proa_fiber_current(loop);
    for (uintptr_t i = 0; i < lane->count && lane->rc == 0; i++)
        lane->rc = proa_queue_put(lane->queue, (void *)(lane->first + i));
    lane->fiber = NULL;
    return 0;
}

static int take_some(void *arg)
{
    struct lane *lane = arg;
    void *item;

    lane->fiber = proa_fiber_current(loop);
    while (lane->got_len < lane->count && (lane->rc = proa_queue_take(lane->queue, &item)) == 0)
        lane->got[lane->got_len++] = (uintptr_t)item;
    lane->fiber = NULL;
    return 0;
}

static int queue_order_body(void *arg)
{
    struct proa_queue *queue = proa_queue_new(loop, 3);
    struct lane putters[3] = {{0}}, taker = {.queue = queue, .count = 60};
    uintptr_t last[3] = {0};
    struct proa_group group;

    proa_group_init(&group, loop);
    for (uintptr_t i = 0; i < 3; i++) {
        putters[i] = (struct lane){.queue = queue, .first = 1000 * (i + 1), .count = 20};
        assert_int_equal(proa_group_start(&group, NULL, put_some, &putters[i]), 0);
    }
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    assert_int_equal(proa_queue_len(queue), 3);
    assert_int_equal(proa_queue_try_put(queue, NULL), PROA_EBUSY);
    assert_int_equal(proa_group_start(&group, NULL, take_some, &taker), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(taker.got_len, 60);
    for (size_t i = 0; i < 60; i++) {
        size_t lane = taker.got[i] / 1000 - 1;

        assert_true(taker.got[i] >= last[lane]); /* each putter's in its order */
        last[lane] = taker.got[i];
    }
    assert_int_equal(proa_queue_len(queue), 0);
    proa_queue_free(queue);
    return 0;
}

static void test_queue_keeps_order_and_bound(void **state)
{
    assert_int_equal(sim_run(&loop, queue_order_body, NULL), 0);
}

/* An item is given and its taker cancelled in one turn: the taker has it. The other way round the next
 * taker has it. Either way it is there once. */
static int queue_race_body(void *arg)
{
    bool cancel_first = arg != NULL;
    struct proa_queue *queue = proa_queue_new(loop, 1);
    struct lane takers[2] = {{.queue = queue, .count = 1}, {.queue = queue, .count = 1}};
    struct proa_group group;
    void *item;

    proa_group_init(&group, loop);
    for (int i = 0; i < 2; i++)
        assert_int_equal(proa_group_start(&group, NULL, take_some, &takers[i]), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    if (cancel_first)
        proa_fiber_cancel(takers[0].fiber, PROA_ECLOSED);
    assert_int_equal(proa_queue_try_put(queue, (void *)7), 0);
    if (!cancel_first)
        proa_fiber_cancel(takers[0].fiber, PROA_ECLOSED);
    assert_false(proa_queue_try_take(queue, &item)); /* not to be overtaken */
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    assert_int_equal(takers[0].rc, cancel_first ? PROA_ECLOSED : 0);
    assert_int_equal(takers[0].got_len, cancel_first ? 0 : 1);
    assert_int_equal(takers[1].got_len, cancel_first ? 1 : 0);
    proa_queue_close(queue);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(takers[1].rc, cancel_first ? 0 : PROA_ECLOSED);
    proa_queue_free(queue);
    return 0;
}

static void test_hand_over_and_cancel_in_one_turn(void **state)
{
    bool yes = true;

    assert_int_equal(sim_run(&loop, queue_race_body, NULL), 0);
    assert_int_equal(sim_run(&loop, queue_race_body, &yes), 0);
}

static int queue_close_body(void *arg)
{
    struct proa_queue *queue = proa_queue_new(loop, 2);
    struct lane putter = {.queue = queue, .first = 1, .count = 3};
    struct proa_group group;
    void *item;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, put_some, &putter), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    proa_queue_close(queue);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(putter.rc, PROA_ECLOSED); /* its third was refused */
    assert_int_equal(proa_queue_put(queue, NULL), PROA_ECLOSED);
    assert_int_equal(proa_queue_take(queue, &item), 0);
    assert_int_equal((uintptr_t)item, 1);
    assert_int_equal(proa_queue_take(queue, &item), 0);
    assert_int_equal((uintptr_t)item, 2);
    assert_int_equal(proa_queue_take(queue, &item), PROA_ECLOSED);
    proa_queue_free(queue);
    return 0;
}

static void test_closed_queue_gives_the_rest(void **state)
{
    assert_int_equal(sim_run(&loop, queue_close_body, NULL), 0);
}

/* A putter that gives up leaves its place to the next, and its item is not in the queue. */
static int putter_gives_up_body(void *arg)
{
    struct proa_queue *queue = proa_queue_new(loop, 1);
    struct lane putters[2] = {{.queue = queue, .first = 2, .count = 1}, {.queue = queue, .first = 3, .count = 1}};
    struct proa_group group;
    void *item;

    assert_int_equal(proa_queue_put(queue, (void *)1), 0);
    proa_group_init(&group, loop);
    for (int i = 0; i < 2; i++)
        assert_int_equal(proa_group_start(&group, NULL, put_some, &putters[i]), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    proa_fiber_cancel(putters[0].fiber, 0);
    assert_int_equal(proa_queue_take(queue, &item), 0);
    assert_int_equal((uintptr_t)item, 1);
    assert_int_equal(proa_queue_take(queue, &item), 0);
    assert_int_equal((uintptr_t)item, 3);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(putters[0].rc, PROA_ECANCELED);
    assert_int_equal(putters[1].rc, 0);
    proa_queue_free(queue);
    return 0;
}

static void test_putter_that_gives_up(void **state)
{
    assert_int_equal(sim_run(&loop, putter_gives_up_body, NULL), 0);
}

/* The event. */
static struct proa_event event;
static unsigned woken;
static int wait_event(void *arg)
{
    int rc = proa_event_wait(&event);

    woken += rc == 0;
    return rc;
}

static int event_body(void *arg)
{
    struct proa_fiber_options late = {.deadline = proa_loop_now(loop) + PROA_MS(1)};
    struct proa_group group;

    woken = 0;
    proa_event_init(&event, loop);
    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, &late, wait_event, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(proa_group_start(&group, NULL, wait_event, NULL), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
    assert_int_equal(woken, 0);
    proa_event_pulse(&event);
    assert_int_equal(proa_yield(loop), 0);
    assert_int_equal(woken, 3);
    assert_int_equal(proa_group_start(&group, NULL, wait_event, NULL), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
    assert_int_equal(woken, 3);
    proa_event_set(&event);
    assert_int_equal(proa_event_wait(&event), 0);
    assert_int_equal(proa_group_wait(&group), PROA_ETIMEDOUT);
    assert_int_equal(woken, 4);
    proa_event_reset(&event);
    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
            proa_deadline_enter(loop, proa_loop_now(loop) + PROA_MS(1));
        assert_int_equal(proa_event_wait(&event), PROA_ETIMEDOUT);
    }
    return 0;
}

static void test_event(void **state)
{
    assert_int_equal(sim_run(&loop, event_body, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permits_go_in_the_order_of_asking),
        cmocka_unit_test(test_release_and_cancel_in_one_turn),
        cmocka_unit_test(test_a_cancelled_fiber_gets_nothing),
        cmocka_unit_test(test_queue_keeps_order_and_bound),
        cmocka_unit_test(test_hand_over_and_cancel_in_one_turn),
        cmocka_unit_test(test_closed_queue_gives_the_rest),
        cmocka_unit_test(test_putter_that_gives_up),
        cmocka_unit_test(test_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

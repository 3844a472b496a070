/* Several loops in threads, and the watchdog. Meant for the thread sanitizer too. */
#include "unit.h"

#include <proa/fiber.h>
#include <proa/loops.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LOOPS = 4, MESSAGES = 2000 };

static struct proa_loops *loops;

static int setup(void **state)
{
    struct proa_loop_options options = {.name = "test"};

    return proa_loops_new(LOOPS, &options, &loops, NULL);
}

static int teardown(void **state)
{
    proa_loops_free(loops);
    return 0;
}

/* Each loop sends a message round all loops; who is last stops them. */
struct message {
    struct proa_task task;
    unsigned at, left;
    unsigned *counts; /* one a loop, each touched by its own loop only */
};
static unsigned counts[LOOPS];
static _Atomic unsigned arrived;

static void pass_on(struct proa_task *task)
{
    struct message *message = PROA_CONTAINER(task, struct message, task);

    message->counts[message->at]++;
    if (message->left-- == 0) {
        if (++arrived == LOOPS)
            proa_loops_stop(loops);
        return;
    }
    message->at = (message->at + 1) % LOOPS;
    proa_loop_post(proa_loops_at(loops, message->at), &message->task);
}

static int stay(void *arg)
{
    int rc = proa_sleep(arg, PROA_SECONDS(1000));

    return rc == PROA_ECANCELED ? 0 : PROA_EINTERNAL;
}

static void test_messages_between_loops(void **state)
{
    struct message messages[LOOPS];

    arrived = 0;
    memset(counts, 0, sizeof counts);
    for (unsigned i = 0; i < LOOPS; i++) {
        struct proa_loop *loop = proa_loops_at(loops, i);

        assert_int_equal(proa_loop_index(loop), i);
        assert_int_equal(proa_loop_start_fiber(loop, NULL, stay, loop), 0);
        messages[i] = (struct message){{.run = pass_on}, i, MESSAGES, counts};
        proa_loop_post(loop, &messages[i].task);
    }
    assert_int_equal(proa_loops_run(loops, NULL), 0);
    for (unsigned i = 0; i < LOOPS; i++) {
        assert_int_equal(counts[i], MESSAGES + 1);
        /* Fibers that lived when their loop was stopped were cancelled and ended. */
        assert_int_equal(proa_loop_fibers(proa_loops_at(loops, i), NULL), 0);
    }
}

/* Loop 0 has nothing to do: the others end by themselves, after what they still do. */
static _Atomic unsigned naps_done;
static int nap(void *arg)
{
    PROA_TRY(proa_sleep(arg, PROA_MS(30)));
    naps_done++;
    return 0;
}

static void test_others_finish_when_loop_0_has_ended(void **state)
{
    naps_done = 0;
    for (unsigned i = 1; i < LOOPS; i++)
        assert_int_equal(proa_loop_start_fiber(proa_loops_at(loops, i), NULL, nap, proa_loops_at(loops, i)), 0);
    assert_int_equal(proa_loops_run(loops, NULL), 0);
    assert_int_equal(naps_done, LOOPS - 1);
}

static void test_stop_before_run_and_twice(void **state)
{
    assert_int_equal(proa_loop_start_fiber(proa_loops_at(loops, 1), NULL, stay, proa_loops_at(loops, 1)), 0);
    proa_loops_stop(loops);
    proa_loops_stop(loops);
    assert_int_equal(proa_loops_run(loops, NULL), 0);
    assert_int_equal(proa_loop_fibers(proa_loops_at(loops, 1), NULL), 0);
}

static void *stop_from_thread(void *arg)
{
    usleep(5000);
    proa_loops_stop(loops);
    return NULL;
}

static void test_stop_from_two_threads(void **state)
{
    pthread_t threads[2];

    assert_int_equal(proa_loop_start_fiber(proa_loops_at(loops, 0), NULL, stay, proa_loops_at(loops, 0)), 0);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, stop_from_thread, NULL);
    assert_int_equal(proa_loops_run(loops, NULL), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

/* Fibers of all loops wait for answers from each other. */
struct call {
    struct proa_task task;
    struct proa_loop *from, *to;
    struct proa_waiter *waiter;
    unsigned value;
};

static void call_back(struct proa_task *task)
{
    proa_unpark(PROA_CONTAINER(task, struct call, task)->waiter, 0);
}

static void call_arrived(struct proa_task *task)
{
    struct call *call = PROA_CONTAINER(task, struct call, task);

    call->value *= 2;
    call->task.run = call_back;
    proa_loop_post(call->from, &call->task);
}

static _Atomic unsigned callers_done;
static int caller(void *arg)
{
    struct proa_loop *own = arg;

    for (unsigned i = 0; i < 200; i++) {
        struct proa_waiter waiter;
        struct call call = {.task = {.run = call_arrived}, .from = own, .waiter = &waiter, .value = i};

        call.to = proa_loops_at(loops, (proa_loop_index(own) + i) % LOOPS);
        proa_waiter_init(&waiter, own);
        proa_loop_post(call.to, &call.task);
        assert_int_equal(proa_park(&waiter), 0);
        assert_int_equal(call.value, 2 * i);
    }
    if (++callers_done == 3 * LOOPS)
        proa_loops_stop(loops);
    else
        return proa_sleep(own, PROA_SECONDS(1000)) == PROA_ECANCELED ? 0 : PROA_EINTERNAL;
    return 0;
}

static void test_fibers_call_other_loops(void **state)
{
    callers_done = 0;
    for (unsigned i = 0; i < 3 * LOOPS; i++)
        assert_int_equal(
            proa_loop_start_fiber(proa_loops_at(loops, i % LOOPS), NULL, caller, proa_loops_at(loops, i % LOOPS)), 0);
    assert_int_equal(proa_loops_run(loops, NULL), 0);
    assert_int_equal(callers_done, 3 * LOOPS);
}

static void test_too_many(void **state)
{
    struct proa_error err = {0};
    struct proa_loops *many = NULL;

    assert_int_equal(proa_loops_new(PROA_LOOPS_MAX + 1, NULL, &many, &err), PROA_EINVAL);
    assert_null(many);
    assert_int_equal(proa_loops_new(0, NULL, &many, &err), 0);
    assert_true(proa_loops_count(many) >= 1);
    proa_loops_free(many);
}

/* The watchdog. */
struct told {
    pthread_mutex_t mutex;
    unsigned begun, over;
    char loop[16], fiber[16];
    uint32_t held_ms;
};

static void stalled(void *arg, const char *loop, const char *fiber, uint32_t held_ms, bool over)
{
    struct told *told = arg;

    pthread_mutex_lock(&told->mutex);
    if (over) {
        told->over++;
        told->held_ms = held_ms;
    } else {
        told->begun++;
        snprintf(told->loop, sizeof told->loop, "%s", loop);
        snprintf(told->fiber, sizeof told->fiber, "%s", fiber);
    }
    pthread_mutex_unlock(&told->mutex);
}

/* Far more than a loop is held up by a machine that has other things to do. */
enum { STALL_MS = 400, HOLD_MS = 1000 };

static int holds_the_loop(void *arg)
{
    struct proa_loop *loop = arg;

    PROA_TRY(proa_sleep(loop, PROA_MS(STALL_MS + 100))); /* waiting is no stall */
    usleep(HOLD_MS * 1000);
    PROA_TRY(proa_sleep(loop, PROA_MS(STALL_MS + 100)));
    proa_loops_stop(loops);
    return 0;
}

static void callback_holds_the_loop(struct proa_timer *timer)
{
    usleep(HOLD_MS * 1000);
}

static void stop_soon(struct proa_timer *timer)
{
    proa_loops_stop(loops);
}

static struct told watch(void (*start)(void))
{
    struct told told = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct proa_watchdog_options options = {.stall_ms = STALL_MS, .stalled = stalled, .arg = &told};
    struct proa_watchdog *dog;

    start();
    assert_int_equal(proa_watchdog_start(loops, &options, &dog), 0);
    assert_int_equal(proa_loops_run(loops, NULL), 0);
    proa_watchdog_stop(dog);
    return told;
}

static void start_fiber(void)
{
    struct proa_fiber_options options = {.name = "greedy"};
    struct proa_loop *loop = proa_loops_at(loops, 2);

    assert_int_equal(proa_loop_start_fiber(loop, &options, holds_the_loop, loop), 0);
    /* Loop 0 must not end before. */
    assert_int_equal(proa_loop_start_fiber(proa_loops_at(loops, 0), NULL, stay, proa_loops_at(loops, 0)), 0);
}

static struct proa_timer holding, ending;
static void start_callback(void)
{
    struct proa_loop *loop = proa_loops_at(loops, 0);

    proa_timer_init(&holding, loop, callback_holds_the_loop);
    proa_timer_init(&ending, loop, stop_soon);
    assert_int_equal(proa_timer_start(&holding, proa_loop_now_exact(loop) + PROA_MS(100)), 0);
    assert_int_equal(proa_timer_start(&ending, proa_loop_now_exact(loop) + PROA_MS(HOLD_MS + 2 * STALL_MS)), 0);
}

static void check_told(const struct told *told, const char *fiber)
{
    assert_int_equal(told->begun, 1);
    assert_int_equal(told->over, 1);
    assert_string_equal(told->loop, "test");
    assert_string_equal(told->fiber, fiber);
    assert_in_range(told->held_ms, HOLD_MS - 10, 20000);
}

static void test_watchdog_names_the_fiber(void **state)
{
    struct told told = watch(start_fiber);

    check_told(&told, "greedy");
}

static void test_watchdog_sees_callbacks(void **state)
{
    struct told told = watch(start_callback);

    check_told(&told, "callback");
}

/* One loop is asked from another for how long it has been held up. */
struct held {
    _Atomic bool asked;
    uint32_t held_ms;
};

static int hold(void *arg)
{
    struct held *held = arg;

    for (int i = 0; i < 5000 && !held->asked; i++)
        usleep(1000);
    return 0;
}

static int ask(void *arg)
{
    struct held *held = arg;

    for (int i = 0; i < 1000 && held->held_ms < 50; i++) {
        held->held_ms = proa_loops_held_ms(loops);
        PROA_TRY(proa_sleep(proa_loops_at(loops, 0), PROA_MS(5)));
    }
    held->asked = true;
    return 0;
}

static void test_held_ms(void **state)
{
    struct held held = {false, 0};

    assert_int_equal(proa_loops_held_ms(loops), 0);
    assert_int_equal(proa_loop_start_fiber(proa_loops_at(loops, 1), NULL, hold, &held), 0);
    assert_int_equal(proa_loop_start_fiber(proa_loops_at(loops, 0), NULL, ask, &held), 0);
    assert_int_equal(proa_loops_run(loops, NULL), 0);
    assert_in_range(held.held_ms, 50, 4999);
    assert_int_equal(proa_loops_held_ms(loops), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_messages_between_loops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others_finish_when_loop_0_has_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_before_run_and_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_from_two_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fibers_call_other_loops, setup, teardown),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test_setup_teardown(test_held_ms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watchdog_names_the_fiber, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watchdog_sees_callbacks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

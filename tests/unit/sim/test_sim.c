/* The simulated loop: virtual time, chance by seed, blocking work, deadlocks. */
#include "unit.h"

#include <pthread.h>
#include <string.h>

#include <proa/fiber.h>
#include <proa/file.h>
#include <proa/sim.h>
#include <proa/sync.h>

static struct proa_sim *sim;
static struct proa_loop *loop;

static void begin(uint64_t seed)
{
    struct proa_sim_options options = {.seed = seed};

    assert_int_equal(proa_sim_new(&options, &sim), 0);
    loop = proa_sim_loop(sim);
}

static void run(proa_fiber_fn *body, void *arg)
{
    assert_int_equal(proa_loop_start_fiber(loop, NULL, body, arg), 0);
    assert_int_equal(proa_loop_run(loop), 0);
}

static void end(void)
{
    proa_sim_free(sim);
    sim = NULL;
    loop = NULL;
}

static int an_hour(void *arg)
{
    proa_mono_ns before = proa_loop_now(loop);
    proa_time_ns wall = proa_loop_wall(loop);

    for (int i = 0; i < 60; i++)
        PROA_TRY(proa_sleep(loop, PROA_SECONDS(60)));
    assert_int_equal(proa_loop_now(loop) - before, PROA_SECONDS(3600));
    assert_int_equal(proa_loop_now_exact(loop), proa_loop_now(loop));
    assert_int_equal(proa_loop_wall(loop) - wall, PROA_SECONDS(3600));
    return 0;
}

static void test_an_hour_passes_at_once(void **state)
{
    begin(1);
    run(an_hour, NULL);
    assert_int_equal(proa_loop_fd(loop), -1);
    end();
}

static void test_wall_clock(void **state)
{
    const proa_time_ns start = (proa_time_ns)1893456000 * 1000000000; /* 2030 */
    struct proa_sim_options options = {.wall_start = start};
    proa_mono_ns now;

    begin(1);
    assert_int_equal(proa_loop_wall(loop), (proa_time_ns)1767225600 * 1000000000);
    end();
    assert_int_equal(proa_sim_new(&options, &sim), 0);
    loop = proa_sim_loop(sim);
    assert_int_equal(proa_loop_wall(loop), start);
    now = proa_loop_now(loop);
    proa_sim_step_wall(sim, -(int64_t)PROA_SECONDS(5));
    assert_int_equal(proa_loop_wall(loop), start - (int64_t)PROA_SECONDS(5));
    proa_sim_step_wall(sim, (int64_t)PROA_SECONDS(7));
    assert_int_equal(proa_loop_wall(loop), start + (int64_t)PROA_SECONDS(2));
    assert_int_equal(proa_loop_now(loop), now);
    end();
    assert_int_equal(proa_sim_new(NULL, &sim), 0);
    assert_int_equal(proa_sim_seed(sim), 0);
    end();
    proa_sim_free(NULL);
}

struct draws {
    unsigned char bytes[32];
    uint64_t number;
    uint64_t hash;
};

static int draw(void *arg)
{
    struct draws *draws = arg;

    proa_loop_random(loop, draws->bytes, sizeof draws->bytes);
    draws->number = proa_loop_random_u64(loop);
    return proa_sleep(loop, 1 + draws->number % PROA_SECONDS(1));
}

static struct draws drawn(uint64_t seed)
{
    struct draws draws = {.number = 0};

    begin(seed);
    assert_int_equal(proa_sim_seed(sim), seed);
    run(draw, &draws);
    draws.hash = proa_sim_trace_hash(sim);
    end();
    return draws;
}

static void test_chance_follows_from_the_seed(void **state)
{
    struct draws a = drawn(7), again = drawn(7), b = drawn(8);

    assert_memory_equal(&a, &again, sizeof a);
    assert_int_equal(a.hash, again.hash);
    assert_memory_not_equal(a.bytes, b.bytes, sizeof a.bytes);
    assert_int_not_equal(a.number, b.number);
    assert_int_not_equal(a.hash, b.hash);
}

/* Deadlocks. */
static int waits_for_ever(void *arg)
{
    struct proa_waiter waiter;

    proa_waiter_init(&waiter, loop);
    *(int *)arg = proa_park(&waiter);
    return 0;
}

static void test_a_deadlock_is_found(void **state)
{
    int rc = 0;

    begin(1);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, waits_for_ever, &rc), 0);
    assert_int_equal(proa_loop_run(loop), PROA_ECONFLICT);
    assert_int_equal(proa_loop_fibers(loop, NULL), 1);
    assert_int_equal(proa_loop_run(loop), PROA_ECONFLICT);
    proa_loop_cancel_fibers(loop, 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(rc, PROA_ECANCELED);
    end();
}

static void test_a_deadline_is_no_deadlock(void **state)
{
    struct proa_fiber_options options = {.name = "waits"};
    int rc = 0;

    begin(1);
    options.deadline = proa_loop_now(loop) + PROA_SECONDS(3600);
    assert_int_equal(proa_loop_start_fiber(loop, &options, waits_for_ever, &rc), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(rc, PROA_ETIMEDOUT);
    end();
}

/* Posts and stopping. */
struct posted {
    struct proa_task task;
    int runs;
};

static void count_run(struct proa_task *task)
{
    struct posted *posted = PROA_CONTAINER(task, struct posted, task);

    if (++posted->runs < 3)
        proa_loop_post(loop, task);
}

static void *post_it(void *arg)
{
    proa_loop_post(loop, arg);
    return NULL;
}

static void test_posts(void **state)
{
    struct posted posted = {.task.run = count_run};
    pthread_t thread;

    begin(1);
    assert_int_equal(pthread_create(&thread, NULL, post_it, &posted.task), 0);
    pthread_join(thread, NULL);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(posted.runs, 3);
    end();
}

static int stops(void *arg)
{
    proa_loop_stop(loop);
    return proa_sleep(loop, PROA_SECONDS(1));
}

static void test_stop(void **state)
{
    begin(1);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, stops, NULL), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(proa_loop_fibers(loop, NULL), 1);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(proa_loop_fibers(loop, NULL), 0);
    end();
}

/* Blocking work. */
struct jobs {
    char order[32];
    struct jobs *all;
    int rc;
    bool ran;
    char name;
};

static void work(void *arg)
{
    struct jobs *job = arg;
    char deep[256 * 1024]; /* more than a fiber's stack: work runs on the loop's */

    memset(deep, job->name, sizeof deep);
    assert_null(proa_fiber_current(loop));
    job->all->order[strlen(job->all->order)] = deep[sizeof deep - 1];
}

static int one_job(void *arg)
{
    struct jobs *job = arg;

    job->rc = proa_blocking(loop, work, job, NULL, &job->ran);
    return 0;
}

static struct jobs order_of(uint64_t seed)
{
    enum { JOBS = 6 };
    struct jobs jobs[JOBS] = {0};

    begin(seed);
    for (int i = 0; i < JOBS; i++) {
        jobs[i].name = (char)('a' + i);
        jobs[i].all = &jobs[0];
        assert_int_equal(proa_loop_start_fiber(loop, NULL, one_job, &jobs[i]), 0);
    }
    assert_int_equal(proa_loop_run(loop), 0);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i].rc, 0);
        assert_true(jobs[i].ran);
    }
    assert_int_equal(strlen(jobs[0].order), JOBS);
    end();
    return jobs[0];
}

static void test_blocking_work_in_an_order_of_chance(void **state)
{
    struct jobs first = order_of(1), again = order_of(1);
    bool differs = false;

    assert_string_equal(first.order, again.order);
    for (uint64_t seed = 2; seed < 8; seed++)
        differs = differs || strcmp(first.order, order_of(seed).order) != 0;
    assert_true(differs);
}

static int cancelled_job(void *arg)
{
    struct jobs *job = arg;
    struct proa_group group;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, one_job, job), 0);
    assert_int_equal(proa_yield(loop), 0); /* it waits for its thread now, or has run */
    proa_group_cancel(&group, PROA_EUNAVAILABLE);
    return proa_group_wait(&group);
}

static void test_blocking_work_that_is_cancelled(void **state)
{
    struct jobs job = {.name = 'a'};

    job.all = &job;
    begin(1);
    run(cancelled_job, &job);
    assert_int_equal(job.ran ? 1 : 0, strlen(job.order));
    end();
}

/* Bounded queues between fibers, as everything above uses them. */
static int producer(void *arg)
{
    static int item;
    struct proa_queue *queue = arg;

    for (int i = 0; i < 100; i++) {
        PROA_TRY(proa_queue_put(queue, &item));
        PROA_TRY(proa_sleep(loop, proa_loop_random_u64(loop) % PROA_MS(10)));
    }
    proa_queue_close(queue);
    return 0;
}

static int both(void *arg)
{
    struct proa_queue *queue = proa_queue_new(loop, 3);
    struct proa_group group;
    void *item;
    int count = 0;

    assert_non_null(queue);
    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, producer, queue), 0);
    while (proa_queue_take(queue, &item) == 0)
        count++;
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(count, 100);
    proa_queue_free(queue);
    return 0;
}

static void test_fibers_and_queues(void **state)
{
    uint64_t hash;

    begin(3);
    run(both, NULL);
    hash = proa_sim_trace_hash(sim);
    end();
    begin(3);
    run(both, NULL);
    assert_int_equal(proa_sim_trace_hash(sim), hash);
    end();
}

static int system_things(void *arg)
{
    struct proa_fd_watch *watch;
    struct proa_signal *signal;

    assert_int_equal(proa_fd_watch_new(loop, 0, NULL, NULL, &watch), PROA_EUNSUPPORTED);
    assert_int_equal(proa_wait_fd(loop, 0, PROA_READABLE, NULL), PROA_EUNSUPPORTED);
    assert_int_equal(proa_signal_start(loop, 10, NULL, NULL, &signal), PROA_EUNSUPPORTED);
    return 0;
}

static void test_the_system_is_not_there(void **state)
{
    begin(1);
    run(system_things, NULL);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_hour_passes_at_once),
        cmocka_unit_test(test_wall_clock),
        cmocka_unit_test(test_chance_follows_from_the_seed),
        cmocka_unit_test(test_a_deadlock_is_found),
        cmocka_unit_test(test_a_deadline_is_no_deadlock),
        cmocka_unit_test(test_posts),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_blocking_work_in_an_order_of_chance),
        cmocka_unit_test(test_blocking_work_that_is_cancelled),
        cmocka_unit_test(test_fibers_and_queues),
        cmocka_unit_test(test_the_system_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

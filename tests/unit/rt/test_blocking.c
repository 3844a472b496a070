/* Blocking work on a real loop's threads: dropped before it starts, interrupted while it runs, always
 * waited for. */
#include "unit.h"

#include <proa/fiber.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static struct proa_loop *loop;

static int setup(void **state)
{
    return proa_loop_new(NULL, &loop);
}

static int teardown(void **state)
{
    proa_loop_free(loop);
    return 0;
}

static void run(proa_fiber_fn *body, void *arg)
{
    assert_int_equal(proa_loop_start_fiber(loop, NULL, body, arg), 0);
    assert_int_equal(proa_loop_run(loop), 0);
}

struct job {
    _Atomic bool has_begun;
    _Atomic bool may_end;
    _Atomic bool has_ended;
    _Atomic unsigned interrupts;
    pthread_t thread;
    int rc;
    bool ran;
};

static void work(void *arg)
{
    struct job *job = arg;

    job->thread = pthread_self();
    job->has_begun = true;
    for (int i = 0; i < 5000 && !job->may_end; i++)
        usleep(1000);
    job->has_ended = true;
}

static void interrupt(void *arg)
{
    struct job *job = arg;

    job->interrupts++;
    job->may_end = true;
}

static int in_another_thread(void *arg)
{
    struct job job = {.may_end = true};
    bool ran;

    assert_int_equal(proa_blocking(loop, work, &job, interrupt, &ran), 0);
    assert_true(ran && job.has_ended);
    assert_false(pthread_equal(job.thread, pthread_self()));
    assert_int_equal(job.interrupts, 0);
    assert_int_equal(proa_blocking(loop, work, &job, NULL, NULL), 0);
    return 0;
}

static void test_runs_in_another_thread(void **state)
{
    run(in_another_thread, NULL);
}

static int timed_out(void *arg)
{
    struct job job = {0};
    bool ran;
    struct proa_deadline_scope scope = proa_deadline_enter(loop, proa_loop_now(loop) + PROA_MS(500));

    assert_int_equal(proa_blocking(loop, work, &job, interrupt, &ran), PROA_ETIMEDOUT);
    assert_true(ran && job.has_ended);
    assert_int_equal(job.interrupts, 1);
    job = (struct job){.may_end = true};
    assert_int_equal(proa_blocking(loop, work, &job, interrupt, &ran), PROA_ETIMEDOUT);
    assert_false(ran);
    assert_false(job.has_begun);
    proa_deadline_leave(&scope);
    return 0;
}

static void test_deadline_interrupts_and_waits(void **state)
{
    run(timed_out, NULL);
}

/* More jobs than threads: those in the queue are dropped by a cancellation, those that run are not. */
enum { JOBS = 40 };
static struct job jobs[JOBS];

static int run_job(void *arg)
{
    struct job *job = arg;

    job->rc = proa_blocking(loop, work, job, interrupt, &job->ran);
    return 0;
}

static int cancel_queued(void *arg)
{
    struct proa_group group;
    unsigned ran = 0, interrupted = 0;

    proa_group_init(&group, loop);
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = (struct job){0};
        assert_int_equal(proa_group_start(&group, NULL, run_job, &jobs[i]), 0);
    }
    while (!jobs[0].has_begun)
        assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    proa_group_cancel(&group, PROA_ECLOSED);
    assert_int_equal(proa_group_wait(&group), 0);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i].rc, PROA_ECLOSED);
        assert_int_equal(jobs[i].ran, jobs[i].has_begun);
        assert_int_equal(jobs[i].ran, jobs[i].has_ended);
        /* Either it ran and was interrupted once, or neither. */
        assert_int_equal(jobs[i].interrupts, jobs[i].ran ? 1 : 0);
        ran += jobs[i].ran;
        interrupted += jobs[i].interrupts;
    }
    assert_in_range(ran, 1, JOBS / 2);
    assert_int_equal(interrupted, ran);
    return 0;
}

static void test_cancel_drops_what_waits_and_interrupts_what_runs(void **state)
{
    run(cancel_queued, NULL);
}

/* The work's end and the cancellation meet, over and over. */
static int race(void *arg)
{
    for (int i = 0; i < 300; i++) {
        struct proa_group group;
        struct job job = {.may_end = true};

        proa_group_init(&group, loop);
        assert_int_equal(proa_group_start(&group, NULL, run_job, &job), 0);
        assert_int_equal(proa_yield(loop), 0);
        if (i % 2)
            usleep((useconds_t)(i % 40));
        proa_group_cancel(&group, 0);
        assert_int_equal(proa_group_wait(&group), 0);
        assert_true(job.rc == 0 || job.rc == PROA_ECANCELED);
        assert_true(job.rc < 0 || job.ran);
        assert_int_equal(job.ran, job.has_ended);
        assert_true(job.interrupts <= (job.ran ? 1 : 0));
    }
    return 0;
}

static void test_end_and_cancel_race(void **state)
{
    run(race, NULL);
}

static int is_counted(void *arg)
{
    struct job job = {0};
    struct proa_loop_stats stats = {0};
    struct proa_group group;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, run_job, &job), 0);
    /* Read by the loop's own fiber: as of the turn before. */
    for (int i = 0; i < 5000 && stats.blocking_in_flight == 0; i++) {
        assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
        proa_loop_read_stats(loop, &stats);
    }
    assert_int_equal(stats.blocking_in_flight, 1);
    assert_int_equal(stats.blocking, 1);
    job.may_end = true;
    return proa_group_wait(&group);
}

static void test_calls_are_counted(void **state)
{
    struct proa_loop_stats stats;

    run(is_counted, NULL);
    proa_loop_read_stats(loop, &stats);
    assert_int_equal(stats.blocking_in_flight, 0);
    assert_int_equal(stats.blocking, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_runs_in_another_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline_interrupts_and_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_drops_what_waits_and_interrupts_what_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_calls_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_and_cancel_race, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

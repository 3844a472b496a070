/* Fibers, groups, deadlines, cancellation, sync and blocking work, on a real loop. */
#include "unit.h"

#include <proa/fiber.h>
#include <proa/sync.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <proa/loops.h>

/* Runs a body in a fiber of a fresh loop until the loop has nothing left to do. */
static struct proa_loop *loop;
static int run(proa_fiber_fn *body, void *arg)
{
    int rc;

    assert_int_equal(proa_loop_new(NULL, &loop), 0);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, body, arg), 0);
    rc = proa_loop_run(loop);
    proa_loop_free(loop);
    return rc;
}

static int nap(void *arg)
{
    int *order = arg;
    PROA_TRY(proa_sleep(loop, PROA_MS(5)));
    *order = *order * 10 + 1;
    return 0;
}
static int quick(void *arg)
{
    int *order = arg;
    *order = *order * 10 + 2;
    return PROA_EINVAL;
}
static int group_body(void *arg)
{
    struct proa_group group;
    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, nap, arg), 0);
    assert_int_equal(proa_group_start(&group, NULL, quick, arg), 0);
    assert_int_equal(proa_group_wait(&group), PROA_EINVAL);
    return 0;
}
static void test_group_waits_for_all_and_gives_first_error(void **state)
{
    int order = 0;
    assert_int_equal(run(group_body, &order), 0);
    assert_int_equal(order, 21);
}

static int long_nap(void *arg)
{
    *(int *)arg = proa_sleep(loop, PROA_SECONDS(100));
    /* Cancellation stays: the next call that may suspend says it again. */
    assert_int_equal(proa_sleep(loop, 1), *(int *)arg);
    {
        struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_SECONDS(1));
        assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    }
    return *(int *)arg;
}
static int cancel_body(void *arg)
{
    struct proa_group group;
    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, long_nap, arg), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(2)), 0);
    proa_group_cancel(&group, PROA_ECLOSED);
    assert_int_equal(proa_group_wait(&group), PROA_ECLOSED);
    return 0;
}
static void test_cancel_strikes_once_and_stays(void **state)
{
    int result = 0;
    run(cancel_body, &result);
    assert_int_equal(result, PROA_ECLOSED);
}

static int deadline_body(void *arg)
{
    struct proa_group group;
    struct proa_deadline_scope scope = proa_deadline_enter(loop, proa_loop_now(loop) + PROA_MS(5));
    assert_int_equal(proa_sleep(loop, PROA_SECONDS(10)), PROA_ETIMEDOUT);
    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, long_nap, arg), 0);
    assert_int_equal(proa_group_wait(&group), PROA_ETIMEDOUT);
    proa_deadline_leave(&scope);
    assert_int_equal(proa_sleep(loop, 1), 0);
    return 0;
}
static void test_deadline_is_inherited_and_left(void **state)
{
    int result = 0;
    run(deadline_body, &result);
    assert_int_equal(result, PROA_ETIMEDOUT);
}

struct block {
    bool ran;
    volatile bool interrupted;
};
static void block_fn(void *arg)
{
    struct block *block = arg;
    block->ran = true;
    for (int i = 0; i < 2000 && !block->interrupted; i++)
        usleep(1000);
}
static void interrupt_fn(void *arg)
{
    ((struct block *)arg)->interrupted = true;
}
static int blocking_body(void *arg)
{
    struct block block = {0};
    bool ran;
    struct proa_deadline_scope scope = proa_deadline_enter(loop, proa_loop_now(loop) + PROA_MS(20));
    assert_int_equal(proa_blocking(loop, block_fn, &block, interrupt_fn, &ran), PROA_ETIMEDOUT);
    assert_true(ran && block.interrupted);
    assert_int_equal(proa_blocking(loop, block_fn, &block, interrupt_fn, &ran), PROA_ETIMEDOUT);
    assert_false(ran);
    proa_deadline_leave(&scope);
    assert_int_equal(proa_blocking(loop, block_fn, &block, NULL, &ran), 0);
    assert_true(ran);
    return 0;
}
static void test_blocking_is_interrupted_and_always_ended(void **state)
{
    run(blocking_body, NULL);
}

/* Semaphore: order of asking; a fiber that gives up holds nothing. */
struct sem_state {
    struct proa_sem *sem;
    char order[16];
};
static int sem_taker(void *arg)
{
    struct sem_state *s = arg;
    PROA_TRY(proa_sem_acquire(s->sem));
    strcat(s->order, "a");
    proa_sem_release(s->sem);
    return 0;
}
static int sem_late(void *arg)
{
    struct sem_state *s = arg;
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(loop, proa_loop_now(loop) + PROA_MS(3));
    assert_int_equal(proa_sem_acquire(s->sem), PROA_ETIMEDOUT);
    strcat(s->order, "t");
    return 0;
}
static int sem_body(void *arg)
{
    struct sem_state *s = arg;
    struct proa_group group;
    s->sem = proa_sem_new(loop, 1);
    assert_int_equal(proa_sem_acquire(s->sem), 0);
    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, sem_late, s), 0);
    assert_int_equal(proa_group_start(&group, NULL, sem_taker, s), 0);
    assert_int_equal(proa_group_start(&group, NULL, sem_taker, s), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(10)), 0);
    assert_int_equal(proa_sem_waiting(s->sem), 2);
    proa_sem_release(s->sem);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(proa_sem_free_permits(s->sem), 1);
    proa_sem_free(s->sem);
    return 0;
}
static void test_semaphore(void **state)
{
    struct sem_state s = {0};
    run(sem_body, &s);
    assert_string_equal(s.order, "taa");
}

struct producer {
    struct proa_queue *queue;
    uintptr_t sum;
};
static int produce(void *arg)
{
    struct producer *p = arg;
    for (uintptr_t i = 1; i <= 100; i++)
        PROA_TRY(proa_queue_put(p->queue, (void *)i));
    proa_queue_close(p->queue);
    return 0;
}
static int queue_body(void *arg)
{
    struct producer *p = arg;
    struct proa_group group;
    void *item;
    int rc;
    p->queue = proa_queue_new(loop, 3);
    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, produce, p), 0);
    while ((rc = proa_queue_take(p->queue, &item)) == 0)
        p->sum += (uintptr_t)item;
    assert_int_equal(rc, PROA_ECLOSED);
    assert_int_equal(proa_group_wait(&group), 0);
    proa_queue_free(p->queue);
    return 0;
}
static void test_queue_gives_all_and_then_closed(void **state)
{
    struct producer p = {0};
    run(queue_body, &p);
    assert_int_equal(p.sum, 5050);
}

/* Posting from other threads. */
struct poster {
    struct proa_task task;
    struct proa_loop *loop;
    int *count;
};
static void posted(struct proa_task *task)
{
    (*((struct poster *)task)->count)++;
}
static void *post_many(void *arg)
{
    struct poster *posters = arg;
    for (int i = 0; i < 1000; i++)
        proa_loop_post(posters[i].loop, &posters[i].task);
    return NULL;
}
static int count;
static struct poster posters[4][1000];
static int post_body(void *arg)
{
    pthread_t threads[4];
    for (int t = 0; t < 4; t++) {
        for (int i = 0; i < 1000; i++)
            posters[t][i] = (struct poster){{.run = posted}, loop, &count};
        pthread_create(&threads[t], NULL, post_many, posters[t]);
    }
    while (count < 4000)
        PROA_TRY(proa_sleep(loop, PROA_MS(1)));
    for (int t = 0; t < 4; t++)
        pthread_join(threads[t], NULL);
    return 0;
}
static void test_post_from_threads(void **state)
{
    count = 0;
    run(post_body, NULL);
    assert_int_equal(count, 4000);
}

static int fd_body(void *arg)
{
    int fds[2], events = 0;
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    assert_int_equal(proa_wait_fd(loop, fds[1], PROA_WRITABLE, &events), 0);
    assert_int_equal(events, PROA_WRITABLE);
    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
            proa_deadline_enter(loop, proa_loop_now(loop) + PROA_MS(3));
        assert_int_equal(proa_wait_fd(loop, fds[0], PROA_READABLE, &events), PROA_ETIMEDOUT);
    }
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(proa_wait_fd(loop, fds[0], PROA_READABLE, &events), 0);
    close(fds[0]);
    close(fds[1]);
    return 0;
}
static void test_wait_fd(void **state)
{
    run(fd_body, NULL);
}

static int overflow(void *arg)
{
    volatile char hole[8192];
    hole[0] = *(volatile char *)arg;
    return overflow((void *)(uintptr_t)hole) + hole[0];
}
static void test_stack_overflow_names_the_fiber(void **state)
{
    int fds[2], status;
    char text[512] = "";
    pid_t pid;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        char zero = 0;
        dup2(fds[1], 2);
        assert_int_equal(proa_loop_new(NULL, &loop), 0);
        if (proa_stack_guard_install() < 0)
            _exit(3);
        (void)!proa_loop_start_fiber(loop, &(struct proa_fiber_options){.name = "deep handler"}, overflow, &zero);
        proa_loop_run(loop);
        _exit(0);
    }
    close(fds[1]);
    for (size_t at = 0; at < sizeof text - 1;) {
        ssize_t got = read(fds[0], text + at, sizeof text - 1 - at);
        if (got <= 0)
            break;
        at += (size_t)got;
    }
    close(fds[0]);
    waitpid(pid, &status, 0);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_non_null(strstr(text, "deep handler"));
}

static int stack_body(void *arg)
{
    volatile char room[20000];
    for (size_t i = 0; i < sizeof room; i += 1000)
        room[i] = 1;
    assert_true(proa_fiber_stack_used(proa_fiber_current(loop)) >= sizeof room);
    assert_true(proa_fiber_stack_used(proa_fiber_current(loop)) <= 64 * 1024);
    return room[0] - 1;
}
static void test_stack_high_water(void **state)
{
    run(stack_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_waits_for_all_and_gives_first_error),
        cmocka_unit_test(test_cancel_strikes_once_and_stays),
        cmocka_unit_test(test_deadline_is_inherited_and_left),
        cmocka_unit_test(test_blocking_is_interrupted_and_always_ended),
        cmocka_unit_test(test_semaphore),
        cmocka_unit_test(test_queue_gives_all_and_then_closed),
        cmocka_unit_test(test_post_from_threads),
        cmocka_unit_test(test_wait_fd),
        cmocka_unit_test(test_stack_overflow_names_the_fiber),
        cmocka_unit_test(test_stack_high_water),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The real loop: posting, waiting, time in callbacks, signals, descriptors, and life inside another
 * loop. Real time, and therefore short; what depends on time alone is in test_fiber.c and test_timer.c. */
#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <poll.h>
#include <proa/fiber.h>
#include <pthread.h>
#include <signal.h>
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
    assert_int_equal(proa_loop_fibers(loop, NULL), 0);
}

static void test_empty_loop_ends_at_once(void **state)
{
    assert_int_equal(proa_loop_run(loop), 0);
    assert_false(proa_loop_run_once(loop, true));
}

/* Timers that are due now or within a millisecond must not make the poll wait without end. */
static int many_short_naps(void *arg)
{
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(proa_sleep(loop, i % 3 == 0 ? 0 : i * 3001), 0);
    return 0;
}

static void test_short_sleeps_never_hang(void **state)
{
    alarm(30);
    run(many_short_naps, NULL);
    alarm(0);
}

/* What a burst left is given back, and the loop works on. */
static int use_block(void *arg)
{
    struct proa_arena arena;

    (void)arg;
    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    for (int i = 0; i < 4; i++)
        assert_non_null(proa_arena_alloc(&arena, 4096));
    PROA_TRY(proa_sleep(loop, PROA_MS(1)));
    proa_arena_done(&arena);
    return 0;
}

static void burst(void)
{
    struct proa_group group;

    proa_group_init(&group, loop);
    for (int i = 0; i < 50; i++)
        assert_int_equal(proa_group_start(&group, NULL, use_block, NULL), 0);
    assert_int_equal(proa_group_wait(&group), 0);
}

static int trim_after_burst(void *arg)
{
    struct proa_loop_stats stats;

    (void)arg;
    burst();
    assert_true(proa_loop_blocks(loop)->free_count >= 50);
    proa_loop_trim(loop);
    assert_in_range(proa_loop_blocks(loop)->free_count, 1, 10);
    burst();
    proa_loop_trim(loop);
    assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
    proa_loop_read_stats(loop, &stats);
    assert_in_range(stats.stacks_kept, 1, 10);
    return 0;
}

static void test_trimming(void **state)
{
    run(trim_after_burst, NULL);
}

static unsigned rounds;
static void rearm_for_the_past(struct proa_timer *timer)
{
    if (++rounds < 50)
        assert_int_equal(proa_timer_start(timer, proa_loop_now(loop) - 1), 0);
}

static void test_timer_in_the_past(void **state)
{
    struct proa_timer timer;

    rounds = 0;
    proa_timer_init(&timer, loop, rearm_for_the_past);
    assert_int_equal(proa_timer_start(&timer, 1), 0);
    alarm(30);
    assert_int_equal(proa_loop_run(loop), 0);
    alarm(0);
    assert_int_equal(rounds, 50);
}

static int exact_sleep(void *arg)
{
    proa_mono_ns began = proa_loop_now_exact(loop);

    assert_int_equal(proa_sleep(loop, PROA_MS(20)), 0);
    assert_in_range(proa_loop_now_exact(loop) - began, PROA_MS(20), PROA_SECONDS(5));
    /* From this instant, not from the turn's beginning. */
    usleep(30000);
    began = proa_loop_now_exact(loop);
    assert_int_equal(proa_sleep(loop, PROA_MS(20)), 0);
    assert_in_range(proa_loop_now_exact(loop) - began, PROA_MS(20), PROA_SECONDS(5));
    return 0;
}

static void test_sleep_is_never_short(void **state)
{
    run(exact_sleep, NULL);
}

/* A callback after a long wait: the time it sees must be after the wait. */
static int pipe_fds[2];
static struct proa_fd_watch *watch;
static proa_mono_ns seen_at;
static struct proa_group group;
static int request_rc;

static int request(void *arg)
{
    request_rc = proa_sleep(loop, PROA_MS(10));
    return 0;
}

static void readable(void *arg, int events)
{
    struct proa_fiber_options options = {.deadline = proa_loop_now(loop) + PROA_MS(250)};

    seen_at = proa_loop_now(loop);
    proa_fd_watch_free(watch);
    assert_int_equal(proa_group_run_now(&group, &options, request, NULL), 0);
}

static void *write_later(void *arg)
{
    usleep(300000);
    assert_int_equal(write(pipe_fds[1], "x", 1), 1);
    return NULL;
}

static void test_time_in_a_callback_is_after_the_wait(void **state)
{
    proa_mono_ns began = proa_loop_now_exact(loop);
    pthread_t thread;

    assert_int_equal(pipe2(pipe_fds, O_NONBLOCK), 0);
    proa_group_init(&group, loop);
    assert_int_equal(proa_fd_watch_new(loop, pipe_fds[0], readable, NULL, &watch), 0);
    assert_int_equal(proa_fd_watch_set(watch, PROA_READABLE), 0);
    pthread_create(&thread, NULL, write_later, NULL);
    assert_int_equal(proa_loop_run(loop), 0);
    pthread_join(thread, NULL);
    assert_true(seen_at - began >= PROA_MS(290));
    assert_int_equal(request_rc, 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* Posting. */
enum { THREADS = 4, POSTS = 1000 };
struct poster {
    struct proa_task task;
    unsigned thread, number;
};
static struct poster posters[THREADS][POSTS];
static unsigned next_of[THREADS];
static unsigned posted_count;

static void posted(struct proa_task *task)
{
    struct poster *poster = PROA_CONTAINER(task, struct poster, task);

    assert_null(proa_fiber_current(loop));
    assert_int_equal(poster->number, next_of[poster->thread]++); /* in the order of posting */
    posted_count++;
}

static void *post_many(void *arg)
{
    struct poster *own = arg;

    for (int i = 0; i < POSTS; i++) {
        proa_loop_post(loop, &own[i].task);
        if (i % 97 == 0)
            usleep(100); /* so that the loop goes to sleep meanwhile */
    }
    return NULL;
}

static int wait_for_posts(void *arg)
{
    pthread_t threads[THREADS];

    posted_count = 0;
    for (unsigned t = 0; t < THREADS; t++) {
        next_of[t] = 0;
        for (unsigned i = 0; i < POSTS; i++)
            posters[t][i] = (struct poster){{.run = posted}, t, i};
        pthread_create(&threads[t], NULL, post_many, posters[t]);
    }
    while (posted_count < THREADS * POSTS)
        PROA_TRY(proa_sleep(loop, PROA_MS(1)));
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    return 0;
}

static void test_post_from_four_threads(void **state)
{
    run(wait_for_posts, NULL);
    assert_int_equal(posted_count, THREADS * POSTS);
}

/* Parking until another thread's callback posts: the way to use a library with threads of its own. */
struct answer {
    struct proa_task task;
    struct proa_waiter *waiter;
    int value;
};

static void answered(struct proa_task *task)
{
    proa_unpark(PROA_CONTAINER(task, struct answer, task)->waiter, 0);
}

static void *foreign_library(void *arg)
{
    struct answer *answer = arg;

    usleep(2000);
    answer->value = 42;
    proa_loop_post(loop, &answer->task);
    return NULL;
}

static int park_for_thread(void *arg)
{
    struct proa_waiter waiter;
    struct answer answer = {.task = {.run = answered}, .waiter = &waiter};
    pthread_t thread;

    proa_waiter_init(&waiter, loop);
    pthread_create(&thread, NULL, foreign_library, &answer);
    assert_int_equal(proa_park(&waiter), 0);
    assert_int_equal(answer.value, 42);
    pthread_join(thread, NULL);
    return 0;
}

static void test_park_until_a_thread_posts(void **state)
{
    run(park_for_thread, NULL);
}

/* Stop. */
static void stop_task(struct proa_task *task)
{
    proa_loop_stop(loop);
}

static int sleep_long(void *arg)
{
    *(int *)arg = proa_sleep(loop, PROA_SECONDS(1000));
    return 0;
}

static void test_stop_with_a_living_fiber_and_run_again(void **state)
{
    struct proa_task stop = {.run = stop_task};
    int result = 0;

    assert_int_equal(proa_loop_start_fiber(loop, NULL, sleep_long, &result), 0);
    proa_loop_post(loop, &stop);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(proa_loop_fibers(loop, NULL), 1);
    proa_loop_cancel_fibers(loop, PROA_ECLOSED);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(result, PROA_ECLOSED);
}

/* Signals. */
static unsigned caught_count;
static void caught(void *arg, int signum)
{
    assert_int_equal(signum, SIGUSR1);
    caught_count++;
    proa_loop_stop(loop);
}

static int raise_signal(void *arg)
{
    kill(getpid(), SIGUSR1);
    return proa_sleep(loop, PROA_SECONDS(10));
}

static void test_signal_is_caught_only_while_watched(void **state)
{
    struct proa_signal *watched;
    struct sigaction now;

    assert_int_equal(proa_signal_start(loop, SIGUSR1, caught, NULL, &watched), 0);
    assert_int_equal(proa_loop_run(loop), 0); /* a watched signal keeps no loop running */
    caught_count = 0;
    assert_int_equal(proa_loop_start_fiber(loop, NULL, raise_signal, NULL), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(caught_count, 1);
    proa_signal_stop(watched);
    proa_loop_cancel_fibers(loop, 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(sigaction(SIGUSR1, NULL, &now), 0);
    assert_true(now.sa_handler == SIG_DFL);
}

/* Descriptors. */
static int wait_fd_body(void *arg)
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
    assert_int_equal(events, PROA_READABLE);
    close(fds[1]);
    assert_int_equal(read(fds[0], &events, 1), 1);
    assert_int_equal(proa_wait_fd(loop, fds[0], PROA_READABLE, &events), 0); /* the end is readable */
    close(fds[0]);
    assert_true(proa_wait_fd(loop, fds[0], PROA_READABLE, &events) < 0); /* no such descriptor */
    return 0;
}

static void test_wait_fd(void **state)
{
    run(wait_fd_body, NULL);
}

/* Inside somebody else's loop: a foreign poll() drives everything. */
static unsigned embedded_steps;
static int embedded_fiber(void *arg)
{
    int fds[2];

    assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
    embedded_steps++;
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    /* The watch is new when the outer loop goes to wait: it must be seen all the same. */
    for (int i = 0; i < 5; i++) {
        char byte;

        pipe_fds[1] = fds[1];
        assert_int_equal(proa_wait_fd(loop, fds[0], PROA_READABLE, NULL), 0);
        assert_int_equal(read(fds[0], &byte, 1), 1);
        embedded_steps++;
    }
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(proa_yield(loop), 0);
    embedded_steps++;
    return 0;
}

static void test_embedded_in_a_foreign_poll_loop(void **state)
{
    struct pollfd pollfd = {.fd = proa_loop_fd(loop), .events = POLLIN};
    unsigned polls = 0, written = 0;

    embedded_steps = 0;
    pipe_fds[1] = -1;
    assert_false(proa_loop_run_once(loop, false));
    proa_loop_run_once(loop, false);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, embedded_fiber, NULL), 0);
    assert_int_equal(proa_loop_timeout_ms(loop), 0);
    alarm(30);
    while (proa_loop_run_once(loop, false)) {
        int timeout_ms = proa_loop_timeout_ms(loop);

        assert_true(++polls < 1000);
        if (timeout_ms != 0 && pipe_fds[1] >= 0 && written < embedded_steps) {
            /* The fiber waits for its descriptor: the outer loop's own event makes it readable. */
            assert_int_equal(write(pipe_fds[1], "x", 1), 1);
            written++;
        }
        assert_true(poll(&pollfd, 1, timeout_ms < 0 ? 10000 : timeout_ms) > 0 || timeout_ms >= 0);
    }
    alarm(0);
    assert_int_equal(embedded_steps, 7);
}

/* A descriptor that libuv has not yet given to the kernel cannot wake the outer loop. */
static void never_ready(void *arg, int events)
{
}

static void test_new_watch_is_run_before_an_outer_wait(void **state)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    assert_int_equal(proa_fd_watch_new(loop, fds[0], never_ready, NULL, &watch), 0);
    proa_loop_run_once(loop, false);
    assert_int_equal(proa_loop_timeout_ms(loop), -1);
    assert_int_equal(proa_fd_watch_set(watch, PROA_READABLE), 0);
    assert_int_equal(proa_loop_timeout_ms(loop), 0);
    assert_true(proa_loop_run_once(loop, false));
    assert_int_equal(proa_loop_timeout_ms(loop), -1);
    proa_fd_watch_free(watch);
    assert_int_equal(proa_loop_timeout_ms(loop), 0); /* it is still to be closed */
    assert_false(proa_loop_run_once(loop, false));
    close(fds[0]);
    close(fds[1]);
}

/* A connection that was reset after its last words: they come byte by byte, then the end, all by one watch. */
struct last_words {
    int fd;
    unsigned heard;
    bool ended;
};

static void hear(void *arg, int events)
{
    struct last_words *words = arg;
    char c;

    if (recv(words->fd, &c, 1, 0) == 1) {
        words->heard++;
        return;
    }
    words->ended = true;
    proa_fd_watch_free(watch);
    proa_loop_stop(loop);
}

static void test_watch_goes_on_after_an_error(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), server;
    struct last_words words = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(connect(words.fd, (struct sockaddr *)&address, sizeof address), 0);
    server = accept(listener, NULL, NULL);
    assert_true(server >= 0);
    assert_int_equal(send(words.fd, "?", 1, 0), 1);
    usleep(10000);
    assert_int_equal(send(server, "bye", 3, 0), 3);
    assert_int_equal(close(server), 0); /* with a byte unread: a reset */
    usleep(10000);
    assert_int_equal(fcntl(words.fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(proa_fd_watch_new(loop, words.fd, hear, &words, &watch), 0);
    assert_int_equal(proa_fd_watch_set(watch, PROA_READABLE), 0);
    alarm(10);
    assert_int_equal(proa_loop_run(loop), 0);
    alarm(0);
    assert_true(words.ended);
    (void)close(words.fd);
    (void)close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty_loop_ends_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_short_sleeps_never_hang, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trimming, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_in_the_past, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sleep_is_never_short, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_in_a_callback_is_after_the_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_post_from_four_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_park_until_a_thread_posts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_with_a_living_fiber_and_run_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal_is_caught_only_while_watched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_fd, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch_goes_on_after_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_embedded_in_a_foreign_poll_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_watch_is_run_before_an_outer_wait, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Processes of the agent: what they say, how they end, what they inherit, and whom else it buries. */
#include "unit.h"

#include "agent/child.h"

#include <errno.h>
#include <fcntl.h>
#include <proa/fiber.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct proa_loop *loop;
static struct children *children;
static struct proa_arena arena;
static struct proa_error err;

static char *const environment[] = {"PATH=/usr/bin:/bin", "KEPT=yes", "PGPASSWORD=x", "POD_NAME=x", "LANG=de_DE",
                                    "KUBERNETES_PORT=1",  NULL};

static int in_fiber(void *arg)
{
    void (*test)(void) = *(void (**)(void))arg;

    assert_int_equal(children_new(loop, NULL, environment, &children, &err), 0);
    test();
    children_free(children);
    return 0;
}

static void run(void (*test)(void))
{
    struct proa_group group;

    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(proa_loop_new(NULL, &loop), 0);
    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, in_fiber, &test), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    proa_loop_free(loop);
    proa_arena_done(&arena);
}

static struct child_result shell(const char *script, proa_str input)
{
    const char *const arguments[] = {"sh", "-c", script, NULL};
    struct child_result result;

    proa_error_clear(&err);
    if (child_run(children, &arena, &(struct child_options){.arguments = arguments, .input = input}, &result, &err) < 0)
        fail_msg("%s", err.message);
    return result;
}

static void say_and_end(void)
{
    struct child_result result = shell("cat; echo no >&2; exit 7", PROA_STR("a\nb"));
    char *large = malloc(65000);

    assert_int_equal(result.exit_code, 7);
    assert_string_equal(result.output.ptr, "a\nb");
    assert_string_equal(result.errors.ptr, "no");
    assert_int_equal(shell("kill -9 $$", (proa_str){0}).exit_code, 128 + SIGKILL);
    assert_string_equal(shell("cat", (proa_str){0}).output.ptr, ""); /* no input is an empty one */
    /* More than a pipe holds. */
    memset(large, 'x', 65000);
    assert_int_equal(shell("cat", proa_str_n(large, 65000)).output.len, 65000);
    free(large);
    /* Of what goes wrong the end counts. */
    result = shell("i=0; while [ $i -lt 1000 ]; do echo line $i >&2; i=$((i+1)); done", (proa_str){0});
    assert_true(proa_str_ends_with(result.errors, PROA_STR("line 999")) && result.errors.len <= 2048);
}

static void test_say_and_end(void **state)
{
    run(say_and_end);
}

/* A set of signals in /proc/PID/status, without 32 and 33: they are the C library's, which lets nobody change them, and some starters
 * of programs ignore them. */
static uint64_t signals(proa_str status, proa_str label)
{
    ptrdiff_t at = proa_str_find(status, label);

    assert_true(at >= 0);
    return strtoull(status.ptr + at + label.len, NULL, 16) & ~(UINT64_C(3) << 31);
}

static void inherit(void)
{
    proa_str text = shell("env; pwd; cat /proc/self/status", (proa_str){0}).output;

    assert_true(proa_str_find(text, PROA_STR("KEPT=yes\n")) >= 0);
    assert_true(proa_str_find(text, PROA_STR("LC_ALL=C\n")) >= 0);
    assert_true(proa_str_find(text, PROA_STR("\n/\n")) >= 0);
    assert_int_equal(proa_str_find(text, PROA_STR("PGPASSWORD")), -1);
    assert_int_equal(proa_str_find(text, PROA_STR("POD_NAME")), -1);
    assert_int_equal(proa_str_find(text, PROA_STR("KUBERNETES")), -1);
    assert_int_equal(proa_str_find(text, PROA_STR("de_DE")), -1);
    /* No signal is ignored or blocked, though SIGPIPE is here. */
    assert_int_equal(signals(text, PROA_STR("SigIgn:\t")), 0);
    assert_int_equal(signals(text, PROA_STR("SigBlk:\t")), 0);
    /* And no descriptor but the three, and the one that is just read. */
    assert_string_equal(shell("ls /proc/self/fd | wc -l", (proa_str){0}).output.ptr, "4\n");
}

static void test_inherit(void **state)
{
    int leak = open("/dev/null", O_RDONLY);

    signal(SIGPIPE, SIG_IGN);
    run(inherit);
    signal(SIGPIPE, SIG_DFL);
    close(leak);
}

static void fail_to_run(void)
{
    static const char *const nowhere[] = {"no-such-program", NULL}, *const no_file[] = {"/no/such/program", NULL},
                             *const no_folder[] = {"true", NULL}, *const talker[] = {"seq", "100000", NULL},
                             *const wrong[] = {"sh", "-c", "echo broken >&2; exit 3", NULL};
    struct child_result result;
    struct child *child;

    assert_int_equal(child_run(children, &arena, &(struct child_options){.arguments = nowhere}, &result, &err),
                     PROA_ENOTFOUND);
    assert_int_equal(child_run(children, &arena, &(struct child_options){.arguments = no_file}, &result, &err),
                     PROA_ENOTFOUND);
    assert_int_equal(child_run(children, &arena, &(struct child_options){.arguments = no_folder, .folder = "/no/such"},
                               &result, &err),
                     PROA_ENOTFOUND);
    assert_int_equal(child_start(children, &(struct child_options){.arguments = nowhere}, &child, &err),
                     PROA_ENOTFOUND);
    assert_int_equal(
        child_run(children, &arena, &(struct child_options){.arguments = talker, .output_max = 1000}, &result, &err),
        PROA_ETOOLARGE);
    assert_int_equal(child_run_ok(children, &arena, &(struct child_options){.arguments = wrong}, &result, &err),
                     PROA_EIO);
    assert_string_equal(err.message, "sh ended with 3: broken");
}

static void test_fail_to_run(void **state)
{
    run(fail_to_run);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The process and what it has started are killed at the deadline; an answer does not wait for grandchildren. */
static void end_in_time(void)
{
    static const char *const slow[] = {"sh", "-c", "sleep 1000 & sleep 1000", NULL};
    struct child_result result;
    int64_t begin = now_ms();

    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
            proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(100));

        assert_int_equal(child_run(children, &arena, &(struct child_options){.arguments = slow}, &result, &err),
                         PROA_ETIMEDOUT);
    }
    assert_true(now_ms() - begin < 5000);
    result = shell("(sleep 3; echo late) & echo first", (proa_str){0});
    assert_string_equal(result.output.ptr, "first\n");
    assert_true(now_ms() - begin < 8000);
}

static void test_end_in_time(void **state)
{
    run(end_in_time);
}

static void live_on(void)
{
    static const char *const sleeper[] = {"sleep", "1000", NULL};
    struct proa_event wake;
    struct child *child;
    int exit_code = -1;

    proa_event_init(&wake, loop);
    assert_int_equal(child_start(children, &(struct child_options){.arguments = sleeper, .wake = &wake}, &child, &err),
                     0);
    assert_false(child_has_ended(child, &exit_code));
    assert_int_equal(kill(child_pid(child), 0), 0);
    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
            proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(50));

        assert_int_equal(child_wait(child), PROA_ETIMEDOUT);
    }
    child_signal(child, SIGTERM);
    assert_int_equal(proa_event_wait(&wake), 0);
    assert_int_equal(child_wait(child), 0);
    assert_true(child_has_ended(child, &exit_code));
    assert_int_equal(exit_code, 128 + SIGTERM);
    child_signal(child, SIGTERM);
    child_free(child);
    child_free(NULL);
}

static void test_live_on(void **state)
{
    run(live_on);
}

/* Orphans come to this process, and are not left as zombies; own children's results are not mixed up with theirs. */
static void bury(void)
{
    for (int i = 0; i < 20; i++)
        assert_int_equal(shell("(sleep 0.02; exit 9) >/dev/null 2>&1 & exit 4", (proa_str){0}).exit_code, 4);
    for (int i = 0; i < 500 && children_orphans(children) < 20; i++)
        assert_int_equal(proa_sleep(loop, PROA_MS(10)), 0);
    assert_true(children_orphans(children) >= 20); /* one of another test may live longer */
    assert_true(waitpid(-1, NULL, WNOHANG) <= 0);
}

static void test_bury(void **state)
{
    run(bury);
}

static void join_by_pipe(void)
{
    static const char *const writer[] = {"sh", "-c", "echo through; echo pipe", NULL}, *const reader[] = {"cat", NULL};
    struct child_result result;
    struct child *child;
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(
        child_start(children, &(struct child_options){.arguments = writer, .output_fd = fds[1]}, &child, &err), 0);
    close(fds[1]);
    assert_int_equal(
        child_run_ok(children, &arena, &(struct child_options){.arguments = reader, .input_fd = fds[0]}, &result, &err),
        0);
    close(fds[0]);
    assert_string_equal(result.output.ptr, "through\npipe\n");
    assert_int_equal(child_wait(child), 0);
    child_free(child);
    assert_true(*child_find_program(children, &arena, "sh") == '/');
    assert_string_equal(child_find_program(children, &arena, "no-such-program"), "");
    assert_string_equal(child_find_program(children, &arena, "/no/such/program"), "");
}

static void test_join_by_pipe(void **state)
{
    run(join_by_pipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_say_and_end),  cmocka_unit_test(test_inherit), cmocka_unit_test(test_fail_to_run),
        cmocka_unit_test(test_end_in_time),  cmocka_unit_test(test_live_on), cmocka_unit_test(test_bury),
        cmocka_unit_test(test_join_by_pipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

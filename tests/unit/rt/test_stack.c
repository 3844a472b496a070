/* A fiber's stack: how deep it was used, and what happens below it. */
#include "unit.h"

#include <proa/fiber.h>
#include <proa/loops.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct proa_loop *loop;

static int use_stack(void *arg)
{
    const struct proa_fiber *self = proa_fiber_current(loop);
    size_t before = proa_fiber_stack_used(self);
    volatile char room[30000];

    for (size_t i = 0; i < sizeof room; i += 1000)
        room[i] = 1;
    assert_true(proa_fiber_stack_used(self) >= sizeof room);
    assert_true(proa_fiber_stack_used(self) >= before);
    assert_true(proa_fiber_stack_used(self) <= proa_fiber_stack_size(self));
    return room[0] - 1;
}

static void test_high_water_mark(void **state)
{
    struct proa_loop_options options = {.fiber_stack_bytes = 256 * 1024};

    assert_int_equal(proa_loop_new(&options, &loop), 0);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, use_stack, NULL), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    proa_loop_free(loop);
}

/* Runs `body` in a child process. @returns how it ended, and what it said on stderr. */
static int in_child(void (*body)(void), char *text, size_t text_bytes)
{
    struct rlimit no_core = {0};
    int fds[2], status;
    size_t len = 0;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[1]);
        close(fds[0]);
        setrlimit(RLIMIT_CORE, &no_core);
        /* As in a program: no sanitizer's own handler before ours. */
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        body();
        _exit(0);
    }
    close(fds[1]);
    while (len < text_bytes - 1) {
        ssize_t got = read(fds[0], text + len, text_bytes - 1 - len);

        if (got <= 0)
            break;
        len += (size_t)got;
    }
    text[len] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool has_died(int status)
{
    return WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS);
}

static int (*volatile recurse)(void *arg);
static int overflow(void *arg)
{
    volatile char hole[3000];

    hole[0] = *(volatile char *)arg;
    return recurse((void *)(uintptr_t)hole) + hole[0];
}

static void overflow_body(void)
{
    struct proa_fiber_options options = {.name = "deep handler"};
    char zero = 0;

    recurse = overflow;
    if (proa_loop_new(NULL, &loop) < 0 || proa_stack_guard_install() < 0 || proa_stack_guard_install() < 0 ||
        proa_loop_start_fiber(loop, &options, overflow, &zero) < 0)
        _exit(3);
    proa_loop_run(loop);
}

static void test_overflow_names_the_fiber(void **state)
{
    char text[1024];

    assert_true(has_died(in_child(overflow_body, text, sizeof text)));
    assert_non_null(strstr(text, "stack overflow in fiber \"deep handler\""));
}

static void overflow_in_thread_body(void)
{
    struct proa_fiber_options options = {.name = "deep worker"};
    struct proa_loops *loops;
    char zero = 0;

    recurse = overflow;
    if (proa_stack_guard_install() < 0 || proa_loops_new(2, NULL, &loops, NULL) < 0 ||
        proa_loop_start_fiber(proa_loops_at(loops, 1), &options, overflow, &zero) < 0)
        _exit(3);
    _exit(proa_loops_run(loops, NULL) < 0);
}

static void test_overflow_in_a_loops_thread(void **state)
{
    char text[1024];

    assert_true(has_died(in_child(overflow_in_thread_body, text, sizeof text)));
    assert_non_null(strstr(text, "stack overflow in fiber \"deep worker\""));
}

/* Any other fault is no overflow, and goes to the handler that was there. */
static void earlier_handler(int signum, siginfo_t *info, void *context)
{
    static const char text[] = "the earlier handler\n";

    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(7);
}

static int writes_to_nowhere(void *arg)
{
    volatile char *volatile nowhere = (char *)16;

    *nowhere = 1;
    return 0;
}

static void other_fault_body(void)
{
    struct sigaction action = {.sa_sigaction = earlier_handler, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &action, NULL);
    if (proa_loop_new(NULL, &loop) < 0 || proa_stack_guard_install() < 0 ||
        proa_loop_start_fiber(loop, NULL, writes_to_nowhere, NULL) < 0)
        _exit(3);
    proa_loop_run(loop);
}

static void test_other_faults_go_to_the_earlier_handler(void **state)
{
    char text[1024];
    int status = in_child(other_fault_body, text, sizeof text);

    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    assert_string_equal(text, "the earlier handler\n");
}

static void fault_without_handler_body(void)
{
    if (proa_loop_new(NULL, &loop) < 0 || proa_stack_guard_install() < 0 ||
        proa_loop_start_fiber(loop, NULL, writes_to_nowhere, NULL) < 0)
        _exit(3);
    proa_loop_run(loop);
}

static void test_other_faults_kill_when_nobody_handled_them(void **state)
{
    char text[1024];

    assert_true(has_died(in_child(fault_without_handler_body, text, sizeof text)));
    assert_null(strstr(text, "stack overflow"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_high_water_mark),
        cmocka_unit_test(test_overflow_names_the_fiber),
        cmocka_unit_test(test_overflow_in_a_loops_thread),
        cmocka_unit_test(test_other_faults_go_to_the_earlier_handler),
        cmocka_unit_test(test_other_faults_kill_when_nobody_handled_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

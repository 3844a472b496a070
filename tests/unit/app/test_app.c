/* The frame: programs run in this process, with real signals, asked over a Unix socket by a thread of the test. */
#include "unit.h"

#include <proa/app.h>
#include <proa/client.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_MAX = 64 * 1024, PATIENCE_MS = 20000 };

static char folder[] = "/tmp/proa-app-XXXXXX";
static char socket_path[sizeof folder + 8];
static char address_flag[sizeof socket_path + 32];

static void nap_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

static int connect_to_program(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

/* One request on a connection of its own. @returns the status, 0 when there was no answer; the answer is in `out`. */
static int ask(const char *path, char *out)
{
    char request[256];
    int fd = connect_to_program(), status = 0;
    size_t len = 0;
    ssize_t got;

    out[0] = '\0';
    if (fd < 0)
        return 0;
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path);
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request))
        while (len < ANSWER_MAX - 1 && (got = recv(fd, out + len, ANSWER_MAX - 1 - len, 0)) > 0)
            len += (size_t)got;
    out[len] = '\0';
    close(fd);
    if (len > 12)
        status = (int)strtol(out + 9, NULL, 10);
    return status;
}

static int ask_status(const char *path)
{
    char *answer = malloc(ANSWER_MAX);
    int status = ask(path, answer);

    free(answer);
    return status;
}

static bool answer_has(const char *path, const char *text)
{
    char *answer = malloc(ANSWER_MAX);
    bool found = ask(path, answer) != 0 && strstr(answer, text) != NULL;

    free(answer);
    return found;
}

static bool wait_status(const char *path, int status)
{
    for (int i = 0; i < PATIENCE_MS / 5; i++) {
        if (ask_status(path) == status)
            return true;
        nap_ms(5);
    }
    return false;
}

/* What a program under test does and saw. */
struct program {
    unsigned propagators;
    struct proa_app *app;
    int (*when_started)(struct program *program, struct proa_error *err);
    void *(*client)(void *program); /* the test's thread */
    bool client_is_happy;
    int starts, stops;
    int start_saw; /* what a suspended call in `start` returned */
    int task_saw;
    bool task_ended_before_stop;
    bool signals_have_stack;
    _Atomic bool dependency_is_there;
    _Atomic bool is_in_start;
    _Atomic bool stop_is_wanted;
    int late_check, late_task; /* what adding returned outside `start` */
    struct proa_loop *loop;
};

static int start(struct proa_app *app, void *state, struct proa_error *err)
{
    struct program *program = state;

    program->app = app;
    program->starts++;
    program->loop = proa_loops_at(proa_app_loops(app), 0);
    program->is_in_start = true;
    return program->when_started ? program->when_started(program, err) : 0;
}

static int never_check(void *arg, struct proa_loop *loop, struct proa_error *err)
{
    return 0;
}

static int never_task(void *arg)
{
    return 0;
}

static void stop(struct proa_app *app, void *state)
{
    struct program *program = state;

    program->stops++;
    program->task_ended_before_stop = program->task_saw != 0;
    program->late_check = proa_app_add_check(app, &(struct proa_check){.name = "late", .check = never_check});
    program->late_task = proa_app_start_task(app, "late", never_task, NULL);
}

static int get_hello(struct proa_req *req)
{
    return proa_reply_text(req, 200, PROA_STR("hello"));
}

static int get_block(struct proa_req *req)
{
    nap_ms(300); /* as no handler must */
    return proa_reply_text(req, 200, PROA_STR("blocked"));
}

static int get_stuck(struct proa_req *req)
{
    int rc = proa_sleep(proa_req_loop(req), PROA_SECONDS(1000));

    return rc < 0 ? rc : proa_reply_text(req, 200, PROA_STR("never"));
}

/* Holds up the loop that accepts no connections, until told otherwise. */
static struct proa_loop *accepting_loop;
static _Atomic bool hangs;

static int get_hang(struct proa_req *req)
{
    while (hangs && proa_req_loop(req) != accepting_loop)
        nap_ms(5);
    return proa_reply_text(req, 200, PROA_STR("back"));
}

static const struct proa_route routes[] = {
    {PROA_GET, "/hello", get_hello},
    {PROA_GET, "/hang", get_hang},
    {PROA_GET, "/block", get_block},
    {PROA_GET, "/stuck", get_stuck},
};

static const struct proa_app_options base_options = {
    .name = "test", .routes = routes, .routes_count = PROA_COUNT(routes), .start = start, .stop = stop};

static int run_with(const struct proa_app_options *base, struct program *program, ...)
{
    struct proa_app_options options = *base;
    char *argv[16] = {"test", address_flag, "--log.level=off", "--threads=2"};
    int argc = 4, exit_code;
    pthread_t client;
    va_list more;

    options.state = program;
    va_start(more, program);
    while ((argv[argc] = va_arg(more, char *)))
        argc++;
    va_end(more);
    if (program->client)
        assert_int_equal(pthread_create(&client, NULL, program->client, program), 0);
    exit_code = proa_app_run(&options, argc, argv);
    if (program->client)
        pthread_join(client, NULL);
    return exit_code;
}
#define RUN(program, ...) run_with(&base_options, program, ##__VA_ARGS__, (char *)NULL)

static void *ask_and_interrupt(void *arg)
{
    struct program *program = arg;

    program->client_is_happy = wait_status("/readyz", 200) && answer_has("/hello", "\r\n\r\nhello") &&
                               answer_has("/health", "\r\n\r\nhealthy") && ask_status("/startupz") == 200 &&
                               ask_status("/livez") == 200 && ask_status("/metrics") == 200 &&
                               ask_status("/nothing") == 404;
    kill(getpid(), SIGINT);
    return NULL;
}

struct settings {
    uint32_t answer;
    proa_str text;
};
PROA_DESCRIBE(settings, (answer, u32, .default_json = "42"), (text, str, .default_json = "\"\""));
static struct settings settings;

static int look_at_app(struct program *program, struct proa_error *err)
{
    struct proa_app *app = program->app;

    if (settings.answer != 7 || strcmp(settings.text.ptr, "here") != 0)
        return proa_fail(err, PROA_EINTERNAL, "the configuration is not filled");

    if (!proa_app_loops(app) || !proa_app_metrics(app) || !proa_app_logger(app) || !proa_app_router(app) ||
        !proa_app_arena(app))
        return proa_fail(err, PROA_EINTERNAL, "something is missing");
    return proa_fiber_current(program->loop) ? 0 : proa_fail(err, PROA_EINTERNAL, "not in a fiber");
}

static void test_life(void **state)
{
    struct program program = {.client = ask_and_interrupt, .when_started = look_at_app};
    struct proa_app_options options = base_options;

    options.config_type = &settings_type.type;
    options.config = &settings;
    assert_int_equal(run_with(&options, &program, "--answer=7", "--text", "here", (char *)NULL), 0);
    assert_true(program.client_is_happy);
    assert_int_equal(program.starts, 1);
    assert_int_equal(program.stops, 1);
    assert_int_equal(program.late_check, PROA_EINVAL);
    assert_int_equal(program.late_task, PROA_EINVAL);
    assert_int_equal(access(socket_path, F_OK), -1);
}

/* What the clients of a program are to send. */
static int look_at_propagators(struct program *program, struct proa_error *err)
{
    unsigned is = proa_app_propagate(program->app);

    if (is != program->propagators)
        return proa_fail(err, PROA_EINTERNAL, "propagators are %x", is);
    proa_app_stop(program->app, 0);
    return 0;
}

static void test_propagators(void **state)
{
    static const struct {
        const char *value;
        unsigned propagators;
    } cases[] = {
        {NULL, PROA_PROPAGATE_TRACECONTEXT | PROA_PROPAGATE_BAGGAGE},
        {"b3", PROA_PROPAGATE_B3},
        {"b3multi, tracecontext", PROA_PROPAGATE_B3MULTI | PROA_PROPAGATE_TRACECONTEXT},
        {"none", PROA_PROPAGATE_NONE},
    };

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        struct program program = {.when_started = look_at_propagators, .propagators = cases[i].propagators};

        if (cases[i].value)
            setenv("OTEL_PROPAGATORS", cases[i].value, 1);
        assert_int_equal(RUN(&program), 0);
        assert_int_equal(program.starts, 1);
    }
    unsetenv("OTEL_PROPAGATORS");
}

static void test_without_start_and_stop(void **state)
{
    struct program program = {.client = ask_and_interrupt};
    struct proa_app_options options = base_options;

    options.start = NULL;
    options.stop = NULL;
    assert_int_equal(run_with(&options, &program, (char *)NULL), 0);
    assert_true(program.client_is_happy);
}

/* What was there before is there again. */
static void test_signals_are_given_back(void **state)
{
    struct program program = {.client = ask_and_interrupt};
    struct sigaction before = {.sa_handler = SIG_IGN}, after;
    sigset_t mask_before, mask_after;

    sigaction(SIGTERM, &before, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
    assert_int_equal(RUN(&program), 0);
    sigaction(SIGTERM, NULL, &after);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    assert_ptr_equal(after.sa_handler, SIG_IGN);
    assert_int_equal(sigismember(&mask_before, SIGTERM), sigismember(&mask_after, SIGTERM));
    assert_int_equal(sigismember(&mask_before, SIGINT), sigismember(&mask_after, SIGINT));
    signal(SIGTERM, SIG_DFL);
}

/* A fiber's stack may be too small for a signal's frame, which is 11 KiB on some processors. */
static int look_at_signal_stacks(struct program *program, struct proa_error *err)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGALRM};
    struct sigaction action;
    stack_t stack;

    program->signals_have_stack = sigaltstack(NULL, &stack) == 0 && !(stack.ss_flags & SS_DISABLE);
    for (size_t i = 0; i < PROA_COUNT(signals); i++)
        if (sigaction(signals[i], NULL, &action) < 0 || !(action.sa_flags & SA_ONSTACK))
            program->signals_have_stack = false;
    return 0;
}

static void test_signals_have_a_stack(void **state)
{
    struct program program = {.client = ask_and_interrupt, .when_started = look_at_signal_stacks};

    assert_int_equal(RUN(&program), 0);
    assert_true(program.client_is_happy);
    assert_true(program.signals_have_stack);
}

static int refuse(struct program *program, struct proa_error *err)
{
    return proa_fail(err, PROA_EUNAVAILABLE, "the cellar is flooded");
}

static int refuse_silently(struct program *program, struct proa_error *err)
{
    return PROA_EIO;
}

static void test_start_fails(void **state)
{
    struct program program = {.when_started = refuse};

    assert_int_equal(RUN(&program), 1);
    assert_int_equal(program.stops, 1); /* what was opened before is closed */
    program = (struct program){.when_started = refuse_silently};
    assert_int_equal(RUN(&program), 1);
}

/* `start` takes its time: the probes tell, everything else is refused, and a signal cancels it. */
static int wait_for_ever(struct program *program, struct proa_error *err)
{
    program->start_saw = proa_sleep(program->loop, PROA_SECONDS(1000));
    return program->start_saw;
}

static void *look_and_terminate(void *arg)
{
    struct program *program = arg;

    program->client_is_happy = wait_status("/livez", 200) && answer_has("/health", "\"detail\":\"starting\"") &&
                               ask_status("/health") == 503 && ask_status("/startupz") == 503 &&
                               ask_status("/readyz") == 503 && answer_has("/readyz?verbose", "[-]serving starting") &&
                               ask_status("/hello") == 503 && answer_has("/hello", "Retry-After: 1") &&
                               ask_status("/nothing") == 503;
    kill(getpid(), SIGTERM);
    return NULL;
}

static void test_signal_during_start(void **state)
{
    struct program program = {.when_started = wait_for_ever, .client = look_and_terminate};

    assert_int_equal(RUN(&program), 0);
    assert_true(program.client_is_happy);
    assert_int_equal(program.start_saw, PROA_ECANCELED);
    assert_int_equal(program.stops, 1);
}

/* Readiness checks. */
static int check_dependency(void *arg, struct proa_loop *loop, struct proa_error *err)
{
    struct program *program = arg;

    if (!program->dependency_is_there)
        return proa_fail(err, PROA_EUNAVAILABLE, "not there");
    return 0;
}

static int check_that_hangs(void *arg, struct proa_loop *loop, struct proa_error *err)
{
    struct program *program = arg;

    return program->dependency_is_there ? 0 : proa_sleep(loop, PROA_SECONDS(1000));
}

static int add_checks(struct program *program, struct proa_error *err)
{
    if (proa_app_add_check(program->app, &(struct proa_check){.name = "nothing"}) != PROA_EINVAL)
        return PROA_EINTERNAL;
    PROA_TRY(proa_app_add_check(
        program->app,
        &(struct proa_check){.name = "cellar", .check = check_dependency, .arg = program, .interval_ms = 20}));
    return proa_app_add_check(
        program->app,
        &(struct proa_check){
            .name = "hangs", .check = check_that_hangs, .arg = program, .timeout_ms = 500, .interval_ms = 20});
}

static void *watch_checks(void *arg)
{
    struct program *program = arg;
    bool happy = wait_status("/startupz", 200) && ask_status("/readyz") == 503 && ask_status("/health") == 200;

    happy =
        happy && answer_has("/readyz?verbose", "[+]serving ok\n[-]cellar failed: the reason is in the log\n[-]hangs");
    program->dependency_is_there = true;
    happy = happy && wait_status("/readyz", 200) && answer_has("/readyz?verbose=1&a", "[+]cellar ok\n[+]hangs ok\n") &&
            answer_has("/metrics", "readiness_check{name=\"cellar\"} 1");
    program->dependency_is_there = false;
    program->client_is_happy = happy && wait_status("/readyz", 503) && ask_status("/hello") == 200;
    kill(getpid(), SIGINT);
    return NULL;
}

static void test_checks(void **state)
{
    struct program program = {.when_started = add_checks, .client = watch_checks};

    assert_int_equal(RUN(&program), 0);
    assert_true(program.client_is_happy);
}

/* A check that cannot be ended, as one of a disk that does not answer, fails when its deadline is over. */
static void wait_for_dependency(void *arg)
{
    struct program *program = arg;

    while (!program->dependency_is_there)
        nap_ms(5);
}

static int check_that_blocks(void *arg, struct proa_loop *loop, struct proa_error *err)
{
    return proa_blocking(loop, wait_for_dependency, arg, NULL, NULL);
}

static int add_blocking_check(struct program *program, struct proa_error *err)
{
    program->dependency_is_there = true;
    return proa_app_add_check(
        program->app,
        &(struct proa_check){
            .name = "disk", .check = check_that_blocks, .arg = program, .timeout_ms = 1000, .interval_ms = 20});
}

static void *watch_blocking_check(void *arg)
{
    struct program *program = arg;
    bool happy = wait_status("/readyz", 200);

    program->dependency_is_there = false;
    happy = happy && wait_status("/readyz", 503) && answer_has("/readyz?verbose", "[-]disk failed") &&
            answer_has("/metrics", "readiness_check{name=\"disk\"} 0");
    program->dependency_is_there = true;
    program->client_is_happy = happy && wait_status("/readyz", 200);
    kill(getpid(), SIGINT);
    return NULL;
}

static void test_a_check_that_does_not_end(void **state)
{
    struct program program = {.when_started = add_blocking_check, .client = watch_blocking_check};

    assert_int_equal(RUN(&program), 0);
    assert_true(program.client_is_happy);
}

/* A check for liveness moves /livez and not /readyz; the program ends itself with a code of its own. */
static int stop_oneself(void *arg)
{
    struct program *program = arg;

    while (!program->stop_is_wanted)
        PROA_TRY(proa_sleep(program->loop, PROA_MS(5)));
    proa_app_stop(program->app, 7);
    proa_app_stop(program->app, 8); /* the first holds */
    return 0;
}

static int add_liveness(struct program *program, struct proa_error *err)
{
    program->dependency_is_there = true;
    PROA_TRY(proa_app_start_task(program->app, "stops", stop_oneself, program));
    return proa_app_add_check(
        program->app,
        &(struct proa_check){
            .name = "heart", .check = check_dependency, .arg = program, .interval_ms = 20, .for_liveness = true});
}

static void *watch_liveness(void *arg)
{
    struct program *program = arg;
    bool happy = wait_status("/readyz", 200) && ask_status("/livez") == 200 &&
                 answer_has("/livez?verbose", "[+]loops ok\n[+]heart ok\n");

    program->dependency_is_there = false;
    happy = happy && wait_status("/livez", 503) && ask_status("/readyz") == 200 &&
            answer_has("/livez?verbose", "[+]loops ok\n[-]heart failed: the reason is in the log\n") &&
            ask_status("/livez?verbose") == 503 && answer_has("/metrics", "liveness_check{name=\"heart\"} 0") &&
            !answer_has("/readyz?verbose", "heart");
    program->dependency_is_there = true;
    program->client_is_happy = happy && wait_status("/livez", 200);
    program->stop_is_wanted = true;
    return NULL;
}

static void test_liveness_and_own_end(void **state)
{
    struct program program = {.when_started = add_liveness, .client = watch_liveness};
    int log = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), out = dup(STDOUT_FILENO);
    char lines[8192] = "";

    assert_true(log >= 0 && out >= 0);
    fflush(stdout);
    assert_true(dup2(log, STDOUT_FILENO) >= 0);
    assert_int_equal(RUN(&program, "--log.level=info,http=off"), 7);
    assert_true(dup2(out, STDOUT_FILENO) >= 0);
    assert_true(pread(log, lines, sizeof lines - 1, 0) > 0);
    close(log);
    close(out);
    assert_non_null(strstr(lines, "\"a liveness check fails\",\"service.name\":\"test\",\"check\":\"heart\""));
    assert_non_null(strstr(lines, "\"a liveness check passes again\""));
    assert_null(strstr(lines, "readiness"));
    assert_true(program.client_is_happy);
    assert_int_equal(program.stops, 1);
}

/* A loop that does not come back makes the process not alive; the other loop says so. */
static int note_loop(struct program *program, struct proa_error *err)
{
    accepting_loop = program->loop;
    return 0;
}

/* @returns a connection whose request holds up a loop. The first one may have gone to the other loop: then the next does not. */
static int hang_a_loop(void)
{
    static const char request[] = "GET /hang HTTP/1.1\r\nHost: a\r\n\r\n";
    struct timeval patience = {.tv_sec = 2};
    int last = -1;

    for (int i = 0; i < 2; i++) {
        char answer[1024];
        int fd = connect_to_program();
        bool is_held;

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
            return -1;
        is_held = send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == (ssize_t)sizeof request - 1 &&
                  recv(fd, answer, sizeof answer, 0) < 0;
        if (last >= 0)
            close(last);
        if (is_held)
            return fd;
        last = fd;
    }
    close(last);
    return -1;
}

static void *watch_hang(void *arg)
{
    struct program *program = arg;
    bool happy = wait_status("/startupz", 200) && ask_status("/livez") == 200;
    int fd;

    hangs = true;
    fd = hang_a_loop();
    happy = happy && fd >= 0 && ask_status("/livez") == 200;
    for (int i = 0; happy && i < PATIENCE_MS / 100 && ask_status("/livez") == 200; i++)
        nap_ms(100);
    happy = happy && answer_has("/livez", "a loop hangs") && answer_has("/livez", "\"type\":\"about:blank\"");
    hangs = false;
    program->client_is_happy = happy && wait_status("/livez", 200);
    if (fd >= 0)
        close(fd);
    kill(getpid(), SIGINT);
    return NULL;
}

static void test_a_hung_loop_is_not_alive(void **state)
{
    struct program program = {.when_started = note_loop, .client = watch_hang};

    assert_int_equal(RUN(&program), 0);
    assert_true(program.client_is_happy);
}

/* Tasks. */
static int stay(void *arg)
{
    struct program *program = arg;

    program->task_saw = proa_sleep(program->loop, PROA_SECONDS(1000));
    return program->task_saw;
}

static int fail_at_once(void *arg)
{
    return PROA_EIO;
}

static int start_tasks(struct program *program, struct proa_error *err)
{
    PROA_TRY(proa_app_start_task(program->app, "fails", fail_at_once, NULL));
    return proa_app_start_task(program->app, "stays", stay, program);
}

static void test_tasks(void **state)
{
    struct program program = {.when_started = start_tasks, .client = ask_and_interrupt};

    assert_int_equal(RUN(&program), 0);
    assert_true(program.client_is_happy);
    assert_int_equal(program.task_saw, PROA_ECANCELED);
    assert_true(program.task_ended_before_stop);
}

/* Routes and middleware added in `start`, and a conflict. */
static int add_header(struct proa_req *req, void *arg)
{
    PROA_TRY(proa_reply_header(req, "X-By", proa_str_c(arg)));
    return proa_next(req);
}

static const struct proa_route late_routes[] = {{PROA_GET, "/late", get_hello}};

static int add_routes(struct program *program, struct proa_error *err)
{
    PROA_TRY(proa_router_use(proa_app_router(program->app), add_header, "middleware"));
    return proa_router_add(proa_app_router(program->app), "/v1", NULL, late_routes, 1, err);
}

static void *ask_late(void *arg)
{
    struct program *program = arg;

    program->client_is_happy =
        wait_status("/v1/late", 200) && answer_has("/v1/late", "X-By: middleware") && answer_has("/hello", "X-By: ");
    kill(getpid(), SIGINT);
    return NULL;
}

static void test_routes_of_start(void **state)
{
    struct program program = {.when_started = add_routes, .client = ask_late};
    static const struct proa_route twice[] = {{PROA_GET, "/a", get_hello}, {PROA_GET, "/a", get_block}};
    static const struct proa_route probe[] = {{PROA_GET, "/health", get_hello}};
    struct proa_app_options options = base_options;

    assert_int_equal(RUN(&program), 0);
    assert_true(program.client_is_happy);
    program.client = NULL;
    options.routes = twice;
    options.routes_count = PROA_COUNT(twice);
    assert_int_equal(run_with(&options, &program, (char *)NULL), 1);
    options.routes = probe;
    options.routes_count = PROA_COUNT(probe);
    assert_int_equal(run_with(&options, &program, (char *)NULL), 1);
}

/* The drain. */
static void *leave_a_stuck_request(void *arg)
{
    static const char request[] = "GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n";
    struct program *program = arg;
    char byte;
    int fd;

    program->client_is_happy = wait_status("/readyz", 200);
    fd = connect_to_program();
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        program->client_is_happy = false;
    for (int i = 0; i < PATIENCE_MS / 5 && !answer_has("/metrics", "http_server_requests_in_flight 1"); i++)
        nap_ms(5);
    kill(getpid(), SIGTERM);
    while (recv(fd, &byte, 1, 0) > 0)
        ;
    close(fd);
    return NULL;
}

static void test_drain_cuts(void **state)
{
    struct program program = {.client = leave_a_stuck_request};

    assert_int_equal(RUN(&program, "--http.drain-delay-ms=0", "--http.drain-ms=100"), 1);
    assert_true(program.client_is_happy);
    assert_int_equal(program.stops, 1);
}

static void *terminate_twice(void *arg)
{
    struct program *program = arg;

    program->client_is_happy = wait_status("/readyz", 200);
    kill(getpid(), SIGTERM);
    program->client_is_happy = program->client_is_happy && wait_status("/readyz", 503) && ask_status("/hello") == 200 &&
                               answer_has("/health", "\"detail\":\"draining\"");
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGINT); /* the first: the drain goes on */
    return NULL;
}

static void test_further_signals(void **state)
{
    struct program program = {.client = terminate_twice};

    assert_int_equal(RUN(&program, "--http.drain-delay-ms=400"), 0);
    assert_true(program.client_is_happy);
}

/* The watchdog. */
static void *block_a_loop(void *arg)
{
    struct program *program = arg;

    program->client_is_happy = wait_status("/readyz", 200);
    /* The watchdog starts a moment after the program. */
    for (int i = 0; i < 20 && !answer_has("/metrics", "loop_stalls_total{fiber=\"/block\"} "); i++)
        program->client_is_happy = program->client_is_happy && ask_status("/block") == 200;
    program->client_is_happy =
        program->client_is_happy && answer_has("/metrics", "loop_stalls_total{fiber=\"/block\"} ");
    kill(getpid(), SIGINT);
    return NULL;
}

static void test_watchdog(void **state)
{
    struct program program = {.client = block_a_loop};

    assert_int_equal(RUN(&program), 0);
    assert_true(program.client_is_happy);
}

/* Standard output of a run. */
static char *output_of(const struct proa_app_options *options, const char *flag, int *ret_exit_code)
{
    char *argv[] = {"test", (char *)(uintptr_t)flag, NULL};
    char *text = calloc(1, ANSWER_MAX);
    FILE *file = tmpfile();
    int saved;

    fflush(stdout);
    saved = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    *ret_exit_code = proa_app_run(options, 2, argv);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(file);
    text[fread(text, 1, ANSWER_MAX - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void test_commands(void **state)
{
    struct proa_app_options options = base_options;
    char *text;
    int exit_code;

    options.version = "1.2.3";
    options.doc = "Tests the frame.";
    options.default_port = 9000;
    options.config_type = &settings_type.type;
    options.config = &settings;

    text = output_of(&options, "--version", &exit_code);
    assert_int_equal(exit_code, 0);
    assert_string_equal(text, "test 1.2.3\n");
    free(text);

    text = output_of(&options, "--help", &exit_code);
    assert_int_equal(exit_code, 0);
    assert_non_null(strstr(text, "test 1.2.3: Tests the frame."));
    assert_non_null(strstr(text, "--answer <integer>   [ANSWER]"));
    assert_non_null(strstr(text, "Default: 9000."));
    free(text);

    text = output_of(&options, "--print-config", &exit_code);
    assert_int_equal(exit_code, 0);
    assert_non_null(strstr(text, "answer: 42  # default\n"));
    assert_non_null(strstr(text, "  port: 9000  # default\n"));
    free(text);
}

/* A second program of the process is refused: the first keeps the signals. */
static void *run_another(void *arg)
{
    struct program *program = arg, second = {0};
    struct proa_app_options options = base_options;
    char *argv[] = {"second", "--http.address=127.0.0.1", "--port=0", "--log.level=off", NULL};
    bool happy = wait_status("/readyz", 200);

    options.state = &second;
    happy = happy && proa_app_run(&options, 4, argv) == 1 && second.starts == 0;
    program->client_is_happy = happy && ask_status("/readyz") == 200;
    kill(getpid(), SIGINT);
    return NULL;
}

static void test_one_at_a_time(void **state)
{
    struct program program = {.client = run_another};

    assert_int_equal(RUN(&program), 0);
    assert_true(program.client_is_happy);
    assert_int_equal(program.stops, 1);
}

/* Settings of a program that takes over none while it runs: those that have changed are named. */
static void write_settings(const char *text)
{
    char path[sizeof folder + 16], fresh[sizeof folder + 16];
    FILE *file;

    snprintf(path, sizeof path, "%s/settings", folder);
    snprintf(fresh, sizeof fresh, "%s/fresh", folder);
    file = fopen(fresh, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(fresh, path), 0);
}

static void *change_settings(void *arg)
{
    struct program *program = arg;
    bool happy = wait_status("/readyz", 200);

    write_settings("answer: 8\ntext: a\n");
    kill(getpid(), SIGHUP);
    for (int i = 0; i < PATIENCE_MS / 5 && answer_has("/metrics", "config_reloads_total{outcome=\"done\"} 0"); i++)
        nap_ms(5);
    program->client_is_happy = happy && answer_has("/metrics", "config_reloads_total{outcome=\"failed\"} 0");
    kill(getpid(), SIGINT);
    return NULL;
}

static void test_settings_that_cannot_change(void **state)
{
    struct program program = {.client = change_settings};
    struct proa_app_options options = base_options;
    int log = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), out = dup(STDOUT_FILENO);
    char lines[8192] = "", flag[sizeof folder + 32];

    options.config_type = &settings_type.type;
    options.config = &settings;
    snprintf(flag, sizeof flag, "--config=%s/settings", folder);
    write_settings("answer: 7\ntext: a\n");
    assert_true(log >= 0 && out >= 0);
    fflush(stdout);
    assert_true(dup2(log, STDOUT_FILENO) >= 0);
    assert_int_equal(run_with(&options, &program, flag, "--log.level=info,http=off", (char *)NULL), 0);
    assert_true(dup2(out, STDOUT_FILENO) >= 0);
    assert_true(pread(log, lines, sizeof lines - 1, 0) > 0);
    close(log);
    close(out);
    snprintf(flag, sizeof flag, "%s/settings", folder);
    unlink(flag);
    assert_true(program.client_is_happy);
    assert_non_null(strstr(lines, "it needs a restart\",\"service.name\":\"test\",\"setting\":\"answer\""));
    assert_null(strstr(lines, "\"setting\":\"text\""));
    assert_int_equal(settings.answer, 7);
}

static void test_wrong_command_lines(void **state)
{
    struct program program = {0};

    fflush(stderr);
    assert_int_equal(RUN(&program, "--no-such-flag"), 2);
    assert_int_equal(RUN(&program, "--port=x"), 2);
    assert_int_equal(RUN(&program, "--log.level=loud"), 2);
    assert_int_equal(RUN(&program, "--config=/nonexistent/file"), 2);
    assert_int_equal(RUN(&program, "--health-check", "--no-such-flag"), 1);
    assert_int_equal(RUN(&program, "--health-check"), 1); /* nobody is there */
    assert_int_equal(program.starts, 0);
}

static void test_address_that_cannot_be(void **state)
{
    struct program program = {0};

    assert_int_equal(RUN(&program, "--http.address=203.0.113.9", "--port=0"), 1);
    assert_int_equal(program.starts, 0);
    assert_int_equal(RUN(&program, "--admin.address=nowhere"), 1);
}

static int set_folder(void **state)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(socket_path, sizeof socket_path, "%s/s", folder);
    snprintf(address_flag, sizeof address_flag, "--http.address=unix:%s", socket_path);
    return 0;
}

static int remove_folder(void **state)
{
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_propagators),
        cmocka_unit_test(test_without_start_and_stop),
        cmocka_unit_test(test_signals_are_given_back),
        cmocka_unit_test(test_signals_have_a_stack),
        cmocka_unit_test(test_start_fails),
        cmocka_unit_test(test_signal_during_start),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_a_check_that_does_not_end),
        cmocka_unit_test(test_liveness_and_own_end),
        cmocka_unit_test(test_a_hung_loop_is_not_alive),
        cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_routes_of_start),
        cmocka_unit_test(test_drain_cuts),
        cmocka_unit_test(test_further_signals),
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_settings_that_cannot_change),
        cmocka_unit_test(test_wrong_command_lines),
        cmocka_unit_test(test_address_that_cannot_be),
    };

    return cmocka_run_group_tests(tests, set_folder, remove_folder);
}

/* Processes: started by fork and exec, reaped in one place, their output read by watches of the loop. */
#include "child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <proa/buf.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    OUTPUT_DEFAULT_BYTES = 64 * 1024,
    ERRORS_KEPT_BYTES = 2048,
    INPUT_MAX_BYTES = 64 * 1024,
    STRAY_OUTPUT_MS = 1000, /* for output of grandchildren, once the child has ended */
    KILL_GRACE_MS = 10000,
    EXIT_BY_SIGNAL = 128,
    EXIT_NO_EXEC = 127,
    PATH_ENTRIES_MAX = 64,
};

#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

struct children {
    struct proa_loop *loop;
    const struct proa_logger *logger;
    struct proa_signal *sigchld;
    struct proa_list list;
    char **env; /* what children inherit */
    size_t env_count;
    const char *path;
    uint64_t orphans;
};

struct child {
    struct proa_list link;
    struct children *children;
    pid_t pid;
    bool has_ended;
    int exit_code;
    struct proa_event ended;
    struct proa_event *wake; /* may be NULL */
};

/* -- Reaping --------------------------------------------------------------------------------------------------------- */

static struct child *find(struct children *children, pid_t pid)
{
    for (struct proa_list *at = children->list.next; at != &children->list; at = at->next) {
        struct child *child = PROA_CONTAINER(at, struct child, link);

        if (child->pid == pid && !child->has_ended)
            return child;
    }
    return NULL;
}

static int exit_code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_BY_SIGNAL + WTERMSIG(status);
}

static void reap(void *arg, int signum)
{
    struct children *children = arg;

    (void)signum;
    for (;;) {
        struct child *child;
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);

        if (pid <= 0)
            return;
        child = find(children, pid);
        if (!child) {
            children->orphans++;
            continue;
        }
        child->has_ended = true;
        child->exit_code = exit_code_of(status);
        proa_event_set(&child->ended);
        if (child->wake)
            proa_event_set(child->wake);
    }
}

/* -- What children inherit of the environment ------------------------------------------------------------------------- */

static bool is_inherited(const char *variable)
{
    /* The agent's own settings, Kubernetes', and what would steer a client or server from outside. */
    static const char *const others[] = {"PROA_", "POD_", "KUBERNETES_", "KUBECONFIG",   "LOG_",
                                         "OTEL_", "PG",   "POSTGRES_",   "MYSQL",        "MARIADB",
                                         "MONGO", "LANG", "LC_",         "NOTIFY_SOCKET"};

    for (size_t i = 0; i < PROA_COUNT(others); i++)
        if (strncmp(variable, others[i], strlen(others[i])) == 0)
            return false;
    return true;
}

static int take_env(struct children *children, char *const *env)
{
    size_t count = 0;

    while (env[count])
        count++;
    children->env = calloc(count + 1, sizeof *children->env);
    if (!children->env)
        return PROA_ENOMEM;
    children->path = PATH_DEFAULT;
    for (size_t i = 0; i < count; i++) {
        if (is_inherited(env[i]))
            children->env[children->env_count++] = env[i];
        if (strncmp(env[i], "PATH=", 5) == 0)
            children->path = env[i] + 5;
    }
    return 0;
}

int children_new(struct proa_loop *loop, const struct proa_logger *logger, char *const *env,
                 struct children **ret_children, struct proa_error *err)
{
    struct children *children = calloc(1, sizeof *children);
    int rc;

    if (!children)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    children->loop = loop;
    children->logger = logger;
    proa_list_init(&children->list);
    rc = take_env(children, env);
    if (rc == 0)
        rc = proa_signal_start(loop, SIGCHLD, reap, children, &children->sigchld);
    if (rc < 0) {
        children_free(children);
        return proa_fail(err, rc, "watching for the end of processes: %s", proa_code_name(rc));
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    reap(children, SIGCHLD);
    *ret_children = children;
    return 0;
}

void children_free(struct children *children)
{
    if (!children)
        return;
    proa_signal_stop(children->sigchld);
    free(children->env);
    free(children);
}

uint64_t children_orphans(const struct children *children)
{
    return children->orphans;
}

/* -- Starting -------------------------------------------------------------------------------------------------------- */

/* Between fork and exec only what is safe there is called: everything is prepared before. */
struct launch {
    const char *program;
    char *const *arguments;
    char *const *env;
    const char *folder;
    int death_signal;
    int fds[3]; /* what becomes standard input, output, error */
    int report; /* an errno is written to it when exec failed */
    pid_t parent;
};

static void report_and_leave(const struct launch *launch)
{
    int os_errno = errno;
    ssize_t ignored = write(launch->report, &os_errno, sizeof os_errno);

    (void)ignored;
    _exit(EXIT_NO_EXEC);
}

static void become(const struct launch *launch)
{
    sigset_t none;

    setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, launch->death_signal, 0, 0, 0) < 0 || getppid() != launch->parent)
        _exit(EXIT_NO_EXEC);
    /* Handlers go with exec; what is ignored or blocked would stay. */
    for (int signum = 1; signum < NSIG; signum++)
        signal(signum, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 0; i < 3; i++)
        if (dup2(launch->fds[i], i) < 0)
            report_and_leave(launch);
    /* What a library left open is not passed on. Kernels before 5.11 cannot say so. */
    close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    if (chdir(launch->folder) < 0)
        report_and_leave(launch);
    execve(launch->program, launch->arguments, launch->env);
    report_and_leave(launch);
}

/* @returns the process, or a negative errno. */
static pid_t fork_and_exec(struct launch *launch)
{
    int pipe_fds[2], os_errno = 0;
    ssize_t got;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return -errno;
    launch->report = pipe_fds[1];
    launch->parent = getpid();
    pid = fork();
    if (pid == 0)
        become(launch);
    if (pid < 0)
        os_errno = errno;
    close(pipe_fds[1]);
    if (pid > 0) {
        /* Ends with the exec, a moment from now. */
        while ((got = read(pipe_fds[0], &os_errno, sizeof os_errno)) < 0 && errno == EINTR)
            ;
        if (got > 0)
            waitpid(pid, NULL, 0);
    }
    close(pipe_fds[0]);
    return os_errno ? -os_errno : pid;
}

const char *child_find_program(const struct children *children, struct proa_arena *arena, const char *name)
{
    proa_str rest = proa_str_c(children->path), folder;

    if (strchr(name, '/'))
        return access(name, X_OK) == 0 ? name : "";
    for (int i = 0; i < PATH_ENTRIES_MAX && proa_str_split(&rest, ':', &folder); i++) {
        const char *path = proa_arena_printf(arena, PROA_FMT "/%s", PROA_ARG(folder), name).ptr;

        if (!path)
            return NULL;
        if (folder.len > 0 && access(path, X_OK) == 0)
            return path;
    }
    return "";
}

static int make_env(const struct children *children, struct proa_arena *arena, const char *const *more, char ***ret_env)
{
    size_t count = 0, at = children->env_count;
    char **env;

    while (more && more[count])
        count++;
    env = proa_arena_calloc(arena, at + count + 2, sizeof *env);
    if (!env)
        return PROA_ENOMEM;
    memcpy(env, children->env, at * sizeof *env);
    for (size_t i = 0; i < count; i++)
        env[at + i] = (char *)(uintptr_t)more[i];
    env[at + count] = (char *)(uintptr_t) "LC_ALL=C"; /* what is read from programs is in one language */
    *ret_env = env;
    return 0;
}

/* A file in memory, read from its beginning: no pipe that would have to be served. */
static int open_input(proa_str input, int *ret_fd)
{
    int fd;

    if (!input.ptr) {
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    } else {
        fd = memfd_create("input", MFD_CLOEXEC);
        if (fd >= 0 && (write(fd, input.ptr, input.len) != (ssize_t)input.len || lseek(fd, 0, SEEK_SET) != 0)) {
            close(fd);
            fd = -1;
        }
    }
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

static int launch_child(struct children *children, struct proa_arena *arena, const struct child_options *options,
                        int out, int errors, struct child *child, struct proa_error *err)
{
    struct launch launch = {
        .arguments = (char *const *)(uintptr_t)options->arguments,
        .folder = options->folder ? options->folder : "/",
        .death_signal = options->death_signal ? options->death_signal : SIGKILL,
        .fds = {-1, out, errors},
    };
    const char *name = options->arguments[0];
    char **env;
    pid_t pid;
    int rc;

    assert(options->input.len <= INPUT_MAX_BYTES);
    launch.program = child_find_program(children, arena, name);
    if (!launch.program || make_env(children, arena, options->env, &env) < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (!*launch.program)
        return proa_fail(err, PROA_ENOTFOUND, "%s: no such program (PATH is %s)", name, children->path);
    launch.env = env;
    launch.fds[0] = options->input_fd;
    rc = options->input_fd > 0 ? 0 : open_input(options->input, &launch.fds[0]);
    if (rc < 0)
        return proa_fail_errno(err, -rc, "%s: its input", name);
    pid = fork_and_exec(&launch);
    if (options->input_fd <= 0)
        close(launch.fds[0]);
    if (pid < 0)
        return proa_fail_errno(err, -pid, "running %s", launch.program);
    child->children = children;
    child->pid = pid;
    child->wake = options->wake;
    proa_event_init(&child->ended, children->loop);
    proa_list_push_back(&children->list, &child->link);
    return 0;
}

/* -- Running to the end ---------------------------------------------------------------------------------------------- */

struct source {
    struct proa_fd_watch *watch;
    int fd;
    struct proa_buf buf;
    size_t keep_bytes; /* its end is kept; 0: all, up to the buffer's limit */
    bool is_open;
    struct proa_event *progress;
};

static void close_source(struct source *source)
{
    proa_fd_watch_free(source->watch);
    source->watch = NULL;
    if (source->fd >= 0)
        close(source->fd);
    source->fd = -1;
    source->is_open = false;
}

static void source_ready(void *arg, int events)
{
    struct source *source = arg;

    (void)events;
    for (;;) {
        char chunk[4096];
        ssize_t got = read(source->fd, chunk, sizeof chunk);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0 || proa_buf_add(&source->buf, proa_str_n(chunk, (size_t)got)) < 0) {
            close_source(source);
            proa_event_set(source->progress);
            return;
        }
        if (source->keep_bytes && source->buf.len > source->keep_bytes)
            proa_buf_consume(&source->buf, source->buf.len - source->keep_bytes);
    }
}

/* @param ret_end  what the child writes to, to be closed here once it has started */
static int open_source(struct proa_loop *loop, struct source *source, struct proa_event *progress, int *ret_end)
{
    int fds[2], rc;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return proa_code_from_errno(-errno);
    source->fd = fds[0];
    source->is_open = true;
    source->progress = progress;
    *ret_end = fds[1];
    if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
        return PROA_EIO;
    rc = proa_fd_watch_new(loop, fds[0], source_ready, source, &source->watch);
    return rc < 0 ? rc : proa_fd_watch_set(source->watch, PROA_READABLE);
}

struct run {
    struct child child;
    struct source out, errors;
    struct proa_event progress; /* a source has closed */
};

static void kill_group(const struct child *child)
{
    if (!child->has_ended) {
        kill(-child->pid, SIGKILL);
        kill(child->pid, SIGKILL);
    }
}

static int await(struct run *run)
{
    struct proa_loop *loop = run->child.children->loop;
    int rc = child_wait(&run->child);

    if (rc < 0) {
        struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) =
            proa_shield_enter(loop, PROA_MS(KILL_GRACE_MS));

        kill_group(&run->child);
        proa_ignore(child_wait(&run->child));
        return rc;
    }
    while (run->out.is_open || run->errors.is_open) {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
            proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(STRAY_OUTPUT_MS));

        proa_event_reset(&run->progress);
        if (proa_event_wait(&run->progress) < 0)
            break; /* somebody else holds the pipe: what came is what there is */
    }
    return 0;
}

static int output_of(const struct child_options *options)
{
    return options->output_fd > 0 ? options->output_fd : STDERR_FILENO;
}

static int run_child(struct children *children, struct proa_arena *arena, const struct child_options *options,
                     struct run *run, struct proa_error *err)
{
    int out_end = -1, errors_end = -1, rc = 0;

    if (!options->inherit_output && options->output_fd <= 0)
        rc = open_source(children->loop, &run->out, &run->progress, &out_end);
    if (rc == 0)
        rc = open_source(children->loop, &run->errors, &run->progress, &errors_end);
    if (rc < 0)
        proa_fail(err, rc, "pipes for %s: %s", options->arguments[0], proa_code_name(rc));
    else
        rc = launch_child(children, arena, options, out_end >= 0 ? out_end : output_of(options), errors_end,
                          &run->child, err);
    if (out_end >= 0)
        close(out_end);
    if (errors_end >= 0)
        close(errors_end);
    if (rc < 0)
        return rc;
    rc = await(run);
    proa_list_remove(&run->child.link);
    if (rc < 0)
        return proa_fail(err, rc, "%s: %s", options->arguments[0],
                         rc == PROA_ETIMEDOUT ? "no end in time" : proa_code_name(rc));
    if (run->out.buf.error < 0)
        return proa_fail(err, run->out.buf.error, "%s: what it printed is too large", options->arguments[0]);
    return 0;
}

static proa_str without_line_end(proa_str text)
{
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.len--;
    return text;
}

int child_run(struct children *children, struct proa_arena *arena, const struct child_options *options,
              struct child_result *ret_result, struct proa_error *err)
{
    struct run run = {.out.fd = -1, .errors.fd = -1};
    struct child_result result = {0};
    int rc;

    proa_buf_init(&run.out.buf, NULL, options->output_max ? options->output_max : OUTPUT_DEFAULT_BYTES);
    run.errors.keep_bytes = ERRORS_KEPT_BYTES;
    proa_event_init(&run.progress, children->loop);
    rc = run_child(children, arena, options, &run, err);
    close_source(&run.out);
    close_source(&run.errors);
    if (rc == 0) {
        result.exit_code = run.child.exit_code;
        result.output = proa_arena_str(arena, proa_buf_str(&run.out.buf));
        result.errors = proa_arena_str(arena, without_line_end(proa_buf_str(&run.errors.buf)));
        if (!result.output.ptr || !result.errors.ptr)
            rc = proa_fail(err, PROA_ENOMEM, "memory is out");
        else
            *ret_result = result;
    }
    proa_buf_done(&run.out.buf);
    proa_buf_done(&run.errors.buf);
    return rc;
}

int child_run_ok(struct children *children, struct proa_arena *arena, const struct child_options *options,
                 struct child_result *ret_result, struct proa_error *err)
{
    const char *name = strrchr(options->arguments[0], '/');
    struct child_result result = {0};

    PROA_TRY(child_run(children, arena, options, &result, err));
    if (result.exit_code != 0)
        return proa_fail(err, PROA_EIO, "%s ended with %d: " PROA_FMT, name ? name + 1 : options->arguments[0],
                         result.exit_code, PROA_ARG(result.errors));
    *ret_result = result;
    return 0;
}

/* -- Living on ------------------------------------------------------------------------------------------------------- */

int child_start(struct children *children, const struct child_options *options, struct child **ret_child,
                struct proa_error *err)
{
    struct proa_arena arena;
    struct child *child = calloc(1, sizeof *child);
    int rc;

    if (!child)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    proa_arena_init(&arena, NULL, 0);
    rc = launch_child(children, &arena, options, output_of(options), STDERR_FILENO, child, err);
    proa_arena_done(&arena);
    if (rc < 0) {
        free(child);
        return rc;
    }
    *ret_child = child;
    return 0;
}

pid_t child_pid(const struct child *child)
{
    return child->pid;
}

bool child_has_ended(const struct child *child, int *ret_exit_code)
{
    if (child->has_ended && ret_exit_code)
        *ret_exit_code = child->exit_code;
    return child->has_ended;
}

int child_wait(struct child *child)
{
    return child->has_ended ? 0 : proa_event_wait(&child->ended);
}

void child_signal(const struct child *child, int signum)
{
    if (!child->has_ended)
        kill(child->pid, signum);
}

void child_free(struct child *child)
{
    if (!child)
        return;
    assert(child->has_ended);
    proa_list_remove(&child->link);
    free(child);
}

/* Runs an exec plugin: its output by a pipe, bounded in size and time, in the blocking pool. */
#include "client_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXEC_SECONDS = 60, POLL_MS = 100 };

struct exec_job {
    char **argv;
    char **envp;
    struct proa_buf output; /* heap: the pool's thread fills it */
    int os_errno;
    int wait_status;
    bool too_large, was_killed;
    _Atomic bool is_interrupted;
};

static void read_output(struct exec_job *job, int fd, pid_t pid)
{
    int left_ms = EXEC_SECONDS * 1000;

    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = poll(&wait, 1, POLL_MS);
        char chunk[4096];
        ssize_t got;

        left_ms -= ready == 0 ? POLL_MS : 0;
        if (left_ms <= 0 || atomic_load(&job->is_interrupted) || job->too_large) {
            job->was_killed = true;
            kill(pid, SIGKILL);
            return;
        }
        if (ready <= 0)
            continue;
        got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return;
        job->too_large = proa_buf_add(&job->output, proa_str_n(chunk, (size_t)got)) < 0;
    }
}

static void run(void *arg)
{
    struct exec_job *job = arg;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    int pipe_fds[2];
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        job->os_errno = errno;
        return;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1);
    /* The pool's threads block all signals; the plugin shall not. */
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    job->os_errno = posix_spawnp(&pid, job->argv[0], &actions, &attributes, job->argv, job->envp);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_fds[1]);
    if (job->os_errno == 0) {
        read_output(job, pipe_fds[0], pid);
        while (waitpid(pid, &job->wait_status, 0) < 0 && errno == EINTR)
            ;
    }
    close(pipe_fds[0]);
}

static void interrupt(void *arg)
{
    struct exec_job *job = arg;

    atomic_store(&job->is_interrupted, true);
}

static char *pair(struct proa_arena *arena, proa_str name, proa_str value)
{
    return (char *)(uintptr_t)proa_arena_printf(arena, PROA_FMT "=" PROA_FMT, PROA_ARG(name), PROA_ARG(value)).ptr;
}

static const char info_name[] = "KUBERNETES_EXEC_INFO";

/* Whether the plugin gets another variable of this name: of two, most programs take the first. */
static bool is_set_anew(const struct kube_exec *exec, const char *variable)
{
    proa_str name = proa_str_slice(proa_str_c(variable), 0, strcspn(variable, "="));
    size_t own = exec->env.presence == PROA_SET ? exec->env.value.len : 0;

    for (size_t i = 0; i < own; i++)
        if (proa_str_eq(name, exec->env.value.ptr[i].name))
            return true;
    return proa_str_eq_c(name, info_name);
}

/* The program's environment, the plugin's own variables, and KUBERNETES_EXEC_INFO. */
static char **make_env(struct proa_arena *arena, const struct proa_kube_config *config)
{
    const struct kube_exec *exec = config->exec;
    size_t inherited = 0, own = exec->env.presence == PROA_SET ? exec->env.value.len : 0, n = 0;
    struct proa_json_writer w;
    struct proa_buf info;
    char **env;

    while (config->env && config->env[inherited])
        inherited++;
    env = proa_arena_calloc(arena, inherited + own + 2, sizeof *env);
    if (!env)
        return NULL;
    for (size_t i = 0; i < inherited; i++)
        if (!is_set_anew(exec, config->env[i]))
            env[n++] = config->env[i];
    for (size_t i = 0; i < own; i++)
        if (!proa_str_eq_c(exec->env.value.ptr[i].name, info_name) &&
            !(env[n++] = pair(arena, exec->env.value.ptr[i].name, exec->env.value.ptr[i].value)))
            return NULL;
    proa_buf_init(&info, arena, 0);
    proa_json_writer_init(&w, &info);
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("kind"));
    proa_json_text(&w, PROA_STR("ExecCredential"));
    proa_json_key(&w, PROA_STR("apiVersion"));
    proa_json_text(&w, exec->api_version);
    proa_json_key(&w, PROA_STR("spec"));
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("interactive"));
    proa_json_bool(&w, false);
    if (exec->provide_cluster_info) {
        proa_json_key(&w, PROA_STR("cluster"));
        proa_json_object(&w);
        proa_json_key(&w, PROA_STR("server"));
        proa_json_text(&w, proa_str_c(config->server));
        proa_json_object_end(&w);
    }
    proa_json_object_end(&w);
    proa_json_object_end(&w);
    env[n] = pair(arena, proa_str_c(info_name), proa_buf_str(&info));
    return info.error < 0 || !env[n] ? NULL : env;
}

static int explain(const struct exec_job *job, const struct proa_kube_config *config, int rc, struct proa_error *err)
{
    const struct kube_exec *exec = config->exec;

    if (job->os_errno)
        return proa_fail(err, PROA_EUNAUTHORIZED, "%s: cannot run " PROA_FMT ": %s%s" PROA_FMT, config->source,
                         PROA_ARG(exec->command), strerror(job->os_errno), exec->install_hint.len ? "; " : "",
                         PROA_ARG(exec->install_hint));
    if (rc < 0)
        return proa_fail(err, rc, "%s: running " PROA_FMT, config->source, PROA_ARG(exec->command));
    if (job->too_large)
        return proa_fail(err, PROA_EUNAUTHORIZED, "%s: " PROA_FMT " printed more than %d bytes", config->source,
                         PROA_ARG(exec->command), CREDENTIAL_MAX_BYTES);
    if (job->was_killed)
        return proa_fail(err, PROA_EUNAUTHORIZED, "%s: " PROA_FMT " did not end within %d s", config->source,
                         PROA_ARG(exec->command), EXEC_SECONDS);
    if (!WIFEXITED(job->wait_status) || WEXITSTATUS(job->wait_status) != 0)
        return proa_fail(err, PROA_EUNAUTHORIZED, "%s: " PROA_FMT " failed with %d", config->source,
                         PROA_ARG(exec->command),
                         WIFEXITED(job->wait_status) ? WEXITSTATUS(job->wait_status) : -WTERMSIG(job->wait_status));
    return 0;
}

int kube_exec_run(struct proa_loop *loop, struct proa_arena *arena, const struct proa_kube_config *config,
                  proa_str *ret_output, struct proa_error *err)
{
    const struct kube_exec *exec = config->exec;
    struct exec_job job = {0};
    proa_str copy;
    int rc;

    proa_buf_init(&job.output, NULL, CREDENTIAL_MAX_BYTES);
    job.argv = proa_arena_calloc(arena, exec->args.len + 2, sizeof *job.argv);
    job.envp = make_env(arena, config);
    if (!job.argv || !job.envp)
        return PROA_ENOMEM;
    job.argv[0] = proa_arena_cstr(arena, exec->command);
    for (size_t i = 0; i < exec->args.len; i++)
        job.argv[i + 1] = proa_arena_cstr(arena, exec->args.ptr[i]);
    for (size_t i = 0; i <= exec->args.len; i++)
        if (!job.argv[i])
            return PROA_ENOMEM;
    rc = proa_blocking(loop, run, &job, interrupt, NULL);
    rc = explain(&job, config, rc, err);
    copy = proa_arena_str(arena, proa_buf_str(&job.output));
    proa_buf_done(&job.output);
    if (rc == 0 && !copy.ptr)
        rc = PROA_ENOMEM;
    if (rc == 0)
        *ret_output = copy;
    return rc;
}

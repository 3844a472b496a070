/* Runs an exec plugin: its output by a pipe, bounded in size and time, in the blocking pool. */
#include "client_internal.h"

#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <proa/file.h>
#include <proa/text.h>
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
    int64_t give_up_at_ms;  /* by clock_now_ms */
    int os_errno;
    int wait_status;
    bool too_large, was_killed;
    _Atomic bool is_interrupted;
};

static bool must_stop(const struct exec_job *job)
{
    return job->too_large || clock_now_ms() >= job->give_up_at_ms || atomic_load(&job->is_interrupted);
}

/* Until its end, or until it has to stop. */
static void read_output(struct exec_job *job, int fd)
{
    while (!must_stop(job)) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        char chunk[4096];
        ssize_t got;

        if (poll(&wait, 1, POLL_MS) <= 0)
            continue;
        got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return;
        job->too_large = proa_buf_add(&job->output, proa_str_n(chunk, (size_t)got)) < 0;
    }
}

/* One that has closed its output may go on all the same. */
static void wait_for_end(struct exec_job *job, pid_t pid)
{
    uint32_t pause_ms = 1;
    pid_t ended;

    while ((ended = waitpid(pid, &job->wait_status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        if (must_stop(job)) {
            job->was_killed = true;
            kill(pid, SIGKILL);
            while (waitpid(pid, &job->wait_status, 0) < 0 && errno == EINTR)
                ;
            return;
        }
        poll(NULL, 0, (int)pause_ms);
        pause_ms = pause_ms * 2 < POLL_MS ? pause_ms * 2 : POLL_MS;
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
        read_output(job, pipe_fds[0]);
        wait_for_end(job, pid);
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

static void write_text(struct proa_json_writer *w, const char *key, const char *text)
{
    if (!text)
        return;
    proa_json_key(w, proa_str_c(key));
    proa_json_text(w, proa_str_c(text));
}

/* spec.cluster of ExecCredential v1: all that a plugin needs to reach the API server itself. */
static void write_cluster(struct proa_json_writer *w, const struct proa_kube_config *config, proa_str ca_data)
{
    proa_json_key(w, PROA_STR("cluster"));
    proa_json_object(w);
    write_text(w, "server", config->server);
    write_text(w, "tls-server-name", config->server_name);
    if (config->is_insecure) {
        proa_json_key(w, PROA_STR("insecure-skip-tls-verify"));
        proa_json_bool(w, true);
    }
    if (ca_data.len > 0) {
        proa_json_key(w, PROA_STR("certificate-authority-data"));
        proa_json_text(w, ca_data);
    }
    write_text(w, "proxy-url", config->proxy_url);
    if (config->exec_config) {
        proa_json_key(w, PROA_STR("config"));
        proa_json_raw(w, proa_str_c(config->exec_config));
    }
    proa_json_object_end(w);
}

static void write_info(struct proa_buf *out, const struct proa_kube_config *config, proa_str ca_data)
{
    struct proa_json_writer w;

    proa_json_writer_init(&w, out);
    proa_json_object(&w);
    write_text(&w, "kind", "ExecCredential");
    proa_json_key(&w, PROA_STR("apiVersion"));
    proa_json_text(&w, config->exec->api_version);
    proa_json_key(&w, PROA_STR("spec"));
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("interactive"));
    proa_json_bool(&w, false);
    if (config->exec->provide_cluster_info)
        write_cluster(&w, config, ca_data);
    proa_json_object_end(&w);
    proa_json_object_end(&w);
}

/* The program's environment, the plugin's own variables, and KUBERNETES_EXEC_INFO. */
static char **make_env(struct proa_arena *arena, const struct proa_kube_config *config, proa_str ca_pem)
{
    const struct kube_exec *exec = config->exec;
    size_t inherited = 0, own = exec->env.presence == PROA_SET ? exec->env.value.len : 0, n = 0;
    struct proa_buf info, ca_data;
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
    proa_buf_init(&ca_data, arena, 0);
    proa_base64_encode(&ca_data, ca_pem);
    write_info(&info, config, proa_buf_str(&ca_data));
    env[n] = pair(arena, proa_str_c(info_name), proa_buf_str(&info));
    return info.error < 0 || ca_data.error < 0 || !env[n] ? NULL : env;
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
    struct exec_job job = {.give_up_at_ms = clock_now_ms() + EXEC_SECONDS * 1000};
    proa_str copy, ca_pem = config->ca_pem ? proa_str_c(config->ca_pem) : PROA_STR("");
    int rc;

    if (exec->provide_cluster_info && config->ca_file)
        PROA_TRY(proa_file_read(loop, arena, config->ca_file, CREDENTIAL_MAX_BYTES, &ca_pem, err));

    proa_buf_init(&job.output, NULL, CREDENTIAL_MAX_BYTES);
    job.argv = proa_arena_calloc(arena, exec->args.len + 2, sizeof *job.argv);
    job.envp = make_env(arena, config, ca_pem);
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

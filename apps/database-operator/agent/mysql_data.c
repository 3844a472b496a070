/* The data folder: what it holds, its first making, and a copy of the primary's.
 *
 * A copy is made by a server without network in the new folder, which takes in what the primary gives:
 *
 *     MySQL      CLONE INSTANCE, which copies the primary's files, accounts included, and ends the server; one more start completes them
 *     MariaDB    mariadb-dump of a snapshot of the primary, through a pipe into the client; it has nothing that copies files over the network
 *
 * docs/decisions/mysql-copies.md says why.
 */
#include "mysql_internal.h"

#include <fcntl.h>
#include <proa/file.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define SETUP_USER "proa_setup"
#define SETUP_FILE "mysql-setup.cnf"
#define SETUP_INIT_FILE "mysql-setup.sql"

enum { READY_POLL_MS = 100, KILL_WAIT_MS = 10000, ER_RESTART_FAILED = 3707 };

/* -- Looking --------------------------------------------------------------------------------------------------------- */

static bool has(const char *folder, const char *name)
{
    char path[4096];

    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && access(path, F_OK) == 0;
}

int my_look(const struct instance *instance, const char *folder, struct data_facts *ret_facts, struct proa_error *err)
{
    bool exists = access(folder, F_OK) == 0;
    bool is_complete = exists && (has(folder, "mysql.ibd") || has(folder, "mysql/global_priv.frm"));

    (void)instance;
    if (exists && !is_complete)
        return proa_fail(err, PROA_ECONFLICT, "%s holds something that is no database", folder);
    ret_facts->is_complete = is_complete;
    ret_facts->was_standby = is_complete && has(folder, MY_STANDBY_MARK);
    return 0;
}

/* -- Making ---------------------------------------------------------------------------------------------------------- */

struct sync_job {
    const char *folder;
    bool failed;
};

static void sync_in_pool(void *arg)
{
    struct sync_job *job = arg;
    int fd = open(job->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    job->failed = fd < 0 || syncfs(fd) < 0;
    if (fd >= 0)
        close(fd);
}

/* Not every file of a new data folder was flushed by who wrote it. */
static int make_durable(const struct instance *instance, const char *folder, struct proa_error *err)
{
    struct sync_job job = {.folder = folder};

    PROA_TRY(proa_blocking(instance->loop, sync_in_pool, &job, NULL, NULL));
    return job.failed ? proa_fail(err, PROA_EIO, "flushing %s", folder) : 0;
}

/* What mysqld and mariadb-install-db make: system tables, and root without a password, which every start of the server gives it. */
static int make_system_tables(const struct instance *instance, struct proa_arena *arena, const char *folder,
                              struct proa_error *err)
{
    const char *defaults = proa_arena_printf(arena, "--defaults-file=" PROA_FMT "/" DATABASE_CONFIG_FILE,
                                             PROA_ARG(instance->config->config_dir))
                               .ptr;
    const char *datadir = proa_arena_printf(arena, "--datadir=%s", folder).ptr;
    const char *files =
        proa_arena_printf(arena, "--secure-file-priv=" PROA_FMT, PROA_ARG(instance->config->run_dir)).ptr;
    const char *const mysql[] = {instance_program(arena, instance, instance->engine->init_command),
                                 defaults,
                                 datadir,
                                 files,
                                 "--initialize-insecure",
                                 NULL};
    const char *const mariadb[] = {instance_program(arena, instance, "mariadb-install-db"),
                                   defaults,
                                   datadir,
                                   files,
                                   "--skip-test-db",
                                   "--auth-root-authentication-method=socket",
                                   "--auth-root-socket-user=root",
                                   NULL};
    struct child_result result;

    if (!defaults || !datadir || !files || !mysql[0] || !mariadb[0])
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return child_run_ok(instance->children, arena,
                        &(struct child_options){.arguments = my_is_mariadb(instance, arena) ? mariadb : mysql}, &result,
                        err);
}

int my_initialise(const struct instance *instance, const char *folder, struct proa_error *err)
{
    struct proa_arena arena;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    rc = make_system_tables(instance, &arena, folder, err);
    if (rc == 0)
        rc = make_durable(instance, folder, err);
    proa_arena_done(&arena);
    return rc;
}

/* -- A server for a copy --------------------------------------------------------------------------------------------- */

struct setup {
    const struct instance *instance;
    struct proa_arena *arena;
    const char *folder;
    struct child *server;
};

/* Whatever happened, it ends here. */
static void setup_done(struct setup *setup)
{
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) =
        proa_shield_enter(setup->instance->loop, PROA_MS(KILL_WAIT_MS));

    if (!setup->server)
        return;
    child_signal(setup->server, SIGKILL);
    if (child_wait(setup->server) < 0)
        return; /* in the kernel's hands */
    child_free(setup->server);
    setup->server = NULL;
}

/* MariaDB's root has it, a dump says so, and nobody who has it not can give it. */
static const char grant_proxy[] =
    "REPLACE INTO mysql.proxies_priv (host, user, proxied_host, proxied_user, with_grant, grantor) "
    "VALUES ('localhost', '" SETUP_USER "', '%', '', 1, '');\nFLUSH PRIVILEGES;\n";

/* Its only user needs no password: the socket lies where nobody but the agent's user gets. */
static int setup_write_files(struct setup *setup, struct proa_error *err)
{
    const struct instance *instance = setup->instance;
    const char *path = instance_run_path(setup->arena, instance, SETUP_INIT_FILE);
    struct my_login login = {.socket = instance_run_path(setup->arena, instance, "mysql-setup.sock"),
                             .user = PROA_STR(SETUP_USER)};
    proa_str script;

    if (!path || !login.socket)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    script = proa_arena_printf(setup->arena,
                               "CREATE USER IF NOT EXISTS '" SETUP_USER "'@'localhost';\n"
                               "GRANT ALL ON *.* TO '" SETUP_USER "'@'localhost' WITH GRANT OPTION;\n%s",
                               my_is_mariadb(instance, setup->arena) ? grant_proxy : "");
    if (!script.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(proa_file_write(instance->loop, path, script, 0600, err));
    return my_write_login(instance, setup->arena, SETUP_FILE, &login, err);
}

static int setup_run(struct setup *setup, proa_str script, unsigned *ret_errno, struct proa_error *err)
{
    return my_run_as(setup->instance, setup->arena, SETUP_FILE, script, NULL, ret_errno, err);
}

/* @returns 0 when it takes statements. */
static int setup_start(struct setup *setup, struct proa_error *err)
{
    const struct instance *instance = setup->instance;
    const char *arguments[SERVER_ARGUMENTS_MAX];

    PROA_TRY(setup_write_files(setup, err));
    PROA_TRY(my_setup_arguments(instance, setup->arena, setup->folder, arguments, err));
    PROA_TRY(child_start(instance->children, &(struct child_options){.arguments = arguments, .folder = setup->folder},
                         &setup->server, err));
    for (;;) {
        int exit_code, rc;

        PROA_TRY(proa_sleep(instance->loop, PROA_MS(READY_POLL_MS)));
        if (child_has_ended(setup->server, &exit_code))
            return proa_fail(err, PROA_EIO, "the server that takes in the copy ended with %d", exit_code);
        rc = setup_run(setup, PROA_STR("SELECT 1;\n"), NULL, err);
        if (rc != PROA_EUNAVAILABLE)
            return rc;
    }
}

static int setup_await_end(struct setup *setup, struct proa_error *err)
{
    int exit_code = 0;

    PROA_TRY(child_wait(setup->server));
    child_has_ended(setup->server, &exit_code);
    child_free(setup->server);
    setup->server = NULL;
    return exit_code == 0 ? 0 : proa_fail(err, PROA_EIO, "the server that took in the copy ended with %d", exit_code);
}

static int setup_stop(struct setup *setup, struct proa_error *err)
{
    PROA_TRY(setup_run(setup, PROA_STR("DROP USER '" SETUP_USER "'@'localhost';\n"), NULL, err));
    child_signal(setup->server, SIGTERM);
    return setup_await_end(setup, err);
}

/* -- MySQL ----------------------------------------------------------------------------------------------------------- */

static int clone_files(struct setup *setup, struct proa_error *err)
{
    const struct instance *instance = setup->instance;
    struct my_login source;
    struct proa_buf script;
    unsigned number = 0;
    int rc;

    PROA_TRY(my_source_login(instance, setup->arena, &source, err));
    proa_buf_init(&script, setup->arena, 0);
    proa_buf_printf(&script, "SET GLOBAL clone_valid_donor_list = '%s:%u';\n", source.host, my_port(instance));
    proa_buf_printf(&script, "CLONE INSTANCE FROM '" PROA_FMT "'@'%s':%u IDENTIFIED BY ", PROA_ARG(source.user),
                    source.host, my_port(instance));
    my_add_literal(&script, source.password);
    proa_buf_add_c(&script, " REQUIRE SSL;\n");
    if (script.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(setup_start(setup, err));
    rc = setup_run(setup, proa_buf_str(&script), &number, err);
    /* All is copied; that nobody starts the server again for it is how it should be. */
    if (rc < 0 && number != ER_RESTART_FAILED)
        return proa_error_wrap(err, "cloning from %s", source.host);
    PROA_TRY(setup_await_end(setup, err));
    PROA_TRY(setup_start(setup, err));
    return setup_stop(setup, err);
}

/* -- MariaDB --------------------------------------------------------------------------------------------------------- */

/* One transaction's view of all tables, and the GTID up to which it goes. Accounts come as statements, which are safe between versions. */
static int start_dump(struct setup *setup, int output_fd, struct child **ret_dump, struct proa_error *err)
{
    const struct instance *instance = setup->instance;
    const char *path = instance_run_path(setup->arena, instance, MY_SOURCE_FILE);
    const char *const arguments[] = {instance_program(setup->arena, instance, "mariadb-dump"),
                                     proa_arena_printf(setup->arena, "--defaults-file=%s", path ? path : "").ptr,
                                     "--all-databases",
                                     "--ignore-database=mysql",
                                     "--system=all",
                                     "--replace",
                                     "--single-transaction",
                                     "--gtid",
                                     "--master-data=1",
                                     "--routines",
                                     "--events",
                                     "--triggers",
                                     "--hex-blob",
                                     "--default-character-set=utf8mb4",
                                     "--max-allowed-packet=1G",
                                     NULL};

    if (!path || !arguments[0] || !arguments[1])
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return child_start(instance->children, &(struct child_options){.arguments = arguments, .output_fd = output_fd},
                       ret_dump, err);
}

static int load_dump(struct setup *setup, int input_fd, struct proa_error *err)
{
    const struct instance *instance = setup->instance;
    const char *path = instance_run_path(setup->arena, instance, SETUP_FILE);
    const char *const arguments[] = {instance_program(setup->arena, instance, "mariadb"),
                                     proa_arena_printf(setup->arena, "--defaults-file=%s", path ? path : "").ptr,
                                     "--batch",
                                     "--binary-mode",
                                     "--default-character-set=utf8mb4",
                                     "--max-allowed-packet=1G",
                                     NULL};
    struct child_result result;

    if (!path || !arguments[0] || !arguments[1])
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return child_run_ok(instance->children, setup->arena,
                        &(struct child_options){.arguments = arguments, .input_fd = input_fd}, &result, err);
}

/* The dump may still be writing when the client has failed. */
static int end_dump(struct setup *setup, struct child *dump, bool is_loaded, struct proa_error *err)
{
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) =
        proa_shield_enter(setup->instance->loop, PROA_MS(KILL_WAIT_MS));
    int exit_code = -1;

    if (!is_loaded)
        child_signal(dump, SIGKILL);
    PROA_TRY(child_wait(dump));
    child_has_ended(dump, &exit_code);
    child_free(dump);
    return !is_loaded || exit_code == 0 ? 0 : proa_fail(err, PROA_EIO, "mariadb-dump ended with %d", exit_code);
}

static int pipe_dump(struct setup *setup, struct proa_error *err)
{
    struct child *dump = NULL;
    int fds[2], rc, ended;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return proa_fail(err, PROA_EIO, "a pipe for the copy");
    rc = start_dump(setup, fds[1], &dump, err);
    close(fds[1]);
    if (rc == 0) {
        rc = load_dump(setup, fds[0], err);
        ended = end_dump(setup, dump, rc == 0, rc == 0 ? err : NULL);
        rc = rc < 0 ? rc : ended;
    }
    close(fds[0]);
    return rc;
}

static int copy_rows(struct setup *setup, struct proa_error *err)
{
    PROA_TRY(my_write_source(setup->instance, setup->arena, err));
    PROA_TRY(setup_start(setup, err));
    PROA_TRY(pipe_dump(setup, err));
    return setup_stop(setup, err);
}

/* -------------------------------------------------------------------------------------------------------------------- */

int my_clone(const struct instance *instance, const char *folder, struct proa_error *err)
{
    struct proa_arena arena;
    struct setup setup = {.instance = instance, .arena = &arena, .folder = folder};
    const char *mark;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    mark = proa_arena_printf(&arena, "%s/" MY_STANDBY_MARK, folder).ptr;
    rc = mark ? make_system_tables(instance, &arena, folder, err) : proa_fail(err, PROA_ENOMEM, "memory is out");
    if (rc == 0)
        rc = my_is_mariadb(instance, &arena) ? copy_rows(&setup, err) : clone_files(&setup, err);
    setup_done(&setup);
    if (rc == 0)
        rc = proa_file_write(instance->loop, mark, PROA_STR(""), 0640, err);
    if (rc == 0)
        rc = make_durable(instance, folder, err);
    proa_arena_done(&arena);
    return rc;
}

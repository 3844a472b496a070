/* The configuration files of an instance. They lie in the data folder, and are written anew before every start: what a clone brings
 * of its primary's is replaced. */
#include "postgres_internal.h"

#include <errno.h>
#include <proa/file.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEAST_FILE "standby-least.conf"

enum { PASSWD_MAX_BYTES = 1024 * 1024, FILE_MAX_BYTES = 256 * 1024 };

static int write_file(const struct instance *instance, struct proa_arena *arena, const char *folder, const char *name,
                      const struct proa_buf *content, struct proa_error *err)
{
    const char *path = proa_arena_printf(arena, "%s/%s", folder, name).ptr;

    proa_str is;

    if (content->error < 0 || !path)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    /* What is there already is not written again: a full volume is no reason not to start. */
    if (proa_file_read(instance->loop, arena, path, FILE_MAX_BYTES, &is, NULL) == 0 &&
        proa_str_eq(is, proa_buf_str(content)))
        return 0;
    return proa_file_write(instance->loop, path, proa_buf_str(content), 0600, err);
}

/* -- pg_hba.conf, pg_ident.conf -------------------------------------------------------------------------------------- */

/* The superuser comes over the socket and as the agent's own user only; the replication user replicates only. */
static const char hba[] = "# Written by the database agent before every start.\n"
                          "local   all           " PG_SUPERUSER "                    peer map=agent\n"
                          "local   replication   " PG_SUPERUSER "                    peer map=agent\n"
                          "local   all           " PG_REPLICATION_USER "                  reject\n"
                          "local   all           all                         scram-sha-256\n"
                          "host    replication   " PG_REPLICATION_USER "    all           scram-sha-256\n"
                          "host    replication   all           all           reject\n"
                          "host    all           " PG_REPLICATION_USER "    all           reject\n"
                          "host    all           " PG_SUPERUSER "      all           reject\n"
                          "host    all           all           all           scram-sha-256\n";

/* The name of this process's user. glibc's own look-up wants shared libraries, which a static program lacks. */
static int own_name(const struct instance *instance, struct proa_arena *arena, proa_str *ret_name,
                    struct proa_error *err)
{
    proa_str text, line, field[3];

    PROA_TRY(proa_file_read(instance->loop, arena, "/etc/passwd", PASSWD_MAX_BYTES, &text, err));
    while (proa_str_split(&text, '\n', &line)) {
        uint64_t uid;

        if (proa_str_split(&line, ':', &field[0]) && proa_str_split(&line, ':', &field[1]) &&
            proa_str_split(&line, ':', &field[2]) && proa_str_to_u64(field[2], &uid) == 0 && uid == geteuid()) {
            *ret_name = field[0];
            return 0;
        }
    }
    return proa_fail(err, PROA_ENOTFOUND,
                     "the image has no user with the id %u in /etc/passwd, which PostgreSQL's programs need",
                     (unsigned)geteuid());
}

static int write_access(const struct instance *instance, struct proa_arena *arena, const char *folder,
                        struct proa_error *err)
{
    struct proa_buf out;
    proa_str name = {0};

    proa_buf_init(&out, arena, 0);
    proa_buf_add_c(&out, hba);
    PROA_TRY(write_file(instance, arena, folder, "pg_hba.conf", &out, err));
    PROA_TRY(own_name(instance, arena, &name, err));
    proa_buf_clear(&out);
    proa_buf_add_c(&out, "# Written by the database agent before every start.\nagent   ");
    pg_add_identifier(&out, name);
    proa_buf_add_c(&out, "   " PG_SUPERUSER "\n");
    return write_file(instance, arena, folder, "pg_ident.conf", &out, err);
}

/* -- Following a primary --------------------------------------------------------------------------------------------- */

int pg_write_passfile(const struct instance *instance, struct proa_arena *arena, const char **ret_path,
                      struct proa_error *err)
{
    proa_str password = instance->credentials->replication_password;
    const char *path = instance_run_path(arena, instance, PG_PASSFILE);
    struct proa_buf out;

    if (!path)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    proa_buf_init(&out, arena, 0);
    proa_buf_add_c(&out, "*:*:*:" PG_REPLICATION_USER ":");
    for (size_t i = 0; i < password.len; i++) {
        if (password.ptr[i] == ':' || password.ptr[i] == '\\')
            proa_buf_add_char(&out, '\\');
        proa_buf_add_char(&out, password.ptr[i]);
    }
    proa_buf_add_char(&out, '\n');
    if (out.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(proa_file_write(instance->loop, path, proa_buf_str(&out), 0600, err));
    *ret_path = path;
    return 0;
}

void pg_add_primary_conninfo(struct proa_buf *out, const struct instance *instance, const char *passfile)
{
    char port[8];

    snprintf(port, sizeof port, "%u", pg_port(instance));
    pg_add_conninfo(out, "host", instance->primary_host);
    pg_add_conninfo(out, "port", proa_str_c(port));
    pg_add_conninfo(out, "user", PROA_STR(PG_REPLICATION_USER));
    pg_add_conninfo(out, "passfile", proa_str_c(passfile));
    pg_add_conninfo(out, "application_name", instance->config->pod);
    pg_add_conninfo(out, "connect_timeout", PROA_STR("10"));
    /* A primary whose node is gone is noticed within half a minute. */
    pg_add_conninfo(out, "keepalives_idle", PROA_STR("10"));
    pg_add_conninfo(out, "keepalives_interval", PROA_STR("5"));
    pg_add_conninfo(out, "keepalives_count", PROA_STR("3"));
    pg_add_conninfo(out, "tcp_user_timeout", PROA_STR("30000"));
}

/* -- postgresql.conf ------------------------------------------------------------------------------------------------- */

static int add_main(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena,
                    struct proa_error *err)
{
    char slot[PG_SLOT_MAX];
    struct proa_buf conninfo;
    const char *passfile = NULL;

    /* What comes later wins. */
    proa_buf_add_c(
        out, "# Written by the database agent before every start; what the Database says is in the file included.\n"
             "lc_messages = 'C'\n"
             "timezone = 'UTC'\n"
             "log_timezone = 'UTC'\n"
             "log_line_prefix = '%m [%p] %q%u@%d '\n");
    proa_buf_printf(out, "include = '" PROA_FMT "/" DATABASE_CONFIG_FILE "'\n", PROA_ARG(instance->config->config_dir));
    engine_postgres.write_parameter(out, PROA_STR("unix_socket_directories"), instance->config->run_dir);
    proa_buf_add_c(out, "unix_socket_permissions = 0700\n");
    proa_buf_printf(out, "port = %u\n", pg_port(instance));
    if (instance->config->listen.len > 0)
        engine_postgres.write_parameter(out, PROA_STR("listen_addresses"), instance->config->listen);
    proa_buf_add_c(out, "include_if_exists = '" LEAST_FILE "'\n");
    if (instance->role != ROLE_STANDBY)
        return 0;
    PROA_TRY(pg_write_passfile(instance, arena, &passfile, err));
    proa_buf_init(&conninfo, arena, 0);
    pg_add_primary_conninfo(&conninfo, instance, passfile);
    if (conninfo.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    engine_postgres.write_parameter(out, PROA_STR("primary_conninfo"), proa_buf_str(&conninfo));
    pg_slot_name(instance, instance->ordinal, slot);
    engine_postgres.write_parameter(out, PROA_STR("primary_slot_name"), proa_str_c(slot));
    return 0;
}

static int write_main(const struct instance *instance, struct proa_arena *arena, const char *folder,
                      struct proa_error *err)
{
    struct proa_buf out;

    proa_buf_init(&out, arena, 0);
    PROA_TRY(add_main(&out, instance, arena, err));
    return write_file(instance, arena, folder, "postgresql.conf", &out, err);
}

/* The file that makes it a standby stands before the server can run, or nothing of the data may be touched. */
int pg_mark_standby(const struct instance *instance, struct proa_arena *arena, const char *folder,
                    struct proa_error *err)
{
    const struct proa_buf empty = {0};

    return instance->role == ROLE_STANDBY ? write_file(instance, arena, folder, "standby.signal", &empty, err) : 0;
}

/* -- What a standby needs at least ----------------------------------------------------------------------------------- */

/* A standby does not start with less of these than its primary had when the WAL was written. When one is made smaller, standbys are
 * restarted first: they keep the larger value until the primary's restart has come to them through the WAL. */
static const struct {
    const char *name, *label; /* as pg_controldata prints it */
} least[] = {
    {"max_connections", "max_connections setting:"},
    {"max_worker_processes", "max_worker_processes setting:"},
    {"max_wal_senders", "max_wal_senders setting:"},
    {"max_prepared_transactions", "max_prepared_xacts setting:"},
    {"max_locks_per_transaction", "max_locks_per_xact setting:"},
};

int pg_read_control(proa_str text, const char *label, uint64_t *ret_value)
{
    proa_str line;

    while (proa_str_split(&text, '\n', &line))
        if (proa_str_starts_with(line, proa_str_c(label)))
            return proa_str_to_u64(proa_str_trim(proa_str_slice(line, strlen(label), line.len)), ret_value);
    return PROA_ENOTFOUND;
}

static int configured_value(const struct instance *instance, struct proa_arena *arena, const char *folder,
                            const char *name, uint64_t *ret_value, struct proa_error *err)
{
    const char *const arguments[] = {
        instance_program(arena, instance, instance->engine->server_command), "-D", folder, "-C", name, NULL};
    struct child_result result = {0};
    proa_str line;

    if (!arguments[0])
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(child_run_ok(instance->children, arena, &(struct child_options){.arguments = arguments}, &result, err));
    proa_str_split(&result.output, '\n', &line);
    return proa_str_to_u64(line, ret_value);
}

static int write_least(const struct instance *instance, struct proa_arena *arena, const char *folder,
                       struct proa_error *err)
{
    const char *const arguments[] = {instance_program(arena, instance, "pg_controldata"), "-D", folder, NULL};
    struct child_result result = {0};
    struct proa_buf out;

    proa_buf_init(&out, arena, 0);
    proa_buf_add_c(&out, "# Written by the database agent before every start.\n");
    PROA_TRY(write_file(instance, arena, folder, LEAST_FILE, &out, err)); /* its last settings do not count */
    if (instance->role != ROLE_STANDBY)
        return 0;
    if (!arguments[0])
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(child_run_ok(instance->children, arena, &(struct child_options){.arguments = arguments}, &result, err));
    for (size_t i = 0; i < PROA_COUNT(least); i++) {
        uint64_t was, is;

        /* A configuration that the server cannot read, it tells of itself. */
        if (pg_read_control(result.output, least[i].label, &was) < 0 ||
            configured_value(instance, arena, folder, least[i].name, &is, NULL) < 0 || is >= was)
            continue;
        proa_buf_printf(&out, "%s = %llu\n", least[i].name, (unsigned long long)was);
        PROA_INFO(instance->logger, "a standby keeps its primary's larger setting for now",
                  proa_kv_c("setting", least[i].name), proa_kv_u64("value", was));
    }
    return write_file(instance, arena, folder, LEAST_FILE, &out, err);
}

/* Of a server that was killed. In a new container its number may be another process's, for which a server would take it. */
static int remove_leftovers(const struct instance *instance, struct proa_arena *arena, const char *folder,
                            struct proa_error *err)
{
    proa_str run = instance->config->run_dir;
    unsigned port = pg_port(instance);
    const char *const paths[] = {
        proa_arena_printf(arena, "%s/postmaster.pid", folder).ptr,
        proa_arena_printf(arena, PROA_FMT "/.s.PGSQL.%u.lock", PROA_ARG(run), port).ptr,
        proa_arena_printf(arena, PROA_FMT "/.s.PGSQL.%u", PROA_ARG(run), port).ptr,
    };

    for (size_t i = 0; i < PROA_COUNT(paths); i++) {
        if (!paths[i])
            return proa_fail(err, PROA_ENOMEM, "memory is out");
        if (unlink(paths[i]) < 0 && errno != ENOENT)
            return proa_fail_errno(err, errno, "removing %s", paths[i]);
    }
    return 0;
}

int pg_configure(const struct instance *instance, const char *folder, struct proa_error *err)
{
    struct proa_arena arena;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    /* The server wants it so, and a mount that sets groups may have widened it. */
    rc = chmod(folder, 0700) < 0 ? proa_fail_errno(err, errno, "mode of %s", folder) : 0;
    if (rc == 0)
        rc = pg_mark_standby(instance, &arena, folder, err);
    if (rc == 0)
        rc = write_access(instance, &arena, folder, err);
    if (rc == 0)
        rc = remove_leftovers(instance, &arena, folder, err);
    if (rc == 0)
        rc = write_main(instance, &arena, folder, err);
    if (rc == 0)
        rc = write_least(instance, &arena, folder, err);
    proa_arena_done(&arena);
    return rc;
}

/* The server reads its files again, and connects anew if they name another primary; the password file is read at each connection. */
int pg_follow(const struct instance *instance, struct proa_error *err)
{
    struct proa_arena arena;
    struct child_result result = {0};
    const char *folder;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    folder = proa_arena_printf(&arena, PROA_FMT "/data", PROA_ARG(instance->config->volume_dir)).ptr;
    rc = folder ? write_main(instance, &arena, folder, err) : proa_fail(err, PROA_ENOMEM, "memory is out");
    if (rc == 0)
        rc = pg_run(instance, &arena, PG_SUPERUSER, PROA_STR("SELECT pg_reload_conf();\n"), &result, err);
    proa_arena_done(&arena);
    return rc;
}

/* How the server is started. The operator's settings are in its file; what an instance adds is said by arguments, which count more. */
#include "mysql_internal.h"

#include <errno.h>
#include <proa/file.h>
#include <stdio.h>
#include <unistd.h>

#define SERVER_ID_FILE "proa-server-id"

enum { ROOT_PASSWORD_BYTES = 24, SERVER_ID_TEXT_MAX = 16, ORDINAL_BITS = 3, SETUP_PACKET_BYTES = 1 << 30 };

/* -- Before every start ---------------------------------------------------------------------------------------------- */

/* Different for every making of data, so that MariaDB's GTIDs, which are made of it, are never those of another database; and for every
 * instance of one. Kept with the data. */
static int server_id(const struct instance *instance, struct proa_arena *arena, const char *folder, uint32_t *ret_id,
                     struct proa_error *err)
{
    const char *path = proa_arena_printf(arena, "%s/" SERVER_ID_FILE, folder).ptr;
    char text[SERVER_ID_TEXT_MAX];
    uint64_t id = 0;
    uint32_t chance;
    proa_str content;
    int rc;

    if (!path)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    rc = proa_file_read(instance->loop, arena, path, sizeof text, &content, err);
    if (rc == 0 && (proa_str_to_u64(content, &id) < 0 || id == 0 || id > UINT32_MAX))
        return proa_fail(err, PROA_ESYNTAX, "%s is no server id", path);
    if (rc == PROA_ENOTFOUND) {
        proa_loop_random(instance->loop, &chance, sizeof chance);
        /* Below 2^31, which is as far as every tool goes. */
        id = ((uint64_t)(chance >> (ORDINAL_BITS + 1)) << ORDINAL_BITS) + instance->ordinal + 1;
        snprintf(text, sizeof text, "%u", (uint32_t)id);
        rc = proa_file_write(instance->loop, path, proa_str_c(text), 0640, err);
    }
    PROA_TRY(rc);
    *ret_id = (uint32_t)id;
    return 0;
}

static int mark_role(const struct instance *instance, struct proa_arena *arena, const char *folder,
                     struct proa_error *err)
{
    const char *path = proa_arena_printf(arena, "%s/" MY_STANDBY_MARK, folder).ptr;

    if (!path)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (instance->role == ROLE_STANDBY)
        return proa_file_write(instance->loop, path, PROA_STR(""), 0640, err);
    return unlink(path) < 0 && errno != ENOENT ? proa_fail_errno(err, errno, "removing %s", path) : 0;
}

/* Runs before the server listens, and is in no binary log. Nobody knows the password but who may read the run folder. */
static int write_root(const struct instance *instance, struct proa_arena *arena, struct proa_error *err)
{
    unsigned char bytes[ROOT_PASSWORD_BYTES];
    char password[2 * ROOT_PASSWORD_BYTES + sizeof MY_PASSWORD_TAIL] = "";
    const char *path = instance_run_path(arena, instance, MY_INIT_FILE);
    struct my_login login = {.socket = instance_run_path(arena, instance, "mysqld.sock"), .user = PROA_STR("root")};
    proa_str script;

    proa_loop_random(instance->loop, bytes, sizeof bytes);
    proa_hex_encode(password, proa_str_n((const char *)bytes, sizeof bytes));
    memcpy(password + 2 * ROOT_PASSWORD_BYTES, MY_PASSWORD_TAIL, sizeof MY_PASSWORD_TAIL);
    login.password = proa_str_c(password);
    script =
        proa_arena_printf(arena,
                          "SET SESSION sql_log_bin = 0, sql_log_off = 1;\n"
                          "CREATE USER IF NOT EXISTS 'root'@'localhost' IDENTIFIED BY '%s';\n"
                          "ALTER USER 'root'@'localhost' IDENTIFIED BY '%s' PASSWORD EXPIRE NEVER ACCOUNT UNLOCK;\n"
                          "GRANT ALL ON *.* TO 'root'@'localhost' WITH GRANT OPTION;\n",
                          password, password);
    if (!path || !login.socket || !script.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(proa_file_write(instance->loop, path, script, 0600, err));
    return my_write_login(instance, arena, MY_ROOT_FILE, &login, err);
}

int my_configure(const struct instance *instance, const char *folder, struct proa_error *err)
{
    struct proa_arena arena;
    uint32_t id = 0;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    rc = server_id(instance, &arena, folder, &id, err);
    if (rc == 0)
        rc = mark_role(instance, &arena, folder, err);
    if (rc == 0)
        rc = write_root(instance, &arena, err);
    proa_arena_done(&arena);
    return rc;
}

/* -- Arguments ------------------------------------------------------------------------------------------------------- */

struct argument_list {
    const char **out;
    size_t count;
    bool failed;
};

static void add(struct argument_list *list, const char *argument)
{
    list->failed |= !argument || list->count + 1 >= SERVER_ARGUMENTS_MAX;
    if (list->failed)
        return;
    list->out[list->count++] = argument;
    list->out[list->count] = NULL;
}

static void add_path(struct argument_list *list, struct proa_arena *arena, const char *key, const char *path)
{
    add(list, path ? proa_arena_printf(arena, "--%s=%s", key, path).ptr : NULL);
}

/* `name` is that of socket and pid file. */
static void add_common(struct argument_list *list, const struct instance *instance, struct proa_arena *arena,
                       const char *folder, const char *name)
{
    const struct agent_config *config = instance->config;
    proa_str base = proa_arena_printf(arena, PROA_FMT "/%s", PROA_ARG(config->run_dir), name);

    add(list, my_program(instance, arena, "mariadbd", instance->engine->server_command));
    add(list,
        proa_arena_printf(arena, "--defaults-file=" PROA_FMT "/" DATABASE_CONFIG_FILE, PROA_ARG(config->config_dir))
            .ptr);
    add_path(list, arena, "datadir", folder);
    add(list, base.ptr ? proa_arena_printf(arena, "--socket=%s.sock", base.ptr).ptr : NULL);
    add(list, base.ptr ? proa_arena_printf(arena, "--pid-file=%s.pid", base.ptr).ptr : NULL);
    add_path(list, arena, "secure-file-priv", config->run_dir.ptr);
    if (!my_is_mariadb(instance, arena))
        add(list, "--plugin-load-add=mysql_clone.so");
}

static int finish(const struct argument_list *list, struct proa_error *err)
{
    return list->failed ? proa_fail(err, PROA_ENOMEM, "memory is out") : 0;
}

int my_server_arguments(const struct instance *instance, struct proa_arena *arena, const char *folder,
                        const char *ret_arguments[SERVER_ARGUMENTS_MAX], struct proa_error *err)
{
    const struct agent_config *config = instance->config;
    bool is_standby = instance->role == ROLE_STANDBY;
    struct argument_list list = {.out = ret_arguments};
    uint32_t id = 0;

    PROA_TRY(server_id(instance, arena, folder, &id, err));
    add_common(&list, instance, arena, folder, "mysqld");
    add_path(&list, arena, "init-file", instance_run_path(arena, instance, MY_INIT_FILE));
    add(&list, proa_arena_printf(arena, "--server-id=%u", id).ptr);
    add(&list, proa_arena_printf(arena, "--report-host=" PROA_FMT, PROA_ARG(config->pod)).ptr);
    add(&list, proa_arena_printf(arena, "--port=%u", my_port(instance)).ptr);
    if (config->listen.len > 0)
        add_path(&list, arena, "bind-address", config->listen.ptr);
    add(&list, is_standby ? "--read-only=ON" : "--read-only=OFF");
    add(&list, is_standby ? "--loose-super-read-only=ON" : "--loose-super-read-only=OFF");
    /* A copied event is the primary's to run. */
    if (is_standby)
        add(&list, "--event-scheduler=OFF");
    return finish(&list, err);
}

int my_setup_arguments(const struct instance *instance, struct proa_arena *arena, const char *folder,
                       const char *ret_arguments[SERVER_ARGUMENTS_MAX], struct proa_error *err)
{
    struct argument_list list = {.out = ret_arguments};

    add_common(&list, instance, arena, folder, "mysql-setup");
    add_path(&list, arena, "init-file", instance_run_path(arena, instance, "mysql-setup.sql"));
    add(&list, "--server-id=1");
    add(&list, "--skip-networking");
    add(&list, "--skip-log-bin");
    add(&list, "--log-slave-updates=OFF");
    add(&list, "--event-scheduler=OFF");
    /* If it is cut short, the whole folder is thrown away. */
    add(&list, "--innodb-flush-log-at-trx-commit=0");
    add(&list, proa_arena_printf(arena, "--max-allowed-packet=%d", SETUP_PACKET_BYTES).ptr);
    return finish(&list, err);
}

/* -- After every start ----------------------------------------------------------------------------------------------- */

/* MySQL does it itself. The program does nothing when it has been run with this version before, and writes to no binary log: every instance
 * does it for itself. */
int my_settle(const struct instance *instance, struct proa_error *err)
{
    struct child_result result;
    struct proa_arena arena;
    const char *login;
    int rc = 0;

    proa_arena_init(&arena, NULL, 0);
    login = instance_run_path(&arena, instance, MY_ROOT_FILE);
    if (my_is_mariadb(instance, &arena)) {
        const char *const arguments[] = {instance_program(&arena, instance, "mariadb-upgrade"),
                                         proa_arena_printf(&arena, "--defaults-file=%s", login ? login : "").ptr,
                                         "--upgrade-system-tables", "--skip-write-binlog", NULL};

        rc = !login || !arguments[0] || !arguments[1]
                 ? proa_fail(err, PROA_ENOMEM, "memory is out")
                 : child_run_ok(instance->children, &arena, &(struct child_options){.arguments = arguments}, &result,
                                err);
    }
    proa_arena_done(&arena);
    return rc;
}

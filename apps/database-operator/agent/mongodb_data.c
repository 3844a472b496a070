/* The data folder, the key, and how the server is started. mongod makes its files itself at its first start, and a member of a replica
 * set copies the others' data itself, again and again until it has all: what is made here is only what tells an instance's role and key. */
#include "mongodb_internal.h"

#include "derive.h"

#include <errno.h>
#include <proa/file.h>
#include <proa/text.h>
#include <stdio.h>
#include <unistd.h>

enum { KEY_BYTES = MO_KEY_LEN / 4 * 3, KEY_FILE_MAX_BYTES = 1024 };

/* -- Looking and making ---------------------------------------------------------------------------------------------- */

static bool has(const char *folder, const char *name)
{
    char path[4096];

    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && access(path, F_OK) == 0;
}

int mo_look(const struct instance *instance, const char *folder, struct data_facts *ret_facts, struct proa_error *err)
{
    bool exists = access(folder, F_OK) == 0, is_complete = exists && has(folder, MO_DATA_MARK);

    (void)instance;
    if (exists && !is_complete)
        return proa_fail(err, PROA_ECONFLICT, "%s holds something that is no database", folder);
    ret_facts->is_complete = is_complete;
    ret_facts->was_standby = is_complete && has(folder, MO_STANDBY_MARK);
    return 0;
}

static int write_in(const struct instance *instance, struct proa_arena *arena, const char *folder, const char *name,
                    proa_str content, unsigned mode, struct proa_error *err)
{
    const char *path = proa_arena_printf(arena, "%s/%s", folder, name).ptr;

    return path ? proa_file_write(instance->loop, path, content, mode, err)
                : proa_fail(err, PROA_ENOMEM, "memory is out");
}

static int make(const struct instance *instance, const char *folder, bool is_standby, struct proa_error *err)
{
    struct proa_arena arena;
    int rc = 0;

    proa_arena_init(&arena, NULL, 0);
    if (is_standby)
        rc = write_in(instance, &arena, folder, MO_STANDBY_MARK, PROA_STR(""), 0640, err);
    if (rc == 0)
        rc = write_in(instance, &arena, folder, MO_DATA_MARK, PROA_STR(""), 0640, err);
    proa_arena_done(&arena);
    return rc;
}

int mo_initialise(const struct instance *instance, const char *folder, struct proa_error *err)
{
    return make(instance, folder, false, err);
}

int mo_clone(const struct instance *instance, const char *folder, struct proa_error *err)
{
    return make(instance, folder, true, err);
}

/* -- The key --------------------------------------------------------------------------------------------------------- */

static int present_key(const struct instance *instance, struct proa_arena *arena, proa_str *ret_key,
                       struct proa_error *err)
{
    unsigned char bytes[DERIVED_BYTES];
    struct proa_buf key;

    _Static_assert((int)KEY_BYTES <= (int)DERIVED_BYTES && KEY_BYTES % 3 == 0, "base64 without padding");
    if (instance->credentials->replication_password.len == 0)
        return proa_fail(err, PROA_EINVAL, "credentials: replicationPassword is empty");
    if (derive_secret(instance->credentials->replication_password, "mongodb-key", bytes) < 0)
        return proa_fail(err, PROA_EINTERNAL, "deriving a key");
    proa_buf_init(&key, arena, 0);
    proa_base64_encode(&key, proa_str_n((const char *)bytes, KEY_BYTES));
    if (key.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    *ret_key = proa_buf_str(&key);
    return 0;
}

/* After a change of the replication password the key before it is known for one change more: members started before and after understand
 * each other. Kept with the data, since a new pod's run folder is empty. */
static int known_keys(const struct instance *instance, struct proa_arena *arena, const char *folder, proa_str *ret_keys,
                      struct proa_error *err)
{
    const char *path = proa_arena_printf(arena, "%s/" MO_KEYS_FILE, folder).ptr;
    proa_str key = {0}, rest = {0}, newest = {0};
    int rc;

    if (!path)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(present_key(instance, arena, &key, err));
    rc = proa_file_read(instance->loop, arena, path, KEY_FILE_MAX_BYTES, &rest, err);
    if (rc < 0 && rc != PROA_ENOTFOUND)
        return rc;
    if (rc == 0) {
        *ret_keys = rest;
        if (proa_str_split(&rest, '\n', &newest) && proa_str_eq_secret(newest, key))
            return 0;
    }
    key = newest.len == MO_KEY_LEN
              ? proa_arena_printf(arena, PROA_FMT "\n" PROA_FMT "\n", PROA_ARG(key), PROA_ARG(newest))
              : proa_arena_printf(arena, PROA_FMT "\n", PROA_ARG(key));
    if (!key.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    *ret_keys = key;
    return proa_file_write(instance->loop, path, key, 0600, err);
}

/* One key plain, or a list of them in YAML. */
static int write_key_file(const struct instance *instance, struct proa_arena *arena, const char *folder,
                          struct proa_error *err)
{
    const char *path = instance_run_path(arena, instance, MO_KEY_FILE);
    proa_str keys = {0}, key;
    struct proa_buf out;

    PROA_TRY(known_keys(instance, arena, folder, &keys, err));
    proa_buf_init(&out, arena, 0);
    while (proa_str_split(&keys, '\n', &key))
        if (key.len > 0)
            proa_buf_printf(&out, "- \"" PROA_FMT "\"\n", PROA_ARG(key));
    if (out.error < 0 || !path)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return proa_file_write(instance->loop, path, proa_buf_str(&out), 0400, err);
}

int mo_read_key(const struct instance *instance, struct proa_arena *arena, proa_str *ret_key, struct proa_error *err)
{
    const char *path = instance_run_path(arena, instance, MO_KEY_FILE);
    proa_str content = {0}, key = {0};

    if (!path)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(proa_file_read(instance->loop, arena, path, KEY_FILE_MAX_BYTES, &content, err));
    /* The first between quotes. */
    for (int i = 0; i < 2; i++)
        if (!proa_str_split(&content, '"', &key))
            key = (proa_str){0};
    if (key.len != MO_KEY_LEN)
        return proa_fail(err, PROA_ESYNTAX, "%s holds no key", path);
    *ret_key = key;
    return 0;
}

/* -- Starting -------------------------------------------------------------------------------------------------------- */

static int mark_role(const struct instance *instance, struct proa_arena *arena, const char *folder,
                     struct proa_error *err)
{
    const char *path = proa_arena_printf(arena, "%s/" MO_STANDBY_MARK, folder).ptr;

    if (!path)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (instance->role == ROLE_STANDBY)
        return proa_file_write(instance->loop, path, PROA_STR(""), 0640, err);
    return unlink(path) < 0 && errno != ENOENT ? proa_fail_errno(err, errno, "removing %s", path) : 0;
}

int mo_configure(const struct instance *instance, const char *folder, struct proa_error *err)
{
    struct proa_arena arena;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    rc = mark_role(instance, &arena, folder, err);
    if (rc == 0)
        rc = write_key_file(instance, &arena, folder, err);
    proa_arena_done(&arena);
    return rc;
}

int mo_server_arguments(const struct instance *instance, struct proa_arena *arena, const char *folder,
                        const char *ret_arguments[SERVER_ARGUMENTS_MAX], struct proa_error *err)
{
    const struct agent_config *config = instance->config;
    bool has_listen = config->listen.len > 0;
    const char *const arguments[] = {
        instance_program(arena, instance, instance->engine->server_command),
        "--config",
        proa_arena_printf(arena, PROA_FMT "/" DATABASE_CONFIG_FILE, PROA_ARG(config->config_dir)).ptr,
        "--dbpath",
        proa_arena_cstr(arena, proa_str_c(folder)),
        "--keyFile",
        instance_run_path(arena, instance, MO_KEY_FILE),
        "--unixSocketPrefix",
        proa_arena_cstr(arena, config->run_dir),
        "--port",
        proa_arena_printf(arena, "%u", mo_port(instance)).ptr,
        "--setParameter",
        "enableLocalhostAuthBypass=false", /* the agent has the key */
        has_listen ? "--bind_ip" : "--bind_ip_all",
        has_listen ? config->listen.ptr : "",
    };
    size_t count = PROA_COUNT(arguments) - (has_listen ? 0 : 1);

    _Static_assert(PROA_COUNT(arguments) < SERVER_ARGUMENTS_MAX, "room for the end");
    for (size_t i = 0; i < count; i++) {
        if (!arguments[i])
            return proa_fail(err, PROA_ENOMEM, "memory is out");
        ret_arguments[i] = arguments[i];
    }
    ret_arguments[count] = NULL;
    return 0;
}

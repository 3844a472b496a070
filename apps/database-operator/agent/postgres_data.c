/* The data folder: what it holds, its first making, and a copy of the primary's. */
#include "postgres_internal.h"

#include <stdio.h>
#include <unistd.h>

static bool has(const char *folder, const char *name)
{
    char path[4096];

    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && access(path, F_OK) == 0;
}

int pg_look(const struct instance *instance, const char *folder, struct data_facts *ret_facts, struct proa_error *err)
{
    bool exists = access(folder, F_OK) == 0;

    (void)instance;
    ret_facts->is_complete = exists && has(folder, "PG_VERSION") && has(folder, "global/pg_control");
    ret_facts->was_standby = ret_facts->is_complete && has(folder, "standby.signal");
    if (exists && !ret_facts->is_complete)
        return proa_fail(err, PROA_ECONFLICT, "%s holds something that is no database", folder);
    return 0;
}

/* The locale does not depend on what the image has, nor its order of texts on the image's libraries. */
static int run_initdb(const struct instance *instance, struct proa_arena *arena, const char *folder,
                      struct proa_error *err)
{
    const char *const arguments[] = {instance_program(arena, instance, instance->engine->init_command),
                                     "--pgdata",
                                     folder,
                                     "--username",
                                     PG_SUPERUSER,
                                     "--encoding=UTF8",
                                     "--locale=C.UTF-8",
                                     "--data-checksums",
                                     "--auth-local=peer",
                                     "--auth-host=scram-sha-256",
                                     NULL};
    struct child_result result = {0};

    if (!arguments[0])
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return child_run_ok(instance->children, arena, &(struct child_options){.arguments = arguments}, &result, err);
}

/* A server without any connection, which reads statements from its input, one a line. */
static int run_single(const struct instance *instance, struct proa_arena *arena, const char *folder, proa_str script,
                      struct proa_error *err)
{
    const char *const arguments[] = {instance_program(arena, instance, instance->engine->server_command),
                                     "--single",
                                     "-D",
                                     folder,
                                     "-c",
                                     "exit_on_error=on",
                                     "-c",
                                     "log_min_error_statement=panic",
                                     "-c",
                                     "log_checkpoints=off",
                                     PG_SUPERUSER,
                                     NULL};
    struct child_result result = {0};

    if (!arguments[0])
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return child_run_ok(instance->children, arena, &(struct child_options){.arguments = arguments, .input = script},
                        &result, err);
}

int pg_initialise(const struct instance *instance, const char *folder, struct proa_error *err)
{
    struct proa_arena arena;
    struct proa_buf script;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    proa_buf_init(&script, &arena, 0);
    rc = pg_add_first_roles(&script, instance, &arena, err);
    if (rc == 0)
        rc = run_initdb(instance, &arena, folder, err);
    if (rc == 0)
        rc = run_single(instance, &arena, folder, proa_buf_str(&script), err);
    proa_arena_done(&arena);
    return rc;
}

int pg_clone(const struct instance *instance, const char *folder, struct proa_error *err)
{
    struct proa_arena arena;
    struct proa_buf conninfo;
    struct child_result result = {0};
    char slot[PG_SLOT_MAX];
    const char *passfile = NULL;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    proa_buf_init(&conninfo, &arena, 0);
    pg_slot_name(instance, instance->ordinal, slot);
    rc = pg_write_passfile(instance, &arena, &passfile, err);
    if (rc == 0) {
        pg_add_primary_conninfo(&conninfo, instance, passfile);
        proa_buf_add_char(&conninfo, '\0');
        rc = conninfo.error < 0 ? proa_fail(err, PROA_ENOMEM, "memory is out") : 0;
    }
    if (rc == 0) {
        const char *const arguments[] = {instance_program(&arena, instance, "pg_basebackup"),
                                         "--pgdata",
                                         folder,
                                         "--wal-method=stream",
                                         "--checkpoint=fast",
                                         "--no-password",
                                         "--slot",
                                         slot,
                                         "--dbname",
                                         conninfo.ptr,
                                         NULL};

        rc = !arguments[0] ? proa_fail(err, PROA_ENOMEM, "memory is out")
                           : child_run_ok(instance->children, &arena, &(struct child_options){.arguments = arguments},
                                          &result, err);
    }
    /* Before anybody can take them for a primary's data. */
    if (rc == 0)
        rc = pg_mark_standby(instance, &arena, folder, err);
    proa_arena_done(&arena);
    return rc;
}

/* The driver of PostgreSQL 14 and later: physical standbys, each with a slot of its own. */
#include "postgres_internal.h"

#include <signal.h>

static int server_arguments(const struct instance *instance, struct proa_arena *arena, const char *folder,
                            const char *ret_arguments[SERVER_ARGUMENTS_MAX], struct proa_error *err)
{
    const char *program = instance_program(arena, instance, instance->engine->server_command);
    const char *own_folder = proa_arena_cstr(arena, proa_str_c(folder));

    if (!program || !own_folder)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    ret_arguments[0] = program;
    ret_arguments[1] = "-D";
    ret_arguments[2] = own_folder;
    ret_arguments[3] = NULL;
    return 0;
}

const struct driver driver_postgres = {
    .engine = ENGINE_POSTGRES,
    .stop_signal = SIGINT, /* fast shutdown: sessions are cut, standbys get all WAL, the last checkpoint's too */
    .stops_writer = true,
    .kill_signal = SIGQUIT, /* immediate shutdown: recovery at the next start */
    .look = pg_look,
    .initialise = pg_initialise,
    .clone = pg_clone,
    .configure = pg_configure,
    .server_arguments = server_arguments,
    .ask = pg_ask,
    .apply_credentials = pg_apply_credentials,
    .keep_replicas = pg_keep_replicas,
    .follow = pg_follow,
    .judge = pg_judge,
    .up = &pg_up,
    .collect = pg_collect,
};

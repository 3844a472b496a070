/* The users service: CRUD and listing of users over JSON, on PostgreSQL or an embedded SQLite file. */
#include "users.h"
#include <proa/json.h>
#include <proa/openapi.h>
#include <proa/pg.h>
#include <proa/sqlite.h>
#include <proa/tls.h>

enum {
    PURGE_EVERY_S = 600,
    MIGRATE_RETRY_MS = 500,
    TELL_EVERY_S = 30, /* that the schema is not up to date yet */
    ATTEMPT_MS = 5000,
    MIGRATE_MS = 600000, /* once the server answers: a step may have much to do */
};

static int migrate(struct users_app *app, struct proa_loop *loop, uint32_t within_ms, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(loop, proa_loop_now(loop) + PROA_MS(within_ms));

    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    PROA_TRY(store_migrate(proa_sql(app->db, loop, &arena, err)));
    app->migrated = true;
    return 0;
}

static void purge(struct users_app *app, struct proa_loop *loop)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_error err = {0};
    uint64_t rows = 0;

    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    if (idempotency_purge(proa_sql(app->db, loop, &arena, &err), &rows) < 0)
        proa_log_failure(app->logger, PROA_LOG_WARN, "forgetting old idempotency keys", &err);
    else if (rows > 0)
        PROA_INFO(app->logger, "forgot old idempotency keys", proa_kv_u64("count", rows));
}

/* Brings the schema up as soon as the database can be reached, then cleans up from time to time. */
static int keep_house(void *arg)
{
    struct users_app *app = arg;
    struct proa_loop *loop = app->loop;
    proa_mono_ns tell_at = 0;

    while (!app->migrated) {
        struct proa_error err = {0};

        if (migrate(app, loop, MIGRATE_MS, &err) == 0)
            break;
        if (proa_loop_now(loop) >= tell_at) {
            proa_log_failure(app->logger, PROA_LOG_WARN, "bringing the schema up to date", &err);
            tell_at = proa_loop_now(loop) + PROA_SECONDS(TELL_EVERY_S);
        }
        PROA_TRY(proa_sleep(loop, PROA_MS(MIGRATE_RETRY_MS)));
    }
    for (;;) {
        purge(app, loop);
        PROA_TRY(proa_sleep(loop, PROA_SECONDS(PURGE_EVERY_S)));
    }
}

static int check_database(void *arg, struct proa_loop *loop, struct proa_error *err)
{
    struct users_app *app = arg;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);

    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    PROA_TRY(proa_db_ping(proa_sql(app->db, loop, &arena, err))); /* why there is no schema, if it cannot be reached */
    return app->migrated ? 0 : proa_fail(err, PROA_EUNAVAILABLE, "the schema is not up to date yet");
}

static int open_database(struct users_app *users, struct proa_app *app, struct proa_error *err)
{
    static const struct proa_db_driver *const drivers[] = {&proa_sqlite_driver, &proa_pg_driver, NULL};
    const struct database_config *limits = &users->config.database;

    return proa_db_open(&(struct proa_db_options){.url = users->config.database_url.ptr,
                                                  .drivers = drivers,
                                                  .loops = proa_app_loops(app),
                                                  .metrics = proa_app_metrics(app),
                                                  .logger = users->logger,
                                                  .tracer = proa_app_tracer(app),
                                                  .shared_connections = limits->shared_connections,
                                                  .own_connections = limits->own_connections,
                                                  .waiting_max = limits->waiting,
                                                  .statement_ms = limits->statement_ms,
                                                  .connect_ms = limits->connect_ms},
                        &users->db, err);
}

static int start(struct proa_app *app, void *state, struct proa_error *err)
{
    struct users_app *users = state;
    struct proa_loop *loop = proa_loops_at(proa_app_loops(app), 0);
    int rc;

    users->logger = proa_app_logger(app);
    PROA_TRY(proa_openapi_add(proa_app_router(app),
                              &(struct proa_openapi_options){
                                  .title = "Users",
                                  .version = "1.0.0",
                                  .description =
                                      "Users over JSON, in PostgreSQL or SQLite. Everything that is not a success is "
                                      "a problem document (RFC 9457)."},
                              err));
    users->loop = loop;
    PROA_TRY(running_keys_init(&users->running, loop));
    PROA_TRY(open_database(users, app, err));
    rc = migrate(users, loop, ATTEMPT_MS, err);
    /* A server that cannot be reached yet, or steps that take long, are waited for in the background; anything else is
     * a mistake to be told now. */
    if (rc < 0 && rc != PROA_EUNAVAILABLE && rc != PROA_ETIMEDOUT && rc != PROA_EBUSY)
        return rc;
    if (rc < 0)
        proa_log_failure(users->logger, PROA_LOG_WARN, "waiting for the database", err);
    PROA_TRY(proa_app_add_check(app, &(struct proa_check){.name = "database", .check = check_database, .arg = users}));
    return proa_app_start_task(app, "housekeeping", keep_house, users);
}

/* A rotated password of the database is taken over; its limits are what the connections were made for. */
static int reload(struct proa_app *app, void *state, const void *config, struct proa_error *err)
{
    struct users_app *users = state;
    const struct users_config *next = config;

    (void)app;
    PROA_TRY(proa_db_set_url(users->db, next->database_url.ptr, err));
    if (!proa_equal_type(&database_config_type.type, &users->config.database, &next->database))
        PROA_WARN(users->logger,
                  "the limits of the database's connections cannot change while the program runs: they need a restart",
                  proa_kv_c("setting", "database"));
    return 0;
}

static void stop(struct proa_app *app, void *state)
{
    struct users_app *users = state;

    (void)app;
    proa_db_close(users->db);
    running_keys_done(&users->running);
}

int main(int argc, char **argv)
{
    struct users_app users = {0};

    return proa_app_run(&(struct proa_app_options){.name = "users",
                                                   .version = PROA_VERSION,
                                                   .doc = "Users over JSON, in PostgreSQL or SQLite.",
                                                   .routes = users_routes,
                                                   .routes_count = users_routes_count,
                                                   .tls = &proa_tls_provider,
                                                   .state = &users,
                                                   .config_type = &users_config_type.type,
                                                   .config = &users.config,
                                                   .start = start,
                                                   .reload = reload,
                                                   .stop = stop},
                        argc, argv);
}

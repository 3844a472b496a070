/* The PostgreSQL driver: its table, opening and closing, and each loop's part. */
#include "pg_internal.h"

#include <proa/loops.h>
#include <proa/pg.h>
#include <stdlib.h>

struct pg_loop *pg_loop_of(struct pg *pg, const struct proa_loop *loop)
{
    uint32_t guess = proa_loop_index(loop);

    if (guess < pg->loops_count && pg->loops[guess].loop == loop)
        return &pg->loops[guess];
    for (uint32_t i = 0; i < pg->loops_count; i++) {
        if (pg->loops[i].loop == loop)
            return &pg->loops[i];
    }
    return NULL;
}

/* -- Opening --------------------------------------------------------------------------------------------------- */

static void loop_start(struct proa_task *task)
{
    struct pg_loop *pl = PROA_CONTAINER(task, struct pg_loop, start);

    if (pl->is_closing)
        return;
    pl->down_since = proa_loop_now(pl->loop);
    for (uint32_t i = 0; i < pl->shared_count; i++)
        pg_retry_fire(&pl->shared[i].retry);
}

static void loop_stop(struct proa_task *task);
static void loop_stopped(struct proa_task *task);

/* One of `parts` shares of `total`, at least 1. */
static uint32_t share(uint32_t total, uint32_t parts, uint32_t index)
{
    uint32_t own = total / parts + (index < total % parts);

    return own ? own : 1;
}

static int loop_init(struct pg *pg, uint32_t index)
{
    struct pg_loop *pl = &pg->loops[index];
    const struct proa_db_options *options = &pg->db->options;

    pl->pg = pg;
    pl->loop = pg->db->loops[index];
    pl->shared_count = share(options->shared_connections, pg->loops_count, index);
    pl->own_max = share(options->own_connections, pg->loops_count, index);
    pl->waiting_max = share(options->waiting_max, pg->loops_count, index);
    pl->down_since = PROA_NEVER;
    pl->flush.run = pg_flush_run;
    pl->start.run = loop_start;
    pl->renew.run = pg_renew_run;
    pl->wake.run = pg_wake_run;
    pl->stop.run = loop_stop;
    pl->stopped.run = loop_stopped;
    proa_timer_init(&pl->tick, pl->loop, pg_tick_fire);
    proa_list_init(&pl->waiting);
    proa_list_init(&pl->free_sent);
    proa_list_init(&pl->own_all);
    proa_list_init(&pl->own_idle);
    proa_list_init(&pl->own_waiting);
    proa_list_init(&pl->own_unsent);
    pl->known = proa_map_new(0); /* texts are the program's own */
    pl->shared = calloc(pl->shared_count, sizeof *pl->shared);
    if (!pl->known || !pl->shared)
        return PROA_ENOMEM;
    for (uint32_t i = 0; i < pl->shared_count; i++)
        pg_conn_init(&pl->shared[i], pl, DB_SHARED);
    return 0;
}

static void loop_done(struct pg_loop *pl)
{
    struct proa_list *node = pl->free_sent.next;

    for (uint32_t i = 0; pl->shared && i < pl->shared_count; i++)
        pg_conn_done(&pl->shared[i]);
    while (node && node != &pl->free_sent) {
        struct pg_sent *sent = PROA_CONTAINER(node, struct pg_sent, node);

        node = node->next;
        free(sent);
    }
    pg_known_clear(pl);
    free(pl->shared);
    free(pl->values);
    free(pl->lengths);
    free(pl->formats);
    free(pl->columns);
    proa_buf_done(&pl->text);
}

static void pg_free(struct pg *pg)
{
    for (uint32_t i = 0; pg->loops && i < pg->loops_count; i++)
        loop_done(&pg->loops[i]);
    free(pg->loops);
    pg_config_release(pg->config);
    pthread_mutex_destroy(&pg->mutex);
    free(pg);
}

static int open_parts(struct pg *pg, struct proa_error *err)
{
    PROA_TRY(pg_config_new(pg->db->options.url, pg->db->options.connect_ms, &pg->config, err));
    pg->loops = calloc(pg->loops_count, sizeof *pg->loops);
    if (!pg->loops)
        return proa_fail(err, PROA_ENOMEM, "PostgreSQL: no memory");
    for (uint32_t i = 0; i < pg->loops_count; i++) {
        if (loop_init(pg, i) < 0)
            return proa_fail(err, PROA_ENOMEM, "PostgreSQL: no memory");
    }
    return 0;
}

static int pg_open(struct proa_db *db, struct proa_error *err)
{
    struct pg *pg = calloc(1, sizeof *pg);
    int rc;

    if (!pg)
        return proa_fail(err, PROA_ENOMEM, "PostgreSQL: no memory");
    if (!PQisthreadsafe()) {
        free(pg);
        return proa_fail(err, PROA_EUNSUPPORTED, "PostgreSQL: this libpq was built without threads");
    }
    pthread_mutex_init(&pg->mutex, NULL);
    pg->db = db;
    pg->loops_count = db->loops_count;
    rc = open_parts(pg, err);
    if (rc < 0) {
        pg_free(pg);
        return rc;
    }
    db->impl = pg;
    for (uint32_t i = 0; i < pg->loops_count; i++)
        proa_loop_post(pg->loops[i].loop, &pg->loops[i].start);
    return 0;
}

/* -- Closing --------------------------------------------------------------------------------------------------- */

static void stopped_if_quiet(struct pg_loop *pl)
{
    if (!pl->is_closing || pl->fibers || pl->is_stopped)
        return;
    pl->is_stopped = true;
    proa_loop_post(pl->pg->loops[0].loop, &pl->stopped);
}

void pg_fiber_ended(struct pg_loop *pl)
{
    pl->fibers--;
    stopped_if_quiet(pl);
}

static void close_conn(struct pg_conn *conn)
{
    proa_timer_stop(&conn->retry);
    if (conn->connector)
        proa_fiber_cancel(conn->connector, PROA_ECANCELED);
    pg_conn_lost(conn, NULL);
}

static void loop_stop(struct proa_task *task)
{
    struct pg_loop *pl = PROA_CONTAINER(task, struct pg_loop, stop);
    struct proa_list *node = pl->own_all.next;

    pl->is_closing = true;
    proa_timer_stop(&pl->tick);
    if (pl->renewer)
        proa_fiber_cancel(pl->renewer, PROA_ECANCELED);
    for (uint32_t i = 0; i < pl->shared_count; i++)
        close_conn(&pl->shared[i]);
    while (node != &pl->own_all) {
        struct pg_conn *conn = PROA_CONTAINER(node, struct pg_conn, all);

        node = node->next;
        close_conn(conn);
    }
    pg_shared_end(pl);
    pg_own_end(pl);
    stopped_if_quiet(pl);
}

static void loop_stopped(struct proa_task *task)
{
    struct pg_loop *pl = PROA_CONTAINER(task, struct pg_loop, stopped);

    if (--pl->pg->open_loops == 0 && pl->pg->closer)
        proa_unpark(pl->pg->closer, 0);
}

/* Every connection is closed, so that what runs ends by an error. */
static void pg_stop(struct proa_db *db)
{
    struct pg *pg = db->impl;
    struct proa_loop *loop = pg->loops[0].loop;
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_NEVER);

    pg->open_loops = pg->loops_count;
    for (uint32_t i = 0; i < pg->loops_count; i++)
        proa_loop_post(pg->loops[i].loop, &pg->loops[i].stop);
    while (pg->open_loops) {
        struct proa_waiter waiter;

        proa_waiter_init(&waiter, loop);
        pg->closer = &waiter;
        proa_ignore(proa_park(&waiter)); /* a name server may take its time; it is waited for */
        pg->closer = NULL;
    }
}

/* No call is left, and db_calls.c went to every loop since: what other loops had posted there before they stopped has
 * run. */
static void pg_close(struct proa_db *db)
{
    pg_free(db->impl);
    db->impl = NULL;
}

/* -- The table ------------------------------------------------------------------------------------------------- */

static int pg_run(struct proa_sql sql, struct db_statement *statement)
{
    struct pg_loop *pl = pg_loop_of(sql.db->impl, sql.loop);
    struct pg_call call = {.sql = sql, .statement = statement};

    if (!pl)
        return proa_fail(sql.err, PROA_EINVAL, "PostgreSQL: the database was not opened for this loop");
    if (sql.tx)
        return pg_run_in_tx(sql, statement);
    if (sql.is_long)
        return pg_run_long(sql, statement);
    proa_list_init(&call.node);
    return pg_shared_run(&call, pl);
}

static const char *const schemes[] = {"postgres", "postgresql", NULL};

const struct proa_db_driver proa_pg_driver = {
    .system = "postgresql",
    .log_target = "db.pg",
    .schemes = schemes,
    .open = pg_open,
    .stop = pg_stop,
    .close = pg_close,
    .set_url = pg_set_url,
    .run = pg_run,
    .script = pg_script,
    .begin = pg_begin,
    .end = pg_end,
    .lock_migrations = pg_lock_migrations,
};

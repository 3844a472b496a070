/* Another URL while statements run: a rotated password, or a server that has moved. On each loop a fiber
 *
 *      tries the new URL with a connection of its own, until the server takes it; the old connections serve meanwhile
 *      replaces shared connections, one after the other: each takes no more statements, answers what it has, is closed
 *      and made anew
 *
 * and begins again when the URL changes once more. Connections of transactions are replaced as they are given back
 * (pg_own.c).
 */
#include "pg_internal.h"

int pg_set_url(struct proa_db *db, const char *url, struct proa_error *err)
{
    struct pg *pg = db->impl;
    struct pg_config *fresh, *old;

    PROA_TRY(pg_config_new(url, db->options.connect_ms, &fresh, err));
    pthread_mutex_lock(&pg->mutex);
    old = pg->config;
    fresh->version = old->version + 1;
    pg->config = fresh;
    atomic_store_explicit(&pg->version, fresh->version, memory_order_release);
    pthread_mutex_unlock(&pg->mutex);
    pg_config_release(old);
    for (uint32_t i = 0; i < pg->loops_count; i++)
        if (!atomic_exchange(&pg->loops[i].is_renew_posted, true))
            proa_loop_post(pg->loops[i].loop, &pg->loops[i].renew);
    return 0;
}

/* Until the server takes it. */
static int try_until_taken(struct pg_loop *pl, const struct pg_config *config)
{
    uint64_t ms = PG_BACKOFF_MIN_MS;

    while (config->version == atomic_load(&pl->pg->version)) {
        if (pg_connect_try(pl, config) == 0)
            return 0;
        PROA_TRY(proa_fiber_check(pl->loop));
        db_metrics_connect_failed(pl->pg->db, pl->loop);
        pg_tell(pl, "PostgreSQL does not take the new URL; the old connections serve");
        PROA_TRY(proa_sleep(pl->loop, PROA_MS(ms)));
        ms = ms * 2 < PG_BACKOFF_MAX_MS ? ms * 2 : PG_BACKOFF_MAX_MS;
    }
    return 0;
}

/* Closes it when nothing is under way on it, and waits for its successor. */
static int replace(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;

    while (conn->state == PG_UP && pg_is_outdated(conn)) {
        conn->is_retiring = true;
        if (conn->sent_count == 0 && !conn->is_cancelling) {
            pg_conn_drop(conn);
            db_metrics_connections(pl->pg->db, pl->loop, DB_SHARED, -1, 0);
            if (--pl->shared_up == 0)
                pl->down_since = proa_loop_now(pl->loop);
            pg_retry_fire(&conn->retry);
            break;
        }
        PROA_TRY(proa_sleep(pl->loop, PROA_MS(PG_RENEW_LOOK_MS)));
    }
    while (conn->state != PG_UP)
        PROA_TRY(proa_sleep(pl->loop, PROA_MS(PG_RENEW_LOOK_MS)));
    return 0;
}

static int renew_all(struct pg_loop *pl)
{
    struct pg_config *config;
    int rc;

    do {
        config = pg_config_hold(pl->pg);
        rc = try_until_taken(pl, config);
        for (uint32_t i = 0; rc == 0 && i < pl->shared_count && config->version == atomic_load(&pl->pg->version); i++)
            rc = replace(&pl->shared[i]);
        if (rc == 0)
            pg_own_renew(pl);
        if (rc == 0 && config->version == atomic_load(&pl->pg->version))
            rc = 1;
        pg_config_release(config);
    } while (rc == 0);
    return rc < 0 ? rc : 0;
}

static int renew_fiber(void *arg)
{
    struct pg_loop *pl = arg;

    pl->renewer = proa_fiber_current(pl->loop);
    if (!pl->is_closing)
        proa_ignore(renew_all(pl)); /* or the database is being closed */
    pl->renewer = NULL;
    pl->is_renewing = false;
    pg_fiber_ended(pl);
    return 0;
}

void pg_renew_run(struct proa_task *task)
{
    static const struct proa_fiber_options options = {.name = "pg renew"};
    struct pg_loop *pl = PROA_CONTAINER(task, struct pg_loop, renew);

    atomic_store(&pl->is_renew_posted, false);
    if (pl->is_closing || pl->is_renewing)
        return; /* the one at work sees the new version */
    pl->is_renewing = true;
    pl->fibers++;
    if (proa_loop_start_fiber(pl->loop, &options, renew_fiber, pl) <
        0) { /* connections that are made from now on have it anyway */
        pl->is_renewing = false;
        pg_fiber_ended(pl);
    }
}

/* Connections and who waits for them: one queue for all loops, served in the order of asking.
 *
 *              the connection's pool has none                a release, on any loop
 *   asking ------------------------------------> waiting ----------------------------> granted --> its loop's turn
 *                                                   |  deadline, cancellation             |  the same, before that turn
 *                                                   +--> gone                             +--> given back
 */
#include "sqlite_internal.h"

#include <assert.h>
#include <stdlib.h>

/* Lives on the waiting fiber's stack, and so is waited for until no task of it is under way. */
struct pool_waiter {
    struct proa_list node; /* in the queue; by the mutex */
    struct sqlite_conn *granted;
    struct proa_loop *loop;
    struct proa_waiter waiter;
    struct proa_task task;
    bool has_woken;
};

void sqlite_pool_init(struct sqlite_pool *pool, struct sqlite_db *own, enum db_connection_kind kind, uint32_t max,
                      bool is_writer)
{
    *pool = (struct sqlite_pool){.own = own, .kind = kind, .max = max, .is_writer = is_writer};
    proa_list_init(&pool->free);
    proa_list_init(&pool->waiting);
}

static void conn_free(struct sqlite_conn *conn)
{
    sqlite_conn_close(conn);
    proa_map_free(conn->statements);
    proa_buf_done(&conn->result);
    pthread_mutex_destroy(&conn->handle_mutex);
    free(conn);
}

void sqlite_pool_done(struct sqlite_pool *pool)
{
    struct proa_list *node;

    assert(proa_list_empty(&pool->waiting));
    while ((node = proa_list_pop_front(&pool->free))) {
        conn_free(PROA_CONTAINER(node, struct sqlite_conn, node));
        pool->made--;
        db_metrics_connections(pool->own->db, NULL, pool->kind, -1, 0);
    }
    assert(pool->made == 0);
}

static struct sqlite_conn *conn_new(struct sqlite_pool *pool)
{
    struct sqlite_conn *conn = calloc(1, sizeof *conn);

    if (!conn)
        return NULL;
    conn->pool = pool;
    proa_list_init(&conn->node);
    proa_list_init(&conn->by_use);
    proa_buf_init(&conn->result, NULL, SQLITE_RESULT_BYTES_MAX);
    conn->statements = proa_map_new(0); /* texts are the program's own */
    if (!conn->statements || pthread_mutex_init(&conn->handle_mutex, NULL) != 0) {
        proa_map_free(conn->statements);
        free(conn);
        return NULL;
    }
    return conn;
}

/* With the mutex held. NULL: none is free. */
static struct sqlite_conn *take_free(struct sqlite_pool *pool)
{
    struct proa_list *node;

    if (!proa_list_empty(&pool->waiting))
        return NULL;
    node = proa_list_pop_front(&pool->free);
    if (node) {
        db_metrics_connections(pool->own->db, NULL, pool->kind, -1, 1);
        return PROA_CONTAINER(node, struct sqlite_conn, node);
    }
    if (pool->made < pool->max) {
        struct sqlite_conn *conn = conn_new(pool);

        if (conn) {
            pool->made++;
            db_metrics_connections(pool->own->db, NULL, pool->kind, 0, 1);
        }
        return conn;
    }
    return NULL;
}

static void wake(struct pool_waiter *own)
{
    own->has_woken = true;
    proa_unpark(&own->waiter, 0);
}

static void wake_posted(struct proa_task *task)
{
    wake(PROA_CONTAINER(task, struct pool_waiter, task));
}

/* To who waits longest, or to the free ones. `here`: the loop whose thread this is, or NULL. */
static void give_back(struct sqlite_conn *conn, const struct proa_loop *here)
{
    struct sqlite_pool *pool = conn->pool;
    struct pool_waiter *next = NULL;
    struct proa_list *node;

    pthread_mutex_lock(&pool->own->mutex);
    node = proa_list_pop_front(&pool->waiting);
    if (node) {
        pool->waiting_count--;
        next = PROA_CONTAINER(node, struct pool_waiter, node);
        next->granted = conn;
    } else {
        proa_list_push_front(&pool->free, &conn->node);
        db_metrics_connections(pool->own->db, NULL, pool->kind, 1, -1);
    }
    pthread_mutex_unlock(&pool->own->mutex);
    if (!next)
        return;
    /* From here it cannot leave before it was woken, so it may be looked at without the mutex. */
    if (next->loop == here)
        wake(next);
    else
        proa_loop_post(next->loop, &next->task);
}

void sqlite_release(struct proa_sql sql, struct sqlite_conn *conn)
{
    if (conn->result.cap > SQLITE_RESULT_BYTES_KEPT)
        proa_buf_done(&conn->result);
    give_back(conn, sql.loop);
}

static struct sqlite_conn *take_idle(struct sqlite_pool *pool)
{
    struct proa_list *node;

    pthread_mutex_lock(&pool->own->mutex);
    node = proa_list_pop_front(&pool->free);
    if (node)
        db_metrics_connections(pool->own->db, NULL, pool->kind, -1, 1);
    pthread_mutex_unlock(&pool->own->mutex);
    return node ? PROA_CONTAINER(node, struct sqlite_conn, node) : NULL;
}

static void close_idle(struct sqlite_pool *pool)
{
    struct proa_list taken;
    struct proa_list *node;
    struct sqlite_conn *conn;

    proa_list_init(&taken);
    while ((conn = take_idle(pool))) {
        sqlite_conn_close(conn);
        proa_list_push_back(&taken, &conn->node);
    }
    while ((node = proa_list_pop_front(&taken)))
        give_back(PROA_CONTAINER(node, struct sqlite_conn, node), NULL);
}

void sqlite_close_idle(struct sqlite_db *own)
{
    close_idle(&own->readers);
    close_idle(&own->long_readers);
    close_idle(&own->tx_readers);
    close_idle(&own->writer);
}

/* Gone from the queue? Otherwise a connection was granted and the wake is on its way. */
static bool leave_queue(struct sqlite_pool *pool, struct pool_waiter *own)
{
    bool has_left;

    pthread_mutex_lock(&pool->own->mutex);
    has_left = !own->granted;
    if (has_left) {
        proa_list_remove(&own->node);
        pool->waiting_count--;
    }
    pthread_mutex_unlock(&pool->own->mutex);
    return has_left;
}

static void wait_for_wake(struct proa_sql sql, struct pool_waiter *own)
{
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(sql.loop, PROA_NEVER);

    while (!own->has_woken) {
        proa_waiter_init(&own->waiter, sql.loop);
        proa_ignore(proa_park(&own->waiter)); /* nothing else strikes in a shield without an end */
    }
}

static int wait_in_queue(struct proa_sql sql, struct sqlite_pool *pool, struct pool_waiter *own)
{
    int rc = proa_park(&own->waiter);

    if (rc == 0)
        return 0;
    if (!leave_queue(pool, own)) {
        wait_for_wake(sql, own);
        sqlite_release(sql, own->granted);
    }
    if (rc == PROA_ETIMEDOUT)
        db_metrics_wait_timed_out(pool->own->db, sql.loop, pool->kind);
    return proa_fail(sql.err, rc, "no connection to the database was free in time");
}

/* Takes a free connection or a place in the queue. *ret_waits is the truth only here: once in the queue, another thread
 * may grant a connection at any time. */
static int take_or_queue(struct sqlite_pool *pool, struct pool_waiter *waiter, bool *ret_waits)
{
    waiter->granted = take_free(pool);
    *ret_waits = !waiter->granted;
    if (waiter->granted)
        return 0;
    if (pool->made == 0)
        return PROA_ENOMEM; /* nobody would ever give one back */
    if (pool->waiting_count >= pool->own->db->options.waiting_max)
        return PROA_EBUSY;
    proa_list_push_back(&pool->waiting, &waiter->node);
    pool->waiting_count++;
    return 0;
}

int sqlite_acquire(struct proa_sql sql, struct sqlite_pool *pool, struct sqlite_conn **ret_conn)
{
    struct sqlite_db *own = pool->own;
    struct pool_waiter waiter = {.loop = sql.loop, .task = {.run = wake_posted}};
    bool waits;
    int rc;

    rc = proa_fiber_check(sql.loop);
    if (rc < 0)
        return proa_fail(sql.err, rc, "given up before the statement was sent");
    proa_waiter_init(&waiter.waiter, sql.loop);
    pthread_mutex_lock(&own->mutex);
    rc = take_or_queue(pool, &waiter, &waits);
    pthread_mutex_unlock(&own->mutex);
    if (rc < 0)
        return proa_fail(sql.err, rc,
                         rc == PROA_EBUSY ? "too many requests wait for the database" : "no memory for a connection");
    if (waits) {
        db_metrics_pending(own->db, sql.loop, pool->kind, 1);
        rc = wait_in_queue(sql, pool, &waiter);
        db_metrics_pending(own->db, sql.loop, pool->kind, -1);
        PROA_TRY(rc);
    }
    *ret_conn = waiter.granted;
    return 0;
}

/* Idempotency-Key on POST /users: the key is stored in the insert's own transaction, so either both are there or
 * neither, and every replica gives the same replay. While the first request runs, others with its key get 409: within
 * the process by a set of running keys, between replicas by an advisory lock that PostgreSQL drops with the
 * transaction. */
#include "users.h"
#include <proa/buf.h>
#include <proa/map.h>

enum { KEY_LIFETIME_S = 24 * 3600 };

struct idempotency_row {
    proa_str request;
    uint64_t user_id;
    int64_t created_at;
};
PROA_DESCRIBE(idempotency_row, (request, str), (user_id, u64), (created_at, i64));

struct lock_row {
    bool locked;
};
PROA_DESCRIBE(lock_row, (locked, boolean));

int running_keys_init(struct running_keys *running, struct proa_loop *loop)
{
    uint64_t seed;

    proa_loop_random(loop, &seed, sizeof seed);
    running->keys = proa_map_new(seed);
    if (!running->keys)
        return PROA_ENOMEM;
    return pthread_mutex_init(&running->mutex, NULL) ? PROA_ENOMEM : 0;
}

void running_keys_done(struct running_keys *running)
{
    proa_map_free(running->keys);
    pthread_mutex_destroy(&running->mutex);
}

static int running_enter(struct running_keys *running, proa_str key)
{
    int rc = PROA_ECONFLICT;

    pthread_mutex_lock(&running->mutex);
    if (!proa_map_get(running->keys, key))
        rc = proa_map_put(running->keys, key, running, NULL);
    pthread_mutex_unlock(&running->mutex);
    return rc;
}

static void running_leave(struct running_keys *running, proa_str key)
{
    pthread_mutex_lock(&running->mutex);
    proa_map_remove(running->keys, key);
    pthread_mutex_unlock(&running->mutex);
}

struct attempt {
    proa_str key;
    proa_str request; /* what was asked, in one spelling, to compare with */
    const struct user *user;
    struct stored_user *ret_user;
};

static int64_t now_s(struct proa_sql sql)
{
    return proa_loop_wall(sql.loop) / 1000000000;
}

static int still_running(struct proa_sql sql)
{
    proa_fail(sql.err, PROA_ECONFLICT, "a request with this Idempotency-Key is still running");
    sql.err->retry_after_s = 1;
    return PROA_ECONFLICT;
}

/* Between replicas: the key's lock ends with the transaction. SQLite has one writer already. */
static int lock_key(struct proa_sql tx, proa_str key)
{
    struct lock_row row;

    if (strcmp(proa_db_system(tx.db), "postgresql") != 0)
        return 0;
    PROA_TRY(proa_db_one(tx, &lock_row_type, &row, "SELECT pg_try_advisory_xact_lock($1) AS locked",
                         proa_i64((int64_t)proa_str_hash(key, 0))));
    return row.locked ? 0 : still_running(tx);
}

static int replay(struct proa_sql tx, const struct attempt *attempt, const struct idempotency_row *row)
{
    if (!proa_str_eq(row->request, attempt->request))
        return proa_fail(tx.err, PROA_EVALIDATION, "this Idempotency-Key was used with another body");
    /* What the first request was answered with, whatever became of the user since. */
    *attempt->ret_user = (struct stored_user){
        .id = row->user_id, .name = attempt->user->name, .email = attempt->user->email, .version = 1};
    return 0;
}

static int insert_once(struct proa_sql tx, void *arg)
{
    const struct attempt *attempt = arg;
    struct idempotency_row row;
    int rc;

    PROA_TRY(lock_key(tx, attempt->key));
    rc = proa_db_one(tx, &idempotency_row_type, &row,
                     "SELECT request, user_id, created_at FROM idempotency_keys WHERE key = $1",
                     proa_text(attempt->key));
    if (rc == 0 && row.created_at > now_s(tx) - KEY_LIFETIME_S)
        return replay(tx, attempt, &row);
    if (rc < 0 && rc != PROA_ENOTFOUND)
        return rc;
    proa_error_clear(tx.err);
    if (rc == 0)
        PROA_TRY(proa_db_exec(tx, NULL, "DELETE FROM idempotency_keys WHERE key = $1", proa_text(attempt->key)));
    PROA_TRY(store_insert(tx, attempt->user, attempt->ret_user));
    rc = proa_db_exec(tx, NULL,
                      "INSERT INTO idempotency_keys (key, request, user_id, created_at)"
                      " VALUES ($1, $2, $3, $4)",
                      proa_text(attempt->key), proa_text(attempt->request), proa_u64(attempt->ret_user->id),
                      proa_i64(now_s(tx)));
    /* A replica that locks in another way, as an older version may. */
    return rc == PROA_EEXISTS ? still_running(tx) : rc;
}

static int check_key(struct proa_sql sql, proa_str key)
{
    static const proa_str pointer = PROA_STR_INIT("#/header/idempotency-key");

    if (key.len == 0 || key.len > USERS_KEY_MAX)
        return proa_error_add_field(sql.err, PROA_EINVAL, pointer, "length",
                                    "Idempotency-Key must have 1 to %d characters", USERS_KEY_MAX);
    for (size_t i = 0; i < key.len; i++)
        if (key.ptr[i] < 0x21 || key.ptr[i] > 0x7e)
            return proa_error_add_field(sql.err, PROA_EINVAL, pointer, "format",
                                        "Idempotency-Key must be visible ASCII");
    return 0;
}

int idempotent_insert(struct users_app *app, struct proa_sql sql, proa_str key, const struct user *user,
                      struct stored_user *ret_user)
{
    struct attempt attempt = {.key = key, .user = user, .ret_user = ret_user};
    struct proa_buf request;
    int rc;

    PROA_TRY(check_key(sql, key));
    proa_buf_init(&request, sql.arena, 0);
    PROA_TRY(proa_json_write(&request, 0, &user_type, user));
    attempt.request = proa_buf_str(&request);

    rc = running_enter(&app->running, key);
    if (rc == PROA_ECONFLICT)
        return still_running(sql);
    if (rc < 0)
        return rc;
    rc = proa_db_transaction(sql, NULL, insert_once, &attempt);
    running_leave(&app->running, key);
    return rc;
}

int idempotency_purge(struct proa_sql sql, uint64_t *ret_rows)
{
    return proa_db_exec(sql, ret_rows, "DELETE FROM idempotency_keys WHERE created_at <= $1",
                        proa_i64(now_s(sql) - KEY_LIFETIME_S));
}

/* Making connections. Names are resolved, certificates read and passwords hashed by libpq in calls that take their time
 * and stack: each of its steps runs in the blocking pool, and a fiber waits between them for the descriptor. */
#include "pg_internal.h"

#include <proa/checked.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYWORDS = 12 };

static int fail_url(struct proa_error *err, const char *why)
{
    return proa_fail(err, PROA_EINVAL, "PostgreSQL: the database URL %s", why);
}

/* What libpq makes of the URL. Its own words about a bad one may quote the password, so they are not passed on. */
static int check_url(struct pg_config *config, const char *url, struct proa_error *err)
{
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    int rc = 0;

    if (!options)
        return fail_url(err, "cannot be read (a part of it may need percent-encoding)");
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        if (!option->val)
            continue;
        if (strcmp(option->keyword, "host") == 0 && option->val[0] != '@' && strchr(option->val, '@')) {
            rc = fail_url(err, "has an @ in its host: in the password it is written as %40");
            break;
        }
        if (strcmp(option->keyword, "port") == 0 && option->val[strspn(option->val, "0123456789,")]) {
            rc = fail_url(err, "has a port that is no number");
            break;
        }
        if (strcmp(option->keyword, "password") == 0 && *option->val) {
            config->password = strdup(option->val);
            if (!config->password)
                rc = proa_fail(err, PROA_ENOMEM, "PostgreSQL: no memory");
        }
    }
    PQconninfoFree(options);
    return rc;
}

static int fill_config(struct pg_config *config, const char *url, struct proa_error *err)
{
    /* What stands before `dbname` is a default that the URL overrides; what stands behind it overrides the URL. A peer
     * that is gone without a word is noticed within 20 s. */
    const char *const pairs[KEYWORDS][2] = {
        {"fallback_application_name", "proa"}, {"keepalives_idle", "10"},
        {"keepalives_interval", "3"},          {"keepalives_count", "3"},
        {"tcp_user_timeout", "20000"},         {"dbname", config->url},
        {"client_encoding", "UTF8"},           {NULL, NULL},
    };

    PROA_TRY(check_url(config, url, err));
    config->keywords = calloc(KEYWORDS, sizeof *config->keywords);
    config->values = calloc(KEYWORDS, sizeof *config->values);
    if (!config->keywords || !config->values)
        return proa_fail(err, PROA_ENOMEM, "PostgreSQL: no memory");
    for (size_t i = 0; i < KEYWORDS; i++) {
        config->keywords[i] = pairs[i][0];
        config->values[i] = pairs[i][1];
    }
    return 0;
}

void pg_config_release(struct pg_config *config)
{
    if (!config || atomic_fetch_sub(&config->holders, 1) > 1)
        return;
    free(config->keywords);
    free(config->values);
    free(config->password);
    free(config->url);
    free(config);
}

int pg_config_new(const char *url, uint32_t connect_ms, struct pg_config **ret_config, struct proa_error *err)
{
    struct pg_config *config = calloc(1, sizeof *config);
    int rc;

    if (!config)
        return proa_fail(err, PROA_ENOMEM, "PostgreSQL: no memory");
    atomic_init(&config->holders, 1);
    config->connect_ms = connect_ms;
    config->url = strdup(url);
    rc = config->url ? fill_config(config, url, err) : proa_fail(err, PROA_ENOMEM, "PostgreSQL: no memory");
    if (rc < 0) {
        pg_config_release(config);
        return rc;
    }
    *ret_config = config;
    return 0;
}

struct pg_config *pg_config_hold(struct pg *pg)
{
    struct pg_config *config;

    pthread_mutex_lock(&pg->mutex);
    config = pg->config;
    atomic_fetch_add(&config->holders, 1);
    pthread_mutex_unlock(&pg->mutex);
    return config;
}

/* One step for the pool. */
struct step {
    const struct pg_config *config;
    PGconn *pq;
    const char *text;
    PostgresPollingStatusType poll;
    int rc;
    bool is_busy;
};

static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

static void step_start(void *arg)
{
    struct step *step = arg;

    step->pq = PQconnectStartParams(step->config->keywords, step->config->values, 1);
    if (step->pq)
        (void)PQsetNoticeReceiver(step->pq, ignore_notice, NULL); /* else they go to stderr */
}

static void step_poll(void *arg)
{
    struct step *step = arg;

    step->poll = PQconnectPoll(step->pq);
}

static void step_send(void *arg)
{
    struct step *step = arg;

    step->rc = PQsetnonblocking(step->pq, 1) == 0 && PQsendQuery(step->pq, step->text) ? PQflush(step->pq) : -1;
}

static void step_read(void *arg)
{
    struct step *step = arg;
    PGresult *result;

    step->is_busy = false;
    if (!PQconsumeInput(step->pq) || PQflush(step->pq) < 0) {
        step->rc = -1;
        return;
    }
    while (!(step->is_busy = PQisBusy(step->pq)) && (result = PQgetResult(step->pq))) {
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            step->rc = -1;
        PQclear(result);
    }
}

static void step_close(void *arg)
{
    struct step *step = arg;

    PQfinish(step->pq);
    step->pq = NULL;
}

static int in_pool(struct pg_loop *pl, struct step *step, void (*fn)(void *arg))
{
    return proa_blocking(pl->loop, fn, step, NULL, NULL);
}

static int handshake(struct pg_loop *pl, struct step *step)
{
    PROA_TRY(in_pool(pl, step, step_start));
    if (!step->pq)
        return PROA_ENOMEM;
    if (PQstatus(step->pq) == CONNECTION_BAD)
        return PROA_EUNAVAILABLE;
    for (step->poll = PGRES_POLLING_WRITING; step->poll != PGRES_POLLING_OK;) {
        if (step->poll == PGRES_POLLING_FAILED)
            return PROA_EUNAVAILABLE;
        PROA_TRY(proa_wait_fd(pl->loop, PQsocket(step->pq),
                              step->poll == PGRES_POLLING_READING ? PROA_READABLE : PROA_WRITABLE, NULL));
        PROA_TRY(in_pool(pl, step, step_poll));
    }
    return 0;
}

/* The session's settings on which the driver's texts depend. */
static int settle(struct pg_conn *conn, struct step *step)
{
    struct pg_loop *pl = conn->pl;
    char text[256];

    (void)snprintf(text, sizeof text,
                   "SET statement_timeout = %u; SET datestyle = 'ISO'; SET timezone = 'UTC'; SET bytea_output = 'hex'; "
                   "SET standard_conforming_strings = on",
                   conn->kind == DB_SHARED ? pl->pg->db->options.statement_ms : 0);
    step->text = text;
    PROA_TRY(in_pool(pl, step, step_send));
    do {
        if (step->rc < 0)
            return PROA_EUNAVAILABLE;
        PROA_TRY(proa_wait_fd(pl->loop, PQsocket(step->pq), PROA_READABLE, NULL));
        PROA_TRY(in_pool(pl, step, step_read));
    } while (step->is_busy);
    return step->rc < 0 ? PROA_EUNAVAILABLE : 0;
}

static int go_up(struct pg_conn *conn, struct step *step)
{
    const char *host = PQhost(step->pq);

    if (!PQenterPipelineMode(step->pq))
        return PROA_EUNAVAILABLE;
    PROA_TRY(proa_fd_watch_new(conn->pl->loop, PQsocket(step->pq), pg_conn_ready, conn, &conn->watch));
    if (proa_fd_watch_set(conn->watch, PROA_READABLE) < 0) {
        proa_fd_watch_free(conn->watch);
        conn->watch = NULL;
        return PROA_EIO;
    }
    conn->pq = step->pq;
    conn->is_stream = host && host[0] != '/' && host[0] != '@';
    conn->state = PG_UP;
    conn->failures = 0;
    conn->progress_at = proa_loop_now(conn->pl->loop);
    pg_group_measure(conn);
    PROA_DEBUG(&conn->pl->pg->db->logger, "connected", proa_kv_c("kind", conn->kind == DB_SHARED ? "shared" : "own"),
               proa_kv_i64("server.process", PQbackendPID(conn->pq)));
    return 0;
}

static void tell_failure(struct pg_loop *pl, struct step *step, int rc)
{
    const char *text = step->pq ? PQerrorMessage(step->pq) : "";

    if (rc == PROA_ETIMEDOUT)
        text = "the server did not answer in time";
    else if (rc == PROA_ENOMEM)
        text = "no memory";
    else if (!*text)
        text = "no connection";
    pg_set_reason(pl, text);
}

int pg_connect_try(struct pg_loop *pl, const struct pg_config *config)
{
    struct step step = {.config = config};
    int rc;

    {
        proa_mono_ns at = proa_add_u64_sat(proa_loop_now(pl->loop), PROA_MS(config->connect_ms));
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(pl->loop, at);

        rc = handshake(pl, &step);
    }
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(pl->loop, PROA_SECONDS(60));

    if (rc < 0)
        tell_failure(pl, &step, rc);
    if (step.pq)
        proa_ignore(in_pool(pl, &step, step_close));
    if (step.pq)
        step_close(&step);
    return rc;
}

static int connect_fiber(void *arg)
{
    struct pg_conn *conn = arg;
    struct pg_loop *pl = conn->pl;
    struct pg_config *config = pg_config_hold(pl->pg);
    struct step step = {.config = config};
    int rc;

    conn->version = config->version;
    conn->connector = proa_fiber_current(pl->loop);
    if (pl->is_closing) {
        rc = PROA_ECANCELED;
    } else {
        proa_mono_ns at = proa_add_u64_sat(proa_loop_now(pl->loop), PROA_MS(step.config->connect_ms));
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(pl->loop, at);

        rc = handshake(pl, &step);
        if (rc == 0)
            rc = settle(conn, &step);
        if (rc == 0 && pl->is_closing)
            rc = PROA_ECANCELED;
        if (rc == 0)
            rc = go_up(conn, &step);
    }
    conn->connector = NULL;
    if (rc < 0) {
        struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(pl->loop, PROA_SECONDS(60));

        tell_failure(pl, &step, rc);
        if (step.pq)
            proa_ignore(in_pool(pl, &step, step_close));
        if (step.pq)
            step_close(&step); /* the pool did not take it */
        conn->state = PG_DOWN;
    }
    if (conn->kind == DB_SHARED)
        rc < 0 ? pg_shared_failed(conn) : pg_shared_up(conn);
    else
        rc < 0 ? pg_own_failed(conn) : pg_own_up(conn);
    pg_config_release(config);
    pg_fiber_ended(pl);
    return 0;
}

int pg_connect(struct pg_conn *conn)
{
    static const struct proa_fiber_options options = {.name = "pg connect"};

    if (!conn->prepared)
        conn->prepared = proa_map_new(0);
    if (!conn->prepared)
        return PROA_ENOMEM;
    PROA_TRY(proa_loop_start_fiber(conn->pl->loop, &options, connect_fiber, conn));
    conn->state = PG_CONNECTING;
    conn->pl->fibers++;
    return 0;
}

/* Connections by origin: at most so many open, the most recently used first, fibers served in the order of asking. */
#include "client_internal.h"

#include <assert.h>
#include <proa/checked.h>
#include <stdio.h>
#include <stdlib.h>

enum { IDLE_SWEEP_MS = 1000, TUNNEL_HEAD_BYTES = 16 * 1024 };

/* A fiber that waits for a connection; on its stack. */
struct client_waiter {
    struct proa_waiter waiter; /* its list is in origin->waiting */
    struct client_conn *conn;  /* what it was given; NULL: it may make one */
};

static void count(struct proa_client *client, enum client_metric metric, int64_t n)
{
    if (client->metrics.connections[metric])
        proa_gauge_add(client->metrics.connections[metric], proa_loop_index(client->options.loop), n);
}

/* -- What happens on a connection --------------------------------------------------------------------------------- */

static void conn_free(struct client_conn *conn)
{
    proa_buf_done(&conn->in);
    free(conn);
}

static void origin_free_unused(struct proa_client *client, struct client_origin *origin)
{
    if (origin->open > 0 || origin->waiters > 0)
        return;
    proa_map_remove(client->origins, proa_str_c(origin->key));
    free(origin);
}

/* One connection less: who waits longest may open another. */
static void give_place(struct client_origin *origin)
{
    struct proa_list *node = proa_list_pop_front(&origin->waiting);
    struct client_waiter *waiter;

    origin->open--;
    if (!node)
        return;
    waiter = PROA_CONTAINER(PROA_CONTAINER(node, struct proa_waiter, list), struct client_waiter, waiter);
    origin->open++;
    proa_unpark(&waiter->waiter, 0);
}

/* Its place stays taken. */
static void conn_drop(struct client_conn *conn)
{
    proa_list_remove(&conn->node);
    count(conn->client, conn->is_idle ? CLIENT_IDLE : CLIENT_ACTIVE, -1);
    proa_stream_close(conn->stream);
    conn_free(conn);
}

static void conn_close(struct client_conn *conn)
{
    struct client_origin *origin = conn->origin;
    struct proa_client *client = conn->client;

    conn_drop(conn);
    give_place(origin);
    origin_free_unused(client, origin);
}

static void wake(struct client_conn *conn)
{
    if (conn->waiter)
        proa_unpark(conn->waiter, 0);
}

static void on_data(void *arg, proa_str bytes)
{
    struct client_conn *conn = arg;

    if (conn->is_idle) { /* an answer that nobody asked for */
        conn_close(conn);
        return;
    }
    if (proa_buf_add(&conn->in, bytes) < 0) {
        conn->ended = true;
        conn->end_code = PROA_ENOMEM;
        proa_stream_pause(conn->stream);
    } else if (conn->in.len - conn->in_at >= CLIENT_INPUT_HIGH_BYTES && !conn->paused) {
        conn->paused = true;
        proa_stream_pause(conn->stream);
    }
    wake(conn);
}

static void on_end(void *arg, int code)
{
    struct client_conn *conn = arg;

    if (conn->is_idle) {
        conn_close(conn);
        return;
    }
    conn->ended = true;
    conn->end_code = code;
    wake(conn);
}

static void on_drained(void *arg, int code)
{
    struct client_conn *conn = arg;

    /* A request that could not be sent whole: its answer may have come before, so reading goes on to its end. */
    if (code < 0 && !conn->is_idle)
        wake(conn);
}

static const struct proa_stream_events stream_events = {on_data, on_end, on_drained};

int client_conn_wait(struct client_conn *conn)
{
    struct proa_waiter waiter;
    int rc;

    /* One that waits, for hours as watches do, keeps no buffer. */
    if (conn->in.len == 0)
        proa_buf_done(&conn->in);
    proa_waiter_init(&waiter, conn->client->options.loop);
    conn->waiter = &waiter;
    rc = proa_park(&waiter);
    conn->waiter = NULL;
    return rc;
}

void client_conn_cut(struct client_conn *conn)
{
    if (conn->ended)
        return;
    if (!conn->paused)
        proa_stream_pause(conn->stream);
    conn->paused = conn->ended = true;
    conn->end_code = PROA_ECLOSED;
    wake(conn);
}

void client_conn_take(struct client_conn *conn, size_t bytes)
{
    conn->in_at += bytes;
    assert(conn->in_at <= conn->in.len);
    if (conn->in_at == conn->in.len)
        conn->in.len = conn->in_at = 0;
    if (conn->paused && conn->in.len - conn->in_at < CLIENT_INPUT_HIGH_BYTES / 2 && !conn->ended) {
        conn->paused = false;
        proa_stream_resume(conn->stream);
    }
}

/* -- Making one --------------------------------------------------------------------------------------------------- */

static int write_connect(const struct client_route *route, struct proa_arena *arena, proa_str *ret_text)
{
    const struct client_url *url = route->url;
    struct proa_buf text;

    proa_buf_init(&text, arena, 0);
    /* The target and Host are alike, and the port is told always: RFC 9112 section 3.2.3. */
    for (int i = 0; i < 2; i++) {
        proa_buf_add_c(&text, i == 0 ? "CONNECT " : "Host: ");
        proa_buf_printf(&text, url->is_v6 ? "[" PROA_FMT "]:%u" : PROA_FMT ":%u", PROA_ARG(url->host),
                        (unsigned)url->port);
        proa_buf_add_c(&text, i == 0 ? " HTTP/1.1\r\n" : "\r\n");
    }
    if (route->proxy->authorization)
        proa_buf_printf(&text, "Proxy-Authorization: %s\r\n", route->proxy->authorization);
    proa_buf_add_c(&text, "\r\n");
    PROA_TRY(text.error);
    *ret_text = proa_buf_str(&text);
    return 0;
}

static int tunnel_broke(const struct client_route *route, int rc, struct proa_error *err)
{
    return proa_fail(err, rc, "the proxy %s: %s", route->proxy->address,
                     rc == PROA_ETIMEDOUT ? "no answer in time"
                     : rc == PROA_ECLOSED ? "it closed the connection"
                                          : "given up");
}

/* CONNECT through a proxy, RFC 9110 section 9.3.6: afterwards the stream is one to the origin. From the fiber, before
 * callbacks. */
static int open_tunnel(struct proa_client *client, const struct client_route *route, struct proa_stream *stream,
                       struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct response response;
    proa_str request;
    char byte;
    int rc;

    proa_arena_init(&arena, proa_loop_blocks(client->options.loop), 0);
    if (write_connect(route, &arena, &request) < 0 || response_init(&response, &arena, TUNNEL_HEAD_BYTES) < 0)
        return proa_fail(err, PROA_ENOMEM, "no memory for a tunnel");
    response.is_tunnel = true;
    rc = proa_stream_write(stream, request);
    /* Byte by byte: what follows the head is the origin's. */
    while (rc == 0 && response.phase == RESPONSE_HEAD) {
        size_t got, used;

        rc = proa_stream_read(stream, &byte, 1, &got);
        if (rc == 0 && got == 0)
            rc = PROA_ECLOSED;
        if (rc == 0)
            PROA_TRY(response_feed(&response, proa_str_n(&byte, 1), &used, err));
    }
    if (rc < 0)
        return tunnel_broke(route, rc, err);
    response_done(&response);
    if (response.status < 200 || response.status > 299)
        return proa_fail(err, response.status == 407 ? PROA_EUNAUTHORIZED : PROA_EUNAVAILABLE,
                         "the proxy %s answered %d", route->proxy->address, response.status);
    return 0;
}

static int connect_stream(struct proa_client *client, const struct client_route *route, struct proa_stream **ret_stream,
                          struct proa_error *err)
{
    const struct client_url *url = route->url;
    char address[CLIENT_ORIGIN_MAX], host[CLIENT_HOST_MAX + 1];
    struct proa_stream *stream;
    int rc;

    memcpy(host, url->host.ptr, url->host.len);
    host[url->host.len] = 0;
    if (route->proxy) {
        PROA_TRY(proa_connect(client->options.loop, route->proxy->address, &stream, err));
    } else {
        snprintf(address, sizeof address, url->is_v6 ? "[%s]:%u" : "%s:%u", host, (unsigned)url->port);
        PROA_TRY(proa_connect(client->options.loop, address, &stream, err));
    }
    proa_stream_set_peer_timeout(stream, client->options.peer_timeout_ms);
    if (!url->is_https) {
        *ret_stream = stream;
        return 0;
    }
    rc = route->proxy ? open_tunnel(client, route, stream, err) : 0;
    if (rc < 0) {
        proa_stream_close(stream);
        return rc;
    }
    return client->options.tls->wrap(client->options.tls, stream, host, ret_stream, err);
}

/* A peer that closes or is silent while a connection is made was not reached, and what was to be sent there was not;
 * only the caller's own deadline is PROA_ETIMEDOUT. */
static int not_reached(int rc, bool has_time, struct proa_error *err)
{
    if (rc != PROA_ECLOSED && rc != PROA_EIO && (rc != PROA_ETIMEDOUT || !has_time))
        return rc;
    if (err)
        err->code = PROA_EUNAVAILABLE;
    return PROA_EUNAVAILABLE;
}

static int conn_open(struct proa_client *client, const struct client_route *route, struct client_origin *origin,
                     struct client_conn **ret_conn, struct proa_error *err)
{
    struct proa_loop *loop = client->options.loop;
    /* From this instant: the turn may have begun long ago. */
    proa_mono_ns until = proa_add_u64_sat(proa_loop_now_exact(loop), PROA_MS(client->options.connect_ms));
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(loop, until);
    struct client_conn *conn = calloc(1, sizeof *conn);
    int rc;

    if (!conn)
        return proa_fail(err, PROA_ENOMEM, "no memory for a connection");
    conn->client = client;
    conn->origin = origin;
    proa_list_init(&conn->node);
    rc = connect_stream(client, route, &conn->stream, err);
    if (rc == 0) {
        rc = proa_stream_attach(conn->stream, &stream_events, conn);
        if (rc < 0)
            proa_stream_close(conn->stream);
    }
    if (rc < 0) {
        conn_free(conn);
        return not_reached(rc, until < scope.previous, err);
    }
    count(client, CLIENT_ACTIVE, 1);
    *ret_conn = conn;
    return 0;
}

/* -- The pool ----------------------------------------------------------------------------------------------------- */

static int origin_get(struct proa_client *client, const struct client_route *route, struct client_origin **ret_origin)
{
    char key[2 * CLIENT_ORIGIN_MAX + 2];
    struct client_origin *origin;
    size_t len;

    /* Plain requests through a proxy share its connections, whatever their origin. */
    if (route->proxy && !route->url->is_https)
        len = (size_t)snprintf(key, sizeof key, "proxy %s", route->proxy->address);
    else
        len = (size_t)snprintf(key, sizeof key, "%s://" PROA_FMT " %u", route->url->is_https ? "https" : "http",
                               PROA_ARG(route->url->host), (unsigned)route->url->port);
    if (len >= sizeof key)
        return PROA_ETOOLARGE;
    origin = proa_map_get(client->origins, proa_str_n(key, len));
    if (!origin) {
        origin = calloc(1, sizeof *origin + len + 1);
        if (!origin)
            return PROA_ENOMEM;
        memcpy(origin->key, key, len + 1);
        proa_list_init(&origin->idle);
        proa_list_init(&origin->waiting);
        if (proa_map_put(client->origins, proa_str_n(key, len), origin, NULL) < 0) {
            free(origin);
            return PROA_ENOMEM;
        }
    }
    *ret_origin = origin;
    return 0;
}

static struct client_conn *take_idle(struct client_origin *origin)
{
    struct proa_list *node = proa_list_pop_front(&origin->idle);
    struct client_conn *conn;

    if (!node)
        return NULL;
    conn = PROA_CONTAINER(node, struct client_conn, node);
    conn->is_idle = false;
    count(conn->client, CLIENT_IDLE, -1);
    count(conn->client, CLIENT_ACTIVE, 1);
    return conn;
}

/* May suspend until a connection or the right to open one is free. @returns 0 with *ret_conn NULL for the latter. */
static int wait_for_place(struct proa_client *client, struct client_origin *origin, struct client_conn **ret_conn,
                          struct proa_error *err)
{
    struct client_waiter waiter = {0};
    int rc;

    if (client->waiting >= client->options.waiting_max)
        return proa_fail(err, PROA_EBUSY, "%u requests wait for a connection already", (unsigned)client->waiting);
    proa_waiter_init(&waiter.waiter, client->options.loop);
    proa_list_push_back(&origin->waiting, &waiter.waiter.list);
    client->waiting++;
    origin->waiters++;
    rc = proa_park(&waiter.waiter);
    origin->waiters--;
    client->waiting--;
    if (rc < 0)
        return proa_fail(err, rc, "no connection became free in time: all %u are in use",
                         (unsigned)client->options.connections_per_origin);
    *ret_conn = waiter.conn;
    return 0;
}

int client_conn_get(struct proa_client *client, const struct client_route *route, bool fresh,
                    struct client_conn **ret_conn, struct proa_error *err)
{
    struct client_origin *origin;
    struct client_conn *conn = NULL;
    int rc = origin_get(client, route, &origin);

    if (rc < 0)
        return proa_fail(err, rc, "no memory for a connection");
    if (!fresh)
        conn = take_idle(origin);
    if (!conn && origin->open >= client->options.connections_per_origin) {
        if (fresh && !proa_list_empty(&origin->idle)) {
            /* Its place is wanted, not what it holds. */
            conn_close(PROA_CONTAINER(origin->idle.prev, struct client_conn, node));
            return client_conn_get(client, route, fresh, ret_conn, err);
        }
        rc = wait_for_place(client, origin, &conn, err);
        /* It was nobody's between being handed on and now: what came meanwhile is its end, or an answer that nobody
         * asked for. */
        if (rc == 0 && conn && (conn->ended || conn->in.len > 0)) {
            conn_drop(conn);
            conn = NULL;
        }
    } else if (!conn) {
        origin->open++;
    }
    if (rc == 0 && !conn) {
        rc = conn_open(client, route, origin, &conn, err);
        if (rc < 0)
            give_place(origin);
    }
    if (rc < 0) {
        origin_free_unused(client, origin);
        return rc;
    }
    assert(conn);
    conn->uses++;
    *ret_conn = conn;
    return 0;
}

void client_conn_put(struct client_conn *conn, bool reusable)
{
    struct proa_client *client = conn->client;
    struct client_origin *origin = conn->origin;
    struct proa_list *node;

    assert(!conn->is_idle && !conn->waiter);
    if (!reusable || conn->ended || conn->in.len > conn->in_at || proa_stream_queued(conn->stream) > 0) {
        conn_close(conn);
        return;
    }
    proa_buf_done(&conn->in);
    conn->in_at = 0;
    node = proa_list_pop_front(&origin->waiting);
    if (node) {
        struct client_waiter *waiter =
            PROA_CONTAINER(PROA_CONTAINER(node, struct proa_waiter, list), struct client_waiter, waiter);

        waiter->conn = conn;
        proa_unpark(&waiter->waiter, 0);
        return;
    }
    conn->is_idle = true;
    conn->idle_since = proa_loop_now(client->options.loop);
    proa_list_push_front(&origin->idle, &conn->node);
    count(client, CLIENT_ACTIVE, -1);
    count(client, CLIENT_IDLE, 1);
    /* Without the timer it is closed by the server or with the client. */
    if (!proa_timer_armed(&client->idle_timer))
        proa_ignore(proa_timer_start(&client->idle_timer, conn->idle_since + PROA_MS(client->options.idle_ms)));
}

/* Closes what has been idle since before `before`. The last one takes the origin with it, which is then not looked at
 * again. */
static void close_idle(struct client_origin *origin, proa_mono_ns before, proa_mono_ns *next)
{
    struct proa_list closing, *node;

    proa_list_init(&closing);
    while (!proa_list_empty(&origin->idle)) {
        struct client_conn *conn = PROA_CONTAINER(origin->idle.prev, struct client_conn, node);

        if (conn->idle_since > before) {
            if (conn->idle_since < *next)
                *next = conn->idle_since;
            break;
        }
        proa_list_remove(&conn->node);
        proa_list_push_back(&closing, &conn->node);
    }
    while ((node = proa_list_pop_front(&closing)))
        conn_close(PROA_CONTAINER(node, struct client_conn, node));
}

void client_idle_fire(struct proa_timer *timer)
{
    struct proa_client *client = PROA_CONTAINER(timer, struct proa_client, idle_timer);
    uint64_t idle_ns = PROA_MS(client->options.idle_ms);
    proa_mono_ns now = proa_loop_now(client->options.loop), oldest = PROA_NEVER;
    size_t it = 0;
    proa_str key;
    void *origin;

    while (proa_map_next(client->origins, &it, &key, &origin))
        close_idle(origin, now > idle_ns ? now - idle_ns : 0, &oldest);
    if (oldest != PROA_NEVER) {
        proa_mono_ns at = oldest + idle_ns, soonest = now + PROA_MS(IDLE_SWEEP_MS);

        proa_ignore(proa_timer_start(timer, at > soonest ? at : soonest));
    }
}

void client_origins_free(struct proa_client *client)
{
    proa_mono_ns ignored = PROA_NEVER;
    size_t it = 0;
    proa_str key;
    void *origin;

    while (proa_map_next(client->origins, &it, &key, &origin))
        close_idle(origin, PROA_NEVER, &ignored);
    proa_map_free(client->origins);
}

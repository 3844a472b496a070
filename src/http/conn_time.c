/* A connection's beginning, its time limits, and its end from outside. */
#include "conn.h"

#include <stdlib.h>

/* Time limits: one list a class, oldest first, and one timer for all of them. */
static uint64_t limit_ns(const struct server_loop *part, enum wait_class class)
{
    const struct proa_server_limits *limits = &part->limits;
    bool draining = server_phase(part->server) >= SERVER_DRAINING;

    switch (class) {
    case WAIT_IDLE: return PROA_MS(draining && limits->idle_ms > DRAIN_IDLE_MS ? DRAIN_IDLE_MS : limits->idle_ms);
    case WAIT_HEAD: return PROA_MS(limits->head_ms);
    case WAIT_BODY: return PROA_MS(limits->body_ms);
    case WAIT_WRITE: return PROA_MS(limits->write_stall_ms);
    case WAIT_GONE: return PROA_MS(GONE_MS);
    default: return PROA_MS(draining ? DRAIN_LINGER_MS : LINGER_MS);
    }
}

static void wait_push(struct server_loop *part, struct conn_wait *wait, enum wait_class class)
{
    proa_mono_ns strikes = part->now + limit_ns(part, class);

    wait->since = part->now;
    proa_list_push_back(&part->waits[class], &wait->node);
    if (!proa_timer_armed(&part->tick) || strikes < part->tick.at)
        proa_ignore(proa_timer_start(&part->tick, strikes)); /* without memory the next one arms it */
}

void conn_wait_for(struct conn *conn, enum wait_class class)
{
    proa_list_remove(&conn->wait.node);
    if ((conn->wait_class == WAIT_IDLE) != (class == WAIT_IDLE)) {
        if (class == WAIT_IDLE)
            count_up(&conn->part->idle_count);
        else
            count_down(&conn->part->idle_count);
    }
    conn->wait_class = (uint8_t) class;
    if (class != WAIT_CLASSES)
        wait_push(conn->part, &conn->wait, class);
}

void conn_set_state(struct conn *conn, enum conn_state state)
{
    static const uint8_t waits[] = {
        [CONN_IDLE] = WAIT_IDLE,       [CONN_HEAD] = WAIT_HEAD,        [CONN_SERVING] = WAIT_CLASSES,
        [CONN_DISCARDING] = WAIT_BODY, [CONN_LINGERING] = WAIT_LINGER, [CONN_CLOSED] = WAIT_CLASSES};
    uint8_t class = waits[state];

    conn->state = (uint8_t)state;
    /* Who still takes its answers is neither idle nor to be waited for. */
    if (conn->has_queue && (class == WAIT_IDLE || class == WAIT_LINGER))
        class = WAIT_CLASSES;
    conn_wait_for(conn, (enum wait_class) class);
}

/* What the kernel has taken. The queue's length says nothing about that: it may grow while it is taken from. */
static uint64_t taken_bytes(const struct conn *conn)
{
    return conn->sent - proa_stream_queued(conn->stream);
}

void conn_queue_changed(struct conn *conn)
{
    conn->has_queue = !conn->has_queue;
    if (conn->has_queue) {
        /* A handler may have waited or computed for long since the last reading. */
        conn->part->now = proa_loop_now_exact(conn->part->loop);
        conn->taken_seen = taken_bytes(conn);
        wait_push(conn->part, &conn->write_wait, WAIT_WRITE);
    } else {
        proa_list_remove(&conn->write_wait.node);
    }
    if (conn->state == CONN_IDLE || conn->state == CONN_LINGERING)
        conn_set_state(conn, (enum conn_state)conn->state);
}

/* A body that does not come: its reader is told, and the answer is 408. */
static void body_late(struct conn *conn)
{
    struct proa_req *req = conn->req;

    if (conn->state == CONN_DISCARDING) {
        limit_hit(conn->part, LIMIT_BODY_MS);
        conn_linger(conn);
        return;
    }
    conn_wait_for(conn, WAIT_CLASSES);
    if (conn_body_is_here(conn))
        return; /* it came in time; its reader is late */
    limit_hit(conn->part, LIMIT_BODY_MS);
    req->close_after = true;
    req->body_error = PROA_ETIMEDOUT;
    if (req->reader)
        proa_unpark(req->reader, 0);
}

void conn_may_be_gone(struct conn *conn)
{
    conn->sent_before_gone = conn->sent;
    conn_wait_for(conn, WAIT_GONE);
}

/* Nobody waits for the answer any more, as far as one can tell. What comes of the cancellation is sent all the same. */
static void client_gone(struct conn *conn)
{
    struct proa_req *req = conn->req;

    if (conn->has_queue || conn->sent > conn->sent_before_gone) {
        conn_may_be_gone(conn); /* one that has gone answers what is sent with a reset; this one takes it, or stalls */
        return;
    }
    conn_wait_for(conn, WAIT_CLASSES);
    req->close_after = true;
    if (req->cause == 0)
        req->cause = PROA_ECLOSED;
    if (req->fiber)
        proa_fiber_cancel(req->fiber, PROA_ECANCELED);
}

static void expire(struct conn *conn, enum wait_class class)
{
    switch (class) {
    case WAIT_IDLE:
        if (server_phase(conn->part->server) < SERVER_DRAINING)
            limit_hit(conn->part, LIMIT_IDLE_MS);
        conn_linger(conn);
        break;
    case WAIT_HEAD:
        limit_hit(conn->part, LIMIT_HEAD_MS);
        conn_refuse(conn, 408, PROA_ETIMEDOUT, "the head took too long");
        break;
    case WAIT_BODY: body_late(conn); break;
    case WAIT_GONE: client_gone(conn); break;
    default: conn_close(conn, false, PROA_ETIMEDOUT); break;
    }
}

static void expire_write(struct conn *conn)
{
    uint64_t taken = taken_bytes(conn);

    proa_list_remove(&conn->write_wait.node);
    if (taken > conn->taken_seen) {
        conn->taken_seen = taken;
        wait_push(conn->part, &conn->write_wait, WAIT_WRITE);
        return;
    }
    limit_hit(conn->part, LIMIT_WRITE_STALL_MS);
    conn_close(conn, true, PROA_ETIMEDOUT);
}

/* The first of a class when its time had come at a moment. */
static struct conn_wait *expired(struct server_loop *part, enum wait_class class, proa_mono_ns at)
{
    struct proa_list *first = part->waits[class].next;
    struct conn_wait *wait = PROA_CONTAINER(first, struct conn_wait, node);

    return first != &part->waits[class] && wait->since + limit_ns(part, class) <= at ? wait : NULL;
}

static bool any_expired(struct server_loop *part)
{
    for (int class = 0; class < WAIT_CLASSES; class ++)
        if (expired(part, (enum wait_class) class, part->now))
            return true;
    return false;
}

/* A loop that was held up has not read yet what came in time: it does, in a turn of its own, before anybody is late. */
static bool reads_first(struct server_loop *part)
{
    if (part->due_at || !any_expired(part))
        return false;
    part->due_at = part->now;
    proa_ignore(proa_timer_start(&part->tick, part->now));
    return true;
}

void conn_tick(struct proa_timer *timer)
{
    struct server_loop *part = PROA_CONTAINER(timer, struct server_loop, tick);
    proa_mono_ns next = PROA_NEVER, at;

    part->now = proa_loop_now_exact(part->loop);
    if (reads_first(part))
        return;
    at = part->due_at ? part->due_at : part->now;
    part->due_at = 0;
    for (int class = 0; class < WAIT_CLASSES; class ++) {
        struct conn_wait *wait;

        while ((wait = expired(part, (enum wait_class) class, at))) {
            if (class == WAIT_WRITE)
                expire_write(PROA_CONTAINER(wait, struct conn, write_wait));
            else
                expire(PROA_CONTAINER(wait, struct conn, wait), (enum wait_class) class);
        }
        if (!proa_list_empty(&part->waits[class])) {
            wait = PROA_CONTAINER(part->waits[class].next, struct conn_wait, node);
            if (wait->since + limit_ns(part, (enum wait_class) class) < next)
                next = wait->since + limit_ns(part, (enum wait_class) class);
        }
    }
    if (next != PROA_NEVER && next < part->now + PROA_MS(TICK_MS))
        next = part->now + PROA_MS(TICK_MS);
    proa_ignore(proa_timer_start(timer, next));
}

/* Opening. */
extern const struct proa_stream_events conn_stream_events;

bool conn_close_idle(struct server_loop *part)
{
    struct proa_list *first = part->waits[WAIT_IDLE].next;

    if (first == &part->waits[WAIT_IDLE])
        return false;
    conn_close(PROA_CONTAINER(PROA_CONTAINER(first, struct conn_wait, node), struct conn, wait), false, 0);
    return true;
}

/* Whether the limit of connections leaves room, which the longest idle one may have to make. */
static bool has_room(struct server_loop *part, uint64_t open)
{
    if (open <= part->limits.connections)
        return true;
    limit_hit(part, LIMIT_CONNECTIONS);
    return conn_close_idle(part) || server_reap_elsewhere(part);
}

void conn_open(struct server_loop *part, struct proa_stream *stream)
{
    struct proa_server *server = part->server;
    uint64_t open = atomic_fetch_add_explicit(&server->shared.connections, 1, memory_order_relaxed) + 1;
    bool room = has_room(part, open);
    struct conn *conn = room || open <= part->limits.connections + REFUSED_MAX ? calloc(1, sizeof *conn) : NULL;

    part->now = proa_loop_now_exact(part->loop);
    if (conn) {
        conn->part = part;
        conn->stream = stream;
        conn->input = proa_str_n("", 0);
        proa_list_init(&conn->work_node);
        proa_list_init(&conn->wait.node);
        proa_list_init(&conn->write_wait.node);
        proa_list_init(&conn->node);
        conn->state = CONN_CLOSED;
        conn->wait_class = WAIT_CLASSES;
    }
    if (!conn || proa_stream_attach(stream, &conn_stream_events, conn) < 0) {
        free(conn);
        proa_stream_abort(stream);
        proa_listener_released(server->listener, part->loop);
        atomic_fetch_sub_explicit(&server->shared.connections, 1, memory_order_relaxed);
        return;
    }
    atomic_fetch_add_explicit(&server->shared.conns, 1, memory_order_relaxed);
    proa_list_push_back(&part->connections, &conn->node);
    conn_set_state(conn, CONN_IDLE);
    if (!room)
        conn_refuse(conn, 503, PROA_EBUSY, "too many connections");
}

/* The end from outside. */
static void drain_one(struct conn *conn, bool cut)
{
    switch ((enum conn_state)conn->state) {
    case CONN_SERVING:
        conn->req->close_after = true;
        if (conn->req->sse)
            proa_sse_close(conn->req->sse);
        if (cut && !conn->req->fiber)
            conn_close(conn, true, PROA_ECANCELED);
        break;
    default:
        if (cut)
            conn_close(conn, true, PROA_ECANCELED);
        break;
    }
}

void conn_drain_all(struct server_loop *part, bool cut)
{
    struct proa_list *node, *next;

    part->now = proa_loop_now_exact(part->loop);
    for (node = part->connections.next; node != &part->connections; node = next) {
        next = node->next;
        drain_one(PROA_CONTAINER(node, struct conn, node), cut);
    }
    if (cut && part->has_group)
        proa_group_cancel(&part->group, PROA_ECANCELED);
    part->due_at = 0;
    if (part->has_tick)
        proa_ignore(proa_timer_start(&part->tick, part->now));
}

void conn_close_all(struct server_loop *part)
{
    struct proa_list *node;

    while (!proa_list_empty(&part->connections)) {
        struct conn *conn = PROA_CONTAINER(part->connections.next, struct conn, node);

        conn_close(conn, true, PROA_ECANCELED);
    }
    part->now = proa_loop_now_exact(part->loop);
    while ((node = proa_list_pop_front(&part->work))) {
        struct conn *conn = PROA_CONTAINER(node, struct conn, work_node);

        if (conn->req)
            conn_finish_request(conn);
        conn_maybe_free(conn);
    }
}

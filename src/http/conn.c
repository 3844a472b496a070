/* The connection's steps; the state machine is drawn in conn.h. */
#include "conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void conn_later(struct conn *conn)
{
    struct server_loop *part = conn->part;

    if (!proa_list_empty(&conn->work_node))
        return;
    proa_list_push_back(&part->work, &conn->work_node);
    if (!part->is_over) /* else conn_close_all does */
        proa_loop_flush_later(part->loop, &part->flush);
}

/* Closing. */
static void ahead_free(struct conn *conn)
{
    if (conn->ahead) {
        proa_buf_done(conn->ahead);
        free(conn->ahead);
        conn->ahead = NULL;
    }
}

void conn_maybe_free(struct conn *conn)
{
    struct proa_server *server = conn->part->server;

    if (conn->state != CONN_CLOSED || conn->req || conn->busy)
        return;
    proa_list_remove(&conn->work_node);
    free(conn->peer);
    free(conn);
    /* What its handlers did is seen by who has seen this. */
    atomic_fetch_sub_explicit(&server->shared.conns, 1, memory_order_release);
}

static void drop_input(struct conn *conn)
{
    conn_parser_free(conn);
    ahead_free(conn);
    conn->input = proa_str_n("", 0);
}

void conn_close(struct conn *conn, bool reset, int cause)
{
    struct server_loop *part = conn->part;
    struct proa_server *server = part->server;
    struct proa_stream *stream = conn->stream;
    struct proa_req *req = conn->req;

    if (conn->state == CONN_CLOSED)
        return;
    conn_set_state(conn, CONN_CLOSED);
    proa_list_remove(&conn->write_wait.node);
    proa_list_remove(&conn->node);
    conn->stream = NULL;
    if (reset)
        proa_stream_abort(stream);
    else
        proa_stream_close(stream);
    if (part->current == conn)
        proa_buf_clear(&part->out);
    drop_input(conn);
    conn_unsent_done(conn, true);
    proa_listener_released(server->listener, part->loop);
    atomic_fetch_sub_explicit(&server->shared.connections, 1, memory_order_relaxed);
    if (req) {
        if (req->cause == 0)
            req->cause = cause;
        if (req->body_error == 0)
            req->body_error = PROA_ECLOSED;
        if (req->sse)
            sse_connection_lost(req);
        if (req->fiber)
            proa_fiber_cancel(req->fiber, PROA_ECANCELED);
        else
            conn_later(conn); /* its request is given back outside of whoever called */
    }
    conn_maybe_free(conn);
}

void conn_linger(struct conn *conn)
{
    if (conn->ended && proa_stream_queued(conn->stream) == 0) {
        conn_close(conn, false, 0);
        return;
    }
    conn_set_state(conn, CONN_LINGERING);
    drop_input(conn);
    proa_stream_shutdown(conn->stream);
    if (conn->paused)
        conn_read_on(conn);
}

/* Sending. */
static int send_now(struct conn *conn, const proa_str *slices, size_t count)
{
    int rc;

    if (!conn->stream)
        return PROA_ECLOSED;
    rc = proa_stream_send(conn->stream, slices, count);
    if (rc < 0) {
        conn_close(conn, false, rc);
        return PROA_ECLOSED;
    }
    for (size_t i = 0; i < count; i++)
        conn->sent += slices[i].len;
    conn_watch_queue(conn);
    return 0;
}

int conn_flush_out(struct conn *conn)
{
    struct server_loop *part = conn->part;
    proa_str all = proa_buf_str(&part->out);
    int rc = 0;

    assert(part->current == conn);
    if (all.len > 0)
        rc = send_now(conn, &all, 1);
    proa_buf_clear(&part->out);
    if (rc == 0 && conn->unsent && conn->stream && proa_stream_queued(conn->stream) == 0)
        conn_unsent_done(conn, false);
    return rc;
}

int conn_send(struct conn *conn, const proa_str *slices, size_t count)
{
    struct server_loop *part = conn->part;
    proa_str all[9];
    size_t bytes = 0;
    int rc;

    assert(count < PROA_COUNT(all));
    if (!conn->stream)
        return PROA_ECLOSED;
    if (part->current != conn)
        return send_now(conn, slices, count);
    for (size_t i = 0; i < count; i++)
        bytes += slices[i].len;
    if (bytes <= REPLY_COPY_MAX_BYTES) {
        for (size_t i = 0; i < count; i++)
            proa_buf_add(&part->out, slices[i]);
        if (part->out.error) {
            conn_close(conn, true, PROA_ENOMEM);
            return PROA_ENOMEM;
        }
        return part->out.len < OUT_FLUSH_BYTES ? 0 : conn_flush_out(conn);
    }
    all[0] = proa_buf_str(&part->out);
    memcpy(all + 1, slices, count * sizeof *slices);
    rc = send_now(conn, all, count + 1);
    proa_buf_clear(&part->out);
    return rc;
}

/* Input. */
/* What was answered goes out before the end is told. */
static bool stop_discarding(struct conn *conn)
{
    if (conn_flush_out(conn) == 0)
        conn_linger(conn);
    return false;
}

static bool step_discarding(struct conn *conn)
{
    proa_str piece;

    for (;;) {
        switch (conn_body_next(conn, conn->req, &piece)) {
        case H1_BODY:
            conn->discarded += (uint32_t)piece.len;
            if (conn->discarded > DISCARD_MAX_BYTES)
                return stop_discarding(conn);
            continue;
        case H1_END: conn_set_state(conn, CONN_IDLE); return true;
        case H1_MORE: return false;
        default: return stop_discarding(conn);
        }
    }
}

/* One step with what has been read. @returns whether another one may be made. */
static bool step(struct conn *conn)
{
    switch ((enum conn_state)conn->state) {
    case CONN_IDLE:
        if (proa_stream_queued(conn->stream) > WRITE_QUEUE_HIGH_BYTES)
            return false; /* a client that does not read its answers gets no further ones */
        __attribute__((fallthrough));
    case CONN_HEAD: return conn_step_head(conn); /* which has its time: one that was begun is not held back */
    case CONN_SERVING:
        assert(conn->req);
        if (!conn->req->finished)
            return false;
        conn_finish_request(conn);
        return true;
    case CONN_DISCARDING: return step_discarding(conn);
    default: return false;
    }
}

void conn_read_on(struct conn *conn)
{
    struct proa_req *req = conn->req;

    conn->paused = false;
    proa_stream_resume(conn->stream);
    if (conn->state == CONN_SERVING && !req->body_complete && req->body_error == 0 && !conn->ended) {
        conn->part->now = proa_loop_now_exact(conn->part->loop);
        conn_wait_for(conn, WAIT_BODY);
    }
}

/* The time that it takes from now on is not the client's. */
static void pause_reading(struct conn *conn)
{
    conn->paused = true;
    limit_hit(conn->part, LIMIT_READ_AHEAD_BYTES);
    proa_stream_pause(conn->stream);
    if (conn->wait_class == WAIT_BODY)
        conn_wait_for(conn, WAIT_CLASSES);
}

void conn_relieve(struct conn *conn)
{
    if (conn->paused && conn->stream && conn->input.len < conn->part->limits.read_ahead_bytes / 2)
        conn_read_on(conn);
}

/* What is left of the input stays for the next step; the read buffer is everybody's. */
static void keep_ahead(struct conn *conn)
{
    size_t max = conn->part->limits.read_ahead_bytes;

    if (conn->state == CONN_CLOSED || conn->state == CONN_LINGERING)
        return;
    if (conn->input.len == 0) {
        ahead_free(conn);
        conn->input = proa_str_n("", 0);
    } else if (conn->ahead) {
        proa_buf_consume(conn->ahead, conn->ahead->len - conn->input.len);
        conn->input = proa_buf_str(conn->ahead);
    } else {
        conn->ahead = calloc(1, sizeof *conn->ahead);
        if (!conn->ahead || proa_buf_add(conn->ahead, conn->input) < 0) {
            conn_close(conn, true, PROA_ENOMEM);
            return;
        }
        conn->input = proa_buf_str(conn->ahead);
    }
    /* A head may need more than that: it has its own limit. */
    if (conn->state == CONN_HEAD) {
        if (conn->paused)
            conn_read_on(conn);
    } else if (!conn->paused && conn->input.len >= max) {
        pause_reading(conn);
    } else {
        conn_relieve(conn);
    }
}

/* Whether the client has sent its last byte and no request of it is left to be answered. In IDLE, input waits for the
 * queue. */
static bool is_last(const struct conn *conn)
{
    if (!conn->ended || conn->state == CONN_SERVING || conn->state == CONN_CLOSED)
        return false;
    return conn->state != CONN_IDLE || conn->input.len == 0;
}

/* Makes all steps that can be made with conn->input; answers leave in one write. Not from a fiber. */
static void run(struct conn *conn)
{
    struct server_loop *part = conn->part;

    assert(!part->current);
    part->current = conn;
    conn->busy++;
    while (step(conn))
        ;
    if (conn->state != CONN_CLOSED)
        proa_ignore(conn_flush_out(conn));
    part->current = NULL;
    if (part->out.cap > OUT_KEPT_BYTES)
        proa_buf_done(&part->out);
    else
        proa_buf_clear(&part->out);
    keep_ahead(conn);
    /* It is busy, so none of what closes has freed it; analysers do not see that.
     * NOLINTBEGIN(clang-analyzer-unix.Malloc) */
    if (is_last(conn))
        conn_linger(conn);
    if (conn->state == CONN_CLOSED && conn->req && conn->req->finished)
        conn_finish_request(conn);
    /* NOLINTEND(clang-analyzer-unix.Malloc) */
    conn->busy--;
    conn_maybe_free(conn);
}

void conn_flush(struct proa_flush *flush)
{
    struct server_loop *part = PROA_CONTAINER(flush, struct server_loop, flush);
    struct proa_list *node;

    if (part->is_over) {
        server_flushed_late(part->server);
        return;
    }
    part->now = proa_loop_now_exact(part->loop);
    while ((node = proa_list_pop_front(&part->work)))
        run(PROA_CONTAINER(node, struct conn, work_node));
}

/* Callbacks of the stream. */
static void on_data(void *arg, proa_str bytes)
{
    struct conn *conn = arg;

    conn->part->now = proa_loop_now_exact(conn->part->loop);
    if (conn->state == CONN_LINGERING)
        return;
    if (conn->ahead) {
        proa_buf_consume(conn->ahead, conn->ahead->len - conn->input.len);
        if (proa_buf_add(conn->ahead, bytes) < 0) {
            conn_close(conn, true, PROA_ENOMEM);
            return;
        }
        conn->input = proa_buf_str(conn->ahead);
    } else {
        conn->input = bytes;
    }
    if (conn->req && conn->req->reader) /* it runs later, when the bytes are in safety */
        proa_unpark(conn->req->reader, 0);
    run(conn);
}

static void on_end(void *arg, int code)
{
    struct conn *conn = arg;
    struct proa_req *req = conn->req;

    conn->part->now = proa_loop_now_exact(conn->part->loop);
    conn->ended = true;
    if (code < 0) {
        conn_close(conn, false, code);
        return;
    }
    if (is_last(conn)) {
        conn_linger(conn);
        return;
    }
    if (conn->state != CONN_SERVING)
        return; /* on_drained goes on */
    if (req->sse) {
        conn_close(conn, false, PROA_ECLOSED);
        return;
    }
    /* It may have gone, or closed only its sending side and wait for its answers: it gets what is ready soon. */
    if (req->reader)
        proa_unpark(req->reader, 0); /* it finds that the body is not whole */
    conn_may_be_gone(conn);
}

static void on_drained(void *arg, int code)
{
    struct conn *conn = arg;

    conn->part->now = proa_loop_now_exact(conn->part->loop);
    if (code < 0) {
        conn_close(conn, false, code);
        return;
    }
    conn_watch_queue(conn);
    if (proa_stream_queued(conn->stream) > 0)
        return;
    conn_unsent_done(conn, false);
    if (conn->req && conn->req->writer)
        proa_unpark(conn->req->writer, 0);
    if (conn->state != CONN_LINGERING)
        conn_later(conn);
    else if (conn->ended)
        conn_close(conn, false, 0);
}

const struct proa_stream_events conn_stream_events = {on_data, on_end, on_drained};

/* Server-sent events: answers that live on without a fiber. */
#include "conn.h"

#include <stdlib.h>
#include <string.h>

struct proa_sse {
    struct proa_req *req;
    struct proa_sse_options options;
    struct proa_timer keep_alive;
    proa_mono_ns sent_at;
    bool ended;
    bool told;
    proa_str last_event_id;
};

/* The stream is over; its owner is told from the loop, not from whoever made it end. */
static void end(struct proa_sse *sse)
{
    struct proa_req *req = sse->req;

    if (sse->ended)
        return;
    sse->ended = true;
    proa_timer_stop(&sse->keep_alive);
    atomic_fetch_sub_explicit(&req->home->server->shared.streams, 1, memory_order_relaxed);
    if (!req->fiber) {
        req->finished = true;
        conn_later(req->conn);
    }
}

void proa_sse_close(struct proa_sse *sse)
{
    if (!sse || sse->ended)
        return;
    if (sse->req->reply == REPLY_STREAMING)
        proa_ignore(conn_reply_end(sse->req)); /* a client that is gone needs no end */
    end(sse);
}

void sse_connection_lost(struct proa_req *req)
{
    if (req->reply == REPLY_STREAMING)
        req->reply = REPLY_FAILED;
    end(req->sse);
}

void sse_done(struct proa_req *req)
{
    struct proa_sse *sse = req->sse;

    if (sse->told)
        return;
    sse->told = true;
    if (sse->options.closed)
        sse->options.closed(sse->options.arg, sse);
}

bool sse_fiber_ended(struct proa_req *req)
{
    struct proa_sse *sse = req->sse;

    if (!sse->ended && (req->headless || req->conn->ended || server_phase(req->home->server) >= SERVER_DRAINING))
        proa_sse_close(sse);
    /* end() does not finish a request whose fiber still ran; here it has ended, and the caller does. */
    return !sse->ended;
}

/* A client that does not read: what waits for it is bounded. */
static int send(struct proa_sse *sse, proa_str text)
{
    struct proa_req *req = sse->req;
    struct conn *conn = req->conn;

    if (conn_reply_write(req, text) < 0) {
        end(sse);
        return PROA_ECLOSED;
    }
    sse->sent_at = proa_loop_now(req->home->loop);
    if (conn->stream && proa_stream_queued(conn->stream) > sse->options.queue_bytes_max) {
        conn_close(conn, true, PROA_ETOOLARGE);
        return PROA_ECLOSED;
    }
    return 0;
}

/* Looked at when it may be due; sending moves nothing. */
static void keep_alive(struct proa_timer *timer)
{
    struct proa_sse *sse = PROA_CONTAINER(timer, struct proa_sse, keep_alive);
    struct proa_loop *loop = sse->req->home->loop;
    proa_mono_ns now = proa_loop_now_exact(loop);

    sse->req->home->now = now;
    if (now >= sse->sent_at + PROA_MS(sse->options.keep_alive_ms) && send(sse, PROA_STR(":\n\n")) < 0)
        return;
    proa_ignore(proa_timer_start(timer, sse->sent_at + PROA_MS(sse->options.keep_alive_ms)));
}

static int open_stream(struct proa_req *req, struct proa_sse *sse)
{
    PROA_TRY(proa_reply_header(req, "Cache-Control", PROA_STR("no-cache")));
    PROA_TRY(proa_reply_begin(req, 200, "text/event-stream", -1));
    if (sse->options.retry_ms) {
        proa_str retry = proa_arena_printf(&req->arena, "retry: %u\n\n", sse->options.retry_ms);

        if (retry.ptr)
            PROA_TRY(conn_reply_write(req, retry));
    }
    return 0;
}

int proa_reply_sse(struct proa_req *req, const struct proa_sse_options *options, struct proa_sse **ret_sse)
{
    struct server_loop *part = req->home;
    struct proa_server *server = part->server;
    struct proa_sse *sse;
    int rc;

    if (req->status)
        return proa_fail(&req->error, PROA_EINTERNAL, "a second answer was given");
    if (atomic_fetch_add_explicit(&server->shared.streams, 1, memory_order_relaxed) >= part->limits.streams) {
        atomic_fetch_sub_explicit(&server->shared.streams, 1, memory_order_relaxed);
        limit_hit(part, LIMIT_STREAMS);
        return proa_fail(&req->error, PROA_EBUSY, "too many streams are open");
    }
    sse = proa_arena_new(&req->arena, struct proa_sse);
    rc = sse ? 0 : proa_fail(&req->error, PROA_ENOMEM, "memory is out");
    if (rc == 0) {
        if (options)
            sse->options = *options;
        if (!sse->options.keep_alive_ms)
            sse->options.keep_alive_ms = SSE_KEEP_ALIVE_DEFAULT_MS;
        if (!sse->options.queue_bytes_max)
            sse->options.queue_bytes_max = SSE_QUEUE_DEFAULT_BYTES;
        sse->req = req;
        sse->last_event_id = proa_req_header(req, "Last-Event-ID");
        proa_timer_init(&sse->keep_alive, part->loop, keep_alive);
        rc = open_stream(req, sse);
    }
    if (rc < 0) {
        atomic_fetch_sub_explicit(&server->shared.streams, 1, memory_order_relaxed);
        return rc;
    }
    sse->sent_at = proa_loop_now(part->loop);
    req->sse = sse;
    proa_ignore(proa_timer_start(&sse->keep_alive, sse->sent_at + PROA_MS(sse->options.keep_alive_ms)));
    *ret_sse = sse;
    return 0;
}

static bool is_one_line(proa_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] == '\n' || text.ptr[i] == '\r' || text.ptr[i] == '\0')
            return false;
    return true;
}

/* A line ends with CR LF, LF or CR. @returns false when there is none left. */
static bool next_line(proa_str *rest, proa_str *ret_line)
{
    size_t end = 0;

    if (!rest->ptr)
        return false;
    while (end < rest->len && rest->ptr[end] != '\n' && rest->ptr[end] != '\r')
        end++;
    *ret_line = proa_str_slice(*rest, 0, end);
    if (end == rest->len) {
        *rest = proa_str_n(NULL, 0);
        return true;
    }
    end += rest->ptr[end] == '\r' && end + 1 < rest->len && rest->ptr[end + 1] == '\n' ? 2 : 1;
    *rest = proa_str_n(rest->ptr + end, rest->len - end);
    return true;
}

static void add_line(struct proa_buf *out, proa_str name, proa_str value)
{
    proa_buf_add(out, name);
    proa_buf_add(out, value);
    proa_buf_add_char(out, '\n');
}

int proa_sse_send(struct proa_sse *sse, proa_str event, proa_str id, proa_str data)
{
    struct server_loop *part = sse->req->home;
    struct proa_buf *out = &part->scratch;
    proa_str line;

    if (sse->ended || sse->req->reply != REPLY_STREAMING)
        return PROA_ECLOSED;
    if (!is_one_line(event) || !is_one_line(id))
        return PROA_EINVAL;
    proa_buf_clear(out);
    if (event.len)
        add_line(out, PROA_STR("event: "), event);
    if (id.len)
        add_line(out, PROA_STR("id: "), id);
    if (!data.ptr)
        data.ptr = "";
    while (next_line(&data, &line))
        add_line(out, PROA_STR("data: "), line);
    proa_buf_add_char(out, '\n');
    if (out->error)
        return PROA_ENOMEM;
    return send(sse, proa_buf_str(out));
}

struct proa_loop *proa_sse_loop(const struct proa_sse *sse)
{
    return sse->req->home->loop;
}

proa_str proa_sse_last_event_id(const struct proa_sse *sse)
{
    return sse->last_event_id.ptr ? sse->last_event_id : proa_str_n("", 0);
}

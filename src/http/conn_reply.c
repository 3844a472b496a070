/* Answers on the wire: heads, whole bodies, streamed ones. */
#include "conn.h"
#include "problem.h"

#include <assert.h>
#include <string.h>

enum {
    HEAD_FIXED_BYTES = 256, /* more than a status line and the server's own fields take, but for those counted */
    CHUNK_SIZE_BYTES = 18,
};

/* "Date" and "Server", written once a second. */
static void refresh_common(struct server_loop *part)
{
    const char *name = part->server->options.server_name;
    proa_time_ns wall = proa_loop_wall(part->loop);
    size_t len = 0, name_len = name ? strlen(name) : 0;

    memcpy(part->common, "Date: ", 6);
    len = 6 + proa_time_http(wall, part->common + 6);
    if (name_len > 0 && len + name_len + 16 <= sizeof part->common) {
        memcpy(part->common + len, "\r\nServer: ", 10);
        memcpy(part->common + len + 10, name, name_len);
        len += 10 + name_len;
    }
    memcpy(part->common + len, "\r\n", 2);
    part->common_len = len + 2;
    part->common_until = part->now + PROA_SECONDS(1) - (uint64_t)(wall % (proa_time_ns)PROA_SECONDS(1));
}

static char *put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

#define PUT(at, literal) put((at), (literal), sizeof(literal) - 1)

static char *put_status(char *at, int status)
{
    const char *title;

    switch (status) {
    case 200: return PUT(at, "HTTP/1.1 200 OK\r\n");
    case 201: return PUT(at, "HTTP/1.1 201 Created\r\n");
    case 204: return PUT(at, "HTTP/1.1 204 No Content\r\n");
    case 304: return PUT(at, "HTTP/1.1 304 Not Modified\r\n");
    case 404: return PUT(at, "HTTP/1.1 404 Not Found\r\n");
    default:
        title = problem_title(status);
        at = PUT(at, "HTTP/1.1 ");
        at += proa_u64_text((uint64_t)status, at);
        *at++ = ' ';
        at = put(at, title, strlen(title));
        return PUT(at, "\r\n");
    }
}

static char *put_length(char *at, uint64_t length)
{
    at = PUT(at, "Content-Length: ");
    at += proa_u64_text(length, at);
    return PUT(at, "\r\n");
}

/* Whether the connection cannot go on after this answer. */
static void decide_close(struct proa_req *req)
{
    if (req->body_complete)
        return;
    /* Of a client that waits for 100 it is not known whether the body comes; a long rest is not worth reading. */
    if (req->expect_continue || req->body_error ||
        (req->body_known_length && req->body_length - req->body_received > DISCARD_MAX_BYTES))
        req->close_after = true;
}

/* Appends the head. `length`: of the content, -1: none is told. */
static int write_head(struct proa_req *req, struct proa_buf *out, const char *content_type, int64_t length)
{
    struct server_loop *part = req->home;
    size_t type_len = content_type ? strlen(content_type) : 0;
    char *at;

    if (part->now >= part->common_until)
        refresh_common(part);
    decide_close(req);
    PROA_TRY(proa_buf_reserve(out, HEAD_FIXED_BYTES + part->common_len + type_len + req->headers.len));
    at = put_status(out->ptr + out->len, req->status);
    at = put(at, part->common, part->common_len);
    if (content_type) {
        at = PUT(at, "Content-Type: ");
        at = put(at, content_type, type_len);
        at = PUT(at, "\r\n");
    }
    if (length >= 0)
        at = put_length(at, (uint64_t)length);
    if (req->chunked)
        at = PUT(at, "Transfer-Encoding: chunked\r\n");
    if (req->close_after)
        at = PUT(at, "Connection: close\r\n");
    else if (req->is_http10)
        at = PUT(at, "Connection: keep-alive\r\n");
    if (req->headers.len)
        at = put(at, req->headers.ptr, req->headers.len);
    at = PUT(at, "\r\n");
    assert((size_t)(at - out->ptr) <= out->cap);
    out->len = (size_t)(at - out->ptr);
    return 0;
}

/* Where the answer's bytes are put together: with those of the answers before it, or alone. */
static struct proa_buf *begin_out(struct conn *conn)
{
    struct server_loop *part = conn->part;
    proa_mono_ns now;

    if (part->current == conn)
        return &part->out;
    now = proa_loop_now(part->loop);
    if (now > part->now) /* the request's reading may be long ago, and Date goes by it */
        part->now = now;
    proa_buf_clear(&part->scratch);
    return &part->scratch;
}

/* Sends what begin_out was given to hold; gathered bytes leave later. */
static int end_out(struct conn *conn, struct proa_buf *out)
{
    proa_str all = proa_buf_str(out);

    if (out == &conn->part->scratch)
        return conn_send(conn, &all, 1);
    return out->len < OUT_FLUSH_BYTES ? 0 : conn_flush_out(conn);
}

static int send_with_body(struct conn *conn, struct proa_buf *out, proa_str body)
{
    if (body.len == 0)
        return end_out(conn, out);
    if (body.len <= REPLY_COPY_MAX_BYTES && proa_buf_add(out, body) == 0)
        return end_out(conn, out);
    if (out == &conn->part->scratch) {
        const proa_str slices[] = {proa_buf_str(out), body};

        return conn_send(conn, slices, PROA_COUNT(slices));
    }
    return conn_send(conn, &body, 1); /* behind what was gathered */
}

static int gone(struct proa_req *req)
{
    req->reply = req->reply == REPLY_NONE || req->reply == REPLY_UNANSWERED ? REPLY_UNANSWERED : REPLY_FAILED;
    return proa_fail(&req->error, PROA_ECLOSED, "the client is gone");
}

int conn_reply(struct proa_req *req, const char *content_type, proa_str body)
{
    struct conn *conn = req->conn;
    bool has_length = req->status != 204 && req->status != 304;
    struct proa_buf *out;

    if (!conn->stream)
        return gone(req);
    out = begin_out(conn);
    if (write_head(req, out, content_type, has_length ? (int64_t)body.len : -1) < 0) {
        conn_close(conn, true, PROA_ENOMEM);
        return gone(req);
    }
    if (req->headless)
        body.len = 0;
    if (send_with_body(conn, out, body) < 0)
        return gone(req);
    req->reply_bytes = body.len;
    req->reply = REPLY_COMPLETE;
    return 0;
}

int conn_reply_begin(struct proa_req *req, const char *content_type, int64_t content_length)
{
    struct conn *conn = req->conn;
    struct proa_buf *out;

    if (!conn->stream)
        return gone(req);
    req->reply_left = content_length < 0 ? -1 : content_length;
    if (content_length < 0 && req->status != 204 && req->status != 304) {
        req->chunked = !req->is_http10;
        req->close_after |= req->is_http10; /* the end of the connection is the end of the content */
    }
    out = begin_out(conn);
    if (write_head(req, out, content_type, req->status == 204 || req->status == 304 ? -1 : content_length) < 0) {
        conn_close(conn, true, PROA_ENOMEM);
        return gone(req);
    }
    if (end_out(conn, out) < 0)
        return gone(req);
    req->reply = REPLY_STREAMING;
    return 0;
}

int conn_reply_write(struct proa_req *req, proa_str piece)
{
    struct conn *conn = req->conn;
    char size[CHUNK_SIZE_BYTES];
    size_t at = sizeof size;
    int rc;

    if (req->reply_left >= 0) {
        if (piece.len > (uint64_t)req->reply_left) {
            req->reply = REPLY_FAILED;
            return proa_fail(&req->error, PROA_EINTERNAL, "more content than was announced");
        }
        req->reply_left -= (int64_t)piece.len;
    }
    if (piece.len == 0 || req->headless)
        return 0;
    if (!req->chunked) {
        rc = conn_send(conn, &piece, 1);
    } else {
        size[--at] = '\n';
        size[--at] = '\r';
        for (size_t left = piece.len; left > 0; left >>= 4)
            size[--at] = "0123456789abcdef"[left & 15];
        rc = conn_send(conn, (const proa_str[]){proa_str_n(size + at, sizeof size - at), piece, PROA_STR("\r\n")}, 3);
    }
    if (rc < 0)
        return gone(req);
    req->reply_bytes += piece.len;
    return 0;
}

int conn_reply_end(struct proa_req *req)
{
    if (req->reply_left > 0 && !req->headless) {
        req->reply = REPLY_FAILED;
        return proa_fail(&req->error, PROA_EINTERNAL, "less content than was announced");
    }
    if (req->chunked && !req->headless) {
        const proa_str slices[] = {PROA_STR("0\r\n"), proa_buf_str(&req->trailers_out), PROA_STR("\r\n")};

        if (req->trailers_out.error || conn_send(req->conn, slices, PROA_COUNT(slices)) < 0)
            return gone(req);
    }
    req->reply = REPLY_COMPLETE;
    return 0;
}

int conn_wait_writable(struct proa_req *req, size_t below)
{
    struct conn *conn = req->conn;

    while (conn->stream && proa_stream_queued(conn->stream) >= below) {
        struct proa_waiter waiter;
        int rc;

        proa_waiter_init(&waiter, req->home->loop);
        req->writer = &waiter;
        rc = proa_park(&waiter);
        req->writer = NULL;
        if (rc < 0)
            return proa_fail(&req->error, rc, "waiting for the client to read");
    }
    return conn->stream ? 0 : gone(req);
}

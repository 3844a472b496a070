/* Request bodies: from the connection's input to whoever reads them. */
#include "conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void take_trailers(struct conn *conn, struct proa_req *req, size_t bytes)
{
    const struct h1_parser *parser = conn->parser;
    char *text;

    if (!req || parser->fields_count == 0)
        return;
    text = proa_arena_alloc(&req->arena, bytes);
    req->trailers = proa_arena_alloc(&req->arena, parser->fields_count * sizeof *req->trailers);
    if (!text || !req->trailers)
        return; /* as if none had been sent, which readers of trailers must be ready for */
    memcpy(text, conn->input.ptr, bytes);
    for (uint32_t i = 0; i < parser->fields_count; i++) {
        const struct h1_field *field = &parser->fields[i];

        req->trailers[i] = (struct req_field){proa_str_n(text + field->name.at, field->name.len),
                                              proa_str_n(text + field->value.at, field->value.len)};
    }
    req->trailers_count = parser->fields_count;
}

enum h1_event conn_body_next(struct conn *conn, struct proa_req *req, proa_str *ret_piece)
{
    size_t head_bytes = conn->part->h1_limits.head_bytes;
    size_t max = head_bytes > BODY_PIECE_BYTES ? head_bytes : BODY_PIECE_BYTES; /* trailers are read whole */
    enum h1_event event;
    size_t used;

    do {
        event = h1_body(conn->parser, proa_str_slice(conn->input, 0, max), &used, ret_piece);
        if (event == H1_END)
            take_trailers(conn, req, used);
        conn_use(conn, used);
    } while (event == H1_MORE && used > 0);
    if (event == H1_END)
        conn_parser_free(conn);
    else if (event == H1_ERROR && conn->parser->limit != H1_LIMIT_NONE)
        limit_hit(conn->part, conn->parser->limit == H1_LIMIT_HEAD ? LIMIT_HEAD_BYTES : LIMIT_FIELDS);
    return event;
}

/* Whether the chunks that have come end the body, or break off so that no more of it can come. */
static bool ends_here(const struct conn *conn)
{
    struct h1_parser *parser = malloc(h1_parser_bytes(&conn->part->h1_limits));
    proa_str rest = conn->input, piece;
    enum h1_event event = H1_MORE;
    size_t used;

    if (!parser)
        return false;
    memcpy(parser, conn->parser, h1_parser_bytes(&conn->part->h1_limits));
    do {
        event = h1_body(parser, rest, &used, &piece);
        rest = proa_str_slice(rest, used, rest.len);
    } while (event == H1_BODY || (event == H1_MORE && used > 0));
    free(parser);
    return event != H1_MORE;
}

bool conn_body_is_here(const struct conn *conn)
{
    const struct proa_req *req = conn->req;

    return req->body_known_length ? conn->input.len >= req->body_length - req->body_received : ends_here(conn);
}

static int body_failed(struct proa_req *req, int code, int status)
{
    req->body_error = code;
    req->body_status = status;
    req->close_after = true;
    return code;
}

/* What a reader is told that comes after the failure. */
static int body_failure(struct proa_req *req)
{
    switch (req->body_error) {
    case PROA_ETIMEDOUT:
        req->body_status = 408;
        return proa_fail(&req->error, PROA_ETIMEDOUT, "the body took too long");
    case PROA_ETOOLARGE:
        return proa_fail(&req->error, PROA_ETOOLARGE, "the body is larger than %llu bytes",
                         (unsigned long long)req->body_max);
    case PROA_ESYNTAX: return proa_fail(&req->error, PROA_ESYNTAX, "the body's framing is broken");
    default: return proa_fail(&req->error, req->body_error, "the body did not come whole");
    }
}

static int too_large(struct proa_req *req)
{
    limit_hit(req->home, LIMIT_BODY_BYTES);
    body_failed(req, PROA_ETOOLARGE, 413);
    return body_failure(req);
}

static int wait_input(struct conn *conn, struct proa_req *req)
{
    struct proa_waiter waiter;
    int rc;

    if (req->expect_continue) {
        proa_str line = PROA_STR("HTTP/1.1 100 Continue\r\n\r\n");

        req->expect_continue = false;
        PROA_TRY(conn_send(conn, &line, 1));
    }
    if (conn->paused && conn->stream)
        conn_read_on(conn);
    proa_waiter_init(&waiter, req->home->loop);
    req->reader = &waiter;
    rc = proa_park(&waiter);
    req->reader = NULL;
    if (rc == PROA_ETIMEDOUT && req->body_error == 0 && proa_loop_now_exact(req->home->loop) >= req->deadline) {
        /* The request's time has passed with waiting for its client: no failure of the service. */
        body_failed(req, PROA_ETIMEDOUT, 408);
        return body_failure(req);
    }
    return rc < 0 ? proa_fail(&req->error, rc, "waiting for the body") : 0;
}

int conn_body_read(struct proa_req *req, proa_str *ret_piece)
{
    struct conn *conn = req->conn;

    if (req->body_complete)
        return 0;
    if (req->body_known_length && req->body_length > req->body_max && !req->body_error)
        return too_large(req);
    for (;;) {
        enum h1_event event;

        if (req->body_error)
            return body_failure(req);
        if (conn->input.len > 0)
            req->expect_continue = false;
        event = conn_body_next(conn, req, ret_piece);
        switch (event) {
        case H1_BODY:
            req->body_received += ret_piece->len;
            if (req->body_received > req->body_max)
                return too_large(req);
            return 1;
        case H1_END:
            req->body_complete = true;
            if (!conn->ended)
                conn_wait_for(conn, WAIT_CLASSES);
            conn_relieve(conn);
            return 0;
        case H1_MORE:
            if (conn->ended)
                body_failed(req, PROA_ECLOSED, 400);
            else
                PROA_TRY(wait_input(conn, req));
            break;
        default:
            /* What follows cannot be told from it: answered, and closed. */
            body_failed(req, PROA_ESYNTAX, conn->parser->status);
            return proa_fail(&req->error, PROA_ESYNTAX, "%s", conn->parser->text);
        }
    }
}

int proa_req_body_read(struct proa_req *req, proa_str *ret_piece)
{
    struct conn *conn = req->conn;
    proa_str piece;
    int rc;

    if (req->body_read)
        return proa_fail(&req->error, PROA_EINTERNAL, "the body was read as a whole already");
    rc = conn_body_read(req, &piece);
    if (rc <= 0) {
        if (rc == 0)
            *ret_piece = proa_str_n(NULL, 0);
        return rc;
    }
    /* The input's memory is not the handler's to keep while it suspends. */
    if (piece.len > req->piece_bytes) {
        size_t bytes = piece.len < BODY_PIECE_BYTES ? BODY_PIECE_BYTES : piece.len;

        req->piece = proa_arena_alloc(&req->arena, bytes);
        req->piece_bytes = req->piece ? bytes : 0;
        if (!req->piece)
            return proa_fail(&req->error, PROA_ENOMEM, "memory is out");
    }
    memcpy(req->piece, piece.ptr, piece.len);
    *ret_piece = proa_str_n(req->piece, piece.len);
    conn_relieve(conn);
    return 0;
}

int proa_req_body(struct proa_req *req, proa_str *ret_body)
{
    struct proa_buf body;
    proa_str piece;
    int rc;

    if (req->body_read) {
        *ret_body = req->body;
        return 0;
    }
    piece = proa_str_n("", 0);
    proa_buf_init(&body, &req->arena, 0);
    if (req->body_known_length && req->body_length <= BODY_PIECE_BYTES)
        proa_buf_reserve(&body, (size_t)req->body_length + 1);
    while ((rc = conn_body_read(req, &piece)) > 0)
        if (proa_buf_add(&body, piece) < 0)
            return proa_fail(&req->error, PROA_ENOMEM, "memory is out");
    PROA_TRY(rc);
    req->body = body.ptr ? proa_buf_str(&body) : proa_str_n("", 0);
    req->body_read = true;
    *ret_body = req->body;
    return 0;
}

static __attribute__((noinline)) const char *find_peer(struct conn *conn)
{
    char text[PROA_ADDRESS_MAX];

    if (!conn->stream)
        return "";
    proa_stream_peer(conn->stream, text);
    conn->peer = strdup(text);
    return conn->peer ? conn->peer : "";
}

const char *conn_peer(struct conn *conn)
{
    return conn->peer ? conn->peer : find_peer(conn);
}

/** A request and its answer from the inside: what req*.c, reply*.c, sse.c and conn.c share. */
#ifndef PROA_HTTP_REQ_INTERNAL_H
#define PROA_HTTP_REQ_INTERNAL_H

#include "router_internal.h"

#include <proa/fiber.h>
#include <proa/req.h>
#include <proa/router.h>
#include <proa/tracer.h>

struct conn;
struct server_loop;

enum {
    BODY_PIECE_BYTES = 16 * 1024,    /* what proa_req_body_read gives at most at once */
    REPLY_COPY_MAX_BYTES = 8 * 1024, /* a longer body goes to the socket from where it lies */
    REPLY_HEADERS_MAX_BYTES = 32 * 1024,
    SSE_QUEUE_DEFAULT_BYTES = 256 * 1024,
    SSE_KEEP_ALIVE_DEFAULT_MS = 15000,
};

struct req_field {
    proa_str name;
    proa_str value;
};

struct req_value {
    struct req_value *next;
    const void *key;
    void *value;
};

struct req_done {
    struct req_done *next;
    void (*fn)(void *arg, const struct proa_req_outcome *outcome);
    void *arg;
};

/** Which answer a request gets when no route's handler is to answer it. */
enum builtin {
    BUILTIN_NONE = 0,
    BUILTIN_NOT_FOUND,
    BUILTIN_METHOD, /* 405, or 204 to OPTIONS */
    BUILTIN_BAD_PARAM,
    BUILTIN_BAD_PATH,
    BUILTIN_UNKNOWN_METHOD, /* 501 */
};

enum reply_state {
    REPLY_NONE = 0,
    REPLY_STREAMING, /* the head is out, the body is not complete */
    REPLY_COMPLETE,
    REPLY_FAILED,     /* cannot be completed: the connection is cut */
    REPLY_UNANSWERED, /* the client was gone before a head could be sent */
};

struct proa_req {
    struct proa_req *next; /* free list of the loop, or the connection's list of answers not yet taken by the kernel */
    struct server_loop *home;
    struct conn *conn;
    struct proa_fiber *fiber; /* NULL before it runs and after it ended */
    struct proa_arena arena;
    proa_mono_ns started, deadline;

    /* What was asked; slices point into the arena. */
    enum proa_method method;
    enum builtin builtin;
    const struct proa_router *router;
    const struct route *route; /* NULL when `builtin` says why */
    proa_str method_text, path, query, host;
    struct req_field *fields;
    uint32_t fields_count;
    bool is_http10;
    bool keep_alive;      /* as the client wishes */
    bool traced;          /* the span is begun */
    bool counted;         /* among the requests in flight */
    uint8_t trace_fields; /* enum h1_trace_fields */
    proa_str traceparent; /* as it came; ptr NULL: none, or several */
    struct proa_span span;
    struct req_field *trailers;
    uint32_t trailers_count;

    /* The body. */
    bool body_complete;
    bool expect_continue; /* 100 was asked for and not sent */
    bool body_known_length;
    int body_error;       /* 0, or why no more of it will come */
    uint64_t body_length; /* when known */
    uint64_t body_received;
    uint64_t body_max;
    proa_str body; /* whole, once proa_req_body has read it */
    bool body_read;
    char *piece; /* what proa_req_body_read gave */
    size_t piece_bytes;
    struct proa_waiter *reader;
    struct proa_waiter *writer;

    /* The answer. */
    enum reply_state reply;
    int status;        /* 0: none yet */
    int forced_status; /* what a failure's document has instead of the code's status */
    int body_status; /* what it has when the failure is `body_error`, of which a reader was told: 408, 413 by limits */
    bool close_after;
    bool chunked;
    bool headless;      /* HEAD, 204, 304: no content is sent */
    bool finished;      /* the fiber has ended */
    int64_t reply_left; /* bytes to come of a streamed body of known length; -1 unknown */
    uint64_t reply_bytes;
    struct proa_buf headers; /* "Name: value\r\n"… */
    struct proa_buf body_out;
    struct proa_buf trailers_out;
    struct proa_sse *sse;

    struct req_value *values;
    struct req_done *done;
    uint32_t stage; /* of the middleware chain */
    int cause;      /* of the outcome */
    unsigned allow;
    struct proa_logger logger;
    struct proa_error error;
    uint32_t params_count;
    proa_str bad_param;
    const char *bad_kind;
    proa_str params[PROA_ROUTE_PARAMS_MAX];
};

/** Runs middleware and handler and makes sure that there is an answer. In the request's fiber. */
void req_run(struct proa_req *req);
/** The answer's document for a failure, wherever it is made; ignored when an answer has begun. */
void reply_failure(struct proa_req *req, int status, const struct proa_error *err);
/** Tells everybody who asked how it ended. Once. */
void req_tell_done(struct proa_req *req, bool aborted, proa_mono_ns now);

/* req_span.c */
/** Makes the request's span the present one of its fiber, and begins it now if somebody traces. First thing in the
 *  fiber. */
void req_span_enter(struct proa_req *req);
/** The exchange is over. */
void req_span_end(struct proa_req *req, bool aborted);

/* conn_reply.c. All of them can be called after the client has gone. */
/** Sends the head and the whole body. `content_type` NULL: not sent. */
int conn_reply(struct proa_req *req, const char *content_type, proa_str body);
int conn_reply_begin(struct proa_req *req, const char *content_type, int64_t content_length);
int conn_reply_write(struct proa_req *req, proa_str piece);
int conn_reply_end(struct proa_req *req);
/** May suspend until the connection's queue is below `below` bytes. */
int conn_wait_writable(struct proa_req *req, size_t below);

/* conn_body.c */
/** May suspend. @returns 1 with *ret_piece, which is valid until the next suspension; 0 at the end; or an error. */
int conn_body_read(struct proa_req *req, proa_str *ret_piece);
const char *conn_peer(struct conn *conn);

#endif

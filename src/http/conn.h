/** One connection: a state machine on its loop.
 *
 *                     accept
 *                       |
 *                       v     first bytes, head not whole
 *      +------------> IDLE ------------------------------> HEAD
 *      |                |                                   |
 *      |                | head whole                        | head whole
 *      |                v                                   |
 *      |             SERVING <------------------------------+
 *      |                | the fiber has ended and the answer is complete
 *      |                v
 *      |            DISCARDING   (only while some of the request's body is not read)
 *      |                |
 *      +----------------+ keep-alive            not keep-alive, or a broken request
 *                       +--------------------------------------> LINGERING
 *                                                                    | the client's end, or time
 *      from every state: reset, time, cut  --------------------> CLOSED
 *
 *  | state      | reads input for            | time limit (wait list)    | holds                                   |
 *  | ---------- | -------------------------- | ------------------------- | --------------------------------------- |
 *  | IDLE       | a request                  | idle_ms, once the kernel  | nothing: no buffer, no parser, no fiber |
 *  |            |                            | has taken all answers     |                                         |
 *  | HEAD       | the rest of a head         | head_ms                   | parser, the bytes so far                |
 *  | SERVING    | the handler, or read-ahead | body_ms while a body is   | parser, request, fiber (or an event     |
 *  |            |                            | not whole and is read;    | stream in its place), bytes read ahead  |
 *  |            |                            | the fiber has a deadline  |                                         |
 *  |            |                            | of its own                |                                         |
 *  | DISCARDING | the rest of a body, thrown | body_ms                   | parser                                  |
 *  |            | away, bounded              |                           |                                         |
 *  | LINGERING  | nothing: thrown away       | LINGER_MS, likewise       | nothing                                 |
 *  | CLOSED     | -                          | -                         | the request while its fiber runs        |
 *
 *  When the client has sent its last byte, what it asked before is answered; a request that takes longer than GONE_MS
 *  from then on is cancelled, as it is likely that nobody waits; unless its answer is being sent and no reset comes
 *  back.
 *
 *  In every state but CLOSED a write that the kernel does not take has write_stall_ms from its last progress
 *  (WAIT_WRITE). While there is one, nothing else but the cut of a drain ends IDLE and LINGERING: a client that takes
 *  its answers slowly is not idle.
 *
 *  One request at a time: what arrives behind it is kept unparsed, at most read_ahead_bytes, then reading stops. So the
 *  order of answers is the order of requests whatever handlers wait for. Requests that one read brought are answered by
 *  one write.
 *
 *  Invariants: `req` is set exactly in SERVING (and in CLOSED until its fiber has ended). `stream` is NULL exactly in
 *  CLOSED. A connection is freed only when no fiber refers to it and its callbacks cannot be on the stack (`busy` is
 *  0).
 */
#ifndef PROA_HTTP_CONN_H
#define PROA_HTTP_CONN_H

#include "h1.h"
#include "server_internal.h"

enum conn_state {
    CONN_IDLE = 0,
    CONN_HEAD,
    CONN_SERVING,
    CONN_DISCARDING,
    CONN_LINGERING,
    CONN_CLOSED,
};

struct conn_wait {
    struct proa_list node;
    proa_mono_ns since;
};

struct conn {
    struct server_loop *part;
    struct proa_stream *stream;
    struct proa_list node;      /* of all connections */
    struct proa_list work_node; /* to be gone on with */
    struct conn_wait wait;      /* idle, head, body or linger */
    struct conn_wait write_wait;
    uint8_t state;             /* enum conn_state */
    uint8_t wait_class;        /* of `wait`, WAIT_CLASSES: none */
    uint8_t busy;              /* its code is on the stack: do not free */
    bool ended;                /* the client has sent its last byte */
    bool paused;               /* reading is stopped */
    bool blank;                /* the empty line tolerated before a request has come */
    bool has_queue;            /* the kernel has not taken all that was sent: `write_wait` is in its list */
    uint32_t discarded;        /* of an unread body */
    uint64_t sent;             /* bytes, to the kernel or to the queue */
    uint64_t taken_seen;       /* those that the kernel had taken at the last look for progress */
    uint64_t sent_before_gone; /* when the wait for a client that may have gone began */
    struct h1_parser *parser;  /* while a message is under way */
    struct proa_req *req;
    struct proa_req *unsent; /* answered requests whose bytes the kernel has not all taken; newest first */
    struct proa_buf *ahead;  /* bytes read and not parsed, NULL if none */
    char *peer;              /* its address as text, once somebody has asked for it */
    proa_str input;          /* what is being parsed: within the read buffer, or the end of `ahead` */
};

/* conn_time.c: the beginning and the end, by time or from outside. */
/** Takes over an accepted stream. In a fiber or not. */
void conn_open(struct server_loop *part, struct proa_stream *stream);
/** Time limits. */
void conn_tick(struct proa_timer *timer);
/** Drain: ends streams, and what is idle soon; with `cut` cancels everything. */
void conn_drain_all(struct server_loop *part, bool cut);
/** Closes all at once; no fiber runs. */
void conn_close_all(struct server_loop *part);
/** Closes the connection that has been idle longest. @returns false when there is none. */
bool conn_close_idle(struct server_loop *part);
void conn_wait_for(struct conn *conn, enum wait_class class);
/** The client sends no more: cancels its request when nothing is sent to it for GONE_MS. */
void conn_may_be_gone(struct conn *conn);
void conn_set_state(struct conn *conn, enum conn_state state);
/** The queue of what the kernel did not take begins, with its time limit, or has ended. */
void conn_queue_changed(struct conn *conn);
/** After sending. */
static inline void conn_watch_queue(struct conn *conn)
{
    if ((proa_stream_queued(conn->stream) > 0) != conn->has_queue)
        conn_queue_changed(conn);
}

/* conn.c: the steps. */
/** Goes on with connections whose fiber has ended or whose queue has drained. */
void conn_flush(struct proa_flush *flush);
/** Has the connection gone on with outside of fibers, soon. */
void conn_later(struct conn *conn);
/** Sends slices of the present answer; gathers them while this connection's input is read. */
int conn_send(struct conn *conn, const proa_str *slices, size_t count);
/** Sends what was gathered. */
int conn_flush_out(struct conn *conn);
/** Gives the stream up. `reset`: with a RST. May free the connection. */
void conn_close(struct conn *conn, bool reset, int cause);
/** Sends the end, and waits for the client's a while, so that it gets to read what was sent. */
void conn_linger(struct conn *conn);
void conn_maybe_free(struct conn *conn);
/** Takes bytes off the front of the input. */
static inline void conn_use(struct conn *conn, size_t bytes)
{
    conn->input.ptr += bytes;
    conn->input.len -= bytes;
}
/** Goes on reading, which was paused; a body has its time anew. */
void conn_read_on(struct conn *conn);
/** Reads on when enough of what was read ahead is used. */
void conn_relieve(struct conn *conn);

/* conn_request.c: one request. */
/** Reads a head. @returns whether another step may be made. */
bool conn_step_head(struct conn *conn);
/** The exchange is over: goes on with the connection's life. */
void conn_finish_request(struct conn *conn);
/** Answers without having read a request, and closes. */
void conn_refuse(struct conn *conn, unsigned status, int code, const char *text);
/** Tells those who asked about answers whose last byte was taken by the kernel, or never will be. */
void conn_unsent_done(struct conn *conn, bool aborted);

/* conn_body.c */
/** The next piece of the input's body, for its reader or to be thrown away. Does not suspend. */
enum h1_event conn_body_next(struct conn *conn, struct proa_req *req, proa_str *ret_piece);
/** Whether all that will come of a body that nobody has read to its end lies in the input. */
bool conn_body_is_here(const struct conn *conn);
void conn_parser_free(struct conn *conn);

/* sse.c */
/** The connection is gone, or a drain begins. */
void sse_connection_lost(struct proa_req *req);
/** Called when the exchange is over: tells the stream's owner. */
void sse_done(struct proa_req *req);
/** The handler's fiber has ended. @returns whether the stream lives on. */
bool sse_fiber_ended(struct proa_req *req);

#endif

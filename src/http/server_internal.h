/** The server from the inside: one part a loop, which owns that loop's connections; and what the parts share.
 *
 *  A part is touched only from its loop's thread; `struct server_shared` is what all threads touch.
 */
#ifndef PROA_HTTP_SERVER_INTERNAL_H
#define PROA_HTTP_SERVER_INTERNAL_H

#include "h1.h"
#include "req_internal.h"

#include <proa/list.h>
#include <proa/server.h>
#include <proa/stream.h>
#include <stdatomic.h>

enum {
    WRITE_QUEUE_HIGH_BYTES = 256 * 1024, /* above it writers wait and no further pipelined request is begun */
    OUT_FLUSH_BYTES = 64 * 1024,         /* answers gathered before they are written whatever else comes */
    DISCARD_MAX_BYTES = 256 * 1024,      /* of an unread body, before the connection is closed instead */
    LINGER_MS = 2000,                    /* after an answer that closes, for the client's end */
    GONE_MS = 1000,                      /* from the client's last byte until its request is cancelled */
    DRAIN_LINGER_MS = 500,               /* the same in a drain */
    DRAIN_IDLE_MS = 1000,                /* an idle connection in a drain: a request may be on its way */
    REFUSED_MAX = 32,                    /* connections over the limit that are told so; more are reset */
    REQS_KEPT = 64,                      /* request objects kept for reuse, a loop */
    PARSERS_KEPT = 16,                   /* parsers likewise */
    OUT_KEPT_BYTES = 128 * 1024,         /* of the gathering buffer */
    TICK_MS = 50,                        /* how late a connection's timeout may strike */
    METHOD_SLOTS = 8,
    COMMON_FIELDS_MAX = 256,
};

/** What connections wait for with a time limit; each has one list a loop, oldest first. */
enum wait_class {
    WAIT_IDLE = 0, /* a request */
    WAIT_HEAD,     /* the rest of a head */
    WAIT_BODY,     /* the rest of a request's body */
    WAIT_LINGER,   /* the client's end, after the last answer */
    WAIT_WRITE,    /* the kernel's taking of bytes */
    WAIT_GONE,     /* the answer, when the client sends no more: it may have gone */
    WAIT_CLASSES,
};

enum limit {
    LIMIT_CONNECTIONS = 0,
    LIMIT_REQUESTS_IN_FLIGHT,
    LIMIT_STREAMS,
    LIMIT_HEAD_BYTES,
    LIMIT_FIELDS,
    LIMIT_TARGET_BYTES,
    LIMIT_BODY_BYTES,
    LIMIT_HEAD_MS,
    LIMIT_BODY_MS,
    LIMIT_WRITE_STALL_MS,
    LIMIT_IDLE_MS,
    LIMIT_REQUEST_MS,
    LIMIT_READ_AHEAD_BYTES,
    LIMITS,
};

/** What requests of one route, method and status have in common; found without a lock or a hash. */
struct series {
    struct series *next;
    uint16_t status;
    uint8_t method;
    bool has_no_form;
    struct log_form *form; /**< of access lines; made with the first */
    struct proa_counter_series *requests;
    struct proa_histogram_series *duration;
};

struct server_loop {
    struct proa_server *server;
    struct proa_loop *loop;
    uint32_t shard;
    bool has_group, has_tick;
    bool is_over;                 /* the server is being freed */
    struct proa_group group;      /* the requests' fibers */
    struct proa_list connections; /* all */
    struct proa_list waits[WAIT_CLASSES];
    struct proa_timer tick;
    proa_mono_ns due_at; /* who is late since then is so once the loop has read what has come; 0: nobody */
    struct proa_flush flush;
    struct proa_list work; /* connections to go on with outside of fibers */
    struct conn *current;  /* whose input is being read; its answers gather in `out` */
    struct proa_buf out;
    struct proa_buf scratch; /* one message that is sent at once */
    proa_mono_ns now;        /* the last exact reading */
    proa_mono_ns common_until;
    char common[COMMON_FIELDS_MAX]; /* "Date: …\r\nServer: …\r\n", for a second */
    size_t common_len;
    struct proa_server_limits limits; /* of this loop: replaced while it runs, see proa_server_tune */
    bool access_log_all;
    uint32_t slow_ms;
    struct proa_task tune;
    struct h1_limits h1_limits;
    struct h1_parser *parsers[PARSERS_KEPT];
    uint32_t parsers_count;
    struct proa_req *free_reqs;
    uint32_t free_reqs_count;
    const struct proa_router *router; /* the present one; requests keep that which they began with */
    unsigned methods;                 /* of all its routes */
    struct series **series;           /* 0: no route, else by route index + 1 */
    uint32_t series_count;
    uint32_t exemplar_turn;
    uint64_t log_from_ns;        /* shorter requests that did not fail have no line in the log */
    struct proa_task control;    /* drain, from loop 0 */
    struct proa_task reap;       /* from any loop: close idle connections */
    _Atomic uint32_t reap_count; /* those promised to other loops and not yet closed */
    uint32_t owed;               /* those promised that were idle no more */
    _Atomic uint64_t idle_count; /* written by this loop, read by all */
};

struct server_shared {
    _Atomic uint64_t connections; /* open ones */
    _Atomic uint64_t conns;       /* they, and those whose request has not ended yet though its client is gone */
    _Atomic uint64_t in_flight;   /* requests whose fibers are suspended */
    _Atomic uint64_t streams;
    _Atomic int phase;         /* enum server_phase */
    _Atomic uint32_t controls; /* tasks under way to the loops */
    _Atomic uint64_t limit_hits[LIMITS];
};

enum server_phase {
    SERVER_SERVING = 0,
    SERVER_CLOSING_SOON, /* drain delay: answers close their connections */
    SERVER_DRAINING,     /* idle connections are closed */
    SERVER_CUTTING,      /* what is left is cancelled */
};

struct proa_server {
    struct proa_server_options options;
    struct proa_logger access_logger; /* child of options.logger */
    struct proa_listener *listener;
    struct proa_loop **loops; /* as the listener wants them */
    char address[128];
    /* While proa_server_set_router is under way: */
    const struct proa_router *next_router;
    struct proa_waiter router_waiter;
    struct proa_task router_changed;
    _Atomic bool is_router_refused;
    /* While proa_server_tune is under way: */
    struct proa_server_tuning next_tuning;
    struct proa_waiter tune_waiter;
    struct proa_task tuned;
    _Atomic uint32_t tunes;
    struct server_shared shared;
    struct proa_counter *requests_metric;
    struct proa_histogram *duration_metric;
    struct proa_gauge_series *gauges[4];
    struct proa_counter_series *accept_failures;
    struct proa_gauge_series *limit_gauges[LIMITS];
    struct proa_counter_series *limit_series[LIMITS];
    _Atomic uint32_t late_flushes; /* of a freed server: flushes that their loops have yet to take off their lists */
    uint32_t parts_count;
    struct server_loop parts[];
};

/* limits.c */
/** Puts defaults where nothing is given, and bounds connections by the open-files limit. */
void limits_fill(struct proa_server_limits *limits);
uint64_t limit_value(const struct proa_server_limits *limits, enum limit limit);
void limit_hit(struct server_loop *part, enum limit limit);
/** Room for the series of so many routes, where they are asked for; what is there stays. */
int server_series_reserve(struct server_loop *part, uint32_t routes);
/** Tells the limits in the metrics anew. */
void server_limits_show(struct proa_server *server);
/** Makes the metrics of a server. */
PROA_COLD int server_metrics_init(struct proa_server *server, struct proa_error *err);
/** Has those set that a scrape reads, once there is a listener: another thread may scrape while this one starts. */
PROA_COLD int server_metrics_watch(struct proa_server *server);
/** Of a finished request; NULL when neither metrics nor access lines are asked for, or memory is out. */
struct series *server_series(struct server_loop *part, const struct proa_req *req);
/** Counts a finished request. */
void server_count_request(struct server_loop *part, const struct proa_req *req, const struct series *series,
                          uint64_t duration_ns);
void server_series_free(struct server_loop *part);

/* access_log.c */
/** Logs a finished request when it failed, was slow, or all are asked for. */
void server_log_request(struct server_loop *part, const struct proa_req *req, struct series *series, bool aborted,
                        uint64_t duration_ns);

/* server.c */
/** What is left of a freed server goes with the last flush that was asked for before. */
void server_flushed_late(struct proa_server *server);
/** Whether an answer's connection is to be closed to make the room that `part->owed` says; asked when it is not 0. */
bool server_pays_room(struct server_loop *part);
/** Asks another loop to close its longest idle connection. @returns false when none has one that was not asked for already. */
bool server_reap_elsewhere(struct server_loop *part);
static inline enum server_phase server_phase(const struct proa_server *server)
{
    return (enum server_phase)atomic_load_explicit(&server->shared.phase, memory_order_relaxed);
}
static inline void count_up(_Atomic uint64_t *count)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}
static inline void count_down(_Atomic uint64_t *count)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) - 1, memory_order_relaxed);
}
/** From the pool; arena and times are set. NULL when memory is out. */
struct proa_req *req_new(struct server_loop *part);
void req_free(struct proa_req *req);

#endif

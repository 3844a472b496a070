/** The HTTP server: HTTP/1.1 (RFC 9110, RFC 9112), strictly, on any number of loops. */
#ifndef PROA_SERVER_H
#define PROA_SERVER_H

#include <proa/error.h>
#include <proa/log.h>
#include <proa/loops.h>
#include <proa/metrics.h>
#include <proa/router.h>
#include <proa/tracer.h>

PROA_BEGIN_DECLS

/** The limits' defaults, also those of the app frame's configuration. */
enum {
    PROA_SERVER_CONNECTIONS_DEFAULT = 10000,
    PROA_SERVER_REQUESTS_IN_FLIGHT_DEFAULT = 1000,
    PROA_SERVER_STREAMS_DEFAULT = 10000,
    PROA_SERVER_HEAD_BYTES_DEFAULT = 16 * 1024,
    PROA_SERVER_FIELDS_DEFAULT = 100,
    PROA_SERVER_TARGET_BYTES_DEFAULT = 8 * 1024,
    PROA_SERVER_BODY_BYTES_DEFAULT = 1024 * 1024,
    PROA_SERVER_HEAD_MS_DEFAULT = 10000,
    PROA_SERVER_BODY_MS_DEFAULT = 30000,
    PROA_SERVER_WRITE_STALL_MS_DEFAULT = 10000,
    PROA_SERVER_IDLE_MS_DEFAULT = 60000,
    PROA_SERVER_REQUEST_MS_DEFAULT = 20000,
    PROA_SERVER_READ_AHEAD_BYTES_DEFAULT = 64 * 1024,
    PROA_SERVER_SLOW_MS_DEFAULT = 1000,
};

/** Limits. 0 is the default above; counts are for the process. Each is configuration key `http.<name>` in the app
 *  frame, and has the metric `http_server_limit{limit="<name>"}` with `http_server_limit_hits_total{limit=…}`. */
struct proa_server_limits {
    /** At most the open-files limit less 64. Then the longest idle one of the loop that got the new one is closed, if
     *  it has none, that of another loop; if none is idle, 503 and close */
    uint32_t connections;
    /** Then 503 with Retry-After at once; probes are exempt. Loops that count at the same instant may exceed it by one
     *  each */
    uint32_t requests_in_flight;
    uint32_t streams;          /**< answers that live without a fiber (SSE) */
    uint32_t head_bytes;       /**< then 431 */
    uint32_t fields;           /**< header lines, then 431 */
    uint32_t target_bytes;     /**< then 414 */
    uint64_t body_bytes;       /**< then 413 */
    uint32_t head_ms;          /**< from the first byte of a head to its end, then 408 and close */
    uint32_t body_ms;          /**< for the whole body, then 408 and close */
    uint32_t write_stall_ms;   /**< without progress of a write, then reset */
    uint32_t idle_ms;          /**< without a request, then close */
    uint32_t request_ms;       /**< deadline of a request's fiber, then 504; 408 where it waited for the body */
    uint32_t read_ahead_bytes; /**< of pipelined requests or of a body nobody takes, then reading stops */
};

/** Names under which the duration of requests is shown. They are one instrument: either alone costs as much as both. */
enum proa_duration_names {
    PROA_DURATION_BOTH = 0,
    PROA_DURATION_SHORT,   /**< http_request_duration_seconds{method,route,status} */
    PROA_DURATION_SEMCONV, /**< http_server_request_duration_seconds{http_request_method,…}, of the conventions */
};

struct proa_server_options {
    struct proa_loops *loops;         /**< where connections live; NULL: on `loop` */
    struct proa_loop *loop;           /**< without `loops`: the only one (also a simulated one) */
    const char *address;              /**< "0.0.0.0:8080"; see proa_listener_options */
    const struct proa_router *router; /**< outlives the server */
    void *state;                      /**< proa_req_state */
    struct proa_server_limits limits;
    struct proa_metrics *metrics; /**< NULL: none */
    enum proa_duration_names duration_names;
    struct proa_tracer *tracer; /**< of the spans of requests; NULL: none, a caller's trace is passed on all the same */
    /** Outlives the server; NULL: none. Handlers log under its target (none: "http"), lines about finished requests
     *  have the target "http.access". */
    const struct proa_logger *logger;
    const char *server_name; /**< `Server` field; NULL: not sent */
    bool access_log_all;     /**< else errors (5xx) and slow requests only */
    uint32_t slow_ms;        /**< slow request; 0: the default above */
};

struct proa_server;
/** Opens the listener and serves. From loop 0's thread before or while it runs. */
PROA_COLD PROA_MUST_USE int proa_server_start(const struct proa_server_options *options,
                                              struct proa_server **ret_server, struct proa_error *err);
/** The bound address with the real port; out has room for PROA_ADDRESS_MAX (proa/stream.h). From any thread. */
void proa_server_address(const struct proa_server *server, char *out);

/** Serves another router from now on, as when a program has started. From a fiber of loop 0; may suspend until every
 *  loop has changed over. Requests under way go on with the old router, which outlives the server too. The new one must
 *  begin with the routes of the old one in the same order (the probes, say): their metric series go on. @returns 0, or
 *  PROA_ENOMEM (some loops may then keep the old). */
PROA_COLD PROA_MUST_USE int proa_server_set_router(struct proa_server *server, const struct proa_router *router);

/** How many fibers a loop should allow (proa_loop_options.fibers_max) for these: all of them may come to one loop, each
 *  with helpers now and then. */
PROA_COLD uint32_t proa_server_fibers(uint32_t requests_in_flight);

/** What can be changed while it serves. */
struct proa_server_tuning {
    struct proa_server_limits
        limits; /**< `fields` excepted, which stays; the loops get to allow as many fibers as proa_server_fibers says */
    bool access_log_all;
    uint32_t slow_ms; /**< 0: the default */
};
/** Replaces them, for what begins from now on. From a fiber of loop 0, one at a time; may suspend until every loop has
 *  them, also when the fiber is cancelled. */
PROA_COLD void proa_server_tune(struct proa_server *server, const struct proa_server_tuning *tuning);

/** Drain, from a fiber of loop 0; may suspend. The listener stays open for `delay_ms` (readiness should be false
 *  already) while answers carry Connection: close; then it is emptied and closed, idle connections are closed,
 *  in-flight requests finish within `drain_ms`, after which they are cancelled. Those that are cancelled, and those
 *  whose client is gone, are waited for too, without a limit: what handlers did on any loop has happened before this
 *  returns, so what they work with can be closed then. @returns 0 when all ended by themselves, PROA_ETIMEDOUT when
 *  some were cut. */
PROA_COLD PROA_MUST_USE int proa_server_drain(struct proa_server *server, uint32_t delay_ms, uint32_t drain_ms);
/** Closes everything at once, and frees. From loop 0's thread, when no fiber runs on any loop. Its metrics must not be
 *  written afterwards. NULL is fine. */
PROA_COLD void proa_server_free(struct proa_server *server);

struct proa_server_counts {
    uint64_t connections;
    uint64_t idle;
    uint64_t in_flight;
    uint64_t streams;
};
/** Sums over loops; from any thread. */
void proa_server_counts(const struct proa_server *server, struct proa_server_counts *ret_counts);

PROA_END_DECLS
#endif

/** An HTTP/1.1 client for fibers: pooled connections, deadlines, retries within a budget, limits, gzip, proxies.
 *
 *      struct proa_client_response response;
 *      PROA_TRY(proa_client_fetch(client, arena,
 *                                 &(struct proa_client_request){.url = PROA_STR("http://billing/v1/prices")},
 *                                 &response, err));
 *
 *  A client belongs to one loop; a program makes one a loop (proa_clients_new) and keeps it, since its connections are
 *  worth keeping. Every call comes from a fiber of that loop, may suspend, and has the fiber's deadline and
 *  cancellation.
 *
 *  Repeating: a request that was certainly not sent is tried again whatever its method. One that may have been received
 *  is repeated only when its method is idempotent (RFC 9110 section 9.2.2) or the caller says that it may be; else its
 *  loss is PROA_EUNKNOWN. 429, 502, 503 and 504 are answers to try again later, after Retry-After or a jittered,
 *  doubling wait. All repeats of a client draw on one budget, a tenth of its requests, so that a sick server is not
 *  finished off by its clients. Redirects are not followed: the answer is the caller's.
 */
#ifndef PROA_CLIENT_H
#define PROA_CLIENT_H

#include <proa/arena.h>
#include <proa/error.h>
#include <proa/json.h>
#include <proa/log.h>
#include <proa/loop.h>
#include <proa/metrics.h>
#include <proa/stream.h>
#include <proa/tracer.h>

PROA_BEGIN_DECLS

struct proa_client;

/** How a trace is passed on, as OTEL_PROPAGATORS names them. */
enum proa_propagators {
    PROA_PROPAGATE_TRACECONTEXT = 1, /**< traceparent, tracestate */
    PROA_PROPAGATE_BAGGAGE = 2,
    PROA_PROPAGATE_B3 = 4,
    PROA_PROPAGATE_B3MULTI = 8,
    PROA_PROPAGATE_NONE = 16,
};

struct proa_client_options {
    struct proa_loop *loop;
    /** For https, of proa/tls.h; NULL: an https URL is PROA_EUNSUPPORTED. Outlives the client. */
    const struct proa_stream_layer *tls;
    struct proa_metrics *metrics; /**< for http_client_…; NULL: none */
    /** Copied; what it points to outlives the client. Repeats, and those that the budget refuses, are told at debug,
     *  target "http.client". NULL: none */
    const struct proa_logger *logger;
    struct proa_tracer *tracer; /**< of the spans of requests; NULL: none. The fiber's span is passed on all the same */
    const char *user_agent;     /**< static; NULL: "proa" */
    /** "NAME=value", ended by NULL (main's `environ`): HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case, are looked
     *  up in it once. HTTP_PROXY is ignored where REQUEST_METHOD is set (a CGI program's client could set it). NULL: no
     *  proxies. */
    char *const *env;
    unsigned propagate;              /**< enum proa_propagators or'ed; 0: W3C trace context and baggage */
    uint32_t connections_per_origin; /**< open at once to one scheme, host and port; further requests wait. 0: 64 */
    uint32_t waiting_max;            /**< requests that wait for a connection; more are PROA_EBUSY. 0: 1,000 */
    uint32_t idle_ms;                /**< an unused connection is closed after it. 0: 30,000 */
    uint32_t connect_ms;             /**< names, connecting and TLS together. 0: 5,000 */
    uint32_t peer_timeout_ms;        /**< proa_stream_set_peer_timeout of its connections. 0: none */
    uint32_t request_ms;             /**< until the head of the answer, repeats included. 0: 30,000 */
    uint32_t head_bytes;             /**< of an answer's head. 0: 64 KiB */
    uint64_t body_bytes;             /**< of a decoded answer held in memory. 0: 16 MiB */
    uint32_t retries;                /**< further tries of a request. 0: 2 */
};
/** The options are copied; what they point to outlives the client. Does not suspend: connections are made by requests.
 *  Belongs to its loop. @returns 0, PROA_EINVAL (`err` says which option, or which proxy of `env`), PROA_ENOMEM. */
PROA_MUST_USE int proa_client_new(const struct proa_client_options *options, struct proa_client **ret_client,
                                  struct proa_error *err);
/** No exchange may be open. NULL is fine. */
void proa_client_free(struct proa_client *client);
/** Exchanges that are open. */
uint32_t proa_client_exchanges(const struct proa_client *client);

/** A client on each loop of a program, for handlers, which run on all of them. Limits and the budget of repeats are
 *  each client's. */
struct proa_clients;
struct proa_loops;
/** `options->loop` is not looked at. From proa_app_options.start, or before the loops run. */
PROA_MUST_USE int proa_clients_new(struct proa_loops *loops, const struct proa_client_options *options,
                                   struct proa_clients **ret_clients, struct proa_error *err);
/** That of `loop`, the one that the caller runs on (proa_req_loop). */
struct proa_client *proa_clients_at(const struct proa_clients *clients, const struct proa_loop *loop);
/** No exchange may be open. From a fiber of loop 0 while the loops run, as proa_app_options.stop; may suspend, whatever
 *  the fiber's deadline, until the connections of all loops are closed. NULL is fine. */
void proa_clients_free(struct proa_clients *clients);

struct proa_client_field {
    const char *name;
    proa_str value;
};

/** Everything lives until the call returns. */
struct proa_client_request {
    const char *method; /**< NULL: GET */
    proa_str url;       /**< absolute, http or https, without user information; a fragment is not sent */
    /** Further fields. Content-Length, Transfer-Encoding and Connection are the client's; Host, User-Agent and
     *  Accept-Encoding are too unless given here. */
    const struct proa_client_field *fields;
    size_t fields_count;
    proa_str body;            /**< ptr NULL: none */
    const char *content_type; /**< of the body; NULL: not sent */
    uint32_t timeout_ms;      /**< 0: the client's request_ms */
    uint64_t body_bytes_max;  /**< 0: the client's body_bytes */
    bool may_repeat;          /**< the server takes it twice as once (an Idempotency-Key is sent, say) */
    bool no_retries;
    /** The trace that it belongs to; NULL: that of the fiber's present span (with its tracestate and baggage), if there
     *  is one. Sent as traceparent, and what else `propagate` says. */
    const struct proa_trace_ids *trace;
};

/** An answer with its whole body. All text lies in the arena of the call. */
struct proa_client_response {
    int status;
    proa_str body;
    uint32_t tries;         /**< 1: at once */
    uint32_t retry_after_s; /**< of Retry-After, a date too (rounded up); 0: none, or one that has passed */
    const struct proa_exchange *exchange;
};
/** Sends, and reads the answer whole. Any status is an answer, see proa_client_status.
 *  @returns 0, PROA_EUNAVAILABLE (not reached, or lost; safe to repeat), PROA_EUNKNOWN (lost after sending or within
 *           the answer), PROA_ETIMEDOUT, the cancellation's cause, PROA_EBUSY (waiting_max), PROA_ETOOLARGE (the
 *           answer), PROA_EPROTOCOL (no HTTP, or a certificate that does not hold), PROA_EINVAL (the request),
 *           PROA_EUNSUPPORTED (https without TLS). */
PROA_MUST_USE int proa_client_fetch(struct proa_client *client, struct proa_arena *arena,
                                    const struct proa_client_request *request,
                                    struct proa_client_response *ret_response, struct proa_error *err);
/** An answer's field by name (any case), lines joined by ", "; ptr NULL when absent. */
proa_str proa_client_field(const struct proa_client_response *response, const char *name);
/** 0 for a status below 400, else an error that says it: 404 is PROA_ENOTFOUND, 409 PROA_ECONFLICT, 429 and 503
 *  PROA_EBUSY with retry_after_s, other 5xx PROA_EUNAVAILABLE, other 4xx PROA_EINVAL and so on. A problem document's
 *  detail (RFC 9457) becomes part of the message. */
PROA_MUST_USE int proa_client_status(const struct proa_client_response *response, struct proa_error *err);
/** Fetches and reads a JSON answer into a described struct; a status of 400 and above is an error as in
 *  proa_client_status, and so is a body that the description does not fit (PROA_EPROTOCOL). */
#define proa_client_json(client, arena, request, typed, ret_value, err)                                                \
    proa_client_json_type(client, arena, request, PROA_TYPED(typed, ret_value), ret_value, err)
PROA_MUST_USE int proa_client_json_type(struct proa_client *client, struct proa_arena *arena,
                                        const struct proa_client_request *request, const struct proa_type *type,
                                        void *ret_value, struct proa_error *err);

/** An answer whose body is read piece by piece: large downloads, watches. */
struct proa_exchange;
/** Sends, and waits for the head of the answer. Lives in the arena, which closes it at its end if nobody did. @returns
 *  as proa_client_fetch. */
PROA_MUST_USE int proa_client_open(struct proa_client *client, struct proa_arena *arena,
                                   const struct proa_client_request *request, struct proa_exchange **ret_exchange,
                                   struct proa_error *err);
int proa_exchange_status(const struct proa_exchange *exchange);
/** A field of the answer's head by name, whatever its case, in the exchange's arena; ptr NULL when there is none. */
proa_str proa_exchange_field(const struct proa_exchange *exchange, const char *name);
/** Retry-After (RFC 9110 section 10.2.3), seconds or a date, in seconds from now, rounded up; 0: none, or one that has
 *  passed. Before the exchange is closed. */
uint32_t proa_exchange_retry_after_s(const struct proa_exchange *exchange);
/** The next piece of the decoded body, valid until the next call; ptr NULL at its end. May suspend; the fiber's
 *  deadline holds, not request_ms. What is not read holds the server back. @returns 0, PROA_EUNAVAILABLE (cut off),
 *  PROA_EPROTOCOL, … */
PROA_MUST_USE int proa_exchange_read(struct proa_exchange *exchange, proa_str *ret_piece, struct proa_error *err);
/** From any fiber or callback of the loop: the connection counts as lost. Who reads, or reads next, gets
 *  PROA_EUNAVAILABLE when it has taken what came before. */
void proa_exchange_cut(struct proa_exchange *exchange);
/** Gives the connection back when the body was read to its end, else closes it. Again is harmless. NULL is fine. */
void proa_exchange_close(struct proa_exchange *exchange);

PROA_END_DECLS
#endif

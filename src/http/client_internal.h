/** The client from the inside: URLs, connections and their pool, responses, exchanges. */
#ifndef PROA_HTTP_CLIENT_INTERNAL_H
#define PROA_HTTP_CLIENT_INTERNAL_H

#include <llhttp.h>
#include <proa/client.h>
#include <proa/fiber.h>
#include <proa/list.h>
#include <proa/buf.h>
#include <proa/map.h>

enum {
    CLIENT_HOST_MAX = 255,
    CLIENT_ORIGIN_MAX = CLIENT_HOST_MAX + 16, /* "https://host:port" */
    CLIENT_INPUT_HIGH_BYTES = 64 * 1024,      /* unread bytes of a connection; above it the socket is left alone */
    CLIENT_FIELDS_MAX = 256,
};

/* client_url.c */
struct client_url {
    bool is_https;
    uint16_t port;
    proa_str host; /* without the brackets of IPv6 */
    bool is_v6;
    proa_str host_field; /* as the Host field has it: port only when it is not the scheme's */
    proa_str target;     /* "/path?query" */
};
/** Slices point into `text` or the arena. @returns 0, PROA_EINVAL or PROA_ENOMEM. */
int client_url_parse(struct proa_arena *arena, proa_str text, struct client_url *ret_url, struct proa_error *err);

/* client.c */
/** Whether a request may have this field of the caller's: else PROA_EINVAL, with a text that does not quote the value. */
PROA_MUST_USE int client_field_check(const struct proa_client_field *field, struct proa_error *err);

/* client_proxy.c */
struct client_proxy {
    char *address;       /* "host:port"; NULL: none */
    char *authorization; /* value of Proxy-Authorization, or NULL */
};
struct client_proxies {
    struct client_proxy http, https;
    char *none_for; /* NO_PROXY, or NULL */
};
int client_proxies_init(struct client_proxies *proxies, char *const *env, struct proa_error *err);
void client_proxies_done(struct client_proxies *proxies);
/** The proxy for this URL, or NULL. */
const struct client_proxy *client_proxy_for(const struct client_proxies *proxies, const struct client_url *url);

/* client_metrics.c */
enum client_metric { CLIENT_IDLE = 0, CLIENT_ACTIVE = 1 };
struct client_metrics {
    struct proa_histogram *durations;         /* NULL: nothing is measured */
    struct proa_map *series;                  /* of `durations`, by their label values */
    struct proa_gauge_series *connections[2]; /* by enum client_metric */
    struct proa_counter_series *resends, *resends_refused;
};
struct client_observation {
    const char *method; /* NULL: GET */
    const struct client_url *url;
    int rc, status;
    uint64_t duration_ns;
    const struct proa_trace_ids *exemplar;
};
/** `metrics` NULL: nothing will be counted. */
int client_metrics_init(struct client_metrics *own, struct proa_metrics *metrics, uint64_t seed,
                        struct proa_error *err);
void client_metrics_done(struct client_metrics *own);
void client_metrics_observe(struct client_metrics *own, uint32_t shard, const struct client_observation *what);
static inline void client_metrics_count(struct proa_counter_series *series, const struct proa_loop *loop)
{
    if (series)
        proa_counter_add(series, proa_loop_index(loop), 1);
}

/* client_trace.c: the span of a request, and the fields that pass it on. */
struct client_trace {
    struct proa_span span;
    bool is_present; /* there is a trace to pass on */
};
void client_trace_begin(const struct proa_client *client, const struct proa_client_request *request,
                        struct client_trace *ret_trace);
/** Appends the fields to a head, but for those that the caller gives. */
void client_trace_fields(const struct proa_client *client, const struct client_trace *trace,
                         bool (*is_given)(const struct proa_client_request *request, const char *name),
                         const struct proa_client_request *request, struct proa_buf *head);
/** `status` 0: no answer came, for the reason `rc`. */
void client_trace_end(struct client_trace *trace, const struct proa_client_request *request,
                      const struct client_url *url, int rc, int status, uint32_t tries, const struct proa_error *err);

/* client_response.c: heads and bodies of answers, by llhttp. */
struct response_field {
    uint32_t name_at, name_len, value_at, value_len; /* in `text` */
};
enum response_phase { RESPONSE_HEAD = 0, RESPONSE_BODY, RESPONSE_END };
struct response {
    llhttp_t llhttp;
    struct proa_buf text; /* names and values of the fields */
    struct proa_buf body; /* decoded of its framing and not yet given on */
    struct response_field *fields;
    uint32_t fields_count;
    uint32_t head_bytes;
    uint32_t head_bytes_max;
    int status;
    int error;          /* why a callback refused: PROA_ETOOLARGE, PROA_ENOMEM, PROA_EPROTOCOL or 0 */
    const char *reason; /* of PROA_EPROTOCOL; static */
    uint8_t phase;
    bool is_head;   /* the answer to HEAD: no body whatever its fields say */
    bool is_tunnel; /* the answer to CONNECT */
    bool in_value;
    bool is_interim; /* 1xx: another head follows */
    bool keep_alive;
};
int response_init(struct response *response, struct proa_arena *arena, uint32_t head_bytes_max);
/** Forgets all of the message. */
void response_reset(struct response *response);
/** Takes bytes until the head is whole, or body bytes have come, or the message has ended. *ret_used tells how many.
 *  @returns 0, PROA_EPROTOCOL, PROA_ETOOLARGE or PROA_ENOMEM. */
int response_feed(struct response *response, proa_str bytes, size_t *ret_used, struct proa_error *err);
/** The server has closed. @returns 0 when the message is whole by that, PROA_EUNAVAILABLE when it is cut off. */
int response_finish(struct response *response, struct proa_error *err);
proa_str response_field(const struct response *response, struct proa_arena *arena, const char *name);
/** Gives back what the arena does not own. */
void response_done(struct response *response);

/* client_pool.c: connections by origin. */
struct client_origin {
    struct proa_list idle;    /* connections, the latest used first */
    struct proa_list waiting; /* of struct client_waiter */
    uint32_t open;            /* connections made or being made */
    uint32_t waiters; /* fibers that wait, those too that left the list when they were woken and have not run since */
    char key[];
};

/** A connection in callback use for all its life, so that a server's close is seen also while it is idle. */
struct client_conn {
    struct proa_list node;
    struct client_origin *origin;
    struct proa_client *client;
    struct proa_stream *stream;
    struct proa_waiter *waiter; /* the fiber that waits for something to happen */
    struct proa_buf in;
    size_t in_at; /* of `in`, already parsed */
    proa_mono_ns idle_since;
    uint32_t uses;
    int end_code;
    bool ended, paused, is_idle;
};

struct proa_client {
    struct proa_client_options options;
    struct client_proxies proxies;
    struct proa_map *origins; /* key to struct client_origin */
    struct proa_timer idle_timer;
    uint32_t waiting;
    uint32_t exchanges;
    double budget; /* repeats that may be made now */
    struct client_metrics metrics;
    struct proa_logger logger;
};

/** What is connected to, and how. */
struct client_route {
    const struct client_url *url;
    const struct client_proxy *proxy; /* NULL: directly */
};
/** A connection to the origin, an idle one if there is one and `fresh` is not asked. May suspend. */
int client_conn_get(struct proa_client *client, const struct client_route *route, bool fresh,
                    struct client_conn **ret_conn, struct proa_error *err);
/** Gives it back for the next one, or closes it. */
void client_conn_put(struct client_conn *conn, bool reusable);
/** May suspend until bytes came or the end. @returns 0 or the fiber's reason to stop. */
int client_conn_wait(struct client_conn *conn);
/** It counts as reset: nothing is read from it any more. */
void client_conn_cut(struct client_conn *conn);
/** Bytes read and not yet taken. */
static inline proa_str client_conn_input(const struct client_conn *conn)
{
    return proa_str_n(conn->in.ptr + conn->in_at, conn->in.len - conn->in_at);
}
void client_conn_take(struct client_conn *conn, size_t bytes);
void client_origins_free(struct proa_client *client);
void client_idle_fire(struct proa_timer *timer);

#endif

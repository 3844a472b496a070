/** A request and its answer, as a handler sees them.
 *
 *  A handler is plain C in a fiber: `int handler(struct proa_req *req)`. It reads what it needs, calls what
 *  may suspend, and answers. A negative result becomes the problem document of that error (RFC 9457), unless
 *  the answer has begun. Everything that comes from a request lives in its arena and is gone with the answer.
 *  Calls must come from the request's fiber.
 */
#ifndef PROA_REQ_H
#define PROA_REQ_H

#include <proa/arena.h>
#include <proa/error.h>
#include <proa/json.h>
#include <proa/log.h>
#include <proa/loop.h>
#include <proa/str.h>
#include <proa/type.h>

PROA_BEGIN_DECLS

struct proa_req;
typedef int proa_handler(struct proa_req *req);

enum proa_method {
    PROA_METHOD_OTHER = 0, /**< none of these: proa_req_method_text tells */
    PROA_GET = 1,
    PROA_HEAD = 2,
    PROA_POST = 4,
    PROA_PUT = 8,
    PROA_PATCH = 16,
    PROA_DELETE = 32,
    PROA_OPTIONS = 64,
    PROA_METHODS_ANY = 127,
};

/* What was asked. */
enum proa_method proa_req_method(const struct proa_req *req);
proa_str proa_req_method_text(const struct proa_req *req);
/** The path as sent (percent-encoded), without the query. */
proa_str proa_req_path(const struct proa_req *req);
/** The query string without '?', "" if none. */
proa_str proa_req_query_text(const struct proa_req *req);
/** The host of the target or Host field, with port if given. */
proa_str proa_req_host(const struct proa_req *req);
/** A header field by name (any case); several lines are joined by ", " in order (not Set-Cookie). ptr NULL when
 *  absent. */
proa_str proa_req_header(const struct proa_req *req, const char *name);
/** Walks all header lines: `for (size_t i = 0; proa_req_header_at(req, i, &name, &value); i++)`. */
bool proa_req_header_at(const struct proa_req *req, size_t index, proa_str *ret_name, proa_str *ret_value);
/** A path parameter, percent-decoded; ptr NULL when the route has none of the name. */
proa_str proa_req_param(const struct proa_req *req, const char *name);
/** A path parameter as a number. A text that is none is PROA_EINVAL (400) naming it. */
PROA_MUST_USE int proa_req_param_u64(struct proa_req *req, const char *name, uint64_t *ret_value);
PROA_MUST_USE int proa_req_param_i64(struct proa_req *req, const char *name, int64_t *ret_value);
/** The query, bound to a described struct: names, kinds, rules and defaults by description; "a=1&a=2" fills lists.
 *  Unknown names by the type's policy. Broken rules are PROA_EINVAL (400) with all fields listed, each with the pointer
 *  "#/query/NAME" (NAME escaped as RFC 6901 says). */
#define proa_req_query(req, typed, ret_value) proa_req_query_type(req, PROA_TYPED(typed, ret_value), ret_value)
PROA_MUST_USE int proa_req_query_type(struct proa_req *req, const struct proa_type *type, void *ret_value);
/** Header fields likewise; a member `if_match` is the field If-Match. Fields not described are ignored. */
#define proa_req_headers(req, typed, ret_value) proa_req_headers_type(req, PROA_TYPED(typed, ret_value), ret_value)
PROA_MUST_USE int proa_req_headers_type(struct proa_req *req, const struct proa_type *type, void *ret_value);

/** The whole body as JSON into a described struct. May suspend. Content-Type must be application/json or …+json
 *  and the body not compressed (PROA_EMEDIATYPE), size at most the body limit (PROA_ETOOLARGE), syntax (PROA_ESYNTAX),
 *  rules (PROA_EVALIDATION). */
#define proa_req_json(req, typed, ret_value) proa_req_json_type(req, PROA_TYPED(typed, ret_value), ret_value)
PROA_MUST_USE int proa_req_json_type(struct proa_req *req, const struct proa_type *type, void *ret_value);
/** The whole body as a merge patch (RFC 7396, application/merge-patch+json or application/json) applied to *value. May
 *  suspend. */
#define proa_req_merge_patch(req, typed, value) proa_req_merge_patch_type(req, PROA_TYPED(typed, value), value)
PROA_MUST_USE int proa_req_merge_patch_type(struct proa_req *req, const struct proa_type *type, void *value);
/** The whole body. May suspend. Lives in the arena. */
PROA_MUST_USE int proa_req_body(struct proa_req *req, proa_str *ret_body);
/** The next piece of the body, for bodies too large for memory; ptr NULL at the end. The piece is valid until the next
 *  call. May suspend. Reading stops the socket when nobody takes (back-pressure). The body limit is the route's. */
PROA_MUST_USE int proa_req_body_read(struct proa_req *req, proa_str *ret_piece);
/** Trailer fields, after the body has ended. ptr NULL when absent. */
proa_str proa_req_trailer(const struct proa_req *req, const char *name);

/* Around the request. */
struct proa_arena *proa_req_arena(struct proa_req *req);
/** The request's error object: what PROA_TRY'd calls fill and the problem document is made from. */
struct proa_error *proa_req_error(struct proa_req *req);
struct proa_loop *proa_req_loop(const struct proa_req *req);
/** The server's `state` pointer. */
void *proa_req_state(const struct proa_req *req);
/** The route's `arg` pointer. */
void *proa_req_route_arg(const struct proa_req *req);
/** Name of the route ("/users/{id}"), "" when none matched. Static. */
const char *proa_req_route(const struct proa_req *req);
/** The server's logger with the ids of the request's trace; without a logger one that writes nothing. Lives as long as
 *  the request. */
const struct proa_logger *proa_req_log(const struct proa_req *req);
/** The trace that the request belongs to: of its span where it is traced, else what came with it. Never NULL; maybe not
 *  present (proa_trace_present). Lives as long as the request. */
const struct proa_trace_ids *proa_req_trace(const struct proa_req *req);
/** Peer address as text, in the arena. */
proa_str proa_req_peer(struct proa_req *req);
/** Typed values that middleware hangs on a request. A key is for pointers to one type: `static PROA_REQ_KEY(user_key,
 *  struct user);` where one file sets and reads it; else PROA_REQ_KEY_DECLARE(user_key, struct user) in a header and
 *  PROA_REQ_KEY_DEFINE(user_key) in one file. */
#define PROA_REQ_KEY(name_, ...)                                                                                       \
    const struct name_##_of_requests {                                                                                 \
        __VA_ARGS__ *of_;                                                                                              \
    } name_ = {0}
#define PROA_REQ_KEY_DECLARE(name_, ...)                                                                               \
    struct name_##_of_requests {                                                                                       \
        __VA_ARGS__ *of_;                                                                                              \
    };                                                                                                                 \
    extern const struct name_##_of_requests name_
#define PROA_REQ_KEY_DEFINE(name_) const struct name_##_of_requests name_ = {0}
/** Hangs `value` (a pointer to the key's type, which lives as long as the request) on it, in place of what was there.
 *  @returns 0 or PROA_ENOMEM. proa_req_value gives it back, with its type: NULL when there is none. */
#ifdef __cplusplus
#define proa_req_set_value(req, key, value) proa_req_set_value_at(req, key, true ? (value) : (key)->of_)
#define proa_req_value(req, key) (static_cast<decltype((key)->of_)>(proa_req_value_at(req, key)))
#else
#define proa_req_set_value(req, key, value)                                                                            \
    proa_req_set_value_at(                                                                                             \
        req, (key) + 0 * sizeof(struct {                                                                               \
                         int unused_;                                                                                  \
                         _Static_assert(                                                                               \
                             __builtin_types_compatible_p(__typeof__((key)->of_), __typeof__(&*(value))) ||            \
                                 __builtin_types_compatible_p(__typeof__((key)->of_), const __typeof__(*(value)) *),   \
                             "the value is not of the type that this key is for");                                     \
                     }),                                                                                               \
        value)
#define proa_req_value(req, key) ((__typeof__((key)->of_))proa_req_value_at(req, key))
#endif
PROA_MUST_USE int proa_req_set_value_at(struct proa_req *req, const void *key, const void *value);
void *proa_req_value_at(const struct proa_req *req, const void *key);

/* The answer. One of these, once. All may suspend only where said. Header names and values are checked: control
 * characters, CR and LF are refused (PROA_EINVAL). */
/** Adds a field to the answer; before it is sent. Content-Length, Transfer-Encoding, Connection and Date are the
 *  server's. */
PROA_MUST_USE int proa_reply_header(struct proa_req *req, const char *name, proa_str value);
#define proa_reply_json(req, status, typed, value) proa_reply_json_type(req, status, PROA_TYPED(typed, value), value)
PROA_MUST_USE int proa_reply_json_type(struct proa_req *req, int status, const struct proa_type *type,
                                       const void *value);
/** JSON text made by the handler. */
PROA_MUST_USE int proa_reply_json_text(struct proa_req *req, int status, proa_str json);
/** text/plain; charset=utf-8. */
PROA_MUST_USE int proa_reply_text(struct proa_req *req, int status, proa_str text);
PROA_MUST_USE int proa_reply_printf(struct proa_req *req, int status, const char *format, ...) PROA_PRINTF(3, 4);
/** Any content. */
PROA_MUST_USE int proa_reply(struct proa_req *req, int status, const char *content_type, proa_str body);
/** No content (204, 304, 202 …). */
PROA_MUST_USE int proa_reply_empty(struct proa_req *req, int status);
/** A buffer to write a body into, which the next proa_reply_buffer sends without a copy. NULL when memory is out. */
struct proa_buf *proa_reply_body(struct proa_req *req);
PROA_MUST_USE int proa_reply_buffer(struct proa_req *req, int status, const char *content_type);
/** Sends the problem document of an error as the answer (what a handler's negative result does by itself). */
PROA_MUST_USE int proa_reply_problem(struct proa_req *req, const struct proa_error *err);

/** Streaming: head now, then pieces. Chunked unless `content_length` is known (>= 0). May suspend when the peer reads
 *  slowly. */
PROA_MUST_USE int proa_reply_begin(struct proa_req *req, int status, const char *content_type, int64_t content_length);
PROA_MUST_USE int proa_reply_write(struct proa_req *req, proa_str piece);
/** A trailer field; before proa_reply_end; chunked answers only. */
PROA_MUST_USE int proa_reply_trailer(struct proa_req *req, const char *name, proa_str value);
/** Ends a streamed answer. A handler that returns 0 has it ended by the server. A negative result cuts the connection,
 *  so that the client sees an incomplete answer. */
PROA_MUST_USE int proa_reply_end(struct proa_req *req);

/** Status of the answer so far (0: none), and bytes of its content sent. For middleware after `next`. */
int proa_reply_status(const struct proa_req *req);
uint64_t proa_reply_bytes(const struct proa_req *req);

/** Server-sent events (WHATWG HTML): the handler asks for a stream, subscribes it somewhere, and returns, which gives
 *  the fiber back; the stream lives on, without one, until closed by either side, the drain, or a write that stalls. */
struct proa_sse;
struct proa_sse_options {
    /** Called once on the loop when the stream has ended for whatever reason; it must not be used afterwards. */
    void (*closed)(void *arg, struct proa_sse *sse);
    void *arg;
    uint32_t retry_ms;        /**< sent as `retry:`; 0: not sent */
    uint32_t keep_alive_ms;   /**< a comment line when nothing was sent for so long; 0: 15,000 */
    uint32_t queue_bytes_max; /**< waiting for a slow reader; over it the stream is ended. 0: 256 KiB */
};
/** Answers 200 text/event-stream. Counted against the limit of streams (PROA_EBUSY → 503). */
PROA_MUST_USE int proa_reply_sse(struct proa_req *req, const struct proa_sse_options *options,
                                 struct proa_sse **ret_sse);
/** Sends an event from the stream's loop, in a fiber or not; never suspends. `event` and `id` may be empty. Lines of
 *  `data` are split as the format demands. @returns 0, PROA_ECLOSED (the stream has ended; `closed` is called later,
 *  never from within), PROA_EINVAL (`event` or `id` of several lines), PROA_ENOMEM. */
PROA_MUST_USE int proa_sse_send(struct proa_sse *sse, proa_str event, proa_str id, proa_str data);
/** Ends the stream after what was sent; `closed` is called a little later. From the stream's loop, in a fiber or not;
 *  never suspends. Again is harmless until `closed` was called. NULL is fine. */
void proa_sse_close(struct proa_sse *sse);
struct proa_loop *proa_sse_loop(const struct proa_sse *sse);
/** The Last-Event-ID of the request, "" if none. */
proa_str proa_sse_last_event_id(const struct proa_sse *sse);

PROA_END_DECLS
#endif

/** Routes: from method and path to handler, with typed path parameters and middleware. */
#ifndef PROA_ROUTER_H
#define PROA_ROUTER_H

#include <proa/error.h>
#include <proa/req.h>

PROA_BEGIN_DECLS

enum { PROA_ROUTE_PARAMS_MAX = 16, PROA_ROUTE_REPLIES_MAX = 12 };

/** Middleware wraps what comes next: does its part, calls proa_next(req) once (or answers itself), and may look at
 *  status and bytes afterwards. It runs in the request's fiber. Streams that outlive the handler (SSE) are reported to
 *  `done` functions, see proa_req_on_done. */
typedef int proa_middleware_fn(struct proa_req *req, void *arg);
struct proa_middleware {
    proa_middleware_fn *run;
    void *arg;
};
/** Runs the rest of the chain and the handler. After it returned the answer of a plain handler is complete (a problem
 *  document for a negative result is made at once, so proa_reply_status is final); its own result is 0 or the handler's
 *  error. */
int proa_next(struct proa_req *req);
/** How an answer ended; given to proa_req_on_done functions once the last byte was taken by the kernel or the exchange
 *  was given up. */
struct proa_req_outcome {
    int status;           /**< of the head that was sent; 0 when none was (client gone before) */
    uint64_t bytes;       /**< of content sent */
    bool aborted;         /**< the answer was not completed */
    int cause;            /**< PROA_E… when aborted or failed, else 0 */
    uint64_t duration_ns; /**< from the head's arrival */
};
/** Has `fn` called on the loop when this request is over, streamed and aborted answers included. */
PROA_MUST_USE int proa_req_on_done(struct proa_req *req, void (*fn)(void *arg, const struct proa_req_outcome *outcome),
                                   void *arg);

/** A documented answer, for OpenAPI. */
struct proa_route_reply {
    int status;
    const struct proa_type *type; /**< NULL: no JSON body */
    const char *doc;
    bool is_list;                    /**< the body is an array of the type */
    const struct proa_type *headers; /**< fields of the answer: a member `retry_after` is the field Retry-After */
    const char *media;               /**< of a body that is no JSON; NULL: none */
};

/** One route. Static data; zero members are defaults. */
struct proa_route {
    unsigned methods; /**< enum proa_method, or several or'ed. GET answers HEAD too. */
    /** "/users/{id:u64}/posts/{slug}": parameters are whole segments, of type str (default, not empty), u64, i64, uuid;
     *  the last may be "{rest:path}", which takes the rest, slashes included. A segment that does not fit its type is
     *  400 naming the parameter when no other route fits. */
    const char *path;
    proa_handler *handler;
    const char *name; /**< for metrics and spans; NULL: the path with types left out ("/users/{id}") */
    void *arg;        /**< proa_req_route_arg */
    const struct proa_middleware *middleware; /**< ended by {NULL}; innermost after the router's and the group's */
    uint64_t body_bytes_max;                  /**< 0: the server's limit */
    uint32_t timeout_ms;                      /**< 0: the server's request limit */
    bool probe;                               /**< exempt from the limit of requests in flight (health checks) */
    bool hidden;                              /**< not in OpenAPI */
    /* Documentation for OpenAPI; nothing here changes behaviour. */
    const char *summary;
    const char *tag;
    const struct proa_type *body;
    const struct proa_type *query;
    const struct proa_type *headers;
    struct proa_route_reply replies[PROA_ROUTE_REPLIES_MAX]; /**< ended by status 0 */
};

struct proa_router;
PROA_COLD PROA_MUST_USE int proa_router_new(struct proa_router **ret_router);
/** NULL is fine. */
PROA_COLD void proa_router_free(struct proa_router *router);
/** Middleware around every route (also around 404 and 405 answers), outermost first in the order of calls. */
PROA_COLD PROA_MUST_USE int proa_router_use(struct proa_router *router, proa_middleware_fn *run, void *arg);
/** Adds routes (kept by reference: static data, as a rule) under a prefix ("" or "/api/v1"), with the group's middleware
 *  (an array ended by {NULL}, which is copied; or NULL). Two routes that the same request fits with equal rank, a path
 *  that is malformed, a parameter name twice: PROA_EINVAL, err names both; so is a described type of a route that
 *  proa_type_check finds a mistake in. Rank: literal segments before typed parameters (u64, i64, uuid), before text,
 *  before {rest:path}. */
PROA_COLD PROA_MUST_USE int proa_router_add(struct proa_router *router, const char *prefix,
                                            const struct proa_middleware *middleware, const struct proa_route *routes,
                                            size_t count, struct proa_error *err);
/** Walks the routes for documentation; full path with prefix. @returns NULL at the end. */
const struct proa_route *proa_router_route(const struct proa_router *router, size_t index, const char **ret_full_path,
                                           const char **ret_name);

PROA_END_DECLS
#endif

/** What the server needs of a router: looking up, and the compiled routes.
 *
 *  The routes form a trie of path segments. Each node has literal children (sorted), and at most one child of each
 *  parameter kind. A look-up walks it depth first in the order of rank and allocates nothing but the decoded text of
 *  segments that have escapes. Each node stands for one segment of the path, so a look-up visits every node at most once.
 */
#ifndef PROA_HTTP_ROUTER_INTERNAL_H
#define PROA_HTTP_ROUTER_INTERNAL_H

#include <proa/router.h>

enum segment_kind {
    SEGMENT_LITERAL = 0,
    SEGMENT_U64,
    SEGMENT_I64,
    SEGMENT_UUID,
    SEGMENT_TEXT,
    SEGMENT_REST,
    SEGMENT_KINDS,
};

/** A route as the server runs it. */
struct route {
    const struct proa_route *def;
    const struct proa_middleware *group; /* of proa_router_add, a copy ended by {NULL}; or NULL */
    char *full_path;
    char *name;
    uint32_t index;
    uint32_t params;
    proa_str param_names[PROA_ROUTE_PARAMS_MAX];
};

struct route_match {
    const struct route *route; /* NULL: none */
    unsigned allow;            /* methods of all routes that fit the path, when none fits the method */
    proa_str bad_param;        /* ptr NULL, or the parameter whose type the path does not fit */
    const char *bad_kind;
    proa_str values[PROA_ROUTE_PARAMS_MAX];
};

/** Finds the route of a path (percent-encoded, without the query). HEAD falls back to GET.
 *  @returns 0 (look at ret->route), PROA_ESYNTAX (broken escape, or text that is not UTF-8), PROA_ENOMEM. */
PROA_MUST_USE int router_find(const struct proa_router *router, enum proa_method method, proa_str path,
                              struct proa_arena *arena, struct route_match *ret);

/** Has `memory` freed with the router. @returns 0 or PROA_ENOMEM (it stays the caller's). */
PROA_MUST_USE int router_own(struct proa_router *router, void *memory);
uint32_t router_routes(const struct proa_router *router);
/** The router's own middleware. */
const struct proa_middleware *router_middleware(const struct proa_router *router, uint32_t *ret_count);
/** Union of all routes' methods, for `OPTIONS *`. */
unsigned router_methods(const struct proa_router *router);

#endif

/* Routes: a trie of path segments, built at start, walked without locks afterwards. */
#include "router_internal.h"

#include <proa/text.h>
#include <stdlib.h>
#include <string.h>

enum { METHODS = 7, SEGMENTS_MAX = 64 };

struct node {
    proa_str literal; /* of this node's segment; points into a route's full path */
    proa_str param;   /* name of the first route that came through here */
    enum segment_kind kind;
    struct node **literals; /* sorted by proa_str_cmp */
    uint32_t literals_count;
    struct node *kinds[SEGMENT_KINDS];
    unsigned methods;
    const struct route *routes[METHODS]; /* by bit number of the method */
};

struct proa_router {
    struct node root;
    struct route **routes;
    uint32_t routes_count;
    struct proa_middleware *uses;
    uint32_t uses_count;
    void **owned; /* freed with the router */
    uint32_t owned_count;
};

static const char *const kind_names[SEGMENT_KINDS] = {"", "u64", "i64", "uuid", "str", "path"};

int proa_router_new(struct proa_router **ret_router)
{
    struct proa_router *router = calloc(1, sizeof *router);

    if (!router)
        return PROA_ENOMEM;
    *ret_router = router;
    return 0;
}

static void node_done(struct node *node)
{
    for (uint32_t i = 0; i < node->literals_count; i++) {
        node_done(node->literals[i]);
        free(node->literals[i]);
    }
    free(node->literals);
    for (int kind = 0; kind < SEGMENT_KINDS; kind++)
        if (node->kinds[kind]) {
            node_done(node->kinds[kind]);
            free(node->kinds[kind]);
        }
}

static void route_free(struct route *route)
{
    free(route->full_path);
    free(route->name);
    free(route);
}

void proa_router_free(struct proa_router *router)
{
    if (!router)
        return;
    node_done(&router->root);
    for (uint32_t i = 0; i < router->routes_count; i++)
        route_free(router->routes[i]);
    free(router->routes);
    free(router->uses);
    for (uint32_t i = 0; i < router->owned_count; i++)
        free(router->owned[i]);
    free(router->owned);
    free(router);
}

int router_own(struct proa_router *router, void *memory)
{
    void **owned = realloc(router->owned, (router->owned_count + 1) * sizeof *owned);

    if (!owned)
        return PROA_ENOMEM;
    owned[router->owned_count++] = memory;
    router->owned = owned;
    return 0;
}

int proa_router_use(struct proa_router *router, proa_middleware_fn *run, void *arg)
{
    struct proa_middleware *uses = realloc(router->uses, (router->uses_count + 1) * sizeof *uses);

    if (!uses)
        return PROA_ENOMEM;
    uses[router->uses_count++] = (struct proa_middleware){run, arg};
    router->uses = uses;
    return 0;
}

/* One segment of a route's path, read. */
struct segment {
    enum segment_kind kind;
    proa_str text; /* the literal, or the parameter's name */
};

static bool is_name(proa_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return name.len > 0;
}

static int segment_read(proa_str text, const char *path, struct segment *ret, struct proa_error *err)
{
    proa_str inner, name;
    bool typed;

    if (text.len == 0 || text.ptr[0] != '{') {
        if (proa_str_find_char(text, '{') >= 0 || proa_str_find_char(text, '}') >= 0 ||
            proa_str_find_char(text, '?') >= 0 || proa_str_find_char(text, '%') >= 0)
            return proa_fail(err, PROA_EINVAL, "route %s: a segment is text without {}?%% or one {parameter}", path);
        *ret = (struct segment){SEGMENT_LITERAL, text};
        return 0;
    }
    if (text.ptr[text.len - 1] != '}')
        return proa_fail(err, PROA_EINVAL, "route %s: a parameter is a whole segment", path);
    inner = proa_str_slice(text, 1, text.len - 1);
    proa_ignore(proa_str_split(&inner, ':', &name));
    typed = inner.ptr != NULL;
    if (!is_name(name))
        return proa_fail(err, PROA_EINVAL, "route %s: \"" PROA_FMT "\" is no parameter name", path, PROA_ARG(name));
    *ret = (struct segment){typed ? SEGMENT_LITERAL : SEGMENT_TEXT, name};
    for (int kind = SEGMENT_U64; typed && kind < SEGMENT_KINDS; kind++)
        if (proa_str_eq_c(inner, kind_names[kind]))
            ret->kind = (enum segment_kind)kind;
    if (ret->kind == SEGMENT_LITERAL)
        return proa_fail(err, PROA_EINVAL, "route %s: unknown parameter type \"" PROA_FMT "\"", path, PROA_ARG(inner));
    return 0;
}

static struct node *node_new(const struct segment *segment)
{
    struct node *node = calloc(1, sizeof *node);

    if (!node)
        return NULL;
    node->kind = segment->kind;
    if (segment->kind == SEGMENT_LITERAL)
        node->literal = segment->text;
    else
        node->param = segment->text;
    return node;
}

/* Index of the literal, or of where it belongs. */
static uint32_t literal_place(const struct node *node, proa_str text, bool *ret_found)
{
    uint32_t low = 0, high = node->literals_count;

    *ret_found = false;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = proa_str_cmp(node->literals[middle]->literal, text);

        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int child_of(struct node *node, const struct segment *segment, const char *path, struct node **ret_child,
                    struct proa_error *err)
{
    struct node **children;
    bool found;
    uint32_t at;

    if (segment->kind != SEGMENT_LITERAL) {
        enum segment_kind rival = segment->kind == SEGMENT_U64   ? SEGMENT_I64
                                  : segment->kind == SEGMENT_I64 ? SEGMENT_U64
                                                                 : SEGMENT_LITERAL;
        if (rival && node->kinds[rival])
            return proa_fail(err, PROA_EINVAL,
                             "route %s: {" PROA_FMT ":%s} stands where another route has {" PROA_FMT
                             ":%s}; a number may fit both",
                             path, PROA_ARG(segment->text), kind_names[segment->kind],
                             PROA_ARG(node->kinds[rival]->param), kind_names[rival]);
        if (!node->kinds[segment->kind])
            node->kinds[segment->kind] = node_new(segment);
        *ret_child = node->kinds[segment->kind];
        return *ret_child ? 0 : proa_fail(err, PROA_ENOMEM, "memory is out");
    }
    at = literal_place(node, segment->text, &found);
    if (!found) {
        struct node *child = node_new(segment);

        children = child ? realloc(node->literals, (node->literals_count + 1) * sizeof *children) : NULL;
        if (!children) {
            free(child);
            return proa_fail(err, PROA_ENOMEM, "memory is out");
        }
        memmove(children + at + 1, children + at, (node->literals_count - at) * sizeof *children);
        children[at] = child;
        node->literals = children;
        node->literals_count++;
    }
    *ret_child = node->literals[at];
    return 0;
}

static int hang_route(struct node *node, const struct route *route, struct proa_error *err)
{
    unsigned methods = route->def->methods;

    for (int bit = 0; bit < METHODS; bit++)
        if ((methods & (1u << bit)) && node->routes[bit])
            return proa_fail(err, PROA_EINVAL, "routes %s and %s fit the same requests", node->routes[bit]->full_path,
                             route->full_path);
    for (int bit = 0; bit < METHODS; bit++)
        if (methods & (1u << bit))
            node->routes[bit] = route;
    node->methods |= methods;
    return 0;
}

static int insert(struct proa_router *router, struct route *route, struct proa_error *err)
{
    struct node *node = &router->root;
    proa_str rest = proa_str_c(route->full_path), part;
    uint32_t segments = 0;
    bool ended = false;

    proa_ignore(proa_str_split(&rest, '/', &part)); /* what stands before the first slash: nothing */
    while (proa_str_split(&rest, '/', &part)) {
        struct segment segment = {0};

        if (++segments > SEGMENTS_MAX)
            return proa_fail(err, PROA_EINVAL, "route %s: more than %d segments", route->full_path, SEGMENTS_MAX);
        if (ended)
            return proa_fail(err, PROA_EINVAL, "route %s: {rest:path} must be the last segment", route->full_path);
        PROA_TRY(segment_read(part, route->full_path, &segment, err));
        if (segment.kind != SEGMENT_LITERAL) {
            for (uint32_t i = 0; i < route->params; i++)
                if (proa_str_eq(route->param_names[i], segment.text))
                    return proa_fail(err, PROA_EINVAL, "route %s: parameter " PROA_FMT " twice", route->full_path,
                                     PROA_ARG(segment.text));
            if (route->params == PROA_ROUTE_PARAMS_MAX)
                return proa_fail(err, PROA_EINVAL, "route %s: more than %d parameters", route->full_path,
                                 PROA_ROUTE_PARAMS_MAX);
            route->param_names[route->params++] = segment.text;
        }
        ended = segment.kind == SEGMENT_REST;
        PROA_TRY(child_of(node, &segment, route->full_path, &node, err));
    }
    return hang_route(node, route, err);
}

/* "/users/{id:u64}" as "/users/{id}". */
static void leave_types_out(char *path)
{
    char *to = path;
    bool in_type = false;

    for (const char *from = path; *from; from++) {
        if (*from == ':' && !in_type)
            in_type = strchr(from, '}') != NULL;
        if (*from == '}')
            in_type = false;
        if (!in_type)
            *to++ = *from;
    }
    *to = '\0';
}

static struct route *route_new(const char *prefix, const struct proa_middleware *middleware,
                               const struct proa_route *def)
{
    struct route *route = calloc(1, sizeof *route);
    size_t prefix_len = strlen(prefix), path_len = strlen(def->path);

    if (!route)
        return NULL;
    route->def = def;
    route->group = middleware;
    route->full_path = malloc(prefix_len + path_len + 1);
    if (route->full_path) {
        memcpy(route->full_path, prefix, prefix_len);
        memcpy(route->full_path + prefix_len, def->path, path_len + 1);
        route->name = strdup(def->name ? def->name : route->full_path);
    }
    if (!route->name) {
        route_free(route);
        return NULL;
    }
    if (!def->name)
        leave_types_out(route->name);
    return route;
}

static int check_type(const struct route *route, const struct proa_type *type, struct proa_error *err)
{
    struct proa_error why = {0};
    int rc = type ? proa_type_check(type, &why) : 0;

    return rc < 0 ? proa_fail(err, rc, "route %s: %s", route->full_path, why.message) : 0;
}

/* What it takes and gives, as far as it is said. Clients would be told of these mistakes as if they were theirs. */
static int check_types(const struct route *route, struct proa_error *err)
{
    const struct proa_route *def = route->def;

    PROA_TRY(check_type(route, def->body, err));
    PROA_TRY(check_type(route, def->query, err));
    PROA_TRY(check_type(route, def->headers, err));
    for (size_t i = 0; i < PROA_ROUTE_REPLIES_MAX && def->replies[i].status; i++) {
        PROA_TRY(check_type(route, def->replies[i].type, err));
        PROA_TRY(check_type(route, def->replies[i].headers, err));
    }
    return 0;
}

static int add_one(struct proa_router *router, const char *prefix, const struct proa_middleware *middleware,
                   const struct proa_route *def, struct proa_error *err)
{
    struct route **routes, *route;

    if (!def->path || !def->handler || def->methods == 0 || (def->methods & ~(unsigned)PROA_METHODS_ANY))
        return proa_fail(err, PROA_EINVAL, "route %s: path, handler and methods must be given",
                         def->path ? def->path : "?");
    if ((prefix[0] && prefix[0] != '/') || def->path[0] != '/')
        return proa_fail(err, PROA_EINVAL, "route %s%s: a path begins with a slash", prefix, def->path);
    routes = realloc(router->routes, (router->routes_count + 1) * sizeof *routes);
    if (!routes)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    router->routes = routes;
    route = route_new(prefix, middleware, def);
    if (!route)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    route->index = router->routes_count;
    routes[router->routes_count++] = route; /* kept also when refused: nodes may point into its text */
    PROA_TRY(check_types(route, err));
    return insert(router, route, err);
}

/* A copy that lives as long as the router: the arguments of middleware are known at run time, so callers have them in an array
 * of a function. */
static int keep_middleware(struct proa_router *router, const struct proa_middleware *middleware,
                           const struct proa_middleware **ret_kept)
{
    struct proa_middleware *kept;
    size_t count = 1;

    while (middleware[count - 1].run)
        count++;
    kept = malloc(count * sizeof *kept);
    if (!kept)
        return PROA_ENOMEM;
    memcpy(kept, middleware, count * sizeof *kept);
    if (router_own(router, kept) < 0) {
        free(kept);
        return PROA_ENOMEM;
    }
    *ret_kept = kept;
    return 0;
}

int proa_router_add(struct proa_router *router, const char *prefix, const struct proa_middleware *middleware,
                    const struct proa_route *routes, size_t count, struct proa_error *err)
{
    const struct proa_middleware *group = NULL;

    if (middleware && keep_middleware(router, middleware, &group) < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    for (size_t i = 0; i < count; i++)
        PROA_TRY(add_one(router, prefix ? prefix : "", group, &routes[i], err));
    return 0;
}

const struct proa_route *proa_router_route(const struct proa_router *router, size_t index, const char **ret_full_path,
                                           const char **ret_name)
{
    const struct route *route;

    if (index >= router->routes_count)
        return NULL;
    route = router->routes[index];
    if (ret_full_path)
        *ret_full_path = route->full_path;
    if (ret_name)
        *ret_name = route->name;
    return route->def;
}

uint32_t router_routes(const struct proa_router *router)
{
    return router->routes_count;
}

const struct proa_middleware *router_middleware(const struct proa_router *router, uint32_t *ret_count)
{
    *ret_count = router->uses_count;
    return router->uses;
}

unsigned router_methods(const struct proa_router *router)
{
    unsigned methods = 0;

    for (uint32_t i = 0; i < router->routes_count; i++)
        methods |= router->routes[i]->def->methods;
    return methods;
}

/* Looking up. */
struct search {
    unsigned method_bit;
    bool has_escapes;
    struct proa_arena *arena;
    struct route_match *match;
    uint32_t values;
    int error;
};

static bool is_uuid(proa_str s)
{
    if (s.len != 36)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            return false;
    }
    return true;
}

static bool fits(enum segment_kind kind, proa_str text)
{
    uint64_t u64;
    int64_t i64;

    switch (kind) {
    case SEGMENT_U64: return proa_str_to_u64(text, &u64) == 0;
    case SEGMENT_I64: return proa_str_to_i64(text, &i64) == 0;
    case SEGMENT_UUID: return is_uuid(text);
    default: return text.len > 0;
    }
}

/* A node where the path has ended. */
static bool arrive(const struct node *node, struct search *search)
{
    const struct route *route = search->method_bit < METHODS ? node->routes[search->method_bit] : NULL;

    if (!route && search->method_bit == 1) /* HEAD by GET */
        route = node->routes[0];
    if (route) {
        search->match->route = route;
        return true;
    }
    search->match->allow |= node->methods;
    return false;
}

static bool walk(const struct node *node, proa_str rest, struct search *search);

static bool walk_param(const struct node *child, proa_str segment, proa_str rest, struct search *search)
{
    bool found;

    if (!fits(child->kind, segment))
        return false;
    search->match->values[search->values++] = segment;
    found = child->kind == SEGMENT_REST ? arrive(child, search) : walk(child, rest, search);
    search->values--;
    return found;
}

/* Like proa_str_split, for the short texts between slashes. */
static inline bool next_segment(proa_str *rest, proa_str *ret_segment)
{
    size_t len = 0;

    if (!rest->ptr)
        return false;
    while (len < rest->len && rest->ptr[len] != '/')
        len++;
    *ret_segment = proa_str_n(rest->ptr, len);
    *rest = len < rest->len ? proa_str_n(rest->ptr + len + 1, rest->len - len - 1) : proa_str_n(NULL, 0);
    return true;
}

static const struct node *find_literal(const struct node *node, proa_str text)
{
    enum { FEW = 8 };
    bool found;
    uint32_t at;

    if (node->literals_count <= FEW) {
        for (at = 0; at < node->literals_count; at++)
            if (proa_str_eq(node->literals[at]->literal, text))
                return node->literals[at];
        return NULL;
    }
    at = literal_place(node, text, &found);
    return found ? node->literals[at] : NULL;
}

/* Whether any route ends where this path does, below a parameter that does not fit: then the parameter is to blame. */
static bool path_exists(const struct node *node, proa_str rest)
{
    const struct node *literal;
    proa_str segment;

    if (!next_segment(&rest, &segment))
        return node->methods != 0;
    literal = find_literal(node, segment);
    if (literal && path_exists(literal, rest))
        return true;
    for (int kind = SEGMENT_U64; kind < SEGMENT_REST; kind++)
        if (node->kinds[kind] && path_exists(node->kinds[kind], rest))
            return true;
    return node->kinds[SEGMENT_REST] != NULL;
}

static bool is_text(proa_str decoded)
{
    return proa_utf8_valid(decoded) && !memchr(decoded.ptr, '\0', decoded.len);
}

static bool decode(struct search *search, proa_str *text)
{
    proa_str raw = *text;

    search->error = proa_percent_decode(search->arena, raw, false, text);
    if (search->error == 0 && text->ptr != raw.ptr && !is_text(*text))
        search->error = PROA_ESYNTAX;
    return search->error == 0;
}

static bool walk(const struct node *node, proa_str rest, struct search *search)
{
    const struct node *literal;
    proa_str whole = rest, segment;

    if (!next_segment(&rest, &segment))
        return arrive(node, search);
    if (search->has_escapes && !decode(search, &segment))
        return false;
    literal = find_literal(node, segment);
    if (literal && walk(literal, rest, search))
        return true;
    for (int kind = SEGMENT_U64; kind < SEGMENT_REST && search->error == 0; kind++) {
        const struct node *child = node->kinds[kind];

        if (!child)
            continue;
        if (kind != SEGMENT_TEXT && !fits(child->kind, segment)) {
            if (segment.len > 0 && !search->match->bad_param.ptr && path_exists(child, rest)) {
                search->match->bad_param = child->param;
                search->match->bad_kind = kind_names[kind];
            }
            continue;
        }
        if (walk_param(child, segment, rest, search))
            return true;
    }
    if (node->kinds[SEGMENT_REST] && search->error == 0) {
        if (search->has_escapes && !decode(search, &whole))
            return false;
        return walk_param(node->kinds[SEGMENT_REST], whole, rest, search);
    }
    return false;
}

int router_find(const struct proa_router *router, enum proa_method method, proa_str path, struct proa_arena *arena,
                struct route_match *ret)
{
    struct search search = {.arena = arena, .match = ret, .has_escapes = proa_str_find_char(path, '%') >= 0};
    proa_str rest;

    ret->route = NULL;
    ret->allow = 0;
    ret->bad_param = proa_str_n(NULL, 0);
    /* A method without a bit fits no route, but the path's methods are still to be told. */
    search.method_bit = method == PROA_METHOD_OTHER ? METHODS : (unsigned)__builtin_ctz((unsigned)method);
    if (path.len == 0 || path.ptr[0] != '/')
        return 0;
    rest = proa_str_n(path.ptr + 1, path.len - 1);
    proa_ignore(walk(&router->root, rest, &search));
    return search.error;
}

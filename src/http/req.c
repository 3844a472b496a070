/* What a handler sees of its request. */
#include "req_internal.h"

#include "conn.h"

#include <stdlib.h>
#include <string.h>

enum proa_method proa_req_method(const struct proa_req *req)
{
    return req->method;
}

proa_str proa_req_method_text(const struct proa_req *req)
{
    return req->method_text;
}

proa_str proa_req_path(const struct proa_req *req)
{
    return req->path;
}

proa_str proa_req_query_text(const struct proa_req *req)
{
    return req->query;
}

proa_str proa_req_host(const struct proa_req *req)
{
    return req->host;
}

/* Joins the lines from `first` on; all of the same name. */
static proa_str join_lines(const struct proa_req *req, uint32_t first, proa_str name)
{
    struct proa_buf joined;

    proa_buf_init(&joined, &((struct proa_req *)(uintptr_t)req)->arena, 0);
    for (uint32_t i = first; i < req->fields_count; i++) {
        if (!proa_str_eq_nocase(req->fields[i].name, name))
            continue;
        if (joined.ptr)
            proa_buf_add(&joined, PROA_STR(", "));
        proa_buf_reserve(&joined, req->fields[i].value.len + 1);
        proa_buf_add(&joined, req->fields[i].value);
    }
    return joined.error ? req->fields[first].value : proa_buf_str(&joined);
}

proa_str proa_req_header(const struct proa_req *req, const char *name)
{
    proa_str wanted = proa_str_c(name);

    for (uint32_t i = 0; i < req->fields_count; i++) {
        if (req->fields[i].name.len != wanted.len || !proa_str_eq_nocase(req->fields[i].name, wanted))
            continue;
        for (uint32_t k = i + 1; k < req->fields_count; k++)
            if (req->fields[k].name.len == wanted.len && proa_str_eq_nocase(req->fields[k].name, wanted))
                return join_lines(req, i, wanted);
        return req->fields[i].value;
    }
    return proa_str_n(NULL, 0);
}

bool proa_req_header_at(const struct proa_req *req, size_t index, proa_str *ret_name, proa_str *ret_value)
{
    if (index >= req->fields_count)
        return false;
    *ret_name = req->fields[index].name;
    *ret_value = req->fields[index].value;
    return true;
}

proa_str proa_req_trailer(const struct proa_req *req, const char *name)
{
    proa_str wanted = proa_str_c(name);

    for (uint32_t i = 0; i < req->trailers_count; i++)
        if (proa_str_eq_nocase(req->trailers[i].name, wanted))
            return req->trailers[i].value;
    return proa_str_n(NULL, 0);
}

proa_str proa_req_param(const struct proa_req *req, const char *name)
{
    for (uint32_t i = 0; i < req->params_count; i++)
        if (proa_str_eq_c(req->route->param_names[i], name))
            return req->params[i];
    return proa_str_n(NULL, 0);
}

static int bad_param(struct proa_req *req, const char *name, const char *what)
{
    return proa_error_add_field(&req->error, PROA_EINVAL, proa_arena_printf(&req->arena, "#/path/%s", name), "type",
                                "%s must be %s", name, what);
}

int proa_req_param_u64(struct proa_req *req, const char *name, uint64_t *ret_value)
{
    if (proa_str_to_u64(proa_req_param(req, name), ret_value) < 0)
        return bad_param(req, name, "an unsigned 64-bit number");
    return 0;
}

int proa_req_param_i64(struct proa_req *req, const char *name, int64_t *ret_value)
{
    if (proa_str_to_i64(proa_req_param(req, name), ret_value) < 0)
        return bad_param(req, name, "a 64-bit number");
    return 0;
}

struct proa_arena *proa_req_arena(struct proa_req *req)
{
    return &req->arena;
}

struct proa_error *proa_req_error(struct proa_req *req)
{
    return &req->error;
}

struct proa_loop *proa_req_loop(const struct proa_req *req)
{
    return req->home->loop;
}

void *proa_req_state(const struct proa_req *req)
{
    return req->home->server->options.state;
}

void *proa_req_route_arg(const struct proa_req *req)
{
    return req->route ? req->route->def->arg : NULL;
}

const char *proa_req_route(const struct proa_req *req)
{
    return req->route ? req->route->name : "";
}

const struct proa_logger *proa_req_log(const struct proa_req *const_req)
{
    struct proa_req *req = (struct proa_req *)(uintptr_t)const_req;
    const struct proa_logger *server = req->home->server->options.logger;

    if (!req->logger.ids && server) {
        req->logger = (struct proa_logger){.log = server->log,
                                           .target = server->target ? server->target : "http",
                                           .ids = proa_req_trace(req),
                                           .loop = req->home->loop,
                                           .parent = server};
    }
    return &req->logger;
}

proa_str proa_req_peer(struct proa_req *req)
{
    return proa_arena_str(&req->arena, proa_str_c(conn_peer(req->conn)));
}

int proa_req_set_value_at(struct proa_req *req, const void *key, const void *value)
{
    struct req_value *entry = proa_arena_new(&req->arena, struct req_value);

    if (!entry)
        return PROA_ENOMEM;
    *entry = (struct req_value){req->values, key, (void *)(uintptr_t)value};
    req->values = entry;
    return 0;
}

void *proa_req_value_at(const struct proa_req *req, const void *key)
{
    for (const struct req_value *entry = req->values; entry; entry = entry->next)
        if (entry->key == key)
            return entry->value;
    return NULL;
}

int proa_req_on_done(struct proa_req *req, void (*fn)(void *arg, const struct proa_req_outcome *outcome), void *arg)
{
    struct req_done *done = proa_arena_new(&req->arena, struct req_done);

    if (!done)
        return PROA_ENOMEM;
    *done = (struct req_done){req->done, fn, arg};
    req->done = done;
    return 0;
}

void req_tell_done(struct proa_req *req, bool aborted, proa_mono_ns now)
{
    struct proa_req_outcome outcome = {
        .status = req->status,
        .bytes = req->reply_bytes,
        .aborted = aborted,
        .cause = req->cause ? req->cause
                 : aborted  ? PROA_ECLOSED
                            : 0,
        .duration_ns = now > req->started ? now - req->started : 0,
    };
    struct req_done *done = req->done;

    req->done = NULL;
    for (; done; done = done->next)
        done->fn(done->arg, &outcome);
}

/* The chain: the router's middleware, the group's, the route's, the handler. */
static int answer_builtin(struct proa_req *req);

/* What one link of the chain left behind becomes an answer at once, so that those around it see the final status. */
static int settle(struct proa_req *req, int rc)
{
    if (req->status == 0) {
        if (rc >= 0)
            rc = proa_fail(&req->error, PROA_EINTERNAL, "no answer was given by the handler of \"%s\"",
                           proa_req_route(req));
        else if (req->error.code != rc)
            proa_fail(&req->error, rc, "%s", "");
        reply_failure(req, 0, &req->error);
    }
    if (rc < 0 && req->cause == 0)
        req->cause = rc;
    return rc < 0 ? rc : 0;
}

static const struct proa_middleware *chain_at(const struct proa_middleware *chain, uint32_t *index)
{
    if (!chain)
        return NULL;
    for (; chain->run; chain++)
        if ((*index)-- == 0)
            return chain;
    return NULL;
}

int proa_next(struct proa_req *req)
{
    uint32_t count, index = req->stage++;
    const struct proa_middleware *uses = router_middleware(req->router, &count);
    const struct proa_middleware *next = NULL;

    if (index < count) {
        next = &uses[index];
    } else if (req->route && (req->route->group || req->route->def->middleware)) {
        index -= count;
        next = chain_at(req->route->group, &index);
        if (!next)
            next = chain_at(req->route->def->middleware, &index);
    }
    if (next)
        return settle(req, next->run(req, next->arg));
    return settle(req, req->route ? req->route->def->handler(req) : answer_builtin(req));
}

void req_run(struct proa_req *req)
{
    int rc = proa_next(req);

    if (req->reply == REPLY_STREAMING && req->sse) {
        if (rc < 0)
            sse_connection_lost(req);
    } else if (req->reply == REPLY_STREAMING) {
        if (rc >= 0)
            rc = proa_reply_end(req);
        if (rc < 0) {
            req->reply = REPLY_FAILED;
            if (req->cause == 0)
                req->cause = rc;
        }
    }
}

static const char *const method_names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

/* GET answers HEAD, and OPTIONS is always answered. */
static proa_str allow_text(struct proa_req *req, unsigned methods)
{
    struct proa_buf text;

    proa_buf_init(&text, &req->arena, 0);
    if (methods & PROA_GET)
        methods |= PROA_HEAD;
    methods |= PROA_OPTIONS;
    for (size_t bit = 0; bit < PROA_COUNT(method_names); bit++)
        if (methods & (1u << bit)) {
            if (text.len)
                proa_buf_add(&text, PROA_STR(", "));
            proa_buf_add_c(&text, method_names[bit]);
        }
    return proa_buf_str(&text);
}

static int answer_builtin(struct proa_req *req)
{
    switch (req->builtin) {
    case BUILTIN_METHOD:
        PROA_TRY(proa_reply_header(req, "Allow", allow_text(req, req->allow)));
        if (req->method == PROA_OPTIONS)
            return proa_reply_empty(req, 204);
        proa_fail(&req->error, PROA_EINVAL, "the method " PROA_FMT " is not allowed here", PROA_ARG(req->method_text));
        req->forced_status = 405;
        return PROA_EINVAL;
    case BUILTIN_BAD_PARAM:
        return proa_error_add_field(&req->error, PROA_EINVAL,
                                    proa_arena_printf(&req->arena, "#/path/" PROA_FMT, PROA_ARG(req->bad_param)),
                                    "type", PROA_FMT " must be %s", PROA_ARG(req->bad_param),
                                    strcmp(req->bad_kind, "uuid") == 0  ? "a UUID"
                                    : strcmp(req->bad_kind, "i64") == 0 ? "a 64-bit number"
                                                                        : "an unsigned 64-bit number");
    case BUILTIN_UNKNOWN_METHOD:
        return proa_fail(&req->error, PROA_EUNSUPPORTED, "the method " PROA_FMT " is not known",
                         PROA_ARG(req->method_text));
    case BUILTIN_BAD_PATH: return proa_fail(&req->error, PROA_EINVAL, "the path is not valid");
    default: return proa_fail(&req->error, PROA_ENOTFOUND, "there is nothing at this path");
    }
}

/* /health, /livez, /readyz, /startupz and /metrics. The table of what each says when is in app_internal.h. */
#include "app_internal.h"

#include <proa/json.h>

static struct proa_app *app_of(const struct proa_req *req)
{
    return proa_req_route_arg(req);
}

/* Written here, since the document of a 503 made from an error keeps its reason from clients, and here the reason is
 * for them. */
static int not_now(struct proa_req *req, const char *why)
{
    struct proa_buf *body = proa_reply_body(req);
    struct proa_json_writer json;

    if (!body)
        return PROA_ENOMEM;
    proa_json_writer_init(&json, body);
    proa_json_object(&json);
    proa_json_key(&json, PROA_STR("type"));
    proa_json_text(&json, PROA_STR("about:blank"));
    proa_json_key(&json, PROA_STR("title"));
    proa_json_text(&json, PROA_STR("Service Unavailable"));
    proa_json_key(&json, PROA_STR("status"));
    proa_json_u64(&json, 503);
    proa_json_key(&json, PROA_STR("detail"));
    proa_json_text(&json, proa_str_c(why));
    proa_json_key(&json, PROA_STR("instance"));
    proa_json_text(&json, proa_req_path(req));
    proa_json_object_end(&json);
    PROA_TRY(proa_reply_header(req, "Retry-After", PROA_STR("1")));
    return proa_reply_buffer(req, 503, "application/problem+json");
}

/* NULL while the program serves. */
static const char *why_not_serving(const struct proa_app *app)
{
    switch (app_phase(app)) {
    case APP_STARTING: return "starting";
    case APP_SERVING: return NULL;
    default: return "draining";
    }
}

static int get_health(struct proa_req *req)
{
    const char *why_not = why_not_serving(app_of(req));

    return why_not ? not_now(req, why_not) : proa_reply_text(req, 200, PROA_STR("healthy"));
}

static int get_startupz(struct proa_req *req)
{
    return atomic_load(&app_of(req)->has_started) ? proa_reply_text(req, 200, PROA_STR("started"))
                                                  : not_now(req, "starting");
}

static bool wants_verbose(struct proa_req *req)
{
    proa_str query = proa_req_query_text(req), part;

    while (proa_str_split(&query, '&', &part))
        if (proa_str_eq_c(part, "verbose") || proa_str_starts_with(part, PROA_STR("verbose=")))
            return true;
    return false;
}

/* @param what  is there without any check, and why not: NULL when it is */
static int list_checks(struct proa_req *req, bool for_liveness, const char *what, const char *why_not)
{
    const struct proa_app *app = app_of(req);
    struct proa_buf *body = proa_reply_body(req);
    bool passes = !why_not;

    if (!body)
        return PROA_ENOMEM;
    proa_buf_printf(body, "[%c]%s %s\n", why_not ? '-' : '+', what, why_not ? why_not : "ok");
    /* While the program starts, the list still grows. */
    for (const struct app_check *check = atomic_load(&app->has_started) ? app->checks : NULL; check;
         check = check->next) {
        bool check_passes = check->passes;

        if (check->def.for_liveness != for_liveness)
            continue;
        passes = passes && check_passes;
        proa_buf_printf(body, "[%c]%s %s\n", check_passes ? '+' : '-', check->def.name,
                        check_passes ? "ok" : "failed: the reason is in the log");
    }
    return proa_reply_buffer(req, passes ? 200 : 503, "text/plain; charset=utf-8");
}

static int get_livez(struct proa_req *req)
{
    const struct proa_app *app = app_of(req);
    const char *why_not = proa_loops_held_ms(app->loops) >= LIVEZ_HELD_MS ? "a loop hangs" : NULL;

    if (wants_verbose(req))
        return list_checks(req, true, "loops", why_not);
    if (why_not)
        return not_now(req, why_not);
    /* While the program starts, the list still grows. */
    if (atomic_load(&app->has_started) && !checks_pass(app, true))
        return not_now(req, "a liveness check fails; ?verbose tells which");
    return proa_reply_text(req, 200, PROA_STR("alive"));
}

static int get_readyz(struct proa_req *req)
{
    const struct proa_app *app = app_of(req);
    const char *why_not = why_not_serving(app);

    if (wants_verbose(req))
        return list_checks(req, false, "serving", why_not);
    if (why_not)
        return not_now(req, why_not);
    return checks_pass(app, false) ? proa_reply_text(req, 200, PROA_STR("ready"))
                                   : not_now(req, "a dependency is not there; ?verbose tells which");
}

static int get_metrics(struct proa_req *req)
{
    const char *content_type;
    enum proa_metrics_format format = proa_metrics_negotiate(proa_req_header(req, "Accept"), &content_type);
    struct proa_buf *body = proa_reply_body(req);

    if (!body)
        return PROA_ENOMEM;
    PROA_TRY(proa_metrics_write(app_of(req)->metrics, format, body));
    return proa_reply_buffer(req, 200, content_type);
}

static const struct proa_route templates[] = {
    {PROA_GET, "/health", get_health, .probe = true, .hidden = true},
    {PROA_GET, "/livez", get_livez, .probe = true, .hidden = true},
    {PROA_GET, "/readyz", get_readyz, .probe = true, .hidden = true},
    {PROA_GET, "/startupz", get_startupz, .probe = true, .hidden = true},
    {PROA_GET, "/metrics", get_metrics, .probe = true, .hidden = true}, /* the last: may be left out */
};

int probes_add(struct proa_app *app, struct proa_router *router, bool metrics, struct proa_error *err)
{
    size_t count = PROA_COUNT(templates) - (metrics ? 0 : 1);
    struct proa_route *routes = proa_arena_calloc(&app->arena, count, sizeof *routes);

    if (!routes)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    memcpy(routes, templates, count * sizeof *routes);
    for (size_t i = 0; i < count; i++)
        routes[i].arg = app;
    return proa_router_add(router, "", NULL, routes, count, err);
}

int probes_refuse_others(struct proa_req *req, void *arg)
{
    (void)arg;
    return *proa_req_route(req) ? proa_next(req) : not_now(req, "starting");
}

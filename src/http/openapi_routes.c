/* The routes of the document and of the page, whose files are embedded by tools/embed. */
#include "router_internal.h"

#include <proa/openapi.h>
#include <stdlib.h>

extern const char openapi_page_html[], openapi_page_css[], openapi_page_js[];
extern const size_t openapi_page_html_bytes, openapi_page_css_bytes, openapi_page_js_bytes;

struct openapi {
    const struct proa_router *router;
    struct proa_openapi_options options;
    struct proa_route routes[4];
};

static int get_document(struct proa_req *req)
{
    const struct openapi *openapi = proa_req_route_arg(req);
    struct proa_buf *body = proa_reply_body(req);

    if (!body)
        return PROA_ENOMEM;
    PROA_TRY(proa_openapi_write(openapi->router, &openapi->options, body, proa_req_error(req)));
    PROA_TRY(proa_reply_header(req, "Cache-Control", PROA_STR("no-cache")));
    return proa_reply_buffer(req, 200, "application/json");
}

/* Nothing of the page comes from elsewhere, and nothing of elsewhere shows it. */
static int reply_file(struct proa_req *req, const char *type, const char *bytes, size_t len)
{
    PROA_TRY(proa_reply_header(req, "Content-Security-Policy",
                               PROA_STR("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                                        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")));
    PROA_TRY(proa_reply_header(req, "X-Content-Type-Options", PROA_STR("nosniff")));
    PROA_TRY(proa_reply_header(req, "Cache-Control", PROA_STR("no-cache")));
    return proa_reply(req, 200, type, proa_str_n(bytes, len));
}

static int get_page(struct proa_req *req)
{
    return reply_file(req, "text/html; charset=utf-8", openapi_page_html, openapi_page_html_bytes);
}

static int get_style(struct proa_req *req)
{
    return reply_file(req, "text/css; charset=utf-8", openapi_page_css, openapi_page_css_bytes);
}

static int get_script(struct proa_req *req)
{
    return reply_file(req, "text/javascript; charset=utf-8", openapi_page_js, openapi_page_js_bytes);
}

int proa_openapi_add(struct proa_router *router, const struct proa_openapi_options *options, struct proa_error *err)
{
    const struct proa_route routes[] = {
        {.methods = PROA_GET, .path = "/openapi.json", .handler = get_document, .hidden = true},
        {.methods = PROA_GET, .path = "/docs", .handler = get_page, .hidden = true},
        {.methods = PROA_GET, .path = "/docs/page.css", .handler = get_style, .hidden = true},
        {.methods = PROA_GET, .path = "/docs/page.js", .handler = get_script, .hidden = true},
    };
    struct proa_buf document = {0};
    struct openapi *openapi;
    int rc = proa_openapi_write(router, options, &document, err);

    proa_buf_done(&document);
    PROA_TRY(rc);
    openapi = calloc(1, sizeof *openapi);
    if (!openapi || router_own(router, openapi) < 0) {
        free(openapi);
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    }
    openapi->router = router;
    if (options)
        openapi->options = *options;
    memcpy(openapi->routes, routes, sizeof routes);
    for (size_t i = 0; i < PROA_COUNT(routes); i++)
        openapi->routes[i].arg = openapi;
    return proa_router_add(router, "", NULL, openapi->routes, PROA_COUNT(routes), err);
}

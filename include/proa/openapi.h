/** OpenAPI 3.1 from routes and descriptions alone, and a page that shows and tries it. Linked into a program only when
 *  it asks. */
#ifndef PROA_OPENAPI_H
#define PROA_OPENAPI_H

#include <proa/buf.h>
#include <proa/error.h>
#include <proa/router.h>

PROA_BEGIN_DECLS

/** Texts are kept by reference; they outlive the router. */
struct proa_openapi_options {
    const char *title;       /**< NULL: "API" */
    const char *version;     /**< of the API; NULL: "0" */
    const char *description; /**< Markdown; NULL: none */
};

/** Adds `GET /openapi.json`, the document of all routes that are not hidden (also of those that are added later), and
 *  `GET /docs`, a page of its own that lists and tries them, with its script and style under /docs/; nothing is fetched
 *  from elsewhere. These routes are hidden themselves. @returns 0, the router's error, PROA_EINVAL when two types that
 *  the present routes use share a name. */
PROA_MUST_USE int proa_openapi_add(struct proa_router *router, const struct proa_openapi_options *options,
                                   struct proa_error *err);
/** Appends the document. For files and tests. */
PROA_MUST_USE int proa_openapi_write(const struct proa_router *router, const struct proa_openapi_options *options,
                                     struct proa_buf *out, struct proa_error *err);

PROA_END_DECLS
#endif

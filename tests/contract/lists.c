/* Lists and watches. */
#include "contract.h"

static void make(struct contract *c, const char *name, const char *labels)
{
    CHECK(c, ask(c, "POST", JSON,
                 proa_arena_printf(&c->arena, "{\"metadata\":{\"name\":\"%s\",\"labels\":{%s}}}", name, labels).ptr,
                 "/api/v1/namespaces/%s/configmaps", c->ns) == 0);
}

static void selects(struct contract *c, const char *query, const char *expected, int line)
{
    struct proa_buf names;
    yyjson_arr_iter iter;

    proa_buf_init(&names, &c->arena, 0);
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/configmaps?%s", c->ns, query) == 0);
    iter = yyjson_arr_iter_with(yyjson_obj_get(c->root, "items"));
    for (yyjson_val *item = yyjson_arr_iter_next(&iter); item; item = yyjson_arr_iter_next(&iter))
        proa_buf_printf(&names, "%s ", yyjson_get_str(yyjson_ptr_get(item, "/metadata/name")));
    check_at(
        c, proa_str_eq_c(proa_buf_str(&names), expected),
        proa_arena_printf(&c->arena, "%s selects \"%s\" and not \"%.*s\"", query, expected, (int)names.len, names.ptr)
            .ptr,
        line);
}
#define SELECTS(c, query, expected) selects((c), (query), (expected), __LINE__)

static void selecting(struct contract *c)
{
    make(c, "a", "\"l\":\"1\",\"x\":\"y\"");
    make(c, "b", "\"l\":\"2\"");
    make(c, "d", "");
    SELECTS(c, "labelSelector=l", "a b ");
    SELECTS(c, "labelSelector=l%3D1", "a ");
    SELECTS(c, "labelSelector=l%3D%3D2", "b ");
    SELECTS(c, "labelSelector=%21l,x%21%3Dy&fieldSelector=metadata.name%21%3Dkube-root-ca.crt", "d ");
    SELECTS(c, "labelSelector=l+in+(1,2),!x", "b ");
    SELECTS(c, "labelSelector=l+notin+(1),l", "b ");
    SELECTS(c, "fieldSelector=metadata.name%3Db", "b ");
    SELECTS(c, "fieldSelector=metadata.name%21%3Db,metadata.namespace%21%3Dother&labelSelector=l", "a ");
    proa_ignore(ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/configmaps?fieldSelector=data.k%%3Dv", c->ns));
    FAILS(c, PROA_EINVAL, "BadRequest",
          "\"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/configmaps?labelSelector=a%%20b%%20c", c->ns) ==
                 PROA_EINVAL);
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/configmaps?labelSelector=x%%3Dy") == 0);
    CHECK(c, ask(c, "GET", JSON, NULL,
                 "/api/v1/namespaces/%s/pods?fieldSelector=spec.nodeName%%3Dn,status.phase%%3DRunning", c->ns) == 0);
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/secrets?fieldSelector=type%%3DOpaque", c->ns) == 0);
}

static void paging(struct contract *c)
{
    const char *version, *token;

    for (int i = 0; i < 5; i++)
        make(c, proa_arena_printf(&c->arena, "p%d", i).ptr, "\"p\":\"1\"");
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/configmaps?limit=2&labelSelector=p", c->ns) == 0);
    TEXT(c, "/kind", "ConfigMapList");
    TEXT(c, "/items/1/metadata/name", "p1");
    JSON_IS(c, "/metadata/remainingItemCount", "");
    version = text_at(c, "/metadata/resourceVersion");
    token = text_at(c, "/metadata/continue");
    CHECK(c, *token);
    /* What changes meanwhile does not show: a list is of one moment. */
    make(c, "p2a", "\"p\":\"1\"");
    CHECK(c, ask(c, "DELETE", JSON, NULL, "/api/v1/namespaces/%s/configmaps/p2", c->ns) == 0);
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/configmaps?limit=2&labelSelector=p&continue=%s", c->ns,
                 token) == 0);
    TEXT(c, "/metadata/resourceVersion", version);
    TEXT(c, "/items/0/metadata/name", "p2");
    TEXT(c, "/items/1/metadata/name", "p3");
    token = text_at(c, "/metadata/continue");
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/configmaps?limit=2&labelSelector=p&continue=%s", c->ns,
                 token) == 0);
    TEXT(c, "/items/0/metadata/name", "p4");
    JSON_IS(c, "/items/1", "");
    TEXT(c, "/metadata/continue", "");
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/configmaps?limit=1", c->ns) == 0);
    CHECK(c, number_at(c, "/metadata/remainingItemCount") >= 4);
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/configmaps?limit=2&continue=nonsense", c->ns) ==
                 PROA_EINVAL);
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/leases", c->ns) == PROA_ENOTFOUND);
}

/* -- Watches ------------------------------------------------------------------------------------------------------- */

/* The whole of a watch that ends soon, as "ADDED a, BOOKMARK, …". */
static void watches(struct contract *c, const char *query, const char *expected, int line)
{
    struct proa_kube_request request = {.path = proa_arena_printf(&c->arena, "/api/v1/namespaces/%s/configmaps", c->ns),
                                        .query = proa_str_c(query)};
    struct proa_buf got;
    proa_str answer = {NULL, 0}, entry;

    proa_buf_init(&got, &c->arena, 0);
    proa_error_clear(&c->err);
    c->rc = proa_kube_send(c->kube, &c->arena, &request, &answer, &c->err);
    if (c->rc < 0)
        proa_buf_printf(&got, "failed: %s", c->err.message);
    while (proa_str_split(&answer, '\n', &entry)) {
        yyjson_doc *doc = yyjson_read(entry.ptr, entry.len, 0);
        yyjson_val *root = yyjson_doc_get_root(doc);
        const char *type = yyjson_get_str(yyjson_obj_get(root, "type")),
                   *name = yyjson_get_str(yyjson_ptr_get(root, "/object/metadata/name"));
        const char *reason = yyjson_get_str(yyjson_ptr_get(root, "/object/reason"));
        yyjson_val *end = yyjson_ptr_get(root, "/object/metadata/annotations");

        /* When other bookmarks come is the API server's affair. */
        if (type && (end || strcmp(type, "BOOKMARK") != 0))
            proa_buf_printf(&got, "%s%s%s%s, ", type,
                            name     ? " "
                            : reason ? " "
                                     : "",
                            name     ? name
                            : reason ? reason
                                     : "",
                            end ? " END" : "");
        yyjson_doc_free(doc);
    }
    check_at(c, proa_str_eq_c(proa_buf_str(&got), expected),
             proa_arena_printf(&c->arena, "%s gives \"%s\" and not \"%.*s\"", query, expected, (int)got.len,
                               got.ptr ? got.ptr : "")
                 .ptr,
             line);
}
#define WATCHES(c, expected, ...) watches((c), proa_arena_printf(&(c)->arena, __VA_ARGS__).ptr, (expected), __LINE__)

static void watching(struct contract *c)
{
    const char *start;

    make(c, "a", "\"l\":\"1\"");
    start = text_at(c, "/metadata/resourceVersion");
    make(c, "b", "\"l\":\"1\"");
    CHECK(c, ask(c, "PATCH", MERGE, "{\"data\":{\"x\":\"y\"}}", "/api/v1/namespaces/%s/configmaps/a", c->ns) == 0);
    CHECK(c, ask(c, "PATCH", MERGE, "{\"metadata\":{\"labels\":{\"l\":\"2\"}}}", "/api/v1/namespaces/%s/configmaps/a",
                 c->ns) == 0);
    CHECK(c, ask(c, "PATCH", MERGE, "{\"metadata\":{\"labels\":{\"l\":\"1\"}}}", "/api/v1/namespaces/%s/configmaps/a",
                 c->ns) == 0);
    CHECK(c, ask(c, "DELETE", JSON, NULL, "/api/v1/namespaces/%s/configmaps/b", c->ns) == 0);
    WATCHES(c, "ADDED b, MODIFIED a, MODIFIED a, MODIFIED a, DELETED b, ",
            "watch=true&timeoutSeconds=1&resourceVersion=%s&labelSelector=l", start);
    WATCHES(c, "ADDED b, MODIFIED a, DELETED a, ADDED a, DELETED b, ",
            "watch=true&timeoutSeconds=1&resourceVersion=%s&labelSelector=l%%3D1", start);
    WATCHES(c, "ADDED b, DELETED b, ", "watch=1&timeoutSeconds=1&resourceVersion=%s&fieldSelector=metadata.name%%3Db",
            start);
    WATCHES(c, "ADDED a, ", "watch=true&timeoutSeconds=1&labelSelector=l");
    WATCHES(c, "ADDED a, ", "watch=true&timeoutSeconds=1&labelSelector=l&resourceVersion=0");
    WATCHES(c, "ADDED a, BOOKMARK END, ",
            "watch=true&timeoutSeconds=1&labelSelector=l&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
            "allowWatchBookmarks=true");
    proa_ignore(ask(c, "GET", JSON, NULL,
                    "/api/v1/namespaces/%s/configmaps?watch=true&timeoutSeconds=1&sendInitialEvents=true", c->ns));
    FAILS(c, PROA_EVALIDATION, "Invalid", "resourceVersionMatch");
    proa_ignore(ask(c, "GET", JSON, NULL,
                    "/api/v1/namespaces/%s/configmaps?watch=true&timeoutSeconds=1&resourceVersionMatch=Exact", c->ns));
    FAILS(c, PROA_EVALIDATION, "Invalid",
          "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/configmaps?watch=true&resourceVersion=x", c->ns) < 0);
    FAILS(c, PROA_EUNAVAILABLE, "", "resourceVersion: Invalid value: \"x\"");
}

const struct contract_case list_cases[] = {
    {"selectors select", selecting},
    {"lists come in pages", paging},
    {"watches tell of changes", watching},
    {NULL, NULL},
};

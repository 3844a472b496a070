/* The OpenAPI document: a walk over the routes, then the types that they use. It is written anew for each request: that
 * costs less than keeping it current, and nothing has to be shared between loops. */
#include "problem.h"
#include "router_internal.h"

#include <proa/openapi.h>
#include <proa/schema.h>
#include <string.h>

enum { METHODS = 6 };

static const struct {
    enum proa_method method;
    const char *name;
} methods[METHODS] = {
    {PROA_GET, "get"},     {PROA_POST, "post"},     {PROA_PUT, "put"},
    {PROA_PATCH, "patch"}, {PROA_DELETE, "delete"}, {PROA_OPTIONS, "options"},
};

struct document {
    const struct proa_router *router;
    proa_str *templates; /* the path of each route, without types; ptr NULL for hidden ones */
    size_t routes;
    struct proa_arena arena;
    struct proa_json_writer w;
    struct proa_error *err;
    const struct proa_type **types; /* used so far, in the order found */
    size_t types_count;
    proa_str *ids; /* of operations */
    size_t ids_count;
};

static void text_member(struct document *d, const char *key, const char *text)
{
    proa_json_key(&d->w, proa_str_c(key));
    proa_json_text(&d->w, proa_str_c(text));
}

static void open_object(struct document *d, const char *key)
{
    proa_json_key(&d->w, proa_str_c(key));
    proa_json_object(&d->w);
}

static void *grown(struct document *d, void *items, size_t count, size_t size)
{
    /* By doubling: at the powers of two there is room for no more. */
    if (count & (count - 1) || (count == 0 && items))
        return items;
    return proa_arena_grow(&d->arena, items, count * size, (count ? 2 * count : 1) * size);
}

/* -- Types ------------------------------------------------------------------------------------------------------ */

static int use_one(struct document *d, const struct proa_type *type)
{
    const struct proa_type **types;

    for (size_t i = 0; i < d->types_count; i++) {
        if (d->types[i] == type)
            return 0;
        if (strcmp(d->types[i]->name, type->name) == 0)
            return proa_fail(d->err, PROA_EINVAL, "OpenAPI: two types are called %s", type->name);
    }
    types = grown(d, d->types, d->types_count, sizeof(void *));
    if (!types)
        return proa_fail(d->err, PROA_ENOMEM, "memory is out");
    d->types = types;
    d->types[d->types_count++] = type;
    return 0;
}

static int use_type(struct document *d, const struct proa_type *type)
{
    const struct proa_type **reachable;
    size_t count;

    if (!type)
        return 0;
    PROA_TRY(proa_schema_types(&d->arena, type, &reachable, &count));
    for (size_t i = 0; i < count; i++)
        PROA_TRY(use_one(d, reachable[i]));
    return 0;
}

static void schema_reference(struct document *d, const char *name, const char *suffix)
{
    proa_str path = proa_arena_printf(&d->arena, "#/components/schemas/%s%s", name, suffix);

    open_object(d, "schema");
    proa_json_key(&d->w, PROA_STR("$ref"));
    proa_json_text(&d->w, path);
    proa_json_object_end(&d->w);
}

static void list_content(struct document *d, const char *media, const char *name)
{
    open_object(d, media);
    open_object(d, "schema");
    text_member(d, "type", "array");
    proa_json_key(&d->w, PROA_STR("items"));
    proa_json_object(&d->w);
    proa_json_key(&d->w, PROA_STR("$ref"));
    proa_json_text(&d->w, proa_arena_printf(&d->arena, "#/components/schemas/%s", name));
    proa_json_object_end(&d->w);
    proa_json_object_end(&d->w);
    proa_json_object_end(&d->w);
}

static void text_content(struct document *d, const char *media)
{
    open_object(d, media);
    open_object(d, "schema");
    text_member(d, "type", "string");
    proa_json_object_end(&d->w);
    proa_json_object_end(&d->w);
}

static void content(struct document *d, const char *media, const char *name, const char *suffix)
{
    open_object(d, media);
    schema_reference(d, name, suffix);
    proa_json_object_end(&d->w);
}

/* -- Parameters ------------------------------------------------------------------------------------------------- */

static void begin_parameter(struct document *d, proa_str name, const char *in, bool required)
{
    proa_json_object(&d->w);
    proa_json_key(&d->w, PROA_STR("name"));
    proa_json_text(&d->w, name);
    text_member(d, "in", in);
    if (required) {
        proa_json_key(&d->w, PROA_STR("required"));
        proa_json_bool(&d->w, true);
    }
}

static void path_schema(struct document *d, proa_str kind)
{
    open_object(d, "schema");
    if (proa_str_eq_c(kind, "u64") || proa_str_eq_c(kind, "i64")) {
        text_member(d, "type", "integer");
        text_member(d, "format", proa_str_eq_c(kind, "u64") ? "uint64" : "int64");
        proa_json_key(&d->w, PROA_STR("minimum"));
        proa_json_i64(&d->w, proa_str_eq_c(kind, "u64") ? 0 : INT64_MIN);
        proa_json_key(&d->w, PROA_STR("maximum"));
        proa_json_u64(&d->w, proa_str_eq_c(kind, "u64") ? UINT64_MAX : INT64_MAX);
    } else {
        text_member(d, "type", "string");
        if (proa_str_eq_c(kind, "uuid"))
            text_member(d, "format", "uuid");
        if (!proa_str_eq_c(kind, "path")) {
            proa_json_key(&d->w, PROA_STR("minLength"));
            proa_json_u64(&d->w, 1);
        }
    }
    proa_json_object_end(&d->w);
}

/* The parameters of a path: "/users/{id:u64}", under the names that its template has. */
static void path_parameters(struct document *d, const char *path, proa_str template)
{
    proa_str rest = proa_str_c(path), segment, named;

    while (proa_str_split(&rest, '/', &segment) && proa_str_split(&template, '/', &named)) {
        proa_str kind, name;

        if (segment.len < 2 || segment.ptr[0] != '{')
            continue;
        kind = proa_str_slice(segment, 1, segment.len - 1);
        proa_ignore(proa_str_split(&kind, ':', &name));
        begin_parameter(d, proa_str_slice(named, 1, named.len - 1), "path", true);
        path_schema(d, kind);
        proa_json_object_end(&d->w);
    }
}

/* `if_match` is the field If-Match. */
static proa_str header_name(struct document *d, proa_str member)
{
    char *name = proa_arena_cstr(&d->arena, member);

    for (size_t i = 0; name && i < member.len; i++) {
        if (name[i] == '_')
            name[i] = '-';
        else if ((i == 0 || name[i - 1] == '-') && name[i] >= 'a' && name[i] <= 'z')
            name[i] = (char)(name[i] - 'a' + 'A');
    }
    return name ? proa_str_n(name, member.len) : member;
}

static int described_parameters(struct document *d, const struct proa_type *type, const char *in)
{
    bool of_header = strcmp(in, "header") == 0;

    for (uint32_t i = 0; type && i < type->fields_count; i++) {
        struct proa_field field = type->fields[i];
        bool required = !field.optional && !field.default_json && field.container == PROA_SINGLE;
        proa_str name = proa_field_name(&field);

        begin_parameter(d, of_header ? header_name(d, name) : name, in, required);
        if (field.doc)
            text_member(d, "description", field.doc);
        if (field.deprecated) {
            proa_json_key(&d->w, PROA_STR("deprecated"));
            proa_json_bool(&d->w, true);
        }
        /* As text there is no null; what was said above is not said again. */
        field.optional = false;
        field.doc = NULL;
        field.deprecated = false;
        proa_json_key(&d->w, PROA_STR("schema"));
        PROA_TRY(proa_schema_write_field(&d->w, &field, PROA_SCHEMA_INLINE));
        proa_json_object_end(&d->w);
    }
    return 0;
}

static int parameters(struct document *d, const struct proa_route *route, const char *path, proa_str template)
{
    if (!strchr(path, '{') && !route->query && !route->headers)
        return 0;
    proa_json_key(&d->w, PROA_STR("parameters"));
    proa_json_array(&d->w);
    path_parameters(d, path, template);
    PROA_TRY(described_parameters(d, route->query, "query"));
    PROA_TRY(described_parameters(d, route->headers, "header"));
    proa_json_array_end(&d->w);
    return 0;
}

/* -- Answers ---------------------------------------------------------------------------------------------------- */

/* The fields of an answer. */
static int reply_headers(struct document *d, const struct proa_type *type)
{
    if (!type)
        return 0;
    open_object(d, "headers");
    for (uint32_t i = 0; i < type->fields_count; i++) {
        struct proa_field field = type->fields[i];

        proa_json_key(&d->w, header_name(d, proa_field_name(&field)));
        proa_json_object(&d->w);
        if (field.doc)
            text_member(d, "description", field.doc);
        proa_json_key(&d->w, PROA_STR("required"));
        proa_json_bool(&d->w, !field.optional);
        field.optional = false;
        field.doc = NULL;
        proa_json_key(&d->w, PROA_STR("schema"));
        PROA_TRY(proa_schema_write_field(&d->w, &field, PROA_SCHEMA_INLINE));
        proa_json_object_end(&d->w);
    }
    proa_json_object_end(&d->w);
    return 0;
}

struct retry_headers {
    PROA_OPTIONAL(uint32_t) retry_after;
};
PROA_DESCRIBE(retry_headers, (retry_after, optional(u32), .doc = "Seconds after which to try again"));

static int problem_answer(struct document *d, const char *status, const char *doc, const struct proa_type *headers)
{
    open_object(d, status);
    text_member(d, "description", doc);
    PROA_TRY(reply_headers(d, headers));
    open_object(d, "content");
    content(d, "application/problem+json", "problem", "");
    proa_json_object_end(&d->w);
    proa_json_object_end(&d->w);
    return 0;
}

static int documented_answer(struct document *d, const struct proa_route_reply *reply)
{
    char status[16];
    const char *doc = reply->doc ? reply->doc : problem_title(reply->status);

    status[proa_u64_text((uint64_t)reply->status, status)] = '\0';
    if (!reply->type && !reply->media && reply->status >= 400)
        return problem_answer(d, status, doc, reply->headers);
    open_object(d, status);
    text_member(d, "description", doc);
    PROA_TRY(reply_headers(d, reply->headers));
    if (reply->type || reply->media) {
        open_object(d, "content");
        if (!reply->type)
            text_content(d, reply->media);
        else if (reply->is_list)
            list_content(d, reply->media ? reply->media : "application/json", reply->type->name);
        else
            content(d, reply->media ? reply->media : "application/json", reply->type->name, "");
        proa_json_object_end(&d->w);
    }
    proa_json_object_end(&d->w);
    return 0;
}

static bool is_documented(const struct proa_route *route, int from, int to)
{
    for (size_t i = 0; i < PROA_ROUTE_REPLIES_MAX && route->replies[i].status; i++)
        if (route->replies[i].status >= from && route->replies[i].status <= to)
            return true;
    return false;
}

/* What the kit itself answers where the handler reads what is described; whatever else goes wrong is `default`. */
static int answers(struct document *d, const struct proa_route *route, const char *path)
{
    const struct {
        const char *status;
        int number;
        bool possible;
        const char *doc;
        const struct proa_type *headers;
    } own[] = {
        {"400", 400, route->query || route->headers || route->body || strchr(path, ':'), "Malformed request", NULL},
        {"413", 413, route->body != NULL, "The body is too large", NULL},
        {"415", 415, route->body != NULL, "The body's media type is not supported", NULL},
        {"422", 422, route->body != NULL, "Rules of the body are broken", NULL},
        {"503", 503, true, "Too busy, or something that the service needs is away", &retry_headers_type.type},
    };

    open_object(d, "responses");
    for (size_t i = 0; i < PROA_ROUTE_REPLIES_MAX && route->replies[i].status; i++)
        PROA_TRY(documented_answer(d, &route->replies[i]));
    if (!is_documented(route, 200, 399)) {
        open_object(d, "200");
        text_member(d, "description", "OK");
        proa_json_object_end(&d->w);
    }
    for (size_t i = 0; i < PROA_COUNT(own); i++)
        if (own[i].possible && !is_documented(route, own[i].number, own[i].number))
            PROA_TRY(problem_answer(d, own[i].status, own[i].doc, own[i].headers));
    PROA_TRY(problem_answer(d, "default", "An error", NULL));
    proa_json_object_end(&d->w);
    return 0;
}

/* -- Operations ------------------------------------------------------------------------------------------------- */

static int add_id(struct document *d, proa_str id)
{
    proa_str *ids = grown(d, d->ids, d->ids_count, sizeof *ids);
    proa_str base = id;

    if (!ids || !id.ptr)
        return proa_fail(d->err, PROA_ENOMEM, "memory is out");
    for (size_t i = 0, copies = 2; i < d->ids_count; i++)
        if (proa_str_eq(ids[i], id)) {
            id = proa_arena_printf(&d->arena, PROA_FMT "%zu", PROA_ARG(base), copies++);
            i = SIZE_MAX; /* from the start again */
        }
    d->ids = ids;
    d->ids[d->ids_count++] = id;
    return 0;
}

/* "GET /users/{id:u64}/posts" is getUsersByIdPosts. */
static int operation_id(struct document *d, const char *method, const char *path)
{
    struct proa_buf id;
    bool upper = true;

    proa_buf_init(&id, &d->arena, 0);
    proa_buf_add_c(&id, method);
    for (const char *c = path; *c; c++) {
        bool letter, digit;

        if (*c == '{')
            proa_buf_add_c(&id, "By");
        if (*c == ':') /* the parameter's type says nothing here */
            c += strcspn(c, "}");
        if (!*c)
            break;
        letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        digit = *c >= '0' && *c <= '9';
        if (letter || digit)
            proa_buf_add_char(&id, upper && *c >= 'a' ? (char)(*c - 'a' + 'A') : *c);
        upper = !letter && !digit;
    }
    if (id.error)
        return proa_fail(d->err, PROA_ENOMEM, "memory is out");
    PROA_TRY(add_id(d, proa_buf_str(&id)));
    proa_json_key(&d->w, PROA_STR("operationId"));
    proa_json_text(&d->w, d->ids[d->ids_count - 1]);
    return 0;
}

static void request_body(struct document *d, enum proa_method method, const struct proa_type *body)
{
    open_object(d, "requestBody");
    proa_json_key(&d->w, PROA_STR("required"));
    proa_json_bool(&d->w, true);
    open_object(d, "content");
    if (method == PROA_PATCH)
        content(d, "application/merge-patch+json", body->name, "-patch");
    content(d, "application/json", body->name, method == PROA_PATCH ? "-patch" : "");
    proa_json_object_end(&d->w);
    proa_json_object_end(&d->w);
}

static int operation(struct document *d, const struct proa_route *route, const char *path, proa_str template,
                     size_t method)
{
    open_object(d, methods[method].name);
    PROA_TRY(operation_id(d, methods[method].name, path));
    if (route->summary)
        text_member(d, "summary", route->summary);
    if (route->tag) {
        proa_json_key(&d->w, PROA_STR("tags"));
        proa_json_array(&d->w);
        proa_json_text(&d->w, proa_str_c(route->tag));
        proa_json_array_end(&d->w);
    }
    PROA_TRY(parameters(d, route, path, template));
    if (route->body)
        request_body(d, methods[method].method, route->body);
    PROA_TRY(answers(d, route, path));
    proa_json_object_end(&d->w);
    PROA_TRY(use_type(d, route->body));
    for (size_t i = 0; i < PROA_ROUTE_REPLIES_MAX && route->replies[i].status; i++)
        PROA_TRY(use_type(d, route->replies[i].type));
    return 0;
}

/* The path without the types of its parameters. */
static proa_str template_of(struct document *d, const char *path)
{
    char *out = proa_arena_cstr(&d->arena, proa_str_c(path));
    size_t len = 0;
    bool in_kind = false;

    for (size_t i = 0; out && path[i]; i++) {
        in_kind = (in_kind || path[i] == ':') && path[i] != '}' && path[i] != '/';
        if (!in_kind)
            out[len++] = path[i];
    }
    return proa_str_n(out, len);
}

/* Paths that differ in no more than their parameters' names are one. */
static bool is_same_path(proa_str a, proa_str b)
{
    proa_str of_a, of_b;

    while (proa_str_split(&a, '/', &of_a)) {
        bool is_parameter = of_a.len > 0 && of_a.ptr[0] == '{';

        if (!proa_str_split(&b, '/', &of_b))
            return false;
        if (is_parameter ? of_b.len == 0 || of_b.ptr[0] != '{' : !proa_str_eq(of_a, of_b))
            return false;
    }
    return b.ptr == NULL;
}

/* All operations of a path stand together, where its first route stands. Of routes that differ in no more than a
 * parameter's kind, which is more than a document can say, the first is shown. */
static int path_item(struct document *d, size_t first)
{
    const struct proa_route *route;
    const char *full, *name;
    unsigned shown = 0;

    proa_json_key(&d->w, d->templates[first]);
    proa_json_object(&d->w);
    for (size_t i = first; i < d->routes; i++) {
        if (!d->templates[i].ptr || !is_same_path(d->templates[i], d->templates[first]))
            continue;
        route = proa_router_route(d->router, i, &full, &name);
        for (size_t m = 0; m < METHODS; m++)
            if (route->methods & methods[m].method & ~shown)
                PROA_TRY(operation(d, route, full, d->templates[first], m));
        shown |= route->methods;
    }
    proa_json_object_end(&d->w);
    return 0;
}

static int find_templates(struct document *d)
{
    const struct proa_route *route;
    const char *full, *name;

    while (proa_router_route(d->router, d->routes, &full, &name))
        d->routes++;
    d->templates = proa_arena_calloc(&d->arena, d->routes, sizeof *d->templates);
    if (!d->templates)
        return proa_fail(d->err, PROA_ENOMEM, "memory is out");
    for (size_t i = 0; i < d->routes; i++) {
        route = proa_router_route(d->router, i, &full, &name);
        if (route->hidden)
            continue;
        d->templates[i] = template_of(d, full);
        if (!d->templates[i].ptr)
            return proa_fail(d->err, PROA_ENOMEM, "memory is out");
    }
    return 0;
}

static int paths(struct document *d)
{
    PROA_TRY(find_templates(d));
    open_object(d, "paths");
    for (size_t i = 0; i < d->routes; i++) {
        size_t earlier = 0;

        if (!d->templates[i].ptr)
            continue;
        while (earlier < i && !(d->templates[earlier].ptr && is_same_path(d->templates[earlier], d->templates[i])))
            earlier++;
        if (earlier == i)
            PROA_TRY(path_item(d, i));
    }
    proa_json_object_end(&d->w);
    return 0;
}

/* -- Components ------------------------------------------------------------------------------------------------- */

struct problem_field {
    proa_str pointer;
    proa_str code;
    proa_str detail;
};
PROA_DESCRIBE_WITH(problem_field, (.doc = "A broken rule", .unknown = PROA_UNKNOWN_IGNORE),
                   (pointer, str, .doc = "JSON pointer of the member"), (code, str, .doc = "Stable name of the rule"),
                   (detail, str));

struct problem {
    proa_str type;
    proa_str title;
    uint16_t status;
    PROA_OPTIONAL(proa_str) detail;
    PROA_OPTIONAL(proa_str) instance;
    PROA_OPTIONAL(PROA_ARRAY_OF(struct problem_field)) errors;
};
PROA_DESCRIBE_WITH(problem, (.doc = "A problem document (RFC 9457)", .unknown = PROA_UNKNOWN_IGNORE), (type, str),
                   (title, str), (status, u16, PROA_RANGE(100, 599)), (detail, optional(str)),
                   (instance, optional(str)), (errors, optional(array(object(problem_field)))));

static bool is_patched(const struct document *d, const struct proa_type *type)
{
    const struct proa_route *route;
    const char *full, *name;

    for (size_t i = 0; (route = proa_router_route(d->router, i, &full, &name)); i++)
        if (!route->hidden && route->body == type && (route->methods & PROA_PATCH))
            return true;
    return false;
}

static int components(struct document *d)
{
    PROA_TRY(use_type(d, &problem_type.type));
    open_object(d, "components");
    open_object(d, "schemas");
    for (size_t i = 0; i < d->types_count; i++) {
        proa_json_key(&d->w, proa_str_c(d->types[i]->name));
        PROA_TRY(proa_schema_write(&d->w, d->types[i], PROA_SCHEMA_OPENAPI));
        if (is_patched(d, d->types[i])) {
            proa_json_key(&d->w, proa_arena_printf(&d->arena, "%s-patch", d->types[i]->name));
            PROA_TRY(proa_schema_write(&d->w, d->types[i], PROA_SCHEMA_MERGE_PATCH));
        }
    }
    proa_json_object_end(&d->w);
    proa_json_object_end(&d->w);
    return 0;
}

static int write_document(struct document *d, const struct proa_openapi_options *options)
{
    proa_json_object(&d->w);
    text_member(d, "openapi", "3.1.0");
    open_object(d, "info");
    text_member(d, "title", options && options->title ? options->title : "API");
    text_member(d, "version", options && options->version ? options->version : "0");
    if (options && options->description)
        text_member(d, "description", options->description);
    proa_json_object_end(&d->w);
    PROA_TRY(paths(d));
    PROA_TRY(components(d));
    proa_json_object_end(&d->w);
    return d->w.out->error;
}

int proa_openapi_write(const struct proa_router *router, const struct proa_openapi_options *options,
                       struct proa_buf *out, struct proa_error *err)
{
    struct document d = {.router = router, .err = err};
    int rc;

    proa_arena_init(&d.arena, NULL, 0);
    proa_json_writer_init(&d.w, out);
    rc = write_document(&d, options);
    proa_arena_done(&d.arena);
    if (rc == PROA_ENOMEM || rc == PROA_ETOOLARGE)
        return proa_fail(err, rc, "OpenAPI: the document does not fit");
    return rc;
}

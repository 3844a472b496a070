/* Described structs out of a request: body, query, header fields. */
#include "req_internal.h"

#include <proa/text.h>
#include <string.h>

/* The media type of a Content-Type field, without parameters. */
static proa_str media_type(proa_str field)
{
    proa_str type = {0};

    proa_ignore(proa_str_split(&field, ';', &type));
    return proa_str_trim(type);
}

static bool is_json(proa_str type)
{
    proa_str end = proa_str_slice(type, type.len - (type.len < 5 ? type.len : 5), type.len);

    return proa_str_eq_nocase(type, PROA_STR("application/json")) || proa_str_eq_nocase(end, PROA_STR("+json"));
}

/* RFC 9110 section 15.5.16: what is compressed is refused as such, and not as broken JSON. */
static int check_coding(struct proa_req *req)
{
    proa_str coding = proa_req_header(req, "Content-Encoding");

    if (coding.len == 0 || proa_str_eq_nocase(coding, PROA_STR("identity")))
        return 0;
    proa_ignore(proa_reply_header(req, "Accept-Encoding", PROA_STR("identity")));
    return proa_fail(&req->error, PROA_EMEDIATYPE, "the content must not be compressed");
}

static int json_body(struct proa_req *req, bool merge, proa_str *ret_body)
{
    proa_str type = media_type(proa_req_header(req, "Content-Type"));
    bool fits = merge ? proa_str_eq_nocase(type, PROA_STR("application/json")) ||
                            proa_str_eq_nocase(type, PROA_STR("application/merge-patch+json"))
                      : is_json(type);

    if (!fits) {
        proa_ignore(proa_reply_header(req, merge ? "Accept-Patch" : "Accept",
                                      merge ? PROA_STR("application/merge-patch+json, application/json")
                                            : PROA_STR("application/json")));
        return proa_fail(&req->error, PROA_EMEDIATYPE, "the content must be %s",
                         merge ? "application/merge-patch+json" : "application/json");
    }
    PROA_TRY(check_coding(req));
    return proa_req_body(req, ret_body);
}

int proa_req_json_type(struct proa_req *req, const struct proa_type *type, void *ret_value)
{
    proa_str body = {0};

    PROA_TRY(json_body(req, false, &body));
    return proa_json_read_type(&req->arena, body, PROA_JSON_INPUT, type, ret_value, &req->error);
}

int proa_req_merge_patch_type(struct proa_req *req, const struct proa_type *type, void *value)
{
    proa_str body = {0};

    PROA_TRY(json_body(req, true, &body));
    return proa_json_merge_type(&req->arena, body, type, value, &req->error);
}

/* Binding of names and texts. A struct is built beside the caller's, which is written only on success. */
struct binding {
    struct proa_req *req;
    const struct proa_type *type;
    char *value;
    uint8_t *seen; /* by field */
};

static int binding_begin(struct binding *binding, struct proa_req *req, const struct proa_type *type)
{
    *binding = (struct binding){.req = req, .type = type};
    binding->value = proa_arena_calloc(&req->arena, 1, type->size);
    binding->seen = proa_arena_calloc(&req->arena, type->fields_count + 1, 1);
    if (!binding->value || !binding->seen)
        return proa_fail(&req->error, PROA_ENOMEM, "memory is out");
    return proa_type_defaults(&req->arena, type, binding->value, &req->error);
}

/* RFC 6901 section 3. The problem document adds the '#', and what a URI's fragment needs escaped. */
static proa_str pointer_of(struct proa_req *req, const char *where, proa_str name)
{
    struct proa_buf pointer;

    proa_buf_init(&pointer, &req->arena, 0);
    proa_buf_printf(&pointer, "/%s/", where);
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '~' || name.ptr[i] == '/')
            proa_buf_add_c(&pointer, name.ptr[i] == '~' ? "~0" : "~1");
        else
            proa_buf_add_char(&pointer, name.ptr[i]);
    }
    return proa_buf_str(&pointer);
}

/* @returns only what is no broken rule: those are collected. */
static int bind(struct binding *binding, const struct proa_field *field, proa_str text, proa_str pointer)
{
    uint32_t before = binding->req->error.fields_count;
    int rc = proa_field_from_text(&binding->req->arena, field, text, pointer, binding->value, &binding->req->error);

    binding->seen[field - binding->type->fields] = 1;
    return rc < 0 && binding->req->error.fields_count == before ? rc : 0;
}

/* `if_match` as "if-match". */
static proa_str header_name(struct proa_req *req, const struct proa_field *field)
{
    proa_str member = proa_field_name(field);
    char *name = proa_arena_cstr(&req->arena, member);

    for (char *c = name; c && *c; c++)
        if (*c == '_')
            *c = '-';
    return name ? proa_str_n(name, member.len) : proa_str_n("", 0);
}

static int binding_end(struct binding *binding, bool of_header, void *ret_value)
{
    struct proa_error *err = &binding->req->error;

    for (uint32_t i = 0; i < binding->type->fields_count; i++) {
        const struct proa_field *field = &binding->type->fields[i];
        /* A list that is not there is empty: there is no other way to say so. */
        bool required = !field->optional && !field->default_json && field->container == PROA_SINGLE;

        if (required && !binding->seen[i]) {
            proa_str name = of_header ? header_name(binding->req, field) : proa_field_name(field);

            proa_error_add_field(err, PROA_EINVAL, pointer_of(binding->req, of_header ? "header" : "query", name),
                                 "required", PROA_FMT " is missing", PROA_ARG(name));
        }
    }
    if (err->fields_count == 0 && binding->type->check)
        proa_ignore(binding->type->check(binding->value, err));
    if (err->fields_count > 0) {
        err->code = PROA_EINVAL;
        return PROA_EINVAL;
    }
    memcpy(ret_value, binding->value, binding->type->size);
    return 0;
}

static const struct proa_field *find_field(const struct proa_type *type, proa_str name)
{
    return proa_type_find(type, name, NULL);
}

/* "a=1&a=2" as "1,2", when the field is a list; given again, another one is an error, told once. */
static int query_values(struct binding *binding, const struct proa_field *field, proa_str name)
{
    struct proa_req *req = binding->req;
    proa_str rest = req->query, pair, text = {0}, pointer = pointer_of(req, "query", name);
    struct proa_buf joined;
    uint32_t count = 0;

    proa_buf_init(&joined, &req->arena, 0);
    while (proa_str_split(&rest, '&', &pair)) {
        proa_str key = {0};

        proa_ignore(proa_str_split(&pair, '=', &key));
        PROA_TRY(proa_percent_decode(&req->arena, key, true, &key));
        if (!proa_str_eq(key, name))
            continue;
        PROA_TRY(proa_percent_decode(&req->arena, pair.ptr ? pair : proa_str_n("", 0), true, &text));
        if (count++)
            proa_buf_add_char(&joined, ',');
        proa_buf_add(&joined, text);
    }
    if (joined.error)
        return joined.error;
    if (count > 1 && field->container != PROA_LIST) {
        binding->seen[field - binding->type->fields] = 1;
        proa_error_add_field(&req->error, PROA_EINVAL, pointer, "repeated", PROA_FMT " is given more than once",
                             PROA_ARG(name));
        return 0;
    }
    return bind(binding, field, count > 1 ? proa_buf_str(&joined) : text, pointer);
}

static int query_name(struct binding *binding, proa_str name)
{
    const struct proa_field *field = find_field(binding->type, name);

    if (!proa_utf8_valid(name))
        return proa_fail(&binding->req->error, PROA_EINVAL, "the query is not UTF-8");
    if (!field) {
        if (binding->type->unknown == PROA_UNKNOWN_REJECT)
            proa_error_add_field(&binding->req->error, PROA_EINVAL, pointer_of(binding->req, "query", name), "unknown",
                                 PROA_FMT " is not known", PROA_ARG(name));
        return 0;
    }
    return binding->seen[field - binding->type->fields] ? 0 : query_values(binding, field, name);
}

static int query_broken(struct proa_req *req, int rc)
{
    return rc == PROA_ESYNTAX ? proa_fail(&req->error, PROA_EINVAL, "the query has a broken escape") : rc;
}

int proa_req_query_type(struct proa_req *req, const struct proa_type *type, void *ret_value)
{
    proa_str rest = req->query, pair;
    struct binding binding;

    PROA_TRY(binding_begin(&binding, req, type));
    while (rest.len > 0 && proa_str_split(&rest, '&', &pair)) {
        proa_str name = {0};
        int rc;

        if (pair.len == 0)
            continue;
        proa_ignore(proa_str_split(&pair, '=', &name));
        rc = proa_percent_decode(&req->arena, name, true, &name);
        if (rc == 0)
            rc = query_name(&binding, name);
        if (rc < 0)
            return query_broken(req, rc);
    }
    return binding_end(&binding, false, ret_value);
}

int proa_req_headers_type(struct proa_req *req, const struct proa_type *type, void *ret_value)
{
    struct binding binding;

    PROA_TRY(binding_begin(&binding, req, type));
    for (uint32_t i = 0; i < type->fields_count; i++) {
        proa_str name = header_name(req, &type->fields[i]);
        proa_str value = name.len ? proa_req_header(req, name.ptr) : proa_str_n(NULL, 0);

        if (value.ptr)
            PROA_TRY(bind(&binding, &type->fields[i], value, pointer_of(req, "header", name)));
    }
    return binding_end(&binding, true, ret_value);
}

/* Schemas from descriptions. What a schema says is what the reader does: its kinds, rules, defaults and what it
 * requires. */
#include "data_internal.h"

#include <proa/schema.h>
#include <string.h>

enum { NESTING_MAX = 16 }; /* inline types; the writer's levels are bounded */

struct schema {
    struct proa_json_writer *w;
    enum proa_schema_dialect dialect;
    int depth;
};

static bool is_kubernetes(const struct schema *s)
{
    return s->dialect == PROA_SCHEMA_KUBERNETES;
}

static void text_member(struct schema *s, const char *key, const char *text)
{
    proa_json_key(s->w, proa_str_c(key));
    proa_json_text(s->w, proa_str_c(text));
}

static void u64_member(struct schema *s, const char *key, uint64_t value)
{
    proa_json_key(s->w, proa_str_c(key));
    proa_json_u64(s->w, value);
}

static void true_member(struct schema *s, const char *key)
{
    proa_json_key(s->w, proa_str_c(key));
    proa_json_bool(s->w, true);
}

static bool is_patch(const struct schema *s)
{
    return s->dialect == PROA_SCHEMA_MERGE_PATCH;
}

/* Whether null may stand for the member: it is a value of its own, or takes the member out. */
static bool is_nullable(const struct schema *s, const struct proa_field *field)
{
    return field->optional || (is_patch(s) && field->default_json);
}

/* 2020-12 says "or null" by a list of types, structural schemas by a member of their own. */
static void type_member(struct schema *s, const char *type, bool nullable)
{
    if (!nullable || is_kubernetes(s)) {
        text_member(s, "type", type);
        return;
    }
    proa_json_key(s->w, PROA_STR("type"));
    proa_json_array(s->w);
    proa_json_text(s->w, proa_str_c(type));
    proa_json_text(s->w, PROA_STR("null"));
    proa_json_array_end(s->w);
}

/* -- Kinds ------------------------------------------------------------------------------------------------------ */

static const char *integer_format(const struct schema *s, uint8_t kind)
{
    static const char *const names[] = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"};

    /* Kubernetes knows these two. */
    if (is_kubernetes(s))
        return kind == PROA_I32 || kind == PROA_I16 || kind == PROA_I8 || kind == PROA_U8 || kind == PROA_U16 ? "int32"
                                                                                                              : "int64";
    return names[kind - PROA_I8];
}

/* The description's range, else the C type's, as far as every reader's numbers go (those of 64 bits are left out). */
static void integer_schema(struct schema *s, const struct proa_field *field, bool nullable)
{
    bool wide = field->kind == PROA_I64 || field->kind == PROA_U64;
    int64_t least;
    uint64_t most;

    integer_limits(field->kind, &least, &most);
    type_member(s, "integer", nullable);
    text_member(s, "format", integer_format(s, field->kind));
    if (field->has_min || !wide || field->kind == PROA_U64) {
        proa_json_key(s->w, PROA_STR("minimum"));
        if (field->has_min && field->min > (double)least)
            proa_json_f64(s->w, field->min);
        else
            proa_json_i64(s->w, least);
    }
    if (field->has_max || !wide) {
        proa_json_key(s->w, PROA_STR("maximum"));
        if (field->has_max && field->max < (double)most)
            proa_json_f64(s->w, field->max);
        else
            proa_json_u64(s->w, most);
    }
}

static void range_members(struct schema *s, const struct proa_field *field)
{
    if (field->has_min) {
        proa_json_key(s->w, PROA_STR("minimum"));
        proa_json_f64(s->w, field->min);
    }
    if (field->has_max) {
        proa_json_key(s->w, PROA_STR("maximum"));
        proa_json_f64(s->w, field->max);
    }
}

static void text_schema(struct schema *s, const struct proa_field *field, bool nullable)
{
    type_member(s, "string", nullable);
    if (field->min_len)
        u64_member(s, "minLength", field->min_len);
    if (field->max_len)
        u64_member(s, "maxLength", field->max_len);
    if (field->pattern)
        text_member(s, "pattern", field->pattern);
    if (field->format)
        text_member(s, "format", format_name(field->format));
}

/* Lengths are those of the base64 text, which has four characters for every three bytes begun. */
static void bytes_schema(struct schema *s, const struct proa_field *field, bool nullable)
{
    type_member(s, "string", nullable);
    /* The API server's "byte" has no place for no bytes at all. */
    if (is_kubernetes(s) && field->min_len)
        text_member(s, "format", "byte");
    else if (is_kubernetes(s))
        text_member(s, "pattern", "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$");
    else
        text_member(s, "contentEncoding", "base64");
    if (field->min_len)
        u64_member(s, "minLength", ((uint64_t)field->min_len + 2) / 3 * 4);
    if (field->max_len)
        u64_member(s, "maxLength", ((uint64_t)field->max_len + 2) / 3 * 4);
}

static void enum_schema(struct schema *s, const struct proa_field *field, bool nullable)
{
    type_member(s, "string", nullable);
    proa_json_key(s->w, PROA_STR("enum"));
    proa_json_array(s->w);
    for (uint32_t i = 0; i < field->names->count; i++)
        proa_json_text(s->w, field->names->values[i].name);
    if (nullable)
        proa_json_null(s->w);
    proa_json_array_end(s->w);
}

/* A number of bytes or text like 64Mi. */
static void quantity_schema(struct schema *s, const struct proa_field *field, bool nullable)
{
    if (is_kubernetes(s))
        true_member(s, "x-kubernetes-int-or-string");
    proa_json_key(s->w, PROA_STR("anyOf"));
    proa_json_array(s->w);
    proa_json_object(s->w);
    text_member(s, "type", "integer");
    if (!is_kubernetes(s)) {
        if (!field->has_min)
            u64_member(s, "minimum", 0);
        range_members(s, field);
    }
    proa_json_object_end(s->w);
    proa_json_object(s->w);
    text_member(s, "type", "string");
    if (!is_kubernetes(s))
        text_member(s, "pattern", "^[0-9]+([KMGTPE]i|[kMGTPE])?$");
    proa_json_object_end(s->w);
    if (nullable && !is_kubernetes(s)) {
        proa_json_object(s->w);
        text_member(s, "type", "null");
        proa_json_object_end(s->w);
    }
    proa_json_array_end(s->w);
    if (!is_kubernetes(s))
        return;
    /* Structural schemas have the rules of an int-or-string beside it; each looks at what it is of. */
    if (!field->has_min)
        u64_member(s, "minimum", 0);
    range_members(s, field);
    text_member(s, "pattern", "^[0-9]+([KMGTPE]i|[kMGTPE])?$");
}

static void reference(struct schema *s, const struct proa_type *type)
{
    proa_str path[] = {PROA_STR("#/components/schemas/"), proa_str_c(type->name)};
    char text[256];
    size_t len = 0;

    for (size_t i = 0; i < PROA_COUNT(path); i++) {
        proa_str part = proa_str_slice(path[i], 0, sizeof text - len);

        memcpy(text + len, part.ptr, part.len);
        len += part.len;
    }
    proa_json_key(s->w, PROA_STR("$ref"));
    proa_json_text(s->w, proa_str_n(text, len));
}

static int type_members(struct schema *s, const struct proa_type *type, bool nullable, bool with_doc);

static int object_schema(struct schema *s, const struct proa_field *field, bool nullable)
{
    /* The member's own sentence goes before the type's. */
    bool with_doc = !field->doc || field->container != PROA_SINGLE;

    /* Of a patch, a list's items are whole; objects and maps' values are merged. */
    if (s->dialect != PROA_SCHEMA_OPENAPI && !(is_patch(s) && field->container == PROA_LIST))
        return type_members(s, field->type, nullable, with_doc);
    if (!nullable) {
        reference(s, field->type);
        return 0;
    }
    proa_json_key(s->w, PROA_STR("anyOf"));
    proa_json_array(s->w);
    proa_json_object(s->w);
    reference(s, field->type);
    proa_json_object_end(s->w);
    proa_json_object(s->w);
    text_member(s, "type", "null");
    proa_json_object_end(s->w);
    proa_json_array_end(s->w);
    return 0;
}

/* The members of one value's schema, into an object that is open. */
static int value_schema(struct schema *s, const struct proa_field *field, bool nullable)
{
    switch (field->kind) {
    case PROA_BOOLEAN: type_member(s, "boolean", nullable); break;
    case PROA_F64:
        type_member(s, "number", nullable);
        text_member(s, "format", "double");
        range_members(s, field);
        break;
    case PROA_TEXT: text_schema(s, field, nullable); break;
    case PROA_ENUMERATION: enum_schema(s, field, nullable); break;
    case PROA_OBJECT: return object_schema(s, field, nullable);
    case PROA_RAW: /* anything at all, null too */
        if (is_kubernetes(s))
            true_member(s, "x-kubernetes-preserve-unknown-fields");
        break;
    case PROA_BYTES: bytes_schema(s, field, nullable); break;
    case PROA_TIMESTAMP:
        type_member(s, "string", nullable);
        text_member(s, "format", "date-time");
        break;
    case PROA_DURATION:
        type_member(s, "string", nullable);
        text_member(s, "pattern", "^(0|([0-9]+(ns|us|ms|s|m|h|d))+)$");
        break;
    case PROA_QUANTITY: quantity_schema(s, field, nullable); break;
    default: integer_schema(s, field, nullable); break;
    }
    return 0;
}

/* -- CEL rules -------------------------------------------------------------------------------------------------- */

static void rule(struct schema *s, const char *text, const char *message)
{
    proa_json_object(s->w);
    text_member(s, "rule", text);
    if (message)
        text_member(s, "message", message);
    proa_json_object_end(s->w);
}

/* CEL: of the member's being immutable, and of the type that is written inline here. */
static void validations(struct schema *s, const struct proa_cel_rule *rules, bool immutable)
{
    if (!is_kubernetes(s) || (!immutable && !(rules && rules->rule)))
        return;
    proa_json_key(s->w, PROA_STR("x-kubernetes-validations"));
    proa_json_array(s->w);
    if (immutable)
        rule(s, "self == oldSelf", "may not change after creation");
    for (; rules && rules->rule; rules++)
        rule(s, rules->rule, rules->message);
    proa_json_array_end(s->w);
}

/* -- Lists and maps --------------------------------------------------------------------------------------------- */

static void list_type(struct schema *s, const struct proa_field *field)
{
    if (field->merge_key) {
        text_member(s, "x-kubernetes-list-type", "map");
        proa_json_key(s->w, PROA_STR("x-kubernetes-list-map-keys"));
        proa_json_array(s->w);
        proa_json_text(s->w, proa_str_c(field->merge_key));
        proa_json_array_end(s->w);
    } else if (field->unique_items && field->kind != PROA_OBJECT && field->kind != PROA_RAW) {
        text_member(s, "x-kubernetes-list-type", "set");
    } else {
        text_member(s, "x-kubernetes-list-type", "atomic");
    }
}

static int container_schema(struct schema *s, const struct proa_field *field)
{
    bool list = field->container == PROA_LIST;

    type_member(s, list ? "array" : "object", is_nullable(s, field));
    proa_json_key(s->w, list ? PROA_STR("items") : PROA_STR("additionalProperties"));
    proa_json_object(s->w);
    PROA_TRY(value_schema(s, field, is_patch(s) && !list));
    validations(s, field->kind == PROA_OBJECT ? field->type->rules : NULL, false);
    proa_json_object_end(s->w);
    if (field->min_items && !(is_patch(s) && !list))
        u64_member(s, list ? "minItems" : "minProperties", field->min_items);
    if (field->max_items)
        u64_member(s, list ? "maxItems" : "maxProperties", field->max_items);
    if (list && is_kubernetes(s))
        list_type(s, field);
    else if (list && field->unique_items)
        true_member(s, "uniqueItems");
    return 0;
}

/* -- Members and types ------------------------------------------------------------------------------------------ */

static void annotations(struct schema *s, const struct proa_field *field)
{
    if (field->doc)
        text_member(s, "description", field->doc);
    if (field->default_json && !is_patch(s)) {
        proa_json_key(s->w, PROA_STR("default"));
        proa_json_raw(s->w, proa_str_c(field->default_json));
    }
    if (is_kubernetes(s)) {
        bool inline_object = field->kind == PROA_OBJECT && field->container == PROA_SINGLE;

        if (field->optional)
            true_member(s, "nullable");
        validations(s, inline_object ? field->type->rules : NULL, field->immutable);
        return;
    }
    if (field->example_json) {
        proa_json_key(s->w, PROA_STR("examples"));
        proa_json_array(s->w);
        proa_json_raw(s->w, proa_str_c(field->example_json));
        proa_json_array_end(s->w);
    }
    if (field->read_only)
        true_member(s, "readOnly");
    if (field->write_only || field->secret)
        true_member(s, "writeOnly");
    if (field->deprecated)
        true_member(s, "deprecated");
}

static int field_schema(struct schema *s, const struct proa_field *field)
{
    proa_json_object(s->w);
    if (field->container != PROA_SINGLE)
        PROA_TRY(container_schema(s, field));
    else
        PROA_TRY(value_schema(s, field, is_nullable(s, field)));
    annotations(s, field);
    proa_json_object_end(s->w);
    return 0;
}

static bool is_required(const struct schema *s, const struct proa_field *field)
{
    return !field->optional && !field->default_json && !(is_kubernetes(s) && field->read_only);
}

static void required_member(struct schema *s, const struct proa_type *type)
{
    bool any = false;

    if (is_patch(s))
        return;
    for (uint32_t i = 0; i < type->fields_count; i++)
        any = any || is_required(s, &type->fields[i]);
    if (!any)
        return;
    proa_json_key(s->w, PROA_STR("required"));
    proa_json_array(s->w);
    for (uint32_t i = 0; i < type->fields_count; i++)
        if (is_required(s, &type->fields[i]))
            proa_json_text(s->w, proa_field_name(&type->fields[i]));
    proa_json_array_end(s->w);
}

/* Of a struct's schema, but for the rules of a Kubernetes type, which stand with the member's own. */
static int type_members(struct schema *s, const struct proa_type *type, bool nullable, bool with_doc)
{
    if (++s->depth > NESTING_MAX)
        return PROA_EINVAL;
    type_member(s, "object", nullable);
    if (with_doc && type->doc)
        text_member(s, "description", type->doc);
    proa_json_key(s->w, PROA_STR("properties"));
    proa_json_object(s->w);
    for (uint32_t i = 0; i < type->fields_count; i++) {
        proa_json_key(s->w, proa_field_name(&type->fields[i]));
        PROA_TRY(field_schema(s, &type->fields[i]));
    }
    proa_json_object_end(s->w);
    required_member(s, type);
    /* Structural schemas cannot say it; the API server prunes what it does not know. */
    if (type->unknown == PROA_UNKNOWN_REJECT && !is_kubernetes(s)) {
        proa_json_key(s->w, PROA_STR("additionalProperties"));
        proa_json_bool(s->w, false);
    }
    s->depth--;
    return 0;
}

int proa_schema_write(struct proa_json_writer *w, const struct proa_type *type, enum proa_schema_dialect dialect)
{
    struct schema s = {.w = w, .dialect = dialect};

    proa_json_object(w);
    PROA_TRY(type_members(&s, type, false, true));
    validations(&s, type->rules, false);
    proa_json_object_end(w);
    return w->out->error;
}

int proa_schema_write_field(struct proa_json_writer *w, const struct proa_field *field,
                            enum proa_schema_dialect dialect)
{
    struct schema s = {.w = w, .dialect = dialect};

    PROA_TRY(field_schema(&s, field));
    return w->out->error;
}

/* -- Reachable types -------------------------------------------------------------------------------------------- */

struct type_list {
    struct proa_arena *arena;
    const struct proa_type **types;
    size_t count, cap;
};

static int add_type(struct type_list *list, const struct proa_type *type)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->types[i] == type)
            return 0;
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 8;
        void *types = proa_arena_grow(list->arena, list->types, list->cap * sizeof(void *), cap * sizeof(void *));

        if (!types)
            return PROA_ENOMEM;
        list->types = types;
        list->cap = cap;
    }
    list->types[list->count++] = type;
    return 0;
}

int proa_schema_types(struct proa_arena *arena, const struct proa_type *type, const struct proa_type ***ret_types,
                      size_t *ret_count)
{
    struct type_list list = {.arena = arena};

    PROA_TRY(add_type(&list, type));
    /* The list grows while it is walked. */
    for (size_t i = 0; i < list.count; i++)
        for (uint32_t j = 0; j < list.types[i]->fields_count; j++)
            if (list.types[i]->fields[j].kind == PROA_OBJECT)
                PROA_TRY(add_type(&list, list.types[i]->fields[j].type));
    *ret_types = list.types;
    *ret_count = list.count;
    return 0;
}

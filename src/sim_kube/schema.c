/* CustomResourceDefinitions: the kinds that they define, and their schemas: pruning, defaults, and the rules that need no CEL. */
#include "sim_kube_internal.h"

#include <proa/pattern.h>
#include <stdlib.h>

/* -- Definitions --------------------------------------------------------------------------------------------------- */

static proa_str text_at(yyjson_val *root, const char *path)
{
    return value_text(value_at(root, proa_str_c(path)));
}

static const char *keep(struct proa_sim_kube *kube, proa_str text)
{
    return proa_arena_cstr(&kube->arena, text.ptr ? text : PROA_STR(""));
}

static const char *const *selectable_fields(struct proa_sim_kube *kube, yyjson_val *version)
{
    yyjson_val *list = yyjson_obj_get(version, "selectableFields");
    yyjson_arr_iter iter = yyjson_arr_iter_with(list);
    const char **fields = proa_arena_calloc(&kube->arena, yyjson_arr_size(list) + 1, sizeof *fields);
    size_t count = 0;

    for (yyjson_val *item = yyjson_arr_iter_next(&iter); fields && item; item = yyjson_arr_iter_next(&iter)) {
        proa_str path = value_text(yyjson_obj_get(item, "jsonPath"));

        fields[count++] = keep(kube, proa_str_slice(path, path.len && path.ptr[0] == '.', path.len));
    }
    return fields;
}

static int define_version(struct proa_sim_kube *kube, yyjson_val *spec, yyjson_val *version)
{
    yyjson_val *schema = value_at(version, PROA_STR("schema.openAPIV3Schema"));
    yyjson_val *scale = value_at(version, PROA_STR("subresources.scale"));
    struct proa_kube_kind names = {.group = keep(kube, text_at(spec, "group")),
                                   .version = keep(kube, text_at(version, "name")),
                                   .kind = keep(kube, text_at(spec, "names.kind")),
                                   .plural = keep(kube, text_at(spec, "names.plural")),
                                   .is_cluster_scoped = proa_str_eq_c(text_at(spec, "scope"), "Cluster")};
    struct sim_kind *kind = kinds_add(kube, &names);
    yyjson_mut_doc *copy;

    if (!kind)
        return PROA_ENOMEM;
    kind->is_custom = kind->needs_version = kind->has_generation = true;
    kind->is_served = yyjson_is_true(yyjson_obj_get(version, "served"));
    kind->has_status = value_at(version, PROA_STR("subresources.status"));
    kind->has_scale = scale;
    if (scale) {
        kind->replicas = proa_str_c(keep(kube, text_at(scale, "specReplicasPath")));
        kind->status_replicas = proa_str_c(keep(kube, text_at(scale, "statusReplicasPath")));
        kind->selector = proa_str_c(keep(kube, text_at(scale, "labelSelectorPath")));
    }
    kind->singular = proa_str_c(keep(kube, text_at(spec, "names.singular")));
    kind->fields = selectable_fields(kube, version);
    yyjson_doc_free(kind->schema_doc);
    kind->schema_doc = NULL;
    copy = yyjson_mut_doc_new(NULL);
    if (copy && yyjson_is_obj(schema)) {
        yyjson_mut_doc_set_root(copy, yyjson_val_mut_copy(copy, schema));
        kind->schema_doc = yyjson_mut_doc_imut_copy(copy, NULL);
    }
    yyjson_mut_doc_free(copy);
    return kind->fields ? 0 : PROA_ENOMEM;
}

int schema_define(struct proa_sim_kube *kube, yyjson_val *crd)
{
    yyjson_val *spec = yyjson_obj_get(crd, "spec"), *versions = yyjson_obj_get(spec, "versions");
    yyjson_arr_iter iter = yyjson_arr_iter_with(versions);

    for (yyjson_val *version = yyjson_arr_iter_next(&iter); version; version = yyjson_arr_iter_next(&iter))
        PROA_TRY(define_version(kube, spec, version));
    return 0;
}

void schema_remove(struct proa_sim_kube *kube, yyjson_val *crd)
{
    yyjson_val *spec = yyjson_obj_get(crd, "spec");

    for (size_t i = 0; i < kube->kinds.len; i++) {
        struct sim_kind *kind = *(struct sim_kind **)proa_vec_at(&kube->kinds, i);

        if (!kind->is_custom || !proa_str_eq_c(text_at(spec, "group"), kind->names.group) ||
            !proa_str_eq_c(text_at(spec, "names.plural"), kind->names.plural))
            continue;
        kind->is_served = false;
        while (kind->objects.len > 0)
            if (store_remove(kube, *(struct sim_object **)proa_vec_at(&kind->objects, 0), NULL) < 0)
                return;
    }
}

static void add_condition(struct proa_sim_kube *kube, yyjson_mut_doc *doc, tree *list, const char *type,
                          const char *reason)
{
    tree *condition = yyjson_mut_obj(doc);
    char text[PROA_TIME_TEXT_MAX];

    tree_set_text(doc, condition, "type", proa_str_c(type));
    tree_set_text(doc, condition, "status", PROA_STR("True"));
    tree_set_text(doc, condition, "reason", proa_str_c(reason));
    tree_set_text(doc, condition, "lastTransitionTime",
                  proa_str_n(text, proa_time_text(proa_loop_wall(kube->loop), 0, text)));
    yyjson_mut_arr_append(list, condition);
}

void schema_establish(struct proa_sim_kube *kube, yyjson_mut_doc *doc, tree *crd)
{
    tree *spec = yyjson_mut_obj_get(crd, "spec"), *status, *names = yyjson_mut_obj_get(spec, "names"), *list;
    proa_str kind = tree_text(yyjson_mut_obj_get(names, "kind"));
    struct proa_buf lower = {0};

    if (!yyjson_mut_obj_get(names, "listKind")) {
        proa_buf_printf(&lower, PROA_FMT "List", PROA_ARG(kind));
        tree_set_text(doc, names, "listKind", proa_buf_str(&lower));
    }
    if (!yyjson_mut_obj_get(names, "singular")) {
        proa_buf_clear(&lower);
        for (size_t i = 0; i < kind.len; i++)
            proa_buf_add_char(&lower,
                              kind.ptr[i] >= 'A' && kind.ptr[i] <= 'Z' ? (char)(kind.ptr[i] | 32) : kind.ptr[i]);
        tree_set_text(doc, names, "singular", proa_buf_str(&lower));
    }
    proa_buf_done(&lower);
    if (!yyjson_mut_obj_get(spec, "conversion"))
        tree_set_text(doc, tree_object(doc, spec, "conversion"), "strategy", PROA_STR("None"));
    if (yyjson_mut_obj_get(crd, "status"))
        return;
    status = tree_object(doc, crd, "status");
    tree_set(doc, status, "acceptedNames", yyjson_mut_val_mut_copy(doc, yyjson_mut_obj_get(spec, "names")));
    tree_set(doc, status, "conditions", yyjson_mut_arr(doc));
    list = yyjson_mut_obj_get(status, "conditions");
    add_condition(kube, doc, list, "NamesAccepted", "NoConflicts");
    add_condition(kube, doc, list, "Established", "InitialNamesAccepted");
}

/* -- Admission ----------------------------------------------------------------------------------------------------- */

struct walk {
    struct call *call;
    yyjson_mut_doc *doc;
};

static proa_str join(struct walk *walk, proa_str path, proa_str name)
{
    return proa_arena_printf(walk->call->arena, PROA_FMT "%s" PROA_FMT, PROA_ARG(path), path.len ? "." : "",
                             PROA_ARG(name));
}

static bool is_type(proa_str type, tree *value)
{
    if (proa_str_eq_c(type, "object"))
        return yyjson_mut_is_obj(value);
    if (proa_str_eq_c(type, "array"))
        return yyjson_mut_is_arr(value);
    if (proa_str_eq_c(type, "string"))
        return yyjson_mut_is_str(value);
    if (proa_str_eq_c(type, "boolean"))
        return yyjson_mut_is_bool(value);
    if (proa_str_eq_c(type, "integer"))
        return yyjson_mut_is_int(value);
    return !proa_str_eq_c(type, "number") || yyjson_mut_is_num(value);
}

static const char *type_name(tree *value)
{
    switch (yyjson_mut_get_type(value)) {
    case YYJSON_TYPE_OBJ: return "object";
    case YYJSON_TYPE_ARR: return "array";
    case YYJSON_TYPE_STR: return "string";
    case YYJSON_TYPE_BOOL: return "boolean";
    case YYJSON_TYPE_NUM: return yyjson_mut_is_real(value) ? "number" : "integer";
    default: return "null";
    }
}

static proa_str quote(struct walk *walk, tree *value)
{
    size_t len;
    char *text = tree_write(value, &len);
    proa_str copy = proa_arena_str(walk->call->arena, proa_str_n(text, text ? len : 0));

    free(text);
    return copy;
}

static void check_enum(struct walk *walk, yyjson_val *schema, tree *value, const char *path)
{
    yyjson_val *list = yyjson_obj_get(schema, "enum");
    yyjson_arr_iter iter = yyjson_arr_iter_with(list);
    struct proa_buf names;

    if (!list)
        return;
    proa_buf_init(&names, walk->call->arena, 0);
    for (yyjson_val *item = yyjson_arr_iter_next(&iter); item; item = yyjson_arr_iter_next(&iter)) {
        if (yyjson_is_str(item) && proa_str_eq(value_text(item), tree_text(value)))
            return;
        if (yyjson_is_int(item) && yyjson_mut_is_int(value) && yyjson_get_sint(item) == yyjson_mut_get_sint(value))
            return;
        proa_buf_printf(&names, "%s\"" PROA_FMT "\"", names.len ? ", " : "", PROA_ARG(value_text(item)));
    }
    (void)fail_invalid(walk->call, "FieldValueNotSupported", path,
                       "Unsupported value: " PROA_FMT ": supported values: " PROA_FMT, PROA_ARG(quote(walk, value)),
                       PROA_ARG(proa_buf_str(&names)));
}

static void check_number(struct walk *walk, yyjson_val *schema, tree *value, const char *path)
{
    yyjson_val *least = yyjson_obj_get(schema, "minimum"), *most = yyjson_obj_get(schema, "maximum");
    double number = yyjson_mut_get_num(value);

    if (least && number < yyjson_get_num(least))
        (void)fail_invalid(walk->call, "FieldValueInvalid", path,
                           "Invalid value: " PROA_FMT ": " PROA_FMT " in body should be greater than or equal to %g",
                           PROA_ARG(quote(walk, value)), PROA_ARG(proa_str_c(path)), yyjson_get_num(least));
    if (most && number > yyjson_get_num(most))
        (void)fail_invalid(walk->call, "FieldValueInvalid", path,
                           "Invalid value: " PROA_FMT ": " PROA_FMT " in body should be less than or equal to %g",
                           PROA_ARG(quote(walk, value)), PROA_ARG(proa_str_c(path)), yyjson_get_num(most));
}

static void check_text(struct walk *walk, yyjson_val *schema, tree *value, const char *path)
{
    yyjson_val *least = yyjson_obj_get(schema, "minLength"), *most = yyjson_obj_get(schema, "maxLength");
    proa_str pattern = value_text(yyjson_obj_get(schema, "pattern")), text = tree_text(value);
    const struct proa_pattern *compiled;
    size_t count = proa_utf8_count(text);

    if (least && count < yyjson_get_uint(least))
        (void)fail_invalid(walk->call, "FieldValueInvalid", path,
                           "Invalid value: " PROA_FMT ": %s in body should be at least %llu chars long",
                           PROA_ARG(quote(walk, value)), path, (unsigned long long)yyjson_get_uint(least));
    if (most && count > yyjson_get_uint(most))
        (void)fail_invalid(walk->call, "FieldValueTooLong", path, "Too long: may not be more than %llu bytes",
                           (unsigned long long)yyjson_get_uint(most));
    if (pattern.ptr && proa_pattern_compile(walk->call->arena, pattern, &compiled, NULL) == 0 &&
        !proa_pattern_matches(compiled, walk->call->arena, text))
        (void)fail_invalid(walk->call, "FieldValueInvalid", path,
                           "Invalid value: " PROA_FMT ": %s in body should match '" PROA_FMT "'",
                           PROA_ARG(quote(walk, value)), path, PROA_ARG(pattern));
}

/* Whether two items of a list that is a set are one, or of one with keys are of the same. */
static bool are_same(yyjson_val *keys, tree *a, tree *b)
{
    yyjson_arr_iter iter = yyjson_arr_iter_with(keys);

    if (!keys)
        return tree_equal(a, b);
    for (yyjson_val *key = yyjson_arr_iter_next(&iter); key; key = yyjson_arr_iter_next(&iter))
        if (!tree_equal(tree_get(a, value_text(key)), tree_get(b, value_text(key))))
            return false;
    return true;
}

static void check_unique(struct walk *walk, yyjson_val *schema, tree *list, const char *path)
{
    proa_str type = value_text(yyjson_obj_get(schema, "x-kubernetes-list-type"));
    yyjson_val *keys = yyjson_obj_get(schema, "x-kubernetes-list-map-keys");
    size_t count = yyjson_mut_arr_size(list);

    if (!proa_str_eq_c(type, "set") && !proa_str_eq_c(type, "map"))
        return;
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (are_same(keys, yyjson_mut_arr_get(list, i), yyjson_mut_arr_get(list, j))) {
                const char *where = proa_arena_printf(walk->call->arena, "%s[%zu]", path, i).ptr;

                (void)fail_invalid(walk->call, "FieldValueDuplicate", where, "Duplicate value: " PROA_FMT,
                                   PROA_ARG(quote(walk, yyjson_mut_arr_get(list, i))));
                break;
            }
}

static void check_list(struct walk *walk, yyjson_val *schema, tree *value, const char *path)
{
    yyjson_val *least = yyjson_obj_get(schema, "minItems"), *most = yyjson_obj_get(schema, "maxItems");
    size_t count = yyjson_mut_arr_size(value);

    if (least && count < yyjson_get_uint(least))
        (void)fail_invalid(walk->call, "FieldValueInvalid", path,
                           "Invalid value: %zu: %s in body should have at least %llu items", count, path,
                           (unsigned long long)yyjson_get_uint(least));
    if (most && count > yyjson_get_uint(most))
        (void)fail_invalid(walk->call, "FieldValueTooMany", path, "Too many: %zu: must have at most %llu items", count,
                           (unsigned long long)yyjson_get_uint(most));
}

static void admit(struct walk *walk, yyjson_val *schema, tree *value, proa_str path);

static void add_defaults(struct walk *walk, yyjson_val *properties, tree *value)
{
    yyjson_obj_iter iter = yyjson_obj_iter_with(properties);

    for (yyjson_val *key = yyjson_obj_iter_next(&iter); key; key = yyjson_obj_iter_next(&iter)) {
        yyjson_val *property = yyjson_obj_iter_get_val(key), *plain = yyjson_obj_get(property, "default");
        tree *present = tree_get(value, value_text(key));

        if (present && yyjson_mut_is_null(present) && !yyjson_is_true(yyjson_obj_get(property, "nullable"))) {
            tree_remove(value, value_text(key));
            present = NULL;
        }
        if (plain && !present)
            tree_set_str(walk->doc, value, value_text(key), yyjson_val_mut_copy(walk->doc, plain));
    }
}

static void admit_object(struct walk *walk, yyjson_val *schema, tree *value, proa_str path)
{
    yyjson_val *properties = yyjson_obj_get(schema, "properties"),
               *more = yyjson_obj_get(schema, "additionalProperties");
    yyjson_val *required = yyjson_obj_get(schema, "required");
    bool keeps = yyjson_is_true(yyjson_obj_get(schema, "x-kubernetes-preserve-unknown-fields")) ||
                 yyjson_is_true(yyjson_obj_get(schema, "x-kubernetes-embedded-resource")) || yyjson_is_true(more);
    yyjson_mut_obj_iter iter;
    yyjson_arr_iter names = yyjson_arr_iter_with(required);

    add_defaults(walk, properties, value);
    for (yyjson_val *name = yyjson_arr_iter_next(&names); name; name = yyjson_arr_iter_next(&names))
        if (!tree_get(value, value_text(name)))
            (void)fail_invalid(walk->call, "FieldValueRequired", join(walk, path, value_text(name)).ptr,
                               "Required value");
    iter = yyjson_mut_obj_iter_with(value);
    for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
        proa_str name = tree_text(key);
        yyjson_val *below = value_get(properties, name);
        bool is_own = !path.len && (proa_str_eq_c(name, "apiVersion") || proa_str_eq_c(name, "kind") ||
                                    proa_str_eq_c(name, "metadata"));

        if (is_own)
            continue;
        if (!below && yyjson_is_obj(more))
            below = more;
        if (below) {
            admit(walk, below, yyjson_mut_obj_iter_get_val(key), join(walk, path, name));
        } else if (!keeps) {
            if (proa_str_eq_c(walk->call->validation, "Strict"))
                (void)fail_call(walk->call, 400, "BadRequest",
                                "%s in version \"%s\" cannot be handled as a %s: strict decoding "
                                "error: unknown field \"" PROA_FMT "\"",
                                walk->call->kind->names.kind, walk->call->kind->names.version,
                                walk->call->kind->names.kind, PROA_ARG(join(walk, path, name)));
            yyjson_mut_obj_iter_remove(&iter);
        }
    }
}

static void admit(struct walk *walk, yyjson_val *schema, tree *value, proa_str path)
{
    proa_str type = value_text(yyjson_obj_get(schema, "type"));
    const char *where = path.ptr ? path.ptr : "";

    if (yyjson_is_true(yyjson_obj_get(schema, "x-kubernetes-int-or-string")) ||
        (yyjson_mut_is_null(value) && yyjson_is_true(yyjson_obj_get(schema, "nullable")))) {
        if (yyjson_mut_is_str(value))
            check_text(walk, schema, value, where);
        if (yyjson_mut_is_num(value))
            check_number(walk, schema, value, where);
        return;
    }
    if (type.len && !is_type(type, value)) {
        (void)fail_invalid(walk->call, "FieldValueTypeInvalid", where,
                           "Invalid value: \"%s\": %s in body must be of type " PROA_FMT ": \"%s\"", type_name(value),
                           where, PROA_ARG(type), type_name(value));
        return;
    }
    check_enum(walk, schema, value, where);
    if (yyjson_mut_is_num(value))
        check_number(walk, schema, value, where);
    if (yyjson_mut_is_str(value))
        check_text(walk, schema, value, where);
    if (yyjson_mut_is_obj(value))
        admit_object(walk, schema, value, path);
    if (yyjson_mut_is_arr(value)) {
        yyjson_mut_arr_iter iter = yyjson_mut_arr_iter_with(value);
        yyjson_val *items = yyjson_obj_get(schema, "items");
        size_t index = 0;

        check_list(walk, schema, value, where);
        check_unique(walk, schema, value, where);
        for (tree *item = yyjson_mut_arr_iter_next(&iter); item && items; item = yyjson_mut_arr_iter_next(&iter))
            admit(walk, items, item, proa_arena_printf(walk->call->arena, PROA_FMT "[%zu]", PROA_ARG(path), index++));
    }
}

int schema_admit(struct call *call, yyjson_mut_doc *doc, tree *root)
{
    struct walk walk = {call, doc};

    if (!call->kind->schema_doc)
        return 0;
    admit(&walk, yyjson_doc_get_root(call->kind->schema_doc), root, PROA_STR(""));
    return call->failure.status ? -1 : 0;
}

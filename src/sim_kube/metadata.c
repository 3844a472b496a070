/* What the API server checks in every object's metadata: names of labels, annotations and finalizers, and owners. */
#include "sim_kube_internal.h"

#include <stdio.h>
#include <string.h>

enum { NAME_PART_MAX = 63, PREFIX_MAX = 253 };

/* As label values and the names of labels are: "A-b_c.9". */
static bool is_name_part(proa_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        bool is_edge = i == 0 || i + 1 == text.len;

        if (!is_alphanumeric(text.ptr[i]) && (is_edge || !strchr("-_.", text.ptr[i])))
            return false;
    }
    return true;
}

bool is_dns_subdomain(proa_str name)
{
    bool edge = true;

    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

        if (!alnum && (edge || (c != '-' && c != '.')))
            return false;
        edge = c == '.';
    }
    return !edge && name.len <= PREFIX_MAX && name.ptr[name.len - 1] != '-';
}

static int fail_name(struct call *call, const char *field, proa_str name, const char *why)
{
    return fail_invalid(call, "FieldValueInvalid", field, "Invalid value: \"" PROA_FMT "\": %s", PROA_ARG(name), why);
}

/* "name" or "prefix/name". */
static int check_qualified(struct call *call, const char *field, proa_str name)
{
    ptrdiff_t slash = proa_str_find_char(name, '/');
    proa_str prefix = proa_str_slice(name, 0, slash < 0 ? 0 : (size_t)slash);
    proa_str part = proa_str_slice(name, slash < 0 ? 0 : (size_t)slash + 1, name.len);

    if (proa_str_find_char(part, '/') >= 0)
        return fail_name(call, field, name,
                         "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start "
                         "and end with an alphanumeric character with an optional DNS subdomain prefix and '/'");
    if (slash == 0)
        return fail_name(call, field, name, "prefix part must be non-empty");
    if (slash > 0 && !is_dns_subdomain(prefix))
        return fail_name(call, field, name,
                         "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                         "characters, '-' or '.', and must start and end with an alphanumeric character");
    if (part.len == 0)
        return fail_name(call, field, name, "name part must be non-empty");
    if (part.len > NAME_PART_MAX)
        return fail_name(call, field, name, "name part must be no more than 63 bytes");
    if (!is_name_part(part))
        return fail_name(call, field, name,
                         "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
                         "with an alphanumeric character");
    return 0;
}

int check_text_map(struct call *call, tree *map, const char *field, const char *type)
{
    yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(map);

    for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
        tree *value = yyjson_mut_obj_iter_get_val(key);

        if (!yyjson_mut_is_str(value) && !yyjson_mut_is_null(value))
            return fail_call(call, 400, "BadRequest", "json: cannot unmarshal %s into Go struct field %s of type %s",
                             yyjson_mut_is_num(value)    ? "number"
                             : yyjson_mut_is_bool(value) ? "bool"
                             : yyjson_mut_is_arr(value)  ? "array"
                                                         : "object",
                             field, type);
    }
    return 0;
}

static int check_labels(struct call *call, tree *labels)
{
    yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(labels);

    if (check_text_map(call, labels, "ObjectMeta.metadata.labels", "string") < 0)
        return -1;
    for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
        proa_str value = tree_text(yyjson_mut_obj_iter_get_val(key));

        if (check_qualified(call, "metadata.labels", tree_text(key)) < 0)
            return -1;
        if (value.len > NAME_PART_MAX)
            return fail_name(call, "metadata.labels", value, "must be no more than 63 bytes");
        if (!is_name_part(value))
            return fail_name(call, "metadata.labels", value,
                             "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
                             "'.', and must start and end with an alphanumeric character");
    }
    return 0;
}

static int check_annotations(struct call *call, tree *annotations)
{
    yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(annotations);

    if (check_text_map(call, annotations, "ObjectMeta.metadata.annotations", "string") < 0)
        return -1;
    for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter))
        if (check_qualified(call, "metadata.annotations", tree_text(key)) < 0)
            return -1;
    return 0;
}

/* Custom kinds may have finalizers without a domain. */
static int check_finalizer_names(struct call *call, tree *finalizers)
{
    static const char *const standard[] = {"orphan", "foregroundDeletion", "kubernetes"};
    yyjson_mut_arr_iter iter = yyjson_mut_arr_iter_with(finalizers);
    char field[64];
    unsigned index = 0;

    for (tree *item = yyjson_mut_arr_iter_next(&iter); item; item = yyjson_mut_arr_iter_next(&iter), index++) {
        proa_str name = tree_text(item);
        bool is_known = call->kind->is_custom || proa_str_find_char(name, '/') >= 0;

        if (check_qualified(call, "metadata.finalizers", name) < 0)
            return -1;
        for (size_t i = 0; i < PROA_COUNT(standard); i++)
            is_known |= proa_str_eq_c(name, standard[i]);
        snprintf(field, sizeof field, "metadata.finalizers[%u]", index);
        if (!is_known)
            return fail_name(call, field, name, "name is neither a standard finalizer name nor is it fully qualified");
    }
    return 0;
}

static int check_owners(struct call *call, tree *owners)
{
    static const struct {
        const char *name, *field, *why;
    } needed[] = {
        {"apiVersion", "metadata.ownerReferences.apiVersion", "version must not be empty"},
        {"kind", "metadata.ownerReferences.kind", "must not be empty"},
        {"name", "metadata.ownerReferences.name", "must not be empty"},
        {"uid", "metadata.ownerReferences.uid", "must not be empty"},
    };
    yyjson_mut_arr_iter iter = yyjson_mut_arr_iter_with(owners);
    unsigned controllers = 0;

    for (tree *owner = yyjson_mut_arr_iter_next(&iter); owner; owner = yyjson_mut_arr_iter_next(&iter)) {
        for (size_t i = 0; i < PROA_COUNT(needed); i++)
            if (!tree_text(yyjson_mut_obj_get(owner, needed[i].name)).len)
                return fail_name(call, needed[i].field, PROA_STR(""), needed[i].why);
        controllers += yyjson_mut_is_true(yyjson_mut_obj_get(owner, "controller"));
    }
    return controllers < 2 ? 0
                           : fail_invalid(call, "FieldValueInvalid", "metadata.ownerReferences",
                                          "Invalid value: Only one reference can have Controller set to true.");
}

int metadata_check(struct call *call, tree *root)
{
    tree *metadata = yyjson_mut_obj_get(root, "metadata");

    if (check_labels(call, yyjson_mut_obj_get(metadata, "labels")) < 0 ||
        check_annotations(call, yyjson_mut_obj_get(metadata, "annotations")) < 0 ||
        check_finalizer_names(call, yyjson_mut_obj_get(metadata, "finalizers")) < 0)
        return -1;
    return check_owners(call, yyjson_mut_obj_get(metadata, "ownerReferences"));
}

/* What the API server fills in and refuses in built-in kinds: only what controllers come to feel. */
#include "sim_kube_internal.h"

#include <string.h>

static bool is_kind(const struct call *call, const struct proa_kube_kind *kind)
{
    return proa_str_eq_c(proa_str_c(call->kind->names.plural), kind->plural) &&
           proa_str_eq_c(proa_str_c(call->kind->names.group), kind->group);
}

/* What is to stay as it is, once somebody has said so. */
static int check_immutable(struct call *call, tree *before, tree *root)
{
    static const char *const fields[] = {"data", "binaryData"};

    if (!yyjson_mut_is_true(yyjson_mut_obj_get(before, "immutable")))
        return 0;
    if (!yyjson_mut_is_true(yyjson_mut_obj_get(root, "immutable")))
        return fail_invalid(call, "FieldValueForbidden", "immutable",
                            "Forbidden: field is immutable when `immutable` is set");
    for (size_t i = 0; i < PROA_COUNT(fields); i++)
        if (!tree_equal(yyjson_mut_obj_get(before, fields[i]), yyjson_mut_obj_get(root, fields[i])))
            return fail_invalid(call, "FieldValueForbidden", fields[i],
                                "Forbidden: field is immutable when `immutable` is set");
    return 0;
}

static int fail_key(struct call *call, proa_str key, const char *why)
{
    return fail_invalid(call, "FieldValueInvalid",
                        proa_arena_printf(call->arena, "data[" PROA_FMT "]", PROA_ARG(key)).ptr,
                        "Invalid value: \"" PROA_FMT "\": %s", PROA_ARG(key), why);
}

/* As file names may be: what is mounted becomes files. */
static int check_data_keys(struct call *call, tree *root)
{
    yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(yyjson_mut_obj_get(root, "data"));

    for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
        proa_str name = tree_text(key);
        bool is_proper = name.len > 0;

        for (size_t i = 0; i < name.len; i++)
            is_proper &= strchr("-_.", name.ptr[i]) || is_alphanumeric(name.ptr[i]);
        if (name.len > 253)
            return fail_key(call, name, "must be no more than 253 bytes");
        if (!is_proper)
            return fail_key(call, name, "a valid config key must consist of alphanumeric characters, '-', '_' or '.'");
        if (proa_str_eq_c(name, "."))
            return fail_key(call, name, "must not be '.'");
        if (proa_str_starts_with(name, PROA_STR("..")))
            return fail_key(call, name, name.len == 2 ? "must not be '..'" : "must not start with '..'");
    }
    return 0;
}

static int admit_config_map(struct call *call, tree *before, tree *root)
{
    if (check_text_map(call, yyjson_mut_obj_get(root, "data"), "ConfigMap.data", "string") < 0 ||
        check_data_keys(call, root) < 0)
        return -1;
    return check_immutable(call, before, root);
}

static int check_base64(struct call *call, tree *data)
{
    static const char more[] = "+/=\r\n";
    yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(data);

    for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
        proa_str text = tree_text(yyjson_mut_obj_iter_get_val(key));
        struct proa_buf out;
        size_t at = 0;

        proa_buf_init(&out, call->arena, 0);
        if (!text.len || proa_base64_decode(&out, text) == 0)
            continue;
        while (at < text.len && (memchr(more, text.ptr[at], sizeof more - 1) || is_alphanumeric(text.ptr[at])))
            at++;
        return fail_call(call, 400, "BadRequest", "illegal base64 data at input byte %zu", at);
    }
    return 0;
}

static int admit_secret(struct call *call, yyjson_mut_doc *doc, tree *before, tree *root)
{
    tree *plain = yyjson_mut_obj_get(root, "stringData");
    yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(plain);

    if (check_text_map(call, yyjson_mut_obj_get(root, "data"), "Secret.data", "[]uint8") < 0 ||
        check_text_map(call, plain, "Secret.stringData", "string") < 0 ||
        check_base64(call, yyjson_mut_obj_get(root, "data")) < 0)
        return -1;
    for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
        struct proa_buf out;

        proa_buf_init(&out, call->arena, 0);
        proa_base64_encode(&out, tree_text(yyjson_mut_obj_iter_get_val(key)));
        tree_set_str(doc, tree_object(doc, root, "data"), tree_text(key), tree_strn(doc, proa_buf_str(&out)));
    }
    tree_remove(root, PROA_STR("stringData"));
    if (!tree_text(yyjson_mut_obj_get(root, "type")).len)
        tree_set_text(doc, root, "type", PROA_STR("Opaque"));
    if (before && !tree_equal(yyjson_mut_obj_get(before, "type"), yyjson_mut_obj_get(root, "type")))
        return fail_invalid(call, "FieldValueInvalid", "type", "Invalid value: \"" PROA_FMT "\": field is immutable",
                            PROA_ARG(tree_text(yyjson_mut_obj_get(root, "type"))));
    if (check_data_keys(call, root) < 0)
        return -1;
    return check_immutable(call, before, root);
}

static void admit_namespace(yyjson_mut_doc *doc, tree *root)
{
    tree *labels = tree_object(doc, tree_object(doc, root, "metadata"), "labels");

    tree_set_text(doc, labels, "kubernetes.io/metadata.name", meta_text(root, "name"));
    if (!yyjson_mut_obj_get(root, "status"))
        tree_set_text(doc, tree_object(doc, root, "status"), "phase", PROA_STR("Active"));
}

static int check_stateful_set(struct call *call, tree *before, tree *root)
{
    static const char *const may_change[] = {"replicas",
                                             "ordinals",
                                             "template",
                                             "updateStrategy",
                                             "revisionHistoryLimit",
                                             "minReadySeconds",
                                             "persistentVolumeClaimRetentionPolicy"};
    tree *const sides[] = {tree_at(before, PROA_STR("spec")), tree_at(root, PROA_STR("spec"))};

    for (size_t side = 0; side < 2; side++) {
        yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(sides[side]);

        for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
            bool may = false;

            for (size_t i = 0; i < PROA_COUNT(may_change); i++)
                may |= proa_str_eq_c(tree_text(key), may_change[i]);
            if (!may && !tree_equal(yyjson_mut_obj_iter_get_val(key), tree_get(sides[!side], tree_text(key))))
                return fail_invalid(
                    call, "FieldValueForbidden", "spec",
                    "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', "
                    "'template', 'updateStrategy', 'revisionHistoryLimit', "
                    "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
        }
    }
    return 0;
}

static int check_claim(struct call *call, tree *before, tree *root)
{
    tree *const sides[] = {tree_at(before, PROA_STR("spec")), tree_at(root, PROA_STR("spec"))};

    for (size_t side = 0; side < 2; side++) {
        yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(sides[side]);

        for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter)) {
            proa_str name = tree_text(key);
            /* A claim gets its volume once. */
            bool may = proa_str_eq_c(name, "resources") || proa_str_eq_c(name, "volumeAttributesClassName") ||
                       (proa_str_eq_c(name, "volumeName") && !tree_get(sides[0], name));

            if (!may && !tree_equal(yyjson_mut_obj_iter_get_val(key), tree_get(sides[!side], name)))
                return fail_invalid(call, "FieldValueForbidden", "spec",
                                    "Forbidden: spec is immutable after creation except resources.requests and "
                                    "volumeAttributesClassName for bound claims");
        }
    }
    return 0;
}

static int check_role_binding(struct call *call, tree *before, tree *root)
{
    if (tree_equal(yyjson_mut_obj_get(before, "roleRef"), yyjson_mut_obj_get(root, "roleRef")))
        return 0;
    return fail_invalid(call, "FieldValueInvalid", "roleRef", "Invalid value: cannot change roleRef");
}

int builtin_admit(struct call *call, yyjson_mut_doc *doc, tree *before, tree *root)
{
    if (call->kind->is_custom)
        return 0;
    if (is_kind(call, &proa_kube_secrets))
        return admit_secret(call, doc, before, root);
    if (is_kind(call, &proa_kube_config_maps))
        return admit_config_map(call, before, root);
    if (is_kind(call, &proa_kube_namespaces))
        admit_namespace(doc, root);
    if (is_kind(call, &proa_kube_crds))
        schema_establish(call->kube, doc, root);
    if (before && is_kind(call, &proa_kube_stateful_sets))
        return check_stateful_set(call, before, root);
    if (before && is_kind(call, &proa_kube_claims))
        return check_claim(call, before, root);
    if (before && is_kind(call, &proa_kube_role_bindings))
        return check_role_binding(call, before, root);
    return 0;
}

/* Which lists are sets or maps with keys, and which maps are one value: by the schema of a custom kind, else by the
 * names that the built-in kinds give them. What is not known is as a schema that says nothing has it: maps are
 * granular, lists atomic. */
#include "sim_kube_internal.h"

#include <stdlib.h>

static const struct {
    const char *field;
    const char *keys[SHAPE_KEYS_MAX]; /* none: a set */
    const char *has;                  /* only where the items have this member */
    const char *kind;                 /* only in this kind; NULL: any */
} lists[] = {
    {"containers", {"name"}, NULL, NULL},
    {"initContainers", {"name"}, NULL, NULL},
    {"ephemeralContainers", {"name"}, NULL, NULL},
    {"env", {"name"}, NULL, NULL},
    {"ports", {"containerPort", "protocol"}, "containerPort", NULL},
    {"ports", {"port", "protocol"}, NULL, "Service"},
    {"volumes", {"name"}, NULL, NULL},
    {"volumeMounts", {"mountPath"}, NULL, NULL},
    {"volumeDevices", {"devicePath"}, NULL, NULL},
    {"imagePullSecrets", {"name"}, NULL, NULL},
    {"secrets", {"name"}, NULL, "ServiceAccount"},
    {"hostAliases", {"ip"}, NULL, NULL},
    {"topologySpreadConstraints", {"topologyKey", "whenUnsatisfiable"}, NULL, NULL},
    {"ownerReferences", {"uid"}, NULL, NULL},
    {"finalizers", {NULL}, NULL, NULL},
    {"conditions", {"type"}, NULL, NULL},
    {"addresses", {"type"}, NULL, "Node"},
};

static const char *const atomic_maps[] = {
    "selector",
    "labelSelector",
    "podSelector",
    "namespaceSelector",
    "nodeSelector",
    "fieldRef",
    "resourceFieldRef",
    "secretKeyRef",
    "configMapKeyRef",
    "roleRef",
    "secretRef",
    "configMapRef",
    "claimRef",
    "reference",
    "dataSource",
    "series",
    "regarding",
    "related",
    "ownerReferences" /* each of them */,
};

static bool is_preserving(yyjson_val *schema)
{
    return yyjson_is_true(yyjson_obj_get(schema, "x-kubernetes-preserve-unknown-fields"));
}

struct shape shape_root(const struct sim_kind *kind)
{
    return (struct shape){.kind = kind, .schema = kind->schema_doc ? yyjson_doc_get_root(kind->schema_doc) : NULL};
}

struct shape shape_member(const struct shape *shape, proa_str name)
{
    struct shape member = {.kind = shape->kind, .field = name, .depth = shape->depth + 1};

    if (shape->schema && !(shape->depth == 0 && proa_str_eq_c(name, "metadata"))) {
        member.schema = value_get(yyjson_obj_get(shape->schema, "properties"), name);
        if (!member.schema)
            member.schema = yyjson_obj_get(shape->schema, "additionalProperties");
        if (!yyjson_is_obj(member.schema))
            member.schema = NULL;
        /* Nothing known below: no names of built-in kinds either. */
        if (!member.schema)
            member.field = PROA_STR("");
    }
    return member;
}

struct shape shape_item(const struct shape *shape)
{
    struct shape item = {.kind = shape->kind, .field = shape->field, .depth = shape->depth + 1};

    item.schema = shape->schema ? yyjson_obj_get(shape->schema, "items") : NULL;
    return item;
}

bool shape_is_atomic(const struct shape *shape)
{
    if (shape->schema)
        return proa_str_eq_c(value_text(yyjson_obj_get(shape->schema, "x-kubernetes-map-type")), "atomic") &&
               !is_preserving(shape->schema);
    for (size_t i = 0; i < PROA_COUNT(atomic_maps); i++)
        if (proa_str_eq_c(shape->field, atomic_maps[i]))
            return true;
    return false;
}

static void schema_list(yyjson_val *schema, struct list_keys *ret_keys)
{
    proa_str type = value_text(yyjson_obj_get(schema, "x-kubernetes-list-type"));
    yyjson_val *names = yyjson_obj_get(schema, "x-kubernetes-list-map-keys"), *name;
    yyjson_arr_iter iter = yyjson_arr_iter_with(names);

    if (proa_str_eq_c(type, "set"))
        ret_keys->shape = LIST_SET;
    if (!proa_str_eq_c(type, "map"))
        return;
    ret_keys->shape = LIST_MAP;
    while ((name = yyjson_arr_iter_next(&iter)) && ret_keys->count < SHAPE_KEYS_MAX)
        ret_keys->names[ret_keys->count++] = value_text(name);
}

void shape_list(const struct shape *shape, tree *list, struct list_keys *ret_keys)
{
    *ret_keys = (struct list_keys){0};
    if (shape->schema) {
        schema_list(shape->schema, ret_keys);
        return;
    }
    for (size_t i = 0; i < PROA_COUNT(lists); i++) {
        if (!proa_str_eq_c(shape->field, lists[i].field) ||
            (lists[i].kind && !proa_str_eq_c(proa_str_c(lists[i].kind), shape->kind->names.kind)))
            continue;
        if (lists[i].has && !yyjson_mut_obj_get(yyjson_mut_arr_get_first(list), lists[i].has))
            continue;
        ret_keys->shape = lists[i].keys[0] ? LIST_MAP : LIST_SET;
        while (ret_keys->count < SHAPE_KEYS_MAX && lists[i].keys[ret_keys->count]) {
            ret_keys->names[ret_keys->count] = proa_str_c(lists[i].keys[ret_keys->count]);
            ret_keys->count++;
        }
        return;
    }
}

static proa_str to_json(struct proa_arena *arena, const char *prefix, tree *value)
{
    size_t len;
    char *text = tree_write(value, &len);
    proa_str out = {NULL, 0};

    if (text)
        out = proa_arena_printf(arena, "%s%.*s", prefix, (int)len, text);
    free(text);
    return out;
}

proa_str shape_element(struct proa_arena *arena, const struct list_keys *keys, tree *item)
{
    yyjson_mut_doc *doc;
    proa_str element;
    tree *object;

    if (keys->shape == LIST_SET)
        return to_json(arena, "v:", item);
    if (!yyjson_mut_is_obj(item) || !(doc = yyjson_mut_doc_new(NULL)))
        return (proa_str){NULL, 0};
    object = yyjson_mut_obj(doc);
    for (size_t i = 0; i < keys->count; i++) {
        tree *value = tree_get(item, keys->names[i]);

        /* The only default among the built-in kinds' keys. */
        if (!value && proa_str_eq_c(keys->names[i], "protocol"))
            value = yyjson_mut_str(doc, "TCP");
        yyjson_mut_obj_add(object, tree_strn(doc, keys->names[i]),
                           value ? yyjson_mut_val_mut_copy(doc, value) : yyjson_mut_null(doc));
    }
    element = to_json(arena, "k:", object);
    yyjson_mut_doc_free(doc);
    return element;
}

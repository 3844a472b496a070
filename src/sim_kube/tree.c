/* JSON trees by yyjson, with what objects of Kubernetes need. */
#include "sim_kube_internal.h"

#include <string.h>

tree *tree_strn(yyjson_mut_doc *doc, proa_str text)
{
    return yyjson_mut_strncpy(doc, text.ptr ? text.ptr : "", text.len);
}

void tree_set_str(yyjson_mut_doc *doc, tree *object, proa_str name, tree *value)
{
    yyjson_mut_obj_iter iter = yyjson_mut_obj_iter_with(object);

    if (!value) {
        tree_remove(object, name);
        return;
    }
    /* In its place, so that members keep their order. */
    for (tree *key = yyjson_mut_obj_iter_next(&iter); key; key = yyjson_mut_obj_iter_next(&iter))
        if (proa_str_eq(tree_text(key), name)) {
            tree *old = yyjson_mut_obj_iter_get_val(key), *next = old->next;

            *old = *value;
            old->next = next;
            return;
        }
    yyjson_mut_obj_add(object, tree_strn(doc, name), value);
}

void tree_set(yyjson_mut_doc *doc, tree *object, const char *name, tree *value)
{
    tree_set_str(doc, object, proa_str_c(name), value);
}

void tree_set_text(yyjson_mut_doc *doc, tree *object, const char *name, proa_str value)
{
    tree_set(doc, object, name, tree_strn(doc, value));
}

void tree_remove(tree *object, proa_str name)
{
    if (yyjson_mut_is_obj(object))
        yyjson_mut_obj_remove_keyn(object, name.ptr, name.len);
}

tree *tree_object(yyjson_mut_doc *doc, tree *parent, const char *name)
{
    tree *found = yyjson_mut_obj_get(parent, name);

    if (yyjson_mut_is_obj(found))
        return found;
    tree_set(doc, parent, name, yyjson_mut_obj(doc));
    return yyjson_mut_obj_get(parent, name);
}

static bool next_name(proa_str *path, proa_str *ret_name)
{
    while (path->len > 0 && path->ptr[0] == '.')
        *path = proa_str_slice(*path, 1, path->len);
    return path->len > 0 && proa_str_split(path, '.', ret_name);
}

yyjson_val *value_at(yyjson_val *root, proa_str path)
{
    proa_str name;

    while (root && next_name(&path, &name))
        root = value_get(root, name);
    return root;
}

tree *tree_at(tree *root, proa_str path)
{
    proa_str name;

    while (root && next_name(&path, &name))
        root = tree_get(root, name);
    return root;
}

void tree_set_at(yyjson_mut_doc *doc, tree *root, proa_str path, tree *value)
{
    proa_str name, next;

    if (!next_name(&path, &name))
        return;
    while (next_name(&path, &next)) {
        tree *below = tree_get(root, name);

        if (!yyjson_mut_is_obj(below)) {
            tree_set_str(doc, root, name, yyjson_mut_obj(doc));
            below = tree_get(root, name);
        }
        root = below;
        name = next;
    }
    tree_set_str(doc, root, name, value);
}

bool tree_equal(tree *a, tree *b)
{
    return a == b || (a && b && yyjson_mut_equals(a, b));
}

char *tree_write(tree *root, size_t *ret_len)
{
    return yyjson_mut_val_write(root, 0, ret_len);
}

proa_str meta_text(tree *root, const char *name)
{
    return tree_text(yyjson_mut_obj_get(yyjson_mut_obj_get(root, "metadata"), name));
}

proa_str meta_value(yyjson_val *root, const char *name)
{
    return value_text(yyjson_obj_get(yyjson_obj_get(root, "metadata"), name));
}

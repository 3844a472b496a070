/* Merge patches (RFC 7396) and JSON patches (RFC 6902). */
#include "sim_kube_internal.h"

int patch_merge(struct call *call, yyjson_mut_doc *doc, yyjson_val *patch)
{
    tree *mutable = yyjson_val_mut_copy(doc, patch), *merged;

    if (!yyjson_is_obj(patch))
        return fail_call(call, 400, "BadRequest", "error decoding patch: json: cannot unmarshal into map");
    merged = yyjson_mut_merge_patch(doc, yyjson_mut_doc_get_root(doc), mutable);
    if (!merged)
        return fail_memory(call);
    yyjson_mut_doc_set_root(doc, merged);
    return 0;
}

struct step {
    proa_str op, path, from;
    yyjson_val *value;
};

static bool unescape(struct proa_arena *arena, proa_str token, proa_str *ret_name)
{
    struct proa_buf out;

    proa_buf_init(&out, arena, 0);
    for (size_t i = 0; i < token.len; i++) {
        char c = token.ptr[i];

        if (c == '~') {
            if (++i == token.len || (token.ptr[i] != '0' && token.ptr[i] != '1'))
                return false;
            c = token.ptr[i] == '0' ? '~' : '/';
        }
        proa_buf_add_char(&out, c);
    }
    *ret_name = proa_buf_str(&out);
    if (!ret_name->ptr)
        *ret_name = PROA_STR("");
    return true;
}

/* The parent of what a pointer names, and the last token; NULL when there is none. */
static tree *find_parent(struct call *call, tree *root, proa_str path, proa_str *ret_last)
{
    proa_str token, name;

    if (path.len == 0 || path.ptr[0] != '/')
        return NULL;
    path = proa_str_slice(path, 1, path.len);
    for (;;) {
        bool more = proa_str_find_char(path, '/') >= 0;
        uint64_t index;

        if (!more)
            token = path;
        else
            (void)proa_str_split(&path, '/', &token);
        if (!unescape(call->arena, token, &name))
            return NULL;
        if (!more) {
            *ret_last = name;
            return root;
        }
        if (yyjson_mut_is_arr(root))
            root = proa_str_to_u64(name, &index) == 0 ? yyjson_mut_arr_get(root, index) : NULL;
        else
            root = tree_get(root, name);
        if (!root)
            return NULL;
    }
}

static tree *look(tree *parent, proa_str last)
{
    uint64_t index;

    if (yyjson_mut_is_arr(parent))
        return proa_str_to_u64(last, &index) == 0 ? yyjson_mut_arr_get(parent, index) : NULL;
    return tree_get(parent, last);
}

static bool add(yyjson_mut_doc *doc, tree *parent, proa_str last, tree *value)
{
    uint64_t index;

    if (yyjson_mut_is_obj(parent)) {
        tree_set_str(doc, parent, last, value);
        return true;
    }
    if (!yyjson_mut_is_arr(parent))
        return false;
    if (proa_str_eq_c(last, "-"))
        return yyjson_mut_arr_append(parent, value);
    return proa_str_to_u64(last, &index) == 0 && index <= yyjson_mut_arr_size(parent) &&
           yyjson_mut_arr_insert(parent, value, index);
}

static bool take(tree *parent, proa_str last)
{
    uint64_t index;

    if (!look(parent, last))
        return false;
    if (yyjson_mut_is_obj(parent)) {
        tree_remove(parent, last);
        return true;
    }
    return proa_str_to_u64(last, &index) == 0 && yyjson_mut_arr_remove(parent, index);
}

static int run_step(struct call *call, yyjson_mut_doc *doc, const struct step *step)
{
    tree *root = yyjson_mut_doc_get_root(doc), *value = yyjson_val_mut_copy(doc, step->value);
    proa_str last = {NULL, 0}, from_last = {NULL, 0};
    tree *parent = find_parent(call, root, step->path, &last);
    bool is_move = proa_str_eq_c(step->op, "move");
    bool done = false;

    if (proa_str_eq_c(step->op, "test")) {
        if (parent && tree_equal(look(parent, last), value))
            return 0;
        return fail_call(call, 422, "Invalid", "the server rejected our request due to an error in our request");
    }
    if (is_move || proa_str_eq_c(step->op, "copy")) {
        tree *from = find_parent(call, root, step->from, &from_last);

        value = from ? yyjson_mut_val_mut_copy(doc, look(from, from_last)) : NULL;
        if (value && is_move && !take(from, from_last))
            value = NULL;
        done = value && parent && add(doc, parent, last, value);
    } else if (proa_str_eq_c(step->op, "add")) {
        done = value && parent && add(doc, parent, last, value);
    } else if (proa_str_eq_c(step->op, "remove")) {
        done = parent && take(parent, last);
    } else if (proa_str_eq_c(step->op, "replace")) {
        done = value && parent && take(parent, last) && add(doc, parent, last, value);
    }
    if (done)
        return 0;
    return fail_call(call, 422, "Invalid", "the server rejected our request due to an error in our request");
}

int patch_json(struct call *call, yyjson_mut_doc *doc, yyjson_val *patch)
{
    yyjson_arr_iter iter = yyjson_arr_iter_with(patch);

    if (!yyjson_is_arr(patch))
        return fail_call(call, 400, "BadRequest",
                         "error decoding patch: json: cannot unmarshal object into JSON patch");
    for (yyjson_val *item = yyjson_arr_iter_next(&iter); item; item = yyjson_arr_iter_next(&iter)) {
        struct step step = {.op = value_text(yyjson_obj_get(item, "op")),
                            .path = value_text(yyjson_obj_get(item, "path")),
                            .from = value_text(yyjson_obj_get(item, "from")),
                            .value = yyjson_obj_get(item, "value")};

        if (run_step(call, doc, &step) < 0)
            return -1;
    }
    return 0;
}

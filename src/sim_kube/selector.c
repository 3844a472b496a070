/* Label selectors (equality and sets) and field selectors. */
#include "sim_kube_internal.h"

#include <string.h>

enum operator{ OP_EQ, OP_NE, OP_IN, OP_NOT_IN, OP_EXISTS, OP_ABSENT };

struct requirement {
    proa_str key;
    enum operator op;
    proa_str values; /* with commas */
};

/* Up to the next comma outside of brackets. */
static bool next_part(proa_str *rest, proa_str *ret_part)
{
    int depth = 0;
    size_t i = 0;

    if (rest->len == 0)
        return false;
    for (; i < rest->len; i++) {
        char c = rest->ptr[i];

        depth += c == '(' ? 1 : c == ')' ? -1 : 0;
        if (c == ',' && depth == 0)
            break;
    }
    *ret_part = proa_str_trim(proa_str_slice(*rest, 0, i));
    *rest = proa_str_slice(*rest, i + 1, rest->len);
    return true;
}

static bool is_key(proa_str text)
{
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!strchr("-._/", text.ptr[i]) && !(text.ptr[i] >= '0' && text.ptr[i] <= '9') &&
            !((text.ptr[i] | 32) >= 'a' && (text.ptr[i] | 32) <= 'z'))
            return false;
    return true;
}

static bool parse_set(proa_str part, struct requirement *ret_requirement)
{
    ptrdiff_t open = proa_str_find_char(part, '(');
    proa_str head = proa_str_trim(proa_str_slice(part, 0, (size_t)open)), word;
    ptrdiff_t space = proa_str_find_char(head, ' ');

    if (part.ptr[part.len - 1] != ')' || space < 0)
        return false;
    word = proa_str_trim(proa_str_slice(head, (size_t)space, head.len));
    *ret_requirement =
        (struct requirement){proa_str_slice(head, 0, (size_t)space), proa_str_eq_c(word, "notin") ? OP_NOT_IN : OP_IN,
                             proa_str_slice(part, (size_t)open + 1, part.len - 1)};
    return is_key(ret_requirement->key) && (proa_str_eq_c(word, "in") || proa_str_eq_c(word, "notin"));
}

static bool parse(proa_str part, struct requirement *ret_requirement)
{
    ptrdiff_t equal = proa_str_find_char(part, '=');
    size_t end;

    if (proa_str_find_char(part, '(') >= 0)
        return parse_set(part, ret_requirement);
    if (equal < 0) {
        bool is_not = part.len > 0 && part.ptr[0] == '!';

        *ret_requirement = (struct requirement){.key = proa_str_trim(proa_str_slice(part, is_not, part.len)),
                                                .op = is_not ? OP_ABSENT : OP_EXISTS};
        return is_key(ret_requirement->key);
    }
    end = (size_t)equal;
    ret_requirement->op = end > 0 && part.ptr[end - 1] == '!' ? OP_NE : OP_EQ;
    ret_requirement->key = proa_str_trim(proa_str_slice(part, 0, ret_requirement->op == OP_NE ? end - 1 : end));
    end++;
    if (end < part.len && part.ptr[end] == '=')
        end++;
    ret_requirement->values = proa_str_trim(proa_str_slice(part, end, part.len));
    return is_key(ret_requirement->key);
}

static bool matches(const struct requirement *requirement, proa_str value)
{
    proa_str rest = requirement->values, one;
    bool found = false;

    switch (requirement->op) {
    case OP_EXISTS: return value.ptr != NULL;
    case OP_ABSENT: return value.ptr == NULL;
    case OP_EQ: return value.ptr && proa_str_eq(value, requirement->values);
    case OP_NE: return !value.ptr || !proa_str_eq(value, requirement->values);
    case OP_IN:
    case OP_NOT_IN: break;
    }
    while (value.ptr && !found && proa_str_split(&rest, ',', &one))
        found = proa_str_eq(value, proa_str_trim(one));
    return found == (requirement->op == OP_IN);
}

static bool has_field(const struct sim_kind *kind, proa_str name)
{
    if (proa_str_eq_c(name, "metadata.name") || (proa_str_eq_c(name, "metadata.namespace")))
        return true;
    for (size_t i = 0; kind->fields[i]; i++)
        if (proa_str_eq_c(name, kind->fields[i]))
            return true;
    return false;
}

int selectors_read(struct call *call, struct selectors *ret_selectors)
{
    struct selectors selectors = {call_query(call, "labelSelector"), call_query(call, "fieldSelector")};
    proa_str rest = selectors.labels, part;
    struct requirement requirement;

    while (next_part(&rest, &part))
        if (!parse(part, &requirement))
            return fail_call(call, 400, "BadRequest", "unable to parse requirement: \"" PROA_FMT "\"", PROA_ARG(part));
    rest = selectors.fields;
    while (next_part(&rest, &part)) {
        if (!parse(part, &requirement) || requirement.op > OP_NE)
            return fail_call(call, 400, "BadRequest",
                             "invalid selector: '" PROA_FMT "'; can't understand '" PROA_FMT "'",
                             PROA_ARG(selectors.fields), PROA_ARG(part));
        if (!has_field(call->kind, requirement.key))
            return fail_call(call, 400, "BadRequest", "field label not supported: " PROA_FMT,
                             PROA_ARG(requirement.key));
    }
    *ret_selectors = selectors;
    return 0;
}

bool selectors_match(const struct selectors *selectors, const struct sim_snapshot *snapshot)
{
    yyjson_val *root = snapshot_root(snapshot);
    yyjson_val *labels = yyjson_obj_get(yyjson_obj_get(root, "metadata"), "labels");
    proa_str rest = selectors->labels, part;
    struct requirement requirement;

    while (next_part(&rest, &part))
        if (parse(part, &requirement) && !matches(&requirement, value_text(value_get(labels, requirement.key))))
            return false;
    rest = selectors->fields;
    while (next_part(&rest, &part)) {
        proa_str value;

        if (!parse(part, &requirement))
            continue;
        value = value_text(value_at(root, requirement.key));
        if (!value.ptr)
            value = PROA_STR("");
        if (!matches(&requirement, value))
            return false;
    }
    return true;
}

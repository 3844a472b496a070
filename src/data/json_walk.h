/** The members of a JSON object beside a description: what reading and merging have in common. Names that the
 *  description does not know and members that are given twice are dealt with on the way; the walk stops at each of the
 *  others. */
#ifndef PROA_DATA_JSON_WALK_H
#define PROA_DATA_JSON_WALK_H

#include "data_internal.h"

#include <yyjson.h>

struct json_walk {
    struct rules *rules;
    const struct proa_type *type;
    yyjson_val *object;
    yyjson_obj_iter it;
    int depth;
    uint32_t hint;
    uint64_t seen;
    bool has_ignored;
    bool has_doubled;
    /* The present one: */
    const struct proa_field *field;
    uint64_t bit; /* by its place in the description */
    yyjson_val *member;
    struct value_path *below; /* the caller's: the rest stays in registers */
};

/** `depth` is the level of the object, `below` room for the way to its members. @returns false, having said why, when
 *  it is none, or too deep. */
static inline bool json_walk_begin(struct json_walk *walk, struct rules *rules, const struct proa_type *type,
                                   yyjson_val *object, const struct value_path *path, int depth,
                                   struct value_path *below)
{
    if (!yyjson_is_obj(object)) {
        rule_broken(rules, path, "type", "must be an object");
        return false;
    }
    if (json_too_deep(rules, path, depth))
        return false;
    *below = (struct value_path){.up = path};
    *walk = (struct json_walk){.rules = rules, .type = type, .object = object, .depth = depth, .below = below};
    walk->it = yyjson_obj_iter_with(object);
    return true;
}

static inline void json_walk_unknown(struct json_walk *walk)
{
    if (walk->type->unknown == PROA_UNKNOWN_REJECT && !(walk->rules->flags & PROA_JSON_LENIENT)) {
        rule_broken(walk->rules, walk->below, "unknown", "is not known here");
        return;
    }
    walk->has_ignored = true;
    json_check_tree(walk->rules, walk->member, walk->below, walk->depth + 1);
}

/** The next member that the description has. @returns false at the end. */
static inline bool json_walk_next(struct json_walk *walk)
{
    uint32_t hint = walk->hint;
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&walk->it))) {
        walk->member = yyjson_obj_iter_get_val(key);
        walk->below->key = json_string(key);
        walk->field = proa_type_find(walk->type, walk->below->key, &hint);
        if (!walk->field) {
            json_walk_unknown(walk);
            continue;
        }
        walk->bit = UINT64_C(1) << (walk->field - walk->type->fields);
        if (!(walk->seen & walk->bit)) {
            walk->seen |= walk->bit;
            walk->hint = hint;
            return true;
        }
        walk->has_doubled = true;
        rule_broken(walk->rules, walk->below, "duplicate", "is given twice");
    }
    /* Doubled members that the description knows are found above, the others here. */
    if (walk->has_ignored && !walk->has_doubled)
        json_check_keys(walk->rules, walk->object, walk->below->up);
    return false;
}

#endif

/* Walking configuration structs and finding settings by name. */
#include "config_walk.h"

#include <ctype.h>
#include <proa/json.h>
#include <proa/yaml.h>
#include <stdio.h>

struct walk {
    int (*visit)(void *arg, const struct config_leaf *leaf);
    void *arg;
};

/* Appends `name` to a dotted path; false when it does not fit. */
static bool join(char *out, const char *prefix, proa_str name)
{
    int len = snprintf(out, CONFIG_NAME_MAX, "%s%s" PROA_FMT, prefix, *prefix ? "." : "", PROA_ARG(name));
    return len > 0 && len < CONFIG_NAME_MAX;
}

static void name_leaf(struct config_leaf *leaf)
{
    size_t i;

    if (leaf->field->flag) {
        snprintf(leaf->flag, sizeof leaf->flag, "%s", leaf->field->flag);
    } else {
        for (i = 0; leaf->path[i]; i++)
            leaf->flag[i] = leaf->path[i] == '_' ? '-' : leaf->path[i];
        leaf->flag[i] = '\0';
    }
    if (leaf->field->env) {
        snprintf(leaf->env, sizeof leaf->env, "%s", leaf->field->env);
    } else {
        for (i = 0; leaf->path[i]; i++)
            leaf->env[i] = leaf->path[i] == '.' ? '_' : (char)toupper((unsigned char)leaf->path[i]);
        leaf->env[i] = '\0';
    }
}

static int walk_type(const struct walk *walk, const struct proa_type *type, void *value, const char *prefix, int depth)
{
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct proa_field *field = &type->fields[i];
        struct config_leaf leaf = {.field = field, .struct_ptr = value};

        if (!join(leaf.path, prefix, proa_field_name(field)))
            return PROA_ETOOLARGE;
        if (field->kind == PROA_OBJECT && field->container == PROA_SINGLE && !field->optional) {
            if (depth == CONFIG_DEPTH_MAX)
                return PROA_ETOOLARGE;
            PROA_TRY(walk_type(walk, field->type, (char *)value + field->offset, leaf.path, depth + 1));
            continue;
        }
        name_leaf(&leaf);
        int rc = walk->visit(walk->arg, &leaf);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int config_walk(const struct proa_config_part *parts, size_t count,
                int (*visit)(void *arg, const struct config_leaf *leaf), void *arg)
{
    struct walk walk = {visit, arg};

    for (size_t i = 0; i < count; i++) {
        int rc = walk_type(&walk, parts[i].type, parts[i].value, "", 0);
        if (rc != 0)
            return rc;
    }
    return 0;
}

struct search {
    enum config_name by;
    proa_str name;
    struct config_leaf *found;
    char *nearest;
    size_t distance;
};

static const char *name_of(const struct config_leaf *leaf, enum config_name by)
{
    return by == CONFIG_BY_FLAG ? leaf->flag : leaf->path;
}

static int visit_find(void *arg, const struct config_leaf *leaf)
{
    struct search *search = arg;

    if (!proa_str_eq_c(search->name, name_of(leaf, search->by)))
        return 0;
    *search->found = *leaf;
    return 1;
}

bool config_find(const struct proa_config_part *parts, size_t count, enum config_name by, proa_str name,
                 struct config_leaf *ret_leaf)
{
    struct search search = {.by = by, .name = name, .found = ret_leaf};

    return config_walk(parts, count, visit_find, &search) == 1;
}

/* Edit distance (Levenshtein) of two short names. */
static size_t distance(proa_str a, proa_str b)
{
    size_t row[CONFIG_NAME_MAX + 1];

    if (a.len > CONFIG_NAME_MAX || b.len > CONFIG_NAME_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t above = row[j];
            size_t best = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);

            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = above;
            row[j] = best;
        }
    }
    return row[b.len];
}

static int visit_nearest(void *arg, const struct config_leaf *leaf)
{
    struct search *search = arg;
    const char *name = name_of(leaf, search->by);
    size_t d = distance(search->name, proa_str_c(name));

    if (d < search->distance) {
        search->distance = d;
        snprintf(search->nearest, CONFIG_NAME_MAX, "%s", name);
    }
    return 0;
}

void config_nearest(const struct proa_config_part *parts, size_t count, enum config_name by, proa_str name,
                    char *ret_nearest)
{
    /* Farther than a third of the name is another name, not a typing error. */
    struct search search = {.by = by, .name = name, .nearest = ret_nearest, .distance = name.len / 3 + 2};

    ret_nearest[0] = '\0';
    (void)config_walk(parts, count, visit_nearest, &search);
}

const char *config_env(char *const *env, const char *name)
{
    size_t len = strlen(name);

    for (; env && *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

bool config_flag(const struct proa_config_source *source, const struct config_leaf *leaf, proa_str *ret_value)
{
    bool found = false;

    for (int i = 1; i < source->argc; i++) {
        proa_str arg = proa_str_c(source->argv[i]);
        proa_str name, value = {NULL, 0};
        ptrdiff_t equals;

        if (!proa_str_starts_with(arg, PROA_STR("--")))
            continue;
        name = proa_str_slice(arg, 2, arg.len);
        equals = proa_str_find_char(name, '=');
        if (equals >= 0) {
            value = proa_str_slice(name, (size_t)equals + 1, name.len);
            name = proa_str_slice(name, 0, (size_t)equals);
        }
        if (leaf->field->kind == PROA_BOOLEAN && leaf->field->container == PROA_SINGLE) {
            if (proa_str_starts_with(name, PROA_STR("no-")) &&
                proa_str_eq_c(proa_str_slice(name, 3, name.len), leaf->flag)) {
                *ret_value = PROA_STR("false");
                found = true;
            } else if (proa_str_eq_c(name, leaf->flag)) {
                *ret_value = value.ptr ? value : PROA_STR("true");
                found = true;
            }
        } else if (proa_str_eq_c(name, leaf->flag)) {
            if (!value.ptr && i + 1 < source->argc)
                value = proa_str_c(source->argv[++i]);
            *ret_value = value;
            found = true;
        }
    }
    return found;
}

/* An object of any members, each as JSON text; wrapped so that a description can read it. */
struct any_object {
    PROA_MAP_OF(proa_str) members;
};
PROA_DESCRIBE(any_object, (members, map(raw)));

int config_members(struct proa_arena *arena, proa_str json, struct config_member **ret_members, size_t *ret_count,
                   struct proa_error *err)
{
    struct any_object object;
    struct config_member *members;
    proa_str wrapped = proa_arena_printf(arena, "{\"members\":" PROA_FMT "}", PROA_ARG(json));

    if (!wrapped.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(proa_json_read(arena, wrapped, 0, &any_object_type, &object, err));
    members = proa_arena_calloc(arena, object.members.len + 1, sizeof *members);
    if (!members)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    for (size_t i = 0; i < object.members.len; i++)
        members[i] = (struct config_member){object.members.ptr[i].key, object.members.ptr[i].value};
    *ret_members = members;
    *ret_count = object.members.len;
    return 0;
}

int config_file_json(struct proa_arena *arena, const struct proa_config_source *source, proa_str *ret_json,
                     struct proa_error *err)
{
    *ret_json = PROA_STR("{}");
    if (!source->file.ptr)
        return 0;
    if (proa_yaml_to_json(arena, source->file, ret_json, err) < 0)
        return proa_error_wrap(err, "%s", source->file_name);
    if (proa_str_eq_c(*ret_json, "null"))
        *ret_json = PROA_STR("{}");
    return 0;
}

bool config_file_has(struct proa_arena *arena, proa_str json, const char *path)
{
    proa_str rest = proa_str_c(path);
    proa_str key;

    while (proa_str_split(&rest, '.', &key)) {
        struct config_member *members;
        size_t count, i;

        if (config_members(arena, json, &members, &count, NULL) < 0)
            return false;
        for (i = 0; i < count && !proa_str_eq(members[i].key, key); i++)
            ;
        if (i == count)
            return false;
        json = members[i].json;
    }
    return true;
}

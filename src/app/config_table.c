/* The table of settings, and finding settings by name. */
#include "config_table.h"

struct builder {
    struct proa_arena *arena;
    struct config_leaf *leaves;
    size_t count;
    struct proa_error *err;
};

static char env_char(char c)
{
    if (c == '.' || c == '-')
        return '_';
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static char *renamed(struct proa_arena *arena, proa_str path, bool is_env)
{
    char *out = proa_arena_alloc(arena, path.len + 1);

    if (!out)
        return NULL;
    for (size_t i = 0; i < path.len; i++)
        out[i] = is_env ? env_char(path.ptr[i]) : path.ptr[i] == '_' ? '-' : path.ptr[i];
    out[path.len] = '\0';
    return out;
}

static int add_leaf(struct builder *builder, const struct proa_field *field, void *struct_ptr, proa_str path)
{
    struct config_leaf *leaf = &builder->leaves[builder->count++];

    leaf->field = field;
    leaf->struct_ptr = struct_ptr;
    leaf->path = path.ptr;
    leaf->flag = field->flag ? field->flag : renamed(builder->arena, path, false);
    leaf->env = field->env ? field->env : renamed(builder->arena, path, true);
    return leaf->flag && leaf->env ? 0 : proa_fail(builder->err, PROA_ENOMEM, "memory is out");
}

static bool is_leaf(const struct proa_field *field)
{
    return field->kind != PROA_OBJECT || field->container != PROA_SINGLE || field->optional;
}

static size_t count_leaves(const struct proa_type *type, int depth)
{
    size_t count = 0;

    for (uint32_t i = 0; i < type->fields_count && depth <= CONFIG_DEPTH_MAX; i++)
        count += is_leaf(&type->fields[i]) ? 1 : count_leaves(type->fields[i].type, depth + 1);
    return count;
}

/* prefix.name */
static proa_str path_of(struct proa_arena *arena, proa_str prefix, proa_str name)
{
    size_t dot = prefix.len > 0;
    char *path = proa_arena_alloc(arena, prefix.len + dot + name.len + 1);

    if (!path)
        return proa_str_n(NULL, 0);
    if (dot) {
        memcpy(path, prefix.ptr, prefix.len);
        path[prefix.len] = '.';
    }
    memcpy(path + prefix.len + dot, name.ptr, name.len);
    path[prefix.len + dot + name.len] = '\0';
    return proa_str_n(path, prefix.len + dot + name.len);
}

static int add_type(struct builder *builder, const struct proa_type *type, void *value, proa_str prefix, int depth)
{
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct proa_field *field = &type->fields[i];
        proa_str path = path_of(builder->arena, prefix, proa_field_name(field));

        if (!path.ptr)
            return proa_fail(builder->err, PROA_ENOMEM, "memory is out");
        if (is_leaf(field)) {
            PROA_TRY(add_leaf(builder, field, value, path));
            continue;
        }
        if (depth == CONFIG_DEPTH_MAX)
            return proa_fail(builder->err, PROA_EINVAL, "configuration %s is nested too deeply", path.ptr);
        PROA_TRY(add_type(builder, field->type, (char *)value + field->offset, path, depth + 1));
    }
    return 0;
}

/* Bits of names that were seen. Few names share a bit: only those are compared, since a program starts with this. */
enum { SEEN_BITS = 2048, SEEN_WORDS = SEEN_BITS / 64 };
struct seen {
    uint64_t words[SEEN_WORDS];
};

/* Names differ in how they end, in their middle, or in length; what is before it is mostly a group's. */
static uint32_t seen_bit(const char *name)
{
    uint64_t end = 0, middle = 0;
    size_t len = strlen(name), bytes = len < sizeof end ? len : sizeof end;

    memcpy(&end, name + len - bytes, bytes);
    memcpy(&middle, name + (len - bytes) / 2, bytes);
    return (uint32_t)(((end ^ (middle << 23 | middle >> 41) ^ len) * UINT64_C(0x9e3779b97f4a7c15)) >> 32) % SEEN_BITS;
}

/* @returns whether a name with this one's bit was there. */
static bool see(struct seen *seen, const char *name)
{
    uint32_t index = seen_bit(name);
    uint64_t *word = &seen->words[index / 64], bit = UINT64_C(1) << index % 64;
    bool was_there = *word & bit;

    *word |= bit;
    return was_there;
}

static int check_name(const struct config_table *table, size_t index, struct proa_error *err)
{
    const struct config_leaf *a = &table->leaves[index];

    for (size_t i = 0; i < index; i++) {
        const struct config_leaf *b = &table->leaves[i];

        if (strcmp(a->path, b->path) == 0 || strcmp(a->flag, b->flag) == 0 || strcmp(a->env, b->env) == 0)
            return proa_fail(err, PROA_EINVAL, "configuration %s and %s have a name in common", b->path, a->path);
    }
    return 0;
}

static int check_names(const struct config_table *table, struct proa_error *err)
{
    struct seen paths = {0}, flags = {0}, envs = {0};

    for (size_t i = 0; i < table->count; i++) {
        const struct config_leaf *leaf = &table->leaves[i];
        bool is_path_seen = see(&paths, leaf->path), is_flag_seen = see(&flags, leaf->flag);

        if (see(&envs, leaf->env) || is_path_seen || is_flag_seen)
            PROA_TRY(check_name(table, i, err));
    }
    return 0;
}

int config_table_make(struct proa_arena *arena, const struct proa_config_part *parts, size_t count,
                      struct config_table *ret_table, struct proa_error *err)
{
    struct builder builder = {.arena = arena, .err = err};
    struct config_table table = {0};

    for (size_t i = 0; i < count; i++)
        table.count += count_leaves(parts[i].type, 0);
    table.leaves = proa_arena_calloc(arena, table.count + 1, sizeof *table.leaves);
    if (!table.leaves)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    builder.leaves = table.leaves;
    for (size_t i = 0; i < count; i++)
        PROA_TRY(add_type(&builder, parts[i].type, parts[i].value, proa_str_n(NULL, 0), 0));
    PROA_TRY(check_names(&table, err));
    *ret_table = table;
    return 0;
}

struct config_leaf *config_by_path(const struct config_table *table, proa_str path)
{
    for (size_t i = 0; i < table->count; i++)
        if (proa_str_eq_c(path, table->leaves[i].path))
            return &table->leaves[i];
    return NULL;
}

struct config_leaf *config_by_flag(const struct config_table *table, proa_str flag)
{
    for (size_t i = 0; i < table->count; i++)
        if (proa_str_eq_c(flag, table->leaves[i].flag))
            return &table->leaves[i];
    return NULL;
}

bool config_is_switch(const struct config_leaf *leaf)
{
    return leaf->field->kind == PROA_BOOLEAN && leaf->field->container == PROA_SINGLE;
}

enum { NAME_MAX_BYTES = 120 };

/* Edit distance (Levenshtein) of two short names. */
static size_t distance(proa_str a, proa_str b)
{
    size_t row[NAME_MAX_BYTES + 1];

    if (a.len > NAME_MAX_BYTES || b.len > NAME_MAX_BYTES)
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

/* A path's first objects, as many as `name` has. */
static proa_str objects_of(proa_str path, proa_str name)
{
    size_t len = 0, dots = 0;

    for (size_t i = 0; i < name.len; i++)
        dots += name.ptr[i] == '.';
    while (len < path.len && (path.ptr[len] != '.' || dots-- > 0))
        len++;
    return proa_str_slice(path, 0, len);
}

struct nearest {
    size_t distance;
    proa_str name;
};

static void consider(struct nearest *nearest, proa_str name, proa_str candidate, proa_str called)
{
    size_t d = distance(name, candidate);

    if (d < nearest->distance)
        *nearest = (struct nearest){d, called};
}

proa_str config_nearest(const struct config_table *table, bool by_flag, proa_str name)
{
    /* Farther than a third of the name is another name, not a typing error. */
    struct nearest nearest = {.distance = name.len / 3 + 2};

    for (size_t i = 0; i < table->count; i++) {
        proa_str flag = proa_str_c(table->leaves[i].flag), path = proa_str_c(table->leaves[i].path);
        proa_str called = by_flag ? flag : path, objects = objects_of(path, name);

        /* A renamed flag may be known by its path, and a path by the flag. */
        consider(&nearest, name, called, called);
        consider(&nearest, name, by_flag ? path : flag, called);
        if (!by_flag)
            consider(&nearest, name, objects, objects);
    }
    return nearest.name;
}

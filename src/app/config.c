/* Loading configuration: defaults, then the file, then the environment, then flags. All mistakes are collected. */
#include <proa/config.h>

#include "config_table.h"
#include <proa/json.h>

static bool is_required(const struct proa_field *field)
{
    return !field->optional && !field->default_json;
}

static void find_missing(struct config_reading *reading)
{
    for (size_t i = 0; i < reading->table->count; i++) {
        const struct config_leaf *leaf = &reading->table->leaves[i];

        if (leaf->origin != CONFIG_DEFAULT || !is_required(leaf->field))
            continue;
        reading->failed = true;
        proa_error_add_field(reading->err, PROA_EVALIDATION, proa_str_c(leaf->path), "required",
                             "%s must be given: --%s, %s%s or the file's %s", leaf->path, leaf->flag, leaf->env,
                             leaf->field->secret ? " (or its _FILE)" : "", leaf->path);
    }
}

/* Text lives as long as the arena and has a NUL behind it, wherever it came from. */
static bool own_text(struct proa_arena *arena, const struct config_leaf *leaf)
{
    const struct proa_field *field = leaf->field;
    char *member = (char *)leaf->struct_ptr + field->offset;
    proa_str *text = (proa_str *)(void *)((char *)leaf->struct_ptr + field->value_offset);
    size_t count = 1;

    if (field->kind != PROA_TEXT || field->container == PROA_DICTIONARY)
        return true;
    if (field->optional && *(enum proa_presence *)(void *)member != PROA_SET)
        return true;
    if (field->container == PROA_LIST) {
        struct {
            PROA_ARRAY_OF(proa_str) list;
        } *items = (void *)text;

        text = items->list.ptr;
        count = items->list.len;
    }
    for (size_t i = 0; i < count; i++) {
        text[i] = proa_arena_str(arena, text[i]);
        if (!text[i].ptr)
            return false;
    }
    return true;
}

int proa_config_load(struct proa_arena *arena, const struct proa_config_source *source,
                     const struct proa_config_part *parts, size_t count, struct proa_error *err)
{
    struct config_table table;
    struct config_reading reading = {.arena = arena, .source = source, .table = &table, .err = err};

    PROA_TRY(config_table_make(arena, parts, count, &table, err));
    for (size_t i = 0; i < count; i++)
        PROA_TRY(proa_type_defaults(arena, parts[i].type, parts[i].value, err));
    PROA_TRY(config_read_sources(&reading));
    find_missing(&reading);
    if (reading.failed)
        return PROA_EVALIDATION;
    for (size_t i = 0; i < count; i++)
        PROA_TRY(proa_validate_type(parts[i].type, parts[i].value, err));
    for (size_t i = 0; i < table.count; i++)
        if (!own_text(arena, &table.leaves[i]))
            return proa_fail(err, PROA_ENOMEM, "memory is out");
    return 0;
}

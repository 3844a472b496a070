/* Deep copies of described structs. */
#include "data_internal.h"

#include <proa/checked.h>
#include <string.h>

static int copy_struct(struct proa_arena *arena, const struct proa_type *type, char *value);

static int copy_value(struct proa_arena *arena, const struct proa_field *field, void *value)
{
    proa_str *text = value;

    switch (field->kind) {
    case PROA_TEXT:
    case PROA_RAW:
    case PROA_BYTES: *text = proa_arena_str(arena, *text); return text->ptr ? 0 : PROA_ENOMEM;
    case PROA_OBJECT: return copy_struct(arena, field->type, value);
    default: return 0;
    }
}

static int copy_slice(struct proa_arena *arena, const struct proa_field *field, struct slice_header *slice)
{
    size_t bytes;
    void *items;

    if (!proa_mul_size(slice->len, field->stride, &bytes) || !(items = proa_arena_alloc(arena, bytes)))
        return PROA_ENOMEM;
    if (slice->len)
        memcpy(items, slice->ptr, bytes);
    slice->ptr = items;
    for (size_t i = 0; i < slice->len; i++) {
        char *element = element_at(field, slice, i);

        if (field->container == PROA_DICTIONARY) {
            struct entry_header *entry = (void *)element;

            entry->key = proa_arena_str(arena, entry->key);
            if (!entry->key.ptr)
                return PROA_ENOMEM;
        }
        PROA_TRY(copy_value(arena, field, element_value(field, element)));
    }
    return 0;
}

static int copy_struct(struct proa_arena *arena, const struct proa_type *type, char *value)
{
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct proa_field *field = &type->fields[i];

        if (!is_set(field, value))
            continue;
        if (field->container != PROA_SINGLE)
            PROA_TRY(copy_slice(arena, field, (void *)(value + field->value_offset)));
        else
            PROA_TRY(copy_value(arena, field, value + field->value_offset));
    }
    return 0;
}

int proa_copy_type(struct proa_arena *arena, const struct proa_type *type, const void *value, void *ret_copy)
{
    char *copy = proa_arena_alloc(arena, type->size);

    if (!copy)
        return PROA_ENOMEM;
    memcpy(copy, value, type->size);
    PROA_TRY(copy_struct(arena, type, copy));
    memcpy(ret_copy, copy, type->size);
    return 0;
}

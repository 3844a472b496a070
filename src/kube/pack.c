/* The struct, then its lists and maps, then its texts: no byte between the texts, one allocation for all. */
#include "pack.h"

#include <proa/kube.h>
#include <string.h>

/* Lists and dictionaries as they lie in memory, see proa/type.h. */
struct slice {
    char *ptr;
    size_t len;
};

struct pack {
    const struct pack_shared *shared;
    size_t items, texts;       /* bytes */
    char *items_at, *texts_at; /* NULL while measuring */
};

static size_t align_up(size_t bytes)
{
    return (bytes + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
}

static void pack_text(struct pack *pack, proa_str *text)
{
    for (size_t i = 0; i < pack->shared->count; i++)
        if (proa_str_eq(pack->shared->texts[i], *text)) {
            if (pack->texts_at)
                *text = pack->shared->texts[i];
            return;
        }
    pack->texts += text->len;
    if (!pack->texts_at)
        return;
    if (text->len > 0)
        memcpy(pack->texts_at, text->ptr, text->len);
    text->ptr = pack->texts_at;
    pack->texts_at += text->len;
}

static void pack_struct(struct pack *pack, const struct proa_type *type, char *value);

static void pack_value(struct pack *pack, const struct proa_field *field, char *value)
{
    switch (field->kind) {
    case PROA_TEXT:
    case PROA_RAW:
    case PROA_BYTES: pack_text(pack, (proa_str *)(void *)value); break;
    case PROA_OBJECT: pack_struct(pack, field->type, value); break;
    default: break;
    }
}

static void pack_slice(struct pack *pack, const struct proa_field *field, struct slice *slice)
{
    size_t bytes = slice->len * field->stride;

    pack->items += align_up(bytes);
    if (pack->items_at) {
        char *to = pack->items_at;

        pack->items_at += align_up(bytes);
        if (bytes > 0)
            memcpy(to, slice->ptr, bytes);
        slice->ptr = slice->len ? to : NULL;
    }
    for (size_t i = 0; i < slice->len; i++) {
        char *element = slice->ptr + i * field->stride;

        if (field->container == PROA_DICTIONARY) {
            pack_text(pack, (proa_str *)(void *)element);
            element += sizeof(proa_str);
        }
        pack_value(pack, field, element);
    }
}

/* kubectl's copy of the whole object is nothing that a controller reads. */
static void drop_last_applied(struct proa_kube_meta *meta)
{
    for (size_t i = 0; i < meta->annotations.len; i++)
        if (proa_str_eq_c(meta->annotations.ptr[i].key, "kubectl.kubernetes.io/last-applied-configuration"))
            meta->annotations.ptr[i] = meta->annotations.ptr[--meta->annotations.len];
}

static void pack_struct(struct pack *pack, const struct proa_type *type, char *value)
{
    if (type == &proa_kube_meta_type.type)
        drop_last_applied((struct proa_kube_meta *)(void *)value);
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct proa_field *field = &type->fields[i];

        if (field->optional && *(enum proa_presence *)(void *)(value + field->offset) != PROA_SET)
            continue;
        if (field->container != PROA_SINGLE)
            pack_slice(pack, field, (struct slice *)(void *)(value + field->value_offset));
        else
            pack_value(pack, field, value + field->value_offset);
    }
}

size_t pack_bytes(const struct proa_type *type, void *value, const struct pack_shared *shared)
{
    struct pack pack = {.shared = shared};

    pack_struct(&pack, type, value);
    return align_up(type->size) + pack.items + pack.texts;
}

void pack_copy(const struct proa_type *type, void *value, const struct pack_shared *shared, void *out)
{
    struct pack pack = {.shared = shared};

    pack_struct(&pack, type, value);
    pack.items_at = (char *)out + align_up(type->size);
    pack.texts_at = pack.items_at + pack.items;
    memcpy(out, value, type->size);
    pack_struct(&pack, type, out);
}

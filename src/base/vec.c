/* Growing arrays. */
#include <proa/vec.h>

#include <assert.h>
#include <proa/checked.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ITEMS = 8 };

void proa_vec_init(struct proa_vec *vec, size_t item_bytes)
{
    *vec = (struct proa_vec){.item_bytes = item_bytes};
}

void proa_vec_done(struct proa_vec *vec)
{
    free(vec->items);
    proa_vec_init(vec, vec->item_bytes);
}

void *proa_vec_push(struct proa_vec *vec)
{
    void *item;

    assert(vec->item_bytes > 0);
    if (vec->len == vec->cap) {
        size_t cap = FIRST_ITEMS, bytes;
        void *items;

        if ((vec->cap && !proa_mul_size(vec->cap, 2, &cap)) || !proa_mul_size(cap, vec->item_bytes, &bytes))
            return NULL;
        items = realloc(vec->items, bytes);
        if (!items)
            return NULL;
        vec->items = items;
        vec->cap = cap;
    }
    item = (char *)vec->items + vec->len++ * vec->item_bytes;
    return memset(item, 0, vec->item_bytes);
}

void *proa_vec_at(const struct proa_vec *vec, size_t index)
{
    assert(index < vec->len);
    return (char *)vec->items + index * vec->item_bytes;
}

void proa_vec_remove(struct proa_vec *vec, size_t index)
{
    char *item = proa_vec_at(vec, index);

    memmove(item, item + vec->item_bytes, (vec->len - index - 1) * vec->item_bytes);
    vec->len--;
}

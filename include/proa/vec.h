/** A growing array of equal items on the heap. */
#ifndef PROA_VEC_H
#define PROA_VEC_H

#include <proa/defs.h>

PROA_BEGIN_DECLS

/** Zero-initialised is empty but for item_bytes, which init sets. Items are moved by memcpy when it grows. */
struct proa_vec {
    void *items;
    size_t len;
    size_t cap;
    size_t item_bytes;
};

void proa_vec_init(struct proa_vec *vec, size_t item_bytes);
void proa_vec_done(struct proa_vec *vec);
/** A zeroed new last item, or NULL when memory is out. Earlier item pointers become invalid. */
PROA_MUST_USE void *proa_vec_push(struct proa_vec *vec);
/** Item `index`, which must be below len (asserted). */
void *proa_vec_at(const struct proa_vec *vec, size_t index);
/** Removes keeping the order. */
void proa_vec_remove(struct proa_vec *vec, size_t index);

PROA_END_DECLS
#endif

/** Described structs in one exact piece of memory. */
#ifndef PROA_KUBE_PACK_H
#define PROA_KUBE_PACK_H

#include <proa/type.h>

/** Texts that stand in memory already and need no copy. */
struct pack_shared {
    const proa_str *texts;
    size_t count;
};

/** Bytes of the struct with all it points to. What is not to be kept (kubectl's last-applied-configuration) is dropped
 *  from it. */
size_t pack_bytes(const struct proa_type *type, void *value, const struct pack_shared *shared);
/** Copies it to `out`, aligned for pointers, of pack_bytes bytes. The shared texts' copies are taken from `shared`,
 *  whose texts may lie elsewhere than those that pack_bytes was given, but must read the same. */
void pack_copy(const struct proa_type *type, void *value, const struct pack_shared *shared, void *out);

#endif

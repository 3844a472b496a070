/** Listing as text, for lists of described objects and for watches. */
#ifndef PROA_KUBE_LIST_H
#define PROA_KUBE_LIST_H

#include "client_internal.h"

struct kube_list {
    const struct proa_kube_kind *kind;
    proa_str namespace_;
    proa_str label_selector, field_selector;
    uint32_t page; /* 0: 500 */
    /** The text is valid during the call. */
    int (*each)(void *arg, proa_str json);
    /** Of an object larger than item_bytes, which is left out: the beginning of its text. NULL: it ends the list. */
    int (*too_large)(void *arg, proa_str beginning);
    /** May be NULL. A continue token expired: the list begins anew. */
    int (*restart)(void *arg);
    void *arg;
    bool is_patient; /* waits when the API server asks to come again, as other calls do; a watch has its own back-off */
};
/** May suspend. *ret_version in the arena. */
int kube_list_pages(struct proa_kube *kube, struct proa_arena *arena, const struct kube_list *list,
                    proa_str *ret_version, struct proa_error *err);

#endif

/** A hash table of what embeds a node, in chains: for what there may be ten thousand of. */
#ifndef PROA_KUBE_TABLE_H
#define PROA_KUBE_TABLE_H

#include <proa/str.h>

struct table_node {
    struct table_node *next;
    uint32_t hash;
};
struct table {
    struct table_node **slots; /* NULL while nothing was ever added */
    uint32_t mask, count;
};

/** The first node that may have this hash: `for (node = table_first(…); node; node = node->next)`, comparing hashes and
 *  keys. */
static inline struct table_node *table_first(const struct table *table, uint32_t hash)
{
    return table->slots ? table->slots[hash & table->mask] : NULL;
}
/** Room for one more. @returns 0 or PROA_ENOMEM. */
PROA_MUST_USE int table_reserve(struct table *table);
/** After table_reserve. */
void table_add(struct table *table, struct table_node *node, uint32_t hash);
void table_remove(struct table *table, struct table_node *node);
/** Any node but those before `after` (NULL: the first); NULL at the end. Nothing may be added during a walk, and only
 *  nodes already passed be removed. */
struct table_node *table_next(const struct table *table, const struct table_node *after);
/** Frees the slots, not the nodes. */
void table_done(struct table *table);

/** "namespace/name" */
uint32_t table_hash_names(proa_str namespace_, proa_str name);

#endif

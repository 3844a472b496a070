/* The hash table of caches, work queues and events. */
#include "table.h"

#include <proa/error.h>
#include <stdlib.h>

enum { SLOTS_FIRST = 16 };

int table_reserve(struct table *table)
{
    uint32_t slots = table->slots ? table->mask + 1 : 0;
    uint32_t wanted = slots ? slots * 2 : SLOTS_FIRST;
    struct table_node **larger;

    if (table->count < slots)
        return 0;
    larger = calloc(wanted, sizeof(struct table_node *));
    if (!larger)
        return slots ? 0 : PROA_ENOMEM; /* longer chains will do */
    for (uint32_t i = 0; i < slots; i++)
        for (struct table_node *node = table->slots[i], *next; node; node = next) {
            next = node->next;
            node->next = larger[node->hash & (wanted - 1)];
            larger[node->hash & (wanted - 1)] = node;
        }
    free(table->slots);
    table->slots = larger;
    table->mask = wanted - 1;
    return 0;
}

void table_add(struct table *table, struct table_node *node, uint32_t hash)
{
    struct table_node **slot = &table->slots[hash & table->mask];

    node->hash = hash;
    node->next = *slot;
    *slot = node;
    table->count++;
}

void table_remove(struct table *table, struct table_node *node)
{
    struct table_node **at = &table->slots[node->hash & table->mask];

    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    node->next = NULL;
    table->count--;
}

struct table_node *table_next(const struct table *table, const struct table_node *after)
{
    uint32_t slot = 0;

    if (!table->slots)
        return NULL;
    if (after) {
        if (after->next)
            return after->next;
        slot = (after->hash & table->mask) + 1;
    }
    for (; slot <= table->mask; slot++)
        if (table->slots[slot])
            return table->slots[slot];
    return NULL;
}

void table_done(struct table *table)
{
    free(table->slots);
    *table = (struct table){0};
}

uint32_t table_hash_names(proa_str namespace_, proa_str name)
{
    uint64_t hash = proa_str_hash(name, proa_str_hash(namespace_, 0));

    return (uint32_t)(hash ^ (hash >> 32));
}

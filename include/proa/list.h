/** Intrusive doubly linked list with a head node. */
#ifndef PROA_LIST_H
#define PROA_LIST_H

#include <proa/defs.h>

struct proa_list {
    struct proa_list *next;
    struct proa_list *prev;
};

static inline void proa_list_init(struct proa_list *node)
{
    node->next = node->prev = node;
}

static inline bool proa_list_empty(const struct proa_list *head)
{
    return head->next == head;
}

/** Before the head's first element when given the head: push to the back. */
static inline void proa_list_push_back(struct proa_list *head, struct proa_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void proa_list_push_front(struct proa_list *head, struct proa_list *node)
{
    proa_list_push_back(head->next, node);
}

/** Unlinks and leaves the node pointing at itself, so that a second removal is harmless. */
static inline void proa_list_remove(struct proa_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    proa_list_init(node);
}

/** The first node, unlinked, or NULL. */
static inline struct proa_list *proa_list_pop_front(struct proa_list *head)
{
    struct proa_list *node = head->next;
    if (node == head)
        return NULL;
    head->next = node->next; /* not by proa_list_remove: so that analysers see the head change */
    node->next->prev = head;
    proa_list_init(node);
    return node;
}

#endif

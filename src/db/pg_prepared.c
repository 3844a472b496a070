/* The prepared statements of one connection: by text, with a bound. */
#include "pg_internal.h"

#include <stdlib.h>

void pg_prepared_name(uint32_t id, char name[static PG_NAME_MAX])
{
    size_t len;

    name[0] = 'p';
    len = proa_u64_text(id, name + 1);
    name[1 + len] = '\0';
}

struct pg_prepared *pg_prepared_find(struct pg_conn *conn, const char *text)
{
    struct pg_prepared *prepared = proa_map_get(conn->prepared, proa_str_c(text));

    if (prepared && prepared->node.next != &conn->prepared_used) {
        proa_list_remove(&prepared->node);
        proa_list_push_back(&conn->prepared_used, &prepared->node);
    }
    return prepared;
}

static void forget(struct pg_conn *conn, struct pg_prepared *prepared)
{
    (void)proa_map_remove(conn->prepared, proa_str_c(prepared->text));
    proa_list_remove(&prepared->node);
    free(prepared);
}

struct pg_prepared *pg_prepared_add(struct pg_conn *conn, const char *text, uint32_t *ret_evicted)
{
    proa_str key = proa_str_c(text);
    struct pg_prepared *prepared = malloc(sizeof *prepared + key.len + 1);
    uint32_t evicted = 0;

    if (!prepared)
        return NULL;
    if (proa_map_count(conn->prepared) >= PG_PREPARED_MAX) {
        struct pg_prepared *oldest = PROA_CONTAINER(conn->prepared_used.next, struct pg_prepared, node);

        evicted = oldest->id;
        forget(conn, oldest);
    }
    memcpy(prepared->text, text, key.len + 1);
    if (proa_map_put(conn->prepared, key, prepared, NULL) < 0) {
        free(prepared);
        return NULL;
    }
    prepared->id = ++conn->prepared_last;
    proa_list_push_back(&conn->prepared_used, &prepared->node);
    *ret_evicted = evicted;
    return prepared;
}

void pg_prepared_forget(struct pg_conn *conn, uint32_t id)
{
    /* Rare: after an error. The newest are at the end. */
    for (struct proa_list *node = conn->prepared_used.prev; node != &conn->prepared_used; node = node->prev) {
        struct pg_prepared *prepared = PROA_CONTAINER(node, struct pg_prepared, node);

        if (prepared->id == id) {
            forget(conn, prepared);
            return;
        }
    }
}

void pg_prepared_clear(struct pg_conn *conn)
{
    struct proa_list *node = conn->prepared_used.next;

    while (node != &conn->prepared_used) {
        struct pg_prepared *prepared = PROA_CONTAINER(node, struct pg_prepared, node);

        node = node->next;
        (void)proa_map_remove(conn->prepared, proa_str_c(prepared->text));
        free(prepared);
    }
    proa_list_init(&conn->prepared_used);
    conn->prepared_last = 0;
}

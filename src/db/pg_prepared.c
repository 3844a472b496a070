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
    struct pg_prepared **recent = &conn->recent[pg_recent_of(text)];
    struct pg_prepared *prepared = *recent;

    if (!prepared || strcmp(prepared->text, text) != 0) {
        prepared = proa_map_get(conn->prepared, proa_str_c(text));
        if (!prepared)
            return NULL;
        *recent = prepared;
    }
    if (prepared->node.next != &conn->prepared_used) {
        proa_list_remove(&prepared->node);
        proa_list_push_back(&conn->prepared_used, &prepared->node);
    }
    return prepared;
}

void pg_prepared_release(struct pg_prepared *prepared)
{
    if (--prepared->holders == 0)
        free(prepared);
}

void pg_prepared_forget(struct pg_conn *conn, struct pg_prepared *prepared)
{
    if (proa_list_empty(&prepared->node))
        return;
    for (size_t i = 0; i < PG_RECENT; i++) {
        if (conn->recent[i] == prepared)
            conn->recent[i] = NULL;
    }
    (void)proa_map_remove(conn->prepared, proa_str_c(prepared->text));
    proa_list_remove(&prepared->node);
    pg_prepared_release(prepared);
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
        pg_prepared_forget(conn, oldest);
    }
    *prepared = (struct pg_prepared){.holders = 1};
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

void pg_prepared_clear(struct pg_conn *conn)
{
    while (!proa_list_empty(&conn->prepared_used))
        pg_prepared_forget(conn, PROA_CONTAINER(conn->prepared_used.next, struct pg_prepared, node));
    conn->prepared_last = 0;
}

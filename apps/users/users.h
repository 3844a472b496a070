/* The users service: what its files share. */
#ifndef USERS_H
#define USERS_H

#include <proa/app.h>
#include <proa/db.h>
#include <proa/fiber.h>
#include <proa/map.h>
#include <proa/random.h>
#include <pthread.h>

enum {
    USERS_LIST_MAX = 100,
    USERS_KEY_MAX = 255, /* of an Idempotency-Key */
    USERS_ETAG_MAX = 24, /* bytes of "\"18446744073709551615\"" */
};

/* What clients send and see. */
struct user {
    uint64_t id;
    proa_str name;
    proa_str email;
};
PROA_DECLARE_TYPE(user);

/* A row: the version moves with every change and is the entity tag. */
struct stored_user {
    uint64_t id;
    proa_str name;
    proa_str email;
    uint64_t version;
};
PROA_DECLARE_TYPE(stored_user);

/* Query parameters of the listing. */
struct list_query {
    uint32_t limit;
    PROA_OPTIONAL(proa_str) cursor;
    PROA_OPTIONAL(proa_str) email;
};
PROA_DECLARE_TYPE(list_query);

/* Limits of the connections to the database, see struct proa_db_options. */
struct database_config {
    uint32_t shared_connections;
    uint32_t own_connections;
    uint32_t waiting;
    uint32_t statement_ms;
    uint32_t connect_ms;
};
PROA_DECLARE_TYPE(database_config);

struct users_config {
    proa_str database_url;
    struct database_config database;
};
PROA_DECLARE_TYPE(users_config);

/* Idempotency keys whose first request is still running in this process. Shared by all loops. */
struct running_keys {
    pthread_mutex_t mutex;
    struct proa_map *keys;
};

struct users_app {
    struct users_config config;
    struct proa_db *db;
    struct running_keys running;
    struct proa_loop *loop; /* 0, for housekeeping */
    const struct proa_logger *logger;
    bool migrated;
};

/* handlers.c */
extern const struct proa_route users_routes[];
extern const size_t users_routes_count;
struct proa_sql users_sql(struct proa_req *req);

/* store.c: statements. Each returns 0 or an error of proa/db.h. */
int store_migrate(struct proa_sql sql);
int store_find(struct proa_sql sql, uint64_t id, struct stored_user *ret_user);
int store_insert(struct proa_sql sql, const struct user *user, struct stored_user *ret_user);
/* Changes the row if it still has `version`; PROA_ENOTFOUND when it has not. */
int store_update(struct proa_sql sql, const struct stored_user *user, struct stored_user *ret_user);
int store_delete(struct proa_sql sql, uint64_t id, uint64_t version);
struct stored_users {
    PROA_ARRAY_OF(struct stored_user) rows;
};
/* Up to `limit` users with ids above `after`, by id; only those with this email if it is given. */
int store_list(struct proa_sql sql, uint64_t after, proa_str email, uint32_t limit, struct stored_users *ret_users);

/* cursor.c: opaque paging cursors. */
proa_str cursor_write(struct proa_arena *arena, uint64_t last_id);
int cursor_read(proa_str cursor, uint64_t *ret_last_id);

/* idempotency.c */
int running_keys_init(struct running_keys *running, struct proa_loop *loop);
void running_keys_done(struct running_keys *running);
/* Creates the user once for this key. *ret_user is the new one or the one of the first request. Fills err of sql. */
int idempotent_insert(struct users_app *app, struct proa_sql sql, proa_str key, const struct user *user,
                      struct stored_user *ret_user);
/* Forgets keys older than 24 hours. */
int idempotency_purge(struct proa_sql sql, uint64_t *ret_rows);

#endif

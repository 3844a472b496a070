/* Numbered migrations: each step once, in a transaction of its own that begins by waiting for other replicas and looks
 * again at what is recorded. */
#include "db_internal.h"

#include <inttypes.h>
#include <stdio.h>

enum { CHECKSUM_MAX = 17, RECORDED_MAX = 100000 };

struct migration_row {
    uint32_t number;
    proa_str name;
    proa_str checksum;
};
PROA_DESCRIBE(migration_row, (number, u32), (name, str), (checksum, str));

struct table_row {
    bool is_there;
};
PROA_DESCRIBE(table_row, (is_there, boolean));

struct recorded {
    PROA_ARRAY_OF(struct migration_row) rows;
};

struct work {
    const struct proa_migration *migrations;
    size_t count;
    bool is_done; /* out: nothing was left to do */
};

static bool is_postgres(struct proa_sql sql)
{
    return strcmp(proa_db_system(sql.db), "postgresql") == 0;
}

/* NULL: nothing to do on this database. */
static const char *text_of(struct proa_sql sql, const struct proa_migration *migration)
{
    const char *own = is_postgres(sql) ? migration->postgres : migration->sqlite;

    return own ? own : migration->sql;
}

/* FNV-1a, 64 bits: finds edits, not attacks. What it gives is stored in databases, so it must never change. */
static void checksum(const char *text, char *out)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (const char *c = text ? text : ""; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    (void)snprintf(out, CHECKSUM_MAX, "%016" PRIx64, hash);
}

static int check_order(struct proa_sql sql, const struct proa_migration *migrations, size_t count)
{
    uint32_t last = 0;

    for (size_t i = 0; i < count; i++) {
        if (migrations[i].number <= last || migrations[i].number > INT32_MAX || !migrations[i].name)
            return proa_fail(sql.err, PROA_EINVAL, "migrations must have rising numbers from 1 and names (%" PRIu32 ")",
                             migrations[i].number);
        last = migrations[i].number;
    }
    return 0;
}

/* Looks before it creates: a program may have no right to create tables once the schema is there. */
static int need_table(struct proa_sql tx)
{
    struct table_row table;

    if (is_postgres(tx))
        PROA_TRY(
            proa_db_one(tx, &table_row_type, &table, "SELECT to_regclass('proa_migrations') IS NOT NULL AS is_there"));
    else
        PROA_TRY(proa_db_one(tx, &table_row_type, &table,
                             "SELECT count(*) > 0 AS is_there FROM sqlite_master"
                             " WHERE type = 'table' AND name = 'proa_migrations'"));
    if (table.is_there)
        return 0;
    return proa_db_exec(tx, NULL,
                        "CREATE TABLE proa_migrations ("
                        " number integer NOT NULL PRIMARY KEY,"
                        " name text NOT NULL,"
                        " checksum text NOT NULL,"
                        " applied_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP)");
}

static int compare(struct proa_sql sql, const struct migration_row *row, const struct proa_migration *migration)
{
    char sum[CHECKSUM_MAX];

    if (!migration || migration->number != row->number)
        return proa_fail(sql.err, PROA_ECONFLICT,
                         "migration %" PRIu32 " (" PROA_FMT ") was applied to this database, and this program does "
                         "not have it",
                         row->number, PROA_ARG(row->name));
    checksum(text_of(sql, migration), sum);
    if (!proa_str_eq_c(row->checksum, sum))
        return proa_fail(sql.err, PROA_ECONFLICT,
                         "migration %" PRIu32 " (" PROA_FMT ") was applied to this database with another text",
                         row->number, PROA_ARG(row->name));
    return 0;
}

/* The recorded steps must be the first of ours. *ret_next: how many there are. */
static int find_next(struct proa_sql tx, const struct work *work, size_t *ret_next)
{
    struct recorded recorded = {0};

    PROA_TRY(proa_db_all(tx, &migration_row_type, &recorded.rows, RECORDED_MAX,
                         "SELECT number, name, checksum FROM proa_migrations ORDER BY number"));
    for (size_t i = 0; i < recorded.rows.len; i++)
        PROA_TRY(compare(tx, &recorded.rows.ptr[i], i < work->count ? &work->migrations[i] : NULL));
    *ret_next = recorded.rows.len;
    return 0;
}

static int apply_next(struct proa_sql tx, void *arg)
{
    struct work *work = arg;
    const struct proa_migration *migration;
    const char *text;
    char sum[CHECKSUM_MAX];
    size_t next;
    int rc;

    PROA_TRY(tx.db->driver->lock_migrations(tx));
    PROA_TRY(need_table(tx));
    PROA_TRY(find_next(tx, work, &next));
    work->is_done = next == work->count;
    if (work->is_done)
        return 0;
    migration = &work->migrations[next];
    text = text_of(tx, migration);
    rc = text ? tx.db->driver->script(tx, text) : 0;
    if (rc < 0) {
        if (tx.err)
            proa_error_wrap(tx.err, "migration %" PRIu32 " (%s)", migration->number, migration->name);
        return rc;
    }
    checksum(text, sum);
    return proa_db_exec(tx, NULL, "INSERT INTO proa_migrations (number, name, checksum) VALUES ($1, $2, $3)",
                        proa_u64(migration->number), proa_text(proa_str_c(migration->name)),
                        proa_text(proa_str_c(sum)));
}

int proa_db_migrate(struct proa_sql sql, const struct proa_migration *migrations, size_t count)
{
    struct work work = {.migrations = migrations, .count = count};

    PROA_TRY(check_order(sql, migrations, count));
    while (!work.is_done)
        PROA_TRY(proa_db_transaction(sql, NULL, apply_next, &work));
    return 0;
}

/** What tests of db share: a database on a scripted server in virtual time, or on an SQLite file of a fresh folder. */
#ifndef PROA_TESTS_DB_CASE_H
#define PROA_TESTS_DB_CASE_H

#include "sim_run.h"

#include <proa/db.h>
#include <proa/sim_db.h>
#include <proa/sqlite.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** One test's world; its body runs in a fiber of `loop`. */
struct db_case {
    struct proa_loop *loop;
    struct proa_db *db;
    struct proa_sim_db *script; /**< NULL: SQLite */
    struct proa_arena arena;
    struct proa_error err;
    struct proa_sql sql;
    char folder[64];
    char file[96];
    char url[128];
    void (*body)(struct db_case *c);
};

static inline const struct proa_db_driver *const *db_case_drivers(struct db_case *c)
{
    static const struct proa_db_driver *drivers[2];

    drivers[0] = c->script ? proa_sim_db_driver(c->script) : &proa_sqlite_driver;
    return drivers;
}

static inline void db_case_folder(struct db_case *c)
{
    (void)snprintf(c->folder, sizeof c->folder, "/tmp/proa-db-XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    (void)snprintf(c->file, sizeof c->file, "%s/test.db", c->folder);
    (void)snprintf(c->url, sizeof c->url, "sqlite:%s", c->file);
}

static inline void db_case_remove(struct db_case *c)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    char path[128];

    for (size_t i = 0; i < PROA_COUNT(endings); i++) {
        (void)snprintf(path, sizeof path, "%s%s", c->file, endings[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(c->folder), 0);
}

static inline int db_case_main(void *arg)
{
    struct db_case *c = arg;

    c->sql = proa_sql(c->db, c->loop, &c->arena, &c->err);
    c->body(c);
    proa_db_close(c->db);
    return 0;
}

static inline void db_case_run(struct db_case *c, struct proa_db_options options)
{
    options.loop = c->loop;
    options.drivers = db_case_drivers(c);
    if (!options.url)
        options.url = c->script ? "sim:" : c->url;
    proa_arena_init(&c->arena, proa_loop_blocks(c->loop), 0);
    assert_int_equal(proa_db_open(&options, &c->db, &c->err), 0);
    assert_int_equal(proa_loop_start_fiber(c->loop, NULL, db_case_main, c), 0);
    assert_int_equal(proa_loop_run(c->loop), 0);
    assert_int_equal(proa_loop_fibers(c->loop, NULL), 0);
    proa_arena_done(&c->arena);
}

/** Runs a body against a scripted server, in virtual time. */
static inline void with_script(void (*body)(struct db_case *c), struct proa_db_options options)
{
    struct db_case c = {.body = body};

    assert_int_equal(proa_sim_db_new(NULL, &c.script), 0);
    c.loop = sim_loop_new(NULL);
    db_case_run(&c, options);
    proa_loop_free(c.loop);
    proa_sim_db_free(c.script);
}

/** Runs a body against a new SQLite file, on a real loop. */
static inline void with_sqlite(void (*body)(struct db_case *c), struct proa_db_options options)
{
    struct db_case c = {.body = body};

    db_case_folder(&c);
    assert_int_equal(proa_loop_new(NULL, &c.loop), 0);
    db_case_run(&c, options);
    proa_loop_free(c.loop);
    db_case_remove(&c);
}

/** Lays down rows of one column or more. */
#define SCRIPT_ROWS(c, contains, rows_, columns_, ...)                                                                 \
    assert_int_equal(proa_sim_db_on((c)->script, contains,                                                             \
                                    &(struct proa_sim_db_answer){.columns = columns_,                                  \
                                                                 .values = (const char *const[]){__VA_ARGS__},         \
                                                                 .rows = (rows_)},                                     \
                                    1),                                                                                \
                     0)
#define COLUMNS(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif

/** What tests of the PostgreSQL driver share: a database in a fiber of a loop, and the server seen from beside.
 *  They run by tests/support/postgres. */
#ifndef PROA_TESTS_POSTGRES_H
#define PROA_TESTS_POSTGRES_H

#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <proa/db.h>
#include <proa/fiber.h>
#include <proa/pg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Two threads that make libcrypto's first use of a provider at once leave the loser's copy behind, once a process. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libcrypto\n";
}

static const struct proa_db_driver *const pg_drivers[] = {&proa_pg_driver, NULL};

/** One test's database. */
struct pg_test {
    struct proa_loop *loop;
    struct proa_db *db;
    struct proa_arena arena;
    struct proa_error err;
    void (*body)(struct pg_test *test);
    struct proa_db_options options;
};

static inline struct proa_sql pg_sql(struct pg_test *test)
{
    test->err = (struct proa_error){0};
    return proa_sql(test->db, test->loop, &test->arena, &test->err);
}

static inline const char *pg_url(void)
{
    const char *url = getenv("PROA_TEST_PG");

    if (!url) {
        print_message("run me by tests/support/postgres\n");
        exit(77);
    }
    return url;
}

static int pg_test_main(void *arg)
{
    struct pg_test *test = arg;
    int rc = proa_db_open(&test->options, &test->db, &test->err);

    if (rc < 0)
        print_error("%s\n", test->err.message);
    assert_int_equal(rc, 0);
    test->body(test);
    proa_db_close(test->db);
    return 0;
}

/** Runs `body` in a fiber with the database open. `options` may be NULL; its url too. */
static inline void pg_test_run(const struct proa_db_options *options, void (*body)(struct pg_test *test))
{
    struct pg_test test = {.body = body};
    struct proa_loop_options loop_options = {.fiber_stack_bytes = 256 * 1024}; /* cmocka's and the sanitizers' needs */

    if (options)
        test.options = *options;
    if (!test.options.url)
        test.options.url = pg_url();
    test.options.drivers = pg_drivers;
    assert_int_equal(proa_loop_new(&loop_options, &test.loop), 0);
    test.options.loop = test.loop;
    proa_arena_init(&test.arena, NULL, 0);
    alarm(60);
    assert_int_equal(proa_loop_start_fiber(test.loop, NULL, pg_test_main, &test), 0);
    assert_int_equal(proa_loop_run(test.loop), 0);
    alarm(0);
    proa_arena_done(&test.arena);
    proa_loop_free(test.loop);
}

/** Fails with the message of what should have worked. */
#define assert_ok(test, call)                                                                                          \
    do {                                                                                                               \
        int rc_ = (call);                                                                                              \
        if (rc_ < 0)                                                                                                   \
            print_error("%s: %s\n", proa_code_name(rc_), (test)->err.message);                                         \
        assert_true(rc_ >= 0);                                                                                         \
    } while (0)

/** A statement of another session; blocks. @returns the first value as a number, -1 without one. */
static inline long pg_beside(const char *text)
{
    PGconn *conn = PQconnectdb(pg_url());
    PGresult *result;
    long value = -1;

    if (PQstatus(conn) == CONNECTION_OK) {
        result = PQexec(conn, text);
        if (PQresultStatus(result) == PGRES_FATAL_ERROR)
            print_error("%s: %s\n", text, PQresultErrorMessage(result));
        if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
            value = strtol(PQgetvalue(result, 0, 0), NULL, 10);
        PQclear(result);
    }
    PQfinish(conn);
    return value;
}

static inline pid_t pg_postmaster(void)
{
    char path[512];
    long pid = 0;
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/data/postmaster.pid", getenv("PROA_TEST_PG_DIR"));
    file = fopen(path, "r");
    if (!file)
        return 0;
    if (fscanf(file, "%ld", &pid) != 1)
        pid = 0;
    (void)fclose(file);
    return (pid_t)pid;
}

/** Sends a signal to the postmaster and all its children. */
static inline void pg_signal_all(int number)
{
    pid_t postmaster = pg_postmaster();
    DIR *dir = opendir("/proc");

    assert_true(postmaster > 0);
    assert_non_null(dir);
    (void)kill(postmaster, number);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[64], text[512] = "";
        long ppid = 0;
        const char *at;
        FILE *file;

        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        (void)snprintf(path, sizeof path, "/proc/%.20s/stat", entry->d_name);
        file = fopen(path, "r");
        if (!file)
            continue;
        if (fread(text, 1, sizeof text - 1, file) > 0 && (at = strrchr(text, ')')) &&
            sscanf(at + 1, " %*c %ld", &ppid) == 1 && ppid == postmaster)
            (void)kill((pid_t)strtol(entry->d_name, NULL, 10), number);
        (void)fclose(file);
    }
    (void)closedir(dir);
}

/** While held, the rig does not start the server again. */
static inline void pg_hold(bool on)
{
    char path[512];
    int fd;

    (void)snprintf(path, sizeof path, "%s/hold", getenv("PROA_TEST_PG_DIR"));
    if (!on) {
        (void)unlink(path);
        return;
    }
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
}

static inline uint64_t pg_ms_since(const struct pg_test *test, proa_mono_ns began)
{
    return (proa_loop_now_exact(test->loop) - began) / 1000000;
}

struct number {
    int64_t n;
};
PROA_DESCRIBE(number, (n, i64));

struct item {
    int64_t id;
    proa_str name;
};
PROA_DESCRIBE(item, (id, i64), (name, str));

/** The number n that a statement gives. */
static inline int64_t pg_number(struct pg_test *test, const char *text)
{
    struct number number = {-1};

    assert_ok(test, proa_db_one(pg_sql(test), &number_type, &number, text));
    return number.n;
}

/** A new table `item`, and no `child` of it. */
static inline void pg_table(struct pg_test *test)
{
    assert_ok(test, proa_db_exec(pg_sql(test), NULL, "DROP TABLE IF EXISTS child, item"));
    assert_ok(test, proa_db_exec(
                        pg_sql(test), NULL,
                        "CREATE TABLE item (id bigint PRIMARY KEY, name text NOT NULL CONSTRAINT item_name_key UNIQUE, "
                        "CONSTRAINT item_id_positive CHECK (id > 0))"));
}

static inline int pg_exec(struct pg_test *test, const char *text)
{
    return proa_db_exec(pg_sql(test), NULL, text);
}

/** A statement, or a transaction, in a fiber of its own. */
struct pg_timed {
    struct pg_test *test;
    const char *text;
    int (*inside)(struct proa_sql tx, void *arg); /**< of a transaction, instead of a text */
    uint64_t ms;
    int rc;
    uint64_t took_ms;
    bool is_long;
    char message[PROA_ERROR_MESSAGE_MAX];
    uint32_t retry_after_s;
};

static inline int pg_timed(void *arg)
{
    struct pg_timed *self = arg;
    struct pg_test *test = self->test;
    proa_mono_ns began = proa_loop_now_exact(test->loop);
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(test->loop, self->ms ? began + PROA_MS(self->ms) : PROA_NEVER);
    struct proa_error err = {0};
    struct proa_arena arena;
    struct proa_sql sql;

    proa_arena_init(&arena, NULL, 0);
    sql = proa_sql(test->db, test->loop, &arena, &err);
    sql.is_long = self->is_long;
    self->rc = self->inside ? proa_db_transaction(sql, NULL, self->inside, NULL) : proa_db_exec(sql, NULL, self->text);
    assert_int_equal(err.code, self->rc);
    self->took_ms = pg_ms_since(test, began);
    memcpy(self->message, err.message, sizeof self->message);
    self->retry_after_s = err.retry_after_s;
    proa_arena_done(&arena);
    return 0;
}

/** Runs `body` by the server's URL for TLS, which it asks for by pg_assert_tls; skips where the server has no TLS. */
static inline void pg_test_run_tls(void (*body)(struct pg_test *test))
{
    struct proa_db_options options = {.url = getenv("PROA_TEST_PG_TLS"), .shared_connections = 1, .own_connections = 2};

    if (!options.url) {
        skip();
        return;
    }
    pg_test_run(&options, body);
}
static inline void pg_assert_tls(struct pg_test *test)
{
    assert_int_equal(pg_number(test, "SELECT ssl::int AS n FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), 1);
}

#endif

/* What a statement costs on SQLite: single reads of 1 and of 16 fibers, writes one by one, and, for comparison, the same
 * read by SQLite alone in one thread.
 *
 * Usage: sqlite [READS [WRITES]]      in a file of the working folder, removed afterwards */
#include <proa/db.h>
#include <proa/fiber.h>
#include <proa/sqlite.h>
#include <sqlite3.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { ROWS = 10000, FIBERS = 16 };

struct user {
    uint64_t id;
    proa_str name;
    proa_str email;
};
PROA_DESCRIBE(user, (id, u64), (name, str), (email, str));

#define SELECT "SELECT id, name, email FROM users WHERE id = $1"
#define PLACE "bench-sqlite.db"

static uint64_t reads_total = 100000, writes_total = 500;

struct work {
    struct proa_db *db;
    struct proa_loop *loop;
    uint64_t count;
    uint64_t seed;
};

static double seconds_of(clockid_t clock)
{
    struct timespec at;

    clock_gettime(clock, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void report(const char *what, uint64_t count, double wall, double cpu)
{
    printf("%-34s %9.0f a second %8.1f us each %8.2f CPU s per 100,000\n", what, (double)count / wall,
           wall / (double)count * 1e6, cpu / (double)count * 1e5);
}

static int read_some(void *arg)
{
    struct work *own = arg;

    for (uint64_t i = 0; i < own->count; i++) {
        struct proa_arena arena;
        struct user user;
        int rc;

        proa_arena_init(&arena, proa_loop_blocks(own->loop), 0);
        own->seed = own->seed * 6364136223846793005u + 1442695040888963407u;
        rc = proa_db_one(proa_sql(own->db, own->loop, &arena, NULL), &user_type, &user, SELECT,
                         proa_u64((own->seed >> 33) % ROWS + 1));
        proa_arena_done(&arena);
        PROA_TRY(rc);
    }
    return 0;
}

static int write_some(void *arg)
{
    struct work *own = arg;

    for (uint64_t i = 0; i < own->count; i++) {
        /* Another value each time: SQLite writes nothing where nothing changes. */
        own->seed = own->seed * 6364136223846793005u + 1442695040888963407u;
        PROA_TRY(proa_db_exec(proa_sql(own->db, own->loop, NULL, NULL), NULL,
                              "UPDATE users SET name = 'Grace ' || $1 WHERE id = $2", proa_u64(own->seed >> 1),
                              proa_u64((own->seed >> 33) % ROWS + 1)));
    }
    return 0;
}

static int run_fibers(struct work *base, const char *what, proa_fiber_fn *fn, unsigned fibers, uint64_t total)
{
    double wall = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    struct work works[FIBERS];
    struct proa_group group;

    proa_group_init(&group, base->loop);
    for (unsigned i = 0; i < fibers; i++) {
        works[i] = (struct work){.db = base->db, .loop = base->loop, .count = total / fibers, .seed = i};
        PROA_TRY(proa_group_start(&group, NULL, fn, &works[i]));
    }
    PROA_TRY(proa_group_wait(&group));
    report(what, total / fibers * fibers, seconds_of(CLOCK_MONOTONIC) - wall,
           seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}

/* SQLite alone, in this thread. */
static int read_bare(void)
{
    double wall = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t seed = 1, bytes = 0;
    sqlite3_stmt *stmt = NULL;
    sqlite3 *handle = NULL;

    if (sqlite3_open(PLACE, &handle) != SQLITE_OK || sqlite3_prepare_v2(handle, SELECT, -1, &stmt, NULL) != SQLITE_OK)
        return -1;
    for (uint64_t i = 0; i < reads_total; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        sqlite3_bind_int64(stmt, 1, (sqlite3_int64)((seed >> 33) % ROWS + 1));
        while (sqlite3_step(stmt) == SQLITE_ROW)
            bytes += (uint64_t)sqlite3_column_bytes(stmt, 1) + (uint64_t)sqlite3_column_bytes(stmt, 2);
        sqlite3_reset(stmt);
    }
    report("SQLite alone, reads", reads_total, seconds_of(CLOCK_MONOTONIC) - wall,
           seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    sqlite3_finalize(stmt);
    sqlite3_close(handle);
    return bytes > 0 ? 0 : -1;
}

static int measure(struct work *work)
{
    struct proa_arena arena;
    struct proa_error err = {0};
    struct proa_sql sql = proa_sql(work->db, work->loop, &arena, &err);
    int rc;

    proa_arena_init(&arena, NULL, 0);
    rc = proa_db_exec(sql, NULL, "CREATE TABLE users (id INTEGER PRIMARY KEY, name text, email text)");
    if (rc == 0)
        rc = proa_db_exec(sql, NULL,
                          "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < $1)"
                          " INSERT INTO users SELECT i, 'Ada Lovelace', 'ada' || i || '@example.org' FROM r",
                          proa_u64(ROWS));
    if (rc < 0)
        fprintf(stderr, "%s\n", err.message);
    proa_arena_done(&arena);
    PROA_TRY(rc);
    PROA_TRY(run_fibers(work, "reads, 1 fiber", read_some, 1, reads_total / 4));
    PROA_TRY(run_fibers(work, "reads, 16 fibers", read_some, FIBERS, reads_total));
    PROA_TRY(run_fibers(work, "writes, 1 fiber", write_some, 1, writes_total));
    PROA_TRY(run_fibers(work, "writes, 16 fibers", write_some, FIBERS, writes_total));
    return read_bare();
}

static int bench(void *arg)
{
    struct work *work = arg;
    int rc = measure(work);

    proa_db_close(work->db);
    return rc;
}

static void remove_files(void)
{
    (void)unlink(PLACE);
    (void)unlink(PLACE "-wal");
    (void)unlink(PLACE "-shm");
}

int main(int argc, char **argv)
{
    const struct proa_db_driver *drivers[] = {&proa_sqlite_driver, NULL};
    struct proa_error err = {0};
    struct work work = {0};

    if ((argc > 1 && proa_str_to_u64(proa_str_c(argv[1]), &reads_total) < 0) ||
        (argc > 2 && proa_str_to_u64(proa_str_c(argv[2]), &writes_total) < 0))
        return 2;
    remove_files();
    if (proa_loop_new(NULL, &work.loop) < 0 ||
        proa_db_open(&(struct proa_db_options){.url = "sqlite:" PLACE, .loop = work.loop, .drivers = drivers}, &work.db,
                     &err) < 0 ||
        proa_loop_start_fiber(work.loop, NULL, bench, &work) < 0) {
        fprintf(stderr, "cannot start: %s\n", err.message);
        return 1;
    }
    proa_loop_run(work.loop);
    proa_loop_free(work.loop);
    remove_files();
    return 0;
}

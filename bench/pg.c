/* What a statement costs: single-row selects by primary key from many fibers over few connections.
 *
 * Usage: tests/support/postgres build/…/bench/pg [SECONDS [WORK_US]]    (PROA_TEST_PG… tells the server)
 *
 * WORK_US: how long each fiber computes after its answer, as a service does for its request; not counted to the driver.
 *
 * Prints, for 1, 2 and 4 connections on one loop: statements per second, and CPU seconds per 100,000 of this process
 * and of the server's connections. */
#include <proa/db.h>
#include <proa/fiber.h>
#include <proa/pg.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FIBERS = 64, ROWS = 10000 };

struct user {
    int64_t id;
    proa_str name, email;
};
PROA_DESCRIBE(user, (id, i64), (name, str), (email, str));

struct bench {
    struct proa_db *db;
    struct proa_loop *loop;
    uint64_t done;
    proa_mono_ns until;
    const char *url;
    const char *label;
    double seconds;
    uint32_t connections;
    uint64_t work_ns;
    bool failed;
};

static int one(struct proa_sql sql, int64_t id)
{
    struct user user;

    return proa_db_one(sql, &user_type, &user, "SELECT id, name, email FROM bench_users WHERE id = $1", proa_i64(id));
}

static int client(void *arg)
{
    struct bench *bench = arg;

    while (proa_loop_now(bench->loop) < bench->until) {
        struct proa_error err = {0};
        struct proa_arena arena;
        int rc;

        proa_arena_init(&arena, proa_loop_blocks(bench->loop), 0);
        rc = one(proa_sql(bench->db, bench->loop, &arena, &err),
                 1 + (int64_t)(proa_loop_random_u64(bench->loop) % ROWS));
        proa_arena_done(&arena);
        if (rc < 0) {
            fprintf(stderr, "bench: %s\n", err.message);
            bench->failed = true;
            return rc;
        }
        if (bench->work_ns) {
            proa_mono_ns until = proa_loop_now_exact(bench->loop) + bench->work_ns;

            while (proa_loop_now_exact(bench->loop) < until)
                ;
        }
        bench->done++;
    }
    return 0;
}

static double own_cpu(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* CPU of one process if its parent is `parent`, from /proc/<pid>/stat. */
static double child_cpu(const char *pid, long parent)
{
    char path[64], text[1024];
    unsigned long user, system;
    const char *at;
    long ppid;
    FILE *file;
    size_t len;

    (void)snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    file = fopen(path, "r");
    if (!file)
        return 0;
    len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    at = strrchr(text, ')');
    if (!at || sscanf(at + 1, " %*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &ppid, &user, &system) != 3)
        return 0;
    return ppid == parent ? (double)(user + system) / (double)sysconf(_SC_CLK_TCK) : 0;
}

static double server_cpu(void)
{
    const char *folder = getenv("PROA_TEST_PG_DIR");
    char path[512];
    long postmaster = 0;
    double sum = 0;
    FILE *file;
    DIR *dir;

    (void)snprintf(path, sizeof path, "%s/data/postmaster.pid", folder ? folder : "");
    file = fopen(path, "r");
    if (!file)
        return 0;
    if (fscanf(file, "%ld", &postmaster) != 1)
        postmaster = -1;
    (void)fclose(file);
    dir = opendir("/proc");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            sum += child_cpu(entry->d_name, postmaster);
    }
    if (dir)
        (void)closedir(dir);
    return sum;
}

static int fill(struct proa_sql sql)
{
    PROA_TRY(proa_db_exec(sql, NULL, "DROP TABLE IF EXISTS bench_users"));
    PROA_TRY(proa_db_exec(sql, NULL,
                          "CREATE TABLE bench_users (id bigint PRIMARY KEY, name text NOT NULL, email text NOT NULL)"));
    PROA_TRY(proa_db_exec(sql, NULL,
                          "INSERT INTO bench_users SELECT i, 'User ' || i, 'user' || i || '@example.com' "
                          "FROM generate_series(1, $1::int) i",
                          proa_i64(ROWS)));
    return proa_db_exec(sql, NULL, "ANALYZE bench_users");
}

static void start_clients(struct bench *bench)
{
    struct proa_group group;

    proa_group_init(&group, bench->loop);
    for (unsigned i = 0; i < FIBERS; i++) {
        if (proa_group_start(&group, NULL, client, bench) < 0)
            bench->failed = true;
    }
    proa_ignore(proa_group_wait(&group));
}

static int measure(void *arg)
{
    static const struct proa_db_driver *const drivers[] = {&proa_pg_driver, NULL};
    struct bench *bench = arg;
    struct proa_db_options options = {
        .url = bench->url, .drivers = drivers, .loop = bench->loop, .shared_connections = bench->connections};
    struct proa_error err = {0};
    struct proa_arena arena;
    double client_before, server_before, began;

    proa_arena_init(&arena, NULL, 0);
    if (proa_db_open(&options, &bench->db, &err) < 0 || fill(proa_sql(bench->db, bench->loop, &arena, &err)) < 0) {
        fprintf(stderr, "bench: %s\n", err.message);
        bench->failed = true;
    } else {
        bench->until = proa_loop_now_exact(bench->loop) + PROA_MS(300);
        start_clients(bench); /* warm-up */
        bench->done = 0;
        client_before = own_cpu();
        server_before = server_cpu();
        began = (double)proa_loop_now_exact(bench->loop);
        bench->until = proa_loop_now_exact(bench->loop) + (uint64_t)(bench->seconds * 1e9);
        start_clients(bench);
        printf("%-6s %u connections: %8.0f statements/s, CPU s per 100,000: client %.3f, server %.3f\n", bench->label,
               bench->connections, (double)bench->done / (((double)proa_loop_now_exact(bench->loop) - began) / 1e9),
               (own_cpu() - client_before) / (double)bench->done * 1e5 - (double)bench->work_ns * 1e-4,
               (server_cpu() - server_before) / (double)bench->done * 1e5);
    }
    proa_arena_done(&arena);
    proa_db_close(bench->db);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *label;
        const char *variable;
    } ways[] = {{"unix", "PROA_TEST_PG_SOCKET"}, {"tcp", "PROA_TEST_PG"}};
    struct bench bench = {.seconds = argc > 1 ? strtod(argv[1], NULL) : 3,
                          .work_ns = argc > 2 ? strtoull(argv[2], NULL, 10) * 1000 : 0};

    for (size_t way = 0; way < PROA_COUNT(ways); way++) {
        bench.url = getenv(ways[way].variable);
        bench.label = ways[way].label;
        if (!bench.url) {
            fprintf(stderr, "bench: run me by tests/support/postgres\n");
            return 2;
        }
        for (bench.connections = 1; bench.connections <= 4; bench.connections *= 2) {
            bench.db = NULL;
            if (proa_loop_new(NULL, &bench.loop) < 0 || proa_loop_start_fiber(bench.loop, NULL, measure, &bench) < 0)
                return 1;
            proa_ignore(proa_loop_run(bench.loop));
            proa_loop_free(bench.loop);
        }
    }
    return bench.failed;
}

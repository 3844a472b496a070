/* What befalls an SQLite file: locks of other processes, a missing folder, damage, no space, replacement. Each gives a
 * clear error and heals without a restart. */
#include "db_case.h"

#include <fcntl.h>
#include <proa/fiber.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct count_row {
    int64_t n;
};
PROA_DESCRIBE(count_row, (n, i64));

static int64_t count(struct proa_sql sql)
{
    struct count_row row = {-1};
    int rc = proa_db_one(sql, &count_row_type, &row, "SELECT count(*) AS n FROM t");

    return rc < 0 ? rc : row.n;
}

static int write_one(struct proa_sql sql)
{
    return proa_db_exec(sql, NULL, "INSERT INTO t VALUES (1)");
}

static void make_table(struct db_case *c)
{
    assert_int_equal(proa_db_exec(c->sql, NULL, "CREATE TABLE t (n integer)"), 0);
    assert_int_equal(write_one(c->sql), 0);
}

/* -- Another process that holds the writer's lock ---------------------------------------------------------------- */

static struct {
    pid_t pid;
    int commands;
    int answers;
} other;

/* 'l' takes the lock, 'u' gives it back after 100 ms, anything else ends. */
static void other_main(const char *file, int commands, int answers)
{
    sqlite3 *handle = NULL;
    char command;

    while (read(commands, &command, 1) == 1) {
        if (!handle)
            (void)sqlite3_open(file, &handle);
        if (command == 'l')
            (void)sqlite3_exec(handle, "BEGIN IMMEDIATE; INSERT INTO t VALUES (2)", NULL, NULL, NULL);
        else
            (void)usleep(100000);
        /* Answered before, so that the lock goes while somebody waits. */
        if (command == 'l' && write(answers, "k", 1) != 1)
            break;
        if (command == 'u')
            (void)sqlite3_exec(handle, "COMMIT", NULL, NULL, NULL);
    }
    sqlite3_close(handle);
    _exit(0);
}

static void other_start(const char *file)
{
    int commands[2], answers[2];

    assert_int_equal(pipe2(commands, O_CLOEXEC), 0);
    assert_int_equal(pipe2(answers, O_CLOEXEC), 0);
    other.pid = fork();
    assert_true(other.pid >= 0);
    if (other.pid == 0) {
        close(commands[1]);
        close(answers[0]);
        other_main(file, commands[0], answers[1]);
    }
    close(commands[0]);
    close(answers[1]);
    other.commands = commands[1];
    other.answers = answers[0];
}

static void other_does(char command)
{
    char answer;

    assert_int_equal(write(other.commands, &command, 1), 1);
    if (command == 'l')
        assert_int_equal(read(other.answers, &answer, 1), 1);
}

static void other_end(void)
{
    int status;

    close(other.commands);
    assert_int_equal(waitpid(other.pid, &status, 0), other.pid);
    assert_int_equal(status, 0);
    close(other.answers);
}

static int write_in_tx(struct proa_sql tx, void *arg)
{
    (void)arg;
    return write_one(tx);
}

enum { STATEMENT_MS = 1500 }; /* long enough to meet the lock on a machine that is busy */
static _Atomic bool threads_are_held;

static void hold_thread(void *arg)
{
    (void)arg;
    while (threads_are_held)
        (void)usleep(1000);
}

static int hold_one(void *arg)
{
    return proa_blocking(arg, hold_thread, NULL, NULL, NULL);
}

static int write_until_late(void *arg)
{
    struct db_case *c = arg;
    struct proa_error err = {0};

    assert_int_equal(write_one(proa_sql(c->db, c->loop, &c->arena, &err)), PROA_ETIMEDOUT);
    assert_non_null(strstr(err.message, "another process"));
    return 0;
}

/* Its time is up while it waits for a thread to try once more: what kept it was the lock all the same. */
static void locked_without_threads(struct db_case *c)
{
    enum { THREADS = 8 };
    struct proa_loop_stats before, now;
    struct proa_group writer, holders;

    proa_loop_read_stats(c->loop, &before);
    proa_group_init(&writer, c->loop);
    assert_int_equal(proa_group_start(&writer, NULL, write_until_late, c), 0);
    do {
        assert_int_equal(proa_sleep(c->loop, PROA_MS(1)), 0);
        proa_loop_read_stats(c->loop, &now);
    } while (now.blocking < before.blocking + 2); /* it has met the lock */
    threads_are_held = true;
    proa_group_init(&holders, c->loop);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(proa_group_start(&holders, NULL, hold_one, c->loop), 0);
    assert_int_equal(proa_group_wait(&writer), 0);
    threads_are_held = false;
    assert_int_equal(proa_group_wait(&holders), 0);
}

static void locked(struct db_case *c)
{
    struct proa_deadline_scope scope;
    proa_mono_ns began;

    make_table(c);
    other_does('l');
    /* Reading is not hindered. */
    assert_int_equal(count(c->sql), 1);
    locked_without_threads(c);
    scope = proa_deadline_enter(c->loop, proa_loop_now_exact(c->loop) + PROA_MS(500));
    assert_int_equal(proa_db_transaction(c->sql, NULL, write_in_tx, NULL), PROA_ETIMEDOUT);
    proa_deadline_leave(&scope);
    /* statement_ms bounds the wait where the fiber has no deadline. */
    began = proa_loop_now_exact(c->loop);
    assert_int_equal(proa_db_transaction(c->sql, NULL, write_in_tx, NULL), PROA_ETIMEDOUT);
    assert_in_range(proa_loop_now_exact(c->loop) - began, PROA_MS(STATEMENT_MS - 10), PROA_SECONDS(30));
    /* It is waited for, and both writes are there. */
    other_does('u');
    assert_int_equal(write_one(c->sql), 0);
    assert_int_equal(count(c->sql), 3);
    other_does('l');
    other_does('u');
    assert_int_equal(proa_db_transaction(c->sql, NULL, write_in_tx, NULL), 0);
    assert_int_equal(count(c->sql), 5);
}

static void test_lock_of_another_process(void **state)
{
    struct db_case c = {.body = locked};

    db_case_folder(&c);
    other_start(c.file);
    assert_int_equal(proa_loop_new(NULL, &c.loop), 0);
    db_case_run(&c, (struct proa_db_options){.statement_ms = STATEMENT_MS});
    proa_loop_free(c.loop);
    other_end();
    db_case_remove(&c);
}

/* -- A folder that is missing, files that are none, and their return --------------------------------------------- */

static void missing(struct db_case *c)
{
    assert_int_equal(rmdir(c->folder), 0);
    assert_int_equal(proa_db_exec(c->sql, NULL, "CREATE TABLE t (n integer)"), PROA_EIO);
    assert_non_null(strstr(c->err.message, c->file));
    assert_non_null(strstr(c->err.message, "No such file or directory"));
    assert_int_equal(proa_db_transaction(c->sql, NULL, write_in_tx, NULL), PROA_EIO);
    assert_int_equal(mkdir(c->folder, 0700), 0);
    make_table(c);
    assert_int_equal(count(c->sql), 1);
}

static void test_missing_folder(void **state)
{
    with_sqlite(missing, (struct proa_db_options){0});
}

static void write_file(const char *path, const char *text, size_t repeat)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    for (size_t i = 0; i < repeat; i++)
        assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void not_a_database(struct db_case *c)
{
    write_file(c->file, "This is a text of somebody else.\n", 1000);
    assert_int_equal(count(c->sql), PROA_EIO);
    assert_non_null(strstr(c->err.message, "not a database"));
    assert_non_null(strstr(c->err.message, c->file));
    assert_int_equal(write_one(c->sql), PROA_EIO);
    assert_int_equal(unlink(c->file), 0);
    make_table(c);
    assert_int_equal(count(c->sql), 1);
}

static void test_a_file_that_is_no_database(void **state)
{
    with_sqlite(not_a_database, (struct proa_db_options){0});
}

static void remove_files(const struct db_case *c)
{
    char path[128];

    assert_int_equal(unlink(c->file), 0);
    (void)snprintf(path, sizeof path, "%s-wal", c->file);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s-shm", c->file);
    (void)unlink(path);
}

static int write_after_removal(struct proa_sql tx, void *arg)
{
    assert_int_equal(write_one(tx), 0);
    remove_files(arg);
    return 0;
}

/* Removed, or replaced by a backup, while it was open: nobody goes on writing to the file that has no name. */
static void replaced(struct db_case *c)
{
    make_table(c);
    assert_int_equal(count(c->sql), 1);
    remove_files(c);
    assert_int_equal(write_one(c->sql), PROA_EINTERNAL); /* a new file, without the table */
    assert_int_equal(count(c->sql), PROA_EINTERNAL);
    make_table(c);
    assert_int_equal(count(c->sql), 1);
    proa_ignore(proa_db_transaction(c->sql, NULL, write_after_removal, c));
    make_table(c);
    assert_int_equal(count(c->sql), 1);
}

static void test_a_file_that_is_replaced(void **state)
{
    with_sqlite(replaced, (struct proa_db_options){0});
}

static void damaged(struct db_case *c)
{
    char zeros[4096] = {0};
    int fd;

    make_table(c);
    for (int i = 0; i < 10; i++)
        assert_int_equal(proa_db_exec(c->sql, NULL,
                                      "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 500)"
                                      " INSERT INTO t SELECT i FROM r"),
                         0);
    assert_int_equal(proa_db_exec(c->sql, NULL, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
    fd = open(c->file, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    /* The table's root page and what follows. */
    for (int page = 1; page < 6; page++) {
        memset(zeros, 0xa5, sizeof zeros);
        assert_int_equal(pwrite(fd, zeros, sizeof zeros, 4096L * page), sizeof zeros);
    }
    close(fd);
    assert_int_equal(count(c->sql), PROA_EIO); /* the writer has its pages in memory, a reader has not */
    assert_non_null(strstr(c->err.message, "malformed"));
    remove_files(c);
    make_table(c);
    assert_int_equal(count(c->sql), 1);
}

static void test_a_damaged_file(void **state)
{
    with_sqlite(damaged, (struct proa_db_options){0});
}

/* -- No space ---------------------------------------------------------------------------------------------------- */

static int fill(struct proa_sql tx, void *arg)
{
    char text[64];
    struct count_row row;

    (void)snprintf(text, sizeof text, "PRAGMA max_page_count = %d", *(int *)arg);
    PROA_TRY(proa_db_exec(tx, NULL, text));
    if (*(int *)arg > 1000)
        return 0;
    PROA_TRY(proa_db_exec(tx, NULL,
                          "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 50000)"
                          " INSERT INTO t SELECT i FROM r"));
    return proa_db_one(tx, &count_row_type, &row, "SELECT 1 AS n");
}

static void full(struct db_case *c)
{
    int pages = 10;

    make_table(c);
    assert_int_equal(proa_db_transaction(c->sql, NULL, fill, &pages), PROA_EUNAVAILABLE);
    assert_non_null(strstr(c->err.message, "full"));
    assert_int_equal(count(c->sql), 1);
    assert_int_equal(proa_db_exec(c->sql, NULL,
                                  "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 50000)"
                                  " INSERT INTO t SELECT i FROM r"),
                     PROA_EUNAVAILABLE);
    assert_int_equal(count(c->sql), 1);
    /* Space again. */
    pages = 100000;
    assert_int_equal(proa_db_transaction(c->sql, NULL, fill, &pages), 0);
    assert_int_equal(write_one(c->sql), 0);
    assert_int_equal(count(c->sql), 2);
}

static void test_a_full_disk(void **state)
{
    with_sqlite(full, (struct proa_db_options){0});
}

/* -- A file that must not be written ------------------------------------------------------------------------------ */

static void allow_writing(const struct db_case *c)
{
    static const char *const endings[] = {"", "-wal", "-shm"}; /* made with the rights of the first */
    char path[128];

    for (size_t i = 0; i < PROA_COUNT(endings); i++) {
        (void)snprintf(path, sizeof path, "%s%s", c->file, endings[i]);
        assert_true(chmod(path, 0600) == 0 || i > 0);
    }
}

static void read_only(struct db_case *c)
{
    assert_int_equal(write_one(c->sql), PROA_EIO);
    assert_non_null(strstr(c->err.message, c->file));
    allow_writing(c);
    assert_int_equal(write_one(c->sql), 0);
    assert_int_equal(count(c->sql), 2);
}

static void read_only_child(struct db_case *c)
{
    enum { NOBODY = 65534 };

    if (geteuid() == 0 && (chown(c->folder, NOBODY, NOBODY) < 0 || seteuid(NOBODY) < 0))
        _exit(77);
    c->body = make_table;
    assert_int_equal(proa_loop_new(NULL, &c->loop), 0);
    db_case_run(c, (struct proa_db_options){0});
    assert_int_equal(chmod(c->file, 0400), 0);
    c->body = read_only;
    db_case_run(c, (struct proa_db_options){0});
    proa_loop_free(c->loop);
    _exit(0);
}

static void test_a_read_only_file(void **state)
{
    struct db_case c = {0};
    int status;
    pid_t pid;

    db_case_folder(&c);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        read_only_child(&c);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
    db_case_remove(&c);
}

/* -- Closing ----------------------------------------------------------------------------------------------------- */

static void test_closing_leaves_one_file(void **state)
{
    struct db_case c = {.body = make_table};
    char path[128];

    db_case_folder(&c);
    assert_int_equal(proa_loop_new(NULL, &c.loop), 0);
    db_case_run(&c, (struct proa_db_options){0});
    proa_loop_free(c.loop);
    (void)snprintf(path, sizeof path, "%s-wal", c.file);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(c.file, F_OK), 0);
    db_case_remove(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_read_only_file), /* before threads are started, since it forks and goes on */
        cmocka_unit_test(test_lock_of_another_process),
        cmocka_unit_test(test_missing_folder),
        cmocka_unit_test(test_a_file_that_is_no_database),
        cmocka_unit_test(test_a_file_that_is_replaced),
        cmocka_unit_test(test_a_damaged_file),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_closing_leaves_one_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

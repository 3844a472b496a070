/* Migrations on SQLite files: recorded once, checked, and safe when several processes begin at once. */
#include "db_case.h"

#include <sys/wait.h>

struct count_row {
    uint64_t n;
};
PROA_DESCRIBE(count_row, (n, u64));

static const struct proa_migration steps[] = {
    {.number = 1,
     .name = "users",
     .sql = "CREATE TABLE users (id INTEGER PRIMARY KEY, name text NOT NULL);"
            "INSERT INTO users (name) VALUES ('one'), ('two'); -- the first\n"},
    {.number = 2, .name = "only elsewhere", .postgres = "CREATE EXTENSION x"},
    {.number = 5,
     .name = "more",
     .sql = "syntax error",
     .sqlite = "ALTER TABLE users ADD COLUMN age integer;;\n /* nothing */ "
               "CREATE TRIGGER t AFTER INSERT ON users BEGIN UPDATE users SET age = 1; SELECT 2; END;"},
};

static uint64_t count(struct db_case *c, const char *text)
{
    struct count_row row;

    assert_int_equal(proa_db_one(c->sql, &count_row_type, &row, text), 0);
    return row.n;
}

static void in_steps(struct db_case *c)
{
    assert_int_equal(proa_db_migrate(c->sql, steps, 0), 0);
    assert_int_equal(proa_db_migrate(c->sql, steps, 1), 0);
    assert_int_equal(count(c, "SELECT count(*) AS n FROM users"), 2);
    assert_int_equal(proa_db_migrate(c->sql, steps, 3), 0);
    assert_int_equal(proa_db_migrate(c->sql, steps, 3), 0);
    assert_int_equal(count(c, "SELECT count(*) AS n FROM users"), 2);
    assert_int_equal(count(c, "SELECT count(*) AS n FROM proa_migrations"), 3);
    assert_int_equal(proa_db_exec(c->sql, NULL, "INSERT INTO users (name) VALUES ('x')"), 0);
    assert_int_equal(count(c, "SELECT count(*) AS n FROM users WHERE age = 1"), 3);
    /* The checksum is of the text, and must never change. */
    assert_int_equal(count(c, "SELECT count(*) AS n FROM proa_migrations WHERE number = 2 AND checksum ="
                              " 'cbf29ce484222325'"),
                     1);
}

static void test_steps_run_once(void **state)
{
    with_sqlite(in_steps, (struct proa_db_options){0});
}

static void conflicts(struct db_case *c)
{
    struct proa_migration changed[3], disordered[] = {{.number = 2, .name = "a"}, {.number = 2, .name = "b"}};
    const struct proa_migration zero = {.number = 0, .name = "a"}, nameless = {.number = 1};

    assert_int_equal(proa_db_migrate(c->sql, steps, 3), 0);
    assert_int_equal(proa_db_migrate(c->sql, steps, 2), PROA_ECONFLICT);
    assert_non_null(strstr(c->err.message, "migration 5 (more)"));
    memcpy(changed, steps, sizeof changed);
    changed[0].sql = "CREATE TABLE other (id integer)";
    assert_int_equal(proa_db_migrate(c->sql, changed, 3), PROA_ECONFLICT);
    assert_non_null(strstr(c->err.message, "another text"));
    memcpy(changed, steps, sizeof changed);
    changed[1].number = 3;
    assert_int_equal(proa_db_migrate(c->sql, changed, 3), PROA_ECONFLICT);
    assert_int_equal(proa_db_migrate(c->sql, disordered, 2), PROA_EINVAL);
    assert_int_equal(proa_db_migrate(c->sql, &zero, 1), PROA_EINVAL);
    assert_int_equal(proa_db_migrate(c->sql, &nameless, 1), PROA_EINVAL);
}

static void test_conflicts(void **state)
{
    with_sqlite(conflicts, (struct proa_db_options){0});
}

static void broken(struct db_case *c)
{
    struct proa_migration bad[] = {
        steps[0],
        {.number = 2, .name = "bad", .sql = "CREATE TABLE half (id integer); CREATE TABLE half (id integer);"}};

    assert_int_equal(proa_db_migrate(c->sql, bad, 2), PROA_EINTERNAL);
    assert_non_null(strstr(c->err.message, "migration 2 (bad)"));
    /* The step left nothing behind, the one before stays. */
    assert_int_equal(count(c, "SELECT count(*) AS n FROM sqlite_master WHERE name = 'half'"), 0);
    assert_int_equal(count(c, "SELECT count(*) AS n FROM proa_migrations"), 1);
    bad[1].sql = "CREATE TABLE half (id integer)";
    assert_int_equal(proa_db_migrate(c->sql, bad, 2), 0);
    bad[1].sql = "INSERT INTO half VALUES (1";
    assert_int_equal(proa_db_migrate(c->sql, bad, 2), PROA_ECONFLICT);
}

static void test_a_broken_step_is_undone(void **state)
{
    with_sqlite(broken, (struct proa_db_options){0});
}

/* -- Several processes at once */

enum { PROCESSES = 4 };

static void migrate_here(struct db_case *c)
{
    int rc = proa_db_migrate(c->sql, steps, 3);

    if (rc < 0)
        print_message("%s\n", c->err.message);
    assert_int_equal(rc, 0);
}

static void test_processes_at_once(void **state)
{
    struct db_case place = {0};
    pid_t children[PROCESSES];

    db_case_folder(&place);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            struct db_case c = place;

            c.body = migrate_here;
            assert_int_equal(proa_loop_new(NULL, &c.loop), 0);
            db_case_run(&c, (struct proa_db_options){0});
            proa_loop_free(c.loop);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    {
        struct db_case c = place;

        c.body = migrate_here;
        assert_int_equal(proa_loop_new(NULL, &c.loop), 0);
        db_case_run(&c, (struct proa_db_options){0});
        proa_loop_free(c.loop);
    }
    db_case_remove(&place);
}

/* -- What the server of PostgreSQL is asked */

static void on_postgres(struct db_case *c)
{
    SCRIPT_ROWS(c, "to_regclass", 1, COLUMNS("is_there"), "f");
    assert_int_equal(proa_sim_db_on(c->script, "CREATE", &(struct proa_sim_db_answer){0}, 0), 0);
    assert_int_equal(proa_sim_db_on(c->script, "INSERT INTO proa_migrations", &(struct proa_sim_db_answer){0}, 0), 0);
    assert_int_equal(proa_sim_db_on(c->script, "FROM proa_migrations",
                                    &(struct proa_sim_db_answer){.columns = COLUMNS("number", "name", "checksum")}, 1),
                     0);
    /* The lock is not given in time: nothing is done. */
    assert_int_equal(
        proa_sim_db_on(c->script, "LOCK MIGRATIONS", &(struct proa_sim_db_answer){.code = PROA_ETIMEDOUT}, 1), 0);
    assert_int_equal(proa_db_migrate(c->sql, steps + 1, 1), PROA_ETIMEDOUT);
    assert_int_equal(proa_sim_db_calls(c->script, "CREATE"), 0);
    /* Then it is; the second look finds what the first did. */
    assert_int_equal(proa_db_migrate(c->sql, steps + 1, 1), PROA_EINTERNAL); /* the script knows no second look */
    assert_int_equal(proa_sim_db_calls(c->script, "CREATE TABLE proa_migrations"), 1);
    assert_int_equal(proa_sim_db_calls(c->script, "CREATE EXTENSION x"), 1);
    assert_int_equal(proa_sim_db_calls(c->script, "INSERT INTO proa_migrations"), 1);
    assert_int_equal(proa_sim_db_calls(c->script, "COMMIT"), 1);
}

static void test_postgres_takes_its_own_text(void **state)
{
    struct db_case c = {.body = on_postgres};

    assert_int_equal(proa_sim_db_new(&(struct proa_sim_db_options){.system = "postgresql"}, &c.script), 0);
    c.loop = sim_loop_new(NULL);
    db_case_run(&c, (struct proa_db_options){0});
    proa_loop_free(c.loop);
    proa_sim_db_free(c.script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_run_once),
        cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_a_broken_step_is_undone),
        cmocka_unit_test(test_processes_at_once),
        cmocka_unit_test(test_postgres_takes_its_own_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

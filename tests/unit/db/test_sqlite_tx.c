/* Transactions on SQLite, on a file, in memory and in a simulation. */
#include "sqlite.h"

/* -- Transactions */

static int add_two(struct proa_sql tx, void *arg)
{
    exec(tx, "INSERT INTO users (name, email) VALUES ('a', 'a@x')");
    exec(tx, "INSERT INTO users (name, email) VALUES ('b', 'b@x')");
    assert_int_equal(count(tx, "SELECT count(*) AS n FROM users"), 2);
    /* Others see nothing of it yet, and are not kept waiting. */
    tx.tx = NULL;
    assert_int_equal(count(tx, "SELECT count(*) AS n FROM users"), 0);
    return *(int *)arg;
}

static int broken_inside(struct proa_sql tx, void *arg)
{
    (void)arg;
    exec(tx, "INSERT INTO users (name, email) VALUES ('inner', 'inner@x')");
    return proa_db_exec(tx, NULL, "INSERT INTO users (name, email) VALUES ('again', 'INNER@x')");
}

static int outer(struct proa_sql tx, void *arg)
{
    exec(tx, "INSERT INTO users (name, email) VALUES ('outer', 'outer@x')");
    assert_int_equal(proa_db_transaction(tx, NULL, broken_inside, arg), PROA_EEXISTS);
    assert_int_equal(count(tx, "SELECT count(*) AS n FROM users"), 1);
    exec(tx, "INSERT INTO users (name, email) VALUES ('inner', 'inner@x')");
    return 0;
}

static int look(struct proa_sql tx, void *arg)
{
    struct db_case *c = arg;

    assert_int_equal(count(tx, "SELECT count(*) AS n FROM users"), 2);
    /* A snapshot: what is written meanwhile, and it does not wait for it, is not seen. */
    exec(c->sql, "INSERT INTO users (name, email) VALUES ('late', 'late@x')");
    assert_int_equal(count(tx, "SELECT count(*) AS n FROM users"), 2);
    assert_int_equal(proa_db_exec(tx, NULL, "DELETE FROM users"), PROA_EINTERNAL);
    return PROA_EFORBIDDEN;
}

static void transactions(struct db_case *c)
{
    int result = PROA_EFORBIDDEN;

    make_users(c);
    assert_int_equal(proa_db_transaction(c->sql, NULL, add_two, &result), PROA_EFORBIDDEN);
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 0);
    result = 0;
    assert_int_equal(proa_db_transaction(c->sql, NULL, add_two, &result), 0);
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 2);
    exec(c->sql, "DELETE FROM users");
    assert_int_equal(proa_db_transaction(c->sql, NULL, outer, NULL), 0);
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 2);
    assert_int_equal(proa_db_transaction(c->sql, &(struct proa_tx_options){.read_only = true}, look, c),
                     PROA_EFORBIDDEN);
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 3);
}

static void test_transactions(void **state)
{
    with_sqlite(transactions, (struct proa_db_options){0});
}

static int control_inside(struct proa_sql tx, void *arg)
{
    exec(tx, "INSERT INTO users (name, email) VALUES ('a', 'a@x')");
    exec(tx, "SAVEPOINT mine");
    exec(tx, "ROLLBACK TRANSACTION TO mine");
    exec(tx, "RELEASE mine");
    assert_int_equal(proa_db_exec(tx, NULL, arg), PROA_EINTERNAL);
    assert_true(proa_db_exec(tx, NULL, "INSERT INTO users (name, email) VALUES ('b', 'b@x')") < 0);
    return 0;
}

/* Only proa_db_transaction begins and ends one. */
static void controls(struct db_case *c)
{
    static const char *const texts[] = {"COMMIT", "END", "ROLLBACK", "/* /* */ commit transaction", "BEGIN"};
    static const struct proa_migration ends[] = {
        {.number = 1, .name = "ends", .sql = "INSERT INTO users (name, email) VALUES ('c', 'c'); COMMIT;"}};

    make_users(c);
    for (size_t i = 0; i < PROA_COUNT(texts); i++) {
        assert_int_equal(proa_db_transaction(c->sql, NULL, control_inside, (void *)(uintptr_t)texts[i]),
                         PROA_EINTERNAL);
        assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 0);
    }
    assert_int_equal(proa_db_migrate(c->sql, ends, 1), PROA_EINTERNAL);
    assert_non_null(strstr(c->err.message, "ended"));
}

static void test_only_transactions_begin_and_end(void **state)
{
    with_sqlite(controls, (struct proa_db_options){0});
}

static int defer(struct proa_sql tx, void *arg)
{
    (void)arg;
    exec(tx, "INSERT INTO pets (owner) VALUES (9)");
    return 0;
}

static void deferred(struct db_case *c)
{
    make_users(c);
    exec(c->sql, "CREATE TABLE pets (owner integer REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)");
    assert_int_equal(proa_db_transaction(c->sql, &(struct proa_tx_options){.retries = 3}, defer, NULL), PROA_ECONFLICT);
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM pets"), 0);
    exec(c->sql, "INSERT INTO users (id, name, email) VALUES (9, 'a', 'b')");
    assert_int_equal(proa_db_transaction(c->sql, NULL, defer, NULL), 0);
}

static void test_a_commit_that_fails_is_rolled_back(void **state)
{
    with_sqlite(deferred, (struct proa_db_options){0});
}

static int write_read_only(struct proa_sql tx, void *arg)
{
    (void)arg;
    assert_int_equal(count(tx, "SELECT count(*) AS n FROM users"), 2);
    return proa_db_exec(tx, NULL, "DELETE FROM users");
}

static void in_memory(struct db_case *c)
{
    make_users(c);
    assert_int_equal(proa_db_transaction(c->sql, NULL, outer, NULL), 0);
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 2);
    assert_int_equal(proa_db_transaction(c->sql, &(struct proa_tx_options){.read_only = true}, write_read_only, NULL),
                     PROA_EINTERNAL);
    c->sql.is_long = true;
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 2);
    exec(c->sql, "DELETE FROM users");
}

static void test_in_memory(void **state)
{
    with_sqlite(in_memory, (struct proa_db_options){.url = "sqlite::memory:"});
}

/* -- In a simulation statements run at once, in the loop's turn */

static void test_in_a_simulation(void **state)
{
    struct db_case c = {.body = transactions};

    db_case_folder(&c);
    c.loop = sim_loop_new(NULL);
    db_case_run(&c, (struct proa_db_options){0});
    proa_loop_free(c.loop);
    db_case_remove(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_only_transactions_begin_and_end),
        cmocka_unit_test(test_a_commit_that_fails_is_rolled_back),
        cmocka_unit_test(test_in_memory),
        cmocka_unit_test(test_in_a_simulation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The SQLite driver on real files: values, errors, transactions, who waits for whom, cancellation, several loops. */
#include "db_case.h"

#include <pthread.h>
#include <stdatomic.h>

struct count_row {
    int64_t n;
};
PROA_DESCRIBE(count_row, (n, i64));

struct user {
    uint64_t id;
    proa_str name;
    proa_str email;
};
PROA_DESCRIBE(user, (id, u64), (name, str), (email, str));

static const char *const schema = "CREATE TABLE users (id INTEGER PRIMARY KEY, name text NOT NULL CHECK (name <> ''),"
                                  " email text NOT NULL);";

static void exec(struct proa_sql sql, const char *text)
{
    int rc = proa_db_exec(sql, NULL, text);

    if (rc < 0)
        print_message("%s: %s\n", text, sql.err->message);
    assert_int_equal(rc, 0);
}

static int64_t count(struct proa_sql sql, const char *text)
{
    struct count_row row = {-1};
    int rc = proa_db_one(sql, &count_row_type, &row, text);

    if (rc < 0)
        print_message("%s: %s\n", text, sql.err->message);
    assert_int_equal(rc, 0);
    return row.n;
}

static void make_users(struct db_case *c)
{
    exec(c->sql, schema);
    exec(c->sql, "CREATE UNIQUE INDEX users_email_key ON users (lower(email))");
}

/* A read that goes on for ever. */
#define ENDLESS "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT max(i) AS n FROM r"

#define ENDLESS_ROWS "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT 'a', 'a' || i FROM r"

/* -- Values */

struct values {
    PROA_OPTIONAL(int64_t) i;
    PROA_OPTIONAL(double) f;
    PROA_OPTIONAL(bool) b;
    PROA_OPTIONAL(proa_str) t;
    PROA_OPTIONAL(proa_str) y;
    PROA_OPTIONAL(proa_time_ns) at;
    PROA_OPTIONAL(proa_str) j;
};
PROA_DESCRIBE(values, (i, optional(i64)), (f, optional(f64)), (b, optional(boolean)), (t, optional(str)),
              (y, optional(bytes)), (at, optional(timestamp)), (j, optional(raw)));

#define STORE "INSERT INTO v (i, f, b, t, y, at, j) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING i, f, b, t, y, at, j"

static void round_trip(struct db_case *c)
{
    struct values v;

    exec(c->sql, "CREATE TABLE v (i integer, f real, b integer, t text, y blob, at text, j text)");
    assert_int_equal(proa_db_one(c->sql, &values_type, &v, STORE, proa_i64(INT64_MIN), proa_f64(-1.5), proa_bool(true),
                                 proa_text(PROA_STR("\xe2\x82\xac")), proa_blob(PROA_STR("\0\xff")),
                                 proa_time(1767323045678901234), proa_json_value(PROA_STR("{\"a\":1}"))),
                     0);
    assert_true(v.i.value == INT64_MIN && v.f.value == -1.5 && v.b.value);
    assert_true(proa_str_eq_c(v.t.value, "\xe2\x82\xac"));
    assert_true(proa_str_eq(v.y.value, PROA_STR("\0\xff")));
    assert_true(v.at.value == 1767323045678901000); /* microseconds, as in PostgreSQL */
    assert_true(proa_str_eq_c(v.j.value, "{\"a\":1}"));
    assert_int_equal(proa_db_one(c->sql, &values_type, &v, STORE, proa_null(), proa_null(), proa_null(), proa_null(),
                                 proa_null(), proa_null(), proa_null()),
                     0);
    assert_int_equal(v.i.presence, PROA_NULL);
    assert_int_equal(v.y.presence, PROA_NULL);
    /* Empty is not NULL. */
    assert_int_equal(proa_db_one(c->sql, &values_type, &v, STORE, proa_u64(INT64_MAX), proa_f64(3), proa_bool(false),
                                 proa_text((proa_str){NULL, 0}), proa_blob((proa_str){NULL, 0}), proa_time(0),
                                 proa_json_value(PROA_STR("1"))),
                     0);
    assert_true(v.i.value == INT64_MAX && v.f.value == 3 && !v.b.value);
    assert_true(v.t.presence == PROA_SET && v.t.value.len == 0);
    assert_true(v.y.presence == PROA_SET && v.y.value.len == 0);
    assert_true(v.at.presence == PROA_SET && v.at.value == 0);
    /* The clock of SQLite reads it and writes what a timestamp reads. */
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM v WHERE datetime(at) = '2026-01-02 03:04:05'"), 1);
    assert_int_equal(proa_db_one(c->sql, &values_type, &v, "SELECT CURRENT_TIMESTAMP AS at, 5 AS j, 1.5 AS f, 7 AS t"),
                     0);
    assert_true(v.at.value > 1700000000000000000);
    assert_true(proa_str_eq_c(v.j.value, "5"));
    assert_true(proa_str_eq_c(v.t.value, "7"));
    assert_int_equal(proa_db_one(c->sql, &values_type, &v, "SELECT 2 AS b"), PROA_EINTERNAL);
    assert_int_equal(proa_db_one(c->sql, &values_type, &v, "SELECT 1.5 AS i"), PROA_EINTERNAL);
    assert_int_equal(proa_db_one(c->sql, &values_type, &v, "SELECT x'00' AS t"), PROA_EINTERNAL);
    assert_int_equal(proa_db_one(c->sql, &values_type, &v, "SELECT 3.0 AS i"), 0);
    assert_true(v.i.value == 3);
}

static void test_values_round_trip(void **state)
{
    with_sqlite(round_trip, (struct proa_db_options){0});
}

/* A parameter's number, not its place, says which value it is. */
static void numbers(struct db_case *c)
{
    struct user user;

    assert_int_equal(proa_db_one(c->sql, &user_type, &user, "SELECT $3 AS id, $1 AS name, $2 || $1 AS email",
                                 proa_text(PROA_STR("a")), proa_text(PROA_STR("b")), proa_u64(9)),
                     0);
    assert_true(user.id == 9);
    assert_true(proa_str_eq_c(user.name, "a"));
    assert_true(proa_str_eq_c(user.email, "ba"));
}

static void test_parameters_by_number(void **state)
{
    with_sqlite(numbers, (struct proa_db_options){0});
}

/* -- Statements */

static void statements(struct db_case *c)
{
    PROA_ARRAY_OF(struct user) users;
    struct user user;
    uint64_t rows = 99;

    make_users(c);
    assert_int_equal(proa_db_exec(c->sql, &rows, "CREATE TABLE t (id integer)"), 0);
    assert_int_equal(rows, 0);
    assert_int_equal(proa_db_exec(c->sql, &rows, "INSERT INTO users (name, email) VALUES ('a', 'a@x'), ('b', 'b@x')"),
                     0);
    assert_int_equal(rows, 2);
    assert_int_equal(proa_db_exec(c->sql, &rows, "UPDATE users SET name = 'c' WHERE id = 77"), 0);
    assert_int_equal(rows, 0);
    assert_int_equal(proa_db_exec(c->sql, &rows, "CREATE TABLE t2 (id integer)"), 0);
    assert_int_equal(rows, 0);
    assert_int_equal(proa_db_exec(c->sql, &rows, "SELECT 1"), 0);
    assert_int_equal(rows, 0);
    assert_int_equal(proa_db_all(c->sql, &user_type, &users, 10, "SELECT id, name, email FROM users ORDER BY id"), 0);
    assert_int_equal(users.len, 2);
    assert_true(proa_str_eq_c(users.ptr[1].email, "b@x"));
    assert_int_equal(proa_db_all(c->sql, &user_type, &users, 1, "SELECT id, name, email FROM users"), PROA_ETOOLARGE);
    assert_int_equal(proa_db_one(c->sql, &user_type, &user, "SELECT id, name, email FROM users WHERE id = 5"),
                     PROA_ENOTFOUND);
    /* A write of which only the first row is looked at is done whole. */
    assert_int_equal(proa_db_one(c->sql, &user_type, &user, "UPDATE users SET name = 'z' RETURNING id, name, email"),
                     0);
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users WHERE name = 'z'"), 2);
    assert_int_equal(proa_db_write(c->sql, &user_type,
                                   (&(struct user){.name = PROA_STR("w"), .email = PROA_STR("w@x")}), &user_type, &user,
                                   "INSERT INTO users (name, email) VALUES (:name, :email) RETURNING id, name, email"),
                     0);
    assert_true(user.id == 3);
    assert_int_equal(proa_db_ping(c->sql), 0);
    /* Settled to see through by every connection. */
    assert_int_equal(count(c->sql, "SELECT foreign_keys AS n FROM pragma_foreign_keys"), 1);
    assert_int_equal(count(c->sql, "SELECT journal_mode = 'wal' AS n FROM pragma_journal_mode"), 1);
}

static void test_statements(void **state)
{
    with_sqlite(statements, (struct proa_db_options){0});
}

static void bad_statements(struct db_case *c)
{
    static const char *const texts[] = {
        "",         "  -- nothing\n", "SELEKT 1",  "SELECT 1; SELECT 2", "SELECT * FROM nowhere",
        "SELECT ?", "SELECT :name",   "SELECT $1", "SELECT $0",          "SELECT \"a text, not a name\"",
        "BEGIN",    "SAVEPOINT a",    "COMMIT"};

    for (size_t i = 0; i < PROA_COUNT(texts); i++) {
        c->err.code = 0;
        assert_int_equal(proa_db_exec(c->sql, NULL, texts[i]), PROA_EINTERNAL);
        assert_int_equal(c->err.code, PROA_EINTERNAL);
    }
    assert_int_equal(proa_db_exec(c->sql, NULL, "SELECT $1", proa_i64(1), proa_i64(2)), PROA_EINTERNAL);
    assert_int_equal(proa_db_exec(c->sql, NULL, "SELECT $2", proa_i64(1)), PROA_EINTERNAL);
    exec(c->sql, "SELECT 1; -- one\n /* statement */ ;");
    /* None of them left a transaction open. */
    make_users(c);
    exec(c->sql, "INSERT INTO users (name, email) VALUES ('a', 'a@x')");
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 1);
}

static void test_bad_statements(void **state)
{
    with_sqlite(bad_statements, (struct proa_db_options){0});
}

static void check_broken_rule(struct db_case *c, const char *text, int code, const char *constraint)
{
    assert_int_equal(proa_db_exec(c->sql, NULL, text), code);
    assert_string_equal(proa_db_constraint(&c->err), constraint);
}

static void rules(struct db_case *c)
{
    make_users(c);
    exec(c->sql, "CREATE TABLE pets (id integer PRIMARY KEY, owner integer REFERENCES users (id) ON DELETE RESTRICT,"
                 " name text UNIQUE, legs integer CONSTRAINT has_legs CHECK (legs >= 0))");
    exec(c->sql, "CREATE TABLE strict_one (n integer) STRICT");
    exec(c->sql, "INSERT INTO users (id, name, email) VALUES (1, 'a', 'A@x')");
    exec(c->sql, "INSERT INTO pets (owner, name) VALUES (1, 'rex')");
    check_broken_rule(c, "INSERT INTO users (name, email) VALUES ('b', 'a@X')", PROA_EEXISTS, "users_email_key");
    check_broken_rule(c, "INSERT INTO users (id, name, email) VALUES (1, 'b', 'b')", PROA_EEXISTS, "users.id");
    check_broken_rule(c, "INSERT INTO pets (name) VALUES ('rex')", PROA_EEXISTS, "pets.name");
    check_broken_rule(c, "INSERT INTO pets (owner) VALUES (9)", PROA_ECONFLICT, "");
    check_broken_rule(c, "DELETE FROM users WHERE id = 1", PROA_ECONFLICT, "");
    check_broken_rule(c, "INSERT INTO users (name, email) VALUES (NULL, 'b')", PROA_EVALIDATION, "users.name");
    check_broken_rule(c, "INSERT INTO pets (legs) VALUES (-1)", PROA_EVALIDATION, "has_legs");
    check_broken_rule(c, "INSERT INTO strict_one (n) VALUES ('x')", PROA_EVALIDATION, "");
    check_broken_rule(c, "INSERT INTO users (id, name, email) VALUES ('x', 'b', 'b')", PROA_EVALIDATION, "");
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 1);
}

static void test_broken_rules_and_their_names(void **state)
{
    with_sqlite(rules, (struct proa_db_options){0});
}

/* A statement that was prepared before the schema changed binds what it now gives. */
static void new_schema(struct db_case *c)
{
    struct user user;

    exec(c->sql, "CREATE TABLE changing (id integer, name text, email text)");
    exec(c->sql, "INSERT INTO changing VALUES (1, 'n', 'e')");
    assert_int_equal(proa_db_one(c->sql, &user_type, &user, "SELECT * FROM changing"), 0);
    exec(c->sql, "DROP TABLE changing");
    exec(c->sql, "CREATE TABLE changing (email text, id integer, name text)");
    exec(c->sql, "INSERT INTO changing VALUES ('e', 2, 'n')");
    assert_int_equal(proa_db_one(c->sql, &user_type, &user, "SELECT * FROM changing"), 0);
    assert_true(user.id == 2 && proa_str_eq_c(user.name, "n") && proa_str_eq_c(user.email, "e"));
    exec(c->sql, "ALTER TABLE changing ADD COLUMN more text");
    assert_int_equal(proa_db_one(c->sql, &user_type, &user, "SELECT * FROM changing"), PROA_EINTERNAL);
    assert_non_null(strstr(c->err.message, "\"more\""));
    /* Also without rows. */
    exec(c->sql, "DELETE FROM changing");
    assert_int_equal(proa_db_one(c->sql, &user_type, &user, "SELECT * FROM changing"), PROA_EINTERNAL);
    exec(c->sql, "DROP TABLE changing");
    assert_int_equal(proa_db_one(c->sql, &user_type, &user, "SELECT * FROM changing"), PROA_EINTERNAL);
}

static void test_a_schema_that_changes(void **state)
{
    with_sqlite(new_schema, (struct proa_db_options){0});
}

/* More texts than any cache holds. */
static void many_texts(struct db_case *c)
{
    char text[64];

    make_users(c);
    for (int i = 0; i < 1200; i++) {
        (void)snprintf(text, sizeof text, "DELETE FROM users WHERE id = %d", i);
        exec(c->sql, text);
        (void)snprintf(text, sizeof text, "SELECT %d AS n", i % 100);
        assert_int_equal(count(c->sql, text), i % 100);
    }
    exec(c->sql, "DELETE FROM users WHERE id = 0");
}

static void test_more_texts_than_are_kept(void **state)
{
    with_sqlite(many_texts, (struct proa_db_options){0});
}

static void large_results(struct db_case *c)
{
    struct values v;

    assert_int_equal(proa_db_one(c->sql, &values_type, &v, "SELECT zeroblob(1000000) AS y"), 0);
    assert_int_equal(v.y.value.len, 1000000);
    assert_int_equal(proa_db_one(c->sql, &values_type, &v, "SELECT zeroblob(70000000) AS y"), PROA_ETOOLARGE);
    assert_int_equal(count(c->sql, "SELECT 1 AS n"), 1);
}

static void test_large_results(void **state)
{
    with_sqlite(large_results, (struct proa_db_options){0});
}

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

/* -- Cancellation and deadlines */

struct running {
    struct proa_sql sql;
    const char *text;
    int rc;
    struct proa_error err;
};

static int run_text(void *arg)
{
    struct running *own = arg;

    own->sql.err = &own->err;
    own->rc = proa_db_exec(own->sql, NULL, own->text);
    return 0;
}

static void canceled(struct db_case *c)
{
    struct running reader = {.sql = c->sql, .text = ENDLESS};
    struct running writer = {.sql = c->sql, .text = "INSERT INTO users (name, email) " ENDLESS_ROWS};
    proa_mono_ns began;

    make_users(c);
    exec(c->sql, "DELETE FROM users WHERE 0");
    for (int i = 0; i < 20; i++) {
        struct proa_group group;

        proa_group_init(&group, c->loop);
        assert_int_equal(proa_group_start(&group, NULL, run_text, &reader), 0);
        assert_int_equal(proa_group_start(&group, NULL, run_text, &writer), 0);
        /* From before it began to when it is long under way. */
        assert_int_equal(proa_sleep(c->loop, PROA_MS(1) * (uint64_t)i / 2), 0);
        began = proa_loop_now_exact(c->loop);
        proa_group_cancel(&group, 0);
        assert_int_equal(proa_group_wait(&group), 0);
        assert_true(proa_loop_now_exact(c->loop) - began < PROA_SECONDS(1));
        assert_int_equal(reader.rc, PROA_ECANCELED);
        assert_int_equal(writer.rc, PROA_ECANCELED);
        /* The interrupt hits nobody else, and nothing of the write stays. */
        assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 0);
        exec(c->sql, "INSERT INTO users (name, email) VALUES ('a', 'a@x')");
        exec(c->sql, "DELETE FROM users");
    }
}

static void test_cancellation_interrupts_the_statement(void **state)
{
    with_sqlite(canceled, (struct proa_db_options){0});
}

static int long_write(struct proa_sql tx, void *arg)
{
    (void)arg;
    exec(tx, "INSERT INTO users (name, email) VALUES ('a', 'a@x')");
    return proa_db_exec(tx, NULL, "INSERT INTO users (name, email) " ENDLESS_ROWS);
}

static int long_read(struct proa_sql tx, void *arg)
{
    (void)arg;
    assert_int_equal(count(tx, "SELECT count(*) AS n FROM users"), 0);
    return proa_db_exec(tx, NULL, ENDLESS);
}

static void deadlines(struct db_case *c)
{
    struct proa_deadline_scope scope;
    proa_mono_ns began = proa_loop_now_exact(c->loop);

    make_users(c);
    /* statement_ms */
    assert_int_equal(proa_db_exec(c->sql, NULL, ENDLESS), PROA_ETIMEDOUT);
    assert_in_range(proa_loop_now_exact(c->loop) - began, PROA_MS(100), PROA_SECONDS(2));
    /* The fiber's, also in transactions, which end rolled back. */
    for (int i = 0; i < 3; i++) {
        scope = proa_deadline_enter(c->loop, proa_loop_now_exact(c->loop) + PROA_MS(50));
        if (i == 0)
            assert_int_equal(proa_db_exec(c->sql, NULL, ENDLESS), PROA_ETIMEDOUT);
        else if (i == 1)
            assert_int_equal(proa_db_transaction(c->sql, NULL, long_write, NULL), PROA_ETIMEDOUT);
        else
            assert_int_equal(proa_db_transaction(c->sql, &(struct proa_tx_options){.read_only = true}, long_read, NULL),
                             PROA_ETIMEDOUT);
        /* What comes later is not begun. */
        assert_int_equal(proa_db_exec(c->sql, NULL, "SELECT 1"), PROA_ETIMEDOUT);
        assert_int_equal(proa_db_transaction(c->sql, NULL, long_write, NULL), PROA_ETIMEDOUT);
        proa_deadline_leave(&scope);
        assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 0);
    }
    /* A long statement has the fiber's deadline only. */
    scope = proa_deadline_enter(c->loop, proa_loop_now_exact(c->loop) + PROA_MS(300));
    c->sql.is_long = true;
    began = proa_loop_now_exact(c->loop);
    assert_int_equal(proa_db_exec(c->sql, NULL, ENDLESS), PROA_ETIMEDOUT);
    assert_true(proa_loop_now_exact(c->loop) - began >= PROA_MS(290));
    proa_deadline_leave(&scope);
}

static void test_deadlines(void **state)
{
    with_sqlite(deadlines, (struct proa_db_options){.statement_ms = 100});
}

/* -- Who waits */

static void readers(struct db_case *c)
{
    struct running endless[6];
    struct proa_group group;

    make_users(c);
    proa_group_init(&group, c->loop);
    /* Two long ones run, a third waits; one single read of two connections hangs. */
    for (size_t i = 0; i < 4; i++) {
        endless[i] = (struct running){.sql = c->sql, .text = ENDLESS};
        endless[i].sql.is_long = i > 0;
        assert_int_equal(proa_group_start(&group, NULL, run_text, &endless[i]), 0);
    }
    assert_int_equal(proa_sleep(c->loop, PROA_MS(20)), 0);
    /* Reads and writes go on beside them. */
    for (int i = 0; i < 20; i++) {
        exec(c->sql, "INSERT INTO users (name, email) VALUES ('a', 'a@x')");
        assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM users"), 1);
        exec(c->sql, "DELETE FROM users");
    }
    proa_group_cancel(&group, PROA_ECLOSED);
    assert_int_equal(proa_group_wait(&group), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(endless[i].rc, PROA_ECLOSED);
}

static void test_reads_run_in_parallel(void **state)
{
    with_sqlite(readers, (struct proa_db_options){.shared_connections = 2});
}

/* Writers are served in the order of asking. */
static int order[16];
static int order_len;

static int write_in_turn(struct proa_sql tx, void *arg)
{
    order[order_len++] = *(int *)arg;
    PROA_TRY(proa_sleep(tx.loop, PROA_MS(1)));
    return proa_db_exec(tx, NULL, "INSERT INTO turns VALUES (1)");
}

struct turn {
    struct proa_sql sql;
    struct proa_error err;
    int number;
    int rc;
};

static int take_turn(void *arg)
{
    struct turn *own = arg;

    own->sql.err = &own->err;
    own->rc = proa_db_transaction(own->sql, NULL, write_in_turn, &own->number);
    return 0;
}

static void in_turn(struct db_case *c)
{
    struct turn turns[16];
    struct proa_group group;

    exec(c->sql, "CREATE TABLE turns (n integer)");
    order_len = 0;
    proa_group_init(&group, c->loop);
    for (int i = 0; i < 16; i++) {
        turns[i] = (struct turn){.sql = c->sql, .number = i};
        assert_int_equal(proa_group_start(&group, NULL, take_turn, &turns[i]), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(order_len, 16);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(turns[i].rc, 0);
        assert_int_equal(order[i], i);
    }
    assert_int_equal(count(c->sql, "SELECT count(*) AS n FROM turns"), 16);
}

static void test_writers_in_the_order_of_asking(void **state)
{
    with_sqlite(in_turn, (struct proa_db_options){0});
}

static void too_many(struct db_case *c)
{
    struct turn turns[8];
    struct proa_group group;
    int busy = 0, done = 0;

    exec(c->sql, "CREATE TABLE turns (n integer)");
    order_len = 0;
    proa_group_init(&group, c->loop);
    for (int i = 0; i < 8; i++) {
        turns[i] = (struct turn){.sql = c->sql, .number = i};
        assert_int_equal(proa_group_start(&group, NULL, take_turn, &turns[i]), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
    for (int i = 0; i < 8; i++) {
        busy += turns[i].rc == PROA_EBUSY;
        done += turns[i].rc == 0;
    }
    assert_int_equal(done, 4);
    assert_int_equal(busy, 4);
}

static void test_bounded_waiting(void **state)
{
    with_sqlite(too_many, (struct proa_db_options){.waiting_max = 3});
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

/* -- Metrics */

static struct proa_metrics *metrics;

static void expect_line(const char *line)
{
    struct proa_buf text;

    proa_buf_init(&text, NULL, 0);
    assert_int_equal(proa_metrics_write(metrics, PROA_METRICS_TEXT, &text), 0);
    if (proa_str_find(proa_buf_str(&text), proa_str_c(line)) < 0) {
        print_message("no line %s in\n" PROA_FMT, line, PROA_ARG(proa_buf_str(&text)));
        fail();
    }
    proa_buf_done(&text);
}

#define POOL(metric, pool, state, value)                                                                               \
    "db_client_connection_" metric "{db_system_name=\"sqlite\",db_client_connection_pool_name=\"" pool "\"" state      \
    "} " value

static int look_at_pools(struct proa_sql tx, void *arg)
{
    struct running waiting = {.sql = *(struct proa_sql *)arg,
                              .text = "INSERT INTO users (name, email) VALUES ('w', 'w')"};
    struct proa_group group;

    proa_group_init(&group, tx.loop);
    assert_int_equal(proa_group_start(&group, NULL, run_text, &waiting), 0);
    assert_int_equal(proa_sleep(tx.loop, PROA_MS(20)), 0);
    expect_line(POOL("pending_requests", "own", "", "1"));
    expect_line(POOL("count", "own", ",db_client_connection_state=\"used\"", "1"));
    expect_line(POOL("count", "own", ",db_client_connection_state=\"idle\"", "0"));
    proa_group_cancel(&group, PROA_ETIMEDOUT);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(waiting.rc, PROA_ETIMEDOUT);
    return 0;
}

static void pools(struct db_case *c)
{
    make_users(c);
    assert_int_equal(count(c->sql, "SELECT 1 AS n"), 1);
    assert_int_equal(proa_db_transaction(c->sql, NULL, look_at_pools, &c->sql), 0);
    expect_line(POOL("pending_requests", "own", "", "0"));
    expect_line(POOL("timeouts_total", "own", "", "1"));
    expect_line(POOL("count", "own", ",db_client_connection_state=\"idle\"", "1"));
    expect_line(POOL("count", "shared", ",db_client_connection_state=\"idle\"", "1"));
    expect_line(POOL("max", "shared", "", "4"));
    expect_line(POOL("max", "own", "", "19")); /* the writer, 2 long, 16 of transactions */
}

static void test_metrics_of_the_pools(void **state)
{
    assert_int_equal(proa_metrics_new(1, &metrics), 0);
    with_sqlite(pools, (struct proa_db_options){.metrics = metrics});
    expect_line(POOL("count", "own", ",db_client_connection_state=\"idle\"", "0"));
    expect_line(POOL("count", "shared", ",db_client_connection_state=\"idle\"", "0"));
    proa_metrics_free(metrics);
}

/* -- Several loops */

enum { LOOPS = 3, FIBERS = 12, WRITES = 15 };

static struct proa_loops *loops;
static struct proa_db *shared_db;
static _Atomic int fibers_left;
static _Atomic int acknowledged;

static int increment(struct proa_sql tx, void *arg)
{
    struct count_row row;

    (void)arg;
    PROA_TRY(proa_db_one(tx, &count_row_type, &row, "SELECT n FROM counter"));
    return proa_db_exec(tx, NULL, "UPDATE counter SET n = $1", proa_i64(row.n + 1));
}

static int hammer(void *arg)
{
    struct proa_loop *loop = arg;

    for (int i = 0; i < WRITES; i++) {
        struct proa_arena arena;
        struct proa_error err = {0};
        struct proa_sql sql = proa_sql(shared_db, loop, &arena, &err);
        struct proa_deadline_scope scope = proa_deadline_enter(loop, PROA_NEVER);
        int rc;

        proa_arena_init(&arena, proa_loop_blocks(loop), 0);
        /* Some give up while they wait, or just as they are given the writer. */
        if (i % 3 == 2)
            scope = proa_deadline_enter(loop, proa_loop_now_exact(loop) + proa_loop_random_u64(loop) % PROA_MS(20));
        if (i % 2)
            rc = proa_db_transaction(sql, NULL, increment, NULL);
        else
            rc = proa_db_exec(sql, NULL, "UPDATE counter SET n = n + 1");
        proa_deadline_leave(&scope);
        if (rc == 0)
            acknowledged++;
        else
            assert_int_equal(rc, PROA_ETIMEDOUT);
        assert_true(count(sql, "SELECT n FROM counter") >= 0);
        proa_arena_done(&arena);
    }
    fibers_left--;
    return 0;
}

struct starter {
    struct proa_task task;
    struct proa_loop *loop;
};

static void start_fibers(struct proa_task *task)
{
    struct starter *own = PROA_CONTAINER(task, struct starter, task);

    for (int i = 0; i < FIBERS / LOOPS; i++)
        assert_int_equal(proa_loop_start_fiber(own->loop, NULL, hammer, own->loop), 0);
}

static int on_loops(void *arg)
{
    struct proa_loop *loop = arg;
    struct starter starters[LOOPS];
    struct proa_arena arena;
    struct proa_error err = {0};
    struct proa_sql sql = proa_sql(shared_db, loop, &arena, &err);

    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    exec(sql, "CREATE TABLE counter (n integer)");
    exec(sql, "INSERT INTO counter VALUES (0)");
    fibers_left = FIBERS;
    acknowledged = 0;
    for (uint32_t i = 0; i < LOOPS; i++) {
        starters[i] = (struct starter){.task = {.run = start_fibers}, .loop = proa_loops_at(loops, i)};
        proa_loop_post(starters[i].loop, &starters[i].task);
    }
    while (fibers_left > 0)
        assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
    assert_int_equal(count(sql, "SELECT n FROM counter"), acknowledged);
    assert_true(acknowledged >= FIBERS * WRITES / 2);
    proa_arena_done(&arena);
    proa_db_close(shared_db);
    return 0;
}

static void test_several_loops_lose_no_write(void **state)
{
    const struct proa_db_driver *drivers[] = {&proa_sqlite_driver, NULL};
    struct db_case place = {0};
    struct proa_error err = {0};

    db_case_folder(&place);
    assert_int_equal(proa_loops_new(LOOPS, NULL, &loops, &err), 0);
    assert_int_equal(
        proa_db_open(&(struct proa_db_options){.url = place.url, .loops = loops, .drivers = drivers}, &shared_db, &err),
        0);
    assert_int_equal(proa_loop_start_fiber(proa_loops_at(loops, 0), NULL, on_loops, proa_loops_at(loops, 0)), 0);
    assert_int_equal(proa_loops_run(loops, &err), 0);
    proa_loops_free(loops);
    db_case_remove(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_round_trip),
        cmocka_unit_test(test_parameters_by_number),
        cmocka_unit_test(test_statements),
        cmocka_unit_test(test_bad_statements),
        cmocka_unit_test(test_broken_rules_and_their_names),
        cmocka_unit_test(test_a_schema_that_changes),
        cmocka_unit_test(test_more_texts_than_are_kept),
        cmocka_unit_test(test_large_results),
        cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_a_commit_that_fails_is_rolled_back),
        cmocka_unit_test(test_in_memory),
        cmocka_unit_test(test_cancellation_interrupts_the_statement),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_reads_run_in_parallel),
        cmocka_unit_test(test_writers_in_the_order_of_asking),
        cmocka_unit_test(test_bounded_waiting),
        cmocka_unit_test(test_in_a_simulation),
        cmocka_unit_test(test_metrics_of_the_pools),
        cmocka_unit_test(test_several_loops_lose_no_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The SQLite driver on real files: values, statements, errors. test_sqlite_<topic>.c have the rest. */
#include "sqlite.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/** What tests of the SQLite driver share: a table of users, and statements that go on for ever. */
#ifndef PROA_TESTS_SQLITE_H
#define PROA_TESTS_SQLITE_H

#include "db_case.h"

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

__attribute__((unused)) static const char *const schema =
    "CREATE TABLE users (id INTEGER PRIMARY KEY, name text NOT NULL CHECK (name <> ''),"
    " email text NOT NULL);";

static inline void exec(struct proa_sql sql, const char *text)
{
    int rc = proa_db_exec(sql, NULL, text);

    if (rc < 0)
        print_message("%s: %s\n", text, sql.err->message);
    assert_int_equal(rc, 0);
}

static inline int64_t count(struct proa_sql sql, const char *text)
{
    struct count_row row = {-1};
    int rc = proa_db_one(sql, &count_row_type, &row, text);

    if (rc < 0)
        print_message("%s: %s\n", text, sql.err->message);
    assert_int_equal(rc, 0);
    return row.n;
}

static inline void make_users(struct db_case *c)
{
    exec(c->sql, schema);
    exec(c->sql, "CREATE UNIQUE INDEX users_email_key ON users (lower(email))");
}

/* A read that goes on for ever. */
#define ENDLESS "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT max(i) AS n FROM r"

#define ENDLESS_ROWS "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT 'a', 'a' || i FROM r"

#endif

/* Columns into members by kind: what fits, what does not, and what the error says. */
#include "db_case.h"

enum color { RED = 1, BLUE = 2 };
PROA_ENUM(color, (RED, "red"), (BLUE, "blue"));

struct point {
    int32_t x;
    int32_t y;
};
PROA_DESCRIBE(point, (x, i32), (y, i32));

struct all {
    bool flag;
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    double f64;
    proa_str text;
    enum color color;
    struct point point;
    proa_str raw;
    proa_str bytes;
    proa_time_ns at;
    struct proa_duration wait;
    struct proa_quantity room;
    PROA_ARRAY_OF(int32_t) list;
};
PROA_DESCRIBE(all, (flag, boolean), (i8, i8), (i16, i16), (i32, i32), (i64, i64), (u8, u8), (u16, u16), (u32, u32),
              (u64, u64), (f64, f64), (text, str), (color, enumeration(color)), (point, object(point)), (raw, raw),
              (bytes, bytes), (at, timestamp), (wait, duration), (room, quantity), (list, array(i32)));

#define ALL_COLUMNS                                                                                                    \
    COLUMNS("flag", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f64", "text", "color", "point", "raw",      \
            "bytes", "at", "wait", "room", "list")

static void all_kinds(struct db_case *c)
{
    struct all all;

    SCRIPT_ROWS(c, "SELECT", 1, ALL_COLUMNS, "t", "-128", "32767", "-2147483648", "-9223372036854775808", "255",
                "65535", "4294967295", "18446744073709551615", "1.5e3", "na\xc3\xafve", "blue", "{\"x\":1,\"y\":-2}",
                "[1, {}]", "raw bytes", "2026-01-02T03:04:05.678901Z", "1500000000", "64Mi", "[1,2,3]");
    assert_int_equal(proa_db_one(c->sql, &all_type, &all, "SELECT"), 0);
    assert_true(all.flag);
    assert_int_equal(all.i8, -128);
    assert_int_equal(all.i16, 32767);
    assert_int_equal(all.i32, INT32_MIN);
    assert_true(all.i64 == INT64_MIN);
    assert_int_equal(all.u8, 255);
    assert_int_equal(all.u16, 65535);
    assert_int_equal(all.u32, UINT32_MAX);
    assert_true(all.u64 == UINT64_MAX);
    assert_true(all.f64 == 1500.0);
    assert_true(proa_str_eq_c(all.text, "na\xc3\xafve"));
    assert_int_equal(all.color, BLUE);
    assert_int_equal(all.point.x, 1);
    assert_int_equal(all.point.y, -2);
    assert_true(proa_str_eq_c(all.raw, "[1, {}]"));
    assert_true(proa_str_eq_c(all.bytes, "raw bytes"));
    assert_true(all.at == 1767323045678901000);
    assert_true(all.wait.ns == 1500000000);
    assert_true(all.room.bytes == 64u << 20);
    assert_int_equal(all.list.len, 3);
    assert_int_equal(all.list.ptr[2], 3);
}

static void test_every_kind_from_text(void **state)
{
    with_script(all_kinds, (struct proa_db_options){0});
}

/* One column of the struct, given as text, does not fit. */
static void misfits(struct db_case *c)
{
    static const struct {
        const char *column;
        const char *value;
    } cases[] = {
        {"flag", "yes"},      {"flag", ""},         {"i8", "128"},          {"i8", "-129"},
        {"i16", "32768"},     {"i32", "x"},         {"i32", "2147483648"},  {"i64", "9223372036854775808"},
        {"u8", "256"},        {"u8", "-1"},         {"u16", "65536"},       {"u32", "4294967296"},
        {"u64", "1.0"},       {"f64", "NaN"},       {"f64", "Infinity"},    {"text", "\xff"},
        {"color", "green"},   {"point", "[]"},      {"point", "{\"x\":1}"}, {"raw", "{"},
        {"at", "yesterday"},  {"at", "2026-13-01"}, {"at", "2026-01-02 3"}, {"wait", "-1"},
        {"wait", "1 parsec"}, {"room", "1e3"},      {"list", "1,2"},        {"list", "[1,\"a\"]"},
    };
    static const char *const columns[] = {"flag", "i8",    "i16",   "i32", "i64",   "u8", "u16",  "u32",  "u64",  "f64",
                                          "text", "color", "point", "raw", "bytes", "at", "wait", "room", "list", NULL};
    const char *good[] = {"t", "1", "1",          "1", "1", "1", "1", "1", "1", "1", "a", "red", "{\"x\":1,\"y\":2}",
                          "1", "b", "2026-01-02", "0", "0", "[]"};

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        const char *values[PROA_COUNT(good)];
        struct proa_sim_db_answer answer = {.columns = columns, .values = values, .rows = 1};
        struct all all;

        for (size_t k = 0; k < PROA_COUNT(good); k++)
            values[k] = strcmp(columns[k], cases[i].column) == 0 ? cases[i].value : good[k];
        assert_int_equal(proa_sim_db_on(c->script, "SELECT", &answer, 1), 0);
        assert_int_equal(proa_db_one(c->sql, &all_type, &all, "SELECT"), PROA_EINTERNAL);
        assert_non_null(strstr(c->err.message, cases[i].column));
        /* NULL into a required member. */
        for (size_t k = 0; k < PROA_COUNT(good); k++)
            values[k] = strcmp(columns[k], cases[i].column) == 0 ? NULL : good[k];
        assert_int_equal(proa_sim_db_on(c->script, "SELECT", &answer, 1), 0);
        assert_int_equal(proa_db_one(c->sql, &all_type, &all, "SELECT"), PROA_EINTERNAL);
        assert_non_null(strstr(c->err.message, "NULL"));
    }
}

static void test_misfits_name_the_column(void **state)
{
    with_script(misfits, (struct proa_db_options){0});
}

struct moment {
    proa_time_ns at;
};
PROA_DESCRIBE(moment, (at, timestamp));

static void times(struct db_case *c)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {
        {"1970-01-01T00:00:10Z", 10},
        {"1970-01-01 00:00:10", 10},
        {"1970-01-01 00:00:10+00", 10},
        {"1970-01-01 01:00:10+01", 10},
        {"1970-01-01 05:30:10+05:30", 10},
        {"1969-12-31 19:00:10-05", 10},
        {"1970-01-01", 0},
        {"1970-01-01 00:00:10.000", 10},
        {"1970-01-01t00:00:10z", 10},
        {"1970-01-01 00:00:10.000000+00", 10},
    };

    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        struct moment moment;

        SCRIPT_ROWS(c, "SELECT", 1, COLUMNS("at"), cases[i].text);
        assert_int_equal(proa_db_one(c->sql, &moment_type, &moment, "SELECT"), 0);
        assert_true(moment.at == cases[i].seconds * 1000000000);
    }
}

static void test_times_as_databases_write_them(void **state)
{
    with_script(times, (struct proa_db_options){0});
}

struct loose {
    uint64_t id;
    PROA_OPTIONAL(proa_str) note;
    PROA_OPTIONAL(int32_t) count;
    int32_t limit;
    proa_str kind;
};
PROA_DESCRIBE(loose, (id, u64, .column = "loose_id"), (note, optional(str)), (count, optional(i32)),
              (limit, i32, .default_json = "20"), (kind, str, .json = "type", .default_json = "\"plain\""));

static void optionals(struct db_case *c)
{
    struct loose loose;

    SCRIPT_ROWS(c, "SELECT", 1, COLUMNS("note", "loose_id"), NULL, "7");
    assert_int_equal(proa_db_one(c->sql, &loose_type, &loose, "SELECT"), 0);
    assert_true(loose.id == 7);
    assert_int_equal(loose.note.presence, PROA_NULL);
    assert_int_equal(loose.count.presence, PROA_ABSENT);
    assert_int_equal(loose.limit, 20);
    assert_true(proa_str_eq_c(loose.kind, "plain"));

    SCRIPT_ROWS(c, "SELECT", 1, COLUMNS("loose_id", "note", "count", "limit", "type"), "8", "n", "-3", "5", "other");
    assert_int_equal(proa_db_one(c->sql, &loose_type, &loose, "SELECT"), 0);
    assert_int_equal(loose.note.presence, PROA_SET);
    assert_true(proa_str_eq_c(loose.note.value, "n"));
    assert_int_equal(loose.count.presence, PROA_SET);
    assert_int_equal(loose.count.value, -3);
    assert_int_equal(loose.limit, 5);
    assert_true(proa_str_eq_c(loose.kind, "other"));
}

static void test_optional_and_defaulted_members(void **state)
{
    with_script(optionals, (struct proa_db_options){0});
}

static void columns(struct db_case *c)
{
    struct point point = {.x = -1};

    SCRIPT_ROWS(c, "SELECT", 1, COLUMNS("x", "y", "z"), "1", "2", "3");
    assert_int_equal(proa_db_one(c->sql, &point_type, &point, "SELECT"), PROA_EINTERNAL);
    assert_non_null(strstr(c->err.message, "\"z\""));
    SCRIPT_ROWS(c, "SELECT", 1, COLUMNS("x"), "1");
    assert_int_equal(proa_db_one(c->sql, &point_type, &point, "SELECT"), PROA_EINTERNAL);
    assert_non_null(strstr(c->err.message, "\"y\""));
    SCRIPT_ROWS(c, "SELECT", 1, COLUMNS("x", "y", "x"), "1", "2", "1");
    assert_int_equal(proa_db_one(c->sql, &point_type, &point, "SELECT"), PROA_EINTERNAL);
    assert_non_null(strstr(c->err.message, "two columns"));
    /* A misfit is seen also when there is no row. */
    assert_int_equal(proa_sim_db_on(c->script, "SELECT", &(struct proa_sim_db_answer){.columns = COLUMNS("x", "w")}, 1),
                     0);
    assert_int_equal(proa_db_one(c->sql, &point_type, &point, "SELECT"), PROA_EINTERNAL);
    assert_int_equal(point.x, -1); /* written only on success */
    SCRIPT_ROWS(c, "SELECT", 1, COLUMNS("y", "x"), "2", "1");
    assert_int_equal(proa_db_one(c->sql, &point_type, &point, "SELECT"), 0);
    assert_int_equal(point.x, 1);
    assert_int_equal(point.y, 2);
}

static void test_columns_and_members_must_match(void **state)
{
    with_script(columns, (struct proa_db_options){0});
}

static void many(struct db_case *c)
{
    PROA_ARRAY_OF(struct point) points = {0};
    struct point point;
    enum { ROWS = 100 };
    static const char *values[2 * ROWS];
    static char texts[ROWS][16];
    struct proa_sim_db_answer answer = {.columns = COLUMNS("x", "y"), .values = values, .rows = ROWS};

    for (int i = 0; i < ROWS; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "%d", i);
        values[2 * i] = values[2 * i + 1] = texts[i];
    }
    assert_int_equal(proa_sim_db_on(c->script, "SELECT", &answer, 0), 0);
    assert_int_equal(proa_db_all(c->sql, &point_type, &points, ROWS, "SELECT"), 0);
    assert_int_equal(points.len, ROWS);
    for (int i = 0; i < ROWS; i++)
        assert_int_equal(points.ptr[i].y, i);
    points.len = 7;
    assert_int_equal(proa_db_all(c->sql, &point_type, &points, ROWS - 1, "SELECT"), PROA_ETOOLARGE);
    assert_int_equal(points.len, 7);
    /* The first of several. */
    assert_int_equal(proa_db_one(c->sql, &point_type, &point, "SELECT"), 0);
    assert_int_equal(point.x, 0);
    /* None. */
    answer.rows = 0;
    assert_int_equal(proa_sim_db_on(c->script, "SELECT", &answer, 0), 0);
    assert_int_equal(proa_db_all(c->sql, &point_type, &points, ROWS, "SELECT"), 0);
    assert_int_equal(points.len, 0);
    assert_int_equal(proa_db_one(c->sql, &point_type, &point, "SELECT"), PROA_ENOTFOUND);
    /* None wanted, and some there. */
    SCRIPT_ROWS(c, "SELECT", 1, COLUMNS("x", "y"), "1", "2");
    assert_int_equal(proa_db_all(c->sql, &point_type, &points, 0, "SELECT"), PROA_ETOOLARGE);
}

static void test_many_rows_and_none(void **state)
{
    with_script(many, (struct proa_db_options){0});
}

static void no_room(struct db_case *c)
{
    struct proa_arena tiny;
    struct proa_sql sql = c->sql;
    struct point point;

    proa_arena_init(&tiny, NULL, 16);
    sql.arena = &tiny;
    SCRIPT_ROWS(c, "SELECT", 1, COLUMNS("x", "y"), "1", "2");
    assert_int_equal(proa_db_one(sql, &point_type, &point, "SELECT"), PROA_ENOMEM);
    proa_arena_done(&tiny);
}

static void test_an_arena_at_its_limit(void **state)
{
    with_script(no_room, (struct proa_db_options){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_from_text),           cmocka_unit_test(test_misfits_name_the_column),
        cmocka_unit_test(test_times_as_databases_write_them),  cmocka_unit_test(test_optional_and_defaulted_members),
        cmocka_unit_test(test_columns_and_members_must_match), cmocka_unit_test(test_many_rows_and_none),
        cmocka_unit_test(test_an_arena_at_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

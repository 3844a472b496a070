/* Opening, parameters, statements, errors and metrics of the interface, whatever the database. */
#include "db_case.h"

#include <math.h>

struct user {
    uint64_t id;
    proa_str name;
    PROA_OPTIONAL(int32_t) age;
};
PROA_DESCRIBE(user, (id, u64), (name, str), (age, optional(i32)));

/* -- Opening */

static int open_url(const char *url, struct proa_error *err)
{
    struct proa_loop *loop = sim_loop_new(NULL);
    const struct proa_db_driver *drivers[] = {&proa_sqlite_driver, NULL};
    struct proa_db *db = NULL;
    int rc = proa_db_open(&(struct proa_db_options){.url = url, .loop = loop, .drivers = drivers}, &db, err);

    assert_int_equal(rc == 0, db != NULL);
    assert_null(db);
    proa_loop_free(loop);
    return rc;
}

static void test_urls_that_no_driver_takes(void **state)
{
    struct proa_error err = {0};

    assert_int_equal(open_url(NULL, &err), PROA_EINVAL);
    assert_int_equal(open_url("", &err), PROA_EINVAL);
    assert_int_equal(open_url("users.db", &err), PROA_EINVAL);
    assert_int_equal(open_url(":memory:", &err), PROA_EINVAL);
    assert_int_equal(open_url("postgres://user:secret@host/name", &err), PROA_EUNSUPPORTED);
    assert_null(strstr(err.message, "secret"));
    assert_int_equal(open_url("user:secret@host/name", &err), PROA_EUNSUPPORTED);
    assert_null(strstr(err.message, "secret"));
    assert_int_equal(open_url("sqlite:", &err), PROA_EINVAL);
    assert_int_equal(open_url("sqlite://file.db", &err), PROA_EINVAL);
    assert_int_equal(open_url("sqlite:file.db?mode=ro", &err), PROA_EINVAL);
    assert_int_equal(open_url("sqlite::shared:", &err), PROA_EINVAL);
    assert_int_equal(open_url("sqlite:", NULL), PROA_EINVAL);
    proa_db_close(NULL);
}

static void check_defaults(struct db_case *c)
{
    assert_string_equal(proa_db_system(c->db), "sqlite");
    SCRIPT_ROWS(c, "SELECT 1", 1, COLUMNS("a"), "1");
    assert_int_equal(proa_db_ping(c->sql), 0);
    assert_int_equal(proa_sim_db_calls(c->script, "SELECT 1"), 1);
}

static void other_url_body(struct db_case *c)
{
    assert_int_equal(proa_db_set_url(c->db, c->script ? "sim:" : c->url, &c->err), 0); /* the same */
    assert_int_equal(proa_db_set_url(c->db, c->script ? "sim:other" : "sqlite:other.db", &c->err), PROA_EUNSUPPORTED);
    assert_non_null(strstr(c->err.message, "needs a restart"));
    assert_int_equal(proa_db_set_url(c->db, "", &c->err), PROA_EINVAL);
    assert_int_equal(proa_db_set_url(c->db, "unheard:of", &c->err), PROA_EUNSUPPORTED);
}

static void test_urls_that_cannot_change(void **state)
{
    with_script(other_url_body, (struct proa_db_options){0});
    with_sqlite(other_url_body, (struct proa_db_options){0});
}

static void test_open_and_ping(void **state)
{
    with_script(check_defaults, (struct proa_db_options){0});
}

/* -- Parameters */

static void bad_parameters(struct db_case *c)
{
    uint64_t rows = 5;

    assert_int_equal(proa_db_exec(c->sql, &rows, "UPDATE", proa_u64((uint64_t)INT64_MAX + 1)), PROA_ERANGE);
    assert_int_equal(proa_db_exec(c->sql, &rows, "UPDATE", proa_i64(1), proa_f64(NAN)), PROA_EINVAL);
    assert_non_null(strstr(c->err.message, "$2"));
    assert_int_equal(proa_db_exec(c->sql, &rows, "UPDATE", proa_f64(INFINITY)), PROA_EINVAL);
    assert_int_equal(proa_db_exec(c->sql, &rows, "UPDATE", proa_text(PROA_STR("a\0b"))), PROA_EVALIDATION);
    assert_int_equal(proa_db_exec(c->sql, &rows, "UPDATE", proa_text(PROA_STR("\xc3"))), PROA_EVALIDATION);
    assert_int_equal(proa_db_exec(c->sql, &rows, "UPDATE", proa_json_value(PROA_STR("\"\xff\""))), PROA_EVALIDATION);
    assert_int_equal(proa_db_exec(c->sql, &rows, "UPDATE", (struct proa_value){.kind = 99}), PROA_EINVAL);
    assert_int_equal(proa_sim_db_calls(c->script, ""), 0);
    assert_int_equal(rows, 5);
    /* Any bytes are bytes, and the largest integer fits. */
    assert_int_equal(
        proa_sim_db_on(c->script, "UPDATE", &(struct proa_sim_db_answer){.changed = 3, .latency_ns = 1000}, 1), 0);
    assert_int_equal(proa_db_exec(c->sql, &rows, "UPDATE", proa_blob(PROA_STR("\0\xff")), proa_u64(INT64_MAX),
                                  proa_null(), proa_bool(true), proa_time(0)),
                     0);
    assert_int_equal(rows, 3);
}

static void test_parameters_that_no_database_holds(void **state)
{
    with_script(bad_parameters, (struct proa_db_options){0});
}

/* -- Parameters by description */

enum level { LOW = 1, HIGH = 2 };
PROA_ENUM(level, (LOW, "low"), (HIGH, "high"));

struct item {
    uint64_t id;
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    bool flag;
    double f64;
    proa_str name;
    enum level level;
    struct user user;
    proa_str raw;
    proa_str bytes;
    proa_time_ns at;
    struct proa_duration wait;
    struct proa_quantity room;
    PROA_ARRAY_OF(int32_t) list;
    PROA_OPTIONAL(proa_str) note;
};
PROA_DESCRIBE(item, (id, u64, .column = "item_id"), (i8, i8), (i16, i16), (i32, i32), (i64, i64), (u8, u8), (u16, u16),
              (u32, u32), (flag, boolean), (f64, f64), (name, str, .json = "title"), (level, enumeration(level)),
              (user, object(user)), (raw, raw), (bytes, bytes), (at, timestamp), (wait, duration), (room, quantity),
              (list, array(i32)), (note, optional(str)));

static struct item an_item(void)
{
    static int32_t numbers[] = {1, 2};
    struct item item = {.id = 7,
                        .i8 = -1,
                        .i16 = -2,
                        .i32 = -3,
                        .i64 = -4,
                        .u8 = 1,
                        .u16 = 2,
                        .u32 = 3,
                        .flag = true,
                        .f64 = 0.5,
                        .name = PROA_STR("n"),
                        .level = HIGH,
                        .user = {.id = 1, .name = PROA_STR("u")},
                        .raw = PROA_STR("{}"),
                        .bytes = PROA_STR("\0"),
                        .at = 5,
                        .wait = {6},
                        .room = {8}};

    item.list.ptr = numbers;
    item.list.len = 2;
    return item;
}

static void test_members_as_values(void **state)
{
    struct item item = an_item();
    struct proa_arena arena;
    struct proa_value *v;
    size_t count;

    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(proa_db_values(&arena, &item_type, &item,
                                    "item_id, i8,i16 ,i32,i64,u8,u16,u32,flag,f64,title,level,user,raw,bytes,at,wait,"
                                    "room,list,note",
                                    &v, &count),
                     0);
    assert_int_equal(count, 20);
    assert_true(v[0].kind == PROA_VALUE_U64 && v[0].as.u64 == 7);
    for (int i = 1; i <= 4; i++)
        assert_true(v[i].kind == PROA_VALUE_I64 && v[i].as.i64 == -i);
    for (int i = 5; i <= 7; i++)
        assert_true(v[i].kind == PROA_VALUE_U64 && v[i].as.u64 == (uint64_t)i - 4);
    assert_true(v[8].kind == PROA_VALUE_BOOL && v[8].as.boolean);
    assert_true(v[9].kind == PROA_VALUE_F64 && v[9].as.f64 == 0.5);
    assert_true(v[10].kind == PROA_VALUE_TEXT && proa_str_eq_c(v[10].as.str, "n"));
    assert_true(v[11].kind == PROA_VALUE_TEXT && proa_str_eq_c(v[11].as.str, "high"));
    assert_int_equal(v[12].kind, PROA_VALUE_JSON);
    assert_true(proa_str_starts_with(v[12].as.str, PROA_STR("{\"id\":1,\"name\":\"u\"")));
    assert_true(v[13].kind == PROA_VALUE_JSON && proa_str_eq_c(v[13].as.str, "{}"));
    assert_true(v[14].kind == PROA_VALUE_BYTES && v[14].as.str.len == 1);
    assert_true(v[15].kind == PROA_VALUE_TIME && v[15].as.i64 == 5);
    assert_true(v[16].kind == PROA_VALUE_U64 && v[16].as.u64 == 6);
    assert_true(v[17].kind == PROA_VALUE_U64 && v[17].as.u64 == 8);
    assert_true(v[18].kind == PROA_VALUE_JSON && proa_str_eq_c(v[18].as.str, "[1,2]"));
    assert_int_equal(v[19].kind, PROA_VALUE_NULL);

    assert_int_equal(proa_db_values(&arena, &item_type, &item, "name", &v, &count), PROA_EINTERNAL);
    assert_int_equal(proa_db_values(&arena, &item_type, &item, "i8,,i16", &v, &count), PROA_EINTERNAL);
    item.level = (enum level)9;
    assert_int_equal(proa_db_values(&arena, &item_type, &item, "level", &v, &count), PROA_EINVAL);
    item.user.name = PROA_STR("\xff");
    assert_int_equal(proa_db_values(&arena, &item_type, &item, "user", &v, &count), PROA_EINVAL);
    proa_arena_done(&arena);
    proa_arena_init(&arena, NULL, 16);
    assert_int_equal(proa_db_values(&arena, &item_type, &item, "i8,i16", &v, &count), PROA_ENOMEM);
    proa_arena_done(&arena);
}

/* What a :name statement becomes. */
static char sent_text[512];
static size_t sent_count;
static void catch (void *arg, const struct proa_sim_db_call *call, struct proa_sim_db_answer *ret_answer)
{
    static const char *const columns[] = {"id", "name", NULL}, *const values[] = {"1", "n"};

    (void)snprintf(sent_text, sizeof sent_text, "%s", call->text);
    sent_count = call->values_count;
    *ret_answer = (struct proa_sim_db_answer){.columns = columns, .values = values, .rows = 1};
}

static void names(struct db_case *c)
{
    static const struct {
        const char *text;
        const char *sent;
        size_t count;
    } cases[] = {
        {"INSERT INTO users (name, age) VALUES (:name, :age) RETURNING id",
         "INSERT INTO users (name, age) VALUES ($1, $2) RETURNING id", 2},
        {"UPDATE u SET n=:name, m=:name WHERE id=:id", "UPDATE u SET n=$1, m=$1 WHERE id=$2", 2},
        {"SELECT ':name', \":name\", 'it''s :name', :id", "SELECT ':name', \":name\", 'it''s :name', $1", 1},
        {"SELECT E'\\':name', :id", "SELECT E'\\':name', $1", 1},
        {"SELECT :id::text, a[1:2], $$:name$$, $x$ :name $$ $x$, :name",
         "SELECT $1::text, a[1:2], $$:name$$, $x$ :name $$ $x$, $2", 2},
        {"SELECT /* :name /* :age */ */ :id -- :name\n, :age", "SELECT /* :name /* :age */ */ $1 -- :name\n, $2", 2},
        {"SELECT :id -- :name", "SELECT $1 -- :name", 1},
        {"SELECT :id /* :name", "SELECT $1 /* :name", 1},
        {"SELECT :id, 'open :name", "SELECT $1, 'open :name", 1},
        {"SELECT :id, $a$ :name", "SELECT $1, $a$ :name", 1},
        {"SELECT type:name, -:id, 1/:age", "SELECT type$1, -$2, 1/$3", 3},
        {"SELECT", "SELECT", 0},
    };
    const struct user user = {.id = 1, .name = PROA_STR("n")};
    struct user back;

    assert_int_equal(proa_sim_db_on_call(c->script, "", catch, NULL, 0), 0);
    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        assert_int_equal(proa_db_write(c->sql, &user_type, &user, &user_type, &back, cases[i].text), 0);
        assert_string_equal(sent_text, cases[i].sent);
        assert_int_equal(sent_count, cases[i].count);
        assert_int_equal(back.id, 1);
    }
    assert_int_equal(proa_db_write(c->sql, &user_type, &user, &user_type, &back, "SELECT :nobody"), PROA_EINTERNAL);
    assert_non_null(strstr(c->err.message, ":nobody"));
}

static void test_names_in_statements(void **state)
{
    with_script(names, (struct proa_db_options){0});
}

/* -- Errors */

static void errors(struct db_case *c)
{
    assert_int_equal(
        proa_sim_db_on(
            c->script, "INSERT",
            &(struct proa_sim_db_answer){.code = PROA_EEXISTS, .message = "taken", .constraint = "users_email_key"}, 1),
        0);
    assert_int_equal(proa_db_exec(c->sql, NULL, "INSERT"), PROA_EEXISTS);
    assert_string_equal(proa_db_constraint(&c->err), "users_email_key");
    assert_int_equal(proa_db_exec(c->sql, NULL, "INSERT"), PROA_EINTERNAL);
    assert_string_equal(proa_db_constraint(&c->err), "");
    /* Nobody need be told. */
    c->sql.err = NULL;
    assert_int_equal(proa_db_exec(c->sql, NULL, "INSERT"), PROA_EINTERNAL);
}

static void test_errors_carry_the_constraint(void **state)
{
    with_script(errors, (struct proa_db_options){0});
}

static void lost(struct db_case *c)
{
    struct proa_deadline_scope scope;
    struct user user;

    assert_int_equal(proa_sim_db_on(c->script, "", &(struct proa_sim_db_answer){.breaks_connection = true}, 2), 0);
    assert_int_equal(proa_db_one(c->sql, &user_type, &user, "SELECT"), PROA_EUNAVAILABLE);
    assert_int_equal(proa_db_exec(c->sql, NULL, "DELETE"), PROA_EUNKNOWN);
    assert_int_equal(proa_sim_db_on(c->script, "", &(struct proa_sim_db_answer){.never = true}, 0), 0);
    scope = proa_deadline_enter(c->loop, proa_loop_now(c->loop) + PROA_SECONDS(3));
    assert_int_equal(proa_db_one(c->sql, &user_type, &user, "SELECT"), PROA_ETIMEDOUT);
    proa_deadline_leave(&scope);
    scope = proa_deadline_enter(c->loop, proa_loop_now(c->loop) + PROA_SECONDS(3));
    assert_int_equal(proa_db_exec(c->sql, NULL, "DELETE"), PROA_EUNKNOWN);
    /* Past the deadline nothing is sent any more. */
    assert_int_equal(proa_db_exec(c->sql, NULL, "DELETE"), PROA_ETIMEDOUT);
    assert_int_equal(proa_sim_db_calls(c->script, "DELETE"), 2);
    proa_deadline_leave(&scope);
}

static void test_lost_answers_and_deadlines(void **state)
{
    with_script(lost, (struct proa_db_options){0});
}

/* More ask than may wait. */
struct asker {
    struct db_case *c;
    int rc;
};

static int ask(void *arg)
{
    struct asker *own = arg;
    struct proa_sql sql = own->c->sql;

    sql.err = NULL;
    own->rc = proa_db_exec(sql, NULL, "SLOW");
    return 0;
}

static void crowd(struct db_case *c)
{
    struct asker askers[6];
    struct proa_group group;
    int busy = 0, done = 0;

    assert_int_equal(proa_sim_db_on(c->script, "SLOW", &(struct proa_sim_db_answer){.latency_ns = PROA_SECONDS(1)}, 0),
                     0);
    proa_group_init(&group, c->loop);
    for (size_t i = 0; i < PROA_COUNT(askers); i++) {
        askers[i] = (struct asker){.c = c};
        assert_int_equal(proa_group_start(&group, NULL, ask, &askers[i]), 0);
    }
    assert_int_equal(proa_group_wait(&group), 0);
    for (size_t i = 0; i < PROA_COUNT(askers); i++) {
        busy += askers[i].rc == PROA_EBUSY;
        done += askers[i].rc == 0;
    }
    assert_int_equal(busy, 2);
    assert_int_equal(done, 4);
}

static void test_bounded_waiting(void **state)
{
    with_script(crowd, (struct proa_db_options){.shared_connections = 1, .waiting_max = 3});
}

/* -- Metrics */

static struct proa_metrics *metrics;

static bool has_line(const char *line)
{
    struct proa_buf text;
    bool found;

    proa_buf_init(&text, NULL, 0);
    assert_int_equal(proa_metrics_write(metrics, PROA_METRICS_TEXT, &text), 0);
    found = proa_str_find(proa_buf_str(&text), proa_str_c(line)) >= 0;
    if (!found)
        print_message("no line %s in\n" PROA_FMT, line, PROA_ARG(proa_buf_str(&text)));
    proa_buf_done(&text);
    return found;
}

static void measured(struct db_case *c)
{
    assert_int_equal(proa_sim_db_on(c->script, "INSERT", &(struct proa_sim_db_answer){.latency_ns = PROA_MS(20)}, 2),
                     0);
    assert_int_equal(proa_db_exec(c->sql, NULL, " insert INSERT"), 0);
    assert_int_equal(proa_db_exec(c->sql, NULL, "INSERT"), 0);
    assert_int_equal(proa_db_exec(c->sql, NULL, "INSERT"), PROA_EINTERNAL);
    assert_true(has_line("db_client_operation_duration_seconds_count{db_system_name=\"sqlite\",db_operation_name="
                         "\"INSERT\",error_type=\"\"} 2"));
    assert_true(has_line("db_client_operation_duration_seconds_bucket{db_system_name=\"sqlite\",db_operation_name="
                         "\"INSERT\",error_type=\"\",le=\"0.01\"} 0"));
    assert_true(has_line("error_type=\"PROA_EINTERNAL\"} 1"));
    assert_true(
        has_line("db_client_connections_usage{db_system_name=\"sqlite\",db_client_connection_pool_name=\"shared\","
                 "db_client_connection_state=\"idle\"} 3"));
    assert_true(
        has_line("db_client_connection_max{db_system_name=\"sqlite\",db_client_connection_pool_name=\"shared\"} 3"));
    assert_true(has_line("db_client_connection_pending_requests{"));
    assert_true(has_line("db_client_connection_timeouts_total{"));
}

static void test_metrics(void **state)
{
    assert_int_equal(proa_metrics_new(1, &metrics), 0);
    with_script(measured, (struct proa_db_options){.shared_connections = 3, .metrics = metrics});
    assert_true(has_line("db_client_connection_state=\"idle\"} 0"));
    proa_metrics_free(metrics);
}

/* -- Closing */

static bool has_ended;

static int run_for_hours(void *arg)
{
    struct db_case *c = arg;
    struct proa_error err = {0};

    assert_int_equal(proa_db_exec(proa_sql(c->db, c->loop, &c->arena, &err), NULL, "INSERT"), 0);
    has_ended = true;
    return 0;
}

static void close_meanwhile(struct db_case *c)
{
    proa_mono_ns began = proa_loop_now(c->loop);

    assert_int_equal(
        proa_sim_db_on(c->script, "INSERT", &(struct proa_sim_db_answer){.latency_ns = PROA_SECONDS(3 * 3600)}, 1), 0);
    assert_int_equal(proa_loop_start_fiber(c->loop, NULL, run_for_hours, c), 0);
    assert_int_equal(proa_yield(c->loop), 0);
    proa_db_close(c->db);
    c->db = NULL;
    assert_true(has_ended);
    assert_true(proa_loop_now(c->loop) - began >= PROA_SECONDS(3 * 3600));
}

/* As long as it takes, and other fibers run meanwhile. */
static void test_closing_waits_for_what_runs(void **state)
{
    has_ended = false;
    with_script(close_meanwhile, (struct proa_db_options){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls_that_no_driver_takes),
        cmocka_unit_test(test_urls_that_cannot_change),
        cmocka_unit_test(test_open_and_ping),
        cmocka_unit_test(test_parameters_that_no_database_holds),
        cmocka_unit_test(test_members_as_values),
        cmocka_unit_test(test_names_in_statements),
        cmocka_unit_test(test_errors_carry_the_constraint),
        cmocka_unit_test(test_lost_answers_and_deadlines),
        cmocka_unit_test(test_bounded_waiting),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_closing_waits_for_what_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Configuration: what wins, every kind of mistake, secrets, names. */
#include "unit.h"

#include <proa/config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum mode { MODE_FAST, MODE_SAFE };
PROA_ENUM(mode, (MODE_FAST, "fast"), (MODE_SAFE, "safe"));

struct pool {
    uint32_t max_rows;
    struct proa_duration patience;
};
PROA_DESCRIBE(pool, (max_rows, u32, PROA_RANGE(1, 1000), .default_json = "10"),
              (patience, duration, .default_json = "\"1m30s\""));

struct db {
    struct pool pool;
    PROA_OPTIONAL(proa_str) name;
};
PROA_DESCRIBE(db, (pool, object(pool)), (name, optional(str), .max_len = 8));

struct program {
    struct db db;
    bool is_verbose;
    enum mode mode;
    proa_str password;
    PROA_ARRAY_OF(proa_str) hosts;
    PROA_MAP_OF(proa_str) labels;
    double ratio;
};
PROA_DESCRIBE(program, (db, object(db)), (is_verbose, boolean, .default_json = "false", .flag = "verbose", .env = "V"),
              (mode, enumeration(mode), .default_json = "\"fast\""),
              (password, str, .secret = true, .min_len = 3, .default_json = "\"none\""),
              (hosts, array(str), .default_json = "[]", .max_items = 3), (labels, map(str), .default_json = "{}"),
              (ratio, f64, .default_json = "0.5"));

struct frame {
    uint16_t port;
};
PROA_DESCRIBE(frame, (port, u16, .default_json = "8080"));

static struct program program;
static struct frame frame;
static const struct proa_config_part parts[] = {{&program_type.type, &program}, {&frame_type.type, &frame}};

struct fixture {
    struct proa_arena arena;
    struct proa_error err;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    proa_arena_init(&fixture->arena, NULL, 0);
    fixture->err.arena = &fixture->arena;
    memset(&program, 0xAA, sizeof program);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    proa_arena_done(&fixture->arena);
    free(fixture);
    return 0;
}

static int load(struct fixture *fixture, const char *file, char *const *env, char *const *flags)
{
    struct proa_config_source source = {.argv = (char **)(uintptr_t)flags, .env = env, .file_name = "test.yaml"};

    while (flags && flags[source.argc])
        source.argc++;
    if (file)
        source.file = proa_str_c(file);
    proa_error_clear(&fixture->err);
    return proa_config_load(&fixture->arena, &source, parts, PROA_COUNT(parts), &fixture->err);
}

#define FLAGS(...) ((char *const[]){"program", __VA_ARGS__, NULL})
#define ENV(...) ((char *const[]){__VA_ARGS__, NULL})

static void test_defaults(void **state)
{
    assert_int_equal(load(*state, NULL, NULL, NULL), 0);
    assert_int_equal(program.db.pool.max_rows, 10);
    assert_int_equal(program.db.pool.patience.ns, 90000000000);
    assert_int_equal(program.db.name.presence, PROA_ABSENT);
    assert_false(program.is_verbose);
    assert_int_equal(program.mode, MODE_FAST);
    assert_string_equal(program.password.ptr, "none"); /* with a NUL behind it */
    assert_int_equal(program.hosts.len, 0);
    assert_int_equal(program.labels.len, 0);
    assert_true(program.ratio == 0.5);
    assert_int_equal(frame.port, 8080);
}

static void test_file(void **state)
{
    static const char file[] = "db:\n"
                               "  pool:\n"
                               "    max_rows: 20\n"
                               "  name: main\n"
                               "is_verbose: true\n"
                               "mode: safe\n"
                               "hosts: [a, bc]\n"
                               "labels: {team: core}\n"
                               "password: secret\n"
                               "port: 1\n";

    assert_int_equal(load(*state, file, NULL, NULL), 0);
    assert_int_equal(program.db.pool.max_rows, 20);
    assert_string_equal(program.db.name.value.ptr, "main");
    assert_true(program.is_verbose);
    assert_int_equal(program.mode, MODE_SAFE);
    assert_int_equal(program.hosts.len, 2);
    assert_string_equal(program.hosts.ptr[0].ptr, "a");
    assert_string_equal(program.hosts.ptr[1].ptr, "bc");
    assert_int_equal(program.labels.len, 1);
    assert_true(proa_str_eq_c(program.labels.ptr[0].key, "team"));
    assert_string_equal(program.password.ptr, "secret");
    assert_int_equal(frame.port, 1);
}

static void test_empty_file(void **state)
{
    assert_int_equal(load(*state, "", NULL, NULL), 0);
    assert_int_equal(load(*state, "# nothing\n", NULL, NULL), 0);
    assert_int_equal(load(*state, "db:\n", NULL, NULL), 0);
    assert_int_equal(program.db.pool.max_rows, 10);
}

static void test_environment(void **state)
{
    assert_int_equal(load(*state, NULL,
                          ENV("DB_POOL_MAX_ROWS=30", "V=true", "MODE=safe", "HOSTS=x, y", "PASSWORD=pass", "RATIO=1e3",
                              "DB_NAME=", "OTHER=1", "PORTS=7", "PORT=7"),
                          NULL),
                     0);
    assert_int_equal(program.db.pool.max_rows, 30);
    assert_true(program.is_verbose);
    assert_int_equal(program.mode, MODE_SAFE);
    assert_int_equal(program.hosts.len, 2);
    assert_string_equal(program.hosts.ptr[1].ptr, "y");
    assert_string_equal(program.password.ptr, "pass");
    assert_true(program.ratio == 1000);
    assert_int_equal(program.db.name.presence, PROA_ABSENT); /* empty: not set */
    assert_int_equal(frame.port, 7);
    assert_int_equal(load(*state, NULL, ENV("MODE=SAFE", "V=True"), NULL), 0); /* as OpenTelemetry wants it */
    assert_int_equal(program.mode, MODE_SAFE);
    assert_true(program.is_verbose);
    assert_int_equal(load(*state, "mode: SAFE", NULL, NULL), PROA_EVALIDATION);
}

static void test_flags(void **state)
{
    assert_int_equal(load(*state, NULL, NULL,
                          FLAGS("--db.pool.max-rows", "40", "--verbose", "--mode=safe", "--hosts=a,b,c", "--port", "9",
                                "--password", "-dash", "--db.name=", "--ratio=-1.5", "--port=10")),
                     0);
    assert_int_equal(program.db.pool.max_rows, 40);
    assert_true(program.is_verbose);
    assert_int_equal(program.mode, MODE_SAFE);
    assert_int_equal(program.hosts.len, 3);
    assert_string_equal(program.password.ptr, "-dash");
    assert_int_equal(program.db.name.presence, PROA_SET);
    assert_string_equal(program.db.name.value.ptr, "");
    assert_true(program.ratio == -1.5);
    assert_int_equal(frame.port, 10); /* the last one */
    assert_int_equal(load(*state, "is_verbose: true", NULL, FLAGS("--no-verbose")), 0);
    assert_false(program.is_verbose);
    assert_int_equal(load(*state, NULL, NULL, FLAGS("--verbose=false")), 0);
    assert_false(program.is_verbose);
}

static void test_order_of_sources(void **state)
{
    static const char file[] = "port: 1\ndb: {pool: {max_rows: 2}}\nmode: safe";

    assert_int_equal(load(*state, file, ENV("PORT=3", "DB_POOL_MAX_ROWS=4"), FLAGS("--port=5")), 0);
    assert_int_equal(frame.port, 5);
    assert_int_equal(program.db.pool.max_rows, 4);
    assert_int_equal(program.mode, MODE_SAFE);
}

/* Whether a mistake with this text is in the list. */
static bool is_told(const struct fixture *fixture, const char *text)
{
    for (const struct proa_error_field *field = fixture->err.fields; field; field = field->next)
        if (proa_str_find(field->detail, proa_str_c(text)) >= 0)
            return true;
    for (const struct proa_error_field *field = fixture->err.fields; field; field = field->next)
        printf("# told: " PROA_FMT "\n", PROA_ARG(field->detail));
    return false;
}

static void test_all_mistakes_at_once(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(load(fixture, "port: 70000\nprot: 1\ndb: {pool: {max_row: 1}, name: {}}\nmode: slow",
                          ENV("V=maybe", "DB_POOL_MAX_ROWS=0"),
                          FLAGS("--prot", "--hosts=a,b,c,d", "stray", "--ratio", "--db.name=123456789", "--no-port")),
                     PROA_EVALIDATION);
    assert_int_equal(fixture->err.code, PROA_EVALIDATION);
    assert_true(is_told(fixture, "test.yaml: port: "));
    assert_true(is_told(fixture, "test.yaml: prot is not known; did you mean port?"));
    assert_true(is_told(fixture, "test.yaml: db.pool.max_row is not known; did you mean db.pool.max_rows?"));
    assert_true(is_told(fixture, "test.yaml: db.name: "));
    assert_true(is_told(fixture, "test.yaml: mode: "));
    assert_true(is_told(fixture, "environment variable V: must be true or false"));
    assert_true(is_told(fixture, "environment variable DB_POOL_MAX_ROWS: "));
    assert_true(is_told(fixture, "flag --prot is not known; did you mean --port?"));
    assert_true(is_told(fixture, "flag --hosts: "));
    assert_true(is_told(fixture, "argument stray is not known"));
    assert_true(is_told(fixture, "flag --ratio: a value must follow"));
    assert_true(is_told(fixture, "flag --db.name: "));
    assert_true(is_told(fixture, "flag --no-port is not known"));
    assert_int_equal(fixture->err.fields_count, 13);
}

/* An object's name is as easily mistyped as a setting's, and a flag that was renamed taken for what it would have been. */
static void test_nearest_names(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(load(fixture, "dbb: {name: a}\ndb: {poool: {max_rows: 1}}\nverbose: true", NULL,
                          FLAGS("--is-verbose", "--db.pol.max-rows=1", "--no-port")),
                     PROA_EVALIDATION);
    assert_true(is_told(fixture, "test.yaml: dbb is not known; did you mean db?"));
    assert_true(is_told(fixture, "test.yaml: db.poool is not known; did you mean db.pool?"));
    assert_true(is_told(fixture, "test.yaml: verbose is not known; did you mean is_verbose?"));
    assert_true(is_told(fixture, "flag --is-verbose is not known; did you mean --verbose?"));
    assert_true(is_told(fixture, "flag --db.pol.max-rows is not known; did you mean --db.pool.max-rows?"));
}

static void test_bad_files(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(load(fixture, "a: [", NULL, NULL), PROA_EVALIDATION);
    assert_true(is_told(fixture, "test.yaml: "));
    assert_int_equal(load(fixture, "- a", NULL, NULL), PROA_EVALIDATION);
    assert_true(is_told(fixture, "must be a mapping"));
    assert_int_equal(load(fixture, "db: 7", NULL, NULL), PROA_EVALIDATION);
    assert_true(is_told(fixture, "test.yaml: db: must be a mapping"));
    assert_int_equal(load(fixture, "port: 1\nport: 2", NULL, NULL), PROA_EVALIDATION);
    assert_int_equal(load(fixture, "whatever_this_is_far_away: 1", NULL, NULL), PROA_EVALIDATION);
    assert_true(is_told(fixture, "whatever_this_is_far_away is not known"));
    assert_null(strstr(fixture->err.fields->detail.ptr, "did you mean"));
}

static void write_file(char *path, const char *text)
{
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void test_secret_files(void **state)
{
    struct fixture *fixture = *state;
    char path[] = "/tmp/proa-config-XXXXXX", variable[64];

    write_file(path, "from file\r\n\n");
    snprintf(variable, sizeof variable, "PASSWORD_FILE=%s", path);
    assert_int_equal(load(fixture, NULL, ENV(variable), NULL), 0);
    assert_string_equal(program.password.ptr, "from file");
    /* The variable itself wins; for what is no secret there is no _FILE. */
    assert_int_equal(load(fixture, NULL, ENV(variable, "PASSWORD=direct", "PORT_FILE=/none"), NULL), 0);
    assert_string_equal(program.password.ptr, "direct");
    assert_int_equal(truncate(path, 64 * 1024), 0);
    assert_int_equal(load(fixture, NULL, ENV(variable), NULL), PROA_EVALIDATION);
    assert_true(is_told(fixture, "is too large for a secret"));
    unlink(path);
    assert_int_equal(load(fixture, NULL, ENV(variable), NULL), PROA_EVALIDATION);
    assert_true(is_told(fixture, "environment variable PASSWORD_FILE: "));
    assert_true(is_told(fixture, "No such file"));
}

static void test_secrets_are_not_told(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(load(fixture, "password: qq", ENV("PASSWORD=zz"), FLAGS("--password=jj")), PROA_EVALIDATION);
    assert_int_equal(fixture->err.fields_count, 3);
    for (const struct proa_error_field *field = fixture->err.fields; field; field = field->next) {
        assert_null(strstr(field->detail.ptr, "qq"));
        assert_null(strstr(field->detail.ptr, "zz"));
        assert_null(strstr(field->detail.ptr, "jj"));
    }
}

struct needy {
    proa_str token;
    uint32_t count;
};
PROA_DESCRIBE(needy, (token, str, .secret = true), (count, u32, .env = "HOW_MANY"));

static void test_required(void **state)
{
    struct fixture *fixture = *state;
    struct needy needy;
    struct proa_config_part part = {&needy_type.type, &needy};
    struct proa_config_source source = {0};

    assert_int_equal(proa_config_load(&fixture->arena, &source, &part, 1, &fixture->err), PROA_EVALIDATION);
    assert_true(is_told(fixture, "token must be given: --token, TOKEN (or its _FILE) or the file's token"));
    assert_true(is_told(fixture, "count must be given: --count, HOW_MANY or the file's count"));
    source.env = ENV("TOKEN=t", "HOW_MANY=0");
    assert_int_equal(proa_config_load(&fixture->arena, &source, &part, 1, &fixture->err), 0);
    assert_string_equal(needy.token.ptr, "t");
}

static void test_names_in_common(void **state)
{
    struct fixture *fixture = *state;
    struct frame other;
    const struct proa_config_part twice[] = {{&frame_type.type, &frame}, {&frame_type.type, &other}};
    struct proa_config_source source = {0};

    assert_int_equal(proa_config_load(&fixture->arena, &source, twice, 2, &fixture->err), PROA_EINVAL);
    assert_non_null(strstr(fixture->err.message, "port"));
}

/* Rules over several members are checked when all members hold. */
struct range {
    uint32_t low, high;
};
static int check_range(const void *value, struct proa_error *err)
{
    const struct range *range = value;

    if (range->low <= range->high)
        return 0;
    return proa_error_add_field(err, PROA_EVALIDATION, PROA_STR("/low"), "order", "low is above high");
}
PROA_DESCRIBE_WITH(range, (.check = check_range), (low, u32, .default_json = "1"), (high, u32, .default_json = "5"));

static void test_rules_over_members(void **state)
{
    struct fixture *fixture = *state;
    struct range range;
    struct proa_config_part part = {&range_type.type, &range};
    struct proa_config_source source = {.env = ENV("LOW=6")};

    assert_int_equal(proa_config_load(&fixture->arena, &source, &part, 1, &fixture->err), PROA_EVALIDATION);
    assert_true(is_told(fixture, "low is above high"));
}

static void test_memory_out(void **state)
{
    struct proa_arena arena;
    struct proa_config_source source = {.env = ENV("PASSWORD=secret"), .file = PROA_STR("port: 2"), .file_name = "f"};
    int rc = PROA_ENOMEM;

    for (size_t max = 1; max < 256 * 1024 && rc != 0; max += max / 4 + 64) {
        struct proa_error err = {0};

        proa_arena_init(&arena, NULL, max);
        rc = proa_config_load(&arena, &source, parts, PROA_COUNT(parts), &err);
        /* Whatever could not be allocated: an error, not a crash, and never a wrong success. */
        assert_true(rc <= 0);
        if (rc == 0)
            assert_string_equal(program.password.ptr, "secret");
        proa_arena_done(&arena);
    }
    assert_int_equal(rc, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_environment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_of_sources, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_mistakes_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nearest_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secret_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secrets_are_not_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_required, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_in_common, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rules_over_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_out, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

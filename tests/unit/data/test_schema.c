/* Schemas of descriptions: what they say is what the reader does. */
#include "everything.h"

#include <proa/schema.h>

enum engine { ENGINE_A, ENGINE_B };
PROA_ENUM(engine, (ENGINE_A, "a"), (ENGINE_B, "b"));

struct port {
    proa_str name;
    uint16_t number;
};
static const struct proa_cel_rule port_rules[] = {{"self.number > 0", "must have a number"}, {NULL}};
PROA_DESCRIBE_WITH(port, (.doc = "A port", .rules = port_rules, .unknown = PROA_UNKNOWN_IGNORE),
                   (name, str, .max_len = 15), (number, u16, PROA_MIN(1)));

struct service {
    uint64_t id;
    proa_str name;
    proa_str password;
    PROA_OPTIONAL(int32_t) replicas;
    enum engine engine;
    PROA_OPTIONAL(enum engine) other;
    struct port main;
    PROA_OPTIONAL(struct port) extra;
    PROA_ARRAY_OF(struct port) ports;
    PROA_ARRAY_OF(proa_str) tags;
    PROA_MAP_OF(double) weights;
    proa_str data;
    proa_str any;
    proa_time_ns created;
    struct proa_duration wait;
    struct proa_quantity room;
    bool old;
};
static const struct proa_cel_rule service_rules[] = {{"has(self.name)", NULL}, {NULL}};
PROA_DESCRIBE_WITH(service, (.doc = "A service", .rules = service_rules),
                   (id, u64, .read_only = true, .example_json = "1"),
                   (name, str, .min_len = 1, .max_len = 63, .pattern = "^[a-z]+$", .immutable = true,
                    .doc = "Its name"),
                   (password, str, .secret = true), (replicas, optional(i32), PROA_RANGE(1, 9)),
                   (engine, enumeration(engine), .default_json = "\"a\""), (other, optional(enumeration(engine))),
                   (main, object(port), .doc = "The main one"), (extra, optional(object(port))),
                   (ports, array(object(port)), .merge_key = "name", .default_json = "[]"),
                   (tags, array(str), .unique_items = true, .min_items = 1, .max_items = 5, .max_len = 9),
                   (weights, map(f64), .max_items = 3, PROA_RANGE(0, 1)), (data, bytes, .min_len = 1, .max_len = 4),
                   (any, raw), (created, timestamp), (wait, duration), (room, quantity),
                   (old, boolean, .deprecated = true, .default_json = "false"));

static void schema_is(struct bench *b, enum proa_schema_dialect dialect, const char *expected)
{
    struct proa_json_writer w;
    struct proa_buf out;

    proa_buf_init(&out, &b->arena, 0);
    proa_json_writer_init(&w, &out);
    assert_int_equal(proa_schema_write(&w, &service_type.type, dialect), 0);
    assert_int_equal(proa_json_check(proa_buf_str(&out), &b->err), 0);
    proa_buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, expected);
}

#define REQUIRED_REST                                                                                                  \
    "\"name\",\"password\",\"main\",\"tags\",\"weights\",\"data\",\"any\",\"created\",\"wait\",\"room\"]"

static void openapi(void **state)
{
    schema_is(
        *state, PROA_SCHEMA_OPENAPI,
        "{\"type\":\"object\",\"description\":\"A service\",\"properties\":{"
        "\"id\":{\"type\":\"integer\",\"format\":\"uint64\",\"minimum\":0,\"examples\":[1],\"readOnly\":true},"
        "\"name\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":63,\"pattern\":\"^[a-z]+$\",\"description\":\"Its "
        "name\"},"
        "\"password\":{\"type\":\"string\",\"writeOnly\":true},"
        "\"replicas\":{\"type\":[\"integer\",\"null\"],\"format\":\"int32\",\"minimum\":1,\"maximum\":9},"
        "\"engine\":{\"type\":\"string\",\"enum\":[\"a\",\"b\"],\"default\":\"a\"},"
        "\"other\":{\"type\":[\"string\",\"null\"],\"enum\":[\"a\",\"b\",null]},"
        "\"main\":{\"$ref\":\"#/components/schemas/port\",\"description\":\"The main one\"},"
        "\"extra\":{\"anyOf\":[{\"$ref\":\"#/components/schemas/port\"},{\"type\":\"null\"}]},"
        "\"ports\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/port\"},\"default\":[]},"
        "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":9},\"minItems\":1,\"maxItems\":5,"
        "\"uniqueItems\":true},"
        "\"weights\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"number\",\"format\":\"double\","
        "\"minimum\":0,\"maximum\":1},\"maxProperties\":3},"
        "\"data\":{\"type\":\"string\",\"contentEncoding\":\"base64\",\"minLength\":4,\"maxLength\":8},"
        "\"any\":{},"
        "\"created\":{\"type\":\"string\",\"format\":\"date-time\"},"
        "\"wait\":{\"type\":\"string\",\"pattern\":\"^(0|([0-9]+(ns|us|ms|s|m|h|d))+)$\"},"
        "\"room\":{\"anyOf\":[{\"type\":\"integer\",\"minimum\":0},{\"type\":\"string\",\"pattern\":"
        "\"^[0-9]+([KMGTPE]i|[kMGTPE])?$\"}]},"
        "\"old\":{\"type\":\"boolean\",\"default\":false,\"deprecated\":true}},"
        "\"required\":[\"id\"," REQUIRED_REST ",\"additionalProperties\":false}");
}

#define PORT_PROPERTIES                                                                                                \
    "\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":15},\"number\":{\"type\":\"integer\",\"format\":"     \
    "\"uint16\",\"minimum\":1,\"maximum\":65535}},\"required\":[\"name\",\"number\"]"

static void inlined(void **state)
{
    struct bench *b = *state;
    struct proa_json_writer w;
    struct proa_buf out;

    proa_buf_init(&out, &b->arena, 0);
    proa_json_writer_init(&w, &out);
    assert_int_equal(proa_schema_write(&w, &service_type.type, PROA_SCHEMA_INLINE), 0);
    assert_int_equal(proa_json_check(proa_buf_str(&out), &b->err), 0);
    assert_true(proa_str_find(proa_buf_str(&out), PROA_STR("\"main\":{\"type\":\"object\"," PORT_PROPERTIES
                                                           ",\"description\":\"The main one\"}")) > 0);
    assert_true(
        proa_str_find(proa_buf_str(&out), PROA_STR("\"extra\":{\"type\":[\"object\",\"null\"],\"description\":\"A "
                                                   "port\"," PORT_PROPERTIES "}")) > 0);
    assert_true(proa_str_find(proa_buf_str(&out), PROA_STR("$ref")) < 0);
}

static void kubernetes(void **state)
{
#define KUBE_PORT                                                                                                      \
    "\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":15},\"number\":{\"type\":\"integer\",\"format\":"     \
    "\"int32\",\"minimum\":1,\"maximum\":65535}},\"required\":[\"name\",\"number\"]"
#define KUBE_PORT_RULES                                                                                                \
    "\"x-kubernetes-validations\":[{\"rule\":\"self.number > 0\",\"message\":\"must have a number\"}]"
    schema_is(
        *state, PROA_SCHEMA_KUBERNETES,
        "{\"type\":\"object\",\"description\":\"A service\",\"properties\":{"
        "\"id\":{\"type\":\"integer\",\"format\":\"int64\",\"minimum\":0},"
        "\"name\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":63,\"pattern\":\"^[a-z]+$\",\"description\":\"Its "
        "name\","
        "\"x-kubernetes-validations\":[{\"rule\":\"self == oldSelf\",\"message\":\"may not change after creation\"}]},"
        "\"password\":{\"type\":\"string\"},"
        "\"replicas\":{\"type\":\"integer\",\"format\":\"int32\",\"minimum\":1,\"maximum\":9,\"nullable\":true},"
        "\"engine\":{\"type\":\"string\",\"enum\":[\"a\",\"b\"],\"default\":\"a\"},"
        "\"other\":{\"type\":\"string\",\"enum\":[\"a\",\"b\",null],\"nullable\":true},"
        "\"main\":{\"type\":\"object\"," KUBE_PORT ",\"description\":\"The main one\"," KUBE_PORT_RULES "},"
        "\"extra\":{\"type\":\"object\",\"description\":\"A port\"," KUBE_PORT ",\"nullable\":true," KUBE_PORT_RULES
        "},"
        "\"ports\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"description\":\"A port\"," KUBE_PORT
        "," KUBE_PORT_RULES
        "},\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"name\"],\"default\":[]},"
        "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":9},\"minItems\":1,\"maxItems\":5,"
        "\"x-kubernetes-list-type\":\"set\"},"
        "\"weights\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"number\",\"format\":\"double\","
        "\"minimum\":0,\"maximum\":1},\"maxProperties\":3},"
        "\"data\":{\"type\":\"string\",\"format\":\"byte\",\"minLength\":4,\"maxLength\":8},"
        "\"any\":{\"x-kubernetes-preserve-unknown-fields\":true},"
        "\"created\":{\"type\":\"string\",\"format\":\"date-time\"},"
        "\"wait\":{\"type\":\"string\",\"pattern\":\"^(0|([0-9]+(ns|us|ms|s|m|h|d))+)$\"},"
        "\"room\":{\"x-kubernetes-int-or-string\":true,\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}],"
        "\"minimum\":0,\"pattern\":\"^[0-9]+([KMGTPE]i|[kMGTPE])?$\"},"
        "\"old\":{\"type\":\"boolean\",\"default\":false}},"
        "\"required\":[" REQUIRED_REST ",\"x-kubernetes-validations\":[{\"rule\":\"has(self.name)\"}]}");
}

static void fields(void **state)
{
    struct bench *b = *state;
    struct proa_json_writer w;
    struct proa_buf out;

    proa_buf_init(&out, &b->arena, 0);
    proa_json_writer_init(&w, &out);
    assert_int_equal(proa_schema_write_field(&w, proa_type_find(&everything_type.type, PROA_STR("maybe_list"), NULL),
                                             PROA_SCHEMA_OPENAPI),
                     0);
    assert_str_is(proa_buf_str(&out), "{\"type\":[\"array\",\"null\"],\"items\":{\"type\":\"string\"}}");
    proa_buf_clear(&out);
    proa_json_writer_init(&w, &out);
    assert_int_equal(
        proa_schema_write_field(&w, proa_type_find(&everything_type.type, PROA_STR("i64"), NULL), PROA_SCHEMA_OPENAPI),
        0);
    assert_str_is(proa_buf_str(&out), "{\"type\":\"integer\",\"format\":\"int64\",\"default\":0}");
}

static void reachable_types(void **state)
{
    struct bench *b = *state;
    const struct proa_type **types;
    size_t count;

    assert_int_equal(proa_schema_types(&b->arena, &service_type.type, &types, &count), 0);
    assert_int_equal(count, 2);
    assert_ptr_equal(types[0], &service_type.type);
    assert_ptr_equal(types[1], &port_type.type);
}

static void memory_and_limits(void **state)
{
    struct proa_json_writer w;
    struct proa_buf out;
    struct proa_arena arena;
    const struct proa_type **types;
    size_t count;

    proa_buf_init(&out, NULL, 64);
    proa_json_writer_init(&w, &out);
    assert_int_equal(proa_schema_write(&w, &service_type.type, PROA_SCHEMA_INLINE), PROA_ETOOLARGE);
    proa_buf_done(&out);
    proa_arena_init(&arena, NULL, 16);
    assert_int_equal(proa_schema_types(&arena, &service_type.type, &types, &count), PROA_ENOMEM);
    proa_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(openapi), bench_test(inlined),         bench_test(kubernetes),
        bench_test(fields),  bench_test(reachable_types), bench_test(memory_and_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

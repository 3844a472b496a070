/** A description that uses every kind and container, for the tests of data. */
#ifndef PROA_TESTS_EVERYTHING_H
#define PROA_TESTS_EVERYTHING_H

#include "unit.h"

#include <proa/json.h>

enum color { COLOR_RED, COLOR_GREEN = 5, COLOR_BLUE = -3 };
PROA_ENUM(color, (COLOR_RED, "red"), (COLOR_GREEN, "green"), (COLOR_BLUE, "blue"));

struct point {
    int32_t x;
    int32_t y;
    PROA_OPTIONAL(proa_str) label;
};
PROA_DESCRIBE_WITH(point, (.doc = "A point"), (x, i32), (y, i32, .default_json = "0"),
                   (label, optional(str), .max_len = 5));

struct everything {
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
    proa_str raw;
    proa_str bytes;
    proa_time_ns when;
    struct proa_duration wait;
    struct proa_quantity room;
    enum color color;
    struct point at;
    PROA_ARRAY_OF(int32_t) numbers;
    PROA_ARRAY_OF(struct point) points;
    PROA_MAP_OF(proa_str) labels;
    PROA_MAP_OF(struct point) places;
    PROA_OPTIONAL(uint32_t) maybe;
    PROA_OPTIONAL(struct point) maybe_at;
    PROA_OPTIONAL(enum color) maybe_color;
    PROA_OPTIONAL(PROA_ARRAY_OF(proa_str)) maybe_list;
    PROA_OPTIONAL(PROA_MAP_OF(int64_t)) maybe_map;
    PROA_OPTIONAL(proa_str) maybe_raw;
};
PROA_DESCRIBE(everything, (flag, boolean, .default_json = "false"), (i8, i8, .default_json = "0"),
              (i16, i16, .default_json = "0"), (i32, i32, .default_json = "0"), (i64, i64, .default_json = "0"),
              (u8, u8, .default_json = "0"), (u16, u16, .default_json = "0"), (u32, u32, .default_json = "0"),
              (u64, u64, .default_json = "0"), (f64, f64, .default_json = "0.5"), (text, str, .default_json = "\"\""),
              (raw, raw, .default_json = "null"), (bytes, bytes, .default_json = "\"\""),
              (when, timestamp, .default_json = "\"1970-01-01T00:00:00Z\""), (wait, duration, .default_json = "\"0s\""),
              (room, quantity, .default_json = "\"1Ki\""), (color, enumeration(color), .default_json = "\"green\""),
              (at, object(point), .default_json = "{\"x\":1}"), (numbers, array(i32), .default_json = "[]"),
              (points, array(object(point)), .default_json = "[]"), (labels, map(str), .default_json = "{}"),
              (places, map(object(point)), .default_json = "{}"), (maybe, optional(u32)),
              (maybe_at, optional(object(point))), (maybe_color, optional(enumeration(color))),
              (maybe_list, optional(array(str))), (maybe_map, optional(map(i64))), (maybe_raw, optional(raw)));

/* One document that sets every member of it. */
#define EVERYTHING_JSON                                                                                                \
    "{\"flag\":true,\"i8\":-128,\"i16\":-32768,\"i32\":-2147483648,\"i64\":-9223372036854775808,\"u8\":255,"           \
    "\"u16\":65535,\"u32\":4294967295,\"u64\":18446744073709551615,\"f64\":1.25,\"text\":\"a\\\"\\u0001\xc3\xa4\","    \
    "\"raw\":{\"a\":[1,null]},\"bytes\":\"AAEC\",\"when\":\"2026-01-02T03:04:05.678Z\",\"wait\":\"1m30s\","            \
    "\"room\":1048576,\"color\":\"blue\",\"at\":{\"x\":1,\"y\":2,\"label\":null},\"numbers\":[1,-2],"                  \
    "\"points\":[{\"x\":3,\"y\":4}],\"labels\":{\"k\":\"v\"},\"places\":{\"p\":{\"x\":5,\"y\":6,\"label\":\"l\"}},"    \
    "\"maybe\":null,\"maybe_at\":{\"x\":7,\"y\":8},\"maybe_color\":\"red\",\"maybe_list\":[\"a\",\"b\"],"              \
    "\"maybe_map\":{\"m\":-1},\"maybe_raw\":[true]}"

/** An arena and an error that collects, for one test. */
struct bench {
    struct proa_arena arena;
    struct proa_error err;
};
static int bench_setup(void **state)
{
    static struct bench bench;

    bench = (struct bench){0};
    proa_arena_init(&bench.arena, NULL, 0);
    bench.err.arena = &bench.arena;
    *state = &bench;
    return 0;
}
static int bench_teardown(void **state)
{
    struct bench *bench = *state;

    proa_arena_done(&bench->arena);
    return 0;
}
#define bench_test(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

/** The broken rules as "pointer code;pointer code;". */
static inline const char *broken(struct bench *bench)
{
    struct proa_buf out;

    proa_buf_init(&out, &bench->arena, 0);
    for (const struct proa_error_field *f = bench->err.fields; f; f = f->next)
        proa_buf_printf(&out, PROA_FMT " " PROA_FMT ";", PROA_ARG(f->pointer), PROA_ARG(f->code));
    proa_buf_add_char(&out, '\0');
    return out.ptr;
}

#define assert_str_is(s, expected)                                                                                     \
    do {                                                                                                               \
        proa_str s_ = (s);                                                                                             \
        assert_int_equal(s_.len, strlen(expected));                                                                    \
        assert_memory_equal(s_.len ? s_.ptr : "", expected, s_.len);                                                   \
    } while (0)

static inline proa_str json_of(struct bench *bench, unsigned flags, const struct proa_type *type, const void *value)
{
    struct proa_buf out;

    proa_buf_init(&out, &bench->arena, 0);
    assert_int_equal(proa_json_write_type(&out, flags, type, value), 0);
    return proa_buf_str(&out);
}

#endif

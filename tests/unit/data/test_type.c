/* Descriptions: what the macros fill, finding members and names, equality, mistakes that are found at start. */
#include "everything.h"

#include <math.h>

static void macros_fill_the_tables(void **state)
{
    const struct proa_type *type = &everything_type.type;
    const struct proa_field *field;

    assert_string_equal(type->name, "everything");
    assert_int_equal(type->size, sizeof(struct everything));
    assert_int_equal(type->fields_count, 28);
    field = proa_type_find(type, PROA_STR("places"), NULL);
    assert_int_equal(field->kind, PROA_OBJECT);
    assert_int_equal(field->container, PROA_DICTIONARY);
    assert_ptr_equal(field->type, &point_type.type);
    assert_int_equal(field->size, sizeof(struct point));
    assert_int_equal(field->stride, sizeof(proa_str) + sizeof(struct point));
    assert_int_equal(field->offset, offsetof(struct everything, places));
    assert_int_equal(field->value_offset, field->offset);
    field = proa_type_find(type, PROA_STR("maybe_list"), NULL);
    assert_true(field->optional);
    assert_int_equal(field->value_offset, offsetof(struct everything, maybe_list.value));
    assert_int_equal(field->stride, sizeof(proa_str));
    field = proa_type_find(type, PROA_STR("color"), NULL);
    assert_ptr_equal(field->names, &color_enum);
}

static void members_are_found(void **state)
{
    const struct proa_type *type = &point_type.type;
    uint32_t hint = 0;

    assert_ptr_equal(proa_type_find(type, PROA_STR("x"), &hint), &type->fields[0]);
    assert_int_equal(hint, 1);
    assert_ptr_equal(proa_type_find(type, PROA_STR("label"), &hint), &type->fields[2]);
    assert_int_equal(hint, 0);
    assert_ptr_equal(proa_type_find(type, PROA_STR("y"), &hint), &type->fields[1]);
    assert_null(proa_type_find(type, PROA_STR("z"), &hint));
    assert_int_equal(hint, 2);
    assert_null(proa_type_find(type, PROA_STR(""), NULL));
}

static void names_of_enumerations(void **state)
{
    int value = 99;

    assert_str_is(proa_enum_name(&color_enum, COLOR_BLUE), "blue");
    assert_str_is(proa_enum_name(&color_enum, 1), "");
    assert_true(proa_enum_value(&color_enum, PROA_STR("green"), &value));
    assert_int_equal(value, 5);
    assert_false(proa_enum_value(&color_enum, PROA_STR("Green"), &value));
    assert_int_equal(value, 5);
}

static void equality_is_by_value(void **state)
{
    static const char *const differing[] = {
        "{\"flag\":true}",          "{\"i8\":1}",        "{\"u64\":1}",         "{\"f64\":1}",
        "{\"text\":\"x\"}",         "{\"raw\":1}",       "{\"color\":\"red\"}", "{\"at\":{\"x\":2}}",
        "{\"numbers\":[1]}",        "{\"maybe\":1}",     "{\"maybe\":null}",    "{\"labels\":{\"a\":\"b\"}}",
        "{\"points\":[{\"x\":1}]}", "{\"wait\":\"1s\"}",
    };
    struct bench *b = *state;
    struct everything all[PROA_COUNT(differing)], one, two;

    for (size_t i = 0; i < PROA_COUNT(differing); i++) {
        assert_int_equal(proa_json_read(&b->arena, proa_str_c(differing[i]), 0, &everything_type, &all[i], &b->err), 0);
        for (size_t j = 0; j < i; j++)
            assert_false(proa_equal_type(&everything_type.type, &all[i], &all[j]));
        assert_true(proa_equal_type(&everything_type.type, &all[i], &all[i]));
    }
    /* The order of a dictionary's entries means nothing, that of a list's items does. */
    assert_int_equal(proa_json_read(&b->arena, PROA_STR("{\"labels\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}}"), 0,
                                    &everything_type, &one, &b->err),
                     0);
    assert_int_equal(proa_json_read(&b->arena, PROA_STR("{\"labels\":{\"c\":\"3\",\"a\":\"1\",\"b\":\"2\"}}"), 0,
                                    &everything_type, &two, &b->err),
                     0);
    assert_true(proa_equal_type(&everything_type.type, &one, &two));
    two.labels.ptr[0].value = PROA_STR("4");
    assert_false(proa_equal_type(&everything_type.type, &one, &two));
    two.labels.ptr[0].key = PROA_STR("d");
    assert_false(proa_equal_type(&everything_type.type, &one, &two));
}

static void good_descriptions(void **state)
{
    struct bench *b = *state;

    assert_int_equal(proa_type_check(&everything_type.type, &b->err), 0);
    assert_int_equal(proa_type_check(&point_type.type, NULL), 0);
}

struct tried {
    int8_t number;
    uint8_t small;
    proa_str text;
    double real;
    PROA_ARRAY_OF(struct point) list;
    enum color color;
};

/* One description a mistake, made of a good one by changing one member. */
PROA_DESCRIBE(tried, (number, i8), (small, u8), (text, str), (real, f64), (list, array(object(point))),
              (color, enumeration(color)));

static void mistaken(struct bench *b, const char *member, struct proa_field change, const char *message)
{
    struct proa_field fields[6];
    struct proa_type type = tried_type.type;
    size_t at = (size_t)(proa_type_find(&type, proa_str_c(member), NULL) - type.fields);

    memcpy(fields, type.fields, sizeof fields);
    type.fields = fields;
    change.member = fields[at].member;
    change.kind = change.kind ? change.kind : fields[at].kind;
    change.container = fields[at].container;
    change.offset = change.value_offset = fields[at].offset;
    change.size = fields[at].size;
    change.stride = fields[at].stride;
    change.type = change.type ? change.type : fields[at].type;
    change.names = change.names ? change.names : fields[at].names;
    fields[at] = change;
    proa_error_clear(&b->err);
    assert_int_equal(proa_type_check(&type, &b->err), PROA_EINVAL);
    if (!strstr(b->err.message, message) || !strstr(b->err.message, member))
        fail_msg("\"%s\" does not say \"%s\"", b->err.message, message);
    assert_int_equal(proa_type_check(&type, NULL), PROA_EINVAL);
}

static void mistakes_are_found(void **state)
{
    static const struct proa_enum_value doubled[] = {{1, PROA_STR_INIT("a")}, {1, PROA_STR_INIT("b")}};
    static const struct proa_enum_value same_name[] = {{1, PROA_STR_INIT("a")}, {2, PROA_STR_INIT("a")}};
    static const struct proa_enum_value odd_name[] = {{1, PROA_STR_INIT("a\"")}};
    static const struct proa_enum no_names = {"e", doubled, 0}, twice = {"e", doubled, 2}, named = {"e", same_name, 2},
                                  odd = {"e", odd_name, 1};
    struct bench *b = *state;

#define MISTAKE(member, message, ...) mistaken(b, member, (struct proa_field){__VA_ARGS__}, message)
    MISTAKE("text", "called \"number\"", .json = "number");
    MISTAKE("text", "name outside", .json = "");
    MISTAKE("text", "name outside", .json = "a\"b");
    MISTAKE("number", "its default", .default_json = "128");
    MISTAKE("number", "its default", .default_json = "{");
    MISTAKE("number", "its default", .default_json = "1", PROA_MIN(2));
    MISTAKE("number", "its example", .example_json = "\"x\"");
    MISTAKE("text", "pattern", .pattern = "(?=a)");
    MISTAKE("number", "a pattern is for text", .pattern = "a");
    MISTAKE("small", "cannot hold", PROA_RANGE(0, 300));
    MISTAKE("small", "cannot hold", PROA_MIN(-1));
    MISTAKE("number", "cannot hold", PROA_MIN(128));
    MISTAKE("number", "above its maximum", PROA_RANGE(2, 1));
    MISTAKE("real", "not finite", PROA_MIN(NAN));
    MISTAKE("real", "not finite", PROA_MAX(INFINITY));
    MISTAKE("text", "for numbers", PROA_MIN(1));
    MISTAKE("number", "a length is for", .min_len = 1);
    MISTAKE("text", "minimum length", .min_len = 2, .max_len = 1);
    MISTAKE("text", "for lists and maps", .max_items = 1);
    MISTAKE("list", "minimum of items", .min_items = 2, .max_items = 1);
    MISTAKE("text", "unique items", .unique_items = true);
    MISTAKE("number", "a format is for text", .format = PROA_FORMAT_EMAIL);
    MISTAKE("text", "a format is for text", .format = 99);
    MISTAKE("text", "both", .read_only = true, .write_only = true);
    MISTAKE("list", "merge key", .merge_key = "z");
    MISTAKE("text", "merge key", .merge_key = "x");
    MISTAKE("color", "no names", .names = &no_names);
    MISTAKE("color", "twice", .names = &twice);
    MISTAKE("color", "twice", .names = &named);
    MISTAKE("color", "not plain", .names = &odd);
#undef MISTAKE
}

struct loop_a;
PROA_DECLARE_TYPE(loop_a);
struct loop_b {
    PROA_ARRAY_OF(struct loop_a) back;
};
struct loop_a {
    PROA_ARRAY_OF(struct loop_b) there;
};
PROA_DESCRIBE(loop_b, (back, array(object(loop_a))));
PROA_DEFINE_TYPE(loop_a, (there, array(object(loop_b))));

static void recursion_is_found(void **state)
{
    struct bench *b = *state;

    assert_int_equal(proa_type_check(&loop_a_type.type, &b->err), PROA_EINVAL);
    assert_non_null(strstr(b->err.message, "loop_a stands within itself"));
}

static void types_without_members(void **state)
{
    struct bench *b = *state;
    struct proa_type type = point_type.type;

    type.fields_count = 0;
    assert_int_equal(proa_type_check(&type, &b->err), PROA_EINVAL);
    type.fields_count = 65;
    assert_int_equal(proa_type_check(&type, &b->err), PROA_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(macros_fill_the_tables), bench_test(members_are_found),     bench_test(names_of_enumerations),
        bench_test(equality_is_by_value),   bench_test(good_descriptions),     bench_test(mistakes_are_found),
        bench_test(recursion_is_found),     bench_test(types_without_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

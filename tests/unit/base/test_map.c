/* Hash maps, against a plain array that does the same slowly. */
#include "unit.h"

#include <proa/map.h>
#include <proa/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int values[1000];

static void test_put_get_remove(void **state)
{
    struct proa_map *map = proa_map_new(0);
    char key[] = "key";
    void *old = &values[9];

    (void)state;
    assert_null(proa_map_get(map, PROA_STR("key")));
    assert_null(proa_map_remove(map, PROA_STR("key")));
    assert_int_equal(proa_map_put(map, proa_str_c(key), &values[1], &old), 0);
    assert_null(old);
    memset(key, 'x', 3); /* the key is a copy */
    assert_ptr_equal(proa_map_get(map, PROA_STR("key")), &values[1]);
    assert_null(proa_map_get(map, PROA_STR("xxx")));
    assert_int_equal(proa_map_put(map, PROA_STR("key"), &values[2], &old), 0);
    assert_ptr_equal(old, &values[1]);
    assert_int_equal(proa_map_put(map, PROA_STR("key"), &values[3], NULL), 0);
    assert_int_equal(proa_map_count(map), 1);
    assert_ptr_equal(proa_map_remove(map, PROA_STR("key")), &values[3]);
    assert_null(proa_map_get(map, PROA_STR("key")));
    assert_int_equal(proa_map_count(map), 0);
    proa_map_free(map);
    proa_map_free(NULL);
}

static void test_keys_are_bytes(void **state)
{
    struct proa_map *map = proa_map_new(1);

    (void)state;
    assert_int_equal(proa_map_put(map, PROA_STR("a\0b"), &values[0], NULL), 0);
    assert_int_equal(proa_map_put(map, PROA_STR("a"), &values[1], NULL), 0);
    assert_int_equal(proa_map_put(map, PROA_STR("a\0c"), &values[2], NULL), 0);
    assert_int_equal(proa_map_put(map, proa_str_n(NULL, 0), &values[3], NULL), 0);
    assert_ptr_equal(proa_map_get(map, PROA_STR("a\0b")), &values[0]);
    assert_ptr_equal(proa_map_get(map, PROA_STR("a")), &values[1]);
    assert_ptr_equal(proa_map_get(map, PROA_STR("a\0c")), &values[2]);
    assert_ptr_equal(proa_map_get(map, PROA_STR("")), &values[3]);
    assert_int_equal(proa_map_count(map), 4);
    proa_map_free(map);
}

/* What the map should hold, in the order of insertion. */
struct model {
    int keys[256];
    int *values[256];
    size_t len;
};

static size_t model_find(const struct model *model, int key)
{
    size_t i = 0;

    while (i < model->len && model->keys[i] != key)
        i++;
    return i;
}

static void model_remove(struct model *model, size_t at)
{
    memmove(model->keys + at, model->keys + at + 1, (model->len - at - 1) * sizeof model->keys[0]);
    memmove(model->values + at, model->values + at + 1, (model->len - at - 1) * sizeof model->values[0]);
    model->len--;
}

static void check_walk(const struct proa_map *map, const struct model *model)
{
    size_t it = 0, i = 0;
    proa_str key;
    void *value;

    assert_int_equal(proa_map_count(map), model->len);
    for (; proa_map_next(map, &it, &key, &value); i++) {
        assert_true(i < model->len);
        assert_int_equal(strtol(key.ptr, NULL, 10), model->keys[i]);
        assert_ptr_equal(value, model->values[i]);
    }
    assert_int_equal(i, model->len);
}

static void test_like_the_model_through_many_changes(void **state)
{
    struct proa_map *map = proa_map_new(99);
    struct model model = {.len = 0};
    struct proa_prng prng;

    (void)state;
    proa_prng_seed(&prng, 4);
    for (int step = 0; step < 60000; step++) {
        int key = (int)proa_prng_below(&prng, 200);
        /* Phases of growing and of shrinking, so that the table passes through all sizes. */
        bool put = proa_prng_below(&prng, 10) < (step / 3000 % 2 ? 2u : 8u);
        size_t at = model_find(&model, key);
        char text[16];
        proa_str name = {text, (size_t)snprintf(text, sizeof text, "%d", key)};
        void *expected = at < model.len ? model.values[at] : NULL, *old = NULL;

        assert_ptr_equal(proa_map_get(map, name), expected);
        if (put) {
            int *value = &values[proa_prng_below(&prng, PROA_COUNT(values))];

            assert_int_equal(proa_map_put(map, name, value, &old), 0);
            assert_ptr_equal(old, expected);
            model.keys[at] = key;
            model.values[at] = value;
            model.len += at == model.len;
        } else {
            assert_ptr_equal(proa_map_remove(map, name), expected);
            if (at < model.len)
                model_remove(&model, at);
        }
        if (step % 16 == 0)
            check_walk(map, &model);
    }
    proa_map_free(map);
}

static void test_the_entry_just_given_may_be_removed(void **state)
{
    struct proa_map *map = proa_map_new(5);
    unsigned seen = 0;
    size_t it = 0;
    proa_str key;
    void *value;

    (void)state;
    for (int i = 0; i < 100; i++) {
        char text[16];

        assert_int_equal(
            proa_map_put(map, proa_str_n(text, (size_t)snprintf(text, sizeof text, "%d", i)), &values[i], NULL), 0);
    }
    while (proa_map_next(map, &it, &key, &value)) {
        assert_ptr_equal(value, &values[seen]);
        if (seen++ % 2 == 0)
            assert_ptr_equal(proa_map_remove(map, key), value);
    }
    assert_int_equal(seen, 100);
    assert_int_equal(proa_map_count(map), 50);
    assert_null(proa_map_get(map, PROA_STR("42")));
    assert_ptr_equal(proa_map_get(map, PROA_STR("43")), &values[43]);
    proa_map_free(map);
}

static void test_many_entries(void **state)
{
    enum { COUNT = 100000 };
    struct proa_map *map = proa_map_new(6);
    char text[16];

    (void)state;
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(
            proa_map_put(map, proa_str_n(text, (size_t)snprintf(text, sizeof text, "k%d", i)), &values[i % 1000], NULL),
            0);
    assert_int_equal(proa_map_count(map), COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_ptr_equal(proa_map_get(map, proa_str_n(text, (size_t)snprintf(text, sizeof text, "k%d", i))),
                         &values[i % 1000]);
    proa_map_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_remove),
        cmocka_unit_test(test_keys_are_bytes),
        cmocka_unit_test(test_like_the_model_through_many_changes),
        cmocka_unit_test(test_the_entry_just_given_may_be_removed),
        cmocka_unit_test(test_many_entries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The cache, fed by hand. */
#include "kube_rig.h"

#include "kube/cache.h"
#include "kube/digest.h"

#include <stdio.h>
#include <stdlib.h>

struct thing_spec {
    proa_str color;
    int32_t size;
    PROA_ARRAY_OF(proa_str) tags;
};
PROA_DESCRIBE_WITH(thing_spec, (.unknown = PROA_UNKNOWN_IGNORE), (color, str), (size, i32, .default_json = "1"),
                   (tags, array(str), .default_json = "[]"));
struct thing {
    struct proa_kube_meta metadata;
    struct thing_spec spec;
};
PROA_DESCRIBE_WITH(thing, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(proa_kube_meta)),
                   (spec, object(thing_spec)));

static const struct proa_kube_kind thing_kind = {"example.com", "v1", "Thing", "things", false};

static void by_color(const void *object, void (*add)(void *ctx, proa_str key), void *ctx)
{
    add(ctx, ((const struct thing *)object)->spec.color);
}

static void by_tag(const void *object, void (*add)(void *ctx, proa_str key), void *ctx)
{
    const struct thing *thing = object;

    for (size_t i = 0; i < thing->spec.tags.len; i++)
        add(ctx, thing->spec.tags.ptr[i]);
}

/* What subscribers were told: "+a ~a -a S". */
struct rig {
    struct kube_rig kube;
    struct cache_shared shared;
    struct proa_cache *cache;
    struct cache_subscriber subscriber;
    char told[512];
};

static void note(struct rig *rig, char what, proa_str name)
{
    size_t len = strlen(rig->told);

    snprintf(rig->told + len, sizeof rig->told - len, "%s%c" PROA_FMT, len ? " " : "", what, PROA_ARG(name));
}

static void changed(struct cache_subscriber *subscriber, const struct cache_entry *old, const struct cache_entry *new_)
{
    struct rig *rig = PROA_CONTAINER(subscriber, struct rig, subscriber);

    note(rig, !old ? '+' : new_ ? '~' : '-', cache_name(new_ ? new_ : old));
}

static void synced(struct cache_subscriber *subscriber)
{
    note(PROA_CONTAINER(subscriber, struct rig, subscriber), 'S', PROA_STR(""));
}

static void rig_init(struct rig *rig, const struct proa_type *type)
{
    struct proa_source source = {.kind = &thing_kind, .type = type};

    *rig = (struct rig){.subscriber = {.changed = changed, .synced = synced}};
    if (type) {
        source.indexes[0] = by_color;
        source.indexes[1] = by_tag;
    }
    kube_rig_init(&rig->kube);
    assert_int_equal(cache_new(rig->kube.kube, &rig->shared, &source, NULL, &rig->cache, NULL), 0);
    proa_list_push_back(&rig->cache->subscribers, &rig->subscriber.list);
}

static void rig_done(struct rig *rig)
{
    proa_list_remove(&rig->subscriber.list);
    cache_free(rig->cache);
    cache_shared_done(&rig->shared);
    kube_rig_done(&rig->kube);
}

static void event(struct rig *rig, enum proa_kube_event_kind kind, const char *json, const char *version)
{
    assert_int_equal(cache_event(rig->cache, &(struct proa_kube_event){.kind = kind,
                                                                       .json = proa_str_c(json),
                                                                       .resource_version = proa_str_c(version)}),
                     0);
}

static void thing(struct rig *rig, enum proa_kube_event_kind kind, const char *name, const char *version,
                  const char *meta, const char *spec)
{
    char json[1024];

    snprintf(json, sizeof json,
             "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"uid\":\"uid-%s\",\"resourceVersion\":\"%s\"%s},"
             "\"spec\":%s}",
             name, name, version, meta, spec);
    event(rig, kind, json, version);
}

#define OWNED_BY(uid, name)                                                                                            \
    ",\"ownerReferences\":[{\"apiVersion\":\"x/v1\",\"kind\":\"Other\",\"name\":\"no\",\"uid\":\"no\"},"               \
    "{\"apiVersion\":\"example.com/v1\",\"kind\":\"App\",\"name\":\"" name "\",\"uid\":\"" uid                         \
    "\",\"controller\":true}]"

static void told(struct rig *rig, const char *expected)
{
    assert_string_equal(rig->told, expected);
    rig->told[0] = '\0';
}

static bool get(struct rig *rig, const char *name, struct proa_cached *ret_cached)
{
    return proa_cache_get(rig->cache, PROA_STR("ns"), proa_str_c(name), ret_cached);
}

static void a_list_and_changes(void **state)
{
    struct proa_cached cached;
    const struct thing *seen;
    struct rig rig;

    (void)state;
    rig_init(&rig, &thing_type.type);
    assert_false(proa_cache_has_synced(rig.cache));
    event(&rig, PROA_KUBE_RESTART, "", "");
    thing(&rig, PROA_KUBE_ADDED, "a", "3", "", "{\"color\":\"red\",\"size\":2,\"other\":[1]}");
    thing(&rig, PROA_KUBE_ADDED, "b", "2", "", "{\"color\":\"blue\"}");
    assert_false(proa_cache_has_synced(rig.cache));
    event(&rig, PROA_KUBE_SYNCED, "", "5");
    assert_true(proa_cache_has_synced(rig.cache));
    told(&rig, "+a +b S");
    assert_int_equal(proa_cache_count(rig.cache), 2);
    assert_true(get(&rig, "a", &cached));
    seen = cached.object;
    assert_true(proa_str_eq_c(seen->spec.color, "red"));
    assert_int_equal(seen->spec.size, 2);
    assert_true(proa_str_eq_c(seen->metadata.name, "a"));
    assert_ptr_equal(seen->metadata.name.ptr, cached.name.ptr); /* kept once */
    assert_true(proa_str_eq_c(cached.uid, "uid-a"));
    assert_true(proa_str_eq_c(cached.resource_version, "3"));
    assert_true(proa_str_eq_c(cached.namespace_, "ns"));
    assert_int_equal(cached.owner_uid.len, 0);
    assert_false(get(&rig, "c", &cached));
    assert_false(proa_cache_get(rig.cache, PROA_STR("other"), PROA_STR("a"), &cached));
    thing(&rig, PROA_KUBE_MODIFIED, "a", "6", "", "{\"color\":\"green\"}");
    thing(&rig, PROA_KUBE_MODIFIED, "a", "6", "", "{\"color\":\"green\"}"); /* again: nothing new */
    thing(&rig, PROA_KUBE_DELETED, "b", "7", "", "{\"color\":\"blue\"}");
    thing(&rig, PROA_KUBE_DELETED, "unknown", "8", "", "{\"color\":\"blue\"}");
    told(&rig, "~a -b");
    assert_true(get(&rig, "a", &cached));
    assert_true(proa_str_eq_c(((const struct thing *)cached.object)->spec.color, "green"));
    assert_false(get(&rig, "b", &cached));
    rig_done(&rig);
}

static void a_new_list_drops_what_it_does_not_show(void **state)
{
    struct proa_cached cached;
    struct rig rig;

    (void)state;
    rig_init(&rig, &thing_type.type);
    event(&rig, PROA_KUBE_RESTART, "", "");
    thing(&rig, PROA_KUBE_ADDED, "a", "1", "", "{\"color\":\"red\"}");
    thing(&rig, PROA_KUBE_ADDED, "b", "2", "", "{\"color\":\"red\"}");
    thing(&rig, PROA_KUBE_ADDED, "c", "3", "", "{\"color\":\"red\"}");
    event(&rig, PROA_KUBE_SYNCED, "", "4");
    told(&rig, "+a +b +c S");
    event(&rig, PROA_KUBE_RESTART, "", "");
    thing(&rig, PROA_KUBE_ADDED, "c", "3", "", "{\"color\":\"red\"}");
    /* A list that is begun anew gives things twice. */
    event(&rig, PROA_KUBE_RESTART, "", "");
    thing(&rig, PROA_KUBE_ADDED, "b", "9", "", "{\"color\":\"red\"}");
    assert_true(get(&rig, "a", &cached)); /* until the list is whole */
    event(&rig, PROA_KUBE_SYNCED, "", "10");
    assert_true(strcmp(rig.told, "~b -a -c") == 0 || strcmp(rig.told, "~b -c -a") == 0);
    assert_true(proa_cache_has_synced(rig.cache));
    assert_int_equal(proa_cache_count(rig.cache), 1);
    rig_done(&rig);
}

/* The names that a walk gives, sorted. */
static const char *names_of(struct rig *rig, int index, const char *key)
{
    static char names[64];
    struct proa_cached cached;
    void *it = NULL;
    size_t len = 0;

    while (index < 0 ? proa_cache_next_owned(rig->cache, proa_str_c(key), &it, &cached)
                     : proa_cache_next_indexed(rig->cache, (unsigned)index, proa_str_c(key), &it, &cached)) {
        size_t at = len++;

        assert_int_equal(cached.name.len, 1);
        for (; at > 0 && names[at - 1] > cached.name.ptr[0]; at--)
            names[at] = names[at - 1];
        names[at] = cached.name.ptr[0];
    }
    names[len] = '\0';
    return names;
}

static void indexes_follow_changes(void **state)
{
    struct proa_cached cached;
    struct rig rig;
    void *it = NULL;
    size_t all = 0;

    (void)state;
    rig_init(&rig, &thing_type.type);
    thing(&rig, PROA_KUBE_ADDED, "a", "1", OWNED_BY("o1", "one"), "{\"color\":\"red\",\"tags\":[\"x\",\"y\",\"x\"]}");
    thing(&rig, PROA_KUBE_ADDED, "b", "2", OWNED_BY("o1", "one"), "{\"color\":\"red\",\"tags\":[\"y\"]}");
    thing(&rig, PROA_KUBE_ADDED, "c", "3", OWNED_BY("o2", "two"), "{\"color\":\"blue\"}");
    thing(&rig, PROA_KUBE_ADDED, "d", "4", "", "{\"color\":\"o1\"}");
    assert_string_equal(names_of(&rig, -1, "o1"), "ab");
    assert_string_equal(names_of(&rig, -1, "o2"), "c");
    assert_string_equal(names_of(&rig, -1, "no"), "");
    assert_string_equal(names_of(&rig, 0, "red"), "ab");
    assert_string_equal(names_of(&rig, 0, "o1"), "d");
    assert_string_equal(names_of(&rig, 1, "x"), "a");
    assert_string_equal(names_of(&rig, 1, "y"), "ab");
    while (proa_cache_next(rig.cache, &it, &cached))
        all++;
    assert_int_equal(all, 4);
    assert_true(get(&rig, "a", &cached));
    assert_true(proa_str_eq_c(cached.owner_uid, "o1"));
    assert_true(cache_owner_is(cache_find(rig.cache, PROA_STR("ns"), PROA_STR("a"))->owner,
                               &(struct proa_kube_kind){"example.com", "v2", "App", "apps"}));
    assert_false(cache_owner_is(cache_find(rig.cache, PROA_STR("ns"), PROA_STR("a"))->owner,
                                &(struct proa_kube_kind){"other.com", "v1", "App", "apps"}));
    thing(&rig, PROA_KUBE_MODIFIED, "a", "5", OWNED_BY("o2", "two"), "{\"color\":\"blue\",\"tags\":[\"z\"]}");
    thing(&rig, PROA_KUBE_DELETED, "b", "6", "", "{\"color\":\"red\"}");
    assert_string_equal(names_of(&rig, -1, "o1"), "");
    assert_string_equal(names_of(&rig, -1, "o2"), "ac");
    assert_string_equal(names_of(&rig, 0, "red"), "");
    assert_string_equal(names_of(&rig, 0, "blue"), "ac");
    assert_string_equal(names_of(&rig, 1, "x"), "");
    assert_string_equal(names_of(&rig, 1, "z"), "a");
    rig_done(&rig);
}

static void what_cannot_be_read_is_not_there(void **state)
{
    struct proa_cached cached;
    struct rig rig;

    (void)state;
    rig_init(&rig, &thing_type.type);
    thing(&rig, PROA_KUBE_ADDED, "a", "1", "", "{\"color\":\"red\"}");
    thing(&rig, PROA_KUBE_ADDED, "b", "2", "", "{\"color\":5}");
    thing(&rig, PROA_KUBE_MODIFIED, "a", "3", "", "{}");
    told(&rig, "+a -a");
    assert_false(get(&rig, "a", &cached));
    event(&rig, PROA_KUBE_ADDED, "{\"metadata\":{}}", "4");
    event(&rig, PROA_KUBE_ADDED, "{}", "5");
    event(&rig, PROA_KUBE_DELETED, "{}", "6");
    assert_int_equal(proa_cache_count(rig.cache), 0);
    thing(&rig, PROA_KUBE_MODIFIED, "a", "7", "", "{\"color\":\"red\"}");
    told(&rig, "+a");
    rig_done(&rig);
}

static void memory_is_what_is_declared(void **state)
{
    struct proa_cached cached;
    struct rig rig;
    size_t whole, small;
    char name[16];

    (void)state;
    rig_init(&rig, NULL);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "n%d", i);
        thing(&rig, PROA_KUBE_ADDED, name, "123456", OWNED_BY("6a51c35e-2ea0-42d6-8a5f-a6ec58eef4c7", "one"),
              "{\"color\":\"red\"}");
    }
    assert_true(get(&rig, "n7", &cached));
    assert_null(cached.object);
    small = proa_cache_bytes(rig.cache) / 1000;
    assert_in_range(small, 100, 200);
    rig_done(&rig);
    rig_init(&rig, &thing_type.type);
    thing(&rig, PROA_KUBE_ADDED, "a", "1", "", "{\"color\":\"red\"}");
    whole = proa_cache_bytes(rig.cache);
    thing(&rig, PROA_KUBE_MODIFIED, "a", "2",
          ",\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":\"{long long long}\",\"k\":\"v\"}",
          "{\"color\":\"red\"}");
    assert_true(get(&rig, "a", &cached));
    assert_null(proa_kube_annotation(&((const struct thing *)cached.object)->metadata,
                                     "kubectl.kubernetes.io/last-applied-configuration")
                    .ptr);
    assert_true(proa_str_eq_c(proa_kube_annotation(&((const struct thing *)cached.object)->metadata, "k"), "v"));
    assert_in_range(proa_cache_bytes(rig.cache) - whole, 33, 80);
    thing(&rig, PROA_KUBE_MODIFIED, "a", "3", "", "{\"color\":\"red\"}");
    assert_int_equal(proa_cache_bytes(rig.cache), whole);
    rig_done(&rig);
}

#define MANAGED(value)                                                                                                 \
    ",\"managedFields\":[{\"manager\":\"proa\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:spec\":{\"f:color\":{}}}}]",  \
        "{\"color\":\"" value "\",\"size\":5}"

static void drift_shows_in_the_digest(void **state)
{
    uint64_t red = digest_body(PROA_STR("{\"spec\":{\"color\":\"red\"}}"));
    uint64_t thousand = digest_body(PROA_STR("{\"spec\":{\"color\":\"1000m\"}}"));
    uint64_t one = digest_body(PROA_STR("{\"spec\":{\"color\":\"1\"}}"));
    const struct cache_entry *entry;
    struct proa_cached cached;
    struct rig rig;

    (void)state;
    rig_init(&rig, &thing_type.type);
    thing(&rig, PROA_KUBE_ADDED, "a", "1", MANAGED("red"));
    assert_true(get(&rig, "a", &cached));
    assert_true(cached.applied_digest == red);
    entry = cache_find(rig.cache, PROA_STR("ns"), PROA_STR("a"));
    assert_true(cache_is_applied(entry, CACHE_MAIN, red));
    assert_false(cache_is_applied(entry, CACHE_MAIN, one));
    assert_false(cache_is_applied(entry, CACHE_STATUS, red));
    thing(&rig, PROA_KUBE_MODIFIED, "a", "2", MANAGED("blue"));
    assert_false(cache_is_applied(cache_find(rig.cache, PROA_STR("ns"), PROA_STR("a")), CACHE_MAIN, red));
    /* A value that the API server writes in another way is remembered with what became of it. */
    cache_note_applied(rig.cache, PROA_STR("ns"), PROA_STR("a"), CACHE_MAIN, thousand, one);
    thing(&rig, PROA_KUBE_MODIFIED, "a", "3", MANAGED("1"));
    entry = cache_find(rig.cache, PROA_STR("ns"), PROA_STR("a"));
    assert_true(cache_is_applied(entry, CACHE_MAIN, thousand) && cache_is_applied(entry, CACHE_MAIN, one));
    assert_false(cache_is_applied(entry, CACHE_MAIN, red));
    thing(&rig, PROA_KUBE_MODIFIED, "a", "4", MANAGED("2"));
    assert_false(cache_is_applied(cache_find(rig.cache, PROA_STR("ns"), PROA_STR("a")), CACHE_MAIN, thousand));
    /* Also before the cache has seen the object at all. */
    cache_note_applied(rig.cache, PROA_STR("ns"), PROA_STR("b"), CACHE_MAIN, thousand, one);
    thing(&rig, PROA_KUBE_ADDED, "b", "5", MANAGED("1"));
    assert_true(cache_is_applied(cache_find(rig.cache, PROA_STR("ns"), PROA_STR("b")), CACHE_MAIN, thousand));
    assert_int_equal(rig.cache->notes_count, 0);
    for (int i = 0; i < 2000; i++)
        cache_note_applied(rig.cache, PROA_STR("ns"), PROA_STR("c"), CACHE_MAIN, thousand, one);
    assert_in_range(rig.cache->notes_count, 1, 1024);
    rig_done(&rig);
}

static void hundreds_of_objects_stay_apart(void **state)
{
    struct proa_cached cached;
    struct rig rig;
    char name[16], spec[64], version[16];

    (void)state;
    rig_init(&rig, &thing_type.type);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 700; i++) {
            snprintf(name, sizeof name, "n%d", i);
            snprintf(spec, sizeof spec, "{\"color\":\"c%d\",\"size\":%d,\"tags\":[\"t%d\"]}", i % 7, i + round, i);
            snprintf(version, sizeof version, "%d", 1 + i + round * 1000);
            thing(&rig, i % 3 == round ? PROA_KUBE_DELETED : PROA_KUBE_MODIFIED, name, version, "", spec);
            rig.told[0] = '\0';
        }
        for (int i = 0; i < 700; i++) {
            snprintf(name, sizeof name, "n%d", i);
            assert_int_equal(get(&rig, name, &cached), i % 3 != round);
            if (i % 3 != round)
                assert_int_equal(((const struct thing *)cached.object)->spec.size, i + round);
        }
    }
    rig_done(&rig);
}

static void expect_metric(const struct proa_metrics *metrics, const char *name, double expected)
{
    struct proa_buf out = {0};
    const char *line;
    char series[100];

    snprintf(series, sizeof series, "\n%s{kind=\"Thing\"} ", name);
    assert_int_equal(proa_metrics_write((struct proa_metrics *)(uintptr_t)metrics, PROA_METRICS_TEXT, &out), 0);
    proa_buf_add_char(&out, '\0');
    line = strstr(out.ptr, series);
    if (!line)
        fail_msg("no %s in %s", series, out.ptr);
    assert_true(strtod(line + strlen(series), NULL) == expected);
    proa_buf_done(&out);
}

/* Two caches of a kind (other selectors, other types) are one number each for the kind. */
static void gauges_are_of_the_kind(void **state)
{
    struct proa_source source = {.kind = &thing_kind};
    struct proa_metrics *metrics = NULL;
    struct rig rigs[2];

    (void)state;
    assert_int_equal(proa_metrics_new(1, &metrics), 0);
    for (int i = 0; i < 2; i++) {
        rig_init(&rigs[i], NULL);
        proa_list_remove(&rigs[i].subscriber.list);
        cache_free(rigs[i].cache);
        assert_int_equal(cache_new(rigs[i].kube.kube, &rigs[i].shared, &source, metrics, &rigs[i].cache, NULL), 0);
        proa_list_push_back(&rigs[i].cache->subscribers, &rigs[i].subscriber.list);
    }
    thing(&rigs[0], PROA_KUBE_ADDED, "a", "5", "", "{\"color\":\"red\"}");
    thing(&rigs[0], PROA_KUBE_ADDED, "b", "6", "", "{\"color\":\"red\"}");
    thing(&rigs[1], PROA_KUBE_ADDED, "a", "5", "", "{\"color\":\"red\"}");
    expect_metric(metrics, "proa_cache_objects", 3);
    expect_metric(metrics, "proa_cache_bytes",
                  (double)(proa_cache_bytes(rigs[0].cache) + proa_cache_bytes(rigs[1].cache)));
    thing(&rigs[0], PROA_KUBE_DELETED, "b", "7", "", "{\"color\":\"red\"}");
    expect_metric(metrics, "proa_cache_objects", 2);
    rig_done(&rigs[0]);
    expect_metric(metrics, "proa_cache_objects", 1);
    expect_metric(metrics, "proa_cache_bytes", (double)proa_cache_bytes(rigs[1].cache));
    rig_done(&rigs[1]);
    expect_metric(metrics, "proa_cache_objects", 0);
    proa_metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_and_changes),        cmocka_unit_test(a_new_list_drops_what_it_does_not_show),
        cmocka_unit_test(indexes_follow_changes),    cmocka_unit_test(what_cannot_be_read_is_not_there),
        cmocka_unit_test(gauges_are_of_the_kind),    cmocka_unit_test(memory_is_what_is_declared),
        cmocka_unit_test(drift_shows_in_the_digest), cmocka_unit_test(hundreds_of_objects_stay_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

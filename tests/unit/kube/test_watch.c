/* Watches on the simulated API server: whatever happens, what they tell adds up to what exists. */
#include "sim_kube_rig.h"

#include "kube/client_internal.h"

#include <proa/map.h>
#include <proa/random.h>

enum { NAMES = 12, FAULTY_SEEDS = 60 };

/* What a watch has told, by name. */
struct mirror {
    struct sim_kube_rig *rig;
    struct proa_map *versions; /* name -> struct seen */
    struct proa_kube_watch_options options;
    struct proa_group group;
    uint64_t pass; /* of full lists */
    uint32_t restarts, synced, bookmarks, events;
    bool is_listing;
    int stop_with; /* returned by the next event */
    int result;
    proa_mono_ns last_at;
    struct proa_error err;
};
struct seen {
    uint64_t pass;
    char version[24];
};

static void drop_unseen(struct mirror *mirror)
{
    size_t it = 0;
    proa_str key;
    void *value;

    while (proa_map_next(mirror->versions, &it, &key, &value))
        if (((struct seen *)value)->pass != mirror->pass) {
            free(proa_map_remove(mirror->versions, key));
            it = 0;
        }
}

static void note_object(struct mirror *mirror, const struct proa_kube_event *event)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_kube_object object;
    struct seen *seen;

    proa_arena_init(&arena, NULL, 0);
    assert_int_equal(
        proa_json_read(&arena, event->json, PROA_JSON_LENIENT, &proa_kube_object_type, &object, &mirror->err), 0);
    assert_true(proa_str_eq(object.metadata.resource_version, event->resource_version));
    if (event->kind == PROA_KUBE_DELETED) {
        free(proa_map_remove(mirror->versions, object.metadata.name));
        return;
    }
    seen = proa_map_get(mirror->versions, object.metadata.name);
    if (!seen) {
        seen = calloc(1, sizeof *seen);
        assert_int_equal(proa_map_put(mirror->versions, object.metadata.name, seen, NULL), 0);
    }
    seen->pass = mirror->pass;
    snprintf(seen->version, sizeof seen->version, PROA_FMT, PROA_ARG(event->resource_version));
}

static int note(void *arg, const struct proa_kube_event *event)
{
    struct mirror *mirror = arg;

    mirror->events++;
    mirror->last_at = proa_loop_now_exact(mirror->rig->loop);
    if (mirror->stop_with)
        return mirror->stop_with;
    switch (event->kind) {
    case PROA_KUBE_RESTART:
        mirror->restarts++;
        mirror->pass++;
        mirror->is_listing = true;
        break;
    case PROA_KUBE_SYNCED:
        assert_true(mirror->is_listing);
        assert_true(event->resource_version.len > 0);
        mirror->synced++;
        mirror->is_listing = false;
        drop_unseen(mirror);
        break;
    case PROA_KUBE_BOOKMARK: mirror->bookmarks++; break;
    default: note_object(mirror, event);
    }
    return 0;
}

static int watcher(void *arg)
{
    struct mirror *mirror = arg;

    mirror->result = proa_kube_watch(mirror->rig->kube, &proa_kube_config_maps, &mirror->options, &mirror->err);
    return 0;
}

static void mirror_start(struct mirror *mirror, struct sim_kube_rig *rig, struct proa_kube_watch_options options)
{
    *mirror = (struct mirror){.rig = rig, .options = options, .versions = proa_map_new(0)};
    mirror->options.event = note;
    mirror->options.arg = mirror;
    proa_group_init(&mirror->group, rig->loop);
    assert_int_equal(proa_group_start(&mirror->group, NULL, watcher, mirror), 0);
}

static void mirror_stop(struct mirror *mirror)
{
    size_t it = 0;
    proa_str key;
    void *value;

    proa_group_cancel(&mirror->group, 0);
    assert_int_equal(proa_group_wait(&mirror->group), 0);
    assert_true(mirror->result < 0);
    while (proa_map_next(mirror->versions, &it, &key, &value))
        free(value);
    proa_map_free(mirror->versions);
}

static void expect_same(struct mirror *mirror)
{
    size_t it = 0;
    proa_str key;
    void *value;

    assert_int_equal(proa_map_count(mirror->versions),
                     proa_sim_kube_count(mirror->rig->server, &proa_kube_config_maps));
    while (proa_map_next(mirror->versions, &it, &key, &value)) {
        proa_str json = proa_sim_kube_get(mirror->rig->server, &proa_kube_config_maps, PROA_STR("default"), key);
        char version[64];

        assert_non_null(json.ptr);
        snprintf(version, sizeof version, "\"resourceVersion\":\"%s\"", ((struct seen *)value)->version);
        assert_true(proa_str_find(json, proa_str_c(version)) >= 0);
    }
}

static void pause_ms(struct sim_kube_rig *rig, uint64_t ms)
{
    assert_int_equal(proa_sleep(rig->loop, PROA_MS(ms)), 0);
}

static void put_many(struct sim_kube_rig *rig)
{
    char name[16];

    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "n%02u", i);
        sim_kube_put(rig, name, i);
    }
}

/* -- In order ------------------------------------------------------------------------------------------------------ */

static void follow(struct sim_kube_rig *rig, struct proa_kube_watch_options options)
{
    struct mirror mirror;

    put_many(rig);
    mirror_start(&mirror, rig, options);
    pause_ms(rig, 1000);
    assert_int_equal(mirror.synced, 1);
    assert_int_equal(mirror.restarts, 1);
    expect_same(&mirror);
    sim_kube_put(rig, "n01", 100);
    sim_kube_put(rig, "new", 1);
    assert_int_equal(proa_sim_kube_delete(rig->server, &proa_kube_config_maps, PROA_STR("default"), PROA_STR("n02")),
                     0);
    pause_ms(rig, 10);
    expect_same(&mirror);
    /* Through several time-outs of the watch: it goes on where it was. */
    for (int i = 0; i < 40; i++) {
        pause_ms(rig, 60000);
        sim_kube_put(rig, "n03", (uint64_t)i + 1000);
        pause_ms(rig, 1000);
        expect_same(&mirror);
    }
    assert_int_equal(mirror.restarts, 1);
    assert_true(mirror.bookmarks > 10);
    assert_true(proa_sim_kube_requests(rig->server) < 30);
    mirror_stop(&mirror);
    assert_int_equal(mirror.result, PROA_ECANCELED);
}

static void pages_body(struct sim_kube_rig *rig, void *arg)
{
    follow(rig, (struct proa_kube_watch_options){.page = 5, .no_streaming_list = true});
}

static void streaming_body(struct sim_kube_rig *rig, void *arg)
{
    follow(rig, (struct proa_kube_watch_options){.page = 5});
}

static void test_pages(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = pages_body});
}

static void test_streaming(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = streaming_body});
}

/* An API server that cannot stream lists is asked for pages. */
static void test_fallback(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = streaming_body, .options = {.no_watch_list = true}});
}

/* One that ignores what it does not know never says that the list is over: in the end it is asked for pages too. */
static void ignored_body(struct sim_kube_rig *rig, void *arg)
{
    struct mirror mirror;

    put_many(rig);
    mirror_start(&mirror, rig, (struct proa_kube_watch_options){.page = 5});
    pause_ms(rig, 60000);
    assert_int_equal(mirror.synced, 1);
    expect_same(&mirror);
    sim_kube_put(rig, "n01", 100);
    pause_ms(rig, 10);
    expect_same(&mirror);
    /* Of later lists it is known at once. */
    proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_DOWN);
    sim_kube_put(rig, "n02", 100);
    proa_sim_kube_compact(rig->server);
    proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_UP);
    pause_ms(rig, 3000);
    assert_int_equal(mirror.synced, 2);
    expect_same(&mirror);
    mirror_stop(&mirror);
}

static void test_ignored(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = ignored_body, .options = {.ignores_watch_list = true}});
}

/* One that is starting refuses everything: that says nothing of what it can do. */
static void refused_body(struct sim_kube_rig *rig, void *arg)
{
    struct mirror mirror;
    uint64_t before;

    put_many(rig);
    proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_STARTING);
    mirror_start(&mirror, rig, (struct proa_kube_watch_options){.page = 1});
    pause_ms(rig, 60000);
    proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_UP);
    before = proa_sim_kube_requests(rig->server);
    pause_ms(rig, 3000);
    expect_same(&mirror);
    assert_in_range(proa_sim_kube_requests(rig->server) - before, 1, 3);
    mirror_stop(&mirror);
}

static void test_refused(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = refused_body});
}

static void selected_body(struct sim_kube_rig *rig, void *arg)
{
    struct mirror mirror;

    put_many(rig);
    mirror_start(&mirror, rig,
                 (struct proa_kube_watch_options){.namespace_ = PROA_STR("default"),
                                                  .field_selector = PROA_STR("metadata.name=n03")});
    pause_ms(rig, 1000);
    sim_kube_put(rig, "n04", 7);
    sim_kube_put(rig, "n03", 7);
    pause_ms(rig, 10);
    assert_int_equal(proa_map_count(mirror.versions), 1);
    assert_non_null(proa_map_get(mirror.versions, PROA_STR("n03")));
    /* The caller's refusal ends it. */
    mirror.stop_with = PROA_EFORBIDDEN;
    sim_kube_put(rig, "n03", 8);
    pause_ms(rig, 10);
    assert_int_equal(mirror.result, PROA_EFORBIDDEN);
    mirror_stop(&mirror);
}

static void test_selected(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = selected_body});
}

/* -- Too large ----------------------------------------------------------------------------------------------------- */

static void put_large(struct sim_kube_rig *rig, const char *name)
{
    char json[6200];
    int len = snprintf(json, sizeof json, "{\"metadata\":{\"name\":\"%s\"},\"data\":{\"value\":\"", name);

    memset(json + len, 'x', 6000);
    memcpy(json + len + 6000, "\"}}", sizeof "\"}}");
    assert_int_equal(proa_sim_kube_put(rig->server, &proa_kube_config_maps, proa_str_c(json), "test", NULL), 0);
}

/* An object larger than any may be is left out, and stops no other. */
static void large(struct sim_kube_rig *rig, bool no_streaming)
{
    struct proa_kube *kube = rig->kube;
    struct proa_metrics *metrics;
    proa_str kind = PROA_STR("ConfigMap");
    struct mirror mirror;

    assert_int_equal(proa_metrics_new(1, &metrics), 0);
    assert_int_equal(proa_kube_new(
                         &(struct proa_kube_options){
                             .loop = rig->loop, .config = rig->config, .metrics = metrics, .item_bytes = 4000},
                         &rig->kube, NULL),
                     0);
    put_many(rig);
    put_large(rig, "n05");
    mirror_start(&mirror, rig, (struct proa_kube_watch_options){.page = 5, .no_streaming_list = no_streaming});
    pause_ms(rig, 1000);
    assert_int_equal(mirror.synced, 1);
    assert_int_equal(proa_map_count(mirror.versions), NAMES - 1);
    assert_int_equal(proa_counter_value(proa_counter_with(rig->kube->skipped, &kind)), 1);
    /* One that grows is gone; one that shrinks is there. */
    put_large(rig, "n06");
    put_large(rig, "new");
    sim_kube_put(rig, "n07", 700);
    pause_ms(rig, 100);
    assert_int_equal(proa_map_count(mirror.versions), NAMES - 2);
    assert_null(proa_map_get(mirror.versions, PROA_STR("n06")));
    assert_int_equal(proa_counter_value(proa_counter_with(rig->kube->skipped, &kind)), 3);
    assert_int_equal(proa_sim_kube_delete(rig->server, &proa_kube_config_maps, PROA_STR("default"), PROA_STR("new")),
                     0);
    sim_kube_put(rig, "n05", 5);
    sim_kube_put(rig, "n06", 6);
    pause_ms(rig, 100);
    expect_same(&mirror);
    assert_int_equal(mirror.restarts, 1);
    mirror_stop(&mirror);
    proa_kube_free(rig->kube);
    proa_metrics_free(metrics);
    rig->kube = kube;
}

static void large_body(struct sim_kube_rig *rig, void *arg)
{
    large(rig, true);
}

static void large_streaming_body(struct sim_kube_rig *rig, void *arg)
{
    large(rig, false);
}

static void test_large(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = large_body});
    sim_kube_rig_run(&(struct sim_kube_rig){.body = large_streaming_body});
}

/* -- Too old ------------------------------------------------------------------------------------------------------- */

/* Down while the history is forgotten: what was deleted meanwhile is told by the new list. */
static void compacted(struct sim_kube_rig *rig, bool no_streaming)
{
    struct mirror mirror;

    put_many(rig);
    mirror_start(&mirror, rig, (struct proa_kube_watch_options){.page = 5, .no_streaming_list = no_streaming});
    pause_ms(rig, 1000);
    proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_DOWN);
    pause_ms(rig, 5000);
    assert_int_equal(proa_sim_kube_delete(rig->server, &proa_kube_config_maps, PROA_STR("default"), PROA_STR("n02")),
                     0);
    sim_kube_put(rig, "n05", 500);
    proa_sim_kube_compact(rig->server);
    proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_UP);
    pause_ms(rig, 3000);
    assert_int_equal(mirror.restarts, 2);
    assert_int_equal(mirror.synced, 2);
    expect_same(&mirror);
    mirror_stop(&mirror);
}

static void compacted_body(struct sim_kube_rig *rig, void *arg)
{
    compacted(rig, true);
}

static void compacted_streaming_body(struct sim_kube_rig *rig, void *arg)
{
    compacted(rig, false);
}

static void test_compacted(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = compacted_body});
    sim_kube_rig_run(&(struct sim_kube_rig){.body = compacted_streaming_body});
}

/* The token of the second page expires: the list begins anew, and says so. */
static struct sim_kube_rig *compacting;

static void compact_at_second_page(void *arg, uint64_t number, const char *method, proa_str path)
{
    if (number == 2 && compacting->server) {
        sim_kube_put(compacting, "n00", 77);
        proa_sim_kube_compact(compacting->server);
    }
}

static void expired_token_body(struct sim_kube_rig *rig, void *arg)
{
    struct mirror mirror;

    put_many(rig);
    mirror_start(&mirror, rig, (struct proa_kube_watch_options){.page = 5, .no_streaming_list = true});
    pause_ms(rig, 3000);
    assert_int_equal(mirror.restarts, 2);
    assert_int_equal(mirror.synced, 1);
    expect_same(&mirror);
    mirror_stop(&mirror);
}

static void test_expired_token(void **state)
{
    struct sim_kube_rig rig = {.body = expired_token_body, .options = {.on_request = compact_at_second_page}};

    compacting = &rig;
    sim_kube_rig_run(&rig);
}

/* Before each request something changes, and what was before is forgotten. */
static void compact_at_each(void *arg, uint64_t number, const char *method, proa_str path)
{
    if (!compacting)
        return;
    sim_kube_put(compacting, "n00", number);
    proa_sim_kube_compact(compacting->server);
}

/* No list is new enough for a watch: whole lists are no way to spend a cluster's time. */
static void always_too_old_body(struct sim_kube_rig *rig, void *arg)
{
    struct mirror mirror;

    put_many(rig);
    compacting = rig;
    mirror_start(&mirror, rig, (struct proa_kube_watch_options){.no_streaming_list = true});
    pause_ms(rig, 600000);
    assert_in_range(mirror.restarts, 10, 40);
    compacting = NULL;
    pause_ms(rig, 60000);
    sim_kube_put(rig, "n03", 7);
    pause_ms(rig, 10);
    expect_same(&mirror);
    /* One that was of use lists at once. */
    mirror.restarts = 0;
    compacting = rig;
    proa_sim_cut(rig->sim, "10.0.0.1:6443");
    pause_ms(rig, 1900);
    assert_in_range(mirror.restarts, 1, 2);
    mirror_stop(&mirror);
}

static void test_always_too_old(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = always_too_old_body, .options = {.on_request = compact_at_each}});
}

/* -- Away ---------------------------------------------------------------------------------------------------------- */

static void away(struct sim_kube_rig *rig, enum proa_sim_kube_state state, bool refuses)
{
    struct mirror mirrors[3];
    proa_mono_ns back;

    put_many(rig);
    for (size_t i = 0; i < PROA_COUNT(mirrors); i++)
        mirror_start(&mirrors[i], rig, (struct proa_kube_watch_options){0});
    pause_ms(rig, 1000);
    for (uint64_t minutes = 1; minutes <= 61; minutes += 12) {
        if (refuses) {
            proa_sim_set_network(rig->sim, &(struct proa_sim_network){.refuse_probability = 1});
            proa_sim_cut(rig->sim, "10.0.0.1:6443");
        } else {
            proa_sim_kube_set_state(rig->server, state);
        }
        pause_ms(rig, minutes * 60000);
        if (state == PROA_SIM_KUBE_DOWN) {
            /* On its way up it refuses even to say that it is not ready, with long back-offs under way. */
            proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_STARTING);
            pause_ms(rig, 3000);
        }
        sim_kube_put(rig, "n05", minutes);
        proa_sim_set_network(rig->sim, &(struct proa_sim_network){0});
        proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_UP);
        back = proa_loop_now_exact(rig->loop);
        pause_ms(rig, 2000);
        for (size_t i = 0; i < PROA_COUNT(mirrors); i++) {
            assert_true(mirrors[i].last_at >= back);
            assert_int_equal(mirrors[i].restarts, 1);
            expect_same(&mirrors[i]);
        }
    }
    for (size_t i = 0; i < PROA_COUNT(mirrors); i++)
        mirror_stop(&mirrors[i]);
}

static void down_body(struct sim_kube_rig *rig, void *arg)
{
    away(rig, PROA_SIM_KUBE_DOWN, false);
}

static void refusing_body(struct sim_kube_rig *rig, void *arg)
{
    away(rig, PROA_SIM_KUBE_UP, true);
}

static void starting_body(struct sim_kube_rig *rig, void *arg)
{
    away(rig, PROA_SIM_KUBE_STARTING, false);
}

static void test_away(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = down_body});
    sim_kube_rig_run(&(struct sim_kube_rig){.body = refusing_body});
    sim_kube_rig_run(&(struct sim_kube_rig){.body = starting_body});
}

/* -- Faults -------------------------------------------------------------------------------------------------------- */

static void churn(struct sim_kube_rig *rig, struct proa_prng *prng)
{
    char name[16];

    snprintf(name, sizeof name, "n%02u", (unsigned)proa_prng_below(prng, NAMES));
    if (proa_prng_below(prng, 3) == 0)
        proa_ignore(proa_sim_kube_delete(rig->server, &proa_kube_config_maps, PROA_STR("default"), proa_str_c(name)));
    else
        sim_kube_put(rig, name, proa_prng_u64(prng));
}

static void faults_body(struct sim_kube_rig *rig, void *arg)
{
    struct mirror pages, streaming;
    struct proa_prng prng;

    proa_prng_seed(&prng, rig->seed);
    put_many(rig);
    mirror_start(&pages, rig, (struct proa_kube_watch_options){.page = 4, .no_streaming_list = true});
    mirror_start(&streaming, rig, (struct proa_kube_watch_options){0});
    for (int i = 0; i < 300; i++) {
        churn(rig, &prng);
        pause_ms(rig, proa_prng_below(&prng, 3000));
        if (proa_prng_below(&prng, 100) == 0)
            proa_sim_kube_set_state(rig->server, (enum proa_sim_kube_state)proa_prng_below(&prng, 3));
    }
    proa_sim_kube_set_faults(rig->server, NULL);
    proa_sim_kube_set_state(rig->server, PROA_SIM_KUBE_UP);
    /* A fault of its own has a back-off of up to a minute. */
    pause_ms(rig, 70000);
    expect_same(&pages);
    expect_same(&streaming);
    mirror_stop(&pages);
    mirror_stop(&streaming);
}

static void test_faults(void **state)
{
    for (uint64_t seed = 1; seed <= FAULTY_SEEDS; seed++)
        sim_kube_rig_run(&(struct sim_kube_rig){.body = faults_body,
                                                .seed = seed,
                                                .options = {.history = 1 + (uint32_t)(seed % 20),
                                                            .faults = {.lose_request = 0.05,
                                                                       .lose_answer = 0.05,
                                                                       .unavailable = 0.05,
                                                                       .cut_watch = 0.1,
                                                                       .expire = 0.1,
                                                                       .delay_max_ns = PROA_MS(200)}}});
}

/* Cut after each of its first events in turn. */
static void cut_body(struct sim_kube_rig *rig, void *arg)
{
    struct mirror mirror;

    put_many(rig);
    mirror_start(&mirror, rig, (struct proa_kube_watch_options){0});
    pause_ms(rig, 1000);
    for (uint64_t i = 0; i < 30; i++) {
        sim_kube_put(rig, "n01", i);
        sim_kube_put(rig, "n02", i);
        proa_sim_cut(rig->sim, "10.0.0.1:6443");
        sim_kube_put(rig, "n03", i);
        pause_ms(rig, 60000);
        expect_same(&mirror);
    }
    assert_int_equal(mirror.restarts, 1);
    mirror_stop(&mirror);
}

static void test_cut(void **state)
{
    sim_kube_rig_run(&(struct sim_kube_rig){.body = cut_body});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),          cmocka_unit_test(test_streaming), cmocka_unit_test(test_fallback),
        cmocka_unit_test(test_ignored),        cmocka_unit_test(test_refused),   cmocka_unit_test(test_large),
        cmocka_unit_test(test_always_too_old), cmocka_unit_test(test_selected),  cmocka_unit_test(test_compacted),
        cmocka_unit_test(test_expired_token),  cmocka_unit_test(test_away),      cmocka_unit_test(test_cut),
        cmocka_unit_test(test_faults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

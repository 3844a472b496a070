/* The work queue, in virtual time. */
#include "kube_rig.h"

#include "kube/queue.h"

#include <stdio.h>
#include <stdlib.h>

struct rig {
    struct kube_rig kube;
    struct queue queue;
    uint32_t ready; /* calls */
};

static void ready(void *arg)
{
    ((struct rig *)arg)->ready++;
}

static void rig_init(struct rig *rig, uint64_t resync_ns)
{
    *rig = (struct rig){0};
    kube_rig_init(&rig->kube);
    assert_int_equal(
        queue_init(&rig->queue,
                   &(struct queue_options){
                       .loop = rig->kube.loop, .name = "test", .resync_ns = resync_ns, .ready = ready, .arg = rig},
                   NULL),
        0);
}

static void rig_done(struct rig *rig)
{
    queue_done(&rig->queue);
    kube_rig_done(&rig->kube);
}

static int sleeper(void *arg)
{
    struct rig *rig = arg;

    proa_ignore(proa_sleep(rig->kube.loop, PROA_MS(rig->ready)));
    return 0;
}

/* Lets virtual time pass. */
static void pass(struct rig *rig, uint32_t ms)
{
    uint32_t ready_before = rig->ready;
    proa_mono_ns until = proa_loop_now(rig->kube.loop) + PROA_MS(ms);

    rig->ready = ms;
    assert_int_equal(proa_loop_start_fiber(rig->kube.loop, NULL, sleeper, rig), 0);
    /* The fiber reads its time first. */
    proa_loop_run_once(rig->kube.loop, false);
    rig->ready = ready_before;
    while (proa_loop_now(rig->kube.loop) < until || proa_loop_fibers(rig->kube.loop, NULL) > 0)
        proa_loop_run_once(rig->kube.loop, true);
}

static void add(struct rig *rig, const char *name, enum queue_priority priority)
{
    queue_add(&rig->queue, PROA_STR("ns"), proa_str_c(name), priority);
}

static struct queue_item *take(struct rig *rig, const char *name)
{
    struct queue_item *item = queue_take(&rig->queue);

    if (!name) {
        assert_null(item);
        return NULL;
    }
    assert_non_null(item);
    assert_true(proa_str_eq_c(queue_namespace(item), "ns"));
    assert_true(proa_str_eq_c(queue_name(item), name));
    return item;
}

static void finish(struct queue_item *item)
{
    queue_finish(item, &(struct queue_outcome){.exists = true});
}

static void finish_failed(struct queue_item *item)
{
    queue_finish(item, &(struct queue_outcome){.exists = true, .has_failed = true});
}

static void a_key_is_there_once(void **state)
{
    struct rig rig;
    struct queue_item *a;

    (void)state;
    rig_init(&rig, 0);
    add(&rig, "a", QUEUE_NORMAL);
    add(&rig, "a", QUEUE_NORMAL);
    add(&rig, "b", QUEUE_NORMAL);
    assert_int_equal(rig.queue.ready_count, 2);
    a = take(&rig, "a");
    /* Added while it runs, it runs again afterwards, and not at the same time. */
    add(&rig, "a", QUEUE_NORMAL);
    add(&rig, "a", QUEUE_NORMAL);
    finish(take(&rig, "b"));
    take(&rig, NULL);
    finish(a);
    finish(take(&rig, "a"));
    take(&rig, NULL);
    assert_int_equal(rig.queue.items.count, 0);
    rig_done(&rig);
}

static void low_priority_comes_last(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig, 0);
    add(&rig, "low1", QUEUE_LOW);
    add(&rig, "low2", QUEUE_LOW);
    add(&rig, "a", QUEUE_NORMAL);
    add(&rig, "low2", QUEUE_NORMAL);
    add(&rig, "a", QUEUE_LOW);
    finish(take(&rig, "a"));
    finish(take(&rig, "low2"));
    finish(take(&rig, "low1"));
    take(&rig, NULL);
    rig_done(&rig);
}

static void what_is_asked_for_at_no_time_does_not_come(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig, 0);
    add(&rig, "a", QUEUE_NORMAL);
    queue_finish(take(&rig, "a"), &(struct queue_outcome){.exists = true, .requeue_after_ns = PROA_NEVER});
    queue_add_after(&rig.queue, PROA_STR("ns"), PROA_STR("b"), PROA_NEVER);
    pass(&rig, 60000);
    take(&rig, NULL);
    assert_int_equal(rig.queue.items.count, 0);
    rig_done(&rig);
}

static void failures_back_off_by_the_item(void **state)
{
    struct rig rig;
    uint64_t ms = 5;

    (void)state;
    rig_init(&rig, 0);
    add(&rig, "a", QUEUE_NORMAL);
    finish_failed(take(&rig, "a"));
    for (int i = 0; i < 17; i++) {
        pass(&rig, (uint32_t)ms - 1);
        take(&rig, NULL);
        pass(&rig, 1);
        finish_failed(take(&rig, "a"));
        ms *= 2;
    }
    assert_int_equal(ms, 655360);
    ms = 655360;
    pass(&rig, (uint32_t)ms);
    finish_failed(take(&rig, "a"));
    /* Never longer than 1,000 s. */
    for (int i = 0; i < 3; i++) {
        pass(&rig, 999999);
        take(&rig, NULL);
        pass(&rig, 1);
        finish_failed(take(&rig, "a"));
    }
    /* Another item has its own; a success forgets. */
    add(&rig, "b", QUEUE_NORMAL);
    finish_failed(take(&rig, "b"));
    pass(&rig, 5);
    finish(take(&rig, "b"));
    add(&rig, "a", QUEUE_NORMAL);
    finish(take(&rig, "a"));
    assert_int_equal(rig.queue.items.count, 0);
    add(&rig, "a", QUEUE_NORMAL);
    finish_failed(take(&rig, "a"));
    pass(&rig, 5);
    finish(take(&rig, "a"));
    rig_done(&rig);
}

static void a_busy_server_sets_the_pace(void **state)
{
    const struct queue_outcome busy = {.exists = true, .has_failed = true, .not_before_ns = PROA_SECONDS(3)};
    struct rig rig;

    (void)state;
    rig_init(&rig, 0);
    add(&rig, "a", QUEUE_NORMAL);
    for (int i = 0; i < 10; i++) { /* up to a back-off of 2,560 ms of its own */
        queue_finish(take(&rig, "a"), &busy);
        pass(&rig, 2999);
        take(&rig, NULL);
        pass(&rig, 1);
    }
    queue_finish(take(&rig, "a"), &busy);
    pass(&rig, 5119);
    take(&rig, NULL);
    pass(&rig, 1);
    finish(take(&rig, "a"));
    rig_done(&rig);
}

static void a_change_does_not_wait_for_the_back_off(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig, 0);
    add(&rig, "a", QUEUE_NORMAL);
    for (int i = 0; i < 10; i++) {
        add(&rig, "a", QUEUE_NORMAL);
        finish_failed(take(&rig, "a"));
    }
    add(&rig, "a", QUEUE_NORMAL);
    finish(take(&rig, "a"));
    pass(&rig, 1000000);
    take(&rig, NULL);
    rig_done(&rig);
}

static void requeues_come_when_asked_for(void **state)
{
    struct rig rig;
    struct queue_item *a;

    (void)state;
    rig_init(&rig, 0);
    add(&rig, "a", QUEUE_NORMAL);
    queue_finish(take(&rig, "a"), &(struct queue_outcome){.exists = true, .requeue_after_ns = PROA_MS(100)});
    pass(&rig, 50);
    /* The latest reconcile knows best. */
    add(&rig, "a", QUEUE_NORMAL);
    queue_finish(take(&rig, "a"), &(struct queue_outcome){.exists = true, .requeue_after_ns = PROA_MS(100)});
    pass(&rig, 99);
    take(&rig, NULL);
    pass(&rig, 1);
    a = take(&rig, "a");
    /* From outside the earlier one counts. */
    queue_add_after(&rig.queue, PROA_STR("ns"), PROA_STR("b"), PROA_MS(100));
    queue_add_after(&rig.queue, PROA_STR("ns"), PROA_STR("b"), PROA_MS(10));
    queue_add_after(&rig.queue, PROA_STR("ns"), PROA_STR("b"), PROA_MS(50));
    pass(&rig, 10);
    finish(take(&rig, "b"));
    queue_add_after(&rig.queue, PROA_STR("ns"), PROA_STR("c"), 0);
    finish(take(&rig, "c"));
    finish(a);
    pass(&rig, 1000);
    take(&rig, NULL);
    assert_int_equal(rig.queue.items.count, 0);
    rig_done(&rig);
}

static void resync_is_spread_and_regular(void **state)
{
    struct rig rig;
    uint32_t in_half = 0;
    char name[16];

    (void)state;
    rig_init(&rig, PROA_SECONDS(30));
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "n%d", i);
        add(&rig, name, QUEUE_NORMAL);
        finish(take(&rig, name));
    }
    pass(&rig, 15000);
    for (struct queue_item *item; (item = queue_take(&rig.queue)); in_half++) {
        assert_int_equal(item->priority, QUEUE_LOW);
        finish(item);
    }
    assert_in_range(in_half, 60, 140);
    /* From then on each comes once in 30 s. */
    for (int round = 0; round < 3; round++) {
        uint32_t count = 0;

        for (int i = 0; i < 30; i++) {
            pass(&rig, 1000);
            for (struct queue_item *item; (item = queue_take(&rig.queue)); count++)
                finish(item);
        }
        assert_int_equal(count, 200);
    }
    /* In 64 slots, so that a program at rest wakes up seldom. */
    for (struct table_node *node = table_next(&rig.queue.items, NULL); node; node = table_next(&rig.queue.items, node))
        assert_int_equal(PROA_CONTAINER(node, struct queue_item, node)->resync_at % (PROA_SECONDS(30) / 64), 0);
    /* An object that is gone comes no more. */
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "n%d", i);
        add(&rig, name, QUEUE_NORMAL);
        queue_finish(take(&rig, name), &(struct queue_outcome){0});
    }
    assert_int_equal(rig.queue.items.count, 0);
    pass(&rig, 60000);
    take(&rig, NULL);
    rig_done(&rig);
}

static void failed_keys_can_be_tried_at_once(void **state)
{
    struct rig rig;
    struct queue_item *a;

    (void)state;
    rig_init(&rig, 0);
    for (int i = 0; i < 12; i++) {
        add(&rig, "a", QUEUE_NORMAL);
        finish_failed(take(&rig, "a"));
    }
    add(&rig, "b", QUEUE_NORMAL);
    queue_finish(take(&rig, "b"), &(struct queue_outcome){.exists = true, .requeue_after_ns = PROA_SECONDS(60)});
    pass(&rig, 1);
    take(&rig, NULL);
    queue_retry(&rig.queue);
    a = take(&rig, "a");
    take(&rig, NULL);
    /* With a back-off that begins anew. */
    finish_failed(a);
    pass(&rig, 5);
    finish(take(&rig, "a"));
    rig_done(&rig);
}

static void what_was_stopped_comes_again_without_a_failure(void **state)
{
    struct rig rig;
    struct queue_item *item;

    (void)state;
    rig_init(&rig, 0);
    add(&rig, "a", QUEUE_LOW);
    queue_finish(take(&rig, "a"), &(struct queue_outcome){.exists = true, .was_stopped = true});
    item = take(&rig, "a");
    assert_int_equal(item->failures, 0);
    finish(item);
    take(&rig, NULL);
    rig_done(&rig);
}

static void bookmark(struct proa_cache *cache, const char *version)
{
    assert_int_equal(cache_event(cache, &(struct proa_kube_event){.kind = PROA_KUBE_BOOKMARK,
                                                                  .resource_version = proa_str_c(version)}),
                     0);
}

static void a_key_waits_for_its_writes(void **state)
{
    struct proa_cache *cache, *other;
    struct cache_shared shared = {0};
    struct rig rig;
    struct queue_item *a;

    (void)state;
    rig_init(&rig, 0);
    assert_int_equal(
        cache_new(rig.kube.kube, &shared, &(struct proa_source){.kind = &proa_kube_pods}, NULL, &cache, NULL), 0);
    assert_int_equal(
        cache_new(rig.kube.kube, &shared, &(struct proa_source){.kind = &proa_kube_nodes}, NULL, &other, NULL), 0);
    bookmark(cache, "10");
    add(&rig, "a", QUEUE_NORMAL);
    a = take(&rig, "a");
    queue_await(a, cache, 9); /* seen already */
    queue_await(a, cache, 12);
    queue_await(a, cache, 11);
    queue_await(a, other, 5);
    queue_await(a, other, 0); /* no version */
    finish(a);
    add(&rig, "a", QUEUE_NORMAL);
    take(&rig, NULL);
    add(&rig, "b", QUEUE_NORMAL);
    finish(take(&rig, "b"));
    bookmark(cache, "11");
    bookmark(other, "100");
    take(&rig, NULL);
    bookmark(cache, "12");
    a = take(&rig, "a");
    /* Not for ever. */
    queue_await(a, cache, 13);
    finish(a);
    add(&rig, "a", QUEUE_NORMAL);
    take(&rig, NULL);
    pass(&rig, 4999);
    take(&rig, NULL);
    pass(&rig, 1);
    finish(take(&rig, "a"));
    assert_true(proa_list_empty(&cache->awaits));
    /* Without anything to do the wait leaves nothing behind. */
    add(&rig, "a", QUEUE_NORMAL);
    a = take(&rig, "a");
    queue_await(a, cache, 14);
    finish(a);
    assert_int_equal(rig.queue.items.count, 1);
    bookmark(cache, "14");
    assert_int_equal(rig.queue.items.count, 0);
    /* Freed while it waits. */
    add(&rig, "a", QUEUE_NORMAL);
    a = take(&rig, "a");
    queue_await(a, cache, 20);
    finish(a);
    queue_done(&rig.queue);
    cache_free(cache);
    cache_free(other);
    cache_shared_done(&shared);
    kube_rig_done(&rig.kube);
}

static double metric(struct proa_metrics *metrics, const char *series)
{
    struct proa_buf out = {0};
    const char *line;
    double value;

    assert_int_equal(proa_metrics_write(metrics, PROA_METRICS_TEXT, &out), 0);
    proa_buf_add_char(&out, '\0');
    line = strstr(out.ptr, series);
    if (!line)
        fail_msg("no %s in %s", series, out.ptr);
    value = strtod(line + strlen(series), NULL);
    proa_buf_done(&out);
    return value;
}

static void its_metrics_bear_the_known_names(void **state)
{
    struct proa_metrics *metrics;
    struct queue_item *a;
    struct rig rig;

    (void)state;
    rig_init(&rig, 0);
    queue_done(&rig.queue);
    assert_int_equal(proa_metrics_new(1, &metrics), 0);
    assert_int_equal(
        queue_init(&rig.queue,
                   &(struct queue_options){
                       .loop = rig.kube.loop, .metrics = metrics, .name = "q", .ready = ready, .arg = &rig},
                   NULL),
        0);
    add(&rig, "a", QUEUE_NORMAL);
    add(&rig, "b", QUEUE_NORMAL);
    assert_true(metric(metrics, "workqueue_depth{name=\"q\",controller=\"q\"} ") == 2);
    assert_true(metric(metrics, "workqueue_adds_total{name=\"q\",controller=\"q\"} ") == 2);
    pass(&rig, 250);
    a = take(&rig, "a");
    assert_true(metric(metrics, "workqueue_queue_duration_seconds_sum{name=\"q\",controller=\"q\"} ") >= 0.25);
    pass(&rig, 2100);
    assert_true(metric(metrics, "workqueue_longest_running_processor_seconds{name=\"q\",controller=\"q\"} ") == 2);
    assert_true(metric(metrics, "workqueue_unfinished_work_seconds{name=\"q\",controller=\"q\"} ") == 2);
    finish_failed(a);
    assert_true(metric(metrics, "workqueue_retries_total{name=\"q\",controller=\"q\"} ") == 1);
    assert_true(metric(metrics, "workqueue_work_duration_seconds_count{name=\"q\",controller=\"q\"} ") == 1);
    pass(&rig, 600);
    assert_true(metric(metrics, "workqueue_unfinished_work_seconds{name=\"q\",controller=\"q\"} ") == 0);
    queue_done(&rig.queue);
    proa_metrics_free(metrics);
    kube_rig_done(&rig.kube);
}

/* Whatever happens to the key before, and from its own reconcile too. */
static void what_is_asked_for_later_comes(void **state)
{
    struct rig rig;
    struct queue_item *item;

    (void)state;
    rig_init(&rig, 0);
    queue_add_after(&rig.queue, PROA_STR("ns"), PROA_STR("a"), PROA_MS(100));
    queue_add_after(&rig.queue, PROA_STR("ns"), PROA_STR("a"), PROA_MS(200));
    add(&rig, "a", QUEUE_NORMAL);
    finish(take(&rig, "a"));
    pass(&rig, 50);
    take(&rig, NULL);
    pass(&rig, 60);
    item = take(&rig, "a");
    queue_add_after(&rig.queue, PROA_STR("ns"), PROA_STR("a"), PROA_MS(100));
    queue_finish(item, &(struct queue_outcome){.exists = true, .requeue_after_ns = PROA_MS(50)});
    pass(&rig, 60);
    finish(take(&rig, "a")); /* as it wished itself */
    pass(&rig, 50);
    item = take(&rig, "a"); /* as it was asked */
    queue_add_after(&rig.queue, PROA_STR("ns"), PROA_STR("a"), PROA_MS(300));
    finish_failed(item);
    pass(&rig, 10);
    finish(take(&rig, "a"));
    pass(&rig, 300);
    finish(take(&rig, "a"));
    pass(&rig, 1000);
    take(&rig, NULL);
    assert_int_equal(rig.queue.items.count, 0);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_there_once),
        cmocka_unit_test(what_is_asked_for_later_comes),
        cmocka_unit_test(low_priority_comes_last),
        cmocka_unit_test(what_is_asked_for_at_no_time_does_not_come),
        cmocka_unit_test(failures_back_off_by_the_item),
        cmocka_unit_test(a_busy_server_sets_the_pace),
        cmocka_unit_test(a_change_does_not_wait_for_the_back_off),
        cmocka_unit_test(requeues_come_when_asked_for),
        cmocka_unit_test(resync_is_spread_and_regular),
        cmocka_unit_test(failed_keys_can_be_tried_at_once),
        cmocka_unit_test(what_was_stopped_comes_again_without_a_failure),
        cmocka_unit_test(a_key_waits_for_its_writes),
        cmocka_unit_test(its_metrics_bear_the_known_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

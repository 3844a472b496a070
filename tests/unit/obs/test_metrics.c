/* The registry: names, series and their limit, exact sums over shards, many threads. */
#include "unit.h"

#include "obs/metrics_internal.h"
#include <math.h>
#include <proa/fiber.h>
#include <proa/loops.h>
#include <proa/metrics.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static struct proa_metrics *metrics;

static int setup(void **state)
{
    return proa_metrics_new(4, &metrics);
}

static int teardown(void **state)
{
    proa_metrics_free(metrics);
    return 0;
}

static struct proa_counter *new_counter(const char *name, const char *label, uint32_t series_max)
{
    struct proa_metric_options options = {.name = name, .labels = {label}, .series_max = series_max};
    struct proa_counter *counter;

    assert_int_equal(proa_counter_new(metrics, &options, &counter, NULL), 0);
    return counter;
}

static struct proa_counter_series *with(struct proa_counter *counter, const char *value)
{
    proa_str values[] = {proa_str_c(value)};

    return proa_counter_with(counter, values);
}

static void test_shards_are_bounded(void **state)
{
    struct proa_metrics *none = NULL;

    assert_int_equal(proa_metrics_new(0, &none), PROA_EINVAL);
    assert_int_equal(proa_metrics_new(PROA_LOOPS_MAX + 1, &none), PROA_EINVAL);
    assert_null(none);
    assert_int_equal(proa_metrics_new(PROA_LOOPS_MAX, &none), 0);
    proa_metrics_free(none);
    proa_metrics_free(NULL);
}

static void test_counters_add_up_over_shards(void **state)
{
    struct proa_counter_series *series = proa_counter_with(new_counter("c", NULL, 0), NULL);

    assert_int_equal(proa_counter_value(series), 0);
    for (uint32_t shard = 0; shard < 4; shard++)
        proa_counter_add(series, shard, 10 + shard);
    proa_counter_add(series, PROA_SHARD_OTHER, 100);
    proa_counter_add(series, 4, 1000); /* no shard of its own: the others' */
    assert_true(proa_counter_value(series) == 10 + 11 + 12 + 13 + 1100);
    proa_counter_add(series, 0, UINT64_C(1) << 60);
    assert_true(proa_counter_value(series) == (UINT64_C(1) << 60) + 1146);
}

static void test_gauges(void **state)
{
    struct proa_gauge *gauge;
    struct proa_gauge_series *series;

    assert_int_equal(proa_gauge_new(metrics, &(struct proa_metric_options){.name = "g"}, &gauge, NULL), 0);
    series = proa_gauge_with(gauge, NULL);
    proa_gauge_add(series, 0, 5);
    proa_gauge_add(series, 1, -7);
    proa_gauge_add(series, PROA_SHARD_OTHER, -1);
    assert_true(proa_gauge_value(series) == -3);
    proa_gauge_add(series, 1, 3);
    assert_true(proa_gauge_value(series) == 0);
    proa_gauge_set(series, 2.5);
    assert_true(proa_gauge_value(series) == 2.5);
    proa_gauge_set(series, -1);
    assert_true(proa_gauge_value(series) == -1);
}

static void test_histograms(void **state)
{
    static const double bounds[] = {1, 2, 4};
    struct proa_metric_options options = {.name = "h", .buckets = bounds, .buckets_count = 3};
    struct proa_histogram *histogram;
    struct proa_histogram_series *series;
    double sum;

    assert_int_equal(proa_histogram_new(metrics, &options, &histogram, NULL), 0);
    series = proa_histogram_with(histogram, NULL);
    assert_int_equal(proa_histogram_count(series, &sum), 0);
    assert_true(sum == 0);
    proa_histogram_observe(series, 0, 1, NULL); /* bounds are inclusive */
    proa_histogram_observe(series, 1, 1.5, NULL);
    proa_histogram_observe(series, 3, 100, NULL);
    proa_histogram_observe(series, PROA_SHARD_OTHER, 0.25, NULL);
    proa_histogram_observe(series, 0, NAN, NULL);
    assert_int_equal(proa_histogram_count(series, &sum), 4);
    assert_true(sum == 102.75);
    assert_int_equal(proa_histogram_count(series, NULL), 4);
    proa_histogram_observe(series, 0, INFINITY, NULL);
    assert_int_equal(proa_histogram_count(series, &sum), 5);
    assert_true(isinf(sum));
}

/* In which bucket a value is found, by adding one and looking which count grew. */
static void assert_bucket(struct proa_histogram_series *histogram, const double *bounds, uint32_t count, double value)
{
    uint64_t before[PROA_METRIC_BUCKETS_MAX + 1], after[PROA_METRIC_BUCKETS_MAX + 1];
    uint32_t expected = 0;
    double sum;

    while (expected < count && value > bounds[expected])
        expected++;
    metric_histogram_read((struct metric_series *)histogram, before, &sum);
    proa_histogram_observe(histogram, 0, value, NULL);
    metric_histogram_read((struct metric_series *)histogram, after, &sum);
    for (uint32_t i = 0; i <= count; i++)
        if (after[i] - before[i] != (i == expected))
            fail_msg("%g is in bucket %u", value, i);
}

static void test_buckets_of_all_values(void **state)
{
    static const double few[] = {0.005}, usual[] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5},
                        wide[] = {-2, -0.5, 0, 1e-300, 1e-10, 1e-9, 2e-9, 1, 2, 4, 4.5, 1e9, 3e9, 1e10, 1e300};
    static const struct {
        const char *name;
        const double *bounds;
        uint32_t count;
    } sets[] = {{"few", few, PROA_COUNT(few)}, {"usual", usual, PROA_COUNT(usual)}, {"wide", wide, PROA_COUNT(wide)}};
    static const double odd[] = {0, -0.0, -1, -INFINITY, 5e-324, 1e-320, 0x1p-32, 0x1p-31, 0x1p31, 0x1p32, INFINITY};

    for (size_t i = 0; i < PROA_COUNT(sets); i++) {
        struct proa_metric_options options = {
            .name = sets[i].name, .buckets = sets[i].bounds, .buckets_count = sets[i].count};
        struct proa_histogram *histogram;
        struct proa_histogram_series *series;

        assert_int_equal(proa_histogram_new(metrics, &options, &histogram, NULL), 0);
        series = proa_histogram_with(histogram, NULL);
        for (size_t k = 0; k < PROA_COUNT(odd); k++)
            assert_bucket(series, sets[i].bounds, sets[i].count, odd[k]);
        for (uint32_t k = 0; k < sets[i].count; k++) {
            assert_bucket(series, sets[i].bounds, sets[i].count, sets[i].bounds[k]);
            assert_bucket(series, sets[i].bounds, sets[i].count, nextafter(sets[i].bounds[k], INFINITY));
            assert_bucket(series, sets[i].bounds, sets[i].count, nextafter(sets[i].bounds[k], -INFINITY));
        }
        for (int exponent = -40; exponent < 40; exponent++)
            for (double fraction = 1; fraction < 2; fraction += 0.0625)
                assert_bucket(series, sets[i].bounds, sets[i].count, ldexp(fraction, exponent));
    }
}

static void test_series_are_found_again(void **state)
{
    struct proa_metric_options options = {.name = "c", .labels = {"a", "b"}};
    struct proa_counter *counter;
    struct proa_counter_series *series[100];

    assert_int_equal(proa_counter_new(metrics, &options, &counter, NULL), 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            char a[16], b[16];
            proa_str values[2];
            struct proa_counter_series *found;

            snprintf(a, sizeof a, "a%d", i / 10);
            snprintf(b, sizeof b, "b%d", i % 10);
            values[0] = proa_str_c(a);
            values[1] = proa_str_c(b);
            found = proa_counter_with(counter, values);
            if (round == 0)
                series[i] = found;
            assert_ptr_equal(found, series[i]);
            assert_true(i == 0 || found != series[i - 1]);
        }
    }
    /* Not the same text with another border. */
    assert_ptr_not_equal(proa_counter_with(counter, (proa_str[]){PROA_STR("xy"), PROA_STR("z")}),
                         proa_counter_with(counter, (proa_str[]){PROA_STR("x"), PROA_STR("yz")}));
    assert_ptr_equal(proa_counter_with(counter, (proa_str[]){PROA_STR(""), PROA_STR("z")}),
                     proa_counter_with(counter, (proa_str[]){{NULL, 0}, PROA_STR("z")}));
}

static void test_the_number_of_series_is_bounded(void **state)
{
    struct proa_counter *counter = new_counter("c", "x", 3);
    struct proa_counter_series *third = NULL, *overflow;

    for (int i = 0; i < 3; i++) {
        char value[16];

        snprintf(value, sizeof value, "v%d", i);
        third = with(counter, value);
    }
    overflow = with(counter, "v3");
    assert_ptr_not_equal(overflow, third);
    assert_ptr_equal(with(counter, "v4"), overflow);
    assert_ptr_equal(with(counter, "v2"), third); /* those that are there stay */
    proa_counter_add(overflow, 0, 2);
    assert_int_equal(proa_counter_value(overflow), 2);
    /* By default 2,000. */
    counter = new_counter("d", "x", 0);
    overflow = NULL;
    for (int i = 0; i < PROA_METRIC_SERIES_DEFAULT + 2; i++) {
        char value[16];
        struct proa_counter_series *series;

        snprintf(value, sizeof value, "v%d", i);
        series = with(counter, value);
        proa_counter_add(series, 1, 1);
        if (i == PROA_METRIC_SERIES_DEFAULT)
            overflow = series;
    }
    assert_int_equal(proa_counter_value(overflow), 2);
    assert_int_equal(proa_counter_value(with(counter, "v1999")), 1);
}

static void test_label_values_are_made_fit(void **state)
{
    struct proa_counter *counter = new_counter("c", "x", 0);
    char value[1000];

    assert_ptr_equal(with(counter, "a\xff"), with(counter, "a\xef\xbf\xbd"));
    assert_ptr_not_equal(with(counter, "a\xff"), with(counter, "a"));
    memset(value, 'v', sizeof value);
    value[900] = '\0';
    value[PROA_METRIC_VALUE_MAX - 1] = '\xc3';
    value[PROA_METRIC_VALUE_MAX] = '\xa9';
    /* Cut before the character that does not fit. */
    assert_ptr_equal(with(counter, value), proa_counter_with(counter, (proa_str[]){proa_str_n(value, 255)}));
}

static void test_families_are_found_again(void **state)
{
    static const double bounds[] = {1, 2}, others[] = {1, 3};
    struct proa_metric_options options = {.name = "x", .labels = {"a"}};
    struct proa_counter *first, *again;
    struct proa_gauge *gauge;
    struct proa_histogram *histogram, *histogram_again;
    struct proa_error err = {0};

    assert_int_equal(proa_counter_new(metrics, &options, &first, NULL), 0);
    assert_int_equal(proa_counter_new(metrics, &options, &again, NULL), 0);
    assert_ptr_equal(first, again);
    assert_int_equal(proa_gauge_new(metrics, &options, &gauge, &err), PROA_EEXISTS);
    assert_non_null(strstr(err.message, "x"));
    options.labels[1] = "b";
    assert_int_equal(proa_counter_new(metrics, &options, &again, NULL), PROA_EEXISTS);
    options = (struct proa_metric_options){.name = "x", .labels = {"b"}};
    assert_int_equal(proa_counter_new(metrics, &options, &again, NULL), PROA_EEXISTS);
    options = (struct proa_metric_options){.name = "h", .buckets = bounds, .buckets_count = 2};
    assert_int_equal(proa_histogram_new(metrics, &options, &histogram, NULL), 0);
    assert_int_equal(proa_histogram_new(metrics, &options, &histogram_again, NULL), 0);
    assert_ptr_equal(histogram, histogram_again);
    options.buckets = others;
    assert_int_equal(proa_histogram_new(metrics, &options, &histogram, NULL), PROA_EEXISTS);
    options.buckets = NULL;
    options.buckets_count = 0;
    assert_int_equal(proa_histogram_new(metrics, &options, &histogram, NULL), PROA_EEXISTS);
}

static void assert_bad(struct proa_metric_options options, const char *said)
{
    struct proa_error err = {0};
    struct proa_histogram *none = NULL;

    assert_int_equal(proa_histogram_new(metrics, &options, &none, &err), PROA_EINVAL);
    assert_null(none);
    assert_non_null(strstr(err.message, said));
}

static void test_bad_options(void **state)
{
    static const double falling[] = {2, 1}, same[] = {1, 1}, infinite[] = {1, INFINITY};
    static double many[PROA_METRIC_BUCKETS_MAX + 1];
    struct proa_counter *counter;

    assert_bad((struct proa_metric_options){.name = NULL}, "metric name");
    assert_bad((struct proa_metric_options){.name = ""}, "metric name");
    assert_bad((struct proa_metric_options){.name = "9a"}, "metric name");
    assert_bad((struct proa_metric_options){.name = "a.b"}, "metric name");
    assert_bad((struct proa_metric_options){.name = "a_seconds", .unit = "bytes"}, "unit");
    assert_bad((struct proa_metric_options){.name = "seconds", .unit = "seconds"}, "unit");
    assert_bad((struct proa_metric_options){.name = "aseconds", .unit = "seconds"}, "unit");
    assert_bad((struct proa_metric_options){.name = "a", .labels = {"9"}}, "label");
    assert_bad((struct proa_metric_options){.name = "a", .labels = {"__a"}}, "label");
    assert_bad((struct proa_metric_options){.name = "a", .labels = {"a:b"}}, "label");
    assert_bad((struct proa_metric_options){.name = "a", .labels = {"le"}}, "label");
    assert_bad((struct proa_metric_options){.name = "a", .labels = {"overflow"}}, "label");
    assert_bad((struct proa_metric_options){.name = "a", .labels = {"x", "y", "x"}}, "twice");
    assert_bad((struct proa_metric_options){.name = "a", .buckets = falling, .buckets_count = 2}, "rise");
    assert_bad((struct proa_metric_options){.name = "a", .buckets = same, .buckets_count = 2}, "rise");
    assert_bad((struct proa_metric_options){.name = "a", .buckets = infinite, .buckets_count = 2}, "rise");
    assert_bad((struct proa_metric_options){.name = "a", .buckets = many, .buckets_count = PROA_COUNT(many)}, "33");
    assert_bad((struct proa_metric_options){.name = "a", .buckets = many}, "0 buckets");
    assert_int_equal(proa_counter_new(metrics, &(struct proa_metric_options){.name = "a_total"}, &counter, NULL),
                     PROA_EINVAL);
    /* Good ones. */
    assert_int_equal(
        proa_counter_new(
            metrics, &(struct proa_metric_options){.name = "a:b_bytes", .unit = "bytes", .labels = {"le", "_x", "a1"}},
            &counter, NULL),
        0);
}

/* Threads: each its shard, two share the other threads' shard, one scrapes, one makes series. */
enum { WRITERS = 6, ADDS = 100000 };

static struct proa_counter *shared_counter;
static struct proa_counter_series *shared_series;
static struct proa_histogram_series *shared_histogram;
static struct proa_gauge_series *shared_gauge;
static _Atomic unsigned writing;

static void *add_many(void *arg)
{
    uint32_t shard = (uint32_t)(uintptr_t)arg;
    struct proa_trace_ids ids = {.flags = PROA_TRACE_SAMPLED};

    memset(ids.trace_id, (int)(shard + 1), sizeof ids.trace_id);
    memset(ids.span_id, (int)(shard + 1), sizeof ids.span_id);
    for (int i = 0; i < ADDS; i++) {
        proa_counter_add(shared_series, shard, 1);
        proa_gauge_add(shared_gauge, shard, i % 2 ? -1 : 2);
        proa_histogram_observe(shared_histogram, shard, (i % 100) / 64.0, i % 16 ? NULL : &ids);
        if (i % 1000 == 0) {
            char value[16];

            snprintf(value, sizeof value, "v%d", i / 1000);
            proa_counter_add(with(shared_counter, value), shard, 1);
        }
    }
    atomic_fetch_sub(&writing, 1);
    return NULL;
}

/* An exemplar is of one piece: all bytes of one writer. */
static void check_exemplars(const char *text)
{
    for (const char *at = text; (at = strstr(at, "trace_id=\"")); at++) {
        const char *trace = at + 10, *span = strstr(at, "span_id=\"") + 9;

        for (int i = 2; i < 32; i++)
            assert_int_equal(trace[i], trace[i - 2]);
        for (int i = 0; i < 16; i++)
            assert_int_equal(span[i], trace[i]);
    }
}

static void *scrape(void *arg)
{
    uint64_t last = 0;

    do {
        struct proa_buf out = {0};
        uint64_t value = proa_counter_value(shared_series);

        assert_true(value >= last);
        last = value;
        assert_int_equal(proa_metrics_write(metrics, PROA_METRICS_OPENMETRICS, &out), 0);
        proa_buf_add_char(&out, '\0');
        check_exemplars(out.ptr);
        proa_buf_done(&out);
    } while (atomic_load(&writing) > 0);
    return NULL;
}

static void test_sums_are_exact_while_many_write(void **state)
{
    pthread_t threads[WRITERS], scraper;
    struct proa_histogram *histogram;
    struct proa_gauge *gauge;
    double sum;

    shared_counter = new_counter("labelled", "x", 50);
    shared_series = proa_counter_with(new_counter("c", NULL, 0), NULL);
    assert_int_equal(proa_gauge_new(metrics, &(struct proa_metric_options){.name = "g"}, &gauge, NULL), 0);
    shared_gauge = proa_gauge_with(gauge, NULL);
    assert_int_equal(proa_histogram_new(metrics, &(struct proa_metric_options){.name = "h"}, &histogram, NULL), 0);
    shared_histogram = proa_histogram_with(histogram, NULL);
    atomic_store(&writing, WRITERS);
    assert_int_equal(pthread_create(&scraper, NULL, scrape, NULL), 0);
    for (uintptr_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, (void *)i), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    pthread_join(scraper, NULL);
    assert_int_equal(proa_counter_value(shared_series), WRITERS * ADDS);
    assert_int_equal(proa_histogram_count(shared_histogram, &sum), WRITERS * ADDS);
    assert_true(sum == (double)WRITERS * ADDS / 100 * (99 * 100 / 2) / 64.0);
    assert_true(proa_gauge_value(shared_gauge) == WRITERS * (ADDS / 2));
    assert_int_equal(proa_counter_value(with(shared_counter, "v0")), WRITERS);
    assert_int_equal(proa_counter_value(with(shared_counter, "v50")), WRITERS * 50); /* the overflow series */
}

#ifdef __SANITIZE_THREAD__
#define IS_THREAD_SANITIZED true
#else
#define IS_THREAD_SANITIZED false
#endif

/* Resident pages of the process, so that shards that do not write are seen to cost nothing. */
static long resident_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long size, resident;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return resident;
}

/* @returns pages that a registry for many loops, of which one writes, has made resident. */
static long pages_of_one_writer(void)
{
    struct proa_metrics *wide;
    struct proa_histogram *histogram;
    long before = resident_pages(), pages;

    assert_int_equal(proa_metrics_new(PROA_LOOPS_MAX, &wide), 0);
    for (int i = 0; i < 20; i++) {
        static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j",
                                            "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"};

        assert_int_equal(proa_histogram_new(wide, &(struct proa_metric_options){.name = names[i]}, &histogram, NULL),
                         0);
        proa_histogram_observe(proa_histogram_with(histogram, NULL), 3, 1, NULL);
        proa_histogram_count(proa_histogram_with(histogram, NULL), NULL); /* reading does not make memory */
    }
    pages = resident_pages() - before;
    proa_metrics_free(wide);
    return pages;
}

static void test_shards_that_do_not_write_cost_nothing(void **state)
{
    if (IS_THREAD_SANITIZED)
        skip();                  /* its shadow memory is counted */
    (void)pages_of_one_writer(); /* code and the allocator's first pages are not what is asked for */
    assert_true(pages_of_one_writer() < PROA_LOOPS_MAX / 4);
}

static void test_without_a_registry_nothing_is_counted(void **state)
{
    const struct proa_metric_options options = {.name = "x", .labels = {"l"}}, bad = {.name = "-"};
    const proa_str label = PROA_STR("v");
    const struct proa_metric_alias alias = {.name = "y", .labels = {"l"}};
    struct proa_counter *counter = (struct proa_counter *)state;
    struct proa_gauge *gauge = (struct proa_gauge *)state;
    struct proa_histogram *histogram = (struct proa_histogram *)state;
    double sum = 1;

    assert_int_equal(proa_counter_new(NULL, &options, &counter, NULL), 0);
    assert_int_equal(proa_gauge_new(NULL, &options, &gauge, NULL), 0);
    assert_int_equal(proa_histogram_new(NULL, &options, &histogram, NULL), 0);
    assert_null(counter);
    assert_null(gauge);
    assert_null(histogram);
    assert_int_equal(proa_counter_new(NULL, &bad, &counter, NULL), PROA_EINVAL); /* a mistake stays one */
    assert_null(proa_counter_with(counter, &label));
    assert_null(proa_gauge_with(gauge, &label));
    assert_null(proa_histogram_with(histogram, &label));
    proa_counter_add(NULL, 0, 1);
    proa_counter_set(NULL, 1);
    proa_gauge_add(NULL, 0, 1);
    proa_gauge_set(NULL, 1);
    proa_histogram_observe(NULL, 0, 1, NULL);
    assert_int_equal(proa_counter_value(NULL), 0);
    assert_true(proa_gauge_value(NULL) == 0);
    assert_int_equal(proa_histogram_count(NULL, &sum), 0);
    assert_true(sum == 0);
    assert_int_equal(proa_histogram_show_as(NULL, &alias, NULL), 0);
    assert_int_equal(proa_metrics_on_scrape(NULL, NULL, NULL), 0);
    assert_int_equal(proa_metrics_add_process(NULL, NULL), 0);
    assert_int_equal(proa_metrics_add_loops(NULL, NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards_that_do_not_write_cost_nothing),
        cmocka_unit_test(test_shards_are_bounded),
        cmocka_unit_test(test_without_a_registry_nothing_is_counted),
        cmocka_unit_test_setup_teardown(test_counters_add_up_over_shards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gauges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_histograms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_buckets_of_all_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_series_are_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_number_of_series_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_label_values_are_made_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_families_are_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_options, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sums_are_exact_while_many_write, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

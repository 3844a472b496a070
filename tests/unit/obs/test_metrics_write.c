/* What a scrape gets: both text formats, the choice between them, and the metrics of process and loops. */
#include "unit.h"

#include <math.h>
#include <proa/fiber.h>
#include <proa/loops.h>
#include <proa/metrics.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct proa_metrics *metrics;
static struct proa_buf out;

static proa_time_ns fixed_wall(void *arg)
{
    return 1767323045678901234;
}

static int setup(void **state)
{
    assert_int_equal(proa_metrics_new(2, &metrics), 0);
    proa_metrics_set_clock(metrics, fixed_wall, NULL);
    return 0;
}

static int teardown(void **state)
{
    proa_metrics_free(metrics);
    proa_buf_done(&out);
    return 0;
}

static const char *scrape(enum proa_metrics_format format)
{
    proa_buf_clear(&out);
    assert_int_equal(proa_metrics_write(metrics, format, &out), 0);
    proa_buf_add_char(&out, '\0');
    return out.ptr;
}

static void test_an_empty_registry(void **state)
{
    assert_string_equal(scrape(PROA_METRICS_TEXT), "");
    assert_string_equal(scrape(PROA_METRICS_OPENMETRICS), "# EOF\n");
}

static void test_a_counter(void **state)
{
    struct proa_metric_options options = {
        .name = "sent_bytes", .unit = "bytes", .help = "Bytes\nsent \\ \"all\"", .labels = {"to", "why"}};
    struct proa_counter *counter;

    assert_int_equal(proa_counter_new(metrics, &options, &counter, NULL), 0);
    assert_string_equal(scrape(PROA_METRICS_TEXT), ""); /* no series, no family */
    proa_counter_add(proa_counter_with(counter, (proa_str[]){PROA_STR("a\"b\\c\nd"), PROA_STR("")}), 0, 7);
    proa_counter_add(proa_counter_with(counter, (proa_str[]){PROA_STR("\xc3\xa9"), PROA_STR("x")}), 1, 1);
    assert_string_equal(scrape(PROA_METRICS_TEXT), "# HELP sent_bytes_total Bytes\\nsent \\\\ \"all\"\n"
                                                   "# TYPE sent_bytes_total counter\n"
                                                   "sent_bytes_total{to=\"a\\\"b\\\\c\\nd\",why=\"\"} 7\n"
                                                   "sent_bytes_total{to=\"\xc3\xa9\",why=\"x\"} 1\n");
    assert_string_equal(scrape(PROA_METRICS_OPENMETRICS), "# HELP sent_bytes Bytes\\nsent \\\\ \\\"all\\\"\n"
                                                          "# TYPE sent_bytes counter\n"
                                                          "# UNIT sent_bytes bytes\n"
                                                          "sent_bytes_total{to=\"a\\\"b\\\\c\\nd\",why=\"\"} 7\n"
                                                          "sent_bytes_total{to=\"\xc3\xa9\",why=\"x\"} 1\n"
                                                          "# EOF\n");
}

static const struct proa_collected_family size = {.name = "pg_size", .help = "Of \\ all", .labels = {"db", "of"}},
                                          commits = {.name = "pg_commits", .is_counter = true},
                                          reads = {.name = "pg_reads_total", .help = "Reads", .is_counter = true};

static void collect(void *arg, struct proa_collection *collection)
{
    const int *databases = arg;

    for (int i = 0; i < *databases; i++)
        proa_collect(collection, &size, (proa_str[]){PROA_STR("a\"b"), PROA_STR("\xff")}, 1.5);
    for (int i = 0; i < 2; i++) {
        /* In one place one after the other. */
        struct proa_collected_family family = i == 0 ? commits : reads;

        proa_collect(collection, &family, NULL, 7 + i);
    }
}

/* Series come and go, names are as they are given. */
static void test_collectors(void **state)
{
    int databases = 2;

    assert_int_equal(proa_metrics_add_collector(NULL, collect, &databases), 0);
    assert_int_equal(proa_metrics_add_collector(metrics, collect, &databases), 0);
    assert_string_equal(scrape(PROA_METRICS_TEXT), "# HELP pg_size Of \\\\ all\n# TYPE pg_size gauge\n"
                                                   "pg_size{db=\"a\\\"b\",of=\"\"} 1.5\n"
                                                   "pg_size{db=\"a\\\"b\",of=\"\"} 1.5\n"
                                                   "# TYPE pg_commits counter\npg_commits 7\n"
                                                   "# HELP pg_reads_total Reads\n# TYPE pg_reads_total counter\n"
                                                   "pg_reads_total 8\n");
    databases = 0;
    assert_string_equal(scrape(PROA_METRICS_OPENMETRICS), "# TYPE pg_commits unknown\npg_commits 7\n"
                                                          "# HELP pg_reads Reads\n# TYPE pg_reads counter\n"
                                                          "pg_reads_total 8\n# EOF\n");
}

static void test_gauges_and_totals_of_others(void **state)
{
    struct proa_gauge *gauge;
    struct proa_counter *counter;

    assert_int_equal(proa_gauge_new(metrics, &(struct proa_metric_options){.name = "g"}, &gauge, NULL), 0);
    assert_int_equal(proa_counter_new(metrics, &(struct proa_metric_options){.name = "c"}, &counter, NULL), 0);
    assert_string_equal(scrape(PROA_METRICS_TEXT), "# TYPE g gauge\ng 0\n# TYPE c_total counter\nc_total 0\n");
    proa_gauge_set(proa_gauge_with(gauge, NULL), 0.125);
    proa_counter_set(proa_counter_with(counter, NULL), 1.5);
    assert_string_equal(scrape(PROA_METRICS_TEXT), "# TYPE g gauge\ng 0.125\n# TYPE c_total counter\nc_total 1.5\n");
    proa_gauge_set(proa_gauge_with(gauge, NULL), -INFINITY);
    proa_counter_set(proa_counter_with(counter, NULL), 18014398509481984.0);
    assert_non_null(strstr(scrape(PROA_METRICS_TEXT), "g -Inf\n"));
    proa_gauge_set(proa_gauge_with(gauge, NULL), NAN);
    assert_non_null(strstr(scrape(PROA_METRICS_TEXT), "g NaN\n"));
    proa_gauge_set(proa_gauge_with(gauge, NULL), INFINITY);
    assert_non_null(strstr(scrape(PROA_METRICS_TEXT), "g +Inf\n"));
}

static void test_a_histogram_with_exemplars(void **state)
{
    static const double bounds[] = {0.5, 1, 1e6};
    struct proa_metric_options options = {.name = "d_seconds",
                                          .unit = "seconds",
                                          .help = "Time",
                                          .labels = {"route"},
                                          .buckets = bounds,
                                          .buckets_count = 3};
    struct proa_trace_ids sampled = {.trace_id = {0xab}, .span_id = {0xcd}, .flags = PROA_TRACE_SAMPLED};
    struct proa_trace_ids later = {.trace_id = {0x12}, .span_id = {0x34}, .flags = PROA_TRACE_SAMPLED};
    struct proa_trace_ids unsampled = {.trace_id = {0xff}, .span_id = {0xff}}, absent = {.flags = PROA_TRACE_SAMPLED};
    struct proa_histogram *histogram;
    struct proa_histogram_series *series;

    assert_int_equal(proa_histogram_new(metrics, &options, &histogram, NULL), 0);
    series = proa_histogram_with(histogram, (proa_str[]){PROA_STR("/")});
    proa_histogram_observe(series, 0, 0.25, &sampled);
    proa_histogram_observe(series, 0, 0.375, &later);
    proa_histogram_observe(series, 0, 0.75, &unsampled);
    proa_histogram_observe(series, 0, 0.75, &absent);
    proa_histogram_observe(series, PROA_SHARD_OTHER, 2e6, &sampled);
    assert_string_equal(scrape(PROA_METRICS_TEXT), "# HELP d_seconds Time\n"
                                                   "# TYPE d_seconds histogram\n"
                                                   "d_seconds_bucket{route=\"/\",le=\"0.5\"} 2\n"
                                                   "d_seconds_bucket{route=\"/\",le=\"1.0\"} 4\n"
                                                   "d_seconds_bucket{route=\"/\",le=\"1000000.0\"} 4\n"
                                                   "d_seconds_bucket{route=\"/\",le=\"+Inf\"} 5\n"
                                                   "d_seconds_sum{route=\"/\"} 2000002.125\n"
                                                   "d_seconds_count{route=\"/\"} 5\n");
    assert_string_equal(scrape(PROA_METRICS_OPENMETRICS),
                        "# HELP d_seconds Time\n"
                        "# TYPE d_seconds histogram\n"
                        "# UNIT d_seconds seconds\n"
                        "d_seconds_bucket{route=\"/\",le=\"0.5\"} 2 # {trace_id=\"12000000000000000000000000000000\","
                        "span_id=\"3400000000000000\"} 0.375 1767323045.678\n"
                        "d_seconds_bucket{route=\"/\",le=\"1.0\"} 4\n"
                        "d_seconds_bucket{route=\"/\",le=\"1000000.0\"} 4\n"
                        "d_seconds_bucket{route=\"/\",le=\"+Inf\"} 5 # {trace_id=\"ab000000000000000000000000000000\","
                        "span_id=\"cd00000000000000\"} 2000000 1767323045.678\n"
                        "d_seconds_sum{route=\"/\"} 2000002.125\n"
                        "d_seconds_count{route=\"/\"} 5\n"
                        "# EOF\n");
}

static void test_a_second_name(void **state)
{
    static const double bounds[] = {1};
    struct proa_metric_options options = {.name = "d_seconds",
                                          .unit = "seconds",
                                          .labels = {"route"},
                                          .buckets = bounds,
                                          .buckets_count = 1,
                                          .series_max = 1};
    struct proa_metric_alias alias = {
        .name = "other_d_seconds", .labels = {"http_route"}, .fixed_labels = "scheme=\"http\""};
    struct proa_error err = {0};
    struct proa_histogram *histogram, *clash;

    assert_int_equal(proa_histogram_new(metrics, &options, &histogram, NULL), 0);
    assert_int_equal(proa_histogram_show_as(histogram, &alias, &err), 0);
    assert_int_equal(proa_histogram_show_as(histogram, &alias, &err), 0);
    proa_histogram_observe(proa_histogram_with(histogram, (proa_str[]){PROA_STR("/")}), 0, 0.5, NULL);
    proa_histogram_observe(proa_histogram_with(histogram, (proa_str[]){PROA_STR("/too-many")}), 0, 2, NULL);
    assert_string_equal(scrape(PROA_METRICS_TEXT),
                        "# TYPE d_seconds histogram\n"
                        "d_seconds_bucket{overflow=\"true\",le=\"1.0\"} 0\n"
                        "d_seconds_bucket{overflow=\"true\",le=\"+Inf\"} 1\n"
                        "d_seconds_sum{overflow=\"true\"} 2\n"
                        "d_seconds_count{overflow=\"true\"} 1\n"
                        "d_seconds_bucket{route=\"/\",le=\"1.0\"} 1\n"
                        "d_seconds_bucket{route=\"/\",le=\"+Inf\"} 1\n"
                        "d_seconds_sum{route=\"/\"} 0.5\n"
                        "d_seconds_count{route=\"/\"} 1\n"
                        "# TYPE other_d_seconds histogram\n"
                        "other_d_seconds_bucket{overflow=\"true\",le=\"1.0\"} 0\n"
                        "other_d_seconds_bucket{overflow=\"true\",le=\"+Inf\"} 1\n"
                        "other_d_seconds_sum{overflow=\"true\"} 2\n"
                        "other_d_seconds_count{overflow=\"true\"} 1\n"
                        "other_d_seconds_bucket{scheme=\"http\",http_route=\"/\",le=\"1.0\"} 1\n"
                        "other_d_seconds_bucket{scheme=\"http\",http_route=\"/\",le=\"+Inf\"} 1\n"
                        "other_d_seconds_sum{scheme=\"http\",http_route=\"/\"} 0.5\n"
                        "other_d_seconds_count{scheme=\"http\",http_route=\"/\"} 1\n");

    alias.labels[1] = "more";
    assert_int_equal(proa_histogram_show_as(histogram, &alias, &err), PROA_EINVAL);
    alias.labels[1] = NULL;
    alias.labels[0] = "renamed";
    assert_int_equal(proa_histogram_show_as(histogram, &alias, &err), PROA_EEXISTS);
    alias.name = "other_d"; /* without the unit */
    assert_int_equal(proa_histogram_show_as(histogram, &alias, &err), PROA_EINVAL);
    alias.name = "d_seconds";
    assert_int_equal(proa_histogram_show_as(histogram, &alias, &err), PROA_EEXISTS);
    options.name = "other_d_seconds";
    assert_int_equal(proa_histogram_new(metrics, &options, &clash, &err), PROA_EEXISTS);
}

static void test_a_hidden_name(void **state)
{
    static const double bounds[] = {1};
    struct proa_metric_options options = {.name = "a", .buckets = bounds, .buckets_count = 1, .is_hidden = true};
    struct proa_histogram *histogram;

    assert_int_equal(proa_histogram_new(metrics, &options, &histogram, NULL), 0);
    assert_string_equal(scrape(PROA_METRICS_TEXT), "");
    assert_int_equal(proa_histogram_show_as(histogram, &(struct proa_metric_alias){.name = "b"}, NULL), 0);
    assert_string_equal(scrape(PROA_METRICS_TEXT),
                        "# TYPE b histogram\nb_bucket{le=\"1.0\"} 0\nb_bucket{le=\"+Inf\"} 0\n"
                        "b_sum 0\nb_count 0\n");
}

static void test_a_histogram_of_negative_values(void **state)
{
    static const double bounds[] = {-1, 0};
    struct proa_metric_options options = {.name = "h", .buckets = bounds, .buckets_count = 2};
    struct proa_histogram *histogram;

    assert_int_equal(proa_histogram_new(metrics, &options, &histogram, NULL), 0);
    proa_histogram_observe(proa_histogram_with(histogram, NULL), 0, -2, NULL);
    assert_non_null(strstr(scrape(PROA_METRICS_TEXT), "h_bucket{le=\"-1.0\"} 1\n"));
    assert_non_null(strstr(scrape(PROA_METRICS_TEXT), "h_sum -2\n"));
    assert_null(strstr(scrape(PROA_METRICS_OPENMETRICS), "h_sum")); /* it may fall, and must then not be shown */
}

static void test_the_overflow_series(void **state)
{
    struct proa_metric_options options = {.name = "c", .labels = {"x"}, .series_max = 1};
    struct proa_counter *counter;
    struct proa_histogram *histogram;

    assert_int_equal(proa_counter_new(metrics, &options, &counter, NULL), 0);
    proa_counter_add(proa_counter_with(counter, (proa_str[]){PROA_STR("a")}), 0, 1);
    assert_null(strstr(scrape(PROA_METRICS_TEXT), "overflow"));
    proa_counter_add(proa_counter_with(counter, (proa_str[]){PROA_STR("b")}), 0, 2);
    proa_counter_add(proa_counter_with(counter, (proa_str[]){PROA_STR("c")}), 0, 3);
    assert_non_null(strstr(scrape(PROA_METRICS_TEXT), "c_total{overflow=\"true\"} 5\n"));
    options.name = "h";
    assert_int_equal(proa_histogram_new(metrics, &options, &histogram, NULL), 0);
    proa_histogram_with(histogram, (proa_str[]){PROA_STR("a")});
    proa_histogram_with(histogram, (proa_str[]){PROA_STR("b")});
    assert_non_null(strstr(scrape(PROA_METRICS_TEXT), "h_bucket{overflow=\"true\",le=\"0.005\"} 0\n"));
}

static void test_a_full_buffer(void **state)
{
    struct proa_buf small = {.max = 10};
    struct proa_gauge *gauge;

    assert_int_equal(proa_gauge_new(metrics, &(struct proa_metric_options){.name = "g"}, &gauge, NULL), 0);
    assert_int_equal(proa_metrics_write(metrics, PROA_METRICS_TEXT, &small), PROA_ETOOLARGE);
    proa_buf_done(&small);
}

static unsigned hooks_run[2];

static void run_hook(void *arg)
{
    ++*(unsigned *)arg;
}

static void test_hooks_run_at_each_scrape(void **state)
{
    assert_int_equal(proa_metrics_on_scrape(metrics, run_hook, &hooks_run[0]), 0);
    assert_int_equal(proa_metrics_on_scrape(metrics, run_hook, &hooks_run[1]), 0);
    scrape(PROA_METRICS_TEXT);
    scrape(PROA_METRICS_OPENMETRICS);
    assert_int_equal(hooks_run[0], 2);
    assert_int_equal(hooks_run[1], 2);
}

static void assert_negotiated(const char *accept, bool openmetrics)
{
    const char *type;

    assert_int_equal(proa_metrics_negotiate(proa_str_c(accept), &type),
                     openmetrics ? PROA_METRICS_OPENMETRICS : PROA_METRICS_TEXT);
    assert_string_equal(type, openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                          : "text/plain; version=0.0.4; charset=utf-8");
}

static void test_negotiation(void **state)
{
    /* Prometheus 2 and 3. */
    assert_negotiated("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                      "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                      true);
    assert_negotiated("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                      "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;"
                      "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                      true);
    assert_negotiated("text/plain;version=0.0.4;q=1,*/*;q=0.1", false);
    /* Browsers, curl, nothing. */
    assert_negotiated("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false);
    assert_negotiated("*/*", false);
    assert_negotiated("", false);
    assert_negotiated("application/*", true);
    assert_negotiated("text/*", false);
    assert_negotiated("text/*;q=0.5, application/*", true);
    /* Weights and specificity. */
    assert_negotiated("application/openmetrics-text", true);
    assert_negotiated("application/openmetrics-text, text/plain", true);
    assert_negotiated("APPLICATION/OpenMetrics-Text ; Version=1.0.0 ; Q=1.000", true);
    assert_negotiated("application/openmetrics-text;q=0.5, text/plain", false);
    assert_negotiated("application/openmetrics-text;q=0.501, text/plain;q=0.5", true);
    assert_negotiated("application/openmetrics-text;q=0", false);
    assert_negotiated("application/openmetrics-text;q=0.000, */*", false);
    assert_negotiated("text/plain;q=0, application/openmetrics-text;q=0.1", true);
    assert_negotiated("application/openmetrics-text;version=0.0.1", false);
    assert_negotiated("application/openmetrics-text;version=\"1.0.0\"", true);
    assert_negotiated("application/openmetrics-text; version=1.0.0; q=0.1, application/openmetrics-text; q=1,"
                      "text/plain;q=0.5",
                      false);
    /* What cannot be read counts for nothing. */
    assert_negotiated("application/openmetrics-text;q=2", false);
    assert_negotiated("application/openmetrics-text;q=0.1234", false);
    assert_negotiated("application/openmetrics-text;q=x, ;;;, \"a,b\";x=\"\\\",;\"", false);
    assert_negotiated(",,;q=1,application/openmetrics-text;\"", true);
}

static double value_of(const char *text, const char *name)
{
    const char *at = text;
    size_t len = strlen(name);

    while (at && !(strncmp(at, name, len) == 0 && at[len] == ' ')) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    assert_non_null(at);
    return strtod(at + len, NULL);
}

static void test_process(void **state)
{
    const char *text;
    double now = (double)time(NULL), fds;
    int more;

    assert_int_equal(proa_metrics_add_process(metrics, NULL), 0);
    text = scrape(PROA_METRICS_TEXT);
    assert_true(value_of(text, "process_cpu_seconds_total") > 0);
    assert_true(value_of(text, "process_resident_memory_bytes") > 1e6);
    assert_true(value_of(text, "process_virtual_memory_bytes") > value_of(text, "process_resident_memory_bytes"));
    assert_true(value_of(text, "process_virtual_memory_max_bytes") != 0);
    assert_true(fabs(value_of(text, "process_start_time_seconds") - now) < 60);
    assert_true(value_of(text, "process_max_fds") >= 64);
    assert_true(value_of(text, "process_threads") >= 1);
    fds = value_of(text, "process_open_fds");
    assert_true(fds >= 3);
    more = dup(STDOUT_FILENO);
    assert_true(value_of(scrape(PROA_METRICS_TEXT), "process_open_fds") == fds + 1);
    close(more);
}

static struct proa_loops *loops;
static char text_in_loop[64 * 1024];

static int naps(void *arg)
{
    struct proa_loop *loop = proa_loops_at(loops, 0);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(proa_sleep(loop, PROA_MS(5)), 0);
        snprintf(text_in_loop, sizeof text_in_loop, "%s", scrape(PROA_METRICS_TEXT));
    }
    return 0;
}

static void test_loops(void **state)
{
    assert_int_equal(proa_loops_new(2, NULL, &loops, NULL), 0);
    assert_int_equal(proa_metrics_add_loops(metrics, loops, NULL), 0);
    assert_int_equal(proa_loop_start_fiber(proa_loops_at(loops, 0), NULL, naps, NULL), 0);
    assert_int_equal(proa_loops_run(loops, NULL), 0);
    assert_true(value_of(text_in_loop, "proa_fibers{loop=\"0\"}") == 1);
    assert_true(value_of(text_in_loop, "proa_fibers_peak{loop=\"0\"}") == 1);
    assert_true(value_of(text_in_loop, "proa_fibers{loop=\"1\"}") == 0);
    assert_true(value_of(text_in_loop, "proa_fiber_stack_peak_bytes{loop=\"0\"}") > 0);
    assert_true(value_of(text_in_loop, "proa_loop_turns_total{loop=\"0\"}") >= 3);
    assert_true(value_of(text_in_loop, "proa_blocking_total{loop=\"0\"}") == 0);
    assert_true(value_of(text_in_loop, "proa_blocking_in_flight{loop=\"0\"}") == 0);
    assert_true(value_of(text_in_loop, "proa_loop_lag_seconds_count{loop=\"0\"}") == 3);
    assert_true(value_of(text_in_loop, "proa_loop_lag_seconds_sum{loop=\"0\"}") > 0);
    assert_true(value_of(text_in_loop, "proa_loop_lag_seconds_count{loop=\"1\"}") == 0);
    proa_loops_free(loops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_empty_registry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_counter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_collectors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gauges_and_totals_of_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_histogram_with_exemplars, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_second_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_hidden_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_histogram_of_negative_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_overflow_series, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_buffer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hooks_run_at_each_scrape, setup, teardown),
        cmocka_unit_test(test_negotiation),
        cmocka_unit_test_setup_teardown(test_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loops, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

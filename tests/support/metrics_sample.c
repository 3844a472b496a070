/* Prints a registry with everything that the text formats must escape or may contain, for real parsers to read:
 * metrics_sample text|openmetrics */
#include <math.h>
#include <proa/loops.h>
#include <proa/metrics.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int rc)
{
    if (rc < 0)
        exit(EXIT_FAILURE);
}

static void fill(struct proa_metrics *metrics)
{
    const struct proa_trace_ids ids = {.trace_id = {0xab}, .span_id = {0xcd}, .flags = PROA_TRACE_SAMPLED};
    struct proa_counter *counter;
    struct proa_gauge *gauge;
    struct proa_histogram *histogram;

    must(proa_counter_new(metrics,
                          &(struct proa_metric_options){.name = "sample_sent_bytes",
                                                        .unit = "bytes",
                                                        .help = "Sent\nwith \\ and \"quotes\"",
                                                        .labels = {"to", "why"},
                                                        .series_max = 2},
                          &counter, NULL));
    for (int i = 0; i < 3; i++) /* the third is over the limit */
        proa_counter_add(
            proa_counter_with(counter, (proa_str[]){PROA_STR("a\"b\\c\nd\xc3\xa9"), proa_str_c(i == 0   ? ""
                                                                                               : i == 1 ? "x\xff"
                                                                                                        : "y")}),
            0, 7 + (uint64_t)i);
    must(proa_gauge_new(metrics, &(struct proa_metric_options){.name = "sample_level", .help = "A level"}, &gauge,
                        NULL));
    proa_gauge_set(proa_gauge_with(gauge, NULL), -0.125);
    must(proa_histogram_new(
        metrics,
        &(struct proa_metric_options){
            .name = "sample_duration_seconds", .unit = "seconds", .help = "Durations", .labels = {"route"}},
        &histogram, NULL));
    for (int i = 0; i < 100; i++)
        proa_histogram_observe(proa_histogram_with(histogram, (proa_str[]){PROA_STR("/users/{id}")}), 0, i * 0.25,
                               i % 3 ? NULL : &ids);
}

int main(int argc, char **argv)
{
    enum proa_metrics_format format =
        argc > 1 && strcmp(argv[1], "openmetrics") == 0 ? PROA_METRICS_OPENMETRICS : PROA_METRICS_TEXT;
    struct proa_metrics *metrics;
    struct proa_loops *loops;
    struct proa_buf out = {0};

    must(proa_metrics_new(2, &metrics));
    must(proa_loops_new(2, NULL, &loops, NULL));
    must(proa_metrics_add_process(metrics, NULL));
    must(proa_metrics_add_loops(metrics, loops, NULL));
    fill(metrics);
    must(proa_metrics_write(metrics, format, &out));
    fwrite(out.ptr, 1, out.len, stdout);
    proa_buf_done(&out);
    proa_metrics_free(metrics);
    proa_loops_free(loops);
    return EXIT_SUCCESS;
}

/* What observing costs a request, in nanoseconds: spans, adding to a counter, observing a duration, a line that nobody wants,
 * and lines in both formats, written to a queue that somebody empties. Prints one line a figure. */
#include <fcntl.h>
#include <proa/log.h>
#include <proa/metrics.h>
#include <proa/tracer.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "obs/span_record.h"

enum { ADDS = 50000000, LINES = 200000, BATCH = 1000 };

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void must(int rc)
{
    if (rc < 0)
        abort();
}

static void measure_metrics(void)
{
    struct proa_metrics *metrics;
    struct proa_counter *counter;
    struct proa_histogram *histogram;
    struct proa_counter_series *series;
    struct proa_histogram_series *durations;
    struct proa_trace_ids ids = {.trace_id = {1}, .span_id = {1}, .flags = PROA_TRACE_SAMPLED};
    double began;

    must(proa_metrics_new(2, &metrics));
    must(proa_counter_new(metrics, &(struct proa_metric_options){.name = "c"}, &counter, NULL));
    must(proa_histogram_new(metrics, &(struct proa_metric_options){.name = "h"}, &histogram, NULL));
    series = proa_counter_with(counter, NULL);
    durations = proa_histogram_with(histogram, NULL);
    began = now_ns();
    for (uint32_t i = 0; i < ADDS; i++)
        proa_counter_add(series, 0, 1);
    printf("counter add                   %6.1f ns\n", (now_ns() - began) / ADDS);
    began = now_ns();
    for (uint32_t i = 0; i < ADDS; i++)
        proa_counter_add(series, PROA_SHARD_OTHER, 1);
    printf("the same from a foreign thread%6.1f ns\n", (now_ns() - began) / ADDS);
    began = now_ns();
    for (uint32_t i = 0; i < ADDS; i++)
        proa_histogram_observe(durations, 0, (double)(i % 1000) / 10000, NULL);
    printf("histogram observe             %6.1f ns\n", (now_ns() - began) / ADDS);
    began = now_ns();
    for (uint32_t i = 0; i < ADDS / 10; i++)
        proa_histogram_observe(durations, 0, (double)(i % 1000) / 10000, &ids);
    printf("the same with an exemplar     %6.1f ns\n", (now_ns() - began) / ADDS * 10);
    proa_metrics_free(metrics);
}

static void access_line(const struct proa_logger *logger, uint32_t i)
{
    PROA_INFO(logger, "request", proa_kv_c("http.request.method", "GET"), proa_kv_c("http.route", "/api/users/{id}"),
              proa_kv_c("url.path", "/api/users/123"), proa_kv_u64("http.response.status_code", 200),
              proa_kv_u64("http.response.body.size", 7 + i % 10), proa_kv_f64("duration_ms", 0.25),
              proa_kv_c("client.address", "192.0.2.1"), proa_kv_c("user_agent.original", "curl/7.88.1"));
}

static void measure_lines(enum proa_log_format format, const char *name)
{
    struct proa_log_options options = {.fd = open("/dev/null", O_WRONLY | O_CLOEXEC), .format = format};
    struct proa_trace_ids ids = {.trace_id = {1}, .span_id = {1}};
    struct proa_logger logger = {.target = "http.access", .ids = &ids};
    double spent = 0;

    must(proa_log_new(&options, &logger.log, NULL));
    for (uint32_t i = 0; i < LINES / BATCH; i++) {
        double began = now_ns();

        for (uint32_t j = 0; j < BATCH; j++)
            access_line(&logger, j);
        spent += now_ns() - began;
        proa_log_flush(logger.log, 1000);
    }
    printf("access line, queued, %s     %6.1f ns (%llu lost)\n", name, spent / LINES,
           (unsigned long long)proa_log_dropped(logger.log));
    must(proa_log_set_filter(logger.log, "info,http.access=off", NULL));
    spent = now_ns();
    for (uint32_t i = 0; i < ADDS; i++)
        access_line(&logger, i);
    printf("a line that is filtered out   %6.1f ns\n", (now_ns() - spent) / ADDS);
    proa_log_free(logger.log);
    close(options.fd);
}

/* A span of a request, with three attributes, begun and ended. */
static void one_span(struct proa_tracer *tracer, struct proa_loop *loop, const struct proa_trace_ids *remote)
{
    struct proa_span span;

    proa_span_start(
        tracer, loop,
        &(struct proa_span_options){.name = PROA_STR("GET /users/{id}"), .kind = PROA_SPAN_SERVER, .remote = remote},
        &span);
    proa_span_set(&span, proa_kv_c("http.request.method", "GET"));
    proa_span_set(&span, proa_kv_c("http.route", "/users/{id}"));
    proa_span_set(&span, proa_kv_u64("http.response.status_code", 200));
    proa_span_end(&span);
}

static void ignore(void *arg)
{
}

static void measure_spans(void)
{
    struct proa_tracer *tracer;
    struct proa_loop *loop;
    struct proa_trace_ids remote = {.trace_id = {1}, .span_id = {1}};
    double began;

    must(proa_loop_new(NULL, &loop));
    must(proa_tracer_new(NULL, &tracer, NULL));
    tracer_attach(tracer, BATCH, ignore, NULL);
    began = now_ns();
    for (uint32_t i = 0; i < ADDS / 10; i++)
        one_span(tracer, loop, &remote);
    printf("a span that is not sampled    %6.1f ns\n", (now_ns() - began) / ADDS * 10);
    remote.flags = PROA_TRACE_SAMPLED;
    began = now_ns();
    for (uint32_t i = 0; i < LINES; i++) {
        uint32_t count;

        one_span(tracer, loop, &remote);
        if (i % BATCH < BATCH - 1)
            continue;
        for (struct proa_span_record *record = tracer_take(tracer, BATCH, &count), *next; record; record = next) {
            next = (struct proa_span_record *)record->item.next;
            span_record_free(record);
        }
    }
    printf("a span that is                %6.1f ns\n", (now_ns() - began) / LINES);
    proa_tracer_free(tracer);
    proa_loop_free(loop);
}

int main(void)
{
    measure_spans();
    measure_metrics();
    measure_lines(PROA_LOG_FORMAT_JSON, "JSON");
    measure_lines(PROA_LOG_FORMAT_TEXT, "text");
    return EXIT_SUCCESS;
}

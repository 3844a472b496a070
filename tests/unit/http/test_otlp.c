/* Export of spans: the messages, batches, retries, and collectors of all kinds, in virtual time. */
#include "sim_run.h"

#include "http/otlp_internal.h"
#include <proa/fiber.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

/* A reader of protobuf, of its own: fields by number, the n-th of a kind. */
struct message {
    const unsigned char *at;
    const unsigned char *end;
};

static uint64_t read_number(struct message *m)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        assert_true(m->at < m->end);
        value |= (uint64_t)(*m->at & 0x7f) << shift;
        if (!(*m->at++ & 0x80))
            return value;
    }
    fail();
    return 0;
}

/* @returns the field's number, 0 at the end. */
static uint64_t next_field(struct message *m, uint64_t *ret_number, struct message *ret_bytes)
{
    uint64_t key;

    if (m->at == m->end)
        return 0;
    key = read_number(m);
    *ret_number = 0;
    switch (key & 7) {
    case 0: *ret_number = read_number(m); break;
    case 1:
    case 5:
        for (unsigned i = 0; i < ((key & 7) == 1 ? 8u : 4u); i++)
            *ret_number |= (uint64_t)*m->at++ << (8 * i);
        break;
    case 2:
        *ret_number = read_number(m);
        assert_true(*ret_number <= (uint64_t)(m->end - m->at));
        *ret_bytes = (struct message){m->at, m->at + *ret_number};
        m->at += *ret_number;
        break;
    default: fail();
    }
    assert_true(m->at <= m->end);
    return key >> 3;
}

static bool find(struct message m, uint64_t field, unsigned index, uint64_t *ret_number, struct message *ret_bytes)
{
    uint64_t found;

    while ((found = next_field(&m, ret_number, ret_bytes)))
        if (found == field && index-- == 0)
            return true;
    return false;
}

static struct message sub(struct message m, uint64_t field, unsigned index)
{
    uint64_t number;
    struct message bytes = {0};

    assert_true(find(m, field, index, &number, &bytes));
    return bytes;
}

static uint64_t number_of(struct message m, uint64_t field)
{
    uint64_t number;
    struct message bytes;

    return find(m, field, 0, &number, &bytes) ? number : 0;
}

static unsigned count_of(struct message m, uint64_t field)
{
    uint64_t number;
    struct message bytes;
    unsigned count = 0;

    while (find(m, field, count, &number, &bytes))
        count++;
    return count;
}

static void assert_text(struct message m, const char *expected)
{
    assert_int_equal(m.end - m.at, strlen(expected));
    assert_memory_equal(m.at, expected, strlen(expected));
}

static struct message message_of(proa_str bytes)
{
    return (struct message){(const unsigned char *)bytes.ptr, (const unsigned char *)bytes.ptr + bytes.len};
}

/* A collector by script. */
enum { TRIES_MAX = 64 };

struct collector {
    struct proa_loop *loop;
    int statuses[TRIES_MAX]; /* of each try; negative: an error; 0: as the last one said */
    uint32_t retry_after_s;
    uint64_t takes_ns;
    const char *answer;
    size_t answer_bytes;
    unsigned tries;
    unsigned spans; /* in requests that were taken */
    proa_mono_ns at[TRIES_MAX];
    struct proa_buf last; /* the last request's body, plain */
    bool was_gzip;
    size_t sent_bytes;
};

static void unzip(proa_str bytes, struct proa_buf *out)
{
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)bytes.ptr, .avail_in = (uInt)bytes.len};

    assert_int_equal(inflateInit2(&zip, 15 + 16), Z_OK);
    assert_int_equal(proa_buf_reserve(out, 4 * 1024 * 1024), 0);
    zip.next_out = (Bytef *)out->ptr;
    zip.avail_out = (uInt)out->cap;
    assert_int_equal(inflate(&zip, Z_FINISH), Z_STREAM_END);
    out->len = zip.total_out;
    inflateEnd(&zip);
}

static int collect(void *arg, const struct proa_otlp_request *request, struct proa_otlp_answer *answer,
                   struct proa_error *err)
{
    struct collector *c = arg;
    unsigned try = c->tries++;
    int status;

    assert_true(try < TRIES_MAX);
    assert_string_equal(request->content_type, "application/x-protobuf");
    c->at[try] = proa_loop_now_exact(c->loop);
    c->was_gzip = request->is_gzip;
    c->sent_bytes = request->body.len;
    proa_buf_clear(&c->last);
    if (request->is_gzip)
        unzip(request->body, &c->last);
    else
        proa_buf_add(&c->last, request->body);
    if (c->takes_ns)
        PROA_TRY(proa_sleep(c->loop, c->takes_ns));
    if (try > 0 && c->statuses[try] == 0)
        c->statuses[try] = c->statuses[try - 1];
    status = c->statuses[try] ? c->statuses[try] : 200;
    if (status < 0)
        return proa_fail(err, status, "nobody listens");
    answer->status = status;
    answer->retry_after_s = c->retry_after_s;
    if (c->answer)
        proa_buf_add(&answer->body, proa_str_n(c->answer, c->answer_bytes));
    if (status < 300)
        c->spans += count_of(sub(sub(message_of(proa_buf_str(&c->last)), 1, 0), 2, 0), 2);
    return 0;
}

static struct proa_loop *loop;
static struct proa_tracer *tracer;
static struct proa_otlp *otlp;
static struct collector collector;
static struct proa_otlp_options options;

static int setup(void **state)
{
    loop = sim_loop_new(NULL);
    assert_int_equal(proa_tracer_new(&(struct proa_tracer_options){.queue_spans = 1000}, &tracer, NULL), 0);
    collector = (struct collector){.loop = loop};
    options = (struct proa_otlp_options){
        .loop = loop, .tracer = tracer, .send = collect, .send_arg = &collector, .service_name = "test"};
    return 0;
}

static int teardown(void **state)
{
    proa_tracer_free(tracer);
    proa_buf_done(&collector.last);
    proa_loop_free(loop);
    return 0;
}

static void end_spans(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct proa_span span;

        proa_span_start(tracer, loop, &(struct proa_span_options){.name = PROA_STR("s")}, &span);
        proa_span_end(&span);
    }
}

static void check_counts(uint64_t sent, uint64_t rejected, uint64_t failed, uint64_t dropped)
{
    struct proa_otlp_counts counts;

    proa_otlp_read_counts(otlp, &counts);
    assert_int_equal(counts.sent, sent);
    assert_int_equal(counts.rejected, rejected);
    assert_int_equal(counts.failed, failed);
    assert_int_equal(counts.dropped, dropped);
}

static void run(proa_fiber_fn *body)
{
    assert_int_equal(proa_otlp_start(&options, &otlp, NULL), 0);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, body, NULL), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    proa_otlp_free(otlp);
}

static int one_span(void *arg)
{
    static const struct proa_trace_ids remote = {.trace_id = {1}, .span_id = {2}, .flags = PROA_TRACE_SAMPLED};
    const struct proa_kv of_event = proa_kv_i64("tries", -3);
    struct proa_span span;

    proa_span_start(tracer, loop,
                    &(struct proa_span_options){.name = PROA_STR("GET /users/{id}"),
                                                .kind = PROA_SPAN_SERVER,
                                                .remote = &remote,
                                                .tracestate = PROA_STR("a=1")},
                    &span);
    proa_span_set(&span, proa_kv_c("http.route", "/users/{id}"));
    proa_span_set(&span, proa_kv_u64("http.response.status_code", 503));
    proa_span_set(&span, proa_kv_f64("f", 0.5));
    proa_span_set(&span, proa_kv_bool("b", true));
    proa_span_set(&span, proa_kv_u64("big", UINT64_MAX));
    proa_span_set(&span, proa_kv_c("empty", ""));
    proa_span_event(&span, "retry", &of_event, 1);
    proa_span_set_status(&span, PROA_SPAN_ERROR, PROA_STR("no database"));
    assert_int_equal(proa_sleep(loop, PROA_MS(7)), 0);
    proa_span_end(&span);
    proa_otlp_stop(otlp, 1000);
    proa_otlp_stop(otlp, 1000);
    proa_otlp_stop(NULL, 1000);
    check_counts(1, 0, 0, 0);
    return 0;
}

static struct message attribute(struct message m, uint64_t field, unsigned index, const char *key)
{
    struct message kv = sub(m, field, index);

    assert_text(sub(kv, 1, 0), key);
    return sub(kv, 2, 0);
}

static void check_span(struct message span)
{
    struct message event;
    double half = 0.5;
    uint64_t bits;

    assert_int_equal(sub(span, 1, 0).end - sub(span, 1, 0).at, 16);
    assert_int_equal(*sub(span, 1, 0).at, 1);
    assert_int_equal(sub(span, 2, 0).end - sub(span, 2, 0).at, 8);
    assert_text(sub(span, 3, 0), "a=1");
    assert_int_equal(*sub(span, 4, 0).at, 2);
    assert_text(sub(span, 5, 0), "GET /users/{id}");
    assert_int_equal(number_of(span, 6), 2);
    assert_int_equal(number_of(span, 8) - number_of(span, 7), PROA_MS(7));
    assert_text(sub(attribute(span, 9, 0, "http.route"), 1, 0), "/users/{id}");
    assert_int_equal(number_of(attribute(span, 9, 1, "http.response.status_code"), 3), 503);
    memcpy(&bits, &half, sizeof bits);
    assert_true(number_of(attribute(span, 9, 2, "f"), 4) == bits);
    assert_int_equal(number_of(attribute(span, 9, 3, "b"), 2), 1);
    assert_text(sub(attribute(span, 9, 4, "big"), 1, 0), "18446744073709551615");
    assert_text(sub(attribute(span, 9, 5, "empty"), 1, 0), "");
    event = sub(span, 11, 0);
    assert_int_equal(number_of(event, 1), number_of(span, 7));
    assert_text(sub(event, 2, 0), "retry");
    assert_true((int64_t)number_of(attribute(event, 3, 0, "tries"), 3) == -3);
    assert_text(sub(sub(span, 15, 0), 2, 0), "no database");
    assert_int_equal(number_of(sub(span, 15, 0), 3), 2);
    assert_int_equal(number_of(span, 16), 0x301);
}

static void test_the_message(void **state)
{
    struct message request, resource, spans;

    options.service_version = "1.2";
    options.resource_attributes = "deployment.environment=a%2Cb, service.name=other ,team=x";
    run(one_span);
    request = message_of(proa_buf_str(&collector.last));
    resource = sub(sub(request, 1, 0), 1, 0);
    assert_text(sub(attribute(resource, 1, 0, "deployment.environment"), 1, 0), "a,b");
    assert_text(sub(attribute(resource, 1, 1, "team"), 1, 0), "x");
    assert_text(sub(attribute(resource, 1, 2, "service.name"), 1, 0), "test");
    assert_text(sub(attribute(resource, 1, 3, "service.version"), 1, 0), "1.2");
    assert_text(sub(attribute(resource, 1, 4, "telemetry.sdk.name"), 1, 0), "proa");
    assert_text(sub(attribute(resource, 1, 6, "telemetry.sdk.version"), 1, 0), PROA_VERSION);
    spans = sub(sub(request, 1, 0), 2, 0);
    assert_text(sub(sub(spans, 1, 0), 1, 0), "proa");
    assert_int_equal(count_of(spans, 2), 1);
    check_span(sub(spans, 2, 0));
}

static int waits_for_the_delay(void *arg)
{
    proa_mono_ns began = proa_loop_now_exact(loop);

    assert_int_equal(proa_sleep(loop, PROA_SECONDS(100)), 0); /* nothing to export: nothing happens */
    assert_int_equal(collector.tries, 0);
    end_spans(3);
    assert_int_equal(proa_sleep(loop, PROA_MS(4000)), 0);
    end_spans(2);
    assert_int_equal(proa_sleep(loop, PROA_MS(999)), 0);
    assert_int_equal(collector.tries, 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(2)), 0);
    assert_int_equal(collector.tries, 1);
    assert_int_equal(collector.at[0] - began, PROA_SECONDS(105));
    assert_int_equal(collector.spans, 5);
    /* A full batch does not wait. */
    end_spans(options.batch_spans);
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    assert_int_equal(collector.tries, 2);
    assert_int_equal(collector.spans, 5 + options.batch_spans);
    /* More than a batch. */
    end_spans(2 * options.batch_spans + 1);
    assert_int_equal(proa_sleep(loop, PROA_SECONDS(6)), 0);
    assert_int_equal(collector.tries, 5);
    check_counts(5 + 3 * (uint64_t)options.batch_spans + 1, 0, 0, 0);
    proa_otlp_stop(otlp, 1000);
    return 0;
}

static void test_batches(void **state)
{
    options.batch_spans = 100;
    run(waits_for_the_delay);
}

static int many_spans(void *arg)
{
    end_spans(500);
    proa_otlp_stop(otlp, 1000);
    check_counts(500, 0, 0, 0);
    return 0;
}

static void test_gzip(void **state)
{
    options.gzip = true;
    options.batch_spans = 500;
    run(many_spans);
    assert_true(collector.was_gzip);
    assert_int_equal(collector.spans, 500);
    assert_true(collector.sent_bytes < collector.last.len / 2);
}

static int waits_and_stops(void *arg)
{
    end_spans(5);
    assert_int_equal(proa_sleep(loop, PROA_SECONDS(200)), 0);
    proa_otlp_stop(otlp, 1000);
    return 0;
}

static void assert_gaps(unsigned tries, const uint64_t *least_ms, const uint64_t *most_ms)
{
    assert_int_equal(collector.tries, tries);
    for (unsigned i = 1; i < tries; i++)
        assert_in_range((collector.at[i] - collector.at[i - 1]) / 1000000, least_ms[i - 1], most_ms[i - 1]);
}

static int sent_after_retries(void *arg)
{
    waits_and_stops(arg);
    check_counts(5, 0, 0, 0);
    return 0;
}

static void test_retries(void **state)
{
    static const int statuses[] = {429, 502, 503, 504, PROA_EUNAVAILABLE, 200};
    static const uint64_t least[] = {500, 1000, 2000, 4000, 5000}, most[] = {1001, 2001, 4001, 8001, 10001};

    memcpy(collector.statuses, statuses, sizeof statuses);
    run(sent_after_retries);
    assert_gaps(6, least, most);
}

static void test_retry_after(void **state)
{
    static const int statuses[] = {429, 200};
    static const uint64_t least[] = {30000}, most[] = {30001};

    memcpy(collector.statuses, statuses, sizeof statuses);
    collector.retry_after_s = 30;
    options.retry_ms = 60000;
    run(sent_after_retries);
    assert_gaps(2, least, most);
}

static int failed(void *arg)
{
    waits_and_stops(arg);
    check_counts(0, 0, 5, 0);
    return 0;
}

static void test_what_is_not_repeated(void **state)
{
    static const int statuses[] = {400, 401, 404, 413, 500, 501, 301, PROA_EINVAL, PROA_EUNSUPPORTED};

    for (size_t i = 0; i < PROA_COUNT(statuses); i++) {
        teardown(NULL);
        setup(NULL);
        collector.statuses[0] = statuses[i];
        run(failed);
        assert_int_equal(collector.tries, 1);
    }
}

static void test_a_batch_is_given_up(void **state)
{
    collector.statuses[0] = PROA_EUNAVAILABLE;
    options.retry_ms = 20000;
    run(failed);
    assert_in_range(collector.tries, 4, 8);
    assert_true(collector.at[collector.tries - 1] - collector.at[0] < PROA_SECONDS(20));
    /* Asked to wait longer than that: at once. */
    teardown(NULL);
    setup(NULL);
    collector.statuses[0] = 503;
    collector.retry_after_s = 3600;
    run(failed);
    assert_int_equal(collector.tries, 1);
}

static void test_a_slow_collector(void **state)
{
    collector.takes_ns = PROA_SECONDS(100);
    options.timeout_ms = 3000;
    options.retry_ms = 5000;
    run(failed);
    assert_in_range(collector.tries, 2, 3);
    assert_true(collector.at[1] - collector.at[0] >= PROA_MS(3500));
}

static int failed_in_time(void *arg)
{
    end_spans(5);
    assert_int_equal(proa_sleep(loop, PROA_MS(options.delay_ms + options.retry_ms + 100)), 0);
    check_counts(0, 0, 5, 0);
    proa_otlp_stop(otlp, 1000);
    return 0;
}

/* A try that may take longer than the batch ends with it. */
static void test_a_batch_ends_within_a_try(void **state)
{
    collector.takes_ns = PROA_SECONDS(100);
    options.delay_ms = 1000;
    options.timeout_ms = 60000;
    options.retry_ms = 5000;
    run(failed_in_time);
    assert_int_equal(collector.tries, 1);
}

static int partly(void *arg)
{
    waits_and_stops(arg);
    check_counts(3, 2, 0, 0);
    return 0;
}

static void test_partial_success(void **state)
{
    collector.answer = "\x0a\x09\x08\x02\x12\x05why?\x21";
    collector.answer_bytes = 11;
    run(partly);
    assert_int_equal(otlp_read_rejected(PROA_STR("")), 0);
    assert_int_equal(otlp_read_rejected(PROA_STR("\x0a\x00")), 0);
    assert_int_equal(otlp_read_rejected(PROA_STR("\x0a\x05\x08\x02")), 0);
    assert_int_equal(otlp_read_rejected(PROA_STR("\x0a\x02\x08\x82")), 0);
    assert_int_equal(otlp_read_rejected(PROA_STR("\x12\x01x\x0d"
                                                 "1234"
                                                 "\x11"
                                                 "12345678"
                                                 "\x18\x05\x0a\x02\x08\x07")),
                     7);
    assert_int_equal(otlp_read_rejected(PROA_STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")), 0);
    assert_int_equal(otlp_read_rejected(PROA_STR("\x0b")), 0);
    assert_int_equal(otlp_read_rejected(PROA_STR("<html>")), 0);
}

static uint64_t stop_takes_ms(void)
{
    proa_mono_ns began = proa_loop_now_exact(loop);

    proa_otlp_stop(otlp, 3000);
    return (proa_loop_now_exact(loop) - began) / 1000000;
}

/* The first batch is tried at the end only: once, since nobody is there. */
static int stop_when_nobody_listens(void *arg)
{
    end_spans(5);
    assert_int_equal(stop_takes_ms(), 0);
    assert_int_equal(collector.tries, 1);
    check_counts(0, 0, 5, 0);
    return 0;
}

/* In the wait before another try: which is made now, and is the last. */
static int stop_between_tries(void *arg)
{
    unsigned tries;

    end_spans(options.batch_spans + 7);
    assert_int_equal(proa_sleep(loop, PROA_MS(1)), 0);
    tries = collector.tries;
    assert_true(tries > 0);
    assert_int_equal(stop_takes_ms(), 0);
    assert_int_equal(collector.tries, tries + 2); /* and the rest, likewise */
    check_counts(0, 0, options.batch_spans + 7, 0);
    return 0;
}

static int stop_when_it_is_back(void *arg)
{
    end_spans(5);
    assert_int_equal(proa_sleep(loop, PROA_SECONDS(6)), 0);
    assert_true(collector.tries > 0);
    collector.statuses[collector.tries] = 200;
    assert_int_equal(stop_takes_ms(), 0);
    check_counts(5, 0, 0, 0);
    return 0;
}

/* It takes connections and says nothing, as is known from the try before. */
static int stop_when_it_is_stuck(void *arg)
{
    end_spans(5);
    assert_int_equal(proa_sleep(loop, PROA_SECONDS(20)), 0);
    end_spans(5);
    assert_in_range(stop_takes_ms(), 0, 700);
    check_counts(0, 0, 10, 0);
    return 0;
}

/* It is there, and busy: it may have time soon. */
static int stop_when_it_is_busy(void *arg)
{
    end_spans(5);
    assert_in_range(stop_takes_ms(), 500, 3100);
    check_counts(5, 0, 0, 0);
    return 0;
}

static void test_stop_without_a_collector(void **state)
{
    collector.statuses[0] = PROA_EUNAVAILABLE;
    run(stop_when_nobody_listens);
    teardown(NULL);
    setup(NULL);
    collector.statuses[0] = PROA_EUNAVAILABLE;
    options.batch_spans = 10;
    run(stop_between_tries);
    teardown(NULL);
    setup(NULL);
    collector.statuses[0] = PROA_EUNAVAILABLE;
    run(stop_when_it_is_back);
    teardown(NULL);
    setup(NULL);
    collector.takes_ns = PROA_SECONDS(100);
    options.timeout_ms = 3000;
    options.retry_ms = 5000;
    run(stop_when_it_is_stuck);
    teardown(NULL);
    setup(NULL);
    collector.statuses[0] = 503;
    collector.statuses[1] = 200;
    run(stop_when_it_is_busy);
}

static int a_dead_collector(void *arg)
{
    proa_mono_ns began;
    struct proa_otlp_counts counts;

    for (int i = 0; i < 100; i++) {
        end_spans(50);
        assert_int_equal(proa_sleep(loop, PROA_SECONDS(1)), 0);
    }
    began = proa_loop_now_exact(loop);
    proa_otlp_stop(otlp, 2000);
    assert_in_range((proa_loop_now_exact(loop) - began) / 1000000, 0, 2200);
    proa_otlp_read_counts(otlp, &counts);
    assert_int_equal(counts.sent, 0);
    assert_true(counts.dropped > 0);
    assert_int_equal(counts.failed + counts.dropped, 5000);
    return 0;
}

static void test_a_dead_collector(void **state)
{
    struct proa_metrics *metrics;
    struct proa_buf text = {0};

    assert_int_equal(proa_metrics_new(1, &metrics), 0);
    collector.statuses[0] = PROA_EUNAVAILABLE;
    options.metrics = metrics;
    run(a_dead_collector);
    assert_int_equal(proa_metrics_write(metrics, PROA_METRICS_TEXT, &text), 0);
    proa_buf_add_char(&text, '\0');
    assert_non_null(strstr(text.ptr, "proa_otlp_spans_total{outcome=\"sent\"} 0\n"));
    assert_null(strstr(text.ptr, "proa_otlp_spans_total{outcome=\"dropped\"} 0\n"));
    proa_buf_done(&text);
    proa_metrics_free(metrics);
}

static int stop_while_sending(void *arg)
{
    proa_mono_ns began;

    end_spans(5);
    assert_int_equal(proa_sleep(loop, PROA_SECONDS(6)), 0); /* in the send by now */
    assert_int_equal(collector.tries, 1);
    end_spans(3);
    began = proa_loop_now_exact(loop);
    proa_otlp_stop(otlp, 500);
    assert_in_range((proa_loop_now_exact(loop) - began) / 1000000, 500, 620);
    check_counts(0, 0, 8, 0);
    return 0;
}

static void test_stop_does_not_wait_for_ever(void **state)
{
    collector.takes_ns = PROA_SECONDS(100);
    run(stop_while_sending);
}

static int is_cancelled(void *arg)
{
    end_spans(5);
    proa_fiber_cancel(proa_fiber_current(loop), 0);
    proa_otlp_stop(otlp, 1000); /* all the same */
    check_counts(5, 0, 0, 0);
    return 0;
}

static void test_stop_in_a_cancelled_fiber(void **state)
{
    run(is_cancelled);
}

static int stops_later(void *arg)
{
    end_spans(2);
    proa_loop_cancel_fibers(loop, 0); /* as at a hard end */
    return 0;
}

static void test_the_loop_ends_first(void **state)
{
    run(stops_later);
    assert_int_equal(collector.tries, 0);
}

static int says_so(void *arg)
{
    for (int i = 0; i < 5; i++) {
        end_spans(1);
        assert_int_equal(proa_sleep(loop, PROA_SECONDS(10)), 0);
    }
    proa_otlp_stop(otlp, 1000);
    return 0;
}

static void test_one_line_when_it_fails_and_one_when_it_works(void **state)
{
    static const int statuses[] = {200, 400, 400, 200, 200};
    char text[4096];
    FILE *file = tmpfile();
    struct proa_logger logger = {.target = "app"};
    size_t len;

    memcpy(collector.statuses, statuses, sizeof statuses);
    assert_non_null(file);
    assert_int_equal(
        proa_log_new(&(struct proa_log_options){.fd = fileno(file), .synchronous = true}, &logger.log, NULL), 0);
    options.logger = &logger;
    run(says_so);
    rewind(file);
    len = fread(text, 1, sizeof text - 1, file);
    text[len] = '\0';
    assert_non_null(
        strstr(text, "\"level\":\"warn\",\"target\":\"otlp\",\"message\":\"spans cannot be exported\",\"error\":\"the "
                     "collector answered 400\""));
    assert_non_null(strstr(text, "spans are exported again"));
    assert_int_equal(strchr(strchr(text, '\n') + 1, '\n') - text, (ptrdiff_t)len - 1); /* two lines */
    proa_log_free(logger.log);
    fclose(file);
}

static void test_bad_resource_attributes(void **state)
{
    static const char *const bad[] = {"x", "=1", "a=1,b", "a=%zz", "a=1,,b=2", "a=\xff", "%zz=1"};
    struct proa_otlp *none = NULL;

    for (size_t i = 0; i < PROA_COUNT(bad); i++) {
        struct proa_error err = {0};

        options.resource_attributes = bad[i];
        assert_int_equal(proa_otlp_start(&options, &none, &err), PROA_EINVAL);
        assert_non_null(strstr(err.message, "OTEL_RESOURCE_ATTRIBUTES"));
    }
    assert_null(none);
    proa_otlp_free(NULL);
}

/* Log lines. */
static struct proa_log *line_log;
static char line_path[] = "/tmp/proa-otlp-XXXXXX";

static proa_time_ns line_time(void *arg)
{
    (void)arg;
    return 1700000000123456789;
}

static int some_lines(void *arg)
{
    static const struct proa_trace_ids ids = {.trace_id = {1}, .span_id = {2}, .flags = PROA_TRACE_SAMPLED};
    const struct proa_kv inherited[] = {proa_kv_c("service.name", "test"), proa_kv_c("k", "outer"),
                                        proa_kv_i64("i", -1)};
    const struct proa_logger root = {.log = line_log, .target = "t", .fields = inherited, .fields_count = 3};
    const struct proa_logger plain = {.log = line_log};
    struct proa_logger logger = {.ids = &ids, .log = line_log, .parent = &root};

    (void)arg;
    PROA_WARN(&logger, "careful \xff", proa_kv_c("k", "inner"), proa_kv_f64("f", 0.5), proa_kv_bool("b", true),
              proa_kv_json("j", PROA_STR("{}")));
    PROA_DEBUG(&logger, "not wanted by the filter");
    for (unsigned i = 1; i < 5; i++)
        PROA_INFO(&plain, "more");
    proa_otlp_stop(otlp, 5000);
    PROA_INFO(&plain, "nobody is attached any more");
    return 0;
}

static void with_lines(uint32_t queue_records)
{
    int fd = mkstemp(line_path);

    assert_true(fd > 0);
    unlink(line_path);
    memcpy(line_path + sizeof line_path - 7, "XXXXXX", 6);
    assert_int_equal(
        proa_log_new(&(struct proa_log_options){.fd = fd, .synchronous = true, .wall = line_time}, &line_log, NULL), 0);
    options.tracer = NULL;
    options.log = line_log;
    options.queue_records = queue_records;
    assert_int_equal(proa_otlp_start(&options, &otlp, NULL), 0);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, some_lines, NULL), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_true(lseek(fd, 0, SEEK_CUR) > 300); /* written as ever */
    close(fd);
}

static struct message attribute_value(struct message record, const char *key)
{
    unsigned count = count_of(record, 6);

    for (unsigned i = 0; i < count; i++) {
        struct message attribute = sub(record, 6, i), name = sub(attribute, 1, 0);

        if ((size_t)(name.end - name.at) == strlen(key) && memcmp(name.at, key, strlen(key)) == 0)
            return sub(attribute, 2, 0);
    }
    fail_msg("no attribute %s", key);
    return record;
}

static void test_log_lines(void **state)
{
    struct proa_otlp_counts counts;
    struct message resource, record, scope;

    with_lines(0);
    proa_otlp_read_counts(otlp, &counts);
    assert_int_equal(counts.sent, 5);
    assert_int_equal(counts.dropped, 0);
    assert_int_equal(collector.spans, 5);
    resource = sub(message_of(proa_buf_str(&collector.last)), 1, 0);
    assert_true(count_of(sub(resource, 1, 0), 1) >= 3);
    scope = sub(resource, 2, 0);
    record = sub(scope, 2, 0);
    assert_true(number_of(record, 1) == 1700000000123456789);
    assert_true(number_of(record, 11) == 1700000000123456789);
    assert_int_equal(number_of(record, 2), 13);
    assert_text(sub(record, 3, 0), "warn");
    assert_text(sub(sub(record, 5, 0), 1, 0), "careful ?");
    assert_int_equal(count_of(record, 6), 6); /* without service.name, and k once */
    assert_text(sub(attribute_value(record, "k"), 1, 0), "inner");
    assert_text(sub(attribute_value(record, "target"), 1, 0), "t");
    assert_true(number_of(attribute_value(record, "i"), 3) == (uint64_t)-1);
    assert_true(number_of(attribute_value(record, "f"), 4) == 0x3fe0000000000000);
    assert_int_equal(number_of(attribute_value(record, "b"), 2), 1);
    assert_text(sub(attribute_value(record, "j"), 1, 0), "{}");
    assert_int_equal(number_of(record, 8), 1);
    assert_int_equal(sub(record, 9, 0).end - sub(record, 9, 0).at, 16);
    assert_int_equal(*sub(record, 9, 0).at, 1);
    assert_int_equal(*sub(record, 10, 0).at, 2);
    record = sub(scope, 2, 4);
    assert_int_equal(number_of(record, 2), 9);
    assert_int_equal(count_of(record, 6) + count_of(record, 9), 0);
    proa_otlp_free(otlp);
    proa_log_free(line_log);
}

static void test_too_many_log_lines(void **state)
{
    struct proa_metrics *metrics;
    struct proa_otlp_counts counts;
    struct proa_buf text = {0};

    assert_int_equal(proa_metrics_new(1, &metrics), 0);
    options.metrics = metrics;
    with_lines(3);
    proa_otlp_read_counts(otlp, &counts);
    assert_int_equal(counts.sent, 3);
    assert_int_equal(counts.dropped, 2);
    assert_int_equal(proa_metrics_write(metrics, PROA_METRICS_TEXT, &text), 0);
    proa_buf_add_char(&text, '\0');
    assert_non_null(strstr(text.ptr, "proa_otlp_log_records_total{outcome=\"dropped\"} 2"));
    proa_buf_done(&text);
    proa_otlp_free(otlp);
    proa_log_free(line_log);
    proa_metrics_free(metrics);
}

static void test_the_name_from_attributes(void **state)
{
    struct proa_buf out = {0};

    options.service_name = NULL;
    options.resource_attributes = "service.name=given";
    assert_int_equal(otlp_encode_resource(&out, &options, NULL), 0);
    assert_text(sub(attribute(message_of(proa_buf_str(&out)), 1, 0, "service.name"), 1, 0), "given");
    proa_buf_clear(&out);
    options.resource_attributes = "";
    assert_int_equal(otlp_encode_resource(&out, &options, NULL), 0);
    assert_text(sub(attribute(message_of(proa_buf_str(&out)), 1, 0, "service.name"), 1, 0), "unknown_service");
    proa_buf_done(&out);
}

/* A collector may refuse a resource with a key that stands twice. */
static void test_attributes_are_told_once(void **state)
{
    struct proa_buf out = {0};
    struct message resource;

    options.service_name = NULL;
    options.service_version = "1.2";
    options.resource_attributes =
        "team=x,service.version=7,service.name=a,te%61m=y,service.name=b,telemetry.sdk.name=other";
    assert_int_equal(otlp_encode_resource(&out, &options, NULL), 0);
    resource = message_of(proa_buf_str(&out));
    assert_int_equal(count_of(resource, 1), 6);
    assert_text(sub(attribute(resource, 1, 0, "service.version"), 1, 0), "7");
    assert_text(sub(attribute(resource, 1, 1, "team"), 1, 0), "y");
    assert_text(sub(attribute(resource, 1, 2, "service.name"), 1, 0), "b");
    assert_text(sub(attribute(resource, 1, 3, "telemetry.sdk.name"), 1, 0), "proa");
    proa_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gzip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retries, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retry_after, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_batch_is_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_slow_collector, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_batch_ends_within_a_try, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partial_success, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_without_a_collector, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_dead_collector, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_does_not_wait_for_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_in_a_cancelled_fiber, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_loop_ends_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_line_when_it_fails_and_one_when_it_works, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_resource_attributes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attributes_are_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_name_from_attributes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_log_lines, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

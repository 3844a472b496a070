/* Spans: parents, sampling, what is recorded and what is dropped, and the queue. */
#include "sim_run.h"

#include "attributes.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static struct proa_loop *loop;
static struct proa_tracer *tracer;
static _Atomic unsigned notified;

static void notify(void *arg)
{
    assert_ptr_equal(arg, &notified);
    atomic_fetch_add(&notified, 1);
}

static void open_tracer(const char *sampler, const char *arg, uint32_t queue)
{
    const struct proa_tracer_options options = {.sampler = sampler, .sampler_arg = arg, .queue_spans = queue};

    loop = sim_loop_new(NULL);
    assert_int_equal(proa_tracer_new(&options, &tracer, NULL), 0);
    atomic_store(&notified, 0);
    tracer_attach(tracer, 3, notify, &notified);
}

static void close_tracer(void)
{
    proa_tracer_free(tracer);
    proa_loop_free(loop);
}

static int setup(void **state)
{
    open_tracer(NULL, NULL, 0);
    return 0;
}

static int teardown(void **state)
{
    close_tracer();
    return 0;
}

static struct proa_span start(const char *name, const struct proa_trace_ids *remote)
{
    struct proa_span_options options = {.name = proa_str_c(name), .remote = remote};
    struct proa_span span;

    proa_span_start(tracer, loop, &options, &span);
    return span;
}

static struct proa_span_record *take_one(void)
{
    uint32_t count;
    struct proa_span_record *record = tracer_take(tracer, 1, &count);

    assert_non_null(record);
    assert_int_equal(count, 1);
    assert_null(record->item.next);
    return record;
}

static const struct proa_trace_ids remote_sampled = {
    .trace_id = {1, [15] = 9}, .span_id = {2}, .flags = PROA_TRACE_SAMPLED};
static const struct proa_trace_ids remote_unsampled = {.trace_id = {1, [15] = 9}, .span_id = {2}};

static void test_a_root_span(void **state)
{
    struct proa_span span = start("GET /", NULL);
    struct proa_trace_ids ids = span.ids;
    proa_time_ns now = proa_loop_wall(loop);
    struct proa_span_record *record;

    assert_true(proa_trace_present(&span.ids));
    assert_int_equal(span.ids.flags, PROA_TRACE_SAMPLED);
    assert_true(proa_span_is_recorded(&span));
    proa_span_end(&span);
    proa_span_end(&span);
    record = take_one();
    assert_true(proa_str_eq_c(record->name, "GET /"));
    assert_int_equal(record->kind, PROA_SPAN_INTERNAL);
    assert_int_equal(record->status, PROA_SPAN_UNSET);
    assert_false(record->has_parent);
    assert_memory_equal(&record->ids, &ids, sizeof ids);
    assert_true(record->start == now && record->end == now);
    span_record_free(record);
    assert_int_equal(export_waiting(tracer_queue(tracer)), 0);
}

static void test_a_remote_parent(void **state)
{
    struct proa_span_options options = {.name = PROA_STR("s"),
                                        .kind = PROA_SPAN_SERVER,
                                        .remote = &remote_sampled,
                                        .tracestate = PROA_STR("a=1"),
                                        .baggage = PROA_STR("b=2")};
    struct proa_span span;
    struct proa_span_record *record;

    proa_span_start(tracer, loop, &options, &span);
    assert_memory_equal(span.ids.trace_id, remote_sampled.trace_id, 16);
    assert_memory_not_equal(span.ids.span_id, remote_sampled.span_id, 8);
    assert_true(proa_str_eq_c(span.tracestate, "a=1"));
    assert_true(proa_str_eq_c(span.baggage, "b=2"));
    proa_span_end(&span);
    record = take_one();
    assert_int_equal(record->kind, PROA_SPAN_SERVER);
    assert_true(record->has_parent && record->is_parent_remote);
    assert_memory_equal(record->parent_id, remote_sampled.span_id, 8);
    assert_true(proa_str_eq_c(record->tracestate, "a=1"));
    span_record_free(record);
    /* Not sampled there, not here: with an id of its own for the log. */
    span = start("s", &remote_unsampled);
    assert_memory_equal(span.ids.trace_id, remote_sampled.trace_id, 16);
    assert_memory_not_equal(span.ids.span_id, remote_sampled.span_id, 8);
    assert_int_equal(span.ids.flags, 0);
    assert_false(proa_span_is_recorded(&span));
    proa_span_set(&span, proa_kv_u64("x", 1));
    proa_span_event(&span, "e", NULL, 0);
    proa_span_rename(&span, PROA_STR("y"));
    proa_span_fail(&span, &(struct proa_error){.code = PROA_EIO});
    proa_span_end(&span);
    assert_int_equal(export_waiting(tracer_queue(tracer)), 0);
}

static void test_decisions_of_b3(void **state)
{
    struct proa_trace_ids deny = {.flags = 0}, accept = {.flags = PROA_TRACE_SAMPLED}, debug, undecided;
    struct proa_span span = start("s", &deny);

    assert_false(proa_span_is_recorded(&span));
    assert_true(proa_trace_present(&span.ids));
    proa_span_end(&span);
    span = start("s", &accept);
    assert_true(proa_span_is_recorded(&span));
    assert_false(span.record->has_parent);
    proa_span_end(&span);
    close_tracer();
    open_tracer("parentbased_always_off", NULL, 0);
    undecided = remote_sampled;
    undecided.flags = PROA_TRACE_UNDECIDED;
    span = start("s", &undecided);
    assert_false(proa_span_is_recorded(&span));
    proa_span_end(&span);
    debug = remote_sampled;
    debug.flags = PROA_TRACE_SAMPLED | PROA_TRACE_DEBUG;
    span = start("s", &debug);
    assert_true(proa_span_is_recorded(&span));
    assert_int_equal(span.ids.flags, debug.flags);
    proa_span_end(&span);
}

static int nested(void *arg)
{
    struct proa_span outer, inner, client;
    struct proa_trace_ids ids;
    struct proa_span_record *record;

    assert_null(proa_span_current(loop));
    proa_span_begin(tracer, loop, "outer", &outer);
    outer.tracestate = PROA_STR("a=1");
    assert_ptr_equal(proa_span_current(loop), &outer);
    assert_int_equal(proa_sleep(loop, PROA_MS(10)), 0);
    proa_span_begin(tracer, loop, "inner", &inner);
    assert_int_equal(proa_sleep(loop, PROA_MS(20)), 0);
    client = start("client", NULL);
    assert_memory_equal(client.ids.trace_id, outer.ids.trace_id, 16);
    assert_true(proa_str_eq_c(client.tracestate, "a=1"));
    proa_span_end(&client);
    ids = inner.ids;
    proa_span_end(&inner);
    assert_ptr_equal(proa_span_current(loop), &outer);
    assert_int_equal(proa_sleep(loop, PROA_MS(30)), 0);
    proa_span_end(&outer);
    assert_null(proa_span_current(loop));

    record = take_one();
    assert_true(proa_str_eq_c(record->name, "client"));
    assert_memory_equal(record->parent_id, ids.span_id, 8);
    assert_false(record->is_parent_remote);
    span_record_free(record);
    record = take_one();
    assert_true(proa_str_eq_c(record->name, "inner"));
    assert_int_equal(record->end - record->start, PROA_MS(20));
    span_record_free(record);
    record = take_one();
    assert_true(proa_str_eq_c(record->name, "outer"));
    assert_int_equal(record->end - record->start, PROA_MS(60));
    assert_false(record->has_parent);
    span_record_free(record);
    return 0;
}

static int nested_unsampled(void *arg)
{
    struct proa_span outer, inner;
    struct proa_span_options options = {.name = PROA_STR("outer"), .remote = &remote_unsampled};

    proa_span_start(tracer, loop, &options, &outer);
    proa_span_enter(&outer);
    proa_span_begin(tracer, loop, "inner", &inner);
    assert_memory_equal(&inner.ids, &outer.ids, sizeof inner.ids); /* no ids of its own */
    proa_span_leave(&outer);                                       /* not the present one: nothing happens */
    assert_ptr_equal(proa_span_current(loop), &inner);
    proa_span_end(&inner);
    outer.previous = NULL;
    proa_span_end(&outer);
    assert_null(proa_span_current(loop));
    return 0;
}

static void run(proa_fiber_fn *body)
{
    assert_int_equal(proa_loop_start_fiber(loop, NULL, body, NULL), 0);
    assert_int_equal(proa_loop_run(loop), 0);
}

static void test_spans_of_a_fiber(void **state)
{
    run(nested);
    run(nested_unsampled);
}

static void test_without_a_tracer_ids_are_passed_on(void **state)
{
    struct proa_span span;

    tracer_attach(tracer, 0, NULL, NULL); /* nobody exports: the same as none */
    for (int round = 0; round < 2; round++) {
        span = start("s", &remote_sampled);
        assert_memory_equal(&span.ids, &remote_sampled, sizeof span.ids);
        assert_false(proa_span_is_recorded(&span));
        proa_span_end(&span);
        proa_span_start(round ? NULL : tracer, loop, &(struct proa_span_options){.name = PROA_STR("s")}, &span);
        assert_true(proa_trace_present(&span.ids));
        assert_int_equal(span.ids.flags, PROA_TRACE_UNDECIDED);
        proa_span_end(&span);
    }
    assert_int_equal(notified, 0);
}

static unsigned count_sampled(unsigned spans)
{
    unsigned sampled = 0;

    for (unsigned i = 0; i < spans; i++) {
        struct proa_span span = start("s", NULL);

        sampled += proa_span_is_recorded(&span);
        proa_span_end(&span);
        if (export_waiting(tracer_queue(tracer)) > 0)
            span_record_free(take_one());
    }
    return sampled;
}

static void test_samplers(void **state)
{
    struct proa_trace_ids low = remote_unsampled, high = remote_unsampled;
    struct proa_span span;
    unsigned sampled;

    open_tracer("parentbased_traceidratio", "0.1", 0);
    sampled = count_sampled(10000);
    assert_in_range(sampled, 850, 1150);
    close_tracer();
    open_tracer("traceidratio", "0", 0);
    assert_int_equal(count_sampled(1000), 0);
    close_tracer();
    open_tracer("traceidratio", "1", 0);
    assert_int_equal(count_sampled(1000), 1000);
    close_tracer();
    open_tracer("always_off", NULL, 0);
    assert_int_equal(count_sampled(10), 0);
    span = start("s", &remote_sampled);
    assert_false(proa_span_is_recorded(&span));
    proa_span_end(&span);
    close_tracer();
    open_tracer("always_on", "", 0);
    span = start("s", &remote_unsampled);
    assert_true(proa_span_is_recorded(&span));
    proa_span_end(&span);
    close_tracer();
    /* The decision is the trace id's, and so every service's. */
    open_tracer("traceidratio", "0.5", 0);
    memset(low.trace_id + 8, 0x7f, 8);
    memset(high.trace_id + 8, 0x80, 8);
    span = start("s", &low);
    assert_true(proa_span_is_recorded(&span));
    proa_span_end(&span);
    span = start("s", &high);
    assert_false(proa_span_is_recorded(&span));
    proa_span_end(&span);
    close_tracer();
}

static void test_bad_samplers(void **state)
{
    static const char *const args[] = {"-0.1", "1.1", "x", "nan", "1e400"};
    struct proa_tracer *none = NULL;
    struct proa_error err = {0};

    assert_int_equal(proa_tracer_new(&(struct proa_tracer_options){.sampler = "sometimes"}, &none, &err), PROA_EINVAL);
    assert_non_null(strstr(err.message, "sometimes"));
    for (size_t i = 0; i < PROA_COUNT(args); i++) {
        struct proa_tracer_options options = {.sampler = "traceidratio", .sampler_arg = args[i]};

        assert_int_equal(proa_tracer_new(&options, &none, &err), PROA_EINVAL);
        assert_non_null(strstr(err.message, "OTEL_TRACES_SAMPLER_ARG"));
    }
    assert_null(none);
    proa_tracer_free(NULL);
    assert_int_equal(proa_tracer_new(NULL, &none, NULL), 0);
    proa_tracer_free(none);
}

static void check_event(const struct span_event *event, const char *name, proa_str *ret_attributes)
{
    proa_str rest = proa_str_n(event->bytes, event->len), bytes;
    uint64_t number;

    assert_int_equal(attribute_field(&rest, &number, &bytes), 1 << 3 | 1);
    assert_true(number == (uint64_t)proa_loop_wall(loop));
    assert_int_equal(attribute_field(&rest, &number, &bytes), 2 << 3 | 2);
    assert_true(proa_str_eq_c(bytes, name));
    *ret_attributes = rest;
}

static void test_attributes_events_and_status(void **state)
{
    struct proa_span span = start("GET", NULL);
    const struct proa_kv of_event[] = {proa_kv_c("a", "b"), proa_kv_u64("n", 1)};
    struct proa_error err = {0};
    struct proa_span_record *record;
    char text[] = "copied\xff";
    proa_str rest, key;
    struct proa_kv kv;

    proa_span_set(&span, proa_kv_c("s", text));
    proa_span_set(&span, proa_kv_u64("u", 7));
    proa_span_set(&span, proa_kv_u64("u", 8)); /* replaces */
    proa_span_set(&span, proa_kv_c("empty", ""));
    memset(text, 'x', sizeof text - 1);
    proa_span_event(&span, "retry", of_event, 2);
    proa_span_event(&span, "again", NULL, 0);
    proa_span_rename(&span, PROA_STR("GET /users/{id}"));
    proa_span_set_status(&span, PROA_SPAN_OK, PROA_STR("not for ok"));
    assert_int_equal(span.record->status_text.len, 0);
    proa_fail(&err, PROA_EUNAVAILABLE, "no %s", "database");
    proa_span_fail(&span, &err);
    proa_span_end(&span);
    record = take_one();
    assert_true(proa_str_eq_c(record->name, "GET /users/{id}"));
    assert_int_equal(record->attributes_count, 4);
    assert_true(proa_str_eq_c(attribute_of(record, "s")->as.str, "copied?"));
    assert_true(attribute_of(record, "u")->as.u64 == 8);
    assert_true(proa_str_eq_c(attribute_of(record, "empty")->as.str, ""));
    assert_true(proa_str_eq_c(attribute_of(record, "error.type")->as.str, "PROA_EUNAVAILABLE"));
    assert_int_equal(record->events_count, 2);
    check_event(record->events, "retry", &rest);
    assert_true(attribute_next(&rest, 3, &key, &kv) && proa_str_eq_c(key, "a") && proa_str_eq_c(kv.as.str, "b"));
    assert_true(attribute_next(&rest, 3, &key, &kv) && proa_str_eq_c(key, "n") && kv.as.u64 == 1);
    assert_false(attribute_next(&rest, 3, &key, &kv));
    check_event(record->events->next, "again", &rest);
    assert_int_equal(rest.len, 0);
    assert_int_equal(record->status, PROA_SPAN_ERROR);
    assert_true(proa_str_eq_c(record->status_text, "no database"));
    span_record_free(record);
}

/* In all sizes, replaced and not, whatever lies around. */
static void test_attributes_of_all_sizes(void **state)
{
    static const char *const keys[] = {"a",           "ab",         "abcdefg", "abcdefghijklmnopqrstuvwxyz",
                                       "same.length", "length.same"};
    struct proa_span_record *record;
    char value[600];

    memset(value, 'v', sizeof value);
    for (size_t len = 0; len < sizeof value; len++) {
        struct proa_span span = start("s", NULL);

        for (size_t i = 0; i < PROA_COUNT(keys); i++)
            proa_span_set(&span, proa_kv_u64(keys[i], i));
        proa_span_set(&span, proa_kv_str(keys[len % PROA_COUNT(keys)], proa_str_n(value, len)));
        record = span.record;
        assert_int_equal(record->attributes_count, PROA_COUNT(keys));
        for (size_t i = 0; i < PROA_COUNT(keys); i++) {
            const struct proa_kv *kv = attribute_of(record, keys[i]);

            assert_int_equal(kv->kind, i == len % PROA_COUNT(keys) ? PROA_KV_STR : PROA_KV_U64);
            if (kv->kind == PROA_KV_U64)
                assert_int_equal(kv->as.u64, i);
            else
                assert_int_equal(kv->as.str.len, len < PROA_SPAN_VALUE_MAX ? len : PROA_SPAN_VALUE_MAX);
        }
        value[len] = 'w';
        proa_span_end(&span);
        span_record_free(take_one());
    }
}

static void test_numbers(void **state)
{
    struct proa_span span = start("s", NULL);
    static const int64_t numbers[] = {0, 1, 127, 128, 16383, 16384, INT64_MAX, -1, INT64_MIN};
    static char keys[PROA_COUNT(numbers)][8];

    for (size_t i = 0; i < PROA_COUNT(numbers); i++) {
        snprintf(keys[i], sizeof keys[i], "k%zu", i);
        proa_span_set(&span, proa_kv_i64(keys[i], numbers[i]));
        assert_true((int64_t)attribute_of(span.record, keys[i])->as.u64 == numbers[i]);
    }
    proa_span_set(&span, proa_kv_u64("big", UINT64_MAX));
    assert_true(proa_str_eq_c(attribute_of(span.record, "big")->as.str, "18446744073709551615"));
    proa_span_set(&span, proa_kv_f64("f", -0.5));
    assert_true(attribute_of(span.record, "f")->as.f64 == -0.5);
    proa_span_set(&span, proa_kv_bool("no", false));
    assert_false(attribute_of(span.record, "no")->as.boolean);
    proa_span_set(&span, proa_kv_json("j", PROA_STR("{}")));
    assert_true(proa_str_eq_c(attribute_of(span.record, "j")->as.str, "{}"));
    proa_span_end(&span);
}

static void test_a_span_is_bounded(void **state)
{
    struct proa_span span = start("s", NULL);
    static char keys[200][16];
    char value[3000];
    struct proa_span_record *record;

    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    proa_span_set(&span, proa_kv_c("long", value));
    assert_int_equal(attribute_of(span.record, "long")->as.str.len, PROA_SPAN_VALUE_MAX);
    for (int i = 0; i < 200; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        proa_span_set(&span, proa_kv_c(keys[i], i % 2 ? value : "1"));
        proa_span_event(&span, "event", NULL, 0);
    }
    proa_span_rename(&span, proa_str_c(value)); /* no room: the old one stays */
    record = span.record;
    assert_int_equal(record->attributes_count + record->attributes_dropped, 201);
    assert_int_equal(record->events_count + record->events_dropped, 200);
    assert_true(record->attributes_bytes <= record->rest_at && record->rest_at <= SPAN_RECORD_BYTES - sizeof *record);
    assert_true(proa_str_eq_c(record->name, "s"));
    proa_span_end(&span);
    /* Many small ones: the limit is their number. */
    span = start(value, NULL);
    assert_int_equal(span.record->name.len, PROA_SPAN_NAME_MAX);
    for (int i = 0; i < 200; i++)
        proa_span_set(&span, proa_kv_bool(keys[i], true));
    assert_true(span.record->attributes_count <= PROA_SPAN_ATTRIBUTES_MAX);
    proa_span_end(&span);
}

static void test_the_queue_is_bounded_and_tells(void **state)
{
    struct proa_span_record *record;
    uint32_t count;

    open_tracer(NULL, NULL, 4);
    for (int i = 0; i < 6; i++) {
        char name[16];
        struct proa_span span;

        snprintf(name, sizeof name, "s%d", i);
        span = start(name, NULL);
        proa_span_end(&span);
    }
    assert_int_equal(notified, 2); /* the first, and the third, which makes a batch */
    assert_int_equal(proa_tracer_dropped(tracer), 2);
    assert_int_equal(export_waiting(tracer_queue(tracer)), 4);
    record = tracer_take(tracer, 3, &count);
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++) {
        struct proa_span_record *next = (struct proa_span_record *)record->item.next;

        assert_int_equal(record->name.ptr[1], '0' + i);
        span_record_free(record);
        record = next;
    }
    assert_null(record);
    record = tracer_take(tracer, 3, &count);
    assert_int_equal(count, 1);
    assert_int_equal(record->name.ptr[1], '3');
    span_record_free(record);
    assert_null(tracer_take(tracer, 3, &count));
    assert_int_equal(count, 0);
    close_tracer();
}

/* Spans of several loops' threads and one taker. */
enum { THREADS = 3, SPANS = 5000 };

static void *end_spans(void *arg)
{
    struct proa_loop *own = sim_loop_new(NULL);

    for (int i = 0; i < SPANS; i++) {
        struct proa_span span;

        proa_span_start(tracer, own, &(struct proa_span_options){.name = PROA_STR("s")}, &span);
        proa_span_set(&span, proa_kv_i64("i", i));
        proa_span_end(&span);
    }
    proa_loop_free(own);
    return NULL;
}

static void test_many_threads(void **state)
{
    pthread_t threads[THREADS];
    uint64_t taken = 0;
    bool joined = false;

    open_tracer(NULL, NULL, 100);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, end_spans, NULL), 0);
    for (int round = 0; !joined || export_waiting(tracer_queue(tracer)) > 0; round++) {
        uint32_t count;
        struct proa_span_record *record = tracer_take(tracer, 10, &count);

        taken += count;
        while (record) {
            struct proa_span_record *next = (struct proa_span_record *)record->item.next;

            span_record_free(record);
            record = next;
        }
        if (round == 1000) {
            for (int i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
            joined = true;
        }
    }
    assert_int_equal(taken + proa_tracer_dropped(tracer), THREADS * SPANS);
    close_tracer();
}

static void assert_baggage(struct proa_arena *arena, const char *header, const char *key, int rc, const char *expected)
{
    proa_str value = {0};

    assert_int_equal(proa_baggage_get(arena, proa_str_c(header), proa_str_c(key), &value), rc);
    if (rc == 0)
        assert_true(proa_str_eq_c(value, expected));
}

static void test_baggage(void **state)
{
    struct proa_arena own = {0}, *arena = &own;
    char long_header[PROA_BAGGAGE_MAX + 2];
    size_t at = 0;

    proa_arena_init(arena, NULL, 0);
    assert_baggage(arena, "userId=alice,serverNode=DF%2028,isProduction=false", "serverNode", 0, "DF 28");
    assert_baggage(arena, " a = 1 ;p;q=2 , b=2;r = \"\t", "b", PROA_ESYNTAX, NULL);
    assert_baggage(arena, "a = 1 ; p ; q = 2 , b=", "a", 0, "1");
    assert_baggage(arena, "a = 1 ; p ; q = 2 , b=", "b", 0, "");
    assert_baggage(arena, "a=1", "b", PROA_ENOTFOUND, NULL);
    assert_baggage(arena, "", "b", PROA_ENOTFOUND, NULL);
    assert_baggage(arena, "a=%zz", "a", PROA_ESYNTAX, NULL);
    assert_true(proa_baggage_valid(PROA_STR("a=1,b=%20;x")));
    assert_false(proa_baggage_valid(PROA_STR("")));
    assert_false(proa_baggage_valid(PROA_STR("a")));
    assert_false(proa_baggage_valid(PROA_STR("a=1,")));
    assert_false(proa_baggage_valid(PROA_STR("=1")));
    assert_false(proa_baggage_valid(PROA_STR("a b=1")));
    assert_false(proa_baggage_valid(PROA_STR("a=1 2")));
    assert_false(proa_baggage_valid(PROA_STR("a=\xc3\xa9")));
    assert_false(proa_baggage_valid(PROA_STR("a=1;")));
    assert_false(proa_baggage_valid(PROA_STR("a=\"1\"")));
    for (int i = 0; i < 64; i++)
        at += (size_t)snprintf(long_header + at, sizeof long_header - at, "%sk%d=1", i ? "," : "", i);
    assert_true(proa_baggage_valid(proa_str_c(long_header)));
    snprintf(long_header + at, sizeof long_header - at, ",x=1");
    assert_false(proa_baggage_valid(proa_str_c(long_header)));
    memset(long_header, 'x', sizeof long_header);
    memcpy(long_header, "a=", 2);
    assert_true(proa_baggage_valid(proa_str_n(long_header, PROA_BAGGAGE_MAX)));
    assert_false(proa_baggage_valid(proa_str_n(long_header, PROA_BAGGAGE_MAX + 1)));
    proa_arena_done(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_root_span, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_remote_parent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_decisions_of_b3, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spans_of_a_fiber, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_tracer_ids_are_passed_on, setup, teardown),
        cmocka_unit_test(test_samplers),
        cmocka_unit_test(test_bad_samplers),
        cmocka_unit_test_setup_teardown(test_attributes_events_and_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attributes_of_all_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_span_is_bounded, setup, teardown),
        cmocka_unit_test(test_the_queue_is_bounded_and_tells),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_baggage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

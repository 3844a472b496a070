/* Spans: ids and sampling, what is recorded of them, and the queue of finished ones. */
#include "span_record.h"

#include <assert.h>
#include <endian.h>
#include <proa/fiber.h>
#include <stdatomic.h>
#include <stdlib.h>

enum sampler { SAMPLE_NONE, SAMPLE_ALL, SAMPLE_RATIO };

struct proa_tracer {
    enum sampler root;
    bool follows_parent;
    uint64_t threshold; /* of SAMPLE_RATIO: trace ids below it, of 2^63 */
    struct export_queue queue;
};

static int read_sampler(struct proa_tracer *tracer, const char *name, const char *arg, struct proa_error *err)
{
    static const struct {
        const char *name;
        enum sampler root;
        bool follows_parent;
    } samplers[] = {
        {"parentbased_always_on", SAMPLE_ALL, true},      {"always_on", SAMPLE_ALL, false},
        {"parentbased_always_off", SAMPLE_NONE, true},    {"always_off", SAMPLE_NONE, false},
        {"parentbased_traceidratio", SAMPLE_RATIO, true}, {"traceidratio", SAMPLE_RATIO, false},
    };
    double ratio = 1;
    size_t i = 0;

    if (!name || !*name)
        name = samplers[0].name;
    while (i < PROA_COUNT(samplers) && strcmp(samplers[i].name, name) != 0)
        i++;
    if (i == PROA_COUNT(samplers))
        return proa_fail(err, PROA_EINVAL, "trace sampler \"%s\" is not known (OTEL_TRACES_SAMPLER)", name);
    tracer->root = samplers[i].root;
    tracer->follows_parent = samplers[i].follows_parent;
    if (arg && *arg && (proa_str_to_double(proa_str_c(arg), &ratio) < 0 || !(ratio >= 0 && ratio <= 1)))
        return proa_fail(err, PROA_EINVAL,
                         "trace sampling ratio \"%s\" is not between 0 and 1 (OTEL_TRACES_SAMPLER_ARG)", arg);
    tracer->threshold = (uint64_t)(ratio * 0x1p63);
    return 0;
}

int proa_tracer_new(const struct proa_tracer_options *options, struct proa_tracer **ret_tracer, struct proa_error *err)
{
    static const struct proa_tracer_options defaults;
    struct proa_tracer *tracer = calloc(1, sizeof *tracer);
    int rc;

    if (!tracer)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (!options)
        options = &defaults;
    rc = read_sampler(tracer, options->sampler, options->sampler_arg, err);
    if (rc < 0) {
        free(tracer);
        return rc;
    }
    tracer->queue.max = options->queue_spans ? options->queue_spans : PROA_SPANS_QUEUED_DEFAULT;
    *ret_tracer = tracer;
    return 0;
}

void proa_tracer_free(struct proa_tracer *tracer)
{
    struct proa_span_record *record;
    uint32_t count;

    if (!tracer)
        return;
    while ((record = tracer_take(tracer, 1, &count)))
        span_record_free(record);
    free(tracer);
}

uint64_t proa_tracer_dropped(const struct proa_tracer *tracer)
{
    return atomic_load_explicit(&tracer->queue.dropped, memory_order_relaxed);
}

struct export_queue *tracer_queue(struct proa_tracer *tracer)
{
    return &tracer->queue;
}

struct proa_span_record *tracer_take(struct proa_tracer *tracer, uint32_t max, uint32_t *ret_count)
{
    return (struct proa_span_record *)export_take(&tracer->queue, max, ret_count);
}

void tracer_attach(struct proa_tracer *tracer, uint32_t batch, void (*notify)(void *arg), void *arg)
{
    export_attach(&tracer->queue, batch, notify, arg);
}

void span_record_free(struct proa_span_record *record)
{
    free(record);
}

/* Sampling. */
static bool sample_root(const struct proa_tracer *tracer, const struct proa_trace_ids *ids)
{
    uint64_t number;

    if (tracer->root != SAMPLE_RATIO)
        return tracer->root == SAMPLE_ALL;
    /* The trace id's second half, as other implementations do: all services of one ratio choose the same traces. */
    memcpy(&number, ids->trace_id + 8, sizeof number);
    return be64toh(number) >> 1 < tracer->threshold;
}

static bool is_sampled(const struct proa_tracer *tracer, const struct proa_trace_ids *parent,
                       const struct proa_trace_ids *ids)
{
    if (parent && (parent->flags & PROA_TRACE_DEBUG))
        return true;
    if (parent && tracer->follows_parent && !(parent->flags & PROA_TRACE_UNDECIDED))
        return parent->flags & PROA_TRACE_SAMPLED;
    return sample_root(tracer, ids);
}

static void random_id(struct proa_loop *loop, uint8_t *out, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
        uint64_t word = proa_loop_random_u64(loop);

        word += word == 0; /* an id of zeros is none */
        memcpy(out + at, &word, sizeof word);
    }
}

/* Recording. */
static void *take_room(struct proa_span_record *record, size_t bytes)
{
    size_t rounded = (bytes + 7) & ~(size_t)7;
    void *room;

    if (rounded > SPAN_RECORD_BYTES - sizeof *record - record->used)
        return NULL;
    room = record->buffer + record->used;
    record->used += (uint32_t)rounded;
    return room;
}

static bool copy_text(struct proa_span_record *record, proa_str text, size_t max, proa_str *ret_copy)
{
    proa_str cut = proa_utf8_cut(text, max);
    char *room = cut.len > 0 ? take_room(record, cut.len) : NULL;

    if (cut.len > 0 && !room)
        return false;
    if (cut.len > 0)
        memcpy(room, cut.ptr, cut.len);
    export_mend_text(room, cut.len);
    *ret_copy = proa_str_n(room, cut.len);
    return true;
}

static bool copy_value(struct proa_span_record *record, struct proa_kv kv, struct proa_kv *ret_kv)
{
    bool is_text = kv.kind == PROA_KV_STR || kv.kind == PROA_KV_JSON;

    if (is_text && !copy_text(record, kv.as.str, PROA_SPAN_VALUE_MAX, &kv.as.str))
        return false;
    *ret_kv = kv;
    return true;
}

static struct span_attribute *new_attribute(struct proa_span_record *record, const struct proa_kv *kv)
{
    uint32_t used = record->used;
    struct span_attribute *attribute = take_room(record, sizeof *attribute);

    if (!attribute || !copy_value(record, *kv, &attribute->kv)) {
        record->used = used;
        return NULL;
    }
    attribute->next = NULL;
    attribute->kv.key_len = (uint32_t)proa_kv_key(kv).len;
    return attribute;
}

static struct proa_span_record *record_new(struct proa_tracer *tracer, struct proa_loop *loop,
                                           const struct proa_span_options *options, const struct proa_span *span)
{
    struct proa_span_record *record = malloc(SPAN_RECORD_BYTES);

    if (!record) {
        export_count_dropped(&tracer->queue);
        return NULL;
    }
    *record = (struct proa_span_record){.tracer = tracer,
                                        .ids = span->ids,
                                        .kind = options->kind ? options->kind : PROA_SPAN_INTERNAL,
                                        .began = proa_loop_now_exact(loop),
                                        .start = proa_loop_wall(loop)};
    record->attributes_end = &record->attributes;
    record->events_end = &record->events;
    /* Whatever comes, these fit: names and tracestate are bounded. */
    (void)copy_text(record, options->name, PROA_SPAN_NAME_MAX, &record->name);
    (void)copy_text(record, span->tracestate, PROA_TRACESTATE_MAX, &record->tracestate);
    return record;
}

static __attribute__((noinline)) void record(struct proa_tracer *tracer, struct proa_loop *loop,
                                             const struct proa_span_options *options,
                                             const struct proa_trace_ids *parent, bool is_remote,
                                             struct proa_span *span)
{
    span->record = record_new(tracer, loop, options, span);
    if (!span->record || !parent || !proa_trace_present(parent))
        return;
    memcpy(span->record->parent_id, parent->span_id, sizeof parent->span_id);
    span->record->has_parent = true;
    span->record->is_parent_remote = is_remote;
}

void proa_span_start(struct proa_tracer *tracer, struct proa_loop *loop, const struct proa_span_options *options,
                     struct proa_span *ret_span)
{
    const struct proa_span *local = options->remote ? NULL : proa_span_current(loop);
    const struct proa_trace_ids *parent = options->remote ? options->remote : local ? &local->ids : NULL;
    struct proa_span span = {.loop = loop};

    if (tracer && !export_is_attached(&tracer->queue))
        tracer = NULL;
    if (local) {
        span.tracestate = local->tracestate;
        span.baggage = local->baggage;
    } else {
        span.tracestate = options->tracestate;
        span.baggage = options->baggage;
    }
    if (parent && proa_trace_present(parent)) {
        span.ids = *parent;
        /* Below a span that is not sampled nothing is, and nobody would ever see other ids. Nor without a tracer. */
        if (!tracer || (local && !local->record && tracer->follows_parent)) {
            *ret_span = span;
            return;
        }
    } else {
        random_id(loop, span.ids.trace_id, sizeof span.ids.trace_id);
        if (parent && !tracer) /* the decision of a B3 header alone */
            span.ids.flags = parent->flags & (PROA_TRACE_SAMPLED | PROA_TRACE_DEBUG);
    }
    random_id(loop, span.ids.span_id, sizeof span.ids.span_id);
    if (tracer) {
        bool sampled = is_sampled(tracer, parent, &span.ids);

        span.ids.flags = (uint8_t)(sampled ? PROA_TRACE_SAMPLED : 0) |
                         (uint8_t)(parent && sampled ? parent->flags & PROA_TRACE_DEBUG : 0);
        if (sampled)
            record(tracer, loop, options, parent, options->remote != NULL, &span);
    }
    *ret_span = span;
}

struct proa_span *proa_span_current(const struct proa_loop *loop)
{
    const struct proa_fiber *fiber = proa_fiber_current(loop);
    struct proa_span *span = fiber ? proa_fiber_span(fiber) : NULL;

    if (span && span->resolve) {
        void (*resolve)(struct proa_span * span) = span->resolve;

        span->resolve = NULL;
        resolve(span);
    }
    return span;
}

void proa_span_enter(struct proa_span *span)
{
    struct proa_fiber *fiber = proa_fiber_current(span->loop);

    assert(fiber);
    span->previous = proa_fiber_span(fiber);
    proa_fiber_set_span(fiber, span);
}

void proa_span_leave(struct proa_span *span)
{
    struct proa_fiber *fiber = proa_fiber_current(span->loop);

    if (fiber && proa_fiber_span(fiber) == span)
        proa_fiber_set_span(fiber, span->previous);
    span->previous = NULL;
}

void proa_span_begin(struct proa_tracer *tracer, struct proa_loop *loop, const char *name, struct proa_span *ret_span)
{
    const struct proa_span_options options = {.name = proa_str_c(name)};

    proa_span_start(tracer, loop, &options, ret_span);
    proa_span_enter(ret_span);
}

void proa_span_end(struct proa_span *span)
{
    struct proa_span_record *record = span->record;

    if (!span->loop)
        return;
    proa_span_leave(span);
    span->record = NULL;
    if (record) {
        record->end = record->start + (proa_time_ns)(proa_loop_now_exact(span->loop) - record->began);
        if (!export_put(&record->tracer->queue, &record->item))
            span_record_free(record);
    }
    span->loop = NULL;
}

void proa_span_record_name(struct proa_span *span, proa_str name)
{
    (void)copy_text(span->record, name, PROA_SPAN_NAME_MAX, &span->record->name); /* else the old one stays */
}

/* By length and ends. */
static uint64_t key_bit(proa_str key)
{
    if (key.len == 0)
        return 1;
    return UINT64_C(1) << ((key.len * 7 + (unsigned char)key.ptr[key.len / 2] * 3 +
                            (unsigned char)key.ptr[key.len - 1]) &
                           63);
}

void proa_span_record_attribute(struct proa_span *span, const struct proa_kv *kv)
{
    struct proa_span_record *record = span->record;
    struct span_attribute *attribute = NULL;
    uint64_t bit = key_bit(proa_kv_key(kv));

    if (record->keys_seen & bit)
        attribute = record->attributes;
    record->keys_seen |= bit;
    for (; attribute; attribute = attribute->next) {
        if (strcmp(attribute->kv.key, kv->key) != 0)
            continue;
        if (!copy_value(record, *kv, &attribute->kv))
            record->attributes_dropped++;
        return;
    }
    attribute = record->attributes_count < PROA_SPAN_ATTRIBUTES_MAX ? new_attribute(record, kv) : NULL;
    if (!attribute) {
        record->attributes_dropped++;
        return;
    }
    *record->attributes_end = attribute;
    record->attributes_end = &attribute->next;
    record->attributes_count++;
}

void proa_span_record_event(struct proa_span *span, const char *name, const struct proa_kv *attributes, uint32_t count)
{
    struct proa_span_record *record = span->record;
    struct span_event *event;
    struct span_attribute **end;
    uint32_t used = record->used;

    event = record->events_count < PROA_SPAN_EVENTS_MAX ? take_room(record, sizeof *event) : NULL;
    if (!event || !copy_text(record, proa_str_c(name), PROA_SPAN_NAME_MAX, &event->name)) {
        record->used = used;
        record->events_dropped++;
        return;
    }
    event->next = NULL;
    event->attributes = NULL;
    event->time = record->start + (proa_time_ns)(proa_loop_now_exact(span->loop) - record->began);
    end = &event->attributes;
    for (uint32_t i = 0; i < count; i++) {
        *end = new_attribute(record, &attributes[i]);
        if (!*end)
            break;
        end = &(*end)->next;
    }
    *record->events_end = event;
    record->events_end = &event->next;
    record->events_count++;
}

void proa_span_record_status(struct proa_span *span, enum proa_span_status status, proa_str description)
{
    span->record->status = status;
    span->record->status_text = proa_str_n(NULL, 0);
    if (status == PROA_SPAN_ERROR)
        (void)copy_text(span->record, description, PROA_SPAN_VALUE_MAX, &span->record->status_text);
}

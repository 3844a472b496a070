/* Spans: ids and sampling, what is recorded of them, and the queue of finished ones. */
#include "span_record.h"
#include "wire.h"

#include <assert.h>
#include <endian.h>
#include <proa/fiber.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { EVENT_BYTES = sizeof(struct span_event) + 8 /* beside its message */ };
enum sampler { SAMPLE_NONE, SAMPLE_ALL, SAMPLE_RATIO };

struct proa_tracer {
    enum sampler root;
    bool follows_parent;
    uint64_t threshold; /* of SAMPLE_RATIO: trace ids below it, of 2^63 */
    struct export_queue queue;
    /* Records for new spans. Whoever finds somebody at them goes without: shared by all threads. */
    _Atomic bool are_spares_taken;
    struct proa_span_record *spares;
    uint32_t spares_count;
};
enum { SPARES_MAX = 512 };

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
    while (i < PROA_COUNT(samplers) && !proa_str_eq_nocase(proa_str_c(name), proa_str_c(samplers[i].name)))
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
    tracer_free_spares(tracer);
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

/* Spares. */
static bool take_spares(struct proa_tracer *tracer)
{
    return !atomic_exchange_explicit(&tracer->are_spares_taken, true, memory_order_acquire);
}

static void leave_spares(struct proa_tracer *tracer)
{
    atomic_store_explicit(&tracer->are_spares_taken, false, memory_order_release);
}

static struct proa_span_record *record_alloc(struct proa_tracer *tracer)
{
    struct proa_span_record *record = NULL;

    if (take_spares(tracer)) {
        record = tracer->spares;
        if (record) {
            tracer->spares = (struct proa_span_record *)record->item.next;
            tracer->spares_count--;
        }
        leave_spares(tracer);
    }
    return record ? record : malloc(SPAN_RECORD_BYTES);
}

void span_record_free(struct proa_span_record *record)
{
    struct proa_tracer *tracer = record->tracer;

    if (take_spares(tracer)) {
        if (tracer->spares_count < SPARES_MAX) {
            record->item.next = (struct export_item *)tracer->spares;
            tracer->spares = record;
            tracer->spares_count++;
            record = NULL;
        }
        leave_spares(tracer);
    }
    free(record);
}

void tracer_free_spares(struct proa_tracer *tracer)
{
    struct proa_span_record *record, *next;

    if (!take_spares(tracer))
        return;
    record = tracer->spares;
    tracer->spares = NULL;
    tracer->spares_count = 0;
    leave_spares(tracer);
    for (; record; record = next) {
        next = (struct proa_span_record *)record->item.next;
        free(record);
    }
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

/* What is no attribute lies at the buffer's end. */
static void *take_room(struct proa_span_record *record, size_t bytes)
{
    size_t rounded = (bytes + 7) & ~(size_t)7;

    if (rounded > record->rest_at - record->attributes_bytes)
        return NULL;
    record->rest_at -= (uint32_t)rounded;
    return record->buffer + record->rest_at;
}

static bool copy_text(struct proa_span_record *record, proa_str text, size_t max, proa_str *ret_copy)
{
    proa_str cut = proa_utf8_cut(text, max);
    char *room = cut.len > 0 ? take_room(record, cut.len) : NULL;

    if (cut.len > 0 && !room)
        return false;
    wire_text(room, cut);
    *ret_copy = proa_str_n(room, cut.len);
    return true;
}

static struct proa_span_record *record_new(struct proa_tracer *tracer, struct proa_loop *loop,
                                           const struct proa_span_options *options, const struct proa_span *span)
{
    struct proa_span_record *record = record_alloc(tracer);

    if (!record) {
        export_count_dropped(&tracer->queue);
        return NULL;
    }
    *record = (struct proa_span_record){.tracer = tracer,
                                        .ids = span->ids,
                                        .kind = options->kind ? options->kind : PROA_SPAN_INTERNAL,
                                        .began = proa_loop_now_exact(loop),
                                        .start = proa_loop_wall(loop)};
    record->events_end = &record->events;
    record->rest_at = SPAN_RECORD_BUFFER / 8 * 8;
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
    for (uint32_t i = 0; span->record && i < options->fields_count; i++)
        proa_span_record_attribute(span, &options->fields[i]);
    if (!span->record || !parent || !proa_trace_present(parent))
        return;
    memcpy(span->record->parent_id, parent->span_id, sizeof parent->span_id);
    span->record->has_parent = true;
    span->record->is_parent_remote = is_remote;
}

/* Ids and flags of a span that is not just its parent's. */
static void choose_ids(struct proa_tracer *tracer, struct proa_loop *loop, const struct proa_trace_ids *parent,
                       struct proa_trace_ids *ids)
{
    bool should_sample;

    if (parent && proa_trace_present(parent)) {
        *ids = *parent;
    } else {
        random_id(loop, ids->trace_id, sizeof ids->trace_id);
        ids->flags = parent ? parent->flags : PROA_TRACE_UNDECIDED; /* of a B3 header alone, or nobody's */
    }
    random_id(loop, ids->span_id, sizeof ids->span_id);
    if (!tracer)
        return;
    should_sample = is_sampled(tracer, parent, ids);
    ids->flags = (uint8_t)(should_sample ? PROA_TRACE_SAMPLED | (parent ? parent->flags & PROA_TRACE_DEBUG : 0) : 0);
}

void proa_span_start(struct proa_tracer *tracer, struct proa_loop *loop, const struct proa_span_options *options,
                     struct proa_span *ret_span)
{
    const struct proa_span *local = options->remote ? NULL : proa_span_current(loop);
    const struct proa_trace_ids *parent = options->remote ? options->remote : local ? &local->ids : NULL;

    if (tracer && !export_is_attached(&tracer->queue))
        tracer = NULL;
    ret_span->tracestate = local ? local->tracestate : options->tracestate;
    ret_span->baggage = local ? local->baggage : options->baggage;
    ret_span->loop = loop;
    ret_span->previous = NULL;
    ret_span->record = NULL;
    ret_span->fields = options->fields;
    ret_span->fields_count = options->fields_count;
    ret_span->resolve = NULL;
    /* Below a span that is not sampled nothing is, and nobody would ever see other ids. Nor without a tracer. */
    if (parent && proa_trace_present(parent) && (!tracer || (local && !local->record && tracer->follows_parent))) {
        ret_span->ids = *parent;
        return;
    }
    choose_ids(tracer, loop, parent, &ret_span->ids);
    if (tracer && (ret_span->ids.flags & PROA_TRACE_SAMPLED))
        record(tracer, loop, options, parent, options->remote != NULL, ret_span);
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

void proa_span_begin_with(struct proa_tracer *tracer, struct proa_loop *loop, const char *name,
                          const struct proa_kv *fields, uint32_t fields_count, struct proa_span *ret_span)
{
    const struct proa_span_options options = {.name = proa_str_c(name), .fields = fields, .fields_count = fields_count};

    proa_span_start(tracer, loop, &options, ret_span);
    proa_span_enter(ret_span);
}

void proa_span_begin(struct proa_tracer *tracer, struct proa_loop *loop, const char *name, struct proa_span *ret_span)
{
    proa_span_begin_with(tracer, loop, name, NULL, 0, ret_span);
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

/* By both ends. The factor is one by which the keys that the semantic conventions have for one span all differ. */
static uint64_t key_bit(proa_str key)
{
    uint64_t first = 0, last = 0;
    uint32_t half = 0;

    if (key.len >= sizeof first) {
        memcpy(&first, key.ptr, sizeof first);
        memcpy(&last, key.ptr + key.len - sizeof last, sizeof last);
    } else if (key.len >= sizeof half) {
        memcpy(&half, key.ptr, sizeof half);
        first = half;
        memcpy(&half, key.ptr + key.len - sizeof half, sizeof half);
        last = half;
    } else if (key.len > 0) {
        first = (unsigned char)key.ptr[0];
        last = (unsigned char)key.ptr[key.len - 1];
    }
    return UINT64_C(1) << ((first ^ (last << 27 | last >> 37)) * UINT64_C(0x1e2feb89414c343d) >> 58);
}

/* Takes out the attribute that lies at `old`, before the newest. */
static void take_out(struct proa_span_record *record, proa_str old)
{
    size_t at = (size_t)(old.ptr - record->buffer);

    memmove(record->buffer + at, record->buffer + at + old.len, record->attributes_bytes - at - old.len);
    record->attributes_bytes -= (uint32_t)old.len;
}

static bool find_attribute(const struct proa_span_record *record, proa_str key, proa_str *ret_attribute)
{
    proa_str rest = span_record_attributes(record), before = rest, found;

    for (; wire_next_attribute(&rest, &found); before = rest) {
        if (!proa_str_eq(found, key))
            continue;
        *ret_attribute = proa_str_n(before.ptr, before.len - rest.len);
        return true;
    }
    return false;
}

void proa_span_record_attribute(struct proa_span *span, const struct proa_kv *kv)
{
    struct proa_span_record *record = span->record;
    proa_str key = proa_kv_key(kv), old;
    uint64_t bit = key_bit(key);
    bool is_new = PROA_LIKELY(!(record->keys_seen & bit)) || !find_attribute(record, key, &old);
    char *at = NULL;

    if (PROA_LIKELY(record->attributes_count < PROA_SPAN_ATTRIBUTES_MAX || !is_new))
        at = wire_attribute(record->buffer + record->attributes_bytes, record->buffer + record->rest_at,
                            WIRE_SPAN_ATTRIBUTES, kv, PROA_SPAN_VALUE_MAX);
    if (!at) {
        record->attributes_dropped++;
        return;
    }
    record->keys_seen |= bit;
    record->attributes_bytes = (uint32_t)(at - record->buffer);
    if (PROA_LIKELY(is_new))
        record->attributes_count++;
    else
        take_out(record, old);
}

/* An Event message, for now behind the attributes. @returns its end, or NULL when there is no room. */
static char *put_event(const struct proa_span_record *record, char *at, const char *end, proa_time_ns time,
                       const char *name, const struct proa_kv *attributes, uint32_t count)
{
    proa_str cut = proa_utf8_cut(proa_str_c(name), PROA_SPAN_NAME_MAX);

    if ((size_t)(end - at) < 2 * WIRE_VARINT_MAX + cut.len)
        return NULL;
    at = wire_fixed64(at, WIRE_EVENT_TIME, (uint64_t)time);
    if (cut.len > 0) {
        at = wire_head(at, WIRE_EVENT_NAME, cut.len);
        wire_text(at, cut);
        at += cut.len;
    }
    for (uint32_t i = 0; i < count; i++) {
        char *next = wire_attribute(at, end, WIRE_EVENT_ATTRIBUTES, &attributes[i], PROA_SPAN_VALUE_MAX);

        if (!next)
            break;
        at = next;
    }
    return at;
}

void proa_span_record_event(struct proa_span *span, const char *name, const struct proa_kv *attributes, uint32_t count)
{
    struct proa_span_record *record = span->record;
    proa_time_ns time = record->start + (proa_time_ns)(proa_loop_now_exact(span->loop) - record->began);
    char *begin = record->buffer + record->attributes_bytes, *end = NULL;
    uint32_t room = record->rest_at - record->attributes_bytes;
    struct span_event *event;
    size_t len;

    if (record->events_count < PROA_SPAN_EVENTS_MAX && room > EVENT_BYTES)
        end = put_event(record, begin, begin + room - EVENT_BYTES, time, name, attributes, count);
    if (!end) {
        record->events_dropped++;
        return;
    }
    len = (size_t)(end - begin);
    event = take_room(record, sizeof *event + len);
    memmove(event->bytes, begin, len);
    event->len = len;
    event->next = NULL;
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

/** What a finished span holds, for exporters. Allocated once, of fixed size; text and lists lie in its own buffer. */
#ifndef PROA_OBS_SPAN_RECORD_H
#define PROA_OBS_SPAN_RECORD_H

#include "export_queue.h"
#include <proa/metrics.h>
#include <proa/tracer.h>

enum { SPAN_RECORD_BYTES = 2048 };

/** Something that happened: an Event message of OTLP, without its field's head. */
struct span_event {
    struct span_event *next;
    size_t len;
    char bytes[];
};

struct proa_span_record {
    struct export_item item; /**< first */
    struct proa_tracer *tracer;
    struct proa_trace_ids ids;
    uint8_t parent_id[8];
    bool has_parent;
    bool is_parent_remote;
    enum proa_span_kind kind;
    enum proa_span_status status;
    proa_mono_ns began;
    proa_time_ns start;
    proa_time_ns end;
    proa_str name;
    proa_str status_text;
    proa_str tracestate;
    uint32_t attributes_count;
    uint32_t attributes_dropped;
    uint64_t keys_seen; /**< a bit for each kind of key: a new one is not among those there */
    struct span_event *events;
    struct span_event **events_end;
    uint32_t events_count;
    uint32_t events_dropped;
    /* The buffer: attributes, as fields of OTLP's Span, from its beginning; the rest from its end. */
    uint32_t attributes_bytes;
    uint32_t rest_at;
    char buffer[] __attribute__((aligned(8)));
};
enum { SPAN_RECORD_BUFFER = SPAN_RECORD_BYTES - sizeof(struct proa_span_record) };

static inline proa_str span_record_attributes(const struct proa_span_record *record)
{
    return proa_str_n(record->buffer, record->attributes_bytes);
}

/** Finished spans in the order of their end, at most `max`; NULL when there are none. Freed by span_record_free. One
 *  taker at a time. */
struct proa_span_record *tracer_take(struct proa_tracer *tracer, uint32_t max, uint32_t *ret_count);
void span_record_free(struct proa_span_record *record);
/** Gives back the memory that is kept for new spans. From any thread. */
void tracer_free_spares(struct proa_tracer *tracer);
struct export_queue *tracer_queue(struct proa_tracer *tracer);
/** As export_attach does. */
void tracer_attach(struct proa_tracer *tracer, uint32_t batch, void (*notify)(void *arg), void *arg);

#endif

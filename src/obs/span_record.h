/** What a finished span holds, for exporters. Allocated once, of fixed size; text and lists lie in its own buffer. */
#ifndef PROA_OBS_SPAN_RECORD_H
#define PROA_OBS_SPAN_RECORD_H

#include "export_queue.h"
#include <proa/metrics.h>
#include <proa/tracer.h>

enum { SPAN_RECORD_BYTES = 2048 };

struct span_attribute {
    struct span_attribute *next;
    struct proa_kv kv;
};

struct span_event {
    struct span_event *next;
    proa_time_ns time;
    proa_str name;
    struct span_attribute *attributes;
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
    struct span_attribute *attributes;
    struct span_attribute **attributes_end;
    uint32_t attributes_count;
    uint32_t attributes_dropped;
    uint64_t keys_seen; /**< a bit for each kind of key: a new one is not among those there */
    struct span_event *events;
    struct span_event **events_end;
    uint32_t events_count;
    uint32_t events_dropped;
    uint32_t used; /**< of buffer */
    char buffer[] __attribute__((aligned(8)));
};

/** Finished spans in the order of their end, at most `max`; NULL when there are none. Freed by span_record_free. One taker at a time. */
struct proa_span_record *tracer_take(struct proa_tracer *tracer, uint32_t max, uint32_t *ret_count);
void span_record_free(struct proa_span_record *record);
struct export_queue *tracer_queue(struct proa_tracer *tracer);
/** As export_attach does. */
void tracer_attach(struct proa_tracer *tracer, uint32_t batch, void (*notify)(void *arg), void *arg);

#endif

/** Spans: what a request did, when, and under which trace. Made here, kept in a bounded queue when they end, and taken
 *  from it by an exporter (proa/otlp.h).
 *
 *  A span that is not sampled has ids, for propagation and log lines, and costs next to nothing.
 *
 *      struct proa_span span PROA_CLEANUP(proa_span_end) = {0};
 *
 *      proa_span_begin(tracer, loop, "render", &span);
 *      proa_span_set(&span, proa_kv_u64("rows", rows));
 */
#ifndef PROA_TRACER_H
#define PROA_TRACER_H

#include <proa/arena.h>
#include <proa/defs.h>
#include <proa/error.h>
#include <proa/log.h>
#include <proa/loop.h>
#include <proa/trace.h>

PROA_BEGIN_DECLS

enum {
    PROA_SPANS_QUEUED_DEFAULT = 2048,
    PROA_SPAN_NAME_MAX = 128,      /**< bytes; longer names are cut at a character */
    PROA_SPAN_VALUE_MAX = 512,     /**< bytes of an attribute's text */
    PROA_SPAN_ATTRIBUTES_MAX = 64, /**< of a span; more are counted as dropped. So is what does not fit 2 KiB */
    PROA_SPAN_EVENTS_MAX = 16,
};

/** Shared by all loops of a program. */
struct proa_tracer;
struct proa_tracer_options {
    /** As OTEL_TRACES_SAMPLER has it: "always_on", "always_off", "traceidratio", "parentbased_always_on" (NULL),
     *  "parentbased_always_off", "parentbased_traceidratio". */
    const char *sampler;
    const char *sampler_arg; /**< OTEL_TRACES_SAMPLER_ARG: the ratio, "0" to "1"; NULL: 1 */
    uint32_t queue_spans;    /**< finished spans that wait for the exporter; 0: 2,048. Full: dropped and counted */
};
/** @returns 0, PROA_EINVAL (a sampler that is not known), PROA_ENOMEM. */
PROA_COLD PROA_MUST_USE int proa_tracer_new(const struct proa_tracer_options *options, struct proa_tracer **ret_tracer,
                                            struct proa_error *err);
/** After all its spans have ended. NULL is fine. */
PROA_COLD void proa_tracer_free(struct proa_tracer *tracer);
/** Spans that were lost because the queue was full or memory was out. */
uint64_t proa_tracer_dropped(const struct proa_tracer *tracer);

enum proa_span_kind { /* OTLP's numbers */
                      PROA_SPAN_INTERNAL = 1,
                      PROA_SPAN_SERVER,
                      PROA_SPAN_CLIENT,
                      PROA_SPAN_PRODUCER,
                      PROA_SPAN_CONSUMER,
};
enum proa_span_status { PROA_SPAN_UNSET = 0, PROA_SPAN_OK, PROA_SPAN_ERROR };

struct proa_span_record;
/** A span under way. Embedded in its owner, who keeps it in place until it has ended. Belongs to one loop. */
struct proa_span {
    struct proa_trace_ids ids; /**< its own: for propagation, log lines and exemplars */
    proa_str tracestate;       /**< to be passed on with the ids */
    proa_str baggage;
    struct proa_loop *loop;
    struct proa_span *previous;      /**< while it is the fiber's present one: which was before */
    struct proa_span_record *record; /**< NULL: not sampled */
    const struct proa_kv *fields;    /**< of lines within it; the owner's */
    uint32_t fields_count;
    /** Fills ids, tracestate and baggage of one that is the present span of a fiber already, when somebody first asks
     *  for it (proa_span_current). NULL: they are there. */
    void (*resolve)(struct proa_span *span);
};
struct proa_span_options {
    proa_str name; /**< of low cardinality: "GET /users/{id}", "SELECT users" */
    enum proa_span_kind kind;
    /** What came by headers (proa_traceparent_parse, proa_b3_parse). NULL: the running fiber's span is the parent, or
     *  there is none and a trace begins. Ids that are not present are the sampling decision of a B3 header alone. */
    const struct proa_trace_ids *remote;
    proa_str tracestate; /**< that came with `remote`, as proa_tracestate_parse gave it; outlives the span */
    proa_str baggage;    /**< likewise */
    /** Attributes of the span, and, whether it is sampled or not, fields of the lines that are logged while it or one
     *  within it is present (proa_logger.loop). They and their texts outlive it. */
    const struct proa_kv *fields;
    uint32_t fields_count;
};
/** Starts a span. From the loop's thread, also outside fibers. When `tracer` is NULL, or nobody exports its spans, the
 *  span is not recorded, and a parent's ids are passed on as they came; ids made here are then PROA_TRACE_UNDECIDED:
 *  good for log lines, and a client sends no decision of ours with them. */
void proa_span_start(struct proa_tracer *tracer, struct proa_loop *loop, const struct proa_span_options *options,
                     struct proa_span *ret_span);
/** Makes it the running fiber's present span: the parent of those that are started now. Ended or left in reverse
 *  order. */
void proa_span_enter(struct proa_span *span);
/** Undone by the fiber that entered. Harmless when the span is not the present one. */
void proa_span_leave(struct proa_span *span);
/** Starts an internal span and enters it. `name` is copied. */
void proa_span_begin(struct proa_tracer *tracer, struct proa_loop *loop, const char *name, struct proa_span *ret_span);
/** The same, with fields: see proa_span_options. */
void proa_span_begin_with(struct proa_tracer *tracer, struct proa_loop *loop, const char *name,
                          const struct proa_kv *fields, uint32_t fields_count, struct proa_span *ret_span);
/** Ends it, leaves it, and hands it to the exporter when it is sampled. Again is harmless. */
void proa_span_end(struct proa_span *span);
/** The running fiber's present span, NULL when there is none. */
struct proa_span *proa_span_current(const struct proa_loop *loop);

static inline bool proa_span_is_recorded(const struct proa_span *span)
{
    return PROA_UNLIKELY(span && span->record);
}
/* What the calls below do for a span that is sampled. */
void proa_span_record_name(struct proa_span *span, proa_str name);
void proa_span_record_attribute(struct proa_span *span, const struct proa_kv *attribute);
void proa_span_record_event(struct proa_span *span, const char *name, const struct proa_kv *attributes, uint32_t count);
void proa_span_record_status(struct proa_span *span, enum proa_span_status status, proa_str description);

/** These do nothing for a span that is not sampled, and none of them fails. Text is copied. */
static inline void proa_span_rename(struct proa_span *span, proa_str name)
{
    if (proa_span_is_recorded(span))
        proa_span_record_name(span, name);
}
/** Sets an attribute (keys are static, by the semantic conventions where there is one); the same key again replaces. */
static inline void proa_span_set(struct proa_span *span, struct proa_kv attribute)
{
    if (proa_span_is_recorded(span))
        proa_span_record_attribute(span, &attribute);
}
/** Something that happened now. */
static inline void proa_span_event(struct proa_span *span, const char *name, const struct proa_kv *attributes,
                                   uint32_t count)
{
    if (proa_span_is_recorded(span))
        proa_span_record_event(span, name, attributes, count);
}
static inline void proa_span_set_status(struct proa_span *span, enum proa_span_status status, proa_str description)
{
    if (proa_span_is_recorded(span))
        proa_span_record_status(span, status, description);
}
/** Status "error" with the error's text, and `error.type`. */
static inline void proa_span_fail(struct proa_span *span, const struct proa_error *err)
{
    if (!proa_span_is_recorded(span))
        return;
    proa_span_set(span, proa_kv_c("error.type", proa_code_name(err->code)));
    proa_span_record_status(span, PROA_SPAN_ERROR, proa_str_c(err->message));
}

/** Reads one entry of a baggage header (W3C Baggage section 3.2), percent-decoded. @returns 0, PROA_ENOTFOUND,
 *  PROA_ESYNTAX, PROA_ENOMEM. */
PROA_MUST_USE int proa_baggage_get(struct proa_arena *arena, proa_str baggage, proa_str key, proa_str *ret_value);
enum { PROA_BAGGAGE_MAX = 8192, PROA_BAGGAGE_MEMBERS_MAX = 64 };
/** Whether a baggage header is well-formed and within the limits, so that it may be passed on. */
bool proa_baggage_valid(proa_str baggage);

PROA_END_DECLS
#endif

/** Trace context: ids, W3C traceparent and tracestate (Trace Context level 1), B3.
 *  Spans and their export come on top of this. */
#ifndef PROA_TRACE_H
#define PROA_TRACE_H

#include <proa/defs.h>
#include <proa/str.h>

PROA_BEGIN_DECLS

struct proa_trace_ids {
    uint8_t trace_id[16]; /**< all zero: none */
    uint8_t span_id[8];
    uint8_t flags; /**< bit 0: sampled */
};
static inline bool proa_trace_present(const struct proa_trace_ids *ids)
{
    uint64_t high, low;
    memcpy(&high, ids->trace_id, 8);
    memcpy(&low, ids->trace_id + 8, 8);
    return (high | low) != 0;
}

enum { PROA_TRACEPARENT_BYTES = 55 };
/** Reads a traceparent header (section 3.2; higher versions by their first fields). @returns false when invalid. */
bool proa_traceparent_parse(proa_str header, struct proa_trace_ids *ret_ids);
/** Writes version 00, 55 bytes, no NUL. */
void proa_traceparent_write(const struct proa_trace_ids *ids, char *out);
/** B3 single header ("b3"), and the multi form from its parts (any of them empty). */
bool proa_b3_parse(proa_str header, struct proa_trace_ids *ret_ids);
bool proa_b3_parse_multi(proa_str trace_id, proa_str span_id, proa_str sampled, proa_str flags,
                         struct proa_trace_ids *ret_ids);

PROA_END_DECLS
#endif

/** Trace context: ids, W3C traceparent and tracestate (Trace Context level 1), B3.
 *  Spans and their export come on top of this. */
#ifndef PROA_TRACE_H
#define PROA_TRACE_H

#include <proa/defs.h>
#include <proa/str.h>

PROA_BEGIN_DECLS

enum proa_trace_flags {
    PROA_TRACE_SAMPLED = 0x01, /**< the one flag of traceparent */
    /* Of B3, within the process only: */
    PROA_TRACE_DEBUG = 0x40,     /**< forced sampling; comes with SAMPLED */
    PROA_TRACE_UNDECIDED = 0x80, /**< the caller left the sampling decision to us */
};

struct proa_trace_ids {
    uint8_t trace_id[16]; /**< all zero: none */
    uint8_t span_id[8];
    uint8_t flags; /**< enum proa_trace_flags */
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

/** B3 single header ("b3"), and the multi form from its parts (any of them empty). Ids of 64 bits are padded with
 *  zeros on the left. A header that is only a decision ("0", "1", "d") is valid: the ids are then not present,
 *  and the flags tell. */
bool proa_b3_parse(proa_str header, struct proa_trace_ids *ret_ids);
bool proa_b3_parse_multi(proa_str trace_id, proa_str span_id, proa_str sampled, proa_str flags,
                         struct proa_trace_ids *ret_ids);
enum { PROA_B3_MAX = 51 };
/** Writes the single header without a NUL; out has room for PROA_B3_MAX. For the multi form write the ids as
 *  hexadecimal (proa_hex_encode) and the sampled flag as "1" or "0". @returns its length. */
size_t proa_b3_write(const struct proa_trace_ids *ids, char *out);

enum { PROA_TRACESTATE_MAX = 512 };
/** Checks a tracestate header (section 3.3; several headers: joined by commas) and writes it as it is to be passed
 *  on: without empty members and spaces around members; when longer than PROA_TRACESTATE_MAX, without members over
 *  128 bytes and then without the last ones. @param out room for PROA_TRACESTATE_MAX. @returns false when invalid:
 *  it must then not be passed on. */
bool proa_tracestate_parse(proa_str header, char *out, size_t *ret_len);

PROA_END_DECLS
#endif

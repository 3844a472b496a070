/* Fuzzes the headers of trace context: what is taken must come back the same from its own writing.
 * The first byte says which header; the rest is its text. */
#include "fuzz.h"

#include <proa/trace.h>

static bool ids_equal(const struct proa_trace_ids *a, const struct proa_trace_ids *b)
{
    return memcmp(a->trace_id, b->trace_id, sizeof a->trace_id) == 0 &&
           memcmp(a->span_id, b->span_id, sizeof a->span_id) == 0 && a->flags == b->flags;
}

static void fuzz_traceparent(proa_str header)
{
    struct proa_trace_ids ids, again;
    char text[PROA_TRACEPARENT_BYTES];

    if (!proa_traceparent_parse(header, &ids))
        return;
    must(proa_trace_present(&ids) && (ids.flags & ~PROA_TRACE_SAMPLED) == 0);
    proa_traceparent_write(&ids, text);
    must(proa_traceparent_parse(proa_str_n(text, sizeof text), &again) && ids_equal(&ids, &again));
    must(memcmp(header.ptr + 2, text + 2, 51) == 0); /* the ids and their dashes are the header's own */
}

static void fuzz_b3(proa_str header)
{
    struct proa_trace_ids ids, again;
    char text[PROA_B3_MAX];

    if (!proa_b3_parse(header, &ids))
        return;
    must(proa_b3_parse(proa_str_n(text, proa_b3_write(&ids, text)), &again) && ids_equal(&ids, &again));
}

/* Four headers, one a line. */
static void fuzz_b3_multi(proa_str headers)
{
    proa_str parts[4] = {{0}};
    struct proa_trace_ids ids, again;
    char text[PROA_B3_MAX];

    for (int i = 0; i < 4 && proa_str_split(&headers, '\n', &parts[i]); i++)
        ;
    if (!proa_b3_parse_multi(parts[0], parts[1], parts[2], parts[3], &ids))
        return;
    if (!proa_trace_present(&ids) && (ids.flags & PROA_TRACE_UNDECIDED))
        return; /* flags of "0" alone say nothing that a single header could */
    must(proa_b3_parse(proa_str_n(text, proa_b3_write(&ids, text)), &again) && ids_equal(&ids, &again));
}

static void fuzz_tracestate(proa_str header)
{
    char first[PROA_TRACESTATE_MAX], second[PROA_TRACESTATE_MAX];
    size_t len, again;

    if (!proa_tracestate_parse(header, first, &len))
        return;
    must(len <= header.len && len <= sizeof first);
    must(proa_tracestate_parse(proa_str_n(first, len), second, &again) && again == len &&
         memcmp(first, second, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const fuzzers[])(proa_str) = {fuzz_traceparent, fuzz_b3, fuzz_b3_multi, fuzz_tracestate};

    if (size > 0)
        fuzzers[data[0] % 4](proa_str_n((const char *)data + 1, size - 1));
    return 0;
}

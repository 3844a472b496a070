/* Fuzzes what is read from header fields and answers of others: entity tags, Accept, baggage, a collector's answer.
 * The first byte says which; the rest is its text, for tags and baggage "sought\nfield". */
#include "fuzz.h"

#include "http/otlp_internal.h"

#include <proa/conditional.h>
#include <proa/metrics.h>
#include <proa/tracer.h>

static void fuzz_etag(proa_str text)
{
    proa_str etag;
    int strong, weak;

    if (!proa_str_split(&text, '\n', &etag))
        return;
    strong = proa_etag_matches(text, etag, true);
    weak = proa_etag_matches(text, etag, false);
    must((strong < 0) == (weak < 0)); /* a list is well-formed or not, whoever asks */
    must(strong < 0 || strong <= weak);
    must(strong <= 0 || proa_str_eq_c(proa_str_trim(text), "*") || !proa_str_starts_with(etag, PROA_STR("W/")));
}

static void fuzz_accept(proa_str text)
{
    const char *type = NULL;
    enum proa_metrics_format format = proa_metrics_negotiate(text, &type);

    must(type && (format == PROA_METRICS_TEXT || format == PROA_METRICS_OPENMETRICS));
}

static void fuzz_baggage(proa_str text)
{
    struct proa_arena arena;
    proa_str key, value = PROA_STR("untouched");
    int rc;

    if (!proa_str_split(&text, '\n', &key))
        return;
    proa_arena_init(&arena, NULL, 0);
    rc = proa_baggage_get(&arena, text, key, &value);
    if (rc == 0)
        must(value.len <= text.len);
    else
        must(proa_str_eq_c(value, "untouched"));
    (void)proa_baggage_valid(text);
    proa_arena_done(&arena);
}

static void fuzz_rejected(proa_str text)
{
    must(text.len > 0 || otlp_read_rejected(text) == 0);
    (void)otlp_read_rejected(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const fuzzers[])(proa_str) = {fuzz_etag, fuzz_accept, fuzz_baggage, fuzz_rejected};

    if (size > 0)
        fuzzers[data[0] % 4](proa_str_n((const char *)data + 1, size - 1));
    return 0;
}

/* Fuzzes the HTTP/1.1 codec: what it says must not depend on how the bytes were cut, and spans stay within what was given.
 * The first byte seeds the cuts; the rest is the input. */
#include "fuzz.h"

#include "h1_feed.h"

#include <stdlib.h>
#include <string.h>

static const struct h1_limits limits = {.head_bytes = 400, .fields = 6, .target_bytes = 60};

/* A copy of its own for each call, so that a sanitizer sees a look beyond it. */
static void feed_copy(struct h1_feed *feed, const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);

    if (!copy)
        abort();
    memcpy(copy, data, size);
    h1_feed_bytes(feed, proa_str_n(copy, size));
    free(copy);
}

static struct proa_buf feed_in_steps(const uint8_t *data, size_t size, uint32_t seed)
{
    struct h1_feed *feed = h1_feed_new(&limits);
    size_t at = 0;

    while (at < size) {
        size_t step = size;

        if (seed) {
            seed = seed * 1664525u + 1013904223u;
            step = 1 + (seed >> 24) % 23;
        }
        if (step > size - at)
            step = size - at;
        feed_copy(feed, data + at, step);
        at += step;
    }
    return h1_feed_end(feed);
}

static struct proa_buf feed_bytewise(const uint8_t *data, size_t size)
{
    struct h1_feed *feed = h1_feed_new(&limits);

    for (size_t i = 0; i < size; i++)
        feed_copy(feed, data + i, 1);
    return h1_feed_end(feed);
}

static void must_equal(struct proa_buf a, const struct proa_buf *b)
{
    if (!proa_str_eq(proa_buf_str(&a), proa_buf_str(b)))
        abort();
    proa_buf_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proa_buf whole;

    if (size < 1)
        return 0;
    whole = feed_in_steps(data + 1, size - 1, 0);
    must_equal(feed_in_steps(data + 1, size - 1, 1u + data[0]), &whole);
    must_equal(feed_bytewise(data + 1, size - 1), &whole);
    proa_buf_done(&whole);
    return 0;
}

/* Fuzzes what the client reads of a server: an answer must not depend on how its bytes were cut, is whole or an error, and what follows
 * it is left. The first byte says of what request it is and seeds the cuts; the rest is the input. */
#include "fuzz.h"

#include "http/client_internal.h"

#include <stdlib.h>
#include <string.h>

enum { OF_HEAD = 1, OF_TUNNEL = 2, HEAD_BYTES = 1024 * 1024 /* no limit here: where it strikes depends on the cuts */ };

struct fed {
    struct proa_arena arena;
    struct response response;
    struct proa_buf body;
    size_t used;
    bool is_broken;
};

static void fed_init(struct fed *fed, unsigned kind)
{
    *fed = (struct fed){0};
    proa_arena_init(&fed->arena, NULL, 0);
    must(response_init(&fed->response, &fed->arena, HEAD_BYTES) == 0);
    fed->response.is_head = (kind & OF_HEAD) != 0;
    fed->response.is_tunnel = (kind & OF_TUNNEL) != 0;
}

static void fed_done(struct fed *fed)
{
    response_done(&fed->response);
    proa_buf_done(&fed->body);
    proa_arena_done(&fed->arena);
}

/* In a copy of its own, so that a sanitizer sees a look beyond it. */
static void feed(struct fed *fed, const uint8_t *data, size_t size)
{
    char *copy = malloc(size);
    size_t at = 0, used = 0;

    must(copy != NULL);
    memcpy(copy, data, size);
    while (at < size && !fed->is_broken && fed->response.phase != RESPONSE_END) {
        fed->is_broken = response_feed(&fed->response, proa_str_n(copy + at, size - at), &used, NULL) < 0;
        if (fed->is_broken)
            break;
        must(used <= size - at);
        must(used > 0 || fed->response.phase == RESPONSE_END);
        at += used;
        fed->used += used;
        must(proa_buf_add(&fed->body, proa_buf_str(&fed->response.body)) == 0);
        proa_buf_clear(&fed->response.body);
    }
    free(copy);
}

/* The whole input in steps of at most `step` bytes, 0: at once; then the connection's end. */
static void feed_all(struct fed *fed, const uint8_t *data, size_t size, size_t step)
{
    for (size_t at = 0; at < size; at += step ? step : size)
        feed(fed, data + at, step && step < size - at ? step : size - at);
    if (!fed->is_broken)
        fed->is_broken = response_finish(&fed->response, NULL) < 0;
    must(fed->is_broken || fed->response.phase == RESPONSE_END);
}

static void must_be_alike(const struct fed *a, const struct fed *b)
{
    must(a->is_broken == b->is_broken);
    if (a->is_broken)
        return; /* what had come before is in the hands of whoever read it */
    must(a->used == b->used);
    must(a->response.status == b->response.status && a->response.status >= 200);
    must(a->response.keep_alive == b->response.keep_alive);
    must(a->response.fields_count == b->response.fields_count);
    must(proa_str_eq(proa_buf_str(&a->response.text), proa_buf_str(&b->response.text)));
    for (uint32_t i = 0; i < a->response.fields_count; i++)
        must(memcmp(&a->response.fields[i], &b->response.fields[i], sizeof a->response.fields[i]) == 0);
    must(proa_str_eq(proa_buf_str(&a->body), proa_buf_str(&b->body)));
    must(!a->response.is_head || a->body.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"Content-Encoding", "Transfer-Encoding", "Retry-After", "a"};
    struct fed whole, cut;

    if (size < 1)
        return 0;
    fed_init(&whole, data[0]);
    feed_all(&whole, data + 1, size - 1, 0);
    for (size_t i = 0; !whole.is_broken && i < PROA_COUNT(names); i++)
        must(response_field(&whole.response, &whole.arena, names[i]).len <= size * 2);
    for (size_t step = 1; step < 64; step = 2 * step + (data[0] >> 7)) {
        fed_init(&cut, data[0]);
        feed_all(&cut, data + 1, size - 1, step);
        must_be_alike(&whole, &cut);
        fed_done(&cut);
    }
    fed_done(&whole);
    return 0;
}

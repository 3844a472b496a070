/* Arenas: bump allocation out of blocks, given back all at once. Under AddressSanitizer what is not handed out is
 * poisoned and allocations are kept apart, so that running over one is found. */
#include <proa/arena.h>

#include <assert.h>
#include <proa/checked.h>
#include <proa/error.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
enum { RED_ZONE = 16 };
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
enum { RED_ZONE = 0 };
#endif

enum {
    BLOCK_BYTES_DEFAULT = 8192,
    ALIGNMENT = 16,
};

/* No allocation is larger, so that sums with headers, rounding and red zones cannot wrap. */
static const size_t alloc_bytes_max = PTRDIFF_MAX - 4096;

struct proa_arena_block {
    struct proa_arena_block *next;
    size_t bytes; /* payload */
    _Alignas(ALIGNMENT) char payload[];
};

struct proa_arena_cleanup {
    struct proa_arena_cleanup *next;
    void (*fn)(void *arg);
    void *arg;
};

void proa_block_pool_init(struct proa_block_pool *pool, size_t block_bytes, uint32_t free_max)
{
    *pool =
        (struct proa_block_pool){.block_bytes = block_bytes ? block_bytes : BLOCK_BYTES_DEFAULT, .free_max = free_max};
    assert(pool->block_bytes > sizeof(struct proa_arena_block));
}

void proa_block_pool_trim(struct proa_block_pool *pool, uint32_t kept)
{
    while (pool->free_count > kept) {
        struct proa_arena_block *block = pool->free;

        pool->free = block->next;
        pool->free_count--;
        ASAN_UNPOISON_MEMORY_REGION(block->payload, block->bytes);
        free(block);
    }
}

void proa_block_pool_done(struct proa_block_pool *pool)
{
    proa_block_pool_trim(pool, 0);
}

static size_t standard_payload(const struct proa_arena *arena)
{
    size_t bytes = arena->pool ? arena->pool->block_bytes : BLOCK_BYTES_DEFAULT;

    return bytes - sizeof(struct proa_arena_block);
}

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static struct proa_arena_block *take_block(struct proa_arena *arena, size_t payload)
{
    struct proa_block_pool *pool = arena->pool;
    struct proa_arena_block *block;

    if (pool && payload == standard_payload(arena) && pool->free) {
        block = pool->free;
        pool->free = block->next;
        pool->free_count--;
    } else {
        block = malloc(sizeof *block + payload);
        if (!block)
            return NULL;
    }
    block->bytes = payload;
    return block;
}

static void give_block(struct proa_arena *arena, struct proa_arena_block *block)
{
    struct proa_block_pool *pool = arena->pool;

    /* In the pool the payload stays poisoned: a use after proa_arena_done is found there too. */
    if (pool && block->bytes == standard_payload(arena) && pool->free_count < pool->free_max) {
        ASAN_POISON_MEMORY_REGION(block->payload, block->bytes);
        block->next = pool->free;
        pool->free = block;
        pool->free_count++;
    } else {
        ASAN_UNPOISON_MEMORY_REGION(block->payload, block->bytes);
        free(block);
    }
}

void proa_arena_init(struct proa_arena *arena, struct proa_block_pool *pool, size_t max_bytes)
{
    *arena = (struct proa_arena){.pool = pool, .max_bytes = max_bytes};
}

void proa_arena_done(struct proa_arena *arena)
{
    struct proa_arena_block *block;

    while (arena->cleanups) {
        struct proa_arena_cleanup *cleanup = arena->cleanups;

        arena->cleanups = cleanup->next;
        cleanup->fn(cleanup->arg);
    }
    block = arena->blocks;
    while (block) {
        struct proa_arena_block *next = block->next;

        give_block(arena, block);
        block = next;
    }
    proa_arena_init(arena, arena->pool, arena->max_bytes);
}

/* A new block. One that holds a single large allocation goes behind the current block, which keeps its room. */
static __attribute__((noinline)) PROA_COLD void *alloc_slow(struct proa_arena *arena, size_t bytes)
{
    size_t rounded = round_up(bytes);
    size_t payload = standard_payload(arena);
    bool large = rounded + RED_ZONE > payload;
    struct proa_arena_block *block;

    if (large)
        payload = rounded + RED_ZONE;
    if (arena->max_bytes && payload > arena->max_bytes - arena->used_bytes) {
        /* The last block under a limit may be a short one. */
        payload = (arena->max_bytes - arena->used_bytes) & ~(size_t)(ALIGNMENT - 1);
        if (large || rounded + RED_ZONE > payload)
            return NULL;
    }
    block = take_block(arena, payload);
    if (!block)
        return NULL;
    arena->used_bytes += payload;
    ASAN_POISON_MEMORY_REGION(block->payload, block->bytes);
    if (large && arena->blocks) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
        ASAN_UNPOISON_MEMORY_REGION(block->payload, bytes);
        return block->payload;
    }
    block->next = arena->blocks;
    arena->blocks = block;
    arena->at = block->payload + rounded + RED_ZONE;
    arena->end = block->payload + payload;
    ASAN_UNPOISON_MEMORY_REGION(block->payload, bytes);
    return block->payload;
}

void *proa_arena_alloc(struct proa_arena *arena, size_t bytes)
{
    size_t rounded = round_up(bytes);
    char *at = arena->at;

    if (PROA_UNLIKELY(bytes > alloc_bytes_max))
        return NULL;
    if (PROA_UNLIKELY(rounded + RED_ZONE > (size_t)(arena->end - at) || !at))
        return alloc_slow(arena, bytes);
    arena->at = at + rounded + RED_ZONE;
    ASAN_UNPOISON_MEMORY_REGION(at, bytes);
    return at;
}

void *proa_arena_calloc(struct proa_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    void *out;

    if (!proa_mul_size(count, size, &bytes))
        return NULL;
    out = proa_arena_alloc(arena, bytes);
    return out ? memset(out, 0, bytes) : NULL;
}

void *proa_arena_grow(struct proa_arena *arena, void *old, size_t old_bytes, size_t new_bytes)
{
    size_t old_rounded = round_up(old_bytes);
    size_t new_rounded = round_up(new_bytes);
    char *start = old;
    void *out;

    if (old && new_bytes <= old_bytes)
        return old;
    if (new_bytes > alloc_bytes_max)
        return NULL;
    if (start && old_bytes && start + old_rounded + RED_ZONE == arena->at &&
        new_rounded + RED_ZONE <= (size_t)(arena->end - start)) {
        arena->at = start + new_rounded + RED_ZONE;
        ASAN_UNPOISON_MEMORY_REGION(start, new_bytes);
        return old;
    }
    out = proa_arena_alloc(arena, new_bytes);
    if (out && old_bytes)
        memcpy(out, old, old_bytes);
    return out;
}

proa_str proa_arena_str(struct proa_arena *arena, proa_str s)
{
    char *out = s.len < alloc_bytes_max ? proa_arena_alloc(arena, s.len + 1) : NULL;

    if (!out)
        return proa_str_n(NULL, 0);
    if (s.len)
        memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
    return proa_str_n(out, s.len);
}

char *proa_arena_cstr(struct proa_arena *arena, proa_str s)
{
    return (char *)(uintptr_t)proa_arena_str(arena, s).ptr;
}

proa_str proa_arena_vprintf(struct proa_arena *arena, const char *format, va_list args)
{
    enum { FIRST = 128 };
    va_list again;
    char *out = proa_arena_alloc(arena, FIRST);
    int len;

    if (!out)
        return proa_str_n(NULL, 0);
    va_copy(again, args);
    len = vsnprintf(out, FIRST, format, args);
    if (len >= FIRST) {
        out = proa_arena_alloc(arena, (size_t)len + 1);
        if (out)
            vsnprintf(out, (size_t)len + 1, format, again);
    }
    va_end(again);
    return out && len >= 0 ? proa_str_n(out, (size_t)len) : proa_str_n(NULL, 0);
}

proa_str proa_arena_printf(struct proa_arena *arena, const char *format, ...)
{
    va_list args;
    proa_str out;

    va_start(args, format);
    out = proa_arena_vprintf(arena, format, args);
    va_end(args);
    return out;
}

int proa_arena_defer(struct proa_arena *arena, void (*fn)(void *arg), void *arg)
{
    struct proa_arena_cleanup *cleanup = proa_arena_alloc(arena, sizeof *cleanup);

    if (!cleanup)
        return PROA_ENOMEM;
    *cleanup = (struct proa_arena_cleanup){arena->cleanups, fn, arg};
    arena->cleanups = cleanup;
    return 0;
}

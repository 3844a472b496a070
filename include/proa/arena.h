/** Memory that goes all at once: the request's arena and its like. */
#ifndef PROA_ARENA_H
#define PROA_ARENA_H

#include <proa/defs.h>
#include <proa/str.h>
#include <stdarg.h>

PROA_BEGIN_DECLS

struct proa_arena_block;
struct proa_arena_cleanup;

/** Where arenas take standard blocks from and give them back to, so that a busy loop does not call
 *  malloc. Belongs to one thread. Blocks larger than standard go to malloc and free. */
struct proa_block_pool {
    struct proa_arena_block *free;
    size_t block_bytes; /**< payload and header of one block */
    uint32_t free_count;
    uint32_t free_max; /**< blocks kept; more are freed */
};

/** @param block_bytes  0: 8 KiB.  @param free_max blocks kept for reuse. */
void proa_block_pool_init(struct proa_block_pool *pool, size_t block_bytes, uint32_t free_max);
void proa_block_pool_done(struct proa_block_pool *pool);
/** Frees the blocks that are kept, all but `kept`. */
void proa_block_pool_trim(struct proa_block_pool *pool, uint32_t kept);

/** A bump allocator. Embedded in its owner; belongs to one thread at a time. */
struct proa_arena {
    char *at;  /**< next free byte */
    char *end; /**< end of the current block */
    struct proa_arena_block *blocks;
    struct proa_arena_cleanup *cleanups;
    struct proa_block_pool *pool; /**< NULL: malloc and free */
    size_t used_bytes;            /**< of all blocks */
    size_t max_bytes;             /**< 0: no limit; over it allocations return NULL */
};

/** `pool` may be NULL; it must outlive the arena. No memory is taken before the first allocation. */
void proa_arena_init(struct proa_arena *arena, struct proa_block_pool *pool, size_t max_bytes);
/** Runs the cleanups, newest first, and gives everything back. The arena may be used again. */
void proa_arena_done(struct proa_arena *arena);

/** Not zeroed, aligned for any type. @returns NULL when memory or the limit is out. 0 bytes give a valid pointer. */
PROA_MUST_USE void *proa_arena_alloc(struct proa_arena *arena, size_t bytes);
/** Zeroed array with a checked product. */
PROA_MUST_USE void *proa_arena_calloc(struct proa_arena *arena, size_t count, size_t size);
/** Grows an allocation, in place when it is the newest. Old content up to old_bytes is kept. */
PROA_MUST_USE void *proa_arena_grow(struct proa_arena *arena, void *old, size_t old_bytes, size_t new_bytes);
/** A copy with a NUL behind it. @returns {NULL,0} when memory is out (ret.ptr is never NULL otherwise). */
proa_str proa_arena_str(struct proa_arena *arena, proa_str s);
/** A C string copy, or NULL. */
PROA_MUST_USE char *proa_arena_cstr(struct proa_arena *arena, proa_str s);
/** Formatted text with a NUL behind it; {NULL,0} when memory is out. */
proa_str proa_arena_printf(struct proa_arena *arena, const char *format, ...) PROA_PRINTF(2, 3);
proa_str proa_arena_vprintf(struct proa_arena *arena, const char *format, va_list args) PROA_PRINTF(2, 0);
/** Has `fn(arg)` run by proa_arena_done, newest first. @returns 0 or PROA_ENOMEM (fn is not registered). */
PROA_MUST_USE int proa_arena_defer(struct proa_arena *arena, void (*fn)(void *arg), void *arg);

/** Zeroed object of a type in an arena. */
#define proa_arena_new(arena, type) ((type *)proa_arena_calloc((arena), 1, sizeof(type)))

PROA_END_DECLS
#endif

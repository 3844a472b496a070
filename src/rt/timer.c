/* Timers: a binary heap by time, and by order of arming among equals. */
#include "loop_internal.h"

#include <stdlib.h>

enum { FIRST_TIMERS = 64 };

static bool earlier(const struct proa_timer *a, const struct proa_timer *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void place(struct proa_timer_heap *heap, uint32_t index, struct proa_timer *timer)
{
    heap->items[index] = timer;
    timer->heap_index = index;
}

static void sift_up(struct proa_timer_heap *heap, uint32_t index, struct proa_timer *timer)
{
    while (index > 1 && earlier(timer, heap->items[index / 2])) {
        place(heap, index, heap->items[index / 2]);
        index /= 2;
    }
    place(heap, index, timer);
}

static void sift_down(struct proa_timer_heap *heap, uint32_t index, struct proa_timer *timer)
{
    for (;;) {
        uint32_t child = 2 * index;

        if (child > heap->len)
            break;
        if (child < heap->len && earlier(heap->items[child + 1], heap->items[child]))
            child++;
        if (!earlier(heap->items[child], timer))
            break;
        place(heap, index, heap->items[child]);
        index = child;
    }
    place(heap, index, timer);
}

void proa_timer_init(struct proa_timer *timer, struct proa_loop *loop, void (*fire)(struct proa_timer *timer))
{
    *timer = (struct proa_timer){.loop = loop, .fire = fire};
}

static int grow(struct proa_timer_heap *heap)
{
    uint32_t cap = heap->cap ? heap->cap * 2 : FIRST_TIMERS;
    struct proa_timer **items = realloc(heap->items, cap * sizeof *items);

    if (!items)
        return PROA_ENOMEM;
    heap->items = items;
    heap->cap = cap;
    return 0;
}

int proa_timer_start(struct proa_timer *timer, proa_mono_ns at)
{
    struct proa_timer_heap *heap = &timer->loop->timers;

    loop_assert_here(timer->loop);
    proa_timer_stop(timer);
    if (at == PROA_NEVER)
        return 0;
    if (heap->len + 1 >= heap->cap)
        PROA_TRY(grow(heap));
    timer->at = at;
    timer->order = heap->order++;
    sift_up(heap, ++heap->len, timer);
    return 0;
}

void proa_timer_stop(struct proa_timer *timer)
{
    struct proa_timer_heap *heap = &timer->loop->timers;
    uint32_t index = timer->heap_index;
    struct proa_timer *last;

    if (index == 0)
        return;
    loop_assert_here(timer->loop);
    timer->heap_index = 0;
    last = heap->items[heap->len--];
    if (last == timer)
        return;
    if (index > 1 && earlier(last, heap->items[index / 2]))
        sift_up(heap, index, last);
    else
        sift_down(heap, index, last);
}

proa_mono_ns timers_next(const struct proa_loop *loop)
{
    return loop->timers.len ? loop->timers.items[1]->at : PROA_NEVER;
}

void timers_fire(struct proa_loop *loop)
{
    /* Those armed while firing wait for the next turn: one that arms itself for "now" cannot hold
     * the loop. */
    uint64_t newest = loop->timers.order;

    if (loop->late && loop->timers.len && loop->timers.items[1]->at <= loop_now(loop))
        loop->late(loop->late_arg, loop_now(loop) - loop->timers.items[1]->at);
    while (loop->timers.len && loop->timers.items[1]->at <= loop_now(loop)) {
        struct proa_timer *timer = loop->timers.items[1];

        if (timer->order < newest) {
            proa_timer_stop(timer);
            timer->fire(timer);
            continue;
        }
        if (timer->at == loop_now(loop))
            break; /* so are all behind it */
        /* Nor may one that arms itself for what has passed keep those from firing that were late before. */
        timer->at = loop_now(loop);
        sift_down(&loop->timers, 1, timer);
    }
}

/** What is to leave the program, spans and log records, on its way to an exporter: a bounded queue without locks. */
#ifndef PROA_OBS_EXPORT_QUEUE_H
#define PROA_OBS_EXPORT_QUEUE_H

#include <proa/metrics.h>
#include <stdatomic.h>

/** The first member of what is queued. */
struct export_item {
    struct export_item *next;
};

struct export_queue {
    uint32_t max;
    /* Shared by all threads. */
    _Atomic uint64_t dropped;
    _Atomic uint32_t waiting;             /**< counts before an item is put, and until it is taken */
    _Atomic(struct export_item *) newest; /**< newest first */
    _Atomic bool is_attached;
    uint32_t batch;
    void (*notify)(void *arg);
    void *notify_arg;
    struct proa_counter_series *dropped_series;

    struct export_item *oldest; /**< the taker's: those taken off the queue and not asked for yet, oldest first */
};

/** From any thread. @returns false when there is no room, which was counted: the item stays the caller's. */
bool export_put(struct export_queue *queue, struct export_item *item);
/** Items in the order of their coming, at most `max`; NULL when there are none. One taker at a time. */
struct export_item *export_take(struct export_queue *queue, uint32_t max, uint32_t *ret_count);
/** One was lost. From any thread. */
void export_count_dropped(struct export_queue *queue);
static inline uint32_t export_waiting(const struct export_queue *queue)
{
    return atomic_load_explicit(&queue->waiting, memory_order_relaxed);
}
static inline bool export_is_attached(const struct export_queue *queue)
{
    return atomic_load_explicit(&queue->is_attached, memory_order_acquire);
}
/** Somebody exports: until then nothing need be recorded. `notify` is called, on any thread, when an item is the first
 *  to wait and when as many as `batch` do. NULL: nobody any more; a thread that is about to call it still may. */
void export_attach(struct export_queue *queue, uint32_t batch, void (*notify)(void *arg), void *arg);

#endif

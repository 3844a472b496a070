/* The queue to an exporter: a stack that any thread pushes to, turned round by the one who takes. */
#include "export_queue.h"

void export_count_dropped(struct export_queue *queue)
{
    atomic_fetch_add_explicit(&queue->dropped, 1, memory_order_relaxed);
    if (queue->dropped_series)
        proa_counter_add(queue->dropped_series, PROA_SHARD_OTHER, 1);
}

void export_attach(struct export_queue *queue, uint32_t batch, void (*notify)(void *arg), void *arg)
{
    if (notify) { /* else what is there stays, as another thread may be calling it just now */
        queue->batch = batch;
        queue->notify = notify;
        queue->notify_arg = arg;
    }
    atomic_store_explicit(&queue->is_attached, notify != NULL, memory_order_release);
}

bool export_put(struct export_queue *queue, struct export_item *item)
{
    uint32_t waiting = atomic_fetch_add_explicit(&queue->waiting, 1, memory_order_relaxed);
    struct export_item *newest;

    if (waiting >= queue->max) {
        atomic_fetch_sub_explicit(&queue->waiting, 1, memory_order_relaxed);
        export_count_dropped(queue);
        return false;
    }
    newest = atomic_load_explicit(&queue->newest, memory_order_relaxed);
    do
        item->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&queue->newest, &newest, item, memory_order_release,
                                                  memory_order_relaxed));
    if ((waiting == 0 || waiting + 1 == queue->batch) && export_is_attached(queue))
        queue->notify(queue->notify_arg);
    return true;
}

/* Behind those that are taken already come the ones that were put since. */
static void take_newer(struct export_queue *queue)
{
    struct export_item *item = atomic_exchange_explicit(&queue->newest, NULL, memory_order_acquire);
    struct export_item *oldest = NULL, **end = &queue->oldest;

    while (item) {
        struct export_item *next = item->next;

        item->next = oldest;
        oldest = item;
        item = next;
    }
    while (*end)
        end = &(*end)->next;
    *end = oldest;
}

struct export_item *export_take(struct export_queue *queue, uint32_t max, uint32_t *ret_count)
{
    struct export_item *first, **end = &queue->oldest;
    uint32_t count = 0;

    take_newer(queue);
    first = queue->oldest;
    while (*end && count < max) {
        end = &(*end)->next;
        count++;
    }
    queue->oldest = *end;
    *end = NULL;
    *ret_count = count;
    atomic_fetch_sub_explicit(&queue->waiting, count, memory_order_relaxed);
    return count > 0 ? first : NULL;
}

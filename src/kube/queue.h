/** A controller's work queue: which keys are to be reconciled, when, and in which order.
 *
 *             add                     take                    finish, nothing new
 *   IDLE ---------------> READY ---------------> RUNNING ---------------------------> IDLE (and forgotten, when no timer
 *    ^                    ^   |                     |                                 or failure is to be remembered)
 *    | due, awaited seen  |   | take, but a write   | finish, added meanwhile
 *    +--------------------+   | is not seen yet     +----> READY
 *                             v
 *                          WAITING ---- seen, or 5 s over ----> READY (in front)
 *
 *  A key is never in two of these at once: added twice it is one, and added while it runs it runs again afterwards.
 */
#ifndef PROA_KUBE_QUEUE_H
#define PROA_KUBE_QUEUE_H

#include "cache.h"

enum queue_priority { QUEUE_LOW = 0, QUEUE_NORMAL };
enum queue_state { QUEUE_IDLE = 0, QUEUE_READY, QUEUE_RUNNING, QUEUE_WAITING };

/** A write of this key's that its cache has not shown yet. */
struct queue_await {
    struct cache_await await;
    struct queue_item *item;
    struct proa_list list; /* of the item's */
};

struct queue_item {
    struct table_node node;
    struct proa_list list; /* of the ready, or of the running */
    struct queue *queue;
    struct proa_timer timer; /* for the earliest of: */
    proa_mono_ns requeue_at, resync_at, await_until;
    proa_mono_ns ready_at; /* when it was added, or taken */
    struct proa_list awaits;
    uint32_t failures;
    uint32_t namespace_len, name_len;
    uint8_t state;    /* enum queue_state */
    uint8_t priority; /* enum queue_priority; while ready or waiting, and of `is_dirty` while running */
    bool is_dirty;    /* added while running */
    char text[];      /* namespace and name */
};

struct queue_options {
    struct proa_loop *loop;
    struct proa_metrics *metrics; /* NULL: none */
    const char *name;             /* the controller's */
    uint64_t backoff_first_ns, backoff_max_ns, resync_ns;
    void (*ready)(void *arg); /* there is something to take; must not suspend */
    void *arg;
};

struct queue {
    struct queue_options options;
    struct table items;
    struct proa_list ready[2]; /* by priority */
    struct proa_list running;
    uint32_t ready_count;
    struct proa_timer look; /* at what runs, twice a second while something does */
    struct proa_gauge_series *depth, *unfinished, *longest;
    struct proa_counter_series *adds, *retries;
    struct proa_histogram_series *wait_time, *work_time;
};

PROA_MUST_USE int queue_init(struct queue *queue, const struct queue_options *options, struct proa_error *err);
/** Nothing of it runs. */
void queue_done(struct queue *queue);

/** Has the key reconciled as soon as may be. When memory is out the key is lost until the next resync or change. */
void queue_add(struct queue *queue, proa_str namespace_, proa_str name, enum queue_priority priority);
/** After a while, unless it is due sooner already. */
void queue_add_after(struct queue *queue, proa_str namespace_, proa_str name, uint64_t after_ns);
/** The next key, which is then RUNNING; NULL when there is none. */
struct queue_item *queue_take(struct queue *queue);

/** Has all keys that wait for their back-off reconciled now. */
void queue_retry(struct queue *queue);

struct queue_outcome {
    bool has_failed;           /* again after the back-off, but */
    uint64_t not_before_ns;    /* not sooner than that */
    bool was_stopped;          /* again at once, not counted as a failure */
    bool exists;               /* false: no resync */
    uint64_t requeue_after_ns; /* 0: not */
};
void queue_finish(struct queue_item *item, const struct queue_outcome *outcome);
/** From the running reconcile: not again before the cache has seen this version, or 5 s have passed. */
void queue_await(struct queue_item *item, struct proa_cache *cache, uint64_t version);
/** The same until this object, which the cache has, changes or is gone. */
void queue_await_change(struct queue_item *item, struct proa_cache *cache, const struct cache_entry *entry);

static inline proa_str queue_namespace(const struct queue_item *item)
{
    return proa_str_n(item->text, item->namespace_len);
}
static inline proa_str queue_name(const struct queue_item *item)
{
    return proa_str_n(item->text + item->namespace_len, item->name_len);
}

#endif

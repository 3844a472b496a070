/** Waiting together: semaphore, bounded queue and event. Each belongs to one loop; fibers are served
 *  in the order of asking, and nobody overtakes one that waits. A fiber that is cancelled or past its
 *  deadline is told so by every call that may suspend, also where it would not have had to wait; a
 *  permit or an item that was handed to it before is its own all the same (the call returns 0). */
#ifndef PROA_SYNC_H
#define PROA_SYNC_H

#include <proa/defs.h>
#include <proa/fiber.h>

PROA_BEGIN_DECLS

enum { PROA_SEM_MAX = 1 << 20, PROA_QUEUE_MAX = 1 << 20 };

/** A bounded number of permits, handed out in the order of asking. Every call must come from its loop. */
struct proa_sem;
/** @param permits 1..PROA_SEM_MAX. @returns NULL when memory is out. */
struct proa_sem *proa_sem_new(struct proa_loop *loop, uint32_t permits);
/** Nobody may wait. NULL is fine. */
void proa_sem_free(struct proa_sem *sem);
/** Takes one permit. May suspend until one is free, the deadline passes (PROA_ETIMEDOUT) or the fiber
 *  is cancelled. A fiber that left with an error holds nothing. */
PROA_MUST_USE int proa_sem_acquire(struct proa_sem *sem);
/** Takes one if free now and nobody waits. */
bool proa_sem_try(struct proa_sem *sem);
/** Gives one back; the longest waiting fiber gets it. */
void proa_sem_release(struct proa_sem *sem);
uint32_t proa_sem_free_permits(const struct proa_sem *sem);
uint32_t proa_sem_waiting(const struct proa_sem *sem);

/** A bounded queue of pointers. */
struct proa_queue;
/** @param capacity 1..PROA_QUEUE_MAX. @returns NULL when memory is out. */
struct proa_queue *proa_queue_new(struct proa_loop *loop, uint32_t capacity);
/** Nobody may wait; items left are not touched. NULL is fine. */
void proa_queue_free(struct proa_queue *queue);
/** May suspend while full. @returns 0, PROA_ECLOSED, PROA_ETIMEDOUT or the cancellation's cause. */
PROA_MUST_USE int proa_queue_put(struct proa_queue *queue, void *item);
/** @returns 0, PROA_EBUSY when full, PROA_ECLOSED. */
PROA_MUST_USE int proa_queue_try_put(struct proa_queue *queue, void *item);
/** May suspend while empty. After close the rest is still given, then PROA_ECLOSED. */
PROA_MUST_USE int proa_queue_take(struct proa_queue *queue, void **ret_item);
/** @returns false when empty. */
bool proa_queue_try_take(struct proa_queue *queue, void **ret_item);
/** Refuses new items; who waits gets PROA_ECLOSED, and a waiting putter keeps its item. */
void proa_queue_close(struct proa_queue *queue);
uint32_t proa_queue_len(const struct proa_queue *queue);

/** Something that happens; all who wait go on. Embedded, zero-cost when nobody waits. */
struct proa_event {
    struct proa_loop *loop;
    struct proa_list waiters;
    bool set;
};
void proa_event_init(struct proa_event *event, struct proa_loop *loop);
/** Wakes all; later waits return at once until proa_event_reset. */
void proa_event_set(struct proa_event *event);
void proa_event_reset(struct proa_event *event);
/** Wakes all who wait now, without staying set. */
void proa_event_pulse(struct proa_event *event);
/** May suspend. @returns 0, PROA_ETIMEDOUT or the cancellation's cause. */
PROA_MUST_USE int proa_event_wait(struct proa_event *event);

PROA_END_DECLS
#endif

/* Semaphore, bounded queue and event: wait queues of waiters, served from the front. */
#include <proa/sync.h>

#include "loop_internal.h"
#include <stdlib.h>

struct proa_sem {
    struct proa_loop *loop;
    struct proa_list waiters;
    uint32_t permits;
    uint32_t waiting;
};

struct sem_waiter {
    struct proa_waiter waiter;
    bool granted;
};

struct proa_sem *proa_sem_new(struct proa_loop *loop, uint32_t permits)
{
    struct proa_sem *sem;

    assert(permits >= 1 && permits <= PROA_SEM_MAX);
    sem = calloc(1, sizeof *sem);
    if (!sem)
        return NULL;
    sem->loop = loop;
    sem->permits = permits;
    proa_list_init(&sem->waiters);
    return sem;
}

void proa_sem_free(struct proa_sem *sem)
{
    assert(!sem || proa_list_empty(&sem->waiters));
    free(sem);
}

bool proa_sem_try(struct proa_sem *sem)
{
    loop_assert_here(sem->loop);
    if (sem->permits == 0 || !proa_list_empty(&sem->waiters))
        return false;
    sem->permits--;
    return true;
}

int proa_sem_acquire(struct proa_sem *sem)
{
    struct sem_waiter own = {0};
    int rc;

    PROA_TRY(fiber_struck(sem->loop));
    if (proa_sem_try(sem))
        return 0;
    proa_waiter_init(&own.waiter, sem->loop);
    proa_list_push_back(&sem->waiters, &own.waiter.list);
    sem->waiting++;
    rc = proa_park(&own.waiter);
    if (!own.granted)
        sem->waiting--;
    /* The first wake wins: a cancellation after the grant, before this fiber ran, changes nothing. */
    assert((rc == 0) == own.granted);
    return rc;
}

void proa_sem_release(struct proa_sem *sem)
{
    struct proa_list *node = sem->waiters.next;

    loop_assert_here(sem->loop);
    if (node == &sem->waiters) {
        assert(sem->permits < PROA_SEM_MAX);
        sem->permits++;
        return;
    }
    PROA_CONTAINER(PROA_CONTAINER(node, struct proa_waiter, list), struct sem_waiter, waiter)->granted = true;
    sem->waiting--;
    proa_unpark(PROA_CONTAINER(node, struct proa_waiter, list), 0);
}

uint32_t proa_sem_free_permits(const struct proa_sem *sem)
{
    return sem->permits;
}

uint32_t proa_sem_waiting(const struct proa_sem *sem)
{
    return sem->waiting;
}

/* Items go from hand to hand where somebody waits, so that nobody overtakes: takers wait only while the
 * queue is empty, putters only while it is full. A waiter that is woken with an error left before its
 * turn and neither got nor gave anything. */
struct proa_queue {
    struct proa_loop *loop;
    struct proa_list takers;
    struct proa_list putters;
    uint32_t capacity;
    uint32_t len;
    uint32_t head;
    bool closed;
    void *items[];
};

struct queue_waiter {
    struct proa_waiter waiter;
    void *item; /* a putter's, or what a taker was given */
};

struct proa_queue *proa_queue_new(struct proa_loop *loop, uint32_t capacity)
{
    struct proa_queue *queue;

    assert(capacity >= 1 && capacity <= PROA_QUEUE_MAX);
    queue = calloc(1, sizeof *queue + capacity * sizeof queue->items[0]);
    if (!queue)
        return NULL;
    queue->loop = loop;
    queue->capacity = capacity;
    proa_list_init(&queue->takers);
    proa_list_init(&queue->putters);
    return queue;
}

void proa_queue_free(struct proa_queue *queue)
{
    assert(!queue || (proa_list_empty(&queue->takers) && proa_list_empty(&queue->putters)));
    free(queue);
}

static struct queue_waiter *first_of(const struct proa_list *waiters)
{
    if (proa_list_empty(waiters))
        return NULL;
    return PROA_CONTAINER(PROA_CONTAINER(waiters->next, struct proa_waiter, list), struct queue_waiter, waiter);
}

static void append(struct proa_queue *queue, void *item)
{
    assert(queue->len < queue->capacity);
    queue->items[(queue->head + queue->len++) % queue->capacity] = item;
}

int proa_queue_try_put(struct proa_queue *queue, void *item)
{
    struct queue_waiter *taker = first_of(&queue->takers);

    loop_assert_here(queue->loop);
    if (queue->closed)
        return PROA_ECLOSED;
    if (taker) {
        assert(queue->len == 0);
        taker->item = item;
        proa_unpark(&taker->waiter, 0);
        return 0;
    }
    if (queue->len == queue->capacity)
        return PROA_EBUSY;
    append(queue, item);
    return 0;
}

int proa_queue_put(struct proa_queue *queue, void *item)
{
    struct queue_waiter own = {.item = item};
    int rc;

    PROA_TRY(fiber_struck(queue->loop));
    rc = proa_queue_try_put(queue, item);
    if (rc != PROA_EBUSY)
        return rc;
    proa_waiter_init(&own.waiter, queue->loop);
    proa_list_push_back(&queue->putters, &own.waiter.list);
    return proa_park(&own.waiter);
}

bool proa_queue_try_take(struct proa_queue *queue, void **ret_item)
{
    struct queue_waiter *putter;

    loop_assert_here(queue->loop);
    if (queue->len == 0)
        return false;
    *ret_item = queue->items[queue->head];
    queue->head = (queue->head + 1) % queue->capacity;
    queue->len--;
    putter = first_of(&queue->putters);
    if (putter) {
        append(queue, putter->item);
        proa_unpark(&putter->waiter, 0);
    }
    return true;
}

int proa_queue_take(struct proa_queue *queue, void **ret_item)
{
    struct queue_waiter own = {0};

    PROA_TRY(fiber_struck(queue->loop));
    if (proa_queue_try_take(queue, ret_item))
        return 0;
    if (queue->closed)
        return PROA_ECLOSED;
    proa_waiter_init(&own.waiter, queue->loop);
    proa_list_push_back(&queue->takers, &own.waiter.list);
    PROA_TRY(proa_park(&own.waiter));
    *ret_item = own.item;
    return 0;
}

static void wake_all(struct proa_list *waiters, int result)
{
    while (!proa_list_empty(waiters))
        proa_unpark(PROA_CONTAINER(waiters->next, struct proa_waiter, list), result);
}

void proa_queue_close(struct proa_queue *queue)
{
    loop_assert_here(queue->loop);
    queue->closed = true;
    wake_all(&queue->takers, PROA_ECLOSED);
    wake_all(&queue->putters, PROA_ECLOSED);
}

uint32_t proa_queue_len(const struct proa_queue *queue)
{
    return queue->len;
}

void proa_event_init(struct proa_event *event, struct proa_loop *loop)
{
    event->loop = loop;
    event->set = false;
    proa_list_init(&event->waiters);
}

void proa_event_pulse(struct proa_event *event)
{
    loop_assert_here(event->loop);
    wake_all(&event->waiters, 0);
}

void proa_event_set(struct proa_event *event)
{
    loop_assert_here(event->loop);
    event->set = true;
    wake_all(&event->waiters, 0);
}

void proa_event_reset(struct proa_event *event)
{
    event->set = false;
}

int proa_event_wait(struct proa_event *event)
{
    struct proa_waiter waiter;

    PROA_TRY(fiber_struck(event->loop));
    if (event->set)
        return 0;
    proa_waiter_init(&waiter, event->loop);
    proa_list_push_back(&event->waiters, &waiter.list);
    return proa_park(&waiter);
}

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

    if (proa_sem_try(sem))
        return 0;
    proa_waiter_init(&own.waiter, sem->loop);
    proa_list_push_back(&sem->waiters, &own.waiter.list);
    sem->waiting++;
    rc = proa_park(&own.waiter);
    if (!own.granted)
        sem->waiting--;
    /* The permit came, and then, before this fiber ran, the deadline or a cancellation cannot come any more: the first wake wins. */
    assert(rc < 0 || own.granted);
    return rc;
}

void proa_sem_release(struct proa_sem *sem)
{
    struct proa_list *node = sem->waiters.next;

    loop_assert_here(sem->loop);
    if (node == &sem->waiters) {
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

static void wake_first(struct proa_list *waiters)
{
    if (!proa_list_empty(waiters))
        proa_unpark(PROA_CONTAINER(waiters->next, struct proa_waiter, list), 0);
}

static int wait_in(struct proa_queue *queue, struct proa_list *waiters)
{
    struct proa_waiter waiter;

    proa_waiter_init(&waiter, queue->loop);
    proa_list_push_back(waiters, &waiter.list);
    return proa_park(&waiter);
}

int proa_queue_try_put(struct proa_queue *queue, void *item)
{
    loop_assert_here(queue->loop);
    if (queue->closed)
        return PROA_ECLOSED;
    if (queue->len == queue->capacity)
        return PROA_EBUSY;
    queue->items[(queue->head + queue->len++) % queue->capacity] = item;
    wake_first(&queue->takers);
    return 0;
}

int proa_queue_put(struct proa_queue *queue, void *item)
{
    int rc;

    while ((rc = proa_queue_try_put(queue, item)) == PROA_EBUSY) {
        rc = wait_in(queue, &queue->putters);
        if (rc < 0) {
            /* A place that was meant for this fiber goes to the next. */
            if (queue->len < queue->capacity)
                wake_first(&queue->putters);
            return rc;
        }
    }
    return rc;
}

bool proa_queue_try_take(struct proa_queue *queue, void **ret_item)
{
    loop_assert_here(queue->loop);
    if (queue->len == 0)
        return false;
    *ret_item = queue->items[queue->head];
    queue->head = (queue->head + 1) % queue->capacity;
    queue->len--;
    wake_first(&queue->putters);
    return true;
}

int proa_queue_take(struct proa_queue *queue, void **ret_item)
{
    while (!proa_queue_try_take(queue, ret_item)) {
        int rc;

        if (queue->closed)
            return PROA_ECLOSED;
        rc = wait_in(queue, &queue->takers);
        if (rc < 0) {
            if (queue->len > 0)
                wake_first(&queue->takers);
            return rc;
        }
    }
    return 0;
}

static void wake_all(struct proa_list *waiters)
{
    while (!proa_list_empty(waiters))
        wake_first(waiters);
}

void proa_queue_close(struct proa_queue *queue)
{
    queue->closed = true;
    wake_all(&queue->takers);
    wake_all(&queue->putters);
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
    wake_all(&event->waiters);
}

void proa_event_set(struct proa_event *event)
{
    event->set = true;
    wake_all(&event->waiters);
}

void proa_event_reset(struct proa_event *event)
{
    event->set = false;
}

int proa_event_wait(struct proa_event *event)
{
    struct proa_waiter waiter;

    if (event->set)
        return 0;
    proa_waiter_init(&waiter, event->loop);
    proa_list_push_back(&event->waiters, &waiter.list);
    return proa_park(&waiter);
}

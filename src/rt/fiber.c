/* Fibers: their stacks, starting, suspending, groups, cancellation and deadlines.
 *
 *            start                    park                     unpark, deadline, cancel
 *   free ------------> running ------------------> waiting ------------------------------> ready
 *    ^                    | ^                                                                |
 *    |        fn returns  | +----------------------------------------------------------------+
 *    +--------------------+                        its turn
 *
 *  A fiber is entered only from the thread's own stack (the loop's turn or proa_group_run_now in a callback) and leaves
 *  to it.
 */
#include "loop_internal.h"
#include "stack_guard.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Below a stack, without access. Several pages, for libraries whose frames are not probed. */
enum { GUARD_BYTES = 16 * 1024, RECORD_ALIGN = 64 };

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The fiber's life: one start after the other, so that a pooled stack is set up only once. */
static void fiber_main(void *arg)
{
    struct proa_fiber *fiber = arg;

    for (;;) {
        struct proa_group *group = fiber->group;
        int rc = fiber->fn(fiber->arg);

        assert(proa_list_empty(&fiber->child_groups));
        if (rc < 0 && group->first_error == 0) {
            group->first_error = rc;
            if (group->cancel_on_error)
                proa_group_cancel(group, PROA_ECANCELED);
        }
        fiber->ended = true;
        switch_leave(&fiber->context);
    }
}

static size_t guard_bytes(void)
{
    size_t page = page_bytes();

    return (GUARD_BYTES + page - 1) / page * page;
}

static size_t record_bytes(void)
{
    return (sizeof(struct proa_fiber) + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

/* A mapping of its own: a guard, the stack, and on top of it the fiber's own record. */
static struct proa_fiber *fiber_new(struct proa_loop *loop)
{
    size_t page = page_bytes(), guard = guard_bytes(), record = record_bytes();
    size_t bytes = (loop->options.fiber_stack_bytes + page - 1) / page * page;
    char *mapping = mmap(NULL, guard + bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    struct proa_fiber *fiber;

    if (mapping == MAP_FAILED)
        return NULL;
    if (mprotect(mapping, guard, PROT_NONE) < 0) {
        munmap(mapping, guard + bytes);
        return NULL;
    }
    fiber = (struct proa_fiber *)(void *)(mapping + guard + bytes - record);
    *fiber = (struct proa_fiber){
        .loop = loop, .stack = mapping + guard, .stack_bytes = bytes - record, .guard_bytes = guard};
    switch_init(&fiber->context, &loop->main_stack, fiber->stack, fiber->stack_bytes, fiber_main, fiber);
    return fiber;
}

static void fiber_free(struct proa_fiber *fiber)
{
    char *mapping = fiber->stack - fiber->guard_bytes;
    size_t bytes = fiber->guard_bytes + fiber->stack_bytes + record_bytes();

    switch_done(&fiber->context);
    munmap(mapping, bytes);
}

void fibers_free_stacks(struct proa_loop *loop, uint32_t kept)
{
    for (; loop->free_fibers_count > kept; loop->free_fibers_count--)
        fiber_free(PROA_CONTAINER(proa_list_pop_front(&loop->free_fibers), struct proa_fiber, node));
}

static void deadline_struck(struct proa_timer *timer)
{
    struct proa_fiber *fiber = PROA_CONTAINER(timer, struct proa_fiber, timer);

    if (fiber->waiter && !fiber->uninterruptible)
        proa_unpark(fiber->waiter, PROA_ETIMEDOUT);
}

static struct proa_fiber *stack_take(struct proa_loop *loop)
{
    struct proa_list *node = proa_list_pop_front(&loop->free_fibers);

    if (!node)
        return fiber_new(loop);
    loop->free_fibers_count--;
    return PROA_CONTAINER(node, struct proa_fiber, node);
}

static int fiber_take(struct proa_group *group, const struct proa_fiber_options *options, proa_fiber_fn *fn, void *arg,
                      struct proa_fiber **ret_fiber)
{
    struct proa_loop *loop = group->loop;
    /* Who starts it; a callback does so in the name of the group's maker. */
    const struct proa_fiber *parent = loop->current ? loop->current : group->parent;
    struct proa_fiber *fiber;

    loop_assert_here(loop);
    if (loop->fibers_count >= loop->options.fibers_max)
        return PROA_EBUSY;
    fiber = stack_take(loop);
    if (!fiber)
        return PROA_ENOMEM;
    fiber->group = group;
    fiber->fn = fn;
    fiber->arg = arg;
    fiber->name = options && options->name ? options->name : "fiber";
    fiber->deadline = group->deadline;
    if (options && options->deadline && options->deadline < fiber->deadline)
        fiber->deadline = options->deadline;
    if (loop->current && loop->current->deadline < fiber->deadline)
        fiber->deadline = loop->current->deadline;
    fiber->cancel_cause = group->cancel_cause;
    fiber->user = parent ? parent->user : NULL;
    fiber->span = parent ? parent->span : NULL;
    fiber->waiter = NULL;
    fiber->shielded = fiber->uninterruptible = fiber->ended = false;
    proa_timer_init(&fiber->timer, loop, deadline_struck);
    proa_list_init(&fiber->node);
    proa_list_init(&fiber->child_groups);
    proa_list_push_back(&group->fibers, &fiber->group_node);
    proa_list_push_back(&loop->fibers, &fiber->all_node);
    group->running++;
    if (++loop->fibers_count > loop->fibers_peak)
        loop->fibers_peak = loop->fibers_count;
    *ret_fiber = fiber;
    return 0;
}

static void fiber_ended(struct proa_fiber *fiber)
{
    struct proa_loop *loop = fiber->loop;
    struct proa_group *group = fiber->group;

    proa_list_remove(&fiber->group_node);
    proa_list_remove(&fiber->all_node);
    fiber->group = NULL;
    loop->fibers_count--;
    if (loop->free_fibers_count < loop->options.stacks_kept) {
        proa_list_push_front(&loop->free_fibers, &fiber->node);
        loop->free_fibers_count++;
    } else {
        fiber_free(fiber);
    }
    if (--group->running == 0 && group->waiter)
        proa_unpark(group->waiter, 0);
}

/* Runs a fiber until it suspends or ends. */
static void fiber_enter(struct proa_fiber *fiber)
{
    struct proa_loop *loop = fiber->loop;

    assert(!loop->current);
    (void)loop_now(loop); /* says, in a callback, that the loop waits no more */
    loop->current = fiber;
    atomic_store_explicit(&loop->running_name, fiber->name, memory_order_relaxed);
    stack_guard_running(fiber);
    switch_enter(&fiber->context);
    stack_guard_running(NULL);
    loop->current = NULL;
    atomic_store_explicit(&loop->running_name, NULL, memory_order_relaxed);
    if (fiber->ended)
        fiber_ended(fiber);
}

/* Appends all of `from` to `to` and leaves `from` empty. */
static void append_all(struct proa_list *to, struct proa_list *from)
{
    if (proa_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    proa_list_init(from);
}

void fibers_ready_yielded(struct proa_loop *loop)
{
    append_all(&loop->ready, &loop->yielded);
}

void fibers_run_ready(struct proa_loop *loop)
{
    struct proa_list batch;
    struct proa_list *node;

    /* Only those that are ready now: fibers that wake each other do not keep the loop from polling. */
    proa_list_init(&batch);
    append_all(&batch, &loop->ready);
    while ((node = proa_list_pop_front(&batch)))
        fiber_enter(PROA_CONTAINER(node, struct proa_fiber, node));
}

void proa_group_init(struct proa_group *group, struct proa_loop *loop)
{
    struct proa_fiber *parent = loop->current;

    *group = (struct proa_group){.loop = loop, .parent = parent, .deadline = PROA_NEVER};
    proa_list_init(&group->fibers);
    proa_list_init(&group->siblings);
    if (parent) {
        proa_list_push_back(&parent->child_groups, &group->siblings);
        group->deadline = parent->deadline;
        group->is_sheltered = parent->shielded;
        if (!parent->shielded)
            group->cancel_cause = parent->cancel_cause;
    }
}

int proa_group_start(struct proa_group *group, const struct proa_fiber_options *options, proa_fiber_fn *fn, void *arg)
{
    struct proa_fiber *fiber;

    PROA_TRY(fiber_take(group, options, fn, arg, &fiber));
    proa_list_push_back(&group->loop->ready, &fiber->node);
    return 0;
}

int proa_group_run_now(struct proa_group *group, const struct proa_fiber_options *options, proa_fiber_fn *fn, void *arg)
{
    struct proa_fiber *fiber;

    assert(!group->loop->current);
    PROA_TRY(fiber_take(group, options, fn, arg, &fiber));
    fiber_enter(fiber);
    return 0;
}

int proa_loop_start_fiber(struct proa_loop *loop, const struct proa_fiber_options *options, proa_fiber_fn *fn,
                          void *arg)
{
    struct proa_fiber *parent = loop->current;
    int rc;

    /* It belongs to the loop, not to whoever starts it. */
    loop->current = NULL;
    rc = proa_group_start(&loop->root, options, fn, arg);
    loop->current = parent;
    return rc;
}

void proa_group_cancel(struct proa_group *group, int cause)
{
    struct proa_list *node, *next;

    if (group->cancel_cause == 0)
        group->cancel_cause = cause ? cause : PROA_ECANCELED;
    for (node = group->fibers.next; node != &group->fibers; node = next) {
        next = node->next;
        proa_fiber_cancel(PROA_CONTAINER(node, struct proa_fiber, group_node), cause);
    }
}

/* Whether a fiber works for another's clean-up, which a cancellation from outside does not reach. */
static bool is_sheltered(const struct proa_fiber *fiber)
{
    const struct proa_group *group = fiber->group;

    while (group) {
        if (group->is_sheltered && group->parent->shielded)
            return true;
        group = group->parent ? group->parent->group : NULL;
    }
    return false;
}

void proa_loop_cancel_fibers(struct proa_loop *loop, int cause)
{
    struct proa_list *node, *next;

    loop_assert_here(loop);
    for (node = loop->fibers.next; node != &loop->fibers; node = next) {
        struct proa_fiber *fiber = PROA_CONTAINER(node, struct proa_fiber, all_node);

        next = node->next;
        if (!is_sheltered(fiber))
            proa_fiber_cancel(fiber, cause);
    }
}

void proa_fiber_cancel(struct proa_fiber *fiber, int cause)
{
    struct proa_list *node;

    loop_assert_here(fiber->loop);
    assert(cause <= 0);
    if (fiber->cancel_cause == 0)
        fiber->cancel_cause = cause ? cause : PROA_ECANCELED;
    for (node = fiber->child_groups.next; node != &fiber->child_groups; node = node->next) {
        struct proa_group *group = PROA_CONTAINER(node, struct proa_group, siblings);

        if (!group->is_sheltered || !fiber->shielded)
            proa_group_cancel(group, cause);
    }
    if (fiber->waiter && !fiber->shielded && !fiber->uninterruptible)
        proa_unpark(fiber->waiter, fiber->cancel_cause);
}

int proa_group_wait(struct proa_group *group)
{
    struct proa_loop *loop = group->loop;
    struct proa_waiter waiter;

    assert(loop->current && (!group->parent || loop->current == group->parent));
    assert(!group->waiter);
    while (group->running > 0) {
        int rc;

        proa_waiter_init(&waiter, loop);
        group->waiter = &waiter;
        if (group->cancel_cause) {
            park_uninterruptible(&waiter);
        } else {
            rc = proa_park(&waiter);
            if (rc < 0)
                proa_group_cancel(group, rc);
        }
        group->waiter = NULL;
    }
    proa_list_remove(&group->siblings);
    return group->first_error;
}

/* Waiting. */
void proa_waiter_init(struct proa_waiter *waiter, struct proa_loop *loop)
{
    assert(loop->current);
    proa_list_init(&waiter->list);
    waiter->fiber = loop->current;
    waiter->loop = loop;
    waiter->result = 0;
    waiter->state = WAITER_NEW;
}

static int suspend(struct proa_waiter *waiter)
{
    struct proa_fiber *fiber = waiter->fiber;

    assert(fiber->loop->current == fiber);
    if (waiter->state != WAITER_WOKEN) {
        waiter->state = WAITER_PARKED;
        fiber->waiter = waiter;
        switch_leave(&fiber->context);
        fiber->waiter = NULL;
    }
    proa_list_remove(&waiter->list);
    return waiter->result;
}

int fiber_struck(struct proa_loop *loop)
{
    const struct proa_fiber *fiber = loop->current;

    assert(fiber);
    if (fiber->cancel_cause && !fiber->shielded)
        return fiber->cancel_cause;
    return fiber->deadline <= loop_now(loop) ? PROA_ETIMEDOUT : 0;
}

int proa_park(struct proa_waiter *waiter)
{
    struct proa_fiber *fiber = waiter->fiber;
    int rc;

    loop_assert_here(waiter->loop);
    if (waiter->state != WAITER_WOKEN) {
        rc = fiber_struck(fiber->loop);
        if (rc == 0)
            rc = proa_timer_start(&fiber->timer, fiber->deadline);
        if (rc < 0) {
            proa_list_remove(&waiter->list);
            waiter->state = WAITER_WOKEN;
            return rc;
        }
    }
    rc = suspend(waiter);
    proa_timer_stop(&fiber->timer);
    return rc;
}

void park_uninterruptible(struct proa_waiter *waiter)
{
    struct proa_fiber *fiber = waiter->fiber;

    fiber->uninterruptible = true;
    (void)suspend(waiter);
    fiber->uninterruptible = false;
}

void proa_unpark(struct proa_waiter *waiter, int result)
{
    struct proa_fiber *fiber = waiter->fiber;

    loop_assert_here(waiter->loop);
    if (waiter->state == WAITER_WOKEN)
        return;
    waiter->result = result;
    proa_list_remove(&waiter->list);
    if (waiter->state == WAITER_PARKED)
        proa_list_push_back(&fiber->loop->ready, &fiber->node);
    waiter->state = WAITER_WOKEN;
}

struct nap {
    struct proa_timer timer;
    struct proa_waiter waiter;
};

static void nap_over(struct proa_timer *timer)
{
    proa_unpark(&PROA_CONTAINER(timer, struct nap, timer)->waiter, 0);
}

int proa_sleep(struct proa_loop *loop, uint64_t ns)
{
    /* From this instant: the turn may have begun long ago. */
    proa_mono_ns now = proa_loop_now_exact(loop);
    struct nap nap;
    int rc;

    proa_waiter_init(&nap.waiter, loop);
    proa_timer_init(&nap.timer, loop, nap_over);
    PROA_TRY(proa_timer_start(&nap.timer, now + ns < ns ? PROA_NEVER : now + ns));
    rc = proa_park(&nap.waiter);
    proa_timer_stop(&nap.timer);
    return rc;
}

int proa_yield(struct proa_loop *loop)
{
    struct proa_fiber *fiber = loop->current;

    loop_assert_here(loop);
    assert(fiber);
    /* It goes on whatever happens, and so nobody may find it waiting. */
    proa_list_push_back(&loop->yielded, &fiber->node);
    switch_leave(&fiber->context);
    return proa_fiber_check(loop);
}

int proa_fiber_check(const struct proa_loop *loop)
{
    const struct proa_fiber *fiber = loop->current;

    assert(fiber);
    if (fiber->cancel_cause && !fiber->shielded)
        return fiber->cancel_cause;
    return fiber->deadline != PROA_NEVER && fiber->deadline <= proa_loop_now_exact(loop) ? PROA_ETIMEDOUT : 0;
}

proa_mono_ns proa_deadline(const struct proa_loop *loop)
{
    return loop->current ? loop->current->deadline : PROA_NEVER;
}

struct proa_deadline_scope proa_deadline_enter(struct proa_loop *loop, proa_mono_ns at)
{
    struct proa_fiber *fiber = loop->current;
    struct proa_deadline_scope scope = {fiber, fiber->deadline};

    if (at < fiber->deadline)
        fiber->deadline = at;
    return scope;
}

void proa_deadline_leave(struct proa_deadline_scope *scope)
{
    scope->fiber->deadline = scope->previous;
}

struct proa_shield_scope proa_shield_enter(struct proa_loop *loop, uint64_t grace_ns)
{
    struct proa_fiber *fiber = loop->current;
    struct proa_shield_scope scope = {fiber, fiber->deadline, fiber->shielded};
    proa_mono_ns now = proa_loop_now_exact(loop);

    fiber->shielded = true;
    fiber->deadline = now + grace_ns < grace_ns ? PROA_NEVER : now + grace_ns;
    return scope;
}

void proa_shield_leave(struct proa_shield_scope *scope)
{
    scope->fiber->shielded = scope->was_shielded;
    scope->fiber->deadline = scope->previous;
}

/* Facts. */
struct proa_fiber *proa_fiber_current(const struct proa_loop *loop)
{
    return loop->current;
}

const char *proa_fiber_name(const struct proa_fiber *fiber)
{
    return fiber->name;
}

void proa_fiber_set_name(struct proa_fiber *fiber, const char *name)
{
    fiber->name = name;
    if (fiber->loop->current == fiber)
        atomic_store_explicit(&fiber->loop->running_name, name, memory_order_relaxed);
}

void *proa_fiber_context(const struct proa_fiber *fiber)
{
    return fiber->user;
}

void proa_fiber_set_context(struct proa_fiber *fiber, void *context)
{
    fiber->user = context;
}

void *proa_fiber_span(const struct proa_fiber *fiber)
{
    return fiber->span;
}

void proa_fiber_set_span(struct proa_fiber *fiber, void *span)
{
    fiber->span = span;
}

size_t proa_fiber_stack_size(const struct proa_fiber *fiber)
{
    return fiber->stack_bytes;
}

size_t proa_fiber_stack_used(const struct proa_fiber *fiber)
{
    enum { PAGES_MAX = 2048 };
    unsigned char resident[PAGES_MAX];
    size_t page = page_bytes();
    size_t pages = fiber->stack_bytes / page;
    size_t untouched = 0;

    /* The kernel knows which pages were ever touched; a stack is used from its top down. */
    if (pages > PAGES_MAX || mincore(fiber->stack, pages * page, resident) < 0)
        return fiber->stack_bytes;
    while (untouched < pages && !(resident[untouched] & 1))
        untouched++;
    return fiber->stack_bytes - untouched * page;
}

size_t fibers_stack_peak(const struct proa_loop *loop)
{
    enum { STACKS_MAX = 256 }; /* looked at: each is a system call */
    size_t peak = 0, looked_at = 0;

    for (const struct proa_list *node = loop->free_fibers.next;
         node != &loop->free_fibers && looked_at < STACKS_MAX / 2; node = node->next, looked_at++) {
        size_t used = proa_fiber_stack_used(PROA_CONTAINER(node, struct proa_fiber, node));

        peak = used > peak ? used : peak;
    }
    for (const struct proa_list *node = loop->fibers.next; node != &loop->fibers && looked_at < STACKS_MAX;
         node = node->next, looked_at++) {
        size_t used = proa_fiber_stack_used(PROA_CONTAINER(node, struct proa_fiber, all_node));

        peak = used > peak ? used : peak;
    }
    return peak;
}

void proa_loop_allow_fibers(struct proa_loop *loop, uint32_t fibers)
{
    loop_assert_here(loop);
    if (loop->options.fibers_max < fibers)
        loop->options.fibers_max = fibers;
}

uint32_t proa_loop_fibers(const struct proa_loop *loop, uint32_t *ret_peak)
{
    if (ret_peak)
        *ret_peak = loop->fibers_peak;
    return loop->fibers_count;
}

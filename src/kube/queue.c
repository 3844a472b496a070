/* The work queue. */
#include "queue.h"

#include <assert.h>
#include <proa/checked.h>
#include <stdlib.h>

enum { LOOK_MS = 500, RESYNC_SLOTS = 64 };
static const uint64_t await_ns = PROA_SECONDS(5);

static uint32_t shard(const struct queue *queue)
{
    return proa_loop_index(queue->options.loop);
}

static double seconds_since(const struct queue *queue, proa_mono_ns since)
{
    return (double)(proa_loop_now_exact(queue->options.loop) - since) / 1e9;
}

/* -- Items --------------------------------------------------------------------------------------------------------- */

static struct queue_item *find(const struct queue *queue, proa_str namespace_, proa_str name)
{
    uint32_t hash = table_hash_names(namespace_, name);

    for (struct table_node *node = table_first(&queue->items, hash); node; node = node->next) {
        struct queue_item *item = PROA_CONTAINER(node, struct queue_item, node);

        if (node->hash == hash && proa_str_eq(queue_name(item), name) && proa_str_eq(queue_namespace(item), namespace_))
            return item;
    }
    return NULL;
}

static void fire(struct proa_timer *timer);

static struct queue_item *find_or_make(struct queue *queue, proa_str namespace_, proa_str name)
{
    struct queue_item *item = find(queue, namespace_, name);

    if (item)
        return item;
    if (table_reserve(&queue->items) < 0 || !(item = malloc(sizeof *item + namespace_.len + name.len)))
        return NULL;
    *item = (struct queue_item){.queue = queue,
                                .requeue_at = PROA_NEVER,
                                .asked_at = PROA_NEVER,
                                .resync_at = PROA_NEVER,
                                .await_until = PROA_NEVER,
                                .namespace_len = (uint32_t)namespace_.len,
                                .name_len = (uint32_t)name.len};
    if (namespace_.len > 0)
        memcpy(item->text, namespace_.ptr, namespace_.len);
    if (name.len > 0)
        memcpy(item->text + namespace_.len, name.ptr, name.len);
    proa_timer_init(&item->timer, queue->options.loop, fire);
    proa_list_init(&item->list);
    proa_list_init(&item->awaits);
    table_add(&queue->items, &item->node, table_hash_names(namespace_, name));
    return item;
}

static void drop_awaits(struct queue_item *item)
{
    for (struct proa_list *at = item->awaits.next, *next; at != &item->awaits; at = next) {
        struct queue_await *await = PROA_CONTAINER(at, struct queue_await, list);

        next = at->next;
        proa_list_remove(&await->list);
        proa_list_remove(&await->await.list);
        free(await);
    }
    item->await_until = PROA_NEVER;
}

static void item_free(struct queue_item *item)
{
    proa_timer_stop(&item->timer);
    drop_awaits(item);
    proa_list_remove(&item->list);
    table_remove(&item->queue->items, &item->node);
    free(item);
}

static void forget_if_idle(struct queue_item *item)
{
    if (item->state == QUEUE_IDLE && item->failures == 0 && item->requeue_at == PROA_NEVER &&
        item->asked_at == PROA_NEVER && item->resync_at == PROA_NEVER && proa_list_empty(&item->awaits))
        item_free(item);
}

/* -- Becoming ready ------------------------------------------------------------------------------------------------ */

static void set_depth(struct queue *queue)
{
    if (queue->depth)
        proa_gauge_set(queue->depth, queue->ready_count);
}

static void make_ready(struct queue_item *item, bool in_front)
{
    struct queue *queue = item->queue;
    struct proa_list *list = &queue->ready[item->priority];

    item->state = QUEUE_READY;
    proa_list_remove(&item->list);
    if (in_front)
        proa_list_push_front(list, &item->list);
    else
        proa_list_push_back(list, &item->list);
    queue->ready_count++;
    set_depth(queue);
    queue->options.ready(queue->options.arg);
}

static void add_item(struct queue_item *item, enum queue_priority priority)
{
    struct queue *queue = item->queue;
    bool is_higher = priority > item->priority;

    if (item->state == QUEUE_RUNNING) {
        item->priority = (uint8_t)(item->is_dirty && !is_higher ? item->priority : priority);
        item->is_dirty = true;
    } else if (item->state == QUEUE_IDLE) {
        item->priority = (uint8_t)priority;
        item->ready_at = proa_loop_now(queue->options.loop);
        if (queue->adds)
            proa_counter_add(queue->adds, shard(queue), 1);
        make_ready(item, false);
    } else if (is_higher) {
        item->priority = (uint8_t)priority;
        if (item->state == QUEUE_READY) {
            proa_list_remove(&item->list);
            proa_list_push_back(&queue->ready[priority], &item->list);
        }
    }
}

void queue_add(struct queue *queue, proa_str namespace_, proa_str name, enum queue_priority priority)
{
    struct queue_item *item = find_or_make(queue, namespace_, name);

    if (item)
        add_item(item, priority);
}

/* -- Time ---------------------------------------------------------------------------------------------------------- */

static void arm(struct queue_item *item)
{
    proa_mono_ns at = item->requeue_at < item->resync_at ? item->requeue_at : item->resync_at;

    if (item->await_until < at)
        at = item->await_until;
    if (item->asked_at < at)
        at = item->asked_at;
    if (at == PROA_NEVER)
        proa_timer_stop(&item->timer);
    else if (proa_timer_start(&item->timer, at) < 0)
        add_item(item, QUEUE_LOW); /* no memory for a timer: now rather than never */
}

static void wait_is_over(struct queue_item *item)
{
    drop_awaits(item);
    if (item->state == QUEUE_WAITING)
        make_ready(item, true);
}

/* Resyncs are spread over the period, but in slots: a program at rest wakes up for some of them at once, and not for each. */
static proa_mono_ns resync_time(const struct queue *queue, proa_mono_ns at)
{
    uint64_t slot = queue->options.resync_ns / RESYNC_SLOTS;

    return slot > 0 ? at - at % slot : at;
}

static void fire(struct proa_timer *timer)
{
    struct queue_item *item = PROA_CONTAINER(timer, struct queue_item, timer);
    proa_mono_ns now = proa_loop_now(item->queue->options.loop);

    if (item->await_until <= now)
        wait_is_over(item);
    if (item->resync_at <= now) {
        item->resync_at = resync_time(item->queue, now + item->queue->options.resync_ns);
        add_item(item, QUEUE_LOW);
    }
    if (item->requeue_at <= now || item->asked_at <= now) {
        item->requeue_at = item->requeue_at <= now ? PROA_NEVER : item->requeue_at;
        item->asked_at = item->asked_at <= now ? PROA_NEVER : item->asked_at;
        add_item(item, QUEUE_NORMAL);
    }
    arm(item);
    forget_if_idle(item);
}

void queue_add_after(struct queue *queue, proa_str namespace_, proa_str name, uint64_t after_ns)
{
    struct queue_item *item = find_or_make(queue, namespace_, name);
    proa_mono_ns at = proa_add_u64_sat(proa_loop_now(queue->options.loop), after_ns);

    if (!item)
        return;
    if (after_ns == 0) {
        add_item(item, QUEUE_NORMAL);
    } else if (at < item->asked_at) {
        item->asked_at = at;
        arm(item);
    }
    forget_if_idle(item);
}

void queue_retry(struct queue *queue)
{
    struct table_node *node = table_next(&queue->items, NULL);

    /* Becoming ready starts fibers, which run later: the table stays as it is. */
    for (; node; node = table_next(&queue->items, node)) {
        struct queue_item *item = PROA_CONTAINER(node, struct queue_item, node);

        if (item->failures == 0 || item->requeue_at == PROA_NEVER)
            continue;
        item->failures = 0;
        item->requeue_at = PROA_NEVER;
        arm(item);
        add_item(item, QUEUE_NORMAL);
    }
}

/* -- Awaited writes ------------------------------------------------------------------------------------------------ */

static void seen(struct cache_await *cache_await)
{
    struct queue_await *await = PROA_CONTAINER(cache_await, struct queue_await, await);
    struct queue_item *item = await->item;

    proa_list_remove(&await->list);
    free(await);
    if (!proa_list_empty(&item->awaits))
        return;
    wait_is_over(item);
    arm(item);
    forget_if_idle(item);
}

static struct queue_await *await_new(struct queue_item *item, uint64_t version)
{
    struct queue_await *await = malloc(sizeof *await);

    assert(item->state == QUEUE_RUNNING);
    if (!await)
        return NULL; /* then the cache may be behind for once */
    *await = (struct queue_await){.await = {.version = version, .seen = seen}, .item = item};
    proa_list_init(&await->await.list);
    return await;
}

static void await_start(struct queue_item *item, struct queue_await *await)
{
    proa_list_push_back(&item->awaits, &await->list);
    item->await_until = proa_loop_now(item->queue->options.loop) + await_ns;
    arm(item);
}

void queue_await(struct queue_item *item, struct proa_cache *cache, uint64_t version)
{
    struct queue_await *await = version ? await_new(item, version) : NULL;

    if (await && cache_await(cache, &await->await))
        await_start(item, await);
    else
        free(await);
}

void queue_await_change(struct queue_item *item, struct proa_cache *cache, const struct cache_entry *entry)
{
    struct queue_await *await = await_new(item, 0);

    if (!await)
        return;
    cache_await_change(cache, &await->await, entry);
    await_start(item, await);
}

/* -- What takes long ----------------------------------------------------------------------------------------------- */

static void look_soon(struct queue *queue)
{
    if (queue->unfinished && !proa_timer_armed(&queue->look))
        proa_ignore(proa_timer_start(&queue->look, proa_loop_now(queue->options.loop) + PROA_MS(LOOK_MS)));
}

static void look_at_running(struct proa_timer *timer)
{
    struct queue *queue = PROA_CONTAINER(timer, struct queue, look);
    double sum = 0, longest = 0;

    for (struct proa_list *at = queue->running.next; at != &queue->running; at = at->next) {
        double seconds = seconds_since(queue, PROA_CONTAINER(at, struct queue_item, list)->ready_at);

        sum += seconds;
        longest = seconds > longest ? seconds : longest;
    }
    proa_gauge_set(queue->unfinished, sum);
    proa_gauge_set(queue->longest, longest);
    if (!proa_list_empty(&queue->running))
        look_soon(queue);
}

/* -- Taking and finishing ------------------------------------------------------------------------------------------ */

struct queue_item *queue_take(struct queue *queue)
{
    for (int priority = QUEUE_NORMAL; priority >= QUEUE_LOW; priority--) {
        struct proa_list *at;

        while ((at = proa_list_pop_front(&queue->ready[priority]))) {
            struct queue_item *item = PROA_CONTAINER(at, struct queue_item, list);

            queue->ready_count--;
            set_depth(queue);
            if (!proa_list_empty(&item->awaits)) {
                item->state = QUEUE_WAITING;
                continue;
            }
            item->state = QUEUE_RUNNING;
            item->is_dirty = false;
            if (queue->wait_time)
                proa_histogram_observe(queue->wait_time, shard(queue), seconds_since(queue, item->ready_at), NULL);
            item->ready_at = proa_loop_now_exact(queue->options.loop);
            proa_list_push_back(&queue->running, &item->list);
            look_soon(queue);
            return item;
        }
    }
    return NULL;
}

static uint64_t backoff(const struct queue_item *item)
{
    const struct queue_options *options = &item->queue->options;
    uint64_t ns = options->backoff_first_ns;

    for (uint32_t i = 1; i < item->failures && ns < options->backoff_max_ns; i++)
        ns *= 2;
    return ns < options->backoff_max_ns ? ns : options->backoff_max_ns;
}

void queue_finish(struct queue_item *item, const struct queue_outcome *outcome)
{
    struct queue *queue = item->queue;
    proa_mono_ns now = proa_loop_now(queue->options.loop);
    uint64_t resync_ns = queue->options.resync_ns;

    assert(item->state == QUEUE_RUNNING);
    if (queue->work_time)
        proa_histogram_observe(queue->work_time, shard(queue), seconds_since(queue, item->ready_at), NULL);
    item->state = QUEUE_IDLE;
    proa_list_remove(&item->list);
    if (outcome->has_failed) {
        if (item->failures < UINT32_MAX)
            item->failures++;
        item->requeue_at = now + (backoff(item) > outcome->not_before_ns ? backoff(item) : outcome->not_before_ns);
        if (queue->retries)
            proa_counter_add(queue->retries, shard(queue), 1);
    } else if (!outcome->was_stopped) {
        item->failures = 0;
        item->requeue_at = outcome->requeue_after_ns ? proa_add_u64_sat(now, outcome->requeue_after_ns) : PROA_NEVER;
    }
    if (!outcome->exists)
        item->resync_at = PROA_NEVER;
    else if (resync_ns > 0 && item->resync_at == PROA_NEVER)
        item->resync_at = resync_time(queue, now + resync_ns / RESYNC_SLOTS + 1 +
                                                 proa_loop_random_u64(queue->options.loop) % resync_ns);
    arm(item);
    if (item->is_dirty || outcome->was_stopped)
        add_item(item, item->priority);
    forget_if_idle(item);
}

/* -- Making -------------------------------------------------------------------------------------------------------- */

static int add_running_metrics(struct queue *queue, struct proa_error *err)
{
    const struct proa_metric_options unfinished = {
        .name = "workqueue_unfinished_work_seconds",
        .help = "How many seconds of work has been done that is in progress and has not been observed by work_duration",
        .unit = "seconds",
        .labels = {"name", "controller"}};
    const struct proa_metric_options longest = {
        .name = "workqueue_longest_running_processor_seconds",
        .help = "How many seconds has the longest running processor for workqueue been running",
        .unit = "seconds",
        .labels = {"name", "controller"}};
    proa_str values[] = {proa_str_c(queue->options.name), proa_str_c(queue->options.name)};
    struct proa_gauge *gauge;

    PROA_TRY(proa_gauge_new(queue->options.metrics, &unfinished, &gauge, err));
    queue->unfinished = proa_gauge_with(gauge, values);
    PROA_TRY(proa_gauge_new(queue->options.metrics, &longest, &gauge, err));
    queue->longest = proa_gauge_with(gauge, values);
    return 0;
}

static int add_metrics(struct queue *queue, struct proa_error *err)
{
    /* controller-runtime's buckets: 10 ns to 1,000 s. */
    static const double buckets[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1000};
    struct proa_metric_options depth = {
        .name = "workqueue_depth", .help = "Current depth of workqueue", .labels = {"name", "controller"}};
    struct proa_metric_options adds = {.name = "workqueue_adds",
                                       .help = "Total number of adds handled by workqueue",
                                       .labels = {"name", "controller"}};
    struct proa_metric_options retries = {.name = "workqueue_retries",
                                          .help = "Total number of retries handled by workqueue",
                                          .labels = {"name", "controller"}};
    struct proa_metric_options wait = {.name = "workqueue_queue_duration_seconds",
                                       .help = "How long in seconds an item stays in workqueue before being requested",
                                       .unit = "seconds",
                                       .labels = {"name", "controller"},
                                       .buckets = buckets,
                                       .buckets_count = PROA_COUNT(buckets)};
    struct proa_metric_options work = {.name = "workqueue_work_duration_seconds",
                                       .help = "How long in seconds processing an item from workqueue takes",
                                       .unit = "seconds",
                                       .labels = {"name", "controller"},
                                       .buckets = buckets,
                                       .buckets_count = PROA_COUNT(buckets)};
    proa_str values[] = {proa_str_c(queue->options.name), proa_str_c(queue->options.name)};
    struct proa_metrics *metrics = queue->options.metrics;
    struct proa_histogram *histogram;
    struct proa_counter *counter;
    struct proa_gauge *gauge;

    if (!metrics)
        return 0;
    PROA_TRY(proa_gauge_new(metrics, &depth, &gauge, err));
    queue->depth = proa_gauge_with(gauge, values);
    PROA_TRY(add_running_metrics(queue, err));
    PROA_TRY(proa_counter_new(metrics, &adds, &counter, err));
    queue->adds = proa_counter_with(counter, values);
    PROA_TRY(proa_counter_new(metrics, &retries, &counter, err));
    queue->retries = proa_counter_with(counter, values);
    PROA_TRY(proa_histogram_new(metrics, &wait, &histogram, err));
    queue->wait_time = proa_histogram_with(histogram, values);
    PROA_TRY(proa_histogram_new(metrics, &work, &histogram, err));
    queue->work_time = proa_histogram_with(histogram, values);
    return 0;
}

int queue_init(struct queue *queue, const struct queue_options *options, struct proa_error *err)
{
    *queue = (struct queue){.options = *options};
    if (queue->options.backoff_first_ns == 0)
        queue->options.backoff_first_ns = PROA_MS(5);
    if (queue->options.backoff_max_ns == 0)
        queue->options.backoff_max_ns = PROA_SECONDS(1000);
    proa_list_init(&queue->ready[QUEUE_LOW]);
    proa_list_init(&queue->ready[QUEUE_NORMAL]);
    proa_list_init(&queue->running);
    proa_timer_init(&queue->look, queue->options.loop, look_at_running);
    return add_metrics(queue, err);
}

void queue_done(struct queue *queue)
{
    struct table_node *node;

    while ((node = table_next(&queue->items, NULL)))
        item_free(PROA_CONTAINER(node, struct queue_item, node));
    table_done(&queue->items);
    proa_timer_stop(&queue->look);
}

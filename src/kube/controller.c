/* Controllers: which keys a change concerns, and the fibers that reconcile them. */
#include "ready.h"
#include "runtime.h"

#include <assert.h>
#include <stdlib.h>

enum { RECONCILE_MS = 60000, AGAIN_MS = 100, AWAY_FIRST_MS = 1000, AWAY_MAX_MS = 30000 };

/* -- From changes to keys ------------------------------------------------------------------------------------------ */

struct adder {
    struct proa_controller *controller;
    enum queue_priority priority;
};

static void add_mapped(void *ctx, proa_str namespace_, proa_str name)
{
    const struct adder *adder = ctx;

    queue_add(&adder->controller->queue, namespace_, name, adder->priority);
}

static void add_owner(struct adder *adder, const struct cache_entry *entry)
{
    const struct proa_kube_kind *kind = adder->controller->options.for_.kind;

    if (entry->owner && cache_owner_is(entry->owner, kind))
        add_mapped(adder, kind->is_cluster_scoped ? PROA_STR("") : cache_namespace(entry),
                   cache_owner_name(entry->owner));
}

static void add_entry(const struct controller_source *source, struct adder *adder, const struct cache_entry *entry)
{
    struct proa_cached cached;

    if (source->source.map_with) {
        cache_show(entry, &cached);
        source->source.map_with(source->controller, &cached, add_mapped, adder);
    } else if (source->source.map) {
        source->source.map(entry->object, add_mapped, adder);
    } else if (source->role == SOURCE_OWNS) {
        add_owner(adder, entry);
    } else {
        add_mapped(adder, cache_namespace(entry), cache_name(entry));
    }
}

static void changed(struct cache_subscriber *subscriber, const struct cache_entry *old, const struct cache_entry *new_)
{
    struct controller_source *source = PROA_CONTAINER(subscriber, struct controller_source, subscriber);
    struct adder adder = {source->controller, source->cache->has_synced ? QUEUE_NORMAL : QUEUE_LOW};

    if (source->source.predicate && !source->source.predicate(old ? old->object : NULL, new_ ? new_->object : NULL))
        return;
    /* An object may have moved from one owner or key to another: both are told. The queue takes care of equal ones. */
    if (old)
        add_entry(source, &adder, old);
    if (new_)
        add_entry(source, &adder, new_);
}

bool proa_generation_changed(const void *old_object, const void *new_object)
{
    const struct proa_kube_meta *old = old_object, *new_ = new_object;

    return !old || !new_ || old->generation != new_->generation ||
           old->deletion_timestamp.presence != new_->deletion_timestamp.presence || !proa_str_eq(old->uid, new_->uid);
}

/* -- Reconciling --------------------------------------------------------------------------------------------------- */

static uint32_t shard(const struct proa_controller *controller)
{
    return proa_loop_index(controller->manager->loop);
}

static void count_outcome(struct proa_controller *controller, const struct queue_outcome *outcome, uint64_t took_ns)
{
    const struct controller_metrics *metrics = &controller->metrics;

    if (!metrics->time)
        return;
    proa_histogram_observe(metrics->time, shard(controller), (double)took_ns / 1e9, NULL);
    if (outcome->has_failed) {
        proa_counter_add(metrics->error, shard(controller), 1);
        proa_counter_add(metrics->errors, shard(controller), 1);
    } else {
        proa_counter_add(outcome->requeue_after_ns ? metrics->requeue_after : metrics->success, shard(controller), 1);
    }
}

static bool is_stopped(const struct proa_controller *controller)
{
    return !controller->term || proa_fiber_check(controller->manager->loop) < 0;
}

/* Whether a reconcile failed because the API server is away, which is no failure of its own: then all would back off, and come late when it
 * is back. It is asked right then, since 5xx may well be about one object alone, when a webhook of its kind fails. May suspend. */
static bool api_is_away(const struct reconcile_run *run, int rc)
{
    const struct proa_controller *controller = run->reconcile.controller;
    enum kube_readiness seen;

    if (rc == 0 || !run->api_may_be_away || is_stopped(controller) || kube_ask(controller->manager->kube, &seen) < 0 ||
        seen != KUBE_SEEN_DOWN)
        return false;
    if (controller->away_ms == 0)
        proa_log_failure(&controller->manager->logger, PROA_LOG_WARN, "the API server is away", run->reconcile.err);
    return true;
}

/* What a reconcile returned, as the queue has to know it. */
static struct queue_outcome judge(const struct reconcile_run *run, int rc, bool is_away)
{
    const struct proa_controller *controller = run->reconcile.controller;
    struct queue_outcome outcome = {.requeue_after_ns = run->reconcile.requeue_after_ns};

    outcome.exists = cache_find(controller->sources[0].cache, run->reconcile.namespace_, run->reconcile.name);
    if (rc == 0)
        return outcome;
    /* Stopped with the term, it is no failure of its own. */
    outcome.was_stopped = is_stopped(controller) || is_away;
    outcome.has_failed = !outcome.was_stopped;
    if (outcome.has_failed) {
        outcome.not_before_ns = PROA_SECONDS((uint64_t)run->reconcile.err->retry_after_s);
        run->reconcile.err->code = run->reconcile.err->code ? run->reconcile.err->code : rc;
        proa_log_failure(run->reconcile.logger, rc == PROA_ECONFLICT ? PROA_LOG_WARN : PROA_LOG_ERROR,
                         "reconcile failed", run->reconcile.err);
    }
    return outcome;
}

/* Until the API server is back, or may be. */
static void wait_for_api(struct proa_controller *controller)
{
    uint64_t ms = controller->away_ms ? controller->away_ms : AWAY_FIRST_MS;
    bool is_back;

    controller->away_ms = ms * 2 > AWAY_MAX_MS ? AWAY_MAX_MS : (uint32_t)(ms * 2);
    if (kube_wait_ready(controller->manager->kube, PROA_MS(ms), &is_back) == 0 && is_back)
        controller->away_ms = 0;
}

/* @returns whether the API server was there. */
static bool reconcile_item(struct proa_controller *controller, struct queue_item *item)
{
    struct proa_loop *loop = controller->manager->loop;
    uint32_t ms = controller->options.reconcile_ms ? controller->options.reconcile_ms : RECONCILE_MS;
    proa_mono_ns began = proa_loop_now_exact(loop);
    struct proa_deadline_scope scope = proa_deadline_enter(loop, began + PROA_MS(ms));
    const struct proa_kv fields[] = {proa_kv_c("controller", controller->options.name),
                                     proa_kv_str("namespace", queue_namespace(item)),
                                     proa_kv_str("name", queue_name(item))};
    struct proa_logger logger = {.log = controller->manager->logger.log,
                                 .target = controller->manager->logger.target,
                                 .fields = fields,
                                 .fields_count = PROA_COUNT(fields),
                                 .parent = &controller->manager->logger};
    struct proa_arena arena;
    struct proa_error err = {.arena = &arena};
    struct reconcile_run run = {.reconcile = {.namespace_ = queue_namespace(item),
                                              .name = queue_name(item),
                                              .kube = controller->manager->kube,
                                              .manager = controller->manager,
                                              .controller = controller,
                                              .arena = &arena,
                                              .err = &err,
                                              .logger = &logger},
                                .item = item};
    struct queue_outcome outcome;
    uint64_t took_ns;
    bool is_away;
    int rc;

    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    rc = controller->options.reconcile(&run.reconcile, controller->options.arg);
    proa_deadline_leave(&scope);
    took_ns = proa_loop_now_exact(loop) - began;
    is_away = api_is_away(&run, rc);
    outcome = judge(&run, rc, is_away);
    if (!outcome.was_stopped)
        count_outcome(controller, &outcome, took_ns);
    queue_finish(item, &outcome);
    proa_arena_done(&arena);
    return !is_away;
}

static void set_active(struct proa_controller *controller)
{
    if (controller->metrics.active)
        proa_gauge_set(controller->metrics.active, controller->running);
}

static int work(void *arg)
{
    struct proa_controller *controller = arg;
    struct queue_item *item;

    controller->starting--;
    while (!is_stopped(controller) && (item = queue_take(&controller->queue))) {
        if (reconcile_item(controller, item))
            controller->away_ms = 0;
        else if (!is_stopped(controller))
            wait_for_api(controller);
    }
    controller->running--;
    set_active(controller);
    return 0;
}

static uint32_t concurrency(const struct proa_controller *controller)
{
    return controller->options.concurrency ? controller->options.concurrency : 1;
}

static void pump(struct proa_controller *controller)
{
    const struct proa_fiber_options fiber = {.name = controller->options.name};

    if (!controller->term || !controller_has_synced(controller))
        return;
    /* A fiber that runs takes key after key; one more is of use while keys are ready that none has come for. */
    while (controller->running < concurrency(controller) && controller->starting < controller->queue.ready_count) {
        if (proa_group_start(controller->term, &fiber, work, controller) < 0) {
            proa_ignore(
                proa_timer_start(&controller->again, proa_loop_now(controller->manager->loop) + PROA_MS(AGAIN_MS)));
            return;
        }
        controller->running++;
        controller->starting++;
        set_active(controller);
    }
}

static void queue_ready(void *arg)
{
    pump(arg);
}

static void try_again(struct proa_timer *timer)
{
    pump(PROA_CONTAINER(timer, struct proa_controller, again));
}

static void source_synced(struct cache_subscriber *subscriber)
{
    pump(PROA_CONTAINER(subscriber, struct controller_source, subscriber)->controller);
}

bool controller_has_synced(const struct proa_controller *controller)
{
    for (size_t i = 0; i < controller->sources_count; i++)
        if (!controller->sources[i].cache->has_synced)
            return false;
    return true;
}

void controller_start(struct proa_controller *controller, struct proa_group *term)
{
    const struct proa_cache *cache = controller->sources[0].cache;
    struct proa_cached cached;
    void *it = NULL;

    assert(controller->running == 0);
    controller->term = term;
    /* What there is to do is known from the cache, and what an earlier term left undone. */
    while (proa_cache_next(cache, &it, &cached))
        queue_add(&controller->queue, cached.namespace_, cached.name, QUEUE_LOW);
    pump(controller);
}

void controller_retry(struct proa_controller *controller)
{
    queue_retry(&controller->queue);
}

void controller_stop(struct proa_controller *controller)
{
    controller->term = NULL;
    proa_timer_stop(&controller->again);
}

/* -- Making -------------------------------------------------------------------------------------------------------- */

static size_t count_sources(const struct proa_source *sources)
{
    size_t count = 0;

    while (sources && sources[count].kind)
        count++;
    return count;
}

static int add_source(struct proa_controller *controller, const struct proa_source *source, enum source_role role,
                      struct proa_error *err)
{
    struct controller_source *own = &controller->sources[controller->sources_count];

    if ((source->map || source->predicate || source->indexes[0]) && !source->type)
        return proa_fail(err, PROA_EINVAL, "controller %s: a source of %s with a map, predicate or index needs a type",
                         controller->options.name, source->kind->kind);
    if (source->map && source->map_with)
        return proa_fail(err, PROA_EINVAL, "controller %s: a source of %s has a map or a map_with, not both",
                         controller->options.name, source->kind->kind);
    own->controller = controller;
    own->source = *source;
    own->role = role;
    own->subscriber.changed = changed;
    own->subscriber.synced = source_synced;
    PROA_TRY(manager_cache(controller->manager, source, &own->cache, err));
    proa_list_push_back(&own->cache->subscribers, &own->subscriber.list);
    controller->sources_count++;
    return 0;
}

static int check_options(const struct proa_controller_options *options, struct proa_error *err)
{
    const struct proa_type *type = options->for_.type;

    if (!options->name || !options->reconcile || !options->for_.kind)
        return proa_fail(err, PROA_EINVAL, "a controller needs a name, a reconcile function and a kind");
    if (!type || type->fields_count == 0 || type->fields[0].type != &proa_kube_meta_type.type ||
        type->fields[0].offset != 0)
        return proa_fail(err, PROA_EINVAL,
                         "controller %s: the type of for_ must begin with metadata, a struct proa_kube_meta",
                         options->name);
    return 0;
}

static int add_sources(struct proa_controller *controller, struct proa_error *err)
{
    const struct proa_controller_options *options = &controller->options;

    PROA_TRY(add_source(controller, &options->for_, SOURCE_FOR, err));
    for (const struct proa_source *source = options->owns; source && source->kind; source++)
        PROA_TRY(add_source(controller, source, SOURCE_OWNS, err));
    for (const struct proa_source *source = options->watches; source && source->kind; source++)
        PROA_TRY(add_source(controller, source, SOURCE_WATCHES, err));
    return 0;
}

static int add_result_metrics(struct proa_controller *controller, struct proa_metrics *metrics, struct proa_error *err)
{
    const struct proa_metric_options total = {.name = "controller_runtime_reconcile",
                                              .help = "Total number of reconciliations per controller",
                                              .labels = {"controller", "result"}};
    const struct proa_metric_options errors = {.name = "controller_runtime_reconcile_errors",
                                               .help = "Total number of reconciliation errors per controller",
                                               .labels = {"controller"}};
    proa_str values[] = {proa_str_c(controller->options.name), PROA_STR("success")};
    struct proa_counter *counter;

    PROA_TRY(proa_counter_new(metrics, &total, &counter, err));
    controller->metrics.success = proa_counter_with(counter, values);
    values[1] = PROA_STR("error");
    controller->metrics.error = proa_counter_with(counter, values);
    values[1] = PROA_STR("requeue_after");
    controller->metrics.requeue_after = proa_counter_with(counter, values);
    PROA_TRY(proa_counter_new(metrics, &errors, &counter, err));
    controller->metrics.errors = proa_counter_with(counter, values);
    return 0;
}

static int add_metrics(struct proa_controller *controller, struct proa_metrics *metrics, struct proa_error *err)
{
    static const double buckets[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 1, 2, 5, 10, 30, 60};
    const struct proa_metric_options time = {.name = "controller_runtime_reconcile_time_seconds",
                                             .help = "Length of time per reconciliation per controller",
                                             .unit = "seconds",
                                             .labels = {"controller"},
                                             .buckets = buckets,
                                             .buckets_count = PROA_COUNT(buckets)};
    const struct proa_metric_options active = {.name = "controller_runtime_active_workers",
                                               .help = "Number of currently used workers per controller",
                                               .labels = {"controller"}};
    const struct proa_metric_options max = {.name = "controller_runtime_max_concurrent_reconciles",
                                            .help = "Maximum number of concurrent reconciles per controller",
                                            .labels = {"controller"}};
    proa_str name = proa_str_c(controller->options.name);
    struct proa_histogram *histogram;
    struct proa_gauge *gauge;

    if (!metrics)
        return 0;
    PROA_TRY(add_result_metrics(controller, metrics, err));
    PROA_TRY(proa_gauge_new(metrics, &active, &gauge, err));
    controller->metrics.active = proa_gauge_with(gauge, &name);
    PROA_TRY(proa_gauge_new(metrics, &max, &gauge, err));
    controller->metrics.max = proa_gauge_with(gauge, &name);
    proa_gauge_set(controller->metrics.max, concurrency(controller));
    PROA_TRY(proa_histogram_new(metrics, &time, &histogram, err));
    controller->metrics.time = proa_histogram_with(histogram, &name);
    return 0;
}

static int init(struct proa_controller *controller, struct proa_error *err)
{
    const struct proa_controller_options *options = &controller->options;
    const struct queue_options queue = {.loop = controller->manager->loop,
                                        .metrics = controller->manager->options.metrics,
                                        .name = options->name,
                                        .backoff_first_ns = options->backoff_first_ns,
                                        .backoff_max_ns = options->backoff_max_ns,
                                        .resync_ns = options->resync_ns,
                                        .ready = queue_ready,
                                        .arg = controller};

    PROA_TRY(queue_init(&controller->queue, &queue, err));
    PROA_TRY(add_metrics(controller, controller->manager->options.metrics, err));
    return add_sources(controller, err);
}

int controller_new(struct proa_manager *manager, const struct proa_controller_options *options,
                   struct proa_controller **ret_controller, struct proa_error *err)
{
    struct proa_controller *controller;
    int rc;

    PROA_TRY(check_options(options, err));
    controller = calloc(1, sizeof *controller);
    if (!controller)
        return proa_fail(err, PROA_ENOMEM, "no memory for a controller");
    controller->manager = manager;
    controller->options = *options;
    proa_list_init(&controller->list);
    proa_timer_init(&controller->again, manager->loop, try_again);
    controller->sources =
        calloc(1 + count_sources(options->owns) + count_sources(options->watches), sizeof *controller->sources);
    rc = controller->sources ? init(controller, err) : proa_fail(err, PROA_ENOMEM, "no memory for a controller");
    if (rc < 0) {
        controller_free(controller);
        return rc;
    }
    *ret_controller = controller;
    return 0;
}

void controller_free(struct proa_controller *controller)
{
    if (!controller)
        return;
    assert(controller->running == 0);
    for (size_t i = 0; controller->sources && i < controller->sources_count; i++)
        proa_list_remove(&controller->sources[i].subscriber.list);
    if (controller->queue.options.loop)
        queue_done(&controller->queue);
    proa_timer_stop(&controller->again);
    proa_list_remove(&controller->list);
    free(controller->sources);
    free(controller);
}

struct proa_cache *proa_controller_cache(struct proa_controller *controller, const struct proa_kube_kind *kind)
{
    for (size_t i = 0; i < controller->sources_count; i++) {
        const struct proa_kube_kind *own = controller->sources[i].source.kind;

        if (own == kind || (strcmp(own->plural, kind->plural) == 0 && strcmp(own->group, kind->group) == 0))
            return controller->sources[i].cache;
    }
    return NULL;
}

void proa_controller_enqueue(struct proa_controller *controller, proa_str namespace_, proa_str name, uint64_t after_ns)
{
    queue_add_after(&controller->queue, namespace_, name, after_ns);
}

/* The manager: shared watches, leadership, and the life of controllers. */
#include "ready.h"
#include "runtime.h"

#include <assert.h>
#include <proa/crd.h>
#include <stdlib.h>

enum {
    WATCH_AGAIN_MS = 1000,
    INSTALL_AGAIN_MS = 2000,
    RUN_AGAIN_MS = 1000,
    RUN_AGAIN_MAX_MS = 30000,
    CALM_S = 5,
    CALM_CHANGES = 100 /* in so long */
};

/* -- Caches -------------------------------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return proa_str_eq_c(proa_str_c(a), b);
}

static bool same_source(const struct proa_source *a, const struct proa_source *b)
{
    for (size_t i = 0; i < PROA_INDEXES_MAX; i++)
        if (a->indexes[i] != b->indexes[i])
            return false;
    return a->type == b->type && same_text(a->kind->group, b->kind->group) &&
           same_text(a->kind->version, b->kind->version) && same_text(a->kind->plural, b->kind->plural) &&
           same_text(a->namespace_, b->namespace_) && same_text(a->label_selector, b->label_selector) &&
           same_text(a->field_selector, b->field_selector);
}

int manager_cache(struct proa_manager *manager, const struct proa_source *source, struct proa_cache **ret_cache,
                  struct proa_error *err)
{
    struct proa_cache *cache;

    for (struct proa_list *at = manager->caches.next; at != &manager->caches; at = at->next) {
        cache = PROA_CONTAINER(at, struct proa_cache, list);
        if (same_source(&cache->source, source)) {
            *ret_cache = cache;
            return 0;
        }
    }
    PROA_TRY(cache_new(manager->kube, &manager->shared, source, manager->options.metrics, &cache, err));
    proa_list_push_back(&manager->caches, &cache->list);
    *ret_cache = cache;
    return 0;
}

static int watch(void *arg)
{
    struct proa_cache *cache = arg;
    const struct proa_source *source = &cache->source;
    struct proa_loop *loop = proa_kube_loop(cache->kube);
    const struct proa_kube_watch_options options = {.namespace_ = proa_str_c(source->namespace_),
                                                    .label_selector = proa_str_c(source->label_selector),
                                                    .field_selector = proa_str_c(source->field_selector),
                                                    .event = cache_event,
                                                    .arg = cache};

    for (;;) {
        struct proa_error err = {0};
        int rc = proa_kube_watch(cache->kube, source->kind, &options, &err);

        PROA_TRY(proa_fiber_check(loop));
        /* Memory was out; what is known stays until there is some. */
        if (cache->kube->options.logger)
            PROA_ERROR(cache->kube->options.logger, "cache stopped", proa_kv_c("kind", source->kind->kind),
                       proa_kv_c("code", proa_code_name(rc)));
        PROA_TRY(proa_sleep(loop, PROA_MS(WATCH_AGAIN_MS)));
    }
}

/* -- Terms --------------------------------------------------------------------------------------------------------- */

static void each_controller(struct proa_manager *manager, struct proa_group *term)
{
    for (struct proa_list *at = manager->controllers.next; at != &manager->controllers; at = at->next) {
        struct proa_controller *controller = PROA_CONTAINER(at, struct proa_controller, list);

        if (term)
            controller_start(controller, term);
        else
            controller_stop(controller);
    }
}

static void set_leader(struct proa_manager *manager, bool is_leader)
{
    manager->is_leader = is_leader;
    if (manager->is_master)
        proa_gauge_set(manager->is_master, is_leader);
}

/* From winning to losing or the end. @returns PROA_ECONFLICT when the lease was lost, or the cancellation's cause. */
static int serve_term(struct proa_manager *manager)
{
    struct proa_event never;
    struct proa_group term;
    int rc;

    proa_group_init(&term, manager->loop);
    set_leader(manager, true);
    each_controller(manager, &term);
    if (manager->options.lease_name) {
        rc = leader_hold(&manager->leader);
    } else {
        proa_event_init(&never, manager->loop);
        rc = proa_event_wait(&never);
    }
    set_leader(manager, false);
    each_controller(manager, NULL);
    proa_group_cancel(&term, PROA_ECANCELED);
    proa_ignore(proa_group_wait(&term)); /* reconciles have told their errors */
    return rc;
}

static int lead(struct proa_manager *manager)
{
    const struct proa_logger *logger = &manager->logger;
    int rc;

    if (!manager->options.lease_name)
        return serve_term(manager);
    for (;;) {
        rc = leader_acquire(&manager->leader);
        if (rc < 0) {
            leader_release(&manager->leader); /* it may have become ours unawares */
            return rc;
        }
        PROA_INFO(logger, "leading", proa_kv_c("lease", manager->options.lease_name),
                  proa_kv_c("identity", manager->leader.identity));
        rc = serve_term(manager);
        if (proa_fiber_check(manager->loop) < 0) {
            leader_release(&manager->leader);
            return rc;
        }
        PROA_WARN(logger, "lease lost", proa_kv_c("lease", manager->options.lease_name),
                  proa_kv_c("holder", manager->leader.holder));
    }
}

/* Whether waiting may help: the API server is away or not ready. One that is starting refuses everybody, since it has not read its roles
 * yet: its refusal counts only when it stands while the server is ready. */
static bool is_passing(struct proa_manager *manager, int rc, uint32_t *refusals)
{
    enum kube_readiness seen;

    if (rc == PROA_EFORBIDDEN || rc == PROA_EUNAUTHORIZED)
        return kube_ask(manager->kube, &seen) == 0 && (seen != KUBE_SEEN_READY || ++*refusals < 2);
    return rc == PROA_EUNAVAILABLE || rc == PROA_ETIMEDOUT || rc == PROA_EBUSY || rc == PROA_EUNKNOWN ||
           rc == PROA_EIO || rc == PROA_ECLOSED;
}

static int install_definition(struct proa_manager *manager, const struct proa_crd_options *crd, struct proa_error *err)
{
    uint32_t refusals = 0;

    for (;;) {
        int rc = proa_crd_install(manager->kube, crd, err);

        if (rc == 0)
            return 0;
        PROA_TRY(proa_fiber_check(manager->loop));
        if (!is_passing(manager, rc, &refusals))
            return rc;
        proa_log_failure(&manager->logger, PROA_LOG_WARN, "definition not installed", err);
        proa_error_clear(err);
        PROA_TRY(kube_wait_ready(manager->kube, PROA_MS(INSTALL_AGAIN_MS), NULL));
    }
}

static int install_definitions(struct proa_manager *manager, struct proa_error *err)
{
    for (struct proa_list *at = manager->controllers.next; at != &manager->controllers; at = at->next) {
        const struct proa_controller *controller = PROA_CONTAINER(at, struct proa_controller, list);

        if (controller->options.crd)
            PROA_TRY(install_definition(manager, controller->options.crd, err));
    }
    return 0;
}

/* Tells the controllers when the API server is back. */
static int watch_readiness(void *arg)
{
    struct proa_manager *manager = arg;
    uint64_t seen = manager->kube->ready_count;

    for (;;) {
        PROA_TRY(proa_event_wait(&manager->kube->probed));
        if (manager->kube->ready_count == seen)
            continue;
        seen = manager->kube->ready_count;
        for (struct proa_list *at = manager->controllers.next; at != &manager->controllers; at = at->next)
            controller_retry(PROA_CONTAINER(at, struct proa_controller, list));
    }
}

/* After a list or a burst of changes much memory is free in pieces: it is given back once it is calm, by the pages. */
static int give_back(void *arg)
{
    struct proa_manager *manager = arg;
    uint64_t trimmed = 0;

    for (;;) {
        uint64_t before = manager->shared.changes, now;

        PROA_TRY(proa_sleep(manager->loop, PROA_SECONDS(CALM_S)));
        now = manager->shared.changes;
        if (now - before > CALM_CHANGES || now == trimmed)
            continue;
        proa_loop_trim(manager->loop);
        trimmed = now;
    }
}

static int send_events(void *arg)
{
    return events_run(&((struct proa_manager *)arg)->events);
}

static int start_background(struct proa_manager *manager, struct proa_group *background)
{
    const struct proa_fiber_options watch_fiber = {.name = "kube-watch"}, events_fiber = {.name = "kube-events"},
                                    readiness_fiber = {.name = "kube-readiness"}, rest_fiber = {.name = "kube-rest"};

    for (struct proa_list *at = manager->caches.next; at != &manager->caches; at = at->next)
        PROA_TRY(proa_group_start(background, &watch_fiber, watch, PROA_CONTAINER(at, struct proa_cache, list)));
    PROA_TRY(proa_group_start(background, &readiness_fiber, watch_readiness, manager));
    PROA_TRY(proa_group_start(background, &rest_fiber, give_back, manager));
    return proa_group_start(background, &events_fiber, send_events, manager);
}

int proa_manager_run(struct proa_manager *manager, struct proa_error *err)
{
    struct proa_error own = {0};
    struct proa_group background;
    int rc;

    assert(!manager->is_running);
    manager->is_running = true;
    proa_group_init(&background, manager->loop);
    rc = install_definitions(manager, err ? err : &own);
    if (rc == 0) {
        rc = start_background(manager, &background);
        if (rc < 0)
            rc = proa_fail(err, rc, "the manager's fibers cannot be started");
        else
            rc = lead(manager);
    }
    proa_group_cancel(&background, PROA_ECANCELED);
    proa_ignore(proa_group_wait(&background)); /* they end by being cancelled */
    manager->is_running = false;
    return proa_fiber_check(manager->loop) < 0 ? 0 : rc;
}

int proa_manager_task(void *arg)
{
    struct proa_manager *manager = arg;
    uint32_t ms = RUN_AGAIN_MS;

    for (;;) {
        struct proa_error err = {0};
        int rc = proa_manager_run(manager, &err);

        if (rc == 0)
            return 0;
        /* A program whose manager has ended is of no use, and looks alive all the same. */
        proa_log_failure(&manager->logger, PROA_LOG_ERROR, "manager ended", &err);
        if (proa_sleep(manager->loop, PROA_MS(ms)) < 0)
            return 0;
        ms = ms * 2 > RUN_AGAIN_MAX_MS ? RUN_AGAIN_MAX_MS : ms * 2;
    }
}

int proa_manager_check(void *manager, struct proa_loop *loop, struct proa_error *err)
{
    (void)loop;
    return proa_manager_is_ready(manager) ? 0 : proa_fail(err, PROA_EUNAVAILABLE, "the caches have not synced yet");
}

struct proa_kube *proa_manager_kube(const struct proa_manager *manager)
{
    return manager->kube;
}

bool proa_manager_is_leader(const struct proa_manager *manager)
{
    return manager->is_leader;
}

bool manager_may_write(const struct proa_manager *manager)
{
    return manager->is_leader && (!manager->options.lease_name || leader_is_in_time(&manager->leader));
}

bool proa_manager_is_ready(const struct proa_manager *manager)
{
    for (struct proa_list *at = manager->caches.next; at != &manager->caches; at = at->next)
        if (!PROA_CONTAINER(at, struct proa_cache, list)->has_synced)
            return false;
    return manager->is_running;
}

/* -- Making -------------------------------------------------------------------------------------------------------- */

static int add_metrics(struct proa_manager *manager, struct proa_error *err)
{
    const struct proa_metric_options master = {
        .name = "leader_election_master_status",
        .help = "Whether the reporting system is master of the lease: 0 indicates backup, 1 master",
        .labels = {"name"}};
    proa_str name = proa_str_c(manager->options.lease_name);
    const struct proa_metric_options slow = {.name = "leader_election_slowpath",
                                             .help = "Total number of slow path exercised in renewing leader leases",
                                             .labels = {"name"}};
    struct proa_counter *counter;
    struct proa_gauge *gauge;

    if (!manager->options.metrics || !manager->options.lease_name)
        return 0;
    PROA_TRY(proa_gauge_new(manager->options.metrics, &master, &gauge, err));
    manager->is_master = proa_gauge_with(gauge, &name);
    proa_gauge_set(manager->is_master, 0);
    PROA_TRY(proa_counter_new(manager->options.metrics, &slow, &counter, err));
    manager->leader.options.slow_paths = proa_counter_with(counter, &name);
    return 0;
}

static int take_client(struct proa_manager *manager, struct proa_error *err)
{
    const struct proa_manager_options *options = &manager->options;

    manager->kube = options->kube;
    if (!manager->kube) {
        PROA_TRY(proa_kube_config_load(options->loop, &(struct proa_kube_config_options){.env = options->env},
                                       &manager->own_config, err));
        PROA_TRY(proa_kube_new(&(struct proa_kube_options){.loop = options->loop,
                                                           .config = manager->own_config,
                                                           .metrics = options->metrics,
                                                           .logger = options->logger,
                                                           .user_agent = options->name},
                               &manager->kube, err));
    }
    manager->loop = proa_kube_loop(manager->kube);
    return 0;
}

static void free_client(struct proa_manager *manager)
{
    if (!manager->own_config)
        return;
    proa_kube_free(manager->kube);
    proa_kube_config_free(manager->own_config);
}

int proa_manager_new(const struct proa_manager_options *options, struct proa_manager **ret_manager,
                     struct proa_error *err)
{
    const struct leader_options times = {.name = options->lease_name,
                                         .lease_ms = options->lease_ms,
                                         .renew_ms = options->renew_ms,
                                         .retry_ms = options->retry_ms};
    struct proa_manager *manager;
    int rc;

    if (options->lease_name && !options->lease_namespace)
        return proa_fail(err, PROA_EINVAL, "the lease %s needs a namespace", options->lease_name);
    if (options->lease_name)
        PROA_TRY(leader_check(&times, err));
    if (!options->kube && (!options->loop || !options->name))
        return proa_fail(err, PROA_EINVAL, "a manager needs a client, or a loop and a name to make one");
    if (!(manager = calloc(1, sizeof *manager)))
        return proa_fail(err, PROA_ENOMEM, "no memory for a manager");
    manager->options = *options;
    proa_list_init(&manager->caches);
    proa_list_init(&manager->controllers);
    rc = take_client(manager, err);
    if (rc < 0) {
        free_client(manager);
        free(manager);
        return rc;
    }
    if (options->logger)
        manager->logger = *options->logger;
    leader_init(&manager->leader, &(struct leader_options){.kube = manager->kube,
                                                           .logger = &manager->logger,
                                                           .name = options->lease_name,
                                                           .namespace_ = options->lease_namespace,
                                                           .identity = options->identity,
                                                           .lease_ms = options->lease_ms,
                                                           .renew_ms = options->renew_ms,
                                                           .retry_ms = options->retry_ms});
    events_init(&manager->events, &(struct events_options){.kube = manager->kube,
                                                           .logger = &manager->logger,
                                                           .controller = proa_kube_field_manager(manager->kube),
                                                           .instance = manager->leader.identity});
    rc = add_metrics(manager, err);
    if (rc < 0) {
        proa_manager_free(manager);
        return rc;
    }
    *ret_manager = manager;
    return 0;
}

void proa_manager_free(struct proa_manager *manager)
{
    struct proa_list *at;

    if (!manager)
        return;
    assert(!manager->is_running);
    while ((at = proa_list_pop_front(&manager->controllers)))
        controller_free(PROA_CONTAINER(at, struct proa_controller, list));
    while ((at = proa_list_pop_front(&manager->caches)))
        cache_free(PROA_CONTAINER(at, struct proa_cache, list));
    cache_shared_done(&manager->shared);
    events_done(&manager->events);
    free_client(manager);
    free(manager);
}

int proa_controller_add(struct proa_manager *manager, const struct proa_controller_options *options,
                        struct proa_controller **ret_controller, struct proa_error *err)
{
    struct proa_controller *controller;

    assert(!manager->is_running);
    PROA_TRY(controller_new(manager, options, &controller, err));
    proa_list_push_back(&manager->controllers, &controller->list);
    if (ret_controller)
        *ret_controller = controller;
    return 0;
}

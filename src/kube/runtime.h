/** Managers and controllers from the inside. */
#ifndef PROA_KUBE_RUNTIME_H
#define PROA_KUBE_RUNTIME_H

#include "cache.h"
#include "events.h"
#include "leader.h"
#include "queue.h"

struct proa_manager {
    struct proa_manager_options options;
    struct proa_kube *kube;
    struct proa_kube_config *own_config; /* and with it the client is ours; else NULL */
    struct proa_loop *loop;
    struct proa_logger logger;
    struct proa_list caches; /* of struct proa_cache */
    struct cache_shared shared;
    struct proa_list controllers; /* of struct proa_controller */
    struct leader leader;
    struct events events;
    struct proa_gauge_series *is_master;
    bool is_running, is_leader;
};

enum source_role { SOURCE_FOR, SOURCE_OWNS, SOURCE_WATCHES };

/** One source of a controller, told by its cache. */
struct controller_source {
    struct cache_subscriber subscriber;
    struct proa_controller *controller;
    struct proa_source source;
    enum source_role role;
    struct proa_cache *cache;
};

struct controller_metrics {
    struct proa_counter_series *success, *error, *requeue_after, *errors;
    struct proa_histogram_series *time;
    struct proa_gauge_series *active, *max;
};

struct proa_controller {
    struct proa_list list; /* of the manager's */
    struct proa_manager *manager;
    struct proa_controller_options options;
    struct controller_source *sources; /* the first is for_ */
    size_t sources_count;
    struct queue queue;
    struct proa_group *term; /* where reconciles run; NULL while this manager does not lead */
    uint32_t running;
    uint32_t starting;       /* of them, those that have not looked at the queue yet */
    struct proa_timer again; /* a fiber could not be had */
    uint32_t away_ms;        /* how long to wait for an API server that is away; 0: it is not */
    struct controller_metrics metrics;
};

/** A reconcile with what belongs to it. */
struct reconcile_run {
    struct proa_reconcile reconcile;
    struct queue_item *item;
    bool api_may_be_away; /* a call failed as it does then */
};

/* controller.c */
PROA_MUST_USE int controller_new(struct proa_manager *manager, const struct proa_controller_options *options,
                                 struct proa_controller **ret_controller, struct proa_error *err);
void controller_free(struct proa_controller *controller);
/** Reconciles run in the group from now on. */
void controller_start(struct proa_controller *controller, struct proa_group *term);
/** No further reconcile begins; the group is to be cancelled and waited for. */
void controller_stop(struct proa_controller *controller);
/** The API server is back: what failed is tried at once. */
void controller_retry(struct proa_controller *controller);
bool controller_has_synced(const struct proa_controller *controller);

/* manager.c */
/** The cache that serves this source, made when there is none. */
PROA_MUST_USE int manager_cache(struct proa_manager *manager, const struct proa_source *source,
                                struct proa_cache **ret_cache, struct proa_error *err);
/** Whether this one may write now: it leads, and its time is not over. */
bool manager_may_write(const struct proa_manager *manager);

#endif

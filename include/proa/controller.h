/** Controllers: a cache fed by list-watch, a work queue, reconciling, leader election, events. The names are
 *  controller-runtime's.
 *
 *      static int reconcile(struct proa_reconcile *ctx, void *arg) { … return 0; }
 *
 *      PROA_TRY(proa_manager_new(&(struct proa_manager_options){.loop = loop, .env = environ, .name = "app"},
 *                                &manager, err));
 *      PROA_TRY(proa_controller_add(manager, &(struct proa_controller_options){
 *                   .name = "app", .reconcile = reconcile,
 *                   .for_ = {.kind = &app_kind, .type = &app_type.type},
 *                   .owns = (const struct proa_source[]){{.kind = &proa_kube_config_maps}, {NULL}}}, NULL, err));
 *      return proa_manager_run(manager, err);
 *
 *  Everything runs on the manager's loop. docs/operators.md builds a whole one.
 */
#ifndef PROA_CONTROLLER_H
#define PROA_CONTROLLER_H

#include <proa/kube.h>

PROA_BEGIN_DECLS

enum { PROA_INDEXES_MAX = 4 };

struct proa_cached;
struct proa_controller;

/* -- Cache --------------------------------------------------------------------------------------------------------- */

/** Where objects come from, and what is kept of each: exactly the members of `type`. Strings are static or outlive the
 *  manager. */
struct proa_source {
    const struct proa_kube_kind *kind;
    /** The projection: any described struct. Of for_, and wherever proa_generation_changed is used, its first member is
     *  `metadata`, a struct proa_kube_meta. Elsewhere a smaller `metadata`, or none, spares memory: the cache knows
     *  names, uid, version and controlling owner by itself. NULL: nothing else is kept. kubectl's annotation
     *  last-applied-configuration is never kept. */
    const struct proa_type *type;
    const char *namespace_;     /**< NULL: all */
    const char *label_selector; /**< NULL: none */
    const char *field_selector;
    /** Keys of an index over the cached objects; calls add(ctx, key) for each. Ended by NULL. "namespace/name" and the
     *  controlling owner's uid are always indexed. An object has at most 64 keys; what is beyond them is not found, and
     *  a warning tells the first. */
    void (*indexes[PROA_INDEXES_MAX])(const void *object, void (*add)(void *ctx, proa_str key), void *ctx);
    /** `watches`: which keys an object's change concerns; calls add(ctx, namespace, name). NULL: for `owns`, its
     *  controlling owner of the controller's kind; for `for_` and `watches`, itself. */
    void (*map)(const void *object, void (*add)(void *ctx, proa_str namespace_, proa_str name), void *ctx);
    /** The same where the controller's caches tell which keys those are: of a Secret, the objects that name it, by an
     *  index of for_ (proa_controller_cache, proa_cache_next_indexed). Must not suspend. Needs no type. */
    void (*map_with)(struct proa_controller *controller, const struct proa_cached *changed,
                     void (*add)(void *ctx, proa_str namespace_, proa_str name), void *ctx);
    /** Whether a change matters; old is NULL for an object new in the cache, new for one that is gone. NULL: always.
     *  proa_generation_changed is a useful one. */
    bool (*predicate)(const void *old_object, const void *new_object);
};
/** Created, gone, marked for deletion, or another generation: not a change of status or labels only. */
bool proa_generation_changed(const void *old_object, const void *new_object);

struct proa_cache;
/** One cached object. Valid until the fiber suspends. */
struct proa_cached {
    const void *object; /**< of the source's type; NULL when it has none */
    proa_str namespace_, name, uid, resource_version;
    proa_str owner_uid; /**< of the controlling owner, "" if none */
    /** Over the values of the fields that our field manager applied (by managedFields): it changes when one of them is
     *  changed by anyone, and is what it was after an apply that met no other value. 0: we own no field. */
    uint64_t applied_digest;
};
/* A cache belongs to its manager's loop: all of these are called there, and none suspends. */
/** Whether the first list has been taken in whole: from then on what is not in the cache is not there. */
bool proa_cache_has_synced(const struct proa_cache *cache);
/** @returns false when there is no such object. */
bool proa_cache_get(const struct proa_cache *cache, proa_str namespace_, proa_str name, struct proa_cached *ret_cached);
/** Walks objects controlled by this owner, or with this index key: `void *it = NULL; while
 *  (proa_cache_next_owned(…))`. */
bool proa_cache_next_owned(const struct proa_cache *cache, proa_str owner_uid, void **it,
                           struct proa_cached *ret_cached);
bool proa_cache_next_indexed(const struct proa_cache *cache, unsigned index, proa_str key, void **it,
                             struct proa_cached *ret_cached);
/** The same over all objects. */
bool proa_cache_next(const struct proa_cache *cache, void **it, struct proa_cached *ret_cached);
/** How many objects there are, and the bytes that they and the indexes take: proa_cache_objects, proa_cache_bytes. */
size_t proa_cache_count(const struct proa_cache *cache);
size_t proa_cache_bytes(const struct proa_cache *cache);

/* -- Reconciling --------------------------------------------------------------------------------------------------- */

struct proa_manager;
struct proa_crd_options;

/** What a reconcile works with. Lives during the call. */
struct proa_reconcile {
    proa_str namespace_;
    proa_str name;
    struct proa_kube *kube;
    struct proa_manager *manager;
    struct proa_controller *controller;
    struct proa_arena *arena;
    struct proa_error *err;
    const struct proa_logger *logger; /**< with controller, namespace and name */
    uint64_t requeue_after_ns;        /**< set by the reconcile: come back then although nothing changed; 0: not */
};
/** May suspend. 0: done; a negative result is an error: again after a back-off. Never two at once for the same key. */
typedef int proa_reconcile_fn(struct proa_reconcile *ctx, void *arg);

struct proa_controller_options {
    const char *name;
    proa_reconcile_fn *reconcile;
    void *arg;
    struct proa_source for_;
    const struct proa_crd_options *crd; /**< installed when the manager starts; NULL: that is somebody else's. Static */
    const struct proa_source *owns;     /**< ended by {NULL}; objects whose controlling owner is of for_'s kind */
    const struct proa_source *watches;  /**< ended by {NULL}; with a map or map_with */
    uint32_t concurrency;               /**< reconciles at once; 0: 1 */
    uint64_t resync_ns;        /**< every object again after it, spread over 64 moments, at low priority; 0: never */
    uint64_t backoff_first_ns; /**< wait after a first error, doubled by each further one. 0: 5 ms */
    uint64_t backoff_max_ns;   /**< up to this. 0: 1,000 s */
    uint32_t reconcile_ms;     /**< deadline of one; 0: 60,000 */
};

struct proa_manager_options {
    /** The client; NULL: the manager makes one of its own from the default configuration (KUBECONFIG …, see
     *  proa_kube_config_load), for which it needs the next three. */
    struct proa_kube *kube;
    struct proa_loop *loop;
    char *const *env;             /**< main's environ */
    const char *name;             /**< user agent and field manager; static */
    struct proa_metrics *metrics; /**< controller_runtime_*, workqueue_*, leader_election_*, proa_cache_* */
    const struct proa_logger *logger;
    /** Leader election by a Lease of this name; NULL: none. */
    const char *lease_name;
    const char *lease_namespace;
    const char *identity; /**< NULL: host name and a random part */
    /** How long a lease that nobody renews is another's, how long a leader tries to renew its own before it stops (so
     *  less than that), and the pause between two tries (less than five sixths of that). 0: 15,000, 10,000, 2,000 */
    uint32_t lease_ms, renew_ms, retry_ms;
};
/** The options are copied; what they point to outlives the manager. May suspend when it makes a client. @returns 0,
 *  PROA_EINVAL (neither a client nor a loop and a name, a lease without a namespace or with times that do not fit),
 *  PROA_ENOMEM, or why there is no configuration. */
PROA_MUST_USE int proa_manager_new(const struct proa_manager_options *options, struct proa_manager **ret_manager,
                                   struct proa_error *err);
/** Not while it runs. Frees its controllers and caches, and the client that it made. NULL is fine. */
void proa_manager_free(struct proa_manager *manager);
/** Adds a controller before the manager runs, which owns it. The options are copied, not what they point to: names,
 *  sources, types and `arg` outlive the manager. `ret_controller` may be NULL. @returns 0, PROA_EINVAL (`err` says
 *  which option), PROA_ENOMEM. */
PROA_MUST_USE int proa_controller_add(struct proa_manager *manager, const struct proa_controller_options *options,
                                      struct proa_controller **ret_controller, struct proa_error *err);
/** Caches, election, controllers, until the fiber is cancelled: then running reconciles are cancelled and waited for,
 *  and the Lease is released. Sources of the same kind, selector and type share one watch. @returns 0 after a
 *  cancellation. */
PROA_MUST_USE int proa_manager_run(struct proa_manager *manager, struct proa_error *err);
/** The same as a fiber function, for proa_app_start_task(app, "manager", proa_manager_task, manager): why it ended is
 *  logged, and after 1 to 30 s it is run again, until the fiber is cancelled. */
int proa_manager_task(void *manager);
/** A readiness check of the app frame (struct proa_check): PROA_EUNAVAILABLE until proa_manager_is_ready. */
int proa_manager_check(void *manager, struct proa_loop *loop, struct proa_error *err);
/** Its client: that of the options, or the one that it made. Lives as long as the manager. */
struct proa_kube *proa_manager_kube(const struct proa_manager *manager);
/** Whether its controllers run: it holds the Lease, or there is no election and it runs. On its loop. */
bool proa_manager_is_leader(const struct proa_manager *manager);
/** It runs and all caches have synced: it works, or stands by to take over. */
bool proa_manager_is_ready(const struct proa_manager *manager);
/** The cache of the controller's source of this kind; of for_, owns or watches. */
struct proa_cache *proa_controller_cache(struct proa_controller *controller, const struct proa_kube_kind *kind);
/** Asks for a reconcile, from a fiber or callback of the loop, the key's own reconcile too. One asked for after a while
 *  comes also when the key was reconciled before; of several for one key the earliest counts. */
void proa_controller_enqueue(struct proa_controller *controller, proa_str namespace_, proa_str name, uint64_t after_ns);

/* -- In a reconcile ------------------------------------------------------------------------------------------------- */

/** The object that is reconciled, copied from the cache into the arena, so that it stays what it is.
 *  @returns 1, 0 when there is none (any more), or an error. */
#define proa_reconcile_object(ctx, typed, ret_object)                                                                  \
    proa_reconcile_object_type(ctx, PROA_TYPED(typed, ret_object), ret_object)
PROA_MUST_USE int proa_reconcile_object_type(struct proa_reconcile *ctx, const struct proa_type *type,
                                             void *ret_object);

/** Applies `body` when the cache shows that it is not there as wanted: no object, another body than what is there or
 *  than the last apply's, or drift. An unchanged object costs no request, after a restart too if the body is written as
 *  the API server keeps it ("1Gi", not "1024Mi"; every default of lists and maps that are atomic). The next reconcile
 *  of this key waits (at most 5 s) until the cache has seen the result. Sets the controlling owner reference to the
 *  for_ object when `owner` is given. An object that the cache does not show is only ever created; one that exists with
 *  another controller or, unless `adopt` or we applied to it before, with none while `owner` is given is
 *  PROA_ECONFLICT. The kind needs a source in the controller, or each call is a request. */
struct proa_apply {
    const struct proa_kube_kind *kind;
    /** ptr NULL: those of the object that is reconciled; a cluster-scoped kind has no namespace whatever is said here */
    proa_str namespace_, name;
    proa_str body; /**< JSON object without apiVersion, kind, name; its `metadata`, if any, is the first member */
    const struct proa_type *type; /**< instead of a body: PROA_APPLY_VALUE(&config_map_type, &map) */
    const void *value;
    /** Of the same namespace, or cluster-scoped; else PROA_EINVAL, since the garbage collector would delete the object */
    const struct proa_kube_meta *owner;
    const struct proa_kube_kind *owner_kind; /**< NULL: the controller's */
    const char *subresource;
    bool adopt;
    /** blockOwnerDeletion is false: a deletion of the owner in the foreground does not begin with this object, so that
     *  the owner's finalizer may still keep it. */
    bool may_stay;
    bool no_force; /**< leaves fields of other managers: PROA_ECONFLICT names them */
};
#define PROA_APPLY_VALUE(typed, pointer) .type = PROA_TYPED(typed, pointer), .value = (pointer)
PROA_MUST_USE int proa_reconcile_apply(struct proa_reconcile *ctx, const struct proa_apply *apply, bool *ret_changed);
/** Deletes this very object (by uid); one that is gone already is no error. The next reconcile waits until the cache
 *  shows it. `options` may be NULL; its uid is meta's. */
PROA_MUST_USE int proa_reconcile_delete(struct proa_reconcile *ctx, const struct proa_kube_kind *kind,
                                        const struct proa_kube_meta *meta,
                                        const struct proa_kube_delete_options *options);
/** Adds or removes a finalizer of the object, unless `meta` has it so already. The next reconcile waits for it. */
PROA_MUST_USE int proa_reconcile_finalizer(struct proa_reconcile *ctx, const struct proa_kube_kind *kind,
                                           const struct proa_kube_meta *meta, const char *finalizer, bool is_wanted);
/** After a write by other means: the next reconcile of this key waits (at most 5 s) until the kind's cache has seen
 *  this version. */
void proa_reconcile_await(struct proa_reconcile *ctx, const struct proa_kube_kind *kind, proa_str resource_version);

enum proa_event_type { PROA_EVENT_NORMAL = 0, PROA_EVENT_WARNING };
/** An event (events.k8s.io/v1) about an object; repeated ones become a series. Sent in the background, never fails the
 *  caller. */
void proa_reconcile_event(struct proa_reconcile *ctx, const struct proa_kube_kind *kind,
                          const struct proa_kube_meta *regarding, enum proa_event_type type, const char *reason,
                          const char *action, const char *format, ...) PROA_PRINTF(7, 8);

PROA_END_DECLS
#endif

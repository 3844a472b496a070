/** A client of the Kubernetes API for fibers: configuration, objects as described structs, requests, errors.
 *
 *  An object is a described struct with only the members that the program uses; its member `metadata` is a
 *  `struct proa_kube_meta`. Members that the description does not know are skipped in reading, and never lost in
 *  writing, because nothing is written back whole: programs apply (server-side apply) or patch what is theirs.
 *
 *      struct app { struct proa_kube_meta metadata; struct app_spec spec; };
 *      PROA_DESCRIBE_WITH(app, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(proa_kube_meta)),
 *                         (spec, object(app_spec)));
 *      static const struct proa_kube_kind app_kind = {"example.com", "v1", "App", "apps"};
 *
 *      PROA_TRY(proa_kube_get(kube, arena, &app_kind, PROA_STR("default"), PROA_STR("shop"), &app_type, &app, err));
 *
 *  A client belongs to one loop. Every call comes from a fiber of that loop, may suspend, has the fiber's deadline, and
 *  waits for a place among the requests in flight (watches take none). 429 and 503 with Retry-After are waited for
 *  within it, whatever the method; when there is no time, err->retry_after_s holds what was asked for.
 *
 *  Errors follow the API's Status: NotFound PROA_ENOTFOUND, AlreadyExists PROA_EEXISTS, Conflict PROA_ECONFLICT,
 *  Invalid PROA_EVALIDATION (causes as fields), Forbidden PROA_EFORBIDDEN, Unauthorized PROA_EUNAUTHORIZED, BadRequest
 *  PROA_EINVAL, Gone and Expired PROA_EPRECONDITION, TooManyRequests PROA_EBUSY, others by status; err->origin holds
 *  the reason. An API server that cannot be reached or is not ready is PROA_EUNAVAILABLE.
 */
#ifndef PROA_KUBE_H
#define PROA_KUBE_H

#include <proa/arena.h>
#include <proa/error.h>
#include <proa/json.h>
#include <proa/log.h>
#include <proa/loop.h>
#include <proa/metrics.h>
#include <proa/type.h>

PROA_BEGIN_DECLS

/* -- Types -------------------------------------------------------------------------------------------------------- */

/** metav1.OwnerReference. */
struct proa_kube_owner {
    proa_str api_version; /**< "apps/v1" */
    proa_str kind;
    proa_str name;
    proa_str uid;
    PROA_OPTIONAL(bool) controller;
    PROA_OPTIONAL(bool) block_owner_deletion;
};
PROA_DECLARE_TYPE(proa_kube_owner);

/** metav1.ObjectMeta, as far as controllers use it. Empty text is absent. */
struct proa_kube_meta {
    proa_str name;
    proa_str namespace_; /**< "namespace" */
    proa_str uid;
    proa_str resource_version;
    int64_t generation;
    PROA_OPTIONAL(proa_time_ns) creation_timestamp;
    PROA_OPTIONAL(proa_time_ns) deletion_timestamp;
    PROA_MAP_OF(proa_str) labels;
    PROA_MAP_OF(proa_str) annotations;
    PROA_ARRAY_OF(struct proa_kube_owner) owner_references;
    PROA_ARRAY_OF(proa_str) finalizers;
};
PROA_DECLARE_TYPE(proa_kube_meta);

/** Any object, as far as its metadata. */
struct proa_kube_object {
    struct proa_kube_meta metadata;
};
PROA_DECLARE_TYPE(proa_kube_object);

/** autoscaling/v1 Scale: what the scale subresource is read and written as. */
struct proa_kube_scale_spec {
    int32_t replicas;
};
PROA_DECLARE_TYPE(proa_kube_scale_spec);
struct proa_kube_scale_status {
    int32_t replicas;
    proa_str selector; /**< as text: "app=web" */
};
PROA_DECLARE_TYPE(proa_kube_scale_status);
struct proa_kube_scale {
    struct proa_kube_meta metadata;
    struct proa_kube_scale_spec spec;
    struct proa_kube_scale_status status;
};
PROA_DECLARE_TYPE(proa_kube_scale);

/** The value of a label or annotation; ptr NULL when absent. */
proa_str proa_kube_label(const struct proa_kube_meta *meta, const char *key);
proa_str proa_kube_annotation(const struct proa_kube_meta *meta, const char *key);
bool proa_kube_has_finalizer(const struct proa_kube_meta *meta, const char *finalizer);
/** The owner reference with controller=true, or NULL. */
const struct proa_kube_owner *proa_kube_controller_of(const struct proa_kube_meta *meta);

/** Which objects: group, version, kind and the plural that paths use. Static data. */
struct proa_kube_kind {
    const char *group; /**< "" for the core group */
    const char *version;
    const char *kind;
    const char *plural;
    bool is_cluster_scoped;
};
extern const struct proa_kube_kind proa_kube_pods, proa_kube_services, proa_kube_secrets, proa_kube_config_maps,
    proa_kube_service_accounts, proa_kube_claims, proa_kube_nodes, proa_kube_namespaces, proa_kube_stateful_sets,
    proa_kube_deployments, proa_kube_roles, proa_kube_role_bindings, proa_kube_network_policies,
    proa_kube_disruption_budgets, proa_kube_leases, proa_kube_events, proa_kube_crds;
/** "apps/v1" or "v1", in the arena. */
proa_str proa_kube_api_version(struct proa_arena *arena, const struct proa_kube_kind *kind);

/* -- Configuration ------------------------------------------------------------------------------------------------- */

struct proa_kube_config_options {
    /** Path or list of paths separated by ':'; NULL: KUBECONFIG of `env`, else ~/.kube/config */
    const char *kubeconfig;
    const char *context;             /**< NULL: the file's current-context */
    char *const *env;                /**< main's environ; NULL: nothing of the environment is used */
    const char *service_account_dir; /**< NULL: /var/run/secrets/kubernetes.io/serviceaccount */
};
struct proa_kube_config;
/** Reads a kubeconfig (files of a list are merged as kubectl merges them; relative paths are relative to their file)
 *  or, when there is none and KUBERNETES_SERVICE_HOST is set, the in-cluster configuration. Errors name file, context
 *  and what is missing. May suspend. Supports client certificates and authorities (files of them are re-read when they
 *  change), tokens, token files (likewise), exec plugins (ExecCredential v1 and v1beta1, run in the blocking pool,
 *  cached until they expire), impersonation (as, as-uid, as-groups, as-user-extra), tls-server-name,
 *  insecure-skip-tls-verify, proxy-url; not basic auth, which Kubernetes itself has dropped. */
PROA_MUST_USE int proa_kube_config_load(struct proa_loop *loop, const struct proa_kube_config_options *options,
                                        struct proa_kube_config **ret_config, struct proa_error *err);
/** NULL is fine. */
void proa_kube_config_free(struct proa_kube_config *config);
const char *proa_kube_config_server(const struct proa_kube_config *config);
/** Of the context, or of the service account; "default" if none. */
const char *proa_kube_config_namespace(const struct proa_kube_config *config);
/** A plain configuration for tests and simulations: "http://10.0.0.1:6443", no credentials. */
PROA_MUST_USE int proa_kube_config_plain(const char *server, struct proa_kube_config **ret_config);

/* -- The client ---------------------------------------------------------------------------------------------------- */

struct proa_kube;
struct proa_kube_options {
    struct proa_loop *loop;
    struct proa_kube_config *config; /**< outlives the client */
    struct proa_metrics *metrics; /**< NULL: none; rest_client_requests_total, rest_client_request_duration_seconds … */
    const struct proa_logger *logger; /**< NULL: none */
    const char *user_agent;           /**< static; NULL: "proa" */
    const char *field_manager;        /**< static, of applies and patches; NULL: the user agent */
    uint32_t requests_in_flight;      /**< 0: 16 */
    uint32_t request_ms;              /**< of one request, waiting and repeats included. 0: 30,000 */
    /** The largest object, as JSON; a watch leaves larger ones out, with a warning and proa_kube_skipped_objects_total.
     *  0: 4 MiB. What the API server stores in 1.5 MiB may be 9 in JSON's escapes. */
    uint32_t item_bytes;
};
/** Does not suspend: it connects with the first request. The options are copied; what they point to outlives the
 *  client. Belongs to its loop. @returns 0, PROA_ENOMEM, PROA_EINVAL (a family of metrics with other labels). */
PROA_MUST_USE int proa_kube_new(const struct proa_kube_options *options, struct proa_kube **ret_kube,
                                struct proa_error *err);
/** No request is under way. NULL is fine. */
void proa_kube_free(struct proa_kube *kube);
struct proa_loop *proa_kube_loop(const struct proa_kube *kube);
const char *proa_kube_field_manager(const struct proa_kube *kube);

/** One request, for what has no call of its own below. */
struct proa_kube_request {
    const char *method; /**< NULL: GET */
    const struct proa_kube_kind *kind;
    proa_str namespace_;      /**< "" for cluster-scoped kinds and for all namespaces */
    proa_str name;            /**< "" for the collection */
    const char *subresource;  /**< "status", "scale"; NULL: none */
    proa_str query;           /**< percent-encoded, without '?' */
    proa_str path;            /**< instead of kind … subresource: "/version", "/apis"; ptr NULL: not used */
    const char *content_type; /**< NULL: application/json */
    proa_str body;            /**< ptr NULL: none */
    bool is_urgent;           /**< waits for no place among the requests in flight: a lease's renewal */
};
/** The answer's body in the arena; a Status that tells of a failure is an error. */
PROA_MUST_USE int proa_kube_send(struct proa_kube *kube, struct proa_arena *arena,
                                 const struct proa_kube_request *request, proa_str *ret_body, struct proa_error *err);

/* The calls below may suspend, for request_ms or until the fiber's deadline, and are called in a fiber of the client's
 * loop. Common errors: PROA_ENOTFOUND, PROA_EEXISTS, PROA_ECONFLICT, PROA_EFORBIDDEN, PROA_EUNAVAILABLE; PROA_EUNKNOWN
 * when the answer to a write was lost; the error object has the API server's words. */

/** Reads one object; `ret_object` is of the described struct `typed`, its texts in the arena. */
#define proa_kube_get(kube, arena, kind, namespace_, name, typed, ret_object, err)                                     \
    proa_kube_get_type(kube, arena, kind, namespace_, name, PROA_TYPED(typed, ret_object), ret_object, err)
PROA_MUST_USE int proa_kube_get_type(struct proa_kube *kube, struct proa_arena *arena,
                                     const struct proa_kube_kind *kind, proa_str namespace_, proa_str name,
                                     const struct proa_type *type, void *ret_object, struct proa_error *err);

/** The same of a subresource: "scale" (with proa_kube_scale_type), "status" (the whole object). */
#define proa_kube_get_subresource(kube, arena, kind, namespace_, name, subresource, typed, ret_object, err)            \
    proa_kube_get_subresource_type(kube, arena, kind, namespace_, name, subresource, PROA_TYPED(typed, ret_object),    \
                                   ret_object, err)
PROA_MUST_USE int proa_kube_get_subresource_type(struct proa_kube *kube, struct proa_arena *arena,
                                                 const struct proa_kube_kind *kind, proa_str namespace_, proa_str name,
                                                 const char *subresource, const struct proa_type *type,
                                                 void *ret_object, struct proa_error *err);

struct proa_kube_list_options {
    proa_str label_selector;
    proa_str field_selector;
    uint32_t page; /**< items a request; 0: 500 */
};
/** Called with each object in turn; the object lives until the call returns. A negative result ends the list with
 *  it. */
typedef int proa_kube_each_fn(void *arg, const void *object);
/** Lists in pages; the list is never in memory whole. *ret_version (may be NULL) is the list's resourceVersion, in the
 *  arena. A continue token that expired begins the list anew, up to three times (objects may be given again). */
PROA_MUST_USE int proa_kube_list(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                                 proa_str namespace_, const struct proa_kube_list_options *options,
                                 const struct proa_type *type, proa_kube_each_fn *each, void *arg,
                                 proa_str *ret_version, struct proa_error *err);

/** `body` is a JSON object as Proa's writer writes it. Unless it begins with apiVersion, apiVersion, kind and
 *  metadata.name are put into it; a `metadata` of its own must then be its first member. `ret_object` (with its type)
 *  may be NULL. */
PROA_MUST_USE int proa_kube_create(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                                   proa_str namespace_, proa_str body, const struct proa_type *type, void *ret_object,
                                   struct proa_error *err);
/** Writes the object, or its subresource ("status"; NULL: none), in whole. What the body lacks is put into it as
 *  proa_kube_create does. It must carry metadata.resourceVersion to replace nothing but that version (PROA_ECONFLICT);
 *  without one it overwrites what is there. */
PROA_MUST_USE int proa_kube_replace(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                                    proa_str namespace_, proa_str name, const char *subresource, proa_str body,
                                    const struct proa_type *type, void *ret_object, struct proa_error *err);

enum proa_kube_patch_kind {
    PROA_KUBE_APPLY = 0, /**< server-side apply, KEP-555 */
    PROA_KUBE_MERGE,     /**< RFC 7396 */
    PROA_KUBE_JSON,      /**< RFC 6902 */
};
struct proa_kube_patch_options {
    enum proa_kube_patch_kind kind;
    const char *subresource;   /**< "status", "scale"; NULL: none */
    const char *field_manager; /**< NULL: the client's */
    bool force;                /**< apply: takes over fields of other managers */
    bool dry_run;
};
/** Applies or patches. What an apply lacks is put into it as proa_kube_create does. */
PROA_MUST_USE int proa_kube_patch(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                                  proa_str namespace_, proa_str name, proa_str body,
                                  const struct proa_kube_patch_options *options, const struct proa_type *type,
                                  void *ret_object, struct proa_error *err);

struct proa_kube_delete_options {
    proa_str uid;              /**< precondition; "" for none */
    proa_str resource_version; /**< precondition; "" for none */
    const char *propagation;   /**< "Foreground", "Background", "Orphan"; NULL: the kind's default */
    int64_t grace_s;           /**< 0: the kind's default; -1: at once */
};
/** Has the object deleted; with finalizers, or by propagation, it may be there for a while. `options` may be NULL.
 *  @returns 0, PROA_ENOTFOUND when it is gone already, PROA_ECONFLICT when a precondition does not hold, or another
 *  error. */
PROA_MUST_USE int proa_kube_delete(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                                   proa_str namespace_, proa_str name, const struct proa_kube_delete_options *options,
                                   struct proa_error *err);

/** Whether the API server serves this kind (discovery, not cached). @returns 1, 0 or an error. */
PROA_MUST_USE int proa_kube_is_served(struct proa_kube *kube, const struct proa_kube_kind *kind,
                                      struct proa_error *err);

/** Adds and removes a finalizer: by server-side apply under a field manager of its own, so that other managers'
 *  finalizers stay. What is to be removed and owned by another manager too (an object applied from a backup) is taken
 *  out of the list by a merge patch from the version seen. An object that is gone, or goes with it, is no error;
 *  PROA_ECONFLICT is told only while it is there with its finalizer. */
PROA_MUST_USE int proa_kube_add_finalizer(struct proa_kube *kube, const struct proa_kube_kind *kind,
                                          const struct proa_kube_meta *meta, const char *finalizer,
                                          struct proa_error *err);
PROA_MUST_USE int proa_kube_remove_finalizer(struct proa_kube *kube, const struct proa_kube_kind *kind,
                                             const struct proa_kube_meta *meta, const char *finalizer,
                                             struct proa_error *err);

/* -- Watching ------------------------------------------------------------------------------------------------------ */

enum proa_kube_event_kind {
    PROA_KUBE_ADDED = 1,
    PROA_KUBE_MODIFIED,
    PROA_KUBE_DELETED,  /**< also of an object that has become too large; then with names, uid and version alone */
    PROA_KUBE_BOOKMARK, /**< only resource_version is set */
    PROA_KUBE_SYNCED,   /**< all that existed has been given (list end, or initial-events-end) */
    PROA_KUBE_RESTART,  /**< a full list begins: what is not given until SYNCED exists no more */
};
struct proa_kube_event {
    enum proa_kube_event_kind kind;
    proa_str json; /**< the object's text, valid during the call; "" for SYNCED and RESTART */
    proa_str resource_version;
};
struct proa_kube_watch_options {
    proa_str namespace_; /**< "": all */
    proa_str label_selector;
    proa_str field_selector;
    uint32_t page;          /**< 0: 500 */
    bool no_streaming_list; /**< never tries WatchList (KEP-3157) */
    /** In the watching fiber, in order; may suspend. A negative result ends the watch with it. */
    int (*event)(void *arg, const struct proa_kube_event *event);
    void *arg;
};
/** Lists and watches until the fiber is cancelled, whatever happens to the API server: bookmarks, resume, 410 (as
 *  status and as an event), expired continue tokens, streaming lists with fallback, time-outs of 5 to 10 random
 *  minutes, back-off 0.8 s doubling to 30 s with jitter. Never returns 0. */
PROA_MUST_USE int proa_kube_watch(struct proa_kube *kube, const struct proa_kube_kind *kind,
                                  const struct proa_kube_watch_options *options, struct proa_error *err);

PROA_END_DECLS
#endif

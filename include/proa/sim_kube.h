/** A simulated API server (pkg-config: proa-test proa-kube) for controllers under test: on a simulated loop, with
 *  faults by seed.
 *
 *  It keeps objects as JSON with resourceVersions, uids, generations and managed fields; serves get, list (pages,
 *  selectors), watch (bookmarks, resume, 410, WatchList), create, replace, merge, JSON and apply patches with conflicts,
 *  status and scale subresources, checks of names, labels and owners, finalizers, owner garbage collection,
 *  SelfSubjectReview (with impersonation), and CRDs with their schemas' defaults and rules where no CEL is needed. The
 *  contract suite tests/contract runs against it and against a real API server, so that it cannot drift.
 */
#ifndef PROA_SIM_KUBE_H
#define PROA_SIM_KUBE_H

#include <proa/kube.h>
#include <proa/sim.h>

PROA_BEGIN_DECLS

struct proa_sim_kube;

/** How it can be met. */
enum proa_sim_kube_state {
    PROA_SIM_KUBE_UP = 0,
    /** Listens, and refuses everything: /readyz 500 or 403, the rest 403 or 429 as chance has it */
    PROA_SIM_KUBE_STARTING,
    PROA_SIM_KUBE_DOWN, /**< cuts every connection without an answer */
};

/** Per request, decided by the simulation's chance; all 0: none. */
struct proa_sim_kube_faults {
    double lose_request; /**< not done, connection cut */
    double lose_answer;  /**< done, connection cut before the answer */
    double unavailable;  /**< 503, or 429 with Retry-After */
    double conflict;     /**< 409 to a write */
    double cut_watch;    /**< per event */
    double expire;       /**< 410 to a watch's resume or a continue token */
    /** 500 to every write of objects whose name begins so, as when a webhook fails; NULL: none. Must stay valid */
    const char *broken;
    uint64_t delay_max_ns;
};
struct proa_sim_kube_options {
    struct proa_loop *loop; /**< simulated (or real: then on a real port) */
    const char *address;    /**< "10.0.0.1:6443" */
    struct proa_sim_kube_faults faults;
    uint32_t history;        /**< changes kept for resuming watches and lists; 0: 1,000 */
    uint64_t seed;           /**< of its faults, names and uids; 0: drawn from the loop */
    bool no_watch_list;      /**< refuses streaming lists, as an API server without WatchList does */
    bool ignores_watch_list; /**< takes them for watches from anywhere, as aggregated API servers may */
    /** Called before each request is handled, in order; for killing a program "after every single call". */
    void (*on_request)(void *arg, uint64_t number, const char *method, proa_str path);
    void *arg;
};
/** Listens and serves, with the namespaces that a real one begins with. From a fiber of the loop. @returns 0,
 *  PROA_ENOMEM, or why it cannot listen. */
PROA_MUST_USE int proa_sim_kube_start(const struct proa_sim_kube_options *options, struct proa_sim_kube **ret_kube,
                                      struct proa_error *err);
/** The bound address with the real port; out has room for PROA_ADDRESS_MAX (proa/stream.h). */
void proa_sim_kube_address(const struct proa_sim_kube *kube, char *out);
/** From a fiber; may suspend until its connections are gone. NULL is fine. */
void proa_sim_kube_stop(struct proa_sim_kube *kube);
void proa_sim_kube_set_faults(struct proa_sim_kube *kube, const struct proa_sim_kube_faults *faults);
/** Changes how it can be met, as a crash and a restart do: watches under way are cut, objects stay. */
void proa_sim_kube_set_state(struct proa_sim_kube *kube, enum proa_sim_kube_state state);
/** Forgets the history, as etcd's compaction does: resourceVersions and continue tokens handed out are too old. */
void proa_sim_kube_compact(struct proa_sim_kube *kube);
/** Serves this kind (kinds of proa/kube.h are served from the start). */
PROA_MUST_USE int proa_sim_kube_serve(struct proa_sim_kube *kube, const struct proa_kube_kind *kind, bool has_status,
                                      bool has_scale);
/** Directly, past faults and HTTP: JSON of an object, ptr NULL when absent, valid until it changes; puts one, status
 *  and all (counted as a change by `manager`; its namespace is made when absent); deletes one as a client would. */
proa_str proa_sim_kube_get(struct proa_sim_kube *kube, const struct proa_kube_kind *kind, proa_str namespace_,
                           proa_str name);
PROA_MUST_USE int proa_sim_kube_put(struct proa_sim_kube *kube, const struct proa_kube_kind *kind, proa_str json,
                                    const char *manager, struct proa_error *err);
PROA_MUST_USE int proa_sim_kube_delete(struct proa_sim_kube *kube, const struct proa_kube_kind *kind,
                                       proa_str namespace_, proa_str name);
size_t proa_sim_kube_count(const struct proa_sim_kube *kube, const struct proa_kube_kind *kind);
uint64_t proa_sim_kube_requests(const struct proa_sim_kube *kube);
/** All objects' JSON, a line each, without versions, generations, uids, times and managed fields, in order, Leases and
 *  Events left out: equal for equal outcomes. */
PROA_MUST_USE int proa_sim_kube_dump(const struct proa_sim_kube *kube, struct proa_buf *out);

PROA_END_DECLS
#endif

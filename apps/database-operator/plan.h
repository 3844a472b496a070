/** What is to be done for a Database, as a pure function of what is wanted and what is there. Nothing here does I/O.
 *
 *  A reconcile gathers facts, makes the plan, carries it out as far as it goes (the outcome), and writes the status that follows from
 *  facts, plan and outcome. Every step may be repeated or lost: the next plan is made from what is there then.
 *
 *  An instance is restarted when its pod's spec hash is not the wanted one: the hash is over what the Database says only, so that another
 *  version of the operator, whose pod template may differ, restarts nothing.
 */
#ifndef DATABASE_OPERATOR_PLAN_H
#define DATABASE_OPERATOR_PLAN_H

#include "engines/engine.h"
#include "types.h"

#define LABEL_MANAGED_BY "app.kubernetes.io/managed-by"
#define LABEL_INSTANCE "app.kubernetes.io/instance"
#define LABEL_NAME "app.kubernetes.io/name"
#define LABEL_COMPONENT "app.kubernetes.io/component"
#define LABEL_ROLE "database.example.com/role"
#define ANNOTATION_SPEC_HASH "database.example.com/spec-hash"
/* A changed pod makes its kubelet look at the pod's volumes at once; a changed Secret alone reaches them after a minute or more. */
#define ANNOTATION_CREDENTIALS "database.example.com/credentials"
#define OPERATOR_NAME "database-operator"
#define OWNED_SELECTOR LABEL_MANAGED_BY "=" OPERATOR_NAME
#define DATABASE_FINALIZER "database.example.com/cleanup"
#define DATABASE_USER "app"

enum {
    INSTANCES_MAX = DATABASE_REPLICAS_MAX,
    PLAN_OBJECTS_MAX = 13,
    PLAN_EVENTS_MAX = 6,
    SPEC_HASH_LEN = 16,
    MISSING_S = 30,       /* until then a pod is on its way */
    UNSCHEDULABLE_S = 15, /* until then volumes are bound and nodes are found, as with every new pod */
};

/** Of the program, the same for every Database. Text outlives the plan. */
struct plan_settings {
    proa_str agent_image;
    proa_str images[ENGINES];      /**< "postgres:{version}" */
    proa_str operator_namespace;   /**< whose pods may reach the agents; "": no pod may */
    proa_str monitoring_namespace; /**< whose pods may read the metrics; "": none */
    bool has_service_monitors;     /**< the API server serves ServiceMonitors */
};

struct plan_pod {
    bool exists, is_ready, is_terminating;
    bool is_orphan;       /**< no controller has it */
    proa_str role;        /**< its label */
    proa_str spec_hash;   /**< its annotation */
    proa_str credentials; /**< its annotation */
    proa_str problem;     /**< why it cannot run: "ImagePullBackOff", "Unschedulable"; "" */
    proa_str problem_message;
    proa_time_ns problem_since; /**< 0: it counts at once */
    uint64_t kept;              /**< data that its agent put aside, and that lie there still */
    proa_str says;              /**< its agent: why it does not serve, or what it could not do */
    bool is_warning;            /**< the latter */
};
struct plan_claim {
    bool exists, is_terminating;
    bool is_foreign; /**< of that name, and not made for this Database: then it does not count as existing */
    proa_str size;
    proa_str capacity;       /**< of its volume; "" until there is one */
    proa_str resize_problem; /**< why its volume does not grow; "" */
};
enum user_secret { USER_SECRET_NONE = 0, USER_SECRET_GOOD, USER_SECRET_MISSING, USER_SECRET_INCOMPLETE };

/** What is there. Text lives as long as the plan. */
struct plan_facts {
    proa_time_ns now;
    bool has_secret;
    struct secret_data secret; /**< as it is */
    struct secret_data fresh;  /**< for what the Secret lacks */
    enum user_secret user_secret;
    struct secret_data user_credentials; /**< of a good one: username and password */
    bool has_set;
    bool set_is_terminating;
    struct stateful_set set;
    proa_str set_size; /**< of its claims' template */
    struct plan_pod pods[INSTANCES_MAX];
    struct plan_claim claims[INSTANCES_MAX];
    bool has_missing; /**< a pod that the StatefulSet's controller does not make */
    uint32_t missing_index;
    proa_time_ns missing_since;
};

struct plan_object {
    const struct proa_kube_kind *kind;
    proa_str name;
    proa_str body; /**< as the API server keeps it */
    bool is_owned; /**< its controller is the Database */
    bool may_stay; /**< the finalizer may keep it */
    bool adopt;    /**< may be there without an owner: kept from a former Database of this name */
};

/** Something that stops the plan and that a person has to mend. */
struct plan_problem {
    const char *reason; /**< NULL: none */
    proa_str message;   /**< says what to do */
    bool is_partial;    /**< all else goes on: told, but the phase is not Failed */
};

struct plan {
    struct plan_problem problem;
    proa_str primary; /**< the pod that is to be primary */
    uint32_t primary_index;
    uint32_t replicas; /**< of the StatefulSet */
    char spec_hash[SPEC_HASH_LEN + 1];
    proa_str size;      /**< of the claims, in the API server's form */
    bool add_finalizer; /**< before everything else */
    struct plan_object objects[PLAN_OBJECTS_MAX];
    uint32_t objects_count;
    const char *roles[INSTANCES_MAX]; /**< role labels to be set; NULL: leave it */
    char credentials_hash[SPEC_HASH_LEN + 1];
    bool refresh[INSTANCES_MAX]; /**< pods that are to be told of it */
    bool grow_claims[INSTANCES_MAX];
    bool replace_set; /**< once the claims have grown: without its pods */
    int restart;      /**< pod to be restarted, or -1 */
    bool is_restarting, is_growing;
    bool is_resizing; /**< volumes are asked for that have not their size yet */
    /* Of a Database that is being deleted. */
    bool is_deleting;
    bool delete_set;
    bool delete_pods[INSTANCES_MAX]; /**< that go with no StatefulSet */
    bool delete_claims;              /* all that there are, before the finalizer goes */
    bool remove_finalizer;           /**< last, when all else is done */
};

/** @returns 0, or PROA_ENOMEM. */
PROA_MUST_USE int plan_make(struct proa_arena *arena, const struct database *database, const struct plan_facts *facts,
                            const struct plan_settings *settings, struct plan *ret_plan);

struct plan_event {
    bool is_warning;
    const char *reason, *action;
    proa_str note;
};
struct plan_report {
    struct database_status status;
    struct plan_event events[PLAN_EVENTS_MAX];
    uint32_t events_count;
};
/** The status and the events, from the plan and what came of it (`outcome`: a problem that carrying it out met).
 *  @returns 0, or PROA_ENOMEM. */
PROA_MUST_USE int plan_report(struct proa_arena *arena, const struct database *database, const struct plan_facts *facts,
                              const struct plan *plan, const struct plan_problem *outcome,
                              struct plan_report *ret_report);
/** The body of an apply to the status subresource. */
PROA_MUST_USE int plan_status_body(struct proa_arena *arena, const struct database_status *status, proa_str *ret_body);

/** Names of what belongs to a Database; {NULL,0} when memory is out. */
proa_str plan_pod_name(struct proa_arena *arena, proa_str database, uint32_t index);
proa_str plan_claim_name(struct proa_arena *arena, proa_str database, uint32_t index);
proa_str plan_secret_name(struct proa_arena *arena, proa_str database);

/** A quantity as the API server writes it ("1024Mi": "1Gi", "0.5": "500m"); text that it cannot read is returned as it is. */
proa_str quantity_canonical(struct proa_arena *arena, proa_str text);
/** Whether a generated or changed value of the Secret can be used as it is: 8 to 128 printable ASCII characters. */
bool credential_is_good(proa_str value);

/* -- objects.c: the bodies ------------------------------------------------------------------------------------------- */

struct plan_input {
    struct proa_arena *arena;
    const struct database *database;
    const struct plan_facts *facts;
    const struct plan_settings *settings;
    const struct engine *engine;
};
/** Appends every owned object, in the order in which they are applied. */
PROA_MUST_USE int plan_write_objects(const struct plan_input *input, struct plan *plan);
/** The Secret without an owner, so that it outlives the Database. */
PROA_MUST_USE int plan_write_kept_secret(const struct plan_input *input, struct plan *plan);

#endif

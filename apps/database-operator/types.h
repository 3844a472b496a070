/** The kind Database (database.example.com/v1), and what the operator reads of other kinds. */
#ifndef DATABASE_OPERATOR_TYPES_H
#define DATABASE_OPERATOR_TYPES_H

#include <proa/crd.h>
#include <proa/kube.h>

enum {
    DATABASE_NAME_MAX = 40, /* so that every name made of it is a DNS label */
    DATABASE_REPLICAS_MAX = 7,
    DATABASE_PARAMETERS_MAX = 100,
};

enum database_engine { ENGINE_POSTGRES = 0, ENGINE_MYSQL, ENGINE_MONGODB, ENGINES };
PROA_ENUM(database_engine, (ENGINE_POSTGRES, "postgres"), (ENGINE_MYSQL, "mysql"), (ENGINE_MONGODB, "mongodb"));

enum deletion_policy { DELETION_RETAIN = 0, DELETION_DELETE };
PROA_ENUM(deletion_policy, (DELETION_RETAIN, "Retain"), (DELETION_DELETE, "Delete"));

enum database_phase { PHASE_PENDING = 0, PHASE_RUNNING, PHASE_READY, PHASE_FAILED };
PROA_ENUM(database_phase, (PHASE_PENDING, "Pending"), (PHASE_RUNNING, "Running"), (PHASE_READY, "Ready"),
          (PHASE_FAILED, "Failed"));

/** As of a container; values are Kubernetes quantities. */
struct database_resources {
    PROA_MAP_OF(proa_str) requests;
    PROA_MAP_OF(proa_str) limits;
};
PROA_DECLARE_TYPE(database_resources);

struct database_spec {
    enum database_engine engine;
    proa_str version; /* "17", "8.4", "17.5" */
    int32_t replicas;
    proa_str storage_size;            /* "10Gi" */
    proa_str image;                   /* "": the operator's for engine and version */
    proa_str storage_class_name;      /* "": the cluster's default */
    proa_str credentials_secret_name; /* "": generated */
    struct database_resources resources;
    PROA_MAP_OF(proa_str) parameters;
    enum deletion_policy deletion_policy;
    bool paused;
};
PROA_DECLARE_TYPE(database_spec);

/** metav1.Condition. */
struct database_condition {
    proa_str type;
    proa_str status; /* "True", "False" */
    proa_str reason;
    proa_str message;
    proa_time_ns last_transition_time;
};
PROA_DECLARE_TYPE(database_condition);

struct database_status {
    enum database_phase phase;
    int32_t replicas_ready;
    int32_t replicas;  /* instances that there are to be, which is what the agents obey; 0: not told yet */
    proa_str selector; /* of the pods, for the scale subresource */
    int64_t observed_generation;
    proa_str current_primary; /* the pod's name */
    proa_str endpoint;        /* host:port for reading and writing */
    bool initialized;         /* an instance has served: there are data, wherever they are now */
    PROA_ARRAY_OF(struct database_condition) conditions;
};
PROA_DECLARE_TYPE(database_status);

struct database {
    struct proa_kube_meta metadata;
    struct database_spec spec;
    struct database_status status;
};
PROA_DECLARE_TYPE(database);

extern const struct proa_kube_kind database_kind;
extern const struct proa_crd_options database_crd;
extern const struct proa_kube_kind service_monitor_kind;

/* -- Of other kinds, only what decides something --------------------------------------------------------------------- */

struct secret_data {
    proa_str username, password, replication_password, agent_token; /* decoded; "" where absent */
};
PROA_DECLARE_TYPE(secret_data);
struct owned_secret {
    struct secret_data data;
};
PROA_DECLARE_TYPE(owned_secret);

struct claim_requests {
    proa_str storage;
};
PROA_DECLARE_TYPE(claim_requests);
struct claim_resources {
    struct claim_requests requests;
};
PROA_DECLARE_TYPE(claim_resources);
struct claim_spec {
    struct claim_resources resources;
};
PROA_DECLARE_TYPE(claim_spec);
struct instance_labels {
    proa_str instance; /* the Database's name */
    proa_str role;
};
PROA_DECLARE_TYPE(instance_labels);
struct claim_labels {
    proa_str managed_by, instance;
};
PROA_DECLARE_TYPE(claim_labels);
struct claim_meta {
    proa_str namespace_, name;
    struct claim_labels labels;
    proa_str deletion_timestamp; /* "": not being deleted */
};
PROA_DECLARE_TYPE(claim_meta);
struct claim_condition {
    proa_str type, status, message;
};
PROA_DECLARE_TYPE(claim_condition);
struct claim_status {
    struct claim_requests capacity; /* "" until a volume is bound */
    PROA_ARRAY_OF(struct claim_condition) conditions;
};
PROA_DECLARE_TYPE(claim_status);
struct claim {
    struct claim_meta metadata;
    struct claim_spec spec;
    struct claim_status status;
};
PROA_DECLARE_TYPE(claim);

struct claim_template {
    struct claim_spec spec;
};
PROA_DECLARE_TYPE(claim_template);
struct stateful_set_spec {
    int32_t replicas;
    PROA_ARRAY_OF(struct claim_template) volume_claim_templates;
};
PROA_DECLARE_TYPE(stateful_set_spec);
struct stateful_set_status {
    int64_t observed_generation;
    int32_t ready_replicas;
};
PROA_DECLARE_TYPE(stateful_set_status);
struct stateful_set_meta {
    int64_t generation;
    proa_str deletion_timestamp;
};
PROA_DECLARE_TYPE(stateful_set_meta);
struct stateful_set {
    struct stateful_set_meta metadata;
    struct stateful_set_spec spec;
    struct stateful_set_status status;
};
PROA_DECLARE_TYPE(stateful_set);

struct pod_annotations {
    proa_str spec_hash, credentials;
};
PROA_DECLARE_TYPE(pod_annotations);
struct pod_meta {
    proa_str namespace_;
    struct instance_labels labels;
    struct pod_annotations annotations;
    proa_str deletion_timestamp;
};
PROA_DECLARE_TYPE(pod_meta);
struct pod_condition {
    proa_str type, status, reason, message;
    PROA_OPTIONAL(proa_time_ns) last_transition_time;
};
PROA_DECLARE_TYPE(pod_condition);
struct waiting_state {
    proa_str reason, message;
};
PROA_DECLARE_TYPE(waiting_state);
struct container_state {
    struct waiting_state waiting;
};
PROA_DECLARE_TYPE(container_state);
struct container_status {
    struct container_state state;
};
PROA_DECLARE_TYPE(container_status);
struct pod_status {
    proa_str pod_ip; /* "" until it has one */
    PROA_ARRAY_OF(struct pod_condition) conditions;
    PROA_ARRAY_OF(struct container_status) init_container_statuses;
    PROA_ARRAY_OF(struct container_status) container_statuses;
};
PROA_DECLARE_TYPE(pod_status);
struct pod {
    struct pod_meta metadata;
    struct pod_status status;
};
PROA_DECLARE_TYPE(pod);

#endif

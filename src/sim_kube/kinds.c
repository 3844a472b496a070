/* The kinds that are served, and what the API server does differently for each. */
#include "sim_kube_internal.h"

#include <stdlib.h>

enum {
    HAS_STATUS = 1,
    HAS_SCALE = 2,
    HAS_GENERATION = 4,
    NEEDS_VERSION = 8,
    CREATES_ON_UPDATE = 16,
};

static const char *const no_fields[] = {NULL};
static const char *const pod_fields[] = {
    "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",  "spec.hostNetwork",
    "status.phase",  "status.podIP",       "status.podIPs",      "status.nominatedNodeName", NULL};
static const char *const secret_fields[] = {"type", NULL};
static const char *const service_fields[] = {"spec.clusterIP", "spec.type", NULL};
static const char *const node_fields[] = {"spec.unschedulable", NULL};
static const char *const namespace_fields[] = {"status.phase", NULL};
static const char *const event_fields[] = {"reason",
                                           "type",
                                           "regarding.kind",
                                           "regarding.namespace",
                                           "regarding.name",
                                           "regarding.uid",
                                           "reportingController",
                                           "regarding.fieldPath",
                                           NULL};

static const struct proa_kube_kind volumes = {"", "v1", "PersistentVolume", "persistentvolumes", true};
static const struct proa_kube_kind storage_classes = {"storage.k8s.io", "v1", "StorageClass", "storageclasses", true};
static const struct proa_kube_kind replica_sets = {"apps", "v1", "ReplicaSet", "replicasets", false};

static const struct {
    const struct proa_kube_kind *names;
    unsigned flags;
    const char *const *fields;
} builtin[] = {
    {&proa_kube_pods, HAS_STATUS | HAS_GENERATION, pod_fields},
    {&proa_kube_services, HAS_STATUS, service_fields},
    {&proa_kube_secrets, 0, secret_fields},
    {&proa_kube_config_maps, 0, no_fields},
    {&proa_kube_service_accounts, 0, no_fields},
    {&proa_kube_claims, HAS_STATUS, no_fields},
    {&volumes, HAS_STATUS, no_fields},
    {&proa_kube_nodes, HAS_STATUS, node_fields},
    {&proa_kube_namespaces, HAS_STATUS, namespace_fields},
    {&proa_kube_stateful_sets, HAS_STATUS | HAS_SCALE | HAS_GENERATION, no_fields},
    {&proa_kube_deployments, HAS_STATUS | HAS_SCALE | HAS_GENERATION, no_fields},
    {&replica_sets, HAS_STATUS | HAS_SCALE | HAS_GENERATION, no_fields},
    {&proa_kube_roles, 0, no_fields},
    {&proa_kube_role_bindings, 0, no_fields},
    {&proa_kube_network_policies, HAS_GENERATION, no_fields},
    {&proa_kube_disruption_budgets, HAS_STATUS | HAS_GENERATION | NEEDS_VERSION, no_fields},
    {&proa_kube_leases, NEEDS_VERSION | CREATES_ON_UPDATE, no_fields},
    {&proa_kube_events, CREATES_ON_UPDATE, event_fields},
    {&storage_classes, 0, no_fields},
    {&proa_kube_crds, HAS_STATUS | HAS_GENERATION | NEEDS_VERSION, no_fields},
};

int kinds_init(struct proa_sim_kube *kube)
{
    proa_vec_init(&kube->kinds, sizeof(struct sim_kind *));
    for (size_t i = 0; i < PROA_COUNT(builtin); i++) {
        struct sim_kind *kind = kinds_add(kube, builtin[i].names);

        if (!kind)
            return PROA_ENOMEM;
        kind->has_status = builtin[i].flags & HAS_STATUS;
        kind->has_scale = builtin[i].flags & HAS_SCALE;
        kind->has_generation = builtin[i].flags & HAS_GENERATION;
        kind->needs_version = builtin[i].flags & NEEDS_VERSION;
        kind->creates_on_update = builtin[i].flags & CREATES_ON_UPDATE;
        kind->fields = builtin[i].fields;
    }
    return 0;
}

void kinds_done(struct proa_sim_kube *kube)
{
    for (size_t i = 0; i < kube->kinds.len; i++) {
        struct sim_kind *kind = *(struct sim_kind **)proa_vec_at(&kube->kinds, i);

        yyjson_doc_free(kind->schema_doc);
        proa_vec_done(&kind->objects);
        free(kind);
    }
    proa_vec_done(&kube->kinds);
}

struct sim_kind *kinds_of(const struct proa_sim_kube *kube, const struct proa_kube_kind *names)
{
    return kinds_find(kube, proa_str_c(names->group), proa_str_c(names->version), proa_str_c(names->plural));
}

struct sim_kind *kinds_find(const struct proa_sim_kube *kube, proa_str group, proa_str version, proa_str plural)
{
    for (size_t i = 0; i < kube->kinds.len; i++) {
        struct sim_kind *kind = *(struct sim_kind **)proa_vec_at(&kube->kinds, i);

        if (proa_str_eq_c(group, kind->names.group) && proa_str_eq_c(version, kind->names.version) &&
            proa_str_eq_c(plural, kind->names.plural))
            return kind;
    }
    return NULL;
}

struct sim_kind *kinds_add(struct proa_sim_kube *kube, const struct proa_kube_kind *names)
{
    struct sim_kind *kind = kinds_of(kube, names), **slot;

    if (kind) {
        kind->is_served = true;
        return kind;
    }
    kind = calloc(1, sizeof *kind);
    slot = kind ? proa_vec_push(&kube->kinds) : NULL;
    if (!slot) {
        free(kind);
        return NULL;
    }
    *slot = kind;
    proa_vec_init(&kind->objects, sizeof(struct sim_object *));
    kind->names = (struct proa_kube_kind){
        .group = proa_arena_cstr(&kube->arena, proa_str_c(names->group)),
        .version = proa_arena_cstr(&kube->arena, proa_str_c(names->version)),
        .kind = proa_arena_cstr(&kube->arena, proa_str_c(names->kind)),
        .plural = proa_arena_cstr(&kube->arena, proa_str_c(names->plural)),
        .is_cluster_scoped = names->is_cluster_scoped,
    };
    kind->fields = no_fields;
    kind->is_served = true;
    kind->replicas = PROA_STR(".spec.replicas");
    kind->status_replicas = PROA_STR(".status.replicas");
    return kind->names.group && kind->names.version && kind->names.kind && kind->names.plural ? kind : NULL;
}

proa_str kind_api_version(struct proa_arena *arena, const struct sim_kind *kind)
{
    return proa_kube_api_version(arena, &kind->names);
}

proa_str kind_qualified(struct proa_arena *arena, const struct sim_kind *kind)
{
    if (!kind->names.group[0])
        return proa_str_c(kind->names.plural);
    return proa_arena_printf(arena, "%s.%s", kind->names.plural, kind->names.group);
}

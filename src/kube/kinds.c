/* The kinds that controllers meet most, and their common types. */
#include <proa/kube.h>

const struct proa_kube_kind proa_kube_pods = {"", "v1", "Pod", "pods", false};
const struct proa_kube_kind proa_kube_services = {"", "v1", "Service", "services", false};
const struct proa_kube_kind proa_kube_secrets = {"", "v1", "Secret", "secrets", false};
const struct proa_kube_kind proa_kube_config_maps = {"", "v1", "ConfigMap", "configmaps", false};
const struct proa_kube_kind proa_kube_service_accounts = {"", "v1", "ServiceAccount", "serviceaccounts", false};
const struct proa_kube_kind proa_kube_claims = {"", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", false};
const struct proa_kube_kind proa_kube_nodes = {"", "v1", "Node", "nodes", true};
const struct proa_kube_kind proa_kube_namespaces = {"", "v1", "Namespace", "namespaces", true};
const struct proa_kube_kind proa_kube_stateful_sets = {"apps", "v1", "StatefulSet", "statefulsets", false};
const struct proa_kube_kind proa_kube_deployments = {"apps", "v1", "Deployment", "deployments", false};
const struct proa_kube_kind proa_kube_roles = {"rbac.authorization.k8s.io", "v1", "Role", "roles", false};
const struct proa_kube_kind proa_kube_role_bindings = {"rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings",
                                                       false};
const struct proa_kube_kind proa_kube_network_policies = {"networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies",
                                                          false};
const struct proa_kube_kind proa_kube_disruption_budgets = {"policy", "v1", "PodDisruptionBudget",
                                                            "poddisruptionbudgets", false};
const struct proa_kube_kind proa_kube_leases = {"coordination.k8s.io", "v1", "Lease", "leases", false};
const struct proa_kube_kind proa_kube_events = {"events.k8s.io", "v1", "Event", "events", false};
const struct proa_kube_kind proa_kube_crds = {"apiextensions.k8s.io", "v1", "CustomResourceDefinition",
                                              "customresourcedefinitions", true};

PROA_DEFINE_TYPE_WITH(proa_kube_owner, (.unknown = PROA_UNKNOWN_IGNORE), (api_version, str, .json = "apiVersion"),
                      (kind, str), (name, str), (uid, str), (controller, optional(boolean)),
                      (block_owner_deletion, optional(boolean), .json = "blockOwnerDeletion"));

PROA_DEFINE_TYPE_WITH(
    proa_kube_meta, (.unknown = PROA_UNKNOWN_IGNORE), (name, str, .default_json = "\"\""),
    (namespace_, str, .json = "namespace", .default_json = "\"\""), (uid, str, .default_json = "\"\""),
    (resource_version, str, .json = "resourceVersion", .default_json = "\"\""), (generation, i64, .default_json = "0"),
    (creation_timestamp, optional(timestamp), .json = "creationTimestamp"),
    (deletion_timestamp, optional(timestamp), .json = "deletionTimestamp"), (labels, map(str), .default_json = "{}"),
    (annotations, map(str), .default_json = "{}"),
    (owner_references, array(object(proa_kube_owner)), .json = "ownerReferences", .default_json = "[]"),
    (finalizers, array(str), .default_json = "[]"));

PROA_DEFINE_TYPE_WITH(proa_kube_object, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(proa_kube_meta)));
PROA_DEFINE_TYPE_WITH(proa_kube_scale_spec, (.unknown = PROA_UNKNOWN_IGNORE), (replicas, i32, .default_json = "0"));
PROA_DEFINE_TYPE_WITH(proa_kube_scale_status, (.unknown = PROA_UNKNOWN_IGNORE), (replicas, i32, .default_json = "0"),
                      (selector, str, .default_json = "\"\""));
PROA_DEFINE_TYPE_WITH(proa_kube_scale, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(proa_kube_meta)),
                      (spec, object(proa_kube_scale_spec), .default_json = "{}"),
                      (status, object(proa_kube_scale_status), .default_json = "{}"));

proa_str proa_kube_label(const struct proa_kube_meta *meta, const char *key)
{
    for (size_t i = 0; i < meta->labels.len; i++)
        if (proa_str_eq_c(meta->labels.ptr[i].key, key))
            return meta->labels.ptr[i].value;
    return (proa_str){NULL, 0};
}

proa_str proa_kube_annotation(const struct proa_kube_meta *meta, const char *key)
{
    for (size_t i = 0; i < meta->annotations.len; i++)
        if (proa_str_eq_c(meta->annotations.ptr[i].key, key))
            return meta->annotations.ptr[i].value;
    return (proa_str){NULL, 0};
}

bool proa_kube_has_finalizer(const struct proa_kube_meta *meta, const char *finalizer)
{
    for (size_t i = 0; i < meta->finalizers.len; i++)
        if (proa_str_eq_c(meta->finalizers.ptr[i], finalizer))
            return true;
    return false;
}

const struct proa_kube_owner *proa_kube_controller_of(const struct proa_kube_meta *meta)
{
    for (size_t i = 0; i < meta->owner_references.len; i++) {
        const struct proa_kube_owner *owner = &meta->owner_references.ptr[i];

        if (owner->controller.presence == PROA_SET && owner->controller.value)
            return owner;
    }
    return NULL;
}

proa_str proa_kube_api_version(struct proa_arena *arena, const struct proa_kube_kind *kind)
{
    if (!kind->group[0])
        return proa_str_c(kind->version);
    return proa_arena_printf(arena, "%s/%s", kind->group, kind->version);
}

/* Settings of `run`. */
#include "config.h"

PROA_DEFINE_TYPE(operator_images,
                 (postgres, str, .default_json = "\"postgres:{version}\"", .doc = "{version} stands for spec.version"),
                 (mysql, str, .default_json = "\"mysql:{version}\""),
                 (mongodb, str, .default_json = "\"mongo:{version}\""));

PROA_DEFINE_TYPE(operator_leader,
                 (elect, boolean, .default_json = "true", .doc = "Only the holder of a Lease works; others stand by"),
                 (lease, str, .default_json = "\"database-operator\"", .doc = "Name of the Lease"),
                 (lease_ms, u32, PROA_MIN(1000), .default_json = "15000"),
                 (renew_ms, u32, PROA_MIN(500), .default_json = "10000"),
                 (retry_ms, u32, PROA_MIN(100), .default_json = "2000"));

PROA_DEFINE_TYPE(
    operator_config,
    (kubeconfig, str, .default_json = "\"\"", .env = "KUBECONFIG",
     .doc = "Files, separated by ':'; empty: ~/.kube/config, or the pod's service account"),
    (context, str, .default_json = "\"\"", .doc = "Of the kubeconfig; empty: its current one"),
    (watch_namespace, str, .default_json = "\"\"", .doc = "Whose Databases are seen to; empty: all namespaces"),
    (namespace_, str, .default_json = "\"\"", .env = "POD_NAMESPACE", .flag = "namespace", .json = "namespace",
     .doc = "The operator's own: of the Lease, and whose pods may reach the agents; empty: of the kubeconfig"),
    (monitoring_namespace, str, .default_json = "\"monitoring\"", .doc = "Whose pods may read the instances' metrics"),
    (agent_image, str, .default_json = "\"" DEFAULT_AGENT_IMAGE "\"",
     .doc = "Image of this program, from which instances get their agent"),
    (images, object(operator_images)), (leader, object(operator_leader)),
    (verify_ms, u32, PROA_MIN(1000), .default_json = "30000", .doc = "Every Database is looked at again after it"),
    (concurrency, u32, PROA_RANGE(1, 64), .default_json = "8", .doc = "Databases worked on at once"),
    (install_crd, boolean, .default_json = "false",
     .doc = "Applies the CustomResourceDefinition at the start, which needs more rights than the manifests give"));

/** A cluster's address and credentials, as config.c reads and credentials.c uses them. */
#ifndef PROA_KUBE_CONFIG_INTERNAL_H
#define PROA_KUBE_CONFIG_INTERNAL_H

#include <proa/client.h>
#include <proa/kube.h>

enum {
    KUBECONFIG_MAX_BYTES = 4 * 1024 * 1024,
    CREDENTIAL_MAX_BYTES = 1024 * 1024,
};

struct kube_exec_env {
    proa_str name;
    proa_str value;
};
PROA_DECLARE_TYPE(kube_exec_env);

struct kube_exec {
    proa_str api_version;
    proa_str command;
    PROA_ARRAY_OF(proa_str) args;
    PROA_OPTIONAL(PROA_ARRAY_OF(struct kube_exec_env)) env;
    proa_str install_hint;
    bool provide_cluster_info;
    proa_str interactive_mode;
};
PROA_DECLARE_TYPE(kube_exec);

/** All text is NUL-terminated and lives in the arena; NULL is absent. */
struct proa_kube_config {
    struct proa_arena arena;
    const char *source; /* for messages: a context and its file, or "in-cluster configuration" */
    const char *server;
    const char *namespace_;
    const char *server_name;
    const char *proxy_url;
    const char *ca_file, *ca_pem;
    const char *cert_file, *cert_pem, *key_file, *key_pem;
    const char *token, *token_file;
    bool is_insecure;
    const struct kube_exec *exec;
    const char *exec_config;                       /* JSON, of the cluster's extension for plugins */
    const struct proa_client_field *impersonation; /* Impersonate-… of each request */
    size_t impersonation_count;
    char *const *env; /* what an exec plugin inherits */
};

#endif

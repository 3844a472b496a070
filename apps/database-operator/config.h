/** Settings of `run`. */
#ifndef DATABASE_OPERATOR_CONFIG_H
#define DATABASE_OPERATOR_CONFIG_H

#include <proa/config.h>
#include <proa/defs.h>

struct operator_images {
    proa_str postgres, mysql, mongodb;
};
PROA_DECLARE_TYPE(operator_images);
struct operator_leader {
    bool elect;
    proa_str lease;
    uint32_t lease_ms, renew_ms, retry_ms;
};
PROA_DECLARE_TYPE(operator_leader);
struct operator_config {
    proa_str kubeconfig;
    proa_str context;
    proa_str watch_namespace;
    proa_str namespace_; /* the operator's own */
    proa_str monitoring_namespace;
    proa_str agent_image;
    struct operator_images images;
    struct operator_leader leader;
    uint32_t verify_ms;
    uint32_t concurrency;
    bool install_crd;
};
PROA_DECLARE_TYPE(operator_config);

#define DEFAULT_AGENT_IMAGE "localhost/proa/database-operator:" PROA_VERSION

#endif

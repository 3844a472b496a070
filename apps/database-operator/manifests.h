/** What `crd` and `manifests` print. */
#ifndef DATABASE_OPERATOR_MANIFESTS_H
#define DATABASE_OPERATOR_MANIFESTS_H

#include <proa/buf.h>
#include <proa/error.h>

struct manifest_options {
    const char *namespace_; /**< of the operator */
    const char *image;      /**< of the operator, and of the agents' init containers */
    char *const *settings;  /**< of `run`, as on its command line: "--images.postgres=…" */
    int settings_count;
};
PROA_MUST_USE int manifests_write_crd(struct proa_buf *out, struct proa_error *err);
/** The definition, then all that the operator needs to run in a cluster, as YAML documents. */
PROA_MUST_USE int manifests_write(struct proa_buf *out, const struct manifest_options *options, struct proa_error *err);

#endif

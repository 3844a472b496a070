/** Plans carried out by the Kubernetes runtime. */
#ifndef DATABASE_OPERATOR_RECONCILE_H
#define DATABASE_OPERATOR_RECONCILE_H

#include "plan.h"

#include <proa/controller.h>

struct reconcile_options {
    struct proa_kube *kube;
    const char *namespace_; /**< of the Databases; NULL: all */
    uint64_t verify_ns;     /**< every Database again after it */
    uint32_t concurrency;
    bool install_crd;
};
/** Adds the controller to a manager. `settings` outlives it. */
PROA_MUST_USE int database_controller_add(struct proa_manager *manager, const struct reconcile_options *options,
                                          const struct plan_settings *settings, struct proa_error *err);

#endif

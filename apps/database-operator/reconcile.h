/** Plans carried out by the Kubernetes runtime. */
#ifndef DATABASE_OPERATOR_RECONCILE_H
#define DATABASE_OPERATOR_RECONCILE_H

#include "instances.h"
#include "plan.h"

#include <proa/controller.h>
#include <proa/map.h>

struct reconcile_options {
    struct proa_kube *kube;
    const char *namespace_; /**< of the Databases; NULL: all */
    uint64_t verify_ns;     /**< every Database again after it */
    uint32_t concurrency;
    bool install_crd;
};
/** What the controller knows beside the caches. */
struct database_controller {
    const struct plan_settings *settings;
    /** By "namespace/name": the fingerprint of the versions at which all was found as wanted. While it is the same, it still is. */
    struct proa_map *verified;
    /** By the same: which pod has been missing since when, see note_missing. */
    struct proa_map *missing;
    struct instances instances;
};
/** Adds the controller to a manager. `controller` and `settings` outlive that. */
PROA_MUST_USE int database_controller_add(struct proa_manager *manager, const struct reconcile_options *options,
                                          const struct plan_settings *settings, struct database_controller *controller,
                                          struct proa_error *err);
/** After the manager was freed, from the fiber that added the controller. */
void database_controller_done(struct database_controller *controller);

#endif

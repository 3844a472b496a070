/** One life of the database operator in a simulation: from its client to its controller, as its `run` puts them together. */
#ifndef OPERATOR_LIFE_H
#define OPERATOR_LIFE_H

#include "reconcile.h"

/** Suspends until the fiber is cancelled. @param concurrency  0: the controller's default */
static inline int operator_live(struct proa_loop *loop, const char *url, const struct plan_settings *settings,
                                uint32_t concurrency)
{
    struct proa_kube_config *config = NULL;
    struct proa_manager *manager = NULL;
    struct proa_kube *kube = NULL;
    struct database_controller controller = {0};
    struct proa_error err = {0};
    int rc = proa_kube_config_plain(url, &config);

    if (rc == 0)
        rc = proa_kube_new(&(struct proa_kube_options){.loop = loop, .config = config, .field_manager = OPERATOR_NAME},
                           &kube, &err);
    if (rc == 0)
        rc = proa_manager_new(&(struct proa_manager_options){.kube = kube}, &manager, &err);
    if (rc == 0)
        rc = database_controller_add(
            manager,
            &(struct reconcile_options){.kube = kube, .verify_ns = PROA_SECONDS(30), .concurrency = concurrency},
            settings, &controller, &err);
    if (rc == 0)
        rc = proa_manager_run(manager, &err);
    proa_manager_free(manager);
    database_controller_done(&controller);
    proa_kube_free(kube);
    proa_kube_config_free(config);
    return rc;
}

#endif

/** A Kubernetes client on a simulated loop that has nobody to talk to: for what is fed by hand. */
#ifndef PROA_TESTS_KUBE_RIG_H
#define PROA_TESTS_KUBE_RIG_H

#include "sim_run.h"

#include <proa/kube.h>

struct kube_rig {
    struct proa_loop *loop;
    struct proa_kube_config *config;
    struct proa_kube *kube;
};

static inline void kube_rig_init(struct kube_rig *rig)
{
    rig->loop = sim_loop_new(NULL);
    assert_int_equal(proa_kube_config_plain("http://10.0.0.1:6443", &rig->config), 0);
    assert_int_equal(
        proa_kube_new(&(struct proa_kube_options){.loop = rig->loop, .config = rig->config, .field_manager = "proa"},
                      &rig->kube, NULL),
        0);
}

static inline void kube_rig_done(struct kube_rig *rig)
{
    proa_kube_free(rig->kube);
    proa_kube_config_free(rig->config);
    proa_loop_free(rig->loop);
}

#endif

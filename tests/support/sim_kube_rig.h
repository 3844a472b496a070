/** A client and the simulated API server on one simulated loop. */
#ifndef PROA_TESTS_SIM_KUBE_RIG_H
#define PROA_TESTS_SIM_KUBE_RIG_H

#include "unit.h"

#include <proa/fiber.h>
#include <proa/sim.h>
#include <proa/sim_kube.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_kube_rig {
    struct proa_sim *sim;
    struct proa_loop *loop;
    struct proa_sim_kube *server;
    struct proa_kube_config *config;
    struct proa_kube *kube;
    struct proa_sim_kube_options options; /* of the server; loop and address are the rig's */
    uint64_t seed;                        /* 0: 1 */
    void (*body)(struct sim_kube_rig *rig, void *arg);
    void *arg;
};

static inline int sim_kube_rig_body(void *arg)
{
    struct sim_kube_rig *rig = arg;
    struct proa_error err = {0};

    rig->options.loop = rig->loop;
    rig->options.address = "10.0.0.1:6443";
    if (proa_sim_kube_start(&rig->options, &rig->server, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(proa_kube_config_plain("http://10.0.0.1:6443", &rig->config), 0);
    assert_int_equal(
        proa_kube_new(&(struct proa_kube_options){.loop = rig->loop, .config = rig->config}, &rig->kube, &err), 0);
    rig->body(rig, rig->arg);
    proa_kube_free(rig->kube);
    proa_kube_config_free(rig->config);
    proa_sim_kube_stop(rig->server);
    return 0;
}

static inline void sim_kube_rig_run(struct sim_kube_rig *rig)
{
    assert_int_equal(proa_sim_new(&(struct proa_sim_options){.seed = rig->seed ? rig->seed : 1}, &rig->sim), 0);
    rig->loop = proa_sim_loop(rig->sim);
    assert_int_equal(proa_loop_start_fiber(rig->loop, NULL, sim_kube_rig_body, rig), 0);
    assert_int_equal(proa_loop_run(rig->loop), 0);
    proa_sim_free(rig->sim);
}

/** A ConfigMap "default/NAME" with one value. */
static inline void sim_kube_put(struct sim_kube_rig *rig, const char *name, uint64_t value)
{
    char json[200];

    snprintf(json, sizeof json, "{\"metadata\":{\"name\":\"%s\"},\"data\":{\"value\":\"%llu\"}}", name,
             (unsigned long long)value);
    assert_int_equal(proa_sim_kube_put(rig->server, &proa_kube_config_maps, proa_str_c(json), "test", NULL), 0);
}

#endif

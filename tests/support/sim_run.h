/** For tests in virtual time. */
#ifndef PROA_TESTS_SIM_RUN_H
#define PROA_TESTS_SIM_RUN_H

#include "unit.h"

#include <proa/fiber.h>
#include <proa/sim.h>

/** A simulated loop, freed by proa_loop_free. */
static inline struct proa_loop *sim_loop_new(const struct proa_loop_options *options)
{
    struct proa_sim_options sim_options = {.seed = 1};
    struct proa_sim *sim;

    if (options)
        sim_options.loop = *options;
    assert_int_equal(proa_sim_new(&sim_options, &sim), 0);
    return proa_sim_loop(sim);
}

/** Runs a body in a fiber of a fresh loop, to which *ret_loop points meanwhile, until nothing is left. */
static inline int sim_run(struct proa_loop **ret_loop, proa_fiber_fn *body, void *arg)
{
    int rc;

    *ret_loop = sim_loop_new(NULL);
    assert_int_equal(proa_loop_start_fiber(*ret_loop, NULL, body, arg), 0);
    rc = proa_loop_run(*ret_loop);
    assert_int_equal(proa_loop_fibers(*ret_loop, NULL), 0);
    proa_loop_free(*ret_loop);
    *ret_loop = NULL;
    return rc;
}

#endif

/* A project elsewhere whose tests run in virtual time: an hour's sleep takes none. */
#include <proa/fiber.h>
#include <proa/sim.h>

static int sleep_an_hour(void *arg)
{
    return proa_sleep(arg, PROA_SECONDS(3600));
}

int main(void)
{
    struct proa_sim *sim;
    struct proa_loop *loop;
    proa_mono_ns began;
    bool has_passed;

    if (proa_sim_new(&(struct proa_sim_options){.seed = 1}, &sim) < 0)
        return 1;
    loop = proa_sim_loop(sim);
    began = proa_loop_now(loop);
    if (proa_loop_start_fiber(loop, NULL, sleep_an_hour, loop) < 0 || proa_loop_run(loop) < 0)
        return 1;
    has_passed = proa_loop_now(loop) - began >= PROA_SECONDS(3600);
    proa_sim_free(sim);
    return has_passed ? 0 : 1;
}

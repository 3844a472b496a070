/* What a fiber costs, in nanoseconds: starting and ending one on a kept stack (the request path), and
 * suspending and waking one. Prints one line a figure. */
#include <proa/fiber.h>
#include <stdio.h>
#include <stdlib.h>

enum { STARTS = 5000000, SWITCHES = 5000000, WARM_UP = 1000, ROUNDS = 5 };

static struct proa_loop *loop;
static unsigned done;

static int ends_at_once(void *arg)
{
    done++;
    return 0;
}

static double ns_since(proa_mono_ns began, unsigned count)
{
    return (double)(proa_loop_now_exact(loop) - began) / count;
}

static double measure_starts(const struct proa_fiber_options *options)
{
    struct proa_group group;
    double best = 1e9;

    proa_group_init(&group, loop);
    for (int round = 0; round < ROUNDS; round++) {
        proa_mono_ns began = proa_loop_now_exact(loop);
        double ns;

        for (int i = 0; i < STARTS / ROUNDS; i++)
            if (proa_group_run_now(&group, options, ends_at_once, NULL) < 0)
                abort();
        ns = ns_since(began, STARTS / ROUNDS);
        best = ns < best ? ns : best;
    }
    return best;
}

/* Two fibers that wake each other: one park and one unpark a step. */
struct player {
    struct proa_waiter waiter;
    struct player *other;
    bool is_parked;
};

static int play(void *arg)
{
    struct player *own = arg;

    for (int i = 0; i < SWITCHES / 2; i++) {
        proa_waiter_init(&own->waiter, loop);
        own->is_parked = true;
        if (own->other->is_parked) {
            own->other->is_parked = false;
            proa_unpark(&own->other->waiter, 0);
        }
        if (i == SWITCHES / 2 - 1)
            break;
        PROA_TRY(proa_park(&own->waiter));
    }
    own->is_parked = false;
    return 0;
}

static double measure_parks(proa_mono_ns deadline)
{
    struct proa_fiber_options options = {.name = "player", .deadline = deadline};
    struct player a = {.other = NULL}, b = {.other = &a};
    proa_mono_ns began;

    a.other = &b;
    if (proa_loop_start_fiber(loop, &options, play, &a) < 0 || proa_loop_start_fiber(loop, &options, play, &b) < 0)
        abort();
    began = proa_loop_now_exact(loop);
    proa_loop_run(loop);
    return ns_since(began, SWITCHES);
}

static int yields(void *arg)
{
    for (int i = 0; i < 100; i++)
        PROA_TRY(proa_yield(loop));
    return 0;
}

static double measure_yields(void)
{
    enum { FIBERS = 1000, YIELDS = 100 };
    proa_mono_ns began;

    for (int i = 0; i < FIBERS; i++)
        if (proa_loop_start_fiber(loop, NULL, yields, NULL) < 0)
            abort();
    began = proa_loop_now_exact(loop);
    proa_loop_run(loop);
    return ns_since(began, FIBERS * YIELDS);
}

int main(void)
{
    struct proa_fiber_options with_deadline = {.name = "bench"};

    if (proa_loop_new(NULL, &loop) < 0)
        return EXIT_FAILURE;
    with_deadline.deadline = proa_loop_now(loop) + PROA_SECONDS(3600);
    for (int i = 0; i < WARM_UP; i++)
        (void)!proa_loop_start_fiber(loop, NULL, ends_at_once, NULL);
    proa_loop_run(loop);
    printf("start and end, nested         %6.1f ns\n", measure_starts(NULL));
    printf("the same with a deadline      %6.1f ns\n", measure_starts(&with_deadline));
    printf("park and unpark, and its turn %6.1f ns\n", measure_parks(0));
    printf("the same with a deadline      %6.1f ns\n", measure_parks(with_deadline.deadline));
    printf("yield among 1,000 fibers      %6.1f ns\n", measure_yields());
    proa_loop_free(loop);
    return done > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

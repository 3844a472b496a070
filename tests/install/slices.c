/* Stands for a project elsewhere while examples/hello cannot be built yet: uses the loop, so that fibers and libuv link. */
#include <proa/fiber.h>
#include <proa/loop.h>

static int body(void *arg)
{
    *(int *)arg = 1;
    return 0;
}

int main(void)
{
    struct proa_loop *loop;
    int ran = 0;

    if (proa_loop_new(NULL, &loop) != 0)
        return 1;
    if (proa_loop_start_fiber(loop, NULL, body, &ran) != 0 || proa_loop_run(loop) != 0)
        return 1;
    proa_loop_free(loop);
    return ran ? 0 : 1;
}

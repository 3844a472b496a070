/* The smallest Proa service: a typed path parameter, health, metrics, and a count shared by all loops. */
#include <inttypes.h>
#include <proa/app.h>

struct hello {
    struct proa_counter_series *requests; /* one shard a loop, summed up exactly when it is read */
};

static int count_request(struct proa_req *req, void *arg)
{
    const struct hello *hello = arg;
    proa_counter_add(hello->requests, proa_loop_index(proa_req_loop(req)), 1);
    return proa_next(req);
}

static int get_user(struct proa_req *req)
{
    uint64_t id;

    PROA_TRY(proa_req_param_u64(req, "id", &id));
    return proa_reply_printf(req, 200, "User %" PRIu64, id);
}

static const struct proa_route routes[] = {
    {PROA_GET, "/api/users/{id}", get_user, .summary = "Names a user"},
};

static int start(struct proa_app *app, void *state, struct proa_error *err)
{
    struct hello *hello = state;
    struct proa_counter *requests;

    PROA_TRY(proa_counter_new(proa_app_metrics(app),
                              &(struct proa_metric_options){.name = "requests", .help = "Requests seen by the service"},
                              &requests, err));
    hello->requests = proa_counter_with(requests, NULL);
    return proa_router_use(proa_app_router(app), count_request, hello);
}

int main(int argc, char **argv)
{
    struct hello hello = {0};

    return proa_app_run(&(struct proa_app_options){.name = "hello",
                                                   .version = PROA_VERSION,
                                                   .doc = "The smallest Proa service.",
                                                   .routes = routes,
                                                   .routes_count = PROA_COUNT(routes),
                                                   .state = &hello,
                                                   .start = start},
                        argc, argv);
}

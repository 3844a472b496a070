/* A service linked with TLS, whose telemetry can therefore go to an https endpoint. */
#include <proa/app.h>
#include <proa/tls.h>

static int get_hello(struct proa_req *req)
{
    return proa_reply_printf(req, 200, "hello");
}

static const struct proa_route routes[] = {{PROA_GET, "/hello", get_hello, .summary = "Says hello"}};

int main(int argc, char **argv)
{
    return proa_app_run(&(struct proa_app_options){.name = "tls_service",
                                                   .doc = "A service that can speak TLS.",
                                                   .routes = routes,
                                                   .routes_count = PROA_COUNT(routes),
                                                   .tls = &proa_tls_provider},
                        argc, argv);
}

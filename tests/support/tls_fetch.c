/* Fetches an https URL by a client whose OpenSSL has just the algorithms of static programs (src/tls/algorithms.c), and prints the body:
 * tls_fetch URL CA-FILE [CERTIFICATE-FILE KEY-FILE] */
#include <proa/client.h>
#include <proa/fiber.h>
#include <proa/tls.h>
#include <stdio.h>

struct fetching {
    struct proa_loop *loop;
    char **arguments;
    int count, rc;
};

static int fetch(struct fetching *fetching, struct proa_arena *arena, const struct proa_tls *tls,
                 struct proa_error *err)
{
    struct proa_client *client;
    struct proa_client_response response;
    int rc;

    PROA_TRY(proa_client_new(&(struct proa_client_options){.loop = fetching->loop, .tls = proa_tls_layer(tls)}, &client,
                             err));
    rc = proa_client_fetch(client, arena, &(struct proa_client_request){.url = proa_str_c(fetching->arguments[1])},
                           &response, err);
    if (rc == 0)
        printf("%.*s\n", PROA_ARG(response.body));
    proa_client_free(client);
    return rc;
}

static int body(void *arg)
{
    struct fetching *fetching = arg;
    char **arguments = fetching->arguments;
    bool has_key = fetching->count > 4;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_tls *tls = NULL;
    struct proa_error err = {0};
    int rc = proa_tls_client_new(&(struct proa_tls_options){.ca_file = arguments[2],
                                                            .cert_file = has_key ? arguments[3] : NULL,
                                                            .key_file = has_key ? arguments[4] : NULL},
                                 &tls, &err);

    proa_arena_init(&arena, proa_loop_blocks(fetching->loop), 0);
    if (rc == 0)
        rc = fetch(fetching, &arena, tls, &err);
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", proa_code_name(rc), err.message);
    proa_tls_free(tls);
    fetching->rc = rc;
    return 0;
}

int main(int argc, char **argv)
{
    struct fetching fetching = {.arguments = argv, .count = argc};

    if (argc < 3 || proa_loop_new(NULL, &fetching.loop) < 0 ||
        proa_loop_start_fiber(fetching.loop, NULL, body, &fetching) < 0 || proa_loop_run(fetching.loop) < 0)
        return 2;
    proa_loop_free(fetching.loop);
    return fetching.rc < 0;
}

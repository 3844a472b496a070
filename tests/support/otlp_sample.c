/* Exports a server span with a child, and 600 more, over the HTTP client for a real collector to read:
 * otlp_sample URL none|gzip. Prints the trace id and what became of the spans. */
#include <proa/fiber.h>
#include <proa/otlp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct proa_loop *loop;
static struct proa_tracer *tracer;
static struct proa_otlp *otlp;

static void must(int rc, const struct proa_error *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", proa_code_name(rc), err->message);
    exit(EXIT_FAILURE);
}

static int make_spans(void *arg)
{
    const struct proa_kv of_event = proa_kv_u64("try", 2);
    struct proa_span server, client;
    char hex[32];

    proa_span_start(tracer, loop,
                    &(struct proa_span_options){.name = PROA_STR("GET /users/{id}"), .kind = PROA_SPAN_SERVER},
                    &server);
    proa_span_enter(&server);
    proa_span_set(&server, proa_kv_c("http.route", "/users/{id}"));
    proa_span_start(tracer, loop,
                    &(struct proa_span_options){.name = PROA_STR("SELECT users"), .kind = PROA_SPAN_CLIENT}, &client);
    proa_span_set(&client, proa_kv_c("db.system.name", "postgresql"));
    proa_span_set(&client, proa_kv_f64("weight", 0.5));
    proa_span_set(&client, proa_kv_bool("prepared", true));
    proa_span_event(&client, "retry", &of_event, 1);
    proa_span_fail(&client, &(struct proa_error){.code = PROA_EUNAVAILABLE, .message = "gone"});
    proa_span_end(&client);
    proa_hex_encode(hex, proa_str_n((const char *)server.ids.trace_id, 16));
    printf(PROA_FMT "\n", PROA_ARG(proa_str_n(hex, sizeof hex)));
    proa_span_end(&server);
    for (int i = 0; i < 600; i++) {
        proa_span_begin(tracer, loop, "filler", &server);
        proa_span_set(&server, proa_kv_i64("i", i));
        proa_span_end(&server);
    }
    proa_otlp_stop(otlp, 3000);
    proa_loop_stop(loop); /* the client's kept connection would hold it for a while */
    return 0;
}

int main(int argc, char **argv)
{
    struct proa_otlp_client sender = {.url = proa_str_c(argc > 1 ? argv[1] : "http://localhost:4318/v1/traces")};
    const struct proa_client_field header = {"X-Sample", PROA_STR("1")};
    struct proa_otlp_counts counts;
    struct proa_error err = {0};

    sender.headers = &header;
    sender.headers_count = 1;
    must(proa_loop_new(NULL, &loop), &err);
    must(proa_tracer_new(NULL, &tracer, &err), &err);
    must(proa_client_new(&(struct proa_client_options){.loop = loop}, &sender.client, &err), &err);
    must(proa_otlp_start(&(struct proa_otlp_options){.loop = loop,
                                                     .tracer = tracer,
                                                     .send = proa_otlp_client_send,
                                                     .send_arg = &sender,
                                                     .service_name = "sample",
                                                     .service_version = "1",
                                                     .resource_attributes = "deployment.environment.name=test",
                                                     .gzip = argc > 2 && strcmp(argv[2], "gzip") == 0},
                         &otlp, &err),
         &err);
    must(proa_loop_start_fiber(loop, NULL, make_spans, NULL), &err);
    must(proa_loop_run(loop), &err);
    proa_otlp_read_counts(otlp, &counts);
    printf("sent %llu rejected %llu failed %llu dropped %llu\n", (unsigned long long)counts.sent,
           (unsigned long long)counts.rejected, (unsigned long long)counts.failed, (unsigned long long)counts.dropped);
    proa_otlp_free(otlp);
    proa_client_free(sender.client);
    proa_tracer_free(tracer);
    proa_loop_free(loop);
    return EXIT_SUCCESS;
}

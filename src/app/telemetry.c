/* What leaves the program by OTLP, as OpenTelemetry's environment variables (the settings below `otel`) ask for. Nothing does unless an
 * endpoint is set. */
#include "app_internal.h"

#include <proa/otlp.h>
#include <stdlib.h>

enum { HEADERS_MAX = 16, FLUSH_MS = 3000 };

extern char **environ;

struct telemetry {
    const char *traces_url; /* NULL: none */
    const char *logs_url;   /* likewise */
    const char *attributes;
    void *tls; /* of the program's provider */
    struct proa_client *client;
    struct proa_otlp_client sender;
    struct proa_otlp_client logs_sender;
    struct proa_otlp *traces;
    struct proa_otlp *logs;
    unsigned propagate;
};

struct proa_tracer *proa_app_tracer(struct proa_app *app)
{
    return app->tracer;
}

unsigned proa_app_propagate(struct proa_app *app)
{
    return app->telemetry ? app->telemetry->propagate : 0;
}

static int read_propagators(struct telemetry *telemetry, proa_str text, struct proa_error *err)
{
    static const struct {
        const char *name;
        enum proa_propagators bit;
    } known[] = {
        {"tracecontext", PROA_PROPAGATE_TRACECONTEXT}, {"baggage", PROA_PROPAGATE_BAGGAGE}, {"b3", PROA_PROPAGATE_B3},
        {"b3multi", PROA_PROPAGATE_B3MULTI},           {"none", PROA_PROPAGATE_NONE},
    };
    proa_str name;

    while (proa_str_split(&text, ',', &name)) {
        size_t i = 0;

        name = proa_str_trim(name);
        while (i < PROA_COUNT(known) && !proa_str_eq_c(name, known[i].name))
            i++;
        if (i == PROA_COUNT(known))
            return proa_fail(err, PROA_EINVAL,
                             "propagator \"" PROA_FMT
                             "\" is not known (OTEL_PROPAGATORS: tracecontext, baggage, b3, b3multi, none)",
                             PROA_ARG(name));
        telemetry->propagate |= known[i].bit;
    }
    return 0;
}

static int decode(struct proa_arena *arena, proa_str text, const char *what, proa_str *ret_text, struct proa_error *err)
{
    int rc = proa_percent_decode(arena, text, false, ret_text);

    return rc < 0 ? proa_fail(err, rc, "%s is not percent-encoded as it should be", what) : 0;
}

/* "key=value,key=value", into the program's arena. */
static int read_headers(struct proa_app *app, proa_str text, struct proa_client_field **ret_headers, size_t *ret_count,
                        struct proa_error *err)
{
    static const char what[] = "OTEL_EXPORTER_OTLP_HEADERS";
    struct proa_client_field *headers = proa_arena_calloc(&app->arena, HEADERS_MAX, sizeof *headers);
    size_t count = 0;
    proa_str part, name;

    if (!headers)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    while (text.len > 0 && proa_str_split(&text, ',', &part)) {
        if (proa_str_trim(part).len == 0)
            continue;
        proa_ignore(proa_str_split(&part, '=', &name));
        if (!part.ptr)
            return proa_fail(err, PROA_EINVAL, "%s has a header without \"=\"", what);
        if (count == HEADERS_MAX)
            return proa_fail(err, PROA_ETOOLARGE, "%s has more than %d headers", what, HEADERS_MAX);
        headers[count].name = proa_arena_str(&app->arena, proa_str_trim(name)).ptr;
        part = proa_arena_str(&app->arena, proa_str_trim(part));
        if (!headers[count].name || !part.ptr)
            return proa_fail(err, PROA_ENOMEM, "memory is out");
        PROA_TRY(decode(&app->arena, part, what, &headers[count].value, err));
        count++;
    }
    *ret_headers = headers;
    *ret_count = count;
    return 0;
}

static proa_str trace_headers(const struct app_otel_config *otel)
{
    return otel->traces_headers.len > 0 ? otel->traces_headers : otel->headers;
}

static proa_str logs_headers(const struct app_otel_config *otel)
{
    return otel->logs_headers.len > 0 ? otel->logs_headers : otel->headers;
}

static int set_headers(struct proa_app *app, proa_str text, struct proa_otlp_client *sender, struct proa_error *err)
{
    struct proa_client_field *headers = NULL;
    size_t count = 0;

    PROA_TRY(read_headers(app, text, &headers, &count, err));
    sender->headers = headers;
    sender->headers_count = count;
    return 0;
}

int telemetry_reload(struct proa_app *app, const struct app_otel_config *next, struct proa_error *err)
{
    struct app_otel_config *otel = &app->config.otel;
    struct telemetry *telemetry = app->telemetry;

    if (telemetry->traces && !proa_str_eq(trace_headers(otel), trace_headers(next)))
        PROA_TRY(set_headers(app, trace_headers(next), &telemetry->sender, err));
    if (telemetry->logs && !proa_str_eq(logs_headers(otel), logs_headers(next)))
        PROA_TRY(set_headers(app, logs_headers(next), &telemetry->logs_sender, err));
    otel->headers = next->headers;
    otel->traces_headers = next->traces_headers;
    otel->logs_headers = next->logs_headers;
    return 0;
}

static bool is_https(const char *url)
{
    return url && proa_str_starts_with(proa_str_c(url), PROA_STR("https://"));
}

/* A URL of its own, or the common one and the signal's path. *ret_url is NULL when there is none. */
static int choose_url(struct proa_app *app, proa_str own, const char *path, const char **ret_url,
                      struct proa_error *err)
{
    proa_str common = app->config.otel.endpoint;
    bool needs_tls;

    *ret_url = NULL;
    if (own.len == 0 && common.len == 0)
        return 0;
    while (common.len > 0 && common.ptr[common.len - 1] == '/')
        common.len--;
    *ret_url = own.len > 0 ? own.ptr : proa_arena_printf(&app->arena, PROA_FMT "%s", PROA_ARG(common), path).ptr;
    if (!*ret_url)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    needs_tls = is_https(*ret_url);
    if (!needs_tls && !proa_str_starts_with(proa_str_c(*ret_url), PROA_STR("http://")))
        return proa_fail(err, PROA_EINVAL, "the OTLP endpoint %s is no http or https URL", *ret_url);
    if (needs_tls && !app->options->tls)
        return proa_fail(err, PROA_EUNSUPPORTED,
                         "the OTLP endpoint %s needs TLS, which this program was built without: use an http endpoint, "
                         "a collector on this machine, say",
                         *ret_url);
    return 0;
}

static bool has_key(proa_str attributes, const char *key)
{
    proa_str part, name;

    while (proa_str_split(&attributes, ',', &part))
        if (proa_str_split(&part, '=', &name) && proa_str_eq_c(proa_str_trim(name), key))
            return true;
    return false;
}

/* ENVIRONMENT is one, unless it is among them already. */
static int choose_attributes(struct proa_app *app, struct proa_error *err)
{
    static const char key[] = "deployment.environment.name";
    proa_str given = app->config.otel.resource_attributes;
    struct proa_buf text;

    app->telemetry->attributes = given.ptr;
    if (app->config.environment.len == 0 || has_key(given, key))
        return 0;
    proa_buf_init(&text, &app->arena, 0);
    proa_buf_printf(&text, "%s=", key);
    proa_percent_encode(&text, app->config.environment);
    if (given.len > 0)
        proa_buf_printf(&text, "," PROA_FMT, PROA_ARG(given));
    proa_buf_add_char(&text, '\0');
    if (text.error)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    app->telemetry->attributes = text.ptr;
    return 0;
}

static const char *or_null(proa_str text)
{
    return text.len > 0 ? text.ptr : NULL;
}

static int make_exports(struct proa_app *app, struct proa_error *err)
{
    const struct app_otel_config *otel = &app->config.otel;
    struct telemetry *telemetry = app->telemetry;

    if (otel->traces_exporter != EXPORT_NONE)
        PROA_TRY(choose_url(app, otel->traces_endpoint, "/v1/traces", &telemetry->traces_url, err));
    if (otel->logs_exporter != EXPORT_NONE)
        PROA_TRY(choose_url(app, otel->logs_endpoint, "/v1/logs", &telemetry->logs_url, err));
    if (!telemetry->traces_url && !telemetry->logs_url)
        return 0;
    PROA_TRY(choose_attributes(app, err));
    if (telemetry->traces_url)
        PROA_TRY(set_headers(app, trace_headers(otel), &telemetry->sender, err));
    if (telemetry->logs_url)
        PROA_TRY(set_headers(app, logs_headers(otel), &telemetry->logs_sender, err));
    if (app->options->tls && (is_https(telemetry->traces_url) || is_https(telemetry->logs_url)))
        PROA_TRY(app->options->tls->make(or_null(otel->certificate), or_null(otel->client_certificate),
                                         or_null(otel->client_key), &telemetry->tls, err));
    if (!telemetry->traces_url)
        return 0;
    return proa_tracer_new(&(struct proa_tracer_options){.sampler = otel->traces_sampler.ptr,
                                                         .sampler_arg = otel->traces_sampler_arg.ptr,
                                                         .queue_spans = otel->queue_spans},
                           &app->tracer, err);
}

int telemetry_init(struct proa_app *app, struct proa_error *err)
{
    const struct app_otel_config *otel = &app->config.otel;

    app->telemetry = proa_arena_new(&app->arena, struct telemetry);
    if (!app->telemetry)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(read_propagators(app->telemetry, otel->propagators, err));
    return otel->disabled ? 0 : make_exports(app, err);
}

/* What both exports have in common. */
static struct proa_otlp_options export_options(struct proa_app *app, struct proa_otlp_client *sender)
{
    const struct app_otel_config *otel = &app->config.otel;

    sender->client = app->telemetry->client;
    return (struct proa_otlp_options){
        .loop = app->loop,
        .send = proa_otlp_client_send,
        .send_arg = sender,
        .service_name = otel->service_name.len > 0 ? otel->service_name.ptr : app->options->name,
        .service_version = app->options->version,
        .resource_attributes = app->telemetry->attributes,
        .gzip = otel->compression == COMPRESS_GZIP,
        .timeout_ms = otel->timeout_ms,
        .metrics = app->metrics,
        .logger = &app->logger,
    };
}

static int start_traces(struct proa_app *app, struct proa_error *err)
{
    const struct app_otel_config *otel = &app->config.otel;
    struct telemetry *telemetry = app->telemetry;
    struct proa_otlp_options options = export_options(app, &telemetry->sender);

    telemetry->sender.url = proa_str_c(telemetry->traces_url);
    options.tracer = app->tracer;
    options.delay_ms = otel->schedule_delay_ms;
    options.batch_spans = otel->batch_spans;
    PROA_TRY(proa_otlp_start(&options, &telemetry->traces, err));
    PROA_INFO(&app->logger, "spans are exported", proa_kv_c("url.full", telemetry->traces_url),
              proa_kv_str("sampler", otel->traces_sampler));
    return 0;
}

static int start_logs(struct proa_app *app, struct proa_error *err)
{
    const struct app_otel_config *otel = &app->config.otel;
    struct telemetry *telemetry = app->telemetry;
    struct proa_otlp_options options = export_options(app, &telemetry->logs_sender);

    telemetry->logs_sender.url = proa_str_c(telemetry->logs_url);
    options.log = app->log;
    options.queue_records = otel->queue_records;
    options.delay_ms = otel->logs_delay_ms;
    options.batch_spans = otel->batch_records;
    PROA_TRY(proa_otlp_start(&options, &telemetry->logs, err));
    PROA_INFO(&app->logger, "log lines are exported", proa_kv_c("url.full", telemetry->logs_url));
    return 0;
}

int telemetry_start(struct proa_app *app, struct proa_error *err)
{
    struct telemetry *telemetry = app->telemetry;

    if (!telemetry->traces_url && !telemetry->logs_url)
        return 0;
    PROA_TRY(proa_client_new(
        &(struct proa_client_options){.loop = app->loop,
                                      .tls = telemetry->tls ? app->options->tls->layer(telemetry->tls) : NULL,
                                      .user_agent = "OTel-OTLP-Exporter-proa",
                                      .env = environ},
        &telemetry->client, err));
    if (telemetry->traces_url)
        PROA_TRY(start_traces(app, err));
    return telemetry->logs_url ? start_logs(app, err) : 0;
}

void telemetry_stop(struct proa_app *app)
{
    struct telemetry *telemetry = app->telemetry;

    if (!telemetry)
        return;
    if (telemetry->traces)
        proa_otlp_stop(telemetry->traces, FLUSH_MS);
    if (telemetry->logs)
        proa_otlp_stop(telemetry->logs, FLUSH_MS);
    proa_client_free(telemetry->client);
    telemetry->client = NULL;
}

void telemetry_free(struct proa_app *app)
{
    struct telemetry *telemetry = app->telemetry;

    if (!telemetry)
        return;
    proa_otlp_free(telemetry->traces);
    proa_otlp_free(telemetry->logs);
    proa_tracer_free(app->tracer);
    if (telemetry->tls)
        app->options->tls->free(telemetry->tls);
}

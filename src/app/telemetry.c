/* What leaves the program by OTLP, as OpenTelemetry's environment variables (the settings below `otel`) ask for. Nothing does unless an
 * endpoint is set. */
#include "app_internal.h"

#include <proa/otlp.h>
#include <stdlib.h>

enum { HEADERS_MAX = 16, FLUSH_MS = 3000 };

extern char **environ;

/* Spans or log lines on their way out. */
struct export
{
    const char *url; /* NULL: none */
    proa_str shown;  /* of it: without a query, which may hold a key */
    void *tls;       /* of the program's provider; NULL: none */
    struct proa_client *client;
    struct proa_otlp_client sender;
    struct proa_otlp *otlp;
};

struct telemetry {
    const char *attributes;
    struct export traces;
    struct export logs;
    unsigned propagate;
};

/* A setting of its own where that is given, else the common one. */
struct pick {
    proa_str value;
    bool is_own;
};

/* What the settings say of one of them. */
struct choice {
    const char *variables; /* how those of its own begin */
    const char *path;      /* behind the common endpoint */
    proa_str own_endpoint;
    struct pick headers;
    bool gzip;
    uint32_t timeout_ms;
    struct pick certificate;
    struct pick client_certificate;
    struct pick client_key;
};

static struct pick own_or(proa_str own, proa_str common)
{
    return own.len > 0 ? (struct pick){own, true} : (struct pick){common, false};
}

static struct choice traces_choice(const struct app_otel_config *otel)
{
    bool has_gzip = otel->traces_compression.presence == PROA_SET,
         has_time = otel->traces_timeout_ms.presence == PROA_SET;

    return (struct choice){
        .variables = "OTEL_EXPORTER_OTLP_TRACES",
        .path = "/v1/traces",
        .own_endpoint = otel->traces_endpoint,
        .headers = own_or(otel->traces_headers, otel->headers),
        .gzip = (has_gzip ? otel->traces_compression.value : otel->compression) == COMPRESS_GZIP,
        .timeout_ms = has_time ? otel->traces_timeout_ms.value : otel->timeout_ms,
        .certificate = own_or(otel->traces_certificate, otel->certificate),
        .client_certificate = own_or(otel->traces_client_certificate, otel->client_certificate),
        .client_key = own_or(otel->traces_client_key, otel->client_key),
    };
}

static struct choice logs_choice(const struct app_otel_config *otel)
{
    bool has_gzip = otel->logs_compression.presence == PROA_SET, has_time = otel->logs_timeout_ms.presence == PROA_SET;

    return (struct choice){
        .variables = "OTEL_EXPORTER_OTLP_LOGS",
        .path = "/v1/logs",
        .own_endpoint = otel->logs_endpoint,
        .headers = own_or(otel->logs_headers, otel->headers),
        .gzip = (has_gzip ? otel->logs_compression.value : otel->compression) == COMPRESS_GZIP,
        .timeout_ms = has_time ? otel->logs_timeout_ms.value : otel->timeout_ms,
        .certificate = own_or(otel->logs_certificate, otel->certificate),
        .client_certificate = own_or(otel->logs_client_certificate, otel->client_certificate),
        .client_key = own_or(otel->logs_client_key, otel->client_key),
    };
}

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
        while (i < PROA_COUNT(known) && !proa_str_eq_nocase(name, proa_str_c(known[i].name)))
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
static int set_headers(struct proa_app *app, const struct choice *choice, struct proa_otlp_client *sender,
                       struct proa_error *err)
{
    const char *what =
        proa_arena_printf(&app->arena, "%s_HEADERS", choice->headers.is_own ? choice->variables : "OTEL_EXPORTER_OTLP")
            .ptr;
    struct proa_client_field *headers = proa_arena_calloc(&app->arena, HEADERS_MAX, sizeof *headers);
    proa_str text = choice->headers.value, part, name;
    size_t count = 0;

    if (!headers || !what)
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
        if (proa_otlp_client_check_header(&headers[count], err) < 0)
            return proa_error_wrap(err, "%s", what);
        count++;
    }
    sender->headers = headers;
    sender->headers_count = count;
    return 0;
}

/* Both or none of them. */
int telemetry_reload(struct proa_app *app, const struct app_otel_config *next, struct proa_error *err)
{
    struct app_otel_config *otel = &app->config.otel;
    struct telemetry *telemetry = app->telemetry;
    struct proa_otlp_client traces_sender = telemetry->traces.sender, logs_sender = telemetry->logs.sender;
    const struct choice traces = traces_choice(next), logs = logs_choice(next);

    if (telemetry->traces.otlp && !proa_str_eq(traces_choice(otel).headers.value, traces.headers.value))
        PROA_TRY(set_headers(app, &traces, &traces_sender, err));
    if (telemetry->logs.otlp && !proa_str_eq(logs_choice(otel).headers.value, logs.headers.value))
        PROA_TRY(set_headers(app, &logs, &logs_sender, err));
    telemetry->traces.sender = traces_sender;
    telemetry->logs.sender = logs_sender;
    otel->headers = next->headers;
    otel->traces_headers = next->traces_headers;
    otel->logs_headers = next->logs_headers;
    return 0;
}

/* With a program's own words for what a URL is not; it may hold a password, so that it is not quoted. */
static int bad_endpoint(proa_str url, const char *variable, struct proa_error *err)
{
    if (proa_str_find_char(url, '@') >= 0)
        return proa_error_wrap(err, "the OTLP endpoint (%s_ENDPOINT; credentials belong in %s_HEADERS)", variable,
                               variable);
    return proa_error_wrap(err, "the OTLP endpoint (%s_ENDPOINT)", variable);
}

/* A URL of its own, or the common one and the signal's path. export->url stays NULL when there is none. */
static int choose_url(struct proa_app *app, const struct choice *choice, struct export *export, bool *ret_needs_tls,
                      struct proa_error *err)
{
    proa_str common = app->config.otel.endpoint, own = choice->own_endpoint, given = own.len > 0 ? own : common;
    const char *variable = own.len > 0 ? choice->variables : "OTEL_EXPORTER_OTLP";

    if (given.len == 0)
        return 0;
    if (proa_otlp_client_check(given, &export->shown, ret_needs_tls, err) < 0)
        return bad_endpoint(given, variable, err);
    if (own.len == 0 && export->shown.len < common.len)
        return proa_fail(err, PROA_EINVAL, "the OTLP endpoint (%s_ENDPOINT) has a query: give each signal's whole URL",
                         variable);
    if (*ret_needs_tls && !app->options->tls)
        return proa_fail(err, PROA_EUNSUPPORTED,
                         "the OTLP endpoint " PROA_FMT
                         " (%s_ENDPOINT) needs TLS, which this program was built without: use an "
                         "http endpoint, a collector on this machine, say",
                         PROA_ARG(export->shown), variable);
    if (own.len > 0) {
        export->url = own.ptr;
        return 0;
    }
    while (common.len > 0 && common.ptr[common.len - 1] == '/')
        common.len--;
    export->shown = proa_arena_printf(&app->arena, PROA_FMT "%s", PROA_ARG(common), choice->path);
    export->url = export->shown.ptr;
    return export->url ? 0 : proa_fail(err, PROA_ENOMEM, "memory is out");
}

/* The last of the name, percent-encoded; ptr NULL: none. */
static proa_str attribute(proa_str attributes, const char *key)
{
    proa_str part, name, value = {NULL, 0};

    while (proa_str_split(&attributes, ',', &part))
        if (proa_str_split(&part, '=', &name) && proa_str_eq_c(proa_str_trim(name), key))
            value = proa_str_trim(part);
    return value;
}

const char *telemetry_service_name(struct proa_app *app)
{
    const struct app_otel_config *otel = &app->config.otel;
    proa_str given = attribute(otel->resource_attributes, "service.name"), name;

    if (otel->service_name.len > 0)
        return otel->service_name.ptr;
    /* What cannot be read is told by the export. */
    if (given.len > 0 && proa_percent_decode(&app->arena, given, false, &name) == 0 && proa_utf8_valid(name))
        name = proa_arena_str(&app->arena, name);
    else
        return app->options->name;
    return name.len > 0 ? name.ptr : app->options->name;
}

/* ENVIRONMENT is one, unless it is among them already. */
static int choose_attributes(struct proa_app *app, struct proa_error *err)
{
    static const char key[] = "deployment.environment.name";
    proa_str given = app->config.otel.resource_attributes;
    struct proa_buf text;

    app->telemetry->attributes = given.ptr;
    if (app->config.environment.len == 0 || attribute(given, key).ptr)
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

static const char *or_null(struct pick pick)
{
    return pick.value.len > 0 ? pick.value.ptr : NULL;
}

/* " (OTEL_EXPORTER_OTLP_CERTIFICATE)", what a mistake may be in: the files that are given, under the names of their variables. */
static const char *tls_variables(struct proa_arena *arena, const struct choice *choice)
{
    const struct {
        struct pick pick;
        const char *name;
    } files[] = {{choice->certificate, "CERTIFICATE"},
                 {choice->client_certificate, "CLIENT_CERTIFICATE"},
                 {choice->client_key, "CLIENT_KEY"}};
    struct proa_buf text;

    proa_buf_init(&text, arena, 0);
    for (size_t i = 0; i < PROA_COUNT(files); i++)
        if (files[i].pick.value.len > 0)
            proa_buf_printf(&text, "%s%s_%s", text.len ? ", " : " (",
                            files[i].pick.is_own ? choice->variables : "OTEL_EXPORTER_OTLP", files[i].name);
    if (text.len)
        proa_buf_add_char(&text, ')');
    proa_buf_add_char(&text, '\0');
    return text.error ? "" : text.ptr;
}

/* All but what needs a loop. */
static int make_export(struct proa_app *app, const struct choice *choice, struct export *export, struct proa_error *err)
{
    bool needs_tls = false;

    PROA_TRY(choose_url(app, choice, export, &needs_tls, err));
    if (!export->url)
        return 0;
    PROA_TRY(set_headers(app, choice, &export->sender, err));
    export->sender.url = proa_str_c(export->url);
    if (needs_tls && app->options->tls->make(or_null(choice->certificate), or_null(choice->client_certificate),
                                             or_null(choice->client_key), &export->tls, err) < 0)
        return proa_error_wrap(err, "TLS for the OTLP endpoint " PROA_FMT "%s", PROA_ARG(export->shown),
                               tls_variables(&app->arena, choice));
    return 0;
}

static int make_exports(struct proa_app *app, struct proa_error *err)
{
    const struct app_otel_config *otel = &app->config.otel;
    const struct choice traces = traces_choice(otel), logs = logs_choice(otel);
    struct telemetry *telemetry = app->telemetry;

    if (otel->traces_exporter != EXPORT_NONE)
        PROA_TRY(make_export(app, &traces, &telemetry->traces, err));
    if (otel->logs_exporter != EXPORT_NONE)
        PROA_TRY(make_export(app, &logs, &telemetry->logs, err));
    if (telemetry->traces.url || telemetry->logs.url)
        PROA_TRY(choose_attributes(app, err));
    if (!telemetry->traces.url)
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

/* @param options  what is exported, and how much of it at once */
static int start_export(struct proa_app *app, const struct choice *choice, struct proa_otlp_options options,
                        struct export *export, struct proa_error *err)
{
    PROA_TRY(
        proa_client_new(&(struct proa_client_options){.loop = app->loop,
                                                      .tls = export->tls ? app->options->tls->layer(export->tls) : NULL,
                                                      .user_agent = "OTel-OTLP-Exporter-proa",
                                                      .metrics = app->metrics,
                                                      .env = environ},
                        &export->client, err));
    export->sender.client = export->client;
    options.loop = app->loop;
    options.send = proa_otlp_client_send;
    options.send_arg = &export->sender;
    options.service_name = app->service[0].as.str.ptr;
    options.service_version = app->options->version;
    options.resource_attributes = app->telemetry->attributes;
    options.gzip = choice->gzip;
    options.timeout_ms = choice->timeout_ms;
    options.metrics = app->metrics;
    options.logger = &app->logger;
    return proa_otlp_start(&options, &export->otlp, err);
}

static int start_traces(struct proa_app *app, struct proa_error *err)
{
    const struct app_otel_config *otel = &app->config.otel;
    const struct choice choice = traces_choice(otel);
    struct export *export = &app->telemetry->traces;

    PROA_TRY(start_export(app, &choice,
                          (struct proa_otlp_options){.tracer = app->tracer,
                                                     .delay_ms = otel->schedule_delay_ms,
                                                     .retry_ms = otel->export_timeout_ms,
                                                     .batch_spans = otel->batch_spans},
                          export, err));
    PROA_INFO(&app->logger, "spans are exported", proa_kv_str("url.full", export->shown),
              proa_kv_str("sampler", otel->traces_sampler));
    return 0;
}

static int start_logs(struct proa_app *app, struct proa_error *err)
{
    const struct app_otel_config *otel = &app->config.otel;
    const struct choice choice = logs_choice(otel);
    struct export *export = &app->telemetry->logs;

    PROA_TRY(start_export(app, &choice,
                          (struct proa_otlp_options){.log = app->log,
                                                     .queue_records = otel->queue_records,
                                                     .delay_ms = otel->logs_delay_ms,
                                                     .retry_ms = otel->logs_export_timeout_ms,
                                                     .batch_spans = otel->batch_records},
                          export, err));
    PROA_INFO(&app->logger, "log lines are exported", proa_kv_str("url.full", export->shown));
    return 0;
}

int telemetry_start(struct proa_app *app, struct proa_error *err)
{
    if (app->telemetry->traces.url)
        PROA_TRY(start_traces(app, err));
    return app->telemetry->logs.url ? start_logs(app, err) : 0;
}

uint32_t telemetry_stop_ms(const struct proa_app *app)
{
    return app->telemetry && (app->telemetry->traces.otlp || app->telemetry->logs.otlp) ? FLUSH_MS : 0;
}

static int stop_export(void *arg)
{
    struct export *export = arg;

    if (export->otlp)
        proa_otlp_stop(export->otlp, FLUSH_MS);
    proa_client_free(export->client);
    export->client = NULL;
    return 0;
}

void telemetry_stop(struct proa_app *app)
{
    struct proa_group group;

    if (!app->telemetry)
        return;
    proa_group_init(&group, app->loop);
    /* At once, so that a collector that is away costs its time only once. */
    if (app->telemetry->logs.otlp &&
        proa_group_start(&group, &(struct proa_fiber_options){.name = "flush"}, stop_export, &app->telemetry->logs) < 0)
        stop_export(&app->telemetry->logs);
    stop_export(&app->telemetry->traces);
    proa_ignore(proa_group_wait(&group));
    stop_export(&app->telemetry->logs); /* again is harmless; and the client of one that never started */
}

static void free_export(struct proa_app *app, struct export *export)
{
    proa_otlp_free(export->otlp);
    if (export->tls)
        app->options->tls->free(export->tls);
}

void telemetry_free(struct proa_app *app)
{
    if (!app->telemetry)
        return;
    free_export(app, &app->telemetry->traces);
    free_export(app, &app->telemetry->logs);
    proa_tracer_free(app->tracer);
}

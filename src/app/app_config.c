/* What the frame itself can be told. */
#include "app_config.h"

enum { LARGEST_MS = 24 * 3600 * 1000, LARGEST_COUNT = 10000000 };
#define LARGEST_BYTES 1073741824.0

#define A_TIME PROA_RANGE(1, LARGEST_MS)
#define A_COUNT PROA_RANGE(1, LARGEST_COUNT)
#define A_SIZE PROA_RANGE(1, LARGEST_BYTES)

PROA_ENUM(proa_duration_names, (PROA_DURATION_BOTH, "both"), (PROA_DURATION_SHORT, "http_request_duration_seconds"),
          (PROA_DURATION_SEMCONV, "http_server_request_duration_seconds"));

PROA_DESCRIBE(
    app_http_config, (address, str, .default_json = "\"0.0.0.0\"", .doc = "Numeric address to listen on, or unix:PATH"),
    (port, u16, .default_json = "8080", .env = "PORT", .flag = "port",
     .doc = "TCP port to listen on, 0 for a free one"),
    (connections, u32, A_COUNT, .default_json = "10000",
     .doc = "Open connections, at most the open-files limit less 64; then an idle one is closed, or a new one refused"),
    (requests_in_flight, u32, A_COUNT, .default_json = "1000", .doc = "Requests at work; more are answered 503"),
    (streams, u32, A_COUNT, .default_json = "10000", .doc = "Event streams; more are answered 503"),
    (head_bytes, quantity, A_SIZE, .default_json = "\"16Ki\"", .doc = "Request line and header; more is 431"),
    (fields, u32, A_COUNT, .default_json = "100", .doc = "Header lines of a request; more is 431"),
    (target_bytes, quantity, A_SIZE, .default_json = "\"8Ki\"", .doc = "Request target; more is 414"),
    (body_bytes, quantity, A_SIZE, .default_json = "\"1Mi\"", .doc = "Request body; more is 413"),
    (head_ms, u32, A_TIME, .default_json = "10000", .doc = "From a head's first byte to its end; then 408"),
    (body_ms, u32, A_TIME, .default_json = "30000", .doc = "For a whole request body; then 408"),
    (write_stall_ms, u32, A_TIME, .default_json = "10000", .doc = "A write without progress; then reset"),
    (idle_ms, u32, A_TIME, .default_json = "60000", .doc = "A connection without a request; then closed"),
    (request_ms, u32, A_TIME, .default_json = "20000",
     .doc = "Deadline of a request; then 504, or 408 while its body is awaited"),
    (read_ahead_bytes, quantity, A_SIZE, .default_json = "\"64Ki\"",
     .doc = "Pipelined requests, or a body nobody takes, read ahead of the handler"),
    (drain_delay_ms, u32, PROA_RANGE(0, LARGEST_MS), .default_json = "5000",
     .doc = "After SIGTERM the listener stays open this long, not ready (Ctrl+C: not at all)"),
    (drain_ms, u32, PROA_RANGE(0, LARGEST_MS), .default_json = "25000",
     .doc = "Then requests in flight have this long to end"),
    (access_log, boolean, .default_json = "false", .doc = "Log every request, not only errors and slow ones"),
    (slow_ms, u32, A_TIME, .default_json = "1000", .doc = "What counts as a slow request"),
    (duration_metric, enumeration(proa_duration_names), .default_json = "\"both\"",
     .doc = "Names under which /metrics shows how long requests take"));

PROA_ENUM(proa_log_format, (PROA_LOG_FORMAT_AUTO, "auto"), (PROA_LOG_FORMAT_JSON, "json"),
          (PROA_LOG_FORMAT_TEXT, "text"));

PROA_DESCRIBE(app_log_config,
              (level, str, .min_len = 1, .max_len = 1000, .default_json = "\"info\"",
               .doc = "trace, debug, info, warn, error or off, also by target: \"info,http=debug\""),
              (format, enumeration(proa_log_format), .default_json = "\"auto\"",
               .doc = "Of the lines on standard output; auto is text on a terminal, else json"));

PROA_DESCRIBE(app_process_config,
              (open_files, u64, PROA_RANGE(64, 10000000), .default_json = "10000", .doc = "RLIMIT_NOFILE"),
              (address_space_bytes, quantity, .default_json = "0", .doc = "RLIMIT_AS, 0 for none"),
              (fiber_stack_bytes, quantity, PROA_RANGE(16384, 67108864), .default_json = "\"64Ki\"",
               .doc = "Stack of a request's fiber"));

PROA_DESCRIBE(app_admin_config, (address, str, .default_json = "\"\"",
                                 .doc = "A second listener, HOST:PORT, for the probes and, only there, /metrics"));

PROA_ENUM(app_exporter, (EXPORT_NONE, "none"), (EXPORT_OTLP, "otlp"));
PROA_ENUM(app_compression, (COMPRESS_NONE, "none"), (COMPRESS_GZIP, "gzip"));
PROA_ENUM(app_protocol, (PROTOCOL_HTTP_PROTOBUF, "http/protobuf"));

PROA_DESCRIBE(
    app_otel_config,
    (disabled, boolean, .default_json = "false", .env = "OTEL_SDK_DISABLED",
     .doc = "Export nothing whatever else is set"),
    (service_name, str, .default_json = "\"\"", .env = "OTEL_SERVICE_NAME",
     .doc = "service.name; empty is the program's name"),
    (resource_attributes, str, .default_json = "\"\"", .env = "OTEL_RESOURCE_ATTRIBUTES",
     .doc = "key=value,key=value of the program, percent-encoded"),
    (propagators, str, .default_json = "\"tracecontext,baggage\"", .env = "OTEL_PROPAGATORS",
     .doc = "How traces are passed on: tracecontext, baggage, b3, b3multi or none. All are read"),
    (traces_exporter, enumeration(app_exporter), .default_json = "\"otlp\"", .env = "OTEL_TRACES_EXPORTER",
     .doc = "Spans go out once an endpoint is set"),
    (logs_exporter, enumeration(app_exporter), .default_json = "\"none\"", .env = "OTEL_LOGS_EXPORTER",
     .doc = "otlp: log lines go out too once an endpoint is set, beside standard output"),
    (traces_sampler, str, .default_json = "\"parentbased_always_on\"", .env = "OTEL_TRACES_SAMPLER",
     .doc = "Which traces are recorded: [parentbased_]always_on, always_off or traceidratio"),
    (traces_sampler_arg, str, .default_json = "\"\"", .env = "OTEL_TRACES_SAMPLER_ARG", .doc = "The ratio, 0 to 1"),
    (endpoint, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_ENDPOINT",
     .doc = "Where telemetry goes: http://collector:4318, to which /v1/traces and /v1/logs are added. Empty: nowhere"),
    (traces_endpoint, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
     .doc = "The whole URL for spans"),
    (logs_endpoint, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
     .doc = "The whole URL for log lines"),
    (headers, str, .secret = true, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_HEADERS",
     .doc = "Sent with it: key=value,key=value, percent-encoded"),
    (traces_headers, str, .secret = true, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
     .doc = "Sent with spans instead"),
    (logs_headers, str, .secret = true, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
     .doc = "Sent with log lines instead"),
    (protocol, enumeration(app_protocol), .default_json = "\"http/protobuf\"", .env = "OTEL_EXPORTER_OTLP_PROTOCOL",
     .doc = "The only one"),
    (traces_protocol, optional(enumeration(app_protocol)), .env = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
     .doc = "Of spans, likewise"),
    (logs_protocol, optional(enumeration(app_protocol)), .env = "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
     .doc = "Of log lines, likewise"),
    (compression, enumeration(app_compression), .default_json = "\"none\"", .env = "OTEL_EXPORTER_OTLP_COMPRESSION"),
    (traces_compression, optional(enumeration(app_compression)), .env = "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
     .doc = "Of spans instead"),
    (logs_compression, optional(enumeration(app_compression)), .env = "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION",
     .doc = "Of log lines instead"),
    (timeout_ms, u32, A_TIME, .default_json = "10000", .env = "OTEL_EXPORTER_OTLP_TIMEOUT", .doc = "Of one try"),
    (traces_timeout_ms, optional(u32), A_TIME, .env = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
     .doc = "Of one try with spans instead"),
    (logs_timeout_ms, optional(u32), A_TIME, .env = "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
     .doc = "Of one try with log lines instead"),
    (certificate, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_CERTIFICATE",
     .doc = "PEM file of the authorities that vouch for an https endpoint; empty: the system's"),
    (traces_certificate, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
     .doc = "For spans instead"),
    (logs_certificate, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE",
     .doc = "For log lines instead"),
    (client_certificate, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
     .doc = "PEM file"),
    (traces_client_certificate, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
     .doc = "For spans instead"),
    (logs_client_certificate, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE",
     .doc = "For log lines instead"),
    (client_key, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_CLIENT_KEY", .doc = "PEM file"),
    (traces_client_key, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
     .doc = "For spans instead"),
    (logs_client_key, str, .default_json = "\"\"", .env = "OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY",
     .doc = "For log lines instead"),
    (schedule_delay_ms, u32, A_TIME, .default_json = "5000", .env = "OTEL_BSP_SCHEDULE_DELAY",
     .doc = "How long spans gather before they are sent"),
    (export_timeout_ms, u32, A_TIME, .default_json = "30000", .env = "OTEL_BSP_EXPORT_TIMEOUT",
     .doc = "Of a batch of spans, all tries together; then it is given up"),
    (queue_spans, u32, A_COUNT, .default_json = "2048", .env = "OTEL_BSP_MAX_QUEUE_SIZE",
     .doc = "Finished spans that may wait; more are dropped and counted"),
    (batch_spans, u32, A_COUNT, .default_json = "512", .env = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", .doc = "Sent at once"),
    (logs_delay_ms, u32, A_TIME, .default_json = "1000", .env = "OTEL_BLRP_SCHEDULE_DELAY",
     .doc = "How long log lines gather before they are sent"),
    (logs_export_timeout_ms, u32, A_TIME, .default_json = "30000", .env = "OTEL_BLRP_EXPORT_TIMEOUT",
     .doc = "Of a batch of log lines, all tries together; then it is given up"),
    (queue_records, u32, A_COUNT, .default_json = "2048", .env = "OTEL_BLRP_MAX_QUEUE_SIZE",
     .doc = "Log lines that may wait to be sent; more are dropped and counted"),
    (batch_records, u32, A_COUNT, .default_json = "512", .env = "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
     .doc = "Sent at once"));

PROA_DESCRIBE(app_config,
              (config, str, .default_json = "\"\"", .env = "CONFIG_FILE", .doc = "YAML file with these settings"),
              (environment, str, .default_json = "\"\"",
               .doc = "Where it runs (production, staging): deployment.environment.name in logs and spans"),
              (threads, u32, PROA_RANGE(0, PROA_LOOPS_MAX), .default_json = "0",
               .doc = "Event loops, one a thread; 0 is as many as CPUs that affinity and cgroup allow"),
              (http, object(app_http_config)), (log, object(app_log_config)),
              (metrics, boolean, .default_json = "true", .doc = "Count, and serve /metrics"),
              (admin, object(app_admin_config)), (process, object(app_process_config)),
              (otel, object(app_otel_config)));

static struct proa_field *copy_fields(struct proa_arena *arena, const struct proa_type *type)
{
    struct proa_field *fields = proa_arena_calloc(arena, type->fields_count, sizeof *fields);

    if (fields)
        memcpy(fields, type->fields, type->fields_count * sizeof *fields);
    return fields;
}

static struct proa_field *field_of(struct proa_field *fields, const struct proa_type *type, const char *name)
{
    for (uint32_t i = 0; i < type->fields_count; i++)
        if (proa_str_eq_c(fields[i].member, name))
            return &fields[i];
    return NULL;
}

const struct proa_type *app_config_described(struct proa_arena *arena, uint32_t default_port)
{
    struct proa_type *types = proa_arena_calloc(arena, 2, sizeof *types);
    struct proa_type *app = types, *http = types + 1;
    struct proa_field *app_fields, *http_fields;
    const char *port;

    if (default_port == 0)
        return &app_config_type.type;
    app_fields = copy_fields(arena, &app_config_type.type);
    http_fields = copy_fields(arena, &app_http_config_type.type);
    port = proa_arena_printf(arena, "%u", default_port).ptr;
    if (!types || !app_fields || !http_fields || !port)
        return NULL;
    *app = app_config_type.type;
    *http = app_http_config_type.type;
    app->fields = app_fields;
    http->fields = http_fields;
    field_of(http_fields, http, "port")->default_json = port;
    field_of(app_fields, app, "http")->type = http;
    return app;
}

static uint32_t bytes32(struct proa_quantity quantity)
{
    return quantity.bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)quantity.bytes;
}

void app_config_limits(const struct app_http_config *http, struct proa_server_limits *ret_limits)
{
    *ret_limits = (struct proa_server_limits){
        .connections = http->connections,
        .requests_in_flight = http->requests_in_flight,
        .streams = http->streams,
        .head_bytes = bytes32(http->head_bytes),
        .fields = http->fields,
        .target_bytes = bytes32(http->target_bytes),
        .body_bytes = http->body_bytes.bytes,
        .head_ms = http->head_ms,
        .body_ms = http->body_ms,
        .write_stall_ms = http->write_stall_ms,
        .idle_ms = http->idle_ms,
        .request_ms = http->request_ms,
        .read_ahead_bytes = bytes32(http->read_ahead_bytes),
    };
}

const char *app_config_address(struct proa_arena *arena, const struct app_http_config *http)
{
    bool is_v6 = proa_str_find_char(http->address, ':') >= 0;

    if (proa_str_starts_with(http->address, PROA_STR("unix:")))
        return http->address.ptr;
    if (http->address.len && http->address.ptr[0] == '[')
        is_v6 = false; /* in brackets already */
    return proa_arena_printf(arena, is_v6 ? "[%s]:%u" : "%s:%u", http->address.ptr, http->port).ptr;
}

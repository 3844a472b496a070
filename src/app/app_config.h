/** The frame's own configuration. */
#ifndef PROA_APP_APP_CONFIG_H
#define PROA_APP_APP_CONFIG_H

#include <proa/config.h>
#include <proa/log.h>
#include <proa/server.h>

struct app_http_config {
    proa_str address;
    uint16_t port;
    uint32_t connections;
    uint32_t requests_in_flight;
    uint32_t streams;
    struct proa_quantity head_bytes;
    uint32_t fields;
    struct proa_quantity target_bytes;
    struct proa_quantity body_bytes;
    uint32_t head_ms;
    uint32_t body_ms;
    uint32_t write_stall_ms;
    uint32_t idle_ms;
    uint32_t request_ms;
    struct proa_quantity read_ahead_bytes;
    uint32_t drain_delay_ms;
    uint32_t drain_ms;
    bool access_log;
    uint32_t slow_ms;
    enum proa_duration_names duration_metric;
};

struct app_log_config {
    proa_str level;
    enum proa_log_format format;
};

struct app_process_config {
    uint64_t open_files;
    struct proa_quantity address_space_bytes;
    struct proa_quantity fiber_stack_bytes;
};

struct app_admin_config {
    proa_str address;
};

enum app_exporter { EXPORT_NONE = 0, EXPORT_OTLP };
enum app_compression { COMPRESS_NONE = 0, COMPRESS_GZIP };
enum app_protocol { PROTOCOL_HTTP_PROTOBUF = 0 };

/** What OpenTelemetry's environment variables say, under their names. */
struct app_otel_config {
    bool disabled;
    proa_str service_name;
    proa_str resource_attributes;
    proa_str propagators;
    enum app_exporter traces_exporter;
    enum app_exporter logs_exporter;
    proa_str traces_sampler;
    proa_str traces_sampler_arg;
    proa_str endpoint;
    proa_str traces_endpoint;
    proa_str logs_endpoint;
    proa_str headers;
    proa_str traces_headers;
    proa_str logs_headers;
    enum app_protocol protocol;
    PROA_OPTIONAL(enum app_protocol) traces_protocol;
    PROA_OPTIONAL(enum app_protocol) logs_protocol;
    enum app_compression compression;
    PROA_OPTIONAL(enum app_compression) traces_compression;
    PROA_OPTIONAL(enum app_compression) logs_compression;
    uint32_t timeout_ms;
    PROA_OPTIONAL(uint32_t) traces_timeout_ms;
    PROA_OPTIONAL(uint32_t) logs_timeout_ms;
    proa_str certificate;
    proa_str traces_certificate;
    proa_str logs_certificate;
    proa_str client_certificate;
    proa_str traces_client_certificate;
    proa_str logs_client_certificate;
    proa_str client_key;
    proa_str traces_client_key;
    proa_str logs_client_key;
    uint32_t schedule_delay_ms;
    uint32_t export_timeout_ms;
    uint32_t queue_spans;
    uint32_t batch_spans;
    uint32_t logs_delay_ms;
    uint32_t logs_export_timeout_ms;
    uint32_t queue_records;
    uint32_t batch_records;
};

struct app_config {
    proa_str config;
    proa_str environment;
    uint32_t threads;
    struct app_http_config http;
    struct app_log_config log;
    bool metrics;
    struct app_admin_config admin;
    struct app_process_config process;
    struct app_otel_config otel;
};

/** The frame's part, with the program's default port (0: 8080) in its description. NULL when memory is out. */
const struct proa_type *app_config_described(struct proa_arena *arena, uint32_t default_port);

void app_config_limits(const struct app_http_config *http, struct proa_server_limits *ret_limits);
/** What the server listens on: "0.0.0.0:8080", "[::]:8080", "unix:/run/x.sock". NULL when memory is out. */
const char *app_config_address(struct proa_arena *arena, const struct app_http_config *http);

#endif

/** Export of finished spans, or of log lines, by OTLP/HTTP (opentelemetry-proto 1, binary protobuf), in batches, over
 *  whatever sends.
 *
 *  A collector that is down, slow or confused costs a counter and the memory of a bounded queue, nothing else.
 */
#ifndef PROA_OTLP_H
#define PROA_OTLP_H

#include <proa/client.h>
#include <proa/error.h>
#include <proa/log.h>
#include <proa/loop.h>
#include <proa/metrics.h>
#include <proa/tracer.h>

PROA_BEGIN_DECLS

/** One POST. All of it lives until the call returns. */
struct proa_otlp_request {
    const char *content_type; /**< "application/x-protobuf" */
    bool is_gzip;             /**< Content-Encoding: gzip */
    proa_str body;
};
struct proa_otlp_answer {
    int status;             /**< of HTTP */
    uint32_t retry_after_s; /**< of Retry-After, seconds or a date; 0: none */
    struct proa_buf body;   /**< the sender appends it; a few KiB do. Freed by the exporter */
};
/** Sends one request, in the exporter's fiber, whose deadline holds. May suspend. Does not repeat. @returns 0 when an
 *  answer came, whatever its status; else an error. */
typedef int proa_otlp_send_fn(void *arg, const struct proa_otlp_request *request, struct proa_otlp_answer *answer,
                              struct proa_error *err);

/** Everything is copied but `tracer`, `loop`, `metrics`, `logger` and `send_arg`, which outlive the exporter. */
struct proa_otlp_options {
    struct proa_loop *loop;     /**< whose fiber exports */
    struct proa_tracer *tracer; /**< whose spans are exported; NULL: the lines of `log` are */
    struct proa_log *log; /**< without a tracer: whose lines are exported, as well as written. Outlives the exporter */
    /** Of a log: lines that may wait, OTEL_BLRP_MAX_QUEUE_SIZE; more are dropped and counted. 0: 2,048 */
    uint32_t queue_records;
    proa_otlp_send_fn *send;
    void *send_arg;
    const char *service_name;    /**< goes before that of `resource_attributes`; both missing: "unknown_service" */
    const char *service_version; /**< unless `resource_attributes` has one; NULL: none */
    /** OTEL_RESOURCE_ATTRIBUTES: "key=value,key=value", percent-encoded; of a key given twice the last holds. NULL:
     *  none */
    const char *resource_attributes;
    bool gzip;           /**< OTEL_EXPORTER_OTLP_COMPRESSION=gzip */
    uint32_t timeout_ms; /**< of one try, OTEL_EXPORTER_OTLP_TIMEOUT; 0: 10,000 */
    uint32_t retry_ms;   /**< of a batch, all tries together, OTEL_BSP_EXPORT_TIMEOUT; then it is given up. 0: 30,000 */
    uint32_t delay_ms;   /**< OTEL_BSP_SCHEDULE_DELAY: how long a batch may gather; 0: 5,000 */
    uint32_t batch_spans;         /**< OTEL_BSP_MAX_EXPORT_BATCH_SIZE; 0: 512 */
    struct proa_metrics *metrics; /**< proa_otlp_spans_total{outcome}, or proa_otlp_log_records_total; NULL: none */
    /** One line when exporting begins to fail, one when it works again, as "otlp". NULL: none */
    const struct proa_logger *logger;
};

struct proa_otlp;
/** From now on spans of the tracer are recorded. From the loop's thread. @returns 0, PROA_EINVAL (resource_attributes),
 *  PROA_EBUSY, PROA_ENOMEM. */
PROA_COLD PROA_MUST_USE int proa_otlp_start(const struct proa_otlp_options *options, struct proa_otlp **ret_otlp,
                                            struct proa_error *err);
/** Exports what waits, for at most `timeout_ms`, and ends. To a collector that gives no answer nothing is sent twice
 *  any more, and when it gave none before, half a second is all. Spans are not recorded any more. In a fiber of the
 *  loop; may suspend, for that long even when the fiber is cancelled. Again is harmless; NULL is fine. */
PROA_COLD void proa_otlp_stop(struct proa_otlp *otlp, uint32_t timeout_ms);
/** After proa_otlp_stop, or after the loop has ended, when no other loop runs any more. NULL is fine. */
PROA_COLD void proa_otlp_free(struct proa_otlp *otlp);

struct proa_otlp_counts {
    uint64_t sent;     /**< spans that the collector took */
    uint64_t rejected; /**< spans that it took the request with but refused (partial success) */
    uint64_t failed;   /**< spans given up: refused, or no retry was left */
    uint64_t dropped;  /**< spans that found the queue full */
};
/** From any thread. */
void proa_otlp_read_counts(const struct proa_otlp *otlp, struct proa_otlp_counts *ret_counts);

/** A sender over an HTTP client of the exporter's loop: proa_otlp_client_send with this as its argument. */
struct proa_otlp_client {
    struct proa_client *client;
    proa_str url;                            /**< whole: "http://localhost:4318/v1/traces" */
    const struct proa_client_field *headers; /**< OTEL_EXPORTER_OTLP_HEADERS */
    size_t headers_count;                    /**< at most 16 are sent */
};
/** A proa_otlp_send_fn: posts to `url`, without the client's own repeats. @returns 0 when an answer came, else the
 *  client's error. */
int proa_otlp_client_send(void *arg, const struct proa_otlp_request *request, struct proa_otlp_answer *answer,
                          struct proa_error *err);
/** Whether it can send to this URL, but for TLS: else PROA_EINVAL, with a text that does not quote the URL. User
 *  information is refused; credentials belong in `headers`.
 *  @param ret_shown     the URL without its query and fragment, as a slice of it, for people to see
 *  @param ret_needs_tls  https */
PROA_COLD PROA_MUST_USE int proa_otlp_client_check(proa_str url, proa_str *ret_shown, bool *ret_needs_tls,
                                                   struct proa_error *err);
/** Whether it can send this header: else PROA_EINVAL, with a text that does not quote the value. */
PROA_COLD PROA_MUST_USE int proa_otlp_client_check_header(const struct proa_client_field *header,
                                                          struct proa_error *err);

PROA_END_DECLS
#endif

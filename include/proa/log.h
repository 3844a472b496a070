/** Structured log lines with levels, typed fields and trace ids.
 *
 *  A `proa_log` is a sink with a filter, made by the program and shared by its loops. A `proa_logger` is
 *  what code logs with: a small value that adds a target, inherited fields and the ids of a span.
 */
#ifndef PROA_LOG_H
#define PROA_LOG_H

#include <proa/args.h>
#include <proa/defs.h>
#include <proa/error.h>
#include <proa/str.h>
#include <proa/text.h>
#include <proa/trace.h>

PROA_BEGIN_DECLS

enum proa_log_level {
    PROA_LOG_TRACE = 1,
    PROA_LOG_DEBUG = 5,
    PROA_LOG_INFO = 9,
    PROA_LOG_WARN = 13,
    PROA_LOG_ERROR = 17,
    PROA_LOG_OFF = 32,
}; /* numbers: OpenTelemetry severity numbers */

enum proa_log_format {
    PROA_LOG_FORMAT_AUTO = 0, /**< text on a terminal, else JSON */
    PROA_LOG_FORMAT_JSON,
    PROA_LOG_FORMAT_TEXT,
};

struct proa_log;
struct proa_loop;
struct proa_log_options {
    int fd; /**< 0: standard output */
    enum proa_log_format format;
    const char *filter;   /**< "info,db=debug"; NULL: "info". Targets match by prefix up to a dot. */
    uint32_t queue_bytes; /**< lines waiting for the writer thread; 0: 1 MiB. Full: dropped and counted */
    bool synchronous;     /**< write in the caller's thread, which waits for the reader (tests, small tools) */
    bool late_writer;     /**< write in the caller's thread, but never wait: the writer is started by
                                      *   proa_log_start_writer, or by the first line that is not taken at once */
    proa_time_ns (*wall)(void *arg); /**< NULL: the system's clock */
    void *wall_arg;
};
/** With a writer thread of its own, so that a slow reader of stdout cannot stall a loop. */
PROA_COLD PROA_MUST_USE int proa_log_new(const struct proa_log_options *options, struct proa_log **ret_log,
                                         struct proa_error *err);
/** Gives a log that was made with `late_writer` or `synchronous` its queue and writer thread now: for programs that
 *  would rather answer first. Again is harmless. From any thread. @returns 0, or an error, and the log stays as it
 *  was. */
PROA_COLD PROA_MUST_USE int proa_log_start_writer(struct proa_log *log, struct proa_error *err);
/** Writes out what waits (at most 1 s) and frees. NULL is fine. */
PROA_COLD void proa_log_free(struct proa_log *log);
/** Waits until what was logged before has been written, at most `timeout_ms`. From any thread. */
void proa_log_flush(struct proa_log *log, uint32_t timeout_ms);
/** Whether it can be a filter. @returns 0, PROA_EINVAL or PROA_ENOMEM. */
PROA_COLD PROA_MUST_USE int proa_log_filter_check(const char *filter, struct proa_error *err);
/** Replaces the filter; the old one stays when the text is bad. From any thread. */
PROA_COLD PROA_MUST_USE int proa_log_set_filter(struct proa_log *log, const char *filter, struct proa_error *err);
/** Lines lost because the queue was full. */
uint64_t proa_log_dropped(const struct proa_log *log);

enum proa_kv_kind { PROA_KV_STR = 1, PROA_KV_U64, PROA_KV_I64, PROA_KV_F64, PROA_KV_BOOL, PROA_KV_JSON };
/** A typed field. Keys are static and of the form [a-z0-9_.]+ (semantic conventions where one exists). */
struct proa_kv {
    const char *key;
    enum proa_kv_kind kind;
    uint32_t key_len; /**< of `key`, which a compiler knows of a literal; 0: not told */
    union {
        proa_str str;
        uint64_t u64;
        int64_t i64;
        double f64;
        bool boolean;
    } as;
};
#define PROA_KV_KEY_LEN(key) ((uint32_t)__builtin_strlen(key))
static inline struct proa_kv proa_kv_str(const char *key, proa_str value)
{
    struct proa_kv kv = {key, PROA_KV_STR, PROA_KV_KEY_LEN(key), {value}};
    return kv;
}
static inline struct proa_kv proa_kv_c(const char *key, const char *value)
{
    return proa_kv_str(key, proa_str_c(value));
}
static inline struct proa_kv proa_kv_u64(const char *key, uint64_t value)
{
    struct proa_kv kv = {key, PROA_KV_U64, PROA_KV_KEY_LEN(key), {{0, 0}}};
    kv.as.u64 = value;
    return kv;
}
static inline struct proa_kv proa_kv_i64(const char *key, int64_t value)
{
    struct proa_kv kv = {key, PROA_KV_I64, PROA_KV_KEY_LEN(key), {{0, 0}}};
    kv.as.i64 = value;
    return kv;
}
static inline struct proa_kv proa_kv_f64(const char *key, double value)
{
    struct proa_kv kv = {key, PROA_KV_F64, PROA_KV_KEY_LEN(key), {{0, 0}}};
    kv.as.f64 = value;
    return kv;
}
static inline struct proa_kv proa_kv_bool(const char *key, bool value)
{
    struct proa_kv kv = {key, PROA_KV_BOOL, PROA_KV_KEY_LEN(key), {{0, 0}}};
    kv.as.boolean = value;
    return kv;
}

/** `json` is one JSON value; what is not is written as a string. */
static inline struct proa_kv proa_kv_json(const char *key, proa_str json)
{
    struct proa_kv kv = {key, PROA_KV_JSON, PROA_KV_KEY_LEN(key), {json}};
    return kv;
}

static inline proa_str proa_kv_key(const struct proa_kv *kv)
{
    return kv->key_len > 0 || !kv->key ? proa_str_n(kv->key, kv->key_len) : proa_str_c(kv->key);
}

/** What code logs with. Plain value; zero (or NULL) logs nothing. */
struct proa_logger {
    struct proa_log *log;
    const char *target;               /**< static: "app", "http.access", "db.pg" */
    const struct proa_trace_ids *ids; /**< NULL, or of the present span */
    const struct proa_kv *fields;     /**< inherited by every line; outlive the logger */
    uint32_t fields_count;
    const struct proa_logger *parent; /**< whose fields come first; NULL */
    /** Lines logged in a fiber of this loop bear the ids of its present span, and the fields of that and the spans
     *  around it, unless it is of another trace than `ids`. Outside the loop's thread it is as if NULL. */
    const struct proa_loop *loop;
};

/** Whether a line of this level would be written: cheap. */
bool proa_log_enabled(const struct proa_logger *logger, enum proa_log_level level);
/** Writes one line: time, level, target, message, trace and span ids, inherited fields, fields. Of fields with the same
 *  key the last is written. Hostile bytes in values cannot forge or break a line: controls and what is not UTF-8 are
 *  escaped or replaced, values over 1 KiB are cut, and a line is at most 4 KiB. Never blocks (but for a synchronous
 *  log). From any thread. */
void proa_log_line(const struct proa_logger *logger, enum proa_log_level level, proa_str message,
                   const struct proa_kv *fields, uint32_t count);
/** An error object as a line: message, code name, errno. */
void proa_log_failure(const struct proa_logger *logger, enum proa_log_level level, const char *what,
                      const struct proa_error *err);

#ifndef __cplusplus
/** PROA_LOG_AT(logger, PROA_LOG_INFO, "listening", proa_kv_c("address", a)); fields are evaluated only when
 *  the line is wanted. */
#define PROA_LOG_AT(logger, level, message, ...)                                                                       \
    do {                                                                                                               \
        if (proa_log_enabled(logger, level)) {                                                                         \
            const struct proa_kv proa_kvs_[] = {{0} PROA_ARGS(struct proa_kv, ##__VA_ARGS__)};                         \
            proa_log_line(logger, level, proa_str_c(message), proa_kvs_ + 1, (uint32_t)PROA_COUNT(proa_kvs_) - 1);     \
        }                                                                                                              \
    } while (0)
#define PROA_DEBUG(logger, ...) PROA_LOG_AT(logger, PROA_LOG_DEBUG, __VA_ARGS__)
#define PROA_INFO(logger, ...) PROA_LOG_AT(logger, PROA_LOG_INFO, __VA_ARGS__)
#define PROA_WARN(logger, ...) PROA_LOG_AT(logger, PROA_LOG_WARN, __VA_ARGS__)
#define PROA_ERROR(logger, ...) PROA_LOG_AT(logger, PROA_LOG_ERROR, __VA_ARGS__)
#endif

PROA_END_DECLS
#endif

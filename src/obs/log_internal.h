/** What the files of the log share.
 *
 *      any thread: proa_log_line -> filter -> text of one line on the stack -> log_queue_put (lock-free) or write
 *      writer's thread: log_queue: takes lines in order, writes them, tells of lost ones
 */
#ifndef PROA_OBS_LOG_INTERNAL_H
#define PROA_OBS_LOG_INTERNAL_H

#include <proa/tracer.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    LOG_LINE_MAX = 4096, /**< bytes with the newline; what a pipe takes whole (PIPE_BUF) */
    LOG_FIELDS_MAX = 48,
    LOG_VALUE_MAX = 1024,    /**< bytes of a written value; longer ones are cut */
    LOG_CUT_MARKER_MAX = 40, /**< behind what was cut */
};

struct log_queue;

/* log_filter.c */
struct log_filter;
/** Text to rules. @returns 0, PROA_EINVAL or PROA_ENOMEM. */
PROA_MUST_USE int log_filter_new(const char *text, struct log_filter **ret_filter, struct proa_error *err);
void log_filter_free(struct log_filter *filter);
/** The least level that a target's lines must have. */
int log_filter_level(const struct log_filter *filter, const char *target);
/** No target has a lower one. */
int log_filter_least(const struct log_filter *filter);
bool log_filter_equal(const struct log_filter *a, const struct log_filter *b);

struct filter_list;
struct log_export;
struct proa_log {
    struct log_queue *queue;
    bool is_text;
    bool has_colour;
    proa_time_ns (*wall)(void *arg);
    void *wall_arg;
    /** Shared by all threads. What was in force stays until the log is freed, so that two are the same if their
     *  addresses are. */
    _Atomic(struct log_filter *) filter;
    _Atomic(struct log_export *) export; /**< NULL: nobody asked for it yet */
    pthread_mutex_t mutex;               /**< of filters */
    struct filter_list *filters;
};

/* log_text.c: a line under construction, in bounded memory. */
struct log_text {
    char *at;
    char *end;      /**< of what fields may use; behind it is room for the line's end */
    bool truncated; /**< something did not fit */
};
enum log_quote {
    LOG_QUOTE_NONE, /**< escapes only what could harm a line or a terminal */
    LOG_QUOTE_JSON, /**< and quotes and backslashes */
};
/** As much as there is room for. */
void log_text_raw_cut(struct log_text *text, proa_str bytes);
static inline __attribute__((always_inline)) void log_text_raw(struct log_text *text, proa_str bytes)
{
    if (PROA_UNLIKELY(bytes.len > (size_t)(text->end - text->at))) {
        log_text_raw_cut(text, bytes);
        return;
    }
    if (bytes.len > 0)
        memcpy(text->at, bytes.ptr, bytes.len);
    text->at += bytes.len;
}
/** Escaped, at most LOG_VALUE_MAX bytes of output; what was cut is told by a marker in the text. */
void log_text_escaped(struct log_text *text, proa_str value, enum log_quote quote);
/** A JSON value given as text: white space made harmless; a JSON string of it when it is not JSON or too long. */
void log_text_json(struct log_text *text, proa_str json);
/** Whether text format can show it without quotes. */
bool log_text_is_plain(proa_str value);

/* log_quick.c: most lines. */
struct log_quick {
    proa_time_ns time;
    proa_str level;
    proa_str target; /**< empty: none */
    proa_str message;
    const struct proa_trace_ids *ids; /**< NULL: none */
    const struct proa_logger *logger; /**< whose fields come first */
    const struct proa_span *span;     /**< whose fields, and of those around it, come then; NULL: there are none */
    const struct proa_kv *fields;
    uint32_t count;
};
/** A whole line of JSON in `out`, of LOG_LINE_MAX bytes. @returns its length, or 0 when there is anything unusual about
 *  it: something to escape, to cut or to leave out. */
size_t log_quick_json(const struct log_quick *line, char *out);
enum { LOG_QUICK_TAIL = 256 /**< bytes of a line's end where log.c may be cutting already */ };
/** Whether there is nothing unusual about how long or how many it all is. @param ret_outer  the one logger that has fields; NULL: none */
bool log_quick_fits(const struct log_quick *line, const struct proa_logger **ret_outer);
/** Its pieces. Each returns where it ended, or NULL. Head: up to and with the message. */
char *log_quick_head(const struct log_quick *line, char *at);
/** @param seen  bits of the keys before */
char *log_quick_fields(const struct proa_kv *fields, uint32_t count, uint64_t *seen, char *at, const char *end);

/** A bit for a kind of key, by length and ends: keys of different bits differ. */
static inline uint64_t log_key_bit(proa_str key)
{
    return UINT64_C(1) << ((key.len * 7 + (unsigned char)key.ptr[0] * 3 + (unsigned char)key.ptr[key.len - 1]) & 63);
}
/** The line's own members, which a field must not appear to be. */
static inline bool log_key_is_reserved(proa_str key)
{
    switch (key.ptr[0]) {
    case 't': return proa_str_eq_c(key, "time") || proa_str_eq_c(key, "target") || proa_str_eq_c(key, "trace_id");
    case 'l': return proa_str_eq_c(key, "level") || proa_str_eq_c(key, "log.truncated");
    case 'm': return proa_str_eq_c(key, "message");
    case 's': return proa_str_eq_c(key, "span_id");
    default: return false;
    }
}

/** A line's fields from outside to inside: of the loggers, then its own. */
struct log_named {
    const struct proa_kv *kv;
    proa_str key;
};
struct log_fields {
    struct log_named items[LOG_FIELDS_MAX];
    uint32_t count;
    uint64_t keys_seen; /**< a bit for each kind of key */
    bool may_repeat;    /**< two of a kind were seen */
    bool too_many;
};
/* log.c */
/** As it stands in JSON. */
proa_str log_level_text(enum proa_log_level level);
/** What a logger or its parents say; NULL: nothing. */
const char *log_target_of(const struct proa_logger *logger);
void log_fields_of(struct log_fields *all, const struct log_quick *line);
/** Of fields with the same key the last counts. */
bool log_field_is_repeated(const struct log_fields *all, uint32_t index);

/* log_queue.c: lines on their way to the writer's thread. */
struct log_queue_options {
    int fd;
    uint32_t bytes;
    bool synchronous;
    bool late_writer; /**< synchronous, but never waits: a line that is not taken at once starts the writer */
    /** Writes the line that tells of lost lines, at most LOG_LINE_MAX bytes. @returns its length. */
    size_t (*lost_line)(void *arg, uint64_t lost, char *out);
    void *arg;
};
PROA_MUST_USE int log_queue_new(const struct log_queue_options *options, struct log_queue **ret_queue,
                                struct proa_error *err);
/** Makes a synchronous queue one with a writer's thread. Again is harmless. From any thread. */
PROA_MUST_USE int log_queue_start(struct log_queue *queue, struct proa_error *err);
/** Waits for what is queued at most `timeout_ms`. @returns false when the writer's thread is stuck in the system: the
 *  queue then stays behind with it. */
bool log_queue_free(struct log_queue *queue, uint32_t timeout_ms);
/** From any thread, never blocks (but for synchronous queues without `late_writer`). A line that finds no room is
 *  counted. */
void log_queue_put(struct log_queue *queue, proa_str line);
void log_queue_flush(struct log_queue *queue, uint32_t timeout_ms);
uint64_t log_queue_dropped(const struct log_queue *queue);

#endif

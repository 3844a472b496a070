/** What the files of the log share.
 *
 *      any thread: proa_log_line -> filter -> text of one line on the stack -> log_queue_put (lock-free) or write
 *      writer's thread: log_queue: takes lines in order, writes them, tells of lost ones
 */
#ifndef PROA_OBS_LOG_INTERNAL_H
#define PROA_OBS_LOG_INTERNAL_H

#include <proa/log.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    LOG_LINE_MAX = 4096,  /**< bytes with the newline; what a pipe takes whole (PIPE_BUF) */
    LOG_VALUE_MAX = 1024, /**< bytes of a written value; longer ones are cut */
};

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
static inline void log_text_raw(struct log_text *text, proa_str bytes)
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

/* log_queue.c: lines on their way to the writer's thread. */
struct log_queue;
struct log_queue_options {
    int fd;
    uint32_t bytes;
    bool synchronous;
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
/** From any thread, never blocks (but for synchronous queues). A line that finds no room is counted. */
void log_queue_put(struct log_queue *queue, proa_str line);
void log_queue_flush(struct log_queue *queue, uint32_t timeout_ms);
uint64_t log_queue_dropped(const struct log_queue *queue);

#endif

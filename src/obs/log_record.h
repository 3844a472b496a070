/** What a log line holds, for exporters. One piece of memory each. */
#ifndef PROA_OBS_LOG_RECORD_H
#define PROA_OBS_LOG_RECORD_H

#include "log_internal.h"
#include "export_queue.h"

enum { LOG_RECORD_BYTES_MAX = 6 * 1024 /**< of message and attributes; what finds no room is left out */ };

struct log_record {
    struct export_item item; /**< first */
    proa_time_ns time;
    enum proa_log_level level; /**< OpenTelemetry's severity number */
    bool has_ids;
    struct proa_trace_ids ids;
    proa_str severity; /**< static */
    proa_str message;
    proa_str attributes; /**< fields of OTLP's LogRecord */
    uint32_t attributes_dropped;
    char buffer[];
};

/** From now on lines that somebody is attached to are kept in this queue; the first call says how many may wait. Stays
 *  until the log is freed. @returns 0, PROA_ENOMEM, PROA_EBUSY. */
PROA_MUST_USE int log_export_to(struct proa_log *log, uint32_t records_max, struct export_queue **ret_queue,
                                struct proa_error *err);

/* log_export.c, for log.c */
struct log_export;
PROA_MUST_USE int log_export_new(uint32_t records_max, struct log_export **ret_export, struct proa_error *err);
/** NULL is fine. */
void log_export_free(struct log_export *export);
struct export_queue *log_export_queue(struct log_export *export);
/** Copies a line, or counts it as dropped. From any thread. */
void log_export_line(struct log_export *export, const struct log_quick *line, enum proa_log_level level);

#endif

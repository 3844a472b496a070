/** What the files of the OTLP export share. */
#ifndef PROA_HTTP_OTLP_INTERNAL_H
#define PROA_HTTP_OTLP_INTERNAL_H

#include <proa/otlp.h>

#include "obs/log_record.h"
#include "obs/span_record.h"

/* otlp_encode.c */

/** Appends a Resource message. @returns 0, PROA_EINVAL for resource_attributes that cannot be read, or the buffer's
 *  error. */
PROA_MUST_USE int otlp_encode_resource(struct proa_buf *out, const struct proa_otlp_options *options,
                                       struct proa_error *err);
/** No more than this is appended for one, its field's head included. */
size_t otlp_span_bytes(const struct proa_span_record *span);
size_t otlp_log_bytes(const struct log_record *record);
/** Appends a Span message's content. */
void otlp_encode_span(struct proa_buf *out, const struct proa_span_record *span);
/** Appends a LogRecord message's content. */
void otlp_encode_log(struct proa_buf *out, const struct log_record *record);
/** A field of the kind bytes, string or message: key, length, content. */
void otlp_put_bytes(struct proa_buf *out, uint32_t field, proa_str bytes);
/** Opens a message as a field of another, and closes it. */
size_t otlp_open(struct proa_buf *out, uint32_t field);
void otlp_close(struct proa_buf *out, size_t opened);
/** Reads rejected_spans of an ExportTraceServiceResponse; 0 when there are none or the message cannot be read. */
uint64_t otlp_read_rejected(proa_str body);

#endif

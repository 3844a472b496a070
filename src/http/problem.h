/** Problem documents (RFC 9457) from errors. */
#ifndef PROA_HTTP_PROBLEM_H
#define PROA_HTTP_PROBLEM_H

#include <proa/buf.h>
#include <proa/error.h>

/** The status that a handler's error becomes. */
int problem_status(int code);
/** The reason phrase of a status, "Unknown" for one that is not registered. Static. */
const char *problem_title(int status);
/** Whether answers of this code carry Retry-After even when the error names no time. */
bool problem_is_retryable(int code);
/** Appends the document. `status` 0: by the error's code. `detail` of 5xx errors that are no message for clients
 *  (internal ones) is left out. */
void problem_write(struct proa_buf *out, int status, const struct proa_error *err, proa_str instance);

#endif

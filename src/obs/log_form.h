/** Lines that look alike, as the access lines of a route do: what is the same in all of them is put together once.
 *
 *      {"time":"2026-01-02T03:04:05.  micros  Z","level":… "trace_id":"  id  ","span_id":"  id  ",… "url.path":"  value  ",… }
 *      |---------- piece 0 ---------|         |------- piece 1 -------|      |-- piece 2 -|      |---- piece 3 ---|
 *
 *  A line is what proa_log_line would write. For JSON, and for one thread.
 */
#ifndef PROA_OBS_LOG_FORM_H
#define PROA_OBS_LOG_FORM_H

#include <proa/log.h>

enum { LOG_FORM_VALUES_MAX = 12 };
enum log_form_kind {
    LOG_FORM_CONSTANT = 0, /**< the same in all lines: `kv` has it */
    LOG_FORM_TEXT,
    LOG_FORM_NUMBER,
    LOG_FORM_THOUSANDTHS, /**< a number with up to three decimals */
};
struct log_form_field {
    struct proa_kv kv; /**< its key; of a constant its value too */
    enum log_form_kind kind;
};
struct log_form_options {
    const struct proa_logger *logger; /**< its fields are the same in all lines; its log outlives the form */
    enum proa_log_level level;
    proa_str message;
    const struct log_form_field *fields;
    uint32_t count;
};
/** Of a field that is no constant. */
union log_form_value {
    proa_str text;
    uint64_t number; /**< or thousandths */
};

struct log_form;
/** Everything is copied. @returns 0, PROA_ENOMEM, or PROA_EUNSUPPORTED: such lines are for proa_log_line. */
PROA_MUST_USE int log_form_new(const struct log_form_options *options, struct log_form **ret_form);
/** NULL is fine. */
void log_form_free(struct log_form *form);
/** Writes a line, if anybody wants it. @param values  of the fields that are no constants, in their order. @returns false when this
 *  one is for proa_log_line: it has something to escape, or is exported too. */
bool log_form_put(struct log_form *form, const struct proa_trace_ids *ids, const union log_form_value *values);

#endif

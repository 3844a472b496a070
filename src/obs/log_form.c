#include "log_form.h"

#include "base/digits.h"
#include "log_put.h"
#include "log_record.h"

#include <stdlib.h>

enum {
    NS_PER_S = 1000000000,
    FORM_LINE_MAX = 3072,  /* far from where values are cut */
    FORM_FIXED_MAX = 1024, /* of it for what is always there */
    COPY_BYTES = 32,       /* pieces are copied so many bytes at once, beyond their end */
    DATE_BYTES = 9 + 20,   /* {"time":"2026-01-02T03:04:05. */
    MICROS_BYTES = 6,
    IDS_PIECES = 3,           /* before the time's fraction, the trace's id, the span's */
    NUMBER_LAST = 1000000000, /* above it a number of thousandths may have more digits than a double tells */
    PIECES_MAX = IDS_PIECES + LOG_FORM_VALUES_MAX + 1,
};

struct piece {
    uint16_t at;
    uint16_t len;
    uint8_t next; /* enum log_form_kind of the value behind it */
};

struct log_form {
    struct proa_log *log;
    const char *target;
    enum proa_log_level level;
    const struct log_filter *filter; /* `is_wanted` is of this one */
    bool is_wanted;
    int64_t second; /* that the date in the text is of */
    uint32_t count; /* of pieces */
    size_t fixed_bytes;
    struct piece pieces[PIECES_MAX];
    char text[];
};

/* A form under construction. */
struct maker {
    struct piece pieces[PIECES_MAX];
    uint32_t count;
    const char *begin; /* of the text */
    const char *piece;
};

static void end_piece(struct maker *maker, const char *at, enum log_form_kind next)
{
    maker->pieces[maker->count++] = (struct piece){
        .at = (uint16_t)(maker->piece - maker->begin), .len = (uint16_t)(at - maker->piece), .next = (uint8_t)next};
    maker->piece = at;
}

static char *make_head(struct maker *maker, const struct log_quick *line, char *out)
{
    char *at = log_quick_head(line, out);

    if (!at)
        return NULL;
    end_piece(maker, out + DATE_BYTES, LOG_FORM_CONSTANT);
    maker->piece += MICROS_BYTES;
    at = PUT(at, ",\"trace_id\":\"");
    end_piece(maker, at, LOG_FORM_CONSTANT);
    at = PUT(at, "\",\"span_id\":\"");
    end_piece(maker, at, LOG_FORM_CONSTANT);
    return PUT(at, "\"");
}

static char *make_field(struct maker *maker, const struct log_form_field *field, uint64_t *seen, char *at,
                        const char *end)
{
    struct proa_kv kv = field->kv;

    if (field->kind == LOG_FORM_TEXT)
        kv = (struct proa_kv){kv.key, PROA_KV_STR, kv.key_len, {{"", 0}}};
    else if (field->kind != LOG_FORM_CONSTANT)
        kv = (struct proa_kv){kv.key, PROA_KV_BOOL, kv.key_len, {{0}}};
    at = log_quick_fields(&kv, 1, seen, at, end);
    if (!at || field->kind == LOG_FORM_CONSTANT)
        return at;
    at -= field->kind == LOG_FORM_TEXT ? sizeof "\"" - 1 : sizeof "false" - 1;
    end_piece(maker, at, field->kind);
    return field->kind == LOG_FORM_TEXT ? PUT(at, "\"") : at;
}

/* @returns the text's length, or 0 when there is something unusual. */
static size_t make(struct maker *maker, const struct log_form_options *options, char *out)
{
    const char *end = out + LOG_LINE_MAX - LOG_QUICK_TAIL;
    const struct log_quick line = {.level = log_level_text(options->level),
                                   .target = proa_str_c(log_target_of(options->logger)),
                                   .message = options->message,
                                   .logger = options->logger,
                                   .count = options->count};
    const struct proa_logger *outer;
    uint64_t seen = 0;
    char *at;

    *maker = (struct maker){.begin = out, .piece = out};
    if (!log_quick_fits(&line, &outer))
        return 0;
    at = make_head(maker, &line, out);
    if (at && outer)
        at = log_quick_fields(outer->fields, outer->fields_count, &seen, at, end);
    for (uint32_t i = 0, values = 0; at && i < options->count; i++) {
        values += options->fields[i].kind != LOG_FORM_CONSTANT;
        at = values <= LOG_FORM_VALUES_MAX ? make_field(maker, &options->fields[i], &seen, at, end) : NULL;
    }
    if (!at)
        return 0;
    at = PUT(at, "}\n");
    end_piece(maker, at, LOG_FORM_CONSTANT);
    return (size_t)(at - out);
}

int log_form_new(const struct log_form_options *options, struct log_form **ret_form)
{
    char out[LOG_LINE_MAX] __attribute__((uninitialized));
    struct proa_log *log = options->logger->log;
    struct maker maker;
    struct log_form *form;
    size_t len;

    if (log->is_text)
        return PROA_EUNSUPPORTED;
    len = make(&maker, options, out);
    if (len == 0 || len + LOG_FORM_VALUES_MAX * PROA_U64_TEXT_MAX > FORM_FIXED_MAX)
        return PROA_EUNSUPPORTED;
    form = calloc(1, sizeof *form + len + COPY_BYTES);
    if (!form)
        return PROA_ENOMEM;
    form->log = log;
    form->target = log_target_of(options->logger);
    form->level = options->level;
    form->second = INT64_MIN;
    form->count = maker.count;
    form->fixed_bytes = len + LOG_FORM_VALUES_MAX * PROA_U64_TEXT_MAX;
    memcpy(form->pieces, maker.pieces, sizeof form->pieces);
    memcpy(form->text, out, len);
    *ret_form = form;
    return 0;
}

void log_form_free(struct log_form *form)
{
    free(form);
}

/* Writing. */
static inline __attribute__((always_inline)) char *put_piece(const struct log_form *form, uint32_t index, char *at)
{
    const struct piece *piece = &form->pieces[index];
    const char *from = form->text + piece->at;
    char *end = at + piece->len;

    for (; at < end; at += COPY_BYTES, from += COPY_BYTES)
        memcpy(at, from, COPY_BYTES);
    return end;
}

static __attribute__((noinline)) void put_date(struct log_form *form, proa_time_ns time)
{
    char text[PROA_TIME_TEXT_MAX];

    proa_time_text(time, MICROS_BYTES, text);
    memcpy(form->text + sizeof "{\"time\":\"" - 1, text, DATE_BYTES - (sizeof "{\"time\":\"" - 1));
}

/* @returns false for times that have no place in a form. */
static inline bool put_time(struct log_form *form, char **at)
{
    proa_time_ns time = form->log->wall(form->log->wall_arg);
    int64_t second = time / NS_PER_S;

    if (PROA_UNLIKELY(time < 0))
        return false;
    if (PROA_UNLIKELY(second != form->second)) {
        put_date(form, time);
        form->second = second;
    }
    *at = put_six(put_piece(form, 0, *at), (unsigned)(time - second * NS_PER_S) / 1000);
    return true;
}

static inline char *put_ids(const struct log_form *form, const struct proa_trace_ids *ids, char *at)
{
    enum { TRACE_DIGITS = 2 * sizeof ids->trace_id, SPAN_DIGITS = 2 * sizeof ids->span_id };
    char hex[TRACE_DIGITS + SPAN_DIGITS] __attribute__((uninitialized));

    _Static_assert(offsetof(struct proa_trace_ids, span_id) == sizeof ids->trace_id, "they are one piece");
    proa_hex_encode(hex, proa_str_n((const char *)ids, sizeof hex / 2));
    at = put_piece(form, 1, at);
    memcpy(at, hex, TRACE_DIGITS);
    at = put_piece(form, 2, at + TRACE_DIGITS);
    memcpy(at, hex + TRACE_DIGITS, SPAN_DIGITS);
    return at + SPAN_DIGITS;
}

static inline char *put_thousandths(uint64_t value, char *at)
{
    uint32_t whole = (uint32_t)(value / 1000), rest = (uint32_t)(value % 1000);

    at += proa_u64_text(whole, at);
    if (rest == 0)
        return at;
    at[0] = '.';
    at[1] = (char)('0' + rest / 100);
    put_pair(at + 2, rest % 100);
    return at + (rest % 10 ? 4 : rest % 100 ? 3 : 2);
}

/* @returns NULL when it is not for us. */
static inline char *put_value(enum log_form_kind kind, const union log_form_value *value, char *at, const char *end)
{
    if (kind == LOG_FORM_TEXT) {
        if (value->text.len > LOG_VALUE_MAX || (ptrdiff_t)value->text.len > end - at || !copy_ordinary(at, value->text))
            return NULL;
        return at + value->text.len;
    }
    if (kind == LOG_FORM_NUMBER)
        return at + proa_u64_text(value->number, at);
    return value->number < NUMBER_LAST ? put_thousandths(value->number, at) : NULL;
}

/* Whether the filter in force lets them through; asked anew when there is another one. */
static inline bool is_wanted(struct log_form *form)
{
    const struct log_filter *filter = atomic_load_explicit(&form->log->filter, memory_order_acquire);

    if (PROA_UNLIKELY(filter != form->filter)) {
        form->filter = filter;
        form->is_wanted = (int)form->level >= log_filter_level(filter, form->target);
    }
    return form->is_wanted;
}

static inline bool is_exported(const struct log_form *form)
{
    struct log_export *export = atomic_load_explicit(&form->log->export, memory_order_acquire);

    return PROA_UNLIKELY(export && export_is_attached(log_export_queue(export)));
}

/* Apart from the memory it writes to: were its size known here, each of the many small copies would be checked against
 * what is left of it, which takes longer than the copy. There is room: see `end`. @returns the length; 0: it is not for
 * us. */
static __attribute__((noinline)) size_t put_line(struct log_form *form, const struct proa_trace_ids *ids,
                                                 const union log_form_value *values, char *out)
{
    const char *end = out + FORM_LINE_MAX - form->fixed_bytes; /* of texts: the rest is for what is always there */
    char *at = out;

    if (!put_time(form, &at))
        return 0;
    at = put_ids(form, ids, at);
    for (uint32_t i = IDS_PIECES;; i++) {
        at = put_piece(form, i, at);
        if (i + 1 == form->count)
            return (size_t)(at - out);
        at = put_value(form->pieces[i].next, values++, at, end);
        if (!at)
            return 0;
    }
}

bool log_form_put(struct log_form *form, const struct proa_trace_ids *ids, const union log_form_value *values)
{
    char out[FORM_LINE_MAX + COPY_BYTES] __attribute__((uninitialized));
    size_t len;

    if (!is_wanted(form))
        return true;
    if (is_exported(form) || !proa_trace_present(ids))
        return false;
    len = put_line(form, ids, values, out);
    if (len > 0)
        log_queue_put(form->log->queue, proa_str_n(out, len));
    return len > 0;
}

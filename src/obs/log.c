/* Lines: who wants them, and what they look like. A line is put together on the caller's stack and handed over
 * whole. */
#include "log_internal.h"
#include "log_record.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    QUEUE_BYTES_DEFAULT = 1024 * 1024,
    QUEUE_BYTES_MIN = 16 * 1024,
    QUEUE_BYTES_MAX = 1024 * 1024 * 1024,
    FREE_TIMEOUT_MS = 1000,
    PARENTS_MAX = 16, /* loggers of a chain whose fields are written */
    FIELD_ROOM = 160, /* a field is begun only with this much room: its key, and a value's marker */
    VALUE_ROOM = 80,  /* and its value only with this much: a number, or quotes around a marker */
    TAIL_ROOM = 128,  /* behind the fields: ids in text format, `,"log.truncated":true}`, newline */
};

/* Filters that were in force stay until the log is freed: a reader on another thread may still look at one, and
 * readers take no lock. One that comes again is used again, so that switching to and fro takes no memory. */
struct filter_list {
    struct filter_list *next;
    struct log_filter *filter;
};

static proa_time_ns system_wall(void *arg)
{
    struct timespec now;

    (void)arg;
    clock_gettime(CLOCK_REALTIME, &now);
    return (proa_time_ns)now.tv_sec * 1000000000 + now.tv_nsec;
}

static size_t lost_line(void *arg, uint64_t lost, char *out);

static void choose_format(struct proa_log *log, enum proa_log_format format, int fd)
{
    bool is_terminal = isatty(fd) == 1;
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");

    log->is_text = format == PROA_LOG_FORMAT_TEXT || (format == PROA_LOG_FORMAT_AUTO && is_terminal);
    log->has_colour = log->is_text && is_terminal && !(no_colour && *no_colour) && !(term && strcmp(term, "dumb") == 0);
}

static uint32_t queue_bytes(uint32_t wanted)
{
    uint32_t bytes = QUEUE_BYTES_MIN;

    if (wanted == 0)
        wanted = QUEUE_BYTES_DEFAULT;
    while (bytes < wanted && bytes < QUEUE_BYTES_MAX)
        bytes *= 2;
    return bytes;
}

int proa_log_new(const struct proa_log_options *options, struct proa_log **ret_log, struct proa_error *err)
{
    static const struct proa_log_options defaults;
    const struct proa_log_options *o = options ? options : &defaults;
    struct log_queue_options queue = {.fd = o->fd > 0 ? o->fd : STDOUT_FILENO,
                                      .bytes = queue_bytes(o->queue_bytes),
                                      .synchronous = o->synchronous,
                                      .late_writer = o->late_writer,
                                      .lost_line = lost_line};
    struct proa_log *log = calloc(1, sizeof *log);
    int rc;

    if (!log)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    pthread_mutex_init(&log->mutex, NULL);
    log->wall = o->wall ? o->wall : system_wall;
    log->wall_arg = o->wall_arg;
    choose_format(log, o->format, queue.fd);
    queue.arg = log;
    rc = proa_log_set_filter(log, o->filter, err);
    if (rc == 0)
        rc = log_queue_new(&queue, &log->queue, err);
    if (rc < 0) {
        proa_log_free(log);
        return rc;
    }
    *ret_log = log;
    return 0;
}

int proa_log_start_writer(struct proa_log *log, struct proa_error *err)
{
    return log_queue_start(log->queue, err);
}

void proa_log_free(struct proa_log *log)
{
    struct filter_list *next;

    /* A writer that is stuck in the system may yet ask for the lost line: then the log stays with it. */
    if (!log || (log->queue && !log_queue_free(log->queue, FREE_TIMEOUT_MS)))
        return;
    for (struct filter_list *item = log->filters; item; item = next) {
        next = item->next;
        log_filter_free(item->filter);
        free(item);
    }
    log_export_free(log->export);
    pthread_mutex_destroy(&log->mutex);
    free(log);
}

void proa_log_flush(struct proa_log *log, uint32_t timeout_ms)
{
    log_queue_flush(log->queue, timeout_ms);
}

uint64_t proa_log_dropped(const struct proa_log *log)
{
    return log_queue_dropped(log->queue);
}

int proa_log_set_filter(struct proa_log *log, const char *filter, struct proa_error *err)
{
    struct filter_list *item, *fresh = malloc(sizeof *fresh);

    if (!fresh)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    fresh->filter = NULL;
    int rc = log_filter_new(filter, &fresh->filter, err);
    if (rc < 0) {
        free(fresh);
        return rc;
    }
    pthread_mutex_lock(&log->mutex);
    for (item = log->filters; item && !log_filter_equal(item->filter, fresh->filter); item = item->next)
        ;
    if (!item) {
        item = fresh;
        item->next = log->filters;
        log->filters = item;
        fresh = NULL;
    }
    atomic_store_explicit(&log->filter, item->filter, memory_order_release);
    pthread_mutex_unlock(&log->mutex);
    if (fresh) {
        log_filter_free(fresh->filter);
        free(fresh);
    }
    return 0;
}

/* What a logger does not say itself its parents say. */
const char *log_target_of(const struct proa_logger *logger)
{
    for (; logger; logger = logger->parent)
        if (logger->target)
            return logger->target;
    return NULL;
}

static const struct proa_trace_ids *ids_of(const struct proa_logger *logger)
{
    for (; logger; logger = logger->parent)
        if (logger->ids)
            return proa_trace_present(logger->ids) ? logger->ids : NULL;
    return NULL;
}

/* The running fiber's, when it is of the line's trace. */
static const struct proa_span *span_of(const struct proa_logger *logger, const struct proa_trace_ids *ids)
{
    const struct proa_span *span;

    while (logger && !logger->loop)
        logger = logger->parent;
    if (!logger || !proa_loop_is_here(logger->loop))
        return NULL;
    span = proa_span_current(logger->loop);
    if (!span || !proa_trace_present(&span->ids) ||
        (ids && memcmp(ids->trace_id, span->ids.trace_id, sizeof ids->trace_id) != 0))
        return NULL;
    return span;
}

/* The next around it; a request's, which nobody has looked at yet, has no fields. */
static const struct proa_span *around(const struct proa_span *span)
{
    return span->previous && !span->previous->resolve ? span->previous : NULL;
}

/* Which span a line belongs to. */
static void find_span(struct log_quick *line)
{
    const struct proa_span *span;

    line->ids = ids_of(line->logger);
    span = span_of(line->logger, line->ids);
    if (span)
        line->ids = &span->ids;
    while (span && span->fields_count == 0)
        span = around(span);
    line->span = span;
}

bool proa_log_enabled(const struct proa_logger *logger, enum proa_log_level level)
{
    const struct log_filter *filter;

    if (!logger || !logger->log || level >= PROA_LOG_OFF)
        return false;
    filter = atomic_load_explicit(&logger->log->filter, memory_order_acquire);
    if ((int)level < log_filter_least(filter))
        return false;
    return (int)level >= log_filter_level(filter, log_target_of(logger));
}

struct level_name {
    proa_str json;
    proa_str text;   /* of equal width */
    proa_str colour; /* SGR sequence */
};

static const struct level_name *level_name(enum proa_log_level level)
{
    static const struct level_name names[] = {
        {PROA_STR_INIT("trace"), PROA_STR_INIT("TRACE"), PROA_STR_INIT("\x1b[35m")},
        {PROA_STR_INIT("debug"), PROA_STR_INIT("DEBUG"), PROA_STR_INIT("\x1b[34m")},
        {PROA_STR_INIT("info"), PROA_STR_INIT("INFO "), PROA_STR_INIT("\x1b[32m")},
        {PROA_STR_INIT("warn"), PROA_STR_INIT("WARN "), PROA_STR_INIT("\x1b[33m")},
        {PROA_STR_INIT("error"), PROA_STR_INIT("ERROR"), PROA_STR_INIT("\x1b[31m")},
    };
    int index = ((int)level - 1) / 4; /* each level has four severity numbers */

    return &names[index < 0 ? 0 : index > 4 ? 4 : index];
}

proa_str log_level_text(enum proa_log_level level)
{
    return level_name(level)->json;
}

struct line {
    struct log_text text;
    const struct proa_log *log;
};

static void add_colour(struct line *line, proa_str sequence)
{
    if (line->log->has_colour)
        log_text_raw(&line->text, sequence);
}

static void add_time(struct line *line, proa_time_ns time)
{
    /* It stands first, where there is room. */
    line->text.at += proa_time_text(time, 6, line->text.at);
}

static void add_quoted(struct line *line, proa_str value)
{
    log_text_raw(&line->text, PROA_STR("\""));
    log_text_escaped(&line->text, value, LOG_QUOTE_JSON);
    log_text_raw(&line->text, PROA_STR("\""));
}

static void add_f64(struct line *line, double value)
{
    if (isfinite(value))
        line->text.at += proa_double_text(value, line->text.at);
    else if (isnan(value))
        log_text_raw(&line->text, PROA_STR("\"NaN\""));
    else
        log_text_raw(&line->text, value > 0 ? PROA_STR("\"+Inf\"") : PROA_STR("\"-Inf\""));
}

static void add_value(struct line *line, const struct proa_kv *kv)
{
    /* There is room for a number: VALUE_ROOM. */
    switch (kv->kind) {
    case PROA_KV_STR:
        if (line->log->is_text && log_text_is_plain(kv->as.str))
            log_text_escaped(&line->text, kv->as.str, LOG_QUOTE_NONE);
        else
            add_quoted(line, kv->as.str);
        break;
    case PROA_KV_U64: line->text.at += proa_u64_text(kv->as.u64, line->text.at); break;
    case PROA_KV_I64: line->text.at += proa_i64_text(kv->as.i64, line->text.at); break;
    case PROA_KV_F64: add_f64(line, kv->as.f64); break;
    case PROA_KV_BOOL: log_text_raw(&line->text, kv->as.boolean ? PROA_STR("true") : PROA_STR("false")); break;
    case PROA_KV_JSON: log_text_json(&line->text, kv->as.str); break;
    default: log_text_raw(&line->text, PROA_STR("null")); break;
    }
}

static void add_field(struct line *line, const struct log_named *field)
{
    proa_str key = proa_str_slice(field->key, 0, FIELD_ROOM / 4);
    char *begin = line->text.at;

    if (line->text.end - begin < FIELD_ROOM) {
        line->text.truncated = true;
        return;
    }
    if (line->log->is_text) {
        log_text_raw(&line->text, PROA_STR(" "));
        add_colour(line, PROA_STR("\x1b[2m"));
        log_text_escaped(&line->text, key, LOG_QUOTE_JSON);
        log_text_raw(&line->text, PROA_STR("="));
        add_colour(line, PROA_STR("\x1b[0m"));
    } else {
        if (log_key_is_reserved(field->key))
            log_text_raw(&line->text, PROA_STR(",\"field."));
        else
            log_text_raw(&line->text, PROA_STR(",\""));
        log_text_escaped(&line->text, key, LOG_QUOTE_JSON);
        log_text_raw(&line->text, PROA_STR("\":"));
    }
    if (line->text.end - line->text.at < VALUE_ROOM) {
        line->text.at = begin;
        line->text.truncated = true;
        return;
    }
    add_value(line, field->kv);
}

static void collect(struct log_fields *all, const struct proa_kv *fields, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        proa_str key = proa_kv_key(&fields[i]);
        uint64_t bit;

        if (key.len == 0)
            continue;
        if (all->count == LOG_FIELDS_MAX) {
            all->too_many = true;
            return;
        }
        bit = log_key_bit(key);
        all->may_repeat = all->may_repeat || (all->keys_seen & bit);
        all->keys_seen |= bit;
        all->items[all->count].kv = &fields[i];
        all->items[all->count++].key = key;
    }
}

static void collect_inherited(struct log_fields *all, const struct proa_logger *logger)
{
    const struct proa_logger *chain[PARENTS_MAX];
    uint32_t depth = 0;

    for (; logger && depth < PARENTS_MAX; logger = logger->parent)
        if (logger->fields_count > 0)
            chain[depth++] = logger;
    while (depth-- > 0)
        collect(all, chain[depth]->fields, chain[depth]->fields_count);
}

/* From outside to inside. */
static void collect_spans(struct log_fields *all, const struct proa_span *span)
{
    const struct proa_span *chain[PARENTS_MAX];
    uint32_t depth = 0;

    for (; span && depth < PARENTS_MAX; span = around(span))
        if (span->fields_count > 0)
            chain[depth++] = span;
    while (depth-- > 0)
        collect(all, chain[depth]->fields, chain[depth]->fields_count);
}

bool log_field_is_repeated(const struct log_fields *all, uint32_t index)
{
    for (uint32_t i = index + 1; i < all->count; i++)
        if (proa_str_eq(all->items[i].key, all->items[index].key))
            return true;
    return false;
}

void log_fields_of(struct log_fields *all, const struct log_quick *line)
{
    all->count = 0;
    all->keys_seen = 0;
    all->may_repeat = all->too_many = false;
    collect_inherited(all, line->logger);
    collect_spans(all, line->span);
    collect(all, line->fields, line->count);
}

static void add_fields(struct line *line, const struct log_quick *what)
{
    struct log_fields all __attribute__((uninitialized));

    log_fields_of(&all, what);
    for (uint32_t i = 0; i < all.count; i++)
        if (!all.may_repeat || !log_field_is_repeated(&all, i))
            add_field(line, &all.items[i]);
    line->text.truncated = line->text.truncated || all.too_many;
}

static void add_ids(struct line *line, const struct proa_trace_ids *ids)
{
    char hex[2 * (sizeof ids->trace_id + sizeof ids->span_id)];

    if (!ids)
        return;
    _Static_assert(offsetof(struct proa_trace_ids, span_id) == sizeof ids->trace_id, "they are one piece");
    proa_hex_encode(hex, proa_str_n((const char *)ids, sizeof hex / 2));
    log_text_raw(&line->text, line->log->is_text ? PROA_STR(" trace_id=") : PROA_STR(",\"trace_id\":\""));
    log_text_raw(&line->text, proa_str_n(hex, 2 * sizeof ids->trace_id));
    log_text_raw(&line->text, line->log->is_text ? PROA_STR(" span_id=") : PROA_STR("\",\"span_id\":\""));
    log_text_raw(&line->text, proa_str_n(hex + 2 * sizeof ids->trace_id, 2 * sizeof ids->span_id));
    if (!line->log->is_text)
        log_text_raw(&line->text, PROA_STR("\""));
}

static void begin_json(struct line *line, enum proa_log_level level, proa_time_ns time, const char *target,
                       proa_str message)
{
    log_text_raw(&line->text, PROA_STR("{\"time\":\""));
    add_time(line, time);
    log_text_raw(&line->text, PROA_STR("\",\"level\":\""));
    log_text_raw(&line->text, level_name(level)->json);
    if (target) {
        log_text_raw(&line->text, PROA_STR("\",\"target\":\""));
        log_text_escaped(&line->text, proa_str_c(target), LOG_QUOTE_JSON);
    }
    log_text_raw(&line->text, PROA_STR("\",\"message\":\""));
    log_text_escaped(&line->text, message, LOG_QUOTE_JSON);
    log_text_raw(&line->text, PROA_STR("\""));
}

/* A message that could be taken for fields is quoted. */
static bool looks_like_fields(proa_str message)
{
    return message.len > 0 && (memchr(message.ptr, '=', message.len) || memchr(message.ptr, '"', message.len));
}

static void begin_text(struct line *line, enum proa_log_level level, proa_time_ns time, const char *target,
                       proa_str message)
{
    const struct level_name *name = level_name(level);

    add_colour(line, PROA_STR("\x1b[2m"));
    add_time(line, time);
    add_colour(line, PROA_STR("\x1b[0m"));
    log_text_raw(&line->text, PROA_STR(" "));
    add_colour(line, name->colour);
    log_text_raw(&line->text, name->text);
    add_colour(line, PROA_STR("\x1b[0m"));
    log_text_raw(&line->text, PROA_STR(" "));
    if (target) {
        log_text_escaped(&line->text, proa_str_c(target), LOG_QUOTE_NONE);
        log_text_raw(&line->text, PROA_STR(": "));
    }
    if (looks_like_fields(message))
        add_quoted(line, message);
    else
        log_text_escaped(&line->text, message, LOG_QUOTE_NONE);
}

static void begin_line(struct log_quick *line, const struct proa_logger *logger, enum proa_log_level level,
                       proa_str message, const struct proa_kv *fields, uint32_t count)
{
    *line = (struct log_quick){.time = logger->log->wall(logger->log->wall_arg),
                               .level = level_name(level)->json,
                               .target = proa_str_c(log_target_of(logger)),
                               .message = message,
                               .logger = logger,
                               .fields = fields,
                               .count = count};
    find_span(line);
}

static size_t format_line(const struct proa_log *log, enum proa_log_level level, const struct log_quick *what,
                          char *out)
{
    struct line line = {{out, out + LOG_LINE_MAX - TAIL_ROOM, false}, log};
    const char *target = log_target_of(what->logger);
    size_t len = log->is_text ? 0 : log_quick_json(what, out);

    if (len > 0)
        return len;
    if (log->is_text)
        begin_text(&line, level, what->time, target, what->message);
    else
        begin_json(&line, level, what->time, target, what->message);
    if (!log->is_text)
        add_ids(&line, what->ids);
    add_fields(&line, what);
    line.text.end = out + LOG_LINE_MAX;
    if (log->is_text)
        add_ids(&line, what->ids);
    if (line.text.truncated)
        log_text_raw(&line.text, log->is_text ? PROA_STR(" log.truncated=true") : PROA_STR(",\"log.truncated\":true"));
    log_text_raw(&line.text, log->is_text ? PROA_STR("\n") : PROA_STR("}\n"));
    return (size_t)(line.text.at - out);
}

void proa_log_line(const struct proa_logger *logger, enum proa_log_level level, proa_str message,
                   const struct proa_kv *fields, uint32_t count)
{
    char out[LOG_LINE_MAX] __attribute__((uninitialized));
    struct log_export *export;
    struct log_quick line;

    if (!proa_log_enabled(logger, level))
        return;
    begin_line(&line, logger, level, message, fields, count);
    log_queue_put(logger->log->queue, proa_str_n(out, format_line(logger->log, level, &line, out)));
    export = atomic_load_explicit(&logger->log->export, memory_order_acquire);
    if (export && export_is_attached(log_export_queue(export)))
        log_export_line(export, &line, level);
}

int log_export_to(struct proa_log *log, uint32_t records_max, struct export_queue **ret_queue, struct proa_error *err)
{
    struct log_export *export = atomic_load(&log->export), *none = NULL;

    if (!export) {
        PROA_TRY(log_export_new(records_max, &export, err));
        if (!atomic_compare_exchange_strong(&log->export, &none, export)) {
            log_export_free(export);
            return proa_fail(err, PROA_EBUSY, "the log is being exported already");
        }
    }
    *ret_queue = log_export_queue(export);
    return 0;
}

static size_t lost_line(void *arg, uint64_t lost, char *out)
{
    struct proa_log *log = arg;
    struct proa_logger logger = {.log = log, .target = "log"};
    struct proa_kv field = proa_kv_u64("lines", lost);
    struct log_quick line;

    begin_line(&line, &logger, PROA_LOG_WARN, PROA_STR("lines were lost"), &field, 1);
    return format_line(log, PROA_LOG_WARN, &line, out);
}

void proa_log_failure(const struct proa_logger *logger, enum proa_log_level level, const char *what,
                      const struct proa_error *err)
{
    struct proa_kv fields[4];
    uint32_t count = 0;

    if (!proa_log_enabled(logger, level))
        return;
    if (err) {
        fields[count++] = proa_kv_c("error", err->message);
        fields[count++] = proa_kv_c("error.type", proa_code_name(err->code));
        if (err->os_errno)
            fields[count++] = proa_kv_i64("error.errno", err->os_errno);
        if (err->pointer[0])
            fields[count++] = proa_kv_c("error.pointer", err->pointer);
    }
    proa_log_line(logger, level, proa_str_c(what), fields, count);
}

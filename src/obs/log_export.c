/* Log lines as records for an exporter: copied once, with everything bounded. */
#include "log_record.h"
#include "wire.h"

#include <stdlib.h>

struct log_export {
    struct export_queue queue;
};

int log_export_new(uint32_t records_max, struct log_export **ret_export, struct proa_error *err)
{
    struct log_export *export = calloc(1, sizeof *export);

    if (!export)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    export->queue.max = records_max;
    *ret_export = export;
    return 0;
}

void log_export_free(struct log_export *export)
{
    struct export_item *item;
    uint32_t count;

    if (!export)
        return;
    while ((item = export_take(&export->queue, 1, &count)))
        free(item);
    free(export);
}

struct export_queue *log_export_queue(struct log_export *export)
{
    return &export->queue;
}

/* What the resource says once for all lines. */
static bool is_of_resource(proa_str key)
{
    return proa_str_eq_c(key, "service.name") || proa_str_eq_c(key, "deployment.environment.name");
}

static size_t room_for(proa_str text)
{
    return text.len < LOG_VALUE_MAX ? text.len : LOG_VALUE_MAX;
}

static size_t room_for_attribute(const struct proa_kv *kv, proa_str key)
{
    bool is_text = kv->kind == PROA_KV_STR || kv->kind == PROA_KV_JSON;

    return WIRE_ATTRIBUTE_MAX + key.len + (is_text ? room_for(kv->as.str) : 0);
}

/* Room for everything, within the limit. */
static size_t room_for_all(const struct log_fields *all, const struct log_quick *line)
{
    size_t bytes = room_for(line->message) + WIRE_ATTRIBUTE_MAX + room_for(line->target);

    for (uint32_t i = 0; i < all->count; i++)
        bytes += room_for_attribute(all->items[i].kv, all->items[i].key);
    return bytes < LOG_RECORD_BYTES_MAX ? bytes : LOG_RECORD_BYTES_MAX;
}

static char *add(struct log_record *record, const struct proa_kv *kv, char *at, const char *end)
{
    char *next = wire_attribute(at, end, WIRE_LOG_ATTRIBUTES, kv, LOG_VALUE_MAX);

    record->attributes_dropped += next == NULL;
    return next ? next : at;
}

/* @param end  of the record's buffer */
static void fill(struct log_record *record, const struct log_fields *all, const struct log_quick *line, const char *end)
{
    const struct proa_kv target = proa_kv_str("target", line->target);
    proa_str message = proa_utf8_cut(line->message, LOG_VALUE_MAX); /* the first: it fits */
    char *begin = record->buffer + message.len, *at = begin;

    wire_text(record->buffer, message);
    record->message = proa_str_n(record->buffer, message.len);
    if (line->target.len > 0)
        at = add(record, &target, at, end);
    for (uint32_t i = 0; i < all->count; i++)
        if (!is_of_resource(all->items[i].key) && !(all->may_repeat && log_field_is_repeated(all, i)))
            at = add(record, all->items[i].kv, at, end);
    record->attributes = proa_str_n(begin, (size_t)(at - begin));
    record->attributes_dropped += all->too_many;
}

void log_export_line(struct log_export *export, const struct log_quick *line, enum proa_log_level level)
{
    struct log_fields all __attribute__((uninitialized));
    struct log_record *record;
    size_t room;

    log_fields_of(&all, line);
    room = room_for_all(&all, line);
    record = malloc(sizeof *record + room);
    if (!record) {
        export_count_dropped(&export->queue);
        return;
    }
    *record =
        (struct log_record){.time = line->time, .level = level, .severity = line->level, .has_ids = line->ids != NULL};
    if (line->ids)
        record->ids = *line->ids;
    fill(record, &all, line, record->buffer + room);
    if (!export_put(&export->queue, &record->item))
        free(record);
}

/* Log lines as records for an exporter: copied once, with everything bounded. */
#include "log_record.h"

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

static void *take_room(struct log_record *record, size_t bytes)
{
    size_t rounded = (bytes + 7) & ~(size_t)7;
    char *room = record->buffer + record->used;

    if (rounded > record->size - record->used)
        return NULL;
    record->used += (uint32_t)rounded;
    return room;
}

static bool copy_text(struct log_record *record, proa_str text, proa_str *ret_copy)
{
    proa_str cut = proa_utf8_cut(text, LOG_VALUE_MAX);
    char *room = take_room(record, cut.len);

    if (!room)
        return false;
    if (cut.len > 0)
        memcpy(room, cut.ptr, cut.len);
    export_mend_text(room, cut.len);
    *ret_copy = proa_str_n(room, cut.len);
    return true;
}

static bool is_text(const struct proa_kv *kv)
{
    return kv->kind == PROA_KV_STR || kv->kind == PROA_KV_JSON;
}

/* What the resource says once for all lines. */
static bool is_of_resource(proa_str key)
{
    return proa_str_eq_c(key, "service.name") || proa_str_eq_c(key, "deployment.environment.name");
}

static bool add(struct log_record *record, struct span_attribute ***end, const struct proa_kv *kv)
{
    uint32_t used = record->used;
    struct span_attribute *attribute = take_room(record, sizeof *attribute);

    if (attribute) {
        attribute->next = NULL;
        attribute->kv = *kv;
        attribute->kv.key_len = (uint32_t)proa_kv_key(kv).len;
    }
    if (!attribute || (is_text(kv) && !copy_text(record, kv->as.str, &attribute->kv.as.str))) {
        record->used = used;
        record->attributes_dropped++;
        return false;
    }
    **end = attribute;
    *end = &attribute->next;
    return true;
}

static size_t rounded_text(size_t len)
{
    return (len < LOG_VALUE_MAX ? len : LOG_VALUE_MAX) + 8;
}

/* Room for everything, within the limit. */
static size_t size_of(const struct log_fields *all, const struct log_quick *line)
{
    size_t text = rounded_text(line->message.len) + rounded_text(line->target.len);

    for (uint32_t i = 0; i < all->count; i++)
        if (is_text(all->items[i].kv))
            text += rounded_text(all->items[i].kv->as.str.len);
    return (all->count + 1) * sizeof(struct span_attribute) + (text < LOG_RECORD_TEXT_MAX ? text : LOG_RECORD_TEXT_MAX);
}

void log_export_line(struct log_export *export, const struct log_quick *line, enum proa_log_level level)
{
    struct log_fields all __attribute__((uninitialized));
    const struct proa_kv target = proa_kv_str("target", line->target);
    struct span_attribute **end;
    struct log_record *record;
    size_t size;

    log_fields_of(&all, line->logger, line->fields, line->count);
    size = size_of(&all, line);
    record = malloc(sizeof *record + size);
    if (!record) {
        export_count_dropped(&export->queue);
        return;
    }
    *record = (struct log_record){.time = line->time,
                                  .level = level,
                                  .severity = line->level,
                                  .has_ids = line->ids != NULL,
                                  .size = (uint32_t)size};
    if (line->ids)
        record->ids = *line->ids;
    end = &record->attributes;
    (void)copy_text(record, line->message, &record->message); /* the first fits */
    if (line->target.len > 0)
        (void)add(record, &end, &target);
    for (uint32_t i = 0; i < all.count; i++)
        if (!is_of_resource(all.items[i].key) && !(all.may_repeat && log_field_is_repeated(&all, i)))
            (void)add(record, &end, all.items[i].kv);
    record->attributes_dropped += all.too_many;
    if (!export_put(&export->queue, &record->item))
        free(record);
}

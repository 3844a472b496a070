/* JSON text into yyjson's values, in the arena's memory; and where in the document a text broke. */
#include "data_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

enum {
    /* Values of larger texts go to the heap and are freed after reading, so that they do not stay as long as the
     * arena. */
    HEAP_FROM_BYTES = 4096,
};

static void *values_alloc(void *ctx, size_t size)
{
    struct json_text *json = ctx;

    if (size < HEAP_FROM_BYTES)
        return proa_arena_alloc(json->arena, size);
    return json->heap = malloc(size);
}

static void *values_grow(void *ctx, void *ptr, size_t old_size, size_t size)
{
    struct json_text *json = ctx;
    void *larger;

    if (json->heap && ptr == json->heap) {
        larger = realloc(ptr, size);
        if (larger)
            json->heap = larger;
        return larger;
    }
    if (size < HEAP_FROM_BYTES)
        return proa_arena_grow(json->arena, ptr, old_size, size);
    json->heap = larger = malloc(size);
    return larger ? memcpy(larger, ptr, old_size) : NULL;
}

static void values_free(void *ctx, void *ptr)
{
    struct json_text *json = ctx;

    if (ptr != json->heap)
        return;
    free(ptr);
    json->heap = NULL;
}

void json_text_done(struct json_text *json)
{
    free(json->heap);
    json->heap = NULL;
}

/* -- Where it broke --------------------------------------------------------------------------------------------- */

struct level {
    bool is_object;
    size_t index;
    proa_str key; /* as written, escapes and all */
};

/* One past the closing quote of the string that begins at `at`, or the text's length. */
static size_t string_end(proa_str text, size_t at)
{
    for (at++; at < text.len; at++) {
        if (text.ptr[at] == '\\')
            at++;
        else if (text.ptr[at] == '"')
            return at + 1;
    }
    return text.len;
}

static void broken_at(struct rules *rules, const struct level *levels, int count, int at, const struct value_path *up,
                      const char *code, const char *detail)
{
    struct value_path path = {.up = up};

    if (at == count) {
        rule_broken(rules, up, code, "%s", detail);
        return;
    }
    path.is_index = !levels[at].is_object;
    path.index = levels[at].index;
    path.key = levels[at].key;
    /* An object of which no key was read yet is itself the place. */
    if (levels[at].is_object && !levels[at].key.ptr)
        rule_broken(rules, up, code, "%s", detail);
    else
        broken_at(rules, levels, count, at + 1, &path, code, detail);
}

/* All before `pos` was well-formed: strings and brackets are enough to know the place. A string in which it broke may
 * be a key, which then is the place. */
static void report_place(struct proa_arena *arena, proa_str text, size_t pos, struct proa_error *err, const char *code,
                         const char *detail)
{
    struct rules rules = {.err = err};
    struct level *levels = proa_arena_calloc(arena, PROA_JSON_DEPTH_DEFAULT, sizeof *levels);
    int depth = 0, deepest = 0;

    if (!levels) {
        rule_broken(&rules, NULL, code, "%s", detail);
        return;
    }
    for (size_t at = 0; at < pos;) {
        struct level *top = depth > 0 && depth <= PROA_JSON_DEPTH_DEFAULT ? &levels[depth - 1] : NULL;
        char c = text.ptr[at];
        size_t end = c == '"' ? string_end(text, at) : at + 1;

        if (c == '{' || c == '[') {
            if (++depth <= PROA_JSON_DEPTH_DEFAULT)
                levels[depth - 1] = (struct level){.is_object = c == '{'};
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        } else if (c == ',' && top) {
            top->index++;
            top->key = proa_str_n(NULL, 0);
        } else if (c == '"' && top && top->is_object && !top->key.ptr && end <= pos && end - at >= 2) {
            top->key = proa_str_slice(text, at + 1, end - 1);
        }
        at = end;
    }
    deepest = depth < PROA_JSON_DEPTH_DEFAULT ? depth : PROA_JSON_DEPTH_DEFAULT;
    broken_at(&rules, levels, deepest, 0, NULL, code, detail);
}

static int syntax_error(struct proa_arena *arena, proa_str text, const yyjson_read_err *why, struct proa_error *err)
{
    char detail[160];
    size_t line = 1, column = 1;

    if (!err)
        return PROA_ESYNTAX;
    for (size_t i = 0; i < why->pos && i < text.len; i++) {
        if (text.ptr[i] == '\n') {
            line++;
            column = 1;
        } else {
            column += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
        }
    }
    snprintf(detail, sizeof detail, "not valid JSON at line %zu, column %zu: %.90s", line, column,
             text.len ? why->msg : "it is empty");
    proa_error_clear(err);
    report_place(arena, text, why->pos < text.len ? why->pos : text.len, err,
                 why->code == YYJSON_READ_ERROR_INVALID_STRING ? "string" : "syntax", detail);
    err->code = PROA_ESYNTAX;
    return PROA_ESYNTAX;
}

int json_parse(struct json_text *json, struct proa_arena *arena, proa_str text, struct proa_error *err)
{
    const yyjson_alc memory = {values_alloc, values_grow, values_free, json};
    yyjson_read_err why = {0};
    yyjson_doc *doc;
    char *copy = text.len < SIZE_MAX / 2 ? proa_arena_alloc(arena, text.len + YYJSON_PADDING_SIZE) : NULL;

    *json = (struct json_text){.arena = arena};
    if (!copy)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    memset(copy + text.len, 0, YYJSON_PADDING_SIZE);
    doc = yyjson_read_opts(copy, text.len, YYJSON_READ_INSITU | YYJSON_READ_BIGNUM_AS_RAW, &memory, &why);
    if (doc) {
        json->root = yyjson_doc_get_root(doc);
        return 0;
    }
    if (why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return syntax_error(arena, text, &why, err);
}

proa_str json_string(const struct yyjson_val *value)
{
    void *val = (void *)(uintptr_t)value; /* yyjson's inner accessors know no const */

    return proa_str_n(unsafe_yyjson_get_str(val), unsafe_yyjson_get_len(val));
}

static void *arena_malloc(void *ctx, size_t size)
{
    return proa_arena_alloc(ctx, size);
}

static void *arena_realloc(void *ctx, void *ptr, size_t old_size, size_t size)
{
    return proa_arena_grow(ctx, ptr, old_size, size);
}

static void arena_free(void *ctx, void *ptr)
{
    (void)ctx;
    (void)ptr;
}

int json_add_value(struct proa_buf *out, struct proa_arena *arena, const struct yyjson_val *value)
{
    const yyjson_alc memory = {arena_malloc, arena_realloc, arena_free, arena};
    size_t len = 0;
    char *text = yyjson_val_write_opts(value, 0, &memory, &len, NULL);

    return text ? proa_buf_add(out, proa_str_n(text, len)) : PROA_ENOMEM;
}

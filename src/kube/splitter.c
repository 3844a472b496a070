/* The splitter: one pass over the bytes that looks at strings, brackets and the names of the list's own members. */
#include "splitter.h"

#include <string.h>

void splitter_init(struct splitter *splitter, enum splitter_mode mode, uint32_t item_bytes_max,
                   int (*found)(void *arg, enum splitter_part part, proa_str text), void *arg)
{
    *splitter = (struct splitter){.mode = (uint8_t)mode, .found = found, .arg = arg};
    proa_buf_init(&splitter->part, NULL, item_bytes_max);
}

void splitter_done(struct splitter *splitter)
{
    proa_buf_done(&splitter->part);
}

bool splitter_is_whole(const struct splitter *splitter)
{
    return splitter->depth == 0 && !splitter->in_string && (splitter->mode == SPLIT_STREAM || splitter->ended);
}

static bool key_is(const struct splitter *splitter, const char *name)
{
    return splitter->key_len == strlen(name) && memcmp(splitter->key, name, splitter->key_len) == 0;
}

static enum splitter_part what_begins(const struct splitter *splitter)
{
    if (splitter->mode == SPLIT_STREAM)
        return splitter->depth == 0 ? SPLIT_ITEM : 0;
    if (splitter->depth == 1 && splitter->after_colon && key_is(splitter, "metadata"))
        return SPLIT_METADATA;
    return splitter->depth == 2 && splitter->in_items ? SPLIT_ITEM : 0;
}

/* `text` is what of it came in the present piece. An object as large as no object may be is no reason to hear of no
 * other: what it is about is told from its beginning, and its end is looked for without keeping it. */
static int too_large(struct splitter *splitter, proa_str text, struct proa_error *err)
{
    struct proa_buf *part = &splitter->part;
    int rc;

    if (part->error == PROA_ENOMEM)
        return proa_fail(err, PROA_ENOMEM, "no memory for an object");
    if (splitter->capturing != SPLIT_ITEM)
        return proa_fail(err, PROA_ETOOLARGE, "a list's metadata is larger than %zu bytes", splitter->part.max);
    splitter->is_skipping = true;
    part->error = 0;
    if (part->len < SPLITTER_BEGINNING_MAX)
        proa_buf_add(part, proa_str_slice(text, 0, part->max - part->len));
    rc = splitter->found(splitter->arg, SPLIT_TOO_LARGE, proa_str_slice(proa_buf_str(part), 0, SPLITTER_BEGINNING_MAX));
    proa_buf_done(part);
    return rc;
}

/* The captured text ends before `end` of the present piece. */
static int give(struct splitter *splitter, proa_str text, struct proa_error *err)
{
    bool was_skipping = splitter->is_skipping;
    int rc = 0;

    if (!was_skipping) {
        if (splitter->part.len > 0 ? proa_buf_add(&splitter->part, text) < 0 : text.len > splitter->part.max)
            rc = too_large(splitter, text, err);
        else
            rc = splitter->found(splitter->arg, splitter->capturing,
                                 splitter->part.len > 0 ? proa_buf_str(&splitter->part) : text);
        proa_buf_clear(&splitter->part);
    }
    splitter->is_skipping = false;
    splitter->capturing = 0;
    return rc;
}

static void string_byte(struct splitter *splitter, char c)
{
    if (splitter->is_escaped) {
        splitter->is_escaped = false;
    } else if (c == '\\') {
        splitter->is_escaped = true;
    } else if (c == '"') {
        splitter->in_string = false;
        return;
    }
    if (splitter->is_key && splitter->key_len < SPLITTER_KEY_MAX)
        splitter->key[splitter->key_len++] = c;
}

static int open_bracket(struct splitter *splitter, char c, const char *at, const char **start, struct proa_error *err)
{
    enum splitter_part part;

    if (splitter->depth == SPLITTER_DEPTH_MAX)
        return proa_fail(err, PROA_EPROTOCOL, "the API server's answer is nested too deeply");
    if (!splitter->capturing && c == '{') {
        part = what_begins(splitter);
        if (part) {
            splitter->capturing = (uint8_t)part;
            splitter->base = splitter->depth;
            *start = at;
        }
    }
    if (splitter->mode == SPLIT_LIST && splitter->depth == 1 && c == '[')
        splitter->in_items = splitter->after_colon && key_is(splitter, "items");
    splitter->depth++;
    return 0;
}

static int close_bracket(struct splitter *splitter, const char *at, const char **start, struct proa_error *err)
{
    if (splitter->depth == 0)
        return proa_fail(err, PROA_EPROTOCOL, "the API server's answer has a bracket too many");
    splitter->depth--;
    if (splitter->capturing && splitter->depth == splitter->base) {
        const char *from = *start;

        *start = NULL;
        return give(splitter, proa_str_n(from, (size_t)(at - from) + 1), err);
    }
    if (splitter->depth == 1)
        splitter->in_items = false;
    splitter->ended = splitter->depth == 0;
    return 0;
}

static int other_byte(struct splitter *splitter, const char *at, const char **start, struct proa_error *err)
{
    switch (*at) {
    case '"':
        splitter->in_string = true;
        splitter->is_key = splitter->mode == SPLIT_LIST && splitter->depth == 1 && !splitter->after_colon;
        if (splitter->is_key)
            splitter->key_len = 0;
        return 0;
    case '{':
    case '[': return open_bracket(splitter, *at, at, start, err);
    case '}':
    case ']': return close_bracket(splitter, at, start, err);
    case ':':
        if (splitter->depth == 1)
            splitter->after_colon = true;
        return 0;
    case ',':
        if (splitter->depth == 1)
            splitter->after_colon = false;
        return 0;
    default:
        if (splitter->depth == 0 && *at != '\n' && *at != '\r' && *at != ' ' && *at != '\t')
            return proa_fail(err, PROA_EPROTOCOL, "the API server's answer is no JSON");
        return 0;
    }
}

int splitter_feed(struct splitter *splitter, proa_str piece, struct proa_error *err)
{
    /* Where in this piece what is captured begins. */
    const char *start = splitter->capturing ? piece.ptr : NULL, *end = piece.ptr + piece.len;

    for (const char *at = piece.ptr; at < end; at++) {
        if (splitter->in_string)
            string_byte(splitter, *at);
        else
            PROA_TRY(other_byte(splitter, at, &start, err));
    }
    /* Between two items, where a watch is for most of its time, nothing is kept. */
    if (!splitter->capturing)
        proa_buf_done(&splitter->part);
    else if (!splitter->is_skipping && proa_buf_add(&splitter->part, proa_str_n(start, (size_t)(end - start))) < 0)
        return too_large(splitter, proa_str_n(start, (size_t)(end - start)), err);
    return 0;
}

/* Spans of statements, by the semantic conventions of database clients. Values never appear in them: a statement's text
 * has its parameters as $1. */
#include "db_internal.h"

#include <stdlib.h>

struct db_target {
    struct db_target *previous; /* of the URL before: other loops may still read it */
    char *text;                 /* the URL without user and password; the others point into it */
    proa_str address;
    proa_str name; /* of the database, or the file */
    uint64_t port; /* 0: not told */
};

/* "//user:password@host:port/name?options" or a file's path. */
static void read_target(struct db_target *target, proa_str rest)
{
    proa_str authority, host;
    ptrdiff_t at;

    rest = proa_str_slice(rest, 0, rest.len);
    at = proa_str_find_char(rest, '?');
    if (at >= 0)
        rest = proa_str_slice(rest, 0, (size_t)at);
    if (!proa_str_starts_with(rest, PROA_STR("//"))) {
        target->name = rest;
        return;
    }
    rest = proa_str_slice(rest, 2, rest.len);
    proa_ignore(proa_str_split(&rest, '/', &authority)); /* `rest` is then NULL or behind the slash */
    target->name = rest;
    while ((at = proa_str_find_char(authority, '@')) >= 0)
        authority = proa_str_slice(authority, (size_t)at + 1, authority.len);
    host = authority;
    for (size_t i = authority.len; i > 0 && authority.ptr[i - 1] != ']'; i--)
        if (authority.ptr[i - 1] == ':') {
            if (proa_str_to_u64(proa_str_slice(authority, i, authority.len), &target->port) < 0)
                target->port = 0;
            host = proa_str_slice(authority, 0, i - 1);
            break;
        }
    target->address = host;
}

int db_span_target(struct proa_db *db, const char *url, struct proa_error *err)
{
    struct db_target *target = calloc(1, sizeof *target);
    proa_str rest, scheme;

    if (target)
        target->text = strdup(url);
    if (!target || !target->text) {
        free(target);
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    }
    rest = proa_str_c(target->text);
    proa_ignore(proa_str_split(&rest, ':', &scheme));
    read_target(target, rest);
    target->previous = db->target;
    db->target = target;
    return 0;
}

void db_span_target_free(struct proa_db *db)
{
    struct db_target *target = db->target;

    while (target) {
        struct db_target *previous = target->previous;

        free(target->text);
        free(target);
        target = previous;
    }
    db->target = NULL;
}

/* Of a statement's characters: what lies before a word, and what ends it. */
enum { WORD_LEAD = 1, WORD_END = 2 };
static const uint8_t separators[256] = {
    [' '] = WORD_LEAD | WORD_END,
    ['\n'] = WORD_LEAD | WORD_END,
    ['\t'] = WORD_LEAD | WORD_END,
    ['\r'] = WORD_LEAD | WORD_END,
    ['('] = WORD_LEAD | WORD_END,
    [')'] = WORD_END,
    [','] = WORD_END,
    [';'] = WORD_END,
};

/* The next word of a statement: letters up to a blank, a parenthesis, a comma or a semicolon. */
static proa_str next_word(proa_str *rest)
{
    const char *begin = rest->ptr, *end = begin + rest->len, *at;

    while (begin < end && (separators[(unsigned char)*begin] & WORD_LEAD))
        begin++;
    for (at = begin; at < end && !(separators[(unsigned char)*at] & WORD_END); at++)
        ;
    *rest = at < end ? proa_str_n(at + 1, (size_t)(end - at) - 1) : proa_str_n(at, 0);
    return proa_str_n(begin, (size_t)(at - begin));
}

/* What a simple statement is about: the name behind FROM, INTO or UPDATE. */
static proa_str collection_of(proa_str text)
{
    static const proa_str from = PROA_STR_INIT("FROM"), into = PROA_STR_INIT("INTO"), update = PROA_STR_INIT("UPDATE");
    proa_str word, rest = text;
    bool is_next = false;

    while ((word = next_word(&rest)).len > 0) {
        if (is_next)
            return word;
        is_next = (word.len == from.len && (proa_str_eq_nocase(word, from) || proa_str_eq_nocase(word, into))) ||
                  (word.len == update.len && proa_str_eq_nocase(word, update));
    }
    return proa_str_n(NULL, 0);
}

static void describe(struct proa_sql sql, proa_str text, struct proa_span *span)
{
    const struct db_target *target = atomic_load_explicit(&sql.db->target, memory_order_acquire);
    proa_str rest = text, operation = next_word(&rest), collection = collection_of(text);
    char name[PROA_SPAN_NAME_MAX];
    size_t len = operation.len < sizeof name / 2 ? operation.len : sizeof name / 2;

    memcpy(name, operation.ptr, len);
    if (collection.len > 0 && collection.len < sizeof name - len) {
        name[len++] = ' ';
        memcpy(name + len, collection.ptr, collection.len);
        len += collection.len;
    }
    proa_span_rename(span, proa_str_n(name, len));
    proa_span_set(span, proa_kv_c("db.system.name", sql.db->driver->system));
    proa_span_set(span, proa_kv_str("db.operation.name", operation));
    if (collection.len > 0)
        proa_span_set(span, proa_kv_str("db.collection.name", collection));
    if (target->name.len > 0)
        proa_span_set(span, proa_kv_str("db.namespace", target->name));
    proa_span_set(span, proa_kv_str("db.query.text", text));
    if (target->address.len > 0)
        proa_span_set(span, proa_kv_str("server.address", target->address));
    if (target->port > 0)
        proa_span_set(span, proa_kv_u64("server.port", target->port));
}

bool db_span_begin(struct proa_sql sql, const char *text, struct proa_span *ret_span)
{
    static const struct proa_span_options options = {.kind = PROA_SPAN_CLIENT};

    if (!proa_span_is_recorded(proa_span_current(sql.loop)))
        return false;
    proa_span_start(sql.db->options.tracer, sql.loop, &options, ret_span);
    if (proa_span_is_recorded(ret_span))
        describe(sql, proa_str_trim(proa_str_c(text)), ret_span);
    return true;
}

void db_span_end(struct proa_sql sql, struct proa_span *span, int rc)
{
    if (rc < 0) {
        proa_span_set(span, proa_kv_c("error.type", proa_code_name(rc)));
        proa_span_set_status(span, PROA_SPAN_ERROR, proa_str_c(sql.err && sql.err->code == rc ? sql.err->message : ""));
    }
    proa_span_end(span);
}

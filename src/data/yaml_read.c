/* YAML into JSON text: libyaml's events, one after the other, without recursion. An anchor remembers which part of the
 * JSON text its node became; an alias appends that part again. */
#include "data_internal.h"
#include "yaml_scalar.h"

#include <proa/map.h>
#include <proa/vec.h>
#include <proa/yaml.h>
#include <stdlib.h>
#include <yaml.h>

/* A key that an open mapping has had. */
struct seen_key {
    proa_str key; /* as JSON, in the arena */
    size_t line, column;
};
/* In the arena. */
struct anchor {
    size_t from, to; /* in the JSON text; `to` is 0 while the node is open */
    size_t events;
};
/* An open mapping or sequence. */
struct level {
    bool is_mapping;
    bool at_value; /* of a mapping: the key was read */
    size_t items;
    size_t first_key; /* in `keys` */
    struct anchor *anchor;
    size_t events_before;
};

struct conversion {
    struct proa_arena *arena;
    struct proa_error *err;
    yaml_parser_t parser;
    struct proa_buf json;
    struct proa_vec keys;
    struct proa_map *anchors; /* of the document: name -> the newest of it; NULL: there was none */
    struct level *levels;
    size_t depth;
    size_t events;
};

static PROA_PRINTF(3, 4) int fail_at(struct conversion *c, yaml_mark_t mark, const char *format, ...)
{
    char text[PROA_ERROR_MESSAGE_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    proa_fail(c->err, PROA_ESYNTAX, "YAML, line %zu, column %zu: %s", mark.line + 1, mark.column + 1, text);
    return PROA_ESYNTAX;
}

static int fail_memory(struct conversion *c)
{
    proa_fail(c->err, PROA_ENOMEM, "memory is out");
    return PROA_ENOMEM;
}

static int fail_buf(struct conversion *c, int rc)
{
    if (rc == PROA_ETOOLARGE)
        return proa_fail(c->err, PROA_ETOOLARGE, "YAML: expanded, it is larger than %d bytes", PROA_YAML_BYTES_MAX);
    return fail_memory(c);
}

static int parser_error(struct conversion *c)
{
    yaml_mark_t mark = c->parser.problem_mark;

    if (c->parser.error == YAML_MEMORY_ERROR)
        return fail_memory(c);
    return fail_at(c, mark, "%s", c->parser.problem ? c->parser.problem : "it cannot be read");
}

static bool str_of(const yaml_char_t *c, proa_str *ret)
{
    *ret = proa_str_c((const char *)c);
    return c != NULL;
}

/* -- Keys, separators, anchors ---------------------------------------------------------------------------------- */

static struct level *top(struct conversion *c)
{
    return c->depth ? &c->levels[c->depth - 1] : NULL;
}

static bool at_key(struct conversion *c)
{
    return c->depth && top(c)->is_mapping && !top(c)->at_value;
}

/* Before a node: the comma or colon that separates it. */
static int separate(struct conversion *c)
{
    struct level *level = top(c);
    char separator = '\0';

    if (!level)
        return 0;
    if (level->is_mapping && level->at_value)
        separator = ':';
    else if (level->items > 0)
        separator = ',';
    return separator ? proa_buf_add_char(&c->json, separator) : 0;
}

/* Behind a node: the mapping or sequence goes on. */
static void node_done(struct conversion *c)
{
    struct level *level = top(c);

    if (!level)
        return;
    if (level->is_mapping)
        level->at_value = !level->at_value;
    if (!level->at_value)
        level->items++;
}

static int remember_key(struct conversion *c, size_t from, yaml_mark_t mark)
{
    struct seen_key *seen = proa_vec_push(&c->keys);
    proa_str key = proa_arena_str(c->arena, proa_str_n(c->json.ptr + from, c->json.len - from));

    if (!seen || !key.ptr)
        return fail_memory(c);
    *seen = (struct seen_key){key, mark.line, mark.column};
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    const struct seen_key *x = a, *y = b;
    int order = proa_str_cmp(x->key, y->key);

    if (order != 0)
        return order;
    return x->line != y->line ? (x->line < y->line ? -1 : 1) : (x->column > y->column) - (x->column < y->column);
}

static int check_keys(struct conversion *c, size_t first)
{
    size_t count = c->keys.len - first;
    /* Without a key so far there is no array to point into. */
    struct seen_key *keys = count > 0 ? (struct seen_key *)c->keys.items + first : NULL;

    if (count > 1)
        qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count; i++)
        if (proa_str_eq(keys[i - 1].key, keys[i].key))
            return fail_at(c, (yaml_mark_t){.line = keys[i].line, .column = keys[i].column},
                           "the key " PROA_FMT " is given twice", PROA_ARG(proa_utf8_cut(keys[i].key, 80)));
    c->keys.len = first;
    return 0;
}

/* @param ret_anchor  NULL without a name */
static int new_anchor(struct conversion *c, const yaml_char_t *name, struct anchor **ret_anchor)
{
    struct anchor *anchor = NULL;
    proa_str text;

    if (str_of(name, &text)) {
        /* Names come from outside: an address is a seed that is not known there. */
        if (!c->anchors)
            c->anchors = proa_map_new((uintptr_t)c->arena);
        anchor = proa_arena_new(c->arena, struct anchor);
        if (!c->anchors || !anchor || proa_map_put(c->anchors, text, anchor, NULL) < 0)
            return fail_memory(c);
        anchor->from = c->json.len;
    }
    *ret_anchor = anchor;
    return 0;
}

static void end_anchor(struct conversion *c, struct anchor *anchor, size_t events)
{
    if (!anchor)
        return;
    anchor->to = c->json.len;
    anchor->events = events;
}

static void forget_anchors(struct conversion *c)
{
    proa_map_free(c->anchors);
    c->anchors = NULL;
}

/* -- Nodes ------------------------------------------------------------------------------------------------------ */

static int add_text(struct conversion *c, proa_str text)
{
    return json_add_string(&c->json, text, false);
}

static int scalar_kind(struct conversion *c, const yaml_event_t *event, enum yaml_scalar *ret_kind)
{
    static const char core[] = "tag:yaml.org,2002:";
    proa_str text = proa_str_n((const char *)event->data.scalar.value, event->data.scalar.length), tag;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    enum yaml_scalar kind = yaml_resolve(text);

    *ret_kind = plain ? kind : YAML_TEXT;
    if (!str_of(event->data.scalar.tag, &tag))
        return 0;
    if (proa_str_eq_c(tag, "!")) {
        *ret_kind = YAML_TEXT;
        return 0;
    }
    *ret_kind = kind;
    if (!proa_str_starts_with(tag, proa_str_c(core)))
        return fail_at(c, event->start_mark, "the tag " PROA_FMT " is not supported", PROA_ARG(proa_utf8_cut(tag, 80)));
    tag = proa_str_slice(tag, sizeof core - 1, tag.len);
    if (proa_str_eq_c(tag, "str"))
        *ret_kind = YAML_TEXT;
    else if (proa_str_eq_c(tag, "float") && kind == YAML_INTEGER)
        *ret_kind = YAML_INTEGER;
    else if (!(proa_str_eq_c(tag, "null") && kind == YAML_NULL) &&
             !(proa_str_eq_c(tag, "bool") && (kind == YAML_TRUE || kind == YAML_FALSE)) &&
             !(proa_str_eq_c(tag, "int") && kind == YAML_INTEGER) &&
             !(proa_str_eq_c(tag, "float") && (kind == YAML_FLOAT || kind == YAML_NOT_FINITE)))
        return fail_at(c, event->start_mark, "the value does not fit its tag !!" PROA_FMT,
                       PROA_ARG(proa_utf8_cut(tag, 80)));
    return 0;
}

static int add_scalar(struct conversion *c, const yaml_event_t *event)
{
    proa_str text = proa_str_n((const char *)event->data.scalar.value, event->data.scalar.length);
    enum yaml_scalar kind;
    int rc;

    PROA_TRY(scalar_kind(c, event, &kind));
    if (at_key(c)) {
        if (kind == YAML_TEXT && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && proa_str_eq_c(text, "<<"))
            return fail_at(c, event->start_mark, "merge keys (<<) are not part of YAML 1.2");
        kind = YAML_TEXT;
    }
    switch (kind) {
    case YAML_NULL: rc = proa_buf_add_c(&c->json, "null"); break;
    case YAML_TRUE: rc = proa_buf_add_c(&c->json, "true"); break;
    case YAML_FALSE: rc = proa_buf_add_c(&c->json, "false"); break;
    case YAML_NOT_FINITE: return fail_at(c, event->start_mark, "JSON has no number that is not finite");
    case YAML_INTEGER:
    case YAML_FLOAT: rc = yaml_add_number(&c->json, kind, text); break;
    default: rc = add_text(c, text); break;
    }
    if (rc == PROA_ERANGE)
        return fail_at(c, event->start_mark, "the number does not fit 64 bits");
    return rc < 0 ? fail_buf(c, rc) : 0;
}

static int scalar_event(struct conversion *c, const yaml_event_t *event)
{
    struct anchor *anchor;
    size_t from;
    int rc = separate(c);

    if (rc < 0)
        return fail_buf(c, rc);
    PROA_TRY(new_anchor(c, event->data.scalar.anchor, &anchor));
    from = c->json.len;
    PROA_TRY(add_scalar(c, event));
    if (at_key(c))
        PROA_TRY(remember_key(c, from, event->start_mark));
    end_anchor(c, anchor, 1);
    node_done(c);
    return 0;
}

static int alias_event(struct conversion *c, const yaml_event_t *event)
{
    proa_str name = proa_str_c((const char *)event->data.alias.anchor);
    const struct anchor *anchor = c->anchors ? proa_map_get(c->anchors, name) : NULL;
    size_t len, from;
    int rc = separate(c);

    if (!anchor || anchor->to == 0)
        return fail_at(c, event->start_mark, "the alias *" PROA_FMT " %s", PROA_ARG(proa_utf8_cut(name, 80)),
                       anchor ? "stands within what it names" : "names nothing");
    len = anchor->to - anchor->from;
    c->events += anchor->events;
    if (rc == 0)
        rc = proa_buf_reserve(&c->json, len + 2);
    if (rc < 0)
        return fail_buf(c, rc);
    from = c->json.len;
    if (at_key(c) && c->json.ptr[anchor->from] != '"') {
        if (c->json.ptr[anchor->from] == '{' || c->json.ptr[anchor->from] == '[')
            return fail_at(c, event->start_mark, "a key must be a scalar");
        c->json.ptr[c->json.len++] = '"';
        memcpy(c->json.ptr + c->json.len, c->json.ptr + anchor->from, len);
        c->json.len += len;
        c->json.ptr[c->json.len++] = '"';
    } else {
        memcpy(c->json.ptr + c->json.len, c->json.ptr + anchor->from, len);
        c->json.len += len;
    }
    if (at_key(c))
        PROA_TRY(remember_key(c, from, event->start_mark));
    node_done(c);
    return 0;
}

static int open_event(struct conversion *c, const yaml_event_t *event)
{
    bool is_mapping = event->type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *name = is_mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
    const yaml_char_t *tag = is_mapping ? event->data.mapping_start.tag : event->data.sequence_start.tag;
    struct level level = {.is_mapping = is_mapping, .first_key = c->keys.len, .events_before = c->events};
    proa_str text;
    int rc;

    if (at_key(c))
        return fail_at(c, event->start_mark, "a key must be a scalar");
    if (c->depth == PROA_JSON_DEPTH_DEFAULT)
        return fail_at(c, event->start_mark, "nested deeper than %d levels", PROA_JSON_DEPTH_DEFAULT);
    if (str_of(tag, &text) && !proa_str_eq_c(text, "!") &&
        !proa_str_eq_c(text, is_mapping ? YAML_MAP_TAG : YAML_SEQ_TAG))
        return fail_at(c, event->start_mark, "the tag " PROA_FMT " is not supported here",
                       PROA_ARG(proa_utf8_cut(text, 80)));
    rc = separate(c);
    if (rc < 0)
        return fail_buf(c, rc);
    PROA_TRY(new_anchor(c, name, &level.anchor));
    rc = proa_buf_add_char(&c->json, is_mapping ? '{' : '[');
    c->levels[c->depth++] = level;
    return rc < 0 ? fail_buf(c, rc) : 0;
}

static int close_event(struct conversion *c)
{
    const struct level *level = top(c);
    int rc = proa_buf_add_char(&c->json, level->is_mapping ? '}' : ']');

    if (rc < 0)
        return fail_buf(c, rc);
    if (level->is_mapping)
        PROA_TRY(check_keys(c, level->first_key));
    end_anchor(c, level->anchor, c->events - level->events_before + 1);
    c->depth--;
    node_done(c);
    return 0;
}

static int take_event(struct conversion *c, const yaml_event_t *event)
{
    if (++c->events > PROA_YAML_EVENTS_MAX)
        return proa_fail(c->err, PROA_ETOOLARGE, "YAML: more than %d nodes", PROA_YAML_EVENTS_MAX);
    switch (event->type) {
    case YAML_SCALAR_EVENT: return scalar_event(c, event);
    case YAML_ALIAS_EVENT: return alias_event(c, event);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT: return open_event(c, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return close_event(c);
    default: return 0;
    }
}

/* -- Documents -------------------------------------------------------------------------------------------------- */

static void conversion_done(struct conversion *c)
{
    yaml_parser_delete(&c->parser);
    proa_vec_done(&c->keys);
    forget_anchors(c);
}

static int conversion_init(struct conversion *c, struct proa_arena *arena, proa_str text, struct proa_error *err)
{
    *c = (struct conversion){.arena = arena, .err = err};
    proa_vec_init(&c->keys, sizeof(struct seen_key));
    c->levels = proa_arena_calloc(arena, PROA_JSON_DEPTH_DEFAULT, sizeof *c->levels);
    if (!yaml_parser_initialize(&c->parser) || !c->levels)
        return fail_memory(c);
    yaml_parser_set_input_string(&c->parser, (const unsigned char *)(text.len ? text.ptr : ""), text.len);
    yaml_parser_set_encoding(&c->parser, YAML_UTF8_ENCODING);
    return 0;
}

/* The next document that holds something. @returns 1, 0 at the end of the text, or an error. */
static int next_document(struct conversion *c, proa_str *ret_json, yaml_mark_t *ret_mark)
{
    proa_buf_init(&c->json, c->arena, PROA_YAML_BYTES_MAX);
    forget_anchors(c);
    for (;;) {
        yaml_event_t event;
        bool empty;
        int rc;

        if (!yaml_parser_parse(&c->parser, &event))
            return parser_error(c);
        *ret_mark = event.type == YAML_DOCUMENT_START_EVENT ? event.start_mark : *ret_mark;
        /* A document without a node has an empty plain scalar. */
        empty = event.type == YAML_SCALAR_EVENT && c->depth == 0 && event.data.scalar.length == 0 &&
                event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !event.data.scalar.tag;
        rc = empty ? 0 : take_event(c, &event);
        if (rc == 0 && event.type == YAML_DOCUMENT_END_EVENT && c->json.len > 0)
            rc = 1;
        if (rc == 0 && event.type == YAML_STREAM_END_EVENT)
            rc = 2;
        yaml_event_delete(&event);
        if (rc == 1)
            *ret_json = proa_buf_str(&c->json);
        if (rc != 0)
            return rc == 2 ? 0 : rc;
    }
}

/* JSON is taken as what it is: exactly, faster, and with its escapes of surrogate pairs, which libyaml refuses. */
static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_json(struct proa_arena *arena, proa_str text, proa_str *ret_json)
{
    while (text.len > 0 && is_space(text.ptr[0]))
        text = proa_str_slice(text, 1, text.len);
    while (text.len > 0 && is_space(text.ptr[text.len - 1]))
        text.len--;
    if (text.len == 0 || (text.ptr[0] != '{' && text.ptr[0] != '[') || proa_json_check(text, NULL) < 0)
        return false;
    text = proa_arena_str(arena, text);
    if (text.ptr)
        *ret_json = text;
    return text.ptr != NULL;
}

int proa_yaml_to_json(struct proa_arena *arena, proa_str text, proa_str *ret_json, struct proa_error *err)
{
    struct conversion c PROA_CLEANUP(conversion_done) = {0};
    yaml_mark_t mark = {0};
    proa_str json = PROA_STR("null"), more;
    int rc;

    if (is_json(arena, text, ret_json))
        return 0;
    PROA_TRY(conversion_init(&c, arena, text, err));
    rc = next_document(&c, &json, &mark);
    if (rc > 0)
        rc = next_document(&c, &more, &mark);
    if (rc > 0)
        return fail_at(&c, mark, "a second document, where only one may stand");
    if (rc == 0)
        *ret_json = json;
    return rc;
}

int proa_yaml_documents(struct proa_arena *arena, proa_str text, proa_str **ret_json, size_t *ret_count,
                        struct proa_error *err)
{
    struct conversion c PROA_CLEANUP(conversion_done) = {0};
    yaml_mark_t mark = {0};
    size_t count = 0, cap = 0;
    proa_str *documents = proa_arena_alloc(arena, sizeof *documents);
    int rc;

    if (!documents)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (is_json(arena, text, documents)) {
        *ret_json = documents;
        *ret_count = 1;
        return 0;
    }
    PROA_TRY(conversion_init(&c, arena, text, err));
    for (cap = 1;; count++) {
        if (count == cap) {
            documents = proa_arena_grow(arena, documents, cap * sizeof *documents, 2 * cap * sizeof *documents);
            cap *= 2;
        }
        if (!documents)
            return fail_memory(&c);
        rc = next_document(&c, &documents[count], &mark);
        PROA_TRY(rc);
        if (rc == 0)
            break;
    }
    *ret_json = documents;
    *ret_count = count;
    return 0;
}

int proa_yaml_read_type(struct proa_arena *arena, proa_str text, unsigned flags, const struct proa_type *type,
                        void *ret_value, struct proa_error *err)
{
    proa_str json = {0};

    PROA_TRY(proa_yaml_to_json(arena, text, &json, err));
    return proa_json_read_type(arena, json, flags, type, ret_value, err);
}

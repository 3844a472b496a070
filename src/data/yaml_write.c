/* JSON as YAML in block style, for people; whatever could be read as something else is quoted. */
#include "data_internal.h"
#include "yaml_scalar.h"

#include <proa/yaml.h>
#include <yyjson.h>

enum {
    /* A simple key has at most 1024 characters (YAML 1.2, section 7.4.2); longer ones take the form "? key". */
    SIMPLE_KEY_MAX = 512,
    INDENT = 2,
};

struct output {
    struct proa_buf *out;
    struct proa_arena *arena;
};

/* Words that YAML 1.1 readers take for booleans. */
static bool is_old_boolean(proa_str text)
{
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off"};

    for (size_t i = 0; i < PROA_COUNT(words); i++)
        if (proa_str_eq_nocase(text, proa_str_c(words[i])))
            return true;
    return false;
}

static bool is_plain(proa_str text)
{
    if (text.len == 0 || yaml_resolve(text) != YAML_TEXT || is_old_boolean(text))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/';
        bool inner = i > 0 && ((c >= '0' && c <= '9') || c == '-' || c == '.' || (c == ' ' && i + 1 < text.len));

        if (!letter && !inner)
            return false;
    }
    return true;
}

/* Code points that libyaml refuses or takes for line ends when they stand as they are. */
static bool needs_escape(uint32_t code)
{
    return (code >= 0x7f && code <= 0xa0) || code == 0x2028 || code == 0x2029 || code == 0xfeff || code == 0xfffe ||
           code == 0xffff;
}

/* As JSON's strings, which YAML's double quotes contain. */
static int add_quoted(struct proa_buf *out, proa_str text)
{
    size_t plain;
    struct proa_buf json = {0};
    int rc = json_add_string(&json, text, false);
    proa_str rest = proa_buf_str(&json);

    for (plain = 0; rc == 0 && plain < rest.len;) {
        uint32_t code;
        size_t len = proa_utf8_next(proa_str_slice(rest, plain, rest.len), &code);

        if (len > 0 && !needs_escape(code)) {
            plain += len;
            continue;
        }
        rc = proa_buf_add(out, proa_str_slice(rest, 0, plain));
        if (rc == 0)
            rc = proa_buf_printf(out, "\\u%04x", (unsigned)code);
        rest = proa_str_slice(rest, plain + (len ? len : 1), rest.len);
        plain = 0;
    }
    if (rc == 0)
        rc = proa_buf_add(out, rest);
    proa_buf_done(&json);
    return rc;
}

static int add_text(struct proa_buf *out, proa_str text)
{
    return is_plain(text) ? proa_buf_add(out, text) : add_quoted(out, text);
}

static int add_indent(struct output *o, size_t indent)
{
    for (size_t i = 0; i < indent; i++)
        PROA_TRY(proa_buf_add_char(o->out, ' '));
    return 0;
}

static int add_node(struct output *o, yyjson_val *value, size_t indent, bool inline_first);

/* Behind a key or dash. */
static int add_nested(struct output *o, yyjson_val *value, size_t indent, bool behind_dash)
{
    bool empty = yyjson_is_ctn(value) && yyjson_get_len(value) == 0;

    if (!yyjson_is_ctn(value) || empty) {
        PROA_TRY(proa_buf_add_char(o->out, ' '));
        return add_node(o, value, indent, true);
    }
    PROA_TRY(proa_buf_add_char(o->out, behind_dash ? ' ' : '\n'));
    return add_node(o, value, indent, behind_dash);
}

static int add_mapping(struct output *o, yyjson_val *object, size_t indent, bool inline_first)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(object);
    bool first = true;
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) {
        bool is_long = yyjson_get_len(key) > SIMPLE_KEY_MAX;

        if (!first || !inline_first)
            PROA_TRY(add_indent(o, indent));
        first = false;
        if (is_long)
            PROA_TRY(proa_buf_add_c(o->out, "? "));
        PROA_TRY(add_text(o->out, json_string(key)));
        if (is_long) {
            PROA_TRY(proa_buf_add_char(o->out, '\n'));
            PROA_TRY(add_indent(o, indent));
        }
        PROA_TRY(proa_buf_add_char(o->out, ':'));
        PROA_TRY(add_nested(o, yyjson_obj_iter_get_val(key), indent + INDENT, false));
    }
    return 0;
}

static int add_sequence(struct output *o, yyjson_val *list, size_t indent, bool inline_first)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    bool first = true;
    yyjson_val *item;

    while ((item = yyjson_arr_iter_next(&it))) {
        if (!first || !inline_first)
            PROA_TRY(add_indent(o, indent));
        first = false;
        PROA_TRY(proa_buf_add_char(o->out, '-'));
        PROA_TRY(add_nested(o, item, indent + INDENT, true));
    }
    return 0;
}

/* `inline_first`: the line's indent stands there already. */
static int add_node(struct output *o, yyjson_val *value, size_t indent, bool inline_first)
{
    if (yyjson_is_obj(value) && yyjson_obj_size(value) > 0)
        return add_mapping(o, value, indent, inline_first);
    if (yyjson_is_arr(value) && yyjson_arr_size(value) > 0)
        return add_sequence(o, value, indent, inline_first);
    if (yyjson_is_str(value))
        PROA_TRY(add_text(o->out, json_string(value)));
    else
        PROA_TRY(json_add_value(o->out, o->arena, value));
    return proa_buf_add_char(o->out, '\n');
}

int proa_json_to_yaml(proa_str json, struct proa_buf *out, struct proa_error *err)
{
    struct json_text text PROA_CLEANUP(json_text_done) = {0};
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct rules rules = {.arena = &arena, .err = err};
    struct output o = {out, &arena};
    int rc;

    proa_arena_init(&arena, NULL, 0);
    PROA_TRY(json_parse(&text, &arena, json, err));
    json_check_tree(&rules, text.root, NULL, 1);
    PROA_TRY(rules_outcome(&rules));
    rc = add_node(&o, text.root, 0, true);
    return rc < 0 ? proa_fail(err, rc, "the YAML could not be written") : 0;
}

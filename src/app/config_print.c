/* What people see of configuration: --help and --print-config. */
#include "config_table.h"

#include <proa/json.h>
#include <string.h>

enum { SECRET_DEPTH_MAX = 8, HELP_COLUMNS = 80, HELP_INDENT = 6 };

static const char *kind_text(const struct proa_field *field)
{
    if (field->container == PROA_DICTIONARY)
        return "object";
    if (field->container == PROA_LIST)
        return "a,b,…";
    switch (field->kind) {
    case PROA_F64: return "number";
    case PROA_TEXT: return "text";
    case PROA_ENUMERATION: return "name";
    case PROA_DURATION: return "duration";
    case PROA_QUANTITY: return "bytes";
    case PROA_TIMESTAMP: return "time";
    default: return field->kind >= PROA_I8 && field->kind <= PROA_U64 ? "integer" : "value";
    }
}

/* A paragraph behind an indentation. */
struct paragraph {
    struct proa_buf *out;
    size_t column;
};

static size_t columns_of(proa_str text)
{
    size_t columns = 0;

    for (size_t i = 0; i < text.len; i++)
        columns += ((unsigned char)text.ptr[i] & 0xc0) != 0x80; /* not within a character */
    return columns;
}

/* What stays together, behind a space or on a line of its own. */
static void help_word(struct paragraph *paragraph, proa_str word)
{
    if (paragraph->column > HELP_INDENT && paragraph->column + 1 + columns_of(word) > HELP_COLUMNS) {
        proa_buf_printf(paragraph->out, "\n%*s", HELP_INDENT, "");
        paragraph->column = HELP_INDENT;
    }
    proa_buf_add_char(paragraph->out, ' ');
    proa_buf_add(paragraph->out, word);
    paragraph->column += 1 + columns_of(word);
}

static void help_words(struct paragraph *paragraph, proa_str text)
{
    proa_str word;

    while (proa_str_split(&text, ' ', &word))
        help_word(paragraph, word);
}

static void help_head(struct proa_buf *out, struct proa_buf *scratch, const struct config_leaf *leaf)
{
    struct paragraph paragraph = {.out = out};
    bool is_secret = leaf->field->secret;

    scratch->len = 0;
    if (config_is_switch(leaf))
        proa_buf_printf(scratch, "  --%s, --no-%s", leaf->flag, leaf->flag);
    else
        proa_buf_printf(scratch, "  --%s <%s>", leaf->flag, kind_text(leaf->field));
    proa_buf_add(out, proa_buf_str(scratch));
    paragraph.column = columns_of(proa_buf_str(scratch));
    scratch->len = 0;
    proa_buf_printf(scratch, "[%s%c", leaf->env, is_secret ? ',' : ']');
    if (paragraph.column + sizeof "   " - 1 + scratch->len <= HELP_COLUMNS) {
        proa_buf_add_c(out, "  ");
        paragraph.column += 2;
    }
    help_word(&paragraph, proa_buf_str(scratch));
    scratch->len = 0;
    proa_buf_printf(scratch, "or %s_FILE with a path]", leaf->env);
    if (is_secret)
        help_word(&paragraph, proa_buf_str(scratch));
    proa_buf_add_char(out, '\n');
}

/* Text without its quotes; of an empty one nothing needs to be said. */
static void help_default(struct paragraph *paragraph, struct proa_buf *scratch, proa_str json)
{
    bool is_text = json.len >= 2 && json.ptr[0] == '"';

    if (is_text)
        json = proa_str_slice(json, 1, json.len - 1);
    if (json.len == 0)
        return;
    scratch->len = 0;
    proa_buf_printf(scratch, "Default: " PROA_FMT ".", PROA_ARG(json));
    help_word(paragraph, proa_buf_str(scratch));
}

static void help_text(struct proa_buf *out, struct proa_buf *scratch, const struct config_leaf *leaf)
{
    const struct proa_field *field = leaf->field;
    struct paragraph paragraph = {out, HELP_INDENT};

    scratch->len = 0;
    if (field->doc)
        proa_buf_printf(scratch, "%s.", field->doc);
    for (uint32_t i = 0; field->kind == PROA_ENUMERATION && i < field->names->count; i++)
        proa_buf_printf(scratch, "%s" PROA_FMT "%s",
                        i              ? ", "
                        : scratch->len ? " One of "
                                       : "One of ",
                        PROA_ARG(field->names->values[i].name), i + 1 == field->names->count ? "." : "");
    if (scratch->len == 0 && !field->default_json && field->optional)
        return;
    proa_buf_printf(out, "%*s", HELP_INDENT, "");
    if (scratch->len > 0)
        help_words(&paragraph, proa_buf_str(scratch));
    if (field->default_json)
        help_default(&paragraph, scratch, proa_str_c(field->default_json));
    else if (!field->optional)
        help_word(&paragraph, PROA_STR("Required."));
    proa_buf_add_char(out, '\n');
}

int proa_config_help(struct proa_buf *out, const struct proa_config_part *parts, size_t count)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_buf scratch;
    struct config_table table;

    proa_arena_init(&arena, NULL, 0);
    proa_buf_init(&scratch, &arena, 0);
    PROA_TRY(config_table_make(&arena, parts, count, &table, NULL));
    for (size_t i = 0; i < table.count; i++) {
        help_head(out, &scratch, &table.leaves[i]);
        help_text(out, &scratch, &table.leaves[i]);
    }
    return out->error ? out->error : scratch.error;
}

static const char *const origin_names[] = {
    [CONFIG_DEFAULT] = "default", [CONFIG_FILE] = "file", [CONFIG_ENVIRONMENT] = "environment", [CONFIG_FLAG] = "flag"};

/* Opens the objects on the way to `path` that the leaf before did not open. @returns the leaf's depth. */
static size_t open_objects(struct proa_buf *out, const char *before, const char *path)
{
    size_t depth = 0, name = 0;
    bool is_common = true;

    for (size_t i = 0; path[i]; i++) {
        is_common = is_common && before[i] == path[i]; /* `before` is not read behind its end */
        if (path[i] != '.')
            continue;
        if (!is_common)
            proa_buf_printf(out, "%*s%.*s:\n", (int)depth * 2, "", (int)(i - name), path + name);
        depth++;
        name = i + 1;
    }
    return depth;
}

/* Itself, or a member of it at some depth. */
static bool has_secret(const struct proa_field *field, int depth)
{
    if (field->secret || field->kind != PROA_OBJECT)
        return field->secret;
    if (depth == SECRET_DEPTH_MAX)
        return true; /* of a type that holds itself, say */
    for (uint32_t i = 0; i < field->type->fields_count; i++)
        if (has_secret(&field->type->fields[i], depth + 1))
            return true;
    return false;
}

/* A URL's password is one, also of a setting that should not have any. */
static bool has_user_information(const struct config_leaf *leaf)
{
    const struct proa_field *field = leaf->field;
    proa_str text;
    ptrdiff_t at;

    if (field->kind != PROA_TEXT || field->container != PROA_SINGLE || field->optional)
        return false;
    text = *(const proa_str *)(const void *)((const char *)leaf->struct_ptr + field->value_offset);
    at = proa_str_find(text, PROA_STR("://"));
    if (at < 0)
        return false;
    for (size_t i = (size_t)at + 3; i < text.len && !strchr("/?#", text.ptr[i]); i++)
        if (text.ptr[i] == '@')
            return true;
    return false;
}

/* What holds a secret is a comment: "***" would be read back as its value. A default is no secret, --help has it. */
static int print_leaf(struct proa_buf *out, const char *before, const struct config_leaf *leaf)
{
    size_t depth = open_objects(out, before, leaf->path);
    bool is_url = has_user_information(leaf);
    bool is_masked = is_url || (leaf->origin != CONFIG_DEFAULT && has_secret(leaf->field, 0));

    proa_buf_printf(out, "%*s%s" PROA_FMT ": ", (int)depth * 2, "", is_masked ? "# " : "",
                    PROA_ARG(proa_field_name(leaf->field)));
    if (is_url)
        proa_buf_add_c(out, "\"***\"");
    else
        PROA_TRY(proa_json_write_field(out, is_masked ? PROA_JSON_MASKED : 0, leaf->field, leaf->struct_ptr));
    proa_buf_printf(out, "  # %s", origin_names[leaf->origin]);
    if (leaf->given && leaf->origin >= CONFIG_ENVIRONMENT)
        proa_buf_printf(out, " %s%s", leaf->origin == CONFIG_FLAG ? "--" : "", leaf->given);
    return proa_buf_add_char(out, '\n');
}

/* How many bytes of two paths are objects in common. */
static size_t common_objects(const char *a, const char *b)
{
    size_t common = 0;

    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '.')
            common = i + 1;
    return common;
}

/* Brings the members of an object that several parts share together, so that each object is opened once. */
static void group(struct config_table *table)
{
    for (size_t i = 1; i < table->count; i++) {
        struct config_leaf leaf = table->leaves[i];
        size_t best = 0, place = i;

        for (size_t j = 0; j < i; j++) {
            size_t common = common_objects(table->leaves[j].path, leaf.path);

            if (common > 0 && common >= best) {
                best = common;
                place = j + 1;
            }
        }
        memmove(&table->leaves[place + 1], &table->leaves[place], (i - place) * sizeof leaf);
        table->leaves[place] = leaf;
    }
}

int proa_config_print(struct proa_buf *out, const struct proa_config_source *source,
                      const struct proa_config_part *parts, size_t count)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct config_table table;
    struct config_reading reading = {.arena = &arena, .source = source, .table = &table, .only_origins = true};
    const char *before = "";

    proa_arena_init(&arena, NULL, 0);
    PROA_TRY(config_table_make(&arena, parts, count, &table, NULL));
    PROA_TRY(config_read_sources(&reading));
    group(&table);
    for (size_t i = 0; i < table.count; i++) {
        PROA_TRY(print_leaf(out, before, &table.leaves[i]));
        before = table.leaves[i].path;
    }
    return out->error;
}

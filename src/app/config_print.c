/* What people see of configuration: --help and --print-config. */
#include "config_walk.h"

#include <proa/json.h>
#include <stdio.h>

static const char *kind_text(const struct proa_field *field)
{
    if (field->container != PROA_SINGLE)
        return "list";
    switch (field->kind) {
    case PROA_BOOLEAN: return "";
    case PROA_F64: return "number";
    case PROA_TEXT: return "text";
    case PROA_ENUMERATION: return "name";
    case PROA_DURATION: return "duration";
    case PROA_QUANTITY: return "bytes";
    case PROA_TIMESTAMP: return "time";
    default: return field->kind >= PROA_I8 && field->kind <= PROA_U64 ? "integer" : "value";
    }
}

static int visit_help(void *arg, const struct config_leaf *leaf)
{
    struct proa_buf *out = arg;
    const struct proa_field *field = leaf->field;
    const char *kind = kind_text(field);

    proa_buf_printf(out, "  --%s%s%s%s\n", leaf->flag, *kind ? " <" : "", kind, *kind ? ">" : "");
    proa_buf_add_c(out, "        ");
    if (field->doc)
        proa_buf_printf(out, "%s. ", field->doc);
    if (field->kind == PROA_ENUMERATION) {
        proa_buf_add_c(out, "One of");
        for (uint32_t i = 0; i < field->names->count; i++)
            proa_buf_printf(out, "%s " PROA_FMT, i ? "," : "", PROA_ARG(field->names->values[i].name));
        proa_buf_add_c(out, ". ");
    }
    if (field->default_json)
        proa_buf_printf(out, "Default %s. ", field->default_json);
    proa_buf_printf(out, "[%s]\n", leaf->env);
    return 0;
}

int proa_config_help(struct proa_buf *out, const struct proa_config_part *parts, size_t count)
{
    PROA_TRY(config_walk(parts, count, visit_help, out));
    return out->error;
}

struct print {
    struct proa_buf *out;
    struct proa_arena *arena;
    const struct proa_config_source *source;
    proa_str json;
    char branch[CONFIG_NAME_MAX]; /* the objects that are open */
};

static const char *origin(struct print *print, const struct config_leaf *leaf)
{
    char file_name[CONFIG_NAME_MAX + 8];
    proa_str value;

    snprintf(file_name, sizeof file_name, "%s_FILE", leaf->env);
    if (config_flag(print->source, leaf, &value))
        return "flag";
    if (config_env(print->source->env, leaf->env) || (leaf->field->secret && config_env(print->source->env, file_name)))
        return "environment";
    if (config_file_has(print->arena, print->json, leaf->path))
        return "file";
    return "default";
}

/* Opens the objects on the way to a leaf that are not open yet. @returns the leaf's depth. */
static size_t open_branches(struct print *print, proa_str path)
{
    size_t depth = 0;
    char so_far[CONFIG_NAME_MAX];

    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] != '.')
            continue;
        snprintf(so_far, sizeof so_far, PROA_FMT ".", (int)i, path.ptr);
        if (!proa_str_starts_with(proa_str_c(print->branch), proa_str_c(so_far))) {
            size_t from = i;

            while (from > 0 && path.ptr[from - 1] != '.')
                from--;
            proa_buf_printf(print->out, "%*s" PROA_FMT ":\n", (int)depth * 2, "", (int)(i - from), path.ptr + from);
            snprintf(print->branch, sizeof print->branch, "%s", so_far);
        }
        depth++;
    }
    if (depth == 0)
        print->branch[0] = '\0';
    return depth;
}

static int visit_print(void *arg, const struct config_leaf *leaf)
{
    struct print *print = arg;
    size_t depth = open_branches(print, proa_str_c(leaf->path));

    proa_buf_printf(print->out, "%*s" PROA_FMT ": ", (int)depth * 2, "", PROA_ARG(proa_field_name(leaf->field)));
    if (leaf->field->secret)
        proa_buf_add_c(print->out, "\"***\"");
    else
        PROA_TRY(proa_json_write_field(print->out, 0, leaf->field, leaf->struct_ptr));
    proa_buf_printf(print->out, "  # %s\n", origin(print, leaf));
    return 0;
}

int proa_config_print(struct proa_buf *out, const struct proa_config_source *source,
                      const struct proa_config_part *parts, size_t count)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct print print = {.out = out, .arena = &arena, .source = source};

    proa_arena_init(&arena, NULL, 0);
    PROA_TRY(config_file_json(&arena, source, &print.json, NULL));
    PROA_TRY(config_walk(parts, count, visit_print, &print));
    return out->error;
}

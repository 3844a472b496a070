/* Loading configuration: defaults, then the file, then the environment, then flags. All mistakes are collected. */
#include <proa/config.h>

#include "config_walk.h"
#include <errno.h>
#include <fcntl.h>
#include <proa/json.h>
#include <stdio.h>
#include <unistd.h>

enum { SECRET_FILE_MAX = 64 * 1024 };

struct load {
    struct proa_arena *arena;
    const struct proa_config_source *source;
    const struct proa_config_part *parts;
    size_t count;
    struct proa_error *err;
    bool failed;
};

/* Adds what one setting's error says to the list, naming where the value came from. */
static void mistake(struct load *load, const char *where, const char *name, const struct proa_error *why)
{
    load->failed = true;
    proa_error_add_field(load->err, PROA_EVALIDATION, proa_str_c(name), why->fields ? why->fields->code.ptr : "invalid",
                         "%s %s: %s", where, name, why->fields ? why->fields->detail.ptr : why->message);
}

static void unknown(struct load *load, const char *where, const char *prefix, proa_str name, enum config_name by)
{
    char nearest[CONFIG_NAME_MAX];

    load->failed = true;
    config_nearest(load->parts, load->count, by, name, nearest);
    if (nearest[0])
        proa_error_add_field(load->err, PROA_EVALIDATION, name, "unknown",
                             "%s %s" PROA_FMT " is not known; did you mean %s%s?", where, prefix, PROA_ARG(name),
                             prefix, nearest);
    else
        proa_error_add_field(load->err, PROA_EVALIDATION, name, "unknown", "%s %s" PROA_FMT " is not known", where,
                             prefix, PROA_ARG(name));
}

static void from_text(struct load *load, const struct config_leaf *leaf, proa_str text, const char *where,
                      const char *name)
{
    struct proa_error why = {.arena = load->arena};

    /* Text behind settings stays for the life of the program, with a NUL behind it. */
    text = proa_arena_str(load->arena, text);
    if (proa_field_from_text(load->arena, leaf->field, text, proa_str_c(leaf->path), leaf->struct_ptr, &why) < 0)
        mistake(load, where, name, &why);
}

/* The file. */
static bool is_branch(const struct load *load, const char *path);
static void load_object(struct load *load, proa_str json, const char *prefix, int depth);

static void load_member(struct load *load, const struct config_member *member, const char *prefix, int depth)
{
    struct proa_error why = {.arena = load->arena};
    struct config_leaf leaf;
    char path[CONFIG_NAME_MAX];
    int len = snprintf(path, sizeof path, "%s%s" PROA_FMT, prefix, *prefix ? "." : "", PROA_ARG(member->key));

    if (len < 0 || len >= CONFIG_NAME_MAX) {
        unknown(load, load->source->file_name, "", proa_utf8_cut(member->key, 64), CONFIG_BY_PATH);
    } else if (config_find(load->parts, load->count, CONFIG_BY_PATH, proa_str_c(path), &leaf)) {
        if (proa_json_read_field(load->arena, member->json, 0, leaf.field, leaf.struct_ptr, &why) < 0)
            mistake(load, load->source->file_name, path, &why);
    } else if (depth < CONFIG_DEPTH_MAX && is_branch(load, path)) {
        load_object(load, member->json, path, depth + 1);
    } else {
        unknown(load, load->source->file_name, "", proa_str_c(path), CONFIG_BY_PATH);
    }
}

static void load_object(struct load *load, proa_str json, const char *prefix, int depth)
{
    struct proa_error why = {.arena = load->arena};
    struct config_member *members;
    size_t count;

    if (config_members(load->arena, json, &members, &count, &why) < 0) {
        mistake(load, load->source->file_name, *prefix ? prefix : "top level", &why);
        return;
    }
    for (size_t i = 0; i < count; i++)
        load_member(load, &members[i], prefix, depth);
}

static int visit_branch(void *arg, const struct config_leaf *leaf)
{
    proa_str path = proa_str_c(arg);

    return proa_str_starts_with(proa_str_c(leaf->path), path) && leaf->path[path.len] == '.';
}

static bool is_branch(const struct load *load, const char *path)
{
    return config_walk(load->parts, load->count, visit_branch, (void *)path) == 1;
}

/* The environment. */
static bool read_secret_file(struct load *load, const char *path, proa_str *ret_text, struct proa_error *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = proa_arena_alloc(load->arena, SECRET_FILE_MAX);
    ssize_t len = fd >= 0 && text ? read(fd, text, SECRET_FILE_MAX) : -1;

    if (len < 0)
        proa_fail_errno(why, errno, "%s", path);
    if (fd >= 0)
        close(fd);
    if (len < 0)
        return false;
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    *ret_text = proa_str_n(text, (size_t)len);
    return true;
}

static int visit_env(void *arg, const struct config_leaf *leaf)
{
    struct load *load = arg;
    struct proa_error why = {.arena = load->arena};
    const char *value = config_env(load->source->env, leaf->env);
    char name[CONFIG_NAME_MAX + 8];
    proa_str text;

    if (value) {
        from_text(load, leaf, proa_str_c(value), "environment variable", leaf->env);
        return 0;
    }
    snprintf(name, sizeof name, "%s_FILE", leaf->env);
    value = leaf->field->secret ? config_env(load->source->env, name) : NULL;
    if (!value)
        return 0;
    if (read_secret_file(load, value, &text, &why))
        from_text(load, leaf, text, "environment variable", name);
    else
        mistake(load, "environment variable", name, &why);
    return 0;
}

/* Flags. */
static bool is_boolean(const struct config_leaf *leaf)
{
    return leaf->field->kind == PROA_BOOLEAN && leaf->field->container == PROA_SINGLE;
}

/* Takes the flag at argv[at]. @returns how many arguments it used. */
static int load_flag(struct load *load, int at)
{
    proa_str arg = proa_str_c(load->source->argv[at]);
    proa_str name = proa_str_slice(arg, 2, arg.len);
    ptrdiff_t equals = proa_str_find_char(name, '=');
    proa_str value = {NULL, 0};
    struct config_leaf leaf;
    struct proa_error why = {.arena = load->arena};

    if (equals >= 0) {
        value = proa_str_slice(name, (size_t)equals + 1, name.len);
        name = proa_str_slice(name, 0, (size_t)equals);
    }
    if (config_find(load->parts, load->count, CONFIG_BY_FLAG, name, &leaf)) {
        if (!value.ptr && is_boolean(&leaf))
            value = PROA_STR("true");
        if (value.ptr) {
            from_text(load, &leaf, value, "flag", leaf.flag);
            return 1;
        }
        if (at + 1 < load->source->argc) {
            from_text(load, &leaf, proa_str_c(load->source->argv[at + 1]), "flag", leaf.flag);
            return 2;
        }
        proa_fail(&why, PROA_EVALIDATION, "a value must follow");
        mistake(load, "flag", leaf.flag, &why);
        return 1;
    }
    if (proa_str_starts_with(name, PROA_STR("no-")) && !value.ptr &&
        config_find(load->parts, load->count, CONFIG_BY_FLAG, proa_str_slice(name, 3, name.len), &leaf) &&
        is_boolean(&leaf)) {
        from_text(load, &leaf, PROA_STR("false"), "flag", leaf.flag);
        return 1;
    }
    unknown(load, "flag", "--", name, CONFIG_BY_FLAG);
    return 1;
}

static void load_flags(struct load *load)
{
    for (int i = 1; i < load->source->argc;) {
        proa_str arg = proa_str_c(load->source->argv[i]);

        if (proa_str_starts_with(arg, PROA_STR("--")) && arg.len > 2) {
            i += load_flag(load, i);
            continue;
        }
        load->failed = true;
        proa_error_add_field(load->err, PROA_EVALIDATION, arg, "unknown", "argument " PROA_FMT " is not known",
                             PROA_ARG(arg));
        i++;
    }
}

int proa_config_load(struct proa_arena *arena, const struct proa_config_source *source,
                     const struct proa_config_part *parts, size_t count, struct proa_error *err)
{
    struct load load = {.arena = arena, .source = source, .parts = parts, .count = count, .err = err};
    proa_str json;

    for (size_t i = 0; i < count; i++)
        PROA_TRY(proa_type_defaults(arena, parts[i].type, parts[i].value, err));
    PROA_TRY(config_file_json(arena, source, &json, err));
    load_object(&load, json, "", 0);
    (void)config_walk(parts, count, visit_env, &load);
    load_flags(&load);
    if (load.failed)
        return PROA_EVALIDATION;
    for (size_t i = 0; i < count; i++)
        PROA_TRY(proa_validate_type(parts[i].type, parts[i].value, err));
    return 0;
}

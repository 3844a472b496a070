/* Reading settings from the file, the environment and flags. A mistake is written down and the reading goes on, so that all are told
 * at once. */
#include "config_table.h"

#include <errno.h>
#include <fcntl.h>
#include <proa/json.h>
#include <proa/yaml.h>
#include <unistd.h>

enum { SECRET_FILE_MAX = 64 * 1024 };

/* Adds what one setting's error says to the list, naming the source and the name there. */
static void mistake(struct config_reading *reading, const char *where, const char *name, const struct proa_error *why)
{
    const struct proa_error_field *field = why->fields;

    reading->failed = true;
    if (!field)
        proa_error_add_field(reading->err, PROA_EVALIDATION, proa_str_c(name), "invalid", "%s%s: %s", where, name,
                             why->message);
    for (; field; field = field->next)
        proa_error_add_field(reading->err, PROA_EVALIDATION, proa_str_c(name), field->code.ptr, "%s%s: " PROA_FMT,
                             where, name, PROA_ARG(field->detail));
}

static const char *file_name(const struct config_reading *reading)
{
    return reading->source->file_name ? reading->source->file_name : "the file";
}

static void unknown(struct config_reading *reading, const char *where, bool is_flag, proa_str name)
{
    proa_str nearest;

    if (reading->only_origins)
        return;
    reading->failed = true;
    nearest = config_nearest(reading->table, is_flag, name);
    if (nearest.len > 0)
        proa_error_add_field(reading->err, PROA_EVALIDATION, name, "unknown",
                             "%s" PROA_FMT " is not known; did you mean %s" PROA_FMT "?", where, PROA_ARG(name),
                             is_flag ? "--" : "", PROA_ARG(nearest));
    else
        proa_error_add_field(reading->err, PROA_EVALIDATION, name, "unknown", "%s" PROA_FMT " is not known", where,
                             PROA_ARG(name));
}

static void give(struct config_leaf *leaf, enum config_origin origin, const char *name)
{
    leaf->origin = origin;
    leaf->given = name;
}

static void from_text(struct config_reading *reading, struct config_leaf *leaf, proa_str text, const char *where,
                      const char *name)
{
    struct proa_error why = {.arena = reading->arena};

    if (reading->only_origins)
        return;
    if (proa_field_from_text(reading->arena, leaf->field, text, proa_str_c(leaf->path), leaf->struct_ptr, &why) < 0)
        mistake(reading, where, name, &why);
}

/* The file. */

/* An object of any members, each as JSON text; wrapped so that a description can read it. */
struct any_object {
    PROA_MAP_OF(proa_str) members;
};
PROA_DESCRIBE(any_object, (members, map(raw)));

static bool is_branch(const struct config_table *table, const char *path)
{
    size_t len = strlen(path);

    for (size_t i = 0; i < table->count; i++)
        if (strncmp(table->leaves[i].path, path, len) == 0 && table->leaves[i].path[len] == '.')
            return true;
    return false;
}

static int read_object(struct config_reading *reading, proa_str json, const char *prefix, int depth);

static int read_member(struct config_reading *reading, proa_str key, proa_str json, const char *prefix, int depth)
{
    const char *where = proa_arena_printf(reading->arena, "%s: ", file_name(reading)).ptr;
    const char *path =
        proa_arena_printf(reading->arena, "%s%s" PROA_FMT, prefix, *prefix ? "." : "", PROA_ARG(key)).ptr;
    struct proa_error why = {.arena = reading->arena};
    struct config_leaf *leaf;

    if (!where || !path)
        return proa_fail(reading->err, PROA_ENOMEM, "memory is out");
    leaf = config_by_path(reading->table, proa_str_c(path));
    if (leaf) {
        give(leaf, CONFIG_FILE, leaf->path);
        if (!reading->only_origins &&
            proa_json_read_field(reading->arena, json, 0, leaf->field, leaf->struct_ptr, &why) < 0)
            mistake(reading, where, path, &why);
        return 0;
    }
    if (depth < CONFIG_DEPTH_MAX && is_branch(reading->table, path))
        return read_object(reading, json, path, depth + 1);
    unknown(reading, where, false, proa_str_c(path));
    return 0;
}

static int read_object(struct config_reading *reading, proa_str json, const char *prefix, int depth)
{
    const char *where = proa_arena_printf(reading->arena, "%s: ", file_name(reading)).ptr;
    proa_str wrapped = proa_arena_printf(reading->arena, "{\"members\":" PROA_FMT "}", PROA_ARG(json));
    struct proa_error why = {.arena = reading->arena};
    struct any_object object;

    if (!wrapped.ptr || !where)
        return proa_fail(reading->err, PROA_ENOMEM, "memory is out");
    if (proa_str_eq_c(json, "null")) /* "http:" with nothing below it */
        return 0;
    if (proa_json_read(reading->arena, wrapped, 0, &any_object_type, &object, &why) < 0) {
        proa_fail(&why, PROA_EVALIDATION, "must be a mapping");
        why.fields = NULL;
        mistake(reading, where, *prefix ? prefix : "the file", &why);
        return 0;
    }
    for (size_t i = 0; i < object.members.len; i++)
        PROA_TRY(read_member(reading, object.members.ptr[i].key, object.members.ptr[i].value, prefix, depth));
    return 0;
}

static int read_file(struct config_reading *reading)
{
    struct proa_error why = {.arena = reading->arena};
    proa_str json;
    int rc;

    if (!reading->source->file.ptr)
        return 0;
    rc = proa_yaml_to_json(reading->arena, reading->source->file, &json, &why);
    if (rc == PROA_ENOMEM)
        return proa_fail(reading->err, rc, "memory is out");
    if (rc < 0) {
        mistake(reading, "", file_name(reading), &why);
        return 0;
    }
    return read_object(reading, json, "", 0);
}

/* The environment. An empty variable counts as not set. */

/* Of a name: its first bytes and its length. Most are told apart by it. */
static uint64_t look_of(const char *name, size_t len)
{
    uint64_t look = 0;

    memcpy(&look, name, len < sizeof look ? len : sizeof look);
    return look ^ (uint64_t)len << 56;
}

static uint32_t look_bit(uint64_t look)
{
    return (uint32_t)((look * UINT64_C(0x9e3779b97f4a7c15)) >> 32) % CONFIG_ENV_BITS;
}

static const char *env_value(const struct config_reading *reading, const char *name)
{
    size_t len = strlen(name);
    uint64_t look = look_of(name, len);
    uint32_t bit = look_bit(look);

    if (!(reading->env_bits[bit / 64] & UINT64_C(1) << bit % 64))
        return NULL; /* as for most settings */
    for (char *const *variable = reading->source->env; *variable; variable++)
        if (strncmp(*variable, name, len) == 0 && (*variable)[len] == '=')
            return (*variable)[len + 1] ? *variable + len + 1 : NULL;
    return NULL;
}

static void look_at_env(struct config_reading *reading)
{
    for (char *const *variable = reading->source->env; variable && *variable; variable++) {
        uint32_t bit = look_bit(look_of(*variable, strcspn(*variable, "=")));

        reading->env_bits[bit / 64] |= UINT64_C(1) << bit % 64;
    }
}

static int read_secret(struct config_reading *reading, const char *path, proa_str *ret_text, struct proa_error *err)
{
    char *text = proa_arena_alloc(reading->arena, SECRET_FILE_MAX);
    size_t len = 0;
    ssize_t got = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int os_errno = errno;

    if (fd >= 0 && text) {
        while ((got = read(fd, text + len, SECRET_FILE_MAX - len)) > 0)
            len += (size_t)got;
        os_errno = errno;
    }
    if (fd >= 0)
        close(fd);
    if (!text)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (got < 0)
        return proa_fail_errno(err, os_errno, "%s", path);
    if (len == SECRET_FILE_MAX)
        return proa_fail(err, PROA_ETOOLARGE, "%s is too large for a secret", path);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    *ret_text = proa_str_n(text, len);
    return 0;
}

/* OpenTelemetry takes true and the names of enumerations in any case, and others do of a variable. */
static proa_str usual_form(const struct config_leaf *leaf, proa_str text)
{
    const struct proa_field *field = leaf->field;

    if (config_is_switch(leaf) && proa_str_eq_nocase(text, PROA_STR("true")))
        return PROA_STR("true");
    if (config_is_switch(leaf) && proa_str_eq_nocase(text, PROA_STR("false")))
        return PROA_STR("false");
    if (field->kind == PROA_ENUMERATION && field->container == PROA_SINGLE)
        for (uint32_t i = 0; i < field->names->count; i++)
            if (proa_str_eq_nocase(text, field->names->values[i].name))
                return field->names->values[i].name;
    return text;
}

static int read_variable(struct config_reading *reading, struct config_leaf *leaf)
{
    static const char where[] = "environment variable ";
    struct proa_error why = {.arena = reading->arena};
    const char *value = env_value(reading, leaf->env);
    const char *file_name;
    proa_str text = {NULL, 0};

    if (value) {
        give(leaf, CONFIG_ENVIRONMENT, leaf->env);
        from_text(reading, leaf, usual_form(leaf, proa_str_c(value)), where, leaf->env);
        return 0;
    }
    if (!leaf->field->secret)
        return 0;
    file_name = proa_arena_printf(reading->arena, "%s_FILE", leaf->env).ptr;
    if (!file_name)
        return proa_fail(reading->err, PROA_ENOMEM, "memory is out");
    value = env_value(reading, file_name);
    if (!value)
        return 0;
    give(leaf, CONFIG_ENVIRONMENT, file_name);
    if (reading->only_origins)
        return 0;
    if (read_secret(reading, value, &text, &why) < 0)
        mistake(reading, where, file_name, &why);
    else
        from_text(reading, leaf, text, where, file_name);
    return 0;
}

/* Flags. */
static void set_flag(struct config_reading *reading, struct config_leaf *leaf, proa_str text)
{
    give(leaf, CONFIG_FLAG, leaf->flag);
    from_text(reading, leaf, text, "flag --", leaf->flag);
}

/* Takes the flag at argv[at]. @returns how many arguments it used. */
static int read_flag(struct config_reading *reading, int at)
{
    proa_str arg = proa_str_c(reading->source->argv[at]);
    proa_str value = proa_str_slice(arg, 2, arg.len), name;
    struct config_leaf *leaf;
    proa_str next = {NULL, 0};

    proa_ignore(proa_str_split(&value, '=', &name)); /* `value` is then NULL or behind the sign */
    leaf = config_by_flag(reading->table, name);
    if (leaf && !value.ptr && config_is_switch(leaf))
        value = PROA_STR("true");
    if (leaf && value.ptr) {
        set_flag(reading, leaf, value);
        return 1;
    }
    if (leaf) {
        struct proa_error why = {.arena = reading->arena};

        if (at + 1 < reading->source->argc)
            next = proa_str_c(reading->source->argv[at + 1]);
        if (next.ptr && !proa_str_starts_with(next, PROA_STR("--"))) {
            set_flag(reading, leaf, next);
            return 2;
        }
        proa_fail(&why, PROA_EVALIDATION, "a value must follow");
        mistake(reading, "flag --", leaf->flag, &why);
        return 1;
    }
    if (proa_str_starts_with(name, PROA_STR("no-")) && !value.ptr) {
        leaf = config_by_flag(reading->table, proa_str_slice(name, 3, name.len));
        if (leaf && config_is_switch(leaf)) {
            set_flag(reading, leaf, PROA_STR("false"));
            return 1;
        }
    }
    unknown(reading, "flag --", true, name);
    return 1;
}

static void read_flags(struct config_reading *reading)
{
    for (int at = 1; at < reading->source->argc;) {
        proa_str arg = proa_str_c(reading->source->argv[at]);

        if (arg.len > 2 && proa_str_starts_with(arg, PROA_STR("--"))) {
            at += read_flag(reading, at);
            continue;
        }
        if (!reading->only_origins) {
            reading->failed = true;
            proa_error_add_field(reading->err, PROA_EVALIDATION, arg, "unknown", "argument " PROA_FMT " is not known",
                                 PROA_ARG(arg));
        }
        at++;
    }
}

int config_read_sources(struct config_reading *reading)
{
    PROA_TRY(read_file(reading));
    look_at_env(reading);
    for (size_t i = 0; i < reading->table->count; i++)
        PROA_TRY(read_variable(reading, &reading->table->leaves[i]));
    read_flags(reading);
    return 0;
}

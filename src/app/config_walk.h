/** The leaves of configuration structs, and their names as flags, variables and file keys. */
#ifndef PROA_APP_CONFIG_WALK_H
#define PROA_APP_CONFIG_WALK_H

#include <proa/config.h>

enum {
    CONFIG_DEPTH_MAX = 6,
    CONFIG_NAME_MAX = 160, /* bytes of a name with its NUL */
};

/* One setting: a member that is not an object. */
struct config_leaf {
    const struct proa_field *field;
    void *struct_ptr;           /* of the struct that holds the member */
    char path[CONFIG_NAME_MAX]; /* "http.idle_timeout" */
    char flag[CONFIG_NAME_MAX]; /* "http.idle-timeout", without the dashes */
    char env[CONFIG_NAME_MAX];  /* "HTTP_IDLE_TIMEOUT" */
};

/* Calls `visit` for every leaf, in the order of the descriptions; a result that is not 0 ends the walk and is returned. */
int config_walk(const struct proa_config_part *parts, size_t count,
                int (*visit)(void *arg, const struct config_leaf *leaf), void *arg);

/* The leaf with this flag, environment or path name; false when there is none. */
enum config_name { CONFIG_BY_FLAG, CONFIG_BY_PATH };
bool config_find(const struct proa_config_part *parts, size_t count, enum config_name by, proa_str name,
                 struct config_leaf *ret_leaf);
/* The most similar name to `name`, "" when none is near. */
void config_nearest(const struct proa_config_part *parts, size_t count, enum config_name by, proa_str name,
                    char *ret_nearest);

/* The variable's value, NULL when it is not set. */
const char *config_env(char *const *env, const char *name);
/* The value that a flag has on the command line, and the index after it. Only for well-formed command lines. */
bool config_flag(const struct proa_config_source *source, const struct config_leaf *leaf, proa_str *ret_value);
/* Whether the file (as JSON text) sets this leaf. */
bool config_file_has(struct proa_arena *arena, proa_str json, const char *path);

/* A JSON object taken apart one level. */
struct config_member {
    proa_str key;
    proa_str json;
};
int config_members(struct proa_arena *arena, proa_str json, struct config_member **ret_members, size_t *ret_count,
                   struct proa_error *err);
/* The file as JSON text, "{}" when there is none. */
int config_file_json(struct proa_arena *arena, const struct proa_config_source *source, proa_str *ret_json,
                     struct proa_error *err);

#endif

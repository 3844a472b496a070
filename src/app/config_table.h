/** Settings of configuration structs as a table: their names, and where each value comes from. */
#ifndef PROA_APP_CONFIG_TABLE_H
#define PROA_APP_CONFIG_TABLE_H

#include <proa/config.h>

enum { CONFIG_DEPTH_MAX = 6, CONFIG_ENV_BITS = 512 };

/** Later ones win. */
enum config_origin {
    CONFIG_DEFAULT = 0,
    CONFIG_FILE,
    CONFIG_ENVIRONMENT,
    CONFIG_FLAG,
};

/** One setting: a member that is not an object. */
struct config_leaf {
    const struct proa_field *field;
    void *struct_ptr;  /* the struct that holds the member */
    const char *path;  /* "http.idle_ms" */
    const char *flag;  /* "http.idle-ms", without the dashes */
    const char *env;   /* "HTTP_IDLE_MS" */
    const char *given; /* the name under which the source that won gave it, NULL by default */
    enum config_origin origin;
};
struct config_table {
    struct config_leaf *leaves; /* in the order of the descriptions */
    size_t count;
};

/** @returns 0, PROA_ENOMEM, PROA_EINVAL (two settings with one name, nesting too deep: the program's mistake). */
PROA_MUST_USE int config_table_make(struct proa_arena *arena, const struct proa_config_part *parts, size_t count,
                                    struct config_table *ret_table, struct proa_error *err);
/** NULL when there is none of the name. */
struct config_leaf *config_by_path(const struct config_table *table, proa_str path);
struct config_leaf *config_by_flag(const struct config_table *table, proa_str flag);
/** The flag, or else the path of a leaf or of an object, that is most like `name`; empty when none is near. */
proa_str config_nearest(const struct config_table *table, bool by_flag, proa_str name);
/** Whether a flag of this setting needs no value. */
bool config_is_switch(const struct config_leaf *leaf);

/** Goes through file, environment and flags in this order. */
struct config_reading {
    struct proa_arena *arena;
    const struct proa_config_source *source;
    const struct config_table *table;
    struct proa_error *err;                  /* collects the mistakes */
    uint64_t env_bits[CONFIG_ENV_BITS / 64]; /* of variables that are there, by how their names look */
    bool only_origins;                       /* sets no values and finds no mistakes: for printing */
    bool failed;                             /* a mistake was found */
};
/** @returns 0 (look at `failed`) or PROA_ENOMEM. */
PROA_MUST_USE int config_read_sources(struct config_reading *reading);

#endif

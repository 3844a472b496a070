/** Configuration from one described struct: flags over environment over a YAML file over defaults.
 *
 *  A member `max_rows` of an object `http` is the flag --http.max-rows, the variable HTTP_MAX_ROWS and the file's http:
 *  max_rows:. `.flag` and `.env` of a description rename them.
 */
#ifndef PROA_CONFIG_H
#define PROA_CONFIG_H

#include <proa/arena.h>
#include <proa/buf.h>
#include <proa/error.h>
#include <proa/type.h>

PROA_BEGIN_DECLS

/** A described struct that takes part. Several parts (the frame's and the program's) share one name space. */
struct proa_config_part {
    const struct proa_type *type;
    void *value;
};
struct proa_config_source {
    int argc;
    char **argv;           /**< argv[0] is skipped */
    char *const *env;      /**< "NAME=value", ended by NULL */
    proa_str file;         /**< YAML text, ptr NULL for none */
    const char *file_name; /**< for errors */
};
/** Fills the parts. All mistakes are collected; an unknown flag or file key is an error naming the nearest known one;
 *  NAME_FILE in the environment reads a secret from a file. Flags: --a.b value, --a.b=value, --flag and --no-flag for
 *  booleans. An empty variable counts as not set. Text of the parts lives in the arena and has a NUL behind it.
 *  @returns 0, PROA_EVALIDATION, PROA_ENOMEM, or PROA_EINVAL when two members have a name in common (the program's
 *  mistake). */
PROA_COLD PROA_MUST_USE int proa_config_load(struct proa_arena *arena, const struct proa_config_source *source,
                                             const struct proa_config_part *parts, size_t count,
                                             struct proa_error *err);
/** --help: one entry a member with flag, variable, kind, default and doc. */
PROA_COLD PROA_MUST_USE int proa_config_help(struct proa_buf *out, const struct proa_config_part *parts, size_t count);
/** --print-config: YAML of all values (secrets as ***), each with its origin as a comment. */
PROA_COLD PROA_MUST_USE int proa_config_print(struct proa_buf *out, const struct proa_config_source *source,
                                              const struct proa_config_part *parts, size_t count);

PROA_END_DECLS
#endif

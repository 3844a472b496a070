/** JSON in and out by description (RFC 8259, RFC 6901 pointers in errors). */
#ifndef PROA_JSON_H
#define PROA_JSON_H

#include <proa/arena.h>
#include <proa/buf.h>
#include <proa/error.h>
#include <proa/type.h>

PROA_BEGIN_DECLS

enum {
    PROA_JSON_DEPTH_DEFAULT = 64,
};

enum proa_json_flags {
    /** Members marked read_only are skipped (a client sends back what it got) and not required. */
    PROA_JSON_INPUT = 1,
    /** Absent members are no error and get no default: for merge patches (RFC 7396). */
    PROA_JSON_PARTIAL = 2,
    /** For messages of other programs: unknown members are ignored whatever the type says, and null is as good as
     *  absent for a member that has a default. */
    PROA_JSON_LENIENT = 4,
    /** Writing: members marked write_only or secret are left out. */
    PROA_JSON_OUTPUT = 8,
    /** Writing: members marked secret are written as "***", at any depth. */
    PROA_JSON_MASKED = 16,
};

/** Reads one JSON text into a struct: syntax, kinds, ranges of the C types, required members, defaults and
 *  all rules of the description. Duplicate keys, unknown members, depth over 64, invalid UTF-8, lone
 *  surrogates and numbers that do not fit are errors. All broken rules are collected in err (when it
 *  has an arena). Text and lists are allocated in the arena (text without escapes may point into `text`,
 *  which must live as long). *ret_value is written only on success.
 *  @param flags enum proa_json_flags
 *  @returns 0, PROA_ESYNTAX (malformed; the message names line and column, the pointer the place), PROA_EVALIDATION
 *  (rules broken),
 *           PROA_ENOMEM. */
#define proa_json_read(arena, text, flags, typed, ret_value, err)                                                      \
    proa_json_read_type(arena, text, flags, PROA_TYPED(typed, ret_value), ret_value, err)
PROA_MUST_USE int proa_json_read_type(struct proa_arena *arena, proa_str text, unsigned flags,
                                      const struct proa_type *type, void *ret_value, struct proa_error *err);

/** Appends a struct as JSON. @returns 0 or the buffer's error; PROA_EINVAL for text that is not UTF-8, a
 *  number that is not finite, raw text that is not JSON (checked in debug builds only) or an enumeration
 *  value without a name. */
#define proa_json_write(out, flags, typed, value) proa_json_write_type(out, flags, PROA_TYPED(typed, value), value)
PROA_MUST_USE int proa_json_write_type(struct proa_buf *out, unsigned flags, const struct proa_type *type,
                                       const void *value);

/** One value of a field (also optional, lists, maps), as the JSON writer and reader see it: for
 *  configuration, SQL columns and the like. `struct_ptr` is the struct that holds the field. */
PROA_MUST_USE int proa_json_write_field(struct proa_buf *out, unsigned flags, const struct proa_field *field,
                                        const void *struct_ptr);
PROA_MUST_USE int proa_json_read_field(struct proa_arena *arena, proa_str text, unsigned flags,
                                       const struct proa_field *field, void *struct_ptr, struct proa_error *err);
/** Sets a field from plain text ("10", "true", "abc", "a,b" for lists): query parameters, headers, flags,
 *  environment. Checks the field's rules; errors have `pointer` as their pointer. */
PROA_MUST_USE int proa_field_from_text(struct proa_arena *arena, const struct proa_field *field, proa_str text,
                                       proa_str pointer, void *struct_ptr, struct proa_error *err);
/** Sets every field that has a default to it, and others to zero / absent. */
PROA_MUST_USE int proa_type_defaults(struct proa_arena *arena, const struct proa_type *type, void *ret_value,
                                     struct proa_error *err);

/** Checks the rules of a struct that did not come from JSON. All broken rules are collected.
 *  @returns 0 or PROA_EVALIDATION. */
#define proa_validate(typed, value, err) proa_validate_type(PROA_TYPED(typed, value), value, err)
PROA_MUST_USE int proa_validate_type(const struct proa_type *type, const void *value, struct proa_error *err);

/** Applies a merge patch (RFC 7396): `patch` is JSON text; members of *value that it names are replaced, null
 *  makes an optional member absent (for others: its default, or an error). read_only members are skipped.
 *  The result is validated. *value is written only on success. */
#define proa_json_merge(arena, patch, typed, value, err)                                                               \
    proa_json_merge_type(arena, patch, PROA_TYPED(typed, value), value, err)
PROA_MUST_USE int proa_json_merge_type(struct proa_arena *arena, proa_str patch, const struct proa_type *type,
                                       void *value, struct proa_error *err);

/** Deep copy into an arena. */
#define proa_copy(arena, typed, value, ret_copy) proa_copy_type(arena, PROA_TYPED(typed, value), value, ret_copy)
PROA_MUST_USE int proa_copy_type(struct proa_arena *arena, const struct proa_type *type, const void *value,
                                 void *ret_copy);
/** Equality by value, member by member. */
bool proa_equal_type(const struct proa_type *type, const void *a, const void *b);

/** A writer of JSON that has no description: log lines, problem documents, OTLP. Commas and nesting are kept
 *  by the writer; mistakes in use (a value without a key) are asserted. */
struct proa_json_writer {
    struct proa_buf *out;
    uint64_t has_items; /**< one bit a level */
    uint64_t is_object; /**< one bit a level */
    uint32_t depth;     /**< at most 63 */
    bool after_key;
};
void proa_json_writer_init(struct proa_json_writer *w, struct proa_buf *out);
void proa_json_object(struct proa_json_writer *w);
void proa_json_object_end(struct proa_json_writer *w);
void proa_json_array(struct proa_json_writer *w);
void proa_json_array_end(struct proa_json_writer *w);
void proa_json_key(struct proa_json_writer *w, proa_str key);
void proa_json_text(struct proa_json_writer *w, proa_str text); /**< invalid UTF-8 becomes U+FFFD */
void proa_json_u64(struct proa_json_writer *w, uint64_t value);
void proa_json_i64(struct proa_json_writer *w, int64_t value);
void proa_json_f64(struct proa_json_writer *w, double value); /**< not finite: null */
void proa_json_bool(struct proa_json_writer *w, bool value);
void proa_json_null(struct proa_json_writer *w);
void proa_json_raw(struct proa_json_writer *w, proa_str json);
/** Appends `text` as a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
int proa_json_escape(struct proa_buf *out, proa_str text);
/** 0 when the text is one valid JSON value by Proa's rules (no duplicate keys, …). */
PROA_MUST_USE int proa_json_check(proa_str text, struct proa_error *err);

PROA_END_DECLS
#endif

/** What the files of data share: where a value stands in its document, and how broken rules are collected. */
#ifndef PROA_DATA_INTERNAL_H
#define PROA_DATA_INTERNAL_H

#include <proa/json.h>
#include <proa/pattern.h>
#include <stdarg.h>

/** The way from the document to a value, innermost first; lives on the stack of the walk. */
struct value_path {
    const struct value_path *up;
    proa_str key;
    size_t index;
    bool is_index;
};
/** Writes the RFC 6901 pointer, cut to fit. @returns its length. */
size_t value_path_text(const struct value_path *path, char *out, size_t cap);

/** Collects broken rules. */
struct rules {
    struct proa_arena *arena; /* scratch: patterns */
    struct proa_error *err;
    proa_str prefix; /* of all pointers: "/query" */
    bool broken;
    bool memory_out;
};
void rule_broken(struct rules *rules, const struct value_path *path, const char *code, const char *format, ...)
    PROA_PRINTF(4, 5);

/** The rules of one value: no container, not absent. */
void check_value(struct rules *rules, const struct proa_field *field, const void *value, const struct value_path *path);
/** Rules of a list's length and uniqueness, a dictionary's size. `items` are the elements. */
void check_items(struct rules *rules, const struct proa_field *field, const char *items, size_t count,
                 const struct value_path *path);
/** All rules of a member, and of a whole struct. */
void check_field(struct rules *rules, const struct proa_field *field, const void *struct_ptr,
                 const struct value_path *path);
void check_struct(struct rules *rules, const struct proa_type *type, const void *value, const struct value_path *path);

bool format_holds(enum proa_format format, proa_str text);
const char *format_name(enum proa_format format);

/** Lists and dictionaries as they lie in memory. */
struct slice_header {
    void *ptr;
    size_t len;
};
/** Key of a dictionary's entry; its value stands behind it. */
struct entry_header {
    proa_str key;
};
static inline void *entry_value(void *entry)
{
    return (char *)entry + sizeof(struct entry_header);
}
/** Element `index` of a list or the value of a dictionary's entry. */
static inline char *element_at(const struct proa_field *field, const struct slice_header *slice, size_t index)
{
    return (char *)slice->ptr + index * field->stride;
}
static inline char *element_value(const struct proa_field *field, char *element)
{
    return field->container == PROA_DICTIONARY ? (char *)entry_value(element) : element;
}
/** Compares two values of a field's kind. */
bool equal_value(const struct proa_field *field, const void *a, const void *b);

/** Integers of all widths as the two widest. */
bool kind_is_integer(uint8_t kind);
bool kind_is_signed(uint8_t kind);
void integer_limits(uint8_t kind, int64_t *ret_min, uint64_t *ret_max);
void integer_load(uint8_t kind, const void *at, int64_t *ret_signed, uint64_t *ret_unsigned);
void integer_store(uint8_t kind, void *at, int64_t value_signed, uint64_t value_unsigned);

/** A duration as "1m30s"; out has room for 48. @returns the length. */
size_t duration_text(uint64_t ns, char *out);

/* json_read.c: for merge and configuration. */
struct yyjson_val;
int json_read_object(struct rules *rules, unsigned flags, const struct proa_type *type, struct yyjson_val *value,
                     void *out, const struct value_path *path, int depth);
void json_read_member(struct rules *rules, unsigned flags, const struct proa_field *field, struct yyjson_val *value,
                      void *struct_ptr, const struct value_path *path, int depth);
int json_parse(struct proa_arena *arena, proa_str text, struct yyjson_val **ret_root, struct proa_error *err);
void field_default(struct rules *rules, const struct proa_field *field, void *struct_ptr);
/** Duplicate keys and depth anywhere below a value. */
void json_check_tree(struct rules *rules, struct yyjson_val *value, const struct value_path *path, int depth);

#endif

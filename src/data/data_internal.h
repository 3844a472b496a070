/** What the files of data share: where a value stands in its document, how broken rules are collected, how values lie
 *  in memory, and the reader's parts that merge patches use too. */
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

/** Collects broken rules. */
struct rules {
    struct proa_arena *arena; /* for what is read */
    struct proa_error *err;   /* may be NULL */
    proa_str prefix;          /* of all pointers: "/query" */
    unsigned flags;           /* enum proa_json_flags */
    uint32_t broken;          /* found */
    bool memory_out;
};
void rule_broken(struct rules *rules, const struct value_path *path, const char *code, const char *format, ...)
    PROA_PRINTF(4, 5);
/** What the walk's caller returns. */
int rules_outcome(const struct rules *rules);

/** The rules of one value: no container, not absent. */
void check_value(struct rules *rules, const struct proa_field *field, const void *value, const struct value_path *path);
/** Rules of a list's length and uniqueness, a dictionary's size. `items` are the elements. */
void check_items(struct rules *rules, const struct proa_field *field, const char *items, size_t count,
                 const struct value_path *path);
/** Only the length; @returns whether it holds. */
bool check_count(struct rules *rules, const struct proa_field *field, size_t count, const struct value_path *path);
void check_struct(struct rules *rules, const struct proa_type *type, const void *value, const struct value_path *path);
/** The type's own check over several members; its pointers are put below `path`. */
void check_whole(struct rules *rules, const struct proa_type *type, const void *value, const struct value_path *path);

bool format_holds(enum proa_format format, proa_str text);
/** The name of JSON Schema; "text" for none. */
const char *format_name(enum proa_format format);
/** Whether the field's pattern matches; compiled once a process where the description allows (see type.h). */
PROA_MUST_USE int pattern_holds(const struct proa_field *field, proa_str text, bool *ret_holds);

/** Lists and dictionaries as they lie in memory. */
struct slice_header {
    void *ptr;
    size_t len;
};
/** Key of a dictionary's entry; its value stands behind it. */
struct entry_header {
    proa_str key;
};
static inline char *element_at(const struct proa_field *field, const struct slice_header *slice, size_t index)
{
    return (char *)slice->ptr + index * field->stride;
}
static inline proa_str element_key(const char *element)
{
    return ((const struct entry_header *)(const void *)element)->key;
}
/** A list's element is its value; a dictionary's entry holds it right behind the key (no kind needs more than its
 *  alignment). */
static inline char *element_value(const struct proa_field *field, char *element)
{
    return field->container == PROA_DICTIONARY ? element + sizeof(struct entry_header) : element;
}
static inline enum proa_presence *presence_of(const struct proa_field *field, void *struct_ptr)
{
    return (enum proa_presence *)(void *)((char *)struct_ptr + field->offset);
}
static inline bool is_set(const struct proa_field *field, const void *struct_ptr)
{
    const char *at = struct_ptr;

    return !field->optional || *(const enum proa_presence *)(const void *)(at + field->offset) == PROA_SET;
}
/** Bytes of the member: its presence, and its value or slice. */
static inline size_t member_bytes(const struct proa_field *field)
{
    return field->value_offset - field->offset +
           (field->container != PROA_SINGLE ? sizeof(struct slice_header) : field->size);
}
/** The field as if it were alone in its struct: to read it aside. */
static inline struct proa_field field_alone(const struct proa_field *field)
{
    struct proa_field alone = *field;

    alone.value_offset -= alone.offset;
    alone.offset = 0;
    return alone;
}
/** The field of one value, without list, dictionary and presence. */
static inline struct proa_field field_of_item(const struct proa_field *field)
{
    struct proa_field item = *field;

    item.container = PROA_SINGLE;
    item.optional = false;
    item.offset = item.value_offset = 0;
    return item;
}
/** Compares two values of a field's kind. */
bool equal_value(const struct proa_field *field, const void *a, const void *b);

/** Integers of all widths as the two widest. */
static inline bool kind_is_integer(uint8_t kind)
{
    return kind >= PROA_I8 && kind <= PROA_U64;
}
static inline bool kind_is_signed(uint8_t kind)
{
    return kind >= PROA_I8 && kind <= PROA_I64;
}
void integer_limits(uint8_t kind, int64_t *ret_min, uint64_t *ret_max);
/** The other one is 0. */
void integer_load(uint8_t kind, const void *at, int64_t *ret_signed, uint64_t *ret_unsigned);
/** The number is given in both, as far as it fits. */
void integer_store(uint8_t kind, void *at, int64_t value_signed, uint64_t value_unsigned);
bool integer_fits(uint8_t kind, bool negative, int64_t value_signed, uint64_t value_unsigned);
void integer_out_of_range(struct rules *rules, const struct proa_field *field, const struct value_path *path);
/** What a value must be, for people: "an integer", "a date-time". */
const char *kind_word(const struct proa_field *field);
/** Says that the text names no value of the field's kind. */
void text_refused(struct rules *rules, const struct proa_field *field, const struct value_path *path);
/** Kinds whose JSON is text. @returns false when the text names none, or memory is out (rules->memory_out). */
bool read_textual(struct rules *rules, const struct proa_field *field, proa_str text, void *out);

enum { DURATION_TEXT_MAX = 64 };
/** A duration as "1m30s"; out has room for DURATION_TEXT_MAX. @returns the length. */
size_t duration_text(uint64_t ns, char *out);
/** Whether text goes into JSON as it stands. */
bool json_is_plain(proa_str text);
/** Appends text as a JSON string. @returns PROA_EINVAL for invalid UTF-8 when strict; else it becomes U+FFFD. */
int json_add_string(struct proa_buf *out, proa_str text, bool strict);

/* -- The reader, over yyjson's values --------------------------------------------------------------------------- */
struct yyjson_val;
/** A parsed text. Its strings live in the arena, its values there too, or on the heap when they are many. */
struct json_text {
    struct proa_arena *arena;
    struct yyjson_val *root;
    void *heap;
};
PROA_MUST_USE int json_parse(struct json_text *json, struct proa_arena *arena, proa_str text, struct proa_error *err);
/** For PROA_CLEANUP; zero-initialise first. */
void json_text_done(struct json_text *json);
/** Appends a value as compact JSON. */
PROA_MUST_USE int json_add_value(struct proa_buf *out, struct proa_arena *arena, const struct yyjson_val *value);
proa_str json_string(const struct yyjson_val *value);

/** `depth` is the level of the value itself: 1 for the document. */
void json_read_object(struct rules *rules, const struct proa_type *type, struct yyjson_val *value, void *out,
                      const struct value_path *path, int depth);
void json_read_member(struct rules *rules, const struct proa_field *field, struct yyjson_val *value, void *struct_ptr,
                      const struct value_path *path, int depth);
void json_read_value(struct rules *rules, const struct proa_field *field, struct yyjson_val *value, void *out,
                     const struct value_path *path, int depth);
/** Gives members that were not seen their defaults, or says that they are required. */
void json_complete(struct rules *rules, const struct proa_type *type, uint64_t seen, void *out,
                   const struct value_path *path);
/** Sets a member to its default, which it has. */
void field_default(struct rules *rules, const struct proa_field *field, void *struct_ptr,
                   const struct value_path *path);
/** Doubled keys of an object: not quadratic whatever is sent. */
void json_check_keys(struct rules *rules, struct yyjson_val *object, const struct value_path *path);
/** Duplicate keys and depth anywhere below a value. */
void json_check_tree(struct rules *rules, struct yyjson_val *value, const struct value_path *path, int depth);
bool json_too_deep(struct rules *rules, const struct value_path *path, int depth);

#endif

/** One description of a struct, from which JSON, validation, JSON Schema, configuration, SQL rows and
 *  Kubernetes CRDs are derived.
 *
 *      struct user {
 *          uint64_t id;
 *          proa_str name;
 *          proa_str email;
 *      };
 *      PROA_DESCRIBE(user,
 *          (id,    u64, .read_only = true, .doc = "Given by the service"),
 *          (name,  str, .min_len = 1, .max_len = 100),
 *          (email, str, .format = PROA_FORMAT_EMAIL));
 *
 *  defines `user_type`. Each entry is (member, kind, attributes…). The compiler checks that the member's
 *  C type is the kind's, and every function that takes a struct with its description checks that the
 *  two belong together. Kinds and the C types they need:
 *
 *      boolean             bool                       object(x)       struct x (described)
 *      i8 i16 i32 i64      int8_t … int64_t           enumeration(x)  enum x (PROA_ENUM)
 *      u8 u16 u32 u64      uint8_t … uint64_t         array(kind)     PROA_ARRAY_OF(type)
 *      f64                 double (finite)            map(kind)       PROA_MAP_OF(type)
 *      str                 proa_str (valid UTF-8)     optional(kind)  PROA_OPTIONAL(type)
 *      raw                 proa_str holding JSON      bytes           proa_str, base64 in JSON
 *      timestamp           proa_time_ns, RFC 3339     duration        struct proa_duration, "1m30s"
 *      quantity            struct proa_quantity, "64Mi" or a number of bytes
 *
 *  Text holds no U+0000, which databases and C libraries cannot carry. Raw JSON is kept compact, its numbers as doubles
 *  where they are not integers. Descriptions stand at file scope.
 *
 *  array and map take any kind but array, map and optional; optional takes any but optional.
 */
#ifndef PROA_TYPE_H
#define PROA_TYPE_H

#include <proa/defs.h>
#include <proa/error.h>
#include <proa/str.h>
#include <proa/text.h>
#include <proa/type_macros.h>

PROA_BEGIN_DECLS

enum proa_kind {
    PROA_BOOLEAN = 1,
    PROA_I8,
    PROA_I16,
    PROA_I32,
    PROA_I64,
    PROA_U8,
    PROA_U16,
    PROA_U32,
    PROA_U64,
    PROA_F64,
    PROA_TEXT,
    PROA_ENUMERATION,
    PROA_OBJECT,
    PROA_RAW,
    PROA_BYTES,
    PROA_TIMESTAMP,
    PROA_DURATION,
    PROA_QUANTITY,
};

enum proa_container {
    PROA_SINGLE = 0,
    PROA_LIST,       /**< JSON array */
    PROA_DICTIONARY, /**< JSON object with free keys */
};

/** Members that are absent, null or set (a merge patch needs the three). */
enum proa_presence {
    PROA_ABSENT = 0,
    PROA_NULL,
    PROA_SET,
};
#define PROA_OPTIONAL(type)                                                                                            \
    struct {                                                                                                           \
        enum proa_presence presence;                                                                                   \
        type value;                                                                                                    \
    }
#define PROA_ARRAY_OF(type)                                                                                            \
    struct {                                                                                                           \
        type *ptr;                                                                                                     \
        size_t len;                                                                                                    \
    }
#define PROA_MAP_OF(type)                                                                                              \
    struct {                                                                                                           \
        struct {                                                                                                       \
            proa_str key;                                                                                              \
            type value;                                                                                                \
        } * ptr;                                                                                                       \
        size_t len;                                                                                                    \
    }

struct proa_duration {
    uint64_t ns;
};
struct proa_quantity {
    uint64_t bytes;
};

/** Formats of text (JSON Schema `format`), checked. */
enum proa_format {
    PROA_FORMAT_NONE = 0,
    PROA_FORMAT_EMAIL,     /**< the form of HTML's input type=email */
    PROA_FORMAT_UUID,      /**< RFC 9562 */
    PROA_FORMAT_URI,       /**< RFC 3986, absolute */
    PROA_FORMAT_DATE_TIME, /**< RFC 3339 */
    PROA_FORMAT_DATE,      /**< RFC 3339 full-date */
    PROA_FORMAT_HOSTNAME,  /**< RFC 1123 */
    PROA_FORMAT_IPV4,
    PROA_FORMAT_IPV6,
};

/** A name of an enumeration. */
struct proa_enum_value {
    int value;
    proa_str name;
};
struct proa_enum {
    const char *name;
    const struct proa_enum_value *values;
    uint32_t count;
};

struct proa_type;

/** The one thing of a description that changes: where a member's compiled pattern is kept. The first check compiles it
 *  and publishes it (any thread; an atomic pointer), after which it never changes and stays for the life of the
 *  process. */
struct proa_pattern_once {
    const void *compiled;
};

/** One member. The first part is filled by the macros, the second by the description's attributes. */
struct proa_field {
    proa_str member;               /**< the C member's name */
    uint32_t offset;               /**< of the member */
    uint32_t value_offset;         /**< of the value: past `presence` when optional */
    uint32_t size;                 /**< of one value: of the list's item, of the map entry's value */
    uint32_t stride;               /**< of one element of a list or map entry; else the member's size */
    const struct proa_type *type;  /**< of PROA_OBJECT */
    const struct proa_enum *names; /**< of PROA_ENUMERATION */
    /** Where the compiled pattern is kept; NULL (descriptions not written by the macros): compiled at every check. */
    struct proa_pattern_once *pattern_once;

    const char *json;   /**< the name in JSON and everywhere outside when it is not the member's */
    const char *column; /**< the SQL column when it is not the outside name */
    const char *doc;    /**< one sentence for people */
    const char *example_json;
    /** What an absent member becomes, as JSON text ("10", "\"info\"", "[]"). A member that is neither
     *  optional nor has a default is required. */
    const char *default_json;
    /* By the macros; here for the struct's size. */
    uint8_t kind;      /**< enum proa_kind */
    uint8_t container; /**< enum proa_container */
    bool optional;

    bool read_only;  /**< given by the service: skipped in input, shown in output */
    bool write_only; /**< accepted in input, never shown in output */
    bool secret;     /**< never in logs, --help or error texts; shown as "***" where config is shown */
    bool immutable;  /**< CRD: may not change after creation */
    bool deprecated;
    bool unique_items; /**< lists: no two equal items */
    uint8_t format;    /**< enum proa_format; for text */
    bool has_min;      /**< by PROA_MIN, PROA_RANGE; inclusive */
    bool has_max;      /**< by PROA_MAX, PROA_RANGE; inclusive */
    double min;        /**< compared exactly with the integer; seconds of a duration, bytes of a quantity */
    double max;
    uint32_t min_len; /**< text: code points; bytes: bytes */
    uint32_t max_len; /**< 0: no limit */
    uint32_t min_items;
    uint32_t max_items;    /**< 0: no limit */
    const char *pattern;   /**< see proa/pattern.h; must match somewhere, as in JSON Schema: anchor with ^ and $ */
    const char *env;       /**< configuration: the environment variable when not derived from the name */
    const char *flag;      /**< configuration: the flag when not derived from the name */
    const char *merge_key; /**< CRD: list type map with this key */
};

/** What to do with members that the description does not know. */
enum proa_unknown {
    PROA_UNKNOWN_REJECT = 0, /**< an error with the member's pointer */
    PROA_UNKNOWN_IGNORE,
};

/** A CEL rule of a CRD (x-kubernetes-validations). */
struct proa_cel_rule {
    const char *rule;
    const char *message;
};

struct proa_type {
    const char *name; /**< of the struct; the schema's name */
    uint32_t size;    /**< bytes of the struct */
    uint32_t fields_count;
    const struct proa_field *fields;
    const char *doc;
    uint8_t unknown;                   /**< enum proa_unknown */
    const struct proa_cel_rule *rules; /**< ended by {NULL} */
    /** Rules over several members; adds to err by proa_error_add_field, or says it of the whole by proa_fail. Called after
     *  the fields' rules, only when those hold. May be NULL. */
    int (*check)(const void *value, struct proa_error *err);
};

/** For a header: declares `name##_type`, a description shared by several files. */
#define PROA_DECLARE_TYPE(name_)                                                                                       \
    union proa_type_of_##name_ {                                                                                       \
        struct proa_type type;                                                                                         \
        const struct name_ *self_;                                                                                     \
    };                                                                                                                 \
    extern const union proa_type_of_##name_ name_##_type

/** Defines the description that PROA_DECLARE_TYPE declared. Entries as above. */
#define PROA_DEFINE_TYPE(name_, ...) PROA_DEFINE_TYPE_WITH(name_, (), __VA_ARGS__)
/** The same with attributes of the type: PROA_DEFINE_TYPE_WITH(user, (.doc = "A user", .unknown = …), entries…). */
#define PROA_DEFINE_TYPE_WITH(name_, attributes, ...)                                                                  \
    static const struct proa_field proa_fields_of_##name_[] = {PROA_M_EACH(struct name_, __VA_ARGS__)};                \
    const union proa_type_of_##name_ name_##_type = {.type = {.name = #name_,                                          \
                                                              .size = sizeof(struct name_),                            \
                                                              .fields_count = PROA_COUNT(proa_fields_of_##name_),      \
                                                              .fields = proa_fields_of_##name_,                        \
                                                              PROA_M_UNWRAP attributes}}

/** Both in one for a type that one file uses. */
#define PROA_DESCRIBE(name_, ...) PROA_DESCRIBE_WITH(name_, (), __VA_ARGS__)
#define PROA_DESCRIBE_WITH(name_, attributes, ...)                                                                     \
    union proa_type_of_##name_ {                                                                                       \
        struct proa_type type;                                                                                         \
        const struct name_ *self_;                                                                                     \
    };                                                                                                                 \
    static const struct proa_field proa_fields_of_##name_[] = {PROA_M_EACH(struct name_, __VA_ARGS__)};                \
    __attribute__((unused)) static const union proa_type_of_##name_ name_##_type = {                                   \
        .type = {.name = #name_,                                                                                       \
                 .size = sizeof(struct name_),                                                                         \
                 .fields_count = PROA_COUNT(proa_fields_of_##name_),                                                   \
                 .fields = proa_fields_of_##name_,                                                                     \
                 PROA_M_UNWRAP attributes}}

/** Names of `enum name`: PROA_ENUM(color, (COLOR_RED, "red"), (COLOR_BLUE, "blue")). */
#define PROA_ENUM(name_, ...)                                                                                          \
    static const struct proa_enum_value proa_values_of_##name_[] = {PROA_M_EACH_VALUE(__VA_ARGS__)};                   \
    __attribute__((unused)) static const struct proa_enum name_##_enum = {#name_, proa_values_of_##name_,              \
                                                                          PROA_COUNT(proa_values_of_##name_)}

/** Attributes of numbers, inclusive. */
#define PROA_MIN(low) .has_min = true, .min = (low)
#define PROA_MAX(high) .has_max = true, .max = (high)
#define PROA_RANGE(low, high) PROA_MIN(low), PROA_MAX(high)

/** The plain description behind `name_type`, checked against the pointer that goes with it: what every
 *  typed call of Proa passes on. `typed` is &name_type, `value` a struct name *. */
#ifdef __cplusplus
#define PROA_TYPED(typed, value) (&(typed)->type)
#else
#define PROA_TYPED(typed, value)                                                                                       \
    (&(typed)->type +                                                                                                  \
     0 * sizeof(struct {                                                                                               \
         int unused_;                                                                                                  \
         _Static_assert(__builtin_types_compatible_p(__typeof__(*(typed)->self_), __typeof__(*(value))),               \
                        "the struct is not the one that this description describes");                                  \
     }))
#endif

/** The outside name of a field. */
static inline proa_str proa_field_name(const struct proa_field *field)
{
    return field->json ? proa_str_c(field->json) : field->member;
}
/** The field with this outside name, or NULL. `hint` (may be NULL) is where to look first; moved on. */
const struct proa_field *proa_type_find(const struct proa_type *type, proa_str name, uint32_t *hint);
/** The name of an enumeration's value, "" when it has none. */
proa_str proa_enum_name(const struct proa_enum *names, int value);
/** @returns false when there is no such name. */
bool proa_enum_value(const struct proa_enum *names, proa_str name, int *ret_value);
/** Checks a description for mistakes that the compiler cannot see: duplicate names, bad defaults, bad
 *  patterns, a range that the C type cannot hold, recursion. For tests and program start. */
PROA_MUST_USE int proa_type_check(const struct proa_type *type, struct proa_error *err);

PROA_END_DECLS
#endif

/** Documents of MongoDB (bsonspec.org, version 1.1), as far as its commands and their answers need them. Nothing here does I/O. */
#ifndef DATABASE_OPERATOR_BSON_H
#define DATABASE_OPERATOR_BSON_H

#include <proa/buf.h>

enum { BSON_DEPTH_MAX = 32, BSON_OBJECT_ID_BYTES = 12 };

enum bson_type {
    BSON_DOUBLE = 0x01,
    BSON_TEXT = 0x02,
    BSON_DOCUMENT = 0x03,
    BSON_ARRAY = 0x04,
    BSON_BINARY = 0x05,
    BSON_UNDEFINED = 0x06,
    BSON_OBJECT_ID = 0x07,
    BSON_BOOLEAN = 0x08,
    BSON_DATETIME = 0x09,
    BSON_NULL = 0x0a,
    BSON_REGEX = 0x0b,
    BSON_I32 = 0x10,
    BSON_TIMESTAMP = 0x11,
    BSON_I64 = 0x12,
    BSON_DECIMAL = 0x13,
    BSON_MAX_KEY = 0x7f,
    BSON_MIN_KEY = 0xff,
};

/* -- Writing: errors stay in the buffer, as everywhere ---------------------------------------------------------------- */

struct bson_writer {
    struct proa_buf *out;
    size_t starts[BSON_DEPTH_MAX];
    uint32_t depth;
};
/** Begins a document at the buffer's end. Each of the three is closed by bson_end; too deep is asserted. */
void bson_begin(struct bson_writer *w, struct proa_buf *out);
void bson_document(struct bson_writer *w, const char *key);
void bson_array(struct bson_writer *w, const char *key); /**< its elements' keys are "0", "1", … */
void bson_end(struct bson_writer *w);

void bson_text(struct bson_writer *w, const char *key, proa_str value);
void bson_i32(struct bson_writer *w, const char *key, int32_t value);
void bson_bool(struct bson_writer *w, const char *key, bool value);
void bson_binary(struct bson_writer *w, const char *key, proa_str bytes);

/* -- Reading: only what bson_check has found good ---------------------------------------------------------------------- */

struct bson_value {
    enum bson_type type;
    proa_str key;   /**< with a NUL behind */
    proa_str bytes; /**< of the value */
};
void bson_copy(struct bson_writer *w, const char *key, const struct bson_value *value);

/** Whether all lengths, of inner documents too, fit, and the depth does. @returns 0 or PROA_ESYNTAX. */
PROA_MUST_USE int bson_check(proa_str document);
/** What bson_next walks through: a document's elements. */
proa_str bson_elements(proa_str document);
/** @returns false at the end. */
bool bson_next(proa_str *elements, struct bson_value *ret_value);
/** By a path as in "members.0.name". *ret_value is set only when it is there. */
bool bson_find(proa_str document, const char *path, struct bson_value *ret_value);

/** {NULL,0} for what is no text. */
proa_str bson_as_text(const struct bson_value *value);
/** Numbers, booleans, times in ms. @returns false for all else. */
bool bson_as_number(const struct bson_value *value, double *ret_number);
bool bson_as_i64(const struct bson_value *value, int64_t *ret_number);
/** The same by path: "" and 0 where there is none. */
proa_str bson_get_text(proa_str document, const char *path);
int64_t bson_get_i64(proa_str document, const char *path);
/** Seconds in the upper half, a counter in the lower; 0 where there is none. */
uint64_t bson_get_timestamp(proa_str document, const char *path);

#endif

/* Fuzzes JSON: what the strict check takes is read, merged and written without harm; a struct that was read is written and
 * read back as the same; the writer's strings are yyjson's strings. */
#include "fuzz.h"

#include <proa/json.h>
#include <proa/text.h>
#include <string.h>
#include <yyjson.h>

enum color { COLOR_RED, COLOR_BLUE };
PROA_ENUM(color, (COLOR_RED, "red"), (COLOR_BLUE, "blue"));

struct item {
    int16_t n;
    PROA_OPTIONAL(proa_str) s;
    proa_str raw;
};
PROA_DESCRIBE_WITH(item, (.unknown = PROA_UNKNOWN_IGNORE), (n, i16, .default_json = "1"),
                   (s, optional(str), .max_len = 4), (raw, raw, .default_json = "{}"));

struct fuzzed {
    bool b;
    int8_t i;
    uint64_t u;
    double f;
    proa_str s;
    proa_str data;
    proa_time_ns t;
    struct proa_duration d;
    struct proa_quantity q;
    enum color c;
    struct item o;
    PROA_ARRAY_OF(int64_t) l;
    PROA_ARRAY_OF(struct item) ol;
    PROA_MAP_OF(proa_str) m;
    PROA_MAP_OF(struct item) om;
    PROA_OPTIONAL(struct item) oo;
    PROA_OPTIONAL(PROA_ARRAY_OF(proa_str)) ll;
};
PROA_DESCRIBE(fuzzed, (b, boolean, .default_json = "false"), (i, i8, .default_json = "0", PROA_MIN(-100)),
              (u, u64, .default_json = "0"), (f, f64, .default_json = "0"),
              (s, str, .default_json = "\"\"", .pattern = "^[^x]*$"), (data, bytes, .default_json = "\"\""),
              (t, timestamp, .default_json = "\"1970-01-01T00:00:00Z\""), (d, duration, .default_json = "\"0s\""),
              (q, quantity, .default_json = "0"), (c, enumeration(color), .default_json = "\"red\""),
              (o, object(item), .default_json = "{}"), (l, array(i64), .default_json = "[]", .unique_items = true),
              (ol, array(object(item)), .default_json = "[]", .unique_items = true, .max_items = 50),
              (m, map(str), .default_json = "{}"), (om, map(object(item)), .default_json = "{}"),
              (oo, optional(object(item))), (ll, optional(array(str))));

static void round_trip(struct proa_arena *arena, const struct fuzzed *value)
{
    struct proa_error err = {.arena = arena};
    struct proa_buf first, second;
    struct fuzzed back, copy;

    must(proa_validate(&fuzzed_type, value, &err) == 0);
    proa_buf_init(&first, arena, 0);
    proa_buf_init(&second, arena, 0);
    must(proa_json_write(&first, 0, &fuzzed_type, value) == 0);
    must(proa_json_check(proa_buf_str(&first), &err) == 0);
    must(proa_json_read(arena, proa_buf_str(&first), 0, &fuzzed_type, &back, &err) == 0);
    must(proa_equal_type(&fuzzed_type.type, value, &back));
    must(proa_json_write(&second, 0, &fuzzed_type, &back) == 0);
    must(proa_str_eq(proa_buf_str(&first), proa_buf_str(&second)));
    must(proa_copy(arena, &fuzzed_type, value, &copy) == 0 && proa_equal_type(&fuzzed_type.type, value, &copy));
    /* Merging a document into itself changes nothing. */
    if (proa_json_merge(arena, proa_buf_str(&first), &fuzzed_type, &copy, &err) == 0)
        must(proa_validate(&fuzzed_type, &copy, &err) == 0);
}

static void fuzz_document(struct proa_arena *arena, proa_str text)
{
    struct proa_error err = {.arena = arena};
    struct fuzzed value, merged;
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len, YYJSON_READ_BIGNUM_AS_RAW, NULL, NULL);
    int check = proa_json_check(text, &err), rc;

    must((check == PROA_ESYNTAX) == (doc == NULL));
    yyjson_doc_free(doc);
    must(check == 0 || err.fields_count > 0);
    proa_error_clear(&err);
    rc = proa_json_read(arena, text, 0, &fuzzed_type, &value, &err);
    must(check == 0 ? rc != PROA_ESYNTAX : rc < 0);
    must(rc == 0 || err.fields_count > 0);
    if (rc == 0)
        round_trip(arena, &value);
    proa_ignore(proa_json_read(arena, text, PROA_JSON_PARTIAL | PROA_JSON_LENIENT, &fuzzed_type, &value, NULL));
    must(proa_type_defaults(arena, &fuzzed_type.type, &merged, &err) == 0);
    if (proa_json_merge(arena, text, &fuzzed_type, &merged, NULL) == 0)
        round_trip(arena, &merged);
}

/* Any bytes become a JSON string that yyjson reads; valid text as itself. */
static void fuzz_string(struct proa_arena *arena, proa_str text)
{
    struct proa_buf out;
    yyjson_doc *doc;
    yyjson_val *root;

    proa_buf_init(&out, arena, 0);
    must(proa_json_escape(&out, text) == 0);
    doc = yyjson_read(out.ptr, out.len, 0);
    root = yyjson_doc_get_root(doc);
    must(yyjson_is_str(root));
    if (proa_utf8_valid(text))
        must(proa_str_eq(proa_str_n(yyjson_get_str(root), yyjson_get_len(root)), text));
    yyjson_doc_free(doc);
}

/* Each member from plain text. */
static void fuzz_text(struct proa_arena *arena, proa_str text)
{
    struct fuzzed value;

    for (uint32_t i = 0; i < fuzzed_type.type.fields_count; i++)
        proa_ignore(proa_field_from_text(arena, &fuzzed_type.type.fields[i], text, PROA_STR("/x"), &value, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proa_arena arena;
    proa_str text = proa_str_n((const char *)data, size);

    proa_arena_init(&arena, NULL, 0);
    fuzz_document(&arena, text);
    fuzz_string(&arena, text);
    fuzz_text(&arena, text);
    proa_arena_done(&arena);
    return 0;
}

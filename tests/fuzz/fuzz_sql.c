/* Fuzzes what looks at SQL: the words of statements, :names in them, and values as text, as a server sends them, into members of
 * every kind. The input is the statement; its lines, without their line ends, are the values. */
#include "fuzz.h"

#include "db/db_internal.h"
#include "db/pg_internal.h"

#include <proa/json.h>
#include <string.h>

enum color { COLOR_RED, COLOR_BLUE };
PROA_ENUM(color, (COLOR_RED, "red"), (COLOR_BLUE, "blue"));

struct row {
    bool b;
    int8_t i;
    int64_t l;
    uint64_t u;
    double f;
    proa_str s;
    proa_str raw;
    proa_str data;
    proa_time_ns t;
    struct proa_duration d;
    struct proa_quantity q;
    enum color c;
    PROA_OPTIONAL(proa_str) o;
    PROA_ARRAY_OF(int64_t) list;
    PROA_MAP_OF(proa_str) map;
};
PROA_DESCRIBE(row, (b, boolean), (i, i8), (l, i64), (u, u64), (f, f64), (s, str), (raw, raw), (data, bytes),
              (t, timestamp), (d, duration), (q, quantity), (c, enumeration(color)), (o, optional(str)),
              (list, array(i64)), (map, map(str)));

/* Each value into each member; what fits goes into JSON and SQL again. */
static void fuzz_value(struct proa_arena *arena, proa_str text)
{
    for (uint32_t i = 0; i < row_type.type.fields_count; i++) {
        struct proa_field field = row_type.type.fields[i];
        const struct proa_type type = {.name = "row", .size = row_type.type.size, .fields = &field, .fields_count = 1};
        const struct db_column column = {proa_field_name(&field)};
        struct proa_error err = {0};
        struct proa_value value;
        struct db_rows rows;
        struct proa_buf json;

        db_rows_init(&rows, &type, (struct proa_sql){.arena = arena, .err = &err}, 1, true);
        must(db_rows_columns(&rows, &column, 1) == 0 && db_rows_begin_row(&rows) == 0);
        if (db_rows_text(&rows, 0, text) < 0) {
            must(err.message[0]);
            continue;
        }
        must(db_rows_end_row(&rows) == 0 && rows.len == 1);
        must(db_value_of_field(arena, &field, rows.items, &value, &err) == 0);
        proa_buf_init(&json, arena, 0);
        must(proa_json_write_field(&json, 0, &field, rows.items) == 0);
        must(proa_json_check(proa_buf_str(&json), &err) == 0);
    }
}

static void fuzz_statement(struct proa_arena *arena, const char *text)
{
    const struct proa_field **fields;
    struct proa_error err = {0};
    size_t count;
    char *numbered;

    must(db_text_begin(text) >= text);
    (void)db_text_controls(text, true);
    (void)db_text_controls(text, false);
    (void)pg_text_commits(text);
    /* What shares a sync must be a read. */
    must(!pg_text_shares(text) || pg_text_reads(text));
    if (db_bind_names(arena, &row_type.type, text, &numbered, &fields, &count, &err) < 0)
        must(err.message[0]);
    else
        must(count <= row_type.type.fields_count && (count > 0 || strcmp(numbered, text) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    proa_str rest = proa_str_n((const char *)data, size), line;
    struct proa_arena arena;
    char *text;

    proa_arena_init(&arena, NULL, 0);
    text = proa_arena_cstr(&arena, rest);
    must(text);
    fuzz_statement(&arena, text);
    for (int i = 0; i < 64 && size > 0 && proa_str_split(&rest, '\n', &line); i++)
        fuzz_value(&arena, line);
    proa_arena_done(&arena);
    return 0;
}

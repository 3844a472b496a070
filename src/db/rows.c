/* Result columns into described members, by kind, in the request's arena. */
#include "db_internal.h"

#include <assert.h>
#include <math.h>
#include <proa/checked.h>
#include <proa/json.h>
#include <stdlib.h>

enum { ROWS_FIRST = 8 };

void db_rows_init(struct db_rows *rows, const struct proa_type *type, struct proa_sql sql, size_t max_rows, bool is_one)
{
    *rows = (struct db_rows){.type = type, .arena = sql.arena, .err = sql.err, .max_rows = max_rows, .is_one = is_one};
}

void db_rows_again(struct db_rows *rows)
{
    rows->columns_count = 0;
    rows->fields = NULL;
    rows->has_defaults = false;
    rows->len = 0;
    rows->row = NULL;
}

bool db_rows_full(const struct db_rows *rows)
{
    return rows->is_one && rows->len > 0;
}

size_t db_rows_wanted(const struct db_rows *rows)
{
    /* One more tells that there are too many. */
    return rows->is_one ? 1 : rows->max_rows + (rows->max_rows < SIZE_MAX);
}

static bool is_named(const struct proa_field *field, proa_str column)
{
    return field->column ? proa_str_eq_c(column, field->column) : proa_str_eq(column, proa_field_name(field));
}

const struct proa_field *db_field_of_column(const struct proa_type *type, proa_str column)
{
    assert(type->fields || type->fields_count == 0);
    for (uint32_t i = 0; i < type->fields_count; i++)
        if (is_named(&type->fields[i], column))
            return &type->fields[i];
    return NULL;
}

static proa_str column_name(const struct proa_field *field)
{
    return field->column ? proa_str_c(field->column) : proa_field_name(field);
}

/* -- Columns ---------------------------------------------------------------------------------------------------- */

/* Finds the column's member; the one at `guess` is looked at first, since most results follow the struct's order. */
static int map_column(struct db_rows *rows, size_t column, proa_str name)
{
    const struct proa_type *type = rows->type;
    const struct proa_field *field = column < type->fields_count ? &type->fields[column] : NULL;

    if (!field || !is_named(field, name))
        field = db_field_of_column(type, name);
    if (!field)
        return proa_fail(rows->err, PROA_EINTERNAL, "struct %s has no member for column \"" PROA_FMT "\"", type->name,
                         PROA_ARG(name));
    for (size_t i = 0; i < column; i++)
        if (rows->fields[i] == field)
            return proa_fail(rows->err, PROA_EINTERNAL, "the result has two columns \"" PROA_FMT "\"", PROA_ARG(name));
    rows->fields[column] = field;
    return 0;
}

static bool has_column(const struct db_rows *rows, const struct proa_field *field)
{
    for (uint32_t i = 0; i < rows->columns_count; i++)
        if (rows->fields[i] == field)
            return true;
    return false;
}

static int check_members_without_column(struct db_rows *rows)
{
    const struct proa_type *type = rows->type;

    if (rows->columns_count == type->fields_count)
        return 0;
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct proa_field *field = &type->fields[i];

        if (has_column(rows, field))
            continue;
        if (field->default_json)
            rows->has_defaults = true;
        else if (!field->optional)
            return proa_fail(rows->err, PROA_EINTERNAL, "the result has no column \"" PROA_FMT "\" for struct %s",
                             PROA_ARG(column_name(field)), type->name);
    }
    return 0;
}

int db_rows_columns(struct db_rows *rows, const struct db_column *columns, size_t count)
{
    assert(!rows->fields);
    if (count > UINT32_MAX)
        return proa_fail(rows->err, PROA_EINTERNAL, "too many columns");
    rows->fields = proa_arena_calloc(rows->arena, count + 1, sizeof(*rows->fields));
    if (!rows->fields)
        return proa_fail(rows->err, PROA_ENOMEM, "no memory for a result");
    for (size_t i = 0; i < count; i++)
        PROA_TRY(map_column(rows, i, columns[i].name));
    rows->columns_count = (uint32_t)count;
    return check_members_without_column(rows);
}

/* -- Rows ------------------------------------------------------------------------------------------------------- */

static int make_room(struct db_rows *rows)
{
    size_t cap = rows->is_one ? 1 : rows->cap ? rows->cap * 2 : ROWS_FIRST;
    size_t bytes;
    char *items;

    if (rows->len < rows->cap)
        return 0;
    if (!proa_mul_size(cap, rows->type->size, &bytes))
        return proa_fail(rows->err, PROA_ENOMEM, "no memory for rows");
    items = proa_arena_grow(rows->arena, rows->items, rows->cap * rows->type->size, bytes);
    if (!items)
        return proa_fail(rows->err, PROA_ENOMEM, "no memory for rows");
    rows->items = items;
    rows->cap = cap;
    return 0;
}

int db_rows_begin_row(struct db_rows *rows)
{
    assert(rows->fields && !rows->row && !db_rows_full(rows));
    if (rows->len == rows->max_rows)
        return proa_fail(rows->err, PROA_ETOOLARGE, "the result has more than %zu rows", rows->max_rows);
    PROA_TRY(make_room(rows));
    rows->row = rows->items + rows->len * rows->type->size;
    memset(rows->row, 0, rows->type->size);
    if (rows->has_defaults)
        return proa_type_defaults(rows->arena, rows->type, rows->row, rows->err);
    return 0;
}

int db_rows_end_row(struct db_rows *rows)
{
    assert(rows->row);
    rows->row = NULL;
    rows->len++;
    return 0;
}

/* -- Values ----------------------------------------------------------------------------------------------------- */

/* Where a column's value goes. */
struct target {
    struct db_rows *rows;
    const struct proa_field *field;
    void *at;
};

static struct target target_of(struct db_rows *rows, size_t column)
{
    const struct proa_field *field;

    assert(rows->row && column < rows->columns_count);
    field = rows->fields[column];
    return (struct target){rows, field, rows->row + field->value_offset};
}

static int done(const struct target *target)
{
    if (target->field->optional)
        *(enum proa_presence *)(void *)(target->rows->row + target->field->offset) = PROA_SET;
    return 0;
}

/* Values are not quoted: a column may hold what must not be in logs. */
static int misfit(const struct target *target, const char *what)
{
    return proa_fail(target->rows->err, PROA_EINTERNAL, "column \"" PROA_FMT "\" of struct %s: %s",
                     PROA_ARG(column_name(target->field)), target->rows->type->name, what);
}

int db_rows_null(struct db_rows *rows, size_t column)
{
    struct target target = target_of(rows, column);

    if (!target.field->optional)
        return misfit(&target, "NULL, and the member is not optional");
    *(enum proa_presence *)(void *)(rows->row + target.field->offset) = PROA_NULL;
    return 0;
}

static int set_signed(const struct target *target, int64_t value)
{
    switch (target->field->size) {
    case 1: *(int8_t *)target->at = (int8_t)value; return *(int8_t *)target->at == value ? 0 : PROA_ERANGE;
    case 2: *(int16_t *)target->at = (int16_t)value; return *(int16_t *)target->at == value ? 0 : PROA_ERANGE;
    case 4: *(int32_t *)target->at = (int32_t)value; return *(int32_t *)target->at == value ? 0 : PROA_ERANGE;
    default: *(int64_t *)target->at = value; return 0;
    }
}

static int set_unsigned(const struct target *target, uint64_t value)
{
    switch (target->field->size) {
    case 1: *(uint8_t *)target->at = (uint8_t)value; return *(uint8_t *)target->at == value ? 0 : PROA_ERANGE;
    case 2: *(uint16_t *)target->at = (uint16_t)value; return *(uint16_t *)target->at == value ? 0 : PROA_ERANGE;
    case 4: *(uint32_t *)target->at = (uint32_t)value; return *(uint32_t *)target->at == value ? 0 : PROA_ERANGE;
    default: *(uint64_t *)target->at = value; return 0;
    }
}

static int set_text(const struct target *target, proa_str text)
{
    proa_str copy;

    if (!proa_utf8_valid(text))
        return misfit(target, "not UTF-8");
    copy = proa_arena_str(target->rows->arena, text);
    if (!copy.ptr)
        return proa_fail(target->rows->err, PROA_ENOMEM, "no memory for a result");
    *(proa_str *)target->at = copy;
    return done(target);
}

static int set_bytes(const struct target *target, proa_str bytes)
{
    proa_str copy = proa_arena_str(target->rows->arena, bytes);

    if (!copy.ptr)
        return proa_fail(target->rows->err, PROA_ENOMEM, "no memory for a result");
    *(proa_str *)target->at = copy;
    return done(target);
}

/* Lists, maps and nested structs are JSON in one column. */
static int set_json(const struct target *target, proa_str json)
{
    struct proa_error why = {0};
    proa_str copy = proa_arena_str(target->rows->arena, json);
    int rc;

    if (!copy.ptr)
        return proa_fail(target->rows->err, PROA_ENOMEM, "no memory for a result");
    if (target->field->container == PROA_SINGLE && target->field->kind == PROA_RAW) {
        if (proa_json_check(copy, NULL) < 0)
            return misfit(target, "not JSON");
        *(proa_str *)target->at = copy;
        return done(target);
    }
    rc = proa_json_read_field(target->rows->arena, copy, PROA_JSON_LENIENT, target->field, target->rows->row, &why);
    if (rc == PROA_ENOMEM)
        return proa_fail(target->rows->err, rc, "no memory for a result");
    return rc < 0 ? misfit(target, why.message) : 0;
}

int db_rows_i64(struct db_rows *rows, size_t column, int64_t value)
{
    struct target target = target_of(rows, column);
    char text[PROA_I64_TEXT_MAX];

    if (target.field->container != PROA_SINGLE)
        return misfit(&target, "a number, and the member is a list or map");
    switch ((enum proa_kind)target.field->kind) {
    case PROA_BOOLEAN:
        if (value != 0 && value != 1)
            return misfit(&target, "a number that is neither 0 nor 1");
        *(bool *)target.at = value;
        return done(&target);
    case PROA_I8:
    case PROA_I16:
    case PROA_I32:
    case PROA_I64: return set_signed(&target, value) < 0 ? misfit(&target, "the number does not fit") : done(&target);
    case PROA_U8:
    case PROA_U16:
    case PROA_U32:
    case PROA_U64:
        if (value < 0 || set_unsigned(&target, (uint64_t)value) < 0)
            return misfit(&target, "the number does not fit");
        return done(&target);
    case PROA_F64: *(double *)target.at = (double)value; return done(&target);
    case PROA_DURATION:
    case PROA_QUANTITY:
        /* Both are one unsigned number: nanoseconds, bytes. */
        if (value < 0)
            return misfit(&target, "a negative number");
        *(uint64_t *)target.at = (uint64_t)value;
        return done(&target);
    case PROA_TEXT: return set_text(&target, proa_str_n(text, proa_i64_text(value, text)));
    case PROA_RAW: return set_json(&target, proa_str_n(text, proa_i64_text(value, text)));
    case PROA_ENUMERATION:
    case PROA_OBJECT:
    case PROA_BYTES:
    case PROA_TIMESTAMP: break;
    }
    return misfit(&target, "a number, and the member is of another kind");
}

int db_rows_f64(struct db_rows *rows, size_t column, double value)
{
    struct target target = target_of(rows, column);
    char text[PROA_DOUBLE_TEXT_MAX];

    if (!isfinite(value))
        return misfit(&target, "not a finite number");
    if (target.field->container != PROA_SINGLE)
        return misfit(&target, "a number, and the member is a list or map");
    switch ((enum proa_kind)target.field->kind) {
    case PROA_I8:
    case PROA_I16:
    case PROA_I32:
    case PROA_I64:
    case PROA_U8:
    case PROA_U16:
    case PROA_U32:
    case PROA_U64:
        /* "3.0" is what some sums are; beyond 2^53 a double may stand for its neighbour. */
        if (value != trunc(value) || fabs(value) > 0x1p53)
            return misfit(&target, "a fraction, and the member is a whole number");
        return db_rows_i64(rows, column, (int64_t)value);
    case PROA_F64: *(double *)target.at = value; return done(&target);
    case PROA_TEXT: return set_text(&target, proa_str_n(text, proa_double_text(value, text)));
    case PROA_RAW: return set_json(&target, proa_str_n(text, proa_double_text(value, text)));
    default: return misfit(&target, "a fraction, and the member is of another kind");
    }
}

int db_rows_bytes(struct db_rows *rows, size_t column, proa_str bytes)
{
    struct target target = target_of(rows, column);

    if (target.field->kind != PROA_BYTES || target.field->container != PROA_SINGLE)
        return misfit(&target, "bytes, and the member is of another kind");
    return set_bytes(&target, bytes);
}

/* -- Values that are text --------------------------------------------------------------------------------------- */

static int read_boolean(proa_str text, bool *ret_value)
{
    static const struct {
        proa_str name;
        bool value;
    } names[] = {
        {PROA_STR_INIT("t"), true}, {PROA_STR_INIT("f"), false},     {PROA_STR_INIT("true"), true},
        {PROA_STR_INIT("1"), true}, {PROA_STR_INIT("false"), false}, {PROA_STR_INIT("0"), false},
    };

    for (size_t i = 0; i < PROA_COUNT(names); i++) {
        if (proa_str_eq(text, names[i].name)) {
            *ret_value = names[i].value;
            return 0;
        }
    }
    return PROA_ESYNTAX;
}

static bool has_offset(proa_str time)
{
    /* Behind the date, whose dashes are none. */
    for (size_t i = 10; i < time.len; i++)
        if (time.ptr[i] == '+' || time.ptr[i] == '-' || time.ptr[i] == 'Z' || time.ptr[i] == 'z')
            return true;
    return false;
}

/* RFC 3339, and what PostgreSQL and SQLite's date functions write: "2026-01-02", "2026-01-02 03:04:05.678",
 * "2026-01-02 03:04:05+00"; without an offset it is UTC. */
static int read_time(proa_str text, proa_time_ns *ret_time)
{
    enum { DATE = 10, TEXT_MAX = 48, ROOM = 16 };
    char out[TEXT_MAX + ROOM];
    size_t len = text.len;

    if (len < DATE || len > TEXT_MAX)
        return PROA_ESYNTAX;
    memcpy(out, text.ptr, len);
    if (len == DATE) {
        memcpy(out + len, "T00:00:00", 9);
        len += 9;
    }
    if (out[DATE] == ' ')
        out[DATE] = 'T';
    if (!has_offset(proa_str_n(out, len))) {
        out[len++] = 'Z';
    } else if (out[len - 3] == '+' || out[len - 3] == '-') {
        memcpy(out + len, ":00", 3);
        len += 3;
    }
    return proa_time_parse(proa_str_n(out, len), ret_time);
}

static int read_unsigned(const struct target *target, proa_str text)
{
    uint64_t value;

    if (proa_str_to_u64(text, &value) < 0 || set_unsigned(target, value) < 0)
        return misfit(target, "not a number that fits");
    return done(target);
}

/* A bigint column has them in their unit, a text column as configuration writes them. */
static int read_measure(const struct target *target, proa_str text)
{
    uint64_t value;
    int rc = proa_str_to_u64(text, &value);

    if (rc < 0)
        rc = target->field->kind == PROA_DURATION ? proa_duration_parse(text, &value) : proa_bytes_parse(text, &value);
    if (rc < 0)
        return misfit(target, target->field->kind == PROA_DURATION ? "not a duration" : "not a number of bytes");
    *(uint64_t *)target->at = value;
    return done(target);
}

static int read_enumeration(const struct target *target, proa_str text)
{
    int value;

    if (!proa_enum_value(target->field->names, text, &value))
        return misfit(target, "not a name of the enumeration");
    /* Enumerations are ints to the compilers we know, unless they are told otherwise. */
    if (set_signed(target, value) < 0)
        return misfit(target, "a value that the enumeration cannot hold");
    return done(target);
}

int db_rows_text(struct db_rows *rows, size_t column, proa_str text)
{
    struct target target = target_of(rows, column);
    int64_t number;

    if (target.field->container != PROA_SINGLE)
        return set_json(&target, text);
    switch ((enum proa_kind)target.field->kind) {
    case PROA_BOOLEAN: return read_boolean(text, target.at) < 0 ? misfit(&target, "not a boolean") : done(&target);
    case PROA_I8:
    case PROA_I16:
    case PROA_I32:
    case PROA_I64:
        if (proa_str_to_i64(text, &number) < 0 || set_signed(&target, number) < 0)
            return misfit(&target, "not a number that fits");
        return done(&target);
    case PROA_U8:
    case PROA_U16:
    case PROA_U32:
    case PROA_U64: return read_unsigned(&target, text);
    case PROA_F64:
        return proa_str_to_double(text, target.at) < 0 ? misfit(&target, "not a finite number") : done(&target);
    case PROA_TEXT: return set_text(&target, text);
    case PROA_ENUMERATION: return read_enumeration(&target, text);
    case PROA_OBJECT:
    case PROA_RAW: return set_json(&target, text);
    case PROA_BYTES: return set_bytes(&target, text);
    case PROA_TIMESTAMP: return read_time(text, target.at) < 0 ? misfit(&target, "not a time") : done(&target);
    case PROA_DURATION:
    case PROA_QUANTITY: return read_measure(&target, text);
    }
    return misfit(&target, "the member has no kind");
}

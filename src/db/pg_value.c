/* Parameters and rows.
 *
 * Parameters go as text with types left open, so that the server takes the type from the statement: `WHERE id = $1` is
 * a bigint, `data = $1` a jsonb, `at < $1` a timestamptz, and a prepared statement does not depend on what it was first
 * called with. Only bytes go in binary, as they are. Results come as text, which every type has: what costs
 * is formatting on the server, and there text and binary differ by less than can be measured for a row of a few
 * columns.
 */
#include "pg_internal.h"

#include <math.h>
#include <proa/checked.h>
#include <stdlib.h>

/* Of pg_type.dat; they never change. */
enum { OID_BYTEA = 17, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_FLOAT4 = 700, OID_FLOAT8 = 701 };

static int scratch_reserve(struct pg_loop *pl, size_t count)
{
    size_t cap = count < 16 ? 16 : count;
    const char **values;
    int *lengths, *formats;

    if (count <= pl->values_cap)
        return 0;
    values = realloc(pl->values, cap * sizeof *values);
    if (values)
        pl->values = values;
    lengths = realloc(pl->lengths, cap * sizeof *lengths);
    if (lengths)
        pl->lengths = lengths;
    formats = realloc(pl->formats, cap * sizeof *formats);
    if (formats)
        pl->formats = formats;
    if (!values || !lengths || !formats)
        return PROA_ENOMEM;
    pl->values_cap = cap;
    return 0;
}

enum { NUMBER_ROOM = 48 };
_Static_assert((int)NUMBER_ROOM > (int)PROA_TIME_TEXT_MAX && (int)NUMBER_ROOM > (int)PROA_DOUBLE_TEXT_MAX, "room");

/* Bytes of pl->text that all parameters need, each with its NUL. */
static int text_room(const struct db_statement *statement, size_t *ret_room, struct proa_error *err)
{
    size_t room = 0;

    for (size_t i = 0; i < statement->values_count; i++) {
        const struct proa_value *value = &statement->values[i];
        bool is_text = value->kind == PROA_VALUE_TEXT || value->kind == PROA_VALUE_JSON;

        if (!proa_add_size(room, is_text ? value->as.str.len + 1 : NUMBER_ROOM, &room))
            return proa_fail(err, PROA_ETOOLARGE, "PostgreSQL: the parameters are too large");
    }
    *ret_room = room;
    return 0;
}

/* Writes one parameter at `out`. @returns its length without the NUL, or an error. */
static int param_text(const struct proa_value *value, size_t number, char *out, struct proa_error *err)
{
    switch (value->kind) {
    case PROA_VALUE_I64: return (int)proa_i64_text(value->as.i64, out);
    case PROA_VALUE_U64:
        if (value->as.u64 > INT64_MAX)
            return proa_fail(err, PROA_ERANGE, "PostgreSQL: parameter $%zu is above 2^63-1", number);
        return (int)proa_u64_text(value->as.u64, out);
    case PROA_VALUE_F64: return (int)proa_double_text(value->as.f64, out); /* finite: db.c has checked */
    case PROA_VALUE_BOOL: out[0] = value->as.boolean ? 't' : 'f'; return 1;
    case PROA_VALUE_TIME: return (int)proa_time_text(value->as.i64, 6, out);
    case PROA_VALUE_TEXT:
    case PROA_VALUE_JSON:
        if (value->as.str.len > INT32_MAX / 2)
            return proa_fail(err, PROA_ETOOLARGE, "PostgreSQL: parameter $%zu is too large", number);
        if (value->as.str.len && memchr(value->as.str.ptr, 0, value->as.str.len))
            return proa_fail(err, PROA_EVALIDATION, "PostgreSQL: parameter $%zu has a NUL character", number);
        if (value->as.str.len)
            memcpy(out, value->as.str.ptr, value->as.str.len);
        return (int)value->as.str.len;
    default: return proa_fail(err, PROA_EINTERNAL, "PostgreSQL: parameter $%zu is of no known kind", number);
    }
}

int pg_params(struct pg_loop *pl, const struct db_statement *statement, struct proa_error *err)
{
    size_t room = 0;
    char *out;

    if (statement->values_count > UINT16_MAX)
        return proa_fail(err, PROA_EINVAL, "PostgreSQL: more than 65,535 parameters");
    PROA_TRY(text_room(statement, &room, err));
    proa_buf_clear(&pl->text);
    if (scratch_reserve(pl, statement->values_count) < 0 || proa_buf_reserve(&pl->text, room) < 0)
        return proa_fail(err, PROA_ENOMEM, "PostgreSQL: no memory for the parameters");
    out = pl->text.ptr;
    pl->values_bytes = 0;
    for (size_t i = 0; i < statement->values_count; i++) {
        const struct proa_value *value = &statement->values[i];
        int len;

        pl->formats[i] = 0;
        if (value->kind == PROA_VALUE_NULL) {
            pl->values[i] = NULL;
            pl->lengths[i] = 0;
            continue;
        }
        if (value->kind == PROA_VALUE_BYTES) {
            if (value->as.str.len > INT32_MAX / 2)
                return proa_fail(err, PROA_ETOOLARGE, "PostgreSQL: parameter $%zu is too large", i + 1);
            pl->values[i] = value->as.str.len ? value->as.str.ptr : "";
            pl->lengths[i] = (int)value->as.str.len;
            pl->formats[i] = 1;
            pl->values_bytes += value->as.str.len;
            continue;
        }
        len = param_text(value, i + 1, out, err);
        if (len < 0)
            return len;
        pl->values[i] = out;
        pl->lengths[i] = len;
        pl->values_bytes += (size_t)len;
        out += len;
        *out++ = '\0';
    }
    return 0;
}

static int give_bytes(struct pg_loop *pl, struct pg_call *call, size_t column, proa_str text)
{
    size_t bytes;

    if (text.len < 2 || text.ptr[0] != '\\' || text.ptr[1] != 'x')
        return proa_fail(call->sql.err, PROA_EPROTOCOL, "PostgreSQL: bytea is not in hexadecimal");
    bytes = (text.len - 2) / 2;
    proa_buf_clear(&pl->text);
    if (proa_buf_reserve(&pl->text, bytes + 1) < 0)
        return proa_fail(call->sql.err, PROA_ENOMEM, "PostgreSQL: no memory for a result");
    if (proa_hex_decode((unsigned char *)pl->text.ptr, bytes, proa_str_n(text.ptr + 2, text.len - 2)) < 0)
        return proa_fail(call->sql.err, PROA_EPROTOCOL, "PostgreSQL: bytea is not in hexadecimal");
    return db_rows_bytes(call->statement->rows, column, proa_str_n(pl->text.ptr, bytes));
}

static int give_value(struct pg_loop *pl, struct pg_call *call, size_t column, Oid type, proa_str text)
{
    struct db_rows *rows = call->statement->rows;
    int64_t number;

    switch (type) {
    case OID_INT8:
    case OID_INT4:
    case OID_INT2:
        if (proa_str_to_i64(text, &number) < 0)
            return proa_fail(call->sql.err, PROA_EPROTOCOL, "PostgreSQL: an integer that is none");
        return db_rows_i64(rows, column, number);
    case OID_FLOAT8:
    case OID_FLOAT4:
        if (proa_str_eq_c(text, "NaN"))
            return db_rows_f64(rows, column, (double)NAN);
        if (proa_str_eq_c(text, "Infinity") || proa_str_eq_c(text, "-Infinity"))
            return db_rows_f64(rows, column, text.ptr[0] == '-' ? (double)-INFINITY : (double)INFINITY);
        return db_rows_text(rows, column, text);
    case OID_BYTEA: return give_bytes(pl, call, column, text);
    default: return db_rows_text(rows, column, text);
    }
}

static int give_columns(struct pg_loop *pl, struct pg_call *call, const PGresult *result, size_t count)
{
    if (count > pl->columns_cap) {
        struct db_column *columns = realloc(pl->columns, count * sizeof *columns);

        if (!columns)
            return proa_fail(call->sql.err, PROA_ENOMEM, "PostgreSQL: no memory for a result");
        pl->columns = columns;
        pl->columns_cap = count;
    }
    for (size_t i = 0; i < count; i++)
        pl->columns[i] = (struct db_column){proa_str_c(PQfname(result, (int)i))};
    call->has_columns = true;
    return db_rows_columns(call->statement->rows, pl->columns, count);
}

static int give_row(struct pg_loop *pl, struct pg_call *call, const PGresult *result, int row, int count)
{
    PROA_TRY(db_rows_begin_row(call->statement->rows));
    for (int i = 0; i < count; i++) {
        int len = PQgetlength(result, row, i);

        /* an empty value and NULL both have no length */
        if (len == 0 && PQgetisnull(result, row, i))
            PROA_TRY(db_rows_null(call->statement->rows, (size_t)i));
        else
            PROA_TRY(give_value(pl, call, (size_t)i, PQftype(result, i),
                                proa_str_n(PQgetvalue(result, row, i), (size_t)len)));
    }
    return db_rows_end_row(call->statement->rows);
}

static int give_rows(struct pg_loop *pl, struct pg_call *call, const PGresult *result)
{
    int count = PQnfields(result), rows = PQntuples(result);

    if (!call->has_columns)
        PROA_TRY(give_columns(pl, call, result, (size_t)count));
    for (int row = 0; row < rows && !db_rows_full(call->statement->rows); row++)
        PROA_TRY(give_row(pl, call, result, row, count));
    return 0;
}

/* "INSERT 0 5", "UPDATE 5", … */
static uint64_t rows_changed(PGresult *result)
{
    static const char *const changing[] = {"INSERT", "UPDATE", "DELETE", "MERGE"};
    const char *status = PQcmdStatus(result);
    uint64_t changed = 0;

    for (size_t i = 0; i < PROA_COUNT(changing); i++) {
        if (strncmp(status, changing[i], strlen(changing[i])) == 0 &&
            proa_str_to_u64(proa_str_c(PQcmdTuples(result)), &changed) == 0)
            return changed;
    }
    return 0;
}

void pg_rows(struct pg_loop *pl, struct pg_call *call, const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    if (!call->statement || call->rc < 0)
        return;
    if (call->statement->rows && (status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE))
        call->rc = give_rows(pl, call, result);
    if (status != PGRES_SINGLE_TUPLE && *PQcmdStatus((PGresult *)(uintptr_t)result) != 'S')
        call->statement->changed = rows_changed((PGresult *)(uintptr_t)result);
}

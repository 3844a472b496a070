/** What the files of the SQL interface share with each other, and drivers do not see. */
#ifndef PROA_DB_INTERNAL_H
#define PROA_DB_INTERNAL_H

#include "driver.h"

/** Where the rows of one statement land. */
struct db_rows {
    const struct proa_type *type;
    struct proa_arena *arena;
    struct proa_error *err;
    size_t max_rows; /**< more are an error; of proa_db_one: 1, more are not wanted */
    bool is_one;
    uint32_t columns_count;
    const struct proa_field **fields; /**< of each column */
    bool has_defaults;                /**< a member without a column has a default */
    char *items;                      /**< rows, type->size bytes each, in the arena */
    size_t len;
    size_t cap;
    char *row; /**< the present one */
};

void db_rows_init(struct db_rows *rows, const struct proa_type *type, struct proa_sql sql, size_t max_rows,
                  bool is_one);

/* db_calls.c: what runs on each loop, so that closing can wait for it. */
PROA_MUST_USE int db_parts_new(struct proa_db *db);
void db_parts_free(struct proa_db *db);
/** A call begins. @returns PROA_EUNAVAILABLE when the database is being closed, PROA_EINVAL when it is of other
 *  loops. */
PROA_MUST_USE int db_call_enter(struct proa_sql sql, struct db_part **ret_part);
/** It has ended: nothing of the database may be touched any more. */
void db_call_leave(struct db_part *part);
/** Until every call has left; what begins is refused from here. Suspends when there are several loops, or calls. */
void db_calls_end(struct proa_db *db);

/** One statement through checks, the transaction's rules, the driver and the metrics. May suspend. */
PROA_MUST_USE int db_run(struct proa_sql sql, struct db_statement *statement);
/** The same, though the transaction has failed: to leave or undo a savepoint. */
PROA_MUST_USE int db_run_always(struct proa_sql sql, struct db_statement *statement);

/** The field of this column name, NULL if none. */
const struct proa_field *db_field_of_column(const struct proa_type *type, proa_str column);
/** A member as a parameter. */
PROA_MUST_USE int db_value_of_field(struct proa_arena *arena, const struct proa_field *field, const void *struct_ptr,
                                    struct proa_value *ret_value, struct proa_error *err);
/** Replaces the :names of a statement by $1, $2, …; the fields in that order. */
PROA_MUST_USE int db_bind_names(struct proa_arena *arena, const struct proa_type *type, const char *text,
                                char **ret_text, const struct proa_field ***ret_fields, size_t *ret_count,
                                struct proa_error *err);

/* db_span.c: a span around a statement, where the fiber's present span is recorded. */
/** Learns the server's address and the database's name from the URL. */
PROA_MUST_USE int db_span_target(struct proa_db *db, const char *url, struct proa_error *err);
void db_span_target_free(struct proa_db *db);
/** @returns whether *ret_span was begun. */
bool db_span_begin(struct proa_sql sql, const char *text, struct proa_span *ret_span);
void db_span_end(struct proa_sql sql, struct proa_span *span, int rc);

/* db_metrics.c */
struct db_metrics;
PROA_MUST_USE int db_metrics_new(struct proa_db *db, struct proa_error *err);
void db_metrics_free(struct db_metrics *metrics);
/** Writes the pools' sizes once the driver has settled them. */
void db_metrics_limits(struct proa_db *db);
/** One operation of `text` that ended with `rc` (0 or an error). */
void db_metrics_operation(struct proa_sql sql, const char *text, int rc, proa_mono_ns began);

#endif

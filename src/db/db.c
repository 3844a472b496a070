/* The SQL interface: opening, choosing the driver, and statements on their way to it. */
#include "db_internal.h"

#include "base/defaults.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum {
    SHARED_PER_LOOP = 2,
    SHARED_MAX = 8,
    SQLITE_READERS = 4, /* they take threads of the blocking pool */
    OWN_DEFAULT = 16,
    WAITING_DEFAULT = 1000,
    STATEMENT_MS_DEFAULT = 15000,
    CONNECT_MS_DEFAULT = 5000,
};

/* -- Opening ---------------------------------------------------------------------------------------------------- */

static const struct proa_db_driver *driver_of(const struct proa_db_options *options, proa_str scheme)
{
    for (const struct proa_db_driver *const *driver = options->drivers; driver && *driver; driver++)
        for (const char *const *name = (*driver)->schemes; *name; name++)
            if (proa_str_eq_c(scheme, *name))
                return *driver;
    return NULL;
}

/* NULL: *ret_rc and err say why. */
static const struct proa_db_driver *choose_driver(const struct proa_db_options *options, int *ret_rc,
                                                  struct proa_error *err)
{
    proa_str rest = proa_str_c(options->url), scheme;
    const struct proa_db_driver *driver;

    if (rest.len == 0 || proa_str_find_char(rest, ':') <= 0) {
        *ret_rc = proa_fail(err, PROA_EINVAL, "the database's URL does not begin with a scheme such as \"sqlite:\"");
        return NULL;
    }
    proa_str_split(&rest, ':', &scheme);
    driver = driver_of(options, scheme);
    /* The rest of the URL may hold a password, and so may what stands before a colon that is no scheme's. */
    if (!driver)
        *ret_rc = proa_fail(err, PROA_EUNSUPPORTED, "no driver of this program knows the scheme of the database's URL");
    return driver;
}

static void fill_defaults(struct proa_db *db)
{
    struct proa_db_options *options = &db->options;

    if (!options->shared_connections) {
        options->shared_connections =
            strcmp(db->driver->system, "sqlite") == 0 ? SQLITE_READERS : SHARED_PER_LOOP * db->loops_count;
        if (options->shared_connections > SHARED_MAX)
            options->shared_connections = SHARED_MAX;
    }
    fill_u32(&options->own_connections, OWN_DEFAULT);
    fill_u32(&options->waiting_max, WAITING_DEFAULT);
    fill_u32(&options->statement_ms, STATEMENT_MS_DEFAULT);
    fill_u32(&options->connect_ms, CONNECT_MS_DEFAULT);
}

static void db_free(struct proa_db *db)
{
    if (!db)
        return;
    db_metrics_free(db->metrics);
    db_span_target_free(db);
    db_parts_free(db);
    free((void *)db->loops);
    free((char *)db->options.url);
    free(db);
}

static int note_loops(struct proa_db *db, const struct proa_db_options *options)
{
    uint32_t count = options->loops ? proa_loops_count(options->loops) : 1;
    struct proa_loop **loops = calloc(count, sizeof *loops);

    if (!loops)
        return PROA_ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        loops[i] = options->loops ? proa_loops_at(options->loops, i) : options->loop;
    db->loops = loops;
    db->loops_count = count;
    return 0;
}

static int set_up(struct proa_db *db, const struct proa_db_options *options, struct proa_error *err)
{
    db->options = *options;
    db->options.url = strdup(options->url);
    if (!db->options.url || note_loops(db, options) < 0 || db_parts_new(db) < 0)
        return proa_fail(err, PROA_ENOMEM, "no memory for a database");
    fill_defaults(db);
    if (options->logger)
        db->logger = (struct proa_logger){
            .log = options->logger->log, .target = db->driver->log_target, .parent = options->logger};
    if (options->metrics)
        PROA_TRY(db_metrics_new(db, err));
    if (options->tracer)
        PROA_TRY(db_span_target(db, options->url, err));
    PROA_TRY(db->driver->open(db, err));
    db_metrics_limits(db);
    return 0;
}

int proa_db_open(const struct proa_db_options *options, struct proa_db **ret_db, struct proa_error *err)
{
    const struct proa_db_driver *driver;
    struct proa_db *db;
    int rc = 0;

    assert(options->loops || options->loop);
    driver = choose_driver(options, &rc, err);
    if (!driver)
        return rc;
    db = calloc(1, sizeof *db);
    if (!db)
        return proa_fail(err, PROA_ENOMEM, "no memory for a database");
    db->driver = driver;
    rc = set_up(db, options, err);
    if (rc < 0) {
        db_free(db);
        return rc;
    }
    *ret_db = db;
    return 0;
}

int proa_db_set_url(struct proa_db *db, const char *url, struct proa_error *err)
{
    const struct proa_db_options options = {.url = url, .drivers = db->options.drivers};
    const struct proa_db_driver *driver;
    char *copy;
    int rc = 0;

    if (strcmp(url, db->options.url) == 0)
        return 0;
    driver = choose_driver(&options, &rc, err);
    if (!driver)
        return rc;
    if (driver != db->driver || !driver->set_url)
        return proa_fail(err, PROA_EUNSUPPORTED,
                         driver != db->driver
                             ? "the database cannot become one of another kind while the program runs: "
                               "that needs a restart"
                             : "this database's URL cannot change while the program runs: that needs a "
                               "restart");
    copy = strdup(url);
    if (!copy)
        return proa_fail(err, PROA_ENOMEM, "no memory for a database");
    rc = driver->set_url(db, url, err);
    if (rc == 0 && db->target)
        rc = db_span_target(db, url, err);
    if (rc < 0) {
        free(copy);
        return rc;
    }
    free((char *)db->options.url);
    db->options.url = copy;
    return 0;
}

void proa_db_close(struct proa_db *db)
{
    if (!db)
        return;
    if (db->driver->stop)
        db->driver->stop(db);
    db_calls_end(db);
    db->driver->close(db);
    db_free(db);
}

const char *proa_db_system(const struct proa_db *db)
{
    return db->driver->system;
}

/* -- Statements ------------------------------------------------------------------------------------------------- */

const char *proa_db_constraint(const struct proa_error *err)
{
    return err->origin;
}

void db_set_constraint(struct proa_error *err, proa_str name)
{
    proa_str cut;

    if (!err)
        return;
    cut = proa_utf8_cut(name, sizeof err->origin - 1);
    if (cut.len > 0)
        memcpy(err->origin, cut.ptr, cut.len);
    err->origin[cut.len] = 0;
}

/* What no database can hold, or not both alike. */
static int check_value(const struct proa_value *value, size_t number, struct proa_error *err)
{
    switch (value->kind) {
    case PROA_VALUE_U64:
        if (value->as.u64 > INT64_MAX)
            return proa_fail(err, PROA_ERANGE, "parameter $%zu is larger than SQL's integers", number);
        return 0;
    case PROA_VALUE_F64:
        if (!isfinite(value->as.f64))
            return proa_fail(err, PROA_EINVAL, "parameter $%zu is not a finite number", number);
        return 0;
    case PROA_VALUE_TEXT:
    case PROA_VALUE_JSON:
        if (proa_str_find_char(value->as.str, 0) >= 0)
            return proa_fail(err, PROA_EVALIDATION, "text with a zero byte cannot be stored (parameter $%zu)", number);
        if (!proa_utf8_valid(value->as.str))
            return proa_fail(err, PROA_EVALIDATION, "text that is not UTF-8 cannot be stored (parameter $%zu)", number);
        return 0;
    case PROA_VALUE_NULL:
    case PROA_VALUE_I64:
    case PROA_VALUE_BOOL:
    case PROA_VALUE_BYTES:
    case PROA_VALUE_TIME: return 0;
    }
    return proa_fail(err, PROA_EINVAL, "parameter $%zu has no kind", number);
}

static int run_measured(struct proa_sql sql, struct db_statement *statement)
{
    proa_mono_ns began = sql.db->metrics ? proa_loop_now_exact(sql.loop) : 0;
    struct proa_span span;
    bool is_traced =
        atomic_load_explicit(&sql.db->target, memory_order_acquire) && db_span_begin(sql, statement->text, &span);
    int rc;

    statement->changed = 0;
    rc = sql.db->driver->run(sql, statement);
    if (is_traced)
        db_span_end(sql, &span, rc);
    if (sql.db->metrics)
        db_metrics_operation(sql, statement->text, rc, began);
    return rc;
}

int db_run_always(struct proa_sql sql, struct db_statement *statement)
{
    struct db_part *part;
    int rc;

    if (sql.tx)
        return run_measured(sql, statement); /* the transaction is a call itself */
    PROA_TRY(db_call_enter(sql, &part));
    rc = run_measured(sql, statement);
    db_call_leave(part);
    return rc;
}

/* After an error PostgreSQL lets nothing through until the transaction, or its savepoint, was rolled back, while SQLite
 * would go on. A program that was tried on one must not be surprised on the other. */
static int check_transaction(struct proa_sql sql)
{
    if (!sql.tx)
        return 0;
    if (sql.tx->is_broken)
        return proa_fail(sql.err, PROA_EUNAVAILABLE, "the transaction's connection is lost");
    if (sql.tx->is_failed)
        return proa_fail(sql.err, PROA_EINTERNAL, "a statement of this transaction failed before: it can only end");
    return 0;
}

/* A single statement is looked at where it is prepared. */
static int check_text(struct proa_sql sql, const char *text)
{
    if ((sql.tx || sql.is_long) && db_text_controls(text, sql.tx))
        return proa_fail(sql.err, PROA_EINTERNAL, "transactions are begun and ended by proa_db_transaction");
    return 0;
}

int db_run(struct proa_sql sql, struct db_statement *statement)
{
    int rc;

    assert(!sql.tx || sql.tx->db == sql.db);
    for (size_t i = 0; i < statement->values_count; i++)
        PROA_TRY(check_value(&statement->values[i], i + 1, sql.err));
    PROA_TRY(check_transaction(sql));
    rc = check_text(sql, statement->text);
    if (rc == 0)
        rc = db_run_always(sql, statement);
    if (rc < 0 && sql.tx)
        sql.tx->is_failed = true;
    return rc;
}

int proa_db_exec_values(struct proa_sql sql, uint64_t *ret_rows, const char *text, const struct proa_value *values,
                        size_t count)
{
    struct db_statement statement = {.text = text, .values = values, .values_count = count};

    PROA_TRY(db_run(sql, &statement));
    if (ret_rows)
        *ret_rows = statement.changed;
    return 0;
}

int proa_db_one_type(struct proa_sql sql, const struct proa_type *type, void *ret_row, const char *text,
                     const struct proa_value *values, size_t count)
{
    struct db_rows rows;
    struct db_statement statement = {.text = text, .values = values, .values_count = count, .rows = &rows};

    db_rows_init(&rows, type, sql, 1, true);
    PROA_TRY(db_run(sql, &statement));
    if (rows.len == 0)
        return proa_fail(sql.err, PROA_ENOTFOUND, "no such row");
    memcpy(ret_row, rows.items, type->size);
    return 0;
}

int proa_db_all_type(struct proa_sql sql, const struct proa_type *type, void **ret_rows, size_t *ret_count,
                     size_t max_rows, const char *text, const struct proa_value *values, size_t count)
{
    struct db_rows rows;
    struct db_statement statement = {.text = text, .values = values, .values_count = count, .rows = &rows};

    db_rows_init(&rows, type, sql, max_rows, false);
    PROA_TRY(db_run(sql, &statement));
    *ret_rows = rows.items;
    *ret_count = rows.len;
    return 0;
}

int proa_db_ping(struct proa_sql sql)
{
    return proa_db_exec(sql, NULL, "SELECT 1");
}

/* -- Parameters out of described structs ------------------------------------------------------------------------ */

int proa_db_values_type(struct proa_arena *arena, const struct proa_type *type, const void *value, const char *columns,
                        struct proa_value **ret_values, size_t *ret_count)
{
    proa_str rest = proa_str_c(columns), column;
    struct proa_value *values;
    size_t count = 0;

    /* No more than one for each comma and one. */
    for (const char *c = columns; *c; c++)
        count += *c == ',';
    values = proa_arena_calloc(arena, count + 1, sizeof *values);
    if (!values)
        return PROA_ENOMEM;
    count = 0;
    while (proa_str_split(&rest, ',', &column)) {
        const struct proa_field *field = db_field_of_column(type, proa_str_trim(column));

        if (!field)
            return PROA_EINTERNAL;
        PROA_TRY(db_value_of_field(arena, field, value, &values[count++], NULL));
    }
    *ret_values = values;
    *ret_count = count;
    return 0;
}

int proa_db_write_type(struct proa_sql sql, const struct proa_type *type, const void *value,
                       const struct proa_type *ret_type, void *ret_row, const char *text)
{
    const struct proa_field **fields;
    struct proa_value *values;
    size_t count;
    char *numbered;

    PROA_TRY(db_bind_names(sql.arena, type, text, &numbered, &fields, &count, sql.err));
    values = proa_arena_calloc(sql.arena, count + 1, sizeof *values);
    if (!values)
        return proa_fail(sql.err, PROA_ENOMEM, "no memory for parameters");
    for (size_t i = 0; i < count; i++)
        PROA_TRY(db_value_of_field(sql.arena, fields[i], value, &values[i], sql.err));
    return proa_db_one_type(sql, ret_type, ret_row, numbered, values, count);
}

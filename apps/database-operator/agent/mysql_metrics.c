/* Metrics under mysqld_exporter's names; and the binary logs, which are counted here, kept within their share of the volume. */
#include "mysql_internal.h"

#include <proa/checked.h>
#include <sys/statvfs.h>

enum { LOGS_SHARE = 8 };

static const uint64_t logs_min_bytes = (uint64_t)256 << 20;

static const char question[] =
    "SHOW BINARY LOGS;\nSHOW REPLICA STATUS;\nSHOW GLOBAL STATUS;\nSHOW GLOBAL VARIABLES WHERE Variable_name IN ("
    "'innodb_buffer_pool_size', 'innodb_log_buffer_size', 'innodb_log_file_size', 'innodb_redo_log_capacity', "
    "'innodb_io_capacity', 'innodb_flush_log_at_trx_commit', 'join_buffer_size', 'key_buffer_size', "
    "'max_allowed_packet', 'max_binlog_size', 'binlog_expire_logs_seconds', 'max_connections', 'open_files_limit', "
    "'query_cache_size', 'read_buffer_size', 'read_only', 'read_rnd_buffer_size', 'server_id', 'sort_buffer_size', "
    "'super_read_only', 'sync_binlog', 'table_definition_cache', 'table_open_cache', 'thread_cache_size', "
    "'tmp_table_size', 'wait_timeout');\n";

/* Texts of the server that are numbers for the exporter. */
static bool number_of(proa_str text, double *ret_value)
{
    static const struct {
        const char *text;
        double value;
    } words[] = {{"Yes", 1}, {"ON", 1}, {"No", 0}, {"OFF", 0}, {"Connecting", 0}, {"DISABLED", 0}};

    for (size_t i = 0; i < PROA_COUNT(words); i++)
        if (proa_str_eq_nocase(text, proa_str_c(words[i].text))) {
            *ret_value = words[i].value;
            return true;
        }
    return proa_str_to_double(text, ret_value) == 0;
}

/* A family of its own for a name that the server gives. */
static int add_named(struct samples *samples, const char *prefix, proa_str name, double value, const char *help,
                     const struct sample_family *labelled, const proa_str *labels)
{
    struct sample_family *family = proa_arena_new(samples->arena, struct sample_family);
    size_t prefix_len = strlen(prefix);
    char *text = proa_arena_alloc(samples->arena, prefix_len + name.len + 1);

    if (!family || !text)
        return PROA_ENOMEM;
    memcpy(text, prefix, prefix_len);
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? (char)(name.ptr[i] | 32) : name.ptr[i];

        text[prefix_len + i] = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '_';
    }
    text[prefix_len + name.len] = '\0';
    *family = labelled ? *labelled : (struct sample_family){0};
    family->name = text;
    family->help = help;
    return samples_add(samples, family, value, labels);
}

/* -- Status ---------------------------------------------------------------------------------------------------------- */

static const struct sample_family dirty_pages = {.name = "mysql_global_status_buffer_pool_dirty_pages",
                                                 .help = "Innodb buffer pool dirty pages."};
static const struct sample_family pages = {
    .name = "mysql_global_status_buffer_pool_pages", .help = "Innodb buffer pool pages by state.", .labels = {"state"}};
static const struct sample_family page_changes = {.name = "mysql_global_status_buffer_pool_page_changes_total",
                                                  .help = "Innodb buffer pool page state changes.",
                                                  .is_counter = true,
                                                  .labels = {"operation"}};

static int add_page(struct samples *samples, proa_str what, double value)
{
    static const char *const states[] = {"data", "free", "misc", "old"};

    if (proa_str_eq_c(what, "total"))
        return 0;
    if (proa_str_eq_c(what, "dirty"))
        return samples_add(samples, &dirty_pages, value, NULL);
    for (size_t i = 0; i < PROA_COUNT(states); i++)
        if (proa_str_eq_c(what, states[i]))
            return samples_add(samples, &pages, value, &what);
    return samples_add(samples, &page_changes, value, &what);
}

static int add_status(struct samples *samples, proa_str name, double value)
{
    static const struct {
        const char *prefix;
        struct sample_family family;
    } groups[] = {
        {"Com_", {"mysql_global_status_commands_total", "Total number of executed MySQL commands.", true, {"command"}}},
        {"Handler_",
         {"mysql_global_status_handlers_total", "Total number of executed MySQL handlers.", true, {"handler"}}},
        {"Connection_errors_",
         {"mysql_global_status_connection_errors_total", "Total number of MySQL connection errors.", true, {"error"}}},
        {"Innodb_rows_",
         {"mysql_global_status_innodb_row_ops_total",
          "Total number of MySQL InnoDB row operations.",
          true,
          {"operation"}}},
    };
    static const proa_str pages_prefix = PROA_STR_INIT("Innodb_buffer_pool_pages_");

    if (proa_str_starts_with(name, PROA_STR("Performance_schema_")))
        return 0;
    if (proa_str_starts_with(name, pages_prefix))
        return add_page(samples, proa_str_slice(name, pages_prefix.len, name.len), value);
    for (size_t i = 0; i < PROA_COUNT(groups); i++) {
        proa_str rest = proa_str_slice(name, strlen(groups[i].prefix), name.len);

        if (proa_str_starts_with(name, proa_str_c(groups[i].prefix)))
            return samples_add(samples, &groups[i].family, value, &rest);
    }
    return add_named(samples, "mysql_global_status_", name, value, "Generic metric from SHOW GLOBAL STATUS.", NULL,
                     NULL);
}

/* -- Replica --------------------------------------------------------------------------------------------------------- */

static int add_replica(struct samples *samples, const struct my_row *row)
{
    static const struct sample_family labelled = {
        .labels = {"channel_name", "connection_name", "master_host", "master_uuid"}};
    proa_str rest = row->names, column, host = my_value(row, "Source_Host");
    proa_str labels[] = {my_value(row, "Channel_Name"), my_value(row, "Connection_name"),
                         host.ptr ? host : my_value(row, "Master_Host"), my_value(row, "Source_UUID")};

    for (size_t i = 0; proa_str_split(&rest, '\t', &column); i++) {
        double value;

        if (number_of(my_value_at(row, i), &value))
            PROA_TRY(add_named(samples, "mysql_slave_status_", column, value, "Generic metric from SHOW SLAVE STATUS.",
                               &labelled, labels));
    }
    return 0;
}

/* -- Binary logs ----------------------------------------------------------------------------------------------------- */

struct logs {
    proa_str rest; /* its rows */
    uint64_t bytes;
    size_t count;
    proa_str newest;
};

static int add_logs(struct samples *samples, const struct logs *logs)
{
    static const struct sample_family size = {.name = "mysql_binlog_size_bytes",
                                              .help = "Combined size of all registered binlog files."};
    static const struct sample_family files = {.name = "mysql_binlog_files",
                                               .help = "Number of registered binlog files."};
    static const struct sample_family file_number = {.name = "mysql_binlog_file_number",
                                                     .help = "The last binlog file number."};
    ptrdiff_t dot = proa_str_find_char(logs->newest, '.');
    uint64_t number = 0;
    proa_str digits = proa_str_slice(logs->newest, dot < 0 ? 0 : (size_t)dot + 1, logs->newest.len);

    while (digits.len > 1 && digits.ptr[0] == '0')
        digits = proa_str_slice(digits, 1, digits.len);
    PROA_TRY(samples_add(samples, &size, (double)logs->bytes, NULL));
    PROA_TRY(samples_add(samples, &files, (double)logs->count, NULL));
    return proa_str_to_u64(digits, &number) < 0 ? 0 : samples_add(samples, &file_number, (double)number, NULL);
}

static void count_logs(proa_str *rest, const struct my_row *names, struct logs *ret_logs)
{
    struct my_row row = *names;
    proa_str before = *rest;

    *ret_logs = (struct logs){.rest = *rest};
    /* Rows of this result begin with a log's name and its size; the next result's names do not. */
    while (my_next_row(rest, &row)) {
        uint64_t size;

        if (proa_str_to_u64(my_value_at(&row, 1), &size) < 0)
            break;
        ret_logs->bytes = proa_add_u64_sat(ret_logs->bytes, size);
        ret_logs->newest = my_value_at(&row, 0);
        ret_logs->count++;
        before = *rest;
    }
    *rest = before;
}

/* The first log to stay, so that what stays is within the limit or the newest alone. */
static proa_str first_to_stay(const struct logs *logs, uint64_t max_bytes)
{
    proa_str rest = logs->rest;
    uint64_t bytes = logs->bytes;
    struct my_row row = {0};

    for (size_t i = 0; i < logs->count && my_next_row(&rest, &row); i++) {
        uint64_t size = 0;

        if (bytes <= max_bytes || i + 1 == logs->count)
            return i > 0 ? my_value_at(&row, 0) : (proa_str){0};
        proa_ignore(proa_str_to_u64(my_value_at(&row, 1), &size)); /* was read before */
        bytes -= size;
    }
    return (proa_str){0};
}

/* -------------------------------------------------------------------------------------------------------------------- */

static int add_variables(proa_str *rest, const struct my_row *names, bool is_status, struct samples *samples)
{
    struct my_row row = *names;

    while (my_next_row(rest, &row)) {
        proa_str name = my_value_at(&row, 0);
        double value;

        if (proa_str_eq(row.values, names->names)) {
            is_status = false; /* the second of the two results */
            continue;
        }
        if (!number_of(my_value_at(&row, 1), &value))
            continue;
        PROA_TRY(is_status ? add_status(samples, name, value)
                           : add_named(samples, "mysql_global_variables_", name, value,
                                       "Generic gauge metric from SHOW GLOBAL VARIABLES.", NULL, NULL));
    }
    return 0;
}

int my_read_metrics(proa_str output, uint64_t logs_max_bytes, struct samples *samples, proa_str *ret_first_log,
                    struct proa_error *err)
{
    static const struct sample_family up = {.name = "mysql_up", .help = "Whether the MySQL server is up."};
    struct logs logs = {0};
    struct my_row row = {0};

    PROA_TRY(samples_add(samples, &up, 1, NULL));
    while (my_begin_rows(&output, &row)) {
        if (proa_str_starts_with(row.names, PROA_STR("Log_name\t"))) {
            count_logs(&output, &row, &logs);
            PROA_TRY(add_logs(samples, &logs));
        } else if (proa_str_starts_with(row.names, PROA_STR("Variable_name\t"))) {
            PROA_TRY(add_variables(&output, &row, true, samples));
        } else if (my_next_row(&output, &row)) {
            PROA_TRY(add_replica(samples, &row));
        } else {
            return proa_fail(err, PROA_ESYNTAX, "the client's answer ends early");
        }
    }
    *ret_first_log = first_to_stay(&logs, logs_max_bytes);
    return 0;
}

static uint64_t logs_share(const struct instance *instance)
{
    struct statvfs room;
    uint64_t bytes;

    if (statvfs(instance->config->volume_dir.ptr, &room) < 0 || !proa_mul_u64(room.f_blocks, room.f_frsize, &bytes) ||
        bytes / LOGS_SHARE < logs_min_bytes)
        return logs_min_bytes;
    return bytes / LOGS_SHARE;
}

static int collect(const struct instance *instance, struct proa_arena *arena, struct samples *samples,
                   struct proa_error *err)
{
    proa_str output = {0}, first_log = {0};
    struct proa_buf script;

    PROA_TRY(my_run(instance, arena, proa_str_c(question), &output, err));
    PROA_TRY(my_read_metrics(output, logs_share(instance), samples, &first_log, err));
    if (first_log.len == 0)
        return 0;
    proa_buf_init(&script, arena, 0);
    proa_buf_add_c(&script, "PURGE BINARY LOGS TO ");
    my_add_literal(&script, first_log);
    proa_buf_add_c(&script, ";\n");
    if (script.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_INFO(instance->logger, "binary logs took more than their share of the volume: the oldest go",
              proa_kv_str("first_kept", first_log));
    return my_run(instance, arena, proa_buf_str(&script), NULL, err);
}

int my_collect(const struct instance *instance, const struct engine_status *own, struct samples *samples,
               struct proa_error *err)
{
    struct proa_arena arena;
    int rc;

    (void)own;
    proa_arena_init(&arena, NULL, 0);
    rc = collect(instance, &arena, samples, err);
    proa_arena_done(&arena);
    return rc;
}

/* Statements by psql. docs/decisions/engine-client.md says why by it. */
#include "postgres_internal.h"

#include <stdio.h>

enum { PSQL_NO_CONNECTION = 2, OUTPUT_MAX_BYTES = 1024 * 1024 };

/* In quotes, in which the quote itself is doubled. */
static void add_quoted(struct proa_buf *out, char quote, proa_str text)
{
    proa_buf_add_char(out, quote);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == quote)
            proa_buf_add_char(out, quote);
        proa_buf_add_char(out, text.ptr[i]);
    }
    proa_buf_add_char(out, quote);
}

void pg_add_literal(struct proa_buf *out, proa_str text)
{
    add_quoted(out, '\'', text);
}

void pg_add_identifier(struct proa_buf *out, proa_str name)
{
    add_quoted(out, '"', name);
}

void pg_add_conninfo(struct proa_buf *out, const char *key, proa_str value)
{
    if (out->len > 0)
        proa_buf_add_char(out, ' ');
    proa_buf_add_c(out, key);
    proa_buf_add_c(out, "='");
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '\'' || value.ptr[i] == '\\')
            proa_buf_add_char(out, '\\');
        proa_buf_add_char(out, value.ptr[i]);
    }
    proa_buf_add_char(out, '\'');
}

uint16_t pg_port(const struct instance *instance)
{
    return instance->config->engine_port ? instance->config->engine_port : instance->engine->port;
}

void pg_slot_name(const struct instance *instance, uint32_t ordinal, char ret_name[PG_SLOT_MAX])
{
    int len = snprintf(ret_name, PG_SLOT_MAX, PROA_FMT "_%u", PROA_ARG(instance->config->database), ordinal);

    for (int i = 0; i < len && i < PG_SLOT_MAX; i++)
        if (ret_name[i] == '-')
            ret_name[i] = '_';
}

/* Nothing that users may have made is found (search_path), nothing that is said is logged, nothing takes for ever, and what the Database's
 * parameters make sessions begin with does not hold. */
static proa_str local_conninfo(const struct instance *instance, struct proa_arena *arena, const char *database)
{
    struct proa_buf out;
    char port[8];

    proa_buf_init(&out, arena, 0);
    snprintf(port, sizeof port, "%u", pg_port(instance));
    pg_add_conninfo(&out, "host", instance->config->run_dir);
    pg_add_conninfo(&out, "port", proa_str_c(port));
    pg_add_conninfo(&out, "user", PROA_STR(PG_SUPERUSER));
    pg_add_conninfo(&out, "dbname", proa_str_c(database));
    pg_add_conninfo(&out, "application_name", PROA_STR("database-agent"));
    pg_add_conninfo(&out, "client_encoding", PROA_STR("UTF8"));
    pg_add_conninfo(&out, "options",
                    proa_arena_printf(arena,
                                      "-c search_path=pg_catalog -c statement_timeout=%u -c lock_timeout=%u "
                                      "-c log_statement=none -c log_min_duration_statement=-1 "
                                      "-c log_min_error_statement=panic -c synchronous_commit=local "
                                      "-c default_transaction_read_only=off -c standard_conforming_strings=on",
                                      instance->config->ask_ms, instance->config->ask_ms));
    proa_buf_add_char(&out, '\0');
    return out.error < 0 ? (proa_str){0} : proa_buf_str(&out);
}

int pg_run(const struct instance *instance, struct proa_arena *arena, const char *database, proa_str script,
           struct child_result *ret_result, struct proa_error *err)
{
    proa_str conninfo = local_conninfo(instance, arena, database);
    const char *arguments[] = {instance_program(arena, instance, instance->engine->client_command),
                               "-XAtq",
                               "-v",
                               "ON_ERROR_STOP=1",
                               "-d",
                               conninfo.ptr,
                               NULL};
    struct child_result result = {0};

    if (!arguments[0] || !conninfo.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(child_run(instance->children, arena,
                       &(struct child_options){.arguments = arguments,
                                               .input = script,
                                               .output_max = OUTPUT_MAX_BYTES,
                                               .folder = instance->config->run_dir.ptr},
                       &result, err));
    if (result.exit_code == PSQL_NO_CONNECTION) {
        proa_str line = {0};

        /* A hint may follow. */
        proa_str_split(&result.errors, '\n', &line);
        return proa_fail(err, PROA_EUNAVAILABLE, PROA_FMT, PROA_ARG(line));
    }
    if (result.exit_code != 0)
        return proa_fail(err, PROA_EIO, "psql ended with %d: " PROA_FMT, result.exit_code, PROA_ARG(result.errors));
    *ret_result = result;
    return 0;
}

/* SQLSTATEs and lost connections as errors. */
#include "pg_internal.h"

#include <ctype.h>
#include <stdio.h>

/* The first entry whose text begins the SQLSTATE holds (PostgreSQL's documentation, appendix A). */
static const struct {
    const char *state;
    int code;
} states[] = {
    {"23505", PROA_EEXISTS},      {"23503", PROA_ECONFLICT},   {"23001", PROA_ECONFLICT}, {"23P01", PROA_ECONFLICT},
    {"23514", PROA_EVALIDATION},  {"23502", PROA_EVALIDATION}, {"23", PROA_EVALIDATION},  {"40001", PROA_ECONFLICT},
    {"40P01", PROA_ECONFLICT},    {"40003", PROA_EUNKNOWN},    {"40", PROA_ECONFLICT},    {"22003", PROA_ERANGE},
    {"22008", PROA_ERANGE},       {"22", PROA_EVALIDATION},    {"57014", PROA_ETIMEDOUT}, {"57P", PROA_EUNAVAILABLE},
    {"55P03", PROA_EBUSY},        {"55006", PROA_EBUSY},       {"53300", PROA_EBUSY},     {"53", PROA_EUNAVAILABLE},
    {"25006", PROA_EUNAVAILABLE}, {"25P03", PROA_ETIMEDOUT},   {"08P01", PROA_EINTERNAL}, {"08", PROA_EUNAVAILABLE},
    {"54", PROA_ETOOLARGE},       {"0A", PROA_EUNSUPPORTED},   {"58", PROA_EUNAVAILABLE},
};

static int code_of(const char *state)
{
    for (size_t i = 0; i < PROA_COUNT(states); i++) {
        if (strncmp(state, states[i].state, strlen(states[i].state)) == 0)
            return states[i].code;
    }
    return PROA_EINTERNAL;
}

int pg_fail_result(struct proa_error *err, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    const char *column = PQresultErrorField(result, PG_DIAG_COLUMN_NAME);
    int code;

    if (!state) {
        /* libpq's own: memory, or a lost connection, which is dealt with where that is seen */
        return proa_fail(err, PROA_EUNAVAILABLE, "PostgreSQL: no usable answer");
    }
    code = code_of(state);
    (void)proa_fail(err, code, "PostgreSQL: %s (SQLSTATE %s)", text ? text : "error", state);
    if (err) {
        /* a not-null rule has no name: the column's is what the caller can use */
        db_set_constraint(err, proa_str_c(constraint ? constraint : column));
        if (code == PROA_EUNAVAILABLE || code == PROA_EBUSY)
            err->retry_after_s = 1;
    }
    return code;
}

bool pg_result_is_fatal(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

    return severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

bool pg_result_is_stale(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    if (!state)
        return false;
    if (strcmp(state, "26000") == 0)
        return true;
    /* "cached plan must not change result type": the text may be translated, the place is not. */
    return strcmp(state, "0A000") == 0 && function && strcmp(function, "RevalidateCachedQuery") == 0;
}

bool pg_result_may_retry(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return state && (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0);
}

bool pg_may_have_written(const struct pg_call *call)
{
    const char *text = call->statement ? call->statement->text : call->script;

    if (call->is_commit)
        return true;
    /* What a transaction did before its COMMIT was sent is surely undone. */
    if (call->is_in_tx)
        return false;
    /* PROA_SHARE_NEVER may speak of effects that no word of the text tells. */
    return call->sql.share == PROA_SHARE_NEVER || !pg_text_reads(text);
}

int pg_fail_lost(struct pg_call *call, bool may_have_run, const char *reason)
{
    struct proa_error *err = call->sql.err;
    bool is_unknown = may_have_run && pg_may_have_written(call);
    int code = is_unknown ? PROA_EUNKNOWN : PROA_EUNAVAILABLE;

    (void)proa_fail(err, code, "PostgreSQL: the connection was lost%s: %s",
                    is_unknown ? " after the statement was sent, its outcome is unknown" : "",
                    *reason ? reason : "no reason given");
    if (err && !is_unknown)
        err->retry_after_s = 1;
    return code;
}

static void take_out(char *text, const char *secret)
{
    size_t len = strlen(secret);

    for (char *at = text; len && (at = strstr(at, secret));) {
        size_t rest = strlen(at + len) + 1;

        memmove(at, at + len, rest);
    }
}

void pg_reason(const struct pg_config *config, const char *text, char *ret_reason, size_t size)
{
    size_t len;

    (void)snprintf(ret_reason, size, "%s", text ? text : "");
    if (config->password)
        take_out(ret_reason, config->password);
    len = strlen(ret_reason);
    while (len && isspace((unsigned char)ret_reason[len - 1]))
        ret_reason[--len] = '\0';
    for (char *at = ret_reason; *at; at++) {
        if ((unsigned char)*at < ' ')
            *at = ' ';
    }
}

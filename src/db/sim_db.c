/* The scripted driver: answers by rules, in the loop's time. */
#include "driver.h"

#include <proa/list.h>
#include <proa/sim_db.h>
#include <proa/sync.h>
#include <proa/vec.h>
#include <stdlib.h>

typedef void answer_fn(void *arg, const struct proa_sim_db_call *call, struct proa_sim_db_answer *ret_answer);

struct rule {
    struct proa_list node;
    char *contains;
    struct proa_sim_db_answer answer;
    answer_fn *fn; /* NULL: answer */
    void *arg;
    uint32_t left;
    bool is_endless;
};

struct proa_sim_db {
    struct proa_db_driver driver; /* handed out; leads back here */
    struct proa_list rules;       /* the newest first */
    struct proa_vec sent;         /* char *, texts */
    struct proa_sem *pools[2];
};

struct scripted_tx {
    struct proa_tx tx;
};

static struct proa_sim_db *script_of(const struct proa_db *db)
{
    return db->impl;
}

/* -- Rules ------------------------------------------------------------------------------------------------------ */

static void rule_free(struct rule *rule)
{
    free(rule->contains);
    free(rule);
}

static int add_rule(struct proa_sim_db *script, const struct rule *rule)
{
    struct rule *own = malloc(sizeof *own);

    if (!own)
        return PROA_ENOMEM;
    *own = *rule;
    own->contains = strdup(rule->contains);
    if (!own->contains) {
        free(own);
        return PROA_ENOMEM;
    }
    proa_list_push_front(&script->rules, &own->node);
    return 0;
}

int proa_sim_db_on(struct proa_sim_db *script, const char *contains, const struct proa_sim_db_answer *answer,
                   uint32_t times)
{
    return add_rule(script, &(struct rule){.contains = (char *)(uintptr_t)contains,
                                           .answer = *answer,
                                           .left = times,
                                           .is_endless = times == 0});
}

int proa_sim_db_on_call(struct proa_sim_db *script, const char *contains, answer_fn *answer, void *arg, uint32_t times)
{
    return add_rule(script, &(struct rule){.contains = (char *)(uintptr_t)contains,
                                           .fn = answer,
                                           .arg = arg,
                                           .left = times,
                                           .is_endless = times == 0});
}

/* What succeeds without a rule. */
static bool is_housekeeping(const char *text)
{
    static const char *const starts[] = {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "LOCK MIGRATIONS"};

    for (size_t i = 0; i < PROA_COUNT(starts); i++)
        if (proa_str_starts_with(proa_str_c(text), proa_str_c(starts[i])))
            return true;
    return false;
}

static struct proa_sim_db_answer answer_to(struct proa_sim_db *script, const struct proa_sim_db_call *call)
{
    struct proa_sim_db_answer answer = {0};

    for (struct proa_list *node = script->rules.next; node != &script->rules; node = node->next) {
        struct rule *rule = PROA_CONTAINER(node, struct rule, node);

        if (!strstr(call->text, rule->contains) || (!rule->is_endless && rule->left == 0))
            continue;
        if (!rule->is_endless)
            rule->left--;
        if (!rule->fn)
            return rule->answer;
        rule->fn(rule->arg, call, &answer);
        return answer;
    }
    if (!is_housekeeping(call->text))
        answer = (struct proa_sim_db_answer){.code = PROA_EINTERNAL, .message = "the script has no answer to this"};
    return answer;
}

static int note_sent(struct proa_sim_db *script, const char *text)
{
    char **sent = proa_vec_push(&script->sent);

    if (!sent)
        return PROA_ENOMEM;
    *sent = strdup(text);
    return *sent ? 0 : PROA_ENOMEM;
}

uint32_t proa_sim_db_calls(const struct proa_sim_db *script, const char *contains)
{
    uint32_t count = 0;

    for (size_t i = 0; i < script->sent.len; i++)
        count += strstr(*(char **)proa_vec_at(&script->sent, i), contains) != NULL;
    return count;
}

/* -- Answers ---------------------------------------------------------------------------------------------------- */

static int fail(struct proa_sql sql, const struct proa_sim_db_answer *answer)
{
    proa_fail(sql.err, answer->code, "%s", answer->message ? answer->message : "scripted");
    if (answer->constraint)
        db_set_constraint(sql.err, proa_str_c(answer->constraint));
    if (answer->may_retry && sql.tx)
        sql.tx->may_retry = true;
    return answer->code;
}

static int deliver(const struct proa_sim_db_answer *answer, struct proa_sql sql, struct db_rows *rows)
{
    struct db_column *columns;
    size_t count = 0;

    while (answer->columns && answer->columns[count])
        count++;
    columns = proa_arena_calloc(sql.arena, count + 1, sizeof *columns);
    if (!columns)
        return proa_fail(sql.err, PROA_ENOMEM, "no memory for a result");
    for (size_t i = 0; i < count; i++)
        columns[i].name = proa_str_c(answer->columns[i]);
    PROA_TRY(db_rows_columns(rows, columns, count));
    for (size_t row = 0; row < answer->rows && !db_rows_full(rows); row++) {
        PROA_TRY(db_rows_begin_row(rows));
        for (size_t i = 0; i < count; i++) {
            const char *value = answer->values[row * count + i];

            PROA_TRY(value ? db_rows_text(rows, i, proa_str_c(value)) : db_rows_null(rows, i));
        }
        PROA_TRY(db_rows_end_row(rows));
    }
    return 0;
}

static bool is_read(const char *text)
{
    return proa_str_starts_with(proa_str_c(text), PROA_STR("SELECT")) || (is_housekeeping(text) && text[0] != 'C');
}

/* Sends, waits, and answers. A write that was sent and not answered is unknown. */
static int converse(struct proa_sql sql, const struct proa_sim_db_call *call, struct proa_sim_db_answer *ret_answer)
{
    struct proa_sim_db *script = script_of(sql.db);
    bool reads = is_read(call->text) || (call->in_tx && strcmp(call->text, "COMMIT") != 0);
    int rc = proa_fiber_check(sql.loop);

    if (rc < 0)
        return proa_fail(sql.err, rc, "given up before the statement was sent");
    if (note_sent(script, call->text) < 0)
        return proa_fail(sql.err, PROA_ENOMEM, "no memory for the script's record");
    *ret_answer = answer_to(script, call);
    if (ret_answer->never || ret_answer->latency_ns)
        rc = proa_sleep(sql.loop, ret_answer->never ? PROA_NEVER : ret_answer->latency_ns);
    if (rc < 0)
        return reads ? proa_fail(sql.err, rc, "given up before the answer came")
                     : proa_fail(sql.err, PROA_EUNKNOWN, "given up after a write was sent");
    if (ret_answer->breaks_connection) {
        if (sql.tx)
            sql.tx->is_broken = true;
        return proa_fail(sql.err, reads ? PROA_EUNAVAILABLE : PROA_EUNKNOWN, "the connection was lost");
    }
    return ret_answer->code < 0 ? fail(sql, ret_answer) : 0;
}

static int take_connection(struct proa_sql sql, enum db_connection_kind kind)
{
    struct proa_sem *pool = script_of(sql.db)->pools[kind];
    int rc;

    if (proa_sem_free_permits(pool) == 0 && proa_sem_waiting(pool) >= sql.db->options.waiting_max)
        return proa_fail(sql.err, PROA_EBUSY, "too many requests wait for the database");
    db_metrics_pending(sql.db, sql.loop, kind, 1);
    rc = proa_sem_acquire(pool);
    db_metrics_pending(sql.db, sql.loop, kind, -1);
    if (rc < 0) {
        if (rc == PROA_ETIMEDOUT)
            db_metrics_wait_timed_out(sql.db, sql.loop, kind);
        return proa_fail(sql.err, rc, "no connection to the database was free in time");
    }
    db_metrics_connections(sql.db, sql.loop, kind, -1, 1);
    return 0;
}

static void give_connection(struct proa_sql sql, enum db_connection_kind kind)
{
    db_metrics_connections(sql.db, sql.loop, kind, 1, -1);
    proa_sem_release(script_of(sql.db)->pools[kind]);
}

/* -- The driver ------------------------------------------------------------------------------------------------- */

static int scripted_open(struct proa_db *db, struct proa_error *err)
{
    struct proa_sim_db *script =
        PROA_CONTAINER((struct proa_db_driver *)(uintptr_t)db->driver, struct proa_sim_db, driver);
    const uint32_t sizes[2] = {db->options.shared_connections, db->options.own_connections};

    for (int kind = DB_SHARED; kind <= DB_OWN; kind++) {
        script->pools[kind] = proa_sem_new(db->loops[0], sizes[kind]);
        if (!script->pools[kind])
            return proa_fail(err, PROA_ENOMEM, "no memory for a database");
    }
    db_metrics_connections(db, NULL, DB_SHARED, (int)sizes[DB_SHARED], 0);
    db_metrics_connections(db, NULL, DB_OWN, (int)sizes[DB_OWN], 0);
    db->impl = script;
    return 0;
}

static void scripted_close(struct proa_db *db)
{
    struct proa_sim_db *script = script_of(db);

    for (int kind = DB_SHARED; kind <= DB_OWN; kind++) {
        proa_sem_free(script->pools[kind]);
        script->pools[kind] = NULL;
    }
    db_metrics_connections(db, NULL, DB_SHARED, -(int)db->options.shared_connections, 0);
    db_metrics_connections(db, NULL, DB_OWN, -(int)db->options.own_connections, 0);
}

static int scripted_run(struct proa_sql sql, struct db_statement *statement)
{
    const struct proa_sim_db_call call = {statement->text, statement->values, statement->values_count, sql.tx};
    enum db_connection_kind kind = sql.is_long ? DB_OWN : DB_SHARED;
    struct proa_sim_db_answer answer = {0};
    int rc;

    if (!sql.tx)
        PROA_TRY(take_connection(sql, kind));
    rc = converse(sql, &call, &answer);
    if (rc == 0 && statement->rows)
        rc = deliver(&answer, sql, statement->rows);
    statement->changed = answer.changed;
    if (!sql.tx)
        give_connection(sql, kind);
    return rc;
}

static int call_in_tx(struct proa_sql sql, const char *text, bool *ret_may_retry)
{
    struct proa_sim_db_answer answer = {0};
    int rc = converse(sql, &(struct proa_sim_db_call){.text = text, .in_tx = true}, &answer);

    if (rc < 0 && answer.may_retry && ret_may_retry)
        *ret_may_retry = true;
    return rc;
}

static int scripted_script(struct proa_sql sql, const char *text)
{
    return call_in_tx(sql, text, NULL);
}

static int scripted_begin(struct proa_sql sql, const struct proa_tx_options *options, struct proa_tx **ret_tx)
{
    struct scripted_tx *tx = calloc(1, sizeof *tx);
    int rc;

    (void)options;
    if (!tx)
        return proa_fail(sql.err, PROA_ENOMEM, "no memory for a transaction");
    rc = take_connection(sql, DB_OWN);
    if (rc == 0) {
        rc = call_in_tx(sql, "BEGIN", NULL);
        if (rc < 0)
            give_connection(sql, DB_OWN);
    }
    if (rc < 0) {
        free(tx);
        return rc;
    }
    *ret_tx = &tx->tx;
    return 0;
}

static int scripted_end(struct proa_sql sql, struct proa_tx *base, bool commit, bool *ret_may_retry)
{
    int rc = 0;

    if (!base->is_broken)
        rc = call_in_tx(sql, commit ? "COMMIT" : "ROLLBACK", ret_may_retry);
    else if (commit)
        rc = proa_fail(sql.err, PROA_EUNAVAILABLE, "the transaction's connection is lost");
    give_connection(sql, DB_OWN);
    free(PROA_CONTAINER(base, struct scripted_tx, tx));
    return rc;
}

static int scripted_lock_migrations(struct proa_sql sql)
{
    return call_in_tx(sql, "LOCK MIGRATIONS", NULL);
}

/* -- The script ------------------------------------------------------------------------------------------------- */

int proa_sim_db_new(const struct proa_sim_db_options *options, struct proa_sim_db **ret_script)
{
    static const char *const schemes[] = {"sim", NULL};
    struct proa_sim_db *script = calloc(1, sizeof *script);

    if (!script)
        return PROA_ENOMEM;
    script->driver = (struct proa_db_driver){
        .system = options && options->system ? options->system : "sqlite",
        .log_target = "db",
        .schemes = schemes,
        .open = scripted_open,
        .close = scripted_close,
        .run = scripted_run,
        .script = scripted_script,
        .begin = scripted_begin,
        .end = scripted_end,
        .lock_migrations = scripted_lock_migrations,
    };
    proa_list_init(&script->rules);
    proa_vec_init(&script->sent, sizeof(char *));
    *ret_script = script;
    return 0;
}

void proa_sim_db_free(struct proa_sim_db *script)
{
    struct proa_list *node;

    if (!script)
        return;
    while ((node = proa_list_pop_front(&script->rules)))
        rule_free(PROA_CONTAINER(node, struct rule, node));
    for (size_t i = 0; i < script->sent.len; i++)
        free(*(char **)proa_vec_at(&script->sent, i));
    proa_vec_done(&script->sent);
    free(script);
}

const struct proa_db_driver *proa_sim_db_driver(struct proa_sim_db *script)
{
    return &script->driver;
}

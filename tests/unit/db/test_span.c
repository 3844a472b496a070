/* Statements as spans: what they say, and that they are only made where somebody looks. */
#include "db_case.h"

#include "attributes.h"

static struct proa_tracer *tracer;

static void ignore(void *arg)
{
    (void)arg;
}

static void has_text(const struct proa_span_record *record, const char *key, const char *text)
{
    const struct proa_kv *kv = attribute_of(record, key);

    if (!kv || !proa_str_eq_c(kv->as.str, text))
        fail_msg("%s is not %s but " PROA_FMT, key, text, PROA_ARG(kv ? kv->as.str : PROA_STR("absent")));
}

static struct proa_span_record *take(const char *name)
{
    uint32_t count;
    struct proa_span_record *record = tracer_take(tracer, 1, &count);

    assert_non_null(record);
    if (!proa_str_eq_c(record->name, name))
        fail_msg("not %s but " PROA_FMT, name, PROA_ARG(record->name));
    return record;
}

static int two_statements(struct proa_sql tx, void *arg)
{
    (void)arg;
    PROA_TRY(proa_db_exec(tx, NULL, "DELETE FROM pets"));
    return proa_db_exec(tx, NULL, "UPDATE owners SET pets = 0");
}

static void body(struct db_case *c)
{
    struct proa_span_record *record;
    struct proa_span span;
    uint32_t count;

    /* Of no trace. */
    assert_int_equal(proa_db_exec(c->sql, NULL, "SELECT 1"), 0);
    assert_null(tracer_take(tracer, 1, &count));

    proa_span_begin(tracer, c->loop, "request", &span);
    assert_int_equal(proa_db_exec(c->sql, NULL, "\n  select name\n from (pets), owners where id = $1", proa_u64(7)), 0);
    record = take("select pets");
    assert_int_equal(record->kind, PROA_SPAN_CLIENT);
    assert_memory_equal(record->parent_id, span.ids.span_id, 8);
    assert_memory_equal(record->ids.trace_id, span.ids.trace_id, 16);
    has_text(record, "db.system.name", "sqlite");
    has_text(record, "db.operation.name", "select");
    has_text(record, "db.collection.name", "pets");
    has_text(record, "db.namespace", "store");
    has_text(record, "server.address", "db.example");
    assert_int_equal(attribute_of(record, "server.port")->as.u64, 5433);
    assert_int_equal(record->status, PROA_SPAN_UNSET);
    assert_null(memmem(record->buffer, record->attributes_bytes, "secret", 6));
    span_record_free(record);

    assert_int_equal(proa_db_exec(c->sql, NULL, "BROKEN"), PROA_EEXISTS);
    record = take("BROKEN");
    has_text(record, "error.type", "PROA_EEXISTS");
    assert_int_equal(record->status, PROA_SPAN_ERROR);
    assert_null(attribute_of(record, "db.collection.name"));
    span_record_free(record);

    assert_int_equal(proa_db_transaction(c->sql, NULL, two_statements, NULL), 0);
    span_record_free(take("DELETE pets"));
    span_record_free(take("UPDATE owners"));
    span_record_free(take("COMMIT"));
    proa_span_end(&span);
    span_record_free(take("request"));
}

static void scripted(struct db_case *c)
{
    static const char *const known[] = {"SELECT 1", "select", "DELETE", "UPDATE"};

    for (size_t i = 0; i < PROA_COUNT(known); i++)
        assert_int_equal(proa_sim_db_on(c->script, known[i], &(struct proa_sim_db_answer){0}, 0), 0);
    assert_int_equal(proa_sim_db_on(c->script, "BROKEN", &(struct proa_sim_db_answer){.code = PROA_EEXISTS}, 0), 0);
    body(c);
}

static void test_statements(void **state)
{
    assert_int_equal(proa_tracer_new(NULL, &tracer, NULL), 0);
    tracer_attach(tracer, 100, ignore, NULL);
    with_script(scripted,
                (struct proa_db_options){.url = "sim://user:secret@db.example:5433/store?x=secret", .tracer = tracer});
    proa_tracer_free(tracer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_statements)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

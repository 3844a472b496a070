/* The driver of MongoDB: BSON, the set's status and configuration, metrics. Answers have the form that MongoDB's manual shows. */
#include "unit.h"

#include "agent/mongodb_internal.h"

#include <stdio.h>
#include <stdlib.h>

static void a_document(struct proa_buf *out)
{
    struct bson_writer w;

    bson_begin(&w, out);
    bson_text(&w, "text", PROA_STR("it's"));
    bson_i32(&w, "number", -5);
    bson_bool(&w, "yes", true);
    bson_binary(&w, "bytes", PROA_STR("\0\1"));
    bson_array(&w, "list");
    bson_text(&w, "0", PROA_STR("a"));
    bson_document(&w, "1");
    bson_i32(&w, "deep", 7);
    bson_end(&w);
    bson_end(&w);
    bson_end(&w);
}

static void written_and_read(void **state)
{
    struct proa_buf out = {0}, copied = {0};
    struct bson_value value;
    struct bson_writer w;
    proa_str document, rest;

    (void)state;
    a_document(&out);
    document = proa_buf_str(&out);
    assert_int_equal(bson_check(document), 0);
    assert_true(proa_str_eq_c(bson_get_text(document, "text"), "it's"));
    assert_int_equal(bson_get_i64(document, "number"), -5);
    assert_int_equal(bson_get_i64(document, "yes"), 1);
    assert_int_equal(bson_get_i64(document, "list.1.deep"), 7);
    assert_true(proa_str_eq_c(bson_get_text(document, "list.0"), "a"));
    assert_null(bson_get_text(document, "list.2").ptr);
    assert_null(bson_get_text(document, "text.x").ptr);
    assert_null(bson_get_text(document, "number").ptr);
    assert_int_equal(bson_get_i64(document, "text"), 0);
    bson_begin(&w, &copied);
    rest = bson_elements(document);
    while (bson_next(&rest, &value))
        bson_copy(&w, value.key.ptr, &value);
    bson_end(&w);
    assert_true(proa_str_eq(document, proa_buf_str(&copied)));
    proa_buf_done(&out);
    proa_buf_done(&copied);
}

/* Every length, and every byte of a kind or of an end, changed: nothing outside is read, and what is accepted can be walked through. */
static void damaged(void **state)
{
    struct proa_buf out = {0};
    proa_str document;

    (void)state;
    a_document(&out);
    document = proa_buf_str(&out);
    for (size_t len = 0; len < document.len; len++)
        assert_int_equal(bson_check(proa_str_slice(document, 0, len)), PROA_ESYNTAX);
    for (size_t at = 0; at < document.len; at++) {
        static const unsigned char changes[] = {0x00, 0x01, 0x7f, 0x80, 0xff};

        for (size_t i = 0; i < sizeof changes; i++) {
            /* Of its own size, so that the sanitizer sees a read past the end. */
            char *copy = malloc(document.len);
            struct engine_status status = {0};

            assert_non_null(copy);
            memcpy(copy, document.ptr, document.len);
            copy[at] = (char)changes[i];
            if (bson_check(proa_str_n(copy, document.len)) == 0) {
                bson_get_i64(proa_str_n(copy, document.len), "list.1.deep");
                mo_read_set_status(proa_str_n(copy, document.len), &status);
            }
            free(copy);
        }
    }
    proa_buf_done(&out);
}

static void too_deep(void **state)
{
    struct proa_buf out = {0};
    char *nested;
    size_t levels = 40, len = levels * 7 + 5;

    (void)state;
    nested = calloc(1, len);
    assert_non_null(nested);
    /* A document in a document in …, each under the key "". */
    for (size_t i = 0; i <= levels; i++) {
        size_t at = i * 6, size = len - levels - at + (levels - i);

        nested[at] = (char)size;
        nested[at + 1] = (char)(size >> 8);
        if (i < levels)
            nested[at + 4] = BSON_DOCUMENT;
    }
    assert_int_equal(bson_check(proa_str_n(nested, len)), PROA_ESYNTAX);
    free(nested);
    proa_buf_done(&out);
}

/* -- The set --------------------------------------------------------------------------------------------------------- */

static void raw(struct proa_buf *out, enum bson_type type, const char *key, const void *bytes, size_t len)
{
    proa_buf_add_char(out, (char)type);
    proa_buf_add_c(out, key);
    proa_buf_add_char(out, '\0');
    proa_buf_add(out, proa_str_n(bytes, len));
}

static void add_u64(struct proa_buf *out, enum bson_type type, const char *key, uint64_t value)
{
    char bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(value >> (8 * i));
    raw(out, type, key, bytes, sizeof bytes);
}

struct member {
    const char *name, *source;
    int32_t state;
    uint64_t seconds;
    bool is_self;
};

static void write_status(struct proa_buf *out, int32_t my_state, const struct member *members, size_t count)
{
    struct bson_writer w;

    bson_begin(&w, out);
    bson_text(&w, "set", PROA_STR("shop"));
    bson_i32(&w, "myState", my_state);
    bson_array(&w, "members");
    for (size_t i = 0; i < count; i++) {
        char key[24];

        snprintf(key, sizeof key, "%zu", i);
        bson_document(&w, key);
        bson_text(&w, "name", proa_str_c(members[i].name));
        bson_i32(&w, "state", members[i].state);
        bson_document(&w, "optime");
        add_u64(out, BSON_TIMESTAMP, "ts", members[i].seconds << 32 | 3);
        bson_end(&w);
        add_u64(out, BSON_DATETIME, "optimeDate", members[i].seconds * 1000);
        bson_text(&w, "syncSourceHost", proa_str_c(members[i].source));
        if (members[i].is_self)
            bson_bool(&w, "self", true);
        bson_end(&w);
    }
    bson_end(&w);
    bson_end(&w);
}

static void states(void **state)
{
    static const struct {
        int32_t my_state;
        const char *source;
        uint64_t seconds;
        bool is_writable, is_streaming;
        uint64_t lag_ms;
    } cases[] = {
        {1, "", 1000, true, false, 0},             /* primary */
        {2, "shop-0:27017", 1000, false, true, 0}, /* secondary */
        {2, "shop-0:27017", 990, false, true, 10000},
        {2, "shop-0:27017", 1001, false, true, 0}, /* ahead of what was last heard of the primary */
        {2, "", 1000, false, false, 0},
        {5, "shop-0:27017", 0, false, false, 0}, /* makes its first copy */
        {3, "", 900, false, false, 0},           /* recovers, or is too stale */
        {9, "", 1000, false, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        const struct member members[] = {{"shop-0:27017", "", cases[i].my_state == 1 ? 2 : 1, 1000, false},
                                         {"shop-1:27017", cases[i].source, cases[i].my_state, cases[i].seconds, true}};
        struct engine_status status = {0};
        struct proa_buf out = {0};
        char position[32];

        write_status(&out, cases[i].my_state, members, PROA_COUNT(members));
        assert_int_equal(bson_check(proa_buf_str(&out)), 0);
        mo_read_set_status(proa_buf_str(&out), &status);
        assert_int_equal(status.is_writable, cases[i].is_writable);
        assert_int_equal(status.is_streaming, cases[i].is_streaming);
        assert_int_equal(status.lag_ms, cases[i].lag_ms);
        snprintf(position, sizeof position, "%u.3", (unsigned)cases[i].seconds);
        assert_string_equal(status.position, position);
        proa_buf_done(&out);
    }
}

static void verdicts(void **state)
{
    static const struct {
        const char *own_id, *own_at, *id, *oldest;
        enum verdict verdict;
    } cases[] = {
        {"a", "1000.3", "a", "900.1", VERDICT_WAIT},  {"a", "1000.3", "a", "1000.3", VERDICT_WAIT},
        {"a", "1000.3", "a", "1000.4", VERDICT_LOST}, {"a", "900.9", "a", "1000.1", VERDICT_LOST},
        {"a", "9.1", "a", "10.1", VERDICT_LOST},      {"a", "", "a", "1000.1", VERDICT_WAIT},
        {"a", "1000.3", "a", "", VERDICT_WAIT},       {"a", "1000.3", "b", "900.1", VERDICT_FOREIGN},
        {"", "", "b", "900.1", VERDICT_WAIT},         {"a", "x.y", "a", "1000.1", VERDICT_WAIT},
    };

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        struct engine_status own = {0};
        struct primary_status primary = {.is_ready = true};
        enum verdict verdict;
        const char *why;

        snprintf(own.identity, sizeof own.identity, "%s", cases[i].own_id);
        snprintf(own.position, sizeof own.position, "%s", cases[i].own_at);
        snprintf(primary.engine.identity, sizeof primary.engine.identity, "%s", cases[i].id);
        snprintf(primary.engine.oldest, sizeof primary.engine.oldest, "%s", cases[i].oldest);
        assert_int_equal(mo_judge(NULL, &own, &primary, &verdict, &why, NULL), 0);
        if (verdict != cases[i].verdict)
            fail_msg("case %zu: %d", i, (int)verdict);
    }
}

/* -- Its configuration ----------------------------------------------------------------------------------------------- */

static const struct agent_config config = {.database = PROA_STR_INIT("shop"),
                                           .pod = PROA_STR_INIT("shop-0"),
                                           .headless = PROA_STR_INIT("shop-headless"),
                                           .namespace_ = PROA_STR_INIT("default"),
                                           .host = PROA_STR_INIT("{pod}.h")};

static void write_config(struct proa_buf *out, const char *const *hosts, const int32_t *ids)
{
    struct bson_writer w;

    bson_begin(&w, out);
    bson_text(&w, "_id", PROA_STR("shop"));
    bson_i32(&w, "version", 7);
    bson_i32(&w, "term", 3);
    bson_array(&w, "members");
    for (size_t i = 0; hosts[i]; i++) {
        char key[24];

        snprintf(key, sizeof key, "%zu", i);
        bson_document(&w, key);
        bson_i32(&w, "_id", ids[i]);
        bson_text(&w, "host", proa_str_c(hosts[i]));
        bson_bool(&w, "mark", true); /* whatever somebody has set */
        bson_end(&w);
    }
    bson_end(&w);
    bson_document(&w, "settings");
    bson_i32(&w, "electionTimeoutMillis", 5000);
    bson_end(&w);
    bson_end(&w);
}

/* "0=shop-0.h:27017+ 1=shop-1.h:27017": the + is the mark. */
static void describe(proa_str document, char *out, size_t max)
{
    size_t at = 0;

    out[0] = '\0';
    for (int i = 0; at < max; i++) {
        char path[32];
        proa_str host;

        snprintf(path, sizeof path, "new.members.%d.host", i);
        host = bson_get_text(document, path);
        if (!host.ptr)
            return;
        snprintf(path, sizeof path, "new.members.%d._id", i);
        at += (size_t)snprintf(out + at, max - at, "%s%d=" PROA_FMT, i ? " " : "", (int)bson_get_i64(document, path),
                               PROA_ARG(host));
        snprintf(path, sizeof path, "new.members.%d.mark", i);
        if (bson_get_i64(document, path))
            at += (size_t)snprintf(out + at, max - at, "+");
        snprintf(path, sizeof path, "new.members.%d.votes", i);
        if (bson_get_i64(document, path) != 0)
            fail_msg("a vote");
    }
}

static void configurations(void **state)
{
    static const struct {
        const char *hosts[5];
        int32_t ids[5];
        uint32_t replicas;
        bool differs;
        const char *after;
    } cases[] = {
        {{"shop-0.h:27017"}, {0}, 1, false, "0=shop-0.h:27017+"},
        {{"shop-0.h:27017"}, {0}, 3, true, "0=shop-0.h:27017+ 1=shop-1.h:27017 2=shop-2.h:27017"},
        {{"shop-0.h:27017", "shop-2.h:27017"}, {0, 2}, 3, true, "0=shop-0.h:27017+ 2=shop-2.h:27017+ 1=shop-1.h:27017"},
        {{"shop-0.h:27017", "shop-1.h:27017", "shop-2.h:27017"},
         {0, 1, 2},
         2,
         true,
         "0=shop-0.h:27017+ 1=shop-1.h:27017+"},
        /* Somebody else's member stays, and has taken a number. */
        {{"shop-0.h:27017", "other:27017"}, {0, 1}, 2, true, "0=shop-0.h:27017+ 1=other:27017+ 2=shop-1.h:27017"},
        {{"shop-0.h:27017", "other:27017"}, {0, 1}, 1, false, "0=shop-0.h:27017+ 1=other:27017+"},
        {{"shop-0.h:27017", "shop-1.h:27018"}, {0, 1}, 1, false, "0=shop-0.h:27017+ 1=shop-1.h:27018+"},
    };

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(cases); i++) {
        struct instance instance = {.config = &config, .engine = &engine_mongodb, .replicas = cases[i].replicas};
        struct proa_buf before = {0}, after = {0};
        struct bson_writer w;
        char text[400];
        bool differs;

        write_config(&before, cases[i].hosts, cases[i].ids);
        bson_begin(&w, &after);
        differs = mo_write_config(&instance, proa_buf_str(&before), &w, "new");
        bson_end(&w);
        assert_int_equal(bson_check(proa_buf_str(&after)), 0);
        describe(proa_buf_str(&after), text, sizeof text);
        assert_string_equal(text, cases[i].after);
        assert_int_equal(differs, cases[i].differs);
        assert_int_equal(bson_get_i64(proa_buf_str(&after), "new.version"), 8);
        assert_int_equal(bson_get_i64(proa_buf_str(&after), "new.term"), 3);
        assert_int_equal(bson_get_i64(proa_buf_str(&after), "new.settings.electionTimeoutMillis"), 5000);
        proa_buf_done(&before);
        proa_buf_done(&after);
    }
}

/* -- Metrics --------------------------------------------------------------------------------------------------------- */

static void metrics(void **state)
{
    static const struct {
        const char *name, *label;
        double value;
    } expected[] = {
        {"mongodb_ss_opcounters", "insert", 3},
        {"mongodb_ss_opcounters", "query", 4},
        {"mongodb_ss_wt_cache_bytes_currently_in_the_cache", NULL, 9},
        {"mongodb_ss_wt_txn_transaction_begins", NULL, 1},
        {"mongodb_ss_uptime", NULL, 77},
    };
    struct proa_arena arena;
    struct samples samples = {.arena = &arena};
    struct proa_buf out = {0};
    struct bson_writer w;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    bson_begin(&w, &out);
    bson_text(&w, "host", PROA_STR("shop-0"));
    bson_i32(&w, "uptime", 77);
    bson_document(&w, "opcounters");
    bson_i32(&w, "insert", 3);
    bson_i32(&w, "query", 4);
    bson_end(&w);
    bson_document(&w, "tcmalloc");
    bson_i32(&w, "much", 1);
    bson_end(&w);
    bson_document(&w, "wiredTiger");
    bson_document(&w, "cache");
    bson_i32(&w, "bytes currently in the cache", 9);
    bson_end(&w);
    bson_document(&w, "transaction");
    bson_i32(&w, "transaction begins", 1);
    bson_end(&w);
    bson_end(&w);
    bson_end(&w);
    assert_int_equal(mo_read_metrics("serverStatus", proa_buf_str(&out), &samples), 0);
    assert_int_equal(samples.len, PROA_COUNT(expected));
    for (size_t i = 0; i < PROA_COUNT(expected); i++) {
        size_t k = 0;

        while (k < samples.len && (strcmp(samples.ptr[k].family->name, expected[i].name) != 0 ||
                                   (expected[i].label && !proa_str_eq_c(samples.ptr[k].labels[0], expected[i].label))))
            k++;
        if (k == samples.len)
            fail_msg("no %s", expected[i].name);
        assert_true(samples.ptr[k].value == expected[i].value);
    }
    proa_buf_done(&out);
    proa_arena_done(&arena);
}

static void members_metrics(void **state)
{
    static const struct member members[] = {{"shop-0:27017", "", 1, 1000, true},
                                            {"shop-1:27017", "shop-0:27017", 2, 990, false}};
    struct proa_arena arena;
    struct samples samples = {.arena = &arena};
    struct proa_buf out = {0};
    size_t found = 0;

    (void)state;
    proa_arena_init(&arena, NULL, 0);
    write_status(&out, 1, members, PROA_COUNT(members));
    assert_int_equal(mo_read_metrics("replSetGetStatus", proa_buf_str(&out), &samples), 0);
    for (size_t i = 0; i < samples.len; i++)
        if (strcmp(samples.ptr[i].family->name, "mongodb_rs_members_state") == 0) {
            assert_string_equal(samples.ptr[i].family->labels[0], "member_idx");
            assert_true(proa_str_eq_c(samples.ptr[i].labels[0], members[found].name));
            assert_true(samples.ptr[i].value == members[found].state);
            found++;
        }
    assert_int_equal(found, 2);
    proa_buf_done(&out);
    proa_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_and_read), cmocka_unit_test(damaged),         cmocka_unit_test(too_deep),
        cmocka_unit_test(states),           cmocka_unit_test(verdicts),        cmocka_unit_test(configurations),
        cmocka_unit_test(metrics),          cmocka_unit_test(members_metrics),
    };

    return cmocka_run_group_tests_name("operator/agent_mongodb", tests, NULL, NULL);
}

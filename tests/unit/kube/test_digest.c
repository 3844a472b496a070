/* Digests of values, bodies, and of what a field manager owns. */
#include "unit.h"

#include "kube/digest.h"

#include <proa/error.h>
#include <stdio.h>

static uint64_t of(const char *json)
{
    return digest_value(proa_str_c(json));
}

static void equal_values_have_equal_digests(void **state)
{
    static const char *const pairs[][2] = {
        {"{\"a\":1,\"b\":\"x\"}", "{ \"b\" : \"x\" , \"a\" : 1 }"},
        {"{\"a\":1.0}", "{\"a\":1}"},
        {"{\"a\":1e2}", "{\"a\":100}"},
        {"{\"a\":\"\\u003ctag\\u003e\\n\\/\"}", "{\"a\":\"<tag>\\n/\"}"},
        {"{\"a\":\"\\u00e9\\ud83d\\ude00\"}", "{\"a\":\"\xc3\xa9\xf0\x9f\x98\x80\"}"},
        {"{\"\\u0061\":true}", "{\"a\":true}"},
        /* What a member that Go leaves out may have been. */
        {"{\"a\":false}", "{\"a\":0}"},
        {"{\"a\":\"\"}", "{\"a\":-0.0}"},
        {"{\"a\":[]}", "{\"a\":{ }}"},
        {"{\"a\":[]}", "{\"a\":false}"},
        {"[1,2,{\"a\":\"b\"}]", "[ 1 ,\n2, {\"a\": \"b\"} ]"},
    };

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(pairs); i++)
        assert_true(of(pairs[i][0]) == of(pairs[i][1]));
    assert_true(of("{}") == of("[]") && of("{}") == of("\"\"") && of("{}") == of("") && of("{}") == of("false"));
}

static void other_values_have_other_digests(void **state)
{
    static const char *const values[] = {
        "{\"a\":1}", "{\"a\":2}", "{\"b\":1}", "{\"a\":\"1\"}", "{\"a\":true}", "{\"a\":1.5}", "{\"a\":-1}",
        "{\"a\":[1]}", "{\"a\":[1,2]}", "{\"a\":[2,1]}", "{\"a\":{\"a\":1}}", "{\"a\":[[1]]}", "[1]", "[1,0]", "[0,1]",
        "[{}]", "[{},{}]", "\"a\"", "\"b\"", "{\"a\":\"a\\\"b\"}", "{\"a\":\"a\\\\b\"}", "{\"a\":1e300}",
        "{\"a\":[1,[2]]}", "{\"a\":[[1],2]}", "{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":1}",
        /* What is there counts, also when it is nothing. */
        "{}", "null", "{\"a\":null}", "{\"a\":false}", "{\"b\":false}", "{\"a\":false,\"b\":0}",
        "{\"a\":1,\"b\":false}", "{\"a\":1,\"b\":null}", "{\"a\":{\"a\":0}}", "{\"a\":[{}]}", "{\"a\":[{\"a\":{}}]}"};

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(values); i++) {
        assert_true(of(values[i]) != 0);
        for (size_t j = 0; j < i; j++)
            assert_true(of(values[i]) != of(values[j]));
    }
}

static void long_texts_are_the_same_with_and_without_escapes(void **state)
{
    char plain[2100], escaped[2110];

    (void)state;
    /* One escape before the piece's end moves every byte behind it. */
    for (size_t len = 250; len < 2090; len += 7) {
        memset(plain, 'x', sizeof plain);
        plain[0] = '"';
        plain[3] = '<';
        plain[len] = '"';
        memset(escaped, 'x', sizeof escaped);
        escaped[0] = '"';
        memcpy(escaped + 3, "\\u003c", 6);
        escaped[len + 5] = '"';
        assert_true(digest_value(proa_str_n(plain, len + 1)) == digest_value(proa_str_n(escaped, len + 6)));
    }
}

static void bodies_are_digested_without_names(void **state)
{
    (void)state;
    assert_true(digest_body(PROA_STR(
                    "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"namespace\":\"b\","
                    "\"resourceVersion\":\"1\",\"labels\":{\"x\":\"y\"}},\"data\":{\"k\":\"v\"}}")) ==
                of("{\"metadata\":{\"labels\":{\"x\":\"y\"}},\"data\":{\"k\":\"v\"}}"));
    assert_true(digest_body(PROA_STR("{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}")) ==
                of("{\"data\":{\"k\":\"v\"}}"));
    assert_true(digest_body(PROA_STR("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}")) ==
                0);
    assert_true(digest_body(PROA_STR("{\"status\":{\"readyReplicas\":0}}")) != 0);
    assert_true(digest_body(PROA_STR("{\"metadata\":{\"labels\":{}}}")) != 0);
}

static const char stateful_set[] =
    "{\"apiVersion\":\"apps/"
    "v1\",\"kind\":\"StatefulSet\",\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"uid\":\"u\","
    "\"labels\":{\"app\":\"a\",\"theirs\":\"1\"},\"finalizers\":[\"theirs/f\",\"ours/f\"],"
    "\"ownerReferences\":[{\"apiVersion\":\"x/v1\",\"kind\":\"X\",\"name\":\"x\",\"uid\":\"o\",\"controller\":true}]},"
    "\"spec\":{\"replicas\":3,\"serviceName\":\"\",\"updateStrategy\":{\"type\":\"OnDelete\"},"
    "\"template\":{\"spec\":{\"containers\":["
    "{\"name\":\"side\",\"image\":\"injected\"},"
    "{\"name\":\"db\",\"image\":\"pg:17\",\"args\":[\"a\",\"b\"],\"terminationMessagePath\":\"/dev/termination-log\","
    "\"ports\":[{\"containerPort\":5432,\"protocol\":\"TCP\",\"name\":\"pg\"}],"
    "\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"valueFrom\":{\"fieldRef\":{\"apiVersion\":\"v1\","
    "\"fieldPath\":"
    "\"metadata.name\"}}}]}],\"restartPolicy\":\"Always\"}}},\"status\":{\"replicas\":3}}";
static const char managed_fields[] =
    "[{\"manager\":\"proa\",\"operation\":\"Apply\",\"apiVersion\":\"apps/"
    "v1\",\"time\":\"t\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":"
    "{\"f:metadata\":{\"f:labels\":{\"f:app\":{}},\"f:finalizers\":{\"v:\\\"ours/f\\\"\":{}},"
    "\"f:ownerReferences\":{\"k:{\\\"uid\\\":\\\"o\\\"}\":{}}},"
    "\"f:spec\":{\"f:replicas\":{},\"f:updateStrategy\":{\"f:type\":{}},\"f:template\":{\"f:spec\":{\"f:containers\":"
    "{\"k:{\\\"name\\\":\\\"db\\\"}\":{\".\":{},\"f:args\":{},\"f:env\":{\"k:{\\\"name\\\":\\\"A\\\"}\":{\".\":{},\"f:"
    "name\":{},\"f:value\":{}},"
    "\"k:{\\\"name\\\":\\\"B\\\"}\":{\".\":{},\"f:name\":{},\"f:valueFrom\":{\"f:fieldRef\":{}}}},"
    "\"f:image\":{},\"f:name\":{},\"f:ports\":{\"k:{\\\"containerPort\\\":5432,\\\"protocol\\\":\\\"TCP\\\"}\":"
    "{\".\":{},\"f:containerPort\":{},\"f:name\":{}}}}}}}}}},"
    "{\"manager\":\"kubectl\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{\"f:theirs\":{}}}}},"
    "{\"manager\":\"proa\",\"operation\":\"Update\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{\"f:theirs\":{}}}}},"
    "{\"manager\":\"proa\",\"operation\":\"Apply\",\"subresource\":\"status\",\"fieldsV1\":{\"f:status\":{\"f:"
    "replicas\":{}}}}]";
/* What was applied to make it so. */
static const char body[] =
    "{\"metadata\":{\"name\":\"a\",\"labels\":{\"app\":\"a\"},\"finalizers\":[\"ours/f\"],"
    "\"ownerReferences\":[{\"controller\":true,\"apiVersion\":\"x/v1\",\"kind\":\"X\",\"name\":\"x\",\"uid\":\"o\"}]},"
    "\"spec\":{\"updateStrategy\":{\"type\":\"OnDelete\"},\"replicas\":3,\"template\":{\"spec\":{"
    "\"containers\":["
    "{\"name\":\"db\",\"image\":\"pg:17\",\"args\":[\"a\",\"b\"],\"ports\":[{\"name\":\"pg\",\"containerPort\":5432}],"
    "\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"valueFrom\":{\"fieldRef\":{\"apiVersion\":\"v1\","
    "\"fieldPath\":"
    "\"metadata.name\"}}}]}]}}}}";

static struct applied_digests applied(const char *object)
{
    return digest_applied(proa_str_c(object), proa_str_c(managed_fields), PROA_STR("proa"));
}

static void owned_fields_have_the_digest_of_the_body(void **state)
{
    struct applied_digests digests = applied(stateful_set);

    (void)state;
    assert_true(digests.main == digest_body(proa_str_c(body)));
    assert_true(digests.status == of("{\"status\":{\"replicas\":3}}"));
    digests = digest_applied(proa_str_c(stateful_set), proa_str_c(managed_fields), PROA_STR("nobody"));
    assert_true(digests.main == 0 && digests.status == 0);
    digests = digest_applied(proa_str_c(stateful_set), (proa_str){NULL, 0}, PROA_STR("proa"));
    assert_true(digests.main == 0 && digests.status == 0);
}

/* The object with one text replaced. */
static struct applied_digests with(const char *from, const char *to)
{
    static char object[4096];
    const char *at = strstr(stateful_set, from);
    size_t before;

    assert_non_null(at);
    before = (size_t)(at - stateful_set);
    memcpy(object, stateful_set, before);
    memcpy(object + before, to, strlen(to));
    memcpy(object + before + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
    return applied(object);
}

static void only_changes_of_owned_fields_show(void **state)
{
    static const char *const ours[][2] = {{"\"replicas\":3,\"service", "\"replicas\":4,\"service"},
                                          {"pg:17", "pg:18"},
                                          {"[\"a\",\"b\"]", "[\"b\",\"a\"]"},
                                          {"\"app\":\"a\"", "\"app\":\"b\""},
                                          {"\"app\":\"a\",", ""},
                                          {"\"value\":\"1\"", "\"value\":\"2\""},
                                          {"metadata.name", "metadata.uid"},
                                          {"5432", "5433"},
                                          {",\"ours/f\"", ""},
                                          {"\"controller\":true", "\"controller\":false"}};
    static const char *const theirs[][2] = {{"\"theirs\":\"1\"", "\"theirs\":\"2\""},
                                            {"injected", "other"},
                                            {"\"restartPolicy\":\"Always\"", "\"restartPolicy\":\"Never\""},
                                            {"/dev/termination-log", "/dev/null"},
                                            {"\"theirs/f\",", ""},
                                            {"\"status\":{\"replicas\":3}", "\"status\":{\"replicas\":0}"},
                                            {"\"labels\":{", "\"labels\":{\"new\":\"label\","}};
    uint64_t before = applied(stateful_set).main;

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(ours); i++)
        assert_true(with(ours[i][0], ours[i][1]).main != before);
    for (size_t i = 0; i < PROA_COUNT(theirs); i++)
        assert_true(with(theirs[i][0], theirs[i][1]).main == before);
    assert_true(with("\"status\":{\"replicas\":3}", "\"status\":{\"replicas\":1}").status !=
                applied(stateful_set).status);
}

/* As an API server answers to an apply of `zero_body`: what Go drops is ours all the same. */
static const char zero_object[] =
    "{\"spec\":{\"replicas\":0,\"template\":{\"spec\":{\"securityContext\":{},\"terminationGracePeriodSeconds\":0,"
    "\"enableServiceLinks\":false,\"dnsPolicy\":\"ClusterFirst\",\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":"
    "\"A\"}],"
    "\"securityContext\":{\"allowPrivilegeEscalation\":false,\"capabilities\":{}}}]}}},\"data\":{\"k\":\"\"}}";
static const char zero_fields[] =
    "[{\"manager\":\"proa\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{}},\"f:data\":{\"f:k\":"
    "{}},"
    "\"f:spec\":{\"f:replicas\":{},\"f:ingress\":{},\"f:template\":{\"f:spec\":{\"f:hostNetwork\":{},\"f:"
    "enableServiceLinks\":{},"
    "\"f:terminationGracePeriodSeconds\":{},\"f:affinity\":{\"f:podAffinity\":{}},\"f:containers\":{\"k:{\\\"name\\\":"
    "\\\"c\\\"}\":{"
    "\".\":{},\"f:name\":{},\"f:env\":{\"k:{\\\"name\\\":\\\"A\\\"}\":{\".\":{},\"f:name\":{},\"f:value\":{}}},"
    "\"f:securityContext\":{\"f:allowPrivilegeEscalation\":{},\"f:capabilities\":{\"f:drop\":{}}}}}}}}}}]";
static const char zero_body[] =
    "{\"metadata\":{\"name\":\"a\",\"labels\":{}},\"data\":{\"k\":\"\"},\"spec\":{\"ingress\":[],\"replicas\":0,"
    "\"template\":{\"spec\":{"
    "\"hostNetwork\":false,\"enableServiceLinks\":false,\"terminationGracePeriodSeconds\":0,\"affinity\":{"
    "\"podAffinity\":{}},"
    "\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"A\",\"value\":\"\"}],"
    "\"securityContext\":{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[]}}}]}}}}";

/* A text with one part replaced, or taken away. */
static proa_str changed(const char *text, const char *from, const char *to, char out[static 2048])
{
    const char *at = strstr(text, from);

    assert_non_null(at);
    snprintf(out, 2048, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return proa_str_c(out);
}

static void values_of_zero_are_applied_as_others_are(void **state)
{
    /* Somebody gave it another value, and owns it now. */
    static const char *const drifts[][3] = {
        {"\"replicas\":0", "\"replicas\":2", "\"f:replicas\":{},"},
        {"\"enableServiceLinks\":false", "\"enableServiceLinks\":true", "\"f:enableServiceLinks\":{},"},
        {"\"allowPrivilegeEscalation\":false", "\"allowPrivilegeEscalation\":true",
         "\"f:allowPrivilegeEscalation\":{},"},
        {"\"k\":\"\"", "\"k\":\"v\"", "\"f:data\":{\"f:k\":{}},"},
        {"{\"spec\":{", "{\"spec\":{\"ingress\":[{}],", "\"f:ingress\":{},"},
        {"{\"spec\":{\"securityContext\"", "{\"spec\":{\"hostNetwork\":true,\"securityContext\"",
         "\"f:hostNetwork\":{},"},
        {"{\"name\":\"A\"}", "{\"name\":\"A\",\"value\":\"x\"}", ",\"f:value\":{}"}};
    /* A body that does not ask for it yet. */
    static const char *const wishes[] = {"\"hostNetwork\":false,",
                                         "\"enableServiceLinks\":false,",
                                         "\"ingress\":[],",
                                         "\"replicas\":0,",
                                         ",\"value\":\"\"",
                                         "\"data\":{\"k\":\"\"},",
                                         ",\"capabilities\":{\"drop\":[]}",
                                         ",\"labels\":{}"};
    uint64_t wanted = digest_body(proa_str_c(zero_body));
    char object[2048], fields[2048];

    (void)state;
    assert_true(digest_applied(proa_str_c(zero_object), proa_str_c(zero_fields), PROA_STR("proa")).main == wanted);
    for (size_t i = 0; i < PROA_COUNT(drifts); i++)
        assert_true(digest_applied(changed(zero_object, drifts[i][0], drifts[i][1], object),
                                   changed(zero_fields, drifts[i][2], "", fields), PROA_STR("proa"))
                        .main != wanted);
    for (size_t i = 0; i < PROA_COUNT(wishes); i++)
        assert_true(digest_body(changed(zero_body, wishes[i], "", object)) != wanted);
    /* Nothing of it is ours. */
    assert_true(digest_applied(proa_str_c(zero_object),
                               PROA_STR("[{\"manager\":\"proa\",\"operation\":\"Apply\",\"fieldsV1\":{}}]"),
                               PROA_STR("proa"))
                    .main == 0);
}

static void broken_texts_do_no_harm(void **state)
{
    static const char *const texts[] = {"{",
                                        "{\"a",
                                        "{\"a\"",
                                        "{\"a\":",
                                        "[",
                                        "[1,",
                                        "\"",
                                        "\"\\",
                                        "{\"a\":\"\\u00",
                                        "{a:1}",
                                        "}",
                                        "-",
                                        "{\"a\":{\"b\":[{\"c\":\"d\"}"};

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(texts); i++) {
        digest_value(proa_str_c(texts[i]));
        digest_body(proa_str_c(texts[i]));
        digest_applied(proa_str_c(texts[i]), proa_str_c(managed_fields), PROA_STR("proa"));
        digest_applied(proa_str_c(stateful_set), proa_str_c(texts[i]), PROA_STR("proa"));
        json_member(proa_str_c(texts[i]), PROA_STR("a"));
    }
    for (size_t len = 0; len < sizeof managed_fields; len++)
        digest_applied(proa_str_n(stateful_set, len), proa_str_n(managed_fields, len), PROA_STR("proa"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_values_have_equal_digests),
        cmocka_unit_test(other_values_have_other_digests),
        cmocka_unit_test(long_texts_are_the_same_with_and_without_escapes),
        cmocka_unit_test(bodies_are_digested_without_names),
        cmocka_unit_test(owned_fields_have_the_digest_of_the_body),
        cmocka_unit_test(only_changes_of_owned_fields_show),
        cmocka_unit_test(values_of_zero_are_applied_as_others_are),
        cmocka_unit_test(broken_texts_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

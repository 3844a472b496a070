/* CustomResourceDefinitions as text. */
#include "unit.h"

#include <proa/crd.h>

struct app_spec {
    proa_str image;
    int32_t replicas;
};
PROA_DESCRIBE_WITH(app_spec, (.doc = "What is wanted"), (image, str, .min_len = 1, .immutable = true),
                   (replicas, i32, PROA_RANGE(1, 7), .default_json = "1"));
struct app_status {
    PROA_OPTIONAL(int32_t) ready;
};
PROA_DESCRIBE(app_status, (ready, optional(i32)));

static const struct proa_kube_kind app_kind = {"example.com", "v1", "App", "apps", false};

static void everything_is_written(void **state)
{
    static const char *const wanted[] = {
        "\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\"",
        "\"metadata\":{\"name\":\"apps.example.com\"}",
        "\"group\":\"example.com\",\"scope\":\"Namespaced\"",
        "\"names\":{\"kind\":\"App\",\"listKind\":\"AppList\",\"plural\":\"apps\",\"singular\":\"app\",",
        "\"shortNames\":[\"ap\"],\"categories\":[\"all\"]}",
        "\"name\":\"v1\",\"served\":true,\"storage\":true",
        "\"additionalPrinterColumns\":[{\"name\":\"Image\",\"type\":\"string\",\"jsonPath\":\".spec.image\"},",
        "\"jsonPath\":\".metadata.creationTimestamp\",\"description\":\"How old\",\"priority\":1}]",
        "\"selectableFields\":[{\"jsonPath\":\".spec.image\"}]",
        "\"subresources\":{\"status\":{},\"scale\":{\"specReplicasPath\":\".spec.replicas\"",
        "\"statusReplicasPath\":\".status.ready\",\"labelSelectorPath\":\".status.selector\"}}",
        "\"required\":[\"spec\"]",
        "\"metadata\":{\"type\":\"object\"}",
        "\"default\":1",
        "\"minimum\":1",
        "\"maximum\":7",
        "\"x-kubernetes-validations\":[{\"rule\":\"size(self.metadata.name) < 40\",\"message\":\"too long\"}]",
        "self == oldSelf",
    };
    const struct proa_crd_options options = {
        .kind = &app_kind,
        .singular = "app",
        .short_names = (const char *const[]){"ap", NULL},
        .categories = (const char *const[]){"all", NULL},
        .spec = &app_spec_type.type,
        .status = &app_status_type.type,
        .columns = (const struct proa_crd_column[]){{"Image", "string", ".spec.image"},
                                                    {"Age", "date", ".metadata.creationTimestamp", "How old", 1},
                                                    {NULL}},
        .scale_spec_path = ".spec.replicas",
        .scale_status_path = ".status.ready",
        .scale_selector_path = ".status.selector",
        .selectable = (const char *const[]){".spec.image", NULL},
        .rules = (const struct proa_cel_rule[]){{"size(self.metadata.name) < 40", "too long"}, {NULL}},
        .doc = "An app",
    };
    struct proa_buf out PROA_CLEANUP(proa_buf_done) = {0};

    (void)state;
    assert_int_equal(proa_crd_write(&out, &options), 0);
    assert_int_equal(proa_json_check(proa_buf_str(&out), NULL), 0);
    for (size_t i = 0; i < PROA_COUNT(wanted); i++)
        if (proa_str_find(proa_buf_str(&out), proa_str_c(wanted[i])) < 0)
            fail_msg("%s is not in %.*s", wanted[i], (int)out.len, out.ptr);
}

static void little_is_enough(void **state)
{
    const struct proa_kube_kind kind = {"example.com", "v1", "Thing", "things", true};
    struct proa_buf out PROA_CLEANUP(proa_buf_done) = {0};

    (void)state;
    assert_int_equal(proa_crd_write(&out, &(struct proa_crd_options){.kind = &kind, .spec = &app_spec_type.type}), 0);
    assert_int_equal(proa_json_check(proa_buf_str(&out), NULL), 0);
    assert_true(proa_str_find(proa_buf_str(&out), PROA_STR("\"scope\":\"Cluster\"")) > 0);
    assert_true(proa_str_find(proa_buf_str(&out), PROA_STR("subresources")) < 0);
}

static void a_full_buffer_is_an_error(void **state)
{
    struct proa_buf out PROA_CLEANUP(proa_buf_done) = {.max = 100};

    (void)state;
    assert_int_equal(proa_crd_write(&out, &(struct proa_crd_options){.kind = &app_kind, .spec = &app_spec_type.type}),
                     PROA_ETOOLARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_written),
        cmocka_unit_test(little_is_enough),
        cmocka_unit_test(a_full_buffer_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

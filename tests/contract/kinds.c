/* Discovery, custom kinds, what built-in kinds do by themselves, and owners. */
#include "contract.h"

#include "kube/config_internal.h"

static void discovery(struct contract *c)
{
    static const struct proa_kube_kind absent = {"absent.dev", "v1", "Thing", "things", false};

    CHECK(c, proa_kube_is_served(c->kube, &proa_kube_pods, &c->err) == 1);
    CHECK(c, proa_kube_is_served(c->kube, &proa_kube_stateful_sets, &c->err) == 1);
    CHECK(c, proa_kube_is_served(c->kube, &absent, &c->err) == 0);
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1") == 0);
    TEXT(c, "/kind", "APIResourceList");
    TEXT(c, "/groupVersion", "v1");
    CHECK(c, ask(c, "GET", JSON, NULL, "/apis/apps/v1") == 0);
    TEXT(c, "/groupVersion", "apps/v1");
    CHECK(c, ask(c, "GET", JSON, NULL, "/apis") == 0);
    TEXT(c, "/kind", "APIGroupList");
    CHECK(c, ask(c, "GET", JSON, NULL, "/version") == 0);
    TEXT(c, "/major", "1");
    CHECK(c, ask(c, "GET", JSON, NULL, "/readyz") == 0);
}

/* Asks as the administrator, so that whom one may impersonate is no question. */
static int ask_as(struct contract *c, const struct proa_client_field *fields, size_t count)
{
    int rc;

    c->config->impersonation = fields;
    c->config->impersonation_count = count;
    rc = ask(c, "POST", JSON, "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"SelfSubjectReview\"}",
             "/apis/authentication.k8s.io/v1/selfsubjectreviews");
    c->config->impersonation_count = 0;
    return rc;
}

static void who_asks(struct contract *c)
{
    const struct proa_client_field fields[] = {
        {"Impersonate-User", PROA_STR("jane")},
        {"Impersonate-Uid", PROA_STR("7")},
        {"Impersonate-Group", PROA_STR("devs")},
        {"Impersonate-Group", PROA_STR("admins")},
        {"Impersonate-Extra-acme.com%2Fscopes", PROA_STR("view")},
        {"Impersonate-Extra-acme.com%2Fscopes", PROA_STR("edit")},
    };

    CHECK(c, ask_as(c, NULL, 0) == 0);
    TEXT(c, "/kind", "SelfSubjectReview");
    TEXT(c, "/status/userInfo/username", "admin");
    JSON_IS(c, "/status/userInfo/groups", "[\"system:masters\",\"system:authenticated\"]");
    CHECK(c, ask_as(c, fields, 1) == 0);
    TEXT(c, "/status/userInfo/username", "jane");
    JSON_IS(c, "/status/userInfo/groups", "[\"system:authenticated\"]");
    CHECK(c, ask_as(c, fields, PROA_COUNT(fields)) == 0);
    TEXT(c, "/status/userInfo/uid", "7");
    JSON_IS(c, "/status/userInfo/groups", "[\"devs\",\"admins\",\"system:authenticated\"]");
    JSON_IS(c, "/status/userInfo/extra", "{\"acme.com/scopes\":[\"view\",\"edit\"]}");
}

static const char crd[] =
    "{\"metadata\":{\"name\":\"things.contract.dev\"},\"spec\":{\"group\":\"contract.dev\",\"scope\":\"Namespaced\","
    "\"names\":{\"kind\":\"Thing\",\"plural\":\"things\"},"
    "\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"subresources\":{\"status\":{},\"scale\":{"
    "\"specReplicasPath\":\".spec.count\","
    "\"statusReplicasPath\":\".status.count\",\"labelSelectorPath\":\".status.selector\"}},\"selectableFields\":[{"
    "\"jsonPath\":\".spec.color\"}],"
    "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"required\":[\"spec\"],\"properties\":{\"spec\":{\"type\":"
    "\"object\",\"required\":[\"size\"],\"properties\":{"
    "\"size\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":9},\"count\":{\"type\":\"integer\",\"default\":2},"
    "\"color\":{\"type\":\"string\",\"enum\":[\"red\",\"blue\"],\"default\":\"red\"},"
    "\"text\":{\"type\":\"string\",\"maxLength\":5,\"pattern\":\"^[a-z]*$\"},\"list\":{\"type\":\"array\",\"maxItems\":"
    "2,\"items\":{\"type\":\"string\"}},"
    "\"map\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}},\"deep\":{\"type\":\"object\","
    "\"default\":{},\"properties\":{\"on\":{\"type\":\"boolean\",\"default\":true}}}}},"
    "\"status\":{\"type\":\"object\",\"properties\":{\"count\":{\"type\":\"integer\"},\"selector\":{\"type\":"
    "\"string\"},\"conditions\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
    "\"x-kubernetes-list-map-keys\":[\"type\"],\"items\":{\"type\":\"object\",\"required\":[\"type\"],\"properties\":{"
    "\"type\":{\"type\":\"string\"},\"status\":{\"type\":\"string\"}}}}}}}}}}]}}";

static void refused(struct contract *c, const char *path, const char *spec, const char *part, int line)
{
    proa_ignore(ask(
        c, "POST", JSON,
        proa_arena_printf(
            &c->arena,
            "{\"apiVersion\":\"contract.dev/v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"bad\"},\"spec\":%s}", spec)
            .ptr,
        "%s", path));
    check_failure(c, PROA_EVALIDATION, "Invalid", part, line);
}
#define REFUSED(c, path, spec, part) refused((c), (path), (spec), (part), __LINE__)

static void wait_served(struct contract *c, const struct proa_kube_kind *kind)
{
    int rc = 0;

    for (int i = 0; i < 200 && rc == 0; i++) {
        rc = proa_kube_is_served(c->kube, kind, &c->err);
        if (rc == 0)
            proa_ignore(proa_sleep(c->loop, PROA_MS(50)));
    }
    CHECK(c, rc == 1);
}

static void custom_schema(struct contract *c, const char *path)
{
    REFUSED(c, path, "{}", "Thing.contract.dev \"bad\" is invalid: spec.size: Required value");
    REFUSED(c, path, "{\"size\":0}",
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1");
    REFUSED(c, path, "{\"size\":10}", "should be less than or equal to 9");
    REFUSED(c, path, "{\"size\":\"1\"}",
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"");
    REFUSED(c, path, "{\"size\":1,\"color\":\"green\"}",
            "spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\"");
    REFUSED(c, path, "{\"size\":1,\"text\":\"abcdefg\"}", "spec.text: Too long: may not be more than 5 bytes");
    REFUSED(c, path, "{\"size\":1,\"text\":\"A\"}",
            "spec.text: Invalid value: \"A\": spec.text in body should match '^[a-z]*$'");
    REFUSED(c, path, "{\"size\":1,\"list\":[\"a\",\"b\",\"c\"]}", "spec.list: Too many: 3: must have at most 2 items");
    proa_ignore(ask(c, "POST", JSON,
                    "{\"apiVersion\":\"contract.dev/"
                    "v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"bad\"},\"spec\":{\"size\":1,\"other\":1}}",
                    "%s?fieldValidation=Strict", path));
    FAILS(c, PROA_EINVAL, "BadRequest", "strict decoding error: unknown field \"spec.other\"");
}

static void custom(struct contract *c)
{
    static const struct proa_kube_kind kind = {"contract.dev", "v1", "Thing", "things", false};
    const char *path = proa_arena_printf(&c->arena, "/apis/contract.dev/v1/namespaces/%s/things", c->ns).ptr;

    CHECK(c, ask(c, "POST", JSON, crd, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions") == 0);
    wait_served(c, &kind);
    custom_schema(c, path);
    CHECK(c, ask(c, "POST", JSON,
                 "{\"apiVersion\":\"contract.dev/"
                 "v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"t\"},\"spec\":{\"size\":1,\"other\":1,\"map\":{"
                 "\"a\":\"b\"}},\"status\":{\"count\":1}}",
                 "%s", path) == 0);
    JSON_IS(c, "/spec", "{\"size\":1,\"count\":2,\"color\":\"red\",\"map\":{\"a\":\"b\"},\"deep\":{\"on\":true}}");
    JSON_IS(c, "/status", "");
    CHECK(c, number_at(c, "/metadata/generation") == 1);
    CHECK(c, ask(c, "PATCH", MERGE, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", "%s/t", path) == 0);
    CHECK(c, number_at(c, "/metadata/generation") == 1);
    CHECK(c, ask(c, "PATCH", MERGE, "{\"spec\":{\"size\":2}}", "%s/t", path) == 0);
    CHECK(c, number_at(c, "/metadata/generation") == 2);
    CHECK(c, ask(c, "PATCH", APPLY,
                 "{\"apiVersion\":\"contract.dev/"
                 "v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"t\"},\"status\":{\"count\":3,\"selector\":\"a=b\","
                 "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
                 "%s/t/status?fieldManager=m", path) == 0);
    CHECK(c, number_at(c, "/status/count") == 3 && number_at(c, "/metadata/generation") == 2);
    FIELDS(c, "m", "Apply", "status",
           "{\"f:status\":{\"f:conditions\":{\"k:{\\\"type\\\":\\\"Ready\\\"}\":{\".\":{},\"f:status\":{},\"f:type\":{}"
           "}},\"f:count\":{},\"f:selector\":{}}}");
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/t/scale", path) == 0);
    CHECK(c, number_at(c, "/spec/replicas") == 2 && number_at(c, "/status/replicas") == 3);
    TEXT(c, "/status/selector", "a=b");
    CHECK(c, ask(c, "PATCH", MERGE, "{\"spec\":{\"replicas\":5}}", "%s/t/scale", path) == 0);
    CHECK(c, ask(c, "GET", JSON, NULL, "%s?fieldSelector=spec.color%%3Dred", path) == 0);
    CHECK(c, number_at(c, "/items/0/spec/count") == 5);
    JSON_IS(c, "/items/1", "");
    proa_ignore(ask(
        c, "PUT", JSON,
        "{\"apiVersion\":\"contract.dev/v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"t\"},\"spec\":{\"size\":1}}",
        "%s/t", path));
    FAILS(c, PROA_EVALIDATION, "Invalid", "metadata.resourceVersion: Invalid value: ");
    CHECK(c, ask(c, "PATCH", APPLY,
                 "{\"apiVersion\":\"contract.dev/"
                 "v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"u\"},\"spec\":{\"size\":1}}",
                 "%s/u?fieldManager=m", path) == 0);
    FIELDS(c, "m", "Apply", "", "{\"f:spec\":{\"f:size\":{}}}");
    CHECK(c, ask(c, "DELETE", JSON, NULL,
                 "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.contract.dev") == 0);
}

static void builtin(struct contract *c)
{
    CHECK(c, ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"s\"},\"stringData\":{\"a\":\"xyz\"}}",
                 "/api/v1/namespaces/%s/secrets", c->ns) == 0);
    TEXT(c, "/data/a", "eHl6");
    TEXT(c, "/type", "Opaque");
    JSON_IS(c, "/stringData", "");
    proa_ignore(ask(c, "PATCH", MERGE, "{\"type\":\"x/y\"}", "/api/v1/namespaces/%s/secrets/s", c->ns));
    FAILS(c, PROA_EVALIDATION, "Invalid", "type: Invalid value: \"x/y\": field is immutable");
    CHECK(c, ask(c, "POST", JSON,
                 "{\"metadata\":{\"name\":\"r\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
                 "\"Role\",\"name\":\"a\"}}",
                 "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/rolebindings", c->ns) == 0);
    proa_ignore(ask(c, "PATCH", MERGE, "{\"roleRef\":{\"name\":\"b\"}}",
                    "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/rolebindings/r", c->ns));
    FAILS(c, PROA_EVALIDATION, "Invalid", "cannot change roleRef");
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s", c->ns) == 0);
    TEXT(c, "/status/phase", "Active");
    TEXT(c, "/metadata/labels/kubernetes.io~1metadata.name", c->ns);
}

static void owned(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/api/v1/namespaces/%s/configmaps", c->ns).ptr, *a, *b;
    int rc = 0;

    if (!c->has_collector)
        return;
    CHECK(c, ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"a\"}}", "%s", path) == 0);
    a = text_at(c, "/metadata/uid");
    CHECK(c, ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"b\"}}", "%s", path) == 0);
    b = text_at(c, "/metadata/uid");
    CHECK(c, ask(c, "POST", JSON,
                 proa_arena_printf(&c->arena,
                                   "{\"metadata\":{\"name\":\"of-a\",\"ownerReferences\":[{\"apiVersion\":\"v1\","
                                   "\"kind\":\"ConfigMap\",\"name\":\"a\",\"uid\":\"%s\"}]}}",
                                   a)
                     .ptr,
                 "%s", path) == 0);
    CHECK(c, ask(c, "POST", JSON,
                 proa_arena_printf(&c->arena,
                                   "{\"metadata\":{\"name\":\"of-both\",\"ownerReferences\":[{\"apiVersion\":\"v1\","
                                   "\"kind\":\"ConfigMap\",\"name\":\"a\",\"uid\":\"%s\"},"
                                   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"b\",\"uid\":\"%s\"}]}}",
                                   a, b)
                     .ptr,
                 "%s", path) == 0);
    CHECK(c, ask(c, "DELETE", JSON, "{\"propagationPolicy\":\"Background\"}", "%s/a", path) == 0);
    for (int i = 0; i < 200 && rc == 0; i++) {
        proa_ignore(proa_sleep(c->loop, PROA_MS(50)));
        rc = ask(c, "GET", JSON, NULL, "%s/of-a", path);
    }
    CHECK(c, rc == PROA_ENOTFOUND);
    proa_ignore(proa_sleep(c->loop, PROA_MS(500)));
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/of-both", path) == 0);
    TEXT(c, "/metadata/ownerReferences/0/name", "b");
    JSON_IS(c, "/metadata/ownerReferences/1", "");
    CHECK(c, ask(c, "DELETE", JSON, "{\"propagationPolicy\":\"Orphan\"}", "%s/b", path) == 0);
    rc = 0;
    for (int i = 0; i < 200 && rc == 0; i++) {
        proa_ignore(proa_sleep(c->loop, PROA_MS(50)));
        rc = ask(c, "GET", JSON, NULL, "%s/b", path);
    }
    CHECK(c, rc == PROA_ENOTFOUND);
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/of-both", path) == 0);
    JSON_IS(c, "/metadata/ownerReferences", "");
}

const struct contract_case kind_cases[] = {
    {"kinds are discovered", discovery},        {"who asks is told, and who is impersonated", who_asks},
    {"custom kinds have schemas", custom},      {"built-in kinds have manners of their own", builtin},
    {"dependents go with their owners", owned}, {NULL, NULL},
};

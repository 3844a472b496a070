/* Server-side apply (KEP-555): owners of fields, conflicts, lists with keys. */
#include "contract.h"

#include "kube/digest.h"

static void applying(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/api/v1/namespaces/%s/configmaps", c->ns).ptr, *version;
    const char *one = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"labels\":{\"l\":"
                      "\"1\"}},\"data\":{\"k\":\"v\",\"m\":\"n\"}}";

    CHECK(c, ask(c, "PATCH", APPLY, one, "%s/a?fieldManager=first", path) == 0);
    FIELDS(c, "first", "Apply", "", "{\"f:data\":{\"f:k\":{},\"f:m\":{}},\"f:metadata\":{\"f:labels\":{\"f:l\":{}}}}");
    version = text_at(c, "/metadata/resourceVersion");
    CHECK(c, ask(c, "PATCH", APPLY, one, "%s/a?fieldManager=first", path) == 0);
    TEXT(c, "/metadata/resourceVersion", version);
    /* What is applied no more goes; another manager's stays. */
    CHECK(c, ask(c, "PATCH", APPLY,
                 "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},\"data\":{\"x\":\"y\","
                 "\"m\":\"n\"}}",
                 "%s/a?fieldManager=second", path) == 0);
    CHECK(c, ask(c, "PATCH", APPLY,
                 "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}",
                 "%s/a?fieldManager=first", path) == 0);
    JSON_IS(c, "/data", "{\"k\":\"v\",\"m\":\"n\",\"x\":\"y\"}");
    JSON_IS(c, "/metadata/labels", "");
    FIELDS(c, "first", "Apply", "", "{\"f:data\":{\"f:k\":{}}}");
    FIELDS(c, "second", "Apply", "", "{\"f:data\":{\"f:m\":{},\"f:x\":{}}}");
    /* Conflicts. */
    proa_ignore(
        ask(c, "PATCH", APPLY,
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"w\"}}",
            "%s/a?fieldManager=second", path));
    FAILS(c, PROA_ECONFLICT, "Conflict", "Apply failed with 1 conflict: conflict with \"first\": .data.k");
    CHECK(c, ask(c, "PATCH", APPLY,
                 "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"w\"}}",
                 "%s/a?fieldManager=second&force=true", path) == 0);
    JSON_IS(c, "/data", "{\"k\":\"w\"}");
    FIELDS(c, "first", "Apply", "", "");
    FIELDS(c, "second", "Apply", "", "{\"f:data\":{\"f:k\":{}}}");
    /* An update takes over what it changes, without asking. */
    CHECK(c, ask(c, "PATCH", MERGE, "{\"data\":{\"k\":\"u\"}}", "%s/a?fieldManager=hand", path) == 0);
    FIELDS(c, "second", "Apply", "", "");
    FIELDS(c, "hand", "Update", "", "{\"f:data\":{\"f:k\":{}}}");
    proa_ignore(
        ask(c, "PATCH", APPLY,
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"w\"}}",
            "%s/a?fieldManager=second", path));
    FAILS(c, PROA_ECONFLICT, "Conflict", "conflict with \"hand\" using v1");
    /* The same value is shared. */
    CHECK(c, ask(c, "PATCH", APPLY,
                 "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"u\"}}",
                 "%s/a?fieldManager=second", path) == 0);
    FIELDS(c, "second", "Apply", "", "{\"f:data\":{\"f:k\":{}}}");
    FIELDS(c, "hand", "Update", "", "{\"f:data\":{\"f:k\":{}}}");
    proa_ignore(ask(c, "PATCH", APPLY, one, "%s/a", path));
    CHECK(c, c->rc < 0 && strstr(c->err.message, "fieldManager"));
}

static void preconditions(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/api/v1/namespaces/%s/configmaps", c->ns).ptr, *version;
    const char *only_new = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\","
                           "\"resourceVersion\":\"1\"},\"data\":{\"k\":\"v\"}}";

    proa_ignore(ask(c, "PATCH", APPLY,
                    "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"uid\":\"00000000-"
                    "0000-4000-8000-000000000000\"}}",
                    "%s/a?fieldManager=m", path));
    CHECK(c, c->rc == PROA_ECONFLICT);
    CHECK(c, ask(c, "PATCH", APPLY, only_new, "%s/a?fieldManager=m", path) == 0);
    version = text_at(c, "/metadata/resourceVersion");
    proa_ignore(ask(c, "PATCH", APPLY, only_new, "%s/a?fieldManager=other&force=true", path));
    FAILS(c, PROA_ECONFLICT, "Conflict", "the object has been modified");
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/a", path) == 0);
    TEXT(c, "/metadata/resourceVersion", version);
    CHECK(c, ask(c, "PATCH", APPLY, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"b\"}}",
                 "%s/a?fieldManager=m", path) == PROA_EINVAL);
}

static void listing(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/apis/apps/v1/namespaces/%s/statefulsets", c->ns).ptr;
    const char *begin = "{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\",\"metadata\":{\"name\":\"s\"},\"spec\":{";
    const char *head = "\"serviceName\":\"s\",\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{"
                       "\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[";

    CHECK(c, ask(c, "PATCH", APPLY,
                 proa_arena_printf(&c->arena,
                                   "%s\"replicas\":3,%s{\"name\":\"c\",\"image\":\"i\",\"args\":[\"x\",\"y\"],\"env\":["
                                   "{\"name\":\"A\",\"value\":\"1\"},"
                                   "{\"name\":\"B\",\"value\":\"2\"}],\"ports\":[{\"containerPort\":80}]}]}}}}",
                                   begin, head)
                     .ptr,
                 "%s/s?fieldManager=m", path) == 0);
    FIELDS(c, "m", "Apply", "",
           "{\"f:spec\":{\"f:replicas\":{},\"f:selector\":{},\"f:serviceName\":{},\"f:template\":{\"f:metadata\":{\"f:"
           "labels\":{\"f:a\":{}}},"
           "\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:args\":{},\"f:env\":{\"k:{"
           "\\\"name\\\":\\\"A\\\"}\":"
           "{\".\":{},\"f:name\":{},\"f:value\":{}},\"k:{\\\"name\\\":\\\"B\\\"}\":{\".\":{},\"f:name\":{},\"f:value\":"
           "{}}},\"f:image\":{},"
           "\"f:name\":{},\"f:ports\":{\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:"
           "containerPort\":{}}}}}}}}}");
    CHECK(c, number_at(c, "/metadata/generation") == 1);
    /* Another adds a container and a variable; the first takes one away. */
    CHECK(c, ask(c, "PATCH", APPLY,
                 proa_arena_printf(&c->arena,
                                   "%s%s{\"name\":\"c\",\"image\":\"i\",\"env\":[{\"name\":\"C\",\"value\":\"3\"}]},{"
                                   "\"name\":\"d\",\"image\":\"j\"}]}}}}",
                                   begin, head)
                     .ptr,
                 "%s/s?fieldManager=n", path) == 0);
    CHECK(c, ask(c, "PATCH", APPLY,
                 proa_arena_printf(
                     &c->arena, "%s%s{\"name\":\"c\",\"image\":\"i\",\"env\":[{\"name\":\"B\",\"value\":\"2\"}]}]}}}}",
                     begin, head)
                     .ptr,
                 "%s/s?fieldManager=m", path) == 0);
    CHECK(c, number_at(c, "/metadata/generation") == 3);
    TEXT(c, "/spec/template/spec/containers/0/env/0/name", "B");
    TEXT(c, "/spec/template/spec/containers/0/env/1/name", "C");
    JSON_IS(c, "/spec/template/spec/containers/0/env/2", "");
    JSON_IS(c, "/spec/template/spec/containers/0/args", "");
    JSON_IS(c, "/spec/template/spec/containers/0/ports", "");
    TEXT(c, "/spec/template/spec/containers/1/name", "d");
    /* A list without keys is one value. */
    proa_ignore(ask(c, "PATCH", APPLY,
                    proa_arena_printf(&c->arena, "%s%s{\"name\":\"d\",\"image\":\"k\"}]}}}}", begin, head).ptr,
                    "%s/s?fieldManager=m", path));
    FAILS(c, PROA_ECONFLICT, "Conflict",
          "Apply failed with 1 conflict: conflict with \"n\": .spec.template.spec.containers[name=\"d\"].image");
    /* What must not change. */
    proa_ignore(ask(c, "PATCH", MERGE, "{\"spec\":{\"serviceName\":\"other\"}}", "%s/s", path));
    FAILS(c, PROA_EVALIDATION, "Invalid",
          "StatefulSet.apps \"s\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than ");
}

/* One that two own stays when one of them lets go of it; from this version of the object it can be taken off. */
static void foreign_finalizer(struct contract *c, const char *path)
{
    const char *version;

    CHECK(c, ask(c, "PATCH", MERGE, "{\"metadata\":{\"finalizers\":[\"x.dev/a\",\"x.dev/b\"]}}",
                 "%s/a?fieldManager=hand", path) == 0);
    CHECK(
        c,
        ask(c, "PATCH", APPLY,
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x.dev/a\"]}}",
            "%s/a?fieldManager=m", path) == 0);
    version = text_at(c, "/metadata/resourceVersion");
    CHECK(c, ask(c, "DELETE", JSON, NULL, "%s/a", path) == 0);
    CHECK(c, ask(c, "PATCH", APPLY, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}",
                 "%s/a?fieldManager=m", path) == 0);
    JSON_IS(c, "/metadata/finalizers", "[\"x.dev/a\",\"x.dev/b\"]");
    CHECK(
        c,
        ask(c, "PATCH", MERGE,
            proa_arena_printf(&c->arena, "{\"metadata\":{\"resourceVersion\":\"%s\",\"finalizers\":[]}}", version).ptr,
            "%s/a?fieldManager=m", path) == PROA_ECONFLICT);
    FAILS(c, PROA_ECONFLICT, "Conflict", "the object has been modified");
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/a", path) == 0);
    version = text_at(c, "/metadata/resourceVersion");
    CHECK(c, ask(c, "PATCH", MERGE,
                 proa_arena_printf(&c->arena,
                                   "{\"metadata\":{\"resourceVersion\":\"%s\",\"finalizers\":[\"x.dev/b\"]}}", version)
                     .ptr,
                 "%s/a?fieldManager=m", path) == 0);
    JSON_IS(c, "/metadata/finalizers", "[\"x.dev/b\"]");
    version = text_at(c, "/metadata/resourceVersion");
    CHECK(
        c,
        ask(c, "PATCH", MERGE,
            proa_arena_printf(&c->arena, "{\"metadata\":{\"resourceVersion\":\"%s\",\"finalizers\":[]}}", version).ptr,
            "%s/a?fieldManager=m", path) == 0);
    /* Gone with it, answered without it and as of the version before. */
    JSON_IS(c, "/metadata/finalizers", "");
    TEXT(c, "/metadata/resourceVersion", version);
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/a", path) == PROA_ENOTFOUND);
}

static void metadata(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/api/v1/namespaces/%s/configmaps", c->ns).ptr;
    const char *uid = "00000000-0000-4000-8000-000000000001";

    CHECK(
        c,
        ask(c, "PATCH", APPLY,
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x.dev/a\"]}}",
            "%s/a?fieldManager=m", path) == 0);
    FIELDS(c, "m", "Apply", "", "{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"x.dev/a\\\"\":{}}}}");
    CHECK(
        c,
        ask(c, "PATCH", APPLY,
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x.dev/b\"]}}",
            "%s/a?fieldManager=n", path) == 0);
    JSON_IS(c, "/metadata/finalizers", "[\"x.dev/a\",\"x.dev/b\"]");
    CHECK(c, ask(c, "PATCH", APPLY, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}",
                 "%s/a?fieldManager=m", path) == 0);
    JSON_IS(c, "/metadata/finalizers", "[\"x.dev/b\"]");
    CHECK(c, ask(c, "PATCH", APPLY, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}",
                 "%s/a?fieldManager=n", path) == 0);
    JSON_IS(c, "/metadata/finalizers", "");
    foreign_finalizer(c, path);
    CHECK(c, ask(c, "PATCH", APPLY,
                 proa_arena_printf(
                     &c->arena,
                     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"o\",\"ownerReferences\":[{"
                     "\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"x\",\"uid\":\"%s\"}]}}",
                     uid)
                     .ptr,
                 "%s/o?fieldManager=m&dryRun=All", path) == 0);
    FIELDS(c, "m", "Apply", "",
           "{\"f:metadata\":{\"f:ownerReferences\":{\"k:{\\\"uid\\\":\\\"00000000-0000-4000-8000-000000000001\\\"}\":{}"
           "}}}");
}

static void subresources(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/apis/apps/v1/namespaces/%s/statefulsets", c->ns).ptr, *version;

    CHECK(c, ask(c, "POST", JSON,
                 "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"replicas\":2,\"serviceName\":\"s\",\"selector\":{"
                 "\"matchLabels\":{\"a\":\"b\"}},\"template\":"
                 "{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}"
                 "}},\"status\":{\"replicas\":9}}",
                 "%s", path) == 0);
    CHECK(c, number_at(c, "/status/replicas") == 0);
    version = text_at(c, "/metadata/resourceVersion");
    CHECK(c, ask(c, "PATCH", MERGE, "{\"status\":{\"replicas\":5}}", "%s/s", path) == 0);
    CHECK(c, number_at(c, "/status/replicas") == 0);
    TEXT(c, "/metadata/resourceVersion", version);
    CHECK(c, ask(c, "PATCH", MERGE, "{\"spec\":{\"replicas\":7},\"status\":{\"replicas\":2,\"readyReplicas\":1}}",
                 "%s/s/status?fieldManager=st", path) == 0);
    CHECK(c, number_at(c, "/status/replicas") == 2 && number_at(c, "/spec/replicas") == 2);
    CHECK(c, number_at(c, "/metadata/generation") == 1);
    CHECK(c, ask(c, "PATCH", APPLY,
                 "{\"apiVersion\":\"apps/"
                 "v1\",\"kind\":\"StatefulSet\",\"metadata\":{\"name\":\"s\"},\"status\":{\"replicas\":2,"
                 "\"currentRevision\":\"r\"}}",
                 "%s/s/status?fieldManager=ap", path) == 0);
    FIELDS(c, "ap", "Apply", "status", "{\"f:status\":{\"f:currentRevision\":{},\"f:replicas\":{}}}");
    /* Scale. */
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/s/scale", path) == 0);
    TEXT(c, "/kind", "Scale");
    TEXT(c, "/apiVersion", "autoscaling/v1");
    CHECK(c, number_at(c, "/spec/replicas") == 2 && number_at(c, "/status/replicas") == 2);
    TEXT(c, "/status/selector", "a=b");
    CHECK(c, ask(c, "PATCH", MERGE, "{\"spec\":{\"replicas\":4}}", "%s/s/scale", path) == 0);
    CHECK(c, number_at(c, "/spec/replicas") == 4);
    CHECK(c, ask(c, "PUT", JSON, "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"replicas\":3}}", "%s/s/scale", path) == 0);
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/s", path) == 0);
    CHECK(c, number_at(c, "/spec/replicas") == 3 && number_at(c, "/metadata/generation") == 3);
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/absent/scale", path) == PROA_ENOTFOUND);
}

/* Whether a controller that wants this body has nothing to send. */
static bool is_as_applied(struct contract *c, const char *body)
{
    char *answer = yyjson_val_write(c->root, 0, NULL),
         *managed = yyjson_val_write(yyjson_ptr_get(c->root, "/metadata/managedFields"), 0, NULL);
    bool is =
        answer && managed &&
        digest_applied(proa_str_c(answer), proa_str_c(managed), PROA_STR("m")).main == digest_body(proa_str_c(body));

    free(answer);
    free(managed);
    return is;
}

/* What is false, 0 or empty is owned as everything else is, although a built-in kind does not keep it. */
static void zeros(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/apis/apps/v1/namespaces/%s/statefulsets", c->ns).ptr, *body;

    CHECK(c,
          ask(c, "PATCH", APPLY,
              body =
                  "{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\",\"metadata\":{\"name\":\"s\",\"labels\":{},"
                  "\"annotations\":{\"a\":\"\"}},\"spec\":{\"replicas\":0,\"minReadySeconds\":0,\"serviceName\":\"\","
                  "\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},"
                  "\"spec\":{"
                  "\"hostNetwork\":false,\"enableServiceLinks\":false,\"securityContext\":{},\"tolerations\":[],"
                  "\"nodeSelector\":{},\"terminationGracePeriodSeconds\":0,\"containers\":[{\"name\":\"c\",\"image\":"
                  "\"i\","
                  "\"args\":[],\"tty\":false,\"env\":[{\"name\":\"A\",\"value\":\"\"}],\"resources\":{},"
                  "\"securityContext\":{"
                  "\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[]}}}],"
                  "\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}}}",
              "%s/s?fieldManager=m", path) == 0);
    FIELDS(
        c, "m", "Apply", "",
        "{\"f:metadata\":{\"f:annotations\":{\"f:a\":{}},\"f:labels\":{}},\"f:spec\":{\"f:minReadySeconds\":{},"
        "\"f:replicas\":{},\"f:selector\":{},\"f:serviceName\":{},\"f:template\":{\"f:metadata\":{\"f:labels\":{"
        "\"f:a\":{}}},\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:args\":{},\"f:env\":{"
        "\"k:{\\\"name\\\":\\\"A\\\"}\":{\".\":{},\"f:name\":{},\"f:value\":{}}},\"f:image\":{},\"f:name\":{},"
        "\"f:resources\":{},\"f:securityContext\":{\"f:allowPrivilegeEscalation\":{},\"f:capabilities\":{\"f:drop\":{}}"
        "},"
        "\"f:tty\":{}}},\"f:enableServiceLinks\":{},\"f:hostNetwork\":{},\"f:nodeSelector\":{},\"f:securityContext\":{}"
        ","
        "\"f:terminationGracePeriodSeconds\":{},\"f:tolerations\":{},\"f:volumes\":{\"k:{\\\"name\\\":\\\"v\\\"}\":{"
        "\".\":{},\"f:emptyDir\":{},\"f:name\":{}}}}}}}");
    CHECK(c, is_as_applied(c, body));
    /* Set to something by another, it is his. */
    CHECK(c, ask(c, "PATCH", MERGE, "{\"spec\":{\"template\":{\"spec\":{\"enableServiceLinks\":true}}}}",
                 "%s/s?fieldManager=hand", path) == 0);
    FIELDS(c, "hand", "Update", "", "{\"f:spec\":{\"f:template\":{\"f:spec\":{\"f:enableServiceLinks\":{}}}}}");
    CHECK(c, !is_as_applied(c, body));
    CHECK(c, ask(c, "PATCH", APPLY, body, "%s/s?fieldManager=m&force=true", path) == 0);
    CHECK(c, is_as_applied(c, body));
    /* An empty list with keys is nobody's, nothing but it is no field. */
    CHECK(c, ask(c, "PATCH", APPLY,
                 "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"n\",\"finalizers\":[]}}",
                 "/api/v1/namespaces/%s/configmaps/n?fieldManager=m", c->ns) == 0);
    FIELDS(c, "m", "Apply", "", "");
}

const struct contract_case apply_cases[] = {
    {"applies own what they name", applying},
    {"an apply may name a version", preconditions},
    {"lists are merged by their keys", listing},
    {"finalizers and owners are merged", metadata},
    {"status and scale are apart", subresources},
    {"zeros are owned", zeros},
    {NULL, NULL},
};

/* Create, get, replace, patch, delete. */
#include "contract.h"

static void creating(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/api/v1/namespaces/%s/configmaps", c->ns).ptr;

    CHECK(c, ask(c, "POST", JSON,
                 "{\"metadata\":{\"name\":\"a\",\"uid\":\"x\",\"generation\":7,\"labels\":{\"l\":\"1\"}},\"data\":{"
                 "\"k\":\"v\"}}",
                 "%s?fieldManager=maker", path) == 0);
    TEXT(c, "/kind", "ConfigMap");
    TEXT(c, "/apiVersion", "v1");
    TEXT(c, "/metadata/namespace", c->ns);
    CHECK(c, strlen(text_at(c, "/metadata/uid")) == 36);
    CHECK(c, version_of(text_at(c, "/metadata/resourceVersion")) > 1);
    CHECK(c, strlen(text_at(c, "/metadata/creationTimestamp")) == 20);
    CHECK(c, number_at(c, "/metadata/generation") == 7);
    TEXT(c, "/data/k", "v");
    TEXT(c, "/metadata/managedFields/0/manager", "maker");
    TEXT(c, "/metadata/managedFields/0/operation", "Update");
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/a", path) == 0);
    TEXT(c, "/data/k", "v");
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/b", path) < 0);
    FAILS(c, PROA_ENOTFOUND, "NotFound", "configmaps \"b\" not found");
    proa_ignore(ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"a\"}}", "%s", path));
    FAILS(c, PROA_EEXISTS, "AlreadyExists", "configmaps \"a\" already exists");
    CHECK(c, ask(c, "POST", JSON, "{\"metadata\":{\"generateName\":\"gen-\"}}", "%s", path) == 0);
    CHECK(c, strlen(text_at(c, "/metadata/name")) == 9);
    /* Nothing is kept of a dry run. */
    CHECK(c, ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"dry\"}}", "%s?dryRun=All", path) == 0);
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/dry", path) == PROA_ENOTFOUND);
}

static void refusing(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/api/v1/namespaces/%s/configmaps", c->ns).ptr;

    proa_ignore(ask(c, "POST", JSON, "{\"metadata\":{}}", "%s", path));
    FAILS(c, PROA_EVALIDATION, "Invalid", "name or generateName is required");
    proa_ignore(ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"A_b\"}}", "%s", path));
    FAILS(c, PROA_EVALIDATION, "Invalid",
          "ConfigMap \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123");
    proa_ignore(ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"5\"}}", "%s", path));
    FAILS(c, PROA_EUNAVAILABLE, "", "resourceVersion should not be set on objects to be created");
    proa_ignore(
        ask(c, "POST", JSON, "{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"}}", "%s", path));
    FAILS(c, PROA_EINVAL, "BadRequest", "Secret in version \"v1\" cannot be handled as a ConfigMap");
    proa_ignore(ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"a\",\"namespace\":\"other\"}}", "%s", path));
    FAILS(c, PROA_EINVAL, "BadRequest",
          "the namespace of the provided object does not match the namespace sent on the request");
    proa_ignore(ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"a\"}}", "/api/v1/namespaces/absent/configmaps"));
    FAILS(c, PROA_ENOTFOUND, "NotFound", "namespaces \"absent\" not found");
    CHECK(c, ask(c, "POST", JSON, "{", "%s", path) == PROA_EINVAL);
    CHECK(c, ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"a\"}}", "%s/a", path) == PROA_EUNSUPPORTED);
    CHECK(c, ask(c, "GET", JSON, NULL, "/api/v1/namespaces/%s/nothings", c->ns) == PROA_ENOTFOUND);
    FAILS(c, PROA_ENOTFOUND, "NotFound", "the server could not find the requested resource");
}

/* Of a ConfigMap that is "bad" with this metadata and the rest of its members. */
static void refused(struct contract *c, const char *metadata, const char *rest, int code, const char *part, int line)
{
    proa_ignore(ask(c, "POST", JSON,
                    proa_arena_printf(&c->arena, "{\"metadata\":{\"name\":\"bad\"%s}%s}", metadata, rest).ptr,
                    "/api/v1/namespaces/%s/configmaps", c->ns));
    check_failure(c, code, code == PROA_EINVAL ? "BadRequest" : "Invalid", part, line);
}
#define REFUSED(c, metadata, rest, part) refused((c), (metadata), (rest), PROA_EVALIDATION, (part), __LINE__)

static void checking(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/api/v1/namespaces/%s/configmaps", c->ns).ptr;
    const char *sixty_four = "0123456789012345678901234567890123456789012345678901234567890123";

    REFUSED(c, ",\"labels\":{\"l\":\"a b\"}", "",
            "ConfigMap \"bad\" is invalid: metadata.labels: Invalid value: \"a b\": a valid label must be an empty "
            "string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character");
    REFUSED(c, ",\"labels\":{\"l\":\"-a\"}", "", "metadata.labels: Invalid value: \"-a\": a valid label must be");
    REFUSED(c, proa_arena_printf(&c->arena, ",\"labels\":{\"l\":\"%s\"}", sixty_four).ptr, "",
            "must be no more than 63");
    REFUSED(c, ",\"labels\":{\"a b\":\"l\"}", "",
            "metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or "
            "'.', and must start and end with an alphanumeric character");
    REFUSED(c, ",\"labels\":{\"X.dev/a\":\"l\"}", "",
            "metadata.labels: Invalid value: \"X.dev/a\": prefix part a lowercase RFC 1123 subdomain must consist of");
    REFUSED(c, ",\"labels\":{\"\":\"l\"}", "", "metadata.labels: Invalid value: \"\": name part must be non-empty");
    REFUSED(c, ",\"annotations\":{\"a/b/c\":\"any, text\"}", "",
            "metadata.annotations: Invalid value: \"a/b/c\": a valid label key must consist of");
    REFUSED(c, ",\"finalizers\":[\"a b\"]", "",
            "metadata.finalizers: Invalid value: \"a b\": name part must consist of");
    REFUSED(
        c, ",\"finalizers\":[\"unqualified\"]", "",
        "metadata.finalizers[0]: Invalid value: \"unqualified\": name is neither a standard finalizer name nor is it "
        "fully qualified");
    REFUSED(c, ",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\"}]", "",
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty");
    REFUSED(c, ",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"uid\":\"u\"}]", "",
            "metadata.ownerReferences.name: Invalid value: \"\": must not be empty");
    REFUSED(c,
            ",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"u\",\"controller\":"
            "true},{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"q\",\"uid\":\"v\",\"controller\":true}]",
            "", "Only one reference can have Controller set to true.");
    REFUSED(
        c, "", ",\"data\":{\"a b\":\"x\"}",
        "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or "
        "'.'");
    refused(c, "", ",\"data\":{\"a\":1}", PROA_EINVAL,
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string", __LINE__);
    refused(c, ",\"labels\":{\"a\":true}", "", PROA_EINVAL,
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string", __LINE__);
    CHECK(
        c,
        ask(c, "POST", JSON,
            "{\"metadata\":{\"name\":\"good\",\"labels\":{\"x.dev/A_b\":\"\",\"l\":\"A.b_c-9\"},\"annotations\":{\"A\":"
            "\"any {text}\"}},\"data\":{\".data\":\"x\",\"A_b-c.d\":\"\"}}",
            "%s", path) == 0);
    proa_ignore(ask(c, "PATCH", MERGE, "{\"metadata\":{\"labels\":{\"l\":\"a/b\"}}}", "%s/good", path));
    FAILS(c, PROA_EVALIDATION, "Invalid", "metadata.labels: Invalid value: \"a/b\"");
    proa_ignore(
        ask(c, "PATCH", APPLY,
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"good\",\"labels\":{\"m\":\"a "
            "b\"}}}",
            "%s/good?fieldManager=m", path));
    FAILS(c, PROA_EVALIDATION, "Invalid", "metadata.labels: Invalid value: \"a b\"");
    CHECK(c, ask(c, "PATCH", MERGE, "{\"immutable\":true}", "%s/good", path) == 0);
    CHECK(c, ask(c, "PATCH", MERGE, "{\"metadata\":{\"labels\":{\"l\":\"new\"}}}", "%s/good", path) == 0);
    proa_ignore(ask(c, "PATCH", MERGE, "{\"data\":{\"a\":\"b\"}}", "%s/good", path));
    FAILS(c, PROA_EVALIDATION, "Invalid", "data: Forbidden: field is immutable when `immutable` is set");
    proa_ignore(ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"s\"},\"data\":{\"a\":\"no base64!\"}}",
                    "/api/v1/namespaces/%s/secrets", c->ns));
    FAILS(c, PROA_EINVAL, "BadRequest", "illegal base64 data at input byte 2");
}

static void replacing(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/api/v1/namespaces/%s/configmaps", c->ns).ptr, *version, *uid;

    proa_ignore(ask(c, "PUT", JSON, "{\"metadata\":{\"name\":\"a\"}}", "%s/a", path));
    FAILS(c, PROA_ENOTFOUND, "NotFound", "configmaps \"a\" not found");
    CHECK(c, ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}", "%s", path) == 0);
    version = text_at(c, "/metadata/resourceVersion");
    uid = text_at(c, "/metadata/uid");
    /* The same again changes nothing. */
    CHECK(c, ask(c, "PUT", JSON, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}", "%s/a", path) == 0);
    TEXT(c, "/metadata/resourceVersion", version);
    CHECK(c, ask(c, "PUT", JSON, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"w\"}}", "%s/a", path) == 0);
    CHECK(c, version_of(text_at(c, "/metadata/resourceVersion")) > version_of(version));
    TEXT(c, "/metadata/uid", uid);
    TEXT(c, "/data/k", "w");
    proa_ignore(
        ask(c, "PUT", JSON,
            proa_arena_printf(&c->arena, "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"%s\"}}", version).ptr,
            "%s/a", path));
    FAILS(c, PROA_ECONFLICT, "Conflict",
          "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please "
          "apply your changes to the latest version and try again");
    proa_ignore(ask(c, "PUT", JSON, "{\"metadata\":{\"name\":\"a\",\"uid\":\"00000000-0000-4000-8000-000000000000\"}}",
                    "%s/a", path));
    FAILS(c, PROA_ECONFLICT, "Conflict",
          "Precondition failed: UID in precondition: 00000000-0000-4000-8000-000000000000, UID in object meta: ");
    proa_ignore(ask(c, "PUT", JSON, "{\"metadata\":{\"name\":\"b\"}}", "%s/a", path));
    FAILS(c, PROA_EINVAL, "BadRequest", "the name of the object (b) does not match the name on the URL (a)");
    /* A Lease is made by replacing, and replaced only by who names its version. */
    path = proa_arena_printf(&c->arena, "/apis/coordination.k8s.io/v1/namespaces/%s/leases/l", c->ns).ptr;
    CHECK(c,
          ask(c, "PUT", JSON, "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"holderIdentity\":\"x\"}}", "%s", path) == 0);
    version = text_at(c, "/metadata/resourceVersion");
    proa_ignore(ask(c, "PUT", JSON, "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"holderIdentity\":\"y\"}}", "%s", path));
    FAILS(c, PROA_EVALIDATION, "Invalid", "metadata.resourceVersion: Invalid value: ");
    FAILS(c, PROA_EVALIDATION, "Invalid", "must be specified for an update");
    CHECK(c, ask(c, "PUT", JSON,
                 proa_arena_printf(
                     &c->arena,
                     "{\"metadata\":{\"name\":\"l\",\"resourceVersion\":\"%s\"},\"spec\":{\"holderIdentity\":\"y\"}}",
                     version)
                     .ptr,
                 "%s", path) == 0);
    TEXT(c, "/spec/holderIdentity", "y");
}

static void patching(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/api/v1/namespaces/%s/configmaps", c->ns).ptr;

    CHECK(c, ask(c, "PATCH", MERGE, "{\"data\":{}}", "%s/a", path) == PROA_ENOTFOUND);
    CHECK(c,
          ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\",\"l\":\"x\"}}", "%s", path) == 0);
    CHECK(c, ask(c, "PATCH", MERGE, "{\"data\":{\"k\":null,\"m\":\"y\"},\"metadata\":{\"labels\":{\"a\":\"b\"}}}",
                 "%s/a?fieldManager=p", path) == 0);
    JSON_IS(c, "/data", "{\"l\":\"x\",\"m\":\"y\"}");
    TEXT(c, "/metadata/labels/a", "b");
    proa_ignore(
        ask(c, "PATCH", MERGE, "{\"metadata\":{\"resourceVersion\":\"1\"},\"data\":{\"k\":\"z\"}}", "%s/a", path));
    FAILS(c, PROA_ECONFLICT, "Conflict", "the object has been modified");
    CHECK(c, ask(c, "PATCH", JSON_PATCH,
                 "[{\"op\":\"test\",\"path\":\"/data/l\",\"value\":\"x\"},{\"op\":\"replace\",\"path\":\"/data/"
                 "l\",\"value\":\"1\"},"
                 "{\"op\":\"add\",\"path\":\"/metadata/annotations\",\"value\":{}},{\"op\":\"add\",\"path\":\"/"
                 "metadata/annotations/a~1b\",\"value\":\"2\"},{\"op\":\"remove\",\"path\":\"/data/m\"},"
                 "{\"op\":\"copy\",\"from\":\"/data/l\",\"path\":\"/data/c\"},{\"op\":\"move\",\"from\":\"/data/"
                 "l\",\"path\":\"/data/d\"},"
                 "{\"op\":\"add\",\"path\":\"/metadata/finalizers\",\"value\":[\"x.dev/a\"]},"
                 "{\"op\":\"add\",\"path\":\"/metadata/finalizers/-\",\"value\":\"x.dev/b\"},"
                 "{\"op\":\"remove\",\"path\":\"/metadata/finalizers/0\"}]",
                 "%s/a", path) == 0);
    JSON_IS(c, "/data", "{\"c\":\"1\",\"d\":\"1\"}");
    JSON_IS(c, "/metadata/finalizers", "[\"x.dev/b\"]");
    CHECK(c, ask(c, "PATCH", JSON_PATCH, "[{\"op\":\"test\",\"path\":\"/data/c\",\"value\":\"other\"}]", "%s/a",
                 path) == PROA_EVALIDATION);
    CHECK(c, ask(c, "PATCH", JSON_PATCH, "[{\"op\":\"remove\",\"path\":\"/data/absent\"}]", "%s/a", path) ==
                 PROA_EVALIDATION);
    CHECK(c, ask(c, "PATCH", MERGE, "[]", "%s/a", path) == PROA_EINVAL);
    CHECK(c, ask(c, "PATCH", JSON, "{}", "%s/a", path) == PROA_EMEDIATYPE);
    CHECK(c, ask(c, "PATCH", JSON_PATCH, "[{\"op\":\"remove\",\"path\":\"/metadata/finalizers\"}]", "%s/a", path) == 0);
}

static void deleting(struct contract *c)
{
    const char *path = proa_arena_printf(&c->arena, "/api/v1/namespaces/%s/configmaps", c->ns).ptr, *version;
    const char *sets = proa_arena_printf(&c->arena, "/apis/apps/v1/namespaces/%s/statefulsets", c->ns).ptr;

    CHECK(c, ask(c, "DELETE", JSON, NULL, "%s/a", path) == PROA_ENOTFOUND);
    CHECK(c, ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"a\"}}", "%s", path) == 0);
    version = text_at(c, "/metadata/resourceVersion");
    CHECK(c, ask(c, "PATCH", MERGE, "{\"data\":{\"x\":\"y\"}}", "%s/a", path) == 0);
    proa_ignore(
        ask(c, "DELETE", JSON, "{\"preconditions\":{\"uid\":\"00000000-0000-4000-8000-000000000000\"}}", "%s/a", path));
    FAILS(c, PROA_ECONFLICT, "Conflict",
          "the UID in the precondition (00000000-0000-4000-8000-000000000000) does not match");
    proa_ignore(ask(c, "DELETE", JSON,
                    proa_arena_printf(&c->arena, "{\"preconditions\":{\"resourceVersion\":\"%s\"}}", version).ptr,
                    "%s/a", path));
    FAILS(c, PROA_ECONFLICT, "Conflict", "the ResourceVersion in the precondition (");
    CHECK(c, ask(c, "DELETE", JSON, NULL, "%s/a?dryRun=All", path) == 0);
    CHECK(c, ask(c, "DELETE", JSON, NULL, "%s/a", path) == 0);
    TEXT(c, "/status", "Success");
    TEXT(c, "/details/name", "a");
    TEXT(c, "/details/kind", "configmaps");
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/a", path) == PROA_ENOTFOUND);
    /* Finalizers hold it. */
    CHECK(
        c,
        ask(c, "POST", JSON,
            "{\"metadata\":{\"name\":\"s\",\"finalizers\":[\"x.dev/a\"]},\"spec\":{\"serviceName\":\"s\",\"selector\":"
            "{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{"
            "\"containers\":"
            "[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
            "%s", sets) == 0);
    CHECK(c, number_at(c, "/metadata/generation") == 1);
    CHECK(c, ask(c, "DELETE", JSON, "{\"propagationPolicy\":\"Background\"}", "%s/s", sets) == 0);
    TEXT(c, "/kind", "StatefulSet");
    CHECK(c, strlen(text_at(c, "/metadata/deletionTimestamp")) == 20);
    CHECK(c, number_at(c, "/metadata/generation") == 2);
    version = text_at(c, "/metadata/resourceVersion");
    CHECK(c, ask(c, "DELETE", JSON, "{\"propagationPolicy\":\"Background\"}", "%s/s", sets) == 0);
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/s", sets) == 0);
    TEXT(c, "/metadata/resourceVersion", version);
    proa_ignore(ask(c, "PATCH", MERGE, "{\"metadata\":{\"finalizers\":[\"x.dev/a\",\"x.dev/b\"]}}", "%s/s", sets));
    FAILS(c, PROA_EVALIDATION, "Invalid",
          "no new finalizers can be added if the object is being deleted, found new finalizers []string{\"x.dev/b\"}");
    CHECK(c, ask(c, "PATCH", MERGE, "{\"metadata\":{\"finalizers\":null}}", "%s/s", sets) == 0);
    TEXT(c, "/metadata/resourceVersion", version); /* the last one, not that of the deletion */
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/s", sets) == PROA_ENOTFOUND);
    /* A collection. */
    CHECK(c, ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"x\",\"labels\":{\"l\":\"1\"}}}", "%s", path) == 0);
    CHECK(c, ask(c, "POST", JSON, "{\"metadata\":{\"name\":\"y\",\"labels\":{\"l\":\"2\"}}}", "%s", path) == 0);
    CHECK(c, ask(c, "DELETE", JSON, NULL, "%s?labelSelector=l%%3D1", path) == 0);
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/x", path) == PROA_ENOTFOUND);
    CHECK(c, ask(c, "GET", JSON, NULL, "%s/y", path) == 0);
}

const struct contract_case object_cases[] = {
    {"objects are created", creating},
    {"what is wrong is refused", refusing},
    {"metadata and data are checked", checking},
    {"objects are replaced", replacing},
    {"objects are patched", patching},
    {"objects are deleted", deleting},
    {NULL, NULL},
};

/* Definitions from descriptions: whatever a member is, the API server takes its schema, and lets through what the program can read. */
#include "contract.h"

#include <proa/crd.h>

enum shade { SHADE_RED, SHADE_BLUE };
PROA_ENUM(shade, (SHADE_RED, "red"), (SHADE_BLUE, "blue"));
struct part {
    proa_str name;
    int32_t count;
};
PROA_DESCRIBE(part, (name, str, .max_len = 20), (count, i32, .default_json = "3"));
struct whole_spec {
    bool on;
    int8_t tiny;
    int64_t wide;
    uint64_t natural;
    double ratio;
    proa_str text, mail, fixed;
    enum shade shade;
    PROA_OPTIONAL(enum shade) maybe;
    struct part part;
    PROA_OPTIONAL(struct part) no_part;
    PROA_ARRAY_OF(proa_str) set;
    PROA_ARRAY_OF(struct part) keyed;
    PROA_ARRAY_OF(struct part) plain;
    PROA_ARRAY_OF(proa_str) any_list;
    PROA_MAP_OF(proa_str) any_map;
    PROA_MAP_OF(struct proa_quantity) amounts;
    PROA_OPTIONAL(proa_str) any;
    proa_str blob;
    proa_time_ns at;
    struct proa_duration every;
    struct proa_quantity size, room;
    PROA_OPTIONAL(struct proa_quantity) no_size;
};
PROA_DESCRIBE_WITH(
    whole_spec,
    (.rules = (const struct proa_cel_rule[]){{"self.wide > 2 || self.on", "wide is too small where it is off"},
                                             {NULL}}),
    (on, boolean, .default_json = "false"), (tiny, i8, .default_json = "-1"),
    (wide, i64, PROA_MIN(1), .default_json = "5"), (natural, u64, .default_json = "1"),
    (ratio, f64, PROA_RANGE(0, 1.5), .default_json = "0.5"),
    (text, str, .pattern = "^[a-z]*$", .max_len = 10, .default_json = "\"\""),
    (mail, str, .format = PROA_FORMAT_EMAIL, .default_json = "\"a@b.de\""),
    (fixed, str, .immutable = true, .max_len = 30, .default_json = "\"x\""),
    (shade, enumeration(shade), .default_json = "\"red\""), (maybe, optional(enumeration(shade))),
    (part, object(part), .default_json = "{\"name\":\"d\"}"), (no_part, optional(object(part)), .json = "noPart"),
    (set, array(str), .unique_items = true, .max_items = 5, .default_json = "[]"),
    (keyed, array(object(part)), .merge_key = "name", .max_items = 5, .default_json = "[]"),
    (plain, array(object(part)), .default_json = "[]"), (any_list, array(raw), .json = "anyList", .default_json = "[]"),
    (any_map, map(raw), .json = "anyMap", .default_json = "{}"), (amounts, map(quantity), .default_json = "{}"),
    (any, optional(raw)), (blob, bytes, .max_len = 100, .default_json = "\"\""),
    (at, timestamp, .default_json = "\"2026-01-01T00:00:00Z\""), (every, duration, .default_json = "\"1m\""),
    (size, quantity, .default_json = "\"1Gi\""), (room, quantity, PROA_RANGE(1024, 4096), .default_json = "2048"),
    (no_size, optional(quantity), .json = "noSize"));
struct whole_status {
    int32_t count;
    proa_str selector;
};
PROA_DESCRIBE(whole_status, (count, i32, .default_json = "0"), (selector, str, .default_json = "\"\""));

static const struct proa_kube_kind whole_kind = {"whole.contract.dev", "v1", "Whole", "wholes", false};
static const struct proa_crd_options whole_crd = {
    .kind = &whole_kind,
    .spec = &whole_spec_type.type,
    .status = &whole_status_type.type,
    .scale_spec_path = ".spec.natural",
    .scale_status_path = ".status.count",
    .scale_selector_path = ".status.selector",
    .selectable = (const char *const[]){".spec.text", ".spec.shade", NULL},
    .rules = (const struct proa_cel_rule[]){{"self.metadata.name.size() < 20", "the name is too long"}, {NULL}},
};

struct whole {
    struct whole_spec spec;
};
PROA_DESCRIBE_WITH(whole, (.unknown = PROA_UNKNOWN_IGNORE), (spec, object(whole_spec)));

static void put(struct contract *c, const char *spec, int code, int line)
{
    const char *body = proa_arena_printf(&c->arena, "{\"spec\":%s}", spec).ptr;
    struct proa_error err = {0};
    struct whole whole;

    proa_ignore(ask(c, "PATCH", MERGE, body, "/apis/whole.contract.dev/v1/namespaces/%s/wholes/w", c->ns));
    check_at(c, c->rc == code, proa_arena_printf(&c->arena, "%s is %s", spec, code ? "refused" : "taken").ptr, line);
    if (c->rc < 0)
        return;
    /* What the API server has taken can be read. */
    c->rc = proa_kube_get(c->kube, &c->arena, &whole_kind, proa_str_c(c->ns), PROA_STR("w"), &whole_type, &whole, &err);
    check_at(c, c->rc == 0, proa_arena_printf(&c->arena, "%s can be read: %s", spec, err.message).ptr, line);
}
#define TAKEN(c, spec) put((c), (spec), 0, __LINE__)
#define REFUSED(c, spec) put((c), (spec), PROA_EVALIDATION, __LINE__)

static void defining(struct contract *c)
{
    CHECK(c, proa_crd_install(c->kube, &whole_crd, &c->err) == 0);
    CHECK(c,
          ask(c, "POST", JSON,
              "{\"apiVersion\":\"whole.contract.dev/v1\",\"kind\":\"Whole\",\"metadata\":{\"name\":\"w\"},\"spec\":{}}",
              "/apis/whole.contract.dev/v1/namespaces/%s/wholes", c->ns) == 0);
    JSON_IS(c, "/spec/part", "{\"name\":\"d\",\"count\":3}");
    TEXT(c, "/spec/size", "1Gi");
    TEXT(c, "/spec/blob", "");
    TAKEN(c, "{\"text\":\"abc\",\"maybe\":null,\"noPart\":null,\"noSize\":null,\"any\":null}");
    TAKEN(c, "{\"any\":[1,{\"a\":null}],\"anyList\":[1,null,{\"a\":2}],\"anyMap\":{\"a\":1,\"c\":[1]}}");
    TAKEN(c, "{\"blob\":\"QQ==\",\"size\":\"64Mi\",\"amounts\":{\"a\":5,\"b\":\"1Gi\"}}");
    TAKEN(c, "{\"blob\":\"\",\"size\":0}");
    TAKEN(c, "{\"keyed\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"plain\":[{\"name\":\"a\"},{\"name\":\"a\"}],\"set\":["
             "\"a\"]}");
    REFUSED(c, "{\"blob\":\"a\"}");
    REFUSED(c, "{\"blob\":\"QQ\"}");
    REFUSED(c, "{\"blob\":\"QQ= =\"}");
    REFUSED(c, "{\"size\":-1}");
    REFUSED(c, "{\"size\":\"-1\"}");
    REFUSED(c, "{\"size\":\"1.5Gi\"}");
    REFUSED(c, "{\"amounts\":{\"a\":-1}}");
    REFUSED(c, "{\"room\":1023}");
    REFUSED(c, "{\"room\":4097}");
    REFUSED(c, "{\"tiny\":128}");
    REFUSED(c, "{\"natural\":-1}");
    REFUSED(c, "{\"every\":\"1\"}");
    REFUSED(c, "{\"shade\":\"green\"}");
    REFUSED(c, "{\"set\":[\"a\",\"a\"]}");
    FAILS(c, PROA_EVALIDATION, "Invalid", "spec.set[1]: Duplicate value: \"a\"");
    REFUSED(c, "{\"keyed\":[{\"name\":\"a\"},{\"name\":\"a\",\"count\":4}]}");
    FAILS(c, PROA_EVALIDATION, "Invalid", "spec.keyed[1]: Duplicate value: ");
    if (!c->sim) { /* which knows no CEL, and checks no formats */
        REFUSED(c, "{\"wide\":1}");
        REFUSED(c, "{\"fixed\":\"y\"}");
        REFUSED(c, "{\"mail\":\"x\"}");
        REFUSED(c, "{\"at\":\"2026\"}");
    }
    CHECK(c, ask(c, "DELETE", JSON, NULL,
                 "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/wholes.whole.contract.dev") == 0);
}

const struct contract_case definition_cases[] = {{"definitions take what can be read", defining}, {NULL, NULL}};

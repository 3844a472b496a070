/* Fuzzes YAML: what is taken becomes strict JSON, whose YAML becomes the same JSON again. */
#include "fuzz.h"

#include <proa/json.h>
#include <proa/yaml.h>

struct holder {
    proa_str value;
};
PROA_DESCRIBE(holder, (value, raw));

/* As the reader keeps raw JSON: without white space, numbers in one form. */
static proa_str compact(struct proa_arena *arena, proa_str json)
{
    struct holder holder;
    struct proa_buf text;

    proa_buf_init(&text, arena, 0);
    must(proa_json_read_field(arena, json, 0, &holder_type.type.fields[0], &holder, NULL) == 0);
    return holder.value;
}

static void round_trip(struct proa_arena *arena, proa_str json)
{
    struct proa_error err = {.arena = arena};
    struct proa_buf yaml;
    proa_str back;

    must(proa_json_check(json, &err) == 0);
    json = compact(arena, json);
    proa_buf_init(&yaml, arena, 0);
    must(proa_json_to_yaml(json, &yaml, &err) == 0);
    must(proa_yaml_to_json(arena, proa_buf_str(&yaml), &back, &err) == 0);
    must(proa_str_eq(compact(arena, back), json));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proa_arena arena;
    proa_str text = proa_str_n((const char *)data, size), json, *documents;
    struct proa_error err = {0};
    size_t count;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    rc = proa_yaml_to_json(&arena, text, &json, &err);
    must(rc == 0 || err.message[0]);
    if (rc == 0)
        round_trip(&arena, json);
    if (proa_yaml_documents(&arena, text, &documents, &count, &err) == 0)
        for (size_t i = 0; i < count; i++)
            must(proa_json_check(documents[i], &err) == 0);
    proa_arena_done(&arena);
    return 0;
}

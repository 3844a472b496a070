/* Fuzzes what the database agent makes of a MongoDB server's answers: what bson_check accepts is walked through, copied and rewritten
 * without a step outside, and what is written is accepted again. */
#include "fuzz.h"

#include "agent/mongodb_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct agent_config config = {.database = PROA_STR_INIT("shop"), .host = PROA_STR_INIT("{pod}")};
    const struct instance instance = {.config = &config, .engine = &engine_mongodb, .replicas = 3};
    proa_str document = proa_str_n((const char *)data, size);
    struct engine_status status = {0};
    struct proa_arena arena;
    struct samples samples = {.arena = &arena};
    struct proa_buf copy = {0};
    struct bson_writer w;

    if (bson_check(document) < 0)
        return 0;
    proa_arena_init(&arena, NULL, 0);
    mo_read_set_status(document, &status);
    must(mo_read_metrics("serverStatus", document, &samples) == 0);
    must(mo_read_metrics("replSetGetStatus", document, &samples) == 0);
    bson_begin(&w, &copy);
    mo_write_config(&instance, document, &w, "config");
    bson_end(&w);
    /* One level more than was there may be one too many. */
    if (bson_check(proa_buf_str(&copy)) < 0) {
        struct proa_buf wrapped = {0};
        struct bson_value value = {.type = BSON_DOCUMENT, .bytes = document};

        bson_begin(&w, &wrapped);
        bson_copy(&w, "config", &value);
        bson_end(&w);
        must(bson_check(proa_buf_str(&wrapped)) < 0);
        proa_buf_done(&wrapped);
    }
    proa_buf_done(&copy);
    proa_arena_done(&arena);
    return 0;
}

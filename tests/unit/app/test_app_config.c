/* The frame's own settings: what nobody has set is what a server without a frame takes. */
#include "app/app_config.h"
#include "http/server_internal.h"
#include "unit.h"

#include <proa/json.h>

static void read_config(struct proa_arena *arena, const char *http, struct app_config *ret_config)
{
    struct proa_error err = {.arena = arena};
    const struct proa_type *type = app_config_described(arena, 0);
    proa_str json = proa_arena_printf(arena, "{\"http\":%s,\"log\":{},\"admin\":{},\"process\":{},\"otel\":{}}", http);

    assert_non_null(type);
    if (proa_json_read_type(arena, json, 0, type, ret_config, &err) < 0)
        fail_msg("%s", err.message);
}

static void test_limits_default_to_the_servers(void **state)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_server_limits of_server = {0}, of_frame;
    struct app_config config;

    proa_arena_init(&arena, NULL, 0);
    read_config(&arena, "{}", &config);
    app_config_limits(&config.http, &of_frame);
    assert_int_equal(of_frame.connections, PROA_SERVER_CONNECTIONS_DEFAULT);
    /* A server has fewer where descriptors are few. */
    limits_fill(&of_server);
    limits_fill(&of_frame);
    for (int limit = 0; limit < LIMITS; limit++)
        assert_int_equal(limit_value(&of_frame, (enum limit)limit), limit_value(&of_server, (enum limit)limit));
    assert_int_equal(config.http.slow_ms, PROA_SERVER_SLOW_MS_DEFAULT);
    assert_int_equal(config.http.port, 8080);
}

static void test_limits_are_taken_over(void **state)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_server_limits limits;
    struct app_config config;

    proa_arena_init(&arena, NULL, 0);
    read_config(&arena,
                "{\"connections\":1,\"requests_in_flight\":2,\"streams\":3,\"head_bytes\":4,\"fields\":5,"
                "\"target_bytes\":6,\"body_bytes\":7,\"head_ms\":8,\"body_ms\":9,\"write_stall_ms\":10,\"idle_ms\":11,"
                "\"request_ms\":12,\"read_ahead_bytes\":13}",
                &config);
    app_config_limits(&config.http, &limits);
    for (int limit = 0; limit < LIMITS; limit++)
        assert_int_equal(limit_value(&limits, (enum limit)limit), limit + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_default_to_the_servers),
        cmocka_unit_test(test_limits_are_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

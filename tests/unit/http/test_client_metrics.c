/* What the HTTP client counts and logs. */
#include "client_rig.h"

#include <sys/mman.h>
#include <unistd.h>

/* With a registry and a log that the test reads. */
struct observed {
    struct net net; /* first: what a body is given */
    struct proa_metrics *metrics;
    struct proa_log *log;
    struct proa_logger logger;
    int log_fd;
    struct proa_buf text;
};

static struct observed *of(struct net *net)
{
    return (struct observed *)(void *)net;
}

static void observe(struct observed *own, void (*body)(struct net *net))
{
    own->log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(own->log_fd > 0);
    assert_int_equal(proa_metrics_new(1, &own->metrics), 0);
    assert_int_equal(proa_log_new(&(struct proa_log_options){.fd = own->log_fd,
                                                             .format = PROA_LOG_FORMAT_JSON,
                                                             .filter = "info,http.client=debug",
                                                             .synchronous = true},
                                  &own->log, NULL),
                     0);
    own->logger = (struct proa_logger){.log = own->log, .target = "shop"};
    own->net.options.metrics = own->metrics;
    own->net.options.logger = &own->logger;
    run(&own->net, body);
    proa_log_free(own->log);
    proa_metrics_free(own->metrics);
    proa_buf_done(&own->text);
    close(own->log_fd);
}

static void expect_metric(struct net *net, const char *line)
{
    struct observed *own = of(net);
    char whole[256];

    snprintf(whole, sizeof whole, "\n%s\n", line);
    proa_buf_clear(&own->text);
    assert_int_equal(proa_metrics_write(own->metrics, PROA_METRICS_TEXT, &own->text), 0);
    assert_int_equal(proa_buf_add(&own->text, proa_str_n("", 1)), 0);
    if (!strstr(own->text.ptr, whole))
        fail_msg("no line %s in:\n%s", line, own->text.ptr);
}

static unsigned count_in_log(struct net *net, const char *text)
{
    static char log[16384];
    ssize_t len = pread(of(net)->log_fd, log, sizeof log - 1, 0);
    unsigned count = 0;

    assert_true(len >= 0);
    log[len] = 0;
    for (const char *at = log; (at = strstr(at, text)); at++)
        count++;
    return count;
}

#define COUNT(labels) "http_client_request_duration_seconds_count{" labels "}"
#define AT "server_address=\"10.0.0.1\",server_port=\"80\","

/* -- Durations ---------------------------------------------------------------------------------------------------- */

static void durations_body(struct net *net)
{
    struct proa_client_response response;

    for (int i = 0; i < 2; i++)
        assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(fetch(net, (struct proa_client_request){.method = "PURGE"}, &response), 0);
    assert_int_equal(fetch(net, (struct proa_client_request){.method = "POST"}, &response), 0);
    assert_int_equal(fetch(net, (struct proa_client_request){.timeout_ms = 300}, &response), PROA_ETIMEDOUT);
    expect_metric(net,
                  COUNT("http_request_method=\"GET\"," AT "http_response_status_code=\"200\",error_type=\"\"") " 2");
    expect_metric(net,
                  COUNT("http_request_method=\"_OTHER\"," AT "http_response_status_code=\"200\",error_type=\"\"") " 1");
    expect_metric(
        net, COUNT("http_request_method=\"POST\"," AT "http_response_status_code=\"404\",error_type=\"404\"") " 1");
    expect_metric(net, COUNT("http_request_method=\"GET\"," AT "http_response_status_code=\"\",error_type=\"PROA_"
                             "ETIMEDOUT\"") " 1");
    expect_metric(net, "http_client_request_duration_seconds_bucket{http_request_method=\"GET\"," AT
                       "http_response_status_code=\"\",error_type=\"PROA_ETIMEDOUT\",le=\"0.25\"} 0");
    expect_metric(net, "http_client_request_duration_seconds_bucket{http_request_method=\"GET\"," AT
                       "http_response_status_code=\"\",error_type=\"PROA_ETIMEDOUT\",le=\"0.5\"} 1");
}

static void test_durations(void **state)
{
    struct observed own = {.net = {.steps = {{OK("0")},
                                             {OK("0")},
                                             {OK("0")},
                                             {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"},
                                             {OK("0"), .delay_ms = 1000}}}};

    observe(&own, durations_body);
}

/* The registry's lock is every loop's: a series is looked up there once. */
static void kept_body(struct net *net)
{
    static const char key[] = "GET 10.0.0.1 80 200 ";
    const struct proa_metric_options options = {.name = "another", .help = "Another"};
    struct proa_client_response response;
    struct proa_histogram *another;
    struct proa_histogram_series *series;

    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(proa_map_count(net->client->metrics.series), 1);
    assert_int_equal(proa_histogram_new(of(net)->metrics, &options, &another, NULL), 0);
    series = proa_histogram_with(another, NULL);
    assert_int_equal(proa_map_put(net->client->metrics.series, proa_str_c(key), series, NULL), 0);
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(proa_histogram_count(series, NULL), 1);
    assert_int_equal(proa_map_count(net->client->metrics.series), 1);
    /* Only so many are kept, and counted all the same. */
    for (int status = 200; status < 800; status++) {
        const struct client_url url = {.host = PROA_STR("h"), .port = 1};

        client_metrics_observe(&net->client->metrics, 0, &(struct client_observation){.url = &url, .status = status});
    }
    assert_int_equal(proa_map_count(net->client->metrics.series), 512);
    expect_metric(net, COUNT("http_request_method=\"GET\",server_address=\"h\",server_port=\"1\",http_response_status_"
                             "code=\"799\",error_type=\"799\"") " 1");
}

static void test_series_are_looked_up_once(void **state)
{
    struct observed own = {.net = {.steps = {{OK("0")}, {OK("0")}}}};

    observe(&own, kept_body);
}

/* -- Connections -------------------------------------------------------------------------------------------------- */

static void expect_connections(struct net *net, unsigned idle, unsigned active)
{
    char line[128];

    snprintf(line, sizeof line, "http_client_open_connections{http_connection_state=\"idle\"} %u", idle);
    expect_metric(net, line);
    snprintf(line, sizeof line, "http_client_open_connections{http_connection_state=\"active\"} %u", active);
    expect_metric(net, line);
}

static void connections_body(struct net *net)
{
    struct caller callers[3] = {0};
    struct proa_client_response response;
    struct proa_group group;

    expect_connections(net, 0, 0);
    proa_group_init(&group, net->loop);
    for (size_t i = 0; i < PROA_COUNT(callers); i++) {
        callers[i].net = net;
        assert_int_equal(proa_group_start(&group, NULL, call, &callers[i]), 0);
    }
    assert_int_equal(proa_sleep(net->loop, PROA_MS(50)), 0);
    expect_connections(net, 0, 2);
    assert_int_equal(proa_group_wait(&group), 0);
    expect_connections(net, 2, 0);
    /* Lost by the server, by a deadline, by a reset, and for lack of use. */
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    assert_int_equal(proa_sleep(net->loop, PROA_MS(50)), 0);
    expect_connections(net, 1, 0);
    assert_int_equal(fetch(net, (struct proa_client_request){.timeout_ms = 20}, &response), PROA_ETIMEDOUT);
    expect_connections(net, 0, 0);
    assert_int_equal(fetch(net, (struct proa_client_request){.method = "POST"}, &response), PROA_EUNKNOWN);
    expect_connections(net, 0, 0);
    assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    expect_connections(net, 1, 0);
    assert_int_equal(proa_sleep(net->loop, PROA_SECONDS(40)), 0);
    expect_connections(net, 0, 0);
}

static void test_open_connections(void **state)
{
    struct observed own = {.net = {.steps = {{OK("0"), .delay_ms = 100},
                                             {OK("0"), .delay_ms = 100},
                                             {OK("0"), .delay_ms = 100},
                                             {OK("0"), .close = true},
                                             {.delay_ms = 1000, .close = true},
                                             {.reset = true},
                                             {OK("0")}},
                                   .options = {.connections_per_origin = 2}}};

    observe(&own, connections_body);
}

/* -- Repeats ------------------------------------------------------------------------------------------------------ */

static const char later[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno";

static void repeats_body(struct net *net)
{
    struct proa_client_response response;

    for (int i = 0; i < 6; i++)
        assert_int_equal(fetch(net, (struct proa_client_request){0}, &response), 0);
    /* Ten at once, twelve were wanted. A client's tenth of six requests is not a whole one. */
    expect_metric(net, "http_client_request_resends_total 10");
    expect_metric(net, "http_client_request_resends_refused_total 1");
    assert_int_equal(
        count_in_log(net, "\"level\":\"debug\",\"target\":\"http.client\",\"message\":\"a request is tried again\","
                          "\"http.request.method\":\"GET\",\"server.address\":\"10.0.0.1\",\"server.port\":80,"),
        10);
    assert_int_equal(count_in_log(net, "\"http.response.status_code\":503"), 11);
    assert_int_equal(count_in_log(net, "a request is not tried again: the budget is spent"), 1);
}

static void test_repeats(void **state)
{
    struct observed own = {0};

    for (size_t i = 0; i < STEPS_MAX; i++)
        own.net.steps[i].answer = later;
    observe(&own, repeats_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_series_are_looked_up_once),
        cmocka_unit_test(test_open_connections),
        cmocka_unit_test(test_repeats),
    };

    return cmocka_run_group_tests_name("http/client_metrics", tests, NULL, NULL);
}

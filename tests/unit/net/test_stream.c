/* Streams, used by fibers and by callbacks, on real sockets and on the simulated network. */
#include "net_fixture.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static proa_str text(const char *c)
{
    return proa_str_c(c);
}

static void expect_read(struct proa_stream *stream, const char *expected)
{
    size_t want = strlen(expected), have = 0;
    char out[256];

    while (have < want) {
        size_t got;

        assert_int_equal(proa_stream_read(stream, out + have, sizeof out - have, &got), 0);
        assert_true(got > 0);
        have += got;
    }
    assert_int_equal(have, want);
    assert_memory_equal(out, expected, want);
}

static void expect_end(struct proa_stream *stream)
{
    char out[8];
    size_t got = 1;

    assert_int_equal(proa_stream_read(stream, out, sizeof out, &got), 0);
    assert_int_equal(got, 0);
}

static void both_ways_body(struct net *net)
{
    struct proa_stream *client, *server;

    net_pair(net, &client, &server);
    assert_ptr_equal(proa_stream_loop(client), net->loop);
    assert_int_equal(proa_stream_write(client, text("hello")), 0);
    expect_read(server, "hello");
    assert_int_equal(proa_stream_write(server, text("good ")), 0);
    assert_int_equal(proa_stream_write(server, text("day")), 0);
    expect_read(client, "good day");
    assert_int_equal(proa_stream_alpn(client).len, 0);
    proa_stream_close(client);
    expect_end(server);
    expect_end(server);
    proa_stream_close(server);
}

static void test_both_ways(void **state)
{
    net_run(both_ways_body);
}

/* Long transfers. */
enum { PATTERN = 251 };

static char pattern_at(size_t at)
{
    return (char)(at % PATTERN);
}

struct transfer {
    struct proa_stream *stream;
    size_t bytes;
};

static int write_all(void *arg)
{
    struct transfer *transfer = arg;
    char *all = malloc(transfer->bytes);
    int rc;

    assert_non_null(all);
    for (size_t i = 0; i < transfer->bytes; i++)
        all[i] = pattern_at(i);
    rc = proa_stream_write(transfer->stream, proa_str_n(all, transfer->bytes));
    free(all);
    proa_stream_shutdown(transfer->stream);
    return rc;
}

static int read_all(void *arg)
{
    struct transfer *transfer = arg;
    size_t have = 0, got = 1;
    char out[777];

    while (got > 0) {
        PROA_TRY(proa_stream_read(transfer->stream, out, sizeof out, &got));
        for (size_t i = 0; i < got; i++)
            assert_int_equal(out[i], pattern_at(have + i));
        have += got;
    }
    assert_int_equal(have, transfer->bytes);
    return 0;
}

static void long_transfer_body(struct net *net)
{
    struct transfer client = {.bytes = 1000 * 1000}, server = {.bytes = 1000 * 1000};
    struct proa_group group;

    net_pair(net, &client.stream, &server.stream);
    proa_group_init(&group, net->loop);
    assert_int_equal(proa_group_start(&group, NULL, write_all, &client), 0);
    assert_int_equal(proa_group_start(&group, NULL, write_all, &server), 0);
    assert_int_equal(proa_group_start(&group, NULL, read_all, &client), 0);
    assert_int_equal(proa_group_start(&group, NULL, read_all, &server), 0);
    assert_int_equal(proa_group_wait(&group), 0);
    proa_stream_close(client.stream);
    proa_stream_close(server.stream);
}

static void test_long_transfers_both_ways(void **state)
{
    net_run(long_transfer_body);
}

/* Callbacks. */
struct sink {
    struct net *net;
    struct proa_stream *stream;
    size_t bytes;
    uint32_t reads, ends, drains;
    int end_code, drain_code;
    bool pause_at_data, close_at_data, abort_at_data, close_at_end, close_at_drain, send_at_drain;
    struct proa_waiter *waiter;
};

static void sink_wake(struct sink *sink)
{
    if (sink->waiter)
        proa_unpark(sink->waiter, 0);
}

static void sink_close(struct sink *sink, bool reset)
{
    if (reset)
        proa_stream_abort(sink->stream);
    else
        proa_stream_close(sink->stream);
    sink->stream = NULL;
}

static void sink_data(void *arg, proa_str bytes)
{
    struct sink *sink = arg;

    assert_non_null(sink->stream);
    assert_int_equal(sink->ends, 0);
    assert_null(proa_fiber_current(sink->net->loop));
    for (size_t i = 0; i < bytes.len; i++)
        assert_int_equal(bytes.ptr[i], pattern_at(sink->bytes + i));
    sink->bytes += bytes.len;
    sink->reads++;
    if (sink->pause_at_data)
        proa_stream_pause(sink->stream);
    if (sink->close_at_data || sink->abort_at_data)
        sink_close(sink, sink->abort_at_data);
    sink_wake(sink);
}

static void sink_end(void *arg, int code)
{
    struct sink *sink = arg;

    assert_non_null(sink->stream);
    sink->ends++;
    sink->end_code = code;
    if (sink->close_at_end)
        sink_close(sink, false);
    sink_wake(sink);
}

static void sink_drained(void *arg, int code)
{
    struct sink *sink = arg;

    assert_non_null(sink->stream);
    sink->drains++;
    sink->drain_code = code;
    if (sink->send_at_drain) {
        proa_str more = PROA_STR("");

        sink->send_at_drain = false;
        assert_int_equal(proa_stream_send(sink->stream, &more, 1), 0);
    }
    if (sink->close_at_drain)
        sink_close(sink, false);
    sink_wake(sink);
}

static const struct proa_stream_events sink_events = {sink_data, sink_end, sink_drained};

static bool sink_wait_for(struct sink *sink, uint64_t ms)
{
    struct proa_loop *loop = sink->net->loop;
    struct proa_deadline_scope scope = proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(ms));
    struct proa_waiter waiter;
    int rc;

    proa_waiter_init(&waiter, loop);
    sink->waiter = &waiter;
    rc = proa_park(&waiter);
    sink->waiter = NULL;
    proa_deadline_leave(&scope);
    return rc == 0;
}

/* Waits for the sink's next event. */
static bool sink_wait(struct sink *sink)
{
    return sink_wait_for(sink, 10000);
}

/* No event comes for a while. */
static bool sink_is_quiet(struct sink *sink)
{
    return !sink_wait_for(sink, 60);
}

static size_t much(const struct net *net)
{
    return net->sim ? 300 * 1000 : 16 * 1000 * 1000; /* more than what kernels buffer */
}

static char *pattern_new(size_t bytes)
{
    char *all = malloc(bytes);

    assert_non_null(all);
    for (size_t i = 0; i < bytes; i++)
        all[i] = pattern_at(i);
    return all;
}

/* Sends `bytes` in slices of many sizes, empty ones too, many to a call. */
static void send_pattern(struct proa_stream *stream, size_t bytes)
{
    enum { SLICES = 150 };
    proa_str slices[SLICES];
    char *all = pattern_new(bytes);
    size_t at = 0;

    for (int i = 0; i < SLICES; i++) {
        size_t now = i % 7 == 3 ? 0 : bytes / SLICES;

        if (i == SLICES - 1)
            now = bytes - at;
        slices[i] = proa_str_n(now ? all + at : NULL, now);
        at += now;
    }
    assert_int_equal(proa_stream_send(stream, slices, SLICES), 0);
    free(all);
}

static void back_pressure_body(struct net *net)
{
    struct proa_stream *client;
    struct sink from = {.net = net}, to = {.net = net, .pause_at_data = true};
    size_t seen;

    net_pair(net, &client, &to.stream);
    from.stream = client;
    assert_int_equal(proa_stream_attach(client, &sink_events, &from), 0);
    assert_int_equal(proa_stream_attach(to.stream, &sink_events, &to), 0);
    send_pattern(client, much(net));
    assert_true(proa_stream_queued(client) > 0);
    seen = proa_stream_queued(client);
    assert_true(sink_wait(&to));
    assert_true(sink_is_quiet(&to)); /* paused */
    assert_int_equal(to.reads, 1);
    assert_int_equal(from.drains, 0);
    assert_true(proa_stream_queued(client) > 0 && proa_stream_queued(client) <= seen);
    proa_stream_pause(to.stream); /* again, harmless */
    to.pause_at_data = false;
    proa_stream_resume(to.stream);
    proa_stream_resume(to.stream);
    while (to.bytes < much(net))
        assert_true(sink_wait(&to));
    while (from.drains == 0)
        assert_true(sink_wait(&from));
    assert_int_equal(from.drain_code, 0);
    assert_int_equal(from.drains, 1);
    assert_int_equal(proa_stream_queued(client), 0);
    proa_stream_close(client);
    while (to.ends == 0)
        assert_true(sink_wait(&to));
    assert_int_equal(to.end_code, 0);
    proa_stream_pause(to.stream);
    proa_stream_resume(to.stream);
    assert_true(sink_is_quiet(&to));
    assert_int_equal(to.ends, 1);
    proa_stream_close(to.stream);
}

static void test_back_pressure(void **state)
{
    net_run(back_pressure_body);
}

static void shutdown_queued_body(struct net *net)
{
    struct proa_stream *client;
    struct sink from = {.net = net, .close_at_end = true}, to = {.net = net};
    proa_str more = PROA_STR("x");

    net_pair(net, &client, &to.stream);
    from.stream = client;
    assert_int_equal(proa_stream_attach(client, &sink_events, &from), 0);
    send_pattern(client, much(net));
    send_pattern(client, 0);
    proa_stream_shutdown(client);
    proa_stream_shutdown(client);
    assert_int_equal(proa_stream_send(client, &more, 1), PROA_ECLOSED);
    assert_int_equal(proa_stream_attach(to.stream, &sink_events, &to), 0);
    while (to.ends == 0)
        assert_true(sink_wait(&to));
    assert_int_equal(to.end_code, 0);
    assert_int_equal(to.bytes, much(net));
    while (from.drains == 0)
        assert_true(sink_wait(&from));
    assert_int_equal(from.drains, 1);
    /* The other direction still works. */
    send_pattern(to.stream, 1000);
    while (from.bytes < 1000)
        assert_true(sink_wait(&from));
    proa_stream_close(to.stream);
    while (from.ends == 0)
        assert_true(sink_wait(&from));
    assert_null(from.stream);
}

static void test_half_close_sends_what_is_queued(void **state)
{
    net_run(shutdown_queued_body);
}

static void close_in_data_body(struct net *net)
{
    struct proa_stream *client;
    struct sink to = {.net = net, .close_at_data = true};
    char out[8];
    size_t got = 1;

    net_pair(net, &client, &to.stream);
    assert_int_equal(proa_stream_attach(to.stream, &sink_events, &to), 0);
    send_pattern(client, 1);
    assert_true(sink_wait(&to));
    assert_int_equal(proa_stream_read(client, out, sizeof out, &got), 0);
    assert_int_equal(got, 0);
    proa_stream_close(client);

    net_pair(net, &client, &to.stream);
    to = (struct sink){.net = net, .stream = to.stream, .abort_at_data = true};
    assert_int_equal(proa_stream_attach(to.stream, &sink_events, &to), 0);
    send_pattern(client, 1);
    assert_true(sink_wait(&to));
    /* A Unix socket has no reset. */
    assert_int_equal(proa_stream_read(client, out, sizeof out, &got),
                     strncmp(net->address, "unix", 4) == 0 ? 0 : PROA_ECLOSED);
    proa_stream_close(client);
}

static void test_close_and_abort_in_on_data(void **state)
{
    net_run(close_in_data_body);
}

static void close_in_drained_body(struct net *net)
{
    struct sink from = {.net = net, .close_at_drain = true, .send_at_drain = true}, to = {.net = net};
    struct proa_stream *client;

    net_pair(net, &client, &to.stream);
    from.stream = client;
    assert_int_equal(proa_stream_attach(client, &sink_events, &from), 0);
    send_pattern(client, much(net));
    assert_int_equal(proa_stream_attach(to.stream, &sink_events, &to), 0);
    while (to.ends == 0)
        assert_true(sink_wait(&to));
    assert_int_equal(from.drains, 1);
    assert_int_equal(to.bytes, much(net));
    proa_stream_close(to.stream);
}

static void test_close_in_on_drained(void **state)
{
    net_run(close_in_drained_body);
}

static void lost_queue_body(struct net *net)
{
    struct sink from = {.net = net}, to = {.net = net};
    struct proa_stream *client;
    proa_str more = PROA_STR("x");
    size_t got;
    char first;

    net_pair(net, &client, &to.stream);
    from.stream = client;
    assert_int_equal(proa_stream_attach(client, &sink_events, &from), 0);
    send_pattern(client, much(net));
    assert_int_equal(proa_stream_read(to.stream, &first, 1, &got), 0);
    proa_stream_close(to.stream); /* with bytes unread */
    while (from.drains == 0 || from.ends == 0)
        assert_true(sink_wait(&from));
    assert_int_equal(from.drain_code, PROA_ECLOSED);
    assert_int_equal(from.end_code, PROA_ECLOSED);
    assert_int_equal(proa_stream_queued(client), 0);
    assert_int_equal(proa_stream_send(client, &more, 1), PROA_ECLOSED);
    proa_stream_shutdown(client);
    proa_stream_close(client);
}

static void test_a_lost_queue_is_told(void **state)
{
    net_run(lost_queue_body);
}

static void close_with_queue_body(struct net *net)
{
    struct sink from = {.net = net}, to = {.net = net};
    struct proa_stream *client;

    net_pair(net, &client, &to.stream);
    from.stream = client;
    assert_int_equal(proa_stream_attach(client, &sink_events, &from), 0);
    send_pattern(client, much(net));
    proa_stream_close(client); /* no callback comes after it: sink_drained would fail */
    from.stream = NULL;
    assert_int_equal(proa_stream_attach(to.stream, &sink_events, &to), 0);
    while (to.ends == 0)
        assert_true(sink_wait(&to));
    assert_true(to.bytes < much(net));
    assert_int_equal(from.ends + from.drains, 0);
    proa_stream_close(to.stream);
    proa_stream_close(NULL);
    proa_stream_abort(NULL);
}

static void test_close_drops_the_queue(void **state)
{
    net_run(close_with_queue_body);
}

static void closed_peer_body(struct net *net)
{
    struct proa_stream *client, *server;
    int rc = 0;

    net_pair(net, &client, &server);
    proa_stream_close(server);
    /* The first bytes are answered by a reset; no signal is raised. */
    for (int i = 0; i < 10 && rc == 0; i++) {
        rc = proa_stream_write(client, text("anyone?"));
        assert_int_equal(proa_sleep(net->loop, PROA_MS(60)), 0);
    }
    assert_int_equal(rc, PROA_ECLOSED);
    assert_int_equal(proa_stream_write(client, text("x")), PROA_ECLOSED);
    proa_stream_close(client);
}

static void test_writing_to_a_closed_peer(void **state)
{
    net_run(closed_peer_body);
}

static void read_before_reset_body(struct net *net)
{
    struct proa_stream *client, *server;
    char out[3];
    size_t got;

    /* What the peer sent before it went can be read although sending fails. */
    if (net->sim)
        return;
    net_pair(net, &client, &server);
    assert_int_equal(proa_stream_write(server, text("last words")), 0);
    proa_stream_close(server);
    assert_int_equal(proa_stream_read(client, out, sizeof out, &got), 0);
    assert_int_equal(got, sizeof out);
    expect_read(client, "t words");
    expect_end(client);
    proa_stream_close(client);
}

static void test_last_words(void **state)
{
    net_run(read_before_reset_body);
}

/* Deadlines and cancellation of fibers that read and write. */
static void deadline_body(struct net *net)
{
    struct proa_stream *client, *server;
    struct proa_deadline_scope scope;
    char *all = pattern_new(much(net));
    size_t got;
    char out[8];

    net_pair(net, &client, &server);
    scope = proa_deadline_enter(net->loop, proa_loop_now_exact(net->loop) + PROA_MS(30));
    assert_int_equal(proa_stream_read(server, out, sizeof out, &got), PROA_ETIMEDOUT);
    assert_int_equal(proa_stream_read(server, out, sizeof out, &got), PROA_ETIMEDOUT);
    assert_int_equal(proa_stream_write(client, text("x")), PROA_ETIMEDOUT);
    proa_deadline_leave(&scope);
    /* Nothing was lost, and it goes on. */
    assert_int_equal(proa_stream_write(client, text("later")), 0);
    expect_read(server, "later");
    scope = proa_deadline_enter(net->loop, proa_loop_now_exact(net->loop) + PROA_MS(30));
    assert_int_equal(proa_stream_write(client, proa_str_n(all, much(net))), PROA_ETIMEDOUT);
    proa_deadline_leave(&scope);
    free(all);
    proa_stream_close(client);
    proa_stream_close(server);
}

static void test_deadlines(void **state)
{
    net_run(deadline_body);
}

struct ender {
    struct proa_stream *stream;
    int rc;
    size_t got;
};

static int reads(void *arg)
{
    struct ender *ender = arg;
    char out[8];

    ender->rc = proa_stream_read(ender->stream, out, sizeof out, &ender->got);
    return 0;
}

static int writes(void *arg)
{
    struct ender *ender = arg;
    size_t bytes = 20 * 1000 * 1000;
    char *all = pattern_new(bytes);

    ender->rc = proa_stream_write(ender->stream, proa_str_n(all, bytes));
    free(all);
    return 0;
}

static void cancel_body(struct net *net)
{
    struct ender reader = {0}, writer = {0};
    struct proa_group group;
    struct proa_stream *client, *server;

    net_pair(net, &client, &server);
    reader.stream = writer.stream = client;
    proa_group_init(&group, net->loop);
    assert_int_equal(proa_group_start(&group, NULL, reads, &reader), 0);
    assert_int_equal(proa_group_start(&group, NULL, writes, &writer), 0);
    assert_int_equal(proa_sleep(net->loop, PROA_MS(5)), 0);
    proa_group_cancel(&group, PROA_EUNAVAILABLE);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(reader.rc, PROA_EUNAVAILABLE);
    assert_int_equal(writer.rc, PROA_EUNAVAILABLE);

    proa_stream_close(client);
    proa_stream_close(server);

    /* Closing wakes who waits. */
    net_pair(net, &client, &server);
    reader.stream = writer.stream = client;
    proa_group_init(&group, net->loop);
    assert_int_equal(proa_group_start(&group, NULL, reads, &reader), 0);
    assert_int_equal(proa_group_start(&group, NULL, writes, &writer), 0);
    assert_int_equal(proa_sleep(net->loop, PROA_MS(5)), 0);
    proa_stream_close(client);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(reader.rc, PROA_ECLOSED);
    assert_int_equal(writer.rc, PROA_ECLOSED);
    proa_stream_close(server);
}

static void test_cancellation_and_closing_wake_fibers(void **state)
{
    net_run(cancel_body);
}

static void reset_wakes_body(struct net *net)
{
    struct ender reader = {0}, writer = {0};
    struct proa_group group;
    struct proa_stream *client, *server;

    net_pair(net, &client, &server);
    reader.stream = writer.stream = client;
    proa_group_init(&group, net->loop);
    assert_int_equal(proa_group_start(&group, NULL, reads, &reader), 0);
    assert_int_equal(proa_group_start(&group, NULL, writes, &writer), 0);
    assert_int_equal(proa_sleep(net->loop, PROA_MS(50)), 0);
    proa_stream_abort(server);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(reader.rc, PROA_ECLOSED);
    assert_int_equal(writer.rc, PROA_ECLOSED);
    assert_int_equal(reads(&reader), 0);
    assert_int_equal(reader.rc, PROA_ECLOSED);
    proa_stream_close(client);
}

static void test_a_reset_wakes_fibers(void **state)
{
    net_run(reset_wakes_body);
}

static void late_attach_body(struct net *net)
{
    struct proa_stream *client;
    struct sink to = {.net = net};

    /* First by a fiber, then by callbacks; the end came before they were set. */
    net_pair(net, &client, &to.stream);
    assert_int_equal(proa_stream_write(client, text("hi")), 0);
    expect_read(to.stream, "hi");
    proa_stream_close(client);
    assert_int_equal(proa_sleep(net->loop, PROA_MS(50)), 0);
    assert_int_equal(proa_stream_attach(to.stream, &sink_events, &to), 0);
    assert_true(sink_wait(&to));
    assert_int_equal(to.ends, 1);
    assert_int_equal(to.end_code, 0);
    proa_stream_close(to.stream);
}

static void test_attach_after_the_end(void **state)
{
    net_run(late_attach_body);
}

static void addresses_body(struct net *net)
{
    struct proa_stream *client, *server;
    char client_peer[PROA_ADDRESS_MAX], client_local[PROA_ADDRESS_MAX];
    char server_peer[PROA_ADDRESS_MAX], server_local[PROA_ADDRESS_MAX];

    net_pair(net, &client, &server);
    proa_stream_peer(client, client_peer);
    proa_stream_local(client, client_local);
    proa_stream_peer(server, server_peer);
    proa_stream_local(server, server_local);
    assert_string_equal(client_peer, net->address);
    assert_string_equal(server_local, net->address);
    assert_string_equal(server_peer, client_local);
    if (strncmp(net->address, "unix:", 5) == 0)
        assert_string_equal(server_peer, "unix:");
    else
        assert_memory_equal(server_peer, "127.0.0.1:", 10);
    proa_stream_close(client);
    proa_stream_close(server);
}

static void test_addresses(void **state)
{
    net_run(addresses_body);
}

/* Of the descriptors of this process, those with this setting. */
static int count_options(int level, int option, int expected)
{
    int count = 0;

    for (int fd = 3; fd < 1024; fd++) {
        int value = 0;
        socklen_t len = sizeof value;

        count += getsockopt(fd, level, option, &value, &len) == 0 && value == expected;
    }
    return count;
}

static void silent_peer_body(struct net *net)
{
    struct proa_stream *client, *server;
    proa_mono_ns began;
    size_t got;
    char byte;

    net_pair(net, &client, &server);
    proa_stream_set_peer_timeout(client, 30000);
    if (net->sim) {
        began = proa_loop_now(net->loop);
        assert_int_equal(proa_sim_lose(net->sim, net->address), 1);
        assert_int_equal(proa_stream_write(client, PROA_STR("x")), 0);
        assert_int_equal(proa_stream_read(client, &byte, 1, &got), PROA_ETIMEDOUT);
        assert_in_range(proa_loop_now(net->loop) - began, PROA_MS(29900), PROA_MS(30100));
        assert_int_equal(proa_stream_write(client, PROA_STR("x")), PROA_ETIMEDOUT);
    } else if (strncmp(net->address, "unix:", 5) != 0) {
        assert_int_equal(count_options(IPPROTO_TCP, TCP_USER_TIMEOUT, 30000), 1);
        assert_int_equal(count_options(IPPROTO_TCP, TCP_KEEPIDLE, 15), 1);
        assert_int_equal(count_options(IPPROTO_TCP, TCP_KEEPINTVL, 5), 1);
        assert_int_equal(count_options(IPPROTO_TCP, TCP_KEEPCNT, 3), 1);
        assert_int_equal(count_options(SOL_SOCKET, SO_KEEPALIVE, 1), 1);
    }
    proa_stream_close(client);
    proa_stream_close(server);
}

static void test_a_silent_peer_is_given_up(void **state)
{
    net_run(silent_peer_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_long_transfers_both_ways),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_half_close_sends_what_is_queued),
        cmocka_unit_test(test_close_and_abort_in_on_data),
        cmocka_unit_test(test_close_in_on_drained),
        cmocka_unit_test(test_a_lost_queue_is_told),
        cmocka_unit_test(test_close_drops_the_queue),
        cmocka_unit_test(test_writing_to_a_closed_peer),
        cmocka_unit_test(test_last_words),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_cancellation_and_closing_wake_fibers),
        cmocka_unit_test(test_a_reset_wakes_fibers),
        cmocka_unit_test(test_attach_after_the_end),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_a_silent_peer_is_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

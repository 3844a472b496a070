/* The simulated network: its faults one by one, and all of them together, replayed from a seed. */
#include "unit.h"

#include <proa/fiber.h>
#include <proa/sim.h>
#include <proa/stream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct proa_sim *sim;
static struct proa_loop *loop;

static void begin(uint64_t seed, const struct proa_sim_network *network)
{
    struct proa_sim_options options = {.seed = seed};

    if (network)
        options.network = *network;
    assert_int_equal(proa_sim_new(&options, &sim), 0);
    loop = proa_sim_loop(sim);
}

static void end(void)
{
    proa_sim_free(sim);
    sim = NULL;
    loop = NULL;
}

static void run(proa_fiber_fn *body, void *arg)
{
    assert_int_equal(proa_loop_start_fiber(loop, NULL, body, arg), 0);
    assert_int_equal(proa_loop_run(loop), 0);
}

/* An echo server, by callbacks. */
struct server {
    struct proa_listener *listener;
    char address[PROA_ADDRESS_MAX];
    uint32_t accepted, open;
};

struct connection {
    struct server *server;
    struct proa_stream *stream;
};

static void gone(struct connection *connection)
{
    proa_stream_close(connection->stream);
    connection->server->open--;
    proa_listener_released(connection->server->listener, loop);
    free(connection);
}

static void echo(void *arg, proa_str bytes)
{
    struct connection *connection = arg;
    proa_str answer[] = {PROA_STR("<"), bytes, PROA_STR(">")};

    if (proa_stream_send(connection->stream, answer, 3) < 0)
        gone(connection);
}

static void hung_up(void *arg, int code)
{
    (void)code;
    gone(arg);
}

static void accepted(void *arg, struct proa_loop *own, struct proa_stream *stream)
{
    static const struct proa_stream_events events = {.on_data = echo, .on_end = hung_up};
    struct connection *connection = malloc(sizeof *connection);

    (void)own;
    *connection = (struct connection){arg, stream};
    connection->server->accepted++;
    connection->server->open++;
    assert_int_equal(proa_stream_attach(stream, &events, connection), 0);
}

static void serve(struct server *server, const char *address)
{
    struct proa_listener_options options = {.address = address, .accepted = accepted, .arg = server};
    struct proa_error err = {0};

    *server = (struct server){0};
    assert_int_equal(proa_listener_open(loop, &options, &server->listener, &err), 0);
    proa_listener_address(server->listener, server->address);
}

static struct proa_stream *dial(const char *address)
{
    struct proa_stream *stream;

    assert_int_equal(proa_connect(loop, address, &stream, NULL), 0);
    return stream;
}

static void expect(struct proa_stream *stream, const char *expected)
{
    size_t have = 0, want = strlen(expected);
    char out[128];

    while (have < want) {
        size_t got;

        assert_int_equal(proa_stream_read(stream, out + have, sizeof out - have, &got), 0);
        assert_true(got > 0);
        have += got;
    }
    assert_int_equal(have, want);
    assert_memory_equal(out, expected, want);
}

static int read_code(struct proa_stream *stream)
{
    char out[128];
    size_t got;

    return proa_stream_read(stream, out, sizeof out, &got);
}

static int read_within(struct proa_stream *stream, uint64_t ns)
{
    struct proa_deadline_scope scope = proa_deadline_enter(loop, proa_loop_now(loop) + ns);
    int rc = read_code(stream);

    proa_deadline_leave(&scope);
    return rc;
}

/* Names and addresses. */
static int several_nodes(void *arg)
{
    struct server a, b, any;
    struct proa_stream *to_a, *to_b, *to_any;
    char text[PROA_ADDRESS_MAX];

    serve(&a, "node-a:80");
    serve(&b, "node-b:80");
    serve(&any, "0.0.0.0:81");
    to_a = dial("node-a:80");
    to_b = dial("node-b:80");
    to_any = dial("node-c:81");
    assert_int_equal(a.accepted, 1);
    assert_int_equal(b.accepted, 1);
    assert_int_equal(any.accepted, 1);
    proa_stream_peer(to_any, text);
    assert_string_equal(text, "node-c:81");
    assert_int_equal(proa_connect(loop, "node-c:80", &to_b, NULL), PROA_EUNAVAILABLE);
    assert_int_equal(proa_connect(loop, "unix:/node-c:81", &to_b, NULL), PROA_EUNAVAILABLE);
    assert_int_equal(proa_stream_write(to_a, PROA_STR("x")), 0);
    expect(to_a, "<x>");
    proa_stream_close(to_a);
    proa_stream_close(to_b);
    proa_stream_close(to_any);
    assert_int_equal(proa_sleep(loop, 1), 0);
    assert_int_equal(a.open + b.open + any.open, 0);
    proa_listener_free(a.listener);
    proa_listener_free(b.listener);
    proa_listener_free(any.listener);
    return 0;
}

static int free_ports(void *arg)
{
    struct server a, b;

    serve(&a, "127.0.0.1:0");
    serve(&b, "127.0.0.1:0");
    assert_string_not_equal(a.address, b.address);
    proa_listener_free(a.listener);
    proa_listener_free(b.listener);
    return 0;
}

static void test_addresses(void **state)
{
    begin(1, NULL);
    run(several_nodes, NULL);
    run(free_ports, NULL);
    end();
}

/* Faults. */
static int delayed(void *arg)
{
    struct server server;
    struct proa_stream *stream;
    proa_mono_ns start = proa_loop_now(loop);

    serve(&server, "127.0.0.1:80");
    stream = dial(server.address);
    assert_int_equal(proa_loop_now(loop) - start, PROA_MS(20)); /* there and back */
    assert_int_equal(proa_stream_write(stream, PROA_STR("ping")), 0);
    assert_int_equal(proa_loop_now(loop) - start, PROA_MS(20));
    expect(stream, "<ping>");
    assert_int_equal(proa_loop_now(loop) - start, PROA_MS(40));
    proa_stream_close(stream);
    assert_int_equal(server.open, 1);
    assert_int_equal(proa_sleep(loop, PROA_MS(11)), 0);
    assert_int_equal(server.open, 0);
    proa_listener_free(server.listener);
    return 0;
}

static void test_delay(void **state)
{
    struct proa_sim_network network = {.delay_min_ns = PROA_MS(10), .delay_max_ns = PROA_MS(10)};

    begin(1, &network);
    run(delayed, NULL);
    end();
}

static int stalled(void *arg)
{
    struct server server;
    struct proa_stream *stream;
    struct proa_sim_network calm = {0};

    serve(&server, "127.0.0.1:80");
    stream = dial(server.address);
    assert_int_equal(proa_stream_write(stream, PROA_STR("a")), 0);
    proa_sim_set_network(sim, &calm);
    /* What comes after it waits behind it. */
    assert_int_equal(proa_stream_write(stream, PROA_STR("b")), 0);
    assert_int_equal(read_within(stream, PROA_SECONDS(29)), PROA_ETIMEDOUT);
    expect(stream, "<a><b>");
    proa_stream_close(stream);
    assert_int_equal(proa_sleep(loop, 1), 0);
    proa_listener_free(server.listener);
    return 0;
}

static void test_stall(void **state)
{
    struct proa_sim_network network = {.stall_probability = 1, .stall_ns = PROA_SECONDS(30)};

    begin(1, &network);
    run(stalled, NULL);
    end();
}

static int refused(void *arg)
{
    struct server server;
    struct proa_stream *stream;
    struct proa_error err = {0};

    serve(&server, "127.0.0.1:80");
    assert_int_equal(proa_connect(loop, server.address, &stream, &err), PROA_EUNAVAILABLE);
    assert_non_null(strstr(err.message, "refused"));
    assert_int_equal(server.accepted, 0);
    proa_listener_free(server.listener);
    return 0;
}

static void test_refuse(void **state)
{
    struct proa_sim_network network = {.refuse_probability = 1};

    begin(1, &network);
    run(refused, NULL);
    end();
}

static int cut_by_chance(void *arg)
{
    struct server server;
    struct proa_stream *stream;

    serve(&server, "127.0.0.1:80");
    stream = dial(server.address);
    assert_int_equal(proa_stream_write(stream, PROA_STR("a")), 0);
    assert_int_equal(read_code(stream), PROA_ECLOSED);
    assert_int_equal(read_code(stream), PROA_ECLOSED);
    assert_int_equal(proa_stream_write(stream, PROA_STR("a")), PROA_ECLOSED);
    assert_int_equal(server.open, 0);
    proa_stream_close(stream);
    proa_listener_free(server.listener);
    return 0;
}

static void test_cut_by_chance(void **state)
{
    struct proa_sim_network network = {.cut_probability = 1};

    begin(1, &network);
    run(cut_by_chance, NULL);
    end();
}

static int cut_on_order(void *arg)
{
    struct server server, other;
    struct proa_stream *streams[3], *untouched;

    serve(&server, "0.0.0.0:80");
    serve(&other, "other:90");
    for (int i = 0; i < 3; i++)
        streams[i] = dial(i == 0 ? "a:80" : "localhost:80");
    untouched = dial("other:90");
    assert_int_equal(proa_sim_cut(sim, "127.0.0.1:80"), 2); /* as dialed */
    assert_int_equal(read_code(streams[1]), PROA_ECLOSED);
    assert_int_equal(read_code(streams[2]), PROA_ECLOSED);
    assert_int_equal(server.open, 1);
    proa_stream_close(streams[1]);
    proa_stream_close(streams[2]);
    assert_int_equal(proa_sim_cut(sim, "0.0.0.0:80"), 1); /* as listened on */
    assert_int_equal(read_code(streams[0]), PROA_ECLOSED);
    proa_stream_close(streams[0]);
    assert_int_equal(proa_sim_cut(sim, "0.0.0.0:80"), 0);
    assert_int_equal(proa_stream_write(untouched, PROA_STR("x")), 0);
    expect(untouched, "<x>");
    proa_stream_close(untouched);
    assert_int_equal(proa_sleep(loop, 1), 0);
    assert_int_equal(server.open + other.open, 0);
    proa_listener_free(server.listener);
    proa_listener_free(other.listener);
    return 0;
}

static void test_cut_on_order(void **state)
{
    begin(1, NULL);
    run(cut_on_order, NULL);
    end();
}

/* Partitions. */
static int heals(void *arg)
{
    PROA_TRY(proa_sleep(loop, PROA_SECONDS(100)));
    proa_sim_partition(sim, arg, false);
    return 0;
}

static int partitioned(void *arg)
{
    struct server server;
    struct proa_stream *stream, *late = NULL;
    struct proa_error err = {0};
    struct proa_deadline_scope scope;
    proa_mono_ns start = proa_loop_now(loop);

    serve(&server, "127.0.0.1:80");
    stream = dial(server.address);
    proa_sim_partition(sim, server.address, true);
    proa_sim_partition(sim, server.address, true);
    assert_int_equal(proa_stream_write(stream, PROA_STR("under way")), 0);
    scope = proa_deadline_enter(loop, proa_loop_now(loop) + PROA_SECONDS(3));
    assert_int_equal(proa_connect(loop, server.address, &late, &err), PROA_ETIMEDOUT);
    assert_non_null(strstr(err.message, "timed out"));
    proa_deadline_leave(&scope);
    assert_null(late);
    assert_int_equal(read_within(stream, PROA_SECONDS(10)), PROA_ETIMEDOUT);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, heals, server.address), 0);
    /* A connect hangs until the network heals. */
    late = dial(server.address);
    assert_int_equal(proa_loop_now(loop) - start, PROA_SECONDS(113));
    expect(stream, "<under way>");
    proa_stream_close(stream);
    proa_stream_close(late);
    assert_int_equal(proa_sleep(loop, 1), 0);
    assert_int_equal(server.open, 0);
    /* Cut while apart: each side finds out by itself. */
    stream = dial(server.address);
    proa_sim_partition(sim, "localhost:80", true);
    assert_int_equal(proa_sim_cut(sim, server.address), 1);
    assert_int_equal(read_code(stream), PROA_ECLOSED);
    proa_stream_close(stream);
    proa_listener_free(server.listener);
    return 0;
}

static void test_partition(void **state)
{
    begin(1, NULL);
    run(partitioned, NULL);
    end(); /* with a partition left */
}

static int waits_in_vain(void *arg)
{
    struct server *server = arg;
    struct proa_stream *stream = dial(server->address);

    proa_sim_partition(sim, server->address, true);
    assert_int_equal(proa_stream_write(stream, PROA_STR("x")), 0);
    assert_int_equal(read_code(stream), PROA_ECANCELED);
    proa_stream_close(stream);
    return 0;
}

static void test_waiting_behind_a_partition_is_a_deadlock(void **state)
{
    struct server server;

    begin(1, NULL);
    serve(&server, "127.0.0.1:80");
    assert_int_equal(proa_loop_start_fiber(loop, NULL, waits_in_vain, &server), 0);
    assert_int_equal(proa_loop_run(loop), PROA_ECONFLICT);
    proa_loop_cancel_fibers(loop, 0);
    assert_int_equal(proa_loop_run(loop), 0);
    proa_sim_partition(sim, server.address, false);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_int_equal(server.open, 0);
    proa_listener_free(server.listener);
    end();
}

/* A server that is never spoken to keeps nothing from ending. */
static void test_open_listeners_and_streams_are_no_deadlock(void **state)
{
    struct server server;

    begin(1, NULL);
    serve(&server, "127.0.0.1:80");
    assert_int_equal(proa_loop_run(loop), 0);
    proa_listener_drain_close(server.listener);
    proa_listener_free(server.listener);
    end();
}

/* Giving up while the other side has accepted already. */
static int impatient(void *arg)
{
    struct server *server = arg;
    struct proa_stream *stream = NULL;
    struct proa_deadline_scope scope = proa_deadline_enter(loop, proa_loop_now(loop) + PROA_MS(15));

    assert_int_equal(proa_connect(loop, server->address, &stream, NULL), PROA_ETIMEDOUT);
    proa_deadline_leave(&scope);
    assert_int_equal(server->accepted, 1);
    return 0;
}

static void test_a_connect_given_up(void **state)
{
    struct proa_sim_network network = {.delay_min_ns = PROA_MS(10), .delay_max_ns = PROA_MS(10)};
    struct server server;

    begin(1, &network);
    serve(&server, "127.0.0.1:80");
    run(impatient, &server);
    assert_int_equal(server.open, 0);
    proa_listener_free(server.listener);
    end();
}

/* All faults at once: clients that try again until they are through, whatever happens. */
static int client(void *arg)
{
    struct server *server = arg;
    char request[400], answer[2048];

    for (int done = 0; done < 5;) {
        struct proa_deadline_scope scope = proa_deadline_enter(loop, proa_loop_now(loop) + PROA_SECONDS(5));
        size_t bytes = 1 + proa_loop_random_u64(loop) % sizeof request, have = 0, got = 1;
        struct proa_stream *stream = NULL;
        int rc;

        memset(request, 'a' + done, bytes);
        rc = proa_connect(loop, server->address, &stream, NULL);
        if (rc == 0)
            rc = proa_stream_write(stream, proa_str_n(request, bytes));
        while (rc == 0 && got > 0 && have < bytes) {
            rc = proa_stream_read(stream, answer, sizeof answer, &got);
            for (size_t i = 0; rc == 0 && i < got; i++)
                have += answer[i] == 'a' + done;
        }
        assert_true(rc < 0 || have == bytes);
        done += rc == 0;
        proa_stream_close(stream);
        proa_deadline_leave(&scope);
    }
    return 0;
}

static uint64_t storm(uint64_t seed)
{
    struct proa_sim_network network = {
        .delay_min_ns = PROA_MS(1),
        .delay_max_ns = PROA_MS(50),
        .chunk_max_bytes = 100,
        .window_bytes = 150,
        .cut_probability = 0.01,
        .refuse_probability = 0.1,
        .stall_probability = 0.02,
        .stall_ns = PROA_SECONDS(8),
    };
    struct server server;
    uint64_t hash;

    begin(seed, &network);
    serve(&server, "127.0.0.1:80");
    for (int i = 0; i < 8; i++)
        assert_int_equal(proa_loop_start_fiber(loop, NULL, client, &server), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    assert_true(server.accepted >= 40);
    assert_int_equal(server.open, 0);
    proa_listener_free(server.listener);
    hash = proa_sim_trace_hash(sim);
    end();
    return hash;
}

static void test_a_run_follows_from_its_seed(void **state)
{
    uint64_t first = storm(1), before = first;

    for (uint64_t seed = 2; seed < 60; seed++) {
        uint64_t hash = storm(seed);

        assert_int_not_equal(hash, before);
        before = hash;
    }
    assert_int_equal(storm(1), first);
    assert_int_equal(storm(59), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_delay),
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_cut_by_chance),
        cmocka_unit_test(test_cut_on_order),
        cmocka_unit_test(test_partition),
        cmocka_unit_test(test_waiting_behind_a_partition_is_a_deadlock),
        cmocka_unit_test(test_open_listeners_and_streams_are_no_deadlock),
        cmocka_unit_test(test_a_connect_given_up),
        cmocka_unit_test(test_a_run_follows_from_its_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

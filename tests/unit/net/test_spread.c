/* One listener and several loops in threads: how connections are spread, and that threads agree (this program
 * is run under the thread sanitizer too). */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <proa/loops.h>
#include <proa/stream.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/stream_internal.h"

enum { LOOPS = 3, HELD = 300, SHORT = 90, PIECE = 1000 };

struct server {
    struct proa_loops *loops;
    struct proa_listener *listener;
    char address[PROA_ADDRESS_MAX];
    _Atomic uint32_t open[LOOPS];
    _Atomic uint32_t total[LOOPS];
    struct proa_task end;
};

struct connection {
    struct server *server;
    struct proa_stream *stream;
};

static void echo(void *arg, proa_str bytes)
{
    struct connection *connection = arg;

    assert_int_equal(proa_stream_send(connection->stream, &bytes, 1), 0);
}

static void hang_up(void *arg, int code)
{
    struct connection *connection = arg;
    struct server *server = connection->server;
    struct proa_loop *loop = proa_stream_loop(connection->stream);

    (void)code;
    proa_stream_close(connection->stream);
    free(connection);
    atomic_fetch_sub(&server->open[proa_loop_index(loop)], 1);
    proa_listener_released(server->listener, loop);
}

static void accepted(void *arg, struct proa_loop *loop, struct proa_stream *stream)
{
    static const struct proa_stream_events events = {.on_data = echo, .on_end = hang_up};
    struct connection *connection = malloc(sizeof *connection);

    *connection = (struct connection){arg, stream};
    assert_ptr_equal(proa_stream_loop(stream), loop);
    atomic_fetch_add(&connection->server->open[proa_loop_index(loop)], 1);
    atomic_fetch_add(&connection->server->total[proa_loop_index(loop)], 1);
    assert_int_equal(proa_stream_attach(stream, &events, connection), 0);
}

static int dial(const struct server *server)
{
    struct sockaddr_storage storage;
    unsigned len;
    int fd;

    assert_int_equal(address_parse(server->address, &storage, &len, NULL), 0);
    fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&storage, len), 0);
    return fd;
}

static void exchange(int fd, char c)
{
    char out[PIECE], in[PIECE];
    size_t have = 0;

    memset(out, c, sizeof out);
    assert_int_equal(send(fd, out, sizeof out, MSG_NOSIGNAL), sizeof out);
    while (have < sizeof in) {
        ssize_t got = recv(fd, in + have, sizeof in - have, 0);

        assert_true(got > 0);
        have += (size_t)got;
    }
    assert_memory_equal(in, out, sizeof in);
}

static uint32_t open_now(struct server *server)
{
    uint32_t sum = 0;

    for (int i = 0; i < LOOPS; i++)
        sum += atomic_load(&server->open[i]);
    return sum;
}

static void end_server(struct proa_task *task)
{
    proa_listener_drain_close(PROA_CONTAINER(task, struct server, end)->listener);
}

static void wait_until_none_is_open(struct server *server)
{
    for (int i = 0; i < 10000 && open_now(server) > 0; i++)
        usleep(1000);
    assert_int_equal(open_now(server), 0);
}

static void *clients(void *arg)
{
    struct server *server = arg;
    int fds[HELD];

    /* Lasting ones: each loop has exactly its share. */
    for (int i = 0; i < HELD; i++)
        fds[i] = dial(server);
    for (int i = 0; i < HELD; i++)
        exchange(fds[i], (char)i);
    for (int i = 0; i < LOOPS; i++)
        assert_int_equal(atomic_load(&server->open[i]), HELD / LOOPS);
    for (int i = 0; i < HELD; i++)
        close(fds[i]);
    wait_until_none_is_open(server);

    /* Short ones, never two at a time: they go round. */
    for (int i = 0; i < LOOPS; i++)
        atomic_store(&server->total[i], 0);
    for (int i = 0; i < SHORT; i++) {
        int fd = dial(server);

        exchange(fd, 'x');
        close(fd);
        wait_until_none_is_open(server);
    }
    for (int i = 0; i < LOOPS; i++)
        assert_in_range(atomic_load(&server->total[i]), SHORT / LOOPS - 5, SHORT / LOOPS + 5);

    /* Handed out while it closes. */
    for (int i = 0; i < LOOPS; i++)
        fds[i] = dial(server);
    proa_loop_post(proa_loops_at(server->loops, 0), &server->end);
    for (int i = 0; i < LOOPS; i++) {
        exchange(fds[i], 'y');
        close(fds[i]);
    }
    return NULL;
}

static void test_spread_over_loops(void **state)
{
    struct server server = {.end = {.run = end_server}};
    struct proa_loop *loops[LOOPS];
    struct proa_listener_options options = {
        .address = "127.0.0.1:0", .accepted = accepted, .arg = &server, .loops = loops, .loops_count = LOOPS};
    struct proa_error err = {0};
    pthread_t thread;

    assert_int_equal(proa_loops_new(LOOPS, NULL, &server.loops, &err), 0);
    for (uint32_t i = 0; i < LOOPS; i++)
        loops[i] = proa_loops_at(server.loops, i);
    assert_int_equal(proa_listener_open(loops[0], &options, &server.listener, &err), 0);
    proa_listener_address(server.listener, server.address);
    assert_int_equal(pthread_create(&thread, NULL, clients, &server), 0);
    assert_int_equal(proa_loops_run(server.loops, &err), 0);
    pthread_join(thread, NULL);
    assert_int_equal(open_now(&server), 0);
    assert_int_equal(proa_listener_accept_failures(server.listener), 0);
    proa_listener_free(server.listener);
    proa_loops_free(server.loops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spread_over_loops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

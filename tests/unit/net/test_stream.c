/* Streams, used by fibers and by callbacks, on real sockets and on the simulated network. */
#include "net_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

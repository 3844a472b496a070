/* Names: asked of a DNS server in this process, of a file of hosts, and raced when there are several addresses. */
#include "unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <proa/fiber.h>
#include <proa/stream.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/resolve.h"
#include "net/stream_internal.h"

enum { TYPE_A = 1, TYPE_AAAA = 28, NOERROR = 0, SERVFAIL = 2, NXDOMAIN = 3, SILENT = 100 };

/* What the server says to a question. */
struct record {
    const char *name;
    int type;
    int code;
    const char *addresses[3];
    unsigned delay_ms;
};

static const struct record records[] = {
    {"both.test", TYPE_A, NOERROR, {"192.0.2.1", "192.0.2.2"}, 0},
    {"both.test", TYPE_AAAA, NOERROR, {"2001:db8::1"}, 0},
    {"four.test", TYPE_A, NOERROR, {"192.0.2.4"}, 0},
    {"four.test", TYPE_AAAA, NOERROR, {NULL}, 0},
    {"six.test", TYPE_A, NOERROR, {NULL}, 0},
    {"six.test", TYPE_AAAA, NOERROR, {"2001:db8::6"}, 0},
    {"none.test", TYPE_A, NOERROR, {NULL}, 0},
    {"none.test", TYPE_AAAA, NOERROR, {NULL}, 0},
    {"late.test", TYPE_A, NOERROR, {"192.0.2.7"}, 0},
    {"late.test", TYPE_AAAA, NOERROR, {"2001:db8::7"}, 1500},
    {"soon.test", TYPE_A, NOERROR, {"192.0.2.8"}, 0},
    {"soon.test", TYPE_AAAA, NOERROR, {"2001:db8::8"}, 10},
    {"broken.test", TYPE_A, SERVFAIL, {NULL}, 0},
    {"broken.test", TYPE_AAAA, SERVFAIL, {NULL}, 0},
    {"silent.test", TYPE_A, SILENT, {NULL}, 0},
    {"silent.test", TYPE_AAAA, SILENT, {NULL}, 0},
    {"short.cluster.test", TYPE_A, NOERROR, {"192.0.2.9"}, 0},
    {"short.cluster.test", TYPE_AAAA, NOERROR, {NULL}, 0},
};

static struct {
    int fd;
    uint16_t port;
    pthread_t thread;
    _Atomic uint32_t questions;
    char options[32];
} server;

static struct proa_loop *loop;
static struct resolve_options options;

/* The question's name as text. @returns where its type stands, 0 if it makes no sense. */
static size_t read_name(const unsigned char *packet, size_t len, char *out)
{
    size_t at = 12, put = 0;

    while (at < len && packet[at] > 0) {
        size_t label = packet[at++];

        if (label > 63 || at + label >= len || put + label + 1 > 250)
            return 0;
        memcpy(out + put, packet + at, label);
        put += label;
        out[put++] = '.';
        at += label;
    }
    out[put ? put - 1 : 0] = '\0';
    return at + 1 + 4 <= len ? at + 1 : 0;
}

static size_t put_answer(unsigned char *out, int type, const char *address)
{
    static const unsigned char head[] = {0xc0, 12, 0, 0, 0, 1, 0, 0, 0, 60, 0, 0};
    size_t bytes = type == TYPE_A ? 4 : 16;

    memcpy(out, head, sizeof head);
    out[3] = (unsigned char)type;
    out[11] = (unsigned char)bytes;
    assert_int_equal(inet_pton(type == TYPE_A ? AF_INET : AF_INET6, address, out + sizeof head), 1);
    return sizeof head + bytes;
}

/* @returns the answer's length, 0 for none; it is to be sent after *ret_delay_ms. */
static size_t answer(unsigned char *packet, size_t len, unsigned *ret_delay_ms)
{
    char name[256];
    size_t at = read_name(packet, len, name);
    int type = at ? packet[at] << 8 | packet[at + 1] : 0, code = NXDOMAIN, count = 0;

    if (!at)
        return 0;
    at += 4;
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        if (strcasecmp(records[i].name, name) != 0 || records[i].type != type)
            continue;
        code = records[i].code;
        *ret_delay_ms = records[i].delay_ms;
        for (; count < 3 && records[i].addresses[count]; count++)
            at += put_answer(packet + at, type, records[i].addresses[count]);
    }
    packet[2] |= 0x80;
    packet[3] = (unsigned char)(0x80 | code);
    packet[7] = (unsigned char)count;
    memset(packet + 8, 0, 4);
    return code == SILENT ? 0 : at;
}

struct datagram {
    unsigned char bytes[1500];
    size_t len;
    struct sockaddr_storage from;
    socklen_t from_len;
    unsigned delay_ms;
};

static void send_answer(const struct datagram *datagram)
{
    sendto(server.fd, datagram->bytes, datagram->len, 0, (const struct sockaddr *)&datagram->from, datagram->from_len);
}

/* An answer that is late waits until nothing came for so long. */
static void *serve(void *arg)
{
    struct datagram late = {.len = 0};

    for (;;) {
        struct datagram question = {.from_len = sizeof question.from};
        struct pollfd poll_fd = {.fd = server.fd, .events = POLLIN};
        ssize_t got;

        if (poll(&poll_fd, 1, late.len ? (int)late.delay_ms : -1) == 0) {
            send_answer(&late);
            late.len = 0;
            continue;
        }
        got = recvfrom(server.fd, question.bytes, 512, 0, (struct sockaddr *)&question.from, &question.from_len);
        if (got == 1) /* the end of the tests */
            return NULL;
        server.questions++;
        question.len = got < 12 ? 0 : answer(question.bytes, (size_t)got, &question.delay_ms);
        if (question.len && question.delay_ms)
            late = question;
        else if (question.len)
            send_answer(&question);
    }
}

static struct sockaddr_in server_address(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(server.port)};

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

static int start_server(void **state)
{
    struct sockaddr_in at = server_address();
    socklen_t len = sizeof at;

    server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(server.fd, (struct sockaddr *)&at, &len), 0);
    server.port = ntohs(at.sin_port);
    snprintf(server.options, sizeof server.options, "127.0.0.1:%u", server.port);
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int stop_server(void **state)
{
    struct sockaddr_in at = server_address();
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    sendto(fd, "x", 1, 0, (struct sockaddr *)&at, sizeof at);
    pthread_join(server.thread, NULL);
    close(fd);
    return close(server.fd);
}

static int setup(void **state)
{
    options = (struct resolve_options){.servers = server.options, .resolv_conf = "/dev/null"};
    return proa_loop_new(NULL, &loop);
}

static int teardown(void **state)
{
    proa_loop_free(loop);
    return 0;
}

static void run(proa_fiber_fn *body)
{
    assert_int_equal(proa_loop_start_fiber(loop, NULL, body, NULL), 0);
    assert_int_equal(proa_loop_run(loop), 0);
}

/* The addresses of a name, in order, as one text. */
static void expect(const char *name, const char *expected)
{
    struct net_addresses addresses;
    struct proa_error err = {0};
    char all[512] = "";
    size_t put = 0;

    assert_int_equal(resolve_name(loop, name, 80, &options, &addresses, &err), 0);
    assert_int_equal(err.code, 0);
    for (uint32_t i = 0; i < addresses.count; i++) {
        char one[PROA_ADDRESS_MAX];

        address_text(&addresses.at[i], sizeof addresses.at[i], one);
        put += (size_t)snprintf(all + put, sizeof all - put, "%s ", one);
    }
    assert_string_equal(all, expected);
}

static int expect_failure(const char *name, int code, const char *part)
{
    struct net_addresses addresses;
    struct proa_error err = {0};

    assert_int_equal(resolve_name(loop, name, 80, &options, &addresses, NULL), code);
    assert_int_equal(resolve_name(loop, name, 80, &options, &addresses, &err), code);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.message, name));
    assert_non_null(strstr(err.message, part));
    return 0;
}

static int families_body(void *arg)
{
    expect("both.test", "[2001:db8::1]:80 192.0.2.1:80 192.0.2.2:80 ");
    expect("four.test", "192.0.2.4:80 ");
    expect("six.test", "[2001:db8::6]:80 ");
    return 0;
}

static void test_families_take_turns(void **state)
{
    run(families_body);
}

static int late_body(void *arg)
{
    proa_mono_ns start = proa_loop_now_exact(loop);

    expect("late.test", "192.0.2.7:80 ");
    assert_in_range((proa_loop_now_exact(loop) - start) / PROA_MS(1), 45, 1000);
    return 0;
}

static int soon_body(void *arg)
{
    expect("soon.test", "[2001:db8::8]:80 192.0.2.8:80 ");
    return 0;
}

static void test_a_late_family_is_not_waited_for(void **state)
{
    run(soon_body);
    run(late_body);
}

static int failures_body(void *arg)
{
    expect_failure("unknown.test", PROA_EUNAVAILABLE, "not found");
    expect_failure("none.test", PROA_EUNAVAILABLE, "no data");
    expect_failure("broken.test", PROA_EUNAVAILABLE, "");
    expect_failure("a..b", PROA_EINVAL, "isformatted");
    return 0;
}

static void test_failures(void **state)
{
    run(failures_body);
}

static int deadline_body(void *arg)
{
    struct net_addresses addresses;
    struct proa_error err = {0};
    proa_mono_ns start = proa_loop_now_exact(loop);
    struct proa_deadline_scope scope = proa_deadline_enter(loop, start + PROA_MS(100));

    assert_int_equal(resolve_name(loop, "silent.test", 80, &options, &addresses, &err), PROA_ETIMEDOUT);
    assert_string_equal(err.message, "resolving silent.test: timed out");
    proa_deadline_leave(&scope);
    assert_true(proa_loop_now_exact(loop) - start < PROA_SECONDS(2));
    return 0;
}

static int cancelled_body(void *arg)
{
    struct net_addresses addresses;
    int *rc = arg;

    *rc = resolve_name(loop, "silent.test", 80, &options, &addresses, NULL);
    return 0;
}

static int canceller_body(void *arg)
{
    struct proa_group group;
    int rc = 0;

    proa_group_init(&group, loop);
    assert_int_equal(proa_group_start(&group, NULL, cancelled_body, &rc), 0);
    assert_int_equal(proa_sleep(loop, PROA_MS(20)), 0);
    proa_group_cancel(&group, PROA_EUNAVAILABLE);
    assert_int_equal(proa_group_wait(&group), 0);
    assert_int_equal(rc, PROA_EUNAVAILABLE);
    return 0;
}

static void test_deadline_and_cancellation(void **state)
{
    run(deadline_body);
    run(canceller_body);
}

/* resolv.conf and hosts. */
static void write_file(char *path, const char *content)
{
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    close(fd);
}

static int search_body(void *arg)
{
    expect("short", "192.0.2.9:80 ");
    expect("short.cluster.test.", "192.0.2.9:80 ");
    return 0;
}

static void test_search_domains(void **state)
{
    char path[] = "/tmp/proa-resolv-XXXXXX";

    write_file(path, "search elsewhere.test cluster.test\noptions ndots:5\n");
    options.resolv_conf = path;
    run(search_body);
    unlink(path);
}

static int timeout_body(void *arg)
{
    proa_mono_ns start = proa_loop_now_exact(loop);
    uint32_t before = server.questions;
    struct net_addresses addresses;
    struct proa_error err = {0};

    assert_int_equal(resolve_name(loop, "silent.test", 80, &options, &addresses, &err), PROA_EUNAVAILABLE);
    assert_in_range((proa_loop_now_exact(loop) - start) / PROA_MS(1), 3000, 12000);
    assert_int_equal(server.questions - before, 6); /* three tries for each family */
    return 0;
}

static void test_a_silent_server(void **state)
{
    run(timeout_body);
}

static int hosts_body(void *arg)
{
    uint32_t before = server.questions;

    expect("db", "192.0.2.77:80 ");
    expect("dual", "[2001:db8::78]:80 192.0.2.78:80 ");
    assert_int_equal(server.questions, before);
    return 0;
}

static void test_file_of_hosts(void **state)
{
    char path[] = "/tmp/proa-hosts-XXXXXX";

    write_file(path, "# hosts\n192.0.2.77 db database\n192.0.2.78 dual\n2001:db8::78 dual\n");
    setenv("CARES_HOSTS", path, 1);
    options.hosts_by_env = true;
    run(hosts_body);
    unsetenv("CARES_HOSTS");
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_families_take_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_late_family_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline_and_cancellation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_search_domains, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_silent_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_of_hosts, setup, teardown),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}

/* Addresses as text and back. */
#include "unit.h"

#include "net/stream_internal.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static void expect_round_trip(const char *in, const char *expected)
{
    struct sockaddr_storage storage;
    struct proa_error err = {0};
    char out[PROA_ADDRESS_MAX];
    unsigned len;

    assert_int_equal(address_parse(in, &storage, &len, &err), 0);
    assert_int_equal(err.code, 0);
    address_text(&storage, len, out);
    assert_string_equal(out, expected);
}

static void test_round_trips(void **state)
{
    expect_round_trip("127.0.0.1:80", "127.0.0.1:80");
    expect_round_trip("0.0.0.0:0", "0.0.0.0:0");
    expect_round_trip("255.255.255.255:65535", "255.255.255.255:65535");
    expect_round_trip("localhost:8080", "127.0.0.1:8080");
    expect_round_trip("[::]:8080", "[::]:8080");
    expect_round_trip("[2001:DB8:0:0::1]:443", "[2001:db8::1]:443");
    expect_round_trip("[::ffff:192.0.2.1]:443", "192.0.2.1:443");
    expect_round_trip("unix:/run/x.sock", "unix:/run/x.sock");
    expect_round_trip("unix:relative:9", "unix:relative:9");
}

static void expect_failure(const char *in, int code, const char *part)
{
    struct sockaddr_storage storage;
    struct proa_error err = {0};
    unsigned len;

    assert_int_equal(address_parse(in, &storage, &len, &err), code);
    assert_int_equal(address_parse(in, &storage, &len, NULL), code);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.message, part));
}

static void test_failures(void **state)
{
    char longest[600];

    expect_failure("", PROA_EINVAL, "host:port");
    expect_failure("127.0.0.1", PROA_EINVAL, "\"127.0.0.1\" is not host:port");
    expect_failure("127.0.0.1:", PROA_EINVAL, "host:port");
    expect_failure("127.0.0.1:x", PROA_EINVAL, "host:port");
    expect_failure("127.0.0.1:-1", PROA_EINVAL, "host:port");
    expect_failure("127.0.0.1:65536", PROA_EINVAL, "host:port");
    expect_failure("127.0.0.1:99999999999999999999", PROA_EINVAL, "host:port");
    expect_failure("[::1]", PROA_EINVAL, "host:port");
    expect_failure("::1:80", PROA_EINVAL, "[::1]:80");
    expect_failure(":80", PROA_EINVAL, "host:port");
    expect_failure("[nonsense]:80", PROA_EINVAL, "IPv6");
    expect_failure("[]:80", PROA_EINVAL, "IPv6");
    expect_failure("256.0.0.1:80", PROA_EUNSUPPORTED, "names are not resolved");
    expect_failure("example.com:80", PROA_EUNSUPPORTED, "names are not resolved");
    expect_failure("unix:", PROA_EINVAL, "unix:PATH");
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "unix:", 5);
    longest[sizeof longest - 1] = '\0';
    expect_failure(longest, PROA_EINVAL, "107 bytes");
    memcpy(longest, "aaaaa", 5);
    memcpy(longest + sizeof longest - 4, ":80", 4);
    expect_failure(longest, PROA_EUNSUPPORTED, "names are not resolved");
}

static void test_longest_path(void **state)
{
    char path[5 + sizeof((struct sockaddr_un *)0)->sun_path] = "unix:";

    memset(path + 5, 'p', sizeof path - 6);
    expect_round_trip(path, path);
}

static void test_text_of_what_has_no_name(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_un full = {.sun_family = AF_UNIX};
    char out[PROA_ADDRESS_MAX];

    address_text(&un, sizeof un.sun_family, out);
    assert_string_equal(out, "unix:");
    /* The kernel may give a path without a NUL. */
    memset(full.sun_path, 'q', sizeof full.sun_path);
    address_text(&full, sizeof full, out);
    assert_int_equal(strlen(out), 5 + sizeof full.sun_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_longest_path),
        cmocka_unit_test(test_text_of_what_has_no_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

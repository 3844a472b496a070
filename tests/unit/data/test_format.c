/* Formats of text: what each standard takes and refuses. */
#include "everything.h"

struct formatted {
    proa_str email, uuid, uri, date_time, date, hostname, ipv4, ipv6;
};
PROA_DESCRIBE(formatted, (email, str, .format = PROA_FORMAT_EMAIL), (uuid, str, .format = PROA_FORMAT_UUID),
              (uri, str, .format = PROA_FORMAT_URI), (date_time, str, .format = PROA_FORMAT_DATE_TIME),
              (date, str, .format = PROA_FORMAT_DATE), (hostname, str, .format = PROA_FORMAT_HOSTNAME),
              (ipv4, str, .format = PROA_FORMAT_IPV4), (ipv6, str, .format = PROA_FORMAT_IPV6));

static void check(struct bench *b, const char *member, const char *const *texts, size_t count, bool good)
{
    struct formatted f = {0};
    const struct proa_field *field = proa_type_find(&formatted_type.type, proa_str_c(member), NULL);

    for (size_t i = 0; i < count; i++) {
        int rc;

        proa_error_clear(&b->err);
        rc = proa_field_from_text(&b->arena, field, proa_str_c(texts[i]), PROA_STR("/x"), &f, &b->err);
        if ((rc == 0) != good)
            fail_msg("%s: \"%s\" is %s", member, texts[i], rc ? "refused" : "taken");
        if (!good)
            assert_string_equal(broken(b), "/x format;");
    }
}
#define TAKES(member, ...)                                                                                             \
    check(*state, member, (const char *const[]){__VA_ARGS__}, PROA_COUNT(((const char *const[]){__VA_ARGS__})), true)
#define REFUSES(member, ...)                                                                                           \
    check(*state, member, (const char *const[]){__VA_ARGS__}, PROA_COUNT(((const char *const[]){__VA_ARGS__})), false)

#define LABEL_63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void email(void **state)
{
    TAKES("email", "a@b", "ann.lee+tag@mail.example.org", "!#$%&'*+/=?^_`{|}~-@x.y", "a@" LABEL_63 ".com", "1@1");
    REFUSES("email", "", "a", "@b", "a@", "a@b@c", "a b@c", "a@-b", "a@b-", "a@b..c", "a@.b", "\"a\"@b", "a@[1.2.3.4]",
            "\xc3\xa4@b", "a@" LABEL_63 "a.com", "a@b.", "(c)a@b");
}

static void uuid(void **state)
{
    TAKES("uuid", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "00000000-0000-0000-0000-000000000000",
          "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF");
    REFUSES("uuid", "", "f81d4fae7dec11d0a76500a0c91e6bf6", "g81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf", "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}",
            "f81d4fae-7dec-11d0-a76500-a0c91e6bf6");
}

static void uri(void **state)
{
    TAKES("uri", "http://a", "http://a.b/c;d?e=f#g", "ftp://u:p@h:21/", "mailto:a@b.c", "urn:isbn:0451450523",
          "a:", "http://[2001:db8::1]:80/", "http://[v7.a:b]/", "file:///etc/passwd", "x+1.-:y", "http://a/%20%C3%A4",
          "http://a?b/c?d", "http://", "tel:+1-816-555-1212");
    REFUSES("uri", "", "a", "//a/b", "/a", "1a:b", ":a", "a b:c", "http://a b", "http://a/%2", "http://a/%zz",
            "http://a/\xc3\xa4", "http://a/[", "http://a#b#c", "http://a:8x/", "http://[::1/", "http://[::1]x/",
            "http://[g::1]/", "http://a/\"", "http://a\\b", "http://[v.a]/", "http://[v1.]/", "a:<b>");
}

static void times(void **state)
{
    TAKES("date_time", "1985-04-12T23:20:50.52Z", "1996-12-19T16:39:57-08:00", "1990-12-31T23:59:60Z");
    REFUSES("date_time", "", "1985-04-12", "1985-04-12T23:20:50", "1985-04-12 23:20:50Z", "1985-13-12T23:20:50Z",
            "1985-04-31T23:20:50Z", "1985-04-12T24:20:50Z", "85-04-12T23:20:50Z");
    TAKES("date", "2024-02-29", "0001-01-01", "9999-12-31");
    REFUSES("date", "", "2023-02-29", "2024-2-9", "2024-02-29Z", "2024/02/29", "24-02-29", "2024-00-01");
}

static void hosts(void **state)
{
    TAKES("hostname", "a", "a-b.c", "1.2.3.4", "xn--bcher-kva.example", LABEL_63, LABEL_63 "." LABEL_63 "." LABEL_63);
    REFUSES("hostname", "", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "a b", LABEL_63 "a", "\xc3\xa4",
            LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63);
    TAKES("ipv4", "0.0.0.0", "255.255.255.255", "127.0.0.1");
    REFUSES("ipv4", "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "1.2.3.a", "0x1.2.3.4",
            "1111111111111111111111111111111111111111111111111111111111111111111111111111111");
    TAKES("ipv6", "::", "::1", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8");
    REFUSES("ipv6", "", "1.2.3.4", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "fe80::1%eth0", "12345::", "[::1]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(email), bench_test(uuid), bench_test(uri), bench_test(times), bench_test(hosts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The codec: a table of inputs with what comes of each, fed whole, cut in two at every byte, and byte by byte. */
#include "unit.h"

#include "h1_feed.h"

#include <stdio.h>
#include <stdlib.h>

static const struct h1_limits limits = {.head_bytes = 512, .fields = 8, .target_bytes = 100};

struct sample {
    const char *input;
    const char *events; /* as h1_feed writes them */
};

#define HOST "Host: a\r\n"

static const struct sample samples[] = {
    /* Plain requests. */
    {"GET / HTTP/1.1\r\n" HOST "\r\n", "GET path=/ query= host=a keep {Host=a} end. "},
    {"GET /a/b?c=d&e HTTP/1.1\r\n" HOST "\r\n", "GET path=/a/b query=c=d&e host=a keep {Host=a} end. "},
    {"DELETE /%41%2f HTTP/1.1\r\nhOsT: a.b:80\r\n\r\n",
     "DELETE path=/%41%2f query= host=a.b:80 keep {hOsT=a.b:80} end. "},
    {"HEAD /? HTTP/1.1\r\n" HOST "\r\n", "HEAD path=/ query= host=a keep {Host=a} end. "},
    {"GET / HTTP/1.0\r\n\r\n", "GET path=/ query= host= 1.0 close {} end. "},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
     "GET path=/ query= host= 1.0 keep {Connection=Keep-Alive} end. "},
    {"GET / HTTP/1.1\r\n" HOST "Connection: foo, close\r\n\r\n",
     "GET path=/ query= host=a close {Host=a|Connection=foo, close} end. "},
    {"GET / HTTP/1.7\r\n" HOST "\r\n", "GET path=/ query= host=a keep {Host=a} end. "},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET path=/ query= host= keep {Host=} end. "},
    {"PATCH / HTTP/1.1\r\nHost:a\t \r\nX-Empty:\r\nX: \t a  b \t\r\n\r\n",
     "PATCH path=/ query= host=a keep {Host=a|X-Empty=|X=a  b} end. "},
    {"GET / HTTP/1.1\r\n" HOST "X: \x80\xff\r\n\r\n", "GET path=/ query= host=a keep {Host=a|X=\x80\xff} end. "},
    {"PROPFIND / HTTP/1.1\r\n" HOST "\r\n", "PROPFIND path=/ query= host=a keep {Host=a} end. "},
    {"TRACE / HTTP/1.1\r\n" HOST "\r\n", "TRACE path=/ query= host=a keep {Host=a} end. "},
    /* Two in a row; an empty line before each. */
    {"GET /1 HTTP/1.1\r\n" HOST "\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n",
     "GET path=/1 query= host=a keep {Host=a} end. GET path=/2 query= host=a keep {Host=a} end. "},
    {"\r\nGET / HTTP/1.1\r\n" HOST "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     "GET path=/ query= host=a keep {Host=a} end. GET path=/ query= host=a keep {Host=a} end. "},
    {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"\nGET / HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"\rGET / HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {" GET / HTTP/1.1\r\n" HOST "\r\n", "400 "},
    /* Upgrade is no matter of ours. */
    {"GET / HTTP/1.1\r\n" HOST "Upgrade: h2c\r\nConnection: upgrade\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     "GET path=/ query= host=a keep {Host=a|Upgrade=h2c|Connection=upgrade} end. "
     "GET path=/ query= host=a keep {Host=a} end. "},
    {"POST / HTTP/1.1\r\n" HOST "Upgrade: x\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nab",
     "POST path=/ query= host=a keep {Host=a|Upgrade=x|Connection=upgrade|Content-Length=2} length=2 'ab' end. "},
    {"POST / HTTP/1.1\r\n" HOST
     "Upgrade: x\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
     "POST path=/ query= host=a keep {Host=a|Upgrade=x|Connection=upgrade|Transfer-Encoding=chunked} 'a' end. "},
    /* Request lines. */
    {"GET  / HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET /  HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET / HTTP/1.1 \r\n" HOST "\r\n", "400 "},
    {"GET\t/ HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET / HTTP/1.1\n" HOST "\r\n", "400 "},
    {"GET / HTTP/1.1\r" HOST "\r\n", "400 "},
    {"GET /\r\n" HOST "\r\n", "400 "},
    {"GET / http/1.1\r\n" HOST "\r\n", "400 "},
    {"GET / HTTP/1\r\n" HOST "\r\n", "400 "},
    {"GET / HTTP/11\r\n" HOST "\r\n", "400 "},
    {"GET / HTTP/1.10\r\n" HOST "\r\n", "400 "},
    {"GET / HTTPS/1.1\r\n" HOST "\r\n", "400 "},
    {"GET / HTTP/0.9\r\n" HOST "\r\n", "505 "},
    {"GET / HTTP/2.0\r\n" HOST "\r\n", "505 "},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 "},
    {"\x16\x03\x01\x02", "400 "},
    {"G(T / HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET: / HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n", "501 "},
    {"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "501 "},
    /* Targets. */
    {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * path=* query= host=a keep {Host=a} end. "},
    {"GET * HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"OPTIONS ** HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET http://b:8/c?d HTTP/1.1\r\n" HOST "\r\n", "GET path=/c query=d host=b:8 keep {Host=a} end. "},
    {"GET HTTPS://b HTTP/1.1\r\n" HOST "\r\n", "GET path= query= host=b keep {Host=a} end. "},
    {"GET http://b?c HTTP/1.1\r\n" HOST "\r\n", "GET path= query=c host=b keep {Host=a} end. "},
    {"OPTIONS http://b HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * path= query= host=b keep {Host=a} end. "},
    {"GET http:///c HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET http://u@b/c HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET ftp://b/c HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET a HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET a:80 HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET ?a HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET /a#b HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET /a?b#c HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET /a\"b HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET /a\\b HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET /\x80 HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET /\x7f HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET /\x01 HTTP/1.1\r\n" HOST "\r\n", "400 "},
    {"GET /?a[]=|{} HTTP/1.1\r\n" HOST "\r\n", "GET path=/ query=a[]=|{} host=a keep {Host=a} end. "},
    /* Host. */
    {"GET / HTTP/1.1\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", "400 "},
    {"GET / HTTP/1.0\r\n" HOST HOST "\r\n", "400 "},
    {"GET http://b/ HTTP/1.1\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "GET path=/ query= host=a,b keep {Host=a,b} end. "},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\nHost: a%4\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET path=/ query= host=[::1]:80 keep {Host=[::1]:80} end. "},
    {"GET / HTTP/1.1\r\nHost: [1]\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", "400 "},
    /* Fields. */
    {"GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A\t: b\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A b: c\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A\x80: c\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A(: c\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A: b\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A: b\r\n\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A: b\n\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A: b\rc\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A:\rc\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A:\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A: b\r\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A: b\x01\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A: b\x7f\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A: b\r\n\tc\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A:\r\n c\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "A: b\r\n \r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n " HOST "\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "\r\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\na",
     "GET path=/ query= host=a keep expects {Host=a|Expect=100-Continue|Content-Length=1} length=1 'a' end. "},
    {"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", "GET path=/ query= host= 1.0 close {Expect=100-continue} end. "},
    {"GET / HTTP/1.1\r\n" HOST "Expect: tea\r\n\r\n", "417 "},
    /* Content-Length. */
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
     "POST path=/ query= host=a keep {Host=a|Content-Length=0} length=0 end. "},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 003\r\n\r\nabc",
     "GET path=/ query= host=a keep {Host=a|Content-Length=003} length=3 'abc' end. "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabc",
     "POST path=/ query= host=a keep {Host=a|Content-Length=5} length=5 'abc"},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3 \r\n\r\nabc",
     "POST path=/ query= host=a keep {Host=a|Content-Length=3} length=3 'abc' end. "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\nabc", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\nabc", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\nabc", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\nabc", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3 3\r\n\r\nabc", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\nabc", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 9999999999999999999\r\n\r\nabc", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "400 "},
    /* Transfer-Encoding. */
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n",
     "POST path=/ query= host=a keep {Host=a|Transfer-Encoding=chunked} 'abc0123456789' end. "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     "POST path=/ query= host=a keep {Host=a|Transfer-Encoding=CHUNKED} end. GET path=/ query= host=a keep {Host=a} "
     "end. "},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "400 "},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400 "},
#define CHUNKED "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_HEAD "POST path=/ query= host=a keep {Host=a|Transfer-Encoding=chunked} "
    /* Chunks. */
    {CHUNKED "3;a=b;c=\"d\"\r\nabc\r\n0;x\r\n\r\n", CHUNKED_HEAD "'abc' end. "},
    {CHUNKED "3\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "3\r\nabc\n0\r\n\r\n", CHUNKED_HEAD "'abc400 "},
    {CHUNKED "3\r\nabc0\r\n\r\n", CHUNKED_HEAD "'abc400 "},
    {CHUNKED "3\r\nabcd\r\n0\r\n\r\n", CHUNKED_HEAD "'abc400 "},
    {CHUNKED "3\r\nab\r\n0\r\n\r\n", CHUNKED_HEAD "'ab\r400 "},
    {CHUNKED "3 \r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED " 3\r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "3\rabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "-3\r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "0x3\r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "g\r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "\r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED ";a\r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "fffffffffffffffff\r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "3;a\nb\r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "3;a\rb\r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "3;\x01\r\nabc\r\n0\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "0\r\n\n", CHUNKED_HEAD "400 "},
    {CHUNKED "0\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "0\r\n\r\r\n", CHUNKED_HEAD "400 "},
    /* Trailers. */
    {CHUNKED "1\r\na\r\n0\r\nX: 1\r\nY:  2 \r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     CHUNKED_HEAD "'a' end{X=1|Y=2}. GET path=/ query= host=a keep {Host=a} end. "},
    {CHUNKED "0\r\nContent-Length: 1\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "0\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "0\r\nHost: b\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "0\r\nAuthorization: b\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "0\r\nX : 1\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "0\r\nX: 1\r\n y\r\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "0\r\nX: 1\n\r\n", CHUNKED_HEAD "400 "},
    {CHUNKED "0\r\na:1\r\na:2\r\na:3\r\na:4\r\na:5\r\na:6\r\na:7\r\na:8\r\n\r\n",
     CHUNKED_HEAD "end{a=1|a=2|a=3|a=4|a=5|a=6|a=7|a=8}. "},
    {CHUNKED "0\r\na:1\r\na:2\r\na:3\r\na:4\r\na:5\r\na:6\r\na:7\r\na:8\r\na:9\r\n\r\n", CHUNKED_HEAD "431 fields "},
    /* Limits. */
    {"GET / HTTP/1.1\r\n" HOST "a:1\r\na:2\r\na:3\r\na:4\r\na:5\r\na:6\r\na:7\r\n\r\n",
     "GET path=/ query= host=a keep {Host=a|a=1|a=2|a=3|a=4|a=5|a=6|a=7} end. "},
    {"GET / HTTP/1.1\r\n" HOST "a:1\r\na:2\r\na:3\r\na:4\r\na:5\r\na:6\r\na:7\r\na:8\r\n\r\n", "431 fields "},
};

static char *feed_cut(const char *input, size_t len, size_t cut)
{
    struct h1_feed *feed = h1_feed_new(&limits);

    h1_feed_bytes(feed, proa_str_n(input, cut));
    h1_feed_bytes(feed, proa_str_n(input + cut, len - cut));
    return h1_feed_free(feed);
}

static char *feed_bytewise(const char *input, size_t len)
{
    struct h1_feed *feed = h1_feed_new(&limits);

    for (size_t i = 0; i < len; i++)
        h1_feed_bytes(feed, proa_str_n(input + i, 1));
    return h1_feed_free(feed);
}

static int check(const char *input, size_t len, const char *wanted)
{
    int bad = 0;

    for (size_t cut = 0; cut <= len + 1 && !bad; cut++) {
        char *events = cut <= len ? feed_cut(input, len, cut) : feed_bytewise(input, len);

        if (strcmp(events, wanted) != 0) {
            print_error("input %s\ncut at %zu of %zu\ngave   %s\nwanted %s\n", input, cut, len, events, wanted);
            bad = 1;
        }
        free(events);
    }
    return bad;
}

static void test_table(void **state)
{
    int bad = 0;

    (void)state;
    for (size_t i = 0; i < PROA_COUNT(samples); i++)
        bad += check(samples[i].input, strlen(samples[i].input), samples[i].events);
    assert_int_equal(bad, 0);
}

static void test_nul_bytes(void **state)
{
    static const char in_value[] = "GET / HTTP/1.1\r\n" HOST "A: b\0c\r\n\r\n";
    static const char in_name[] = "GET / HTTP/1.1\r\n" HOST "A\0: b\r\n\r\n";
    static const char in_target[] = "GET /\0 HTTP/1.1\r\n" HOST "\r\n";

    (void)state;
    assert_int_equal(check(in_value, sizeof in_value - 1, "400 "), 0);
    assert_int_equal(check(in_name, sizeof in_name - 1, "400 "), 0);
    assert_int_equal(check(in_target, sizeof in_target - 1, "400 "), 0);
}

/* `before`, then `fill` repeated up to `bytes` in all, then `after`. */
static int check_long(const char *before, char fill, size_t bytes, const char *after, const char *wanted)
{
    size_t len = strlen(before), after_len = strlen(after);
    char *input = malloc(bytes + after_len + 1);
    int bad;

    assert_non_null(input);
    memcpy(input, before, len);
    memset(input + len, fill, bytes - len);
    memcpy(input + bytes, after, after_len + 1);
    bad = check(input, bytes + after_len, wanted);
    free(input);
    return bad;
}

static void test_limits(void **state)
{
    char wanted[1024];

    (void)state;
    /* A target of 100 bytes and one of 101. */
    snprintf(wanted, sizeof wanted, "GET path=/%099d query= host=a keep {Host=a} end. ", 0);
    assert_int_equal(check_long("GET /", '0', 104, " HTTP/1.1\r\n" HOST "\r\n", wanted), 0);
    assert_int_equal(check_long("GET /", '0', 105, " HTTP/1.1\r\n" HOST "\r\n", "414 target "), 0);
    /* A head of 512 bytes and one of 513. */
    snprintf(wanted, sizeof wanted, "GET path=/ query= host=a keep {Host=a|A=%0481d} end. ", 0);
    assert_int_equal(check_long("GET / HTTP/1.1\r\n" HOST "A:", '0', 508, "\r\n\r\n", wanted), 0);
    assert_int_equal(check_long("GET / HTTP/1.1\r\n" HOST "A:", '0', 509, "\r\n\r\n", "431 head "), 0);
    /* The same of trailers. */
    snprintf(wanted, sizeof wanted, CHUNKED_HEAD "end{A=%0506d}. ", 0);
    assert_int_equal(check_long(CHUNKED "0\r\nA:", '0', strlen(CHUNKED) + 3 + 508, "\r\n\r\n", wanted), 0);
    assert_int_equal(
        check_long(CHUNKED "0\r\nA:", '0', strlen(CHUNKED) + 3 + 509, "\r\n\r\n", CHUNKED_HEAD "431 head "), 0);
    /* A chunk's line, of zeros or of extensions. */
    assert_int_equal(check_long(CHUNKED, '0', strlen(CHUNKED) + 510, "\r\n\r\n", CHUNKED_HEAD "end. "), 0);
    assert_int_equal(check_long(CHUNKED, '0', strlen(CHUNKED) + 511, "\r\n\r\n", CHUNKED_HEAD "400 "), 0);
    assert_int_equal(check_long(CHUNKED "1;", 'a', strlen(CHUNKED) + 511, "\r\nb\r\n0\r\n\r\n", CHUNKED_HEAD "400 "),
                     0);
}

static void test_extensions_in_all(void **state)
{
    char *input = calloc(1, 64 * 1024);
    size_t len = sizeof CHUNKED - 1;
    int bad = 0;

    (void)state;
    memcpy(input, CHUNKED, len);
    for (int i = 0; i < 20; i++) {
        memcpy(input + len, "1;", 2);
        memset(input + len + 2, 'x', 300);
        memcpy(input + len + 302, "\r\nb\r\n", 5);
        len += 307;
    }
    memcpy(input + len, "0\r\n\r\n", 5);
    bad = check(input, len + 5, CHUNKED_HEAD "'bbbbbbbbbbbbb400 ");
    free(input);
    assert_int_equal(bad, 0);
}

static void test_blank(void **state)
{
    struct h1_parser *parser = calloc(1, h1_parser_bytes(&limits));
    size_t used;

    (void)state;
    h1_init(parser, &limits);
    h1_start(parser, false);
    assert_true(h1_is_blank(parser));
    assert_int_equal(h1_head(parser, PROA_STR("\r"), &used), H1_MORE);
    assert_false(h1_is_blank(parser));
    assert_int_equal(h1_head(parser, PROA_STR("\r\n"), &used), H1_MORE);
    assert_true(h1_is_blank(parser));
    assert_int_equal(h1_head(parser, PROA_STR("\r\nG"), &used), H1_MORE);
    assert_false(h1_is_blank(parser));
    h1_start(parser, true);
    assert_int_equal(h1_head(parser, PROA_STR("\r\n"), &used), H1_ERROR);
    assert_int_equal(parser->status, 400);
    free(parser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),  cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_extensions_in_all),
        cmocka_unit_test(test_blank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Lines as they arrive at the reader: their form, hostile content, slow and vanished readers, many writers. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <proa/json.h>
#include <proa/log.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

static struct proa_log *log_;
static struct proa_logger logger;
static int reader, writer;
static char text[8 * 1024 * 1024];
static size_t text_len;

static proa_time_ns fixed_wall(void *arg)
{
    return 1767323045678901234; /* 2026-01-02T03:04:05.678901234Z */
}

static void open_log(struct proa_log_options options)
{
    int fds[2];

    if (!options.fd) {
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        reader = fds[0];
        writer = fds[1];
        options.fd = writer;
    }
    if (!options.wall)
        options.wall = fixed_wall;
    assert_int_equal(proa_log_new(&options, &log_, NULL), 0);
    logger = (struct proa_logger){.log = log_, .target = "app"};
    text_len = 0;
}

/* Reads what is there now. */
static void read_text(void)
{
    struct pollfd fd = {.fd = reader, .events = POLLIN};

    while (poll(&fd, 1, 0) > 0 && (fd.revents & POLLIN)) {
        ssize_t got = read(reader, text + text_len, sizeof text - 1 - text_len);

        assert_true(got >= 0);
        if (got == 0)
            break;
        text_len += (size_t)got;
    }
    text[text_len] = '\0';
}

static void close_log(void)
{
    proa_log_free(log_);
    close(writer);
    close(reader);
}

static void assert_line(const char *expected)
{
    proa_log_flush(log_, 5000);
    text_len = 0;
    read_text();
    assert_string_equal(text, expected);
}

static int setup_json(void **state)
{
    open_log((struct proa_log_options){.filter = "trace"});
    return 0;
}

static int setup_text(void **state)
{
    open_log((struct proa_log_options){.filter = "trace", .format = PROA_LOG_FORMAT_TEXT});
    return 0;
}

static int teardown(void **state)
{
    close_log();
    return 0;
}

#define HEAD "{\"time\":\"2026-01-02T03:04:05.678901Z\",\"level\":\"info\",\"target\":\"app\",\"message\":"

static void test_json_line(void **state)
{
    struct proa_trace_ids ids = {.trace_id = {1, 0xab}, .span_id = {2, 0xcd}};

    PROA_INFO(&logger, "listening");
    assert_line(HEAD "\"listening\"}\n");
    logger.ids = &ids;
    PROA_INFO(&logger, "m", proa_kv_c("s", "v"), proa_kv_u64("u", UINT64_MAX), proa_kv_i64("i", INT64_MIN),
              proa_kv_f64("f", 1.5), proa_kv_bool("t", true), proa_kv_bool("n", false), proa_kv_c("null", NULL));
    assert_line(HEAD "\"m\",\"trace_id\":\"01ab0000000000000000000000000000\",\"span_id\":\"02cd000000000000\","
                     "\"s\":\"v\",\"u\":18446744073709551615,\"i\":-9223372036854775808,\"f\":1.5,\"t\":true,"
                     "\"n\":false,\"null\":\"\"}\n");
}

static void test_numbers_that_json_lacks(void **state)
{
    PROA_INFO(&logger, "m", proa_kv_f64("a", NAN), proa_kv_f64("b", INFINITY), proa_kv_f64("c", -INFINITY));
    assert_line(HEAD "\"m\",\"a\":\"NaN\",\"b\":\"+Inf\",\"c\":\"-Inf\"}\n");
}

static void test_text_line(void **state)
{
    struct proa_trace_ids ids = {.trace_id = {1}, .span_id = {2}};

    PROA_WARN(&logger, "slow request", proa_kv_u64("ms", 12), proa_kv_c("path", "/a b"), proa_kv_c("user", "ann"),
              proa_kv_c("none", ""), proa_kv_c("eq", "a=b"));
    assert_line(
        "2026-01-02T03:04:05.678901Z WARN  app: slow request ms=12 path=\"/a b\" user=ann none=\"\" eq=\"a=b\"\n");
    logger.ids = &ids;
    PROA_INFO(&logger, "m", proa_kv_bool("x", true));
    assert_line("2026-01-02T03:04:05.678901Z INFO  app: m x=true trace_id=01000000000000000000000000000000 "
                "span_id=0200000000000000\n");
}

static void test_level_names(void **state)
{
    static const struct {
        int level;
        const char *name;
    } levels[] = {
        {PROA_LOG_TRACE, "trace"}, {4, "trace"},  {PROA_LOG_DEBUG, "debug"},
        {PROA_LOG_INFO, "info"},   {12, "info"},  {PROA_LOG_WARN, "warn"},
        {PROA_LOG_ERROR, "error"}, {24, "error"},
    };

    for (size_t i = 0; i < PROA_COUNT(levels); i++) {
        char expected[200];

        snprintf(expected, sizeof expected,
                 "{\"time\":\"2026-01-02T03:04:05.678901Z\",\"level\":\"%s\",\"message\":\"m\"}\n", levels[i].name);
        logger.target = NULL;
        proa_log_line(&logger, (enum proa_log_level)levels[i].level, PROA_STR("m"), NULL, 0);
        assert_line(expected);
    }
    proa_log_line(&logger, PROA_LOG_OFF, PROA_STR("m"), NULL, 0);
    assert_line("");
}

static void test_nothing_without_a_log(void **state)
{
    struct proa_logger none = {0};

    PROA_ERROR(&none, "m");
    PROA_ERROR((struct proa_logger *)NULL, "m");
    proa_log_line(&none, PROA_LOG_ERROR, PROA_STR("m"), NULL, 0);
    proa_log_failure(&none, PROA_LOG_ERROR, "m", NULL);
    assert_false(proa_log_enabled(NULL, PROA_LOG_ERROR));
    proa_log_free(NULL);
}

static void test_inherited_fields(void **state)
{
    struct proa_trace_ids ids = {.trace_id = {1}, .span_id = {2}}, absent = {0};
    const struct proa_kv of_app[] = {proa_kv_c("version", "1"), proa_kv_c("who", "app")};
    const struct proa_kv of_request[] = {proa_kv_u64("request", 7), proa_kv_c("who", "request")};
    struct proa_logger app = {.log = log_, .target = "app", .fields = of_app, .fields_count = 2, .ids = &ids};
    struct proa_logger middle = {.log = log_, .parent = &app};
    struct proa_logger request = {.log = log_, .parent = &middle, .fields = of_request, .fields_count = 2};

    PROA_INFO(&request, "m", proa_kv_bool("own", true));
    assert_line(HEAD "\"m\",\"trace_id\":\"01000000000000000000000000000000\",\"span_id\":\"0200000000000000\","
                     "\"version\":\"1\",\"request\":7,\"who\":\"request\",\"own\":true}\n");
    /* The nearest wins, also among a line's own, so that no key is twice. */
    request.ids = &absent;
    PROA_INFO(&request, "m", proa_kv_u64("request", 1), proa_kv_u64("request", 8));
    assert_line(HEAD "\"m\",\"version\":\"1\",\"who\":\"request\",\"request\":8}\n");
}

static void test_long_chains_of_loggers(void **state)
{
    struct proa_kv fields[40];
    struct proa_logger chain[40];
    static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"};

    for (int i = 0; i < 40; i++) {
        fields[i] = proa_kv_i64(keys[i % 10], i);
        chain[i] = (struct proa_logger){.log = log_, .fields = &fields[i], .fields_count = 1};
        if (i > 0)
            chain[i].parent = &chain[i - 1];
    }
    chain[0].target = "app";
    PROA_INFO(&chain[39], "m");
    assert_line(HEAD "\"m\",\"k0\":30,\"k1\":31,\"k2\":32,\"k3\":33,\"k4\":34,\"k5\":35,\"k6\":36,\"k7\":37,\"k8\":38,"
                     "\"k9\":39}\n");
}

static void test_a_field_cannot_pose_as_the_lines_own(void **state)
{
    PROA_INFO(&logger, "m", proa_kv_c("level", "error"), proa_kv_c("trace_id", "x"), proa_kv_c("a\"b", "x"));
    assert_line(HEAD "\"m\",\"field.level\":\"error\",\"field.trace_id\":\"x\",\"a\\\"b\":\"x\"}\n");
}

static void test_hostile_bytes_json(void **state)
{
    PROA_INFO(&logger, "a\"}\n{\"b\":1", proa_kv_c("k", "\x1b[2J\r\b\x7f\\"));
    assert_line(HEAD "\"a\\\"}\\n{\\\"b\\\":1\",\"k\":\"\\u001b[2J\\r\\u0008\\u007f\\\\\"}\n");
    /* Line separators, the terminal's C1 controls, right-to-left override, byte order mark, a tag. */
    PROA_INFO(&logger, "\xe2\x80\xa8\xe2\x80\xa9\xc2\x9b\xc2\x85\xe2\x80\xae\xef\xbb\xbf\xf3\xa0\x81\x81");
    assert_line(HEAD "\"\\u2028\\u2029\\u009b\\u0085\\u202e\\ufeff\\udb40\\udc41\"}\n");
    /* What is no UTF-8; and what is. */
    PROA_INFO(&logger, "\xff\xc0\xaf\xed\xa0\x80\xe2\x82|\xc3\xa9\xf0\x9f\x98\x80");
    assert_line(HEAD
                "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|"
                "\xc3\xa9\xf0\x9f\x98\x80\"}\n");
    proa_log_line(&logger, PROA_LOG_INFO, proa_str_n("a\0b", 3), NULL, 0);
    assert_line(HEAD "\"a\\u0000b\"}\n");
}

static void test_hostile_bytes_text(void **state)
{
    PROA_INFO(&logger, "a\nb\x1b[31m\xc2\x9b", proa_kv_c("k", "\x1b]0;t\x07"), proa_kv_c("q", "x\" y=1"));
    assert_line(
        "2026-01-02T03:04:05.678901Z INFO  app: a\\nb\\u001b[31m\\u009b k=\"\\u001b]0;t\\u0007\" q=\"x\\\" y=1\"\n");
    PROA_INFO(&logger, "login user=admin");
    assert_line("2026-01-02T03:04:05.678901Z INFO  app: \"login user=admin\"\n");
}

static void test_raw_json(void **state)
{
    struct proa_kv kv =
        proa_kv_json("j", PROA_STR("{\"a\": [1,\n\t2, {}], \"b\":\"\xe2\x80\xa8\x7f\\u00e9\", \"c\":-1.5e3}"));
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "{\"a\"}",
                                      "{\"a\":1,}",
                                      "[1,]",
                                      "nul",
                                      "01",
                                      "\"a",
                                      "\"\\x\"",
                                      "1 2",
                                      "{a:1}",
                                      "\"\\u12\"",
                                      "[1",
                                      "-",
                                      "\"\n\"",
                                      "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"};

    proa_log_line(&logger, PROA_LOG_INFO, PROA_STR("m"), &kv, 1);
    assert_line(HEAD "\"m\",\"j\":{\"a\": [1,  2, {}], \"b\":\"\\u2028\\u007f\\u00e9\", \"c\":-1.5e3}}\n");
    for (size_t i = 0; i < PROA_COUNT(bad); i++) {
        kv = proa_kv_json("j", proa_str_c(bad[i]));
        proa_log_line(&logger, PROA_LOG_INFO, PROA_STR("m"), &kv, 1);
        proa_log_flush(log_, 5000);
        text_len = 0;
        read_text();
        assert_non_null(strstr(text, "\"j\":\"")); /* as a string */
        assert_int_equal(proa_json_check(proa_str_n(text, text_len), NULL), 0);
    }
}

static void test_long_values_are_cut(void **state)
{
    char value[3000];
    const char *at;

    memset(value, 'x', sizeof value);
    proa_log_line(&logger, PROA_LOG_INFO, proa_str_n(value, sizeof value), NULL, 0);
    proa_log_flush(log_, 5000);
    read_text();
    assert_int_equal(proa_json_check(proa_str_n(text, text_len), NULL), 0);
    at = strstr(text, "xxx\xe2\x80\xa6(1976 bytes cut)\"}\n");
    assert_non_null(at);
    /* Escapes and characters are not cut in two. */
    for (size_t n = 1000; n < 1040; n++) {
        struct proa_kv kv = proa_kv_str("v", proa_str_n(value, n));

        memcpy(value + 1015, "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\x01\x01\x01\x01", 12);
        text_len = 0;
        proa_log_line(&logger, PROA_LOG_INFO, PROA_STR("m"), &kv, 1);
        proa_log_flush(log_, 5000);
        read_text();
        assert_int_equal(proa_json_check(proa_str_n(text, text_len), NULL), 0);
    }
}

static void fill_line(enum proa_log_format format)
{
    static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};
    char value[1000];

    open_log((struct proa_log_options){.filter = "trace", .format = format});
    memset(value, '"', sizeof value);
    /* Every length, so that every place of a value meets the line's end. */
    for (size_t n = 300; n < 1000; n++) {
        struct proa_kv kvs[8];

        for (size_t i = 0; i < 8; i++)
            kvs[i] = proa_kv_str(keys[i], proa_str_n(value, n / 2 + i));
        text_len = 0;
        proa_log_line(&logger, PROA_LOG_INFO, PROA_STR("m"), kvs, 8);
        proa_log_flush(log_, 5000);
        read_text();
        assert_true(text_len <= LINE_MAX_BYTES);
        assert_int_equal(text[text_len - 1], '\n');
        if (format == PROA_LOG_FORMAT_JSON)
            assert_int_equal(proa_json_check(proa_str_n(text, text_len), NULL), 0);
    }
    assert_non_null(strstr(text, "log.truncated"));
    close_log();
}

static void test_full_lines(void **state)
{
    fill_line(PROA_LOG_FORMAT_JSON);
    fill_line(PROA_LOG_FORMAT_TEXT);
}

static void test_failure(void **state)
{
    struct proa_error err = {0};

    proa_fail_errno(&err, ENOSPC, "writing \"x\"");
    proa_log_failure(&logger, PROA_LOG_ERROR, "saving", &err);
    proa_log_flush(log_, 5000);
    read_text();
    assert_non_null(
        strstr(text, "\"level\":\"error\",\"target\":\"app\",\"message\":\"saving\",\"error\":\"writing \\\"x\\\": "));
    assert_non_null(strstr(text, "\"error.type\":\"PROA_E"));
    assert_non_null(strstr(text, "\"error.errno\":28}\n"));
    text_len = 0;
    err = (struct proa_error){.code = PROA_EVALIDATION, .pointer = "/name"};
    proa_log_failure(&logger, PROA_LOG_ERROR, "saving", &err);
    proa_log_failure(&logger, PROA_LOG_ERROR, "saving", NULL);
    proa_log_flush(log_, 5000);
    read_text();
    assert_non_null(strstr(text, "\"error\":\"\",\"error.type\":\"PROA_EVALIDATION\",\"error.pointer\":\"/name\"}\n"));
    assert_non_null(strstr(text, "\"message\":\"saving\"}\n"));
}

static unsigned evaluated;

static struct proa_kv evaluate(void)
{
    evaluated++;
    return proa_kv_u64("n", evaluated);
}

static void test_filter_at_run_time(void **state)
{
    struct proa_logger db = {.log = log_, .target = "db.pg"};
    struct proa_error err = {0};

    assert_int_equal(proa_log_set_filter(log_, "warn,db=debug", NULL), 0);
    PROA_INFO(&logger, "hidden", evaluate());
    assert_int_equal(evaluated, 0);
    PROA_DEBUG(&db, "shown", evaluate());
    assert_int_equal(evaluated, 1);
    assert_line(
        "{\"time\":\"2026-01-02T03:04:05.678901Z\",\"level\":\"debug\",\"target\":\"db.pg\",\"message\":\"shown\","
        "\"n\":1}\n");
    assert_int_equal(proa_log_set_filter(log_, "warn,db=nonsense", &err), PROA_EINVAL);
    assert_true(proa_log_enabled(&db, PROA_LOG_DEBUG));
    assert_false(proa_log_enabled(&logger, PROA_LOG_INFO));
    assert_int_equal(proa_log_set_filter(log_, NULL, NULL), 0);
    assert_true(proa_log_enabled(&logger, PROA_LOG_INFO));
    assert_false(proa_log_enabled(&db, PROA_LOG_DEBUG));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(proa_log_set_filter(log_, i % 2 ? "off" : "trace", NULL), 0);
    assert_false(proa_log_enabled(&logger, PROA_LOG_ERROR));
}

static void test_a_bad_filter_makes_no_log(void **state)
{
    struct proa_log *none = NULL;
    struct proa_error err = {0};

    assert_int_equal(proa_log_new(&(struct proa_log_options){.filter = "loud"}, &none, &err), PROA_EINVAL);
    assert_null(none);
    assert_non_null(strstr(err.message, "\"loud\" is not a level"));
}

/* A quiet log over a small ring: every place of the ring's end, many rounds, all lines whole. */
static void test_lines_wrap_in_the_ring(void **state)
{
    char value[1000];
    size_t lines = 0;

    open_log((struct proa_log_options){.queue_bytes = 1});
    memset(value, 'v', sizeof value);
    for (size_t i = 0; i < 3000; i++) {
        struct proa_kv kv = proa_kv_str("v", proa_str_n(value, i * 7 % sizeof value));
        char expected[1300];

        snprintf(expected, sizeof expected, HEAD "\"m\",\"v\":\"%.*s\"}\n", (int)(i * 7 % sizeof value), value);
        proa_log_line(&logger, PROA_LOG_INFO, PROA_STR("m"), &kv, 1);
        assert_line(expected);
        lines++;
    }
    assert_int_equal(proa_log_dropped(log_), 0);
    assert_int_equal(lines, 3000);
    close_log();
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static size_t count_lines(const char *with)
{
    size_t count = 0;

    for (const char *at = text; (at = strstr(at, with)); at++)
        count++;
    return count;
}

static uint64_t count_told(void)
{
    uint64_t told = 0;

    for (const char *at = text; (at = strstr(at, "\"lines\":")); at++)
        told += strtoull(at + 8, NULL, 10);
    return told;
}

static void test_a_reader_that_stands_still(void **state)
{
    enum { LINES = 5000 };
    int64_t began;
    uint64_t told = 0;

    open_log((struct proa_log_options){.queue_bytes = 64 * 1024});
    began = now_ms();
    for (int i = 0; i < LINES; i++)
        PROA_INFO(&logger, "unread", proa_kv_i64("i", i));
    proa_log_flush(log_, 50);
    assert_true(now_ms() - began < 5000); /* nobody waited for the reader */
    assert_true(proa_log_dropped(log_) > 0);
    /* It goes on: what was queued comes, and then how much was lost. */
    for (int i = 0; i < 250 && count_lines("unread") + told < LINES; i++) {
        usleep(20 * 1000);
        read_text();
        told = count_told();
    }
    assert_int_equal(told, proa_log_dropped(log_));
    assert_int_equal(count_lines("unread") + told, LINES);
    assert_non_null(strstr(text, "\"level\":\"warn\",\"target\":\"log\",\"message\":\"lines were lost\""));
    text_len = 0;
    PROA_INFO(&logger, "again");
    assert_line(HEAD "\"again\"}\n");
    close_log();
}

static void test_free_does_not_wait_for_ever(void **state)
{
    int64_t began;

    open_log((struct proa_log_options){0});
    for (int i = 0; i < 3000; i++)
        PROA_INFO(&logger, "unread");
    began = now_ms();
    proa_log_free(log_);
    assert_true(now_ms() - began >= 900);
    assert_true(now_ms() - began < 3000);
    close(writer);
    close(reader);
}

static void test_free_writes_what_waits(void **state)
{
    open_log((struct proa_log_options){0});
    for (int i = 0; i < 300; i++)
        PROA_INFO(&logger, "last words");
    proa_log_free(log_);
    read_text();
    assert_int_equal(count_lines("last words"), 300);
    close(writer);
    close(reader);
}

static void test_flush_gives_up(void **state)
{
    int64_t began;

    open_log((struct proa_log_options){0});
    for (int i = 0; i < 3000; i++)
        PROA_INFO(&logger, "unread");
    began = now_ms();
    proa_log_flush(log_, 100);
    assert_true(now_ms() - began >= 95);
    assert_true(now_ms() - began < 2000);
    close(reader); /* gone: the rest is lost, the end is quick */
    began = now_ms();
    proa_log_free(log_);
    assert_true(now_ms() - began < 900);
    close(writer);
}

static void test_a_reader_that_is_gone(void **state)
{
    signal(SIGPIPE, SIG_DFL);
    for (int synchronous = 0; synchronous < 2; synchronous++) {
        sigset_t pending;

        open_log((struct proa_log_options){.synchronous = synchronous});
        close(reader);
        for (int i = 0; i < 100; i++) {
            PROA_INFO(&logger, "into the void");
            if (i % 10 == 0)
                proa_log_flush(log_, 1000);
        }
        proa_log_flush(log_, 1000);
        assert_int_equal(proa_log_dropped(log_), 100);
        sigpending(&pending);
        assert_false(sigismember(&pending, SIGPIPE));
        proa_log_free(log_);
        close(writer);
    }
}

static void test_a_pending_sigpipe_of_others_stays(void **state)
{
    sigset_t pipe_set, old, pending;

    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
    pthread_kill(pthread_self(), SIGPIPE);
    open_log((struct proa_log_options){.synchronous = true});
    close(reader);
    PROA_INFO(&logger, "into the void");
    sigpending(&pending);
    assert_true(sigismember(&pending, SIGPIPE));
    sigtimedwait(&pipe_set, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    proa_log_free(log_);
    close(writer);
}

static void test_a_full_disk(void **state)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        skip();
    open_log((struct proa_log_options){.fd = fd});
    for (int i = 0; i < 10; i++)
        PROA_INFO(&logger, "nowhere");
    proa_log_flush(log_, 1000);
    assert_int_equal(proa_log_dropped(log_), 10);
    proa_log_free(log_);
    close(fd);
}

static void test_files_and_sockets(void **state)
{
    char path[] = "/tmp/proa-log-XXXXXX";
    int fds[2], fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    open_log((struct proa_log_options){.fd = fd});
    for (int i = 0; i < 1000; i++)
        PROA_INFO(&logger, "to a file", proa_kv_i64("i", i));
    proa_log_free(log_);
    text_len = (size_t)pread(fd, text, sizeof text - 1, 0);
    text[text_len] = '\0';
    assert_int_equal(count_lines("to a file"), 1000);
    assert_non_null(strstr(text, "\"i\":999}\n"));
    close(fd);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    reader = fds[0];
    open_log((struct proa_log_options){.fd = fds[1]});
    PROA_INFO(&logger, "to a socket");
    assert_line(HEAD "\"to a socket\"}\n");
    for (int i = 0; i < 3000; i++)
        PROA_INFO(&logger, "unread");
    close(reader);
    proa_log_free(log_);
    close(fds[1]);
}

static void test_synchronous(void **state)
{
    open_log((struct proa_log_options){.synchronous = true});
    PROA_INFO(&logger, "now");
    read_text();
    assert_string_equal(text, HEAD "\"now\"}\n");
    proa_log_flush(log_, 1000);
    close_log();
}

static void test_the_writer_may_start_later(void **state)
{
    int64_t began;

    open_log((struct proa_log_options){.synchronous = true});
    PROA_INFO(&logger, "first");
    assert_int_equal(proa_log_start_writer(log_, NULL), 0);
    assert_int_equal(proa_log_start_writer(log_, NULL), 0);
    PROA_INFO(&logger, "second");
    assert_line(HEAD "\"first\"}\n" HEAD "\"second\"}\n");
    began = now_ms();
    for (int i = 0; i < 3000; i++) /* more than a pipe takes: nobody waits any more */
        PROA_INFO(&logger, "unread");
    assert_true(now_ms() - began < 5000);
    close(reader);
    proa_log_free(log_);
    close(writer);
}

/* More than a pipe or a socket takes while nobody reads: the alarm ends a call that waits for a reader. */
static void log_more_than_is_taken(void)
{
    alarm(20);
    for (int i = 0; i < 3000; i++)
        PROA_INFO(&logger, "unread", proa_kv_i64("i", i));
    alarm(0);
    for (int i = 0; i < 250 && count_lines("unread") < 3000; i++) {
        usleep(20 * 1000);
        read_text();
    }
    assert_int_equal(count_lines("unread"), 3000);
}

/* The thread that logs would wait for this one, for ever. */
static void test_a_reader_that_stands_still_before_the_writer_starts(void **state)
{
    int fds[2];

    open_log((struct proa_log_options){.late_writer = true});
    PROA_INFO(&logger, "first");
    read_text();
    assert_string_equal(text, HEAD "\"first\"}\n"); /* in the caller's thread */
    log_more_than_is_taken();
    assert_true(strstr(text, "\"i\":0}\n") < strstr(text, "\"i\":1500}\n"));
    assert_true(strstr(text, "\"i\":1500}\n") < strstr(text, "\"i\":2999}\n"));
    assert_int_equal(proa_log_start_writer(log_, NULL), 0); /* again is harmless */
    close_log();

    /* A socket takes part of a line: the rest follows, before the next. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    reader = fds[0];
    writer = fds[1];
    open_log((struct proa_log_options){.fd = writer, .late_writer = true});
    text[0] = '\0';
    log_more_than_is_taken();
    assert_int_equal(text_len, strlen(text));
    assert_string_equal(text + text_len - strlen("\"i\":2999}\n"), "\"i\":2999}\n");
    close_log();
}

static void test_a_terminal_gets_text_with_colour(void **state)
{
    int terminal, own = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (own < 0 || grantpt(own) < 0 || unlockpt(own) < 0)
        skip();
    terminal = open(ptsname(own), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0);
    reader = own;
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    open_log((struct proa_log_options){.fd = terminal});
    PROA_ERROR(&logger, "m", proa_kv_u64("n", 1));
    assert_line("\x1b[2m2026-01-02T03:04:05.678901Z\x1b[0m \x1b[31mERROR\x1b[0m app: m \x1b[2mn=\x1b[0m1\r\n");
    proa_log_free(log_);
    setenv("NO_COLOR", "1", 1);
    open_log((struct proa_log_options){.fd = terminal});
    PROA_ERROR(&logger, "m", proa_kv_u64("n", 1));
    assert_line("2026-01-02T03:04:05.678901Z ERROR app: m n=1\r\n");
    proa_log_free(log_);
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    open_log((struct proa_log_options){.fd = terminal, .synchronous = true});
    PROA_ERROR(&logger, "m");
    assert_line("2026-01-02T03:04:05.678901Z ERROR app: m\r\n");
    proa_log_free(log_);
    close(terminal);
    close(own);
}

/* Many writers and one who changes the filter and one who flushes. */
enum { THREADS = 4, LINES_EACH = 20000 };

static _Atomic unsigned writing;

static void *write_lines(void *arg)
{
    struct proa_logger own = {.log = log_, .target = "many"};

    for (int i = 0; i < LINES_EACH; i++)
        PROA_ERROR(&own, "m", proa_kv_u64("thread", (uint64_t)(uintptr_t)arg), proa_kv_i64("i", i));
    atomic_fetch_sub(&writing, 1);
    return NULL;
}

static void *meddle(void *arg)
{
    for (unsigned i = 0; atomic_load(&writing) > 0; i++) {
        assert_int_equal(proa_log_set_filter(log_, i % 2 ? "info,many=debug" : "error,x=off", NULL), 0);
        proa_log_flush(log_, 1);
    }
    return NULL;
}

static void *read_all(void *arg)
{
    ssize_t got;

    while (text_len < sizeof text - 1 && (got = read(reader, text + text_len, sizeof text - 1 - text_len)) > 0)
        text_len += (size_t)got;
    text[text_len] = '\0';
    return NULL;
}

static void check_order(uint64_t *ret_lines, uint64_t *ret_lost)
{
    int last[THREADS] = {-1, -1, -1, -1};

    for (char *line = text, *end; *line; line = end + 1) {
        unsigned thread;
        int number;
        unsigned long long lost;

        end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        if (sscanf(line,
                   "{\"time\":\"2026-01-02T03:04:05.678901Z\",\"level\":\"error\",\"target\":\"many\",\"message\":"
                   "\"m\",\"thread\":%u,\"i\":%d}",
                   &thread, &number) == 2) {
            assert_true(thread < THREADS);
            assert_true(number > last[thread]);
            last[thread] = number;
            ++*ret_lines;
        } else {
            assert_int_equal(sscanf(line,
                                    "{\"time\":\"2026-01-02T03:04:05.678901Z\",\"level\":\"warn\",\"target\":\"log\","
                                    "\"message\":\"lines were lost\",\"lines\":%llu}",
                                    &lost),
                             1);
            *ret_lost += lost;
        }
    }
}

static void test_many_writers(void **state)
{
    pthread_t threads[THREADS], meddler, drain;
    uint64_t lines = 0, lost = 0, dropped;

    open_log((struct proa_log_options){.queue_bytes = 32 * 1024});
    atomic_store(&writing, THREADS);
    assert_int_equal(pthread_create(&drain, NULL, read_all, NULL), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, (void *)i), 0);
    assert_int_equal(pthread_create(&meddler, NULL, meddle, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_join(meddler, NULL);
    dropped = proa_log_dropped(log_);
    proa_log_free(log_);
    close(writer);
    pthread_join(drain, NULL);
    close(reader);
    check_order(&lines, &lost);
    assert_int_equal(lost, dropped);
    assert_int_equal(lines + lost, THREADS * LINES_EACH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_json_line, setup_json, teardown),
        cmocka_unit_test_setup_teardown(test_numbers_that_json_lacks, setup_json, teardown),
        cmocka_unit_test_setup_teardown(test_text_line, setup_text, teardown),
        cmocka_unit_test_setup_teardown(test_level_names, setup_json, teardown),
        cmocka_unit_test(test_nothing_without_a_log),
        cmocka_unit_test_setup_teardown(test_inherited_fields, setup_json, teardown),
        cmocka_unit_test_setup_teardown(test_long_chains_of_loggers, setup_json, teardown),
        cmocka_unit_test_setup_teardown(test_a_field_cannot_pose_as_the_lines_own, setup_json, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_bytes_json, setup_json, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_bytes_text, setup_text, teardown),
        cmocka_unit_test_setup_teardown(test_raw_json, setup_json, teardown),
        cmocka_unit_test_setup_teardown(test_long_values_are_cut, setup_json, teardown),
        cmocka_unit_test(test_full_lines),
        cmocka_unit_test_setup_teardown(test_failure, setup_json, teardown),
        cmocka_unit_test_setup_teardown(test_filter_at_run_time, setup_json, teardown),
        cmocka_unit_test(test_a_bad_filter_makes_no_log),
        cmocka_unit_test(test_lines_wrap_in_the_ring),
        cmocka_unit_test(test_a_reader_that_stands_still),
        cmocka_unit_test(test_free_does_not_wait_for_ever),
        cmocka_unit_test(test_free_writes_what_waits),
        cmocka_unit_test(test_flush_gives_up),
        cmocka_unit_test(test_a_reader_that_is_gone),
        cmocka_unit_test(test_a_pending_sigpipe_of_others_stays),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_files_and_sockets),
        cmocka_unit_test(test_synchronous),
        cmocka_unit_test(test_the_writer_may_start_later),
        cmocka_unit_test(test_a_reader_that_stands_still_before_the_writer_starts),
        cmocka_unit_test(test_a_terminal_gets_text_with_colour),
        cmocka_unit_test(test_many_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Fuzzes log lines: any bytes in message, keys' order and values give exactly one line, which is valid JSON in one format
 * and has no control bytes in either. The first byte gives the kinds of fields, the second cuts the input into pieces. */
#include "fuzz.h"

#include <fcntl.h>
#include <proa/json.h>
#include <proa/log.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIELDS = 4, LINE_MAX_BYTES = 4096 };

struct sink {
    struct proa_log *log;
    int fds[2];
};

static void sink_open(struct sink *sink, enum proa_log_format format)
{
    struct proa_log_options options = {.format = format, .synchronous = true};

    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sink->fds) == 0); /* keeps the borders of writes */
    options.fd = sink->fds[0];
    must(proa_log_new(&options, &sink->log, NULL) == 0);
}

static proa_str take_piece(proa_str *rest, size_t bytes)
{
    proa_str piece = proa_str_slice(*rest, 0, bytes);

    *rest = proa_str_slice(*rest, bytes, rest->len);
    return piece;
}

static size_t read_line(struct sink *sink, char *line)
{
    ssize_t len = recv(sink->fds[1], line, LINE_MAX_BYTES + 1, MSG_DONTWAIT);

    must(len > 0 && len <= LINE_MAX_BYTES);
    must(recv(sink->fds[1], line + len, 1, MSG_DONTWAIT) < 0); /* one write, one line */
    must(line[len - 1] == '\n');
    for (ssize_t i = 0; i < len - 1; i++)
        must((unsigned char)line[i] >= 0x20 && line[i] != 0x7f);
    must(proa_utf8_valid(proa_str_n(line, (size_t)len)));
    return (size_t)len;
}

static void check_text(proa_str line)
{
    while (line.len > 0) {
        uint32_t code;
        size_t len = proa_utf8_next(line, &code);

        must(len > 0 && !(code >= 0x80 && code < 0xa0) && code != 0x2028 && code != 0x2029 && code != 0x202e);
        line = proa_str_n(line.ptr + len, line.len - len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sink json, text; /* made once */
    static const char *const keys[] = {"a", "time", "b.c", "a"};
    proa_str rest = proa_str_n((const char *)data, size), message;
    struct proa_kv fields[FIELDS];
    struct proa_logger logger = {.target = "fuzz"};
    char line[LINE_MAX_BYTES + 2];
    size_t len;

    if (!json.log) {
        sink_open(&json, PROA_LOG_FORMAT_JSON);
        sink_open(&text, PROA_LOG_FORMAT_TEXT);
    }
    if (size < 2)
        return 0;
    rest = proa_str_slice(rest, 2, rest.len);
    message = take_piece(&rest, data[1] & 0x0f ? rest.len / 5 : 0);
    for (int i = 0; i < FIELDS; i++) {
        proa_str piece = take_piece(&rest, i == FIELDS - 1 ? rest.len : (size_t)(data[1] >> 4) * 64 + rest.len / 8);

        fields[i] = data[0] >> i & 1 ? proa_kv_json(keys[i], piece) : proa_kv_str(keys[i], piece);
    }
    logger.log = json.log;
    proa_log_line(&logger, PROA_LOG_INFO, message, fields, FIELDS);
    len = read_line(&json, line);
    must(line[len - 2] == '}');
    must(proa_json_check(proa_str_n(line, len), NULL) == 0 ||
         (data[0] & 15)); /* raw JSON may have keys twice, or depth */
    check_text(proa_str_n(line, len - 1));
    logger.log = text.log;
    proa_log_line(&logger, PROA_LOG_INFO, message, fields, FIELDS);
    len = read_line(&text, line);
    check_text(proa_str_n(line, len - 1));
    return 0;
}

/* Answers as handlers give them. */
#include "req_internal.h"

#include "problem.h"
#include "server_internal.h"

#include <assert.h>
#include <proa/json.h>
#include <stdio.h>
#include <string.h>

static bool value_valid(proa_str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool name_valid(proa_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!h1_is_token_char((unsigned char)name.ptr[i]))
            return false;
    return name.len > 0;
}

static int add_field(struct proa_req *req, struct proa_buf *out, const char *name, proa_str value)
{
    static const char *const reserved[] = {"content-length", "transfer-encoding", "connection", "date",
                                           "keep-alive",     "upgrade",           "trailer"};
    proa_str text = proa_str_c(name);
    int rc;

    value = proa_str_trim(value);
    if (!name_valid(text) || !value_valid(value))
        return proa_fail(&req->error, PROA_EINVAL, "the header field %s has a bad name or value", name);
    for (size_t i = 0; i < PROA_COUNT(reserved); i++)
        if (proa_str_eq_nocase(text, proa_str_c(reserved[i])))
            return proa_fail(&req->error, PROA_EINVAL, "the header field %s is the server's", name);
    if (!out->arena)
        proa_buf_init(out, &req->arena, REPLY_HEADERS_MAX_BYTES);
    /* A field that has no room is left out whole: half of one would break the head of whatever is answered. */
    rc = proa_buf_reserve(out, text.len + 2 + value.len + 2);
    if (rc < 0) {
        out->error = 0;
        if (rc != PROA_ETOOLARGE)
            return proa_fail(&req->error, rc, "memory is out");
        return proa_fail(&req->error, PROA_EINTERNAL, "the answer's fields are larger than %d bytes",
                         REPLY_HEADERS_MAX_BYTES);
    }
    proa_buf_add(out, text);
    proa_buf_add(out, PROA_STR(": "));
    proa_buf_add(out, value);
    proa_buf_add(out, PROA_STR("\r\n"));
    return 0;
}

int proa_reply_header(struct proa_req *req, const char *name, proa_str value)
{
    if (req->status)
        return proa_fail(&req->error, PROA_EINTERNAL, "a header field after the answer has begun");
    return add_field(req, &req->headers, name, value);
}

int proa_reply_trailer(struct proa_req *req, const char *name, proa_str value)
{
    if (req->reply != REPLY_STREAMING)
        return proa_fail(&req->error, PROA_EINTERNAL, "trailers belong to streamed answers");
    return add_field(req, &req->trailers_out, name, value);
}

/* One answer a request. */
static int claim(struct proa_req *req, int status)
{
    if (req->status)
        return proa_fail(&req->error, PROA_EINTERNAL, "a second answer was given");
    if (status < 200 || status > 599)
        return proa_fail(&req->error, PROA_EINTERNAL, "%d is no status of an answer", status);
    req->status = status;
    req->headless = req->method == PROA_HEAD || status == 204 || status == 304;
    return 0;
}

static int reply(struct proa_req *req, int status, const char *content_type, proa_str body)
{
    PROA_TRY(claim(req, status));
    return conn_reply(req, content_type, body);
}

/* A type from outside may end the head early. */
static int check_type(struct proa_req *req, const char *content_type)
{
    if (content_type && !value_valid(proa_str_c(content_type)))
        return proa_fail(&req->error, PROA_EINVAL, "the content type has bad characters");
    return 0;
}

int proa_reply(struct proa_req *req, int status, const char *content_type, proa_str body)
{
    PROA_TRY(check_type(req, content_type));
    return reply(req, status, content_type, body);
}

int proa_reply_empty(struct proa_req *req, int status)
{
    return reply(req, status, NULL, proa_str_n("", 0));
}

int proa_reply_text(struct proa_req *req, int status, proa_str text)
{
    return reply(req, status, "text/plain; charset=utf-8", text);
}

int proa_reply_json_text(struct proa_req *req, int status, proa_str json)
{
    return reply(req, status, "application/json", json);
}

/* The conversions that nearly all formats are made of (%s, %.*s, and whole numbers without width), several times as quick as
 * the C library does them. @returns the length, or -1 for what it does not know or what does not fit. */
static int format_plain(char *out, size_t bytes, const char *format, va_list args)
{
    size_t len = 0;

    for (; *format; format++) {
        bool is_long = false;
        proa_str text;

        if (bytes - len <= PROA_I64_TEXT_MAX)
            return -1;
        if (*format != '%') {
            out[len++] = *format;
            continue;
        }
        format++;
        for (; *format == 'l' || *format == 'z'; format++)
            is_long = true;
        switch (*format) {
        case 'd': len += proa_i64_text(is_long ? va_arg(args, long) : va_arg(args, int), out + len); continue;
        case 'u':
            len += proa_u64_text(is_long ? va_arg(args, unsigned long) : va_arg(args, unsigned), out + len);
            continue;
        case 's':
            if (is_long)
                return -1;
            text = proa_str_c(va_arg(args, const char *));
            break;
        case '.':
            if (is_long || format[1] != '*' || format[2] != 's')
                return -1;
            format += 2;
            text.len = (size_t)va_arg(args, int);
            text.ptr = va_arg(args, const char *);
            break;
        default: return -1;
        }
        if (text.len > bytes - len || !text.ptr)
            return -1;
        memcpy(out + len, text.ptr, text.len);
        len += text.len;
    }
    return (int)len;
}

_Static_assert(sizeof(long) == sizeof(long long) && sizeof(long) == sizeof(size_t),
               "of one size where format_plain takes them as one");

int proa_reply_printf(struct proa_req *req, int status, const char *format, ...)
{
    char local[512] __attribute__((uninitialized));
    va_list args;
    proa_str text;
    int len;

    va_start(args, format);
    len = format_plain(local, sizeof local, format, args);
    va_end(args);
    if (len >= 0)
        return proa_reply_text(req, status, proa_str_n(local, (size_t)len));
    va_start(args, format);
    text = proa_arena_vprintf(&req->arena, format, args);
    va_end(args);
    return text.ptr ? proa_reply_text(req, status, text) : PROA_ENOMEM;
}

struct proa_buf *proa_reply_body(struct proa_req *req)
{
    if (!req->body_out.arena)
        proa_buf_init(&req->body_out, &req->arena, 0);
    return &req->body_out;
}

int proa_reply_buffer(struct proa_req *req, int status, const char *content_type)
{
    PROA_TRY(req->body_out.error);
    return proa_reply(req, status, content_type, proa_buf_str(&req->body_out));
}

int proa_reply_json_type(struct proa_req *req, int status, const struct proa_type *type, const void *value)
{
    struct proa_buf *out = proa_reply_body(req);

    proa_buf_clear(out);
    PROA_TRY(proa_json_write_type(out, PROA_JSON_OUTPUT, type, value));
    return proa_reply_buffer(req, status, "application/json");
}

static int status_of(const struct proa_req *req, int code)
{
    if (req->forced_status)
        return req->forced_status;
    return req->body_status && code == req->body_error ? req->body_status : problem_status(code);
}

void reply_failure(struct proa_req *req, int status, const struct proa_error *err)
{
    struct proa_buf out;
    char seconds[PROA_U64_TEXT_MAX];
    uint32_t retry_after_s = err->retry_after_s;

    if (req->status)
        return;
    if (status == 0)
        status = status_of(req, err->code);
    if (retry_after_s == 0 && problem_is_retryable(err->code))
        retry_after_s = 1;
    if (retry_after_s)
        proa_ignore(proa_reply_header(req, "Retry-After", proa_str_n(seconds, proa_u64_text(retry_after_s, seconds))));
    proa_buf_init(&out, &req->arena, 0);
    problem_write(&out, status, err, req->path);
    proa_ignore(claim(req, status)); /* of a status that is ours */
    proa_ignore(conn_reply(req, "application/problem+json",
                           out.error ? PROA_STR("{\"type\":\"about:blank\"}") : proa_buf_str(&out)));
}

int proa_reply_problem(struct proa_req *req, const struct proa_error *err)
{
    if (req->status)
        return proa_fail(&req->error, PROA_EINTERNAL, "a second answer was given");
    reply_failure(req, 0, err);
    return 0;
}

int proa_reply_begin(struct proa_req *req, int status, const char *content_type, int64_t content_length)
{
    PROA_TRY(check_type(req, content_type));
    PROA_TRY(claim(req, status));
    return conn_reply_begin(req, content_type, content_length);
}

int proa_reply_write(struct proa_req *req, proa_str piece)
{
    if (req->reply != REPLY_STREAMING)
        return PROA_ECLOSED;
    PROA_TRY(conn_reply_write(req, piece));
    return conn_wait_writable(req, WRITE_QUEUE_HIGH_BYTES);
}

int proa_reply_end(struct proa_req *req)
{
    if (req->reply != REPLY_STREAMING)
        return req->reply == REPLY_COMPLETE ? 0 : PROA_ECLOSED;
    return conn_reply_end(req);
}

int proa_reply_status(const struct proa_req *req)
{
    return req->status;
}

uint64_t proa_reply_bytes(const struct proa_req *req)
{
    return req->reply_bytes;
}

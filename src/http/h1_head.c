/* Heads: the request line, and what the fields mean for the message. */
#include "h1.h"

#include <assert.h>

size_t h1_parser_bytes(const struct h1_limits *limits)
{
    return sizeof(struct h1_parser) + limits->fields * sizeof(struct h1_field);
}

enum h1_event h1_fail(struct h1_parser *parser, unsigned status, const char *text)
{
    parser->phase = H1_FAILED;
    parser->status = (uint16_t)status;
    parser->text = text;
    return H1_ERROR;
}

static struct h1_parser *of(llhttp_t *llhttp)
{
    return PROA_CONTAINER(llhttp, struct h1_parser, llhttp);
}

/* Callbacks of llhttp. Pieces of a name or value follow each other in the section, wherever calls cut them. */
static int on_field_name(llhttp_t *llhttp, const char *at, size_t len)
{
    struct h1_parser *parser = of(llhttp);
    struct h1_field *field;

    if (!parser->in_name) {
        parser->in_name = true;
        parser->fields_count++;
        if (parser->fields_count > parser->limits->fields)
            return 0;
        field = &parser->fields[parser->fields_count - 1];
        field->name = (struct h1_span){(uint32_t)(at - parser->base), 0};
        field->value = (struct h1_span){0, 0};
    }
    if (parser->fields_count <= parser->limits->fields)
        parser->fields[parser->fields_count - 1].name.len += (uint32_t)len;
    return 0;
}

/* One too many is known when its name is whole: pieces of a name come as the input is cut, a name that is none not at
 * all. */
static int on_field_name_end(llhttp_t *llhttp)
{
    struct h1_parser *parser = of(llhttp);

    parser->in_name = false;
    if (parser->fields_count <= parser->limits->fields)
        return 0;
    parser->limit = H1_LIMIT_FIELDS;
    return HPE_USER;
}

static int on_field_value(llhttp_t *llhttp, const char *at, size_t len)
{
    struct h1_parser *parser = of(llhttp);
    struct h1_span *value = &parser->fields[parser->fields_count - 1].value;

    if (value->len == 0)
        value->at = (uint32_t)(at - parser->base);
    value->len = (uint32_t)(at - parser->base) + (uint32_t)len - value->at;
    return 0;
}

static int on_fields_end(llhttp_t *llhttp)
{
    llhttp->upgrade = 0; /* nothing is upgraded to: such requests are plain ones */
    return HPE_PAUSED;
}

static int on_extension(llhttp_t *llhttp, const char *at, size_t len)
{
    (void)at;
    of(llhttp)->extension_bytes += len;
    return 0;
}

static int on_body_piece(llhttp_t *llhttp, const char *at, size_t len)
{
    of(llhttp)->piece = proa_str_n(at, len);
    return HPE_PAUSED;
}

static int on_chunk_begin(llhttp_t *llhttp)
{
    of(llhttp)->chunk_begun = true;
    return HPE_PAUSED;
}

static int on_message_end(llhttp_t *llhttp)
{
    of(llhttp)->ended = true;
    return HPE_PAUSED;
}

const llhttp_settings_t h1_settings = {
    .on_header_field = on_field_name,
    .on_header_field_complete = on_field_name_end,
    .on_header_value = on_field_value,
    .on_headers_complete = on_fields_end,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_body = on_body_piece,
    .on_chunk_header = on_chunk_begin,
    .on_message_complete = on_message_end,
};

void h1_init(struct h1_parser *parser, const struct h1_limits *limits)
{
    /* llhttp reads fields and what follows them. It is shown a request line on which nothing depends, and begins each
     * message behind it. */
    static const char line[] = "POST / HTTP/1.1\r\n";
    llhttp_errno_t code;

    memset(parser, 0, sizeof *parser);
    parser->limits = limits;
    llhttp_init(&parser->behind_line, HTTP_REQUEST, &h1_settings);
    code = llhttp_execute(&parser->behind_line, line, sizeof line - 1);
    assert(code == HPE_OK);
    (void)code;
}

void h1_start(struct h1_parser *parser, bool blank)
{
    memset(&parser->base, 0, offsetof(struct h1_parser, fields) - offsetof(struct h1_parser, base));
    parser->phase = blank ? H1_AT_METHOD : H1_AT_START;
}

bool h1_is_blank(const struct h1_parser *parser)
{
    return (parser->phase == H1_AT_METHOD && parser->parsed == parser->method_text.at) || parser->phase == H1_AT_START;
}

/* Methods. */
enum proa_method h1_method_of(proa_str text)
{
    switch (text.len) {
    case 3:
        if (memcmp(text.ptr, "GET", 3) == 0)
            return PROA_GET;
        return memcmp(text.ptr, "PUT", 3) == 0 ? PROA_PUT : PROA_METHOD_OTHER;
    case 4:
        if (memcmp(text.ptr, "POST", 4) == 0)
            return PROA_POST;
        return memcmp(text.ptr, "HEAD", 4) == 0 ? PROA_HEAD : PROA_METHOD_OTHER;
    case 5: return memcmp(text.ptr, "PATCH", 5) == 0 ? PROA_PATCH : PROA_METHOD_OTHER;
    case 6: return memcmp(text.ptr, "DELETE", 6) == 0 ? PROA_DELETE : PROA_METHOD_OTHER;
    case 7: return memcmp(text.ptr, "OPTIONS", 7) == 0 ? PROA_OPTIONS : PROA_METHOD_OTHER;
    default: return PROA_METHOD_OTHER;
    }
}

/* The request line, RFC 9112 section 3, byte by byte: exactly one space between its parts. */
static const char version_prefix[] = "HTTP/";

enum { VERSION_BYTES = 8 };

/* One byte of the version, the index-th. @returns H1_ERROR, or H1_MORE. */
static enum h1_event version_byte(struct h1_parser *parser, uint32_t index, char c)
{
    if (index < sizeof version_prefix - 1)
        return c == version_prefix[index] ? H1_MORE : h1_fail(parser, 400, "the request line is malformed");
    if (index == 6)
        return c == '.' ? H1_MORE : h1_fail(parser, 400, "the request line is malformed");
    if (index < VERSION_BYTES) {
        if (c < '0' || c > '9')
            return h1_fail(parser, 400, "the request line is malformed");
        if (index == 5)
            parser->minor = c == '1' ? 1 : 0xff; /* another major version: known once the line has ended */
        else if (parser->minor == 1)
            parser->minor = c != '0'; /* a later 1.x is read as 1.1 (RFC 9110 section 2.5) */
        return H1_MORE;
    }
    if (c != '\r')
        return h1_fail(parser, 400, "the request line is malformed");
    parser->phase = H1_AT_LINE_LF;
    return H1_MORE;
}

static enum h1_event method_byte(struct h1_parser *parser, char c)
{
    if (c == ' ' && parser->method_text.len > 0) {
        parser->phase = H1_AT_TARGET;
        parser->target.at = parser->parsed + 1;
        return H1_MORE;
    }
    if (!h1_is_token_char((unsigned char)c))
        return h1_fail(parser, 400, "the request line is malformed");
    if (++parser->method_text.len > H1_METHOD_MAX)
        return h1_fail(parser, 501, "the method is not known");
    return H1_MORE;
}

static enum h1_event target_byte(struct h1_parser *parser, char c)
{
    if (c == ' ' && parser->target.len > 0) {
        parser->phase = H1_AT_VERSION;
        return H1_MORE;
    }
    if (c <= ' ' || c == 0x7f)
        return h1_fail(parser, 400, "the request line is malformed");
    if (++parser->target.len > parser->limits->target_bytes) {
        parser->limit = H1_LIMIT_TARGET;
        return h1_fail(parser, 414, "the target is too long");
    }
    return H1_MORE;
}

static enum h1_event line_end(struct h1_parser *parser)
{
    const char *base = parser->base;
    int status;

    if (parser->minor == 0xff)
        return h1_fail(parser, 505, "this server speaks HTTP/1.1");
    parser->method = h1_method_of(proa_str_n(base + parser->method_text.at, parser->method_text.len));
    if (parser->method == PROA_METHOD_OTHER && parser->method_text.len == 7 &&
        memcmp(base + parser->method_text.at, "CONNECT", 7) == 0)
        return h1_fail(parser, 501, "this server is no proxy");
    status = h1_target(parser, base);
    if (status)
        return h1_fail(parser, (unsigned)status, "the target is not valid");
    parser->llhttp = parser->behind_line;
    parser->phase = H1_AT_FIELDS;
    return H1_MORE;
}

static enum h1_event line_byte(struct h1_parser *parser, char c)
{
    switch (parser->phase) {
    case H1_AT_START:
        if (c == '\r') {
            parser->phase = H1_AT_START_LF;
            return H1_MORE;
        }
        parser->phase = H1_AT_METHOD;
        return method_byte(parser, c);
    case H1_AT_START_LF:
        if (c != '\n')
            return h1_fail(parser, 400, "the request line is malformed");
        parser->phase = H1_AT_METHOD;
        parser->method_text.at = parser->parsed + 1;
        return H1_MORE;
    case H1_AT_METHOD: return method_byte(parser, c);
    case H1_AT_TARGET: return target_byte(parser, c);
    case H1_AT_VERSION: return version_byte(parser, parser->parsed - parser->target.at - parser->target.len - 1, c);
    default: return c == '\n' ? line_end(parser) : h1_fail(parser, 400, "the request line is malformed");
    }
}

/* What fields mean for the message. */
static proa_str text_of(const struct h1_parser *parser, struct h1_span span)
{
    return proa_str_n(parser->base + span.at, span.len);
}

struct framing {
    unsigned hosts, lengths, encodings;
    bool close, keep;
    proa_str length, encoding;
};

static void connection_options(proa_str value, struct framing *framing)
{
    proa_str option;

    while (proa_str_split(&value, ',', &option)) {
        option = proa_str_trim(option);
        if (proa_str_eq_nocase(option, PROA_STR("close")))
            framing->close = true;
        else if (proa_str_eq_nocase(option, PROA_STR("keep-alive")))
            framing->keep = true;
    }
}

/* Most requests name the same host as the one before: it need not be looked at again. */
static bool host_valid(struct h1_parser *parser, proa_str host)
{
    if (host.len > 0 && host.len == parser->known_host_len && memcmp(host.ptr, parser->known_host, host.len) == 0)
        return true;
    if (!h1_host_valid(host))
        return false;
    if (host.len <= sizeof parser->known_host) {
        if (host.len)
            memcpy(parser->known_host, host.ptr, host.len);
        parser->known_host_len = (uint32_t)host.len;
    }
    return true;
}

/* Four or eight bytes with the bit set that tells lower case letters from upper case ones. No byte of a token that is
 * not the same letter or sign becomes equal by it. */
static inline uint64_t lower_8(const char *at)
{
    uint64_t bytes;

    memcpy(&bytes, at, sizeof bytes);
    return bytes | 0x2020202020202020u;
}

static inline uint32_t lower_4(const char *at)
{
    uint32_t bytes;

    memcpy(&bytes, at, sizeof bytes);
    return bytes | 0x20202020u;
}

/* Whether a field's name is this one, in any case; both have `len` bytes, at least four. */
static inline bool is_name(const char *name, const char *lower, size_t len)
{
    if (len < 8)
        return lower_4(name) == lower_4(lower) && lower_4(name + len - 4) == lower_4(lower + len - 4);
    for (size_t at = 0; at + 8 < len; at += 8)
        if (lower_8(name + at) != lower_8(lower + at))
            return false;
    return lower_8(name + len - 8) == lower_8(lower + len - 8);
}

static enum h1_event look_at_field(struct h1_parser *parser, uint32_t index, struct framing *framing)
{
    const struct h1_field *field = &parser->fields[index];
    const char *name = parser->base + field->name.at;
    proa_str value = text_of(parser, field->value);

    switch (field->name.len) {
    case 2: /* b3 */ parser->trace_fields |= H1_MAY_HAVE_B3; break;
    case 4:
        if (is_name(name, "host", 4)) {
            framing->hosts++;
            if (!host_valid(parser, value))
                return h1_fail(parser, 400, "Host is not valid");
            if (!parser->host.len) /* a target's goes before it */
                parser->host = field->value;
        }
        break;
    case 6:
        if (is_name(name, "expect", 6)) {
            if (!proa_str_eq_nocase(value, PROA_STR("100-continue")))
                return h1_fail(parser, 417, "this expectation cannot be met");
            parser->expects_continue = parser->minor == 1;
        }
        break;
    case 7:
        if (is_name(name, "baggage", 7))
            parser->trace_fields |= H1_MAY_HAVE_BAGGAGE;
        break;
    case 10:
        if (is_name(name, "connection", 10))
            connection_options(value, framing);
        else if (*name == 'x' || *name == 'X') /* x-b3-flags */
            parser->trace_fields |= H1_MAY_HAVE_B3;
        break;
    case 11:
        if (is_name(name, "traceparent", 11))
            parser->traceparent = parser->traceparent ? UINT32_MAX : index + 1;
        break;
    case 12:
        if (*name == 'x' || *name == 'X') /* x-b3-traceid, x-b3-sampled */
            parser->trace_fields |= H1_MAY_HAVE_B3;
        break;
    case 14:
        if (is_name(name, "content-length", 14)) {
            framing->lengths++;
            framing->length = value;
        }
        break;
    case 17:
        if (is_name(name, "transfer-encoding", 17)) {
            framing->encodings++;
            framing->encoding = value;
        }
        break;
    default: break;
    }
    return H1_HEAD;
}

static enum h1_event read_length(struct h1_parser *parser, const struct framing *framing)
{
    if (framing->lengths > 1 || framing->length.len == 0)
        return h1_fail(parser, 400, "Content-Length is not valid");
    for (size_t i = 0; i < framing->length.len; i++) {
        char c = framing->length.ptr[i];

        if (c < '0' || c > '9' || i >= H1_CONTENT_LENGTH_DIGITS)
            return h1_fail(parser, 400, "Content-Length is not valid");
        parser->content_length = parser->content_length * 10 + (uint64_t)(c - '0');
    }
    parser->has_length = true;
    parser->has_body = parser->content_length > 0;
    parser->left = parser->content_length;
    return H1_HEAD;
}

/* Whether chunked comes once, and last: then the body's end is sure, but what the codings before it are is not known
 * here. */
static bool is_final_chunked(proa_str list)
{
    proa_str coding = {0};
    unsigned chunked = 0;
    bool last = false;

    while (proa_str_split(&list, ',', &coding)) {
        last = proa_str_eq_nocase(proa_str_trim(coding), PROA_STR("chunked"));
        chunked += last;
    }
    return last && chunked == 1;
}

/* RFC 9112 section 6: exactly one way to tell where the body ends. */
static enum h1_event read_framing(struct h1_parser *parser, const struct framing *framing)
{
    if (framing->encodings == 0)
        return framing->lengths ? read_length(parser, framing) : H1_HEAD;
    if (framing->lengths)
        return h1_fail(parser, 400, "Content-Length beside Transfer-Encoding");
    if (parser->minor == 0)
        return h1_fail(parser, 400, "HTTP/1.0 has no Transfer-Encoding");
    if (framing->encodings > 1)
        return h1_fail(parser, 400, "Transfer-Encoding twice");
    if (!proa_str_eq_nocase(framing->encoding, PROA_STR("chunked")))
        return h1_fail(parser, is_final_chunked(framing->encoding) ? 501 : 400,
                       "Transfer-Encoding is not just chunked");
    parser->has_body = true;
    return H1_HEAD;
}

static void trim_values(struct h1_parser *parser)
{
    for (uint32_t i = 0; i < parser->fields_count; i++) {
        struct h1_span *value = &parser->fields[i].value;

        while (value->len > 0 &&
               (parser->base[value->at + value->len - 1] == ' ' || parser->base[value->at + value->len - 1] == '\t'))
            value->len--;
    }
}

static enum h1_event head_end(struct h1_parser *parser)
{
    struct framing framing = {0};

    trim_values(parser);
    for (uint32_t i = 0; i < parser->fields_count; i++)
        if (look_at_field(parser, i, &framing) == H1_ERROR)
            return H1_ERROR;
    if (framing.hosts > 1 || (framing.hosts == 0 && parser->minor == 1))
        return h1_fail(parser, 400, framing.hosts ? "Host twice" : "Host is missing");
    if (read_framing(parser, &framing) == H1_ERROR)
        return H1_ERROR;
    if (parser->traceparent == UINT32_MAX)
        parser->traceparent = 0;
    parser->keep_alive = !framing.close && (parser->minor == 1 || framing.keep);
    parser->phase = !parser->has_body ? H1_AT_END : parser->has_length ? H1_AT_LENGTH_BODY : H1_AT_CHUNKS;
    return H1_HEAD;
}

static enum h1_event fields(struct h1_parser *parser, const char *end)
{
    const char *from = parser->base + parser->parsed;
    llhttp_errno_t code = from < end ? llhttp_execute(&parser->llhttp, from, (size_t)(end - from)) : HPE_OK;

    switch (code) {
    case HPE_OK: parser->parsed = (uint32_t)(end - parser->base); return H1_MORE;
    case HPE_PAUSED:
        parser->parsed = (uint32_t)(llhttp_get_error_pos(&parser->llhttp) - parser->base);
        return head_end(parser);
    default:
        if (parser->limit == H1_LIMIT_FIELDS)
            return h1_fail(parser, 431, "there are too many header fields");
        return h1_fail(parser, 400, llhttp_get_error_reason(&parser->llhttp));
    }
}

enum h1_event h1_head(struct h1_parser *parser, proa_str input, size_t *ret_used)
{
    uint32_t max = parser->limits->head_bytes;
    uint32_t end = input.len < max ? (uint32_t)input.len : max;
    enum h1_event event = H1_MORE;

    assert(parser->phase <= H1_AT_FIELDS);
    *ret_used = 0;
    parser->base = input.ptr;
    if (parser->phase == H1_AT_START && parser->parsed == 0) {
        if (h1_quick(parser, end) && head_end(parser) == H1_HEAD) {
            *ret_used = parser->parsed;
            return H1_HEAD;
        }
        h1_start(parser, false);
        parser->base = input.ptr;
    }
    for (; parser->parsed < end && parser->phase < H1_AT_FIELDS; parser->parsed++) {
        event = line_byte(parser, input.ptr[parser->parsed]);
        if (event == H1_ERROR)
            return event;
    }
    if (parser->phase == H1_AT_FIELDS)
        event = fields(parser, input.ptr + end);
    if (event == H1_HEAD)
        *ret_used = parser->parsed;
    if (event == H1_MORE && end == max) {
        parser->limit = H1_LIMIT_HEAD;
        return h1_fail(parser, 431, "the head is too large");
    }
    return event;
}

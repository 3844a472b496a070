/** The HTTP/1.1 codec for requests (RFC 9110, RFC 9112): takes bytes, gives events; no I/O, no memory of its own.
 *
 *      h1_start -> [h1_head: more]* -> h1_head: head -> [h1_body: body | more]* -> h1_body: end -> h1_start …
 *                        |                                     |
 *                        +--------------> error <--------------+   the message cannot be trusted: answer and close
 *
 *  Fields and chunks are read by llhttp in its strict mode; the request line, the target, Host, the rules of framing
 *  and all limits are ours. What the events say does not depend on how the bytes were cut into calls.
 */
#ifndef PROA_HTTP_H1_H
#define PROA_HTTP_H1_H

#include <llhttp.h>
#include <proa/defs.h>
#include <proa/req.h>
#include <proa/str.h>

enum {
    H1_METHOD_MAX = 32,            /* bytes; longer: 501 */
    H1_CHUNK_LINE_MAX = 512,       /* bytes of a chunk's size and extensions */
    H1_EXTENSION_SPARE = 4096,     /* bytes of extensions a message may have beyond its content */
    H1_CONTENT_LENGTH_DIGITS = 18, /* more are refused */
};

struct h1_limits {
    uint32_t head_bytes; /* of a head, and of a trailer section */
    uint32_t fields;     /* of each of them */
    uint32_t target_bytes;
};

/** Bytes from the first one of the head or trailer section. */
struct h1_span {
    uint32_t at;
    uint32_t len;
};

struct h1_field {
    struct h1_span name;
    struct h1_span value; /* without white space around it */
};

enum h1_event { H1_MORE = 0, H1_HEAD, H1_BODY, H1_END, H1_ERROR };

enum h1_limit { H1_LIMIT_NONE = 0, H1_LIMIT_HEAD, H1_LIMIT_FIELDS, H1_LIMIT_TARGET };

enum h1_phase {
    H1_AT_START = 0, /* an empty line is tolerated */
    H1_AT_START_LF,
    H1_AT_METHOD,
    H1_AT_TARGET,
    H1_AT_VERSION,
    H1_AT_LINE_LF,
    H1_AT_FIELDS,
    H1_AT_LENGTH_BODY,
    H1_AT_CHUNKS,
    H1_AT_TRAILERS,
    H1_AT_END,
    H1_FAILED,
};

enum h1_trace_fields { H1_MAY_HAVE_B3 = 1, H1_MAY_HAVE_BAGGAGE = 2 };

struct h1_parser {
    llhttp_t llhttp, behind_line;
    const struct h1_limits *limits;
    char known_host[64]; /* the last one that was valid */
    uint32_t known_host_len;
    /* From here on h1_start clears. */
    const char *base; /* of the section, during a call */
    uint32_t parsed;  /* of it, already looked at */
    uint8_t phase;    /* enum h1_phase */
    bool in_name;     /* the last field's name may go on */

    /* Why it failed. */
    uint8_t limit; /* enum h1_limit */
    uint16_t status;
    const char *text; /* static */

    /* The head. */
    enum proa_method method;
    struct h1_span method_text, target, path, query, host; /* a path of length 0 is "/", or "*" for OPTIONS */
    uint8_t minor;                                         /* of the version: 0 or 1 */
    bool is_asterisk;                                      /* OPTIONS * */
    bool keep_alive;                                       /* as the client wishes */
    bool expects_continue;
    bool has_body; /* h1_body has more to say than H1_END */
    bool has_length;
    uint64_t content_length;
    uint32_t traceparent; /* index of the field + 1, 0: none (or several) */
    uint8_t trace_fields; /* enum h1_trace_fields: others about traces that there may be */

    /* The body. */
    uint64_t left;       /* of a body with Content-Length */
    uint64_t body_bytes; /* given so far */
    uint64_t extension_bytes;
    uint32_t line_bytes; /* of a chunk's line so far */
    proa_str piece;      /* found by the callback */
    bool chunk_begun, ended;

    uint32_t fields_count;    /* of the head, then of the trailers */
    struct h1_field fields[]; /* limits->fields */
};

/** Bytes of a parser with room for the fields that the limits allow. */
size_t h1_parser_bytes(const struct h1_limits *limits);
/** For a parser whose memory was just taken. `limits` outlive it. */
void h1_init(struct h1_parser *parser, const struct h1_limits *limits);
/** Before each message. `blank`: the empty line that is tolerated in front of it has come already. */
void h1_start(struct h1_parser *parser, bool blank);
/** @param input  all bytes of the message so far, from its first one; may lie elsewhere at each call.
 *  @returns H1_MORE (nothing is used), H1_HEAD with *ret_used its bytes (spans count from input.ptr), or H1_ERROR. */
enum h1_event h1_head(struct h1_parser *parser, proa_str input, size_t *ret_used);
/** After H1_HEAD. @param input  what was not used yet.
 *  @returns H1_BODY with a piece within `input` and *ret_used bytes used; H1_END, also for messages without a body,
 *           with the trailer fields' spans counting from input.ptr; H1_MORE (when bytes were used: ask again);
 *           H1_ERROR. */
enum h1_event h1_body(struct h1_parser *parser, proa_str input, size_t *ret_used, proa_str *ret_piece);
/** Whether nothing but the tolerated empty line has come. */
bool h1_is_blank(const struct h1_parser *parser);

/* Shared by the codec's files. */
enum h1_event h1_fail(struct h1_parser *parser, unsigned status, const char *text);
/** Checks the target and finds path, query and host in it. @returns 0 or the status of the refusal. */
int h1_target(struct h1_parser *parser, const char *base);
/** Whether text is `uri-host [":" port]`; may be empty. */
bool h1_host_valid(proa_str text);
bool h1_is_token_char(unsigned char c);
/** The first byte that a path, or a query, cannot hold. */
const char *h1_skip_path(const char *at, const char *end);
const char *h1_skip_query(const char *at, const char *end);
enum proa_method h1_method_of(proa_str text);
/** Reads a whole plain head from parser->base. @returns false when it is not one; then the parser must be started
 *  again. */
bool h1_quick(struct h1_parser *parser, uint32_t max);
extern const llhttp_settings_t h1_settings;

#endif

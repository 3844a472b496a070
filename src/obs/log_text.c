/* Text of log lines: whatever bytes a value has, the line stays one line, valid UTF-8, and harmless to a terminal. */
#include "log_internal.h"

/* Behind what was cut: "…(123 bytes cut)". */
enum { CUT_MARKER_MAX = LOG_CUT_MARKER_MAX, ESCAPE_MAX = 12 };

static size_t room(const struct log_text *text)
{
    return (size_t)(text->end - text->at);
}

void log_text_raw_cut(struct log_text *text, proa_str bytes)
{
    text->truncated = true;
    log_text_raw(text, proa_utf8_cut(bytes, room(text)));
}

/* Characters that a terminal or a viewer obeys instead of showing: C1 controls, line and paragraph separators, the
 * ones that turn the direction of text, byte order marks, tags. */
static bool is_unsafe(uint32_t code)
{
    return (code >= 0x7f && code <= 0x9f) || code == 0x061c || code == 0x180e || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) || code == 0xfeff ||
           (code >= 0xfff0 && code <= 0xfffb) || (code >= 0xe0000 && code <= 0xe0fff);
}

static size_t put_u(char *out, uint32_t unit)
{
    static const char digits[] = "0123456789abcdef";

    out[0] = '\\';
    out[1] = 'u';
    for (int i = 0; i < 4; i++)
        out[2 + i] = digits[unit >> (12 - 4 * i) & 15];
    return 6;
}

static size_t put_escaped_code(char *out, uint32_t code)
{
    char short_form = code == '\n'                  ? 'n'
                      : code == '\r'                ? 'r'
                      : code == '\t'                ? 't'
                      : code == '"' || code == '\\' ? (char)code
                                                    : 0;

    if (short_form) {
        out[0] = '\\';
        out[1] = short_form;
        return 2;
    }
    if (code < 0x10000)
        return put_u(out, code);
    code -= 0x10000;
    return put_u(out, 0xd800 + (code >> 10)) + put_u(out + 6, 0xdc00 + (code & 0x3ff));
}

/* One character of `rest` as it is to be written. @returns bytes taken. */
static size_t escape_one(proa_str rest, enum log_quote quote, char *out, size_t *ret_written)
{
    unsigned char c = (unsigned char)rest.ptr[0];
    uint32_t code = c;
    size_t taken = 1;

    if (c >= 0x80) {
        taken = proa_utf8_next(rest, &code);
        if (taken == 0) {
            memcpy(out, "\xef\xbf\xbd", 3); /* U+FFFD for a byte that is not UTF-8 */
            *ret_written = 3;
            return 1;
        }
    }
    if (c < 0x20 || is_unsafe(code) || (quote == LOG_QUOTE_JSON && (c == '"' || c == '\\'))) {
        *ret_written = put_escaped_code(out, code);
    } else {
        memcpy(out, rest.ptr, taken);
        *ret_written = taken;
    }
    return taken;
}

static bool is_ordinary(unsigned char c, enum log_quote quote)
{
    return c >= 0x20 && c < 0x7f && (quote == LOG_QUOTE_NONE || (c != '"' && c != '\\'));
}

/* Of eight bytes at once: high bits where a byte is not ordinary (bit tricks: Mycroft's test for a zero byte). */
static uint64_t unordinary(uint64_t word, enum log_quote quote)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
    uint64_t del = word ^ ones * 0x7f, quotes = word ^ ones * '"', backslashes = word ^ ones * '\\';
    uint64_t found = word | ((word - ones * 0x20) & ~word) | ((del - ones) & ~del);

    if (quote == LOG_QUOTE_JSON)
        found |= ((quotes - ones) & ~quotes) | ((backslashes - ones) & ~backslashes);
    return found & highs;
}

/* How many bytes at the front may be written as they are; `most` is at most value.len. */
static size_t ordinary_run(proa_str value, size_t most, enum log_quote quote)
{
    size_t run = 0;
    uint64_t word;

    for (; run + sizeof word <= most; run += sizeof word) {
        memcpy(&word, value.ptr + run, sizeof word);
        if (unordinary(word, quote))
            break;
    }
    if (most >= sizeof word && most - run < sizeof word) { /* the last eight, some of them again */
        memcpy(&word, value.ptr + most - sizeof word, sizeof word);
        if (!unordinary(word, quote))
            return most;
    }
    while (run < most && is_ordinary((unsigned char)value.ptr[run], quote))
        run++;
    return run;
}

static void put_cut_marker(struct log_text *text, size_t cut)
{
    char digits[PROA_U64_TEXT_MAX];
    size_t len = proa_u64_text(cut, digits);

    log_text_raw(text, PROA_STR("\xe2\x80\xa6("));
    log_text_raw(text, proa_str_n(digits, len));
    log_text_raw(text, PROA_STR(" bytes cut)"));
}

void log_text_escaped(struct log_text *text, proa_str value, enum log_quote quote)
{
    size_t most = room(text) > CUT_MARKER_MAX ? room(text) - CUT_MARKER_MAX : 0;
    char *limit = text->at + (most < LOG_VALUE_MAX ? most : LOG_VALUE_MAX);

    while (value.len > 0) {
        size_t room_left = (size_t)(limit - text->at), taken, written;
        size_t run = ordinary_run(value, value.len < room_left ? value.len : room_left, quote);
        char escape[ESCAPE_MAX];

        memcpy(text->at, value.ptr, run);
        text->at += run;
        value = proa_str_n(value.ptr + run, value.len - run);
        if (value.len == 0)
            return;
        taken = escape_one(value, quote, escape, &written);
        if (written > (size_t)(limit - text->at))
            break;
        memcpy(text->at, escape, written);
        text->at += written;
        value = proa_str_n(value.ptr + taken, value.len - taken);
    }
    if (value.len > 0)
        put_cut_marker(text, value.len);
}

bool log_text_is_plain(proa_str value)
{
    if (value.len == 0 || value.len > LOG_VALUE_MAX - CUT_MARKER_MAX)
        return false; /* a marker would have spaces */
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];

        if (c <= 0x20 || c == '"' || c == '\\' || c == '=' || c == 0x7f)
            return false;
    }
    return true;
}

/* JSON as text: a reader that only says whether it is valid. */
struct json_reader {
    const char *at;
    const char *end;
    unsigned depth;
};
enum { JSON_DEPTH_MAX = 32 };

static bool json_value(struct json_reader *r);

static void json_space(struct json_reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

static bool json_take(struct json_reader *r, proa_str word)
{
    if (!proa_str_starts_with(proa_str_n(r->at, (size_t)(r->end - r->at)), word))
        return false;
    r->at += word.len;
    return true;
}

static bool json_string(struct json_reader *r)
{
    unsigned char unit[2];

    if (!json_take(r, PROA_STR("\"")))
        return false;
    while (r->at < r->end && *r->at != '"') {
        char c = *r->at++;

        if ((unsigned char)c < 0x20)
            return false;
        if (c != '\\')
            continue;
        if (json_take(r, PROA_STR("u"))) {
            if (r->end - r->at < 4 || proa_hex_decode(unit, 2, proa_str_n(r->at, 4)) < 0)
                return false;
            r->at += 4;
        } else if (r->at == r->end || !memchr("\"\\/bfnrt", *r->at++, 8)) {
            return false;
        }
    }
    return json_take(r, PROA_STR("\""));
}

static bool json_number(struct json_reader *r)
{
    const char *begin = r->at;
    double ignored;

    while (r->at < r->end && memchr("+-.0123456789Ee", *r->at, 15))
        r->at++;
    return proa_str_to_double(proa_str_n(begin, (size_t)(r->at - begin)), &ignored) == 0;
}

static bool json_members(struct json_reader *r, bool keyed, proa_str close)
{
    json_space(r);
    if (json_take(r, close))
        return true;
    do {
        json_space(r);
        if (keyed) {
            if (!json_string(r))
                return false;
            json_space(r);
            if (!json_take(r, PROA_STR(":")))
                return false;
        }
        if (!json_value(r))
            return false;
        json_space(r);
    } while (json_take(r, PROA_STR(",")));
    return json_take(r, close);
}

static bool json_value(struct json_reader *r)
{
    bool valid;

    json_space(r);
    if (r->at == r->end || r->depth == JSON_DEPTH_MAX)
        return false;
    r->depth++;
    switch (*r->at) {
    case '{':
        r->at++;
        valid = json_members(r, true, PROA_STR("}"));
        break;
    case '[':
        r->at++;
        valid = json_members(r, false, PROA_STR("]"));
        break;
    case '"': valid = json_string(r); break;
    case 't': valid = json_take(r, PROA_STR("true")); break;
    case 'f': valid = json_take(r, PROA_STR("false")); break;
    case 'n': valid = json_take(r, PROA_STR("null")); break;
    default: valid = json_number(r); break;
    }
    r->depth--;
    return valid;
}

static bool json_is_valid(proa_str json)
{
    struct json_reader r = {json.ptr, json.ptr + json.len, 0};

    if (json.len == 0 || !json_value(&r))
        return false;
    json_space(&r);
    return r.at == r.end;
}

/* Between tokens any white space becomes a space; in strings what is unsafe is escaped. */
static bool copy_json(struct log_text *text, proa_str json)
{
    char *begin = text->at;

    while (json.len > 0) {
        char out[ESCAPE_MAX];
        size_t written = 1, taken = 1;

        out[0] = ' ';
        if ((unsigned char)json.ptr[0] >= 0x20)
            taken = escape_one(json, LOG_QUOTE_NONE, out, &written);
        if (written > room(text)) {
            text->at = begin;
            return false;
        }
        memcpy(text->at, out, written);
        text->at += written;
        json = proa_str_n(json.ptr + taken, json.len - taken);
    }
    return true;
}

void log_text_json(struct log_text *text, proa_str json)
{
    if (json.len <= LOG_VALUE_MAX && json_is_valid(json) && copy_json(text, json))
        return;
    log_text_raw(text, PROA_STR("\""));
    log_text_escaped(text, json, LOG_QUOTE_JSON);
    log_text_raw(text, PROA_STR("\""));
}

/* Fuzzes the text functions of base: what is taken must come back the same from its own writing.
 * The first byte says which function; the rest is its input. Build with -fsanitize=fuzzer,address,undefined. */
#include "fuzz.h"

#include <proa/arena.h>
#include <proa/buf.h>
#include <proa/str.h>
#include <proa/text.h>
#include <string.h>

static void fuzz_utf8(proa_str s)
{
    bool valid = proa_utf8_valid(s);
    size_t count = 0;
    proa_str rest = s;

    while (rest.len > 0) {
        uint32_t code;
        size_t len = proa_utf8_next(rest, &code);
        char again[4];

        if (len == 0)
            break;
        must(len <= 4 && proa_utf8_encode(code, again) == len && memcmp(again, rest.ptr, len) == 0);
        rest = proa_str_n(rest.ptr + len, rest.len - len);
        count++;
    }
    must(valid == (rest.len == 0));
    if (!valid)
        return;
    must(proa_utf8_count(s) == count);
    for (size_t max = 0; max <= s.len; max++) {
        proa_str cut = proa_utf8_cut(s, max);

        must(cut.len <= max && max - cut.len < 4 && proa_utf8_valid(cut));
    }
}

typedef int encode_fn(struct proa_buf *out, proa_str bytes);
typedef int decode_fn(struct proa_buf *out, proa_str text);

/* Bytes survive; and a text that is taken is the only one for its bytes. */
static void fuzz_base64(proa_str s, encode_fn *encode, decode_fn *decode)
{
    struct proa_buf text = {0}, bytes = {0};

    must(encode(&text, s) == 0 && decode(&bytes, proa_buf_str(&text)) == 0 && proa_str_eq(proa_buf_str(&bytes), s));
    proa_buf_clear(&text);
    proa_buf_clear(&bytes);
    if (decode(&bytes, s) == 0)
        must(encode(&text, proa_buf_str(&bytes)) == 0 && proa_str_eq(proa_buf_str(&text), s));
    else
        must(bytes.len == 0);
    proa_buf_done(&text);
    proa_buf_done(&bytes);
}

static void fuzz_percent(proa_str s, bool plus_is_space)
{
    struct proa_arena arena;
    struct proa_buf text = {0};
    proa_str back;

    proa_arena_init(&arena, NULL, 0);
    must(proa_percent_encode(&text, s) == 0);
    must(proa_percent_decode(&arena, proa_buf_str(&text), plus_is_space, &back) == 0 && proa_str_eq(back, s));
    if (proa_percent_decode(&arena, s, plus_is_space, &back) == 0) {
        must(back.len <= s.len);
        proa_buf_clear(&text);
        must(proa_percent_encode(&text, back) == 0);
        must(proa_percent_decode(&arena, proa_buf_str(&text), plus_is_space, &s) == 0 && proa_str_eq(s, back));
    }
    proa_buf_done(&text);
    proa_arena_done(&arena);
}

static void fuzz_time(proa_str s)
{
    char out[PROA_TIME_TEXT_MAX];
    proa_time_ns time, back;

    if (proa_time_parse(s, &time) == 0)
        must(proa_time_parse(proa_str_n(out, proa_time_text(time, 9, out)), &back) == 0 && back == time);
    if (proa_time_http_parse(s, &time) == 0)
        must(proa_time_http_parse(proa_str_n(out, proa_time_http(time, out)), &back) == 0 && back == time);
    if (s.len >= sizeof time) {
        memcpy(&time, s.ptr, sizeof time);
        must(proa_time_parse(proa_str_n(out, proa_time_text(time, 9, out)), &back) == 0 && back == time);
        must(proa_time_text(time, (uint8_t)s.ptr[0], out) <= PROA_TIME_TEXT_MAX && proa_time_http(time, out) == 29);
    }
}

static void fuzz_number(proa_str s)
{
    char out[PROA_DOUBLE_TEXT_MAX];
    uint64_t u;
    int64_t i;
    double d, back;

    if (proa_str_to_u64(s, &u) == 0)
        must(proa_str_eq(s, proa_str_n(out, proa_u64_text(u, out))));
    if (proa_str_to_i64(s, &i) == 0 && !proa_str_eq_c(s, "-0"))
        must(proa_str_eq(s, proa_str_n(out, proa_i64_text(i, out))));
    if (proa_str_to_double(s, &d) == 0)
        must(proa_str_to_double(proa_str_n(out, proa_double_text(d, out)), &back) == 0 &&
             memcmp(&back, &d, sizeof d) == 0);
    (void)!proa_duration_parse(s, &u);
    (void)!proa_bytes_parse(s, &u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    proa_str s;

    if (size == 0)
        return 0;
    s = proa_str_n((const char *)data + 1, size - 1);
    switch (data[0]) {
    case 'u': fuzz_utf8(s); break;
    case 'b': fuzz_base64(s, proa_base64_encode, proa_base64_decode); break;
    case 'l': fuzz_base64(s, proa_base64url_encode, proa_base64url_decode); break;
    case 'p': fuzz_percent(s, false); break;
    case 'f': fuzz_percent(s, true); break;
    case 't': fuzz_time(s); break;
    case 'n': fuzz_number(s); break;
    default: break;
    }
    return 0;
}

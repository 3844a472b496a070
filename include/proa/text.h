/** UTF-8, base64, hexadecimal, percent-encoding and RFC 3339 time as text. */
#ifndef PROA_TEXT_H
#define PROA_TEXT_H

#include <proa/arena.h>
#include <proa/buf.h>
#include <proa/defs.h>
#include <proa/str.h>

PROA_BEGIN_DECLS

/** Valid UTF-8 by RFC 3629 (no surrogates, no overlong forms). */
bool proa_utf8_valid(proa_str s);
/** Number of code points of valid UTF-8. */
size_t proa_utf8_count(proa_str s);
/** Decodes one code point at the front. @returns its bytes (1..4), 0 when s is empty or invalid there. */
size_t proa_utf8_next(proa_str s, uint32_t *ret_code_point);
/** Encodes; out has room for 4. @returns bytes, 0 for a surrogate or above U+10FFFF. */
size_t proa_utf8_encode(uint32_t code_point, char *out);
/** The longest prefix of at most `max` bytes that ends at a character. */
proa_str proa_utf8_cut(proa_str s, size_t max);

/** RFC 4648 section 4 (with padding) and section 5 (URL-safe, without). */
int proa_base64_encode(struct proa_buf *out, proa_str bytes);
int proa_base64url_encode(struct proa_buf *out, proa_str bytes);
/** Strict: padding as the form demands, no white space, zero trailing bits.
 *  @returns 0, PROA_ESYNTAX, or the buffer's error. */
PROA_MUST_USE int proa_base64_decode(struct proa_buf *out, proa_str text);
PROA_MUST_USE int proa_base64url_decode(struct proa_buf *out, proa_str text);

/** Lower-case hexadecimal; `out` has room for 2 * bytes.len, no NUL. */
void proa_hex_encode(char *out, proa_str bytes);
/** Lower or upper case; text.len must be 2 * out_bytes. @returns 0 or PROA_ESYNTAX. */
PROA_MUST_USE int proa_hex_decode(unsigned char *out, size_t out_bytes, proa_str text);

/** RFC 3986 section 2.1. Decoding "%2F" gives "/"; '+' stays '+' unless `plus_is_space` (forms).
 *  @returns PROA_ESYNTAX for a broken escape. A text without escapes is returned as it is, not copied. */
PROA_MUST_USE int proa_percent_decode(struct proa_arena *arena, proa_str text, bool plus_is_space, proa_str *ret_text);
/** Escapes everything but unreserved characters. */
int proa_percent_encode(struct proa_buf *out, proa_str text);

/** Nanoseconds since 1970-01-01T00:00:00Z; years 0001 to 9999 as text. */
typedef int64_t proa_time_ns;

enum { PROA_TIME_TEXT_MAX = 36 };
/** RFC 3339 in UTC, "2026-01-02T03:04:05.678901Z"; digits 0..9 of the fraction. @returns length, no NUL. */
size_t proa_time_text(proa_time_ns time, unsigned fraction_digits, char *out);
/** RFC 3339 date-time with any offset; a leap second :60 reads as :59. @returns 0 or PROA_ESYNTAX / PROA_ERANGE. */
PROA_MUST_USE int proa_time_parse(proa_str text, proa_time_ns *ret_time);
/** "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7); out has room for 29. */
size_t proa_time_http(proa_time_ns time, char *out);
/** All three forms of RFC 9110 section 5.6.7. */
PROA_MUST_USE int proa_time_http_parse(proa_str text, proa_time_ns *ret_time);

/** Durations and sizes as configuration writes them: "250ms", "10s", "1m30s", "2h" (a unit is a must but for 0);
 *  "512", "16Ki", "1Mi", "2Gi", "1k", "1M" (Kubernetes quantities of bytes). */
PROA_MUST_USE int proa_duration_parse(proa_str text, uint64_t *ret_ns);
PROA_MUST_USE int proa_bytes_parse(proa_str text, uint64_t *ret_bytes);

PROA_END_DECLS
#endif

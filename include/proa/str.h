/** Text and bytes as slices: a pointer and a length, never owned, not NUL-terminated. */
#ifndef PROA_STR_H
#define PROA_STR_H

#include <proa/defs.h>
#include <string.h>

PROA_BEGIN_DECLS

typedef struct proa_str {
    const char *ptr; /**< may be NULL only when len is 0 */
    size_t len;      /**< bytes */
} proa_str;

/** A slice of a string literal. */
#define PROA_STR(literal) ((proa_str){("" literal), sizeof(literal) - 1})
/** For static initialisers. */
#define PROA_STR_INIT(literal)                                                                                         \
    {                                                                                                                  \
        ("" literal), sizeof(literal) - 1                                                                              \
    }
/** For printf: `printf("hello " PROA_FMT, PROA_ARG(name))`. */
#define PROA_FMT "%.*s"
#define PROA_ARG(s) (int)(s).len, ((s).ptr ? (s).ptr : "")

/** A slice of a C string; empty for NULL. */
static inline proa_str proa_str_c(const char *c)
{
    proa_str s = {c, c ? strlen(c) : 0};
    return s;
}

static inline proa_str proa_str_n(const char *ptr, size_t len)
{
    proa_str s = {ptr, len};
    return s;
}

static inline bool proa_str_eq(proa_str a, proa_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool proa_str_eq_c(proa_str a, const char *c)
{
    return proa_str_eq(a, proa_str_c(c));
}

/** Bytewise order: negative, 0, positive. */
int proa_str_cmp(proa_str a, proa_str b);
/** Equality and order without regard to the case of ASCII letters. */
bool proa_str_eq_nocase(proa_str a, proa_str b);
/** Equality in time that depends on the lengths only (for secrets). */
bool proa_str_eq_secret(proa_str a, proa_str b);
bool proa_str_starts_with(proa_str s, proa_str prefix);
bool proa_str_ends_with(proa_str s, proa_str suffix);
/** Index of the first `c`, or -1. */
ptrdiff_t proa_str_find_char(proa_str s, char c);
ptrdiff_t proa_str_find(proa_str s, proa_str needle);
/** The part [from, to); both are clamped to the length. */
proa_str proa_str_slice(proa_str s, size_t from, size_t to);
/** Without spaces and tabs at both ends (OWS of RFC 9110 section 5.6.3). */
proa_str proa_str_trim(proa_str s);
/** Cuts off the part before the first `separator` and moves *rest behind it.
 *  @returns false when *rest was exhausted (rest->ptr NULL). "a,,b" gives "a", "", "b"; "" gives "". */
bool proa_str_split(proa_str *rest, char separator, proa_str *ret_part);
/** 64-bit hash with a seed, for hash maps (not for signatures). Seed it with random for outside keys. */
uint64_t proa_str_hash(proa_str s, uint64_t seed);

/** Decimal numbers. The whole text must be the number: no sign for unsigned, no spaces, no '+',
 *  no leading zeros beyond "0". @returns 0, PROA_ESYNTAX or PROA_ERANGE. */
PROA_MUST_USE int proa_str_to_u64(proa_str s, uint64_t *ret_value);
PROA_MUST_USE int proa_str_to_i64(proa_str s, int64_t *ret_value);
/** JSON's number grammar (RFC 8259 section 6), finite result. Locale-independent. */
PROA_MUST_USE int proa_str_to_double(proa_str s, double *ret_value);

enum {
    PROA_U64_TEXT_MAX = 20,
    PROA_I64_TEXT_MAX = 20,
    PROA_DOUBLE_TEXT_MAX = 32,
};
/** Writes decimal text without a NUL into `out` (of at least …_TEXT_MAX bytes). @returns its length. */
size_t proa_u64_text(uint64_t value, char *out);
size_t proa_i64_text(int64_t value, char *out);
/** Shortest text that reads back as the same double, as JSON writes it ("1.5", "1e300", "3" for 3.0). Finite only. */
size_t proa_double_text(double value, char *out);

PROA_END_DECLS
#endif

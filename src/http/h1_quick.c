/* The quick way through a head: one that has come whole and is plain. It gives up at the first byte that is not as
 * expected, and then the head is read by the strict way from its first byte, as if this had not been tried. What it
 * takes the strict way takes too, with the same result: the tests and the fuzzer cut each input so that both see it. */
#include "h1.h"

#include <endian.h>

/* What is checked of eight bytes at once. */
#define EVERY(byte) (0x0101010101010101u * (uint64_t)(byte))

/* The top bit of each byte that is a control character (a tab among them) or DEL. Exact up to and with the first one
 * from below: a borrow can only mark bytes above it. */
static inline uint64_t controls(uint64_t eight)
{
    uint64_t below_space = (eight - EVERY(0x20)) & ~eight;
    uint64_t not_del = eight ^ EVERY(0x7f);

    return (below_space | ((not_del - EVERY(1)) & ~not_del)) & EVERY(0x80);
}

/* The first byte that cannot be of a field's value. */
static const char *value_end(const char *at, const char *end)
{
    while (end - at >= 8) {
        uint64_t eight, found;

        memcpy(&eight, at, 8);
        found = controls(le64toh(eight));
        if (!found) {
            at += 8;
            continue;
        }
        at += __builtin_ctzll(found) / 8;
        if (*at != '\t')
            return at;
        at++;
    }
    while (at < end && (((unsigned char)*at >= 0x20 && *at != 0x7f) || *at == '\t'))
        at++;
    return at;
}

static const char *quick_target(struct h1_parser *parser, const char *at, const char *end)
{
    const char *base = parser->base, *start = at, *path_end;

    if (at == end || *at != '/')
        return NULL;
    at = h1_skip_path(at, end);
    path_end = at;
    if (at < end && *at == '?') {
        at = h1_skip_query(at + 1, end);
        parser->query = (struct h1_span){(uint32_t)(path_end + 1 - base), (uint32_t)(at - path_end - 1)};
    } else {
        parser->query = (struct h1_span){(uint32_t)(at - base), 0};
    }
    parser->target = (struct h1_span){(uint32_t)(start - base), (uint32_t)(at - start)};
    parser->path = (struct h1_span){parser->target.at, (uint32_t)(path_end - start)};
    return parser->target.len <= parser->limits->target_bytes ? at : NULL;
}

static const char *quick_line(struct h1_parser *parser, const char *at, const char *end)
{
    static const char version[] = " HTTP/1.1\r\n";
    const char *start = at;

    while (at < end && *at >= 'A' && *at <= 'Z')
        at++;
    if (at == end || *at != ' ')
        return NULL;
    parser->method_text = (struct h1_span){(uint32_t)(start - parser->base), (uint32_t)(at - start)};
    parser->method = h1_method_of(proa_str_n(start, (size_t)(at - start)));
    if (parser->method == PROA_METHOD_OTHER)
        return NULL;
    at = quick_target(parser, at + 1, end);
    if (!at || (size_t)(end - at) < sizeof version - 1 || memcmp(at, version, sizeof version - 1) != 0)
        return NULL;
    parser->minor = 1;
    return at + sizeof version - 1;
}

static const char *quick_field(struct h1_parser *parser, const char *at, const char *end)
{
    enum { TRANSFER_ENCODING_BYTES = 17 };
    const char *base = parser->base, *name = at, *value;
    struct h1_field *field = &parser->fields[parser->fields_count];
    uint32_t name_len;

    while (at < end && h1_is_token_char((unsigned char)*at))
        at++;
    name_len = (uint32_t)(at - name);
    /* Chunks are read by llhttp, which must have seen that they come. */
    if (at == end || *at != ':' || name_len == 0 || name_len == TRANSFER_ENCODING_BYTES ||
        parser->fields_count == parser->limits->fields)
        return NULL;
    at++;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    value = at;
    at = value_end(at, end);
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
        return NULL;
    field->name = (struct h1_span){(uint32_t)(name - base), name_len};
    field->value = (struct h1_span){(uint32_t)(value - base), (uint32_t)(at - value)};
    parser->fields_count++;
    return at + 2;
}

bool h1_quick(struct h1_parser *parser, uint32_t max)
{
    const char *at = parser->base, *end = at + max;

    at = quick_line(parser, at, end);
    while (at && end - at >= 2 && *at != '\r')
        at = quick_field(parser, at, end);
    if (!at || end - at < 2 || at[0] != '\r' || at[1] != '\n')
        return false;
    parser->parsed = (uint32_t)(at + 2 - parser->base);
    return true;
}

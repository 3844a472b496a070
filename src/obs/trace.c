/* Trace context as headers: W3C traceparent and tracestate, B3. */
#include <proa/trace.h>

#include <proa/text.h>

enum { TRACE_HEX = 32, SPAN_HEX = 16, TRACE_HEX_SHORT = 16 };

/* Both standards want lower case. By table, since every request brings 50 digits. 16: no digit. */
static const uint8_t hex_digits[256] = {
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 10, 11, 12, 13, 14, 15, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
};

static bool read_hex(const char *text, uint8_t *out, size_t bytes)
{
    unsigned seen = 0;

    for (size_t i = 0; i < bytes; i++) {
        unsigned high = hex_digits[(unsigned char)text[2 * i]], low = hex_digits[(unsigned char)text[2 * i + 1]];

        seen |= high | low;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return (seen & 16) == 0;
}

static void write_hex(char *out, const uint8_t *bytes, size_t count)
{
    proa_hex_encode(out, proa_str_n((const char *)bytes, count));
}

static bool span_present(const struct proa_trace_ids *ids)
{
    uint64_t word;

    memcpy(&word, ids->span_id, sizeof word);
    return word != 0;
}

bool proa_traceparent_parse(proa_str header, struct proa_trace_ids *ret_ids)
{
    struct proa_trace_ids ids = {0};
    uint8_t version, flags;

    if (header.len < PROA_TRACEPARENT_BYTES || !read_hex(header.ptr, &version, 1) || version == 0xff)
        return false;
    /* Of a version to come only these fields are known, and that more follows behind a dash. */
    if (header.len > PROA_TRACEPARENT_BYTES && (version == 0 || header.ptr[PROA_TRACEPARENT_BYTES] != '-'))
        return false;
    if (header.ptr[2] != '-' || header.ptr[35] != '-' || header.ptr[52] != '-')
        return false;
    if (!read_hex(header.ptr + 3, ids.trace_id, sizeof ids.trace_id) ||
        !read_hex(header.ptr + 36, ids.span_id, sizeof ids.span_id) || !read_hex(header.ptr + 53, &flags, 1))
        return false;
    if (!proa_trace_present(&ids) || !span_present(&ids))
        return false;
    ids.flags = flags & PROA_TRACE_SAMPLED; /* the others have no meaning in level 1 and are not passed on */
    *ret_ids = ids;
    return true;
}

void proa_traceparent_write(const struct proa_trace_ids *ids, char *out)
{
    memcpy(out, "00-", 3);
    write_hex(out + 3, ids->trace_id, sizeof ids->trace_id);
    out[35] = '-';
    write_hex(out + 36, ids->span_id, sizeof ids->span_id);
    out[52] = '-';
    out[53] = '0';
    out[54] = ids->flags & PROA_TRACE_SAMPLED ? '1' : '0';
}

/* B3. */
static bool b3_trace_id(proa_str text, struct proa_trace_ids *ids)
{
    if (text.len == TRACE_HEX)
        return read_hex(text.ptr, ids->trace_id, sizeof ids->trace_id) && proa_trace_present(ids);
    return text.len == TRACE_HEX_SHORT && read_hex(text.ptr, ids->trace_id + 8, 8) && proa_trace_present(ids);
}

static bool b3_span_id(proa_str text, struct proa_trace_ids *ids)
{
    return text.len == SPAN_HEX && read_hex(text.ptr, ids->span_id, sizeof ids->span_id) && span_present(ids);
}

static bool b3_state(proa_str text, struct proa_trace_ids *ids)
{
    if (text.len != 1)
        return false;
    switch (text.ptr[0]) {
    case '0': ids->flags = 0; return true;
    case '1': ids->flags = PROA_TRACE_SAMPLED; return true;
    case 'd': ids->flags = PROA_TRACE_SAMPLED | PROA_TRACE_DEBUG; return true;
    default: return false;
    }
}

bool proa_b3_parse(proa_str header, struct proa_trace_ids *ret_ids)
{
    struct proa_trace_ids ids = {.flags = PROA_TRACE_UNDECIDED}, parent = {0};
    proa_str rest = header, part;

    if (header.len == 1) {
        if (!b3_state(header, &ids))
            return false;
        *ret_ids = ids;
        return true;
    }
    if (!proa_str_split(&rest, '-', &part) || !b3_trace_id(part, &ids))
        return false;
    if (!proa_str_split(&rest, '-', &part) || !b3_span_id(part, &ids))
        return false;
    if (proa_str_split(&rest, '-', &part) && !b3_state(part, &ids))
        return false;
    if (proa_str_split(&rest, '-', &part) && !b3_span_id(part, &parent))
        return false;
    if (proa_str_split(&rest, '-', &part))
        return false;
    *ret_ids = ids;
    return true;
}

bool proa_b3_parse_multi(proa_str trace_id, proa_str span_id, proa_str sampled, proa_str flags,
                         struct proa_trace_ids *ret_ids)
{
    struct proa_trace_ids ids = {.flags = PROA_TRACE_UNDECIDED};

    if (trace_id.len == 0 && span_id.len == 0 && sampled.len == 0 && flags.len == 0)
        return false;
    if ((trace_id.len > 0) != (span_id.len > 0))
        return false;
    if (trace_id.len > 0 && (!b3_trace_id(trace_id, &ids) || !b3_span_id(span_id, &ids)))
        return false;
    /* Tracers from before the specification wrote words. */
    if (proa_str_eq_c(sampled, "true"))
        sampled = PROA_STR("1");
    else if (proa_str_eq_c(sampled, "false"))
        sampled = PROA_STR("0");
    if (sampled.len > 0 && (sampled.ptr[0] == 'd' || !b3_state(sampled, &ids)))
        return false;
    /* Debug implies an accept decision. */
    if (flags.len > 0 && !proa_str_eq_c(flags, "0") && !proa_str_eq_c(flags, "1"))
        return false;
    if (proa_str_eq_c(flags, "1"))
        ids.flags = PROA_TRACE_SAMPLED | PROA_TRACE_DEBUG;
    *ret_ids = ids;
    return true;
}

static char b3_state_char(const struct proa_trace_ids *ids)
{
    if (ids->flags & PROA_TRACE_DEBUG)
        return 'd';
    return ids->flags & PROA_TRACE_SAMPLED ? '1' : '0';
}

size_t proa_b3_write(const struct proa_trace_ids *ids, char *out)
{
    size_t len = 0;

    if (proa_trace_present(ids)) {
        write_hex(out, ids->trace_id, sizeof ids->trace_id);
        out[TRACE_HEX] = '-';
        write_hex(out + TRACE_HEX + 1, ids->span_id, sizeof ids->span_id);
        len = TRACE_HEX + 1 + SPAN_HEX;
        if (ids->flags & PROA_TRACE_UNDECIDED)
            return len;
        out[len++] = '-';
    }
    out[len++] = b3_state_char(ids);
    return len;
}

/* tracestate. */
static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '*' || c == '/';
}

static bool is_key_part(proa_str part, size_t max, bool digit_may_begin)
{
    if (part.len == 0 || part.len > max)
        return false;
    if (!(part.ptr[0] >= 'a' && part.ptr[0] <= 'z') && !(digit_may_begin && part.ptr[0] >= '0' && part.ptr[0] <= '9'))
        return false;
    for (size_t i = 0; i < part.len; i++)
        if (!is_key_char(part.ptr[i]))
            return false;
    return true;
}

static bool is_key(proa_str key)
{
    ptrdiff_t at = proa_str_find_char(key, '@');

    if (at < 0)
        return is_key_part(key, 256, false);
    return is_key_part(proa_str_slice(key, 0, (size_t)at), 241, true) &&
           is_key_part(proa_str_slice(key, (size_t)at + 1, key.len), 14, false);
}

static bool is_value(proa_str value)
{
    if (value.len == 0 || value.len > 256 || value.ptr[value.len - 1] == ' ')
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < 0x20 || value.ptr[i] > 0x7e || value.ptr[i] == ',' || value.ptr[i] == '=')
            return false;
    return true;
}

enum { TRACESTATE_MEMBERS_MAX = 32, TRACESTATE_LONG = 128 };

struct members {
    proa_str items[TRACESTATE_MEMBERS_MAX];
    uint32_t count;
    size_t bytes; /* of all, with the commas between */
};

static proa_str member_key(proa_str member)
{
    return proa_str_slice(member, 0, (size_t)proa_str_find_char(member, '='));
}

static bool add_member(struct members *members, proa_str member)
{
    ptrdiff_t equals = proa_str_find_char(member, '=');

    if (equals < 0 || members->count == TRACESTATE_MEMBERS_MAX || !is_key(proa_str_slice(member, 0, (size_t)equals)) ||
        !is_value(proa_str_slice(member, (size_t)equals + 1, member.len)))
        return false;
    for (uint32_t i = 0; i < members->count; i++)
        if (proa_str_eq(member_key(members->items[i]), proa_str_slice(member, 0, (size_t)equals)))
            return false;
    members->bytes += member.len + (members->count > 0);
    members->items[members->count++] = member;
    return true;
}

static void drop_member(struct members *members, uint32_t index)
{
    members->bytes -= members->items[index].len + (members->count > 1);
    for (uint32_t i = index + 1; i < members->count; i++)
        members->items[i - 1] = members->items[i];
    members->count--;
}

/* Section 3.3.1.5: long members go first, then those at the end. */
static void shorten(struct members *members)
{
    for (uint32_t i = members->count; i-- > 0 && members->bytes > PROA_TRACESTATE_MAX;)
        if (members->items[i].len > TRACESTATE_LONG)
            drop_member(members, i);
    while (members->bytes > PROA_TRACESTATE_MAX)
        drop_member(members, members->count - 1);
}

bool proa_tracestate_parse(proa_str header, char *out, size_t *ret_len)
{
    struct members members = {.count = 0};
    proa_str rest = header, part;
    size_t len = 0;

    while (proa_str_split(&rest, ',', &part)) {
        part = proa_str_trim(part);
        if (part.len > 0 && !add_member(&members, part))
            return false;
    }
    shorten(&members);
    for (uint32_t i = 0; i < members.count; i++) {
        if (i > 0)
            out[len++] = ',';
        memcpy(out + len, members.items[i].ptr, members.items[i].len);
        len += members.items[i].len;
    }
    *ret_len = len;
    return true;
}

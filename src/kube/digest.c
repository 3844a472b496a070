/* Digests over JSON text, and over the part of an object that managedFields says is ours (KEP-555, fieldsV1).
 *
 * false, 0, "", {} and [] have one digest, and what is ours but not in the object has it too: Go drops such members
 * where it may, and managedFields names them all the same. So an object that holds no more of `hostNetwork: false` is
 * as it was applied, one that somebody has set to true is not (the field is his then), and a body that asks for it
 * differs from one that does not.
 *
 * A value's digest depends on what it is, not on how it is written: an object's is the sum over its members, so that
 * their order does not count; an array's takes its elements in order. The texts come from the API server's answers or
 * our own writer and were checked before: this only walks. What it cannot make sense of gives some digest, which costs
 * an apply. */
#include "digest.h"

#include <proa/text.h>

enum { DEPTH_MAX = 96, UNESCAPED_MAX = 256 };
enum { OF_ZERO = 13, OF_TRUE = 11, OF_NULL = 17 };

/* -- Walking ------------------------------------------------------------------------------------------------------ */

static void skip_space(struct json_cursor *cursor)
{
    while (cursor->at < cursor->end &&
           (*cursor->at == ' ' || *cursor->at == '\n' || *cursor->at == '\r' || *cursor->at == '\t'))
        cursor->at++;
}

static void skip_string(struct json_cursor *cursor)
{
    for (cursor->at++; cursor->at < cursor->end && *cursor->at != '"'; cursor->at++)
        if (*cursor->at == '\\')
            cursor->at++;
    cursor->at = cursor->at < cursor->end ? cursor->at + 1 : cursor->end;
}

static void skip_nested(struct json_cursor *cursor)
{
    int depth = 0;

    do {
        switch (*cursor->at) {
        case '"': skip_string(cursor); continue;
        case '{':
        case '[': depth++; break;
        case '}':
        case ']': depth--; break;
        default: break;
        }
        cursor->at++;
    } while (depth > 0 && cursor->at < cursor->end);
}

static proa_str take_value(struct json_cursor *cursor)
{
    const char *from;

    skip_space(cursor);
    from = cursor->at;
    if (from == cursor->end)
        return (proa_str){NULL, 0};
    if (*from == '"')
        skip_string(cursor);
    else if (*from == '{' || *from == '[')
        skip_nested(cursor);
    else
        while (cursor->at<cursor->end && * cursor->at> ' ' && *cursor->at != ',' && *cursor->at != '}' &&
               *cursor->at != ']')
            cursor->at++;
    return proa_str_n(from, (size_t)(cursor->at - from));
}

struct json_cursor json_open(proa_str value)
{
    struct json_cursor cursor = {value.ptr, value.len > 0 ? value.ptr + value.len : value.ptr};

    skip_space(&cursor);
    if (cursor.at < cursor.end && (*cursor.at == '{' || *cursor.at == '['))
        cursor.at++;
    else
        cursor.at = cursor.end;
    return cursor;
}

/* To the next item's first character; false at the end. */
static bool next_item(struct json_cursor *cursor)
{
    skip_space(cursor);
    if (cursor->at < cursor->end && *cursor->at == ',') {
        cursor->at++;
        skip_space(cursor);
    }
    return cursor->at < cursor->end && *cursor->at != '}' && *cursor->at != ']';
}

bool json_next_member(struct json_cursor *cursor, proa_str *ret_key, proa_str *ret_value)
{
    proa_str key;

    if (!next_item(cursor) || *cursor->at != '"')
        return false;
    key = take_value(cursor);
    skip_space(cursor);
    if (key.len < 2 || cursor->at == cursor->end || *cursor->at != ':')
        return false;
    cursor->at++;
    *ret_key = proa_str_slice(key, 1, key.len - 1);
    *ret_value = take_value(cursor);
    return ret_value->len > 0;
}

bool json_next_element(struct json_cursor *cursor, proa_str *ret_value)
{
    if (!next_item(cursor))
        return false;
    *ret_value = take_value(cursor);
    return ret_value->len > 0;
}

proa_str json_member(proa_str object, proa_str name)
{
    struct json_cursor it = json_open(object);
    proa_str key, value;

    while (json_next_member(&it, &key, &value))
        if (proa_str_eq(key, name))
            return value;
    return (proa_str){NULL, 0};
}

proa_str json_plain_text(proa_str value)
{
    if (value.len < 2 || value.ptr[0] != '"')
        return PROA_STR("");
    return proa_str_slice(value, 1, value.len - 1);
}

/* -- Hashing ------------------------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t h = (a ^ (b + UINT64_C(0x9e3779b97f4a7c15) + (a << 12) + (a >> 4))) * UINT64_C(0xff51afd7ed558ccd);

    h ^= h >> 32;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 29);
}

static size_t unescape_unit(proa_str text, uint32_t *ret_unit)
{
    uint32_t unit = 0;

    if (text.len < 6 || text.ptr[0] != '\\' || text.ptr[1] != 'u')
        return 0;
    for (size_t i = 2; i < 6; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        unit = unit * 16 + (c <= '9' ? c - (uint32_t)'0' : (c | 32u) - 'a' + 10u);
    }
    *ret_unit = unit;
    return 6;
}

/* One escape at the front of the text. @returns its bytes. */
static size_t unescape_one(proa_str text, char out[4], size_t *ret_out)
{
    static const char from[] = "nrtbf", to[] = "\n\r\t\b\f";
    uint32_t unit, low;
    size_t used;
    const char *named;

    *ret_out = 1;
    if (text.len < 2) {
        out[0] = text.ptr[0];
        return 1;
    }
    used = unescape_unit(text, &unit);
    if (used == 0) {
        named = strchr(from, text.ptr[1]);
        out[0] = named ? to[named - from] : text.ptr[1];
        return 2;
    }
    if (unit >= 0xd800 && unit < 0xdc00 && unescape_unit(proa_str_slice(text, used, text.len), &low) > 0) {
        unit = 0x10000 + ((unit - 0xd800) << 10) + ((low - 0xdc00) & 0x3ff);
        used += 6;
    }
    *ret_out = proa_utf8_encode(unit, out);
    return used;
}

/* Of the text between the quotes, as it reads without escapes. */
static uint64_t digest_text(proa_str text)
{
    uint64_t h = UINT64_C(0x51ed270b7a3c0f13);
    size_t whole = text.len;
    char chunk[UNESCAPED_MAX];

    if (!memchr(text.ptr, '\\', whole)) {
        /* In the same pieces as below. */
        for (; text.len > UNESCAPED_MAX; text = proa_str_slice(text, UNESCAPED_MAX, text.len))
            h = mix(h, proa_str_hash(proa_str_n(text.ptr, UNESCAPED_MAX), 0));
        return mix(h, proa_str_hash(text, 0));
    }
    for (size_t filled = 0;;) {
        char one[4];
        size_t used, got = 1;

        if (text.len == 0)
            return mix(h, proa_str_hash(proa_str_n(chunk, filled), 0));
        if (text.ptr[0] == '\\') {
            used = unescape_one(text, one, &got);
        } else {
            one[0] = text.ptr[0];
            used = 1;
        }
        text = proa_str_slice(text, used, text.len);
        for (size_t i = 0; i < got; i++) {
            if (filled == UNESCAPED_MAX) {
                h = mix(h, proa_str_hash(proa_str_n(chunk, filled), 0));
                filled = 0;
            }
            chunk[filled++] = one[i];
        }
    }
}

static uint64_t digest_number(proa_str text)
{
    int64_t integer;
    double number;
    uint64_t bits;

    if (proa_str_to_i64(text, &integer) == 0)
        return integer == 0 ? OF_ZERO : mix(2, (uint64_t)integer);
    if (proa_str_to_double(text, &number) < 0)
        return proa_str_hash(text, 3);
    if (number >= -9e15 && number <= 9e15 && (double)(int64_t)number == number)
        return number == 0 ? OF_ZERO : mix(2, (uint64_t)(int64_t)number);
    memcpy(&bits, &number, sizeof bits);
    return mix(3, bits);
}

static uint64_t digest_at(proa_str json, int depth);

/* What an object's or a list's members come to so far. */
struct sum {
    uint64_t digest;
    size_t count;
};

static void add_member(struct sum *sum, proa_str key, uint64_t value)
{
    sum->digest += mix(digest_text(key), value);
    sum->count++;
}

static void add_element(struct sum *sum, uint64_t value)
{
    sum->digest = mix(sum->count ? sum->digest : 7, value);
    sum->count++;
}

static uint64_t of_object(const struct sum *sum)
{
    return sum->count ? mix(5, sum->digest) : OF_ZERO;
}

static uint64_t of_list(const struct sum *sum)
{
    return sum->count ? sum->digest : OF_ZERO;
}

static uint64_t digest_nested(proa_str json, int depth)
{
    struct json_cursor it = json_open(json);
    struct sum sum = {0, 0};
    proa_str key, value;

    if (json.ptr[0] == '[') {
        while (json_next_element(&it, &value))
            add_element(&sum, digest_at(value, depth + 1));
        return of_list(&sum);
    }
    while (json_next_member(&it, &key, &value))
        add_member(&sum, key, digest_at(value, depth + 1));
    return of_object(&sum);
}

static uint64_t digest_at(proa_str json, int depth)
{
    if (json.len == 0 || depth > DEPTH_MAX)
        return OF_ZERO;
    switch (json.ptr[0]) {
    case '{':
    case '[': return digest_nested(json, depth);
    case '"': return json.len > 2 ? mix(1, digest_text(proa_str_slice(json, 1, json.len - 1))) : OF_ZERO;
    case 't': return OF_TRUE;
    case 'f': return OF_ZERO;
    case 'n': return OF_NULL;
    default: return digest_number(json);
    }
}

uint64_t digest_value(proa_str json)
{
    struct json_cursor cursor = {json.ptr, json.ptr + json.len};

    return digest_at(take_value(&cursor), 0);
}

static bool is_one_of(proa_str key, const char *const *names)
{
    for (; *names; names++)
        if (proa_str_eq_c(key, *names))
            return true;
    return false;
}

/* The sum over members but those named. */
static struct sum sum_without(proa_str json, const char *const *names)
{
    struct json_cursor it = json_open(json);
    struct sum sum = {0, 0};
    proa_str key, value;

    while (json_next_member(&it, &key, &value))
        if (!is_one_of(key, names))
            add_member(&sum, key, digest_at(value, 1));
    return sum;
}

uint64_t digest_body(proa_str json)
{
    static const char *const no_fields[] = {"apiVersion", "kind", "metadata", NULL};
    static const char *const no_metadata[] = {"name",       "namespace",         "uid",           "resourceVersion",
                                              "generation", "creationTimestamp", "managedFields", NULL};
    struct sum sum = sum_without(json, no_fields),
               metadata = sum_without(json_member(json, PROA_STR("metadata")), no_metadata);

    if (metadata.count)
        add_member(&sum, PROA_STR("metadata"), of_object(&metadata));
    return sum.count ? of_object(&sum) : 0;
}

/* -- What is ours -------------------------------------------------------------------------------------------------- */

/* The text of a JSON string with escapes, as "k:{\"name\":\"x\"}" is written; cut at the buffer's end. */
static proa_str unescape(proa_str text, char *out, size_t bytes)
{
    size_t filled = 0;

    while (text.len > 0 && filled + 4 <= bytes) {
        size_t got = 1, used = 1;

        if (text.ptr[0] == '\\')
            used = unescape_one(text, out + filled, &got);
        else
            out[filled] = text.ptr[0];
        filled += got;
        text = proa_str_slice(text, used, text.len);
    }
    return proa_str_n(out, filled);
}

/* Whether an element of a list is the one that a key of fieldsV1 names: k:{…} by its key members, v:… by its value. */
static bool is_item(proa_str path, proa_str element, size_t index)
{
    proa_str wanted = proa_str_slice(path, 2, path.len), key, value;
    struct json_cursor it;
    uint64_t number;

    switch (path.ptr[0]) {
    case 'v': return digest_value(wanted) == digest_value(element);
    case 'i': return proa_str_to_u64(wanted, &number) == 0 && number == index;
    case 'k':
        it = json_open(wanted);
        while (json_next_member(&it, &key, &value))
            if (digest_value(value) != digest_value(json_member(element, key)))
                return false;
        return true;
    default: return false;
    }
}

static uint64_t digest_owned(proa_str value, proa_str fields, int depth);

static uint64_t digest_owned_items(proa_str value, proa_str fields, int depth)
{
    struct json_cursor it = json_open(value);
    struct sum sum = {0, 0};
    size_t index = 0;
    proa_str element;

    for (; json_next_element(&it, &element); index++) {
        struct json_cursor paths = json_open(fields);
        proa_str path, below;

        while (json_next_member(&paths, &path, &below)) {
            char text[UNESCAPED_MAX];

            if (path.len < 2 || path.ptr[1] != ':' || !is_item(unescape(path, text, sizeof text), element, index))
                continue;
            add_element(&sum, digest_owned(element, below, depth + 1));
            break;
        }
    }
    return of_list(&sum);
}

/* The member of that name, looked for from where the last one was found: both lists are mostly in the same order. */
static bool find_member(proa_str object, struct json_cursor *it, proa_str name, proa_str *ret_value)
{
    const char *began = it->at;
    proa_str key;

    while (json_next_member(it, &key, ret_value))
        if (proa_str_eq(key, name))
            return true;
    *it = json_open(object);
    while (it->at < began && json_next_member(it, &key, ret_value))
        if (proa_str_eq(key, name))
            return true;
    return false;
}

/* @param value len 0: it is not there, and so is nothing of it */
static uint64_t digest_owned(proa_str value, proa_str fields, int depth)
{
    struct json_cursor paths = json_open(fields), members;
    struct sum sum = {0, 0};
    bool is_leaf = true;
    proa_str path, below, member;

    if (depth > DEPTH_MAX)
        return OF_ZERO;
    if (value.len > 0 && value.ptr[0] == '[' && json_next_member(&paths, &path, &below))
        return digest_owned_items(value, fields, depth);
    members = json_open(value);
    while (json_next_member(&paths, &path, &below)) {
        is_leaf = false;
        if (path.len < 2 || path.ptr[0] != 'f' || path.ptr[1] != ':')
            continue;
        path = proa_str_slice(path, 2, path.len);
        if (!find_member(value, &members, path, &member))
            member = (proa_str){NULL, 0};
        add_member(&sum, path, digest_owned(member, below, depth + 1));
    }
    return is_leaf ? digest_at(value, depth) : of_object(&sum);
}

struct applied_digests digest_applied(proa_str object, proa_str managed_fields, proa_str manager)
{
    struct json_cursor it = json_open(managed_fields);
    struct applied_digests digests = {0, 0};
    proa_str entry, path, below;

    while (json_next_element(&it, &entry)) {
        proa_str subresource = json_plain_text(json_member(entry, PROA_STR("subresource")));
        proa_str fields = json_member(entry, PROA_STR("fieldsV1"));
        struct json_cursor paths = json_open(fields);
        uint64_t digest;

        if (!json_next_member(&paths, &path, &below) ||
            !proa_str_eq(json_plain_text(json_member(entry, PROA_STR("manager"))), manager) ||
            !proa_str_eq_c(json_plain_text(json_member(entry, PROA_STR("operation"))), "Apply"))
            continue;
        digest = digest_owned(object, fields, 0);
        if (subresource.len == 0)
            digests.main = digest;
        else if (proa_str_eq_c(subresource, "status"))
            digests.status = digest;
    }
    return digests;
}

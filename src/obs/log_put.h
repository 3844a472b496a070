/** Text that may stand in a JSON string as it is, copied and looked at in one go. */
#ifndef PROA_OBS_LOG_PUT_H
#define PROA_OBS_LOG_PUT_H

#include "log_internal.h"

typedef unsigned char bytes16 __attribute__((vector_size(16)));
typedef signed char signed16 __attribute__((vector_size(16)));
typedef uint64_t words16 __attribute__((vector_size(16)));

static inline __attribute__((always_inline)) bool is_ordinary16(bytes16 bytes)
{
    /* As signed numbers, what is not ASCII is below the space too. */
    words16 found = (words16)(((signed16)bytes < 0x20) | (bytes == 0x7f) | (bytes == (unsigned char)'"') |
                              (bytes == (unsigned char)'\\'));

    return (found[0] | found[1]) == 0;
}

static inline bool is_ordinary_char(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Of short text: both ends, overlapping, in one vector. */
static inline __attribute__((always_inline)) bool copy_short(char *out, proa_str value)
{
    uint64_t ends[2] = {0};
    uint32_t head, tail;
    bytes16 bytes;

    if (value.len < 4) {
        for (size_t i = 0; i < value.len; i++) {
            out[i] = value.ptr[i];
            if (!is_ordinary_char(value.ptr[i]))
                return false;
        }
        return true;
    }
    if (value.len >= 8) {
        memcpy(&ends[0], value.ptr, 8);
        memcpy(&ends[1], value.ptr + value.len - 8, 8);
        memcpy(out, &ends[0], 8);
        memcpy(out + value.len - 8, &ends[1], 8);
    } else {
        memcpy(&head, value.ptr, 4);
        memcpy(&tail, value.ptr + value.len - 4, 4);
        memcpy(out, &head, 4);
        memcpy(out + value.len - 4, &tail, 4);
        ends[0] = ends[1] = (uint64_t)head << 32 | tail;
    }
    memcpy(&bytes, ends, sizeof bytes);
    return is_ordinary16(bytes);
}

/* Copies as it looks, 16 bytes at once. @returns whether all of it may stand in a JSON string as it is; else `out`
 * holds a part. */
static inline __attribute__((always_inline)) bool copy_ordinary(char *out, proa_str value)
{
    bytes16 bytes;
    size_t i = 0;

    if (value.len < sizeof bytes)
        return copy_short(out, value);
    for (; value.len - i >= sizeof bytes; i += sizeof bytes) {
        memcpy(&bytes, value.ptr + i, sizeof bytes);
        memcpy(out + i, &bytes, sizeof bytes);
        if (!is_ordinary16(bytes))
            return false;
    }
    if (i == value.len)
        return true;
    memcpy(&bytes, value.ptr + value.len - sizeof bytes, sizeof bytes); /* some of them again */
    memcpy(out + value.len - sizeof bytes, &bytes, sizeof bytes);
    return is_ordinary16(bytes);
}

/** Appends a literal. @returns where it ends. */
#define PUT(at, literal) (memcpy(at, literal, sizeof(literal) - 1), (at) + sizeof(literal) - 1)

#endif

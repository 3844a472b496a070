/* Growing byte buffers on the heap or in an arena. */
#include <proa/buf.h>

#include <proa/checked.h>
#include <proa/error.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_BYTES = 256 };

void proa_buf_init(struct proa_buf *buf, struct proa_arena *arena, size_t max)
{
    *buf = (struct proa_buf){.arena = arena, .max = max};
}

void proa_buf_done(struct proa_buf *buf)
{
    if (!buf->arena)
        free(buf->ptr);
    proa_buf_init(buf, buf->arena, buf->max);
}

void proa_buf_clear(struct proa_buf *buf)
{
    buf->len = 0;
    buf->error = 0;
}

/* Doubles the memory until `more` bytes fit; the size stays within the limit. */
static __attribute__((noinline)) PROA_COLD int grow(struct proa_buf *buf, size_t more)
{
    size_t need, cap;
    char *ptr;

    if (buf->error)
        return buf->error;
    if (!proa_add_size(buf->len, more, &need) || (buf->max && need > buf->max))
        return buf->error = PROA_ETOOLARGE;
    cap = buf->cap ? buf->cap : FIRST_BYTES;
    while (cap < need)
        if (!proa_mul_size(cap, 2, &cap))
            return buf->error = PROA_ETOOLARGE;
    if (buf->max && cap > buf->max)
        cap = buf->max;
    ptr = buf->arena ? proa_arena_grow(buf->arena, buf->ptr, buf->cap, cap) : realloc(buf->ptr, cap);
    if (!ptr)
        return buf->error = PROA_ENOMEM;
    buf->ptr = ptr;
    buf->cap = cap;
    return 0;
}

int proa_buf_reserve(struct proa_buf *buf, size_t more)
{
    if (PROA_LIKELY(more <= buf->cap - buf->len && !buf->error))
        return 0;
    return grow(buf, more);
}

int proa_buf_add(struct proa_buf *buf, proa_str s)
{
    PROA_TRY(proa_buf_reserve(buf, s.len));
    if (s.len)
        memcpy(buf->ptr + buf->len, s.ptr, s.len);
    buf->len += s.len;
    return 0;
}

int proa_buf_add_c(struct proa_buf *buf, const char *c)
{
    return proa_buf_add(buf, proa_str_c(c));
}

int proa_buf_add_char(struct proa_buf *buf, char c)
{
    PROA_TRY(proa_buf_reserve(buf, 1));
    buf->ptr[buf->len++] = c;
    return 0;
}

int proa_buf_add_u64(struct proa_buf *buf, uint64_t value)
{
    char text[PROA_U64_TEXT_MAX];

    return proa_buf_add(buf, proa_str_n(text, proa_u64_text(value, text)));
}

int proa_buf_add_i64(struct proa_buf *buf, int64_t value)
{
    char text[PROA_I64_TEXT_MAX];

    return proa_buf_add(buf, proa_str_n(text, proa_i64_text(value, text)));
}

int proa_buf_add_double(struct proa_buf *buf, double value)
{
    char text[PROA_DOUBLE_TEXT_MAX];

    return proa_buf_add(buf, proa_str_n(text, proa_double_text(value, text)));
}

int proa_buf_printf(struct proa_buf *buf, const char *format, ...)
{
    size_t room = buf->cap - buf->len;
    va_list args;
    int len;

    if (buf->error)
        return buf->error;
    va_start(args, format);
    len = vsnprintf(room ? buf->ptr + buf->len : NULL, room, format, args);
    va_end(args);
    if (len < 0)
        return buf->error = PROA_EINVAL;
    if ((size_t)len < room || len == 0) {
        buf->len += (size_t)len;
        return 0;
    }
    PROA_TRY(proa_buf_reserve(buf, (size_t)len));
    /* vsnprintf writes a NUL too, for which a buffer at its limit has no byte: then by way of a copy. */
    if ((size_t)len < buf->cap - buf->len) {
        va_start(args, format);
        vsnprintf(buf->ptr + buf->len, buf->cap - buf->len, format, args);
        va_end(args);
    } else {
        char *text = malloc((size_t)len + 1);

        if (!text)
            return buf->error = PROA_ENOMEM;
        va_start(args, format);
        vsnprintf(text, (size_t)len + 1, format, args);
        va_end(args);
        memcpy(buf->ptr + buf->len, text, (size_t)len);
        free(text);
    }
    buf->len += (size_t)len;
    return 0;
}

void proa_buf_consume(struct proa_buf *buf, size_t n)
{
    if (n >= buf->len) {
        buf->len = 0;
        return;
    }
    memmove(buf->ptr, buf->ptr + n, buf->len - n);
    buf->len -= n;
}

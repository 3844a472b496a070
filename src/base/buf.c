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

int proa_buf_reserve(struct proa_buf *buf, size_t more)
{
    size_t need, cap;
    char *ptr;

    if (PROA_LIKELY(more <= buf->cap - buf->len && !buf->error))
        return 0;
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
    PROA_TRY(proa_buf_reserve(buf, PROA_U64_TEXT_MAX));
    buf->len += proa_u64_text(value, buf->ptr + buf->len);
    return 0;
}

int proa_buf_add_i64(struct proa_buf *buf, int64_t value)
{
    PROA_TRY(proa_buf_reserve(buf, PROA_I64_TEXT_MAX));
    buf->len += proa_i64_text(value, buf->ptr + buf->len);
    return 0;
}

int proa_buf_add_double(struct proa_buf *buf, double value)
{
    PROA_TRY(proa_buf_reserve(buf, PROA_DOUBLE_TEXT_MAX));
    buf->len += proa_double_text(value, buf->ptr + buf->len);
    return 0;
}

int proa_buf_printf(struct proa_buf *buf, const char *format, ...)
{
    va_list args;
    int len;

    PROA_TRY(proa_buf_reserve(buf, 1));
    va_start(args, format);
    len = vsnprintf(buf->ptr + buf->len, buf->cap - buf->len, format, args);
    va_end(args);
    if (len < 0)
        return buf->error = PROA_EINVAL;
    if ((size_t)len >= buf->cap - buf->len) {
        /* One more for the NUL that vsnprintf writes. */
        PROA_TRY(proa_buf_reserve(buf, (size_t)len + 1));
        va_start(args, format);
        vsnprintf(buf->ptr + buf->len, buf->cap - buf->len, format, args);
        va_end(args);
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

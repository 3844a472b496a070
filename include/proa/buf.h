/** A growing byte buffer. */
#ifndef PROA_BUF_H
#define PROA_BUF_H

#include <proa/arena.h>
#include <proa/defs.h>
#include <proa/str.h>

PROA_BEGIN_DECLS

/** Zero-initialised is empty, heap-backed and without a limit. After a failed append the buffer is
 *  marked: later appends do nothing and proa_buf_failed tells, so a writer checks once at its end. */
struct proa_buf {
    char *ptr;
    size_t len;
    size_t cap;
    size_t max;               /**< bytes, 0: no limit */
    struct proa_arena *arena; /**< NULL: malloc; not owned */
    int error;                /**< 0, PROA_ENOMEM or PROA_ETOOLARGE */
};

void proa_buf_init(struct proa_buf *buf, struct proa_arena *arena, size_t max);
/** Frees a heap-backed buffer's memory; leaves it empty and usable. */
void proa_buf_done(struct proa_buf *buf);
/** Forgets the content and the error, keeps the memory. */
void proa_buf_clear(struct proa_buf *buf);
/** Room for `more` bytes behind len. @returns 0, PROA_ENOMEM or PROA_ETOOLARGE (also kept in buf->error). */
int proa_buf_reserve(struct proa_buf *buf, size_t more);
int proa_buf_add(struct proa_buf *buf, proa_str s);
int proa_buf_add_c(struct proa_buf *buf, const char *c);
int proa_buf_add_char(struct proa_buf *buf, char c);
int proa_buf_add_u64(struct proa_buf *buf, uint64_t value);
int proa_buf_add_i64(struct proa_buf *buf, int64_t value);
int proa_buf_add_double(struct proa_buf *buf, double value);
int proa_buf_printf(struct proa_buf *buf, const char *format, ...) PROA_PRINTF(2, 3);
/** Drops `n` bytes from the front (memmove). */
void proa_buf_consume(struct proa_buf *buf, size_t n);

static inline proa_str proa_buf_str(const struct proa_buf *buf)
{
    return proa_str_n(buf->ptr, buf->len);
}

PROA_END_DECLS
#endif

/* Streams on sockets: TCP and Unix.
 *
 * libuv says when a descriptor is ready (a poll handle, which is also a third smaller than its TCP handle);
 * reading and writing are done here, because libuv's writes would raise SIGPIPE in a process that has not
 * asked for it to be ignored, and a library must not decide that for the process.
 *
 * What is polled follows what is wanted lazily: a wish is fulfilled at once, reading that is no longer wanted is
 * polled for until something comes that nobody reads. So a client that reads, writes and reads again costs no
 * epoll_ctl, and an idle connection stays as it is.
 */
#include "stream_internal.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

enum {
    SLICES_A_CALL = 64,
    QUEUE_BLOCK_BYTES = 4096, /* so that many small sends to a slow peer share blocks */
};

/* Bytes that the socket did not take at once. */
struct out_block {
    struct out_block *next;
    size_t begin, end, cap;
    char data[];
};

struct uv_stream {
    struct proa_stream base;
    uv_poll_t poll;
    struct out_block *out, *out_last;
    size_t queued;
    int fd;
    uint8_t polled; /* UV_READABLE, UV_WRITABLE */
    bool has_more;  /* the last read filled its buffer */
    bool was_reset;
    bool closing;
};

static struct uv_stream *of(const struct proa_stream *stream)
{
    return (struct uv_stream *)(uintptr_t)stream;
}

static void on_ready(uv_poll_t *poll, int status, int events);

static int poll_for(struct uv_stream *stream, int events)
{
    int rc = 0;

    if (stream->polled == events)
        return 0;
    if (events)
        rc = uv_poll_start(&stream->poll, events, on_ready);
    else
        uv_poll_stop(&stream->poll);
    if (rc < 0)
        return proa_code_from_errno(rc);
    stream->polled = (uint8_t)events;
    return 0;
}

/* Reading. */
static int read_start(struct proa_stream *base)
{
    return poll_for(of(base), of(base)->polled | UV_READABLE);
}

static void read_stop(struct proa_stream *base)
{
    (void)base; /* found out by on_ready */
}

static ptrdiff_t receive(struct uv_stream *stream, char *out, size_t bytes)
{
    ssize_t got;

    do
        got = recv(stream->fd, out, bytes, 0);
    while (got < 0 && errno == EINTR);
    stream->has_more = got > 0 && (size_t)got == bytes;
    if (got == 0 && stream->was_reset)
        return PROA_ECLOSED; /* the kernel told the reset to the sender, and tells it once */
    return got < 0 ? proa_code_from_errno(-errno) : got;
}

static ptrdiff_t read_now(struct proa_stream *base, char *out, size_t bytes)
{
    return of(base)->has_more ? receive(of(base), out, bytes) : PROA_EAGAIN;
}

static void on_readable(struct uv_stream *stream)
{
    char *buffer;
    size_t bytes;
    ptrdiff_t got;

    stream_buffer(&stream->base, &buffer, &bytes);
    if (bytes == 0) {
        stream_end(&stream->base, PROA_ENOMEM);
        return;
    }
    got = receive(stream, buffer, bytes);
    if (got > 0)
        stream_data(&stream->base, proa_str_n(buffer, (size_t)got));
    else if (got != PROA_EAGAIN)
        stream_end(&stream->base, (int)got);
}

/* Writing. */

/* @returns bytes taken, 0 when the socket is full, or an error. */
static ptrdiff_t transmit(struct uv_stream *stream, struct iovec *slices, size_t count)
{
    struct msghdr message = {.msg_iov = slices, .msg_iovlen = count};
    ssize_t put;

    do /* one slice is the common case, and send is cheaper */
        put = count == 1 ? send(stream->fd, slices->iov_base, slices->iov_len, MSG_NOSIGNAL)
                         : sendmsg(stream->fd, &message, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put < 0 && (errno == EAGAIN || errno == ENOBUFS))
        return 0;
    if (put < 0 && errno == ECONNRESET)
        stream->was_reset = true;
    return put < 0 ? proa_code_from_errno(-errno) : put;
}

static void drop_queue(struct uv_stream *stream)
{
    while (stream->out) {
        struct out_block *next = stream->out->next;

        free(stream->out);
        stream->out = next;
    }
    stream->out_last = NULL;
    stream->queued = 0;
}

static int queue(struct uv_stream *stream, proa_str bytes)
{
    struct out_block *last = stream->out_last;
    size_t room = last ? last->cap - last->end : 0;
    size_t now = room < bytes.len ? room : bytes.len;
    size_t rest = bytes.len - now;

    if (rest > 0) {
        size_t cap = rest > QUEUE_BLOCK_BYTES - sizeof *last ? rest : QUEUE_BLOCK_BYTES - sizeof *last;
        struct out_block *block = malloc(sizeof *block + cap);

        if (!block)
            return PROA_ENOMEM;
        *block = (struct out_block){.end = rest, .cap = cap};
        memcpy(block->data, bytes.ptr + now, rest);
        if (last)
            last->next = block;
        else
            stream->out = block;
        stream->out_last = block;
    }
    if (now > 0) {
        memcpy(last->data + last->end, bytes.ptr, now);
        last->end += now;
    }
    stream->queued += bytes.len;
    return 0;
}

/* Queues the slices without their first `done` bytes. */
static int queue_rest(struct uv_stream *stream, const proa_str *slices, size_t count, size_t done)
{
    for (size_t i = 0; i < count; i++) {
        size_t skip = done < slices[i].len ? done : slices[i].len;

        done -= skip;
        if (skip < slices[i].len)
            PROA_TRY(queue(stream, proa_str_n(slices[i].ptr + skip, slices[i].len - skip)));
    }
    return stream->queued > 0 ? poll_for(stream, stream->polled | UV_WRITABLE) : 0;
}

static int send_now(struct uv_stream *stream, const proa_str *slices, size_t count)
{
    struct iovec vector[SLICES_A_CALL] __attribute__((uninitialized));
    size_t total = 0;
    ptrdiff_t put;

    for (size_t i = 0; i < count; i++) {
        vector[i] = (struct iovec){(void *)(uintptr_t)slices[i].ptr, slices[i].len};
        total += slices[i].len;
    }
    if (total == 0)
        return 0;
    put = transmit(stream, vector, count);
    if (put < 0)
        return (int)put;
    return (size_t)put < total ? queue_rest(stream, slices, count, (size_t)put) : 0;
}

static int send_slices(struct proa_stream *base, const proa_str *slices, size_t count)
{
    struct uv_stream *stream = of(base);
    int rc = 0;

    while (count > 0 && rc == 0) {
        size_t now = count < SLICES_A_CALL ? count : SLICES_A_CALL;

        rc = stream->queued > 0 ? queue_rest(stream, slices, now, 0) : send_now(stream, slices, now);
        slices += now;
        count -= now;
    }
    if (rc < 0)
        drop_queue(stream);
    return rc;
}

static size_t queued(const struct proa_stream *base)
{
    return of(base)->queued;
}

static void taken(struct uv_stream *stream, size_t bytes)
{
    stream->queued -= bytes;
    while (bytes > 0) {
        struct out_block *block = stream->out;
        size_t now;

        assert(block);
        now = block->end - block->begin < bytes ? block->end - block->begin : bytes;

        block->begin += now;
        bytes -= now;
        if (block->begin < block->end)
            break;
        stream->out = block->next;
        if (!stream->out)
            stream->out_last = NULL;
        free(block);
    }
}

static void on_writable(struct uv_stream *stream)
{
    struct iovec vector[SLICES_A_CALL] __attribute__((uninitialized));
    size_t count = 0;
    ptrdiff_t put;

    for (struct out_block *block = stream->out; block && count < SLICES_A_CALL; block = block->next)
        vector[count++] = (struct iovec){block->data + block->begin, block->end - block->begin};
    put = transmit(stream, vector, count);
    if (put < 0) {
        drop_queue(stream);
        stream_drained(&stream->base, (int)put);
        return;
    }
    taken(stream, (size_t)put);
    if (stream->queued > 0)
        return;
    if (stream->base.shut)
        shutdown(stream->fd, SHUT_WR);
    stream_drained(&stream->base, 0);
}

static void shut_down(struct proa_stream *base)
{
    if (of(base)->queued == 0)
        shutdown(of(base)->fd, SHUT_WR); /* else on_writable, once the queue is empty */
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct uv_stream *stream = PROA_CONTAINER(poll, struct uv_stream, poll);
    bool was_reading = stream->base.reading;
    int wanted, superfluous;

    (void)loop_now(stream->base.loop); /* the loop waits no more, for the watchdog */
    if (status < 0) {
        /* An error of the socket: libuv has stopped polling; reading or writing says which it is. */
        stream->polled = 0;
        events = UV_READABLE | UV_WRITABLE;
    }
    if (events & UV_WRITABLE && stream->queued > 0)
        on_writable(stream);
    if (events & UV_READABLE && !stream->closing && stream->base.reading)
        on_readable(stream);
    if (stream->closing)
        return;
    wanted = (stream->base.reading ? UV_READABLE : 0) | (stream->queued > 0 ? UV_WRITABLE : 0);
    /* A socket stays writable, so that wish goes at once; reading that has stopped just now may be wanted
     * again before anything comes. */
    superfluous = stream->polled & ~wanted & (UV_WRITABLE | (was_reading ? 0 : UV_READABLE));
    if (superfluous || wanted & ~stream->polled)
        (void)poll_for(stream, wanted);
}

/* Ending. */
static void on_closed(uv_handle_t *handle)
{
    struct uv_stream *stream = PROA_CONTAINER(handle, struct uv_stream, poll);

    loop_release(stream->base.loop);
    free(stream);
}

static void close_stream(struct proa_stream *base, bool reset)
{
    struct uv_stream *stream = of(base);
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    assert(!stream->closing);
    stream->closing = true;
    drop_queue(stream);
    uv_close((uv_handle_t *)&stream->poll, on_closed);
    if (reset)
        setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(stream->fd);
}

static void address(const struct proa_stream *base, bool peer, char *out)
{
    struct sockaddr_storage storage = {0};
    socklen_t len = sizeof storage;
    int fd = of(base)->fd;

    if ((peer ? getpeername(fd, (struct sockaddr *)&storage, &len)
              : getsockname(fd, (struct sockaddr *)&storage, &len)) < 0)
        out[0] = '\0';
    else
        address_text(&storage, len, out);
}

/* Half of the time in silence, then a question every sixth, of which three may stay without an answer. */
static void set_peer_timeout(struct proa_stream *base, uint32_t ms)
{
    int fd = of(base)->fd, on = 1, probes = 3, limit = ms > INT_MAX ? INT_MAX : (int)ms;
    int idle_s = limit >= 2000 ? limit / 2000 : 1, every_s = limit >= 6000 ? limit / 6000 : 1;

    /* On a Unix socket they fail, and are not needed. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
}

static const struct proa_stream_ops uv_stream_ops = {
    .read_start = read_start,
    .read_stop = read_stop,
    .read_now = read_now,
    .send = send_slices,
    .queued = queued,
    .shutdown = shut_down,
    .close = close_stream,
    .address = address,
    .set_peer_timeout = set_peer_timeout,
};

int stream_from_fd(struct proa_loop *loop, int fd, struct proa_stream **ret_stream)
{
    struct uv_stream *stream = calloc(1, sizeof *stream);
    int rc;

    if (!stream) {
        close(fd);
        return PROA_ENOMEM;
    }
    rc = uv_poll_init(loop_uv(loop), &stream->poll, fd);
    if (rc < 0) {
        close(fd);
        free(stream);
        return proa_code_from_errno(rc);
    }
    stream->base.ops = &uv_stream_ops;
    stream->base.loop = loop;
    stream->fd = fd;
    loop_hold(loop);
    *ret_stream = &stream->base;
    return 0;
}

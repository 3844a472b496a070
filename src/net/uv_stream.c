/* Streams on libuv: TCP and Unix sockets. */
#include "stream_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum { SLICES_MAX = 16 };

struct uv_stream {
    struct proa_stream base;
    size_t queued; /* bytes in write requests under way */
    bool shut;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
};

/* A copy of bytes that the socket did not take at once. */
struct write_request {
    uv_write_t req;
    struct uv_stream *stream;
    size_t bytes;
    char data[];
};

static struct uv_stream *of(const struct proa_stream *stream)
{
    return (struct uv_stream *)(uintptr_t)stream;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct uv_stream *stream = handle->data;

    (void)suggested;
    stream_buffer(&stream->base, &buf->base, &buf->len);
}

static void on_read(uv_stream_t *handle, ssize_t got, const uv_buf_t *buf)
{
    struct uv_stream *stream = handle->data;

    if (got > 0)
        stream_data(&stream->base, proa_str_n(buf->base, (size_t)got));
    else if (got == UV_EOF)
        stream_end(&stream->base, 0);
    else if (got < 0)
        stream_end(&stream->base, got == UV_ENOBUFS ? PROA_ENOMEM : proa_code_from_errno((int)got));
}

static int read_start(struct proa_stream *stream)
{
    int rc = uv_read_start(&of(stream)->uv.stream, on_alloc, on_read);

    return rc < 0 && rc != UV_EALREADY ? proa_code_from_errno(rc) : 0;
}

static void read_stop(struct proa_stream *stream)
{
    uv_read_stop(&of(stream)->uv.stream);
}

static void on_written(uv_write_t *req, int status)
{
    struct write_request *request = req->data;
    struct uv_stream *stream = request->stream;

    stream->queued -= request->bytes;
    free(request);
    if (uv_is_closing(&stream->uv.handle))
        return;
    if (status < 0 || stream->queued == 0)
        stream_drained(&stream->base, status < 0 ? proa_code_from_errno(status) : 0);
}

static int queue_rest(struct uv_stream *stream, const uv_buf_t *bufs, size_t count, size_t done, size_t total)
{
    struct write_request *request = malloc(sizeof *request + total - done);
    size_t at = 0;
    uv_buf_t buf;

    if (!request)
        return PROA_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        size_t skip = done < bufs[i].len ? done : bufs[i].len;

        memcpy(request->data + at, bufs[i].base + skip, bufs[i].len - skip);
        at += bufs[i].len - skip;
        done -= skip;
    }
    request->req.data = request;
    request->stream = stream;
    request->bytes = at;
    buf = uv_buf_init(request->data, (unsigned)at);
    if (uv_write(&request->req, &stream->uv.stream, &buf, 1, on_written) < 0) {
        free(request);
        return PROA_EIO;
    }
    stream->queued += at;
    return 0;
}

static int send_slices(struct proa_stream *base, const proa_str *slices, size_t count)
{
    struct uv_stream *stream = of(base);
    uv_buf_t bufs[SLICES_MAX];
    size_t total = 0;
    int done = 0, rc;

    assert(count <= SLICES_MAX);
    for (size_t i = 0; i < count; i++) {
        bufs[i] = uv_buf_init((char *)(uintptr_t)slices[i].ptr, (unsigned)slices[i].len);
        total += slices[i].len;
    }
    if (total == 0)
        return 0;
    if (stream->queued == 0) {
        done = uv_try_write(&stream->uv.stream, bufs, (unsigned)count);
        if (done == UV_EAGAIN)
            done = 0;
        if (done < 0)
            return base->broken = proa_code_from_errno(done);
        if ((size_t)done == total)
            return 0;
    }
    rc = queue_rest(stream, bufs, count, (size_t)done, total);
    if (rc < 0)
        base->broken = rc;
    return rc;
}

static size_t queued(const struct proa_stream *stream)
{
    return of(stream)->queued;
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)status;
    free(req);
}

static void shut_down(struct proa_stream *base)
{
    struct uv_stream *stream = of(base);
    uv_shutdown_t *req = stream->shut ? NULL : malloc(sizeof *req);

    stream->shut = true;
    if (req && uv_shutdown(req, &stream->uv.stream, on_shutdown) < 0)
        free(req);
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_stream *stream = handle->data;

    loop_release(stream->base.loop);
    free(stream);
}

static void close_stream(struct proa_stream *base, bool reset)
{
    struct uv_stream *stream = of(base);

    if (reset && stream->uv.handle.type == UV_TCP && !stream->shut &&
        uv_tcp_close_reset(&stream->uv.tcp, on_closed) == 0)
        return;
    uv_close(&stream->uv.handle, on_closed);
}

static void address(const struct proa_stream *base, bool peer, char *out)
{
    struct sockaddr_storage storage = {0};
    socklen_t len = sizeof storage;
    uv_os_fd_t fd;

    if (uv_fileno(&of(base)->uv.handle, &fd) < 0 || (peer ? getpeername(fd, (struct sockaddr *)&storage, &len)
                                                          : getsockname(fd, (struct sockaddr *)&storage, &len)) < 0) {
        out[0] = '\0';
        return;
    }
    address_text(&storage, len, out);
}

static const struct proa_stream_ops uv_stream_ops = {
    .read_start = read_start,
    .read_stop = read_stop,
    .send = send_slices,
    .queued = queued,
    .shutdown = shut_down,
    .close = close_stream,
    .address = address,
};

int stream_from_fd(struct proa_loop *loop, int fd, bool is_unix, struct proa_stream **ret_stream)
{
    struct uv_stream *stream = calloc(1, sizeof *stream);
    int rc, on = 1;

    if (!stream) {
        close(fd);
        return PROA_ENOMEM;
    }
    stream->base.ops = &uv_stream_ops;
    stream->base.loop = loop;
    if (is_unix) {
        uv_pipe_init(loop_uv(loop), &stream->uv.pipe, 0);
        rc = uv_pipe_open(&stream->uv.pipe, fd);
    } else {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        uv_tcp_init(loop_uv(loop), &stream->uv.tcp);
        rc = uv_tcp_open(&stream->uv.tcp, fd);
    }
    stream->uv.handle.data = stream;
    loop_hold(loop);
    if (rc < 0) {
        close(fd);
        uv_close(&stream->uv.handle, on_closed);
        return proa_code_from_errno(rc);
    }
    *ret_stream = &stream->base;
    return 0;
}

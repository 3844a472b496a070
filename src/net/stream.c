/* Streams: what does not depend on what carries them. */
#include "stream_internal.h"

#include <stdlib.h>
#include <string.h>

/* A fiber's write is sent in pieces of this size, so that no more than one is copied while it waits. */
enum { WRITE_PIECE_BYTES = 64 * 1024 };

static int start_reading(struct proa_stream *stream)
{
    int rc;

    if (stream->reading)
        return 0;
    stream->reading = true;
    rc = stream->ops->read_start(stream);
    if (rc < 0)
        stream->reading = false;
    return rc;
}

static void stop_reading(struct proa_stream *stream)
{
    if (!stream->reading)
        return;
    stream->reading = false;
    stream->ops->read_stop(stream);
}

int proa_stream_attach(struct proa_stream *stream, const struct proa_stream_events *events, void *arg)
{
    loop_assert_here(stream->loop);
    assert(events && !stream->reader && !stream->writer);
    stream->events = events;
    stream->arg = arg;
    return start_reading(stream);
}

void proa_stream_pause(struct proa_stream *stream)
{
    loop_assert_here(stream->loop);
    stop_reading(stream);
}

void proa_stream_resume(struct proa_stream *stream)
{
    loop_assert_here(stream->loop);
    assert(stream->events);
    /* A failure to start is one of memory; it is found again at the next resume, and by timeouts. */
    if (!stream->ended)
        (void)start_reading(stream);
}

int proa_stream_send(struct proa_stream *stream, const proa_str *slices, size_t count)
{
    int rc;

    loop_assert_here(stream->loop);
    if (stream->send_error)
        return stream->send_error;
    if (stream->shut)
        return PROA_ECLOSED;
    rc = stream->ops->send(stream, slices, count);
    if (rc < 0)
        stream->send_error = (int16_t)rc;
    return rc;
}

size_t proa_stream_queued(const struct proa_stream *stream)
{
    return stream->ops->queued(stream);
}

void stream_buffer(struct proa_stream *stream, char **ret_buffer, size_t *ret_bytes)
{
    struct proa_loop *loop = stream->loop;

    if (stream->reader) {
        *ret_buffer = stream->reader->out;
        *ret_bytes = stream->reader->bytes;
        return;
    }
    if (!loop->read_buffer)
        loop->read_buffer = malloc(READ_BUFFER_BYTES);
    *ret_buffer = loop->read_buffer;
    *ret_bytes = loop->read_buffer ? READ_BUFFER_BYTES : 0;
}

static void wake_reader(struct proa_stream *stream, size_t got, int code)
{
    struct stream_reader *reader = stream->reader;

    stream->reader = NULL;
    reader->got = got;
    reader->code = code;
    reader->is_done = true;
    proa_unpark(&reader->waiter, 0);
}

void stream_data(struct proa_stream *stream, proa_str bytes)
{
    struct stream_reader *reader = stream->reader;

    assert(bytes.len > 0);
    if (!reader) {
        stream->events->on_data(stream->arg, bytes);
        return;
    }
    assert(bytes.len <= reader->bytes);
    if (bytes.ptr != reader->out)
        memcpy(reader->out, bytes.ptr, bytes.len);
    stop_reading(stream);
    wake_reader(stream, bytes.len, 0);
}

void stream_end(struct proa_stream *stream, int code)
{
    stream->ended = true;
    stream->end_code = (int16_t)code;
    stop_reading(stream);
    if (stream->reader)
        wake_reader(stream, 0, code);
    else if (stream->events && stream->events->on_end)
        stream->events->on_end(stream->arg, code);
}

static void wake_writer(struct proa_stream *stream, int code)
{
    struct stream_writer *writer = stream->writer;

    stream->writer = NULL;
    writer->is_done = true;
    proa_unpark(&writer->waiter, code);
}

void stream_drained(struct proa_stream *stream, int code)
{
    if (code < 0)
        stream->send_error = (int16_t)code;
    if (stream->writer)
        wake_writer(stream, code);
    else if (stream->events && stream->events->on_drained)
        stream->events->on_drained(stream->arg, code);
}

/* @returns PROA_EAGAIN when it must be waited for. */
static int read_without_waiting(struct proa_stream *stream, void *out, size_t bytes, size_t *ret_bytes)
{
    ptrdiff_t got;

    if (stream->ended) {
        PROA_TRY(stream->end_code);
        *ret_bytes = 0;
        return 0;
    }
    if (!stream->ops->read_now)
        return PROA_EAGAIN;
    got = stream->ops->read_now(stream, out, bytes);
    if (got == PROA_EAGAIN)
        return PROA_EAGAIN;
    if (got <= 0) {
        stream->ended = true;
        stream->end_code = (int16_t)got;
        PROA_TRY((int)got);
    }
    *ret_bytes = (size_t)got;
    return 0;
}

int proa_stream_read(struct proa_stream *stream, void *out, size_t bytes, size_t *ret_bytes)
{
    struct stream_reader reader = {.out = out, .bytes = bytes};
    int rc;

    loop_assert_here(stream->loop);
    assert(bytes > 0 && !stream->reader && !stream->events);
    PROA_TRY(fiber_struck(stream->loop));
    rc = read_without_waiting(stream, out, bytes, ret_bytes);
    if (rc != PROA_EAGAIN)
        return rc;
    proa_waiter_init(&reader.waiter, stream->loop);
    stream->reader = &reader;
    rc = start_reading(stream);
    if (rc == 0)
        rc = proa_park(&reader.waiter);
    /* What came in the same moment as the deadline is not lost. The stream may be gone if it is done. */
    if (reader.is_done) {
        PROA_TRY(reader.code);
        *ret_bytes = reader.got;
        return 0;
    }
    stream->reader = NULL;
    stop_reading(stream);
    return rc;
}

static int wait_drained(struct proa_stream *stream)
{
    struct stream_writer writer = {0};
    int rc;

    proa_waiter_init(&writer.waiter, stream->loop);
    stream->writer = &writer;
    rc = proa_park(&writer.waiter);
    if (!writer.is_done)
        stream->writer = NULL;
    return rc;
}

int proa_stream_write(struct proa_stream *stream, proa_str bytes)
{
    loop_assert_here(stream->loop);
    assert(!stream->writer && !stream->events);
    PROA_TRY(fiber_struck(stream->loop));
    while (bytes.len > 0) {
        proa_str piece = proa_str_n(bytes.ptr, bytes.len < WRITE_PIECE_BYTES ? bytes.len : WRITE_PIECE_BYTES);

        PROA_TRY(proa_stream_send(stream, &piece, 1));
        if (stream->ops->queued(stream) > 0)
            PROA_TRY(wait_drained(stream));
        bytes = proa_str_n(bytes.ptr + piece.len, bytes.len - piece.len);
    }
    return 0;
}

void proa_stream_shutdown(struct proa_stream *stream)
{
    loop_assert_here(stream->loop);
    if (stream->send_error || stream->shut)
        return;
    stream->shut = true;
    stream->ops->shutdown(stream);
}

static void close_stream(struct proa_stream *stream, bool reset)
{
    loop_assert_here(stream->loop);
    stream->events = NULL;
    if (stream->reader)
        wake_reader(stream, 0, PROA_ECLOSED);
    if (stream->writer)
        wake_writer(stream, PROA_ECLOSED);
    stream->ops->close(stream, reset);
}

void proa_stream_close(struct proa_stream *stream)
{
    if (stream)
        close_stream(stream, false);
}

void proa_stream_abort(struct proa_stream *stream)
{
    if (stream)
        close_stream(stream, true);
}

void proa_stream_set_peer_timeout(struct proa_stream *stream, uint32_t ms)
{
    if (ms > 0 && stream->ops->set_peer_timeout)
        stream->ops->set_peer_timeout(stream, ms);
}

struct proa_loop *proa_stream_loop(const struct proa_stream *stream)
{
    return stream->loop;
}

void proa_stream_peer(const struct proa_stream *stream, char *out)
{
    stream->ops->address(stream, true, out);
}

void proa_stream_local(const struct proa_stream *stream, char *out)
{
    stream->ops->address(stream, false, out);
}

proa_str proa_stream_alpn(const struct proa_stream *stream)
{
    return stream->ops->alpn ? stream->ops->alpn(stream) : proa_str_n("", 0);
}

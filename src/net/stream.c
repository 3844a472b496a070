/* Streams: what does not depend on what carries them. */
#include "stream_internal.h"

#include <stdlib.h>
#include <string.h>

int proa_stream_attach(struct proa_stream *stream, const struct proa_stream_events *events, void *arg)
{
    loop_assert_here(stream->loop);
    assert(!stream->reader);
    stream->events = events;
    stream->arg = arg;
    stream->reading = true;
    return stream->ops->read_start(stream);
}

void proa_stream_pause(struct proa_stream *stream)
{
    loop_assert_here(stream->loop);
    if (stream->reading) {
        stream->reading = false;
        stream->ops->read_stop(stream);
    }
}

void proa_stream_resume(struct proa_stream *stream)
{
    loop_assert_here(stream->loop);
    if (!stream->reading && !stream->ended && !stream->broken) {
        stream->reading = true;
        (void)stream->ops->read_start(stream);
    }
}

int proa_stream_send(struct proa_stream *stream, const proa_str *slices, size_t count)
{
    loop_assert_here(stream->loop);
    if (stream->broken)
        return stream->broken;
    return stream->ops->send(stream, slices, count);
}

size_t proa_stream_queued(const struct proa_stream *stream)
{
    return stream->ops->queued(stream);
}

void stream_buffer(struct proa_stream *stream, char **ret_buffer, size_t *ret_bytes)
{
    if (stream->reader) {
        *ret_buffer = stream->reader->out;
        *ret_bytes = stream->reader->bytes;
        return;
    }
    if (!stream->loop->read_buffer)
        stream->loop->read_buffer = malloc(READ_BUFFER_BYTES);
    *ret_buffer = stream->loop->read_buffer;
    *ret_bytes = stream->loop->read_buffer ? READ_BUFFER_BYTES : 0;
}

void stream_data(struct proa_stream *stream, proa_str bytes)
{
    struct stream_reader *reader = stream->reader;

    if (!reader) {
        stream->events->on_data(stream->arg, bytes);
        return;
    }
    assert(bytes.len <= reader->bytes);
    if (bytes.ptr != reader->out)
        memcpy(reader->out, bytes.ptr, bytes.len);
    reader->got = bytes.len;
    stream->reader = NULL;
    stream->reading = false;
    stream->ops->read_stop(stream);
    proa_unpark(&reader->waiter, 0);
}

void stream_end(struct proa_stream *stream, int code)
{
    struct stream_reader *reader = stream->reader;

    stream->ended = true;
    if (code < 0)
        stream->broken = code;
    stream->reading = false;
    stream->ops->read_stop(stream);
    if (reader) {
        reader->ended = true;
        reader->code = code;
        stream->reader = NULL;
        proa_unpark(&reader->waiter, 0);
    } else if (stream->events && stream->events->on_end) {
        stream->events->on_end(stream->arg, code);
    }
}

void stream_drained(struct proa_stream *stream, int code)
{
    struct proa_waiter *writer = stream->writer;

    if (code < 0)
        stream->broken = code;
    if (writer) {
        stream->writer = NULL;
        proa_unpark(writer, code);
    } else if (stream->events && stream->events->on_drained) {
        stream->events->on_drained(stream->arg, code);
    }
}

int proa_stream_read(struct proa_stream *stream, void *out, size_t bytes, size_t *ret_bytes)
{
    struct stream_reader reader = {.out = out, .bytes = bytes};
    int rc;

    assert(bytes > 0 && !stream->reader && !stream->events);
    PROA_TRY(proa_fiber_check(stream->loop));
    if (stream->broken)
        return stream->broken;
    if (stream->ended) {
        *ret_bytes = 0;
        return 0;
    }
    proa_waiter_init(&reader.waiter, stream->loop);
    stream->reader = &reader;
    stream->reading = true;
    rc = stream->ops->read_start(stream);
    if (rc == 0)
        rc = proa_park(&reader.waiter);
    if (stream->reader == &reader) {
        stream->reader = NULL;
        stream->reading = false;
        stream->ops->read_stop(stream);
    } else if (rc < 0 && reader.got > 0) {
        rc = 0; /* bytes came before the deadline was looked at: they are not lost */
    }
    PROA_TRY(rc);
    PROA_TRY(reader.code);
    *ret_bytes = reader.got;
    return 0;
}

int proa_stream_write(struct proa_stream *stream, proa_str bytes)
{
    struct proa_waiter waiter;
    int rc;

    PROA_TRY(proa_fiber_check(stream->loop));
    PROA_TRY(proa_stream_send(stream, &bytes, 1));
    if (stream->ops->queued(stream) == 0)
        return 0;
    proa_waiter_init(&waiter, stream->loop);
    stream->writer = &waiter;
    rc = proa_park(&waiter);
    if (stream->writer == &waiter)
        stream->writer = NULL;
    return rc;
}

void proa_stream_shutdown(struct proa_stream *stream)
{
    loop_assert_here(stream->loop);
    if (!stream->broken)
        stream->ops->shutdown(stream);
}

void proa_stream_close(struct proa_stream *stream)
{
    loop_assert_here(stream->loop);
    stream->ops->close(stream, false);
}

void proa_stream_abort(struct proa_stream *stream)
{
    loop_assert_here(stream->loop);
    stream->ops->close(stream, true);
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
    (void)stream;
    return proa_str_n("", 0);
}

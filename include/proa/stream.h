/** Streams: TCP, Unix sockets and what is laid over them (TLS). Listeners, connecting, names.
 *
 *  Two ways to use a stream: with callbacks (servers: an idle stream holds no buffer), or from a fiber
 *  with calls that may suspend (clients). A stream belongs to one loop.
 */
#ifndef PROA_STREAM_H
#define PROA_STREAM_H

#include <proa/defs.h>
#include <proa/error.h>
#include <proa/fiber.h>
#include <proa/loop.h>
#include <proa/str.h>

PROA_BEGIN_DECLS

struct proa_stream;

/** A peer or own address as text: "192.0.2.1:8080", "[2001:db8::1]:443", "unix:/run/x.sock". */
enum { PROA_ADDRESS_MAX = 128 };

/** Callback use. Everything is called on the loop outside fibers. */
struct proa_stream_events {
    /** Bytes arrived. They are valid only during the call (a buffer of the loop's, shared by all streams). */
    void (*on_data)(void *arg, proa_str bytes);
    /** No more bytes will come: end of stream (code 0) or an error (PROA_EIO, PROA_ECLOSED reset …). Once. */
    void (*on_end)(void *arg, int code);
    /** All that was queued by proa_stream_send has gone to the kernel (`code` 0) or is lost. Called only
     *  after a send returned with bytes queued. */
    void (*on_drained)(void *arg, int code);
};

/** Sets the callbacks and starts reading. */
PROA_MUST_USE int proa_stream_attach(struct proa_stream *stream, const struct proa_stream_events *events, void *arg);
/** Back-pressure: stops and restarts reading. */
void proa_stream_pause(struct proa_stream *stream);
void proa_stream_resume(struct proa_stream *stream);
/** Sends slices: as much as the socket takes at once, the rest is copied and queued (without bound: a
 *  writer looks at proa_stream_queued). @returns 0 or an error (the stream is then broken). */
PROA_MUST_USE int proa_stream_send(struct proa_stream *stream, const proa_str *slices, size_t count);
/** Bytes queued and not yet taken by the kernel. */
size_t proa_stream_queued(const struct proa_stream *stream);

/** Fiber use (one fiber reads and one writes at a time): may suspend until at least one byte is there.
 *  *ret_bytes 0 at the end of the stream.
 *  @returns 0, PROA_ECLOSED (reset), PROA_ETIMEDOUT, the cancellation's cause, PROA_EIO. */
PROA_MUST_USE int proa_stream_read(struct proa_stream *stream, void *out, size_t bytes, size_t *ret_bytes);
/** Fiber use: may suspend until all is taken by the kernel. After an error it is unknown how much was sent. */
PROA_MUST_USE int proa_stream_write(struct proa_stream *stream, proa_str bytes);

/** Half-close: what is queued is sent, then the end of the stream. */
void proa_stream_shutdown(struct proa_stream *stream);
/** Closes at once and gives the stream up; queued bytes are dropped; no callback comes after it, and a fiber that
 *  waits in it gets PROA_ECLOSED. In any state and from any callback. NULL is fine. */
void proa_stream_close(struct proa_stream *stream);
/** Closes with a reset (RST), for peers that break the rules. NULL is fine. */
void proa_stream_abort(struct proa_stream *stream);

/** After so long without a sign of life of the peer (the kernel asks for one where nothing is under way) it counts as
 *  gone: reading ends with PROA_ETIMEDOUT. For connections that may be silent for long, whose peer may vanish without a
 *  word. Before TLS is laid over it. Without it the kernel's own limits hold: 15 minutes for bytes sent, for ever where
 *  nothing is. Unix sockets need none. */
void proa_stream_set_peer_timeout(struct proa_stream *stream, uint32_t ms);

struct proa_loop *proa_stream_loop(const struct proa_stream *stream);
/** Writes the peer's address with a NUL; out has room for PROA_ADDRESS_MAX. */
void proa_stream_peer(const struct proa_stream *stream, char *out);
/** The same of this end. */
void proa_stream_local(const struct proa_stream *stream, char *out);
/** Name of the protocol chosen by ALPN, "" without TLS. */
proa_str proa_stream_alpn(const struct proa_stream *stream);

/** Connects. `address` is "host:port", "[v6]:port" or "unix:PATH"; host is a numeric address, "localhost" (127.0.0.1)
 *  or a name, resolved by /etc/hosts and DNS (/etc/resolv.conf: servers, search, ndots). Of several addresses the next
 *  one is tried when one fails or does not answer for 250 ms (RFC 8305). On a simulated loop a name is its address.
 *  May suspend. @returns 0, PROA_EUNAVAILABLE (refused, unreachable, no such name, no answer of a name server),
 *  PROA_ENOTFOUND (no such Unix socket), PROA_EINVAL, PROA_ETIMEDOUT, the cancellation's cause. */
PROA_MUST_USE int proa_connect(struct proa_loop *loop, const char *address, struct proa_stream **ret_stream,
                               struct proa_error *err);

/** What lays something over a connected stream, as TLS does (proa/tls.h makes one). */
struct proa_stream_layer {
    /** Takes over `inner` (closes it also on failure) and hands out the stream over it. May suspend. `server_name` is
     *  for SNI and verification. */
    int (*wrap)(const struct proa_stream_layer *layer, struct proa_stream *inner, const char *server_name,
                struct proa_stream **ret_stream, struct proa_error *err);
};
/** Makes such layers, for a part that may not link TLS itself: proa_tls_provider of proa/tls.h is one. */
struct proa_layer_provider {
    /** Reads files: at start. Each may be NULL. What it makes is given back by `free`, after the last stream. */
    int (*make)(const char *ca_file, const char *cert_file, const char *key_file, void **ret_made,
                struct proa_error *err);
    const struct proa_stream_layer *(*layer)(const void *made);
    void (*free)(void *made);
};

struct proa_listener;
struct proa_listener_options {
    const char *address; /**< "0.0.0.0:8080", "[::]:8080", "127.0.0.1:0" (a free port), "unix:PATH" */
    uint32_t backlog;    /**< 0: 1,024 */
    /** A connection, already on `loop`, whose thread this runs on. The stream is the callee's. */
    void (*accepted)(void *arg, struct proa_loop *loop, struct proa_stream *stream);
    void *arg;
    /** Which of the loops takes the next connection, by load: open connections are counted by the listener
     *  and given back with proa_listener_released. NULL `loops`: only the listener's own loop. */
    struct proa_loop *const *loops;
    uint32_t loops_count;
    bool free_unix_path; /**< remove a stale socket file nobody listens on */
};
/** Binds, listens and accepts on `loop`; each connection goes to the loop with the fewest. Out of
 *  descriptors it pauses briefly and goes on, counting it. @returns 0, PROA_EEXISTS (address in use),
 *  PROA_EFORBIDDEN, PROA_EINVAL. */
PROA_MUST_USE int proa_listener_open(struct proa_loop *loop, const struct proa_listener_options *options,
                                     struct proa_listener **ret_listener, struct proa_error *err);
/** The bound address with the real port; out has room for PROA_ADDRESS_MAX. */
void proa_listener_address(const struct proa_listener *listener, char *out);
/** From the loop that got it: a connection given by this listener has ended. */
void proa_listener_released(struct proa_listener *listener, struct proa_loop *loop);
/** How often accepting failed because descriptors or memory were out. From any thread. */
uint64_t proa_listener_accept_failures(const struct proa_listener *listener);
/** Accepts what the kernel's queue holds now, hands it out, and closes the socket. */
void proa_listener_drain_close(struct proa_listener *listener);
/** Frees; closed first if open. From its loop, after all handed-out connections were released. NULL is fine. */
void proa_listener_free(struct proa_listener *listener);

PROA_END_DECLS
#endif

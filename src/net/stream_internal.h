/** What streams have in common, and what their implementations (uv_stream.c, src/sim, src/tls) provide.
 *
 *  An implementation embeds `struct proa_stream`, and calls stream_data, stream_end and stream_drained from
 *  its events, on the loop outside fibers. Each of them may close the stream: an implementation keeps its
 *  memory until they have returned, and looks whether it was closed.
 */
#ifndef PROA_NET_STREAM_INTERNAL_H
#define PROA_NET_STREAM_INTERNAL_H

#include "../rt/loop_internal.h"
#include <proa/loops.h>
#include <proa/stream.h>

enum { READ_BUFFER_BYTES = 64 * 1024 };

struct proa_stream_ops {
    /** Starts and stops reading: between them bytes go to stream_data and the end to stream_end. Also after
     *  an error of sending: what the peer sent before it went is still there to be read. */
    int (*read_start)(struct proa_stream *stream);
    void (*read_stop)(struct proa_stream *stream);
    /** May be NULL. What is there now, without waiting: bytes (0: the end) or an error; PROA_EAGAIN when
     *  nothing is, or when asking is not worth a system call. */
    ptrdiff_t (*read_now)(struct proa_stream *stream, char *out, size_t bytes);
    /** Sends and queues, or fails and sends no more. */
    int (*send)(struct proa_stream *stream, const proa_str *slices, size_t count);
    size_t (*queued)(const struct proa_stream *stream);
    /** Once, unless sending has failed. */
    void (*shutdown)(struct proa_stream *stream);
    void (*close)(struct proa_stream *stream, bool reset);
    void (*address)(const struct proa_stream *stream, bool peer, char *out);
    /** May be NULL: nothing to do. */
    void (*set_peer_timeout)(struct proa_stream *stream, uint32_t ms);
    /** May be NULL: none. */
    proa_str (*alpn)(const struct proa_stream *stream);
};

/** A fiber that waits for bytes; on its stack. */
struct stream_reader {
    struct proa_waiter waiter;
    char *out;
    size_t bytes;
    size_t got;
    int code;
    bool is_done; /* bytes or the end came, or the stream was closed */
};

/** A fiber that waits for the queue to drain; on its stack. */
struct stream_writer {
    struct proa_waiter waiter;
    bool is_done;
};

struct proa_stream {
    const struct proa_stream_ops *ops;
    struct proa_loop *loop;
    const struct proa_stream_events *events; /* callback use */
    void *arg;
    struct stream_reader *reader; /* fiber use: who reads now */
    struct stream_writer *writer; /* fiber use: who writes now */
    int16_t send_error;           /* 0, or why nothing can be sent any more */
    int16_t end_code;             /* how reading ended */
    bool reading;
    bool ended; /* nothing can be read any more */
    bool shut;  /* nothing may be sent any more */
};
_Static_assert(PROA_ECODE_MIN >= INT16_MIN, "codes fit");

/** Called by implementations, on the loop. */
void stream_data(struct proa_stream *stream, proa_str bytes);
void stream_end(struct proa_stream *stream, int code);
/** @param code 0, or the error with which the queue was lost. */
void stream_drained(struct proa_stream *stream, int code);
/** Where an implementation may read to: the reader's own buffer, or the loop's shared one. Length 0 when
 *  memory is out. */
void stream_buffer(struct proa_stream *stream, char **ret_buffer, size_t *ret_bytes);

/** An open, non-blocking descriptor as a stream of this loop. Owns `fd` whatever happens. */
int stream_from_fd(struct proa_loop *loop, int fd, struct proa_stream **ret_stream);

/** For loops that are not libuv's: what loop->net_ops points to. */
struct net_ops {
    int (*connect)(struct proa_loop *loop, const char *address, struct proa_stream **ret_stream,
                   struct proa_error *err);
    /** Sets the listener's `address` and `simulation`. */
    int (*listen)(struct proa_loop *loop, struct proa_listener *listener, const char *address, struct proa_error *err);
    void (*listener_close)(struct proa_listener *listener);
};

/** One loop that gets connections of a listener. */
struct listener_share {
    struct proa_loop *loop;
    _Atomic uint32_t open; /* given to it and not yet released */
};

struct proa_listener {
    struct proa_listener_options options; /* `address` and `loops` of it were only lent */
    struct proa_loop *loop;
    char address[PROA_ADDRESS_MAX];
    int fd;        /* -1: closed, or simulated */
    bool has_path; /* the file of a Unix socket was made */
    struct proa_fd_watch *watch;
    struct proa_timer retry;          /* after descriptors ran out */
    _Atomic uint64_t accept_failures; /* for lack of descriptors or memory */
    void *simulation;                 /* of net_ops, while open */
    uint32_t next_share;
    uint32_t shares_count;
    struct listener_share shares[];
};
/** For net_ops: gives an accepted stream to the listener's owner. */
void listener_hand_out(struct proa_listener *listener, struct proa_stream *stream);

/** Addresses as text and back. @param ret_sockaddr a struct sockaddr_storage. @param out PROA_ADDRESS_MAX. */
int address_parse(const char *text, void *ret_sockaddr, unsigned *ret_len, struct proa_error *err);
void address_text(const void *sockaddr, unsigned len, char *out);

#endif

/** What streams have in common, and what their implementations (libuv, simulation, later TLS) provide. */
#ifndef PROA_NET_STREAM_INTERNAL_H
#define PROA_NET_STREAM_INTERNAL_H

#include "../rt/loop_internal.h"
#include <proa/stream.h>

enum { READ_BUFFER_BYTES = 64 * 1024 };

struct proa_stream_ops {
    /** Starts and stops reading; arrived bytes go to stream_data, the end to stream_end. */
    int (*read_start)(struct proa_stream *stream);
    void (*read_stop)(struct proa_stream *stream);
    int (*send)(struct proa_stream *stream, const proa_str *slices, size_t count);
    size_t (*queued)(const struct proa_stream *stream);
    void (*shutdown)(struct proa_stream *stream);
    void (*close)(struct proa_stream *stream, bool reset);
    void (*address)(const struct proa_stream *stream, bool peer, char *out);
};

/** A fiber that reads: where to, and how it is woken. */
struct stream_reader {
    struct proa_waiter waiter;
    char *out;
    size_t bytes;
    size_t got;
    int code;
    bool ended;
};

struct proa_stream {
    const struct proa_stream_ops *ops;
    struct proa_loop *loop;
    const struct proa_stream_events *events; /* callback use */
    void *arg;
    struct stream_reader *reader; /* fiber use: who reads now */
    struct proa_waiter *writer;   /* who waits for the queue to drain */
    int broken;                   /* 0, or why nothing can be sent or read any more */
    bool reading;
    bool ended; /* the peer has sent its last byte */
};

/** Called by implementations, on the loop. */
void stream_data(struct proa_stream *stream, proa_str bytes);
void stream_end(struct proa_stream *stream, int code);
void stream_drained(struct proa_stream *stream, int code);
/** Where an implementation may read to: the reader's own buffer, or the loop's shared one. */
void stream_buffer(struct proa_stream *stream, char **ret_buffer, size_t *ret_bytes);

/** An open, non-blocking descriptor as a stream of this loop. Owns `fd` whatever happens. */
int stream_from_fd(struct proa_loop *loop, int fd, bool is_unix, struct proa_stream **ret_stream);

/** For loops that are not libuv's: what loop->net_ops points to. */
struct net_ops {
    int (*connect)(struct proa_loop *loop, const char *address, struct proa_stream **ret_stream,
                   struct proa_error *err);
    int (*listen)(struct proa_loop *loop, struct proa_listener *listener, const char *address, struct proa_error *err);
    void (*listener_close)(struct proa_listener *listener);
};

struct proa_listener {
    struct proa_listener_options options;
    struct proa_loop *loop;
    char address[PROA_ADDRESS_MAX];
    int fd; /* -1: closed */
    bool is_unix;
    bool simulated;
    struct proa_fd_watch *watch;
    struct proa_timer retry;          /* after descriptors ran out */
    _Atomic uint64_t accept_failures; /* for lack of descriptors or memory */
    void *simulation;
    _Atomic uint32_t open[]; /* connections given to each loop and not yet released */
};
/** Gives an accepted stream to the loop with the fewest connections; for the simulation: on its one loop. */
void listener_hand_out(struct proa_listener *listener, struct proa_stream *stream);

/** Addresses as text. */
struct sockaddr;
int address_parse(const char *text, void *ret_sockaddr, unsigned *ret_len, struct proa_error *err);
void address_text(const void *sockaddr, unsigned len, char *out);

#endif

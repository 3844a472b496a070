/** The simulation's inside: loop (sim.c) and network (network.c). */
#ifndef PROA_SIM_INTERNAL_H
#define PROA_SIM_INTERNAL_H

#include "../net/stream_internal.h"
#include "../rt/loop_internal.h"
#include <proa/sim.h>

/** What is put into the trace's hash, with two numbers that say more. */
enum sim_event {
    SIM_TIME,
    SIM_BLOCKING,
    SIM_LISTEN,
    SIM_CONNECT,
    SIM_ACCEPT,
    SIM_DATA,
    SIM_END,
    SIM_RESET,
    SIM_WINDOW,
    SIM_PARTITION,
    SIM_WALL,
};

struct proa_sim {
    struct proa_loop loop;
    uint64_t seed;
    proa_mono_ns now;
    proa_time_ns wall_offset;  /* wall clock less monotonic time */
    struct proa_prng app_prng; /* the loop's random bytes; apart, so that faults do not depend on who draws */
    struct proa_prng net_prng;
    uint64_t hash;
    struct proa_list blocking; /* of sim_work: work that fibers wait for */
    uint32_t blocking_count;

    struct proa_sim_network network;
    struct proa_list listeners;
    struct proa_list connects; /* under way */
    struct proa_list connections;
    struct sim_partition *partitions;
    uint64_t connections_made;
    uint32_t next_port;
};

static inline struct proa_sim *sim_of(const struct proa_loop *loop)
{
    return loop->backend;
}
void sim_trace(struct proa_sim *sim, enum sim_event event, uint64_t a, uint64_t b);

struct chunk_queue {
    struct chunk *first, *last;
};

/** One end of a connection, as a stream. */
struct sim_end {
    struct proa_stream base;
    struct sim_connection *connection;
    struct sim_end *peer;
    struct chunk_queue inbox;  /* under way to this end, or arrived and not yet read */
    size_t inbox_bytes;        /* of the window */
    proa_mono_ns last_at;      /* when what was sent last to this end arrives: order is kept */
    proa_mono_ns reset_at;     /* when a reset arrives, PROA_NEVER */
    struct proa_timer arrival; /* of what comes next */
    struct chunk_queue outbox; /* not yet in the window */
    size_t queued;             /* bytes of the outbox */
    struct proa_timer drained; /* says so in a turn of its own */
    uint64_t peer_timeout_ns;  /* 0: none */
    struct proa_timer silence; /* while nothing moves: when this end gives the other up */
    bool owes_drained;
    bool has_given_up;
    bool end_sent;
    bool is_reset;
    bool closed;
};

/** Both ends in one piece; freed when both are closed. */
struct sim_connection {
    struct proa_list node;
    struct proa_sim *sim;
    struct sim_end client, server;
    char listener[PROA_ADDRESS_MAX]; /* address that the listener has */
    char dialed[PROA_ADDRESS_MAX];   /* address that was connected to */
    char from[PROA_ADDRESS_MAX];     /* of the client */
    uint64_t number;
    uint32_t busy; /* an end is in a callback: not to be freed */
    bool is_cut;
    bool is_lost; /* partitioned for ever */
};

/** network.c */
extern const struct net_ops sim_net_ops;
void sim_network_init(struct proa_sim *sim);
/** Asserts that streams and listeners were closed. */
void sim_network_done(struct proa_sim *sim);
bool sim_is_partitioned(const struct sim_connection *connection);

/** stream.c */
struct sim_connection *sim_connection_new(struct proa_sim *sim);
/** Something has changed that may let bytes move. */
void sim_connection_touch(struct sim_connection *connection);
void sim_connection_cut(struct sim_connection *connection);
/** Nothing moves on it any more. */
void sim_connection_lose(struct sim_connection *connection);
uint64_t sim_delay(struct proa_sim *sim);
bool sim_chance(struct proa_sim *sim, double probability);

#endif

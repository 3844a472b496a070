/** The simulated loop (pkg-config: proa-test): virtual time, seeded chance, an in-memory network with
 *  faults. A run is a function of its seed.
 *
 *  Everything above `rt` runs on it unchanged: streams and listeners (proa/stream.h) go over the in-memory
 *  network, blocking work runs on the loop's own thread, descriptors and signals of the system do not exist.
 *  Virtual time moves only when nothing is ready, and then at once to what comes next. A program of several
 *  nodes runs on one loop: in addresses any host name is allowed and needs no resolving.
 */
#ifndef PROA_SIM_H
#define PROA_SIM_H

#include <proa/loop.h>

PROA_BEGIN_DECLS

struct proa_sim;

/** What the in-memory network does to every chunk. Times are uniform in [min, max]. Zero: instant and safe. */
struct proa_sim_network {
    uint64_t delay_min_ns;
    uint64_t delay_max_ns;
    uint32_t chunk_max_bytes;  /**< longer writes arrive in random pieces up to this; 0: whole */
    uint32_t window_bytes;     /**< bytes under way per direction before writes wait; 0: 64 KiB */
    double cut_probability;    /**< per chunk: the connection is reset instead */
    double refuse_probability; /**< per connect */
    double stall_probability;  /**< per chunk: delivered only after stall_ns */
    uint64_t stall_ns;
};

struct proa_sim_options {
    uint64_t seed;
    proa_time_ns wall_start; /**< 0: 2026-01-01T00:00:00Z */
    struct proa_sim_network network;
    struct proa_loop_options loop;
};

PROA_MUST_USE int proa_sim_new(const struct proa_sim_options *options, struct proa_sim **ret_sim);
/** The loop must have ended, and streams and listeners be closed (asserted). NULL is fine. */
void proa_sim_free(struct proa_sim *sim);
/** Its loop; run it by proa_loop_run, which returns when nothing can happen any more: 0 when all fibers have
 *  ended (open streams and listeners do not count), PROA_ECONFLICT when some wait for what can never come. */
struct proa_loop *proa_sim_loop(struct proa_sim *sim);
/** Changes the network's behaviour from now on. */
void proa_sim_set_network(struct proa_sim *sim, const struct proa_sim_network *network);
/** Cuts (resets) every open connection whose listener has this address, or that was dialed to it, on both
 *  sides; returns how many. */
uint32_t proa_sim_cut(struct proa_sim *sim, const char *address);
/** While partitioned, connects to the address hang and bytes to and from it stay under way. An address of a
 *  listener, or one that is dialed. */
void proa_sim_partition(struct proa_sim *sim, const char *address, bool partitioned);
/** No byte moves any more on the connections that are open now, and neither side is told: as when a load balancer
 *  between them forgot them, or a node lost its power. New ones are not touched. Returns how many. */
uint32_t proa_sim_lose(struct proa_sim *sim, const char *address);
/** Moves the wall clock (not monotonic time), as NTP would. */
void proa_sim_step_wall(struct proa_sim *sim, int64_t by_ns);
uint64_t proa_sim_seed(const struct proa_sim *sim);
/** A hash of the seed and all that happened so far (times, connections, bytes, faults): equal for equal runs. */
uint64_t proa_sim_trace_hash(const struct proa_sim *sim);

PROA_END_DECLS
#endif

/** Leader election by a Lease (coordination.k8s.io/v1), as client-go does it.
 *
 *  Others' clocks are never read: a holder is dead when its record has not changed for its duration by our own clock. Our own time is
 *  counted from before the request that renewed it.
 */
#ifndef PROA_KUBE_LEADER_H
#define PROA_KUBE_LEADER_H

#include "client_internal.h"

enum { LEADER_IDENTITY_MAX = 128, LEADER_VERSION_MAX = 64 };

struct leader_options {
    struct proa_kube *kube;
    const struct proa_logger *logger;
    struct proa_counter_series *slow_paths; /* renewals that had to look first; NULL: not counted */
    const char *name, *namespace_, *identity;
    uint32_t lease_ms, renew_ms, retry_ms;
};

struct leader {
    struct leader_options options;
    char identity[LEADER_IDENTITY_MAX];
    /* The record as last seen. */
    char version[LEADER_VERSION_MAX];
    char holder[LEADER_IDENTITY_MAX];
    proa_time_ns renew_time, acquire_time;
    int32_t duration_s, transitions;
    bool exists;
    bool is_unsure;        /* a write's answer has not come: the record may be ours by now */
    proa_mono_ns observed; /* when it was seen to have changed */
    proa_mono_ns renewed;  /* when our last renewal that succeeded was sent */
};

/** Whether its times keep two from leading at once, as client-go has it. @returns 0 or PROA_EINVAL. */
PROA_MUST_USE int leader_check(const struct leader_options *options, struct proa_error *err);
void leader_init(struct leader *leader, const struct leader_options *options);
/** May suspend until this one leads. @returns 0 or the cancellation's cause. */
PROA_MUST_USE int leader_acquire(struct leader *leader);
/** Renews until the lease is lost. May suspend. @returns PROA_ECONFLICT when lost, or the cancellation's cause. */
PROA_MUST_USE int leader_hold(struct leader *leader);
/** Whether what is written now is still within our time. */
bool leader_is_in_time(const struct leader *leader);
/** Gives it away, so that another need not wait; also when it is not known whether a last write has made it ours. May suspend. */
void leader_release(struct leader *leader);

#endif

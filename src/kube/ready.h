/** Waiting for an API server that does not answer. */
#ifndef PROA_KUBE_READY_H
#define PROA_KUBE_READY_H

#include "client_internal.h"

/** May suspend, for `backoff_ns`, or until an API server that was not ready has become so: one fiber of all that wait
 *  asks it twice a second, so that all go on within that of its return although each has a long back-off of its own.
 *  Who fails again then begins anew with a short one: *ret_is_back (may be NULL). @returns 0, or the fiber's reason to
 *  stop. */
int kube_wait_ready(struct proa_kube *kube, uint64_t backoff_ns, bool *ret_is_back);
/** Asks the API server after a failure, or waits for who is asking already. May suspend for some seconds. @returns 0
 *  with what it says, or the fiber's reason to stop. */
int kube_ask(struct proa_kube *kube, enum kube_readiness *ret_seen);

/** What the API server showed itself as by another request than the questions of those who wait. */
void kube_saw(struct proa_kube *kube, enum kube_readiness seen);

#endif

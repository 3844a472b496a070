/** What the agents of the instances say of themselves and nobody else knows: data that were put aside, and why one does not serve.
 *
 *  They are asked in the background. One that does not answer (a node that is off, a network policy, an operator that runs outside the
 *  cluster) holds up no reconcile, and is asked again when its pod changes, or after some minutes.
 */
#ifndef DATABASE_OPERATOR_INSTANCES_H
#define DATABASE_OPERATOR_INSTANCES_H

#include <proa/client.h>
#include <proa/controller.h>
#include <proa/fiber.h>
#include <proa/map.h>

struct instances {
    struct proa_loop *loop; /**< NULL: not started */
    struct proa_client *client;
    struct proa_map *by_uid; /**< of the pod: struct heard */
    struct proa_group group; /**< of the questions under way */
    uint32_t asking;
    proa_mono_ns swept_at;
    bool is_stopping;
};

/** From the fiber that stops them. */
PROA_MUST_USE int instances_start(struct instances *instances, struct proa_loop *loop, struct proa_error *err);
/** Asks those instances of the Database that is reconciled whose turn it is. Does not suspend. An answer that differs from the last one
 *  brings another reconcile. */
void instances_look(struct instances *instances, const struct proa_reconcile *ctx);
/** What was heard last. */
struct instance_words {
    uint64_t kept; /**< data that were put aside and that nobody has removed */
    proa_str
        says; /**< why it does not serve, or what it could not do although it does; "": nothing. As long as the loop is not left */
    bool is_warning; /**< the latter */
};
struct instance_words instances_heard(const struct instances *instances, proa_str pod_uid);
/** Another one for other words. */
uint64_t instances_hash(const struct instances *instances, proa_str pod_uid);
/** May suspend until no question is under way. The manager has ended. */
void instances_stop(struct instances *instances);

#endif

/** The instance's volume: its data folder, what is being made beside it, the lock, and what the agent remembers.
 *
 *      data        the engine's data; whole, or not there
 *      data.new    being made; removed at the next start
 *      data.ready  whole, about to take data's place
 *      data.old    replaced; being removed
 *      data.before the last whole data, while the server copies what replaces them
 *      data.kept-N another database's, put aside at the time N; only a person removes it
 *      agent.lock  held by the agent that uses the volume
 *      agent.json  the role that the instance last had
 *
 *      nothing ─begin─► data.new ─commit─► data.ready ─► data ─► data.old ─► nothing
 */
#ifndef DATABASE_OPERATOR_VOLUME_H
#define DATABASE_OPERATOR_VOLUME_H

#include "driver.h"

#include <sys/types.h>

struct volume;

/** What is remembered across restarts. */
struct memory {
    enum instance_role role;
    proa_str primary; /* the pod that was the primary */
    int32_t replicas;
};
PROA_DECLARE_TYPE(memory);

/** Takes the lock (waiting up to `wait_ns` for a predecessor that is ending), and finishes or throws away what was left half-done. May suspend.
 *  @returns 0, PROA_EBUSY (another agent, or a process of the engine, uses it), … */
PROA_MUST_USE int volume_open(struct proa_loop *loop, const char *folder, uint64_t wait_ns, struct volume **ret_volume,
                              struct proa_error *err);
/** NULL is fine. */
void volume_close(struct volume *volume);

const char *volume_data(const struct volume *volume);
/** A fresh, empty folder for new data, of mode 0700. May suspend, as all below. */
PROA_MUST_USE int volume_begin(struct volume *volume, const char **ret_folder, struct proa_error *err);
/** What was made takes the data's place; what was there is removed. Either the old or the new is there whatever happens. */
PROA_MUST_USE int volume_commit(struct volume *volume, struct proa_error *err);
/** Throws away what was begun. */
void volume_abandon(struct volume *volume);
/** Puts the data aside as data.before, until volume_forget_before. What is there already stays, and the data, which never became whole, go. */
PROA_MUST_USE int volume_set_before(struct volume *volume, struct proa_error *err);
PROA_MUST_USE int volume_forget_before(struct volume *volume, struct proa_error *err);
/** Puts the data aside as data.kept-N, or removes them. */
PROA_MUST_USE int volume_put_aside(struct volume *volume, proa_time_ns now, struct proa_error *err);
PROA_MUST_USE int volume_remove_data(struct volume *volume, struct proa_error *err);

struct volume_room {
    uint64_t free_bytes; /**< to us */
    uint64_t data_bytes; /**< that the data take */
};
PROA_MUST_USE int volume_room(struct volume *volume, struct volume_room *ret_room, struct proa_error *err);
/** A process that runs in the data folder, 0 for none. */
pid_t volume_user(struct volume *volume);
/** Waits until no process runs in the data folder. */
PROA_MUST_USE int volume_wait_unused(struct volume *volume, uint64_t timeout_ns, struct proa_error *err);

/** @returns PROA_ENOTFOUND when there is nothing. Text in the arena. */
PROA_MUST_USE int volume_remember(struct volume *volume, struct proa_arena *arena, struct memory *ret_memory,
                                  struct proa_error *err);
PROA_MUST_USE int volume_memorise(struct volume *volume, const struct memory *memory, struct proa_error *err);

#endif

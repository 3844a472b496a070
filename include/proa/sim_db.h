/** A scripted SQL driver (pkg-config: proa-test) for simulations: a test lays down which statement is answered how,
 *  after what time, and which answers are lost. Pools, deadlines and unknown outcomes are as with a real server.
 *
 *      proa_sim_db_new(&(struct proa_sim_db_options){.system = "postgresql"}, &script);
 *      proa_sim_db_on(script, "SELECT id",
 *                     &(struct proa_sim_db_answer){.columns = (const char *[]){"id", "name", NULL},
 *                                                  .values = (const char *[]){"1", "Ada"},
 *                                                  .rows = 1, .latency_ns = PROA_MS(2)}, 0);
 *      options.drivers = (const struct proa_db_driver *[]){proa_sim_db_driver(script), NULL};
 *      options.url = "sim:";
 */
#ifndef PROA_SIM_DB_H
#define PROA_SIM_DB_H

#include <proa/db.h>

PROA_BEGIN_DECLS

struct proa_sim_db;

struct proa_sim_db_options {
    const char *system; /**< what proa_db_system says; static. NULL: "sqlite" */
};
/** Belongs to one loop, that of the database opened with it. @returns 0 or PROA_ENOMEM. */
PROA_MUST_USE int proa_sim_db_new(const struct proa_sim_db_options *options, struct proa_sim_db **ret_script);
/** After the database was closed. NULL is fine. */
void proa_sim_db_free(struct proa_sim_db *script);
/** For proa_db_options.drivers; of scheme "sim". Lives as long as the script; one database at a time. */
const struct proa_db_driver *proa_sim_db_driver(struct proa_sim_db *script);

/** What a statement is answered with. Pointers must live as long as the rule. */
struct proa_sim_db_answer {
    uint64_t latency_ns;    /**< between sending and the answer; the statement takes effect in between */
    int code;               /**< 0, or the error */
    const char *message;    /**< of the error; NULL: "scripted" */
    const char *constraint; /**< of the error, or NULL */
    bool may_retry;         /**< the error is a serialisation failure */
    /** The answer is lost with the connection: a read fails as unavailable, a write as unknown */
    bool breaks_connection;
    bool never;                 /**< no answer comes: the fiber waits until its deadline or cancellation */
    uint64_t changed;           /**< rows changed */
    const char *const *columns; /**< names, ended by NULL; NULL: no result */
    const char *const *values;  /**< rows after rows, as text; NULL for SQL's */
    size_t rows;
};

/** Answers statements whose text contains `contains` (as a whole text: "BEGIN", "COMMIT", "ROLLBACK", "LOCK MIGRATIONS"
 *  stand for the driver's own calls). Later rules are asked before earlier ones. A rule ends after `times` answers; 0:
 *  never. Without a rule, BEGIN, COMMIT, ROLLBACK, LOCK MIGRATIONS and savepoints succeed; any other statement is
 *  PROA_EINTERNAL. */
PROA_MUST_USE int proa_sim_db_on(struct proa_sim_db *script, const char *contains,
                                 const struct proa_sim_db_answer *answer, uint32_t times);

/** One statement as it reached the scripted server. */
struct proa_sim_db_call {
    const char *text;
    const struct proa_value *values;
    size_t values_count;
    bool in_tx;
};
/** The same, answered by a function, for a server with a state. It runs in the statement's fiber and may suspend. */
PROA_MUST_USE int proa_sim_db_on_call(struct proa_sim_db *script, const char *contains,
                                      void (*answer)(void *arg, const struct proa_sim_db_call *call,
                                                     struct proa_sim_db_answer *ret_answer),
                                      void *arg, uint32_t times);

/** How many statements whose text contains `contains` were sent so far ("" counts all). */
uint32_t proa_sim_db_calls(const struct proa_sim_db *script, const char *contains);

PROA_END_DECLS
#endif

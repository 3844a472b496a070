/** What the files of the MongoDB driver share.
 *
 *  The Database is a replica set of its name. Its one voter is the primary; standbys have priority 0 and no vote, so that nobody but who
 *  assigns the primary decides who that is, and a primary without standbys goes on. The members trust each other, and the agent, by a key
 *  that is made of the replication password: the agent logs in as the set's own user, `__system`.
 *
 *  In the data folder: `proa-instance` (there are data), `proa-standby` (of a standby), `proa-keys` (the present key, and the one before).
 */
#ifndef DATABASE_OPERATOR_MONGODB_INTERNAL_H
#define DATABASE_OPERATOR_MONGODB_INTERNAL_H

#include "bson.h"
#include "driver.h"

#define MO_DATABASE "app"
#define MO_KEY_FILE "mongodb.key" /* in the run folder */
#define MO_DATA_MARK "proa-instance"
#define MO_STANDBY_MARK "proa-standby"
#define MO_KEYS_FILE "proa-keys"

enum {
    MO_KEY_LEN = 40,
    /* Codes of the server's errors. */
    MO_NOT_YET_INITIALISED = 94,
    MO_INVALID_SET_CONFIG = 93,
};

/* mongodb_wire.c */
struct proa_stream;
/** A connection to the local server over its socket. */
struct mo_session {
    const struct instance *instance;
    struct proa_arena *arena; /**< of commands and answers */
    struct proa_stream *stream;
    int32_t request;
    int32_t code; /**< of the last answer's error; 0: none */
};
/** May suspend. @returns 0, PROA_EUNAVAILABLE, … */
PROA_MUST_USE int mo_open(struct mo_session *session, const struct instance *instance, struct proa_arena *arena,
                          struct proa_error *err);
void mo_close(struct mo_session *session);
/** SCRAM-SHA-256 (RFC 5802, 7677). May suspend. @returns 0, PROA_EFORBIDDEN, … */
PROA_MUST_USE int mo_login(struct mo_session *session, const char *database, proa_str user, proa_str password,
                           struct proa_error *err);
/** The two at once, as the set's own user. */
PROA_MUST_USE int mo_open_system(struct mo_session *session, const struct instance *instance, struct proa_arena *arena,
                                 struct proa_error *err);

struct mo_command {
    struct proa_buf buf;
    struct bson_writer w; /**< its further members are written here */
    const char *name;
};
/** `value` is the first member's: text, or ptr NULL for the number 1. */
void mo_begin(struct mo_command *command, struct mo_session *session, const char *name, proa_str value);
/** The same without the first member: it is written next, under the name. */
void mo_begin_empty(struct mo_command *command, struct mo_session *session, const char *name);
/** Ends and sends it. The answer, checked, is in the session's arena. May suspend.
 *  @returns 0, PROA_EUNAVAILABLE (not the primary, shutting down, cut), PROA_EFORBIDDEN, PROA_EIO with the server's words and
 *           session->code. */
PROA_MUST_USE int mo_run(struct mo_session *session, struct mo_command *command, const char *database,
                         proa_str *ret_answer, struct proa_error *err);
/** A command of nothing but its name, to `admin`. */
PROA_MUST_USE int mo_ask_admin(struct mo_session *session, const char *name, proa_str *ret_answer,
                               struct proa_error *err);
uint16_t mo_port(const struct instance *instance);

/* mongodb_data.c */
int mo_look(const struct instance *instance, const char *folder, struct data_facts *ret_facts, struct proa_error *err);
int mo_initialise(const struct instance *instance, const char *folder, struct proa_error *err);
int mo_clone(const struct instance *instance, const char *folder, struct proa_error *err);
int mo_configure(const struct instance *instance, const char *folder, struct proa_error *err);
int mo_server_arguments(const struct instance *instance, struct proa_arena *arena, const char *folder,
                        const char *ret_arguments[SERVER_ARGUMENTS_MAX], struct proa_error *err);
/** The key that the server was started with. */
PROA_MUST_USE int mo_read_key(const struct instance *instance, struct proa_arena *arena, proa_str *ret_key,
                              struct proa_error *err);

/* mongodb_set.c */
int mo_ask(const struct instance *instance, bool with_size, struct engine_status *ret_status, struct proa_error *err);
int mo_settle(const struct instance *instance, struct proa_error *err);
int mo_keep_replicas(const struct instance *instance, struct proa_error *err);
int mo_follow(const struct instance *instance, struct proa_error *err);
int mo_judge(const struct instance *instance, const struct engine_status *own, const struct primary_status *primary,
             enum verdict *ret_verdict, const char **ret_why, struct proa_error *err);
/** From the answer to replSetGetStatus. */
void mo_read_set_status(proa_str answer, struct engine_status *status);
/** The set's configuration as it should be, if it differs. @returns whether it does; written into `w` as the value of `key`. */
bool mo_write_config(const struct instance *instance, proa_str config, struct bson_writer *w, const char *key);

/* mongodb_roles.c */
int mo_apply_credentials(const struct instance *instance, struct proa_error *err);

/* mongodb_metrics.c */
int mo_collect(const struct instance *instance, const struct engine_status *own, struct samples *samples,
               struct proa_error *err);
/** The numbers of an answer, under mongodb_exporter's names; `prefix` is "serverStatus" or "replSetGetStatus". */
PROA_MUST_USE int mo_read_metrics(const char *prefix, proa_str answer, struct samples *samples);

#endif

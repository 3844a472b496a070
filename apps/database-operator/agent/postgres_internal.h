/** What the files of the PostgreSQL driver share. */
#ifndef DATABASE_OPERATOR_POSTGRES_INTERNAL_H
#define DATABASE_OPERATOR_POSTGRES_INTERNAL_H

#include "driver.h"

#define PG_SUPERUSER "postgres"          /* only over the local socket, only as the agent's own user */
#define PG_REPLICATION_USER "replicator" /* only for replication */
#define PG_DATABASE "app"
#define PG_PASSFILE "replication.pass"

enum { PG_SEGMENT_BYTES = 16 * 1024 * 1024, PG_SLOT_MAX = 64 };

/* postgres_sql.c */
/** 'text' with quotes doubled; backslashes are plain (standard_conforming_strings). */
void pg_add_literal(struct proa_buf *out, proa_str text);
/** "name" with quotes doubled. */
void pg_add_identifier(struct proa_buf *out, proa_str name);
/** A value of a connection string: 'value' with backslashes. */
void pg_add_conninfo(struct proa_buf *out, const char *key, proa_str value);
/** Runs statements as the superuser over the local socket, each on a line of its own, ending at the first error. Output: unaligned, tuples only.
 *  @returns as driver.h's `ask`; PROA_EIO with the server's words when a statement failed. */
PROA_MUST_USE int pg_run(const struct instance *instance, struct proa_arena *arena, const char *database,
                         proa_str script, struct child_result *ret_result, struct proa_error *err);
/** The slot of an instance: its pod's name with underscores. */
void pg_slot_name(const struct instance *instance, uint32_t ordinal, char ret_name[PG_SLOT_MAX]);
uint16_t pg_port(const struct instance *instance);

/* postgres_config.c */
int pg_configure(const struct instance *instance, const char *folder, struct proa_error *err);
/** The file of the replication password, for the standby's server and pg_basebackup. */
PROA_MUST_USE int pg_write_passfile(const struct instance *instance, struct proa_arena *arena, const char **ret_path,
                                    struct proa_error *err);
/** How a standby reaches the primary. */
void pg_add_primary_conninfo(struct proa_buf *out, const struct instance *instance, const char *passfile);
/** Of a standby: the file that makes it one, so that its server never takes writes. */
PROA_MUST_USE int pg_mark_standby(const struct instance *instance, struct proa_arena *arena, const char *folder,
                                  struct proa_error *err);
/** A number that pg_controldata printed behind `label`. */
PROA_MUST_USE int pg_read_control(proa_str text, const char *label, uint64_t *ret_value);
int pg_follow(const struct instance *instance, struct proa_error *err);

/* postgres_data.c */
int pg_look(const struct instance *instance, const char *folder, struct data_facts *ret_facts, struct proa_error *err);
int pg_initialise(const struct instance *instance, const char *folder, struct proa_error *err);
int pg_clone(const struct instance *instance, const char *folder, struct proa_error *err);

/* postgres_roles.c */
int pg_apply_credentials(const struct instance *instance, struct proa_error *err);
/** Statements that make users and database from nothing, one a line. */
PROA_MUST_USE int pg_add_first_roles(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena,
                                     struct proa_error *err);

/* postgres_status.c */
int pg_ask(const struct instance *instance, bool with_size, struct engine_status *ret_status, struct proa_error *err);
int pg_keep_replicas(const struct instance *instance, struct proa_error *err);
int pg_judge(const struct instance *instance, const struct engine_status *own, const struct primary_status *primary,
             enum verdict *ret_verdict, const char **ret_why, struct proa_error *err);
/** From what the question printed. */
PROA_MUST_USE int pg_read_status(struct proa_arena *arena, proa_str json, struct engine_status *ret_status,
                                 struct proa_error *err);

/* postgres_metrics.c */
extern const struct sample_family pg_up;
/** From what the question printed. */
PROA_MUST_USE int pg_read_metrics(struct proa_arena *arena, proa_str json, bool is_replica, struct samples *samples,
                                  struct proa_error *err);
int pg_collect(const struct instance *instance, const struct engine_status *own, struct samples *samples,
               struct proa_error *err);

#endif

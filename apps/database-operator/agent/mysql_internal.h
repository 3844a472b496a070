/** What the files of the driver of MySQL and MariaDB share.
 *
 *  Which of the two it is says the image: MariaDB's has `mariadbd`. Below the run folder, of mode 0600, made anew for every start:
 *
 *      mysql-root.cnf    how the local client logs in as root, with a password that only this start of the server knows
 *      mysql-init.sql    what gives root that password, before the server listens
 *      mysql-source.cnf  how the primary is reached, as the server was told last
 *      mysql-setup.*     the same for the server without network that a copy is loaded into
 */
#ifndef DATABASE_OPERATOR_MYSQL_INTERNAL_H
#define DATABASE_OPERATOR_MYSQL_INTERNAL_H

#include "driver.h"

#define MY_REPLICATION_USER "replicator"
#define MY_DATABASE "app"
#define MY_OWN_DATABASE "proa" /* its table `identity` says in its comment: ID, space, the user of the credentials */
#define MY_ROOT_FILE "mysql-root.cnf"
#define MY_INIT_FILE "mysql-init.sql"
#define MY_SOURCE_FILE "mysql-source.cnf"
#define MY_STANDBY_MARK "proa-standby" /* in the data folder */
#define MY_PASSWORD_TAIL "-Aa9"        /* of generated passwords, for servers with rules for them */

enum { MY_PASSWORD_LEN = 32 }; /* the longest that a replica can be told */

/* mysql_sql.c */
bool my_is_mariadb(const struct instance *instance, struct proa_arena *arena);
/** The program under MariaDB's name if there is one, else under MySQL's. NULL when memory is out. */
const char *my_program(const struct instance *instance, struct proa_arena *arena, const char *mariadb,
                       const char *mysql);
uint16_t my_port(const struct instance *instance);
/** 'text' with backslashes, for a session whose sql_mode is ''. */
void my_add_literal(struct proa_buf *out, proa_str text);
/** "IDENTIFIED BY …": MariaDB, which would write a password into its binary log as it is, gets its hash. */
PROA_MUST_USE int my_add_identified(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena,
                                    proa_str password, struct proa_error *err);
/** Of the user that standbys log in as. NUL-terminated. */
PROA_MUST_USE int my_replication_password(const struct instance *instance, char ret_password[MY_PASSWORD_LEN + 1],
                                          struct proa_error *err);

struct my_login {
    const char *host; /* NULL: the socket below the run folder */
    const char *socket;
    proa_str user, password; /* password "": none */
};
/** An options file of a client, of mode 0600, below the run folder. */
PROA_MUST_USE int my_write_login(const struct instance *instance, struct proa_arena *arena, const char *name,
                                 const struct my_login *login, struct proa_error *err);
/** The login of standbys at the primary. */
PROA_MUST_USE int my_write_source(const struct instance *instance, struct proa_arena *arena, struct proa_error *err);
void my_add_login(struct proa_buf *out, const struct instance *instance, const struct my_login *login);
PROA_MUST_USE int my_source_login(const struct instance *instance, struct proa_arena *arena, struct my_login *ret_login,
                                  struct proa_error *err);

/** Runs statements by the client with an options file's login, up to the first error. Output: a line of names and lines of values for each
 *  result, tabs between them.
 *  @returns 0, PROA_EUNAVAILABLE (no server there, or none that takes connections), PROA_EFORBIDDEN (user or password not accepted), PROA_EIO
 *           with the server's words; *ret_errno (may be NULL) is its error's number, 0 for none. */
PROA_MUST_USE int my_run_as(const struct instance *instance, struct proa_arena *arena, const char *login_file,
                            proa_str script, proa_str *ret_output, unsigned *ret_errno, struct proa_error *err);
/** As root, within the session that my_add_literal needs, in no log of statements. */
PROA_MUST_USE int my_run(const struct instance *instance, struct proa_arena *arena, proa_str script,
                         proa_str *ret_output, struct proa_error *err);

/** One line of values with the line of names before it. */
struct my_row {
    proa_str names, values;
};
/** The next row of a result whose names are in row->names. @returns false at the end. */
bool my_next_row(proa_str *rest, struct my_row *row);
/** Takes the line of names of a result. @returns false at the end. */
bool my_begin_rows(proa_str *rest, struct my_row *ret_row);
/** {NULL,0} when there is no such column. */
proa_str my_value(const struct my_row *row, const char *name);
/** The Nth value of the row, from 0. */
proa_str my_value_at(const struct my_row *row, size_t index);
/** 0 for what is no number. */
uint64_t my_number(const struct my_row *row, const char *name);

/* mysql_server.c */
int my_configure(const struct instance *instance, const char *folder, struct proa_error *err);
int my_server_arguments(const struct instance *instance, struct proa_arena *arena, const char *folder,
                        const char *ret_arguments[SERVER_ARGUMENTS_MAX], struct proa_error *err);
/** MariaDB: brings the system tables to the server's version. */
int my_settle(const struct instance *instance, struct proa_error *err);
/** Of a server without network and binary log that is used while data are made. */
PROA_MUST_USE int my_setup_arguments(const struct instance *instance, struct proa_arena *arena, const char *folder,
                                     const char *ret_arguments[SERVER_ARGUMENTS_MAX], struct proa_error *err);

/* mysql_data.c */
int my_look(const struct instance *instance, const char *folder, struct data_facts *ret_facts, struct proa_error *err);
int my_initialise(const struct instance *instance, const char *folder, struct proa_error *err);
int my_clone(const struct instance *instance, const char *folder, struct proa_error *err);

/* mysql_roles.c */
int my_apply_credentials(const struct instance *instance, struct proa_error *err);

/* mysql_replica.c */
int my_ask(const struct instance *instance, bool with_size, struct engine_status *ret_status, struct proa_error *err);
int my_follow(const struct instance *instance, struct proa_error *err);
int my_judge(const struct instance *instance, const struct engine_status *own, const struct primary_status *primary,
             enum verdict *ret_verdict, const char **ret_why, struct proa_error *err);

/** SHOW REPLICA STATUS, under MySQL's or MariaDB's names. Text points into the client's output. */
struct my_replica {
    bool is_set_up;
    proa_str host, io_running, sql_running;
    uint64_t port;
    unsigned io_errno, sql_errno;
    proa_str io_error, sql_error;
    proa_str seconds_behind; /* "NULL": unknown */
    uint64_t behind_bytes;   /* received and not applied, at most */
};
/** What `my_ask`'s question printed. */
PROA_MUST_USE int my_read_status(proa_str output, struct engine_status *ret_status, struct my_replica *ret_replica,
                                 struct proa_error *err);
/** Whether a replica in this state can ever go on. *ret_why is static. */
enum verdict my_verdict_of(const struct my_replica *replica, const char **ret_why);

/* mysql_metrics.c */
int my_collect(const struct instance *instance, const struct engine_status *own, struct samples *samples,
               struct proa_error *err);
/** From what the question printed, with the binary logs that are to go: the name of the first to stay, "" for none. */
PROA_MUST_USE int my_read_metrics(proa_str output, uint64_t logs_max_bytes, struct samples *samples,
                                  proa_str *ret_first_log, struct proa_error *err);

#endif

/** What differs between engines. One table each: postgres.c, mysql.c, mongodb.c. */
#ifndef DATABASE_OPERATOR_ENGINE_H
#define DATABASE_OPERATOR_ENGINE_H

#include "../types.h"

#include <proa/buf.h>

/* Where an instance has what; the same for every engine. */
#define DATABASE_VOLUME_DIR "/var/lib/database"
#define DATABASE_DATA_DIR DATABASE_VOLUME_DIR "/data" /* below the mount, whose root may hold lost+found */
#define DATABASE_RUN_DIR "/var/run/database"          /* the socket's */
#define DATABASE_CONFIG_DIR "/etc/proa/config"
#define DATABASE_CREDENTIALS_DIR "/etc/proa/credentials"
#define DATABASE_AGENT_DIR "/proa"
#define DATABASE_CONFIG_FILE "engine.conf"

enum { AGENT_PORT = 8008 };

struct engine {
    enum database_engine id;
    const char *name;
    const char *port_name; /* of the service's port */
    uint16_t port;
    int64_t uid; /* user, group and fsGroup of the instances; never changes, or volumes could not be read */
    uint32_t major_min, major_max;
    const char *image;                                          /* {version} stands for spec.version */
    const char *const *owned_parameters;                        /* ended by NULL */
    const char *server_command, *init_command, *client_command; /* what the agent runs */
    /** Why a user of this name cannot be the clients'; NULL: it can. Static. */
    const char *(*why_not_user)(proa_str name);
    /** Whether a parameter's key can be written into the configuration at all. */
    bool (*is_key)(proa_str key);
    void (*write_settings)(struct proa_buf *out, proa_str name, const struct database_spec *spec);
    void (*write_parameter)(struct proa_buf *out, proa_str key, proa_str value);
};

/* In agent/, which makes the users. */
const char *pg_why_not_user(proa_str name);
const char *my_why_not_user(proa_str name);
const char *mo_why_not_user(proa_str name);

extern const struct engine engine_postgres, engine_mysql, engine_mongodb;

const struct engine *engine_of(enum database_engine id);
bool engine_owns(const struct engine *engine, proa_str parameter);
/** The configuration file: what the operator sets, then spec.parameters in the order of their keys. */
PROA_MUST_USE int engine_write_config(struct proa_buf *out, const struct engine *engine, proa_str name,
                                      const struct database_spec *spec);
/** The parameters' indexes in the order of their keys; `order` has room for all of them. */
void parameters_sorted(const struct database_spec *spec, uint8_t order[DATABASE_PARAMETERS_MAX]);

#endif

/* MongoDB: a replica set named as the Database. */
#include "engine.h"

#include <proa/json.h>

static const char *const owned[] = {"net.bindIp",
                                    "net.bindIpAll",
                                    "net.port",
                                    "net.unixDomainSocket.enabled",
                                    "net.unixDomainSocket.pathPrefix",
                                    "processManagement.fork",
                                    "processManagement.pidFilePath",
                                    "replication.replSetName",
                                    "security.authorization",
                                    "security.clusterAuthMode",
                                    "security.keyFile",
                                    "setParameter.authenticationMechanisms",
                                    "setParameter.enableLocalhostAuthBypass",
                                    "sharding.clusterRole",
                                    "storage.dbPath",
                                    "storage.engine",
                                    "systemLog.destination",
                                    "systemLog.path",
                                    NULL};

/* A path of at least two names. */
static bool is_key(proa_str key)
{
    size_t dots = 0;

    for (size_t i = 0; i < key.len; i++) {
        bool begins = i == 0 || key.ptr[i - 1] == '.';
        char c = key.ptr[i];

        if (c == '.' && !begins && i + 1 < key.len)
            dots++;
        else if (!((c | 32) >= 'a' && (c | 32) <= 'z') && (begins || c < '0' || c > '9'))
            return false;
    }
    return dots > 0;
}

/* Numbers and booleans plain, all else as JSON text, which is YAML too. */
static bool is_plain(proa_str value)
{
    double number;

    return proa_str_eq_c(value, "true") || proa_str_eq_c(value, "false") || proa_str_to_double(value, &number) == 0;
}

/* Dots in a name are levels, but for the server's parameters, which are one map: they come one after the other. */
static void write_key(struct proa_buf *out, proa_str key)
{
    static const proa_str prefix = PROA_STR_INIT("setParameter.");

    if (!proa_str_starts_with(key, prefix)) {
        proa_buf_add(out, key);
        return;
    }
    if (proa_str_find(proa_buf_str(out), PROA_STR("\nsetParameter:\n")) < 0)
        proa_buf_add_c(out, "setParameter:\n");
    proa_buf_add_c(out, "  ");
    proa_buf_add(out, proa_str_slice(key, prefix.len, key.len));
}

static void write_parameter(struct proa_buf *out, proa_str key, proa_str value)
{
    write_key(out, key);
    proa_buf_add_c(out, ": ");
    if (is_plain(value))
        proa_buf_add(out, value);
    else
        proa_json_escape(out, value);
    proa_buf_add_char(out, '\n');
}

/* Who may join is said by the key file, which the agent writes; the addresses are its arguments. */
static void write_settings(struct proa_buf *out, proa_str name, const struct database_spec *spec)
{
    (void)spec;
    proa_buf_add_c(out, "net.port: 27017\n"
                        "net.unixDomainSocket.pathPrefix: " DATABASE_RUN_DIR "\n"
                        "storage.dbPath: " DATABASE_DATA_DIR "\n"
                        "security.authorization: enabled\n");
    write_parameter(out, PROA_STR("replication.replSetName"), name);
}

const struct engine engine_mongodb = {
    .id = ENGINE_MONGODB,
    .name = "mongodb",
    .port_name = "mongodb",
    .port = 27017,
    .uid = 999,
    .major_min = 6,
    .major_max = 8,
    .image = "mongo:{version}",
    .owned_parameters = owned,
    .server_command = "mongod",
    .init_command = "mongod",
    .client_command = "mongosh",
    .why_not_user = mo_why_not_user,
    .is_key = is_key,
    .write_settings = write_settings,
    .write_parameter = write_parameter,
};

/* Statements by the image's own client, and what it prints. docs/decisions/engine-client.md says why by it. */
#include "mysql_internal.h"

#include "derive.h"

#include <openssl/evp.h>
#include <proa/file.h>

enum {
    OUTPUT_MAX_BYTES = 1024 * 1024,
    CONNECT_TIMEOUT_S = 5,
    SHA1_BYTES = 20,
    /* The numbers of errors that mean something here. */
    ER_HANDSHAKE = 1043,
    ER_ACCESS_DENIED = 1045,
    ER_TOO_MANY_CONNECTIONS = 1040,
    ER_SHUTDOWN = 1053,
    ER_ACCESS_DENIED_NO_PASSWORD = 1698,
    ER_MUST_CHANGE_PASSWORD = 1820,
    ER_MUST_CHANGE_PASSWORD_LOGIN = 1862,
    ER_ACCOUNT_LOCKED = 3118,
    ER_ACCOUNT_LOCKED_MARIADB = 4151,
    CR_CONNECTION = 2002,
    CR_CONN_HOST = 2003,
    CR_SERVER_GONE = 2006,
    CR_SERVER_LOST = 2013,
};

/* -- Which of the two ------------------------------------------------------------------------------------------------ */

bool my_is_mariadb(const struct instance *instance, struct proa_arena *arena)
{
    const char *name = instance_program(arena, instance, "mariadbd");
    const char *program = name ? child_find_program(instance->children, arena, name) : NULL;

    return program && *program;
}

const char *my_program(const struct instance *instance, struct proa_arena *arena, const char *mariadb,
                       const char *mysql)
{
    return instance_program(arena, instance, my_is_mariadb(instance, arena) ? mariadb : mysql);
}

uint16_t my_port(const struct instance *instance)
{
    return instance->config->engine_port ? instance->config->engine_port : instance->engine->port;
}

/* -- Texts in statements --------------------------------------------------------------------------------------------- */

void my_add_literal(struct proa_buf *out, proa_str text)
{
    proa_buf_add_char(out, '\'');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'' || text.ptr[i] == '\\')
            proa_buf_add_char(out, '\\');
        proa_buf_add_char(out, text.ptr[i]);
    }
    proa_buf_add_char(out, '\'');
}

/* What mysql_native_password keeps: "*" and the hash of the hash. */
static int add_native_hash(struct proa_buf *out, proa_str password)
{
    static const char digits[] = "0123456789ABCDEF";
    unsigned char once[SHA1_BYTES], twice[SHA1_BYTES];

    if (!EVP_Digest(password.ptr, password.len, once, NULL, EVP_sha1(), NULL) ||
        !EVP_Digest(once, sizeof once, twice, NULL, EVP_sha1(), NULL))
        return PROA_EINTERNAL;
    proa_buf_add_c(out, "'*");
    for (size_t i = 0; i < sizeof twice; i++) {
        proa_buf_add_char(out, digits[twice[i] >> 4]);
        proa_buf_add_char(out, digits[twice[i] & 15]);
    }
    return proa_buf_add_char(out, '\'');
}

int my_add_identified(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena,
                      proa_str password, struct proa_error *err)
{
    if (my_is_mariadb(instance, arena)) {
        proa_buf_add_c(out, "IDENTIFIED BY PASSWORD ");
        if (add_native_hash(out, password) == PROA_EINTERNAL)
            return proa_fail(err, PROA_EINTERNAL, "hashing a password");
    } else {
        proa_buf_add_c(out, "IDENTIFIED BY ");
        my_add_literal(out, password);
    }
    return 0;
}

int my_replication_password(const struct instance *instance, char ret_password[MY_PASSWORD_LEN + 1],
                            struct proa_error *err)
{
    unsigned char bytes[DERIVED_BYTES];

    if (instance->credentials->replication_password.len == 0)
        return proa_fail(err, PROA_EINVAL, "credentials: replicationPassword is empty");
    if (derive_secret(instance->credentials->replication_password, "mysql-replication", bytes) < 0)
        return proa_fail(err, PROA_EINTERNAL, "deriving a password");
    proa_hex_encode(ret_password, proa_str_n((const char *)bytes, (MY_PASSWORD_LEN - strlen(MY_PASSWORD_TAIL)) / 2));
    memcpy(ret_password + MY_PASSWORD_LEN - strlen(MY_PASSWORD_TAIL), MY_PASSWORD_TAIL, sizeof MY_PASSWORD_TAIL);
    return 0;
}

/* -- Logins ---------------------------------------------------------------------------------------------------------- */

static void add_option(struct proa_buf *out, const char *key, proa_str value)
{
    proa_buf_printf(out, "%s=\"", key);
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '"' || value.ptr[i] == '\\')
            proa_buf_add_char(out, '\\');
        proa_buf_add_char(out, value.ptr[i]);
    }
    proa_buf_add_c(out, "\"\n");
}

void my_add_login(struct proa_buf *out, const struct instance *instance, const struct my_login *login)
{
    proa_buf_add_c(out, "[client]\n");
    add_option(out, "user", login->user);
    if (login->password.len > 0)
        add_option(out, "password", login->password);
    if (login->host) {
        add_option(out, "host", proa_str_c(login->host));
        proa_buf_printf(out, "port=%u\n", my_port(instance));
    } else {
        add_option(out, "socket", proa_str_c(login->socket));
    }
}

int my_write_login(const struct instance *instance, struct proa_arena *arena, const char *name,
                   const struct my_login *login, struct proa_error *err)
{
    const char *path = instance_run_path(arena, instance, name);
    struct proa_buf out;

    proa_buf_init(&out, arena, 0);
    my_add_login(&out, instance, login);
    if (out.error < 0 || !path)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return proa_file_write(instance->loop, path, proa_buf_str(&out), 0600, err);
}

int my_source_login(const struct instance *instance, struct proa_arena *arena, struct my_login *ret_login,
                    struct proa_error *err)
{
    char password[MY_PASSWORD_LEN + 1] = "";
    struct my_login login = {.user = PROA_STR(MY_REPLICATION_USER)};

    PROA_TRY(my_replication_password(instance, password, err));
    login.host = proa_arena_cstr(arena, instance->primary_host);
    login.password = proa_arena_str(arena, proa_str_c(password));
    if (!login.host || !login.password.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    *ret_login = login;
    return 0;
}

int my_write_source(const struct instance *instance, struct proa_arena *arena, struct proa_error *err)
{
    struct my_login login = {0};

    PROA_TRY(my_source_login(instance, arena, &login, err));
    return my_write_login(instance, arena, MY_SOURCE_FILE, &login, err);
}

/* -- Running --------------------------------------------------------------------------------------------------------- */

/* Of "ERROR 2002 (HY000): …", also behind other lines. */
static unsigned error_number(proa_str errors)
{
    static const char mark[] = "ERROR ";
    ptrdiff_t at = proa_str_find(errors, proa_str_c(mark));
    uint64_t number = 0;
    proa_str rest, digits;

    if (at < 0)
        return 0;
    rest = proa_str_slice(errors, (size_t)at + sizeof mark - 1, errors.len);
    return proa_str_split(&rest, ' ', &digits) && proa_str_to_u64(digits, &number) == 0 && number < 100000
               ? (unsigned)number
               : 0;
}

static int code_of(unsigned number)
{
    switch (number) {
    case CR_CONNECTION:
    case CR_CONN_HOST:
    case CR_SERVER_GONE:
    case CR_SERVER_LOST:
    case ER_HANDSHAKE:
    case ER_SHUTDOWN:
    case ER_TOO_MANY_CONNECTIONS: return PROA_EUNAVAILABLE;
    case ER_ACCESS_DENIED:
    case ER_ACCESS_DENIED_NO_PASSWORD:
    case ER_MUST_CHANGE_PASSWORD:
    case ER_MUST_CHANGE_PASSWORD_LOGIN:
    case ER_ACCOUNT_LOCKED:
    case ER_ACCOUNT_LOCKED_MARIADB: return PROA_EFORBIDDEN;
    default: return PROA_EIO;
    }
}

int my_run_as(const struct instance *instance, struct proa_arena *arena, const char *login_file, proa_str script,
              proa_str *ret_output, unsigned *ret_errno, struct proa_error *err)
{
    const char *path = instance_run_path(arena, instance, login_file);
    const char *program = my_program(instance, arena, "mariadb", instance->engine->client_command);
    const char *arguments[] = {program,
                               proa_arena_printf(arena, "--defaults-file=%s", path ? path : "").ptr,
                               "--batch",
                               "--default-character-set=utf8mb4",
                               proa_arena_printf(arena, "--connect-timeout=%d", CONNECT_TIMEOUT_S).ptr,
                               NULL};
    struct child_result result;
    unsigned number = 0;

    if (!program || !path || !arguments[1] || !arguments[4])
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(child_run(instance->children, arena,
                       &(struct child_options){.arguments = arguments, .input = script, .output_max = OUTPUT_MAX_BYTES},
                       &result, err));
    if (result.exit_code != 0)
        number = error_number(result.errors);
    if (ret_errno)
        *ret_errno = number;
    if (result.exit_code != 0)
        return proa_fail(err, code_of(number), PROA_FMT,
                         PROA_ARG(result.errors.len > 0 ? result.errors : PROA_STR("the client failed")));
    if (ret_output)
        *ret_output = result.output;
    return 0;
}

int my_run(const struct instance *instance, struct proa_arena *arena, proa_str script, proa_str *ret_output,
           struct proa_error *err)
{
    proa_str whole =
        proa_arena_printf(arena, "SET SESSION sql_mode = '', sql_log_off = 1, lock_wait_timeout = %u;\n" PROA_FMT,
                          1 + instance->config->ask_ms / 1000, PROA_ARG(script));

    if (!whole.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return my_run_as(instance, arena, MY_ROOT_FILE, whole, ret_output, NULL, err);
}

/* -- What it printed ------------------------------------------------------------------------------------------------- */

static bool next_line(proa_str *rest, proa_str *ret_line)
{
    return rest->len > 0 && proa_str_split(rest, '\n', ret_line);
}

bool my_begin_rows(proa_str *rest, struct my_row *ret_row)
{
    return next_line(rest, &ret_row->names);
}

bool my_next_row(proa_str *rest, struct my_row *row)
{
    return next_line(rest, &row->values);
}

proa_str my_value_at(const struct my_row *row, size_t index)
{
    proa_str rest = row->values, value;

    while (proa_str_split(&rest, '\t', &value))
        if (index-- == 0)
            return value;
    return (proa_str){0};
}

proa_str my_value(const struct my_row *row, const char *name)
{
    proa_str rest = row->names, column;

    for (size_t i = 0; proa_str_split(&rest, '\t', &column); i++)
        if (proa_str_eq_c(column, name))
            return my_value_at(row, i);
    return (proa_str){0};
}

uint64_t my_number(const struct my_row *row, const char *name)
{
    uint64_t value = 0;

    proa_ignore(proa_str_to_u64(my_value(row, name), &value)); /* "NULL": 0 */
    return value;
}

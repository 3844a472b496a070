/* Accounts and the database, kept as the mounted credentials say. Whether a password differs tells a login with it. */
#include "mysql_internal.h"

#define USER_FILE "mysql-login.cnf"

enum { USER_NAME_MAX = 32, ID_BYTES = 16, FACTS_COUNT = 4 };

struct facts {
    proa_str id;   /* of the database; "": it has none yet */
    proa_str user; /* whom the credentials named last */
    bool has_database, has_user, has_replication_user;
};

const char *my_why_not_user(proa_str name)
{
    static const char *const taken[] = {MY_REPLICATION_USER, "root", "mariadb.sys", "PUBLIC", "proa_setup"};

    if (name.len == 0 || name.len > USER_NAME_MAX)
        return "a username has 1 to 32 bytes";
    for (size_t i = 0; i < PROA_COUNT(taken); i++)
        if (proa_str_eq_nocase(name, proa_str_c(taken[i])))
            return "the username is one of the engine's own";
    return proa_str_starts_with(name, PROA_STR("mysql.")) ? "the username is one of the engine's own" : NULL;
}

static void add_account(struct proa_buf *out, proa_str user)
{
    my_add_literal(out, user);
    proa_buf_add_c(out, "@'%'");
}

static void add_where_user(struct proa_buf *out, proa_str user)
{
    proa_buf_add_c(out, " WHERE host = '%' AND user = ");
    my_add_literal(out, user);
}

static int ask_facts(const struct instance *instance, struct proa_arena *arena, struct facts *ret_facts,
                     struct proa_error *err)
{
    proa_str user = instance->credentials->username, output, comment;
    struct proa_buf script;
    struct my_row row;

    proa_buf_init(&script, arena, 0);
    proa_buf_add_c(&script, "SELECT IFNULL((SELECT table_comment FROM information_schema.tables WHERE table_schema = "
                            "'" MY_OWN_DATABASE "' AND table_name = 'identity'), '') AS comment, "
                            "(SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '" MY_DATABASE
                            "') AS has_database, (SELECT COUNT(*) FROM mysql.db");
    add_where_user(&script, user);
    proa_buf_add_c(&script, " AND db = '" MY_DATABASE "' AND insert_priv = 'Y') AS has_user, "
                            "(SELECT COUNT(*) FROM mysql.user");
    add_where_user(&script, PROA_STR(MY_REPLICATION_USER));
    proa_buf_add_c(&script, " AND repl_slave_priv = 'Y') AS has_replication_user;\n");
    if (script.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(my_run(instance, arena, proa_buf_str(&script), &output, err));
    if (!my_begin_rows(&output, &row) || !my_next_row(&output, &row))
        return proa_fail(err, PROA_ESYNTAX, "the client printed no answer");
    comment = my_value(&row, "comment");
    *ret_facts = (struct facts){.has_database = my_number(&row, "has_database") > 0,
                                .has_user = my_number(&row, "has_user") > 0,
                                .has_replication_user = my_number(&row, "has_replication_user") > 0};
    if (proa_str_split(&comment, ' ', &ret_facts->id))
        ret_facts->user = comment;
    return 0;
}

/* @returns 0 or an error; *ret_differs whether the password is another one, or the account cannot log in. */
static int try_login(const struct instance *instance, struct proa_arena *arena, proa_str user, proa_str password,
                     bool *ret_differs, struct proa_error *err)
{
    const struct my_login login = {
        .socket = instance_run_path(arena, instance, "mysqld.sock"), .user = user, .password = password};
    int rc;

    if (!login.socket)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(my_write_login(instance, arena, USER_FILE, &login, err));
    rc = my_run_as(instance, arena, USER_FILE, PROA_STR("SELECT 1;\n"), NULL, NULL, err);
    *ret_differs = rc == PROA_EFORBIDDEN;
    return rc == PROA_EFORBIDDEN ? 0 : rc;
}

static int add_user(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena, proa_str user,
                    proa_str password, struct proa_error *err)
{
    proa_buf_add_c(out, "CREATE USER IF NOT EXISTS ");
    add_account(out, user);
    proa_buf_add_char(out, ' ');
    PROA_TRY(my_add_identified(out, instance, arena, password, err));
    proa_buf_add_c(out, ";\nALTER USER ");
    add_account(out, user);
    proa_buf_add_char(out, ' ');
    PROA_TRY(my_add_identified(out, instance, arena, password, err));
    proa_buf_add_c(out, " PASSWORD EXPIRE NEVER ACCOUNT UNLOCK;\n");
    return 0;
}

/* Standbys follow, and take their first copy, as this user, which for a dump has to read everything. */
static int add_replication_user(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena,
                                bool is_there, struct proa_error *err)
{
    char password[MY_PASSWORD_LEN + 1] = "";
    bool differs = true;

    PROA_TRY(my_replication_password(instance, password, err));
    if (is_there)
        PROA_TRY(try_login(instance, arena, PROA_STR(MY_REPLICATION_USER), proa_str_c(password), &differs, err));
    if (!differs)
        return 0;
    PROA_TRY(add_user(out, instance, arena, PROA_STR(MY_REPLICATION_USER), proa_str_c(password), err));
    proa_buf_add_c(out, my_is_mariadb(instance, arena)
                            ? "GRANT SELECT, LOCK TABLES, SHOW VIEW, EVENT, TRIGGER, RELOAD, PROCESS, BINLOG MONITOR, "
                              "REPLICATION SLAVE ON *.* TO '" MY_REPLICATION_USER "'@'%';\n"
                            : "GRANT BACKUP_ADMIN, REPLICATION SLAVE ON *.* TO '" MY_REPLICATION_USER "'@'%';\n");
    return 0;
}

static int add_clients_user(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena,
                            bool is_there, struct proa_error *err)
{
    const struct credentials *credentials = instance->credentials;
    bool differs = true;

    if (is_there)
        PROA_TRY(try_login(instance, arena, credentials->username, credentials->password, &differs, err));
    if (!differs)
        return 0;
    PROA_TRY(add_user(out, instance, arena, credentials->username, credentials->password, err));
    proa_buf_add_c(out, "GRANT ALL ON `" MY_DATABASE "`.* TO ");
    add_account(out, credentials->username);
    proa_buf_add_c(out, ";\n");
    return 0;
}

/* The first that the binary log of a new database holds: where a standby of another database would be told to go on from its beginning,
 * it fails here, before anything of it has changed. */
static int add_identity(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena,
                        struct proa_error *err)
{
    unsigned char bytes[ID_BYTES];
    char id[2 * ID_BYTES];
    proa_str comment;

    proa_loop_random(instance->loop, bytes, sizeof bytes);
    proa_hex_encode(id, proa_str_n((const char *)bytes, sizeof bytes));
    comment = proa_arena_printf(arena, PROA_FMT " " PROA_FMT, PROA_ARG(proa_str_n(id, sizeof id)),
                                PROA_ARG(instance->credentials->username));
    if (!comment.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    proa_buf_add_c(out, "CREATE DATABASE IF NOT EXISTS `" MY_OWN_DATABASE "`;\nCREATE TABLE `" MY_OWN_DATABASE
                        "`.identity (nothing INT PRIMARY KEY) COMMENT = ");
    my_add_literal(out, comment);
    proa_buf_add_c(out, ";\n");
    return 0;
}

/* The credentials name another user than before: the former one is locked out. */
static int add_change_of_user(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena,
                              const struct facts *facts, struct proa_error *err)
{
    proa_str comment =
        proa_arena_printf(arena, PROA_FMT " " PROA_FMT, PROA_ARG(facts->id), PROA_ARG(instance->credentials->username));

    if (!comment.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (!my_why_not_user(facts->user)) {
        proa_buf_add_c(out, "ALTER USER IF EXISTS ");
        add_account(out, facts->user);
        proa_buf_add_c(out, " ACCOUNT LOCK;\n");
    }
    proa_buf_add_c(out, "ALTER TABLE `" MY_OWN_DATABASE "`.identity COMMENT = ");
    my_add_literal(out, comment);
    proa_buf_add_c(out, ";\n");
    return 0;
}

static int apply(const struct instance *instance, struct proa_arena *arena, struct proa_error *err)
{
    const struct credentials *credentials = instance->credentials;
    const char *why_not = my_why_not_user(credentials->username);
    struct proa_buf script;
    struct facts facts = {0};

    if (why_not)
        return proa_fail(err, PROA_EINVAL, "credentials: %s", why_not);
    PROA_TRY(ask_facts(instance, arena, &facts, err));
    proa_buf_init(&script, arena, 0);
    if (facts.id.len == 0)
        PROA_TRY(add_identity(&script, instance, arena, err));
    PROA_TRY(add_replication_user(&script, instance, arena, facts.has_replication_user, err));
    if (!facts.has_database)
        proa_buf_add_c(&script, "CREATE DATABASE `" MY_DATABASE "`;\n");
    PROA_TRY(add_clients_user(&script, instance, arena, facts.has_user, err));
    if (facts.id.len > 0 && !proa_str_eq(facts.user, credentials->username))
        PROA_TRY(add_change_of_user(&script, instance, arena, &facts, err));
    if (script.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (script.len == 0)
        return 0;
    PROA_TRY(my_run(instance, arena, proa_buf_str(&script), NULL, err));
    PROA_INFO(instance->logger, "accounts and their passwords were brought to what the credentials say");
    return 0;
}

int my_apply_credentials(const struct instance *instance, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);

    proa_arena_init(&arena, NULL, 0);
    return apply(instance, &arena, err);
}

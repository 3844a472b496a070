/* Users and the database: made with the data, and kept as the mounted credentials say. The server is given verifiers, never passwords. */
#include "postgres_internal.h"
#include "scram.h"

#include <proa/json.h>

struct role {
    proa_str name;
    proa_str verifier;
    bool can_login;
};
PROA_DESCRIBE(role, (name, str), (verifier, str, .default_json = "\"\""), (can_login, boolean));
struct role_facts {
    PROA_ARRAY_OF(struct role) roles;
    proa_str owner; /* of the database; "": there is none */
};
PROA_DESCRIBE(role_facts, (roles, array(object(role))), (owner, str, .default_json = "\"\""));

const char *pg_why_not_user(proa_str name)
{
    if (name.len == 0 || name.len > 63)
        return "a username has 1 to 63 bytes";
    if (proa_str_eq_c(name, PG_SUPERUSER) || proa_str_eq_c(name, PG_REPLICATION_USER) ||
        proa_str_starts_with(name, PROA_STR("pg_")))
        return "the username is one of the engine's own";
    return NULL;
}

static proa_str new_verifier(const struct instance *instance, struct proa_arena *arena, proa_str password)
{
    unsigned char salt[SCRAM_SALT_BYTES];

    proa_loop_random(instance->loop, salt, sizeof salt);
    return scram_verifier(arena, password, salt);
}

static int check(const struct instance *instance, struct proa_error *err)
{
    const struct credentials *credentials = instance->credentials;
    const char *why_not = pg_why_not_user(credentials->username);

    if (why_not)
        return proa_fail(err, PROA_EINVAL, "credentials: %s", why_not);
    if (credentials->password.len == 0 || credentials->replication_password.len == 0)
        return proa_fail(err, PROA_EINVAL, "credentials: a password is empty");
    return 0;
}

/* "CREATE ROLE name LOGIN… PASSWORD '…'" or ALTER. */
static int add_role(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena, const char *verb,
                    proa_str name, proa_str password, struct proa_error *err)
{
    proa_str verifier = new_verifier(instance, arena, password);

    if (!verifier.ptr)
        return proa_fail(err, PROA_EINTERNAL, "hashing a password");
    proa_buf_printf(out, "%s ROLE ", verb);
    pg_add_identifier(out, name);
    proa_buf_add_c(out, proa_str_eq_c(name, PG_REPLICATION_USER) ? " LOGIN REPLICATION" : " LOGIN");
    proa_buf_add_c(out, " PASSWORD ");
    pg_add_literal(out, verifier);
    proa_buf_add_c(out, ";\n");
    return 0;
}

static void add_database(struct proa_buf *out, proa_str owner)
{
    proa_buf_add_c(out, "CREATE DATABASE " PG_DATABASE " OWNER ");
    pg_add_identifier(out, owner);
    proa_buf_add_c(out, ";\n");
}

int pg_add_first_roles(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena,
                       struct proa_error *err)
{
    const struct credentials *credentials = instance->credentials;

    PROA_TRY(check(instance, err));
    PROA_TRY(add_role(out, instance, arena, "CREATE", PROA_STR(PG_REPLICATION_USER), credentials->replication_password,
                      err));
    PROA_TRY(add_role(out, instance, arena, "CREATE", credentials->username, credentials->password, err));
    add_database(out, credentials->username);
    return out->error < 0 ? proa_fail(err, out->error, "memory is out") : 0;
}

static int ask_roles(const struct instance *instance, struct proa_arena *arena, struct role_facts *ret_facts,
                     struct proa_error *err)
{
    struct child_result result = {0};
    struct proa_buf script;

    proa_buf_init(&script, arena, 0);
    proa_buf_add_c(&script,
                   "SELECT json_build_object("
                   "'roles', (SELECT coalesce(json_agg(json_build_object('name', rolname, 'verifier', "
                   "coalesce(rolpassword, ''), 'can_login', rolcanlogin)), '[]') FROM pg_authid WHERE rolname IN (");
    pg_add_literal(&script, instance->credentials->username);
    proa_buf_add_c(&script, ", '" PG_REPLICATION_USER "')), 'owner', coalesce((SELECT pg_get_userbyid(datdba) FROM "
                            "pg_database WHERE datname = '" PG_DATABASE "'), ''));\n");
    if (script.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(pg_run(instance, arena, PG_SUPERUSER, proa_buf_str(&script), &result, err));
    return proa_json_read(arena, result.output, PROA_JSON_LENIENT, &role_facts_type, ret_facts, err);
}

static int add_if_differs(struct proa_buf *out, const struct instance *instance, struct proa_arena *arena,
                          const struct role_facts *facts, proa_str name, proa_str password, struct proa_error *err)
{
    for (size_t i = 0; i < facts->roles.len; i++) {
        const struct role *role = &facts->roles.ptr[i];

        if (!proa_str_eq(role->name, name))
            continue;
        return role->can_login && scram_matches(arena, role->verifier, password)
                   ? 0
                   : add_role(out, instance, arena, "ALTER", name, password, err);
    }
    return add_role(out, instance, arena, "CREATE", name, password, err);
}

/* A user that was the owner once before has been given to those that came after it, and a role cannot be a member of its own member. */
static void add_way_back(struct proa_buf *out, proa_str owner, proa_str username)
{
    proa_buf_add_c(out, "WITH RECURSIVE held AS (SELECT oid FROM pg_roles WHERE rolname = ");
    pg_add_literal(out, owner);
    proa_buf_add_c(out, " UNION SELECT roleid FROM pg_auth_members JOIN held ON member = held.oid) "
                        "SELECT format('REVOKE %I FROM %I', g.rolname, m.rolname) FROM pg_auth_members "
                        "JOIN held ON member = held.oid JOIN pg_roles m ON m.oid = member "
                        "JOIN pg_roles g ON g.oid = roleid WHERE g.rolname = ");
    pg_add_literal(out, username);
    proa_buf_add_c(out, " \\gexec\n");
}

/* A database whose owner has another name than the credentials: the new user gets all that the old one owns, and takes its place. */
static void add_owner(struct proa_buf *out, proa_str owner, proa_str username)
{
    if (owner.len == 0) {
        add_database(out, username);
        return;
    }
    if (proa_str_eq(owner, username))
        return;
    if (!pg_why_not_user(owner)) {
        add_way_back(out, owner, username);
        proa_buf_add_c(out, "GRANT ");
        pg_add_identifier(out, owner);
        proa_buf_add_c(out, " TO ");
        pg_add_identifier(out, username);
        proa_buf_add_c(out, ";\nALTER ROLE ");
        pg_add_identifier(out, owner);
        proa_buf_add_c(out, " NOLOGIN;\n");
    }
    proa_buf_add_c(out, "ALTER DATABASE " PG_DATABASE " OWNER TO ");
    pg_add_identifier(out, username);
    proa_buf_add_c(out, ";\n");
}

static int apply(const struct instance *instance, struct proa_arena *arena, struct proa_error *err)
{
    const struct credentials *credentials = instance->credentials;
    struct role_facts facts = {0};
    struct child_result result = {0};
    struct proa_buf script;

    PROA_TRY(check(instance, err));
    PROA_TRY(ask_roles(instance, arena, &facts, err));
    proa_buf_init(&script, arena, 0);
    PROA_TRY(add_if_differs(&script, instance, arena, &facts, PROA_STR(PG_REPLICATION_USER),
                            credentials->replication_password, err));
    PROA_TRY(add_if_differs(&script, instance, arena, &facts, credentials->username, credentials->password, err));
    add_owner(&script, facts.owner, credentials->username);
    if (script.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    if (script.len == 0)
        return 0;
    PROA_TRY(pg_run(instance, arena, PG_SUPERUSER, proa_buf_str(&script), &result, err));
    PROA_INFO(instance->logger, "users and their passwords were brought to what the credentials say");
    return 0;
}

int pg_apply_credentials(const struct instance *instance, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);

    proa_arena_init(&arena, NULL, 0);
    return apply(instance, &arena, err);
}

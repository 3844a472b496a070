/* The clients' user, of the database `app`, as the mounted credentials say. Whether its password differs tells a login with it. */
#include "mongodb_internal.h"

#define MARK "databaseOperator" /* in the user's custom data: made by this program */

enum { USER_NAME_MAX = 128 };

const char *mo_why_not_user(proa_str name)
{
    if (name.len == 0 || name.len > USER_NAME_MAX)
        return "a username has 1 to 128 bytes";
    return proa_str_eq_c(name, "__system") ? "the username is one of the engine's own" : NULL;
}

static int try_login(const struct instance *instance, struct proa_arena *arena, bool *ret_differs,
                     struct proa_error *err)
{
    const struct credentials *credentials = instance->credentials;
    struct mo_session session;
    int rc;

    PROA_TRY(mo_open(&session, instance, arena, err));
    rc = mo_login(&session, MO_DATABASE, credentials->username, credentials->password, err);
    mo_close(&session);
    *ret_differs = rc == PROA_EFORBIDDEN;
    return rc == PROA_EFORBIDDEN ? 0 : rc;
}

/* @param verb  createUser or updateUser, whose members are the same */
static int write_user(struct mo_session *session, const char *verb, struct proa_error *err)
{
    const struct credentials *credentials = session->instance->credentials;
    struct mo_command command;

    mo_begin(&command, session, verb, credentials->username);
    bson_text(&command.w, "pwd", credentials->password);
    bson_array(&command.w, "mechanisms");
    bson_text(&command.w, "0", PROA_STR("SCRAM-SHA-256"));
    bson_end(&command.w);
    bson_array(&command.w, "roles");
    bson_document(&command.w, "0");
    bson_text(&command.w, "role", PROA_STR("dbOwner"));
    bson_text(&command.w, "db", PROA_STR(MO_DATABASE));
    bson_end(&command.w);
    bson_end(&command.w);
    bson_document(&command.w, "customData");
    bson_bool(&command.w, MARK, true);
    bson_end(&command.w);
    return mo_run(session, &command, MO_DATABASE, NULL, err);
}

/* A user that this program made for other credentials. */
static bool is_former(const struct instance *instance, const struct bson_value *user)
{
    return user->type == BSON_DOCUMENT && bson_get_i64(user->bytes, "customData." MARK) == 1 &&
           !proa_str_eq(bson_get_text(user->bytes, "user"), instance->credentials->username);
}

static int drop_former(struct mo_session *session, proa_str users, struct proa_error *err)
{
    proa_str rest = bson_elements(users);
    struct bson_value user;

    while (bson_next(&rest, &user)) {
        struct mo_command command;

        if (!is_former(session->instance, &user))
            continue;
        mo_begin(&command, session, "dropUser", bson_get_text(user.bytes, "user"));
        PROA_TRY(mo_run(session, &command, MO_DATABASE, NULL, err));
        PROA_INFO(session->instance->logger, "the former credentials' user is dropped");
    }
    return 0;
}

static bool has_user(const struct instance *instance, proa_str users)
{
    proa_str rest = bson_elements(users);
    struct bson_value user;

    while (bson_next(&rest, &user))
        if (user.type == BSON_DOCUMENT &&
            proa_str_eq(bson_get_text(user.bytes, "user"), instance->credentials->username))
            return true;
    return false;
}

static int apply(struct mo_session *session, struct proa_error *err)
{
    const struct instance *instance = session->instance;
    struct mo_command command;
    struct bson_value users;
    bool differs;
    proa_str answer;

    mo_begin(&command, session, "usersInfo", (proa_str){0});
    PROA_TRY(mo_run(session, &command, MO_DATABASE, &answer, err));
    if (!bson_find(answer, "users", &users) || users.type != BSON_ARRAY)
        return proa_fail(err, PROA_ESYNTAX, "usersInfo: no users");
    PROA_TRY(try_login(instance, session->arena, &differs, err));
    if (differs) {
        PROA_TRY(write_user(session, has_user(instance, users.bytes) ? "updateUser" : "createUser", err));
        PROA_INFO(instance->logger, "the user and its password were brought to what the credentials say");
    }
    return drop_former(session, users.bytes, err);
}

int mo_apply_credentials(const struct instance *instance, struct proa_error *err)
{
    const char *why_not = mo_why_not_user(instance->credentials->username);
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct mo_session session PROA_CLEANUP(mo_close) = {0};

    proa_arena_init(&arena, NULL, 0);
    if (why_not)
        return proa_fail(err, PROA_EINVAL, "credentials: %s", why_not);
    PROA_TRY(mo_open_system(&session, instance, &arena, err));
    return apply(&session, err);
}

/* The replica set: how this member is, who its members are, and whether a standby can ever catch up. */
#include "mongodb_internal.h"

#include <proa/text.h>
#include <stdio.h>

/* States of members, as replSetGetStatus numbers them. */
enum { STATE_PRIMARY = 1, STATE_SECONDARY = 2, MEMBERS_MAX = 50, ID_MAX = 255, MEMBER_HOST_MAX = HOST_MAX + 8 };

static void copy_text(char *out, size_t max, proa_str text)
{
    snprintf(out, max, PROA_FMT, PROA_ARG(text));
}

/* -- Asking ---------------------------------------------------------------------------------------------------------- */

/* "SECONDS.COUNTER", which judge compares. */
static void write_position(char *out, size_t max, uint64_t timestamp)
{
    if (timestamp > 0)
        snprintf(out, max, "%u.%u", (unsigned)(timestamp >> 32), (unsigned)timestamp);
}

static uint64_t read_position(const char *text)
{
    proa_str rest = proa_str_c(text), seconds;
    uint64_t high = 0, low = 0;

    if (!proa_str_split(&rest, '.', &seconds) || proa_str_to_u64(seconds, &high) < 0 || proa_str_to_u64(rest, &low) < 0)
        return 0;
    return high << 32 | (low & UINT32_MAX);
}

void mo_read_set_status(proa_str answer, struct engine_status *status)
{
    int64_t state = bson_get_i64(answer, "myState"), own_ms = 0, primary_ms = 0;
    bool has_source = false;
    struct bson_value members, member;
    proa_str rest;

    status->is_writable = state == STATE_PRIMARY;
    if (!bson_find(answer, "members", &members) || members.type != BSON_ARRAY)
        return;
    rest = bson_elements(members.bytes);
    while (bson_next(&rest, &member)) {
        if (member.type != BSON_DOCUMENT)
            continue;
        if (bson_get_i64(member.bytes, "self") == 1) {
            own_ms = bson_get_i64(member.bytes, "optimeDate");
            has_source = bson_get_text(member.bytes, "syncSourceHost").len > 0;
            write_position(status->position, sizeof status->position, bson_get_timestamp(member.bytes, "optime.ts"));
        }
        if (bson_get_i64(member.bytes, "state") == STATE_PRIMARY)
            primary_ms = bson_get_i64(member.bytes, "optimeDate");
    }
    status->is_streaming = state == STATE_SECONDARY && has_source;
    status->has_lag = status->is_streaming && primary_ms > 0;
    status->lag_ms = status->has_lag && primary_ms > own_ms ? (uint64_t)primary_ms - (uint64_t)own_ms : 0;
}

/* A server that is no member yet answers too: it has no set. */
static int ask_set(struct mo_session *session, struct engine_status *status, struct proa_error *err)
{
    struct bson_value id;
    proa_str answer;
    int rc = mo_ask_admin(session, "replSetGetStatus", &answer, err);

    if (rc < 0 && (session->code == MO_NOT_YET_INITIALISED || session->code == MO_INVALID_SET_CONFIG))
        return 0;
    PROA_TRY(rc);
    mo_read_set_status(answer, status);
    PROA_TRY(mo_ask_admin(session, "replSetGetConfig", &answer, err));
    if (bson_find(answer, "config.settings.replicaSetId", &id) && id.type == BSON_OBJECT_ID) {
        proa_hex_encode(status->identity, id.bytes);
        status->identity[2 * BSON_OBJECT_ID_BYTES] = '\0';
    }
    return 0;
}

/* A member that copies its data cannot answer these yet, which is no error. */
static int ask_sizes(struct mo_session *session, struct engine_status *status, struct proa_error *err)
{
    struct mo_command command;
    proa_str answer;
    int rc;

    mo_begin(&command, session, "listDatabases", (proa_str){0});
    rc = mo_run(session, &command, "admin", &answer, err);
    if (rc < 0)
        return session->code != 0 ? 0 : rc;
    status->size_bytes = (uint64_t)bson_get_i64(answer, "totalSize");
    mo_begin(&command, session, "find", PROA_STR("oplog.rs"));
    bson_document(&command.w, "sort");
    bson_i32(&command.w, "$natural", 1);
    bson_end(&command.w);
    bson_document(&command.w, "projection");
    bson_i32(&command.w, "ts", 1);
    bson_end(&command.w);
    bson_i32(&command.w, "limit", 1);
    bson_bool(&command.w, "singleBatch", true);
    rc = mo_run(session, &command, "local", &answer, err);
    if (rc < 0)
        return session->code != 0 ? 0 : rc;
    write_position(status->oldest, sizeof status->oldest, bson_get_timestamp(answer, "cursor.firstBatch.0.ts"));
    return 0;
}

static int ask(struct mo_session *session, bool with_size, struct engine_status *ret_status, struct proa_error *err)
{
    struct engine_status status = {0};
    proa_str answer;

    PROA_TRY(mo_ask_admin(session, "buildInfo", &answer, err));
    copy_text(status.version, sizeof status.version, bson_get_text(answer, "version"));
    PROA_TRY(ask_set(session, &status, err));
    if (with_size)
        PROA_TRY(ask_sizes(session, &status, err));
    *ret_status = status;
    return 0;
}

int mo_ask(const struct instance *instance, bool with_size, struct engine_status *ret_status, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct mo_session session PROA_CLEANUP(mo_close) = {0};

    proa_arena_init(&arena, NULL, 0);
    PROA_TRY(mo_open_system(&session, instance, &arena, err));
    return ask(&session, with_size, ret_status, err);
}

/* -- Members --------------------------------------------------------------------------------------------------------- */

static void member_host(const struct instance *instance, uint32_t ordinal, char ret_host[MEMBER_HOST_MAX])
{
    char host[HOST_MAX];

    instance_host(instance, ordinal, host);
    snprintf(ret_host, MEMBER_HOST_MAX, "%s:%u", host, mo_port(instance));
}

/* The ordinal of the instance that is reached there, or -1 for somebody else's member. */
static int ordinal_of(const struct instance *instance, proa_str host)
{
    for (uint32_t i = 0; i < DATABASE_REPLICAS_MAX; i++) {
        char own[MEMBER_HOST_MAX];

        member_host(instance, i, own);
        if (proa_str_eq_c(host, own))
            return (int)i;
    }
    return -1;
}

/* @param is_standby  neither elected nor asked for a vote, until moving the primary is built */
static void write_member(struct bson_writer *w, const char *key, const struct instance *instance, int32_t id,
                         uint32_t ordinal, bool is_standby)
{
    char host[MEMBER_HOST_MAX];

    member_host(instance, ordinal, host);
    bson_document(w, key);
    bson_i32(w, "_id", id);
    bson_text(w, "host", proa_str_c(host));
    if (is_standby) {
        bson_i32(w, "priority", 0);
        bson_i32(w, "votes", 0);
    }
    bson_end(w);
}

static int initiate(struct mo_session *session, struct proa_error *err)
{
    const struct instance *instance = session->instance;
    struct mo_command command;
    proa_str answer;
    int rc = mo_ask_admin(session, "replSetGetStatus", &answer, err);

    if (rc == 0 || session->code != MO_NOT_YET_INITIALISED)
        return rc;
    mo_begin_empty(&command, session, "replSetInitiate");
    bson_document(&command.w, "replSetInitiate");
    bson_text(&command.w, "_id", instance->config->database);
    bson_array(&command.w, "members");
    write_member(&command.w, "0", instance, (int32_t)instance->ordinal, instance->ordinal, false);
    bson_end(&command.w);
    bson_end(&command.w);
    PROA_TRY(mo_run(session, &command, "admin", NULL, err));
    PROA_INFO(instance->logger, "the replica set is initiated");
    return 0;
}

int mo_settle(const struct instance *instance, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct mo_session session PROA_CLEANUP(mo_close) = {0};

    proa_arena_init(&arena, NULL, 0);
    if (instance->role != ROLE_PRIMARY)
        return 0;
    PROA_TRY(mo_open_system(&session, instance, &arena, err));
    return initiate(&session, err);
}

struct members {
    bool has_instance[DATABASE_REPLICAS_MAX];
    bool has_id[ID_MAX + 1];
    uint32_t count;
    bool has_changed;
};

static void keep_member(const struct instance *instance, const struct bson_value *member, struct members *members,
                        struct bson_writer *w)
{
    int ordinal = ordinal_of(instance, bson_get_text(member->bytes, "host"));
    int64_t id = bson_get_i64(member->bytes, "_id");
    char key[8];

    if (ordinal >= 0 && (uint32_t)ordinal >= instance->replicas && (uint32_t)ordinal != instance->ordinal) {
        members->has_changed = true;
        return;
    }
    if (ordinal >= 0)
        members->has_instance[ordinal] = true;
    if (id >= 0 && id <= ID_MAX)
        members->has_id[id] = true;
    snprintf(key, sizeof key, "%u", members->count++);
    bson_copy(w, key, member);
}

static void add_member(const struct instance *instance, uint32_t ordinal, struct members *members,
                       struct bson_writer *w)
{
    uint32_t id = ordinal;
    char key[8];

    while (id < ID_MAX && members->has_id[id])
        id++;
    members->has_id[id] = true;
    members->has_changed = true;
    snprintf(key, sizeof key, "%u", members->count++);
    write_member(w, key, instance, (int32_t)id, ordinal, true);
}

static bool write_members(const struct instance *instance, proa_str list, struct bson_writer *w)
{
    struct members members = {0};
    struct bson_value member;
    proa_str rest = bson_elements(list);

    bson_array(w, "members");
    while (bson_next(&rest, &member) && members.count < MEMBERS_MAX)
        if (member.type == BSON_DOCUMENT)
            keep_member(instance, &member, &members, w);
    for (uint32_t i = 0; i < instance->replicas && i < DATABASE_REPLICAS_MAX && members.count < MEMBERS_MAX; i++)
        if (i != instance->ordinal && !members.has_instance[i])
            add_member(instance, i, &members, w);
    bson_end(w);
    return members.has_changed;
}

/* What people have set otherwise stays as it is. */
bool mo_write_config(const struct instance *instance, proa_str config, struct bson_writer *w, const char *key)
{
    proa_str rest = bson_elements(config);
    bool has_changed = false;
    struct bson_value value;

    bson_document(w, key);
    while (bson_next(&rest, &value))
        if (proa_str_eq_c(value.key, "version"))
            bson_i32(w, "version", (int32_t)(bson_get_i64(config, "version") + 1));
        else if (proa_str_eq_c(value.key, "members") && value.type == BSON_ARRAY)
            has_changed |= write_members(instance, value.bytes, w);
        else
            bson_copy(w, value.key.ptr, &value);
    bson_end(w);
    return has_changed;
}

static int reconfigure(struct mo_session *session, struct proa_error *err)
{
    struct bson_value config;
    struct mo_command command;
    proa_str answer;

    PROA_TRY(mo_ask_admin(session, "replSetGetConfig", &answer, err));
    if (!bson_find(answer, "config", &config) || config.type != BSON_DOCUMENT)
        return proa_fail(err, PROA_ESYNTAX, "replSetGetConfig: no configuration");
    mo_begin_empty(&command, session, "replSetReconfig");
    if (!mo_write_config(session->instance, config.bytes, &command.w, command.name))
        return 0;
    PROA_TRY(mo_run(session, &command, "admin", NULL, err));
    PROA_INFO(session->instance->logger, "the replica set's members are changed",
              proa_kv_u64("replicas", session->instance->replicas));
    return 0;
}

int mo_keep_replicas(const struct instance *instance, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct mo_session session PROA_CLEANUP(mo_close) = {0};

    proa_arena_init(&arena, NULL, 0);
    PROA_TRY(mo_open_system(&session, instance, &arena, err));
    return reconfigure(&session, err);
}

/* The primary makes a standby a member; whom it copies from, a member finds out itself. */
int mo_follow(const struct instance *instance, struct proa_error *err)
{
    (void)instance;
    (void)err;
    return 0;
}

int mo_judge(const struct instance *instance, const struct engine_status *own, const struct primary_status *primary,
             enum verdict *ret_verdict, const char **ret_why, struct proa_error *err)
{
    uint64_t position = read_position(own->position), oldest = read_position(primary->engine.oldest);

    (void)instance;
    (void)err;
    *ret_verdict = VERDICT_WAIT;
    *ret_why = "";
    /* One that is no member yet has none. */
    if (!own->identity[0] || !primary->engine.identity[0])
        return 0;
    if (strcmp(own->identity, primary->engine.identity) != 0) {
        *ret_verdict = VERDICT_FOREIGN;
        *ret_why = "the primary's database is another one";
    } else if (position > 0 && oldest > 0 && position < oldest) {
        *ret_verdict = VERDICT_LOST;
        *ret_why = "the primary's oplog no longer reaches back to where it is";
    }
    return 0;
}

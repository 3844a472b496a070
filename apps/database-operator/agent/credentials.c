/* The mounted credentials. kubelet changes all files of the mount at once, by a link; what is read between two changes is read again. */
#include "agent_internal.h"

#include <proa/file.h>

enum { CREDENTIAL_MAX_BYTES = 1024 };

static int read_one(struct agent *agent, struct proa_arena *arena, const char *name, proa_str *ret_text,
                    struct proa_error *err)
{
    const char *path = proa_arena_printf(arena, PROA_FMT "/%s", PROA_ARG(agent->config.credentials_dir), name).ptr;
    proa_str text;

    if (!path)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_TRY(proa_file_read(agent->loop, arena, path, CREDENTIAL_MAX_BYTES, &text, err));
    /* As people make files. */
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.len--;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] <= ' ' || (unsigned char)text.ptr[i] > '~')
            return proa_fail(err, PROA_EINVAL, "%s: only printable ASCII without spaces can be used", path);
    if (text.len == 0)
        return proa_fail(err, PROA_EINVAL, "%s is empty", path);
    *ret_text = text;
    return 0;
}

static int read_all(struct agent *agent, struct proa_arena *arena, struct credentials *ret_credentials,
                    struct proa_error *err)
{
    PROA_TRY(read_one(agent, arena, "username", &ret_credentials->username, err));
    PROA_TRY(read_one(agent, arena, "password", &ret_credentials->password, err));
    PROA_TRY(read_one(agent, arena, "replicationPassword", &ret_credentials->replication_password, err));
    return read_one(agent, arena, "agentToken", &ret_credentials->agent_token, err);
}

static bool is_same(const struct credentials *a, const struct credentials *b)
{
    return proa_str_eq(a->username, b->username) && proa_str_eq_secret(a->password, b->password) &&
           proa_str_eq_secret(a->replication_password, b->replication_password) &&
           proa_str_eq_secret(a->agent_token, b->agent_token);
}

int credentials_load(struct agent *agent, bool *ret_changed, struct proa_error *err)
{
    struct credentials next = {0};
    struct proa_arena arena;
    int rc;

    proa_arena_init(&arena, NULL, 0);
    rc = read_all(agent, &arena, &next, err);
    if (rc < 0 || is_same(&next, &agent->credentials)) {
        proa_arena_done(&arena);
        if (rc == 0)
            *ret_changed = false;
        return rc;
    }
    proa_arena_done(&agent->credentials_arena);
    agent->credentials_arena = arena;
    agent->credentials = next;
    *ret_changed = true;
    return 0;
}

bool credentials_look(struct agent *agent)
{
    struct proa_error err = {0};
    bool changed = false;

    if (credentials_load(agent, &changed, &err) == 0) {
        agent->credentials_error[0] = '\0';
        return changed;
    }
    if (strcmp(agent->credentials_error, err.message) != 0)
        proa_log_failure(agent->logger, PROA_LOG_WARN, "the credentials cannot be used, the last ones hold", &err);
    memcpy(agent->credentials_error, err.message, sizeof agent->credentials_error);
    return false;
}

/* Bearer tokens and client certificates that change while the program runs: token files and exec plugins
 * (ExecCredential v1, KEP-541). */
#include "client_internal.h"

#include <proa/fiber.h>
#include <proa/file.h>

struct exec_status {
    proa_str token, client_certificate_data, client_key_data;
    PROA_OPTIONAL(proa_time_ns) expiration_timestamp;
};
PROA_DESCRIBE_WITH(exec_status, (.unknown = PROA_UNKNOWN_IGNORE), (token, str, .default_json = "\"\"", .secret = true),
                   (client_certificate_data, str, .json = "clientCertificateData", .default_json = "\"\""),
                   (client_key_data, str, .json = "clientKeyData", .default_json = "\"\"", .secret = true),
                   (expiration_timestamp, optional(timestamp), .json = "expirationTimestamp"));

struct exec_credential {
    proa_str kind, api_version;
    PROA_OPTIONAL(struct exec_status) status;
};
PROA_DESCRIBE_WITH(exec_credential, (.unknown = PROA_UNKNOWN_IGNORE), (kind, str, .default_json = "\"\""),
                   (api_version, str, .json = "apiVersion", .default_json = "\"\""),
                   (status, optional(object(exec_status))));

/* What is held is replaced as a whole. */
struct fresh {
    struct proa_arena arena;
    const char *authorization, *cert_pem, *key_pem;
    proa_time_ns expires;
    proa_mono_ns check_at;
};

void kube_credentials_init(struct kube_credentials *credentials, struct proa_kube *kube)
{
    *credentials = (struct kube_credentials){.kube = kube};
    proa_arena_init(&credentials->arena, NULL, 0);
    proa_event_init(&credentials->loaded, kube->options.loop);
}

void kube_credentials_done(struct kube_credentials *credentials)
{
    proa_arena_done(&credentials->arena);
}

static int set_token(struct fresh *fresh, proa_str token)
{
    while (token.len > 0 &&
           (token.ptr[token.len - 1] == '\n' || token.ptr[token.len - 1] == '\r' || token.ptr[token.len - 1] == ' '))
        token.len--;
    if (token.len == 0)
        return 0;
    fresh->authorization = proa_arena_printf(&fresh->arena, "Bearer " PROA_FMT, PROA_ARG(token)).ptr;
    return fresh->authorization ? 0 : PROA_ENOMEM;
}

static int load_file(struct proa_kube *kube, struct fresh *fresh, struct proa_error *err)
{
    proa_str token;

    PROA_TRY(
        proa_file_read(kube->options.loop, &fresh->arena, kube->config->token_file, CREDENTIAL_MAX_BYTES, &token, err));
    fresh->check_at = proa_loop_now(kube->options.loop) + PROA_MS(KUBE_TOKEN_CHECK_MS);
    PROA_TRY(set_token(fresh, token));
    return fresh->authorization ? 0 : proa_fail(err, PROA_EUNAUTHORIZED, "%s is empty", kube->config->token_file);
}

static int load_exec(struct proa_kube *kube, struct fresh *fresh, struct proa_error *err)
{
    const struct proa_kube_config *config = kube->config;
    struct exec_credential credential;
    const struct exec_status *status = &credential.status.value;
    proa_str output;

    PROA_TRY(kube_exec_run(kube->options.loop, &fresh->arena, config, &output, err));
    if (proa_json_read(&fresh->arena, output, PROA_JSON_LENIENT, &exec_credential_type, &credential, NULL) < 0 ||
        !proa_str_eq_c(credential.kind, "ExecCredential") || credential.status.presence != PROA_SET)
        return proa_fail(err, PROA_EUNAUTHORIZED, "%s: the output of " PROA_FMT " is no ExecCredential with a status",
                         config->source, PROA_ARG(config->exec->command));
    if (!proa_str_eq(credential.api_version, config->exec->api_version))
        return proa_fail(err, PROA_EUNAUTHORIZED,
                         "%s: " PROA_FMT " answered in apiVersion \"" PROA_FMT "\", not \"" PROA_FMT "\"",
                         config->source, PROA_ARG(config->exec->command), PROA_ARG(credential.api_version),
                         PROA_ARG(config->exec->api_version));
    PROA_TRY(set_token(fresh, status->token));
    if (status->client_certificate_data.len > 0) {
        fresh->cert_pem = proa_arena_cstr(&fresh->arena, status->client_certificate_data);
        fresh->key_pem = proa_arena_cstr(&fresh->arena, status->client_key_data);
        if (!fresh->cert_pem || !fresh->key_pem)
            return PROA_ENOMEM;
    }
    if (!fresh->authorization && !fresh->cert_pem)
        return proa_fail(err, PROA_EUNAUTHORIZED, "%s: " PROA_FMT " gave neither token nor certificate", config->source,
                         PROA_ARG(config->exec->command));
    fresh->expires = status->expiration_timestamp.presence == PROA_SET ? status->expiration_timestamp.value : 0;
    return 0;
}

static int load(struct proa_kube *kube, struct fresh *fresh, struct proa_error *err)
{
    fresh->check_at = PROA_NEVER;
    if (kube->config->token_file)
        return load_file(kube, fresh, err);
    if (kube->config->exec)
        return load_exec(kube, fresh, err);
    return kube->config->token ? set_token(fresh, proa_str_c(kube->config->token)) : 0;
}

static bool is_fresh(const struct kube_credentials *credentials)
{
    struct proa_loop *loop = credentials->kube->options.loop;

    return credentials->is_loaded && proa_loop_now(loop) < credentials->check_at &&
           (credentials->expires == 0 || proa_loop_wall(loop) < credentials->expires);
}

static bool differs(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) != 0 : a != b;
}

static int load_and_keep(struct kube_credentials *credentials, bool *ret_changed, struct proa_error *err)
{
    struct fresh fresh = {0};
    int rc;

    proa_arena_init(&fresh.arena, NULL, 0);
    rc = load(credentials->kube, &fresh, err);
    if (rc < 0) {
        proa_arena_done(&fresh.arena);
        /* A file that is just being replaced: what is held may still do. */
        if (credentials->is_loaded && credentials->kube->config->token_file) {
            credentials->check_at = proa_loop_now(credentials->kube->options.loop) + PROA_MS(1000);
            if (err)
                proa_error_clear(err);
            return 0;
        }
        return rc == PROA_ENOMEM ? proa_fail(err, rc, "no memory for credentials") : rc;
    }
    *ret_changed = credentials->is_loaded &&
                   (differs(credentials->cert_pem, fresh.cert_pem) || differs(credentials->key_pem, fresh.key_pem));
    proa_arena_done(&credentials->arena);
    credentials->arena = fresh.arena;
    credentials->authorization = fresh.authorization;
    credentials->cert_pem = fresh.cert_pem;
    credentials->key_pem = fresh.key_pem;
    credentials->expires = fresh.expires;
    credentials->check_at = fresh.check_at;
    credentials->is_loaded = true;
    credentials->generation++;
    return 0;
}

int kube_credentials_get(struct kube_credentials *credentials, uint64_t rejected, bool *ret_changed,
                         struct proa_error *err)
{
    int rc;

    *ret_changed = false;
    if (is_fresh(credentials) && rejected != credentials->generation)
        return 0;
    while (credentials->is_loading) {
        rc = proa_event_wait(&credentials->loaded);
        if (rc < 0)
            return proa_fail(err, rc, "waiting for credentials");
        if (credentials->load_rc == 0)
            return 0;
        /* Failed for all, unless it was just given up by who began it: then the first that waited goes on. */
        if (!credentials->was_given_up)
            return proa_fail(err, PROA_EUNAUTHORIZED, "%s: no credentials", credentials->kube->config->source);
    }
    credentials->is_loading = true;
    rc = load_and_keep(credentials, ret_changed, err);
    credentials->is_loading = false;
    credentials->load_rc = rc;
    credentials->was_given_up = rc < 0 && proa_fiber_check(credentials->kube->options.loop) < 0;
    proa_event_pulse(&credentials->loaded);
    return rc;
}

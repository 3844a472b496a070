/* kubeconfig (v1) and the in-cluster configuration, as client-go reads them. */
#include "config_internal.h"

#include <proa/file.h>
#include <proa/text.h>
#include <proa/yaml.h>
#include <stdlib.h>

enum { FILES_MAX = 16 };

struct kc_extension {
    proa_str name;
    PROA_OPTIONAL(proa_str) extension;
};
PROA_DESCRIBE_WITH(kc_extension, (.unknown = PROA_UNKNOWN_IGNORE), (name, str), (extension, optional(raw)));

struct kc_cluster {
    proa_str server, certificate_authority, certificate_authority_data, tls_server_name, proxy_url;
    bool insecure_skip_tls_verify;
    PROA_OPTIONAL(PROA_ARRAY_OF(struct kc_extension)) extensions;
};
PROA_DESCRIBE_WITH(kc_cluster, (.unknown = PROA_UNKNOWN_IGNORE), (server, str, .default_json = "\"\""),
                   (certificate_authority, str, .json = "certificate-authority", .default_json = "\"\""),
                   (certificate_authority_data, str, .json = "certificate-authority-data", .default_json = "\"\""),
                   (tls_server_name, str, .json = "tls-server-name", .default_json = "\"\""),
                   (proxy_url, str, .json = "proxy-url", .default_json = "\"\""),
                   (insecure_skip_tls_verify, boolean, .json = "insecure-skip-tls-verify", .default_json = "false"),
                   (extensions, optional(array(object(kc_extension)))));

PROA_DEFINE_TYPE_WITH(kube_exec_env, (.unknown = PROA_UNKNOWN_IGNORE), (name, str), (value, str));
PROA_DEFINE_TYPE_WITH(kube_exec, (.unknown = PROA_UNKNOWN_IGNORE), (api_version, str, .json = "apiVersion"),
                      (command, str), (args, array(str), .default_json = "[]"),
                      (env, optional(array(object(kube_exec_env)))),
                      (install_hint, str, .json = "installHint", .default_json = "\"\""),
                      (provide_cluster_info, boolean, .json = "provideClusterInfo", .default_json = "false"),
                      (interactive_mode, str, .json = "interactiveMode", .default_json = "\"\""));

struct kc_user {
    proa_str client_certificate, client_certificate_data, client_key, client_key_data, token, token_file;
    PROA_OPTIONAL(struct kube_exec) exec;
    PROA_OPTIONAL(proa_str) auth_provider;
    proa_str username;
    proa_str as, as_uid;
    PROA_OPTIONAL(PROA_ARRAY_OF(proa_str)) as_groups;
    PROA_OPTIONAL(PROA_MAP_OF(proa_str)) as_user_extra;
};
PROA_DESCRIBE_WITH(kc_user, (.unknown = PROA_UNKNOWN_IGNORE),
                   (client_certificate, str, .json = "client-certificate", .default_json = "\"\""),
                   (client_certificate_data, str, .json = "client-certificate-data", .default_json = "\"\""),
                   (client_key, str, .json = "client-key", .default_json = "\"\""),
                   (client_key_data, str, .json = "client-key-data", .default_json = "\"\"", .secret = true),
                   (token, str, .default_json = "\"\"", .secret = true),
                   (token_file, str, .json = "tokenFile", .default_json = "\"\""), (exec, optional(object(kube_exec))),
                   (auth_provider, optional(raw), .json = "auth-provider"), (username, str, .default_json = "\"\""),
                   (as, str, .default_json = "\"\""), (as_uid, str, .json = "as-uid", .default_json = "\"\""),
                   (as_groups, optional(array(str)), .json = "as-groups"),
                   (as_user_extra, optional(map(raw)), .json = "as-user-extra"));

/* The values of one key of as-user-extra. */
struct kc_extra {
    PROA_ARRAY_OF(proa_str) values;
};
PROA_DESCRIBE(kc_extra, (values, array(str)));

struct kc_context {
    proa_str cluster, user, namespace_;
};
PROA_DESCRIBE_WITH(kc_context, (.unknown = PROA_UNKNOWN_IGNORE), (cluster, str, .default_json = "\"\""),
                   (user, str, .default_json = "\"\""), (namespace_, str, .json = "namespace", .default_json = "\"\""));

struct kc_named_cluster {
    proa_str name;
    struct kc_cluster cluster;
};
struct kc_named_user {
    proa_str name;
    PROA_OPTIONAL(struct kc_user) user;
};
struct kc_named_context {
    proa_str name;
    struct kc_context context;
};
PROA_DESCRIBE_WITH(kc_named_cluster, (.unknown = PROA_UNKNOWN_IGNORE), (name, str), (cluster, object(kc_cluster)));
PROA_DESCRIBE_WITH(kc_named_user, (.unknown = PROA_UNKNOWN_IGNORE), (name, str), (user, optional(object(kc_user))));
PROA_DESCRIBE_WITH(kc_named_context, (.unknown = PROA_UNKNOWN_IGNORE), (name, str), (context, object(kc_context)));

struct kc_file {
    proa_str current_context;
    PROA_OPTIONAL(PROA_ARRAY_OF(struct kc_named_cluster)) clusters;
    PROA_OPTIONAL(PROA_ARRAY_OF(struct kc_named_user)) users;
    PROA_OPTIONAL(PROA_ARRAY_OF(struct kc_named_context)) contexts;
};
PROA_DESCRIBE_WITH(kc_file, (.unknown = PROA_UNKNOWN_IGNORE),
                   (current_context, str, .json = "current-context", .default_json = "\"\""),
                   (clusters, optional(array(object(kc_named_cluster)))),
                   (users, optional(array(object(kc_named_user)))),
                   (contexts, optional(array(object(kc_named_context)))));

struct loaded_file {
    const char *path;
    proa_str folder; /* with its slash; "" for the working folder */
    struct kc_file content;
};

struct loaded {
    struct loaded_file files[FILES_MAX];
    size_t count;
};

static const char *look_up(char *const *env, const char *name)
{
    size_t len = strlen(name);

    for (; env && *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

/* -- Finding in the files: the first that has it wins ------------------------------------------------------------- */

/* Index of the item with this name, which is each item's first member; `count` when there is none. */
static size_t find_name(const void *items, size_t count, size_t stride, proa_str name)
{
    size_t i = 0;

    while (i < count && !proa_str_eq(*(const proa_str *)(const void *)((const char *)items + i * stride), name))
        i++;
    return i;
}

static const struct kc_named_context *find_context(const struct loaded *loaded, proa_str name,
                                                   const struct loaded_file **ret_file)
{
    for (size_t f = 0; f < loaded->count; f++) {
        const struct kc_file *content = &loaded->files[f].content;
        size_t i =
            find_name(content->contexts.value.ptr, content->contexts.value.len, sizeof(struct kc_named_context), name);

        if (i < content->contexts.value.len) {
            *ret_file = &loaded->files[f];
            return &content->contexts.value.ptr[i];
        }
    }
    return NULL;
}

static const struct kc_named_cluster *find_cluster(const struct loaded *loaded, proa_str name,
                                                   const struct loaded_file **ret_file)
{
    for (size_t f = 0; f < loaded->count; f++) {
        const struct kc_file *content = &loaded->files[f].content;
        size_t i =
            find_name(content->clusters.value.ptr, content->clusters.value.len, sizeof(struct kc_named_cluster), name);

        if (i < content->clusters.value.len) {
            *ret_file = &loaded->files[f];
            return &content->clusters.value.ptr[i];
        }
    }
    return NULL;
}

static const struct kc_named_user *find_user(const struct loaded *loaded, proa_str name,
                                             const struct loaded_file **ret_file)
{
    for (size_t f = 0; f < loaded->count; f++) {
        const struct kc_file *content = &loaded->files[f].content;
        size_t i = find_name(content->users.value.ptr, content->users.value.len, sizeof(struct kc_named_user), name);

        if (i < content->users.value.len) {
            *ret_file = &loaded->files[f];
            return &content->users.value.ptr[i];
        }
    }
    return NULL;
}

/* "a", "b" for messages. */
static const char *list_contexts(struct proa_arena *arena, const struct loaded *loaded)
{
    struct proa_buf out;

    proa_buf_init(&out, arena, 512);
    for (size_t f = 0; f < loaded->count; f++) {
        const struct kc_named_context *contexts = loaded->files[f].content.contexts.value.ptr;

        for (size_t i = 0; contexts && i < loaded->files[f].content.contexts.value.len; i++)
            proa_buf_printf(&out, "%s\"" PROA_FMT "\"", out.len ? ", " : "", PROA_ARG(contexts[i].name));
    }
    if (out.len == 0)
        proa_buf_add_c(&out, "none");
    return proa_arena_cstr(arena, proa_buf_str(&out));
}

/* -- Taking over -------------------------------------------------------------------------------------------------- */

/* A copy, or NULL for "". */
static int take(struct proa_kube_config *config, proa_str text, const char **ret_text)
{
    if (text.len == 0)
        return 0;
    *ret_text = proa_arena_cstr(&config->arena, text);
    return *ret_text ? 0 : PROA_ENOMEM;
}

static int take_path(struct proa_kube_config *config, const struct loaded_file *file, proa_str path,
                     const char **ret_path)
{
    if (path.len == 0)
        return 0;
    if (path.ptr[0] == '/')
        return take(config, path, ret_path);
    *ret_path = proa_arena_printf(&config->arena, PROA_FMT PROA_FMT, PROA_ARG(file->folder), PROA_ARG(path)).ptr;
    return *ret_path ? 0 : PROA_ENOMEM;
}

static int take_data(struct proa_kube_config *config, const char *what, proa_str data, const char **ret_pem,
                     struct proa_error *err)
{
    struct proa_buf pem;

    if (data.len == 0)
        return 0;
    proa_buf_init(&pem, &config->arena, 0);
    if (proa_base64_decode(&pem, proa_str_trim(data)) < 0)
        return proa_fail(err, PROA_EVALIDATION, "%s: %s is not base64", config->source, what);
    return take(config, proa_buf_str(&pem), ret_pem);
}

static int take_cluster(struct proa_kube_config *config, const struct loaded_file *file,
                        const struct kc_cluster *cluster, struct proa_error *err)
{
    if (cluster->server.len == 0)
        return proa_fail(err, PROA_EVALIDATION, "%s: the cluster has no server", config->source);
    PROA_TRY(take(config, cluster->server, &config->server));
    PROA_TRY(take(config, cluster->tls_server_name, &config->server_name));
    PROA_TRY(take(config, cluster->proxy_url, &config->proxy_url));
    PROA_TRY(
        take_data(config, "certificate-authority-data", cluster->certificate_authority_data, &config->ca_pem, err));
    if (!config->ca_pem)
        PROA_TRY(take_path(config, file, cluster->certificate_authority, &config->ca_file));
    config->is_insecure = cluster->insecure_skip_tls_verify;
    for (size_t i = 0; cluster->extensions.presence == PROA_SET && i < cluster->extensions.value.len; i++) {
        const struct kc_extension *extension = &cluster->extensions.value.ptr[i];

        if (proa_str_eq_c(extension->name, "client.authentication.k8s.io/exec") &&
            extension->extension.presence == PROA_SET)
            PROA_TRY(take(config, extension->extension.value, &config->exec_config));
    }
    return 0;
}

/* A service has no terminal to ask at: a plugin that wants one cannot serve it. */
static int check_exec(const struct proa_kube_config *config, const struct kube_exec *exec, struct proa_error *err)
{
    bool is_v1 = proa_str_eq_c(exec->api_version, "client.authentication.k8s.io/v1");

    if (!is_v1 && !proa_str_eq_c(exec->api_version, "client.authentication.k8s.io/v1beta1"))
        return proa_fail(err, PROA_EVALIDATION, "%s: exec has the unknown apiVersion \"" PROA_FMT "\"", config->source,
                         PROA_ARG(exec->api_version));
    if (proa_str_eq_c(exec->interactive_mode, "Always"))
        return proa_fail(err, PROA_EUNSUPPORTED, "%s: " PROA_FMT " needs a terminal (interactiveMode Always)",
                         config->source, PROA_ARG(exec->command));
    if (!proa_str_eq_c(exec->interactive_mode, "Never") && !proa_str_eq_c(exec->interactive_mode, "IfAvailable") &&
        (is_v1 || exec->interactive_mode.len > 0))
        return proa_fail(err, PROA_EVALIDATION,
                         "%s: exec's interactiveMode is \"" PROA_FMT "\", not Never, IfAvailable or Always",
                         config->source, PROA_ARG(exec->interactive_mode));
    return 0;
}

static int take_exec(struct proa_kube_config *config, const struct loaded_file *file, const struct kube_exec *exec,
                     struct proa_error *err)
{
    struct kube_exec *copy = proa_arena_new(&config->arena, struct kube_exec);
    const char *command = NULL;

    PROA_TRY(check_exec(config, exec, err));
    if (!copy || proa_copy(&config->arena, &kube_exec_type, exec, copy) < 0)
        return PROA_ENOMEM;
    /* A path is relative to its file; a bare name is looked up in PATH. */
    if (proa_str_find_char(exec->command, '/') >= 0) {
        PROA_TRY(take_path(config, file, exec->command, &command));
        copy->command = proa_str_c(command);
    }
    config->exec = copy;
    return 0;
}

/* -- Impersonation: who the requests are to be taken for, in header fields ----------------------------------------- */

enum { IMPERSONATION_MAX = 1024 };

static int add_impersonation(struct proa_kube_config *config, const char *name, proa_str value, struct proa_error *err)
{
    struct proa_client_field *fields = (struct proa_client_field *)(uintptr_t)config->impersonation;

    if (!name)
        return PROA_ENOMEM;
    if (config->impersonation_count == IMPERSONATION_MAX)
        return proa_fail(err, PROA_ETOOLARGE, "%s: impersonation has more than %d values", config->source,
                         IMPERSONATION_MAX);
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.ptr[i] < ' ' || value.ptr[i] == 0x7f)
            return proa_fail(err, PROA_EVALIDATION, "%s: %s has a control character", config->source, name);
    value = proa_arena_str(&config->arena, value);
    if (!value.ptr)
        return PROA_ENOMEM;
    fields[config->impersonation_count++] = (struct proa_client_field){name, value};
    return 0;
}

/* "Impersonate-Extra-KEY", the key percent-encoded where a field's name may not hold it. */
static const char *extra_name(struct proa_kube_config *config, proa_str key)
{
    struct proa_buf name;

    proa_buf_init(&name, &config->arena, 0);
    proa_buf_add_c(&name, "Impersonate-Extra-");
    proa_percent_encode(&name, key);
    return name.error < 0 ? NULL : proa_arena_cstr(&config->arena, proa_buf_str(&name));
}

static int take_extra(struct proa_kube_config *config, proa_str key, proa_str json, struct proa_error *err)
{
    proa_str text = proa_arena_printf(&config->arena, "{\"values\":" PROA_FMT "}", PROA_ARG(json));
    const char *name = extra_name(config, key);
    struct kc_extra extra;

    if (!text.ptr)
        return PROA_ENOMEM;
    if (proa_json_read(&config->arena, text, PROA_JSON_LENIENT, &kc_extra_type, &extra, NULL) < 0)
        return proa_fail(err, PROA_EVALIDATION, "%s: as-user-extra's " PROA_FMT " is no list of texts", config->source,
                         PROA_ARG(key));
    for (size_t i = 0; i < extra.values.len; i++)
        PROA_TRY(add_impersonation(config, name, extra.values.ptr[i], err));
    return 0;
}

static int take_impersonation(struct proa_kube_config *config, const struct kc_user *user, struct proa_error *err)
{
    size_t groups = user->as_groups.presence == PROA_SET ? user->as_groups.value.len : 0;
    size_t extras = user->as_user_extra.presence == PROA_SET ? user->as_user_extra.value.len : 0;

    if (user->as.len == 0 && (user->as_uid.len > 0 || groups > 0 || extras > 0))
        return proa_fail(err, PROA_EVALIDATION, "%s: as-uid, as-groups or as-user-extra without the user in \"as\"",
                         config->source);
    if (user->as.len == 0)
        return 0;
    config->impersonation = proa_arena_calloc(&config->arena, IMPERSONATION_MAX, sizeof *config->impersonation);
    if (!config->impersonation)
        return PROA_ENOMEM;
    PROA_TRY(add_impersonation(config, "Impersonate-User", user->as, err));
    if (user->as_uid.len > 0)
        PROA_TRY(add_impersonation(config, "Impersonate-Uid", user->as_uid, err));
    for (size_t i = 0; i < groups; i++)
        PROA_TRY(add_impersonation(config, "Impersonate-Group", user->as_groups.value.ptr[i], err));
    for (size_t i = 0; i < extras; i++)
        PROA_TRY(take_extra(config, user->as_user_extra.value.ptr[i].key, user->as_user_extra.value.ptr[i].value, err));
    return 0;
}

static int take_user(struct proa_kube_config *config, const struct loaded_file *file, const struct kc_user *user,
                     struct proa_error *err)
{
    if (user->auth_provider.presence == PROA_SET)
        return proa_fail(err, PROA_EUNSUPPORTED, "%s: auth-provider is gone from Kubernetes: use an exec plugin",
                         config->source);
    if (user->username.len > 0)
        return proa_fail(err, PROA_EUNSUPPORTED, "%s: basic authentication is gone from Kubernetes", config->source);
    PROA_TRY(take_data(config, "client-certificate-data", user->client_certificate_data, &config->cert_pem, err));
    PROA_TRY(take_data(config, "client-key-data", user->client_key_data, &config->key_pem, err));
    if (!config->cert_pem)
        PROA_TRY(take_path(config, file, user->client_certificate, &config->cert_file));
    if (!config->key_pem)
        PROA_TRY(take_path(config, file, user->client_key, &config->key_file));
    if ((config->cert_pem || config->cert_file) != (config->key_pem || config->key_file))
        return proa_fail(err, PROA_EVALIDATION, "%s: a client certificate and its key belong together", config->source);
    PROA_TRY(take(config, user->token, &config->token));
    /* As client-go: the file wins, since it is refreshed. */
    PROA_TRY(take_path(config, file, user->token_file, &config->token_file));
    PROA_TRY(take_impersonation(config, user, err));
    if (user->exec.presence == PROA_SET)
        PROA_TRY(take_exec(config, file, &user->exec.value, err));
    return 0;
}

static int take_context(struct proa_kube_config *config, const struct loaded *loaded, const char *wanted,
                        struct proa_error *err)
{
    proa_str name = proa_str_c(wanted);
    const struct loaded_file *context_file, *file;
    const struct kc_named_context *context;
    const struct kc_named_cluster *cluster;
    const struct kc_named_user *user;

    for (size_t f = 0; f < loaded->count && name.len == 0; f++)
        name = loaded->files[f].content.current_context;
    if (name.len == 0)
        return proa_fail(err, PROA_EVALIDATION, "%s: no current-context is set; there are: %s", loaded->files[0].path,
                         list_contexts(&config->arena, loaded));
    context = find_context(loaded, name, &context_file);
    if (!context)
        return proa_fail(err, PROA_ENOTFOUND, "%s: there is no context \"" PROA_FMT "\"; there are: %s",
                         loaded->files[0].path, PROA_ARG(name), list_contexts(&config->arena, loaded));
    config->source =
        proa_arena_printf(&config->arena, "context \"" PROA_FMT "\" of %s", PROA_ARG(name), context_file->path).ptr;
    if (!config->source)
        return PROA_ENOMEM;
    cluster = find_cluster(loaded, context->context.cluster, &file);
    if (!cluster)
        return proa_fail(err, PROA_ENOTFOUND, "%s: there is no cluster \"" PROA_FMT "\"", config->source,
                         PROA_ARG(context->context.cluster));
    PROA_TRY(take_cluster(config, file, &cluster->cluster, err));
    if (context->context.user.len > 0) {
        user = find_user(loaded, context->context.user, &file);
        if (!user)
            return proa_fail(err, PROA_ENOTFOUND, "%s: there is no user \"" PROA_FMT "\"", config->source,
                             PROA_ARG(context->context.user));
        if (user->user.presence == PROA_SET)
            PROA_TRY(take_user(config, file, &user->user.value, err));
    }
    config->namespace_ = "default";
    return take(config, context->context.namespace_, &config->namespace_);
}

/* -- Reading ------------------------------------------------------------------------------------------------------ */

static int load_file(struct proa_loop *loop, struct proa_arena *arena, const char *path, struct loaded *loaded,
                     struct proa_error *err)
{
    struct loaded_file *file = &loaded->files[loaded->count];
    const char *slash = strrchr(path, '/');
    proa_str text;
    int rc;

    PROA_TRY(proa_file_read(loop, arena, path, KUBECONFIG_MAX_BYTES, &text, err));
    file->path = path;
    file->folder = slash ? proa_str_n(path, (size_t)(slash - path) + 1) : PROA_STR("");
    rc = proa_yaml_read(arena, text, PROA_JSON_LENIENT, &kc_file_type, &file->content, err);
    if (rc < 0)
        return err ? proa_error_wrap(err, "%s", path) : rc;
    loaded->count++;
    return 0;
}

/* Files of a list that do not exist are passed over, as kubectl does. */
static int load_list(struct proa_loop *loop, struct proa_arena *arena, const char *list, struct loaded *loaded,
                     struct proa_error *err)
{
    proa_str rest = proa_str_c(list), part;

    while (proa_str_split(&rest, ':', &part)) {
        const char *path;
        int rc;

        if (part.len == 0)
            continue;
        if (loaded->count == FILES_MAX)
            return proa_fail(err, PROA_ETOOLARGE, "KUBECONFIG names more than %d files", FILES_MAX);
        path = proa_arena_cstr(arena, part);
        if (!path)
            return PROA_ENOMEM;
        rc = load_file(loop, arena, path, loaded, err);
        if (rc == PROA_ENOTFOUND && err)
            proa_error_clear(err);
        if (rc < 0 && rc != PROA_ENOTFOUND)
            return rc;
    }
    return 0;
}

static int load_in_cluster(struct proa_loop *loop, struct proa_kube_config *config,
                           const struct proa_kube_config_options *options, const char *host, struct proa_error *err)
{
    const char *folder =
        options->service_account_dir ? options->service_account_dir : "/var/run/secrets/kubernetes.io/serviceaccount";
    const char *port = look_up(options->env, "KUBERNETES_SERVICE_PORT");
    proa_str text;

    config->source = "in-cluster configuration";
    config->server = proa_arena_printf(&config->arena, strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host,
                                       port ? port : "443")
                         .ptr;
    config->token_file = proa_arena_printf(&config->arena, "%s/token", folder).ptr;
    config->ca_file = proa_arena_printf(&config->arena, "%s/ca.crt", folder).ptr;
    if (!config->server || !config->token_file || !config->ca_file)
        return PROA_ENOMEM;
    config->namespace_ = "default";
    if (proa_file_read(loop, &config->arena, proa_arena_printf(&config->arena, "%s/namespace", folder).ptr, 256, &text,
                       NULL) == 0) {
        while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == ' '))
            text.len--;
        PROA_TRY(take(config, text, &config->namespace_));
    }
    /* Said now rather than at the first request. */
    if (proa_file_read(loop, &config->arena, config->token_file, CREDENTIAL_MAX_BYTES, &text, err) < 0)
        return err ? proa_error_wrap(err, "in-cluster configuration") : PROA_ENOTFOUND;
    return 0;
}

static int load(struct proa_loop *loop, const struct proa_kube_config_options *options, struct proa_kube_config *config,
                struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    const char *list = options->kubeconfig, *host = look_up(options->env, "KUBERNETES_SERVICE_HOST");
    const char *home = look_up(options->env, "HOME");
    struct loaded *loaded;

    proa_arena_init(&arena, NULL, 0);
    loaded = proa_arena_new(&arena, struct loaded);
    if (!loaded)
        return PROA_ENOMEM;
    if (!list || !*list)
        list = look_up(options->env, "KUBECONFIG");
    if (list && *list) {
        PROA_TRY(load_list(loop, &arena, list, loaded, err));
        if (loaded->count == 0)
            return proa_fail(err, PROA_ENOTFOUND, "%s: no such kubeconfig", list);
        return take_context(config, loaded, options->context, err);
    }
    if (home && *home)
        PROA_TRY(load_list(loop, &arena, proa_arena_printf(&arena, "%s/.kube/config", home).ptr, loaded, err));
    if (loaded->count > 0)
        return take_context(config, loaded, options->context, err);
    if (host && *host)
        return load_in_cluster(loop, config, options, host, err);
    return proa_fail(
        err, PROA_ENOTFOUND,
        "no cluster is configured: set KUBECONFIG, write ~/.kube/config, or run in a pod with a service account");
}

int proa_kube_config_load(struct proa_loop *loop, const struct proa_kube_config_options *options,
                          struct proa_kube_config **ret_config, struct proa_error *err)
{
    struct proa_kube_config *config = calloc(1, sizeof *config);
    int rc;

    if (!config)
        return proa_fail(err, PROA_ENOMEM, "no memory for a configuration");
    proa_arena_init(&config->arena, NULL, 0);
    config->env = options->env;
    rc = load(loop, options, config, err);
    if (rc < 0) {
        if (rc == PROA_ENOMEM)
            proa_fail(err, rc, "no memory for a configuration");
        proa_kube_config_free(config);
        return rc;
    }
    *ret_config = config;
    return 0;
}

int proa_kube_config_plain(const char *server, struct proa_kube_config **ret_config)
{
    struct proa_kube_config *config = calloc(1, sizeof *config);

    if (!config)
        return PROA_ENOMEM;
    proa_arena_init(&config->arena, NULL, 0);
    config->source = "plain configuration";
    config->namespace_ = "default";
    config->server = proa_arena_cstr(&config->arena, proa_str_c(server));
    if (!config->server) {
        proa_kube_config_free(config);
        return PROA_ENOMEM;
    }
    *ret_config = config;
    return 0;
}

void proa_kube_config_free(struct proa_kube_config *config)
{
    if (!config)
        return;
    proa_arena_done(&config->arena);
    free(config);
}

const char *proa_kube_config_server(const struct proa_kube_config *config)
{
    return config->server;
}

const char *proa_kube_config_namespace(const struct proa_kube_config *config)
{
    return config->namespace_;
}

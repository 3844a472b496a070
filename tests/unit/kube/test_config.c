/* kubeconfig files, the in-cluster configuration, token files and exec plugins. */
#include "unit.h"

#include "kube/client_internal.h"

#include <proa/fiber.h>
#include <proa/file.h>
#include <proa/sim.h>
#include <proa/sim_kube.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct rig {
    struct proa_sim *sim;
    struct proa_loop *loop;
    struct proa_arena arena;
    struct proa_error err;
    char folder[64];
    char *const *env; /* of the program that loads */
    void (*body)(struct rig *rig);
};

static int rig_body(void *arg)
{
    struct rig *rig = arg;

    rig->body(rig);
    return 0;
}

#define FOLDER "/tmp/proa-config-XXXXXX"

/* With a folder of its own, on the rig's loop. */
static void run_on_loop(struct rig *rig, int (*fiber)(void *arg))
{
    char command[100];

    assert_non_null(mkdtemp(rig->folder));
    proa_arena_init(&rig->arena, NULL, 0);
    assert_int_equal(proa_loop_start_fiber(rig->loop, NULL, fiber, rig), 0);
    assert_int_equal(proa_loop_run(rig->loop), 0);
    proa_arena_done(&rig->arena);
    snprintf(command, sizeof command, "rm -r %s", rig->folder);
    assert_int_equal(system(command), 0);
}

static void run(void (*body)(struct rig *rig))
{
    struct rig rig = {.body = body, .folder = FOLDER};

    assert_int_equal(proa_sim_new(&(struct proa_sim_options){.seed = 1}, &rig.sim), 0);
    rig.loop = proa_sim_loop(rig.sim);
    run_on_loop(&rig, rig_body);
    proa_sim_free(rig.sim);
}

static const char *path_of(struct rig *rig, const char *name)
{
    return proa_arena_printf(&rig->arena, "%s/%s", rig->folder, name).ptr;
}

static const char *put(struct rig *rig, const char *name, const char *text)
{
    const char *path = path_of(rig, name);

    assert_int_equal(proa_file_write(rig->loop, path, proa_str_c(text), 0700, &rig->err), 0);
    return path;
}

static int load(struct rig *rig, const char *list, const char *context, struct proa_kube_config **ret_config)
{
    proa_error_clear(&rig->err);
    return proa_kube_config_load(
        rig->loop, &(struct proa_kube_config_options){.kubeconfig = list, .context = context, .env = rig->env},
        ret_config, &rig->err);
}

#define MAIN                                                                                                           \
    "apiVersion: v1\nkind: Config\ncurrent-context: one\n"                                                             \
    "clusters:\n- name: c1\n  cluster: {server: 'https://one:6443', certificate-authority: pki/ca.crt, "               \
    "tls-server-name: kube}\n"                                                                                         \
    "users:\n- name: u1\n  user: {client-certificate: a.crt, client-key: /abs/a.key}\n- name: none\n"                  \
    "contexts:\n- name: one\n  context: {cluster: c1, user: u1, namespace: ns}\n"                                      \
    "- name: bare\n  context: {cluster: c1, user: none}\n- name: lost\n  context: {cluster: c9, user: u1}\n"           \
    "- name: nobody\n  context: {cluster: c1, user: u9}\n"

static void reading_body(struct rig *rig)
{
    struct proa_kube_config *config;

    assert_int_equal(load(rig, put(rig, "config", MAIN), NULL, &config), 0);
    assert_string_equal(proa_kube_config_server(config), "https://one:6443");
    assert_string_equal(proa_kube_config_namespace(config), "ns");
    assert_string_equal(config->ca_file, path_of(rig, "pki/ca.crt"));
    assert_string_equal(config->cert_file, path_of(rig, "a.crt"));
    assert_string_equal(config->key_file, "/abs/a.key");
    assert_string_equal(config->server_name, "kube");
    proa_kube_config_free(config);
    assert_int_equal(load(rig, path_of(rig, "config"), "bare", &config), 0);
    assert_string_equal(proa_kube_config_namespace(config), "default");
    assert_null(config->cert_file);
    proa_kube_config_free(config);
}

static void test_reading(void **state)
{
    run(reading_body);
}

/* Of a list the first that names something wins; files that are not there are passed over. */
static void merging_body(struct rig *rig)
{
    const char *first = put(rig, "first",
                            "clusters:\n- name: c1\n  cluster: {server: 'http://first'}\nusers: null\ncontexts:\n"
                            "- name: mine\n  context: {cluster: c1, user: u2}\n");
    const char *second =
        put(rig, "second",
            "current-context: mine\nclusters:\n- name: c1\n  cluster: {server: 'http://second'}\nusers:\n"
            "- name: u2\n  user: {token: secret, tokenFile: tok}\n");
    struct proa_kube_config *config;

    assert_int_equal(load(rig, proa_arena_printf(&rig->arena, "%s::%s:%s", first, path_of(rig, "absent"), second).ptr,
                          NULL, &config),
                     0);
    assert_string_equal(proa_kube_config_server(config), "http://first");
    assert_string_equal(config->token, "secret");
    assert_string_equal(config->token_file, path_of(rig, "tok"));
    proa_kube_config_free(config);
}

static void test_merging(void **state)
{
    run(merging_body);
}

static void expect_error(struct rig *rig, const char *list, const char *context, int code, const char *part)
{
    struct proa_kube_config *config = NULL;

    assert_int_equal(load(rig, list, context, &config), code);
    if (!strstr(rig->err.message, part))
        fail_msg("\"%s\" does not say \"%s\"", rig->err.message, part);
    assert_null(config);
}

static const char *user(struct rig *rig, const char *fields)
{
    return put(
        rig, "user",
        proa_arena_printf(&rig->arena,
                          "current-context: x\nclusters:\n- name: c\n  cluster: {server: 'https://s'}\ncontexts:\n"
                          "- name: x\n  context: {cluster: c, user: u}\nusers:\n- name: u\n  user: {%s}\n",
                          fields)
            .ptr);
}

static void errors_body(struct rig *rig)
{
    const char *path = put(rig, "config", MAIN);

    expect_error(rig, path_of(rig, "absent"), NULL, PROA_ENOTFOUND, "absent: no such kubeconfig");
    expect_error(rig, path, "two", PROA_ENOTFOUND,
                 "there is no context \"two\"; there are: \"one\", \"bare\", \"lost\", \"nobody\"");
    expect_error(rig, path, "lost", PROA_ENOTFOUND, "there is no cluster \"c9\"");
    expect_error(rig, path, "nobody", PROA_ENOTFOUND, "there is no user \"u9\"");
    expect_error(rig, put(rig, "empty", ""), NULL, PROA_EVALIDATION, "");
    expect_error(rig, put(rig, "bare", "kind: Config\n"), NULL, PROA_EVALIDATION,
                 "no current-context is set; there are: none");
    expect_error(rig, put(rig, "bad", "clusters: [\n"), NULL, PROA_ESYNTAX, "bad");
    expect_error(rig, put(rig, "kind", "clusters: 5\n"), NULL, PROA_EVALIDATION, "kind");
    expect_error(rig, user(rig, "client-certificate: a"), NULL, PROA_EVALIDATION, "belong together");
    expect_error(rig, user(rig, "client-certificate-data: '?', client-key: b"), NULL, PROA_EVALIDATION,
                 "client-certificate-data is not base64");
    expect_error(rig, user(rig, "username: a, password: b"), NULL, PROA_EUNSUPPORTED, "basic authentication is gone");
    expect_error(rig, user(rig, "auth-provider: {name: gcp}"), NULL, PROA_EUNSUPPORTED, "use an exec plugin");
    expect_error(rig, user(rig, "exec: {apiVersion: client.authentication.k8s.io/v2, command: x}"), NULL,
                 PROA_EVALIDATION, "unknown apiVersion \"client.authentication.k8s.io/v2\"");
    expect_error(rig,
                 put(rig, "server",
                     "current-context: x\nclusters:\n- name: c\n  cluster: {}\ncontexts:\n- name: x\n"
                     "  context: {cluster: c}\n"),
                 NULL, PROA_EVALIDATION, "has no server");
}

static void test_errors(void **state)
{
    run(errors_body);
}

static void in_cluster_body(struct rig *rig)
{
    char *env[] = {(char[]){"KUBERNETES_SERVICE_HOST=fd00::1"}, (char[]){"KUBERNETES_SERVICE_PORT=443"}, NULL};
    struct proa_kube_config_options options = {.env = env, .service_account_dir = rig->folder};
    struct proa_kube_config *config = NULL;

    assert_int_equal(proa_kube_config_load(rig->loop, &options, &config, &rig->err), PROA_ENOTFOUND);
    assert_non_null(strstr(rig->err.message, "in-cluster configuration"));
    put(rig, "token", "abc\n");
    put(rig, "namespace", "mine\n");
    proa_error_clear(&rig->err);
    assert_int_equal(proa_kube_config_load(rig->loop, &options, &config, &rig->err), 0);
    assert_string_equal(proa_kube_config_server(config), "https://[fd00::1]:443");
    assert_string_equal(proa_kube_config_namespace(config), "mine");
    assert_string_equal(config->ca_file, path_of(rig, "ca.crt"));
    proa_kube_config_free(config);
    options.env = NULL;
    proa_error_clear(&rig->err);
    assert_int_equal(proa_kube_config_load(rig->loop, &options, &config, &rig->err), PROA_ENOTFOUND);
    assert_non_null(strstr(rig->err.message, "no cluster is configured"));
}

static void test_in_cluster(void **state)
{
    run(in_cluster_body);
}

/* -- Credentials --------------------------------------------------------------------------------------------------- */

static struct proa_kube *client_of(struct rig *rig, const char *fields, struct proa_kube_config **ret_config)
{
    struct proa_kube *kube = NULL;

    if (load(rig, user(rig, fields), NULL, ret_config) < 0)
        fail_msg("%s", rig->err.message);
    assert_int_equal(proa_kube_new(&(struct proa_kube_options){.loop = rig->loop, .config = *ret_config}, &kube, NULL),
                     0);
    return kube;
}

static void expect_token(struct rig *rig, struct proa_kube *kube, bool again, const char *expected)
{
    bool changed;

    proa_error_clear(&rig->err);
    if (kube_credentials_get(&kube->credentials, again ? kube->credentials.generation : 0, &changed, &rig->err) < 0)
        fail_msg("%s", rig->err.message);
    assert_string_equal(kube->credentials.authorization, expected);
}

static void token_file_body(struct rig *rig)
{
    struct proa_kube_config *config;
    struct proa_kube *kube = client_of(rig, "tokenFile: tok", &config);
    bool changed;

    assert_int_equal(kube_credentials_get(&kube->credentials, 0, &changed, &rig->err), PROA_ENOTFOUND);
    put(rig, "tok", "one\n");
    expect_token(rig, kube, false, "Bearer one");
    put(rig, "tok", "two");
    expect_token(rig, kube, false, "Bearer one");
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(31)), 0);
    expect_token(rig, kube, false, "Bearer two");
    /* After a 401 at once. One that is just being replaced leaves what is held. */
    put(rig, "tok", "three");
    expect_token(rig, kube, true, "Bearer three");
    put(rig, "tok", "");
    expect_token(rig, kube, true, "Bearer three");
    proa_kube_free(kube);
    proa_kube_config_free(config);
}

static void test_token_file(void **state)
{
    run(token_file_body);
}

#define EXEC                                                                                                           \
    "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, args: [x], env: [{name: OWN, value: "      \
    "'7'}], installHint: get it, interactiveMode: Never}"
#define CREDENTIAL(status)                                                                                             \
    "{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{" status "}}"

static void exec_body(struct rig *rig)
{
    struct proa_kube_config *config;
    struct proa_kube *kube = client_of(rig, EXEC, &config);
    uint64_t rejected;
    bool changed;
    proa_str text;

    put(rig, "plugin",
        proa_arena_printf(&rig->arena,
                          "#!/bin/sh\necho x >> %s/runs\ntest \"$OWN$1\" = 7x || exit 3\n"
                          "echo \"$KUBERNETES_EXEC_INFO\" | grep -q '\"interactive\":false' || exit 4\n"
                          "echo '" CREDENTIAL("\"token\":\"t\",\"expirationTimestamp\":\"2026-01-01T00:10:00Z\"") "'\n",
                          rig->folder)
            .ptr);
    expect_token(rig, kube, false, "Bearer t");
    expect_token(rig, kube, false, "Bearer t");
    /* Of all requests that were refused with it the first has it run again. */
    rejected = kube->credentials.generation;
    for (int i = 0; i < 3; i++)
        assert_int_equal(kube_credentials_get(&kube->credentials, rejected, &changed, &rig->err), 0);
    assert_int_equal(proa_file_read(rig->loop, &rig->arena, path_of(rig, "runs"), 100, &text, NULL), 0);
    assert_int_equal(text.len, 2 * strlen("x\n"));
    /* It has expired. */
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(601)), 0);
    expect_token(rig, kube, false, "Bearer t");
    assert_int_equal(proa_file_read(rig->loop, &rig->arena, path_of(rig, "runs"), 100, &text, NULL), 0);
    assert_int_equal(text.len, 3 * strlen("x\n"));
    proa_kube_free(kube);
    proa_kube_config_free(config);
}

static void test_exec(void **state)
{
    run(exec_body);
}

/* What the program's environment has of the same name is another account's. */
static void exec_env_body(struct rig *rig)
{
    char *env[] = {(char[]){"OWN=dev"}, (char[]){"KUBERNETES_EXEC_INFO=stale"}, (char[]){"OWNER=kept"}, NULL};
    struct proa_kube_config *config;
    struct proa_kube *kube;
    proa_str text;

    rig->env = env;
    kube = client_of(rig, EXEC, &config);
    put(rig, "plugin",
        proa_arena_printf(&rig->arena, "#!/bin/sh\n/usr/bin/tr '\\0' '\\n' < /proc/$$/environ > %s/env\necho '%s'\n",
                          rig->folder, CREDENTIAL("\"token\":\"t\""))
            .ptr);
    expect_token(rig, kube, false, "Bearer t");
    assert_int_equal(proa_file_read(rig->loop, &rig->arena, path_of(rig, "env"), 10000, &text, NULL), 0);
    assert_true(proa_str_find(text, PROA_STR("OWN=7\n")) >= 0);
    assert_true(proa_str_find(text, PROA_STR("OWN=dev")) < 0);
    assert_true(proa_str_find(text, PROA_STR("OWNER=kept\n")) >= 0);
    assert_true(proa_str_find(text, PROA_STR("KUBERNETES_EXEC_INFO={")) >= 0);
    assert_true(proa_str_find(text, PROA_STR("stale")) < 0);
    proa_kube_free(kube);
    proa_kube_config_free(config);
}

/* What the plugin was told, as JSON. */
static proa_str told(struct rig *rig, const char *cluster, const char *fields)
{
    struct proa_kube_config *config;
    struct proa_kube *kube = NULL;
    proa_str text;

    put(rig, "plugin",
        proa_arena_printf(&rig->arena, "#!/bin/sh\nprintf %%s \"$KUBERNETES_EXEC_INFO\" > %s/info\necho '%s'\n",
                          rig->folder, CREDENTIAL("\"token\":\"t\""))
            .ptr);
    if (load(rig,
             put(rig, "user",
                 proa_arena_printf(&rig->arena,
                                   "current-context: x\nclusters:\n- name: c\n  cluster: {%s}\n"
                                   "contexts:\n- name: x\n  context: {cluster: c, user: u}\nusers:\n- name: u\n  user: "
                                   "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, %s}}\n",
                                   cluster, fields)
                     .ptr),
             NULL, &config) < 0)
        fail_msg("%s", rig->err.message);
    assert_int_equal(proa_kube_new(&(struct proa_kube_options){.loop = rig->loop, .config = config}, &kube, NULL), 0);
    expect_token(rig, kube, false, "Bearer t");
    proa_kube_free(kube);
    proa_kube_config_free(config);
    assert_int_equal(proa_file_read(rig->loop, &rig->arena, path_of(rig, "info"), 10000, &text, NULL), 0);
    return text;
}

static void exec_info_body(struct rig *rig)
{
    const char *head = "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"spec\":{"
                       "\"interactive\":false";
    const char *cluster = "server: 'https://s', certificate-authority: ca.crt, tls-server-name: kube, proxy-url: "
                          "'http://proxy:3128', extensions: [{name: other, extension: {a: 1}}, {name: "
                          "client.authentication.k8s.io/exec, extension: {audience: [x]}}]";

    put(rig, "ca.crt", "pem");
    assert_string_equal(told(rig, cluster, "interactiveMode: IfAvailable").ptr,
                        proa_arena_printf(&rig->arena, "%s}}", head).ptr);
    assert_string_equal(told(rig, cluster, "interactiveMode: Never, provideClusterInfo: true").ptr,
                        proa_arena_printf(&rig->arena,
                                          "%s,\"cluster\":{\"server\":\"https://s\",\"tls-server-name\":\"kube\","
                                          "\"certificate-authority-data\":\"cGVt\",\"proxy-url\":\"http://proxy:3128\","
                                          "\"config\":{\"audience\":[\"x\"]}}}}",
                                          head)
                            .ptr);
    assert_string_equal(told(rig, "server: 'https://s', insecure-skip-tls-verify: true",
                             "interactiveMode: Never, provideClusterInfo: true")
                            .ptr,
                        proa_arena_printf(&rig->arena,
                                          "%s,\"cluster\":{\"server\":\"https://s\","
                                          "\"insecure-skip-tls-verify\":true}}}",
                                          head)
                            .ptr);
    /* Here is no terminal. */
    expect_error(rig,
                 user(rig, "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}"),
                 NULL, PROA_EUNSUPPORTED, "needs a terminal");
    expect_error(rig, user(rig, "exec: {apiVersion: client.authentication.k8s.io/v1, command: x}"), NULL,
                 PROA_EVALIDATION, "interactiveMode");
    expect_error(rig,
                 user(rig, "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Often}"),
                 NULL, PROA_EVALIDATION, "interactiveMode");
}

static void test_exec_info(void **state)
{
    run(exec_info_body);
}

static int ask_for_credentials(void *arg)
{
    struct proa_kube *kube = arg;
    bool changed;

    return kube_credentials_get(&kube->credentials, 0, &changed, NULL);
}

/* On a real loop, whose blocking pool has threads. */
static int interrupted_body(void *arg)
{
    struct rig *rig = arg;
    const struct proa_fiber_options soon = {.deadline = proa_loop_now_exact(rig->loop) + PROA_MS(300)};
    struct proa_kube_config *config;
    struct proa_kube *kube = client_of(rig, EXEC, &config);
    struct proa_group first, others;
    proa_mono_ns began = proa_loop_now_exact(rig->loop);

    /* One that has said all, or nothing, and does not end. */
    put(rig, "plugin",
        proa_arena_printf(&rig->arena,
                          "#!/bin/sh\ntest -e %s/again && { echo '%s'; exit; }\ntouch %s/again\nexec "
                          "1>&-\nexec sleep 30\n",
                          rig->folder, CREDENTIAL("\"token\":\"t\""), rig->folder)
            .ptr);
    proa_group_init(&first, rig->loop);
    proa_group_init(&others, rig->loop);
    assert_int_equal(proa_group_start(&first, &soon, ask_for_credentials, kube), 0);
    assert_int_equal(proa_yield(rig->loop), 0);
    /* Who waited for it asks anew, and need not fail because the other had no time. */
    for (int i = 0; i < 3; i++)
        assert_int_equal(proa_group_start(&others, NULL, ask_for_credentials, kube), 0);
    assert_true(proa_group_wait(&first) < 0);
    assert_int_equal(proa_group_wait(&others), 0);
    assert_true(proa_loop_now_exact(rig->loop) - began < PROA_SECONDS(10));
    assert_string_equal(kube->credentials.authorization, "Bearer t");
    proa_kube_free(kube);
    proa_kube_config_free(config);
    return 0;
}

static void test_exec_is_interrupted(void **state)
{
    struct rig rig = {.folder = FOLDER};

    assert_int_equal(proa_loop_new(NULL, &rig.loop), 0);
    run_on_loop(&rig, interrupted_body);
    proa_loop_free(rig.loop);
}

static void test_exec_env(void **state)
{
    run(exec_env_body);
}

static void expect_exec_error(struct rig *rig, const char *script, const char *part)
{
    struct proa_kube_config *config;
    struct proa_kube *kube = client_of(rig, EXEC, &config);
    bool changed;

    if (script)
        put(rig, "plugin", proa_arena_printf(&rig->arena, "#!/bin/sh\n%s\n", script).ptr);
    proa_error_clear(&rig->err);
    assert_true(kube_credentials_get(&kube->credentials, 0, &changed, &rig->err) < 0);
    if (!strstr(rig->err.message, part))
        fail_msg("\"%s\" does not say \"%s\"", rig->err.message, part);
    proa_kube_free(kube);
    proa_kube_config_free(config);
}

static void bad_exec_body(struct rig *rig)
{
    expect_exec_error(rig, NULL, "No such file or directory; get it");
    expect_exec_error(rig, "exit 5", "failed with 5");
    expect_exec_error(rig, "kill -9 $$", "failed with -9");
    expect_exec_error(rig, "echo hello", "is no ExecCredential with a status");
    expect_exec_error(rig, "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\"}'",
                      "is no ExecCredential with a status");
    expect_exec_error(rig, "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"v9\",\"status\":{}}'",
                      "answered in apiVersion \"v9\"");
    expect_exec_error(rig, "echo '" CREDENTIAL("") "'", "gave neither token nor certificate");
    expect_exec_error(rig, "head -c 2000000 /dev/zero", "printed more than 1048576 bytes");
}

static void test_bad_exec(void **state)
{
    run(bad_exec_body);
}

struct user_info {
    proa_str username, uid;
    PROA_ARRAY_OF(proa_str) groups;
    proa_str extra;
};
PROA_DESCRIBE(user_info, (username, str), (uid, str, .default_json = "\"\""), (groups, array(str)),
              (extra, raw, .default_json = "{}"));
struct review_status {
    struct user_info user;
};
PROA_DESCRIBE(review_status, (user, object(user_info), .json = "userInfo"));
struct review {
    struct review_status status;
};
PROA_DESCRIBE_WITH(review, (.unknown = PROA_UNKNOWN_IGNORE), (status, object(review_status)));

/* Whom the API server takes a client with this user for. */
static void who_am_i(struct rig *rig, const char *fields, struct user_info *ret_user)
{
    struct proa_kube_config *config;
    struct proa_kube *kube;
    struct review review;
    proa_str body;

    if (load(rig,
             put(rig, "user",
                 proa_arena_printf(
                     &rig->arena,
                     "current-context: x\nclusters:\n- name: c\n  cluster: {server: 'http://10.0.0.1:6443'}\n"
                     "contexts:\n- name: x\n  context: {cluster: c, user: u}\nusers:\n- name: u\n  user: {%s}\n",
                     fields)
                     .ptr),
             NULL, &config) < 0)
        fail_msg("%s", rig->err.message);
    assert_int_equal(proa_kube_new(&(struct proa_kube_options){.loop = rig->loop, .config = config}, &kube, NULL), 0);
    if (proa_kube_send(
            kube, &rig->arena,
            &(struct proa_kube_request){.method = "POST",
                                        .path = PROA_STR("/apis/authentication.k8s.io/v1/selfsubjectreviews"),
                                        .body = PROA_STR("{\"apiVersion\":\"authentication.k8s.io/v1\","
                                                         "\"kind\":\"SelfSubjectReview\"}")},
            &body, &rig->err) < 0 ||
        proa_json_read(&rig->arena, body, PROA_JSON_LENIENT, &review_type, &review, &rig->err) < 0)
        fail_msg("%s", rig->err.message);
    *ret_user = review.status.user;
    proa_kube_free(kube);
    proa_kube_config_free(config);
}

static void impersonation_body(struct rig *rig)
{
    struct proa_sim_kube *api;
    struct user_info who;

    assert_int_equal(
        proa_sim_kube_start(&(struct proa_sim_kube_options){.loop = rig->loop, .address = "10.0.0.1:6443"}, &api, NULL),
        0);
    who_am_i(rig, "token: t", &who);
    assert_true(proa_str_eq_c(who.username, "admin"));
    who_am_i(rig, "token: t, as: 'system:serviceaccount:ns:robot'", &who);
    assert_true(proa_str_eq_c(who.username, "system:serviceaccount:ns:robot"));
    assert_int_equal(who.groups.len, 1);
    who_am_i(rig,
             "as: jane, as-uid: '7', as-groups: [devs, admins], as-user-extra: {'acme.com/scopes%': [view, edit], "
             "team: [a]}",
             &who);
    assert_true(proa_str_eq_c(who.username, "jane") && proa_str_eq_c(who.uid, "7"));
    assert_int_equal(who.groups.len, 3);
    assert_true(proa_str_eq_c(who.groups.ptr[0], "devs") && proa_str_eq_c(who.groups.ptr[1], "admins"));
    assert_true(proa_str_eq_c(who.extra, "{\"acme.com/scopes%\":[\"view\",\"edit\"],\"team\":[\"a\"]}"));
    proa_sim_kube_stop(api);
    /* As client-go: they add to a user. And nobody writes a header of his own with them. */
    expect_error(rig, user(rig, "as-groups: [devs]"), NULL, PROA_EVALIDATION, "without the user");
    expect_error(rig, user(rig, "as: \"a\\r\\nX: y\""), NULL, PROA_EVALIDATION, "control character");
    expect_error(rig, user(rig, "as: a, as-user-extra: {k: 5}"), NULL, PROA_EVALIDATION, "as-user-extra");
}

static void test_impersonation(void **state)
{
    run(impersonation_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_merging),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_in_cluster),
        cmocka_unit_test(test_token_file),
        cmocka_unit_test(test_exec),
        cmocka_unit_test(test_impersonation),
        cmocka_unit_test(test_exec_info),
        cmocka_unit_test(test_exec_is_interrupted),
        cmocka_unit_test(test_exec_env),
        cmocka_unit_test(test_bad_exec),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

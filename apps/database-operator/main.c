/* database-operator: one program for the operator and for what runs inside the instances. */
#include "agent/agent.h"
#include "config.h"
#include "manifests.h"
#include "reconcile.h"

#include <proa/app.h>
#include <stdio.h>
#include <stdlib.h>

enum { AGAIN_S = 2, MONITORS_S = 60, EXIT_USAGE = 2 };

extern char **environ;

struct operator_state {
    struct operator_config config;
    struct proa_app *app;
    struct proa_loop *loop;
    struct proa_kube_config *kube_config;
    struct proa_kube *kube;
    struct plan_settings settings;
    struct proa_manager *manager; /* NULL between two */
    struct database_controller controller;
    bool monitors_changed;
    struct proa_group group;
};

static const char *text_or_null(proa_str text)
{
    return text.len > 0 ? text.ptr : NULL;
}

/* -- The manager, made anew when ServiceMonitors come or go -------------------------------------------------------- */

static int look_for_monitors(struct operator_state *op, struct proa_error *err)
{
    return proa_kube_is_served(op->kube, &service_monitor_kind, err);
}

static int watch_monitors(void *arg)
{
    struct operator_state *op = arg;

    for (;;) {
        struct proa_error err = {0};
        int served;

        PROA_TRY(proa_sleep(op->loop, PROA_SECONDS(MONITORS_S)));
        served = look_for_monitors(op, &err);
        if (served < 0 || (served > 0) == op->settings.has_service_monitors)
            continue;
        PROA_INFO(proa_app_logger(op->app), "the kind ServiceMonitor came or went", proa_kv_bool("served", served > 0));
        op->monitors_changed = true;
        proa_group_cancel(&op->group, PROA_ECANCELED);
    }
}

static int run_manager(void *arg)
{
    struct operator_state *op = arg;
    struct proa_error err = {0};
    int rc = proa_manager_run(op->manager, &err);

    if (rc < 0)
        proa_log_failure(proa_app_logger(op->app), PROA_LOG_ERROR, "the controllers have ended", &err);
    proa_group_cancel(&op->group, PROA_ECANCELED);
    return rc;
}

static int make_manager(struct operator_state *op, struct proa_error *err)
{
    const struct operator_leader *leader = &op->config.leader;
    const struct proa_manager_options options = {
        .kube = op->kube,
        .metrics = proa_app_metrics(op->app),
        .logger = proa_app_logger(op->app),
        .lease_name = leader->elect ? leader->lease.ptr : NULL,
        .lease_namespace = op->settings.operator_namespace.ptr,
        .lease_ms = leader->lease_ms,
        .renew_ms = leader->renew_ms,
        .retry_ms = leader->retry_ms,
    };
    int served = look_for_monitors(op, err);

    if (served < 0)
        return served;
    op->settings.has_service_monitors = served > 0;
    PROA_TRY(proa_manager_new(&options, &op->manager, err));
    return database_controller_add(op->manager,
                                   &(struct reconcile_options){.kube = op->kube,
                                                               .namespace_ = text_or_null(op->config.watch_namespace),
                                                               .verify_ns = PROA_MS(op->config.verify_ms),
                                                               .concurrency = op->config.concurrency,
                                                               .install_crd = op->config.install_crd},
                                   &op->settings, &op->controller, err);
}

/* One manager's life. @returns 0 when another is to follow. */
static int run_once(struct operator_state *op)
{
    struct proa_error err = {0};
    int rc = make_manager(op, &err);

    if (rc == 0) {
        proa_group_init(&op->group, op->loop);
        rc = proa_group_start(&op->group, &(struct proa_fiber_options){.name = "manager"}, run_manager, op);
        if (rc == 0)
            rc = proa_group_start(&op->group, &(struct proa_fiber_options){.name = "monitors"}, watch_monitors, op);
        if (rc < 0)
            proa_group_cancel(&op->group, PROA_ECANCELED);
        rc = proa_group_wait(&op->group);
    } else if (rc != PROA_ECANCELED) {
        proa_log_failure(proa_app_logger(op->app), PROA_LOG_WARN, "waiting for the API server", &err);
    }
    proa_manager_free(op->manager);
    op->manager = NULL;
    database_controller_done(&op->controller);
    return rc;
}

static int run_operator(void *arg)
{
    struct operator_state *op = arg;

    for (;;) {
        int rc = run_once(op);

        PROA_TRY(proa_fiber_check(op->loop));
        if (rc < 0 && !op->monitors_changed)
            PROA_TRY(proa_sleep(op->loop, PROA_SECONDS(AGAIN_S)));
        op->monitors_changed = false;
    }
}

static int check_manager(void *arg, struct proa_loop *loop, struct proa_error *err)
{
    struct operator_state *op = arg;

    if (!op->manager)
        return proa_fail(err, PROA_EUNAVAILABLE, "the API server has not answered yet");
    return proa_manager_check(op->manager, loop, err);
}

/* -- run ------------------------------------------------------------------------------------------------------------- */

static int start(struct proa_app *app, void *state, struct proa_error *err)
{
    struct operator_state *op = state;
    const struct operator_config *config = &op->config;

    op->app = app;
    op->loop = proa_loops_at(proa_app_loops(app), 0);
    PROA_TRY(proa_kube_config_load(op->loop,
                                   &(struct proa_kube_config_options){.kubeconfig = text_or_null(config->kubeconfig),
                                                                      .context = text_or_null(config->context),
                                                                      .env = environ},
                                   &op->kube_config, err));
    PROA_TRY(proa_kube_new(&(struct proa_kube_options){.loop = op->loop,
                                                       .config = op->kube_config,
                                                       .metrics = proa_app_metrics(app),
                                                       .logger = proa_app_logger(app),
                                                       .user_agent = OPERATOR_NAME "/" PROA_VERSION,
                                                       .field_manager = OPERATOR_NAME},
                           &op->kube, err));
    op->settings = (struct plan_settings){.agent_image = config->agent_image,
                                          .images = {[ENGINE_POSTGRES] = config->images.postgres,
                                                     [ENGINE_MYSQL] = config->images.mysql,
                                                     [ENGINE_MONGODB] = config->images.mongodb},
                                          .operator_namespace = config->namespace_,
                                          .monitoring_namespace = config->monitoring_namespace};
    if (op->settings.operator_namespace.len == 0)
        op->settings.operator_namespace = proa_str_c(proa_kube_config_namespace(op->kube_config));
    PROA_INFO(proa_app_logger(app), "operator", proa_kv_c("version", PROA_VERSION),
              proa_kv_c("server", proa_kube_config_server(op->kube_config)));
    PROA_TRY(proa_app_add_check(app, &(struct proa_check){.name = "controllers", .check = check_manager, .arg = op}));
    return proa_app_start_task(app, "operator", run_operator, op);
}

static void stop(struct proa_app *app, void *state)
{
    struct operator_state *op = state;

    (void)app;
    proa_kube_free(op->kube);
    proa_kube_config_free(op->kube_config);
}

static int run(int argc, char **argv)
{
    struct operator_state op = {0};

    return proa_app_run(&(struct proa_app_options){.name = OPERATOR_NAME,
                                                   .version = PROA_VERSION,
                                                   .doc = "Databases as Kubernetes resources.",
                                                   .state = &op,
                                                   .config_type = &operator_config_type.type,
                                                   .config = &op.config,
                                                   .start = start,
                                                   .stop = stop},
                        argc, argv);
}

/* -- The other commands ---------------------------------------------------------------------------------------------- */

static const char usage[] =
    "database-operator " PROA_VERSION ": Databases as Kubernetes resources.\n\n"
    "Usage: database-operator run [settings]          the operator; run --help lists the settings\n"
    "       database-operator crd                     prints the CustomResourceDefinition\n"
    "       database-operator manifests [--namespace NAME] [--image IMAGE] [-- SETTING...]\n"
    "                                                 prints all that it needs to run in a cluster, with run's "
    "settings\n"
    "       database-operator agent [settings]        process 1 of an instance\n"
    "       database-operator install-agent DIR       copies this program into DIR\n"
    "       database-operator version | --help\n";

static int print(struct proa_buf *out, int rc, const struct proa_error *err)
{
    if (rc < 0)
        fprintf(stderr, "database-operator: %s\n", err->code ? err->message : proa_code_name(rc));
    else if (fwrite(out->ptr, 1, out->len, stdout) != out->len || fflush(stdout) != 0)
        rc = -1;
    proa_buf_done(out);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int misuse(const char *what, const char *text)
{
    fprintf(stderr, "database-operator: %s %s\n%s", what, text, usage);
    return EXIT_USAGE;
}

/* "--name value" and "--name=value", as of settings. @returns the value, NULL when argv[*i] is another option or has none. */
static const char *option_value(int argc, char **argv, int *i, const char *name)
{
    size_t len = strlen(name);

    if (strncmp(argv[*i], name, len) != 0)
        return NULL;
    if (argv[*i][len] == '=')
        return argv[*i] + len + 1;
    return argv[*i][len] == '\0' && *i + 1 < argc ? argv[++*i] : NULL;
}

static int print_manifests(int argc, char **argv)
{
    struct manifest_options options = {.namespace_ = "database-operator", .image = DEFAULT_AGENT_IMAGE};
    struct proa_error err = {0};
    struct proa_buf out = {0};

    for (int i = 0; i < argc; i++) {
        const char *value;

        if (strcmp(argv[i], "--") == 0) {
            options.settings = argv + i + 1;
            options.settings_count = argc - i - 1;
            break;
        }
        if ((value = option_value(argc, argv, &i, "--namespace")))
            options.namespace_ = value;
        else if ((value = option_value(argc, argv, &i, "--image")))
            options.image = value;
        else if (strcmp(argv[i], "--namespace") == 0 || strcmp(argv[i], "--image") == 0)
            return misuse("a value is missing after", argv[i]);
        else
            return misuse("manifests does not know", argv[i]);
    }
    return print(&out, manifests_write(&out, &options, &err), &err);
}

static int print_crd(void)
{
    struct proa_error err = {0};
    struct proa_buf out = {0};

    return print(&out, manifests_write_crd(&out, &err), &err);
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "--help";

    if (strcmp(command, "run") == 0)
        return run(argc - 1, argv + 1);
    if (strcmp(command, "agent") == 0)
        return agent_main(argc - 1, argv + 1);
    if (strcmp(command, "install-agent") == 0)
        return argc == 3 ? install_agent(argv[2]) : misuse("install-agent takes", "one folder");
    if (strcmp(command, "crd") == 0)
        return print_crd();
    if (strcmp(command, "manifests") == 0)
        return print_manifests(argc - 2, argv + 2);
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0)
        return puts("database-operator " PROA_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0)
        return fputs(usage, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    return misuse("there is no command", command);
}

/* `agent`: process 1 of an instance's container. */
#include "agent.h"

#include "agent_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { EXIT_USAGE = 2, STOP_MARGIN_MS = 30000, ARGUMENTS_MAX = 200 };

extern char **environ;

const struct driver *driver_of(enum database_engine engine)
{
    static const struct driver *const drivers[ENGINES] = {
        [ENGINE_POSTGRES] = &driver_postgres, [ENGINE_MYSQL] = &driver_mysql, [ENGINE_MONGODB] = &driver_mongodb};

    return (unsigned)engine < ENGINES ? drivers[engine] : NULL;
}

const char *instance_run_path(struct proa_arena *arena, const struct instance *instance, const char *name)
{
    return proa_arena_printf(arena, PROA_FMT "/%s", PROA_ARG(instance->config->run_dir), name).ptr;
}

const char *instance_program(struct proa_arena *arena, const struct instance *instance, const char *name)
{
    proa_str folder = instance->config->bin_dir;

    return folder.len > 0 ? proa_arena_printf(arena, PROA_FMT "/%s", PROA_ARG(folder), name).ptr : name;
}

static int check_ready(void *arg, struct proa_loop *loop, struct proa_error *err)
{
    const struct agent *agent = arg;

    (void)loop;
    return agent->is_ready ? 0 : proa_fail(err, PROA_EUNAVAILABLE, "%s", agent->reason);
}

static int check_live(void *arg, struct proa_loop *loop, struct proa_error *err)
{
    const struct agent *agent = arg;

    (void)loop;
    return agent_is_live(agent) ? 0 : proa_fail(err, PROA_ETIMEDOUT, "the engine gives no answer");
}

static int fill_instance(struct agent *agent, struct proa_error *err)
{
    const struct agent_config *config = &agent->config;
    proa_str name = config->database, pod = config->pod;
    uint64_t ordinal;

    agent->driver = driver_of(config->engine);
    if (!agent->driver)
        return proa_fail(err, PROA_EUNSUPPORTED, "this build cannot run %s", engine_of(config->engine)->name);
    if (!proa_str_starts_with(pod, name) || pod.len < name.len + 2 || pod.ptr[name.len] != '-' ||
        proa_str_to_u64(proa_str_slice(pod, name.len + 1, pod.len), &ordinal) < 0 || ordinal >= DATABASE_REPLICAS_MAX)
        return proa_fail(err, PROA_EINVAL, "the pod " PROA_FMT " is no instance of the Database " PROA_FMT,
                         PROA_ARG(pod), PROA_ARG(name));
    agent->instance = (struct instance){.loop = agent->loop,
                                        .logger = agent->logger,
                                        .config = config,
                                        .engine = engine_of(config->engine),
                                        .children = agent->children,
                                        .credentials = &agent->credentials,
                                        .ordinal = (uint32_t)ordinal,
                                        .replicas = 1};
    agent->why_anew = "";
    return 0;
}

static int start(struct proa_app *app, void *state, struct proa_error *err)
{
    struct agent *agent = state;

    agent->app = app;
    agent->loop = proa_loops_at(proa_app_loops(app), 0);
    agent->own_logger = *proa_app_logger(app);
    agent->own_logger.target = "agent";
    agent->logger = &agent->own_logger;
    agent->options.stop_ms = agent->config.stop_ms + STOP_MARGIN_MS;
    proa_event_init(&agent->wake, agent->loop);
    PROA_TRY(children_new(agent->loop, agent->logger, environ, &agent->children, err));
    PROA_TRY(fill_instance(agent, err));
    PROA_TRY(proa_client_new(
        &(struct proa_client_options){.loop = agent->loop, .user_agent = "database-agent", .connections_per_origin = 2},
        &agent->client, err));
    if (proa_metrics_add_collector(proa_app_metrics(app), agent_collect, agent) < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    PROA_INFO(agent->logger, "agent", proa_kv_c("version", PROA_VERSION), proa_kv_str("pod", agent->config.pod),
              proa_kv_c("engine", agent->instance.engine->name));
    PROA_TRY(proa_app_add_check(
        app, &(struct proa_check){.name = "instance", .check = check_ready, .arg = agent, .interval_ms = 250}));
    PROA_TRY(proa_app_add_check(
        app, &(struct proa_check){
                 .name = "engine", .check = check_live, .arg = agent, .interval_ms = 1000, .for_liveness = true}));
    PROA_TRY(proa_app_start_task(app, "assignment", assignment_watch, agent));
    return proa_app_start_task(app, "life", life_run, agent);
}

static void stop(struct proa_app *app, void *state)
{
    struct agent *agent = state;

    (void)app;
    if (!agent->loop)
        return;
    life_stop_server(agent);
    proa_client_free(agent->client);
    proa_kube_free(agent->kube);
    proa_kube_config_free(agent->kube_config);
    volume_close(agent->volume);
    children_free(agent->children);
    proa_arena_done(&agent->credentials_arena);
    proa_arena_done(&agent->samples_arena[0]);
    proa_arena_done(&agent->samples_arena[1]);
}

/* What the frame does otherwise for services: one loop is enough, and nobody is to wait before the engine is stopped. */
static const char *const defaults[] = {"--threads=1", "--http.drain-delay-ms=0", "--http.drain-ms=2000"};

/* What an engine's image says in its environment is not meant for the agent. */
static void forget_environment(void)
{
    static const char *const names[] = {"CONFIG", "ENVIRONMENT", "METRICS", "PORT", "THREADS"};

    for (size_t i = 0; i < PROA_COUNT(names); i++)
        unsetenv(names[i]);
}

int agent_main(int argc, char **argv)
{
    struct agent *agent = calloc(1, sizeof *agent);
    const char *pod_ip = getenv("POD_IP");
    char *arguments[ARGUMENTS_MAX];
    int count = 0, exit_code;

    if (!agent || argc + (int)PROA_COUNT(defaults) + 2 > ARGUMENTS_MAX) {
        fputs("database-operator: agent: too many arguments\n", stderr);
        free(agent);
        return EXIT_USAGE;
    }
    forget_environment();
    arguments[count++] = argv[0];
    for (size_t i = 0; i < PROA_COUNT(defaults); i++)
        arguments[count++] = (char *)(uintptr_t)defaults[i];
    if (pod_ip && strchr(pod_ip, ':'))
        arguments[count++] = (char *)(uintptr_t) "--http.address=::";
    for (int i = 1; i < argc; i++)
        arguments[count++] = argv[i];
    arguments[count] = NULL;
    agent->options = (struct proa_app_options){.name = "database-agent",
                                               .version = PROA_VERSION,
                                               .doc = "Looks after one instance of a database.",
                                               .routes = agent_routes,
                                               .routes_count = agent_routes_count,
                                               .state = agent,
                                               .config_type = &agent_config_type.type,
                                               .config = &agent->config,
                                               .default_port = AGENT_PORT,
                                               .start = start,
                                               .stop = stop};
    exit_code = proa_app_run(&agent->options, count, arguments);
    free(agent);
    return exit_code;
}

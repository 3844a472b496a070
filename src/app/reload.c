/* Reading the configuration again while the program runs: on SIGHUP, and when a file of it has changed, which is looked
 * for every two seconds. A ConfigMap or Secret that is mounted changes by the swap of a symbolic link, so what the name
 * leads to is compared.
 *
 * What is read is checked whole before anything is taken over: a mistake keeps all as it was, and the log says why. */
#include "app_internal.h"
#include "config_table.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { LOOK_EVERY_MS = 2000 };

extern char **environ;

/* One reading, in memory of its own. */
struct reading {
    struct proa_app *app;
    struct proa_arena arena;
    struct proa_error err;
    struct app_config frame;
    void *program; /* NULL: it has no configuration */
    int rc;
};

struct reload {
    struct proa_app *app;
    struct config_table table; /* of what holds: names, and which are secrets */
    struct reading *present;   /* NULL: still what the program started with */
    const void *program;       /* what holds of the program's part */
    uint64_t seen;             /* what the files looked like */
};

static size_t parts_of(const struct proa_app *app, struct app_config *frame, void *program,
                       struct proa_config_part *out)
{
    size_t count = 0;

    if (app->options->config_type)
        out[count++] = (struct proa_config_part){app->options->config_type, program};
    out[count++] = (struct proa_config_part){app->config_type, frame};
    return count;
}

/* -- Noticing --------------------------------------------------------------------------------------------------- */

static void mix_file(uint64_t *seen, const char *path)
{
    struct stat info;

    if (stat(path, &info) < 0)
        info = (struct stat){0};
    const int64_t facts[] = {(int64_t)info.st_dev, (int64_t)info.st_ino, (int64_t)info.st_size,
                             (int64_t)info.st_mtim.tv_sec, (int64_t)info.st_mtim.tv_nsec};

    *seen = proa_str_hash(proa_str_n((const char *)facts, sizeof facts), *seen);
}

static const char *secret_file(const struct config_leaf *leaf)
{
    char name[256];
    size_t len = strlen(leaf->env);

    if (!leaf->field->secret || len + sizeof "_FILE" > sizeof name)
        return NULL;
    memcpy(name, leaf->env, len);
    memcpy(name + len, "_FILE", sizeof "_FILE");
    return getenv(name);
}

static uint64_t look_at_files(const struct proa_app *app, const struct config_table *table)
{
    const char *config = command_line_file_name(app);
    uint64_t seen = 1;

    if (config)
        mix_file(&seen, config);
    for (size_t i = 0; i < table->count; i++) {
        const char *path = secret_file(&table->leaves[i]);

        if (path && *path)
            mix_file(&seen, path);
    }
    return seen;
}

/* In a thread of the pool. */
static void look(void *arg)
{
    struct reload *reload = arg;

    reload->seen = look_at_files(reload->app, &reload->table);
}

static bool has_files(const struct reload *reload)
{
    if (command_line_file_name(reload->app))
        return true;
    for (size_t i = 0; i < reload->table.count; i++)
        if (secret_file(&reload->table.leaves[i]))
            return true;
    return false;
}

bool reload_may_have_files(const struct proa_app *app)
{
    if (command_line_file_name(app))
        return true;
    for (char **variable = environ; variable && *variable; variable++) {
        const char *equals = strchr(*variable, '=');

        if (equals && proa_str_ends_with(proa_str_n(*variable, (size_t)(equals - *variable)), PROA_STR("_FILE")))
            return true;
    }
    return false;
}

int reload_note_files(struct proa_app *app, struct proa_error *err)
{
    struct proa_config_part parts[2];
    struct config_table table;

    if (!reload_may_have_files(app))
        return 0;
    PROA_TRY(
        config_table_make(&app->arena, parts, parts_of(app, &app->config, app->options->config, parts), &table, err));
    app->files_seen = look_at_files(app, &table);
    return 0;
}

/* May suspend. @returns 0 when there is a reason to read, or the cause of the end. */
static int wait_for_reason(struct reload *reload)
{
    struct proa_app *app = reload->app;
    uint64_t before;

    for (;;) {
        proa_mono_ns until = has_files(reload) ? proa_loop_now_exact(app->loop) + PROA_MS(LOOK_EVERY_MS) : PROA_NEVER;
        int rc;

        {
            struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(app->loop, until);

            rc = proa_event_wait(&app->reload_asked);
        }
        if (rc == 0) {
            proa_event_reset(&app->reload_asked);
            return proa_blocking(app->loop, look, reload, NULL, NULL);
        }
        PROA_TRY(proa_fiber_check(app->loop));
        before = reload->seen;
        PROA_TRY(proa_blocking(app->loop, look, reload, NULL, NULL));
        if (reload->seen != before)
            return 0;
    }
}

/* -- Reading ---------------------------------------------------------------------------------------------------- */

static void reading_free(struct reading *reading)
{
    if (!reading)
        return;
    proa_arena_done(&reading->arena);
    free(reading);
}

static int read_all(struct reading *reading)
{
    struct proa_app *app = reading->app;
    struct proa_config_source source = {.argc = app->argc, .argv = app->argv, .env = environ};
    struct proa_config_part parts[2];
    size_t count;
    struct proa_arena text PROA_CLEANUP(proa_arena_done);

    proa_arena_init(&text, NULL, 0); /* of the file, whose values are copied */
    if (app->options->config_type) {
        reading->program = proa_arena_calloc(&reading->arena, 1, app->options->config_type->size);
        if (!reading->program)
            return proa_fail(&reading->err, PROA_ENOMEM, "memory is out");
    }
    count = parts_of(app, &reading->frame, reading->program, parts);
    PROA_TRY(command_line_file(app, &text, &source.file, &source.file_name, &reading->err));
    return proa_config_load(&reading->arena, &source, parts, count, &reading->err);
}

/* In a thread of the pool. */
static void read_again(void *arg)
{
    struct reading *reading = arg;

    reading->rc = read_all(reading);
}

static void tell_mistakes(struct reload *reload, const struct proa_error *err)
{
    static const char message[] = "the configuration was not reloaded: the old one holds";
    const struct proa_error_field *field = err->fields;

    proa_counter_add(reload->app->reloads_failed, proa_loop_index(reload->app->loop), 1);
    if (!field)
        PROA_ERROR(&reload->app->logger, message, proa_kv_c("error.message", err->message));
    for (; field; field = field->next)
        PROA_ERROR(&reload->app->logger, message, proa_kv_str("error.message", field->detail));
}

/* -- Taking over ------------------------------------------------------------------------------------------------ */

static void take_over_limits(struct proa_app *app, const struct app_config *next)
{
    struct app_http_config *http = &app->config.http;
    struct app_http_config limits = next->http;
    struct proa_server_tuning tuning = {.access_log_all = next->http.access_log, .slow_ms = next->http.slow_ms};

    app->config.log.level = next->log.level;
    /* All but these, which the listener, the parsers and the metrics were made with. */
    limits.address = http->address;
    limits.port = http->port;
    limits.fields = http->fields;
    limits.duration_metric = http->duration_metric;
    *http = limits;
    app_config_limits(http, &tuning.limits);
    proa_server_tune(app->server, &tuning);
    if (app->admin)
        proa_server_tune(app->admin, &tuning);
    app_show_limits(app);
}

/* What is different and was not taken over. */
static void tell_unchangeable(const struct proa_app *app, const struct proa_type *type, const void *present,
                              const void *next)
{
    const struct proa_config_part old_part = {type, (void *)(uintptr_t)present};
    const struct proa_config_part new_part = {type, (void *)(uintptr_t)next};
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct config_table old, new;

    proa_arena_init(&arena, NULL, 0);
    if (config_table_make(&arena, &old_part, 1, &old, NULL) < 0 ||
        config_table_make(&arena, &new_part, 1, &new, NULL) < 0)
        return;
    for (size_t i = 0; i < old.count; i++) {
        struct proa_type one = *type;

        one.fields = old.leaves[i].field;
        one.fields_count = 1;
        if (!proa_equal_type(&one, old.leaves[i].struct_ptr, new.leaves[i].struct_ptr))
            PROA_WARN(&app->logger, "this setting cannot change while the program runs: it needs a restart",
                      proa_kv_c("setting", old.leaves[i].path));
    }
}

static int take_over_program(struct reload *reload, const struct reading *next, struct proa_error *err)
{
    struct proa_app *app = reload->app;
    const struct proa_type *type = app->options->config_type;

    if (!type || proa_equal_type(type, reload->program, next->program))
        return 0;
    if (!app->options->reload) {
        tell_unchangeable(app, type, reload->program, next->program);
        return 0;
    }
    return app->options->reload(app, app->options->state, next->program, err);
}

/* All of it or nothing: what can be refused comes before what cannot, and is put back when a later part is refused. */
static int take_over(struct reload *reload, struct reading *next)
{
    struct proa_app *app = reload->app;
    struct app_otel_config otel = app->config.otel;
    int rc;

    PROA_TRY(proa_log_set_filter(app->log, next->frame.log.level.ptr, &next->err));
    rc = telemetry_reload(app, &next->frame.otel, &next->err);
    if (rc == 0)
        rc = take_over_program(reload, next, &next->err);
    if (rc < 0) {
        proa_ignore(proa_log_set_filter(app->log, app->config.log.level.ptr, NULL)); /* it was good before */
        proa_ignore(telemetry_reload(app, &otel, NULL));                             /* likewise */
        return rc;
    }
    take_over_limits(app, &next->frame);
    return 0;
}

static void reload_now(struct reload *reload)
{
    struct proa_app *app = reload->app;
    struct reading *next = calloc(1, sizeof *next);
    int rc;

    if (!next)
        return;
    next->app = app;
    proa_arena_init(&next->arena, NULL, 0);
    next->err.arena = &next->arena;
    rc = proa_blocking(app->loop, read_again, next, NULL, NULL);
    if (rc == 0)
        rc = next->rc;
    if (rc == 0) {
        proa_error_clear(&next->err);
        rc = take_over(reload, next);
    }
    if (rc < 0) {
        if (!next->err.code)
            proa_fail(&next->err, rc, "%s", proa_code_name(rc));
        tell_mistakes(reload, &next->err);
        reading_free(next);
        return;
    }
    tell_unchangeable(app, app->config_type, &app->config, &next->frame);
    reading_free(reload->present);
    reload->present = next;
    if (next->program)
        reload->program = next->program;
    proa_counter_add(app->reloads_done, proa_loop_index(app->loop), 1);
    PROA_INFO(&app->logger, "the configuration was reloaded");
}

int reload_metrics(struct proa_app *app, struct proa_error *err)
{
    struct proa_counter *counter;

    PROA_TRY(
        proa_counter_new(app->metrics,
                         &(struct proa_metric_options){.name = "config_reloads",
                                                       .help = "Readings of the configuration while the program runs",
                                                       .labels = {"outcome"}},
                         &counter, err));
    app->reloads_done = proa_counter_with(counter, (proa_str[]){PROA_STR("done")});
    app->reloads_failed = proa_counter_with(counter, (proa_str[]){PROA_STR("failed")});
    return 0;
}

static int set_up(struct reload *reload, struct proa_error *err)
{
    struct proa_app *app = reload->app;
    struct proa_config_part parts[2];
    size_t count = parts_of(app, &app->config, app->options->config, parts);

    reload->program = app->options->config;
    reload->seen = app->files_seen;
    return config_table_make(&app->arena, parts, count, &reload->table, err);
}

static void reload_free(struct reload *reload)
{
    /* What holds of it may still be read while the program ends: it goes with the program's own arena. */
    if (reload->present && proa_arena_defer(&reload->app->arena, (void (*)(void *))reading_free, reload->present) < 0)
        reading_free(reload->present);
}

int reload_run(void *arg)
{
    struct proa_app *app = arg;
    struct proa_error err = {.arena = &app->arena};
    struct reload reload PROA_CLEANUP(reload_free) = {.app = app};
    int rc = set_up(&reload, &err);

    if (rc < 0) {
        proa_log_failure(&app->logger, PROA_LOG_ERROR, "the configuration will not be reloaded", &err);
        return rc;
    }
    if (has_files(&reload)) { /* else no thread is made for it */
        PROA_TRY(proa_blocking(app->loop, look, &reload, NULL, NULL));
        if (reload.seen != app->files_seen) /* they changed while `start` ran */
            reload_now(&reload);
    }
    for (;;) {
        PROA_TRY(wait_for_reason(&reload));
        reload_now(&reload);
    }
}

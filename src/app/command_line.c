/* The command line: the frame's own commands, and the configuration behind them. */
#include "app_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CONFIG_FILE_MAX = 1024 * 1024, PARTS = 2 };

extern char **environ;

struct command_line {
    struct proa_app *app;
    enum app_command command;
    struct proa_config_source source;
    struct proa_config_part parts[PARTS];
    size_t parts_count;
};

static const char *version_of(const struct proa_app *app)
{
    return app->options->version ? app->options->version : "0.0.0";
}

static enum app_command command_of(const char *arg)
{
    static const struct {
        const char *flag;
        enum app_command command;
    } commands[] = {
        {"--help", COMMAND_HELP},
        {"-h", COMMAND_HELP},
        {"--version", COMMAND_VERSION},
        {"--print-config", COMMAND_PRINT_CONFIG},
        {"--health-check", COMMAND_HEALTH_CHECK},
    };

    for (size_t i = 0; i < PROA_COUNT(commands); i++)
        if (strcmp(arg, commands[i].flag) == 0)
            return commands[i].command;
    return COMMAND_RUN;
}

/* Takes the commands out; what is left are settings. Of several the first in the order of the enumeration wins. */
static int take_commands(struct command_line *line, int argc, char **argv)
{
    char **rest = proa_arena_calloc(&line->app->arena, (size_t)argc + 1, sizeof *rest);

    if (!rest)
        return PROA_ENOMEM;
    line->source.argv = line->app->argv = rest;
    for (int i = 0; i < argc; i++) {
        enum app_command command = i > 0 ? command_of(argv[i]) : COMMAND_RUN;

        if (command == COMMAND_RUN)
            rest[line->source.argc++] = argv[i];
        else if (line->command == COMMAND_RUN || command < line->command)
            line->command = command;
    }
    line->app->argc = line->source.argc;
    return 0;
}

/* The file's name is needed before the rest is read: --config NAME, --config=NAME or CONFIG_FILE. */
const char *command_line_file_name(const struct proa_app *app)
{
    const char *name = getenv("CONFIG_FILE");

    for (int i = 1; i < app->argc; i++) {
        const char *arg = app->argv[i];

        if (strncmp(arg, "--config=", 9) == 0)
            name = arg + 9;
        else if (strcmp(arg, "--config") == 0 && i + 1 < app->argc)
            name = app->argv[i + 1];
    }
    return name && *name ? name : NULL;
}

int command_line_file(struct proa_app *app, struct proa_arena *arena, proa_str *ret_text, const char **ret_name,
                      struct proa_error *err)
{
    const char *name = command_line_file_name(app);
    char *text;
    size_t len = 0;
    ssize_t got = -1;
    int fd, os_errno;

    *ret_text = proa_str_n(NULL, 0);
    *ret_name = name;
    if (!name)
        return 0;
    fd = open(name, O_RDONLY | O_CLOEXEC);
    text = fd >= 0 ? proa_arena_alloc(arena, CONFIG_FILE_MAX) : NULL;
    os_errno = errno;
    if (text) {
        while ((got = read(fd, text + len, CONFIG_FILE_MAX - len)) > 0)
            len += (size_t)got;
        os_errno = errno;
    }
    if (fd >= 0)
        close(fd);
    if (got < 0)
        return proa_fail_errno(err, os_errno, "configuration file %s", name);
    if (len == CONFIG_FILE_MAX)
        return proa_fail(err, PROA_ETOOLARGE, "configuration file %s is larger than 1 MiB", name);
    *ret_text = proa_str_n(text, len);
    return 0;
}

static int tell_mistakes(const struct proa_app *app, const struct proa_error *err)
{
    const struct proa_error_field *field = err->fields;

    if (!field)
        fprintf(stderr, "%s: %s\n", app->options->name, err->message);
    for (; field; field = field->next)
        fprintf(stderr, "%s: " PROA_FMT "\n", app->options->name, PROA_ARG(field->detail));
    fprintf(stderr, "%s: see --help\n", app->options->name);
    return EXIT_USAGE;
}

static int print(struct proa_buf *out)
{
    bool is_written = out->error == 0 && fwrite(out->ptr, 1, out->len, stdout) == out->len && fflush(stdout) == 0;

    proa_buf_done(out);
    return is_written ? 0 : EXIT_FAILURE_CODE;
}

static int help(const struct command_line *line)
{
    const struct proa_app_options *options = line->app->options;
    struct proa_buf out = {0};

    proa_buf_printf(&out, "%s %s%s%s\n\n", options->name, version_of(line->app), options->doc ? ": " : "",
                    options->doc ? options->doc : "");
    proa_buf_printf(&out,
                    "Usage: %s [settings]\n"
                    "       %s --print-config [settings]\n"
                    "       %s --health-check [settings]\n"
                    "       %s --help | --version\n\n"
                    "  --print-config   shows all settings and where they come from\n"
                    "  --health-check   asks the running instance; exits 0 when it serves, else 1\n\n"
                    "Settings: flags over [environment variables] over the file (a.b is the key b\n"
                    "below a) over defaults.\n\n",
                    options->name, options->name, options->name, options->name);
    if (proa_config_help(&out, line->parts, line->parts_count) < 0)
        return EXIT_FAILURE_CODE;
    return print(&out);
}

static int print_config(const struct command_line *line)
{
    struct proa_buf out = {0};

    if (proa_config_print(&out, &line->source, line->parts, line->parts_count) < 0) {
        proa_buf_done(&out);
        return EXIT_FAILURE_CODE;
    }
    return print(&out);
}

/* A mistake like others, though only the log can read it. */
static int check_log_level(const struct proa_app *app, struct proa_error *err)
{
    struct proa_error why = {0};
    int rc = proa_log_filter_check(app->config.log.level.ptr, &why);

    if (rc < 0)
        proa_error_add_field(err, rc, PROA_STR("log.level"), "invalid", "log.level: %s", why.message);
    return rc;
}

static int load(struct command_line *line, struct proa_error *err)
{
    struct proa_app *app = line->app;
    const struct proa_app_options *options = app->options;
    const struct proa_type *frame = app_config_described(&app->arena, options->default_port);

    if (!frame)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    app->config_type = frame;
    if (options->config_type)
        line->parts[line->parts_count++] = (struct proa_config_part){options->config_type, options->config};
    line->parts[line->parts_count++] = (struct proa_config_part){frame, &app->config};
    if (line->command == COMMAND_HELP || line->command == COMMAND_VERSION)
        return 0;
    if (line->command == COMMAND_RUN)
        PROA_TRY(reload_note_files(app, err));
    PROA_TRY(command_line_file(app, &app->arena, &line->source.file, &line->source.file_name, err));
    PROA_TRY(proa_config_load(&app->arena, &line->source, line->parts, line->parts_count, err));
    return check_log_level(app, err);
}

int command_line_read(struct proa_app *app, int argc, char **argv, int *ret_exit_code)
{
    struct command_line line = {.app = app, .source = {.env = environ}};
    struct proa_error err = {.arena = &app->arena};

    if (take_commands(&line, argc, argv) < 0 || load(&line, &err) < 0) {
        *ret_exit_code = tell_mistakes(app, &err);
        if (line.command == COMMAND_HEALTH_CHECK)
            *ret_exit_code = EXIT_FAILURE_CODE; /* who asks knows 0 and 1 only */
        return -1;
    }
    switch (line.command) {
    case COMMAND_HELP: *ret_exit_code = help(&line); return -1;
    case COMMAND_PRINT_CONFIG: *ret_exit_code = print_config(&line); return -1;
    case COMMAND_VERSION:
        printf("%s %s\n", app->options->name, version_of(app));
        *ret_exit_code = 0;
        return -1;
    default: return (int)line.command;
    }
}

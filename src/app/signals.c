/* SIGTERM and SIGINT, SIGHUP, and the alarm behind a drain that does not end.
 *
 * A handler of its own rather than the loop's signals: a second Ctrl+C must end the process also when loop 0 is held
 * up. What it touches is process-wide as signals are, and kept here; so one program at a time has them. */
#include "app_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct {
    _Atomic int first;      /* the first signal */
    _Atomic int interrupts; /* SIGINTs so far */
    _Atomic int hangups;    /* SIGHUPs not yet looked at */
    _Atomic int fd;         /* eventfd that wakes loop 0 of the program that has the signals; -1: none has */
    struct sigaction term_before, int_before, hup_before, alarm_before, pipe_before;
} signals = {.fd = -1};

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));

    (void)ignored;
}

static void caught(int signum)
{
    uint64_t one = 1;
    int none = 0, saved_errno = errno;
    ssize_t ignored;

    if (signum == SIGINT && atomic_fetch_add(&signals.interrupts, 1) > 0) {
        say("interrupted again: exits at once\n");
        _exit(EXIT_INTERRUPTED);
    }
    if (signum == SIGHUP)
        atomic_store(&signals.hangups, 1);
    else
        atomic_compare_exchange_strong(&signals.first, &none, signum);
    ignored = write(atomic_load(&signals.fd), &one, sizeof one);
    (void)ignored;
    errno = saved_errno;
}

static void too_late(int signum)
{
    (void)signum;
    say("the drain did not end in time: exits the hard way\n");
    _exit(EXIT_FAILURE_CODE);
}

static void stop_signals(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGHUP);
}

void signals_hold(struct proa_app *app)
{
    sigset_t set;

    stop_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, &app->mask_before);
}

static void readable(void *arg, int events)
{
    struct proa_app *app = arg;
    uint64_t count;
    ssize_t ignored = read(app->signal_fd, &count, sizeof count);

    (void)ignored;
    (void)events;
    if (atomic_exchange(&signals.hangups, 0))
        proa_event_set(&app->reload_asked);
    if (signals_first())
        lifecycle_stop(app, signals_first());
}

int signals_catch(struct proa_app *app, struct proa_error *err)
{
    struct sigaction action = {.sa_handler = caught, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigset_t set;
    int rc, none = -1;

    app->signal_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (app->signal_fd < 0)
        return proa_fail_errno(err, errno, "making an eventfd for signals");
    rc = proa_fd_watch_new(app->loop, app->signal_fd, readable, app, &app->signal_watch);
    if (rc == 0)
        rc = proa_fd_watch_set(app->signal_watch, PROA_READABLE);
    if (rc < 0)
        return proa_fail(err, rc, "watching for signals");
    if (!atomic_compare_exchange_strong(&signals.fd, &none, app->signal_fd))
        return proa_fail(err, PROA_EBUSY, "another program runs in this process, and has its signals");
    atomic_store(&signals.first, 0);
    atomic_store(&signals.interrupts, 0);
    atomic_store(&signals.hangups, 0);
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, &signals.term_before);
    sigaction(SIGINT, &action, &signals.int_before);
    sigaction(SIGHUP, &action, &signals.hup_before);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = too_late, .sa_flags = SA_ONSTACK}, &signals.alarm_before);
    /* A client that has gone must not end the process. */
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, &signals.pipe_before);
    stop_signals(&set);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return 0;
}

int signals_first(void)
{
    return atomic_load(&signals.first);
}

void signals_limit_exit(uint64_t ms)
{
    alarm((unsigned)((ms + 999) / 1000));
}

void signals_release(struct proa_app *app)
{
    sigset_t set;

    if (app->signal_fd >= 0 && atomic_load(&signals.fd) == app->signal_fd) {
        alarm(0);
        stop_signals(&set);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        sigaction(SIGTERM, &signals.term_before, NULL);
        sigaction(SIGINT, &signals.int_before, NULL);
        sigaction(SIGHUP, &signals.hup_before, NULL);
        sigaction(SIGALRM, &signals.alarm_before, NULL);
        sigaction(SIGPIPE, &signals.pipe_before, NULL);
        atomic_store(&signals.fd, -1);
    }
    proa_fd_watch_free(app->signal_watch);
    app->signal_watch = NULL;
    if (app->signal_fd >= 0)
        close(app->signal_fd);
    app->signal_fd = -1;
    pthread_sigmask(SIG_SETMASK, &app->mask_before, NULL);
}

/* Metrics of facts: the process as the kernel sees it, and the loops as they tell it. Read at each scrape. */
#include "metrics_internal.h"

#include <dirent.h>
#include <proa/loops.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int new_gauge(struct proa_metrics *metrics, const struct proa_metric_options *options,
                     struct proa_gauge_series **ret_series, struct proa_error *err)
{
    struct proa_gauge *gauge;

    PROA_TRY(proa_gauge_new(metrics, options, &gauge, err));
    *ret_series = proa_gauge_with(gauge, NULL);
    return 0;
}

/* The process. */
struct process {
    struct proa_counter_series *cpu;
    struct proa_gauge_series *resident, *virtual_bytes, *virtual_max, *open_fds, *max_fds, *threads, *start;
    _Atomic bool has_start;
};

/* What follows the command's name in /proc/self/stat, field 3 and on. The name may hold anything, also ")". */
static bool read_stat(char *buffer, size_t bytes, char **ret_fields)
{
    FILE *file = fopen("/proc/self/stat", "re");
    size_t len;

    if (!file)
        return false;
    len = fread(buffer, 1, bytes - 1, file);
    fclose(file);
    buffer[len] = '\0';
    *ret_fields = strrchr(buffer, ')');
    if (!*ret_fields || (*ret_fields)[1] != ' ')
        return false;
    *ret_fields += 2;
    return true;
}

/* @param number  as proc(5) counts: 3 is the first of `fields`. */
static double stat_field(const char *fields, int number)
{
    for (int i = 3; i < number && *fields; fields++)
        i += *fields == ' ';
    return (double)strtoull(fields, NULL, 10);
}

static double open_fds(void)
{
    struct stat info;
    double count = 0;
    DIR *dir;

    /* Since Linux 6.2 the folder's size is their number. */
    if (stat("/proc/self/fd", &info) == 0 && info.st_size > 0)
        return (double)info.st_size;
    dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count - 1; /* the folder's own */
}

static double limit_of(int resource)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
        return 0;
    return limit.rlim_cur == RLIM_INFINITY ? -1 : (double)limit.rlim_cur;
}

/* Since 1970, or 0. The kernel tells it since boot. */
static double start_time(const char *fields)
{
    enum { START = 22 };
    struct timespec wall, boot;

    if (clock_gettime(CLOCK_REALTIME, &wall) < 0 || clock_gettime(CLOCK_BOOTTIME, &boot) < 0)
        return 0;
    return (double)(wall.tv_sec - boot.tv_sec) + (double)(wall.tv_nsec - boot.tv_nsec) / 1e9 +
           stat_field(fields, START) / (double)sysconf(_SC_CLK_TCK);
}

static void read_process(void *arg)
{
    enum { THREADS = 20, VSIZE = 23, RSS = 24, STAT_BYTES = 1024 };
    struct process *process = arg;
    struct rusage usage;
    char buffer[STAT_BYTES], *fields;

    if (getrusage(RUSAGE_SELF, &usage) == 0)
        proa_counter_set(process->cpu, (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                                           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    if (read_stat(buffer, sizeof buffer, &fields)) {
        proa_gauge_set(process->threads, stat_field(fields, THREADS));
        proa_gauge_set(process->virtual_bytes, stat_field(fields, VSIZE));
        proa_gauge_set(process->resident, stat_field(fields, RSS) * (double)sysconf(_SC_PAGESIZE));
        /* Once: the two clocks drift apart. Not when the program starts, which has better things to do. */
        if (!atomic_exchange(&process->has_start, true))
            proa_gauge_set(process->start, start_time(fields));
    }
    proa_gauge_set(process->open_fds, open_fds());
    proa_gauge_set(process->max_fds, limit_of(RLIMIT_NOFILE));
    proa_gauge_set(process->virtual_max, limit_of(RLIMIT_AS));
}

int proa_metrics_add_process(struct proa_metrics *metrics, struct proa_error *err)
{
    struct process p = {0};
    struct process *kept;
    struct proa_counter *cpu;
    const struct {
        struct proa_metric_options options;
        struct proa_gauge_series **series;
    } gauges[] = {
        {{.name = "process_resident_memory_bytes", .unit = "bytes", .help = "Resident memory size"}, &p.resident},
        {{.name = "process_virtual_memory_bytes", .unit = "bytes", .help = "Virtual memory size"}, &p.virtual_bytes},
        {{.name = "process_virtual_memory_max_bytes", .unit = "bytes", .help = "Limit of virtual memory, -1 for none"},
         &p.virtual_max},
        {{.name = "process_start_time_seconds", .unit = "seconds", .help = "Start since the epoch"}, &p.start},
        {{.name = "process_open_fds", .help = "Open file descriptors"}, &p.open_fds},
        {{.name = "process_max_fds", .help = "Limit of open file descriptors"}, &p.max_fds},
        {{.name = "process_threads", .help = "Threads of the process"}, &p.threads},
    };

    if (!metrics)
        return 0;
    PROA_TRY(proa_counter_new(metrics,
                              &(struct proa_metric_options){.name = "process_cpu_seconds",
                                                            .unit = "seconds",
                                                            .help = "User and system CPU time spent"},
                              &cpu, err));
    p.cpu = proa_counter_with(cpu, NULL);
    for (size_t i = 0; i < PROA_COUNT(gauges); i++)
        PROA_TRY(new_gauge(metrics, &gauges[i].options, gauges[i].series, err));
    kept = malloc(sizeof *kept);
    if (!kept)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    memcpy(kept, &p, sizeof p);
    if (metric_hook_add(metrics, read_process, kept, free) < 0) {
        free(kept);
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    }
    return 0;
}

/* The loops. */
struct loop_series {
    struct proa_loop *loop;
    uint32_t shard;
    struct proa_gauge_series *fibers, *fibers_peak, *stacks_kept, *stack_peak, *timers, *blocking_in_flight;
    struct proa_counter_series *turns, *blocking;
    struct proa_histogram_series *lag;
};

struct loops_series {
    uint32_t count;
    struct loop_series loops[];
};

static void read_loops(void *arg)
{
    const struct loops_series *all = arg;

    for (uint32_t i = 0; i < all->count; i++) {
        const struct loop_series *series = &all->loops[i];
        struct proa_loop_stats stats;

        proa_loop_read_stats(series->loop, &stats);
        proa_gauge_set(series->fibers, stats.fibers);
        proa_gauge_set(series->fibers_peak, stats.fibers_peak);
        proa_gauge_set(series->stacks_kept, stats.stacks_kept);
        proa_gauge_set(series->stack_peak, (double)stats.stack_peak_bytes);
        proa_gauge_set(series->timers, stats.timers);
        proa_gauge_set(series->blocking_in_flight, stats.blocking_in_flight);
        proa_counter_set(series->turns, (double)stats.turns);
        proa_counter_set(series->blocking, (double)stats.blocking);
    }
}

static void note_lag(void *arg, uint64_t lag_ns)
{
    const struct loop_series *series = arg;

    proa_histogram_observe(series->lag, series->shard, (double)lag_ns / 1e9, NULL);
}

struct loop_families {
    struct proa_gauge *fibers, *fibers_peak, *stacks_kept, *stack_peak, *timers, *blocking_in_flight;
    struct proa_counter *turns, *blocking;
    struct proa_histogram *lag;
};

static int make_families(struct proa_metrics *metrics, struct loop_families *ret_families, struct proa_error *err)
{
    static const double lag_bounds[] = {0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1};
    struct loop_families f;
    const struct {
        const char *name, *unit, *help;
        struct proa_gauge **gauge;
        struct proa_counter **counter;
    } families[] = {
        {"proa_fibers", NULL, "Living fibers", &f.fibers, NULL},
        {"proa_fibers_peak", NULL, "The most fibers that lived at a time", &f.fibers_peak, NULL},
        {"proa_fiber_stacks_kept", NULL, "Unused stacks kept for reuse", &f.stacks_kept, NULL},
        {"proa_fiber_stack_peak_bytes", "bytes", "The deepest use of a fiber's stack", &f.stack_peak, NULL},
        {"proa_timers", NULL, "Armed timers", &f.timers, NULL},
        {"proa_blocking_in_flight", NULL, "Blocking calls that wait for a thread or run in one", &f.blocking_in_flight,
         NULL},
        {"proa_loop_turns", NULL, "Turns of the loop", NULL, &f.turns},
        {"proa_blocking", NULL, "Calls given to threads because they block", NULL, &f.blocking},
    };

    for (size_t i = 0; i < PROA_COUNT(families); i++) {
        struct proa_metric_options options = {.name = families[i].name,
                                              .unit = families[i].unit,
                                              .help = families[i].help,
                                              .labels = {"loop"},
                                              .series_max = PROA_LOOPS_MAX};

        if (families[i].gauge)
            PROA_TRY(proa_gauge_new(metrics, &options, families[i].gauge, err));
        else
            PROA_TRY(proa_counter_new(metrics, &options, families[i].counter, err));
    }
    PROA_TRY(proa_histogram_new(metrics,
                                &(struct proa_metric_options){.name = "proa_loop_lag_seconds",
                                                              .unit = "seconds",
                                                              .help = "How late the loop's timers fire",
                                                              .labels = {"loop"},
                                                              .buckets = lag_bounds,
                                                              .buckets_count = PROA_COUNT(lag_bounds),
                                                              .series_max = PROA_LOOPS_MAX},
                                &f.lag, err));
    *ret_families = f;
    return 0;
}

static void make_series(const struct loop_families *f, struct proa_loop *loop, uint32_t index,
                        struct loop_series *ret_series)
{
    char digits[PROA_U64_TEXT_MAX];
    proa_str label = proa_str_n(digits, proa_u64_text(index, digits));

    *ret_series = (struct loop_series){
        .loop = loop,
        .shard = proa_loop_index(loop),
        .fibers = proa_gauge_with(f->fibers, &label),
        .fibers_peak = proa_gauge_with(f->fibers_peak, &label),
        .stacks_kept = proa_gauge_with(f->stacks_kept, &label),
        .stack_peak = proa_gauge_with(f->stack_peak, &label),
        .timers = proa_gauge_with(f->timers, &label),
        .blocking_in_flight = proa_gauge_with(f->blocking_in_flight, &label),
        .turns = proa_counter_with(f->turns, &label),
        .blocking = proa_counter_with(f->blocking, &label),
        .lag = proa_histogram_with(f->lag, &label),
    };
}

int proa_metrics_add_loops(struct proa_metrics *metrics, struct proa_loops *loops, struct proa_error *err)
{
    struct loop_families families;
    struct loops_series *all;
    uint32_t count;

    if (!metrics)
        return 0;
    count = proa_loops_count(loops);
    PROA_TRY(make_families(metrics, &families, err));
    all = calloc(1, sizeof *all + count * sizeof all->loops[0]);
    if (!all)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    all->count = count;
    for (uint32_t i = 0; i < count; i++)
        make_series(&families, proa_loops_at(loops, i), i, &all->loops[i]);
    if (metric_hook_add(metrics, read_loops, all, free) < 0) {
        free(all);
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    }
    for (uint32_t i = 0; i < count; i++)
        proa_loop_on_lag(all->loops[i].loop, note_lag, &all->loops[i]);
    return 0;
}

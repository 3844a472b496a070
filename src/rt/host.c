/* What the host allows: CPUs by affinity and cgroup quota (v1 and v2), memory, open files. */
#include <proa/loops.h>

#include <math.h>
#include <proa/str.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { PATH_BYTES = 1024, LINE_BYTES = 1024 };

static bool read_line(const char *root, const char *folder, const char *name, char *out)
{
    char path[PATH_BYTES];
    FILE *file;
    bool ok;

    if (snprintf(path, sizeof path, "%s%s/%s", root, folder, name) >= (int)sizeof path)
        return false;
    file = fopen(path, "re");
    if (!file)
        return false;
    ok = fgets(out, LINE_BYTES, file) != NULL;
    fclose(file);
    if (ok)
        out[strcspn(out, "\n")] = '\0';
    return ok;
}

static void at_most(uint64_t limit, uint64_t *least)
{
    /* v1 writes a huge number for "no limit". */
    if (limit > 0 && limit < UINT64_C(1) << 62 && (*least == 0 || limit < *least))
        *least = limit;
}

static void quota(double cpus, struct proa_host *host)
{
    if (cpus > 0 && (host->cpus_quota == 0 || cpus < host->cpus_quota))
        host->cpus_quota = cpus;
}

static void read_v2(const char *root, const char *folder, struct proa_host *host)
{
    char line[LINE_BYTES];
    double max, period;
    uint64_t bytes;

    if (read_line(root, folder, "cpu.max", line) && sscanf(line, "%lf %lf", &max, &period) == 2 && period > 0)
        quota(max / period, host);
    if (read_line(root, folder, "memory.max", line) && proa_str_to_u64(proa_str_c(line), &bytes) == 0)
        at_most(bytes, &host->memory_limit_bytes);
}

static void read_v1_cpu(const char *root, const char *folder, struct proa_host *host)
{
    char line[LINE_BYTES];
    double max, period;

    if (read_line(root, folder, "cpu.cfs_quota_us", line) && sscanf(line, "%lf", &max) == 1 && max > 0 &&
        read_line(root, folder, "cpu.cfs_period_us", line) && sscanf(line, "%lf", &period) == 1 && period > 0)
        quota(max / period, host);
}

static void read_v1_memory(const char *root, const char *folder, struct proa_host *host)
{
    char line[LINE_BYTES];
    uint64_t bytes;

    if (read_line(root, folder, "memory.limit_in_bytes", line) && proa_str_to_u64(proa_str_c(line), &bytes) == 0)
        at_most(bytes, &host->memory_limit_bytes);
}

/* The group's own folder and all above it up to the mount. In a container the path may not exist below the mount; then
 * only the mount's top, which is the container's own group, counts. */
static void walk_groups(const char *root, const char *mount, const char *group,
                        void (*read)(const char *root, const char *folder, struct proa_host *host),
                        struct proa_host *host)
{
    char folder[PATH_BYTES];
    size_t mount_len = strlen(mount);

    if (snprintf(folder, sizeof folder, "%s%s", mount, group) >= (int)sizeof folder)
        return;
    for (;;) {
        char *slash;

        read(root, folder, host);
        slash = strrchr(folder, '/');
        if (strlen(folder) <= mount_len || !slash)
            break;
        *slash = '\0';
    }
}

static bool has_controller(const char *list, const char *name)
{
    proa_str rest = proa_str_c(list), part;

    while (proa_str_split(&rest, ',', &part))
        if (proa_str_eq_c(part, name))
            return true;
    return false;
}

static void read_cgroups(const char *root, struct proa_host *host)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    FILE *file;

    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    file = fopen(path, "re");
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;

        if (!group)
            continue;
        *controllers++ = '\0';
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (strcmp(group, "/") == 0)
            group[0] = '\0';
        if (controllers[0] == '\0') {
            walk_groups(root, "/sys/fs/cgroup", group, read_v2, host);
            walk_groups(root, "/sys/fs/cgroup/unified", group, read_v2, host);
        }
        if (has_controller(controllers, "cpu")) {
            walk_groups(root, "/sys/fs/cgroup/cpu", group, read_v1_cpu, host);
            walk_groups(root, "/sys/fs/cgroup/cpu,cpuacct", group, read_v1_cpu, host);
        }
        if (has_controller(controllers, "memory"))
            walk_groups(root, "/sys/fs/cgroup/memory", group, read_v1_memory, host);
    }
    fclose(file);
}

void proa_host_read(const char *root, struct proa_host *ret_host)
{
    struct proa_host host = {0};
    struct rlimit limit;
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    host.cpus_affinity = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (uint32_t)CPU_COUNT(&cpus) : 1;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        host.open_files_limit = limit.rlim_cur;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        host.address_space_limit_bytes = limit.rlim_cur;
    read_cgroups(root ? root : "", &host);
    host.loops = host.cpus_affinity;
    if (host.cpus_quota > 0 && ceil(host.cpus_quota) < host.loops)
        host.loops = (uint32_t)ceil(host.cpus_quota);
    if (host.loops < 1)
        host.loops = 1;
    if (host.loops > PROA_LOOPS_MAX)
        host.loops = PROA_LOOPS_MAX;
    *ret_host = host;
}

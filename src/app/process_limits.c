/* The process's own limits: descriptors and address space. */
#include "app_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

/* In order, as a file that is opened gets the lowest number that is free. */
void process_keep_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
            return; /* there is no /dev */
}

/* glibc reserves 64 MiB of address space for each arena, and makes one for each thread up to 8 a CPU: with 16 loops more than a small
 * limit allows. Below this limit all threads share the one that grows by need. */
#define ONE_ARENA_BELOW_BYTES (UINT64_C(8) << 30)

/* Sets a soft limit, and the hard one where it is lower and we may. @returns 0 or an errno. */
static int set_limit(int resource, rlim_t wanted, rlim_t *ret_set)
{
    struct rlimit limit, raised;

    if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
        return errno;
    raised = (struct rlimit){.rlim_cur = wanted, .rlim_max = limit.rlim_max};
    *ret_set = wanted;
    if (limit.rlim_max != RLIM_INFINITY && wanted > limit.rlim_max) {
        raised.rlim_max = wanted;
        if (setrlimit((__rlimit_resource_t)resource, &raised) == 0)
            return 0;
        *ret_set = raised.rlim_cur = raised.rlim_max = limit.rlim_max;
    }
    return setrlimit((__rlimit_resource_t)resource, &raised) < 0 ? errno : 0;
}

static void fit_malloc(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < ONE_ARENA_BELOW_BYTES)
        mallopt(M_ARENA_MAX, 1);
}

int process_limits_apply(const struct app_process_config *process, uint64_t *ret_open_files, struct proa_error *err)
{
    rlim_t set = 0;
    int os_errno = set_limit(RLIMIT_NOFILE, (rlim_t)process->open_files, &set);

    if (os_errno)
        return proa_fail_errno(err, os_errno, "setting the limit of open files to %llu",
                               (unsigned long long)process->open_files);
    *ret_open_files = set;
    if (process->address_space_bytes.bytes) {
        os_errno = set_limit(RLIMIT_AS, (rlim_t)process->address_space_bytes.bytes, &set);
        if (os_errno)
            return proa_fail_errno(err, os_errno, "setting the limit of address space to %llu",
                                   (unsigned long long)process->address_space_bytes.bytes);
    }
    fit_malloc();
    return 0;
}

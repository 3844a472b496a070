/* What the host allows, read from folders that look like its /proc and /sys. */
#include "unit.h"

#include <ftw.h>
#include <proa/loops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];

static int setup(void **state)
{
    snprintf(root, sizeof root, "/tmp/proa-test-host-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *facts, int type, struct FTW *walk)
{
    return remove(path);
}

static int teardown(void **state)
{
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text)
{
    char whole[256];
    FILE *file;

    snprintf(whole, sizeof whole, "%s/%s", root, path);
    for (char *slash = strchr(whole + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(whole, 0700);
        *slash = '/';
    }
    file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static struct proa_host host(void)
{
    struct proa_host facts;

    proa_host_read(root, &facts);
    assert_true(facts.loops >= 1 && facts.loops <= facts.cpus_affinity);
    return facts;
}

static bool near(double a, double b)
{
    return a - b < 1e-9 && b - a < 1e-9;
}

static void test_nothing_known(void **state)
{
    struct proa_host facts = host();

    assert_true(near(facts.cpus_quota, 0));
    assert_int_equal(facts.memory_limit_bytes, 0);
    assert_int_equal(facts.loops, facts.cpus_affinity);
    assert_true(facts.open_files_limit > 0);
}

static void test_v2_takes_the_least_of_all_parents(void **state)
{
    put("proc/self/cgroup", "0::/kubepods/pod1/container\n");
    put("sys/fs/cgroup/kubepods/pod1/container/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/kubepods/pod1/cpu.max", "50000 100000\n");
    put("sys/fs/cgroup/kubepods/cpu.max", "400000 100000\n");
    put("sys/fs/cgroup/kubepods/pod1/container/memory.max", "max\n");
    put("sys/fs/cgroup/kubepods/pod1/memory.max", "134217728\n");
    put("sys/fs/cgroup/kubepods/memory.max", "1073741824\n");
    assert_true(near(host().cpus_quota, 0.5));
    assert_int_equal(host().loops, 1); /* at 500m: one */
    assert_int_equal(host().memory_limit_bytes, 134217728);
}

/* In a container the mount's top is the container's own group, whatever path the file names. */
static void test_v2_path_of_the_host_is_not_below_the_mount(void **state)
{
    put("proc/self/cgroup", "0::/system.slice/docker-1234.scope\n");
    put("sys/fs/cgroup/cpu.max", "150000 100000\n");
    assert_true(near(host().cpus_quota, 1.5));
    assert_true(host().loops <= 2);
}

static void test_v2_at_the_root(void **state)
{
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/cpu.max", "100000 50000\n");
    assert_true(near(host().cpus_quota, 2.0));
}

static void test_v1(void **state)
{
    put("proc/self/cgroup", "12:cpuset:/x\n5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n1:name=systemd:/d\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "25000\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "536870912\n");
    assert_true(near(host().cpus_quota, 0.25));
    assert_int_equal(host().loops, 1);
    assert_int_equal(host().memory_limit_bytes, 536870912);
}

static void test_hybrid(void **state)
{
    put("proc/self/cgroup", "3:cpu:/a\n0::/a\n");
    put("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "300000\n");
    put("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/unified/a/memory.max", "1000000\n");
    assert_true(near(host().cpus_quota, 3.0));
    assert_int_equal(host().memory_limit_bytes, 1000000);
}

static void test_nonsense_is_no_limit(void **state)
{
    put("proc/self/cgroup", "nonsense\n0\n::\n0::/a\n");
    put("sys/fs/cgroup/a/cpu.max", "much 0\n");
    put("sys/fs/cgroup/cpu.max", "100000 0\n");
    put("sys/fs/cgroup/a/memory.max", "-5\n");
    put("sys/fs/cgroup/memory.max", "");
    assert_true(near(host().cpus_quota, 0));
    assert_int_equal(host().memory_limit_bytes, 0);
}

static void test_the_real_host(void **state)
{
    struct proa_host facts;

    proa_host_read(NULL, &facts);
    assert_true(facts.cpus_affinity >= 1 && facts.loops >= 1 && facts.loops <= facts.cpus_affinity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_v2_takes_the_least_of_all_parents, setup, teardown),
        cmocka_unit_test_setup_teardown(test_v2_path_of_the_host_is_not_below_the_mount, setup, teardown),
        cmocka_unit_test_setup_teardown(test_v2_at_the_root, setup, teardown),
        cmocka_unit_test_setup_teardown(test_v1, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hybrid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nonsense_is_no_limit, setup, teardown),
        cmocka_unit_test(test_the_real_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

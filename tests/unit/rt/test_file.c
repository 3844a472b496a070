/* Files in a folder of the test's own. */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <proa/fiber.h>
#include <proa/file.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct proa_loop *loop;
static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int setup(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/proa-test-file-XXXXXX");
    return mkdtemp(folder) && proa_loop_new(NULL, &loop) == 0 ? 0 : -1;
}

static unsigned files_left(bool remove_them)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    unsigned count = 0;

    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        if (remove_them)
            unlink(in_folder(entry->d_name));
    }
    closedir(dir);
    return count;
}

static int teardown(void **state)
{
    proa_loop_free(loop);
    files_left(true);
    rmdir(folder);
    return 0;
}

static void run(proa_fiber_fn *body)
{
    struct proa_arena arena;

    proa_arena_init(&arena, proa_loop_blocks(loop), 1 << 20);
    assert_int_equal(proa_loop_start_fiber(loop, NULL, body, &arena), 0);
    assert_int_equal(proa_loop_run(loop), 0);
    proa_arena_done(&arena);
}

static int whole_files(void *arg)
{
    struct proa_error err = {0};
    struct stat facts;
    proa_str content = {0};
    char *big = malloc(300000);

    assert_int_equal(proa_file_write(loop, in_folder("a"), proa_str_c("one"), 0640, &err), 0);
    assert_int_equal(stat(in_folder("a"), &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0640);
    assert_int_equal(proa_file_read(loop, arg, in_folder("a"), 3, &content, &err), 0);
    assert_true(proa_str_eq_c(content, "one"));
    assert_int_equal(content.ptr[content.len], '\0');
    assert_int_equal(proa_file_read(loop, arg, in_folder("a"), 2, &content, &err), PROA_ETOOLARGE);
    assert_true(proa_str_eq_c(content, "one")); /* written only on success */
    memset(big, 'x', 300000);
    assert_int_equal(proa_file_write(loop, in_folder("a"), proa_str_n(big, 300000), 0600, &err), 0);
    assert_int_equal(proa_file_read(loop, arg, in_folder("a"), SIZE_MAX, &content, &err), 0);
    assert_int_equal(content.len, 300000);
    assert_int_equal(proa_file_write(loop, in_folder("a"), proa_str_c(""), 0600, &err), 0);
    assert_int_equal(proa_file_read(loop, arg, in_folder("a"), 0, &content, &err), 0);
    assert_int_equal(content.len, 0);
    free(big);
    return 0;
}

static void test_whole_files(void **state)
{
    run(whole_files);
    assert_int_equal(files_left(false), 1); /* no temporary file stays */
}

/* A file whose size the kernel does not tell. */
static int proc_file(void *arg)
{
    proa_str content = {0};

    assert_int_equal(proa_file_read(loop, arg, "/proc/self/status", 1 << 20, &content, NULL), 0);
    assert_true(content.len > 100);
    return 0;
}

static void test_file_without_size(void **state)
{
    run(proc_file);
}

static int errors(void *arg)
{
    struct proa_error err = {0};
    struct proa_file *file;
    proa_str content;

    assert_int_equal(proa_file_read(loop, arg, in_folder("none"), 10, &content, &err), PROA_ENOTFOUND);
    assert_non_null(strstr(err.message, "none"));
    assert_true(proa_file_read(loop, arg, folder, 10, &content, &err) < 0);
    assert_int_equal(proa_file_write(loop, in_folder("no/where"), proa_str_c("x"), 0600, &err), PROA_ENOTFOUND);
    assert_int_equal(proa_file_open(loop, in_folder("none"), O_RDONLY, 0, &file, &err), PROA_ENOTFOUND);
    mkdir(in_folder("dir"), 0700);
    assert_true(proa_file_write(loop, in_folder("dir"), proa_str_c("x"), 0600, &err) < 0);
    rmdir(in_folder("dir"));
    return 0;
}

static void test_errors_name_the_file(void **state)
{
    run(errors);
    assert_int_equal(files_left(false), 0);
}

static int at_offsets(void *arg)
{
    struct proa_error err = {0};
    struct proa_file *file;
    char bytes[16] = "";
    size_t got = 0;

    assert_int_equal(proa_file_open(loop, in_folder("b"), O_RDWR | O_CREAT, 0600, &file, &err), 0);
    assert_int_equal(proa_file_write_at(file, 5, proa_str_c("world"), &err), 0);
    assert_int_equal(proa_file_write_at(file, 0, proa_str_c("hello"), &err), 0);
    assert_int_equal(proa_file_read_at(file, 3, bytes, sizeof bytes, &got, &err), 0);
    assert_int_equal(got, 7);
    assert_memory_equal(bytes, "loworld", 7);
    assert_int_equal(proa_file_read_at(file, 10, bytes, sizeof bytes, &got, &err), 0);
    assert_int_equal(got, 0);
    assert_int_equal(proa_file_sync(file, &err), 0);
    proa_file_close(file);
    proa_file_close(NULL);
    return 0;
}

static void test_at_offsets(void **state)
{
    run(at_offsets);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 1000; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int cancelled(void *arg)
{
    struct proa_file *file;
    proa_str content;
    unsigned before;

    assert_int_equal(proa_file_open(loop, "/dev/null", O_RDONLY, 0, &file, NULL), 0);
    before = open_descriptors();
    proa_fiber_cancel(proa_fiber_current(loop), PROA_ECLOSED);
    assert_int_equal(proa_file_read(loop, arg, "/proc/self/status", 1000, &content, NULL), PROA_ECLOSED);
    proa_file_close(file); /* closes all the same */
    assert_int_equal(open_descriptors(), before - 1);
    return 0;
}

static void test_a_cancelled_fiber_still_closes(void **state)
{
    run(cancelled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_without_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors_name_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_at_offsets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_cancelled_fiber_still_closes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The volume's folders. What touches many files runs in the blocking pool. */
#include "volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <proa/file.h>
#include <proa/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { LOCK_RETRY_MS = 100, WALK_DESCRIPTORS = 16, MEMORY_MAX_BYTES = 16 * 1024 };

PROA_DEFINE_TYPE_WITH(memory, (.unknown = PROA_UNKNOWN_IGNORE),
                      (role, enumeration(instance_role), .default_json = "\"\""),
                      (primary, str, .default_json = "\"\""), (replicas, i32, .default_json = "1"));

struct volume {
    struct proa_loop *loop;
    struct proa_arena arena;
    const char *folder, *data, *fresh, *ready, *old, *before, *memory, *lock_path;
    int lock;
};

/* -- In the pool ----------------------------------------------------------------------------------------------------- */

struct job {
    struct volume *volume;
    int (*run)(struct volume *volume, struct job *job); /* 0 or a negative errno */
    const char *what;                                   /* for errors */
    const char *path;
    proa_time_ns now;
    struct volume_room room;
    pid_t user;
    int rc;
};

static void run_job(void *arg)
{
    struct job *job = arg;

    job->rc = job->run(job->volume, job);
}

/* What is done to the volume is done to its end, also when the agent is stopping. */
static int do_job(struct volume *volume, struct job *job, struct proa_error *err)
{
    int rc;

    job->volume = volume;
    rc = proa_blocking(volume->loop, run_job, job, NULL, NULL);
    if (rc < 0)
        return proa_fail(err, rc, "%s: %s", job->what, proa_code_name(rc));
    return job->rc < 0 ? proa_fail_errno(err, -job->rc, "%s %s", job->what, job->path ? job->path : volume->folder) : 0;
}

static int remove_one(const char *path, const struct stat *file, int kind, struct FTW *at)
{
    (void)file;
    (void)kind;
    (void)at;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

static int remove_tree(const char *path)
{
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    return nftw(path, remove_one, WALK_DESCRIPTORS, FTW_DEPTH | FTW_PHYS) < 0 ? -errno : 0;
}

static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    if (fd < 0)
        return -errno;
    if (fsync(fd) < 0)
        rc = -errno;
    close(fd);
    return rc;
}

static int move(struct volume *volume, const char *from, const char *to)
{
    if (rename(from, to) < 0)
        return -errno;
    return sync_folder(volume->folder);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* From data.ready on; also after a crash at any point of it. */
static int finish_swap(struct volume *volume)
{
    if (!exists(volume->ready))
        return 0;
    if (exists(volume->data)) {
        PROA_TRY(remove_tree(volume->old));
        PROA_TRY(move(volume, volume->data, volume->old));
    }
    return move(volume, volume->ready, volume->data);
}

static int recover(struct volume *volume, struct job *job)
{
    (void)job;
    PROA_TRY(finish_swap(volume));
    PROA_TRY(remove_tree(volume->old));
    PROA_TRY(remove_tree(volume->fresh));
    /* An empty data folder is none. */
    if (rmdir(volume->data) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
        return -errno;
    return 0;
}

static int begin(struct volume *volume, struct job *job)
{
    (void)job;
    PROA_TRY(remove_tree(volume->fresh));
    return mkdir(volume->fresh, 0700) < 0 ? -errno : 0;
}

static int abandon(struct volume *volume, struct job *job)
{
    (void)job;
    return remove_tree(volume->fresh);
}

static int commit(struct volume *volume, struct job *job)
{
    (void)job;
    PROA_TRY(sync_folder(volume->fresh));
    PROA_TRY(move(volume, volume->fresh, volume->ready));
    PROA_TRY(finish_swap(volume));
    return remove_tree(volume->old);
}

static int forget_before(struct volume *volume, struct job *job)
{
    (void)job;
    if (!exists(volume->before))
        return 0;
    PROA_TRY(remove_tree(volume->old));
    PROA_TRY(move(volume, volume->before, volume->old));
    return remove_tree(volume->old);
}

static int put_aside(struct volume *volume, struct job *job)
{
    char path[4096];

    if (snprintf(path, sizeof path, "%s.kept-%lld", volume->data, (long long)(job->now / 1000000000)) >=
        (int)sizeof path)
        return -ENAMETOOLONG;
    return exists(volume->data) ? move(volume, volume->data, path) : 0;
}

static int remove_data(struct volume *volume, struct job *job)
{
    (void)job;
    if (exists(volume->data)) {
        PROA_TRY(remove_tree(volume->old));
        PROA_TRY(move(volume, volume->data, volume->old));
    }
    return remove_tree(volume->old);
}

static int set_before(struct volume *volume, struct job *job)
{
    if (exists(volume->before))
        return remove_data(volume, job);
    return exists(volume->data) ? move(volume, volume->data, volume->before) : 0;
}

/* The bytes of a tree, without nftw's lack of an argument. */
static uint64_t tree_bytes(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    uint64_t sum = 0;

    if (!folder) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while ((entry = readdir(folder))) {
        struct stat file;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(fd, entry->d_name, &file, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        sum += (uint64_t)file.st_blocks * 512;
        if (S_ISDIR(file.st_mode))
            sum += tree_bytes(fd, entry->d_name);
    }
    closedir(folder);
    return sum;
}

static int measure(struct volume *volume, struct job *job)
{
    struct statvfs file_system;

    if (statvfs(volume->folder, &file_system) < 0)
        return -errno;
    job->room.free_bytes = (uint64_t)file_system.f_bavail * file_system.f_frsize;
    job->room.data_bytes = tree_bytes(AT_FDCWD, volume->data);
    return 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Servers run in their data folder, so where processes run says who uses it: no pid file has to be believed. */
static int find_user(struct volume *volume, struct job *job)
{
    bool has_data, has_fresh;
    const struct dirent *entry;
    struct stat data, fresh, at;
    DIR *folder;

    has_data = stat(volume->data, &data) == 0;
    has_fresh = stat(volume->fresh, &fresh) == 0;
    if (!has_data && !has_fresh)
        return 0;
    folder = opendir("/proc");
    if (!folder)
        return -errno;
    while ((entry = readdir(folder)) && !job->user) {
        char path[sizeof entry->d_name + 16];
        long pid = strtol(entry->d_name, NULL, 10);

        if (pid <= 0 || pid == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/%s/cwd", entry->d_name);
        if (stat(path, &at) == 0 && ((has_data && is_same(&at, &data)) || (has_fresh && is_same(&at, &fresh))))
            job->user = (pid_t)pid;
    }
    closedir(folder);
    return 0;
}

/* -- The calls ------------------------------------------------------------------------------------------------------- */

static int take_lock(struct volume *volume, uint64_t wait_ns, struct proa_error *err)
{
    proa_mono_ns end = proa_loop_now_exact(volume->loop) + wait_ns;

    volume->lock = open(volume->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (volume->lock < 0)
        return proa_fail_errno(err, errno, "opening %s", volume->lock_path);
    while (flock(volume->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return proa_fail_errno(err, errno, "locking %s", volume->lock_path);
        if (proa_loop_now_exact(volume->loop) > end)
            return proa_fail(err, PROA_EBUSY, "another agent uses the volume %s", volume->folder);
        PROA_TRY(proa_sleep(volume->loop, PROA_MS(LOCK_RETRY_MS)));
    }
    return 0;
}

static int name_paths(struct volume *volume, const char *folder)
{
    struct {
        const char **path;
        const char *name;
    } const names[] = {
        {&volume->data, "data"},
        {&volume->fresh, "data.new"},
        {&volume->ready, "data.ready"},
        {&volume->old, "data.old"},
        {&volume->before, "data.before"},
        {&volume->memory, "agent.json"},
        {&volume->lock_path, "agent.lock"},
    };

    volume->folder = proa_arena_cstr(&volume->arena, proa_str_c(folder));
    for (size_t i = 0; i < PROA_COUNT(names); i++) {
        *names[i].path = proa_arena_printf(&volume->arena, "%s/%s", folder, names[i].name).ptr;
        if (!volume->folder || !*names[i].path)
            return PROA_ENOMEM;
    }
    return 0;
}

int volume_open(struct proa_loop *loop, const char *folder, uint64_t wait_ns, struct volume **ret_volume,
                struct proa_error *err)
{
    struct volume *volume = calloc(1, sizeof *volume);
    struct job job = {.run = recover, .what = "putting in order"};
    int rc;

    if (!volume)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    volume->loop = loop;
    volume->lock = -1;
    proa_arena_init(&volume->arena, NULL, 0);
    rc = name_paths(volume, folder);
    if (rc < 0)
        proa_fail(err, rc, "memory is out");
    if (rc == 0)
        rc = take_lock(volume, wait_ns, err);
    if (rc == 0)
        rc = volume_wait_unused(volume, wait_ns, err);
    if (rc == 0)
        rc = do_job(volume, &job, err);
    if (rc < 0) {
        volume_close(volume);
        return rc;
    }
    *ret_volume = volume;
    return 0;
}

void volume_close(struct volume *volume)
{
    if (!volume)
        return;
    if (volume->lock >= 0)
        close(volume->lock);
    proa_arena_done(&volume->arena);
    free(volume);
}

const char *volume_data(const struct volume *volume)
{
    return volume->data;
}

int volume_begin(struct volume *volume, const char **ret_folder, struct proa_error *err)
{
    struct job job = {.run = begin, .what = "making", .path = volume->fresh};

    PROA_TRY(do_job(volume, &job, err));
    *ret_folder = volume->fresh;
    return 0;
}

int volume_commit(struct volume *volume, struct proa_error *err)
{
    struct job job = {.run = commit, .what = "putting in place", .path = volume->data};

    return do_job(volume, &job, err);
}

void volume_abandon(struct volume *volume)
{
    struct job job = {.run = abandon, .what = "removing", .path = volume->fresh};

    proa_ignore(do_job(volume, &job, NULL)); /* the next start does it again */
}

int volume_put_aside(struct volume *volume, proa_time_ns now, struct proa_error *err)
{
    struct job job = {.run = put_aside, .what = "putting aside", .path = volume->data, .now = now};

    return do_job(volume, &job, err);
}

int volume_set_before(struct volume *volume, struct proa_error *err)
{
    struct job job = {.run = set_before, .what = "putting aside", .path = volume->data};

    return do_job(volume, &job, err);
}

int volume_forget_before(struct volume *volume, struct proa_error *err)
{
    struct job job = {.run = forget_before, .what = "removing", .path = volume->before};

    return do_job(volume, &job, err);
}

int volume_remove_data(struct volume *volume, struct proa_error *err)
{
    struct job job = {.run = remove_data, .what = "removing", .path = volume->data};

    return do_job(volume, &job, err);
}

int volume_room(struct volume *volume, struct volume_room *ret_room, struct proa_error *err)
{
    struct job job = {.run = measure, .what = "measuring"};

    PROA_TRY(do_job(volume, &job, err));
    *ret_room = job.room;
    return 0;
}

pid_t volume_user(struct volume *volume)
{
    struct job job = {.run = find_user, .what = "looking for users of", .path = volume->data};

    return do_job(volume, &job, NULL) < 0 ? 0 : job.user;
}

int volume_wait_unused(struct volume *volume, uint64_t timeout_ns, struct proa_error *err)
{
    proa_mono_ns begin_at = proa_loop_now_exact(volume->loop), now = begin_at;

    for (;;) {
        struct job job = {.run = find_user, .what = "looking for users of", .path = volume->data};

        PROA_TRY(do_job(volume, &job, err));
        if (!job.user)
            return 0;
        if (now > begin_at + timeout_ns)
            return proa_fail(err, PROA_EBUSY, "process %d uses %s: two servers on one folder would destroy it",
                             (int)job.user, volume->data);
        PROA_TRY(proa_sleep(volume->loop, PROA_MS(LOCK_RETRY_MS)));
        now = proa_loop_now_exact(volume->loop);
    }
}

int volume_remember(struct volume *volume, struct proa_arena *arena, struct memory *ret_memory, struct proa_error *err)
{
    proa_str text;

    PROA_TRY(proa_file_read(volume->loop, arena, volume->memory, MEMORY_MAX_BYTES, &text, err));
    return proa_json_read(arena, text, PROA_JSON_LENIENT, &memory_type, ret_memory, err);
}

int volume_memorise(struct volume *volume, const struct memory *memory, struct proa_error *err)
{
    struct proa_buf out = {0};
    int rc = proa_json_write(&out, 0, &memory_type, memory);

    if (rc == 0)
        rc = proa_file_write(volume->loop, volume->memory, proa_buf_str(&out), 0600, err);
    proa_buf_done(&out);
    return rc;
}

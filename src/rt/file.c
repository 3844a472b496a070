/* Files in the blocking pool: plain system calls, run by proa_blocking. */
#include <proa/file.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <proa/fiber.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CLOSE_WAITS_S = 5 };

struct proa_file {
    struct proa_loop *loop;
    int fd;
    char path[]; /* for errors */
};

enum file_verb { FILE_OPEN, FILE_CLOSE, FILE_READ, FILE_WRITE, FILE_SYNC, FILE_LOAD, FILE_REPLACE };

/* One call, and what came of it. Filled by the fiber, run by a thread, read by the fiber. */
struct file_job {
    enum file_verb verb;
    const char *path;
    int fd;
    int flags;
    unsigned mode;
    uint64_t offset;
    char *out;
    proa_str in;
    size_t bytes;
    size_t max_bytes;
    size_t done;
    int os_errno;
    bool too_large;
};

static void read_fully(struct file_job *job)
{
    while (job->done < job->bytes) {
        ssize_t got = pread(job->fd, job->out + job->done, job->bytes - job->done, (off_t)(job->offset + job->done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            job->os_errno = errno;
        if (got <= 0)
            return;
        job->done += (size_t)got;
    }
}

static int write_fully(int fd, proa_str in, uint64_t offset)
{
    size_t done = 0;

    while (done < in.len) {
        ssize_t put = pwrite(fd, in.ptr + done, in.len - done, (off_t)(offset + done));

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return errno;
        done += (size_t)put;
    }
    return 0;
}

/* Reads a whole file into heap memory that the fiber copies and frees. */
static void load(struct file_job *job)
{
    struct stat facts;
    size_t cap = 4096;

    job->fd = open(job->path, O_RDONLY | O_CLOEXEC);
    if (job->fd < 0 || fstat(job->fd, &facts) < 0) {
        job->os_errno = errno;
        return;
    }
    if (facts.st_size > 0)
        cap = (size_t)facts.st_size + 1;
    if (job->max_bytes == SIZE_MAX)
        job->max_bytes--; /* room for the byte behind */
    for (;;) {
        char *grown;

        if (cap > job->max_bytes + 1)
            cap = job->max_bytes + 1;
        grown = realloc(job->out, cap);
        if (!grown) {
            job->os_errno = ENOMEM;
            return;
        }
        job->out = grown;
        job->bytes = cap;
        read_fully(job);
        if (job->os_errno || job->done < cap)
            return;
        if (job->done > job->max_bytes) {
            job->too_large = true;
            return;
        }
        cap *= 2;
    }
}

static int sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int fd, rc = 0;

    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    fd = open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    if (fsync(fd) < 0)
        rc = errno;
    close(fd);
    return rc;
}

static void replace(struct file_job *job)
{
    char temporary[PATH_MAX];

    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", job->path) >= (int)sizeof temporary) {
        job->os_errno = ENAMETOOLONG;
        return;
    }
    job->fd = mkostemp(temporary, O_CLOEXEC);
    if (job->fd < 0) {
        job->os_errno = errno;
        return;
    }
    job->os_errno = write_fully(job->fd, job->in, 0);
    if (!job->os_errno && (fchmod(job->fd, job->mode) < 0 || fsync(job->fd) < 0 || rename(temporary, job->path) < 0))
        job->os_errno = errno;
    if (job->os_errno)
        unlink(temporary);
    else
        job->os_errno = sync_folder(job->path);
}

static void run_job(void *arg)
{
    struct file_job *job = arg;

    switch (job->verb) {
    case FILE_OPEN:
        job->fd = open(job->path, job->flags | O_CLOEXEC, job->mode);
        if (job->fd < 0)
            job->os_errno = errno;
        break;
    case FILE_CLOSE: close(job->fd); break;
    case FILE_READ: read_fully(job); break;
    case FILE_WRITE: job->os_errno = write_fully(job->fd, job->in, job->offset); break;
    case FILE_SYNC:
        if (fsync(job->fd) < 0)
            job->os_errno = errno;
        break;
    case FILE_LOAD:
        load(job);
        if (job->fd >= 0)
            close(job->fd);
        break;
    case FILE_REPLACE:
        replace(job);
        if (job->fd >= 0)
            close(job->fd);
        break;
    }
}

/* Runs a job in the pool; its own failure or the fiber's end as an error that names the file. */
static int do_job(struct proa_loop *loop, struct file_job *job, struct proa_error *err)
{
    bool ran;
    int rc = proa_blocking(loop, run_job, job, NULL, &ran);

    if (rc < 0 && !ran)
        return proa_fail(err, rc, "%s: not done: %s", job->path, proa_code_name(rc));
    if (job->too_large)
        return proa_fail(err, PROA_ETOOLARGE, "%s: larger than %zu bytes", job->path, job->max_bytes);
    if (job->os_errno)
        return proa_fail_errno(err, job->os_errno, "%s", job->path);
    return 0;
}

int proa_file_read(struct proa_loop *loop, struct proa_arena *arena, const char *path, size_t max_bytes,
                   proa_str *ret_content, struct proa_error *err)
{
    struct file_job job = {.verb = FILE_LOAD, .path = path, .fd = -1, .max_bytes = max_bytes};
    int rc = do_job(loop, &job, err);

    if (rc == 0) {
        proa_str copy = proa_arena_str(arena, proa_str_n(job.out, job.done));

        if (copy.ptr)
            *ret_content = copy;
        else
            rc = proa_fail(err, PROA_ENOMEM, "%s: memory is out", path);
    }
    free(job.out);
    return rc;
}

int proa_file_write(struct proa_loop *loop, const char *path, proa_str content, unsigned mode, struct proa_error *err)
{
    struct file_job job = {.verb = FILE_REPLACE, .path = path, .fd = -1, .in = content, .mode = mode};

    return do_job(loop, &job, err);
}

int proa_file_open(struct proa_loop *loop, const char *path, int flags, unsigned mode, struct proa_file **ret_file,
                   struct proa_error *err)
{
    struct file_job job = {.verb = FILE_OPEN, .path = path, .flags = flags, .mode = mode};
    struct proa_file *file;

    PROA_TRY(do_job(loop, &job, err));
    file = malloc(sizeof *file + strlen(path) + 1);
    if (!file) {
        close(job.fd);
        return proa_fail(err, PROA_ENOMEM, "%s: memory is out", path);
    }
    file->loop = loop;
    file->fd = job.fd;
    memcpy(file->path, path, strlen(path) + 1);
    *ret_file = file;
    return 0;
}

void proa_file_close(struct proa_file *file)
{
    struct file_job job = {.verb = FILE_CLOSE};
    struct proa_shield_scope shield;
    bool ran;

    if (!file)
        return;
    job.fd = file->fd;
    /* A cancelled fiber's file is closed all the same; on the loop only when all threads are held. */
    shield = proa_shield_enter(file->loop, PROA_SECONDS(CLOSE_WAITS_S));
    if (proa_blocking(file->loop, run_job, &job, NULL, &ran) < 0 && !ran)
        close(file->fd);
    proa_shield_leave(&shield);
    free(file);
}

int proa_file_read_at(struct proa_file *file, uint64_t offset, void *out, size_t bytes, size_t *ret_bytes,
                      struct proa_error *err)
{
    struct file_job job = {
        .verb = FILE_READ, .path = file->path, .fd = file->fd, .offset = offset, .out = out, .bytes = bytes};

    PROA_TRY(do_job(file->loop, &job, err));
    *ret_bytes = job.done;
    return 0;
}

int proa_file_write_at(struct proa_file *file, uint64_t offset, proa_str bytes, struct proa_error *err)
{
    struct file_job job = {.verb = FILE_WRITE, .path = file->path, .fd = file->fd, .offset = offset, .in = bytes};

    return do_job(file->loop, &job, err);
}

int proa_file_sync(struct proa_file *file, struct proa_error *err)
{
    struct file_job job = {.verb = FILE_SYNC, .path = file->path, .fd = file->fd};

    return do_job(file->loop, &job, err);
}

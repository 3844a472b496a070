/* Lines from many threads to one writer.
 *
 * A ring of bytes. A producer takes a piece by moving `head`, copies its line in and then stores the record's size,
 * which hands it over; the writer takes records in order as far as their sizes are there, and gives the space back
 * as zeros by moving `tail`. No producer ever waits: without room a line is counted and gone.
 *
 *        tail                                  head
 *     0   |  size line  size line  size  (…)    |   0 0 0 0      positions only grow; their place in the ring
 *     ----+-------------------------------------+------------    is the position modulo its size
 *            handed over            being copied
 *
 * The writer sleeps until a line comes, then looks again every few milliseconds while lines come: under load nobody
 * pays for waking it.
 *
 *     AWAKE -- nothing there --> NAPPING -- still nothing --> ASLEEP
 *       ^  <-- time is up, half full, flush, stop --+             |
 *       +-- a line --------------------------------------------- +
 */
#include "log_internal.h"

#include "base/clock.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_BYTES = 64, /* of a cache line */
    RECORD_ALIGN = 8,
    SIZE_BYTES = 8, /* of the size before each line */
    NAP_MS = 5,
    REWIND_BYTES = 64 * 1024, /* an empty queue begins anew behind this: a quiet log touches little memory */
    CHUNK_BYTES = 16 * 1024,  /* written at once to files */
    FALLBACK_CHUNK_BYTES = 512,
    WRITER_STACK_BYTES = 128 * 1024,
    LOOK_MS = 50, /* how often a writer that waits for its reader looks whether to stop */
    LOST_REPORT_MS = 1000,
};
/* In a record's size: no line, only the rest of the ring's end. */
#define SKIP_BIT (UINT64_C(1) << 63)

enum writer_state { WRITER_AWAKE, WRITER_NAPPING, WRITER_ASLEEP };

struct log_queue { /* NOLINT(clang-analyzer-optin.performance.Padding): what threads write lies in lines of its own */
    /* Set before the writer starts. */
    struct log_queue_options options;
    char *ring;
    uint64_t bytes;              /* of the ring; a power of two */
    _Atomic bool is_synchronous; /* always, or until the writer is started */
    pthread_t thread;
    bool has_thread;
    int fd;       /* to write to: the caller's, or a non-blocking one of our own of the same file */
    bool owns_fd; /* the latter */
    bool is_target_open;
    bool is_socket;
    bool may_block; /* neither: written in small pieces after a poll */
    size_t chunk_bytes;

    /* Shared by producers. */
    _Atomic uint64_t head __attribute__((aligned(LINE_BYTES)));
    _Atomic uint64_t dropped;

    /* Written by the writer, read by producers. */
    _Atomic uint64_t tail __attribute__((aligned(LINE_BYTES)));
    _Atomic uint32_t state; /* enum writer_state; a futex */

    /* Between the writer and those who flush or stop. */
    _Atomic uint64_t written __attribute__((aligned(LINE_BYTES))); /* all lines before this position are out */
    _Atomic uint32_t written_futex;                                /* counts changes of `written` */
    _Atomic uint32_t flushers;
    _Atomic bool stopping;
    _Atomic bool giving_up; /* what cannot be written at once is lost */
    _Atomic bool ended;

    /* The writer's own; of a synchronous queue: under the mutex. */
    pthread_mutex_t mutex;
    uint64_t reported; /* of `dropped` */
    int64_t reported_ms;
    uint32_t chunk_lines;
    size_t chunk_len;
    char chunk[CHUNK_BYTES];
};

static void futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t timeout_ms)
{
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000};

    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ms < 0 ? NULL : &timeout, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void wake_writer(struct log_queue *queue)
{
    if (atomic_exchange(&queue->state, WRITER_AWAKE) != WRITER_AWAKE)
        futex_wake(&queue->state);
}

/* Producers. */
static _Atomic uint64_t *size_at(const struct log_queue *queue, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)(queue->ring + (position & (queue->bytes - 1)));
}

static uint64_t record_bytes(size_t line_bytes)
{
    return SIZE_BYTES + (line_bytes + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

/* Takes a piece of the ring that does not wrap. @returns false when there is no room. */
static bool reserve(struct log_queue *queue, uint64_t record, uint64_t *ret_position, uint64_t *ret_head)
{
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_relaxed), skip, next;

    do {
        uint64_t to_end = queue->bytes - (head & (queue->bytes - 1));

        skip = to_end < record ? to_end : 0;
        next = head + skip + record;
        if (next - atomic_load_explicit(&queue->tail, memory_order_acquire) > queue->bytes)
            return false;
    } while (
        !atomic_compare_exchange_weak_explicit(&queue->head, &head, next, memory_order_relaxed, memory_order_relaxed));
    if (skip > 0)
        atomic_store(size_at(queue, head), SKIP_BIT | skip);
    *ret_position = head + skip;
    *ret_head = next;
    return true;
}

static bool put_synchronous(struct log_queue *queue, proa_str line);

/* To the writer. */
static void put_queued(struct log_queue *queue, proa_str line)
{
    uint64_t position, head;
    uint32_t state;

    if (!reserve(queue, record_bytes(line.len), &position, &head)) {
        atomic_fetch_add_explicit(&queue->dropped, 1, memory_order_relaxed);
        return;
    }
    memcpy(queue->ring + (position & (queue->bytes - 1)) + SIZE_BYTES, line.ptr, line.len);
    /* Sequentially consistent like the writer's change of state and its look behind it: one of the two sees the
     * other's. */
    atomic_store(size_at(queue, position), line.len);
    state = atomic_load(&queue->state);
    if (state == WRITER_ASLEEP ||
        (state == WRITER_NAPPING && head - atomic_load_explicit(&queue->tail, memory_order_relaxed) > queue->bytes / 2))
        wake_writer(queue);
}

void log_queue_put(struct log_queue *queue, proa_str line)
{
    assert(line.len > 0 && line.len <= LOG_LINE_MAX);
    if (!atomic_load_explicit(&queue->is_synchronous, memory_order_acquire) || !put_synchronous(queue, line))
        put_queued(queue, line);
}

/* The writer. */

/* Waits until the descriptor takes bytes. @returns false when the rest is to be given up. */
static bool wait_writable(struct log_queue *queue)
{
    struct pollfd poll_fd = {.fd = queue->fd, .events = POLLOUT};

    while (!atomic_load(&queue->giving_up)) {
        int ready = poll(&poll_fd, 1, LOOK_MS);

        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
    return false;
}

static ssize_t write_some(struct log_queue *queue, const char *bytes, size_t count)
{
    if (queue->is_socket)
        return send(queue->fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (queue->may_block) {
        if (!wait_writable(queue)) {
            errno = EIO;
            return -1;
        }
        return write(queue->fd, bytes, count < FALLBACK_CHUNK_BYTES ? count : FALLBACK_CHUNK_BYTES);
    }
    return write(queue->fd, bytes, count);
}

/* @returns false when they are lost: nobody reads any more, or the disk is full. */
static bool write_all(struct log_queue *queue, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write_some(queue, bytes, count);

        if (written >= 0) {
            bytes += written;
            count -= (size_t)written;
            continue;
        }
        if (errno == EINTR || ((errno == EAGAIN || errno == EWOULDBLOCK) && wait_writable(queue)))
            continue;
        return false;
    }
    return true;
}

static void write_chunk(struct log_queue *queue)
{
    if (queue->chunk_len > 0 && !write_all(queue, queue->chunk, queue->chunk_len))
        atomic_fetch_add_explicit(&queue->dropped, queue->chunk_lines, memory_order_relaxed);
    queue->chunk_len = 0;
    queue->chunk_lines = 0;
}

/* Tells of lost lines once there is room again, at most once a second. */
static void report_lost(struct log_queue *queue)
{
    uint64_t dropped = atomic_load_explicit(&queue->dropped, memory_order_relaxed);
    int64_t now;

    if (dropped == queue->reported)
        return;
    now = clock_now_ms();
    if (queue->reported_ms != 0 && now - queue->reported_ms < LOST_REPORT_MS && !atomic_load(&queue->stopping))
        return;
    queue->chunk_len = queue->options.lost_line(queue->options.arg, dropped - queue->reported, queue->chunk);
    queue->reported = dropped;
    queue->reported_ms = now;
    if (!write_all(queue, queue->chunk, queue->chunk_len))
        queue->reported_ms = now; /* who does not read lines does not read this one; the count has it all */
    queue->chunk_len = 0;
}

static void give_back(struct log_queue *queue, uint64_t from, uint64_t bytes)
{
    memset(queue->ring + (from & (queue->bytes - 1)), 0, bytes);
    atomic_store_explicit(&queue->tail, from + bytes, memory_order_release);
}

/* Moves handed-over lines into the chunk until it is full. @returns whether there were any records. */
static bool fill_chunk(struct log_queue *queue)
{
    uint64_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed), begin = tail;

    for (;;) {
        uint64_t size = atomic_load(size_at(queue, tail)), bytes;

        if (size == 0)
            break;
        if (size & SKIP_BIT) {
            bytes = size & ~SKIP_BIT;
        } else {
            if (queue->chunk_len + size > queue->chunk_bytes && queue->chunk_len > 0)
                break;
            memcpy(queue->chunk + queue->chunk_len, queue->ring + (tail & (queue->bytes - 1)) + SIZE_BYTES, size);
            queue->chunk_len += size;
            queue->chunk_lines++;
            bytes = record_bytes(size);
        }
        give_back(queue, tail, bytes);
        tail += bytes;
    }
    return tail != begin;
}

static void tell_written(struct log_queue *queue)
{
    atomic_store(&queue->written, atomic_load_explicit(&queue->tail, memory_order_relaxed));
    atomic_fetch_add(&queue->written_futex, 1);
    if (atomic_load(&queue->flushers) > 0)
        futex_wake(&queue->written_futex);
}

static bool write_queued(struct log_queue *queue)
{
    bool any = false;

    while (fill_chunk(queue)) {
        any = true;
        write_chunk(queue);
        tell_written(queue);
        report_lost(queue);
    }
    return any;
}

/* An empty queue goes on at the ring's beginning. */
static void rewind_ring(struct log_queue *queue)
{
    uint64_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed), expected = tail;
    uint64_t offset = tail & (queue->bytes - 1);

    if (offset < REWIND_BYTES)
        return;
    if (atomic_compare_exchange_strong(&queue->head, &expected, tail + queue->bytes - offset)) {
        atomic_store_explicit(&queue->tail, tail + queue->bytes - offset, memory_order_release);
        tell_written(queue);
    }
}

/* Goes to a state of rest, and rests unless a line came meanwhile. */
static void rest(struct log_queue *queue, uint32_t state, int64_t timeout_ms)
{
    atomic_store(&queue->state, state);
    if (atomic_load(size_at(queue, atomic_load_explicit(&queue->tail, memory_order_relaxed))) == 0 &&
        !atomic_load(&queue->stopping))
        futex_wait(&queue->state, state, timeout_ms);
    atomic_store(&queue->state, WRITER_AWAKE);
}

static void nap(struct log_queue *queue)
{
    if (atomic_load(&queue->flushers) > 0 || atomic_load(&queue->stopping))
        return;
    atomic_store(&queue->state, WRITER_NAPPING);
    if (atomic_load(&queue->flushers) == 0 && !atomic_load(&queue->stopping))
        futex_wait(&queue->state, WRITER_NAPPING, NAP_MS);
    atomic_store(&queue->state, WRITER_AWAKE);
}

static void *writer_main(void *arg)
{
    struct log_queue *queue = arg;

    for (;;) {
        bool stopping = atomic_load(&queue->stopping);

        if (write_queued(queue)) {
            nap(queue);
            continue;
        }
        report_lost(queue);
        if (stopping)
            break;
        rewind_ring(queue);
        rest(queue, WRITER_ASLEEP, queue->reported != atomic_load(&queue->dropped) ? LOST_REPORT_MS : -1);
    }
    atomic_store(&queue->ended, true);
    atomic_fetch_add(&queue->written_futex, 1);
    futex_wake(&queue->written_futex);
    return NULL;
}

/* As much as is taken at once. @returns how much that is, or -1. */
static ssize_t write_at_once(struct log_queue *queue, proa_str line)
{
    struct pollfd poll_fd = {.fd = queue->fd, .events = POLLOUT};
    size_t done = 0;

    while (done < line.len) {
        ssize_t written;

        if (queue->may_block && poll(&poll_fd, 1, 0) <= 0)
            return (ssize_t)done;
        written = write_some(queue, line.ptr + done, line.len - done);
        if (written >= 0)
            done += (size_t)written;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return (ssize_t)done;
        else if (errno != EINTR)
            return -1;
    }
    return (ssize_t)done;
}

static int start_locked(struct log_queue *queue);

/* The writer sees to what is not taken at once. @returns false when that is lost, too. */
static bool write_or_start(struct log_queue *queue, proa_str line)
{
    ssize_t written = write_at_once(queue, line);
    int os_errno = errno;

    if (written >= 0 && (size_t)written < line.len) {
        if (start_locked(queue) != 0)
            return false;
        put_queued(queue, proa_str_slice(line, (size_t)written, line.len));
        atomic_store_explicit(&queue->is_synchronous, false, memory_order_release);
        return true;
    }
    errno = os_errno;
    return written >= 0;
}

/* Blocks SIGPIPE for the calling thread while it writes, and takes back the one it caused. @returns false when the
 * writer was started meanwhile: nothing is done then. */
static bool put_synchronous(struct log_queue *queue, proa_str line)
{
    static const struct timespec at_once;
    sigset_t pipe_set, old, pending;
    bool was_pending, is_synchronous;

    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
    pthread_mutex_lock(&queue->mutex);
    is_synchronous = atomic_load_explicit(&queue->is_synchronous, memory_order_relaxed);
    if (is_synchronous &&
        !(queue->options.late_writer ? write_or_start(queue, line) : write_all(queue, line.ptr, line.len))) {
        atomic_fetch_add_explicit(&queue->dropped, 1, memory_order_relaxed);
        if (errno == EPIPE && !was_pending)
            while (sigtimedwait(&pipe_set, NULL, &at_once) < 0 && errno == EINTR)
                ;
    }
    pthread_mutex_unlock(&queue->mutex);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return is_synchronous;
}

/* Making and ending. */

/* A slow reader must not hold the writer in the system, where a stop could not reach it. Setting O_NONBLOCK would
 * hit everybody who shares the descriptor; the same file opened anew has a mode of its own. */
static void open_target(struct log_queue *queue)
{
    char path[64];
    struct stat info;

    if (queue->is_target_open)
        return;
    queue->is_target_open = true;
    queue->chunk_bytes = LOG_LINE_MAX; /* what a pipe takes whole, so that no other writer's bytes come between */
    if (fstat(queue->fd, &info) < 0)
        return;
    queue->is_socket = S_ISSOCK(info.st_mode);
    if (S_ISREG(info.st_mode))
        queue->chunk_bytes = CHUNK_BYTES;
    if (!S_ISFIFO(info.st_mode) && !S_ISCHR(info.st_mode))
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", queue->fd);
    queue->fd = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    queue->owns_fd = queue->fd >= 0;
    if (!queue->owns_fd) {
        queue->fd = queue->options.fd;
        queue->may_block = true;
    }
}

static int start_writer(struct log_queue *queue)
{
    pthread_attr_t attributes;
    sigset_t all, old;
    int rc;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WRITER_STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    rc = pthread_create(&queue->thread, &attributes, writer_main, queue);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    if (rc == 0) {
        pthread_setname_np(queue->thread, "log");
        queue->has_thread = true;
    }
    return rc;
}

static void close_target(struct log_queue *queue)
{
    if (queue->owns_fd)
        close(queue->fd);
    queue->owns_fd = false;
    queue->is_target_open = false;
    queue->fd = queue->options.fd;
}

static void queue_done(struct log_queue *queue)
{
    close_target(queue);
    if (queue->ring)
        munmap(queue->ring, queue->bytes);
    pthread_mutex_destroy(&queue->mutex);
    free(queue);
}

/* The ring and the writer, to whom nobody gives lines yet. @returns 0 or an errno. */
static int start_locked(struct log_queue *queue)
{
    void *ring = mmap(NULL, queue->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int rc;

    if (ring == MAP_FAILED)
        return ENOMEM;
    queue->ring = ring;
    open_target(queue);
    rc = start_writer(queue);
    if (rc == 0)
        return 0;
    munmap(queue->ring, queue->bytes);
    queue->ring = NULL;
    if (!queue->options.late_writer)
        close_target(queue);
    return rc;
}

int log_queue_start(struct log_queue *queue, struct proa_error *err)
{
    int rc = 0;

    /* Whoever writes in his own thread just now is through before the descriptor changes. */
    pthread_mutex_lock(&queue->mutex);
    if (!queue->has_thread)
        rc = start_locked(queue);
    if (rc == 0)
        atomic_store_explicit(&queue->is_synchronous, false, memory_order_release);
    pthread_mutex_unlock(&queue->mutex);
    return rc ? proa_fail_errno(err, rc, "starting the log's thread") : 0;
}

int log_queue_new(const struct log_queue_options *options, struct log_queue **ret_queue, struct proa_error *err)
{
    struct log_queue *queue = NULL;
    int rc;

    if (posix_memalign((void **)&queue, LINE_BYTES, sizeof *queue) != 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    memset(queue, 0, offsetof(struct log_queue, chunk));
    queue->options = *options;
    queue->bytes = options->bytes;
    queue->fd = options->fd;
    pthread_mutex_init(&queue->mutex, NULL);
    atomic_store(&queue->is_synchronous, true);
    if (options->late_writer)
        open_target(queue);
    rc = options->synchronous || options->late_writer ? 0 : log_queue_start(queue, err);
    if (rc < 0) {
        queue_done(queue);
        return rc;
    }
    *ret_queue = queue;
    return 0;
}

void log_queue_flush(struct log_queue *queue, uint32_t timeout_ms)
{
    int64_t until = clock_now_ms() + timeout_ms, left;
    uint64_t target = atomic_load(&queue->head);

    if (atomic_load_explicit(&queue->is_synchronous, memory_order_acquire))
        return;
    atomic_fetch_add(&queue->flushers, 1);
    wake_writer(queue);
    for (;;) {
        uint32_t change = atomic_load(&queue->written_futex);

        left = until - clock_now_ms();
        if (atomic_load(&queue->written) >= target || left <= 0 || atomic_load(&queue->ended))
            break;
        futex_wait(&queue->written_futex, change, left);
    }
    atomic_fetch_sub(&queue->flushers, 1);
}

static bool wait_ended(struct log_queue *queue, int64_t timeout_ms)
{
    int64_t until = clock_now_ms() + timeout_ms, left;

    while (!atomic_load(&queue->ended)) {
        uint32_t change = atomic_load(&queue->written_futex);

        left = until - clock_now_ms();
        if (left <= 0)
            return false;
        atomic_fetch_add(&queue->flushers, 1);
        if (!atomic_load(&queue->ended))
            futex_wait(&queue->written_futex, change, left);
        atomic_fetch_sub(&queue->flushers, 1);
    }
    return true;
}

bool log_queue_free(struct log_queue *queue, uint32_t timeout_ms)
{
    enum { GIVE_UP_MS = 500 };

    if (queue->has_thread) {
        atomic_store(&queue->stopping, true);
        wake_writer(queue);
        if (!wait_ended(queue, timeout_ms)) {
            atomic_store(&queue->giving_up, true);
            if (!wait_ended(queue, GIVE_UP_MS)) {
                pthread_detach(queue->thread);
                return false;
            }
        }
        pthread_join(queue->thread, NULL);
    }
    queue_done(queue);
    return true;
}

uint64_t log_queue_dropped(const struct log_queue *queue)
{
    return atomic_load_explicit(&queue->dropped, memory_order_relaxed);
}

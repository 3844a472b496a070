/* The load generator of `make figures`: one thread, epoll, over 127.0.0.1. It checks each answer (status, and that all have one
 * length) and prints one JSON object. What it costs itself is not part of any figure: those are the server's CPU seconds.
 *
 *  load run   --port P [--connections N] [--depth D] [--requests R] [--ids FIRST:COUNT] REQUEST
 *             N keep-alive connections, each with D requests in flight, which leave in one write. {id} in the
 *             request becomes the next number of FIRST..FIRST+COUNT-1.
 *  load idle  --port P [--connections N] REQUEST
 *             Opens N connections one after the other with one request each, prints, and holds them until stdin ends.
 *  load start --port P REQUEST PROGRAM [ARGUMENT...]
 *             Milliseconds from just before exec of the program to the end of its first 200.
 *  load show  --port P REQUEST
 *             Prints the answer as it came.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 20000,
    DEPTH_MAX = 128,
    REQUEST_MAX = 2048,  /* bytes of one request */
    ANSWERS_MAX = 65536, /* bytes of answers that wait for their rest */
    EVENTS = 128,
    STUCK_MS = 10000,       /* no answer for so long ends the run */
    START_LIMIT_MS = 10000, /* for the first 200 after exec */
    BUCKETS = 64 * 8,
};

struct options {
    unsigned long port, connections, depth, requests, first_id, ids;
    const char *request;
    char **program; /* of `load start`, ended by NULL */
};

struct connection {
    int fd;
    unsigned in_flight;
    uint64_t sent_ns;
    size_t have; /* bytes in `answers` */
    char *answers;
};

/* One run's state and result. */
struct run {
    const struct options *options;
    int epoll_fd;
    unsigned long to_send, sent, answered, errors, next_id;
    size_t answer_bytes; /* of the first answer; the others must be as long */
    uint32_t latencies[BUCKETS];
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* Buckets are an eighth of a power of two wide. */
static unsigned bucket_of(uint64_t ns)
{
    unsigned power = 63 - (unsigned)__builtin_clzll(ns | 8);

    return power * 8 + (unsigned)(ns >> (power - 3)) % 8;
}

static double quantile_us(const uint32_t *latencies, double share)
{
    uint64_t total = 0, below = 0;
    unsigned bucket = 0;

    for (unsigned i = 0; i < BUCKETS; i++)
        total += latencies[i];
    for (; bucket < BUCKETS - 1 && (double)(below += latencies[bucket]) < share * (double)total; bucket++)
        continue;
    return (double)(8 + bucket % 8 + 1) * (double)(1ULL << (bucket / 8)) / 8 / 1000; /* the bucket's upper end */
}

/* @returns the length of the first whole answer in these bytes, 0 when its rest is missing, -1 when it is none. */
static ssize_t read_answer(const char *bytes, size_t len, int *ret_status)
{
    const char *end = memmem(bytes, len, "\r\n\r\n", 4), *line;
    static const char name[] = "content-length:";
    size_t content = SIZE_MAX;

    if (end == NULL)
        return len > REQUEST_MAX * 4 ? -1 : 0;
    if (end - bytes < 12 || memcmp(bytes, "HTTP/1.1 ", 9) != 0)
        return -1;
    *ret_status = (bytes[9] - '0') * 100 + (bytes[10] - '0') * 10 + (bytes[11] - '0');
    for (line = bytes; line < end; line = (const char *)memchr(line, '\n', (size_t)(end + 2 - line)) + 1)
        if (strncasecmp(line, name, sizeof(name) - 1) == 0)
            content = strtoul(line + sizeof(name) - 1, NULL, 10); /* the head's end stops it */
    if (content > ANSWERS_MAX)
        return -1;
    content += (size_t)(end + 4 - bytes);
    return content <= len ? (ssize_t)content : 0;
}

static int connect_to(unsigned long port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0)
        die("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

/* The request with {id} filled in. @returns its length. */
static size_t write_request(struct run *run, char *out)
{
    const struct options *options = run->options;
    const char *mark = strstr(options->request, "{id}");
    size_t len = mark == NULL ? strlen(options->request) : (size_t)(mark - options->request);

    memcpy(out, options->request, len);
    if (mark != NULL)
        len += (size_t)snprintf(out + len, REQUEST_MAX - len, "%lu%s",
                                options->first_id + run->next_id++ % options->ids, mark + 4);
    return len;
}

static void send_all(int fd, const char *bytes, size_t len)
{
    /* A blocking send: what leaves in one write is far below a socket's buffer. */
    for (ssize_t sent; len > 0; bytes += sent, len -= (size_t)sent)
        if ((sent = send(fd, bytes, len, MSG_NOSIGNAL)) < 0)
            break; /* the answer's absence is counted */
}

static void send_batch(struct run *run, struct connection *connection)
{
    static char bytes[DEPTH_MAX * REQUEST_MAX];
    unsigned long left = run->to_send - run->sent;
    unsigned count = (unsigned)(left < run->options->depth ? left : run->options->depth);
    size_t len = 0;

    for (unsigned i = 0; i < count; i++)
        len += write_request(run, bytes + len);
    run->sent += count;
    connection->in_flight = count;
    connection->sent_ns = now_ns();
    send_all(connection->fd, bytes, len);
}

static void open_connection(struct run *run, struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

    connection->fd = connect_to(run->options->port);
    connection->have = 0;
    if (connection->fd < 0 || epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        die("connect");
}

/* The server hung up, or answers what is no HTTP: what was in flight counts as errors, and it goes on with a new connection. */
static void reopen(struct run *run, struct connection *connection)
{
    run->answered += connection->in_flight;
    run->errors += connection->in_flight > 0 ? connection->in_flight : 1;
    close(connection->fd);
    open_connection(run, connection);
    send_batch(run, connection);
}

static bool take_answers(struct run *run, struct connection *connection)
{
    size_t taken = 0;
    ssize_t len;
    int status;

    while ((len = read_answer(connection->answers + taken, connection->have - taken, &status)) > 0) {
        if (connection->in_flight == 0)
            return false;
        if (run->answer_bytes == 0)
            run->answer_bytes = (size_t)len;
        run->errors += status != 200 || (size_t)len != run->answer_bytes;
        run->answered++;
        connection->in_flight--;
        taken += (size_t)len;
    }
    connection->have -= taken;
    memmove(connection->answers, connection->answers + taken, connection->have);
    return len == 0;
}

static void on_readable(struct run *run, struct connection *connection)
{
    ssize_t len = recv(connection->fd, connection->answers + connection->have, ANSWERS_MAX - connection->have, 0);

    if (len <= 0) {
        reopen(run, connection);
        return;
    }
    connection->have += (size_t)len;
    if (!take_answers(run, connection)) {
        reopen(run, connection);
        return;
    }
    if (connection->in_flight > 0)
        return;
    run->latencies[bucket_of(now_ns() - connection->sent_ns)]++;
    if (run->sent < run->to_send)
        send_batch(run, connection);
}

static int run_load(const struct options *options)
{
    struct run run = {.options = options, .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .to_send = options->requests};
    struct connection *connections = calloc(options->connections, sizeof(*connections));
    uint64_t began;

    for (size_t i = 0; i < options->connections; i++) {
        connections[i].answers = malloc(ANSWERS_MAX);
        open_connection(&run, &connections[i]);
    }
    began = now_ns();
    for (size_t i = 0; i < options->connections && run.sent < run.to_send; i++)
        send_batch(&run, &connections[i]);
    while (run.answered < run.to_send && run.errors <= run.to_send) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(run.epoll_fd, events, EVENTS, STUCK_MS);

        if (count == 0) {
            run.errors += run.to_send - run.answered;
            break;
        }
        for (int i = 0; i < count; i++)
            on_readable(&run, events[i].data.ptr);
    }
    printf("{\"requests\": %lu, \"errors\": %lu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"answer_bytes\": %zu}\n",
           run.answered, run.errors, (double)(now_ns() - began) / 1e9, quantile_us(run.latencies, 0.5),
           quantile_us(run.latencies, 0.99), run.answer_bytes);
    for (size_t i = 0; i < options->connections; i++) {
        close(connections[i].fd);
        free(connections[i].answers);
    }
    free(connections);
    close(run.epoll_fd);
    return run.errors == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Asks once and waits for the whole answer. @returns its length, or -1. */
static ssize_t ask(int fd, const char *request, char *answer, int *ret_status)
{
    size_t have = 0;
    ssize_t len;

    send_all(fd, request, strlen(request));
    for (;;) {
        ssize_t got = recv(fd, answer + have, ANSWERS_MAX - have, 0);

        if (got <= 0)
            return -1;
        have += (size_t)got;
        len = read_answer(answer, have, ret_status);
        if (len != 0)
            return len;
    }
}

static char answer[ANSWERS_MAX];

static int hold_idle(const struct options *options)
{
    int status = 0;

    for (unsigned long i = 0; i < options->connections; i++) {
        int fd = connect_to(options->port);

        if (fd < 0)
            die("connect");
        if (ask(fd, options->request, answer, &status) < 0 || status != 200) {
            fprintf(stderr, "load: connection %lu was answered %d\n", i + 1, status);
            return EXIT_FAILURE;
        }
    }
    printf("{\"connections\": %lu}\n", options->connections);
    fflush(stdout);
    while (read(STDIN_FILENO, answer, sizeof(answer)) > 0)
        continue;
    return EXIT_SUCCESS;
}

static int show(const struct options *options)
{
    int status = 0, fd = connect_to(options->port);
    ssize_t len = fd < 0 ? -1 : ask(fd, options->request, answer, &status);

    if (len < 0)
        return EXIT_FAILURE;
    fwrite(answer, 1, (size_t)len, stdout);
    return status == 200 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Tries without a pause that could be measured, until there is a 200. */
static bool wait_for_200(const struct options *options, uint64_t began)
{
    const struct timespec pause = {.tv_nsec = 20000};

    while (now_ns() - began < START_LIMIT_MS * 1000000ULL) {
        int status = 0, fd = connect_to(options->port);
        bool is_answered = fd >= 0 && ask(fd, options->request, answer, &status) > 0;

        if (fd >= 0)
            close(fd);
        if (is_answered && status == 200)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

static int measure_start(const struct options *options)
{
    uint64_t began, took;
    bool is_answered;
    int status;
    pid_t pid;

    prctl(PR_SET_TIMERSLACK, 1UL);
    began = now_ns();
    errno = posix_spawn(&pid, options->program[0], NULL, NULL, options->program, environ);
    if (errno != 0)
        die(options->program[0]);
    is_answered = wait_for_200(options, began);
    took = now_ns() - began;
    kill(pid, SIGINT);
    waitpid(pid, &status, 0);
    printf("{\"start_ms\": %.3f}\n", (double)took / 1e6);
    return is_answered ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool read_options(struct options *options, int argc, char **argv)
{
    int i = 2;

    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        char *rest;
        unsigned long value = strtoul(argv[i + 1], &rest, 10);

        if (strcmp(argv[i], "--port") == 0)
            options->port = value;
        else if (strcmp(argv[i], "--connections") == 0)
            options->connections = value;
        else if (strcmp(argv[i], "--depth") == 0)
            options->depth = value;
        else if (strcmp(argv[i], "--requests") == 0)
            options->requests = value;
        else if (strcmp(argv[i], "--ids") == 0 && *rest == ':') {
            options->first_id = value;
            options->ids = strtoul(rest + 1, NULL, 10);
        } else
            return false;
    }
    if (i >= argc)
        return false;
    options->request = argv[i];
    options->program = argv + i + 1;
    return strlen(options->request) < REQUEST_MAX - 20 && options->ids > 0 && options->depth > 0 &&
           options->depth <= DEPTH_MAX && options->connections > 0 && options->connections <= CONNECTIONS_MAX;
}

int main(int argc, char **argv)
{
    struct options options = {.port = 8080, .connections = 64, .depth = 1, .requests = 100000, .ids = 1};
    struct rlimit files;

    if (argc < 3 || !read_options(&options, argc, argv)) {
        fprintf(stderr, "usage: load run|idle|start|show [OPTION...] REQUEST [PROGRAM...]: see load.c\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && strcmp(argv[1], "start") != 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (strcmp(argv[1], "run") == 0)
        return run_load(&options);
    if (strcmp(argv[1], "idle") == 0)
        return hold_idle(&options);
    if (strcmp(argv[1], "show") == 0)
        return show(&options);
    return strcmp(argv[1], "start") == 0 && options.program[0] != NULL ? measure_start(&options) : 2;
}

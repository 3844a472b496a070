/* The yardstick of `make figures`: what serving HTTP costs at least on this machine. One thread, level-triggered epoll, one
 * read an event, a canned answer for each end of a head ("\r\n\r\n") it has seen, all answers of one read in one write.
 * It parses nothing, so nothing that reads HTTP can do with fewer system calls or instructions.
 *
 * Usage: epoll_loop PORT [FILE]   FILE holds the answer's bytes; by default those of hello's GET /api/users/{id}.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 65536, READ_BYTES = 65536, ANSWER_MAX = 4096, BURST = 64, EVENTS = 128 };

/* A connection is known by its descriptor. */
struct connection {
    uint32_t unsent_bytes; /* of answers that are owed */
    uint8_t end_seen;      /* how much of "\r\n\r\n" the bytes read so far end with: 0..3 */
};
static struct connection connections[CONNECTIONS_MAX];
static char answers[BURST * ANSWER_MAX]; /* the answer, BURST times */
static size_t answer_len;
static int epoll_fd;

static const char default_answer[] = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
                                     "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 7\r\n\r\nUser 42";

/* How many heads end in these bytes. */
static uint32_t count_heads(struct connection *connection, const char *bytes, size_t len)
{
    const char *end = bytes + len;
    uint32_t heads = 0;

    while (connection->end_seen > 0 && bytes < end) { /* an end that began in the last read */
        char wanted = connection->end_seen % 2 == 0 ? '\r' : '\n';

        if (*bytes != wanted) {
            connection->end_seen = 0;
            break;
        }
        bytes++;
        connection->end_seen = (connection->end_seen + 1) % 4;
        heads += connection->end_seen == 0;
    }
    for (const char *at; bytes < end && (at = memmem(bytes, (size_t)(end - bytes), "\r\n\r\n", 4)) != NULL; heads++)
        bytes = at + 4;
    for (uint8_t seen = 3; seen > 0 && connection->end_seen == 0; seen--)
        if (end - bytes >= seen && memcmp(end - seen, "\r\n\r", seen) == 0)
            connection->end_seen = seen;
    return heads;
}

/* Sends what is owed; asks to be told when a full socket takes more. */
static bool send_answers(int fd, struct connection *connection, bool was_full)
{
    while (connection->unsent_bytes > 0) {
        size_t skip = (answer_len - connection->unsent_bytes % answer_len) % answer_len;
        size_t len = answer_len * BURST - skip;
        ssize_t sent =
            send(fd, answers + skip, len < connection->unsent_bytes ? len : connection->unsent_bytes, MSG_NOSIGNAL);

        if (sent < 0 && errno == EAGAIN) {
            struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};

            return was_full || epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0;
        }
        if (sent < 0)
            return false;
        connection->unsent_bytes -= (uint32_t)sent;
    }
    if (was_full) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

        return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0;
    }
    return true;
}

static bool serve(int fd, uint32_t events)
{
    static char bytes[READ_BYTES];
    struct connection *connection = &connections[fd];
    ssize_t len;

    if (events & EPOLLOUT)
        return send_answers(fd, connection, true);
    len = recv(fd, bytes, sizeof(bytes), 0);
    if (len <= 0)
        return len < 0 && errno == EAGAIN;
    connection->unsent_bytes += count_heads(connection, bytes, (size_t)len) * (uint32_t)answer_len;
    return send_answers(fd, connection, false);
}

static void accept_all(int listener)
{
    int fd, on = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (fd >= CONNECTIONS_MAX || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            close(fd);
        else
            connections[fd] = (struct connection){0};
    }
}

static int listen_on(unsigned long port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0 ||
        (epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        perror("epoll_loop");
        exit(EXIT_FAILURE);
    }
    return fd;
}

int main(int argc, char **argv)
{
    FILE *file = argc > 2 ? fopen(argv[2], "r") : NULL;
    int listener = listen_on(argc > 1 ? strtoul(argv[1], NULL, 10) : 8081);

    memcpy(answers, default_answer, answer_len = sizeof(default_answer) - 1);
    if (argc > 2 && (file == NULL || (answer_len = fread(answers, 1, ANSWER_MAX, file)) == 0))
        return EXIT_FAILURE;
    for (size_t i = 1; i < BURST; i++)
        memcpy(answers + i * answer_len, answers, answer_len);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;

            if (fd == listener)
                accept_all(listener);
            else if (!serve(fd, events[i].events))
                close(fd);
        }
    }
}

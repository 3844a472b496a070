/* --health-check: what a container's own probe runs. A client of its own, without a loop: it must say yes or no within
 * 3 s whatever state the instance is in. */
#include "app_internal.h"

#include "base/clock.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TIMEOUT_MS = 2500, ANSWER_BYTES = 1024 };

struct target {
    struct sockaddr_storage address;
    socklen_t bytes;
};

static int say_no(const char *format, ...) PROA_PRINTF(1, 2);
static int say_no(const char *format, ...)
{
    va_list args;

    fputs("health check: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return EXIT_FAILURE_CODE;
}

static bool is_any(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0 || strcmp(address, "[::]") == 0;
}

/* Where the instance answers on this machine: its own address, or loopback when it listens on all. */
static bool find_target(const struct app_http_config *http, struct target *ret_target)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&ret_target->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&ret_target->address;
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&ret_target->address;
    const char *address = http->address.ptr;
    char bare[INET6_ADDRSTRLEN];

    memset(ret_target, 0, sizeof *ret_target);
    if (strncmp(address, "unix:", 5) == 0) {
        un->sun_family = AF_UNIX;
        ret_target->bytes = sizeof *un;
        return snprintf(un->sun_path, sizeof un->sun_path, "%s", address + 5) < (int)sizeof un->sun_path;
    }
    if (strchr(address, ':')) {
        snprintf(bare, sizeof bare, "%.*s", (int)strcspn(address + (address[0] == '['), "]"),
                 address + (address[0] == '['));
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(http->port);
        ret_target->bytes = sizeof *v6;
        return inet_pton(AF_INET6, is_any(address) ? "::1" : bare, &v6->sin6_addr) == 1;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons(http->port);
    ret_target->bytes = sizeof *v4;
    return inet_pton(AF_INET, is_any(address) || strcmp(address, "localhost") == 0 ? "127.0.0.1" : address,
                     &v4->sin_addr) == 1;
}

/* Waits for the socket until `until`. @returns 0 or an errno. */
static int wait_for(int fd, short events, int64_t until)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};

    for (;;) {
        int64_t now = clock_now_ms();
        int ready = now < until ? poll(&poll_fd, 1, (int)(until - now)) : 0;

        if (ready > 0)
            return 0;
        if (ready == 0)
            return ETIMEDOUT;
        if (errno != EINTR)
            return errno;
    }
}

static int connect_within(int fd, const struct target *target, int64_t until)
{
    int failure = 0;
    socklen_t bytes = sizeof failure;

    if (connect(fd, (const struct sockaddr *)&target->address, target->bytes) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    failure = wait_for(fd, POLLOUT, until);
    if (failure)
        return failure;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &bytes) < 0 ? errno : failure;
}

/* The answer's first line, cut to the buffer. @returns 0 or an errno. */
static int ask(int fd, int64_t until, char *answer)
{
    static const char request[] = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    size_t len = 0;

    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1)
        return errno ? errno : EIO;
    while (len < ANSWER_BYTES - 1 && !memchr(answer, '\n', len)) {
        int failure = wait_for(fd, POLLIN, until);
        ssize_t got = failure ? 0 : recv(fd, answer + len, ANSWER_BYTES - 1 - len, 0);

        if (failure)
            return failure;
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return errno;
        if (got == 0)
            break;
        if (got > 0)
            len += (size_t)got;
    }
    answer[len] = '\0';
    answer[strcspn(answer, "\r\n")] = '\0';
    return 0;
}

int health_check(const struct app_config *config)
{
    int64_t until = clock_now_ms() + TIMEOUT_MS;
    char answer[ANSWER_BYTES] = "";
    struct target target;
    int fd, failure;

    if (config->http.port == 0 && !proa_str_starts_with(config->http.address, PROA_STR("unix:")))
        return say_no("port 0 is a free port that only the instance knows; give --port");
    if (!find_target(&config->http, &target))
        return say_no("%s is no address that can be asked", config->http.address.ptr);
    fd = socket(target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return say_no("no socket: %s", strerror(errno));
    failure = connect_within(fd, &target, until);
    if (failure == 0)
        failure = ask(fd, until, answer);
    close(fd);
    if (failure)
        return say_no("%s", strerror(failure));
    if (strncmp(answer, "HTTP/1.1 200", 12) != 0)
        return say_no("%s", answer[0] ? answer : "no answer");
    return 0;
}

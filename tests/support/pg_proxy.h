/** What stands between a test and its PostgreSQL: forwards until it is stopped; then the test has the sockets. */
#ifndef PROA_TESTS_PG_PROXY_H
#define PROA_TESTS_PG_PROXY_H

#include "postgres.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { PG_PROXY_MAX = 16 };

struct pg_proxy {
    int listener;
    uint16_t server_port;
    char url[512];
    int clients[PG_PROXY_MAX];
    int servers[PG_PROXY_MAX];
    int count;
    pthread_t thread;
    _Atomic bool is_stopped;
};

static inline int pg_proxy_socket(uint16_t port, bool listens, struct sockaddr_in *ret_address)
{
    socklen_t size = sizeof *ret_address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 1 << 16;

    *ret_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    assert_true(fd >= 0);
    if (!listens) {
        assert_int_equal(connect(fd, (struct sockaddr *)ret_address, size), 0);
        return fd;
    }
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)ret_address, size), 0);
    assert_int_equal(listen(fd, PG_PROXY_MAX), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, &size), 0);
    return fd;
}

/* @returns false at the end of `from`. */
static inline bool pg_proxy_forward(int from, int to)
{
    char bytes[16384];
    ssize_t len = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);

    for (ssize_t done = 0, sent; done < len; done += sent) {
        sent = send(to, bytes + done, (size_t)(len - done), MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
    }
    return len > 0;
}

static void *pg_proxy_run(void *arg)
{
    struct pg_proxy *proxy = arg;

    while (!proxy->is_stopped) {
        struct pollfd fds[1 + 2 * PG_PROXY_MAX] = {{.fd = proxy->listener, .events = POLLIN}};
        int count = proxy->count;

        for (int i = 0; i < count; i++) {
            fds[1 + 2 * i] = (struct pollfd){.fd = proxy->clients[i], .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = proxy->servers[i], .events = POLLIN};
        }
        if (poll(fds, 1 + 2 * (nfds_t)count, 10) <= 0)
            continue;
        for (int i = 0; i < count; i++) {
            if ((fds[1 + 2 * i].revents && !pg_proxy_forward(proxy->clients[i], proxy->servers[i])) ||
                (fds[2 + 2 * i].revents && !pg_proxy_forward(proxy->servers[i], proxy->clients[i]))) {
                (void)shutdown(proxy->clients[i], SHUT_RDWR);
                (void)shutdown(proxy->servers[i], SHUT_RDWR);
            }
        }
        if (fds[0].revents && count < PG_PROXY_MAX) {
            struct sockaddr_in address;

            proxy->clients[count] = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
            proxy->servers[count] = pg_proxy_socket(proxy->server_port, false, &address);
            proxy->count++;
        }
    }
    return NULL;
}

static inline void pg_proxy_start(struct pg_proxy *proxy)
{
    static const char host[] = "127.0.0.1:";
    const char *url = pg_url(), *port = strstr(url, host);
    struct sockaddr_in address;
    char *end;

    *proxy = (struct pg_proxy){0};
    assert_non_null(port);
    port += sizeof host - 1;
    proxy->server_port = (uint16_t)strtoul(port, &end, 10);
    proxy->listener = pg_proxy_socket(0, true, &address);
    (void)snprintf(proxy->url, sizeof proxy->url, "%.*s%u%s", (int)(port - url), url, (unsigned)ntohs(address.sin_port),
                   end);
    assert_int_equal(pthread_create(&proxy->thread, NULL, pg_proxy_run, proxy), 0);
}

/** From here nothing is forwarded. Twice is harmless. */
static inline void pg_proxy_stop(struct pg_proxy *proxy)
{
    if (!atomic_exchange(&proxy->is_stopped, true))
        assert_int_equal(pthread_join(proxy->thread, NULL), 0);
}

static inline void pg_proxy_end(struct pg_proxy *proxy)
{
    pg_proxy_stop(proxy);
    for (int i = 0; i < proxy->count; i++) {
        (void)close(proxy->clients[i]);
        (void)close(proxy->servers[i]);
    }
    (void)close(proxy->listener);
}

/** The client's socket on which most lies unread. */
static inline int pg_proxy_fullest(const struct pg_proxy *proxy)
{
    int most = 0, found = -1;

    for (int i = 0; i < proxy->count; i++) {
        int bytes = 0;

        if (ioctl(proxy->clients[i], FIONREAD, &bytes) == 0 && bytes > most) {
            most = bytes;
            found = proxy->clients[i];
        }
    }
    return found;
}

#endif

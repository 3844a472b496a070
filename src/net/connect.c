/* Connecting from a fiber. */
#include "stream_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static int finish(struct proa_loop *loop, int fd, const char *address, struct proa_error *err)
{
    int rc = proa_wait_fd(loop, fd, PROA_WRITABLE, NULL);
    int failure = 0;
    socklen_t len = sizeof failure;

    if (rc < 0)
        return proa_fail(err, rc, "connecting to %s: %s", address, rc == PROA_ETIMEDOUT ? "timed out" : "given up");
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0)
        failure = errno;
    return failure ? proa_fail_errno(err, failure, "connecting to %s", address) : 0;
}

static int connect_fd(struct proa_loop *loop, int fd, const struct sockaddr_storage *to, unsigned len,
                      const char *address, struct proa_error *err)
{
    int on = 1;

    if (to->ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)to, len) == 0)
        return 0;
    if (errno == EINPROGRESS || errno == EINTR)
        return finish(loop, fd, address, err);
    if (errno == EAGAIN) /* of a Unix socket */
        return proa_fail(err, PROA_EUNAVAILABLE, "connecting to %s: its queue of connections is full", address);
    return proa_fail_errno(err, errno, "connecting to %s", address);
}

int proa_connect(struct proa_loop *loop, const char *address, struct proa_stream **ret_stream, struct proa_error *err)
{
    const struct net_ops *simulated = loop->net_ops;
    struct sockaddr_storage storage;
    unsigned len;
    int fd, rc;

    rc = fiber_struck(loop);
    if (rc < 0)
        return proa_fail(err, rc, "connecting to %s: given up", address);
    if (simulated)
        return simulated->connect(loop, address, ret_stream, err);
    PROA_TRY(address_parse(address, &storage, &len, err));
    fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return proa_fail_errno(err, errno, "a socket for %s", address);
    rc = connect_fd(loop, fd, &storage, len, address, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    rc = stream_from_fd(loop, fd, ret_stream);
    return rc < 0 ? proa_fail(err, rc, "connecting to %s: memory is out", address) : 0;
}

/* `install-agent`: this program, copied to where the instance's container finds it. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_MAX_BYTES = 4096, EXECUTABLE = 0755 };

static int fail(const char *what, const char *path)
{
    fprintf(stderr, "database-operator: install-agent: %s %s: %s\n", what, path, strerror(errno));
    return 1;
}

static int copy(int from, int to)
{
    struct stat file;
    off_t at = 0;

    if (fstat(from, &file) < 0)
        return -1;
    while (at < file.st_size) {
        ssize_t sent = sendfile(to, from, &at, (size_t)(file.st_size - at));

        if (sent < 0 && errno != EINTR)
            return -1;
        if (sent == 0) {
            errno = EIO;
            return -1;
        }
    }
    return fchmod(to, EXECUTABLE) < 0 || fsync(to) < 0 ? -1 : 0;
}

int install_agent(const char *folder)
{
    char path[PATH_MAX_BYTES], draft[PATH_MAX_BYTES];
    int from, to, rc;

    if ((size_t)snprintf(path, sizeof path, "%s/database-operator", folder) >= sizeof path ||
        (size_t)snprintf(draft, sizeof draft, "%s/.database-operator.new", folder) >= sizeof draft) {
        errno = ENAMETOOLONG;
        return fail("folder", folder);
    }
    from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return fail("open", "/proc/self/exe");
    to = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, EXECUTABLE);
    if (to < 0) {
        rc = fail("create", draft);
        close(from);
        return rc;
    }
    rc = copy(from, to);
    if (close(to) < 0 || rc < 0)
        rc = fail("write", draft);
    close(from);
    if (rc == 0 && rename(draft, path) < 0)
        rc = fail("rename to", path);
    if (rc != 0)
        unlink(draft);
    return rc;
}

/* SQLite's results as Proa's errors. */
#include "sqlite_internal.h"

#include <string.h>

static int code_of_constraint(int code, const char *message)
{
    switch (code) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID: return PROA_EEXISTS;
    case SQLITE_CONSTRAINT_FOREIGNKEY: return PROA_ECONFLICT;
    default:
        /* ON DELETE RESTRICT is a trigger inside; others are the schema's own rules. */
        return proa_str_starts_with(proa_str_c(message), PROA_STR("FOREIGN KEY")) ? PROA_ECONFLICT : PROA_EVALIDATION;
    }
}

static int code_of(int code, const char *message)
{
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT: return code_of_constraint(code, message);
    case SQLITE_MISMATCH: return PROA_EVALIDATION;
    case SQLITE_NOMEM: return PROA_ENOMEM;
    case SQLITE_TOOBIG: return PROA_ETOOLARGE;
    case SQLITE_INTERRUPT: return PROA_ECANCELED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return PROA_EAGAIN;
    case SQLITE_FULL: return PROA_EUNAVAILABLE;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_CANTOPEN:
    case SQLITE_NOTADB:
    case SQLITE_NOLFS:
    case SQLITE_PROTOCOL: return PROA_EIO;
    default: return PROA_EINTERNAL;
    }
}

bool sqlite_is_fatal(int code)
{
    return code_of(code, "") == PROA_EIO;
}

/* "UNIQUE constraint failed: users.email", "UNIQUE constraint failed: index 'users_email_key'". */
static proa_str constraint_of(const char *message)
{
    static const proa_str before = PROA_STR_INIT("constraint failed: "), index = PROA_STR_INIT("index '");
    proa_str name = proa_str_c(message);
    ptrdiff_t at = proa_str_find(name, before);

    if (at < 0)
        return proa_str_n("", 0);
    name = proa_str_slice(name, (size_t)at + before.len, name.len);
    if (proa_str_starts_with(name, index) && proa_str_ends_with(name, PROA_STR("'")))
        name = proa_str_slice(name, index.len, name.len - 1);
    return name;
}

int sqlite_fail(struct proa_error *err, const struct sqlite_conn *conn, int code, const char *what)
{
    const char *message = conn->handle ? sqlite3_errmsg(conn->handle) : sqlite3_errstr(code);
    int os_errno = conn->handle ? sqlite3_system_errno(conn->handle) : 0;
    int rc = code_of(code, message);
    char reason[128];

    if (rc == PROA_EIO || rc == PROA_EUNAVAILABLE) {
        proa_fail(err, rc, "%s (%s): %s%s%s", what ? what : "SQLite", conn->pool->own->path, message,
                  os_errno ? ": " : "", os_errno ? strerror_r(os_errno, reason, sizeof reason) : "");
        if (err)
            err->os_errno = os_errno;
        return rc;
    }
    proa_fail(err, rc, "SQLite: %s", message);
    if ((code & 0xff) == SQLITE_CONSTRAINT)
        db_set_constraint(err, constraint_of(message));
    return rc;
}

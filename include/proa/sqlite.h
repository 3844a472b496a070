/** The SQLite driver (pkg-config: proa-sqlite): WAL, one writer, readers in parallel, nothing on the loop's thread. */
#ifndef PROA_SQLITE_H
#define PROA_SQLITE_H

#include <proa/db.h>

PROA_BEGIN_DECLS
extern const struct proa_db_driver proa_sqlite_driver;
PROA_END_DECLS
#endif

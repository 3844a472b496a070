/** The PostgreSQL driver (pkg-config: proa-pg): libpq in pipeline mode, few shared connections for single statements. */
#ifndef PROA_PG_H
#define PROA_PG_H

#include <proa/db.h>

PROA_BEGIN_DECLS
extern const struct proa_db_driver proa_pg_driver;
PROA_END_DECLS
#endif

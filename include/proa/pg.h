/** The PostgreSQL driver (pkg-config: proa-pg): libpq in pipeline mode, few shared connections for single statements.
 *
 *  Each loop has its own connections. Shared ones (proa_db_options.shared_connections, at least one a loop) carry up to
 *  64 statements on their way each; more wait in the order of asking. A write has a sync of its own; plain reads that
 *  come together share one, and so a transaction (docs/guide/sql.md; sql.share). Connections of transactions and
 *  long statements (own_connections, shared out over the loops, at least one each) are made when wanted and closed when
 *  unused for a minute; waiting_max is shared out likewise.
 *
 *  A lost server is tried again after 50 ms to 2 s; statements wait up to 1 s for it, then fail at once
 *  (PROA_EUNAVAILABLE, retry_after_s 1). A server that does not answer a shared connection for statement_ms and 2 s is
 *  taken for lost. What was cut off after sending is PROA_EUNKNOWN, but PROA_EUNAVAILABLE where it surely was not kept:
 *  in a transaction before its COMMIT, behind a statement over which the server ended the session, or for texts that
 *  only read (SELECT, SHOW, VALUES, TABLE, WITH without INSERT, UPDATE, DELETE, MERGE or INTO; a function that writes
 *  is not seen).
 *
 *  Parameters go as text whose type the statement gives ($1::uuid, id = $1), bytes in binary. Sessions have time zone
 *  UTC. Texts that control transactions (BEGIN, COMMIT, …) are refused on shared connections; COPY is not supported.
 */
#ifndef PROA_PG_H
#define PROA_PG_H

#include <proa/db.h>

PROA_BEGIN_DECLS
extern const struct proa_db_driver proa_pg_driver;
PROA_END_DECLS
#endif

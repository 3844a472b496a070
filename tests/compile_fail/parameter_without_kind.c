// error: '_Generic' selector of type | ‘_Generic’ selector of type | not compatible with any generic association type
#include <proa/db.h>

int call(struct proa_sql sql, uint64_t id, uint64_t cents);
int call(struct proa_sql sql, uint64_t id, uint64_t cents)
{
    PROA_TRY(proa_db_exec(sql, NULL, "DELETE FROM drafts"));
#ifdef OK
    return proa_db_exec(sql, NULL, "UPDATE accounts SET cents = $2 WHERE id = $1", proa_u64(id), proa_u64(cents));
#else
    return proa_db_exec(sql, NULL, "UPDATE accounts SET cents = $2 WHERE id = $1", id, cents);
#endif
}

// error: '_Generic' selector of type | ‘_Generic’ selector of type | not compatible with any generic association type
#include <proa/log.h>

void call(const struct proa_logger *logger, uint64_t id);
void call(const struct proa_logger *logger, uint64_t id)
{
    PROA_INFO(logger, "without fields");
#ifdef OK
    PROA_INFO(logger, "order taken", proa_kv_c("dish", "soup"), proa_kv_u64("id", id));
#else
    PROA_INFO(logger, "order taken", "id", id);
#endif
}

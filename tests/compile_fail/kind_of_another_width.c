// error: does not have the C type of its kind
#include <proa/json.h>
struct user {
    uint32_t id;
};
#ifdef OK
PROA_DESCRIBE(user, (id, u32));
#else
PROA_DESCRIBE(user, (id, u64));
#endif

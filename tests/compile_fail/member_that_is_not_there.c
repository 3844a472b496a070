// error: has no member named | no member named
#include <proa/json.h>
struct user {
    uint32_t id;
};
#ifdef OK
PROA_DESCRIBE(user, (id, u32));
#else
PROA_DESCRIBE(user, (id, u32), (name, str));
#endif

// error: does not have the C type of its kind
#include <proa/json.h>
struct user {
    PROA_ARRAY_OF(int32_t) list;
};
#ifdef OK
PROA_DESCRIBE(user, (list, array(i32)));
#else
PROA_DESCRIBE(user, (list, array(u32)));
#endif

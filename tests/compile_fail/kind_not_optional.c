// error: has no member named | no member named
#include <proa/json.h>
struct user {
    proa_str name;
    PROA_OPTIONAL(proa_str) email;
};
#ifdef OK
PROA_DESCRIBE(user, (name, str), (email, optional(str)));
#else
PROA_DESCRIBE(user, (name, optional(str)), (email, optional(str)));
#endif

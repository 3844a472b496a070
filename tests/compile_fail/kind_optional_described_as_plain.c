// error: does not have the C type of its kind
#include <proa/json.h>
struct user {
    PROA_OPTIONAL(proa_str) email;
};
#ifdef OK
PROA_DESCRIBE(user, (email, optional(str)));
#else
PROA_DESCRIBE(user, (email, str));
#endif

// error: does not have the C type of its kind
#include <proa/json.h>
struct labels {
    PROA_MAP_OF(proa_str) all;
};
#ifdef OK
PROA_DESCRIBE(labels, (all, map(str)));
#else
PROA_DESCRIBE(labels, (all, map(u64)));
#endif
